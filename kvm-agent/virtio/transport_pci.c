/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers: one BAR with a page for each structure, so that a doorbell of
 * the kernel's has its page to itself, and the capabilities that say where
 * they are, with the window into the BAR through configuration space. What a
 * driver may write when is decided here; a write out of order is dropped.
 */
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/virtio/transport.h"

#define VENDOR            0x1af4
#define DEVICE_FIRST      0x1040
#define SUBSYSTEM         0x0040

#define CAPABILITY_VENDOR 0x09
#define CAPABILITY_COMMON 1
#define CAPABILITY_NOTIFY 2
#define CAPABILITY_ISR    3
#define CAPABILITY_CONFIG 4
#define CAPABILITY_WINDOW 5

#define NOTIFY_MULTIPLIER 4u
#define PAGE              0x1000u

struct capability {
	uint8_t id, next;
	uint8_t length, type, bar, id_of_type, padding[2];
	le32 offset, size;
	le32 more; /* multiplier of NOTIFY; data of WINDOW */
};
_Static_assert(sizeof(struct capability) == 20, "virtio 1.x, 4.1.4");

/* virtio 1.x, 4.1.4.3 */
struct common {
	le32 offered_select, offered, accepted_select, accepted;
	le16 config_vector, queue_count;
	uint8_t status, generation;
	le16 queue_select, queue_size, queue_vector, queue_enable, notify_off;
	le64 descriptors, driver, device;
};
_Static_assert(sizeof(struct common) == 56, "virtio 1.x, 4.1.4.3");

static struct virtio *virtio_of(struct pci_function *function)
{
	return container_of(function, struct virtio, function);
}

/* ---- the common configuration ---- */

static struct virtio_queue *selected(struct virtio *virtio)
{
	return virtio->queue_select < virtio->queue_count
		       ? &virtio->queues[virtio->queue_select]
		       : NULL;
}

static uint32_t half(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> 32 * select) : 0;
}

void virtio_common_read(struct virtio *virtio, uint64_t offset, void *data,
			unsigned length)
{
	const struct virtio_queue *queue = selected(virtio);
	struct common common = {
		.offered_select = le32_make(virtio->offered_select),
		.offered = le32_make(
			half(virtio->offered, virtio->offered_select)),
		.accepted_select = le32_make(virtio->accepted_select),
		.accepted = le32_make(
			half(virtio->accepted, virtio->accepted_select)),
		.config_vector = le16_make(virtio->config_vector),
		.queue_count = le16_make((uint16_t)virtio->queue_count),
		.status = virtio->status,
		.generation = virtio->generation,
		.queue_select = le16_make(virtio->queue_select),
	};

	if (queue) {
		common.queue_size = le16_make((uint16_t)queue->ring.size);
		common.queue_vector = le16_make(queue->vector);
		common.queue_enable = le16_make(queue->ring.enabled);
		common.notify_off = le16_make(virtio->queue_select);
		common.descriptors = le64_make(queue->ring.descriptors.value);
		common.driver = le64_make(queue->ring.driver.value);
		common.device = le64_make(queue->ring.device.value);
	}
	memset(data, 0, length);
	if (offset < sizeof(common))
		memcpy(data, (const uint8_t *)&common + offset,
		       min_u64(length, sizeof(common) - offset));
}

static void accept_features(struct virtio *virtio, uint32_t value)
{
	unsigned shift = 32 * virtio->accepted_select;

	if (virtio->accepted_select > 1 ||
	    virtio->status & VIRTIO_STATUS_FEATURES_OK)
		return;
	virtio->accepted &= ~(0xffffffffULL << shift);
	virtio->accepted |= (uint64_t)value << shift;
}

static void start(struct virtio *virtio)
{
	for (unsigned i = 0; i < virtio->queue_count; i++) {
		struct virtqueue *ring = &virtio->queues[i].ring;

		ring->event_index = virtio_has(virtio, VIRTIO_F_EVENT_INDEX);
		ring->indirect = virtio_has(virtio, VIRTIO_F_INDIRECT);
	}
	if (virtio->class->started)
		virtio->class->started(virtio);
	for (unsigned i = 0; i < virtio->queue_count; i++)
		virtio_look(virtio, i);
}

