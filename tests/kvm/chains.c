/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives each queue of each virtio device chains that can't be: that loop, have
 * 2^16 descriptors, lie over the end of RAM or where devices are, or in their own
 * rings. A device that reads such a queue asks for a reset; after the reset it
 * works, each time. It begins with a byte at its serial port, and goes round until
 * it gets another.
 */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define COM1         0x3f8
#define COM1_LSR     0x3fd
#define RINGS        0x800000ull
#define RINGS_A_CARD (CARD_QUEUES_MAX * CARD_RINGS)
#define DATA         0xa00000ull /* a page */
#define TABLE        0xa01000ull /* indirect ones */
#define BIG          0xb00000ull /* one of BIG_COUNT */
#define BIG_COUNT    65536u
#define RAM_END      0x4000000ull /* the machine is started with so much */
#define STATUS       20u
#define NEEDS_RESET  0x40u
/* Reads of the status: much longer than a device takes. */
#define PATIENCE 3000000u

#define NEXT     1u
#define WRITE    2u
#define INDIRECT 4u

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

/* ---- the devices ---- */

struct kind {
	const char *name;
	uint16_t id;
	uint32_t reads;     /* a bit a queue that is looked into at once */
	unsigned good;      /* the queue of the good chain */
	unsigned to_read;   /* its bytes, in DATA, */
	unsigned to_write;  /* and those of what is written behind them */
	uint32_t words[11]; /* what it begins with */
};

