/* SPDX-License-Identifier: Apache-2.0 */
/* The split ring as a hostile guest writes it: what is refused, and that
 * nothing outside of RAM is handed out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/virtio/queue.h"
#include "kvm-agent/vm/layout.h"

#define RAM         (4 * MIB)
#define SIZE        8u
#define DESCRIPTORS 0x1000u
#define DRIVER      0x2000u
#define DEVICE      0x3000u
#define TABLE       0x4000u
#define DATA        0x10000u

#define NEXT        1u
#define WRITE       2u
#define INDIRECT    4u

struct rig {
	struct memory memory;
	struct virtqueue queue;
	struct virtqueue_chain chain;
	uint16_t index;
};

static struct rig *start(void)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));

	assert_int_equal(memory_init(&rig->memory, RAM, NULL), 0);
	rig->queue.memory = &rig->memory;
	rig->queue.size_max = SIZE;
	virtqueue_reset(&rig->queue);
	rig->queue.descriptors = gpa_make(DESCRIPTORS);
	rig->queue.driver = gpa_make(DRIVER);
	rig->queue.device = gpa_make(DEVICE);
	rig->queue.indirect = true;
	assert_int_equal(virtqueue_enable(&rig->queue), 0);
	return rig;
}

static void finish(struct rig *rig)
{
	memory_release(&rig->memory);
	test_free(rig);
}

static uint8_t *at(struct rig *rig, uint64_t address)
{
	return rig->memory.regions[0].host + address;
}

static void put16(struct rig *rig, uint64_t address, uint16_t value)
{
	memcpy(at(rig, address), &value, sizeof(value));
}

static uint16_t get16(struct rig *rig, uint64_t address)
{
	uint16_t value;

	memcpy(&value, at(rig, address), sizeof(value));
	return value;
}

static void put(struct rig *rig, uint64_t table, unsigned index,
		uint64_t address, uint32_t length, uint16_t flags,
		uint16_t next)
{
	uint8_t *to = at(rig, table + 16 * index);

	memcpy(to, &address, 8);
	memcpy(to + 8, &length, 4);
	memcpy(to + 12, &flags, 2);
	memcpy(to + 14, &next, 2);
}

static void offer(struct rig *rig, uint16_t head)
{
	put16(rig, DRIVER + 4 + 2 * (rig->index % SIZE), head);
	put16(rig, DRIVER + 2, ++rig->index);
}

static int pop(struct rig *rig)
{
	return virtqueue_pop(&rig->queue, &rig->chain);
}

static void test_pop_and_push(void **state)
{
	struct rig *rig = start();
	uint8_t bytes[64] = { 0 };

	(void)state;
	assert_int_equal(pop(rig), 0);
	put(rig, DESCRIPTORS, 5, DATA, 16, NEXT, 2);
	put(rig, DESCRIPTORS, 2, DATA + 0x100, 8, NEXT, 7);
	put(rig, DESCRIPTORS, 7, DATA + 0x200, 32, WRITE, 0);
	memset(at(rig, DATA), 'a', 16);
	memset(at(rig, DATA + 0x100), 'b', 8);
	offer(rig, 5);
	assert_int_equal(pop(rig), 1);
	assert_int_equal(rig->chain.head, 5);
	assert_int_equal(rig->chain.count, 3);
	assert_int_equal(rig->chain.readable_count, 2);
	assert_int_equal(rig->chain.readable_bytes, 24);
	assert_int_equal(rig->chain.writable_bytes, 32);
	assert_ptr_equal(rig->chain.segments[2].iov_base,
			 at(rig, DATA + 0x200));
	assert_int_equal(chain_read(&rig->chain, 14, bytes, 64), 10);
	assert_memory_equal(bytes, "aabbbbbbbb\0", 11);
	assert_int_equal(chain_write(&rig->chain, 30, "xyz", 3), 2);
	assert_memory_equal(at(rig, DATA + 0x200 + 29), "\0xy\0", 4);
	assert_int_equal(pop(rig), 0);
	virtqueue_push(&rig->queue, 5, 17);
	assert_int_equal(get16(rig, DEVICE + 2), 1);
	assert_int_equal(get16(rig, DEVICE + 4), 5);
	assert_int_equal(get16(rig, DEVICE + 8), 17);
	finish(rig);
}

static void test_indexes_wrap(void **state)
{
	struct rig *rig = start();

	(void)state;
	put(rig, DESCRIPTORS, 3, DATA, 16, 0, 0);
	for (unsigned i = 0; i < 70000; i++) {
		offer(rig, 3);
		assert_int_equal(pop(rig), 1);
		assert_int_equal(pop(rig), 0);
		virtqueue_push(&rig->queue, 3, i);
		assert_int_equal(get16(rig, DEVICE + 2), (uint16_t)(i + 1));
		assert_int_equal(get16(rig, DEVICE + 8 + 8 * (i % SIZE)),
				 (uint16_t)i);
	}
	virtqueue_unpop(&rig->queue);
	assert_int_equal(pop(rig), 1);
	finish(rig);
}

static void test_indirect(void **state)
{
	struct rig *rig = start();

	(void)state;
	put(rig, TABLE, 0, DATA, 16, NEXT, 2);
	put(rig, TABLE, 2, DATA, 16, WRITE, 0);
	/* WRITE means nothing there. */
	put(rig, DESCRIPTORS, 1, TABLE, 48, INDIRECT | WRITE, 0);
	offer(rig, 1);
	assert_int_equal(pop(rig), 1);
	assert_int_equal(rig->chain.count, 2);
	assert_int_equal(rig->chain.readable_count, 1);
	finish(rig);
}

