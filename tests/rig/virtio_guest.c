/* SPDX-License-Identifier: Apache-2.0 */
/* See virtio_guest.h. The driver's side of the rings, as plain as can be. */
#include <errno.h>
#include <string.h>

#include "tests/rig/virtio_guest.h"

#define FEATURES_OK                                         \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | \
	 VIRTIO_STATUS_FEATURES_OK)
#define WAIT_NS       20000000000ULL
#define FLAG_NEXT     1u
#define FLAG_WRITE    2u
#define FLAG_INDIRECT 4u

static void line(struct interrupts *interrupts, unsigned gsi, bool level)
{
	(void)interrupts;
	(void)gsi;
	(void)level;
}

static void message(struct interrupts *interrupts, uint64_t address,
		    uint32_t data)
{
	struct guest *guest =
		container_of(interrupts, struct guest, interrupts);

	(void)address;
	guest->message_count++;
	if (data < GUEST_MESSAGES)
		guest->messages[data]++;
	loop_stop(guest->loop);
}

static void broken(const struct virtio_host *host, const char *device,
		   unsigned instance, const char *why)
{
	struct guest *guest = container_of(host, struct guest, host);

	(void)device;
	(void)instance;
	(void)why;
	guest->broken++;
}

int guest_init(struct guest *guest, struct err *err)
{
	int r;

	*guest = (struct guest){
		.interrupts = { line, message },
		.next_page = 0x10000,
	};
	r = memory_init(&guest->memory, GUEST_RAM, err);
	if (!r)
		r = bus_init(&guest->bus, BUS_MEMORY_END, err);
	if (!r)
		r = bus_init(&guest->ports, BUS_PORTS_END, err);
	if (!r)
		r = pci_bus_init(&guest->pci, &guest->bus, &guest->ports,
				 layout_window64(GUEST_RAM), err);
	if (!r)
		r = loop_new(&guest->loop, err);
	guest->host = (struct virtio_host){
		.memory = &guest->memory,
		.pci = &guest->pci,
		.loop = guest->loop,
		.interrupts = &guest->interrupts,
		.broken = broken,
	};
	return r;
}

void guest_release(struct guest *guest)
{
	pci_bus_release(&guest->pci);
	bus_release(&guest->bus);
	bus_release(&guest->ports);
	loop_free(guest->loop);
	memory_release(&guest->memory);
}

struct stopper {
	struct loop_work work;
	struct loop *loop;
	bool seen;
};

/* At the second time: what was ready at the first had its turn. */
static void stop(struct loop_work *work)
{
	struct stopper *stopper = container_of(work, struct stopper, work);

	if (stopper->seen)
		loop_stop(stopper->loop);
	else
		loop_post(stopper->loop, work);
	stopper->seen = true;
}

void guest_settle(struct guest *guest)
{
	/* What is done posts more, and a message ends a turn. */
	for (unsigned i = 0; i < 6; i++) {
		struct stopper stopper = { { .run = stop },
					   guest->loop,
					   false };

		loop_post(guest->loop, &stopper.work);
		while (stopper.work.posted)
			(void)loop_run(guest->loop, NULL);
	}
}

struct deadline {
	struct loop_watch watch;
	struct loop *loop;
	bool over;
};

static void deadline_ready(struct loop_watch *watch, uint32_t events)
{
	struct deadline *deadline = container_of(watch, struct deadline, watch);

	(void)events;
	(void)loop_timer_read(watch->fd);
	deadline->over = true;
	loop_stop(deadline->loop);
}

static bool start_deadline(struct guest *guest, struct deadline *deadline)
{
	*deadline = (struct deadline){
		.watch = { loop_timer_new(NULL), EPOLLIN, deadline_ready,
			   NULL },
		.loop = guest->loop,
	};
	if (deadline->watch.fd < 0 ||
	    loop_add(guest->loop, &deadline->watch, NULL) < 0)
		return false;
	loop_timer_set(deadline->watch.fd, WAIT_NS);
	return true;
}

