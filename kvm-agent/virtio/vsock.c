/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets out of the rings and into them. What the guest is told needs a buffer
 * of the guest's; where it gives none, connections wait, and once the list of
 * refusals is full its own packets do: so a guest that only talks stops itself.
 */
#include <errno.h>
#include <string.h>

#include "kvm-agent/virtio/vsock.h"

#define QUEUE_SIZE  128u
#define QUEUES      3u
#define TO_GUEST    0u
#define FROM_GUEST  1u
#define EVENTS      2u

#define EVENT_RESET 0u /* of the transport */

struct vsock_config {
	le64 guest_cid;
};
_Static_assert(sizeof(struct vsock_config) == 8, "virtio 1.x, 5.10.4");

static struct virtio_vsock *vsock_of(struct virtio *virtio)
{
	return container_of(virtio, struct virtio_vsock, virtio);
}

/* ---- to the guest ---- */

/* False: there was nothing for it after all. */
static bool fill(struct virtio_vsock *device,
		 const struct virtqueue_chain *chain)
{
	struct vsock_header header;
	size_t size;

	if (!vsock_give(&device->vsock, &header, device->data,
			(size_t)(chain->writable_bytes - sizeof(header))))
		return false;
	size = chain_write(chain, 0, &header, sizeof(header));
	size += chain_write(chain, sizeof(header), device->data,
			    le32_get(header.length));
	virtio_push(&device->virtio, TO_GUEST, chain->head, (uint32_t)size);
	return true;
}

static void give_all(struct virtio_vsock *device)
{
	struct virtio *virtio = &device->virtio;
	struct virtqueue_chain chain;

	while (vsock_has_some(&device->vsock)) {
		if (!virtio_pop(virtio, TO_GUEST, &chain)) {
			if (virtio_listen(virtio, TO_GUEST))
				continue;
			break;
		}
		if (chain.writable_bytes < sizeof(struct vsock_header)) {
			virtio_break(virtio, "a buffer without room for a "
					     "packet's header");
			break;
		}
		if (!fill(device, &chain)) {
			virtio_unpop(virtio, TO_GUEST);
			break;
		}
	}
	virtio_signal(virtio, TO_GUEST);
	if (device->held && vsock_can_take(&device->vsock)) {
		device->held = false;
		virtio_look(virtio, FROM_GUEST);
	}
}

static void give_events(struct virtio_vsock *device)
{
	struct virtio *virtio = &device->virtio;
	le32 event = le32_make(EVENT_RESET);
	struct virtqueue_chain chain;

	while (device->event_due) {
		if (!virtio_pop(virtio, EVENTS, &chain)) {
			if (virtio_listen(virtio, EVENTS))
				continue;
			break;
		}
		if (chain_write(&chain, 0, &event, sizeof(event)) <
		    sizeof(event)) {
			virtio_break(virtio, "a buffer without room for an "
					     "event");
			break;
		}
		device->event_due = false;
		virtio_push(virtio, EVENTS, chain.head, sizeof(event));
	}
	virtio_signal(virtio, EVENTS);
}

/* ---- from the guest ---- */

static bool take_chain(struct virtio_vsock *device,
		       const struct virtqueue_chain *chain)
{
	struct vsock_header header;
	uint64_t size = chain->readable_bytes - sizeof(header);

	if (chain_read(chain, 0, &header, sizeof(header)) < sizeof(header))
		return false;
	if (le16_get(header.op) == VSOCK_DATA)
		(void)chain_read(
			chain, sizeof(header), device->data,
			min_u64(le32_get(header.length), VSOCK_DATA_MAX));
	vsock_take(&device->vsock, &header, device->data, size);
	return true;
}

static void take_all(struct virtio_vsock *device)
{
	struct virtio *virtio = &device->virtio;
	struct virtqueue_chain chain;

	do {
		while (vsock_can_take(&device->vsock) &&
		       virtio_pop(virtio, FROM_GUEST, &chain)) {
			if (!take_chain(device, &chain)) {
				virtio_break(virtio, "a packet that is shorter "
						     "than its header");
				return;
			}
			virtio_push(virtio, FROM_GUEST, chain.head, 0);
		}
		device->held = !vsock_can_take(&device->vsock);
	} while (!device->held && virtio_listen(virtio, FROM_GUEST));
	virtio_signal(virtio, FROM_GUEST);
}

