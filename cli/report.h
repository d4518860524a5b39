/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said, and how it ends: standard output with its failures kept, error
 * lines, warnings, the exit status.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "cli/cli.h"

/* To standard output; a failure is kept for report_finish(). */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Lines of standard error: "vmsnap: VERB: ..." */
void report_error(const struct cli *cli, const struct err *err);
void report_line(const struct cli *cli, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void report_warning(const struct cli *cli, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* As the engine calls it; `arg` is the struct cli. Any thread. */
void report_warn(void *arg, const char *text);

enum status status_of(int code);

/* Standard output is flushed; a failure of it makes of STATUS_DONE a failure,
 * told unless the reader has simply gone. */
enum status report_finish(const struct cli *cli, enum status status);

#endif