static void end_deadline(struct deadline *deadline)
{
	loop_remove(deadline->loop, &deadline->watch);
	close(deadline->watch.fd);
}

bool guest_wait(struct guest *guest, unsigned count)
{
	struct deadline deadline;

	if (!start_deadline(guest, &deadline))
		return false;
	while (guest->message_count <= count && !deadline.over)
		(void)loop_run(guest->loop, NULL);
	end_deadline(&deadline);
	return guest->message_count > count;
}

uint64_t guest_pages(struct guest *guest, unsigned count)
{
	uint64_t at = guest->next_page;

	guest->next_page += count * 4096ULL;
	if (guest->next_page > GUEST_RAM)
		abort();
	return at;
}

void *guest_at(struct guest *guest, uint64_t address)
{
	return guest->memory.regions[0].host + address;
}

uint64_t guest_read(struct guest *guest, uint64_t address, unsigned length)
{
	uint64_t value = 0;

	(void)bus_read(&guest->bus, address, &value, length);
	return value;
}

void guest_write(struct guest *guest, uint64_t address, uint64_t value,
		 unsigned length)
{
	(void)bus_write(&guest->bus, address, &value, length);
}

uint64_t driver_config(const struct driver *driver, unsigned offset,
		       unsigned length)
{
	return guest_read(driver->guest, driver->config + offset, length);
}

static uint64_t pci_get(const struct driver *driver, unsigned offset,
			unsigned length)
{
	return guest_read(driver->guest,
			  LAYOUT_ECAM + driver->slot * 0x8000ULL + offset,
			  length);
}

static void pci_put(const struct driver *driver, unsigned offset,
		    uint64_t value, unsigned length)
{
	guest_write(driver->guest,
		    LAYOUT_ECAM + driver->slot * 0x8000ULL + offset, value,
		    length);
}

static uint64_t bar_address(const struct driver *driver, uint64_t bar)
{
	unsigned at = PCI_BAR_0 + 4 * (unsigned)bar;

	return (pci_get(driver, at, 4) & ~15ULL) | pci_get(driver, at + 4, 4)
							   << 32;
}

static void found_structure(struct driver *driver, unsigned at)
{
	uint64_t address = bar_address(driver, pci_get(driver, at + 4, 1)) +
			   pci_get(driver, at + 8, 4);

	switch (pci_get(driver, at + 3, 1)) {
	case 1:
		driver->common = address;
		break;
	case 2:
		driver->notify = address;
		driver->notify_step = (uint32_t)pci_get(driver, at + 16, 4);
		break;
	case 3:
		driver->isr = address;
		break;
	case 4:
		driver->config = address;
		break;
	}
}

static void found_msix(struct driver *driver, unsigned at)
{
	uint64_t table = pci_get(driver, at + 4, 4);
	unsigned count = (pci_get(driver, at + 2, 2) & 0x7ff) + 1;

	driver->msix = at;
	driver->table = bar_address(driver, table & 7) + (table & ~7ULL);
	pci_put(driver, at + 2, 0x8000, 2);
	for (unsigned i = 0; i < count; i++) {
		guest_write(driver->guest, driver->table + 16ULL * i,
			    LAYOUT_LAPIC, 8);
		guest_write(driver->guest, driver->table + 16ULL * i + 8, i, 8);
	}
}

int driver_find(struct driver *driver, struct guest *guest, unsigned slot)
{
	unsigned at;

	*driver = (struct driver){ .guest = guest, .slot = slot };
	if (pci_get(driver, 0, 2) != 0x1af4)
		return -ENODEV;
	pci_put(driver, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER,
		2);
	for (at = (unsigned)pci_get(driver, PCI_CAPABILITIES, 1); at;
	     at = (unsigned)pci_get(driver, at + 1, 1)) {
		if (pci_get(driver, at, 1) == 9)
			found_structure(driver, at);
		else if (pci_get(driver, at, 1) == 0x11)
			found_msix(driver, at);
	}
	if (!driver->common || !driver->notify || !driver->isr)
		return -ENODEV;
	driver->queue_count =
		(unsigned)guest_read(guest, driver->common + 18, 2);
	return 0;
}

