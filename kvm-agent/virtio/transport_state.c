/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reset, save and restore of a virtio device as a whole: PCI, MSI-X, what all
 * have in common, its queues, and the class's own fields behind. A restore
 * takes and checks everything before it changes anything; a queue that was
 * enabled must be in RAM, and the features must be ours.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "kvm-agent/virtio/transport.h"

struct queue_state {
	uint16_t size, vector;
	uint8_t enabled;
	uint64_t descriptors, driver, device;
	uint16_t next_available, next_used, signalled;
};

struct common_state {
	uint64_t accepted;
	uint32_t offered_select, accepted_select;
	uint16_t config_vector, queue_select;
	uint8_t status, generation, isr;
	uint8_t queue_count;
	struct queue_state queues[VIRTIO_QUEUES_MAX];
};

static struct virtio *virtio_of(struct device *device)
{
	return container_of(device, struct virtio, device);
}

void virtio_reset(struct device *device)
{
	struct virtio *virtio = virtio_of(device);

	pthread_mutex_lock(&virtio->lock);
	virtio_clear(virtio);
	virtio->generation = 0;
	pthread_mutex_unlock(&virtio->lock);
	/* Not with the lock: PCI's comes first. */
	msix_reset(&virtio->msix);
	pci_function_reset(&virtio->function);
}

static void save_queue(const struct virtio_queue *queue,
		       struct state_writer *out)
{
	const struct virtqueue *ring = &queue->ring;

	section_put_u16(out, (uint16_t)ring->size);
	section_put_u16(out, queue->vector);
	section_put_u8(out, ring->enabled);
	section_put_u64(out, ring->descriptors.value);
	section_put_u64(out, ring->driver.value);
	section_put_u64(out, ring->device.value);
	section_put_u16(out, ring->next_available);
	section_put_u16(out, ring->next_used);
	section_put_u16(out, ring->signalled);
}

void virtio_save(struct device *device, struct state_writer *out)
{
	struct virtio *virtio = virtio_of(device);

	pci_function_save(&virtio->function, out);
	msix_save(&virtio->msix, out);
	pthread_mutex_lock(&virtio->lock);
	assert(!virtio->under_way && !virtio->resetting);
	section_put_u64(out, virtio->accepted);
	section_put_u32(out, virtio->offered_select);
	section_put_u32(out, virtio->accepted_select);
	section_put_u16(out, virtio->config_vector);
	section_put_u16(out, virtio->queue_select);
	section_put_u8(out, virtio->status);
	section_put_u8(out, virtio->generation);
	section_put_u8(out, virtio->isr);
	section_put_u8(out, (uint8_t)virtio->queue_count);
	for (unsigned i = 0; i < virtio->queue_count; i++)
		save_queue(&virtio->queues[i], out);
	if (virtio->class->save)
		virtio->class->save(virtio, out);
	pthread_mutex_unlock(&virtio->lock);
}

static void take_common(const struct virtio *virtio, struct section_reader *in,
			struct common_state *state)
{
	*state = (struct common_state){ 0 };
	state->accepted = section_get_u64(in);
	state->offered_select = section_get_u32(in);
	state->accepted_select = section_get_u32(in);
	state->config_vector = section_get_u16(in);
	state->queue_select = section_get_u16(in);
	state->status = section_get_u8(in);
	state->generation = section_get_u8(in);
	state->isr = section_get_u8(in);
	state->queue_count = section_get_u8(in);
	for (unsigned i = 0; i < virtio->queue_count; i++) {
		struct queue_state *queue = &state->queues[i];

		queue->size = section_get_u16(in);
		queue->vector = section_get_u16(in);
		queue->enabled = section_get_u8(in);
		queue->descriptors = section_get_u64(in);
		queue->driver = section_get_u64(in);
		queue->device = section_get_u64(in);
		queue->next_available = section_get_u16(in);
		queue->next_used = section_get_u16(in);
		queue->signalled = section_get_u16(in);
	}
}

