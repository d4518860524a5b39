/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first disk, as the words of the command line say, one after the other:
 *
 *	sum       all of it is read: the sum of its words of 64 bits
 *	fill      all of it is written, to the first failure
 *	check     all of it reads as the last fill wrote it
 *	zero      all of it is written with zeros, trim: discarded
 *	flush     what it says
 *	id        how it is called
 *	wait      until a byte comes on the serial port
 *	again     the machine is reset; what is in front of it was done before
 *
 * A failure is said, not the guest's end. What is heavy runs in ring 3.
 */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define RINGS   0x800000ull
#define HEAD    0x8ff000ull
#define DATA    0x900000ull
#define PIECE   0x40000u
#define FLAGS   (1u << 9 | 1u << 13 | 1u << 14)

#define IN      0u
#define OUT     1u
#define FLUSH   4u
#define ID      8u
#define DISCARD 11u
#define ZEROES  13u

#define COM1    0x3f8
#define LIVES   0x50 /* a byte of the CMOS, which a reset leaves alone */

static struct card disk = { .rings = RINGS };
static uint64_t sectors;

static uint8_t request(uint32_t type, uint64_t sector, uint32_t length)
{
	volatile uint32_t *head = (volatile uint32_t *)HEAD;
	volatile uint8_t *status = (volatile uint8_t *)(HEAD + 16);

	head[0] = type;
	head[1] = 0;
	head[2] = (uint32_t)sector;
	head[3] = (uint32_t)(sector >> 32);
	*status = 0xff;
	card_put(&disk, 0, 0, HEAD, 16, false, true);
	if (length)
		card_put(&disk, 0, 1, DATA, length, type == IN || type == ID,
			 true);
	card_put(&disk, 0, length ? 2 : 1, HEAD + 16, 1, true, false);
	card_kick(&disk, 0, 0);
	(void)card_wait(&disk, 0, NULL);
	return *status;
}

/* ---- ring 3 ---- */

static uint64_t length_of(uint64_t sector)
{
	uint64_t left = (sectors - sector) * 512;

	return left < PIECE ? left : PIECE;
}

static uint64_t word_of(uint64_t sector, uint64_t i)
{
	return (sector * 512 + i) * 0x9e3779b97f4a7c15 ^ 0x5555;
}

static uint64_t sum(uint64_t sector)
{
	uint64_t total = 0;

	for (uint64_t i = 0; i < length_of(sector); i += 8)
		total += *(volatile uint64_t *)(DATA + i);
	return total;
}

static uint64_t fill(uint64_t sector)
{
	for (uint64_t i = 0; i < length_of(sector); i += 8)
		*(volatile uint64_t *)(DATA + i) = word_of(sector, i);
	return 0;
}

static uint64_t look(uint64_t sector)
{
	for (uint64_t i = 0; i < length_of(sector); i += 8) {
		if (*(volatile uint64_t *)(DATA + i) != word_of(sector, i))
			return 1;
	}
	return 0;
}

/* ---- words ---- */

static void do_sum(void)
{
	uint64_t total = 0;

	for (uint64_t at = 0; at < sectors; at += PIECE / 512) {
		if (request(IN, at, (uint32_t)length_of(at)) != 0) {
			say("read fails from %lu on", at);
			return;
		}
		total += run_user(sum, at);
	}
	say("sum %lx", total);
}

static void do_fill(void)
{
	for (uint64_t at = 0; at < sectors; at += PIECE / 512) {
		uint8_t status;

		run_user(fill, at);
		status = request(OUT, at, (uint32_t)length_of(at));
		if (status) {
			say("write fails: %u", (unsigned)status);
			return;
		}
	}
	say("filled");
}

static void do_check(void)
{
	for (uint64_t at = 0; at < sectors; at += PIECE / 512) {
		if (request(IN, at, (uint32_t)length_of(at)) != 0) {
			say("read fails from %lu on", at);
			return;
		}
		if (run_user(look, at)) {
			say("wrong from %lu on", at);
			return;
		}
	}
	say("as filled");
}

static void do_range(uint32_t type, const char *what)
{
	volatile uint32_t *range = (volatile uint32_t *)DATA;

	range[0] = range[1] = 0;
	range[2] = (uint32_t)sectors;
	range[3] = 0;
	say("%s: %u", what, (unsigned)request(type, 0, 16));
}

static void do_id(void)
{
	clear(DATA, 24);
	say("id: %u %s", (unsigned)request(ID, 0, 20), (const char *)DATA);
}

static void do_wait(void)
{
	say("waiting");
	while (!(in8(COM1 + 5) & 1))
		;
	(void)in8(COM1);
}

static uint8_t lives(void)
{
	out8(LAYOUT_RTC, LIVES);
	return in8(LAYOUT_RTC + 1);
}

static void reset(void)
{
	uint8_t count = lives();

	out8(LAYOUT_RTC, LIVES);
	out8(LAYOUT_RTC + 1, (uint8_t)(count + 1));
	say("again");
	out8(LAYOUT_I8042_COMMAND, 0xfe);
	for (;;)
		;
}

static bool is(const char *at, const char *word)
{
	while (*word && *at == *word) {
		at++;
		word++;
	}
	return !*word && (!*at || *at == ' ');
}

static void run_word(const char *at)
{
	if (is(at, "sum"))
		do_sum();
	else if (is(at, "fill"))
		do_fill();
	else if (is(at, "check"))
		do_check();
	else if (is(at, "zero"))
		do_range(ZEROES, "zero");
	else if (is(at, "trim"))
		do_range(DISCARD, "trim");
	else if (is(at, "flush"))
		say("flush: %u", (unsigned)request(FLUSH, 0, 0));
	else if (is(at, "id"))
		do_id();
	else if (is(at, "wait"))
		do_wait();
}

void guest_main(const struct start_info *info)
{
	const char *at = cmdline(info);
	unsigned done = 0, before;

	card_init();
	map_memory(DATA, DATA + PIECE);
	CHECK(card_find(&disk, 2, 0, FLAGS));
	sectors = mmio_read32(disk.own) | (uint64_t)mmio_read32(disk.own + 4)
						  << 32;
	before = lives();
	say("disk of %lu sectors", sectors);
	while (*at) {
		if (is(at, "again") && ++done > before)
			reset();
		else if (done >= before)
			run_word(at);
		while (*at && *at != ' ')
			at++;
		while (*at == ' ')
			at++;
	}
	guest_end_well();
}