uint8_t driver_status(const struct driver *driver)
{
	return (uint8_t)guest_read(driver->guest, driver->common + 20, 1);
}

void driver_set_status(const struct driver *driver, uint8_t status)
{
	guest_write(driver->guest, driver->common + 20, status, 1);
}

static void choose_features(struct driver *driver, uint64_t wanted)
{
	struct guest *guest = driver->guest;

	driver->features = 0;
	for (unsigned i = 0; i < 2; i++) {
		guest_write(guest, driver->common, i, 4);
		driver->features |= guest_read(guest, driver->common + 4, 4)
				    << 32 * i;
	}
	driver->features &= wanted | VIRTIO_F_VERSION_1;
	for (unsigned i = 0; i < 2; i++) {
		guest_write(guest, driver->common + 8, i, 4);
		guest_write(guest, driver->common + 12,
			    (uint32_t)(driver->features >> 32 * i), 4);
	}
}

static void set_queue(struct driver *driver, unsigned queue)
{
	struct guest *guest = driver->guest;
	struct ring *ring = &driver->rings[queue];
	uint64_t common = driver->common;

	guest_write(guest, common + 22, queue, 2);
	*ring = (struct ring){
		.size = (unsigned)guest_read(guest, common + 24, 2),
		.descriptors = guest_pages(guest, 4),
		.driver = guest_pages(guest, 1),
		.device = guest_pages(guest, 3),
	};
	guest_write(guest, common + 26, queue + 1, 2);
	guest_write(guest, common + 32, ring->descriptors, 4);
	guest_write(guest, common + 36, 0, 4);
	guest_write(guest, common + 40, ring->driver, 8);
	guest_write(guest, common + 48, ring->device, 8);
	guest_write(guest, common + 28, 1, 2);
}

