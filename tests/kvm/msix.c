/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X tables with nonsense: messages to RAM, to devices, to processors that
 * aren't there, of vectors and kinds that can't be, in pieces of any size, past
 * the table's end. None of them writes a byte or becomes another interrupt, and a
 * good entry works after each. With "init" or "smi" on the command line the last
 * message is one that takes the processor away; what then becomes of the guest is
 * not its own matter.
 */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define RINGS      0x800000ull
#define DATA       0x900000ull
#define CANARY     0xa00000ull /* a page that nobody is to write to */
#define WORD       0x5a5a5a5au
#define MSIX       0x11u
#define GOOD       CARD_VECTOR
#define NMI        2u
#define FIRST_FREE 0x20u
#define ENABLE     0x8000u
#define MASK_ALL   0x4000u
#define SMI        0x200u
#define NMI_MODE   0x400u
#define INIT       0x500u
#define SMM_ENTRY  0x38000ull

static struct card rng = { .rings = RINGS };
static uint64_t capability, entry, pending;
static unsigned count;
static volatile unsigned nmis, astray;

static void on_nmi(struct frame *frame)
{
	(void)frame;
	nmis++;
}

static void on_stray(struct frame *frame)
{
	(void)frame;
	astray++;
	lapic_eoi();
}

static void find_table(void)
{
	uint64_t base = mmio_read32(rng.config + 0x10) & ~15u;

	for (uint8_t at = mmio_read8(rng.config + 0x34); at;
	     at = mmio_read8(rng.config + at + 1u)) {
		if (mmio_read8(rng.config + at) == MSIX)
			capability = rng.config + at;
	}
	CHECK(capability);
	count = (mmio_read16(capability + 2) & 0x7ff) + 1u;
	/* Both in the first BAR, and the queue has the second entry. */
	entry = base + (mmio_read32(capability + 4) & ~7u) + 16;
	pending = base + (mmio_read32(capability + 8) & ~7u);
}

static void set_entry(uint64_t address, uint32_t data, bool masked)
{
	mmio_write32(entry + 12, 1);
	mmio_write32(entry, (uint32_t)address);
	mmio_write32(entry + 4, (uint32_t)(address >> 32));
	mmio_write32(entry + 8, data);
	mmio_write32(entry + 12, masked);
}

/* The device has something to say: it is done with a buffer. */
static void raise(void)
{
	card_put(&rng, 0, 0, DATA, 64, true, false);
	card_kick(&rng, 0, 0);
	while (card_take(&rng, 0, NULL) < 0)
		__asm__ volatile("pause");
	/* What is on its way comes in. */
	__asm__ volatile("sti; nop; nop; cli" ::: "memory");
}

static void must_work(const char *after)
{
	unsigned before = card_interrupts[0];

	set_entry(LAPIC, GOOD, false);
	raise();
	while (card_interrupts[0] == before)
		irq_wait();
	for (unsigned i = 0; i < 4096; i += 4) {
		if (*(volatile uint32_t *)(CANARY + i) != WORD)
			guest_fail("%s wrote to RAM", after);
	}
	if (astray)
		guest_fail("%s became another interrupt", after);
}

struct message {
	const char *what;
	uint64_t address;
	uint32_t data;
};

/* None of them is an interrupt to this processor. */
static const struct message messages[] = {
	{ "a message to RAM", CANARY, GOOD },
	{ "a message to odd RAM", CANARY + 3, GOOD },
	{ "a message to no RAM", 0xb0000000, GOOD },
	{ "a message to the ECAM", LAYOUT_ECAM + 0x8004, 0 },
	{ "a message to a BAR", LAYOUT_WINDOW32 + 20, 0 },
	{ "a message to the IOAPIC", LAYOUT_IOAPIC, GOOD },
	{ "a message below the window", LAPIC - 4, GOOD },
	{ "a message behind the window", LAPIC + 0x100000, GOOD },
	{ "a message far above it", 1ull << 32 | LAPIC, GOOD },
	{ "a message at the top", ~3ull, GOOD },
	{ "a message to nobody", LAPIC | 77 << 12, GOOD },
	{ "a message to nobody logical", LAPIC | 64 << 12 | 4, GOOD },
	{ "the vector 0", LAPIC, 0 },
	{ "the vector 15", LAPIC, 15 },
	{ "a reserved kind", LAPIC, 0x300 | GOOD },
	{ "a start-up", LAPIC, 0x600 | GOOD },
	{ "one of an 8259", LAPIC, 0x700 | GOOD },
	{ "zeros", 0, 0 },
	{ "ones", ~0ull, ~0u & ~0x700u },
};

