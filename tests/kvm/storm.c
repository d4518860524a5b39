/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that knows no rules: so many ("rounds=") random accesses to everything
 * that the machine has, by a seed ("seed="): PCI's configuration by ports and by
 * memory, the BARs of each device, ports, holes between the devices, and rings
 * with chains that loop, are too long, or lie where no RAM is.
 *
 * It leaves out what ends the machine or itself (power off, resets, messages
 * that are no interrupts, its own code as a buffer), and in the end asks a
 * device whether it still works. With "wild" it leaves out nothing.
 */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define RINGS        0x800000ull  /* of the end's look */
#define SCRATCH      0x1000000ull /* rings and buffers of the storm */
#define SCRATCH_SIZE 0x2000000ull
#define RAM_END      0x4000000ull /* the machine is started with so much */
#define DEVICES_MAX  31u
#define QUEUES       6u
#define QUEUE_SIZE   64u
#define BAR_SIZE     0x8000u
#define WINDOW_END   (LAYOUT_WINDOW32 + (uint64_t)LAYOUT_WINDOW32_SIZE)

struct storm_device {
	uint64_t config; /* ECAM */
	uint32_t bar[2]; /* as it was */
};

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

static uint64_t seed;
static bool wild;
static struct storm_device devices[DEVICES_MAX];
static unsigned device_count;
static struct storm_device *last; /* that was started */
static uint64_t served; /* chains that came back, as far as was seen */

/* ---- chance ---- */

static uint64_t next(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 0x2545f4914f6cdd1d;
}

static uint32_t below(uint32_t limit)
{
	return (uint32_t)((next() >> 32) * limit >> 32);
}

/* Values that mean something, more often than others. */
static uint32_t value(void)
{
	static const uint32_t known[] = {
		0,      1,      2,      3,      7,          0xff,
		0xffff, 0x8000, 0x7fff, 0x1000, 0xffffffff, 0x80000000
	};

	switch (below(4)) {
	case 0:
		return known[below(sizeof(known) / sizeof(known[0]))];
	case 1:
		return 1u << below(32);
	case 2:
		return below(64);
	default:
		return (uint32_t)next();
	}
}

/* An address for a device: mostly one that it may have. */
static uint64_t address(void)
{
	switch (below(16)) {
	case 0:
		return LAYOUT_ECAM + below(LAYOUT_ECAM_SIZE);
	case 1:
		return LAYOUT_WINDOW32 + below(0x100000);
	case 2:
		return RAM_END - below(64);
	case 3:
		return RAM_END + next() % (0xc0000000 - RAM_END);
	case 4:
		return next();
	case 5:
		return LAYOUT_LAPIC + below(0x1000);
	case 6:
		return wild ? next() % RAM_END
			    : 0xfffffffffffff000 + below(4096);
	default:
		return SCRATCH + next() % SCRATCH_SIZE;
	}
}

static void put(uint64_t at, uint32_t what, unsigned size)
{
	if (size == 1)
		mmio_write8(at, (uint8_t)what);
	else if (size == 2)
		mmio_write16(at, (uint16_t)what);
	else
		mmio_write32(at, what);
}

static void get(uint64_t at, unsigned size)
{
	if (size == 1)
		(void)mmio_read8(at);
	else if (size == 2)
		(void)mmio_read16(at);
	else
		(void)mmio_read32(at);
}

/* ---- ports ---- */

static bool ends_machine(uint16_t port)
{
	/* With what an access of four bytes reaches. */
	return (port >= LAYOUT_I8042_DATA - 3 &&
		port <= LAYOUT_I8042_COMMAND) ||
	       (port >= LAYOUT_PM - 3 && port <= LAYOUT_PM + LAYOUT_PM_RESET);
}

static void out(uint16_t port, uint32_t what, unsigned size)
{
	if (!wild && ends_machine(port))
		return;
	if (size == 1)
		out8(port, (uint8_t)what);
	else if (size == 2)
		out16(port, (uint16_t)what);
	else
		out32(port, what);
}