/* An indirect table behind descriptors of the ring itself; and nothing may be
 * behind that. */
static void test_indirect_last(void **state)
{
	struct rig *rig = start();

	(void)state;
	put(rig, DESCRIPTORS, 3, DATA, 16, NEXT, 6);
	put(rig, DESCRIPTORS, 6, TABLE, 32, INDIRECT, 0);
	put(rig, TABLE, 0, DATA + 0x100, 8, NEXT, 1);
	put(rig, TABLE, 1, DATA + 0x200, 32, WRITE, 0);
	memset(at(rig, DATA), 'a', 16);
	memset(at(rig, DATA + 0x100), 'b', 8);
	offer(rig, 3);
	assert_int_equal(pop(rig), 1);
	assert_int_equal(rig->chain.head, 3);
	assert_int_equal(rig->chain.readable_bytes, 24);
	assert_int_equal(rig->chain.writable_bytes, 32);
	assert_ptr_equal(rig->chain.segments[1].iov_base,
			 at(rig, DATA + 0x100));
	put(rig, DESCRIPTORS, 6, TABLE, 32, INDIRECT | NEXT, 7);
	put(rig, DESCRIPTORS, 7, DATA, 4, WRITE, 0);
	offer(rig, 3);
	assert_int_equal(pop(rig), -EBADMSG);
	finish(rig);
	/* What the ring gives to be written may not be followed by what the
	 * table gives to be read. */
	rig = start();
	put(rig, DESCRIPTORS, 3, DATA, 16, NEXT | WRITE, 6);
	put(rig, DESCRIPTORS, 6, TABLE, 16, INDIRECT, 0);
	put(rig, TABLE, 0, DATA, 8, 0, 0);
	offer(rig, 3);
	assert_int_equal(pop(rig), -EBADMSG);
	finish(rig);
	rig = start();
	rig->queue.indirect = false;
	put(rig, DESCRIPTORS, 3, DATA, 16, NEXT, 6);
	put(rig, DESCRIPTORS, 6, TABLE, 16, INDIRECT, 0);
	put(rig, TABLE, 0, DATA, 8, 0, 0);
	offer(rig, 3);
	assert_int_equal(pop(rig), -EBADMSG);
	finish(rig);
}

/* A table may be longer than a ring, but not a chain than we take. */
static void test_longest_chain(void **state)
{
	(void)state;
	for (unsigned more = 0; more < 2; more++) {
		struct rig *rig = start();
		unsigned count = VIRTQUEUE_SEGMENTS_MAX + more;

		for (unsigned i = 0; i < count; i++)
			put(rig, TABLE, i, DATA, 1, i + 1 < count ? NEXT : 0,
			    (uint16_t)(i + 1));
		put(rig, DESCRIPTORS, 0, TABLE, 16 * count, INDIRECT, 0);
		offer(rig, 0);
		assert_int_equal(pop(rig), more ? -EBADMSG : 1);
		finish(rig);
	}
}

