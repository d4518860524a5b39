/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passt's socket. It is a stream, so what the kernel takes or gives may end
 * anywhere: what is left of a frame that is on its way out is kept here, and
 * nothing else is sent before it. A length that can't be means that the two
 * ends no longer agree where a frame begins: that is the end of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "kvm-agent/net/backend.h"

#define HEAD       4u
#define INPUT_SIZE (4 * (HEAD + NET_FRAME_MAX))

struct passt {
	struct net_backend backend;
	size_t start, end;            /* of what is in `input` */
	size_t unsent_at, unsent_end; /* of what is in `output` */
	uint8_t input[INPUT_SIZE];
	uint8_t output[HEAD + NET_FRAME_MAX];
};

static struct passt *passt_of(struct net_backend *backend)
{
	return container_of(backend, struct passt, backend);
}

/* ---- in ---- */

static uint32_t get_length(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
	       (uint32_t)at[2] << 8 | at[3];
}

/* As receive(), of what is here already. */
static int next_frame(struct passt *passt, struct net_frame *out)
{
	size_t size = passt->end - passt->start;
	const uint8_t *at = passt->input + passt->start;
	uint32_t length;

	if (size < HEAD)
		return 0;
	length = get_length(at);
	if (length < NET_FRAME_MIN || length > NET_FRAME_MAX)
		return -EPIPE;
	if (size - HEAD < length)
		return 0;
	*out = (struct net_frame){ .data = at + HEAD, .length = length };
	passt->start += HEAD + length;
	return 1;
}

static int receive(struct net_backend *backend, struct net_frame *out)
{
	struct passt *passt = passt_of(backend);
	ssize_t n;
	int r = next_frame(passt, out);

	if (r)
		return r;
	passt->end -= passt->start;
	memmove(passt->input, passt->input + passt->start, passt->end);
	passt->start = 0;
	do
		n = recv(backend->fd, passt->input + passt->end,
			 sizeof(passt->input) - passt->end, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 && errno == EAGAIN ? 0 : -EPIPE;
	passt->end += (size_t)n;
	return next_frame(passt, out);
}

/* ---- out ---- */

/* How many bytes were taken; -EAGAIN, -EPIPE. */
static ssize_t push(int fd, struct iovec *segments, unsigned count)
{
	struct msghdr message = { .msg_iov = segments, .msg_iovlen = count };
	ssize_t n;

	do
		n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? -EAGAIN
								      : -EPIPE;
}

static int flush(struct net_backend *backend)
{
	struct passt *passt = passt_of(backend);

	while (passt->unsent_at < passt->unsent_end) {
		struct iovec rest = { passt->output + passt->unsent_at,
				      passt->unsent_end - passt->unsent_at };
		ssize_t n = push(backend->fd, &rest, 1);

		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		passt->unsent_at += (size_t)n;
	}
	backend->unsent = false;
	return 0;
}

/* From `at` on: all of it that the kernel did not take. */
static void keep_rest(struct passt *passt, const struct iovec *segments,
		      unsigned count, size_t at)
{
	passt->unsent_at = passt->unsent_end = 0;
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *base = segments[i].iov_base;
		size_t skip = (size_t)min_u64(at, segments[i].iov_len);
		size_t n = segments[i].iov_len - skip;

		memcpy(passt->output + passt->unsent_end, base + skip, n);
		passt->unsent_end += n;
		at -= skip;
	}
	passt->backend.unsent = passt->unsent_end > 0;
}

static int send_frame(struct net_backend *backend,
		      const struct net_header *header,
		      const struct iovec *segments, unsigned count,
		      size_t length)
{
	uint8_t head[HEAD] = { (uint8_t)(length >> 24), (uint8_t)(length >> 16),
			       (uint8_t)(length >> 8), (uint8_t)length };
	struct iovec all[1 + NET_SEGMENTS_MAX] = { { head, sizeof(head) } };
	ssize_t n;
	int r = flush(backend);

	(void)header;
	if (r < 0)
		return r;
	if (backend->unsent)
		return -EAGAIN;
	memcpy(all + 1, segments, count * sizeof(*segments));
	n = push(backend->fd, all, count + 1);
	if (n < 0)
		return (int)n;
	if ((size_t)n < HEAD + length)
		keep_rest(passt_of(backend), all, count + 1, (size_t)n);
	return 0;
}

/* ---- life ---- */

static void passt_free(struct net_backend *backend)
{
	close(backend->fd);
	free(passt_of(backend));
}

static const struct net_backend_ops passt_ops = {
	.name = "passt",
	.receive = receive,
	.send = send_frame,
	.flush = flush,
	.free = passt_free,
};

int net_passt_new(struct net_backend **out, int fd, struct err *err)
{
	socklen_t size = sizeof(int);
	autofd int own = fd;
	struct passt *passt;
	int type, r;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
	    type != SOCK_STREAM)
		return err_set(err, -EINVAL,
			       "the descriptor of the network is no stream "
			       "socket");
	r = alloc_array(&passt, 1, sizeof(*passt), err);
	if (r < 0)
		return r;
	passt->backend =
		(struct net_backend){ &passt_ops, fd_steal(&own), false };
	*out = &passt->backend;
	return 0;
}