static uint16_t port(void)
{
	static const uint16_t known[] = { 0x20,  0x21,  0x40,  0x43,  0x60,
					  0x61,  0x64,  0x70,  0x71,  0xa0,
					  0xa1,  0x3f8, 0x3f9, 0x3fa, 0x3fb,
					  0x3fc, 0x505, 0x600, 0x608, 0x620,
					  0x623, 0xcf8, 0xcfc, 0xcfe };

	if (below(2))
		return known[below(sizeof(known) / sizeof(known[0]))];
	return (uint16_t)next();
}

/* Several at once, by the string instructions. */
static void storm_string(void)
{
	uint64_t at = SCRATCH + below(0x10000), count = below(40);
	uint16_t where = port();

	if (below(2))
		__asm__ volatile("rep insb"
				 : "+D"(at), "+c"(count)
				 : "d"(where)
				 : "memory");
	else if (wild || !ends_machine(where))
		__asm__ volatile("rep outsb"
				 : "+S"(at), "+c"(count)
				 : "d"(where)
				 : "memory");
}

static void storm_port(void)
{
	uint16_t where = port();
	unsigned size = 1u << below(3);

	if (below(3))
		out(where, value(), size);
	else if (size == 1)
		(void)in8(where);
	else
		(void)in32(where);
}

/* ---- PCI ---- */

static struct storm_device *device(void)
{
	return &devices[below(device_count)];
}

static void storm_config(void)
{
	unsigned size = 1u << below(3);
	uint32_t slot =
		below(4) ? (uint32_t)(device()->config - LAYOUT_ECAM) >> 15
			 : below(32);
	uint32_t offset = below(8) ? below(256) : below(4096);

	if (below(2)) {
		put(LAYOUT_ECAM + (slot << 15) + offset, value(), size);
	} else {
		out32(LAYOUT_PCI_CONFIG,
		      0x80000000 | slot << 11 | (offset & 0xfc));
		out((uint16_t)(LAYOUT_PCI_CONFIG + 4 + below(4)), value(),
		    size);
	}
}

static void restore_bar(const struct storm_device *one)
{
	mmio_write32(one->config + 0x10, one->bar[0]);
	mmio_write32(one->config + 0x14, one->bar[1]);
	mmio_write16(one->config + 4, 6);
}

/* Where its BAR is now, or is again. */
static uint64_t bar_of(const struct storm_device *one)
{
	uint64_t at = mmio_read32(one->config + 0x10) & ~15u;

	if (mmio_read32(one->config + 0x14) || at < LAYOUT_WINDOW32 ||
	    at > WINDOW_END - BAR_SIZE || !below(8)) {
		restore_bar(one);
		at = one->bar[0] & ~15u;
	}
	return at;
}

/* A message that is an interrupt, and no reset of a processor. */
static void put_message(uint64_t table)
{
	uint64_t at = table + 4 * below(64);
	uint32_t what = value();

	if (!wild && at % 16 == 8)
		what &= 0xff;
	mmio_write32(at, what);
}

static void storm_bar(void)
{
	uint64_t bar = bar_of(device());
	uint32_t page = below(8);
	uint64_t at =
		bar + page * 0x1000 + (below(4) ? below(64) : below(0xffc));

	if (page == 4)
		put_message(bar + 0x4000);
	else if (below(4))
		put(at, value(), 1u << below(3));
	else
		get(at, 1u << below(3));
}

/* ---- rings ---- */

static void put_descriptor(uint64_t table, unsigned i, unsigned count)
{
	volatile struct descriptor *descriptor =
		(volatile struct descriptor *)table + i;

	descriptor->address = address();
	descriptor->length = below(4) ? below(9000) : value();
	descriptor->flags = (uint16_t)(below(8) ? below(4) : value());
	/* On, back, to itself, or nowhere. */
	descriptor->next = (uint16_t)(below(4) ? i + 1 : below(count + 2));
	/* A table of 2^16: of all that is there. */
	if (!below(16)) {
		descriptor->address = SCRATCH;
		descriptor->length = 0x100000;
		descriptor->flags = 4;
	}
}

static uint64_t ring(unsigned queue)
{
	return SCRATCH + 0x4000ull * queue;
}

