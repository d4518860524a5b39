/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio from within: finds rng and disks on PCI by the capabilities, drives
 * them with MSI-X through this processor's LAPIC, and asks: are the bytes
 * random, does a disk keep what is written to it, are its edges and a
 * read-only one's refusals told. With "again" on its command line it resets
 * the machine with a request under way and checks the disk afterwards; with
 * "forever" it writes to the disk until it is stopped.
 */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define RINGS   0x800000ull
#define DATA    0x900000ull
#define F_FLUSH (1u << 9)

#define IN      0u
#define OUT     1u
#define FLUSH   4u
#define ZEROES  13u

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
	card_put(card, 0, 0, DATA - 0x1000, 16, false, true);
	if (length)
		card_put(card, 0, 1, data, length, type == IN, true);
	card_put(card, 0, length ? 2 : 1, DATA - 0x1000 + 16, 1, true, false);
	card_kick(card, 0, 0);
}

static uint8_t request(struct card *card, uint32_t type, uint64_t sector,
		       uint64_t data, uint32_t length)
{
	start(card, type, sector, data, length);
	(void)card_wait(card, 0, NULL);
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
	card_await_interrupt(card);
	say("it keeps what is written");
}

/* Writes and reads all of it, again and again. */
static void go_round(struct card *card)
{
	for (unsigned round = 1;; round++) {
		for (unsigned i = 0; i < 16; i++) {
			fill(DATA, 0x1000, round + i);
			CHECK(request(card, OUT, 1024ull * i, DATA, 0x1000) ==
			      0);
		}
		CHECK(request(card, FLUSH, 0, 0, 0) == 0);
		say("round %u", round);
	}
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
	uint32_t written;

	clear(DATA, 256);
	card_put(card, 0, 0, DATA, 256, true, false);
	card_kick(card, 0, 0);
	(void)card_wait(card, 0, &written);
	CHECK(written == 256);
	for (unsigned i = 0; i < 256; i++)
		zeros += *(volatile uint8_t *)(DATA + i) == 0;
	CHECK(zeros < 16);
	card_await_interrupt(card);
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
	struct card disk = { .rings = RINGS + 0x10000, .vector = 1 };
	struct card other = { .rings = RINGS + 0x20000, .vector = 2 };

	card_init();
	CHECK(card_find(&rng, 4, 0, 0));
	check_rng(&rng);
	if (card_find(&disk, 2, 0, F_FLUSH)) {
		if (cmdline_has(info, "again"))
			reset_under_way(&disk);
		if (cmdline_has(info, "forever"))
			go_round(&disk);
		check_disk(&disk);
	}
	if (card_find(&other, 2, 1, F_FLUSH))
		check_read_only(&other);
	guest_end_well();
}