static void try_messages(void)
{
	const unsigned number = sizeof(messages) / sizeof(messages[0]);

	for (unsigned i = 0; i < number; i++) {
		unsigned before = card_interrupts[0];

		set_entry(messages[i].address, messages[i].data, false);
		raise();
		if (card_interrupts[0] != before)
			guest_fail("%s was delivered", messages[i].what);
		must_work(messages[i].what);
	}
	say("%u messages that can't be", number);
}

static void try_nmi(void)
{
	set_entry(LAPIC, NMI_MODE, false);
	raise();
	while (!nmis)
		__asm__ volatile("pause");
	must_work("an NMI");
	say("an NMI");
}

/* Of any size, anywhere in the page of the table and of that behind it. */
static void try_sizes(void)
{
	uint64_t table = entry - 16;

	set_entry(LAPIC, GOOD, false);
	for (unsigned i = 0; i < 16; i++) {
		mmio_write8(entry + i, 0xff);
		mmio_write16(entry + (i & ~1u), 0xffff);
	}
	CHECK(mmio_read32(entry) == (uint32_t)LAPIC);
	CHECK(mmio_read32(entry + 8) == GOOD);
	CHECK(!mmio_read32(entry + 12));
	for (unsigned i = 16 * count; i < 0x2000; i += 4)
		mmio_write32(table + i, 0xfffffffe);
	CHECK(!mmio_read32(table + 16ull * count));
	CHECK(!mmio_read32(table + 0xffc));
	CHECK(!mmio_read32(pending));
	must_work("a write of another size");
	/* The queue's vector: of those there are. */
	mmio_write16(rng.common + 22, 0);
	for (unsigned i = count; i < 0x10000; i = 2 * i + 1) {
		mmio_write16(rng.common + 26, (uint16_t)i);
		CHECK(mmio_read16(rng.common + 26) == 0xffff);
	}
	raise();
	mmio_write16(rng.common + 26, 1);
	must_work("another vector");
	say("writes of all sizes");
}

/* What is masked waits, in all three ways. */
static void try_masks(void)
{
	unsigned before = card_interrupts[0];

	set_entry(LAPIC, GOOD, true);
	raise();
	CHECK(card_interrupts[0] == before && mmio_read32(pending) & 2);
	mmio_write32(entry + 12, 0);
	while (card_interrupts[0] == before)
		irq_wait();
	CHECK(!(mmio_read32(pending) & 2));

	mmio_write16(capability + 2, ENABLE | MASK_ALL);
	before = card_interrupts[0];
	raise();
	CHECK(card_interrupts[0] == before && mmio_read32(pending) & 2);
	/* Nonsense that is pending goes nowhere when it may go. */
	set_entry(CANARY, GOOD, false);
	mmio_write16(capability + 2, ENABLE);
	CHECK(card_interrupts[0] == before);

	mmio_write16(capability + 2, 0);
	raise();
	CHECK(card_interrupts[0] == before);
	mmio_write16(capability + 2, ENABLE);
	must_work("a mask");
	say("masks");
}

/* It changes while messages come. */
static void try_races(void)
{
	const unsigned number = sizeof(messages) / sizeof(messages[0]);

	for (unsigned i = 0; i < 200; i++) {
		card_put(&rng, 0, 0, DATA, 64, true, false);
		card_kick(&rng, 0, 0);
		set_entry(messages[i % number].address,
			  messages[i % number].data, i & 1);
		mmio_write16(capability + 2,
			     i & 2 ? ENABLE : ENABLE | MASK_ALL);
		while (card_take(&rng, 0, NULL) < 0)
			__asm__ volatile("pause");
	}
	mmio_write16(capability + 2, ENABLE);
	must_work("a change in a message's way");
	say("races");
}

void guest_main(const struct start_info *info)
{
	card_init();
	trap_set(NMI, on_nmi);
	for (unsigned i = FIRST_FREE; i < 256; i++) {
		if (i < CARD_VECTOR || i >= CARD_VECTOR + CARDS_MAX)
			trap_set(i, on_stray);
	}
	for (unsigned i = 0; i < 4096; i += 4)
		*(volatile uint32_t *)(CANARY + i) = WORD;
	/* RSM: who gets there comes back. */
	*(volatile uint16_t *)SMM_ENTRY = 0xaa0f;
	CHECK(card_find(&rng, 4, 0, 0));
	find_table();
	must_work("nothing");
	try_messages();
	try_nmi();
	try_sizes();
	try_masks();
	try_races();
	if (cmdline_has(info, "init") || cmdline_has(info, "smi")) {
		say("the last");
		set_entry(LAPIC, cmdline_has(info, "init") ? INIT : SMI, false);
		raise();
		say("it is still here");
		for (;;)
			irq_wait();
	}
	guest_end_well();
}