/* The ring that a queue's state describes; fails where it can't be. */
static int make_ring(const struct virtio *virtio, unsigned index,
		     const struct common_state *state, struct virtqueue *ring)
{
	const struct queue_state *queue = &state->queues[index];

	*ring = (struct virtqueue){
		.memory = virtio->host->memory,
		.size_max = virtio->queues[index].ring.size_max,
		.size = queue->size,
		.event_index = state->accepted & VIRTIO_F_EVENT_INDEX,
		.indirect = state->accepted & VIRTIO_F_INDIRECT,
		.descriptors = gpa_make(queue->descriptors),
		.driver = gpa_make(queue->driver),
		.device = gpa_make(queue->device),
		.next_available = queue->next_available,
		.next_used = queue->next_used,
		.signalled = queue->signalled,
	};
	if (queue->enabled > 1 || !is_power_of_two(ring->size) ||
	    ring->size > ring->size_max)
		return -EINVAL;
	return queue->enabled ? virtqueue_enable(ring) : 0;
}

static bool vector_is_good(const struct virtio *virtio, uint16_t vector)
{
	return vector == MSIX_NONE || vector < virtio->msix.count;
}

static int check_common(const struct virtio *virtio,
			const struct common_state *state, struct err *err)
{
	const char *name = virtio->class->device.name;
	struct virtqueue ring;

	if (state->queue_count != virtio->queue_count)
		return err_set(err, -EBADMSG,
			       "the saved %s has %u queues, "
			       "this one %u",
			       name, state->queue_count, virtio->queue_count);
	if (state->status & VIRTIO_STATUS_FEATURES_OK &&
	    (state->accepted & ~virtio->offered ||
	     !(state->accepted & VIRTIO_F_VERSION_1)))
		return err_set(err, -EBADMSG,
			       "the saved %s has features that this one has "
			       "not",
			       name);
	if (!vector_is_good(virtio, state->config_vector) ||
	    (state->status & VIRTIO_STATUS_DRIVER_OK &&
	     !(state->status & VIRTIO_STATUS_FEATURES_OK)))
		return err_set(err, -EBADMSG, "the saved %s can't be", name);
	for (unsigned i = 0; i < virtio->queue_count; i++) {
		if (!vector_is_good(virtio, state->queues[i].vector) ||
		    make_ring(virtio, i, state, &ring) < 0)
			return err_set(err, -EBADMSG,
				       "queue %u of the saved %s can't be", i,
				       name);
	}
	return 0;
}

static void apply_common(struct virtio *virtio,
			 const struct common_state *state, const void *own)
{
	const struct virtio_class *class = virtio->class;

	pthread_mutex_lock(&virtio->lock);
	virtio_clear(virtio);
	virtio->accepted = state->accepted;
	virtio->offered_select = state->offered_select;
	virtio->accepted_select = state->accepted_select;
	virtio->config_vector = state->config_vector;
	virtio->queue_select = state->queue_select;
	virtio->status = state->status;
	virtio->generation = state->generation;
	virtio->isr = state->isr;
	for (unsigned i = 0; i < virtio->queue_count; i++) {
		/* It could a moment ago. */
		(void)make_ring(virtio, i, state, &virtio->queues[i].ring);
		virtio->queues[i].vector = state->queues[i].vector;
	}
	if (virtio->status & VIRTIO_STATUS_DRIVER_OK && class->started)
		class->started(virtio);
	if (class->apply)
		class->apply(virtio, own);
	pthread_mutex_unlock(&virtio->lock);
}

int virtio_restore(struct device *device, struct section_reader *in,
		   struct err *err)
{
	struct virtio *virtio = virtio_of(device);
	const struct virtio_class *class = virtio->class;
	struct pci_function_state function;
	struct common_state common;
	struct msix_state msix;
	autofree void *own = NULL;
	int r = alloc_array(&own, 1, class->state_size + 1, err);

	if (r < 0)
		return r;
	pci_function_take(in, &function);
	msix_take(&virtio->msix, in, &msix);
	take_common(virtio, in, &common);
	if (class->take)
		class->take(virtio, in, own);
	r = section_done(in, err);
	if (!r)
		r = pci_function_check(&virtio->function, &function, err);
	if (!r)
		r = msix_check(&virtio->msix, &msix, err);
	if (!r)
		r = check_common(virtio, &common, err);
	if (!r && class->check)
		r = class->check(virtio, own, err);
	if (r < 0)
		return r;
	apply_common(virtio, &common, own);
	msix_apply(&virtio->msix, &msix);
	pci_function_apply(&virtio->function, &function);
	return 0;
}