struct breach {
	const char *what;
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

/* The first descriptor of a chain; the second is a good one to read. */
static const struct breach breaches[] = {
	{ "no bytes", DATA, 0, 0, 0 },
	{ "past RAM", RAM, 1, 0, 0 },
	{ "over the end of RAM", RAM - 4, 5, 0, 0 },
	{ "the hole", 0xc0000000, 4096, WRITE, 0 },
	{ "the address wraps", UINT64_MAX - 3, 8, 0, 0 },
	{ "all lengths", DATA, UINT32_MAX, 0, 0 },
	{ "next past the table", DATA, 4, NEXT, SIZE },
	{ "next far past it", DATA, 4, NEXT, 65535 },
	{ "a loop of one", DATA, 4, NEXT, 0 },
	{ "read behind write", DATA, 4, WRITE | NEXT, 1 },
	{ "indirect and next", TABLE, 16, INDIRECT | NEXT, 1 },
	{ "indirect of no length", TABLE, 0, INDIRECT, 0 },
	{ "indirect of an odd length", TABLE, 24, INDIRECT, 0 },
	{ "indirect past RAM", RAM - 16, 32, INDIRECT, 0 },
	{ "indirect of all lengths", TABLE, 0xfffffff0, INDIRECT, 0 },
	{ "indirect that loops", TABLE + 16, 16, INDIRECT, 0 },
	{ "indirect in indirect", TABLE + 32, 16, INDIRECT, 0 },
	{ "next past the indirect table", TABLE + 48, 16, INDIRECT, 0 },
};

static void test_breaches(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(breaches); i++) {
		const struct breach *breach = &breaches[i];
		struct rig *rig = start();

		put(rig, DESCRIPTORS, 0, breach->address, breach->length,
		    breach->flags, breach->next);
		put(rig, DESCRIPTORS, 1, DATA, 4, 0, 0);
		put(rig, TABLE, 0, DATA, 4, 0, 0);
		put(rig, TABLE, 1, DATA, 4, NEXT, 0);
		put(rig, TABLE, 2, TABLE, 16, INDIRECT, 0);
		put(rig, TABLE, 3, DATA, 4, NEXT, 1);
		/* Good ones, but past the tables' ends. */
		put(rig, TABLE, 4, DATA, 4, 0, 0);
		put(rig, DESCRIPTORS, SIZE, DATA, 4, 0, 0);
		put(rig, DESCRIPTORS, 65535, DATA, 4, 0, 0);
		offer(rig, 0);
		if (pop(rig) != -EBADMSG)
			fail_msg("%s: taken", breach->what);
		assert_non_null(rig->queue.broken);
		/* And so it stays. */
		put(rig, DESCRIPTORS, 0, DATA, 4, 0, 0);
		assert_int_equal(pop(rig), -EBADMSG);
		assert_false(virtqueue_listen(&rig->queue));
		finish(rig);
	}
}

static void test_bad_indexes(void **state)
{
	struct rig *rig = start();

	(void)state;
	offer(rig, SIZE);
	assert_int_equal(pop(rig), -EBADMSG);
	finish(rig);
	rig = start();
	put(rig, DESCRIPTORS, 0, DATA, 4, 0, 0);
	put16(rig, DRIVER + 2, SIZE + 1);
	assert_int_equal(pop(rig), -EBADMSG);
	finish(rig);
	rig = start();
	put(rig, DESCRIPTORS, 0, DATA, 4, 0, 0);
	put16(rig, DRIVER + 2, SIZE);
	assert_int_equal(pop(rig), 1);
	finish(rig);
	/* Back. */
	rig = start();
	put16(rig, DRIVER + 2, 65535);
	assert_int_equal(pop(rig), -EBADMSG);
	finish(rig);
	rig = start();
	rig->queue.indirect = false;
	put(rig, DESCRIPTORS, 0, TABLE, 16, INDIRECT, 0);
	put(rig, TABLE, 0, DATA, 4, 0, 0);
	offer(rig, 0);
	assert_int_equal(pop(rig), -EBADMSG);
	finish(rig);
}

/* More than 4 GiB to write, all of it in RAM. */
static void test_chain_too_large(void **state)
{
	struct rig *rig = start();
	unsigned count = 256;

	(void)state;
	memory_release(&rig->memory);
	assert_int_equal(memory_init(&rig->memory, 64 * MIB, NULL), 0);
	virtqueue_reset(&rig->queue);
	rig->queue.descriptors = gpa_make(DESCRIPTORS);
	rig->queue.driver = gpa_make(DRIVER);
	rig->queue.device = gpa_make(DEVICE);
	rig->queue.indirect = true;
	assert_int_equal(virtqueue_enable(&rig->queue), 0);
	for (unsigned i = 0; i < count; i++)
		put(rig, TABLE, i, DATA, 32 * MIB,
		    WRITE | (i + 1 < count ? NEXT : 0), (uint16_t)(i + 1));
	put(rig, DESCRIPTORS, 0, TABLE, 16 * count, INDIRECT, 0);
	offer(rig, 0);
	assert_int_equal(pop(rig), -EBADMSG);
	finish(rig);
}

