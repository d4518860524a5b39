/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Its timer is there from the start: when there is need of one no descriptor is
 * left for it.
 */
#include <errno.h>
#include <sys/socket.h>

#include "format/base/listener.h"

#define WAIT_NS 100000000u

static void listen_to(struct listener *listener, uint32_t events)
{
	listener->socket.events = events;
	loop_change(listener->loop, &listener->socket);
}

static bool is_passing(int code)
{
	return code == EAGAIN || code == EWOULDBLOCK || code == EINTR ||
	       code == ECONNABORTED;
}

void listener_look(struct listener *listener)
{
	int fd = accept4(listener->socket.fd, NULL, NULL,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		listener->accepted(listener, fd);
	} else if (!is_passing(errno)) {
		listen_to(listener, 0);
		loop_timer_set(listener->timer.fd, WAIT_NS);
	}
}

static void socket_ready(struct loop_watch *watch, uint32_t events)
{
	(void)events;
	listener_look(watch->owner);
}

static void timer_ready(struct loop_watch *watch, uint32_t events)
{
	(void)events;
	(void)loop_timer_read(watch->fd);
	listen_to(watch->owner, EPOLLIN);
}

int listener_start(struct listener *listener, struct loop *loop, int socket,
		   void (*accepted)(struct listener *listener, int fd),
		   struct err *err)
{
	autofd int timer = loop_timer_new(err);
	int r;

	if (timer < 0)
		return timer;
	*listener = (struct listener){
		.socket = { socket, EPOLLIN, socket_ready, listener },
		.timer = { timer, EPOLLIN, timer_ready, listener },
		.accepted = accepted,
	};
	r = loop_add(loop, &listener->timer, err);
	if (r < 0)
		return r;
	r = loop_add(loop, &listener->socket, err);
	if (r < 0) {
		loop_remove(loop, &listener->timer);
		return r;
	}
	(void)fd_steal(&timer);
	listener->loop = loop;
	return 0;
}

void listener_stop(struct listener *listener)
{
	if (!listener->loop)
		return;
	loop_remove(listener->loop, &listener->socket);
	loop_remove(listener->loop, &listener->timer);
	close(fd_steal(&listener->timer.fd));
	listener->loop = NULL;
}
