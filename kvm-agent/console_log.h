/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.log: a file with a limit, written by a thread of its own, because its
 * disk may hang: that holds up nobody who asks the machine something.
 */
#ifndef KVM_AGENT_CONSOLE_LOG_H
#define KVM_AGENT_CONSOLE_LOG_H

#include "format/base/base.h"

#define CONSOLE_LOG_MAX (1024u * 1024)

struct console_log;

/* Takes `file`, for reading and writing, over in any case. */
int console_log_new(struct console_log **out, int file, struct err *err);
/* Writes what is there, however long that takes. NULL is ignored. */
void console_log_free(struct console_log *log);

/* By one thread. Does not wait: what comes faster than the disk takes it is
 * dropped, and the text says so. */
void console_log_put(struct console_log *log, const void *data, size_t size);

#endif