/* RAM on both sides of the hole, which is where devices are. */
static const struct {
	uint64_t address;
	uint32_t length;
	bool good;
} places[] = {
	{ MEMORY_LOW_END - 64, 64, true },
	{ MEMORY_LOW_END - 64, 80, false },
	{ MEMORY_LOW_END - 64, 0x40000080, false }, /* over all of it */
	{ MEMORY_LOW_END, 64, false },
	{ LAYOUT_ECAM, 64, false },
	{ LAYOUT_LAPIC, 64, false },
	{ MEMORY_HIGH_START - 64, 64, false },
	{ MEMORY_HIGH_START - 64, 128, false },
	{ MEMORY_HIGH_START, 64, true },
	{ MEMORY_HIGH_START + MEMORY_ALIGN - 64, 64, true },
	{ MEMORY_HIGH_START + MEMORY_ALIGN - 64, 128, false },
	{ MEMORY_HIGH_START + MEMORY_ALIGN, 64, false },
};

static struct rig *start_with_hole(void)
{
	struct rig *rig = start();

	memory_release(&rig->memory);
	assert_int_equal(
		memory_init(&rig->memory, MEMORY_LOW_END + MEMORY_ALIGN, NULL),
		0);
	virtqueue_reset(&rig->queue);
	rig->queue.descriptors = gpa_make(DESCRIPTORS);
	rig->queue.driver = gpa_make(DRIVER);
	rig->queue.device = gpa_make(DEVICE);
	rig->queue.indirect = true;
	return rig;
}

static void test_hole(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		struct rig *rig = start_with_hole();
		const int taken = places[i].good ? 1 : -EBADMSG;

		assert_int_equal(virtqueue_enable(&rig->queue), 0);
		put(rig, DESCRIPTORS, 0, places[i].address, places[i].length,
		    i % 2 ? WRITE : 0, 0);
		offer(rig, 0);
		assert_int_equal(pop(rig), taken);
		finish(rig);
	}
}

static void test_table_in_hole(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		struct rig *rig = start_with_hole();
		struct gpa place = gpa_make(places[i].address);

		assert_int_equal(virtqueue_enable(&rig->queue), 0);
		put(rig, TABLE, 0, DATA, 4, 0, 0);
		if (places[i].good)
			assert_int_equal(memory_write(&rig->memory, place,
						      at(rig, TABLE), 16),
					 0);
		put(rig, DESCRIPTORS, 0, place.value, places[i].length,
		    INDIRECT, 0);
		offer(rig, 0);
		assert_int_equal(pop(rig), places[i].good ? 1 : -EBADMSG);
		assert_true(places[i].good ||
			    strstr(rig->queue.broken, "not in RAM"));
		finish(rig);
	}
}

static void test_areas_in_hole(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		struct rig *rig = start_with_hole();

		/* 64 bytes of descriptors, or 128. */
		rig->queue.size = places[i].length == 64 ? 4 : 8;
		rig->queue.descriptors = gpa_make(places[i].address);
		assert_int_equal(virtqueue_enable(&rig->queue),
				 places[i].good ? 0 : -EFAULT);
		finish(rig);
	}
}

/* As many as an index can tell apart, in one table; and one that never ends. */
static void test_most_descriptors(void **state)
{
	(void)state;
	for (unsigned loops = 0; loops < 2; loops++) {
		struct rig *rig = start();
		const uint32_t count = 65536;

		for (uint32_t i = 0; i < count; i++)
			put(rig, MIB, i, DATA, 1,
			    loops || i + 1 < count ? NEXT : 0,
			    (uint16_t)(i + 1));
		put(rig, DESCRIPTORS, 0, MIB, 16 * count, INDIRECT, 0);
		offer(rig, 0);
		assert_int_equal(pop(rig), -EBADMSG);
		assert_string_equal(rig->queue.broken,
				    "a chain that is too long, or a loop");
		finish(rig);
	}
}

