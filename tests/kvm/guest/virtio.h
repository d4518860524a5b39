/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver of virtio devices for the tiny guests: finds one on PCI by its
 * capabilities, starts it, and works its queues. All queues of a card tell of
 * themselves by one MSI-X message to this processor. The caller sets `rings`,
 * `vector` and, where it is not CARD_QUEUE_SIZE, `queue_size`; the library the
 * rest.
 */
#ifndef TESTS_KVM_GUEST_VIRTIO_H
#define TESTS_KVM_GUEST_VIRTIO_H

#include "tests/kvm/guest/guest.h"

#define CARD_VECTOR     0x50 /* of card.vector 0 */
#define CARDS_MAX       4u
#define CARD_QUEUES_MAX 8u /* the rest are left alone */
#define CARD_QUEUE_SIZE 64u
#define CARD_RINGS      0x3000ull /* bytes of RAM a queue, page-aligned */

struct card_queue {
	uint64_t
		rings; /* descriptors, driver's and device's area: a page each */
	uint16_t available, used;
};

struct card {
	uint64_t rings;      /* CARD_RINGS for each queue */
	unsigned vector;     /* below CARDS_MAX */
	uint16_t queue_size; /* a power of two, at most 256 */
	uint64_t config;     /* ECAM */
	uint64_t common, notify, own;
	uint32_t step;
	uint32_t features; /* the lower half of those that it has now */
	unsigned queue_count;
	struct card_queue queues[CARD_QUEUES_MAX];
};

/* So often has each vector's interrupt come. */
extern volatile unsigned card_interrupts[CARDS_MAX];

static inline void mmio_write16(uint64_t address, uint16_t value)
{
	__asm__ volatile("movw %0, (%1)" ::"r"(value), "r"(address) : "memory");
}

static inline uint16_t mmio_read16(uint64_t address)
{
	uint16_t value;

	__asm__ volatile("movw (%1), %0"
			 : "=r"(value)
			 : "r"(address)
			 : "memory");
	return value;
}

static inline uint8_t mmio_read8(uint64_t address)
{
	uint8_t value;

	__asm__ volatile("movb (%1), %0"
			 : "=q"(value)
			 : "r"(address)
			 : "memory");
	return value;
}

static inline void mmio_write8(uint64_t address, uint8_t value)
{
	__asm__ volatile("movb %0, (%1)" ::"q"(value), "r"(address) : "memory");
}

/* Zeros, `bytes` a multiple of 8. */
void clear(uint64_t at, uint64_t bytes);

/* Before all others: the LAPIC, the handlers, and the map of PCI's windows. */
void card_init(void);
/* The device with virtio's number `id` behind `skip` others of it; reset and
 * started, with what it offers of `wanted` (the lower half). False: there is
 * none. */
bool card_find(struct card *card, uint16_t id, unsigned skip, uint32_t wanted);

/* Descriptor `index` of a queue; `more`: the next one belongs to it. */
void card_put(struct card *card, unsigned queue, unsigned index,
	      uint64_t address, uint32_t length, bool write, bool more);
/* The chain that begins with descriptor `head`, without and with a word to the
 * device. */
void card_offer(struct card *card, unsigned queue, uint16_t head);
void card_kick(struct card *card, unsigned queue, uint16_t head);
/* The head of one that is done, or -1; `written` may be NULL. */
int card_take(struct card *card, unsigned queue, uint32_t *written);
/* The same, and sleeps until there is one. */
int card_wait(struct card *card, unsigned queue, uint32_t *written);
/* At least one interrupt of it has come, or is on its way. */
void card_await_interrupt(const struct card *card);

#endif