/* A driver that broke a rule has no connections any more. */
static void drop_broken(struct virtio_vsock *device)
{
	if (device->virtio.status & VIRTIO_STATUS_NEEDS_RESET)
		vsock_reset(&device->vsock);
}

static void serve(struct virtio *virtio, unsigned queue)
{
	struct virtio_vsock *device = vsock_of(virtio);

	if (queue == EVENTS)
		give_events(device);
	if (queue == FROM_GUEST) {
		take_all(device);
		virtio_refill(virtio, TO_GUEST);
	}
	if (queue != EVENTS)
		give_all(device);
	drop_broken(device);
}

/* ---- the host's ends ---- */

static void begin(struct virtio_vsock *device)
{
	pthread_mutex_lock(&device->virtio.lock);
	virtio_refill(&device->virtio, TO_GUEST);
}

static void finish(struct virtio_vsock *device)
{
	give_all(device);
	drop_broken(device);
	pthread_mutex_unlock(&device->virtio.lock);
}

int virtio_vsock_open(struct virtio_vsock *device, uint32_t guest_port,
		      void *end)
{
	const uint8_t wanted = VIRTIO_STATUS_DRIVER_OK;
	const uint8_t unwanted =
		VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED;
	int r = -ENOTCONN;

	begin(device);
	if ((device->virtio.status & (wanted | unwanted)) == wanted)
		r = vsock_open(&device->vsock, guest_port, end);
	finish(device);
	return r;
}

void virtio_vsock_ready(struct virtio_vsock *device, unsigned id, bool readable,
			bool writable, bool hung_up)
{
	begin(device);
	vsock_ready(&device->vsock, id, readable, writable, hung_up);
	finish(device);
}

bool virtio_vsock_tick(struct virtio_vsock *device)
{
	bool more;

	begin(device);
	more = vsock_tick(&device->vsock);
	finish(device);
	return more;
}

/* ---- the device ---- */

static void config_read(struct virtio *virtio, void *config)
{
	const struct vsock_config fields = {
		.guest_cid = le64_make(vsock_of(virtio)->vsock.guest_cid)
	};

	memcpy(config, &fields, sizeof(fields));
}

static void reset(struct virtio *virtio)
{
	struct virtio_vsock *device = vsock_of(virtio);

	vsock_reset(&device->vsock);
	device->event_due = device->held = false;
}

static void save(struct virtio *virtio, struct state_writer *out)
{
	section_put_u64(out, vsock_of(virtio)->vsock.guest_cid);
}

static void take(struct virtio *virtio, struct section_reader *in, void *state)
{
	(void)virtio;
	*(uint64_t *)state = section_get_u64(in);
}

static int check(struct virtio *virtio, const void *state, struct err *err)
{
	const uint64_t *cid = state;

	(void)virtio;
	if (*cid <= VSOCK_HOST_CID || *cid > VSOCK_CID_MAX)
		return err_set(err, -EBADMSG,
			       "the CID of the saved virtio-vsock can't be");
	return 0;
}

static void apply(struct virtio *virtio, const void *state)
{
	struct virtio_vsock *device = vsock_of(virtio);

	device->vsock.guest_cid = *(const uint64_t *)state;
	/* It may have had connections: nobody is at the host's ends now. */
	device->event_due = virtio->status & VIRTIO_STATUS_DRIVER_OK;
}

static const struct virtio_class vsock_class = {
	.device = { "virtio-vsock", 1, virtio_reset, virtio_save,
		    virtio_restore },
	.id = 19,
	.pci_class = 0x078000,
	.config_length = sizeof(struct vsock_config),
	.config_read = config_read,
	.serve = serve,
	.reset = reset,
	.state_size = sizeof(uint64_t),
	.save = save,
	.take = take,
	.check = check,
	.apply = apply,
};

int virtio_vsock_init(struct virtio_vsock *device, unsigned instance,
		      const struct virtio_host *host, struct vsock_hooks *hooks,
		      struct err *err)
{
	memset(device, 0, sizeof(*device));
	vsock_init(&device->vsock, hooks);
	return virtio_init(&device->virtio, &vsock_class, instance, host, 0,
			   QUEUES, QUEUE_SIZE, err);
}

void virtio_vsock_release(struct virtio_vsock *device)
{
	vsock_reset(&device->vsock);
	virtio_release(&device->virtio);
}
