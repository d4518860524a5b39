/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio from within: finds rng and disks on PCI by the capabilities, drives
 * them with MSI-X through this processor's LAPIC, and asks: are the bytes
 * random, does a disk keep what is written to it, are its edges and a
 * read-only one's refusals told. With "again" on its command line it resets
 * the machine with a request under way and checks the disk afterwards.
 */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/guest.h"

#define RINGS     0x800000ull /* three pages a queue */
#define DATA      0x900000ull
#define SIZE      64u
#define VECTOR    0x50
#define VERSION_1 1u /* in the upper half */
#define F_FLUSH   (1u << 9)

#define IN        0u
#define OUT       1u
#define FLUSH     4u
#define ZEROES    13u

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct card {
	uint64_t config; /* ECAM */
	uint64_t common, notify, own;
	uint32_t step;
	uint64_t rings;
	uint16_t available, used;
	unsigned vector;
};

static volatile unsigned interrupts[4];

static void on_interrupt(struct frame *frame)
{
	interrupts[frame->vector - VECTOR]++;
	lapic_eoi();
}

static void mmio_write16(uint64_t address, uint16_t value)
{
	__asm__ volatile("movw %0, (%1)" ::"r"(value), "r"(address) : "memory");
}

static uint8_t mmio_read8(uint64_t address)
{
	uint8_t value;

	__asm__ volatile("movb (%1), %0"
			 : "=q"(value)
			 : "r"(address)
			 : "memory");
	return value;
}

static void mmio_write8(uint64_t address, uint8_t value)
{
	__asm__ volatile("movb %0, (%1)" ::"q"(value), "r"(address) : "memory");
}

static void clear(uint64_t at, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i += 8)
		*(volatile uint64_t *)(at + i) = 0;
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
	/* Entry 1 is the queue's; entry 0, of the configuration, stays masked. */
	mmio_write32(at + 16, (uint32_t)LAPIC);
	mmio_write32(at + 20, 0);
	mmio_write32(at + 24, VECTOR + card->vector);
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

static void set_queue(struct card *card)
{
	clear(card->rings, 0x3000);
	mmio_write16(card->common + 22, 0);
	mmio_write16(card->common + 24, SIZE);
	mmio_write16(card->common + 26, 1);
	for (unsigned i = 0; i < 3; i++) {
		mmio_write32(card->common + 32 + 8 * i,
			     (uint32_t)(card->rings + 0x1000 * i));
		mmio_write32(card->common + 36 + 8 * i, 0);
	}
	mmio_write16(card->common + 28, 1);
	card->available = card->used = 0;
}

/* The device of `id` behind `skip` others of it. */
static bool find(struct card *card, uint16_t id, unsigned skip, uint32_t wanted)
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
	card->config = at;
	mmio_write16(at + 4, 6);
	for (uint8_t next = mmio_read8(at + 0x34); next;
	     next = mmio_read8(at + next + 1u))
		take_capability(card, at + next);
	mmio_write8(card->common + 20, 0);
	while (mmio_read8(card->common + 20))
		;
	mmio_write8(card->common + 20, 3);
	for (uint32_t half = 0; half < 2; half++) {
		uint32_t offered;

		mmio_write32(card->common, half);
		offered = mmio_read32(card->common + 4);
		mmio_write32(card->common + 8, half);
		mmio_write32(card->common + 12,
			     half ? VERSION_1 : offered & wanted);
	}
	mmio_write8(card->common + 20, 11);
	CHECK(mmio_read8(card->common + 20) == 11);
	set_queue(card);
	mmio_write8(card->common + 20, 15);
	CHECK(mmio_read8(card->common + 20) == 15);
	return true;
}

/* ---- a queue ---- */

static void put(struct card *card, unsigned i, uint64_t address,
		uint32_t length, bool write, bool more)
{
	volatile struct descriptor *descriptor =
		(volatile struct descriptor *)card->rings + i;

	descriptor->address = address;
	descriptor->length = length;
	descriptor->flags = (uint16_t)((write ? 2 : 0) | (more ? 1 : 0));
	descriptor->next = (uint16_t)(i + 1);
}

static void kick(struct card *card)
{
	volatile uint16_t *driver = (volatile uint16_t *)(card->rings + 0x1000);

	driver[2 + card->available % SIZE] = 0;
	__asm__ volatile("" ::: "memory");
	driver[1] = ++card->available;
	__asm__ volatile("lock; addl $0, (%%rsp)" ::: "memory");
	mmio_write16(card->notify, 0);
}

/* By its interrupt; how many bytes were written. */
static uint32_t wait(struct card *card)
{
	volatile uint8_t *device = (volatile uint8_t *)(card->rings + 0x2000);
	uint32_t written;

	while (*(volatile uint16_t *)(device + 2) == card->used)
		irq_wait();
	written = *(volatile uint32_t *)(device + 8 + 8 * (card->used % SIZE));
	card->used++;
	return written;
}

/* At least one has come, or is on its way. */
static void await_interrupt(const struct card *card)
{
	while (!interrupts[card->vector])
		irq_wait();
}

/* ---- a disk ---- */