static void test_areas(void **state)
{
	struct rig *rig = start();
	struct virtqueue *queue = &rig->queue;

	(void)state;
	virtqueue_reset(queue);
	assert_false(queue->enabled);
	assert_int_equal(pop(rig), 0);
	queue->descriptors = gpa_make(RAM - 16 * SIZE);
	queue->driver = gpa_make(RAM - 6 - 2 * SIZE);
	queue->device = gpa_make(RAM - 8 - 8 * SIZE);
	assert_int_equal(virtqueue_enable(queue), 0);
	queue->descriptors = gpa_make(RAM - 16 * SIZE + 16);
	assert_int_equal(virtqueue_enable(queue), -EFAULT);
	queue->descriptors = gpa_make(8);
	assert_int_equal(virtqueue_enable(queue), -EFAULT);
	queue->descriptors = gpa_make(0);
	queue->driver = gpa_make(RAM - 4 - 2 * SIZE);
	assert_int_equal(virtqueue_enable(queue), -EFAULT);
	queue->driver = gpa_make(1);
	assert_int_equal(virtqueue_enable(queue), -EFAULT);
	queue->driver = gpa_make(0);
	queue->device = gpa_make(RAM - 4 - 8 * SIZE);
	assert_int_equal(virtqueue_enable(queue), -EFAULT);
	queue->device = gpa_make(2);
	assert_int_equal(virtqueue_enable(queue), -EFAULT);
	queue->device = gpa_make(0);
	queue->size = 3;
	assert_int_equal(virtqueue_enable(queue), -EINVAL);
	queue->size = 2 * SIZE;
	assert_int_equal(virtqueue_enable(queue), -EINVAL);
	finish(rig);
}

static void test_interrupts_by_flag(void **state)
{
	struct rig *rig = start();

	(void)state;
	assert_false(virtqueue_wants_interrupt(&rig->queue));
	virtqueue_push(&rig->queue, 0, 0);
	assert_true(virtqueue_wants_interrupt(&rig->queue));
	assert_false(virtqueue_wants_interrupt(&rig->queue));
	put16(rig, DRIVER, 1);
	virtqueue_push(&rig->queue, 0, 0);
	assert_false(virtqueue_wants_interrupt(&rig->queue));
	virtqueue_hush(&rig->queue);
	assert_int_equal(get16(rig, DEVICE), 1);
	assert_false(virtqueue_listen(&rig->queue));
	assert_int_equal(get16(rig, DEVICE), 0);
	put(rig, DESCRIPTORS, 0, DATA, 4, 0, 0);
	offer(rig, 0);
	assert_true(virtqueue_listen(&rig->queue));
	finish(rig);
}

static void test_interrupts_by_event(void **state)
{
	struct rig *rig = start();
	uint64_t event = DRIVER + 4 + 2 * SIZE;

	(void)state;
	rig->queue.event_index = true;
	virtqueue_push(&rig->queue, 0, 0);
	assert_true(virtqueue_wants_interrupt(&rig->queue));
	/* Only when the third is there: index 2 is passed. */
	put16(rig, event, 2);
	virtqueue_push(&rig->queue, 0, 0);
	assert_false(virtqueue_wants_interrupt(&rig->queue));
	virtqueue_push(&rig->queue, 0, 0);
	virtqueue_push(&rig->queue, 0, 0);
	assert_true(virtqueue_wants_interrupt(&rig->queue));
	virtqueue_push(&rig->queue, 0, 0);
	assert_false(virtqueue_wants_interrupt(&rig->queue));
	/* Ours: the index that is next. */
	put(rig, DESCRIPTORS, 0, DATA, 4, 0, 0);
	offer(rig, 0);
	assert_int_equal(pop(rig), 1);
	assert_false(virtqueue_listen(&rig->queue));
	assert_int_equal(get16(rig, DEVICE + 4 + 8 * SIZE), 1);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pop_and_push),
		cmocka_unit_test(test_indexes_wrap),
		cmocka_unit_test(test_indirect),
		cmocka_unit_test(test_indirect_last),
		cmocka_unit_test(test_longest_chain),
		cmocka_unit_test(test_breaches),
		cmocka_unit_test(test_bad_indexes),
		cmocka_unit_test(test_chain_too_large),
		cmocka_unit_test(test_hole),
		cmocka_unit_test(test_table_in_hole),
		cmocka_unit_test(test_areas_in_hole),
		cmocka_unit_test(test_most_descriptors),
		cmocka_unit_test(test_areas),
		cmocka_unit_test(test_interrupts_by_flag),
		cmocka_unit_test(test_interrupts_by_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
