/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests/lab/bench: 40,000 requests of 4 KiB at random places of the first
 * disk, with next to nothing of a guest around them; says how many ticks of the
 * TSC they took, writes with a flush behind the last. On the command line:
 * "write", else they read; "deep16", "deep64", "deep256": so many at once, else
 * one, and 3,000 of them.
 */
#include "tests/kvm/guest/guest.h"
#include "tests/kvm/guest/virtio.h"

#define RINGS     0x800000ull
#define SLOTS     0x8e0000ull /* 128 bytes each: table, head, status */
#define DATA      0x900000ull
#define BLOCK     0x1000u
#define DEPTH_MAX 256u

#define FLUSH     (1u << 9) /* else each write is one that lasts */
#define INDIRECT  (1u << 28)
#define EVENTS    (1u << 29)
#define FEATURES  (FLUSH | INDIRECT | EVENTS)

static struct card disk = { .rings = RINGS, .queue_size = DEPTH_MAX };
static uint32_t blocks;
static unsigned requests = 40000;

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

static void fence(void)
{
	__asm__ volatile("lock; addl $0, (%%rsp)" ::: "memory");
}

/* The device is told when it asked for one of those that came since `before`;
 * virtio 1.x, 2.7.10. */
static void kick(uint16_t before)
{
	const struct card_queue *queue = &disk.queues[0];
	uint16_t event;

	fence();
	event = *(volatile uint16_t *)(queue->rings + 0x2000 + 4 +
				       8 * DEPTH_MAX);
	if ((uint16_t)(queue->available - event - 1) <
	    (uint16_t)(queue->available - before))
		mmio_write16(disk.notify, 0);
}

/*
 * QEMU's emulated VMRUN forgets that a guest has just executed STI: where the
 * host is interrupted there, ours comes before the HLT, and that would be for
 * good. So it does not return to one.
 */
void rate_wait(void);
extern const uint8_t rate_halt[];
__asm__(".text\n"
	"rate_wait: sti\n"
	"rate_halt: hlt\n"
	"cli\n"
	"ret\n");

static void on_interrupt(struct frame *frame)
{
	if (frame->rip == (uint64_t)rate_halt)
		frame->rip++;
	lapic_eoi();
}

/* An interrupt is asked for only where there is nothing to do. */
static int await(void)
{
	const struct card_queue *queue = &disk.queues[0];
	int slot = card_take(&disk, 0, NULL);

	while (slot < 0) {
		*(volatile uint16_t *)(queue->rings + 0x1000 + 4 +
				       2 * DEPTH_MAX) = queue->used;
		fence();
		slot = card_take(&disk, 0, NULL);
		if (slot >= 0)
			break;
		rate_wait();
		slot = card_take(&disk, 0, NULL);
	}
	return slot;
}

/* Each one that is done makes room for the next. */
static void work(unsigned depth)
{
	unsigned offered = depth, done = 0;

	kick(0);
	while (done < requests) {
		int slot = await();
		uint16_t before = disk.queues[0].available;

		for (; slot >= 0; slot = card_take(&disk, 0, NULL)) {
			CHECK(!*status_of((unsigned)slot));
			done++;
			if (offered == requests)
				continue;
			offered++;
			offer((unsigned)slot);
		}
		kick(before);
	}
}

static void flush(void)
{
	uint16_t before = disk.queues[0].available;

	head_of(0)[0] = 4;
	head_of(0)[2] = 0;
	describe(slot_at(0), 0, slot_at(0) + 64, 16, 1);
	describe(slot_at(0), 1, slot_at(0) + 96, 1, 2);
	describe(disk.queues[0].rings, 0, slot_at(0), 32, 4);
	*status_of(0) = 0xff;
	card_offer(&disk, 0, 0);
	kick(before);
	CHECK(await() == 0 && !*status_of(0));
}

void guest_main(const struct start_info *info)
{
	const bool write = cmdline_has(info, "write");
	const unsigned depth = cmdline_has(info, "deep256")  ? 256
			       : cmdline_has(info, "deep64") ? 64
			       : cmdline_has(info, "deep16") ? 16
							     : 1;
	uint64_t begun;

	if (depth == 1)
		requests = 3000;
	card_init();
	lapic_eoi_by_memory();
	trap_set(CARD_VECTOR, on_interrupt);
	CHECK(card_find(&disk, 2, 0, FEATURES));
	CHECK(disk.features == FEATURES);
	blocks = mmio_read32(disk.own) / 8;
	for (unsigned slot = 0; slot < depth; slot++) {
		prepare(slot, write);
		offer(slot);
	}
	begun = read_tsc();
	work(depth);
	if (write)
		flush();
	say("ticks %lu", (unsigned long)(read_tsc() - begun));
	guest_end_well();
}
