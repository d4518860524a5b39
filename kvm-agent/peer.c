/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each peer has a buffer of what it did not read yet, with a limit, and is
 * asked by the loop alone; so a peer that does nothing costs that buffer and
 * nobody's time. Whoever hangs up inside of a call is marked and goes at its
 * end, so that a list may be walked while peers fall out of it.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "format/base/listener.h"
#include "format/base/socket.h"
#include "kvm-agent/peer.h"

struct peers {
	struct loop *loop;
	struct listener listener;
	const struct peers_ops *ops;
	void *owner;
	struct peer *first;
	unsigned count, count_max;
	unsigned depth; /* of calls that may hold a peer */
};

static void update_watch(struct peer *peer)
{
	size_t unread = peer_unread(peer);
	uint32_t events = 0;

	if (!peer->held && unread < PEER_UNREAD_PAUSE)
		events |= EPOLLIN;
	if (unread)
		events |= EPOLLOUT;
	if (events == peer->watch.events)
		return;
	peer->watch.events = events;
	loop_change(peer->peers->loop, &peer->watch);
}

static void hang_up(struct peer *peer)
{
	if (peer->closed)
		return;
	peer->closed = true;
	loop_remove(peer->peers->loop, &peer->watch);
	close(peer->watch.fd);
	peer->watch.fd = -1;
}

static void enter(struct peers *peers)
{
	peers->depth++;
}

static void leave(struct peers *peers)
{
	struct peer **at = &peers->first;

	if (--peers->depth)
		return;
	while (*at) {
		struct peer *peer = *at;

		if (!peer->closed) {
			at = &peer->next;
			continue;
		}
		*at = peer->next;
		if (peers->ops->gone)
			peers->ops->gone(peer);
		bytes_release(&peer->out);
		free(peer);
		peers->count--;
	}
}

/* As much as goes without waiting. */
static void flush(struct peer *peer)
{
	while (!peer->closed && !peer->deaf && peer->sent < peer->out.size) {
		ssize_t n = send(peer->watch.fd, peer->out.data + peer->sent,
				 peer->out.size - peer->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			peer->sent += (size_t)n;
		else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		else if (!(n < 0 && errno == EINTR))
			peer->deaf = true;
	}
	/* It reads no more, but what it said before may be there still. */
	if (peer->deaf || peer->sent == peer->out.size)
		peer->sent = peer->out.size = 0;
}

static void receive(struct peer *peer)
{
	char data[4096];
	ssize_t n = recv(peer->watch.fd, data, sizeof(data), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || peer->peers->ops->receive(peer, data, (size_t)n) < 0) {
		/* What it may still read is sent before it goes. */
		flush(peer);
		hang_up(peer);
	}
}

static void ready(struct loop_watch *watch, uint32_t events)
{
	struct peer *peer = watch->owner;
	struct peers *peers = peer->peers;

	enter(peers);
	if (events & EPOLLOUT) {
		flush(peer);
		if (peers->ops->sent)
			peers->ops->sent(peer);
	}
	if (!peer->closed && (events & EPOLLIN))
		receive(peer);
	else if (!peer->closed && (events & (EPOLLERR | EPOLLHUP)))
		hang_up(peer);
	if (!peer->closed)
		update_watch(peer);
	leave(peers);
}

/* Takes fd over; the peer, or NULL. */
static struct peer *make_peer(struct peers *peers, int fd)
{
	struct peer *peer = NULL;

	if (peers->count < peers->count_max && socket_peer_is_ours(fd))
		peer = calloc(1, peers->ops->peer_size);
	if (!peer) {
		close(fd);
		return NULL;
	}
	peer->peers = peers;
	peer->watch = (struct loop_watch){ fd, EPOLLIN, ready, peer };
	if (loop_add(peers->loop, &peer->watch, NULL) < 0) {
		close(fd);
		free(peer);
		return NULL;
	}
	peer->next = peers->first;
	peers->first = peer;
	peers->count++;
	return peer;
}

static void take_in(struct listener *listener, int fd)
{
	struct peers *peers = container_of(listener, struct peers, listener);
	struct peer *peer = make_peer(peers, fd);

	if (!peer)
		return;
	enter(peers);
	if (peers->ops->greet(peer) < 0)
		hang_up(peer);
	else
		flush(peer);
	if (!peer->closed)
		update_watch(peer);
	leave(peers);
}

int peers_new(struct peers **out, struct loop *loop, int listener,
	      unsigned count_max, const struct peers_ops *ops, void *owner,
	      struct err *err)
{
	struct peers *peers = NULL;
	int r = alloc_array(&peers, 1, sizeof(*peers), err);

	if (!r) {
		peers->loop = loop;
		peers->ops = ops;
		peers->owner = owner;
		peers->count_max = count_max;
		r = listener_start(&peers->listener, loop, listener, take_in,
				   err);
	}
	if (r) {
		close(listener);
		free(peers);
		return r;
	}
	*out = peers;
	return 0;
}

void peers_free(struct peers *peers)
{
	if (!peers)
		return;
	listener_stop(&peers->listener);
	close(peers->listener.socket.fd);
	enter(peers);
	for (struct peer *peer = peers->first; peer; peer = peer->next) {
		flush(peer);
		hang_up(peer);
	}
	leave(peers);
	free(peers);
}

void *peers_owner(const struct peers *peers)
{
	return peers->owner;
}

void peers_each(struct peers *peers, void (*fn)(struct peer *peer, void *arg),
		void *arg)
{
	enter(peers);
	for (struct peer *peer = peers->first; peer; peer = peer->next) {
		if (!peer->closed)
			fn(peer, arg);
	}
	leave(peers);
}

/* What was sent makes room before more is asked for. */
static void compact(struct peer *peer)
{
	if (!peer->sent)
		return;
	peer->out.size -= peer->sent;
	memmove(peer->out.data, peer->out.data + peer->sent, peer->out.size);
	peer->sent = 0;
}

int peer_send(struct peer *peer, const void *data, size_t size)
{
	struct peers *peers = peer->peers;
	int r = -ENOBUFS;

	if (peer->closed)
		return -ENOTCONN;
	enter(peers);
	compact(peer);
	if (size <= PEER_UNREAD_MAX - peer->out.size)
		r = bytes_append(&peer->out, data, size, NULL);
	if (!r)
		flush(peer);
	else
		hang_up(peer);
	if (!peer->closed)
		update_watch(peer);
	leave(peers);
	return r;
}

void peer_hang_up(struct peer *peer)
{
	struct peers *peers = peer->peers;

	enter(peers);
	flush(peer);
	hang_up(peer);
	leave(peers);
}

size_t peer_unread(const struct peer *peer)
{
	return peer->out.size - peer->sent;
}

void peer_hold(struct peer *peer, bool held)
{
	peer->held = held;
	if (!peer->closed)
		update_watch(peer);
}