static void set_queue(uint64_t common, unsigned queue)
{
	mmio_write16(common + 22, (uint16_t)queue);
	mmio_write16(common + 24, (uint16_t)(below(32) ? QUEUE_SIZE : value()));
	mmio_write16(common + 26, (uint16_t)(below(4) ? queue : value()));
	for (unsigned i = 0; i < 3; i++) {
		uint64_t at = below(100) ? ring(queue) + 0x1000 * i : address();

		mmio_write32(common + 32 + 8 * i, (uint32_t)at);
		mmio_write32(common + 36 + 8 * i, (uint32_t)(at >> 32));
	}
	mmio_write16(common + 28, 1);
}

static bool is_balloon(const struct storm_device *one)
{
	return mmio_read16(one->config + 2) == 0x1045;
}

/* As a driver does, but for what chance makes of it. */
static void storm_start(void)
{
	uint64_t common;

	last = device();
	restore_bar(last);
	common = bar_of(last);
	mmio_write8(common + 20, 0);
	for (unsigned i = 0; i < 100 && mmio_read8(common + 20); i++)
		;
	mmio_write8(common + 20, 3);
	for (uint32_t half = 0; half < 2; half++) {
		uint32_t offered;

		mmio_write32(common, half);
		offered = mmio_read32(common + 4);
		mmio_write32(common + 8, half);
		mmio_write32(common + 12,
			     below(32) ? offered & (half ? 1 : value())
				       : value());
	}
	mmio_write8(common + 20, 11);
	/* What it gives a balloon may be its own code. */
	for (unsigned queue = !wild && is_balloon(last); queue < QUEUES;
	     queue++) {
		uint16_t used = *(volatile uint16_t *)(ring(queue) + 0x2002);

		/* Else it was overwritten. */
		served += used < 1000 ? used : 0;
		for (uint64_t i = 0; i < 0x3000; i += 0x1000)
			clear(ring(queue) + i, 16);
		set_queue(common, queue);
	}
	mmio_write8(common + 20, (uint8_t)(below(16) ? 15 : value()));
}

/* The beginning of what a request may be. */
static void put_request(uint64_t at)
{
	volatile uint32_t *word = (volatile uint32_t *)(at & ~3ull);

	switch (below(3)) {
	case 0: /* a disk's */
		word[0] = below(16);
		word[1] = 0;
		word[2] = below(0x3000);
		word[3] = below(16) ? 0 : value();
		break;
	case 1: /* vsock's */
		word[0] = 3;
		word[1] = word[3] = 0;
		word[2] = 2;
		word[4] = below(4);
		word[5] = below(4);
		word[6] = below(4) ? 0 : value();
		word[7] = 1 | below(9) << 16;
		word[8] = below(4);
		word[9] = value();
		word[10] = value();
		break;
	default: /* a balloon's, and anything */
		for (unsigned i = 0; i < 12; i++)
			word[i] = below(0x4000) + (below(8) ? 0 : 0x100000);
	}
}

/* A chain as a driver makes them: what is read, then what is written. */
static uint16_t put_chain(uint64_t table)
{
	unsigned first = below(QUEUE_SIZE - 8), reads = below(3);
	unsigned count = reads + 1 + below(4);

	for (unsigned i = 0; i < count; i++) {
		volatile struct descriptor *descriptor =
			(volatile struct descriptor *)table + first + i;

		descriptor->address = SCRATCH + next() % (SCRATCH_SIZE - 8192);
		descriptor->length =
			i == count - 1 && below(2) ? 1 : 1 + below(5000);
		descriptor->flags = (uint16_t)((i + 1 < count ? 1 : 0) |
					       (i >= reads ? 2 : 0));
		descriptor->next = (uint16_t)(first + i + 1);
		if (!i && reads)
			put_request(descriptor->address);
	}
	return (uint16_t)first;
}

/* What chains and rings should not be. */
static void spoil(uint64_t table, volatile uint16_t *driver)
{
	unsigned count = 1 + below(QUEUE_SIZE);

	for (unsigned i = 0; i < 4 + below(12); i++)
		put_descriptor(table, below(count), count);
	for (unsigned i = 0; i < 8; i++)
		driver[2 + below(QUEUE_SIZE)] =
			(uint16_t)(below(32) ? below(count) : value());
	driver[0] = (uint16_t)below(2);
	driver[2 + QUEUE_SIZE] = (uint16_t)value();
	if (!below(8))
		driver[1] = (uint16_t)value();
}

