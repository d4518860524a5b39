/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net. A frame that comes in is the backend's until it is copied into
 * the guest's buffers, all of it or nothing: so a guest that is short of room
 * costs one frame that waits and no memory. One that goes out is written from
 * where it lies, but its header is a copy, and what it asks for is only what
 * was negotiated: the host's kernel does as it says.
 *
 * What can't be a frame is dropped and counted, as on any wire; the device
 * stops only where the rings can't be followed. The backend is not asked for
 * frames while nobody takes them. The control queue is left out: one address,
 * no filters, all that arrives is delivered.
 */
#include <errno.h>
#include <string.h>

#include "kvm-agent/virtio/net.h"

#define RECEIVE       0u
#define SEND          1u
#define FRAMES_A_TURN 256u

#define F_CSUM        (1ULL << 0)
#define F_GUEST_CSUM  (1ULL << 1)
#define F_MTU         (1ULL << 3)
#define F_MAC         (1ULL << 5)
#define F_GUEST_TSO4  (1ULL << 7)
#define F_GUEST_TSO6  (1ULL << 8)
#define F_HOST_TSO4   (1ULL << 11)
#define F_HOST_TSO6   (1ULL << 12)
#define F_MERGE       (1ULL << 15)
#define F_STATUS      (1ULL << 16)

#define F_OFFLOADS                                                           \
	(F_CSUM | F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_HOST_TSO4 | \
	 F_HOST_TSO6)

#define STATUS_LINK_UP 1u

/* virtio 1.x, 5.1.4 */
struct net_config {
	uint8_t mac[NET_MAC_SIZE];
	le16 status, queue_pairs, mtu;
};
_Static_assert(sizeof(struct net_config) == 12, "virtio 1.x, 5.1.4");

static struct net *net_of(struct virtio *virtio)
{
	return container_of(virtio, struct net, virtio);
}

/* ---- the link ---- */

/* The driver hears of it when it can. */
static void tell_link(struct net *net)
{
	bool up = net->link == NET_UP;

	if (net->told_up == up || !virtio_is_live(&net->virtio))
		return;
	net->told_up = up;
	virtio_config_changed(&net->virtio);
}

static void set_link(struct net *net, enum net_link link, const char *why)
{
	if (net->link == NET_GONE || net->link == link)
		return;
	net->link = link;
	if (net->hooks)
		net->hooks->link(net->hooks, link == NET_UP, why);
	tell_link(net);
}

/* What the backend's code says of it. */
static void take_code(struct net *net, int code)
{
	if (code == -EPIPE) {
		set_link(net, NET_GONE, "the host's end is gone");
		net->frame.length = 0;
		/* What waits is dropped: nobody else would look again. */
		if (net->send_blocked) {
			net->send_blocked = false;
			virtio_look(&net->virtio, SEND);
		}
	} else if (code == -ENETDOWN) {
		set_link(net, NET_DOWN, "the host's interface is down");
	}
}

/* ---- in ---- */

/* A tap's frame of before the driver was another may ask for too much. */
static bool may_deliver(const struct net *net, const struct net_header *header)
{
	const struct virtio *virtio = &net->virtio;

	switch (header->gso_type) {
	case NET_GSO_NONE:
		break;
	case NET_GSO_TCP4:
		if (!virtio_has(virtio, F_GUEST_TSO4))
			return false;
		break;
	case NET_GSO_TCP6:
		if (!virtio_has(virtio, F_GUEST_TSO6))
			return false;
		break;
	default:
		return false;
	}
	return virtio_has(virtio, F_GUEST_CSUM) ||
	       !(header->flags & NET_NEEDS_CHECKSUM);
}

static bool pop_buffer(struct net *net, struct virtqueue_chain *chain)
{
	do {
		if (virtio_pop(&net->virtio, RECEIVE, chain))
			return true;
	} while (virtio_listen(&net->virtio, RECEIVE));
	return false;
}

static void give_back(struct net *net, unsigned count)
{
	while (count--)
		virtio_unpop(&net->virtio, RECEIVE);
}

