/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An end is a socket with a watch. It is watched for what it was found without:
 * to be readable after a read that found nothing, writable after a write that
 * did not fit; so nothing spins while the guest takes its time. One that hung
 * up is watched no more, since epoll would not stop telling of that.
 *
 * A connection may be over by a vCPU's reset of the device, while the I/O
 * thread is in its watch: the end is marked then, and buried by the loop.
 *
 * There is no connect() below a directory's descriptor, /proc may not be there,
 * and a path may be too long for an address: so the directory is the working
 * one, and the name is short.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "format/base/socket.h"
#include "kvm-agent/vsock/sockets.h"

#define TICK_NS    1000000000ULL
#define CALL_TICKS 10u /* for a caller's line */
#define LINE_MAX   32u /* with its LF */
#define CALL_WORD  "CONNECT "
#define PORT_MAX   0xffffffffULL

struct vsock_end {
	struct vsock_sockets *sockets;
	struct vsock_end *next, **link;
	struct loop_watch watch; /* fd: the socket */
	bool watched;
	bool caller; /* it has no number yet, and says which port it wants */
	unsigned id;
	unsigned ticks; /* of a caller */
	unsigned line_size;
	char line[LINE_MAX];
	atomic_bool dead;
	struct loop_work bury;
};

static struct vsock_sockets *sockets_of(struct vsock_hooks *hooks)
{
	return container_of(hooks, struct vsock_sockets, hooks);
}

/* ---- time ---- */

static void start_ticking(struct vsock_sockets *sockets)
{
	if (!sockets->ticking)
		loop_timer_set(sockets->timer.fd, sockets->tick_ns);
	sockets->ticking = true;
}

static void on_tick(struct vsock_hooks *hooks)
{
	start_ticking(sockets_of(hooks));
}

/* ---- an end ---- */

/* Takes the descriptor over; NULL: there is no memory. */
static struct vsock_end *make_end(struct vsock_sockets *sockets, int fd,
				  uint32_t events,
				  void (*ready)(struct loop_watch *watch,
						uint32_t events))
{
	struct vsock_end *end = calloc(1, sizeof(*end));

	if (end) {
		end->watch = (struct loop_watch){ fd, events, ready, end };
		end->watched = loop_add(sockets->loop, &end->watch, NULL) == 0;
	}
	if (!end || !end->watched) {
		close(fd);
		free(end);
		return NULL;
	}
	end->sockets = sockets;
	end->link = &sockets->first;
	end->next = sockets->first;
	if (end->next)
		end->next->link = &end->next;
	sockets->first = end;
	return end;
}

static void unwatch(struct vsock_end *end)
{
	if (end->watched)
		loop_remove(end->sockets->loop, &end->watch);
	end->watched = false;
}

static void free_end(struct vsock_end *end)
{
	unwatch(end);
	close(end->watch.fd);
	if (end->caller)
		end->sockets->callers--;
	*end->link = end->next;
	if (end->next)
		end->next->link = end->link;
	free(end);
}

static void bury(struct loop_work *work)
{
	free_end(container_of(work, struct vsock_end, bury));
}

/* With the device's lock; any thread. */
static void on_closed(struct vsock_hooks *hooks, void *arg)
{
	struct vsock_end *end = arg;

	(void)hooks;
	atomic_store(&end->dead, true);
	loop_post(end->sockets->loop, &end->bury);
}

static void watch_for(struct vsock_end *end, uint32_t event)
{
	end->watch.events |= event;
	if (end->watched)
		loop_change(end->sockets->loop, &end->watch);
}

static ssize_t on_read(struct vsock_hooks *hooks, void *arg, void *data,
		       size_t size)
{
	struct vsock_end *end = arg;
	ssize_t n;

	(void)hooks;
	do
		n = recv(end->watch.fd, data, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno != EAGAIN)
		return -errno;
	watch_for(end, EPOLLIN);
	return -EAGAIN;
}

static ssize_t on_write(struct vsock_hooks *hooks, void *arg, const void *data,
			size_t size)
{
	struct vsock_end *end = arg;
	ssize_t n;

	(void)hooks;
	if (!size)
		return 0;
	do
		n = send(end->watch.fd, data, size,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return -errno;
	if (n < (ssize_t)size)
		watch_for(end, EPOLLOUT);
	return n < 0 ? -EAGAIN : n;
}

static void on_shut(struct vsock_hooks *hooks, void *arg, bool sends_none)
{
	struct vsock_end *end = arg;

	(void)hooks;
	(void)shutdown(end->watch.fd, sends_none ? SHUT_WR : SHUT_RD);
}

static void end_ready(struct loop_watch *watch, uint32_t events)
{
	struct vsock_end *end = watch->owner;
	const bool hung_up = events & (EPOLLHUP | EPOLLERR);

	if (atomic_load(&end->dead))
		return;
	if (hung_up) {
		unwatch(end);
	} else {
		watch->events &= ~events;
		loop_change(end->sockets->loop, watch);
	}
	/* Its number is given to no other before this thread does so. */
	virtio_vsock_ready(end->sockets->device, end->id, events & EPOLLIN,
			   events & EPOLLOUT, hung_up);
}

/* ---- from the guest ---- */

static int connect_beside(const struct vsock_sockets *sockets, int fd,
			  uint32_t port)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (!sockets->connects)
		return -ENOENT;
	snprintf(address.sun_path, sizeof(address.sun_path), "vsock_%u.sock",
		 port);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return 0;
}

