/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, times and names as people read and write them. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include "cli/cli.h"

#define SIZE_TEXT_MAX 32
#define TIME_TEXT_MAX 40
#define SHORT_ID_SIZE 13 /* 12 digits */

/* "65536", "64K", "1G", "8GiB": powers of 1024. -EINVAL; -EOVERFLOW is
 * told as -EINVAL too. `what` is the option, for words. */
int size_parse(const char *what, const char *text, uint64_t *out,
	       struct err *err);
/* "735.2 MiB"; returns `out`. */
const char *size_text(char out[SIZE_TEXT_MAX], uint64_t bytes);
int integer_parse(const char *what, const char *text, long long least,
		  long long most, long long *out, struct err *err);

/* "2026-11-21 13:40:08", the user's time zone. */
const char *time_text(char out[TIME_TEXT_MAX], int64_t time_ns);
/* "2026-11-21T13:40:08.123456789Z" */
const char *time_iso_text(char out[TIME_TEXT_MAX], int64_t time_ns);

/* The first digits: enough to find it by. */
const char *short_id(char out[SHORT_ID_SIZE], const struct id *id);

#endif