/* The frame's bytes from `at` on, header and all, into one buffer. */
static uint32_t fill(const struct net *net, const struct net_header *header,
		     const struct virtqueue_chain *chain, size_t at)
{
	const struct net_frame *frame = &net->frame;
	size_t done = 0;

	if (at < sizeof(*header))
		done = chain_write(chain, 0, (const uint8_t *)header + at,
				   sizeof(*header) - at);
	at += done;
	if (at >= sizeof(*header))
		done += chain_write(chain, done,
				    frame->data + (at - sizeof(*header)),
				    frame->length - (at - sizeof(*header)));
	return (uint32_t)done;
}

enum delivery {
	DELIVERED,
	NO_ROOM,
	DROPPED,
};

static enum delivery deliver(struct net *net)
{
	struct net_header header = net->frame.header;
	size_t total = sizeof(header) + net->frame.length, done = 0;
	unsigned count = 0, most = 1;

	if (!may_deliver(net, &header))
		return DROPPED;
	if (!virtio_has(&net->virtio, F_GUEST_CSUM))
		header.flags = 0;
	if (virtio_has(&net->virtio, F_MERGE))
		most = net->virtio.queues[RECEIVE].ring.size;
	while (done < total) {
		struct virtqueue_chain *chain =
			count ? &net->chain : &net->first;

		/* More than it can ever have, or than it has now. */
		if (count == most || !pop_buffer(net, chain)) {
			give_back(net, count);
			return count == most ? DROPPED : NO_ROOM;
		}
		net->used[count].head = chain->head;
		net->used[count].written = fill(net, &header, chain, done);
		done += net->used[count++].written;
		if (done < sizeof(header)) {
			virtio_break(&net->virtio,
				     "a buffer that has no room for a header");
			return NO_ROOM;
		}
	}
	header.buffers = le16_make((uint16_t)count);
	(void)chain_write(&net->first, 0, &header, sizeof(header));
	virtio_push_all(&net->virtio, RECEIVE, net->used, count);
	return DELIVERED;
}

static bool next_frame(struct net *net)
{
	int r;

	if (net->frame.length)
		return true;
	r = net->backend->ops->receive(net->backend, &net->frame);
	if (r > 0)
		return true;
	net->frame.length = 0;
	take_code(net, r);
	return false;
}

static bool can_receive(const struct net *net)
{
	return virtio_is_live(&net->virtio) && net->link != NET_GONE;
}

/* As long as the guest has room and the host has frames. */
static void receive(struct net *net)
{
	enum delivery delivery = DROPPED;
	unsigned count = 0;

	while (delivery != NO_ROOM && count < FRAMES_A_TURN &&
	       can_receive(net) && next_frame(net)) {
		delivery = deliver(net);
		if (delivery == DELIVERED) {
			net->counters.received_frames++;
			net->counters.received_bytes += net->frame.length;
		} else if (delivery == DROPPED) {
			net->counters.received_dropped++;
		}
		if (delivery != NO_ROOM)
			net->frame.length = 0;
		count++;
	}
	virtio_signal(&net->virtio, RECEIVE);
	/* The backend may have more of them than its descriptor tells. */
	if (count == FRAMES_A_TURN)
		virtio_look(&net->virtio, RECEIVE);
	/* Without room the next notification begins it again. */
	net->wants_frames = delivery != NO_ROOM && can_receive(net);
}

/* ---- out ---- */

/* What the kernel is asked for is what the driver may ask for. */
static bool may_send(const struct net *net, struct net_header *header)
{
	const struct virtio *virtio = &net->virtio;

	header->buffers = le16_make(0);
	header->flags &= NET_NEEDS_CHECKSUM;
	if (header->flags && !virtio_has(virtio, F_CSUM))
		return false;
	switch (header->gso_type) {
	case NET_GSO_NONE:
		return true;
	case NET_GSO_TCP4:
		return virtio_has(virtio, F_HOST_TSO4);
	case NET_GSO_TCP6:
		return virtio_has(virtio, F_HOST_TSO6);
	default:
		return false;
	}
}

