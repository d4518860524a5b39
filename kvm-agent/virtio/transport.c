/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a virtio device: who serves its queues and when it stops.
 *
 * A vCPU that notifies only leaves a bit and a post (or an eventfd) behind;
 * the I/O thread does the work, a bounded share of a queue at a time so that a
 * guest that never stops filling one can't keep the others waiting. A driver
 * that breaks a rule gets NEEDS_RESET, and nothing more is done for it.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "kvm-agent/virtio/transport.h"

#define SHARE 256u /* chains of a queue before others have their turn */

static void serve(struct virtio *virtio, unsigned index)
{
	struct virtio_queue *queue = &virtio->queues[index];

	if (!virtio_is_live(virtio) || !queue->ring.enabled)
		return;
	queue->budget = SHARE;
	virtqueue_hush(&queue->ring);
	virtio->class->serve(virtio, index);
}

/* Work of the loop: the queues with a bit. */
static void look(struct loop_work *work)
{
	struct virtio *virtio = container_of(work, struct virtio, look);
	uint64_t kicked =
		__atomic_exchange_n(&virtio->kicked, 0, __ATOMIC_ACQ_REL);

	pthread_mutex_lock(&virtio->lock);
	for (unsigned i = 0; i < virtio->queue_count; i++) {
		if (kicked >> i & 1)
			serve(virtio, i);
	}
	pthread_mutex_unlock(&virtio->lock);
}

static void look_at(struct virtio *virtio, uint64_t queues)
{
	__atomic_fetch_or(&virtio->kicked, queues, __ATOMIC_ACQ_REL);
	loop_post(virtio->host->loop, &virtio->look);
}

void virtio_look(struct virtio *virtio, unsigned queue)
{
	if (queue < virtio->queue_count)
		look_at(virtio, 1ULL << queue);
}

