/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves its own continuity: rounds of work whose every step rests on the one
 * before it. Registers, x87 and SSE are held through interrupts; memory goes on
 * by a rule and is summed up; neither the TSC nor kvmclock goes back; a second
 * processor, if there is one, counts on its own. Each round says its number. It
 * ends when a 'q' comes in at the serial port, by interrupt.
 */
#include "tests/kvm/guest/guest.h"
#include "tests/kvm/guest/hold.h"

#define TICK_VECTOR    0x40
#define SERIAL_VECTOR  0x41
#define SERIAL_PIN     4
#define COM1           0x3f8
#define HOLD_ROUNDS    200000
#define WORDS          32768u
#define BREAKPOINT     0x123456789ull /* in DR0, and off */
#define MSR_CLOCK      0x4b564d01u
#define CLOCK_BITS     (1u << 3 | 1u << 0)

#define COUNTER_PORT   0x2e0
#define COUNTER_MEMORY 0xd1000000

/* As KVM writes it. */
struct clock {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t multiplier;
	int8_t shift;
	uint8_t flags, rest[2];
};

static volatile uint64_t ticks, other_count;
static volatile bool asked_to_end;
static volatile struct clock clock __attribute__((aligned(64)));
static uint64_t words[WORDS], sum;
static bool has_clock;

static void on_tick(struct frame *frame)
{
	(void)frame;
	ticks++;
	lapic_eoi();
}

static void on_serial(struct frame *frame)
{
	(void)frame;
	while (in8(COM1 + 5) & 1) {
		if (in8(COM1) == 'q')
			asked_to_end = true;
	}
	lapic_eoi();
}

void guest_other_main(void)
{
	for (uint64_t own = 1;; own++) {
		other_count = own;
		if (other_count != own)
			guest_shut_down();
	}
}

/* ---- memory ---- */

static uint64_t next(uint64_t x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

static uint64_t begin_memory(uint64_t seed)
{
	for (unsigned i = 0; i < WORDS; i++) {
		seed = next(seed);
		words[i] = seed;
		sum += seed;
	}
	return 0;
}

/* 0: the sum is that of the last round; then each word goes on. */
static uint64_t go_on_memory(uint64_t unused)
{
	uint64_t found = 0, after = 0;

	(void)unused;
	for (unsigned i = 0; i < WORDS; i++) {
		found += words[i];
		words[i] = next(words[i]);
		after += words[i];
	}
	if (found != sum)
		return 1;
	sum = after;
	return 0;
}

/* ---- time ---- */

static uint64_t read_clock(void)
{
	uint64_t delta, ns;
	uint32_t version;

	do {
		version = clock.version;
		__asm__ volatile("" ::: "memory");
		delta = read_tsc() - clock.tsc;
		delta = clock.shift >= 0 ? delta << clock.shift
					 : delta >> -clock.shift;
		ns = clock.ns +
		     (uint64_t)((unsigned __int128)delta * clock.multiplier >>
				32);
		__asm__ volatile("" ::: "memory");
	} while (version & 1 || version != clock.version);
	return ns;
}

static void check_times(void)
{
	static uint64_t last_tsc, last_ns;
	uint64_t tsc = read_tsc(), ns = 0;

	if (tsc <= last_tsc)
		guest_fail("TSC went back from %lu to %lu", last_tsc, tsc);
	last_tsc = tsc;
	if (!has_clock)
		return;
	ns = read_clock();
	if (ns < last_ns)
		guest_fail("clock went back from %lu to %lu", last_ns, ns);
	/* A minute between two rounds is none of the guest's. */
	if (last_ns && ns - last_ns > 60000000000)
		guest_fail("clock jumped from %lu to %lu", last_ns, ns);
	last_ns = ns;
}

/* ---- the rounds ---- */

static void check_other(bool has_other)
{
	static uint64_t last;

	if (!has_other)
		return;
	while (other_count == last)
		;
	if (other_count < last)
		guest_fail("the other processor counts back");
	last = other_count;
}

static void check_debug(void)
{
	uint64_t dr0;

	__asm__ volatile("mov %%dr0, %0" : "=r"(dr0));
	CHECK(dr0 == BREAKPOINT);
}

/* A device of the test that counts its reads, if it is there: none is done
 * twice, none is lost, by port and by memory. */
static void check_reads(void)
{
	static uint32_t last;
	uint32_t now = in32(COUNTER_PORT);

	if (now == UINT32_MAX)
		return;
	CHECK(now == last + 1);
	last = mmio_read32(COUNTER_MEMORY);
	CHECK(last == now + 1);
}

static void one_round(bool has_other)
{
	uint64_t before = ticks, wrong;

	wrong = run_user(hold_registers, HOLD_ROUNDS);
	if (wrong)
		guest_fail("registers changed: 0x%lx", wrong);
	if (run_user(go_on_memory, 0))
		guest_fail("memory changed");
	check_debug();
	check_reads();
	check_times();
	check_other(has_other);
	while (ticks == before)
		irq_wait();
}

static void set_up(void)
{
	lapic_init();
	trap_set(TICK_VECTOR, on_tick);
	trap_set(SERIAL_VECTOR, on_serial);
	ioapic_route(SERIAL_PIN, SERIAL_VECTOR);
	out8(COM1 + 4, 0x0b);
	out8(COM1 + 1, 0x01);
	pit_start(50); /* masked: it counts */
	__asm__ volatile("mov %0, %%dr0" ::"r"(BREAKPOINT));
	lapic_timer(LAPIC_PERIODIC | TICK_VECTOR, 500000);
	if (cpuid(0x40000000, 0).ebx == 0x4b4d564b &&
	    cpuid(0x40000001, 0).eax & CLOCK_BITS) {
		write_msr(MSR_CLOCK, (uint64_t)&clock | 1);
		has_clock = true;
	}
	run_user(begin_memory, 88172645463325252);
}

void guest_main(const struct start_info *info)
{
	bool has_other = cpuid(0xb, 1).ebx > 1;
	uint64_t round = 0;

	(void)info;
	set_up();
	if (has_other)
		lapic_start_other(1);
	say("clock: %s", has_clock ? "kvmclock" : "none");
	while (!asked_to_end) {
		one_round(has_other);
		say("round %lu", ++round);
	}
	guest_end_well();
}