static void write_status(struct virtio *virtio, uint8_t value)
{
	uint8_t news = (uint8_t)(value & ~virtio->status);

	if (virtio->resetting)
		return;
	if (!value) {
		/* It reads as it was until the last request is done. */
		if (virtio->under_way)
			virtio->resetting = true;
		else
			virtio_clear(virtio);
		return;
	}
	virtio->status |= news & (VIRTIO_STATUS_ACKNOWLEDGE |
				  VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FAILED);
	if (news & VIRTIO_STATUS_FEATURES_OK &&
	    virtio_has(virtio, VIRTIO_F_VERSION_1) &&
	    !(virtio->accepted & ~virtio->offered))
		virtio->status |= VIRTIO_STATUS_FEATURES_OK;
	if (news & VIRTIO_STATUS_DRIVER_OK &&
	    virtio->status & VIRTIO_STATUS_FEATURES_OK) {
		virtio->status |= VIRTIO_STATUS_DRIVER_OK;
		start(virtio);
	}
}

static uint16_t good_vector(const struct virtio *virtio, uint16_t vector)
{
	return vector < virtio->msix.count ? vector : MSIX_NONE;
}

static void enable_queue(struct virtio *virtio, struct virtqueue *ring)
{
	if (virtqueue_enable(ring) < 0)
		virtio_break(virtio, "a queue that is not in RAM");
}

/* While it may be set up: after the features, before it is enabled. */
static void write_queue(struct virtio *virtio, unsigned offset, uint64_t value)
{
	struct virtio_queue *queue = selected(virtio);
	struct virtqueue *ring;

	if (!queue)
		return;
	if (offset == offsetof(struct common, queue_vector)) {
		queue->vector = good_vector(virtio, (uint16_t)value);
		return;
	}
	ring = &queue->ring;
	if (ring->enabled || virtio->status & VIRTIO_STATUS_DRIVER_OK ||
	    !(virtio->status & VIRTIO_STATUS_FEATURES_OK))
		return;
	switch (offset) {
	case offsetof(struct common, queue_size):
		if (is_power_of_two(value) && value <= ring->size_max)
			ring->size = (unsigned)value;
		break;
	case offsetof(struct common, queue_enable):
		if (value == 1)
			enable_queue(virtio, ring);
		break;
	}
}

static uint64_t with_word(uint64_t old, uint32_t word, bool high)
{
	return high ? (uint32_t)old | (uint64_t)word << 32
		    : (old & ~0xffffffffULL) | word;
}

static void write_area(struct virtio *virtio, unsigned offset, uint32_t word)
{
	struct virtio_queue *queue = selected(virtio);
	unsigned at = offset - (unsigned)offsetof(struct common, descriptors);
	struct gpa *areas[3];

	if (!queue || queue->ring.enabled ||
	    virtio->status & VIRTIO_STATUS_DRIVER_OK ||
	    !(virtio->status & VIRTIO_STATUS_FEATURES_OK))
		return;
	areas[0] = &queue->ring.descriptors;
	areas[1] = &queue->ring.driver;
	areas[2] = &queue->ring.device;
	*areas[at / 8] =
		gpa_make(with_word(areas[at / 8]->value, word, at % 8));
}

static void write_field(struct virtio *virtio, unsigned offset, unsigned length,
			uint32_t value)
{
	switch (offset | length << 8) {
	case offsetof(struct common, offered_select) | 4 << 8:
		virtio->offered_select = value;
		break;
	case offsetof(struct common, accepted_select) | 4 << 8:
		virtio->accepted_select = value;
		break;
	case offsetof(struct common, accepted) | 4 << 8:
		accept_features(virtio, value);
		break;
	case offsetof(struct common, config_vector) | 2 << 8:
		virtio->config_vector = good_vector(virtio, (uint16_t)value);
		break;
	case offsetof(struct common, status) | 1 << 8:
		write_status(virtio, (uint8_t)value);
		break;
	case offsetof(struct common, queue_select) | 2 << 8:
		virtio->queue_select = (uint16_t)value;
		break;
	case offsetof(struct common, queue_size) | 2 << 8:
	case offsetof(struct common, queue_vector) | 2 << 8:
	case offsetof(struct common, queue_enable) | 2 << 8:
		write_queue(virtio, offset, value);
		break;
	}
}

void virtio_common_write(struct virtio *virtio, uint64_t offset,
			 const void *data, unsigned length)
{
	unsigned at = (unsigned)offset;
	le32 words[2] = { 0 };

	if (offset >= sizeof(struct common) || length > sizeof(words) ||
	    offset % length)
		return;
	memcpy(words, data, length);
	if (at < offsetof(struct common, descriptors)) {
		if (length <= 4)
			write_field(virtio, at, length, le32_get(words[0]));
	} else if (length >= 4) {
		write_area(virtio, at, le32_get(words[0]));
		if (length == 8)
			write_area(virtio, at + 4, le32_get(words[1]));
	}
}