static int on_connect(struct vsock_hooks *hooks, unsigned id, uint32_t port,
		      void **out)
{
	struct vsock_sockets *sockets = sockets_of(hooks);
	autofd int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct vsock_end *end;
	int r;

	if (fd < 0)
		return -errno;
	r = connect_beside(sockets, fd, port);
	if (r < 0)
		return r;
	end = make_end(sockets, fd_steal(&fd), 0, end_ready);
	if (!end)
		return -ENOMEM;
	end->bury.run = bury;
	end->id = id;
	*out = end;
	return 0;
}

/* ---- from the host ---- */

/* In decimal, without more in front or behind. */
static bool parse_port(const char *text, unsigned size, uint32_t *port)
{
	uint64_t value = 0;

	if (!size || size > 10)
		return false;
	for (unsigned i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = 10 * value + (uint64_t)(text[i] - '0');
	}
	*port = (uint32_t)value;
	return value <= PORT_MAX;
}

/* The line is whole; false: it is none, or the guest can't be asked. */
static bool call(struct vsock_end *end)
{
	const unsigned word = sizeof(CALL_WORD) - 1;
	uint32_t port;
	int id;

	if (end->line_size <= word || memcmp(end->line, CALL_WORD, word) != 0 ||
	    !parse_port(end->line + word, end->line_size - word, &port))
		return false;
	/* Until the guest has answered only its end is of interest. */
	end->watch.events = 0;
	end->watch.ready = end_ready;
	loop_change(end->sockets->loop, &end->watch);
	end->caller = false;
	end->sockets->callers--;
	id = virtio_vsock_open(end->sockets->device, port, end);
	if (id < 0)
		return false;
	end->id = (unsigned)id;
	return true;
}

/* Byte by byte: what is behind the line is the guest's. */
static void caller_ready(struct loop_watch *watch, uint32_t events)
{
	struct vsock_end *end = watch->owner;
	char c;

	(void)events;
	for (;;) {
		ssize_t n = recv(watch->fd, &c, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n == 1 && c == '\n') {
			if (!call(end))
				free_end(end);
			return;
		}
		if (n != 1 || end->line_size + 1 == LINE_MAX) {
			free_end(end);
			return;
		}
		end->line[end->line_size++] = c;
	}
}

static int on_opened(struct vsock_hooks *hooks, void *arg, uint32_t port)
{
	struct vsock_end *end = arg;
	char line[LINE_MAX];
	int size = snprintf(line, sizeof(line), "OK %u\n", port);

	/* It is the first thing to be sent: there is room for it. */
	return on_write(hooks, end, line, (size_t)size) == size ? 0 : -EPIPE;
}

static void take_in(struct listener *listener, int fd)
{
	struct vsock_sockets *sockets =
		container_of(listener, struct vsock_sockets, accepting);
	struct vsock_end *end;

	if (sockets->callers == VSOCK_CALLERS_MAX || !socket_peer_is_ours(fd)) {
		close(fd);
		return;
	}
	end = make_end(sockets, fd, EPOLLIN, caller_ready);
	if (!end)
		return;
	end->bury.run = bury;
	end->caller = true;
	end->ticks = CALL_TICKS;
	sockets->callers++;
	start_ticking(sockets);
}

/* ---- time, again ---- */

static void tick_callers(struct vsock_sockets *sockets)
{
	for (struct vsock_end *end = sockets->first, *next; end; end = next) {
		next = end->next;
		if (end->caller && --end->ticks == 0)
			free_end(end);
	}
}

static void timer_ready(struct loop_watch *watch, uint32_t events)
{
	struct vsock_sockets *sockets = watch->owner;

	(void)events;
	(void)loop_timer_read(watch->fd);
	sockets->ticking = false;
	tick_callers(sockets);
	if (virtio_vsock_tick(sockets->device) || sockets->callers)
		start_ticking(sockets);
}

/* ---- life ---- */

void vsock_sockets_init(struct vsock_sockets *sockets, int listener,
			bool connects)
{
	*sockets = (struct vsock_sockets){
		.hooks = { on_connect, on_opened, on_read, on_write, on_shut,
			   on_closed, on_tick },
		.listener = listener,
		.connects = connects,
		.timer = { .fd = -1 },
		.tick_ns = TICK_NS,
	};
}

int vsock_sockets_start(struct vsock_sockets *sockets, struct loop *loop,
			struct virtio_vsock *device, struct err *err)
{
	int r;

	sockets->device = device;
	sockets->timer = (struct loop_watch){ loop_timer_new(err), EPOLLIN,
					      timer_ready, sockets };
	if (sockets->timer.fd < 0)
		return sockets->timer.fd;
	r = loop_add(loop, &sockets->timer, err);
	if (r == 0)
		r = listener_start(&sockets->accepting, loop, sockets->listener,
				   take_in, err);
	sockets->loop = loop;
	return r;
}

void vsock_sockets_stop(struct vsock_sockets *sockets)
{
	if (!sockets->hooks.read)
		return;
	while (sockets->first) {
		loop_cancel(sockets->loop, &sockets->first->bury);
		free_end(sockets->first);
	}
	if (sockets->loop) {
		listener_stop(&sockets->accepting);
		loop_remove(sockets->loop, &sockets->timer);
	}
	if (sockets->timer.fd >= 0)
		close(sockets->timer.fd);
	if (sockets->listener >= 0)
		close(sockets->listener);
	*sockets = (struct vsock_sockets){ 0 };
}