/* 0; -EAGAIN: it must wait; another: it is dropped. */
static int transmit(struct net *net, const struct virtqueue_chain *chain)
{
	struct iovec segments[VIRTQUEUE_SEGMENTS_MAX];
	struct net_header header;
	uint64_t length;
	unsigned count;

	if (chain_read(chain, 0, &header, sizeof(header)) < sizeof(header))
		return -EINVAL;
	length = chain->readable_bytes - sizeof(header);
	if (length < NET_FRAME_MIN || length > NET_FRAME_MAX ||
	    !may_send(net, &header))
		return -EINVAL;
	if (net->link != NET_UP)
		return -ENETDOWN;
	count = segments_cut(chain->segments, chain->readable_count,
			     sizeof(header), length, segments);
	return net->backend->ops->send(net->backend, &header, segments, count,
				       (size_t)length);
}

static void send_chain(struct net *net)
{
	const struct virtqueue_chain *chain = &net->chain;
	int r = transmit(net, chain);

	if (r == -EAGAIN) {
		virtio_unpop(&net->virtio, SEND);
		net->send_blocked = true;
		return;
	}
	if (r == 0) {
		net->counters.sent_frames++;
		net->counters.sent_bytes +=
			chain->readable_bytes - sizeof(struct net_header);
	} else {
		net->counters.sent_dropped++;
		take_code(net, r);
	}
	virtio_push(&net->virtio, SEND, chain->head, 0);
}

static void send_all(struct net *net)
{
	do {
		while (!net->send_blocked &&
		       virtio_pop(&net->virtio, SEND, &net->chain))
			send_chain(net);
	} while (!net->send_blocked && virtio_listen(&net->virtio, SEND));
	virtio_signal(&net->virtio, SEND);
}

/* ---- the I/O thread's ways in ---- */

static void apply_offloads(struct net *net)
{
	const struct virtio *virtio = &net->virtio;
	unsigned offloads = 0;

	if (!net->offloads_due || !virtio_is_live(virtio))
		return;
	net->offloads_due = false;
	if (!net->backend->ops->set_offloads)
		return;
	if (virtio_has(virtio, F_GUEST_CSUM))
		offloads |= NET_OFFLOAD_CHECKSUM;
	if (virtio_has(virtio, F_GUEST_TSO4))
		offloads |= NET_OFFLOAD_TCP4;
	if (virtio_has(virtio, F_GUEST_TSO6))
		offloads |= NET_OFFLOAD_TCP6;
	net->backend->ops->set_offloads(net->backend, offloads);
}

/* The loop watches for what somebody waits for. */
static void arm(struct net *net)
{
	struct loop_watch *watch = &net->watch;
	uint32_t events = 0;

	if (watch->fd < 0)
		return;
	if (net->link == NET_GONE) {
		loop_remove(net->virtio.host->loop, watch);
		watch->fd = -1;
		return;
	}
	if (net->wants_frames)
		events |= EPOLLIN;
	if (net->send_blocked || net->link == NET_DOWN || net->backend->unsent)
		events |= EPOLLOUT;
	if (events == watch->events)
		return;
	watch->events = events;
	loop_change(net->virtio.host->loop, watch);
}

static void can_send(struct net *net)
{
	if (net->backend->ops->flush)
		take_code(net, net->backend->ops->flush(net->backend));
	if (net->link == NET_DOWN)
		set_link(net, NET_UP, "the host's interface is up again");
	if (!net->send_blocked)
		return;
	net->send_blocked = false;
	virtio_refill(&net->virtio, SEND);
	send_all(net);
}

static void backend_ready(struct loop_watch *watch, uint32_t events)
{
	struct net *net = watch->owner;

	pthread_mutex_lock(&net->virtio.lock);
	apply_offloads(net);
	if (events & (EPOLLERR | EPOLLHUP))
		take_code(net, -EPIPE);
	else if (events & EPOLLOUT)
		can_send(net);
	if (events & EPOLLIN && net->link != NET_GONE) {
		virtio_refill(&net->virtio, RECEIVE);
		receive(net);
	}
	arm(net);
	pthread_mutex_unlock(&net->virtio.lock);
}

static void serve(struct virtio *virtio, unsigned queue)
{
	struct net *net = net_of(virtio);

	apply_offloads(net);
	tell_link(net);
	if (queue == RECEIVE)
		receive(net);
	else
		send_all(net);
	arm(net);
}

/* ---- the device ---- */

