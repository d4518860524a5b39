/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface of the host. One read or write is one frame with its header,
 * whose fields the kernel checks again. Who opened it has chosen the interface:
 * here there is only the descriptor, so that the process needs no right to
 * networks.
 *
 * An interface that is switched off refuses frames (EIO) and tells by
 * EPOLLOUT when it is on again; one that was removed never comes back.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include "kvm-agent/net/backend.h"

struct tap {
	struct net_backend backend;
	struct {
		struct net_header header;
		uint8_t data[NET_FRAME_MAX];
	} frame;
};

static struct tap *tap_of(struct net_backend *backend)
{
	return container_of(backend, struct tap, backend);
}

static int receive(struct net_backend *backend, struct net_frame *out)
{
	struct tap *tap = tap_of(backend);
	ssize_t n;

	do
		n = read(backend->fd, &tap->frame, sizeof(tap->frame));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -EPIPE;
	if ((size_t)n < sizeof(tap->frame.header) + NET_FRAME_MIN)
		return 0;
	out->header = tap->frame.header;
	out->data = tap->frame.data;
	out->length = (size_t)n - sizeof(tap->frame.header);
	return 1;
}

static int code_of(int code)
{
	switch (code) {
	case EAGAIN:
		return -EAGAIN;
	case EIO:
		return -ENETDOWN;
	case EBADFD:
	case ENODEV:
		return -EPIPE;
	default:
		return -code;
	}
}

static int send_frame(struct net_backend *backend,
		      const struct net_header *header,
		      const struct iovec *segments, unsigned count,
		      size_t length)
{
	struct iovec all[1 + NET_SEGMENTS_MAX];
	struct net_header copy = *header;
	ssize_t n;

	(void)length;
	all[0] = (struct iovec){ &copy, sizeof(copy) };
	for (unsigned i = 0; i < count; i++)
		all[1 + i] = segments[i];
	do
		n = writev(backend->fd, all, (int)count + 1);
	while (n < 0 && errno == EINTR);
	return n < 0 ? code_of(errno) : 0;
}

static void set_offloads(struct net_backend *backend, unsigned offloads)
{
	unsigned long flags = 0;

	if (offloads & NET_OFFLOAD_CHECKSUM) {
		flags = TUN_F_CSUM;
		if (offloads & NET_OFFLOAD_TCP4)
			flags |= TUN_F_TSO4;
		if (offloads & NET_OFFLOAD_TCP6)
			flags |= TUN_F_TSO6;
	}
	/* One that can't leaves nothing to be done. */
	(void)ioctl(backend->fd, TUNSETOFFLOAD, flags);
}

static void tap_free(struct net_backend *backend)
{
	close(backend->fd);
	free(tap_of(backend));
}

static const struct net_backend_ops tap_ops = {
	.name = "tap",
	.receive = receive,
	.send = send_frame,
	.set_offloads = set_offloads,
	.free = tap_free,
};

static int prepare(int fd, struct err *err)
{
	const short wanted = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	int size = sizeof(struct net_header);
	struct ifreq request = { 0 };
	int flags;

	if (ioctl(fd, TUNGETIFF, &request) < 0 ||
	    (request.ifr_flags & wanted) != wanted)
		return err_set(err, -EINVAL,
			       "the descriptor of the network is no tap with "
			       "IFF_NO_PI and IFF_VNET_HDR");
	flags = fcntl(fd, F_GETFL);
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, 0UL) < 0 || flags < 0 ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(err, -errno, "the tap '%.*s'", IFNAMSIZ,
			       request.ifr_name);
	return 0;
}

int net_tap_new(struct net_backend **out, int fd, struct err *err)
{
	autofd int own = fd;
	struct tap *tap;
	int r = prepare(fd, err);

	if (r == 0)
		r = alloc_array(&tap, 1, sizeof(*tap), err);
	if (r < 0)
		return r;
	tap->backend = (struct net_backend){ &tap_ops, fd_steal(&own), false };
	*out = &tap->backend;
	return 0;
}