static void start(struct card *card, uint32_t type, uint64_t sector,
		  uint64_t data, uint32_t length)
{
	volatile uint32_t *head = (volatile uint32_t *)(DATA - 0x1000);

	head[0] = type;
	head[1] = 0;
	head[2] = (uint32_t)sector;
	head[3] = (uint32_t)(sector >> 32);
	head[4] = 0xff;
	put(card, 0, DATA - 0x1000, 16, false, true);
	if (length)
		put(card, 1, data, length, type == IN, true);
	put(card, length ? 2 : 1, DATA - 0x1000 + 16, 1, true, false);
	kick(card);
}

static uint8_t request(struct card *card, uint32_t type, uint64_t sector,
		       uint64_t data, uint32_t length)
{
	start(card, type, sector, data, length);
	(void)wait(card);
	return *(volatile uint8_t *)(DATA - 0x1000 + 16);
}

static void fill(uint64_t at, uint64_t bytes, uint64_t seed)
{
	for (uint64_t i = 0; i < bytes; i += 8)
		*(volatile uint64_t *)(at + i) = seed * 0x9e3779b97f4a7c15 + i;
}

static bool is_filled(uint64_t at, uint64_t bytes, uint64_t seed)
{
	for (uint64_t i = 0; i < bytes; i += 8) {
		if (*(volatile uint64_t *)(at + i) !=
		    seed * 0x9e3779b97f4a7c15 + i)
			return false;
	}
	return true;
}

static void check_disk(struct card *card)
{
	uint64_t sectors = mmio_read32(card->own) |
			   (uint64_t)mmio_read32(card->own + 4) << 32;
	volatile uint32_t *range = (volatile uint32_t *)DATA;

	say("disk of %lu sectors", (unsigned long)sectors);
	for (unsigned i = 0; i < 16; i++) {
		fill(DATA, 0x10000, i + 1);
		CHECK(request(card, OUT, 128ull * i, DATA, 0x10000) == 0);
	}
	CHECK(request(card, FLUSH, 0, 0, 0) == 0);
	for (unsigned i = 16; i-- > 0;) {
		clear(DATA, 0x10000);
		CHECK(request(card, IN, 128ull * i, DATA, 0x10000) == 0);
		CHECK(is_filled(DATA, 0x10000, i + 1));
	}
	/* Zeros in the middle of the second. */
	range[0] = 128 + 64;
	range[1] = 0;
	range[2] = 8;
	range[3] = 0;
	CHECK(request(card, ZEROES, 0, DATA, 16) == 0);
	CHECK(request(card, IN, 128, DATA, 0x10000) == 0);
	CHECK(is_filled(DATA, 64 * 512, 2));
	for (unsigned i = 64 * 512; i < 72 * 512; i++)
		CHECK(*(volatile uint8_t *)(DATA + i) == 0);
	/* The end, and past it. */
	CHECK(request(card, IN, sectors - 8, DATA, 4096) == 0);
	CHECK(request(card, IN, sectors - 7, DATA, 4096) == 1);
	CHECK(request(card, 99, 0, DATA, 512) == 2);
	await_interrupt(card);
	say("it keeps what is written");
}

static void check_read_only(struct card *card)
{
	CHECK(request(card, IN, 0, DATA, 512) == 0);
	say("the other one begins with %x", *(volatile uint8_t *)DATA);
	CHECK(request(card, OUT, 0, DATA, 512) == 1);
}

static void check_rng(struct card *card)
{
	unsigned zeros = 0;

	clear(DATA, 256);
	put(card, 0, DATA, 256, true, false);
	kick(card);
	CHECK(wait(card) == 256);
	for (unsigned i = 0; i < 256; i++)
		zeros += *(volatile uint8_t *)(DATA + i) == 0;
	CHECK(zeros < 16);
	await_interrupt(card);
	say("random");
}

static uint8_t cmos(uint8_t index)
{
	out8(LAYOUT_RTC, index);
	return in8(LAYOUT_RTC + 1);
}

/* The machine is reset under it: the second life finds all whole. */
static void reset_under_way(struct card *card)
{
	if (cmos(0x50))
		return;
	out8(LAYOUT_RTC, 0x50);
	out8(LAYOUT_RTC + 1, 1);
	say("reset with a request under way");
	start(card, IN, 0, DATA, 0x10000);
	out8(LAYOUT_I8042_COMMAND, 0xfe);
	for (;;)
		;
}

void guest_main(const struct start_info *info)
{
	struct card rng = { .rings = RINGS };
	struct card disk = { .rings = RINGS + 0x3000, .vector = 1 };
	struct card other = { .rings = RINGS + 0x6000, .vector = 2 };

	lapic_init();
	map_memory(LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_SIZE);
	map_memory(LAYOUT_WINDOW32, LAYOUT_WINDOW32 + 0x200000);
	for (unsigned i = 0; i < 3; i++)
		trap_set(VECTOR + i, on_interrupt);
	CHECK(find(&rng, 4, 0, 0));
	check_rng(&rng);
	if (find(&disk, 2, 0, F_FLUSH)) {
		if (cmdline_has(info, "again"))
			reset_under_way(&disk);
		check_disk(&disk);
	}
	if (find(&other, 2, 1, F_FLUSH))
		check_read_only(&other);
	guest_end_well();
}