static void config_read(struct virtio *virtio, void *config)
{
	const struct net *net = net_of(virtio);
	struct net_config fields = {
		.status = le16_make(net->link == NET_UP ? STATUS_LINK_UP : 0),
		.queue_pairs = le16_make(1),
		.mtu = le16_make(net->mtu),
	};

	memcpy(fields.mac, net->mac, sizeof(fields.mac));
	memcpy(config, &fields, sizeof(fields));
}

/* By a vCPU's thread: the backend is left to the I/O thread. */
static void started(struct virtio *virtio)
{
	struct net *net = net_of(virtio);

	net->offloads_due = true;
	/* It reads the status itself. */
	net->told_up = net->link == NET_UP;
}

static void reset(struct virtio *virtio)
{
	struct net *net = net_of(virtio);

	net->frame.length = 0;
	net->wants_frames = false;
	net->send_blocked = false;
}

/* ---- state ---- */

struct net_state {
	uint8_t mac[NET_MAC_SIZE];
	uint16_t mtu;
	uint8_t told_up;
};

static void save(struct virtio *virtio, struct state_writer *out)
{
	const struct net *net = net_of(virtio);

	section_put_bytes(out, net->mac, sizeof(net->mac));
	section_put_u16(out, net->mtu);
	section_put_u8(out, net->told_up);
}

static void take(struct virtio *virtio, struct section_reader *in, void *state)
{
	struct net_state *fields = state;

	(void)virtio;
	section_get_bytes(in, fields->mac, sizeof(fields->mac));
	fields->mtu = section_get_u16(in);
	fields->told_up = section_get_u8(in);
}

static int check(struct virtio *virtio, const void *state, struct err *err)
{
	const struct net_state *fields = state;

	(void)virtio;
	if (fields->told_up > 1 || fields->mac[0] & 1 ||
	    (fields->mtu && fields->mtu < NET_MTU_MIN))
		return err_set(err, -EBADMSG,
			       "the saved network device can't be");
	return 0;
}

static void apply(struct virtio *virtio, const void *state)
{
	const struct net_state *fields = state;
	struct net *net = net_of(virtio);

	memcpy(net->mac, fields->mac, sizeof(net->mac));
	/* What the driver was told holds; what nobody told, is the host's. */
	if (net->mtu && fields->mtu)
		net->mtu = fields->mtu;
	net->told_up = fields->told_up;
}

static const struct virtio_class net_class = {
	.device = { "virtio-net", 1, virtio_reset, virtio_save,
		    virtio_restore },
	.id = 1,
	.pci_class = 0x020000,
	.config_length = sizeof(struct net_config),
	.config_read = config_read,
	.started = started,
	.serve = serve,
	.reset = reset,
	.state_size = sizeof(struct net_state),
	.save = save,
	.take = take,
	.check = check,
	.apply = apply,
};

int net_init(struct net *net, unsigned instance, const struct virtio_host *host,
	     const struct net_options *options, struct err *err)
{
	struct net_backend *backend = options->backend;
	uint64_t features = F_MAC | F_STATUS | F_MERGE;
	int r;

	*net = (struct net){
		.backend = backend,
		.hooks = options->hooks,
		.watch = { backend->fd, 0, backend_ready, net },
		.mtu = options->mtu,
		.told_up = true,
	};
	memcpy(net->mac, options->mac, sizeof(net->mac));
	if (net->mtu)
		features |= F_MTU;
	if (backend->ops->set_offloads)
		features |= F_OFFLOADS;
	r = virtio_init(&net->virtio, &net_class, instance, host, features, 2,
			NET_QUEUE_SIZE, err);
	if (r < 0)
		return r;
	r = loop_add(host->loop, &net->watch, err);
	if (r < 0) {
		net->watch.fd = -1;
		net_release(net);
	}
	return r;
}

void net_release(struct net *net)
{
	if (!net->backend)
		return;
	if (net->virtio.class && net->watch.fd >= 0)
		loop_remove(net->virtio.host->loop, &net->watch);
	virtio_release(&net->virtio);
	net->backend = NULL;
}

void net_count(struct net *net, struct net_counters *out, bool *up)
{
	pthread_mutex_lock(&net->virtio.lock);
	*out = net->counters;
	*up = net->link == NET_UP;
	pthread_mutex_unlock(&net->virtio.lock);
}
