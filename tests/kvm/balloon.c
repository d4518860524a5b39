/* SPDX-License-Identifier: Apache-2.0 */
/* Uses memory and gives it back, as bytes at its serial port say: 'd' writes to
 * each page of 32 MiB; 'r' reports all of that as free; 'b' gives the balloon
 * what it is to have; 'q' ends. What was given back reads as zeros, and the
 * rest as it was written. */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define COM1      0x3f8
#define COM1_LSR  0x3fd
#define TICK      0x40
#define RINGS     0x800000ull
#define NUMBERS   0x900000ull
#define START     0x2000000ull /* what is used */
#define SIZE      (32ull << 20)
#define PIECE     (2ull << 20)
#define PAGE      4096u
#define MANY      256u /* numbers of pages at once */
#define INFLATE   0u
#define DEFLATE   1u
#define REPORT    2u
#define REPORTING (1u << 5)

static void on_tick(struct frame *frame)
{
	(void)frame;
	lapic_eoi();
}

static volatile uint64_t *word_of(uint64_t page)
{
	return (volatile uint64_t *)(START + page * PAGE + 128);
}

static void dirty(void)
{
	static unsigned times;

	for (uint64_t page = 0; page < SIZE / PAGE; page++)
		*word_of(page) = page + 1;
	say("dirty %u", ++times);
}

/* Pages `from` to `end` have been given back. */
static void check(uint64_t from, uint64_t end)
{
	for (uint64_t page = 0; page < SIZE / PAGE; page += 7)
		CHECK(*word_of(page) ==
		      (page >= from && page < end ? 0 : page + 1));
}

/* All in one chain but the last piece. */
static void report(struct card *card)
{
	const unsigned count = SIZE / PIECE - 1;

	for (unsigned i = 0; i < count; i++)
		card_put(card, REPORT, i, START + i * PIECE, PIECE, true,
			 i + 1 < count);
	card_kick(card, REPORT, 0);
	(void)card_wait(card, REPORT, NULL);
	say("reported");
}

static void inflate(struct card *card)
{
	volatile uint32_t *numbers = (volatile uint32_t *)NUMBERS;
	uint32_t target = mmio_read32(card->own);

	CHECK(target % MANY == 0 && target <= SIZE / PAGE);
	for (uint32_t page = 0; page < target; page += MANY) {
		for (uint32_t i = 0; i < MANY; i++)
			numbers[i] = (uint32_t)(START / PAGE) + page + i;
		card_put(card, INFLATE, 0, NUMBERS, MANY * 4, false, false);
		card_kick(card, INFLATE, 0);
		(void)card_wait(card, INFLATE, NULL);
	}
	mmio_write32(card->own + 4, target);
	CHECK(mmio_read32(card->own + 4) == target);
	say("gave %u pages", target);
	check(0, target);
	/* It takes them out again, and they are there. */
	card_put(card, DEFLATE, 0, NUMBERS, MANY * 4, false, false);
	card_kick(card, DEFLATE, 0);
	(void)card_wait(card, DEFLATE, NULL);
}

static void answer(struct card *card, char c)
{
	switch (c) {
	case 'd':
		dirty();
		break;
	case 'r':
		report(card);
		break;
	case 'c':
		check(0, (SIZE - PIECE) / PAGE);
		say("zeros");
		break;
	case 'b':
		inflate(card);
		break;
	case 'q':
		guest_end_well();
	}
}

void guest_main(const struct start_info *info)
{
	struct card card = { .rings = RINGS };

	(void)info;
	card_init();
	trap_set(TICK, on_tick);
	CHECK(card_find(&card, 5, 0, REPORTING));
	CHECK(card.features == REPORTING);
	ioapic_route(2, TICK);
	pit_start(50);
	say("up");
	for (;;) {
		while (in8(COM1_LSR) & 1)
			answer(&card, (char)in8(COM1));
		irq_wait();
	}
}