/* ---- the BAR ---- */

static void read_config(struct virtio *virtio, uint64_t offset, void *data,
			unsigned length)
{
	uint8_t config[VIRTIO_CONFIG_MAX] = { 0 };

	memset(data, 0, length);
	if (!virtio->class->config_read ||
	    offset >= virtio->class->config_length)
		return;
	virtio->class->config_read(virtio, config);
	memcpy(data, config + offset,
	       min_u64(length, virtio->class->config_length - offset));
}

static void write_config(struct virtio *virtio, uint64_t offset,
			 const void *data, unsigned length)
{
	if (virtio->class->config_write &&
	    offset < virtio->class->config_length &&
	    length <= virtio->class->config_length - offset)
		virtio->class->config_write(virtio, (unsigned)offset, data,
					    length);
}

static void bar_read(struct pci_function *function, unsigned bar,
		     uint64_t offset, void *data, unsigned length)
{
	struct virtio *virtio = virtio_of(function);

	(void)bar;
	memset(data, 0, length);
	if (offset / PAGE == VIRTIO_BAR_TABLE / PAGE)
		msix_table_read(&virtio->msix, offset % PAGE, data, length);
	if (offset / PAGE == VIRTIO_BAR_PENDING / PAGE)
		msix_pending_read(&virtio->msix, offset % PAGE, data, length);
	pthread_mutex_lock(&virtio->lock);
	if (offset / PAGE == VIRTIO_BAR_COMMON / PAGE)
		virtio_common_read(virtio, offset % PAGE, data, length);
	if (offset / PAGE == VIRTIO_BAR_CONFIG / PAGE)
		read_config(virtio, offset % PAGE, data, length);
	if (offset == VIRTIO_BAR_ISR) {
		*(uint8_t *)data = virtio->isr;
		virtio->isr = 0;
	}
	pthread_mutex_unlock(&virtio->lock);
}

static void bar_write(struct pci_function *function, unsigned bar,
		      uint64_t offset, const void *data, unsigned length)
{
	struct virtio *virtio = virtio_of(function);

	(void)bar;
	if (offset / PAGE == VIRTIO_BAR_TABLE / PAGE)
		msix_table_write(&virtio->msix, offset % PAGE, data, length);
	if (offset / PAGE == VIRTIO_BAR_NOTIFY / PAGE)
		virtio_look(virtio,
			    (unsigned)(offset % PAGE) / NOTIFY_MULTIPLIER);
	pthread_mutex_lock(&virtio->lock);
	if (offset / PAGE == VIRTIO_BAR_COMMON / PAGE)
		virtio_common_write(virtio, offset % PAGE, data, length);
	if (offset / PAGE == VIRTIO_BAR_CONFIG / PAGE)
		write_config(virtio, offset % PAGE, data, length);
	pthread_mutex_unlock(&virtio->lock);
}

static void bar_mapped(struct pci_function *function, unsigned bar,
		       uint64_t address)
{
	struct virtio *virtio = virtio_of(function);
	struct doorbells *doorbells = virtio->host->doorbells;

	(void)bar;
	for (unsigned i = 0; doorbells && i < virtio->queue_count; i++)
		(void)doorbells->add(doorbells,
				     address + VIRTIO_BAR_NOTIFY +
					     (uint64_t)NOTIFY_MULTIPLIER * i,
				     virtio->queues[i].doorbell.fd, NULL);
}

static void bar_unmapped(struct pci_function *function, unsigned bar,
			 uint64_t address)
{
	struct virtio *virtio = virtio_of(function);
	struct doorbells *doorbells = virtio->host->doorbells;

	(void)bar;
	for (unsigned i = 0; doorbells && i < virtio->queue_count; i++)
		doorbells->remove(doorbells,
				  address + VIRTIO_BAR_NOTIFY +
					  (uint64_t)NOTIFY_MULTIPLIER * i,
				  virtio->queues[i].doorbell.fd);
}

/* ---- the window through configuration space ---- */