static void doorbell_rang(struct loop_watch *watch, uint32_t events)
{
	struct virtio_queue *queue = watch->owner;
	struct virtio *virtio = queue->virtio;
	uint64_t count;

	(void)events;
	if (read(watch->fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&virtio->lock);
	serve(virtio, (unsigned)(queue - virtio->queues));
	pthread_mutex_unlock(&virtio->lock);
}

/* ---- for classes ---- */

bool virtio_is_live(const struct virtio *virtio)
{
	return virtio->status & VIRTIO_STATUS_DRIVER_OK &&
	       !(virtio->status &
		 (VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED)) &&
	       !virtio->resetting &&
	       !__atomic_load_n(&virtio->quiesced, __ATOMIC_ACQUIRE) &&
	       pci_function_command(&virtio->function) & PCI_COMMAND_MASTER;
}

bool virtio_is_ending(const struct virtio *virtio)
{
	return virtio->resetting ||
	       __atomic_load_n(&virtio->cut, __ATOMIC_ACQUIRE);
}

static void raise_vector(struct virtio *virtio, uint16_t vector, uint8_t isr)
{
	if (!msix_is_enabled(&virtio->msix))
		virtio->isr |= isr;
	else
		msix_raise(&virtio->msix, vector);
}

void virtio_config_changed(struct virtio *virtio)
{
	virtio->generation++;
	if (virtio->status & VIRTIO_STATUS_DRIVER_OK)
		raise_vector(virtio, virtio->config_vector, 2);
}

void virtio_break(struct virtio *virtio, const char *why)
{
	if (virtio->status & VIRTIO_STATUS_NEEDS_RESET)
		return;
	virtio->status |= VIRTIO_STATUS_NEEDS_RESET;
	if (virtio->status & VIRTIO_STATUS_DRIVER_OK)
		raise_vector(virtio, virtio->config_vector, 2);
	if (virtio->host->broken)
		virtio->host->broken(virtio->host, virtio->class->device.name,
				     virtio->device.instance, why);
}

bool virtio_pop(struct virtio *virtio, unsigned index,
		struct virtqueue_chain *chain)
{
	struct virtio_queue *queue = &virtio->queues[index];
	int r;

	if (!virtio_is_live(virtio))
		return false;
	if (!queue->budget) {
		look_at(virtio, 1ULL << index);
		return false;
	}
	r = virtqueue_pop(&queue->ring, chain);
	if (r < 0)
		virtio_break(virtio, queue->ring.broken);
	if (r <= 0)
		return false;
	queue->budget--;
	return true;
}

void virtio_unpop(struct virtio *virtio, unsigned index)
{
	virtqueue_unpop(&virtio->queues[index].ring);
}

void virtio_refill(struct virtio *virtio, unsigned index)
{
	virtio->queues[index].budget = SHARE;
}

void virtio_push_all(struct virtio *virtio, unsigned index,
		     const struct virtqueue_used *used, unsigned count)
{
	/* A broken driver's rings are left alone. */
	if (!(virtio->status & VIRTIO_STATUS_NEEDS_RESET))
		virtqueue_push_all(&virtio->queues[index].ring, used, count);
}

void virtio_push(struct virtio *virtio, unsigned index, uint16_t head,
		 uint32_t written)
{
	struct virtqueue_used used = { head, written };

	virtio_push_all(virtio, index, &used, 1);
}

bool virtio_listen(struct virtio *virtio, unsigned index)
{
	/* Without budget it is on its way already. */
	return virtio_is_live(virtio) &&
	       virtqueue_listen(&virtio->queues[index].ring) &&
	       virtio->queues[index].budget;
}

void virtio_signal(struct virtio *virtio, unsigned index)
{
	struct virtio_queue *queue = &virtio->queues[index];

	if (!(virtio->status & VIRTIO_STATUS_NEEDS_RESET) &&
	    virtqueue_wants_interrupt(&queue->ring))
		raise_vector(virtio, queue->vector, 1);
}

void virtio_hold(struct virtio *virtio)
{
	virtio->under_way++;
}

void virtio_let_go(struct virtio *virtio)
{
	assert(virtio->under_way);
	virtio->under_way--;
	if (!virtio->under_way &&
	    (virtio->resetting ||
	     __atomic_load_n(&virtio->quiesced, __ATOMIC_ACQUIRE)))
		loop_post(virtio->host->loop, &virtio->settle);
}

/* ---- stopping ---- */

void virtio_clear(struct virtio *virtio)
{
	assert(!virtio->under_way);
	if (virtio->class->reset)
		virtio->class->reset(virtio);
	virtio->accepted = 0;
	virtio->offered_select = virtio->accepted_select = 0;
	virtio->config_vector = MSIX_NONE;
	virtio->queue_select = 0;
	virtio->status = 0;
	virtio->isr = 0;
	virtio->resetting = false;
	for (unsigned i = 0; i < virtio->queue_count; i++) {
		virtqueue_reset(&virtio->queues[i].ring);
		virtio->queues[i].vector = MSIX_NONE;
	}
}

/* Who waits for it is told, once. */
static void tell_quiet(struct virtio *virtio)
{
	pthread_mutex_lock(&virtio->quiet_lock);
	if (virtio->quiet)
		virtio->quiet(virtio->quiet_arg);
	virtio->quiet = NULL;
	pthread_mutex_unlock(&virtio->quiet_lock);
}

/* Work of the loop: what waited for the last request. */
static void settle(struct loop_work *work)
{
	struct virtio *virtio = container_of(work, struct virtio, settle);
	bool quiet;

	pthread_mutex_lock(&virtio->lock);
	quiet = !virtio->under_way;
	if (quiet && virtio->resetting)
		virtio_clear(virtio);
	pthread_mutex_unlock(&virtio->lock);
	/* Only this thread begins a request, and not before it is back. */
	if (quiet)
		tell_quiet(virtio);
}

void virtio_quiesce(struct virtio *virtio, void (*done)(void *arg), void *arg)
{
	__atomic_store_n(&virtio->quiesced, true, __ATOMIC_RELEASE);
	pthread_mutex_lock(&virtio->quiet_lock);
	virtio->quiet = done;
	virtio->quiet_arg = arg;
	pthread_mutex_unlock(&virtio->quiet_lock);
	loop_post(virtio->host->loop, &virtio->settle);
}

void virtio_cut(struct virtio *virtio)
{
	__atomic_store_n(&virtio->cut, true, __ATOMIC_RELEASE);
}

void virtio_resume(struct virtio *virtio)
{
	pthread_mutex_lock(&virtio->quiet_lock);
	virtio->quiet = NULL;
	pthread_mutex_unlock(&virtio->quiet_lock);
	__atomic_store_n(&virtio->cut, false, __ATOMIC_RELEASE);
	__atomic_store_n(&virtio->quiesced, false, __ATOMIC_RELEASE);
	look_at(virtio, ~0ULL);
}

/* ---- putting together ---- */

static int add_doorbell(struct virtio_queue *queue, struct err *err)
{
	struct virtio *virtio = queue->virtio;
	autofd int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r;

	if (fd < 0)
		return err_sys(err, -errno, "a virtio queue's doorbell");
	queue->doorbell =
		(struct loop_watch){ fd, EPOLLIN, doorbell_rang, queue };
	r = loop_add(virtio->host->loop, &queue->doorbell, err);
	if (r < 0) {
		queue->doorbell.fd = -1;
		return r;
	}
	(void)fd_steal(&fd);
	return 0;
}

static void drop_doorbells(struct virtio *virtio)
{
	for (unsigned i = 0; i < virtio->queue_count; i++) {
		struct loop_watch *watch = &virtio->queues[i].doorbell;

		if (watch->fd < 0)
			continue;
		loop_remove(virtio->host->loop, watch);
		close(watch->fd);
		watch->fd = -1;
	}
}

int virtio_init(struct virtio *virtio, const struct virtio_class *class,
		unsigned instance, const struct virtio_host *host,
		uint64_t features, unsigned queue_count, unsigned size,
		struct err *err)
{
	int r = 0;

	assert(queue_count <= VIRTIO_QUEUES_MAX && is_power_of_two(size));
	assert(size <= VIRTQUEUE_SIZE_MAX);
	virtio->device = (struct device){ &class->device, instance };
	virtio->class = class;
	virtio->host = host;
	virtio->offered = features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT |
			  VIRTIO_F_EVENT_INDEX;
	virtio->look.run = look;
	virtio->settle.run = settle;
	virtio->queue_count = queue_count;
	for (unsigned i = 0; i < queue_count; i++) {
		struct virtio_queue *queue = &virtio->queues[i];

		queue->ring.memory = host->memory;
		queue->ring.size_max = size;
		queue->virtio = virtio;
		queue->vector = MSIX_NONE;
		queue->doorbell.fd = -1;
		virtqueue_reset(&queue->ring);
	}
	virtio->config_vector = MSIX_NONE;
	for (unsigned i = 0; !r && host->doorbells && i < queue_count; i++)
		r = add_doorbell(&virtio->queues[i], err);
	pthread_mutex_init(&virtio->lock, NULL);
	pthread_mutex_init(&virtio->quiet_lock, NULL);
	if (!r)
		r = virtio_pci_attach(virtio, err);
	if (r < 0) {
		drop_doorbells(virtio);
		pthread_mutex_destroy(&virtio->lock);
		pthread_mutex_destroy(&virtio->quiet_lock);
		virtio->class = NULL;
	}
	return r;
}

void virtio_release(struct virtio *virtio)
{
	if (!virtio->class)
		return;
	assert(!virtio->under_way);
	pci_bus_detach(&virtio->function);
	drop_doorbells(virtio);
	msix_release(&virtio->msix);
	pthread_mutex_destroy(&virtio->lock);
	pthread_mutex_destroy(&virtio->quiet_lock);
	virtio->class = NULL;
}
