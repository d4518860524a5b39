/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each processor has a queue of the first disk to itself, and an MSI-X vector
 * for it: it writes pieces of its own part of the disk, sleeps until its own
 * interrupt comes, reads them back and compares. So until a byte comes at the
 * serial port. A piece is 4 KiB of one word, which tells of its processor and its
 * round; spoken of at the end, so that the host can look too.
 */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define COM1_LSR   0x3fd
#define CPUS_MAX   CARD_QUEUES_MAX
#define RINGS      0x800000ull
#define HEADS      0x8ff000ull /* 64 bytes each */
#define DATA       0x900000ull /* two pieces each */
#define PIECE      4096u
#define PIECES     32u /* a part of the disk */
#define VECTOR     0x60
#define STACK      8192u
#define ROUNDS_MIN 100u
#define F_QUEUES   (1u << 12)
#define MSIX       0x11u

#define IN         0u
#define OUT        1u

static struct card disk = { .rings = RINGS };
static unsigned cpus;
static volatile bool go, over;
static volatile uint64_t rounds[CPUS_MAX];
static volatile unsigned interrupts[CPUS_MAX], started, finished;
static volatile unsigned astray; /* interrupts of others' vectors */
static uint8_t stacks[CPUS_MAX][STACK] __attribute__((aligned(16)));
static uint8_t *volatile next_stack;
void smp_disk_other(void);

static unsigned this_cpu(void)
{
	return mmio_read32(LAPIC + LAPIC_ID) >> 24;
}

static void on_interrupt(struct frame *frame)
{
	unsigned cpu = (unsigned)frame->vector - VECTOR;

	if (cpu != this_cpu())
		__asm__ volatile("lock incl %0" : "+m"(astray));
	interrupts[cpu]++;
	lapic_eoi();
}

/* ---- a piece ---- */

static uint64_t word_of(unsigned cpu, uint64_t round)
{
	return (round << 8 | cpu) * 0x9e3779b97f4a7c15;
}

static void fill(uint64_t at, uint64_t word)
{
	uint64_t count = PIECE / 8;

	__asm__ volatile("rep stosq"
			 : "+D"(at), "+c"(count)
			 : "a"(word)
			 : "memory");
}

static bool holds(uint64_t at, uint64_t word)
{
	uint64_t count = PIECE / 8;
	bool same;

	__asm__ volatile("repe scasq; sete %0"
			 : "=q"(same), "+D"(at), "+c"(count)
			 : "a"(word)
			 : "memory", "cc");
	return same && !count;
}

static void request(unsigned cpu, uint32_t type, uint64_t piece, uint64_t data)
{
	uint64_t head = HEADS + 64ull * cpu;
	volatile uint32_t *words = (volatile uint32_t *)head;
	uint64_t sector = (uint64_t)(cpu * PIECES + piece) * (PIECE / 512);

	words[0] = type;
	words[1] = 0;
	words[2] = (uint32_t)sector;
	words[3] = 0;
	words[4] = 0xff;
	card_put(&disk, cpu, 0, head, 16, false, true);
	card_put(&disk, cpu, 1, data, PIECE, type == IN, true);
	card_put(&disk, cpu, 2, head + 16, 1, true, false);
	card_kick(&disk, cpu, 0);
	(void)card_wait(&disk, cpu, NULL);
	if (words[4] & 0xff)
		guest_fail("cpu %u: status %u of request %u", cpu,
			   words[4] & 0xff, type);
}

static void work(unsigned cpu)
{
	uint64_t data = DATA + 2ull * PIECE * cpu;
	uint64_t round = 0;

	while (round < ROUNDS_MIN || !over) {
		round++;
		fill(data, word_of(cpu, round));
		request(cpu, OUT, round % PIECES, data);
		fill(data + PIECE, 0);
		request(cpu, IN, round % PIECES, data + PIECE);
		if (!holds(data + PIECE, word_of(cpu, round)))
			guest_fail("cpu %u reads another piece in round %lu",
				   cpu, round);
		rounds[cpu] = round;
		if (!cpu && in8(COM1_LSR) & 1)
			over = true;
	}
}

/* ---- the processors ---- */

void smp_disk_other(void)
{
	unsigned cpu = this_cpu();

	mmio_write32(LAPIC + LAPIC_SPURIOUS, 0x1ff);
	started++;
	while (!go)
		__asm__ volatile("pause");
	work(cpu);
	__asm__ volatile("lock incl %0" : "+m"(finished));
	for (;;)
		irq_wait();
}

/* All of them come on one stack, one after the other. */
void guest_other_main(void)
{
	__asm__ volatile("mov %0, %%rsp; call smp_disk_other"
			 :
			 : "r"(next_stack)
			 : "memory");
}

static void start_others(void)
{
	for (unsigned i = 1; i < cpus; i++) {
		next_stack = stacks[i] + STACK;
		lapic_start_other(i);
		while (started != i)
			;
	}
}

/* Queue i to processor i, by entry i + 1. */
static void set_vectors(void)
{
	uint64_t table = 0;

	for (uint8_t at = mmio_read8(disk.config + 0x34); at;
	     at = mmio_read8(disk.config + at + 1u)) {
		if (mmio_read8(disk.config + at) == MSIX)
			table = mmio_read32(disk.config + at + 4u);
	}
	/* Its BAR is the first, as of all devices here. */
	CHECK(table && !(table & 7));
	table += mmio_read32(disk.config + 0x10) & ~15u;
	for (unsigned i = 0; i < cpus; i++) {
		uint64_t entry = table + 16ull * (i + 1);

		trap_set(VECTOR + i, on_interrupt);
		mmio_write32(entry, (uint32_t)LAPIC | i << 12);
		mmio_write32(entry + 4, 0);
		mmio_write32(entry + 8, VECTOR + i);
		mmio_write32(entry + 12, 0);
		mmio_write16(disk.common + 22, (uint16_t)i);
		mmio_write16(disk.common + 26, (uint16_t)(i + 1));
		CHECK(mmio_read16(disk.common + 26) == i + 1);
	}
}

void guest_main(const struct start_info *info)
{
	(void)info;
	card_init();
	CHECK(card_find(&disk, 2, 0, F_QUEUES));
	cpus = disk.queue_count;
	set_vectors();
	start_others();
	say("%u queues", cpus);
	go = true;
	work(0);
	while (finished != cpus - 1)
		__asm__ volatile("pause");
	for (unsigned i = 0; i < cpus; i++) {
		CHECK(interrupts[i]);
		say("cpu %u: %lu rounds", i, (unsigned long)rounds[i]);
	}
	if (astray)
		guest_fail("%u interrupts went astray", astray);
	guest_end_well();
}
