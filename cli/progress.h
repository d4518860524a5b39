/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The progress of a long call, and the signals that end it. One at a time in a
 * process.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/cli.h"

/* From here until progress_end(), SIGINT and SIGTERM set cli->progress.stop
 * (a second one kills), and a thread shows cli->progress as --progress wants.
 * -EINVAL: --progress has no such word. */
int progress_begin(struct cli *cli, struct err *err);
void progress_end(struct cli *cli);
/* The signals alone, for what shows nothing. */
void progress_catch(struct cli *cli);
void progress_release(void);

/* Around a line on standard error, so that the two don't mix. Any thread. */
void progress_pause(void);
void progress_resume(void);

/* The signal that ended the call, or 0. */
int progress_signal(void);

#endif
