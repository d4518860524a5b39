/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk read from its begin to its end, and what came of it as one number: a
 * line a pass. With "loop" on its command line it goes on for ever; a request
 * that fails is told, and the next one goes on.
 */
#include "tests/kvm/guest/guest.h"
#include "tests/kvm/guest/virtio.h"

#define RINGS 0x800000ull
#define HEAD  0x8ff000ull
#define DATA  0x900000ull
#define PIECE 0x10000u /* bytes of a request */

static uint64_t running;

static uint8_t read_piece(struct card *card, uint64_t sector)
{
	volatile uint32_t *head = (volatile uint32_t *)HEAD;

	head[0] = 0;
	head[1] = 0;
	head[2] = (uint32_t)sector;
	head[3] = (uint32_t)(sector >> 32);
	head[4] = 0xff;
	card_put(card, 0, 0, HEAD, 16, false, true);
	card_put(card, 0, 1, DATA, PIECE, true, true);
	card_put(card, 0, 2, HEAD + 16, 1, true, false);
	card_kick(card, 0, 0);
	(void)card_wait(card, 0, 0);
	return *(volatile uint8_t *)(HEAD + 16);
}

/* In ring 3. As the script has it: s = s * 31 + each 8 bytes. */
static uint64_t sum_of(uint64_t before)
{
	const volatile uint64_t *at = (const volatile uint64_t *)DATA;

	for (unsigned i = 0; i < PIECE / 8; i++)
		before = before * 31 + at[i];
	return before;
}

static void pass(struct card *card, uint64_t sectors, unsigned number)
{
	running = 0;
	for (uint64_t at = 0; at < sectors; at += PIECE / 512) {
		if (read_piece(card, at) != 0)
			say("pass %u: no sector %lu", number,
			    (unsigned long)at);
		else
			running = run_user(sum_of, running);
	}
	say("pass %u: %lx", number, (unsigned long)running);
}

void guest_main(const struct start_info *info)
{
	struct card disk = { .rings = RINGS };
	const bool loops = cmdline_has(info, "loop");
	uint64_t sectors;
	unsigned number = 0;

	card_init();
	CHECK(card_find(&disk, 2, 0, 0));
	sectors = mmio_read32(disk.own) | (uint64_t)mmio_read32(disk.own + 4)
						  << 32;
	for (;;) {
		pass(&disk, sectors, number++);
		if (!loops)
			guest_end_well();
	}
}
