/* SPDX-License-Identifier: Apache-2.0 */
/* Makes trouble: with "rules" on its command line it gives virtio-rng a chain
 * that can't be, hundreds of times; with "disk" it writes to its disk from the
 * beginning until that fails, and then a few times more; with "panics" it tells
 * of a panic for some seconds. It begins when it gets a byte at its serial port,
 * and ends by itself. */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define COM1_LSR    0x3fd
#define RINGS       0x800000ull
#define HEAD        0x900000ull
#define DATA        0xa00000ull
#define PIECE       0x10000u
#define STATUS      20u
#define NEEDS_RESET 0x40u
#define TIMES       300u
#define PANICS      20000u

static void break_rules(void)
{
	struct card rng = { .rings = RINGS };

	for (unsigned i = 0; i < TIMES; i++) {
		CHECK(card_find(&rng, 4, 0, 0));
		card_kick(&rng, 0, 999);
		while (!(mmio_read8(rng.common + STATUS) & NEEDS_RESET))
			;
	}
	say("broke %u rules", TIMES);
}

static uint8_t write(struct card *disk, uint64_t sector)
{
	volatile uint32_t *head = (volatile uint32_t *)HEAD;

	head[0] = 1;
	head[1] = 0;
	head[2] = (uint32_t)sector;
	head[3] = 0;
	head[4] = 0xff;
	card_put(disk, 0, 0, HEAD, 16, false, true);
	card_put(disk, 0, 1, DATA, PIECE, false, true);
	card_put(disk, 0, 2, HEAD + 16, 1, true, false);
	card_kick(disk, 0, 0);
	(void)card_wait(disk, 0, NULL);
	return *(volatile uint8_t *)(HEAD + 16);
}

static void fill_disk(void)
{
	struct card disk = { .rings = RINGS + 0x20000, .vector = 1 };
	unsigned failed = 0;

	CHECK(card_find(&disk, 2, 0, 0));
	for (uint64_t sector = 0; failed < 5; sector += PIECE / 512)
		failed += write(&disk, sector) == 1;
	say("the disk has failed");
}

static void panic_often(void)
{
	for (unsigned i = 0; i < PANICS; i++)
		out8(LAYOUT_PVPANIC, (uint8_t)(1 + i % 3));
	say("panicked %u times", PANICS);
}

void guest_main(const struct start_info *info)
{
	card_init();
	say("up");
	while (!(in8(COM1_LSR) & 1))
		;
	if (cmdline_has(info, "rules"))
		break_rules();
	if (cmdline_has(info, "disk"))
		fill_disk();
	if (cmdline_has(info, "panics"))
		panic_often();
	guest_end_well();
}
