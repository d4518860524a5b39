/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests/lab/bench: 3,000 requests of 4 KiB at random places of the first
 * disk, with next to nothing of a guest around them; says how many ticks of the
 * TSC they took. On the command line: "write", else they read; "deep16" or
 * "deep64": so many at once, else one.
 */
#include "tests/kvm/guest/guest.h"
#include "tests/kvm/guest/virtio.h"

#define RINGS    0x800000ull
#define SLOTS    0x8e0000ull /* 128 bytes each: table, head, status */
#define DATA     0x900000ull
#define BLOCK    0x1000u
#define REQUESTS 3000u

#define INDIRECT (1u << 28)

static struct card disk = { .rings = RINGS };
static uint32_t blocks;

static uint64_t slot_at(unsigned slot)
{
	return SLOTS + 128ull * slot;
}

static volatile uint32_t *head_of(unsigned slot)
{
	return (volatile uint32_t *)(slot_at(slot) + 64);
}

static volatile uint8_t *status_of(unsigned slot)
{
	return (volatile uint8_t *)(slot_at(slot) + 96);
}

static void describe(uint64_t table, unsigned index, uint64_t address,
		     uint32_t length, uint32_t flags)
{
	volatile uint64_t *entry = (volatile uint64_t *)table + 2ull * index;

	entry[0] = address;
	entry[1] = length | (uint64_t)flags << 32 | (index + 1ull) << 48;
}

/* Each slot is one descriptor of the ring, with a table of its own. */
static void prepare(unsigned slot, bool write)
{
	uint64_t table = slot_at(slot);

	clear(table, 128);
	head_of(slot)[0] = write;
	describe(table, 0, table + 64, 16, 1);
	describe(table, 1, DATA + (uint64_t)slot * BLOCK, BLOCK, write ? 1 : 3);
	describe(table, 2, table + 96, 1, 2);
	describe(disk.queues[0].rings, slot, table, 48, 4);
}

static void offer(unsigned slot)
{
	static uint32_t random = 1;

	random = random * 1103515245 + 12345;
	head_of(slot)[2] = (random >> 8) % blocks * 8;
	*status_of(slot) = 0xff;
	card_offer(&disk, 0, (uint16_t)slot);
}

static void kick(void)
{
	__asm__ volatile("lock; addl $0, (%%rsp)" ::: "memory");
	mmio_write16(disk.notify, 0);
}

/* Each one that is done makes room for the next; one word for all of them. */
static void work(unsigned depth)
{
	unsigned offered = depth, done = 0;

	kick();
	while (done < REQUESTS) {
		int slot = card_wait(&disk, 0, NULL);

		for (; slot >= 0; slot = card_take(&disk, 0, NULL)) {
			CHECK(!*status_of((unsigned)slot));
			done++;
			if (offered == REQUESTS)
				continue;
			offered++;
			offer((unsigned)slot);
		}
		kick();
	}
}

void guest_main(const struct start_info *info)
{
	const unsigned depth = cmdline_has(info, "deep64")   ? 64
			       : cmdline_has(info, "deep16") ? 16
							     : 1;
	uint64_t begun;

	card_init();
	CHECK(card_find(&disk, 2, 0, INDIRECT));
	CHECK(disk.features == INDIRECT);
	blocks = mmio_read32(disk.own) / 8;
	for (unsigned slot = 0; slot < depth; slot++) {
		prepare(slot, cmdline_has(info, "write"));
		offer(slot);
	}
	begun = read_tsc();
	work(depth);
	say("ticks %lu", (unsigned long)(read_tsc() - begun));
	guest_end_well();
}