static void storm_queue(void)
{
	struct storm_device *one = last && below(4) ? last : device();
	uint64_t bar = bar_of(one);
	unsigned queue = below(QUEUES);
	volatile uint16_t *driver = (volatile uint16_t *)(ring(queue) + 0x1000);
	uint16_t available = driver[1];

	for (unsigned i = below(4); i; i--)
		driver[2 + available++ % QUEUE_SIZE] = put_chain(ring(queue));
	if (!below(8))
		spoil(ring(queue), driver);
	__asm__ volatile("" ::: "memory");
	driver[1] = available;
	mmio_write16(bar + 0x3000 + 4 * (below(16) ? queue : below(1024)),
		     (uint16_t)queue);
}

/* ---- the rest ---- */

static void storm_hole(void)
{
	uint64_t at = 0xc0000000 + (next() & 0x3fffffff);
	unsigned size = 1u << below(3);

	if (below(4) == 0)
		at = RAM_END + next() % (0xc0000000 - RAM_END);
	/* The processor's own, and the IOAPIC, can end it. */
	if (!wild && at >= LAYOUT_IOAPIC)
		return;
	if (at > 0xffffffff - 4 || (at >= LAYOUT_WINDOW32 && at < WINDOW_END))
		return;
	if (below(2))
		put(at, value(), size);
	else
		get(at, size);
}

static void storm(void)
{
	switch (below(16)) {
	case 0:
	case 1:
		storm_config();
		break;
	case 2:
	case 3:
	case 4:
		storm_bar();
		break;
	case 5:
	case 6:
		storm_port();
		break;
	case 7:
		storm_string();
		break;
	case 8:
		storm_hole();
		break;
	case 9:
		storm_start();
		break;
	default:
		storm_queue();
		break;
	}
}

static void find_devices(void)
{
	for (unsigned slot = 1; slot < 32; slot++) {
		uint64_t at = LAYOUT_ECAM + slot * 0x8000ull;
		struct storm_device *one = &devices[device_count];

		if ((mmio_read32(at) & 0xffff) != 0x1af4)
			continue;
		*one = (struct storm_device){
			at, { mmio_read32(at + 0x10), mmio_read32(at + 0x14) }
		};
		device_count++;
		say("device 0x%x", mmio_read32(at) >> 16);
	}
	CHECK(device_count);
}

/* After a reset of the device it is as new, whatever was done to it. */
static void look(void)
{
	struct card rng = { .rings = RINGS };
	uint32_t written = 0;

	for (unsigned i = 0; i < device_count; i++)
		restore_bar(&devices[i]);
	/* The serial port, too. */
	out8(LAYOUT_COM1 + 3, 3);
	out8(LAYOUT_COM1 + 1, 0);
	out8(LAYOUT_COM1 + 4, 3);
	say(" ");
	say("%lu chains served", (unsigned long)served);
	CHECK(card_find(&rng, 4, 0, 0));
	card_put(&rng, 0, 0, RINGS - 0x1000, 256, true, false);
	card_kick(&rng, 0, 0);
	while (card_take(&rng, 0, &written) < 0)
		;
	CHECK(written == 256);
	say("calm");
}

static uint64_t number_of(const struct start_info *info, const char *word)
{
	uint64_t number = 0;

	for (const char *at = cmdline(info); *at; at++) {
		unsigned i = 0;

		while (word[i] && at[i] == word[i])
			i++;
		if (word[i])
			continue;
		for (at += i; *at >= '0' && *at <= '9'; at++)
			number = 10 * number + (uint64_t)(*at - '0');
		return number;
	}
	return 0;
}

void guest_main(const struct start_info *info)
{
	uint64_t rounds = number_of(info, "rounds=");

	seed = number_of(info, "seed=");
	wild = cmdline_has(info, "wild");
	say("storm %lu", (unsigned long)seed);
	seed = (seed + 1) * 0x9e3779b97f4a7c15;
	lapic_init();
	find_devices();
	for (uint64_t i = 0; i < rounds; i++)
		storm();
	look();
	guest_end_well();
}
