/* SPDX-License-Identifier: Apache-2.0 */
/* See virtio.h. As plain as can be, and without an event index. */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define VERSION_1 1u /* in the upper half */

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

volatile unsigned card_interrupts[CARDS_MAX];

static void on_interrupt(struct frame *frame)
{
	card_interrupts[frame->vector - CARD_VECTOR]++;
	lapic_eoi();
}

void clear(uint64_t at, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i += 8)
		*(volatile uint64_t *)(at + i) = 0;
}

void card_init(void)
{
	lapic_init();
	map_memory(LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_SIZE);
	map_memory(LAYOUT_WINDOW32, LAYOUT_WINDOW32 + 0x200000);
	for (unsigned i = 0; i < CARDS_MAX; i++)
		trap_set(CARD_VECTOR + i, on_interrupt);
}

/* ---- finding one ---- */

static uint64_t bar(const struct card *card, uint8_t number)
{
	uint64_t at = card->config + 0x10 + 4ull * number;

	return (mmio_read32(at) & ~15u) | (uint64_t)mmio_read32(at + 4) << 32;
}

static void set_vector(const struct card *card, uint64_t capability)
{
	uint32_t table = mmio_read32(capability + 4);
	uint64_t at = bar(card, table & 7) + (table & ~7u);

	mmio_write16(capability + 2, 0x8000);
	/* Entry 1 is the queues'; entry 0, of the configuration, stays
	 * masked. */
	mmio_write32(at + 16, (uint32_t)LAPIC);
	mmio_write32(at + 20, 0);
	mmio_write32(at + 24, CARD_VECTOR + card->vector);
	mmio_write32(at + 28, 0);
}

static void take_capability(struct card *card, uint64_t capability)
{
	uint64_t at;

	if (mmio_read8(capability) == 0x11)
		set_vector(card, capability);
	if (mmio_read8(capability) != 9)
		return;
	at = bar(card, mmio_read8(capability + 4)) +
	     mmio_read32(capability + 8);
	switch (mmio_read8(capability + 3)) {
	case 1:
		card->common = at;
		break;
	case 2:
		card->notify = at;
		card->step = mmio_read32(capability + 16);
		break;
	case 4:
		card->own = at;
		break;
	}
}

static void set_queue(struct card *card, unsigned index)
{
	struct card_queue *queue = &card->queues[index];

	queue->rings = card->rings + CARD_RINGS * index;
	queue->available = queue->used = 0;
	clear(queue->rings, CARD_RINGS);
	mmio_write16(card->common + 22, (uint16_t)index);
	mmio_write16(card->common + 24, card->queue_size);
	mmio_write16(card->common + 26, 1);
	for (unsigned i = 0; i < 3; i++) {
		mmio_write32(card->common + 32 + 8 * i,
			     (uint32_t)(queue->rings + 0x1000 * i));
		mmio_write32(card->common + 36 + 8 * i, 0);
	}
	mmio_write16(card->common + 28, 1);
}

static void choose_features(struct card *card, uint32_t wanted)
{
	for (uint32_t half = 0; half < 2; half++) {
		uint32_t offered;

		mmio_write32(card->common, half);
		offered = mmio_read32(card->common + 4);
		mmio_write32(card->common + 8, half);
		if (!half)
			card->features = offered & wanted;
		mmio_write32(card->common + 12,
			     half ? VERSION_1 : card->features);
	}
}

static void start(struct card *card, uint32_t wanted)
{
	mmio_write8(card->common + 20, 0);
	while (mmio_read8(card->common + 20))
		;
	mmio_write8(card->common + 20, 3);
	choose_features(card, wanted);
	mmio_write8(card->common + 20, 11);
	CHECK(mmio_read8(card->common + 20) == 11);
	card->queue_count = mmio_read16(card->common + 18);
	if (card->queue_count > CARD_QUEUES_MAX)
		card->queue_count = CARD_QUEUES_MAX;
	for (unsigned i = 0; i < card->queue_count; i++)
		set_queue(card, i);
	mmio_write8(card->common + 20, 15);
	CHECK(mmio_read8(card->common + 20) == 15);
}

bool card_find(struct card *card, uint16_t id, unsigned skip, uint32_t wanted)
{
	uint64_t at = 0;

	for (unsigned slot = 0; slot < 32; slot++) {
		at = LAYOUT_ECAM + slot * 0x8000ull;
		if (mmio_read32(at) == (0x1af4u | (0x1040u + id) << 16) &&
		    !skip--)
			break;
		at = 0;
	}
	if (!at)
		return false;
	if (!card->queue_size)
		card->queue_size = CARD_QUEUE_SIZE;
	card->config = at;
	mmio_write16(at + 4, 6);
	for (uint8_t next = mmio_read8(at + 0x34); next;
	     next = mmio_read8(at + next + 1u))
		take_capability(card, at + next);
	start(card, wanted);
	return true;
}

/* ---- a queue ---- */

void card_put(struct card *card, unsigned queue, unsigned index,
	      uint64_t address, uint32_t length, bool write, bool more)
{
	volatile struct descriptor *descriptor =
		(volatile struct descriptor *)card->queues[queue].rings + index;

	descriptor->address = address;
	descriptor->length = length;
	descriptor->flags = (uint16_t)((write ? 2 : 0) | (more ? 1 : 0));
	descriptor->next = (uint16_t)(index + 1);
}

void card_offer(struct card *card, unsigned index, uint16_t head)
{
	struct card_queue *queue = &card->queues[index];
	volatile uint16_t *driver =
		(volatile uint16_t *)(queue->rings + 0x1000);

	driver[2 + queue->available % card->queue_size] = head;
	__asm__ volatile("" ::: "memory");
	driver[1] = ++queue->available;
}

void card_kick(struct card *card, unsigned queue, uint16_t head)
{
	card_offer(card, queue, head);
	__asm__ volatile("lock; addl $0, (%%rsp)" ::: "memory");
	mmio_write16(card->notify + (uint64_t)card->step * queue,
		     (uint16_t)queue);
}

int card_take(struct card *card, unsigned index, uint32_t *written)
{
	struct card_queue *queue = &card->queues[index];
	volatile uint8_t *device = (volatile uint8_t *)(queue->rings + 0x2000);
	volatile uint32_t *element =
		(volatile uint32_t *)(device + 4 +
				      8 * (queue->used % card->queue_size));

	if (*(volatile uint16_t *)(device + 2) == queue->used)
		return -1;
	queue->used++;
	if (written)
		*written = element[1];
	return (int)element[0];
}

int card_wait(struct card *card, unsigned queue, uint32_t *written)
{
	int head;

	while ((head = card_take(card, queue, written)) < 0)
		irq_wait();
	return head;
}

void card_await_interrupt(const struct card *card)
{
	while (!card_interrupts[card->vector])
		irq_wait();
}