int driver_setup(struct driver *driver, uint64_t wanted)
{
	struct guest *guest = driver->guest;

	driver_set_status(driver, 0);
	if (driver_status(driver))
		return -EBUSY;
	driver_set_status(driver,
			  VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	choose_features(driver, wanted);
	driver_set_status(driver, FEATURES_OK);
	if (driver_status(driver) != FEATURES_OK)
		return -EIO;
	guest_write(guest, driver->common + 16, 0, 2);
	for (unsigned i = 0; i < driver->queue_count; i++)
		set_queue(driver, i);
	driver_set_status(driver, FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
	return driver_status(driver) == (FEATURES_OK | VIRTIO_STATUS_DRIVER_OK)
		       ? 0
		       : -EIO;
}

int driver_start(struct driver *driver, uint64_t wanted)
{
	int r = driver_setup(driver, wanted);

	if (r < 0)
		return r;
	guest_settle(driver->guest);
	return driver_status(driver) == (FEATURES_OK | VIRTIO_STATUS_DRIVER_OK)
		       ? 0
		       : -EIO;
}

/* ---- rings ---- */

struct bytes16 {
	le64 address;
	le32 length;
	le16 flags;
	le16 next;
};

static void put_descriptor(struct guest *guest, uint64_t table, unsigned index,
			   struct bytes16 descriptor)
{
	memcpy((uint8_t *)guest_at(guest, table) + 16 * (size_t)index,
	       &descriptor, sizeof(descriptor));
}

static struct bytes16 descriptor_of(const struct piece *piece, bool more,
				    uint16_t next)
{
	return (struct bytes16){
		le64_make(piece->address),
		le32_make(piece->length),
		le16_make((uint16_t)((more ? FLAG_NEXT : 0) |
				     (piece->write ? FLAG_WRITE : 0))),
		le16_make(next),
	};
}

void driver_set_descriptor(const struct driver *driver, unsigned queue,
			   unsigned index, uint64_t address, uint32_t length,
			   uint16_t flags, uint16_t next)
{
	put_descriptor(driver->guest, driver->rings[queue].descriptors, index,
		       (struct bytes16){ le64_make(address), le32_make(length),
					 le16_make(flags), le16_make(next) });
}

void driver_put_head(struct driver *driver, unsigned queue, uint16_t head)
{
	struct ring *ring = &driver->rings[queue];
	uint16_t *driver_area = guest_at(driver->guest, ring->driver);

	driver_area[2 + ring->next_available % ring->size] = head;
	ring->next_available++;
	__atomic_store_n(&driver_area[1], ring->next_available,
			 __ATOMIC_SEQ_CST);
}

static uint16_t take_descriptors(struct ring *ring, unsigned count)
{
	uint16_t first = ring->next_descriptor;

	ring->next_descriptor = (uint16_t)((first + count) % ring->size);
	return first;
}

uint16_t driver_add(struct driver *driver, unsigned queue,
		    const struct piece *pieces, unsigned count)
{
	struct ring *ring = &driver->rings[queue];
	uint16_t first = take_descriptors(ring, count);

	for (unsigned i = 0; i < count; i++)
		put_descriptor(driver->guest, ring->descriptors,
			       (first + i) % ring->size,
			       descriptor_of(&pieces[i], i + 1 < count,
					     (uint16_t)((first + i + 1) %
							ring->size)));
	driver_put_head(driver, queue, first);
	return first;
}

uint16_t driver_add_indirect(struct driver *driver, unsigned queue,
			     const struct piece *pieces, unsigned count)
{
	struct ring *ring = &driver->rings[queue];
	uint16_t head = take_descriptors(ring, 1);
	uint64_t table = guest_pages(driver->guest, (count + 255) / 256);

	for (unsigned i = 0; i < count; i++)
		put_descriptor(driver->guest, table, i,
			       descriptor_of(&pieces[i], i + 1 < count,
					     (uint16_t)(i + 1)));
	driver_set_descriptor(driver, queue, head, table, 16 * count,
			      FLAG_INDIRECT, 0);
	driver_put_head(driver, queue, head);
	return head;
}

void driver_notify(const struct driver *driver, unsigned queue)
{
	guest_write(driver->guest,
		    driver->notify + (uint64_t)driver->notify_step * queue,
		    queue, 2);
}

void driver_notify_wanted(const struct driver *driver, unsigned queue)
{
	const struct ring *ring = &driver->rings[queue];
	uint16_t *device = guest_at(driver->guest, ring->device);
	uint16_t *event = device + 2 + 4 * (size_t)ring->size;

	/* The last one that was put in, or none. */
	if (driver->features & VIRTIO_F_EVENT_INDEX
		    ? __atomic_load_n(event, __ATOMIC_SEQ_CST) ==
			      (uint16_t)(ring->next_available - 1)
		    : !(__atomic_load_n(device, __ATOMIC_SEQ_CST) & 1))
		driver_notify(driver, queue);
}

int driver_take(struct driver *driver, unsigned queue, uint32_t *written)
{
	struct ring *ring = &driver->rings[queue];
	uint8_t *device = guest_at(driver->guest, ring->device);
	uint16_t index = __atomic_load_n((uint16_t *)(void *)(device + 2),
					 __ATOMIC_ACQUIRE);
	uint32_t element[2];

	if (index == ring->next_used)
		return -1;
	memcpy(element, device + 4 + 8 * (size_t)(ring->next_used % ring->size),
	       sizeof(element));
	ring->next_used++;
	/* The next one is to be told of, where there is an event index. */
	__atomic_store_n((uint16_t *)guest_at(driver->guest, ring->driver) + 2 +
				 ring->size,
			 ring->next_used, __ATOMIC_RELEASE);
	if (written)
		*written = element[1];
	return (int)element[0];
}

int driver_wait(struct driver *driver, unsigned queue, uint32_t *written)
{
	struct deadline deadline;
	int head = driver_take(driver, queue, written);

	if (head >= 0 || !start_deadline(driver->guest, &deadline))
		return head;
	while (head < 0 && !deadline.over) {
		(void)loop_run(driver->guest->loop, NULL);
		head = driver_take(driver, queue, written);
	}
	end_deadline(&deadline);
	return head;
}
