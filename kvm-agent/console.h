/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.sock and console.log: the first serial port for people,
 * spec/protocol.md. By the loop's thread, but for console_put().
 */
#ifndef KVM_AGENT_CONSOLE_H
#define KVM_AGENT_CONSOLE_H

#include "format/base/loop.h"

#define CONSOLE_PEERS_MAX 8u
#define CONSOLE_TAIL_SIZE (64u * 1024)

struct console;

struct console_options {
	int listener; /* taken over in any case; -1: no socket */
	int log;      /* a file for reading and writing, taken over; -1: none */
	/* The guest's input: how many of them it takes now. Called by the
	 * loop's thread. */
	size_t (*input)(void *arg, const void *data, size_t size);
	void *arg;
};

int console_new(struct console **out, struct loop *loop,
		const struct console_options *options, struct err *err);
/* Writes and sends what is there. NULL is ignored. */
void console_free(struct console *console);

/* What the guest prints. Any thread; never waits for a peer or a disk. What
 * comes faster than the loop takes it is dropped in its middle, and the text
 * says so. */
void console_put(struct console *console, const void *data, size_t size);

/* The guest takes input again. Any thread. */
void console_input_ready(struct console *console);

#endif