/* What it shows of the BAR; false: nothing that can be. */
static bool window(const struct virtio *virtio, uint32_t *offset,
		   uint32_t *length)
{
	struct capability capability;

	memcpy(&capability, virtio->function.config + virtio->pci_window,
	       sizeof(capability));
	*offset = le32_get(capability.offset);
	*length = le32_get(capability.size);
	return !capability.bar &&
	       (*length == 1 || *length == 2 || *length == 4) &&
	       *offset % *length == 0 && *offset < VIRTIO_BAR_SIZE;
}

static bool touches_window(const struct virtio *virtio, unsigned offset,
			   unsigned length)
{
	unsigned data = virtio->pci_window +
			(unsigned)offsetof(struct capability, more);

	return offset < data + 4 && data < offset + length;
}

static uint8_t *window_data(struct virtio *virtio)
{
	return virtio->function.config + virtio->pci_window +
	       offsetof(struct capability, more);
}

static void config_read(struct pci_function *function, unsigned offset,
			unsigned length)
{
	struct virtio *virtio = virtio_of(function);
	uint32_t at, size;

	if (touches_window(virtio, offset, length) &&
	    window(virtio, &at, &size))
		bar_read(function, 0, at, window_data(virtio), size);
}

static void config_written(struct pci_function *function, unsigned offset,
			   unsigned length)
{
	struct virtio *virtio = virtio_of(function);
	uint32_t at, size;

	msix_config_written(&virtio->msix, function);
	/* All of it at once is not the guest: a reset, or a restore. */
	if (length != PCI_CONFIG_SIZE &&
	    touches_window(virtio, offset, length) &&
	    window(virtio, &at, &size))
		bar_write(function, 0, at, window_data(virtio), size);
	if (offset <= PCI_COMMAND && PCI_COMMAND < offset + length) {
		for (unsigned i = 0; i < virtio->queue_count; i++)
			virtio_look(virtio, i);
	}
}

static const struct pci_function_ops function_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.config_read = config_read,
	.config_written = config_written,
	.bar_mapped = bar_mapped,
	.bar_unmapped = bar_unmapped,
};

static void add_structure(struct virtio *virtio, uint8_t type, uint32_t offset,
			  uint32_t size)
{
	bool notify = type == CAPABILITY_NOTIFY;
	struct capability capability = {
		.length = notify ? 20 : 16,
		.type = type,
		.offset = le32_make(offset),
		.size = le32_make(size),
		.more = le32_make(notify ? NOTIFY_MULTIPLIER : 0),
	};

	(void)pci_function_add_capability(&virtio->function, CAPABILITY_VENDOR,
					  &capability, NULL, capability.length);
}

static void add_window(struct virtio *virtio)
{
	struct capability capability = { .length = sizeof(capability),
					 .type = CAPABILITY_WINDOW };
	struct capability writable = { .bar = 0xff };

	memset(&writable.offset, 0xff, 12);
	virtio->pci_window = pci_function_add_capability(
		&virtio->function, CAPABILITY_VENDOR, &capability, &writable,
		sizeof(capability));
}

int virtio_pci_attach(struct virtio *virtio, struct err *err)
{
	const struct virtio_class *class = virtio->class;
	struct pci_ids ids = {
		.vendor = VENDOR,
		.device = (uint16_t)(DEVICE_FIRST + class->id),
		.subsystem_vendor = VENDOR,
		.subsystem = (uint16_t)(SUBSYSTEM + class->id),
		.class = class->pci_class,
		.revision = 1,
	};
	int r;

	pci_function_init(&virtio->function, &function_ops, &ids);
	pci_function_add_bar(&virtio->function, 0, VIRTIO_BAR_SIZE);
	msix_init(&virtio->msix, &virtio->function, virtio->host->interrupts,
		  virtio->queue_count + 1, 0, VIRTIO_BAR_TABLE,
		  VIRTIO_BAR_PENDING);
	add_structure(virtio, CAPABILITY_COMMON, VIRTIO_BAR_COMMON,
		      sizeof(struct common));
	add_structure(virtio, CAPABILITY_ISR, VIRTIO_BAR_ISR, 1);
	add_structure(virtio, CAPABILITY_NOTIFY, VIRTIO_BAR_NOTIFY,
		      NOTIFY_MULTIPLIER * virtio->queue_count);
	if (class->config_length)
		add_structure(virtio, CAPABILITY_CONFIG, VIRTIO_BAR_CONFIG,
			      class->config_length);
	add_window(virtio);
	r = pci_bus_attach(virtio->host->pci, &virtio->function, err);
	if (r < 0)
		msix_release(&virtio->msix);
	return r;
}
