/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A serial port on a pair of descriptors: what the guest sends is kept until
 * the other side takes it, and no vCPU waits for that; when nobody takes it the
 * oldest is lost, and counted.
 */
#ifndef KVM_AGENT_TERMINAL_H
#define KVM_AGENT_TERMINAL_H

#include "format/base/loop.h"
#include "kvm-agent/devices/serial.h"

#define TERMINAL_KEPT (1024 * KIB)

struct terminal;

/* The descriptors stay the caller's; `in` may be -1. On a terminal what is
 * typed reaches the guest as it is until terminal_free(); Ctrl-] calls `quit`,
 * on the loop's thread. */
int terminal_new(struct terminal **out, int in, int out_fd, struct loop *loop,
		 void (*quit)(void *arg), void *arg, struct err *err);
/* Writes what is left, if anybody takes it; NULL is ignored. */
void terminal_free(struct terminal *terminal);

/* For the port; then the port, for input. */
struct serial_line *terminal_line(struct terminal *terminal);
void terminal_connect(struct terminal *terminal, struct serial *serial);
/* No more input: the port goes away. */
void terminal_disconnect(struct terminal *terminal);
/* Bytes that nobody took in time. */
uint64_t terminal_lost(struct terminal *terminal);

#endif
