/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket in a loop. Where no descriptor or memory is left for who
 * connects, a loop would be told of him at once, and again: then the socket is
 * not watched for a moment, and he waits there, while those who are connected
 * are served. All by the loop's thread.
 */
#ifndef FORMAT_BASE_LISTENER_H
#define FORMAT_BASE_LISTENER_H

#include "format/base/loop.h"

struct listener {
	struct loop *loop; /* NULL: it was not started */
	struct loop_watch socket, timer;
	/* Takes fd over, which does not block. */
	void (*accepted)(struct listener *listener, int fd);
};

/* Nonblocking or not; it stays the caller's. On failure nothing is left. */
int listener_start(struct listener *listener, struct loop *loop, int socket,
		   void (*accepted)(struct listener *listener, int fd),
		   struct err *err);
/* One that is zeroed is left alone. */
void listener_stop(struct listener *listener);
/* Who connects now, if the socket does not block: one. */
void listener_look(struct listener *listener);

#endif
