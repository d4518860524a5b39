/* SPDX-License-Identifier: Apache-2.0 */
/* Lines out of bytes as they come, for protocols of one message a line. */
#ifndef FORMAT_BASE_LINES_H
#define FORMAT_BASE_LINES_H

#include <stddef.h>

#define LINES_MAX 8192u /* of a line, with its LF */

/* Zeroed is empty. Not thread safe. */
struct lines {
	char data[LINES_MAX];
	size_t used, taken;
};

/* Where the next bytes go, and how many may; then tell how many did. */
char *lines_room(struct lines *lines, size_t *size);
void lines_add(struct lines *lines, size_t size);
/* 1: a line without its LF, good until the next call; 0: more is needed;
 * -EMSGSIZE: it is too long. */
int lines_next(struct lines *lines, const char **line, size_t *size);

#endif