static const struct kind kinds[] = {
	{ "net", 1, 0x02, 1, 72, 0, { 0 } },
	/* Sector 0. */
	{ "blk", 2, 0xff, 0, 16, 513, { 0 } },
	/* A message: the driver is ready. */
	{ "console", 3, 0x08, 3, 8, 0, { 0, 1u << 16 } },
	{ "rng", 4, 0x01, 0, 0, 256, { 0 } },
	{ "balloon", 5, 0x1f, 0, 4, 0, { DATA / 4096 } },
	/* There is no such connection. */
	{ "vsock", 19, 0x02, 1, 44, 0, { 3, 0, 2, 0, 1, 1, 0, 3u << 16 | 1 } },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void start(struct card *card, const struct kind *kind)
{
	card->rings = RINGS + RINGS_A_CARD * (uint64_t)(kind - kinds);
	if (!card_find(card, kind->id, 0, ~0u))
		guest_fail("there is no %s", kind->name);
}

static void set_queue(struct card *card, unsigned index)
{
	struct card_queue *queue = &card->queues[index];

	queue->available = queue->used = 0;
	*(volatile uint32_t *)(queue->rings + 0x1000) = 0;
	*(volatile uint32_t *)(queue->rings + 0x2000) = 0;
	mmio_write16(card->common + 22, (uint16_t)index);
	mmio_write16(card->common + 24, CARD_QUEUE_SIZE);
	for (unsigned i = 0; i < 3; i++)
		mmio_write32(card->common + 32 + 8 * i,
			     (uint32_t)(queue->rings + 0x1000 * i));
	mmio_write16(card->common + 28, 1);
}

/* As it was started, with two of its queues: that is quicker. */
static void restart(struct card *card, const struct kind *kind, unsigned queue)
{
	mmio_write8(card->common + STATUS, 0);
	while (mmio_read8(card->common + STATUS))
		;
	mmio_write8(card->common + STATUS, 3);
	mmio_write32(card->common + 8, 0);
	mmio_write32(card->common + 12, card->features);
	mmio_write32(card->common + 8, 1);
	mmio_write32(card->common + 12, 1);
	mmio_write8(card->common + STATUS, 11);
	set_queue(card, queue);
	if (queue != kind->good)
		set_queue(card, kind->good);
	mmio_write8(card->common + STATUS, 15);
	CHECK(mmio_read8(card->common + STATUS) == 15);
}

/* It does its work. */
static void try(struct card *card, const struct kind *kind, const char *after)
{
	uint32_t written = 0;
	unsigned i = 0;

	for (i = 0; i < sizeof(kind->words) / 4; i++)
		((volatile uint32_t *)DATA)[i] = kind->words[i];
	if (kind->to_read)
		card_put(card, kind->good, 0, DATA, kind->to_read, false,
			 kind->to_write);
	if (kind->to_write)
		card_put(card, kind->good, !!kind->to_read, DATA + 64,
			 kind->to_write, true, false);
	card_kick(card, kind->good, 0);
	for (i = 0; card_take(card, kind->good, &written) < 0; i++) {
		if (i == PATIENCE ||
		    (i % 256 == 255 &&
		     mmio_read8(card->common + STATUS) & NEEDS_RESET))
			guest_fail("%s does nothing after '%s'", kind->name,
				   after);
		__asm__ volatile("pause");
	}
	if (kind->to_write && written != kind->to_write)
		guest_fail("%s wrote %u bytes after '%s'", kind->name, written,
			   after);
}

/* ---- the chains ---- */

struct breach {
	const char *what;
	uint64_t address; /* of the first descriptor */
	uint32_t length;
	uint16_t flags, next;
};

static const struct breach breaches[] = {
	{ "no bytes", DATA, 0, 0, 0 },
	{ "over the end of RAM", RAM_END - 16, 32, 0, 0 },
	{ "over the end of RAM, to write", RAM_END - 16, 32, WRITE, 0 },
	{ "behind RAM", RAM_END, 4096, WRITE, 0 },
	{ "the hole's begin", 0xc0000000, 4096, WRITE, 0 },
	{ "the ECAM", LAYOUT_ECAM, 4096, WRITE, 0 },
	{ "a BAR", LAYOUT_WINDOW32, 4096, WRITE, 0 },
	{ "the IOAPIC", LAYOUT_IOAPIC, 64, WRITE, 0 },
	{ "the LAPIC", LAYOUT_LAPIC, 4096, 0, 0 },
	{ "the end of addresses", ~15ull, 32, 0, 0 },
	{ "all lengths", DATA, 0xffffffff, 0, 0 },
	{ "next past the table", DATA, 64, NEXT, CARD_QUEUE_SIZE },
	{ "next far past it", DATA, 64, NEXT, 65535 },
	{ "a loop of one", DATA, 64, NEXT, 0 },
	{ "a loop of two", DATA, 64, NEXT, 2 },
	{ "read behind write", DATA, 64, WRITE | NEXT, 1 },
	{ "2^16 descriptors", BIG, 16 * BIG_COUNT, INDIRECT, 0 },
	{ "one segment too many", BIG, 16 * 257, INDIRECT, 0 },
	{ "a table over the end of RAM", RAM_END - 16, 32, INDIRECT, 0 },
	{ "a table where devices are", LAYOUT_ECAM, 4096, INDIRECT, 0 },
	{ "a table of an odd length", TABLE + 48, 24, INDIRECT, 0 },
	{ "a table in a table", TABLE, 16, INDIRECT, 0 },
	{ "a table that loops", TABLE + 16, 32, INDIRECT, 0 },
	{ "a table and more", TABLE + 16, 16, INDIRECT | NEXT, 1 },
};

#define BREACHES (sizeof(breaches) / sizeof(breaches[0]))

static void put(uint64_t table, unsigned index, const struct descriptor *from)
{
	((volatile struct descriptor *)table)[index] = *from;
}

static uint64_t fill_big(uint64_t unused)
{
	(void)unused;
	for (unsigned i = 0; i < BIG_COUNT; i++)
		put(BIG, i,
		    &(struct descriptor){ DATA, 16,
					  i + 1 < BIG_COUNT ? NEXT : 0,
					  (uint16_t)(i + 1) });
	return 0;
}

static void fill_tables(void)
{
	run_user(fill_big, 0);
	put(TABLE, 0, &(struct descriptor){ TABLE + 48, 16, INDIRECT, 0 });
	put(TABLE, 1, &(struct descriptor){ DATA, 64, NEXT, 1 });
	put(TABLE, 2, &(struct descriptor){ DATA, 64, NEXT, 0 });
	put(TABLE, 3, &(struct descriptor){ DATA, 64, 0, 0 });
}

static bool needs_reset(const struct card *card)
{
	return mmio_read8(card->common + STATUS) & NEEDS_RESET;
}

/* The device was told of the queue: it complains, if it reads it. */
static void expect_complaint(struct card *card, const struct kind *kind,
			     unsigned queue, const char *what)
{
	unsigned i = 0;

	while (kind->reads >> queue & 1 && !needs_reset(card)) {
		if (++i == PATIENCE)
			guest_fail("%s, queue %u takes '%s'", kind->name, queue,
				   what);
	}
	restart(card, kind, queue);
	try(card, kind, what);
}

static void break_rules(struct card *card, const struct kind *kind,
			unsigned queue)
{
	uint64_t table = card->queues[queue].rings;

	for (unsigned i = 0; i < BREACHES; i++) {
		const struct breach *breach = &breaches[i];

		put(table, 0,
		    &(struct descriptor){ breach->address, breach->length,
					  breach->flags, breach->next });
		put(table, 1, &(struct descriptor){ DATA, 64, 0, 0 });
		put(table, 2, &(struct descriptor){ DATA, 64, NEXT, 0 });
		card_kick(card, queue, 0);
		expect_complaint(card, kind, queue, breach->what);
	}
	card_kick(card, queue, CARD_QUEUE_SIZE);
	expect_complaint(card, kind, queue, "a head past the table");
	card->queues[queue].available += 1000;
	card_kick(card, queue, 0);
	expect_complaint(card, kind, queue, "an index that is far ahead");
}

/* Breaks no rule of the ring, and what is in it is nonsense: whatever becomes of
 * that, it is over with the reset. */
static void confuse(struct card *card, const struct kind *kind, unsigned queue)
{
	uint64_t table = card->queues[queue].rings;

	for (uint16_t flags = 0; flags <= WRITE; flags += WRITE) {
		put(table, 0,
		    &(struct descriptor){ table, CARD_RINGS, flags, 0 });
		for (unsigned i = 0; i < 8; i++)
			card_offer(card, queue, 0);
		card_kick(card, queue, 0);
		(void)needs_reset(card);
		restart(card, kind, queue);
		try(card, kind, "its own rings");
	}
	put(table, 0, &(struct descriptor){ BIG, 16 << 20, WRITE, 0 });
	card_kick(card, queue, 0);
	(void)needs_reset(card);
	restart(card, kind, queue);
	fill_tables();
	try(card, kind, "16 MiB");
}

static void go_round(void)
{
	static struct card card;

	for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
		start(&card, kind);
		try(&card, kind, "nothing");
		for (unsigned i = 0; i < card.queue_count; i++) {
			restart(&card, kind, i);
			break_rules(&card, kind, i);
			confuse(&card, kind, i);
		}
		say("%s, %u queues", kind->name, card.queue_count);
	}
}

static bool has_byte(void)
{
	if (!(in8(COM1_LSR) & 1))
		return false;
	(void)in8(COM1);
	return true;
}

void guest_main(const struct start_info *info)
{
	(void)info;
	card_init();
	fill_tables();
	say("up");
	while (!has_byte())
		;
	do
		go_round();
	while (!has_byte());
	guest_end_well();
}
