/* SPDX-License-Identifier: Apache-2.0 */
/* A keeper's packets, grants, rules of a connection and workers: all of it
 * without a socket. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmsnap/keeper/fair_pool.h"
#include "vmsnap/keeper/grant.h"
#include "vmsnap/keeper/session.h"

/* ---- packets ---- */

static void test_bytes_of_the_page(void **state)
{
	struct keeper_message read = { .type = KEEPER_READ, .id = 0x1122 };
	struct keeper_message hello = { .type = KEEPER_HELLO };
	struct keeper_packet packet;
	uint8_t want[KEEPER_PACKET_SIZE] = { 0 };

	(void)state;
	read.u.read = (struct keeper_read){
		.volume = 1, .slot = 2, .length = 0x1000, .offset = 0x500000000
	};
	keeper_put(&read, &packet);
	want[0] = 3;
	want[8] = 0x22;
	want[9] = 0x11;
	want[16] = 1;
	want[20] = 2;
	want[28] = 5;
	want[33] = 0x10;
	assert_memory_equal(&packet, want, sizeof(want));

	hello.u.hello = (struct keeper_hello){ 0x10000, 16, 0 };
	memset(want, 0, sizeof(want));
	want[0] = 1;
	memcpy(want + 16, "VMSKEEP", 8);
	want[24] = 1;
	want[30] = 1;
	want[32] = 16;
	keeper_put(&hello, &packet);
	assert_memory_equal(&packet, want, sizeof(want));
}

static const enum keeper_type types[] = {
	KEEPER_HELLO,  KEEPER_OPEN,  KEEPER_READ, KEEPER_EXTENT,
	KEEPER_STATUS, KEEPER_GRANT, KEEPER_STOP,
};

static struct keeper_message example(enum keeper_type type, bool is_reply)
{
	struct keeper_message message;

	memset(&message, 0, sizeof(message));
	message.type = type;
	message.is_reply = is_reply;
	message.id = 77;
	if (type == KEEPER_HELLO && is_reply)
		message.u.welcome.requests_max = 64;
	else if (type == KEEPER_HELLO)
		message.u.hello = (struct keeper_hello){ 4096, 3, 0 };
	else if (type == KEEPER_OPEN && is_reply)
		message.u.opened_bytes = 123456;
	else if (type == KEEPER_OPEN)
		memset(message.u.open.grant, 0xa5, KEEPER_GRANT_SIZE);
	else if (type == KEEPER_READ && !is_reply)
		message.u.read = (struct keeper_read){ 1, 2, 512, 1024 };
	else if (type == KEEPER_EXTENT && is_reply)
		message.u.extent_reply =
			(struct keeper_extent_reply){ true, 9 };
	else if (type == KEEPER_EXTENT)
		message.u.extent = (struct keeper_extent){ 1, 2, 3 };
	else if (type == KEEPER_STATUS && is_reply)
		message.u.status =
			(struct keeper_status){ 1, 2, 3, 4,  5,  6,
						7, 8, 9, 10, 11, 12 };
	else if (type == KEEPER_GRANT && is_reply)
		memset(message.u.grant, 0x5a, KEEPER_GRANT_SIZE);
	else if (type == KEEPER_GRANT)
		message.u.grant_request = (struct keeper_grant_request){
			16, 1, { { 1 } }, "web"
		};
	else if (type == KEEPER_STOP && !is_reply)
		message.u.stop_by_force = true;
	return message;
}

static void test_packets_round_trip(void **state)
{
	struct keeper_message message, again;
	struct keeper_packet packet;

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(types); i++) {
		message = example(types[i / 2], i % 2);
		keeper_put(&message, &packet);
		assert_int_equal(
			keeper_get(&packet, sizeof(packet), &again, NULL), 0);
		assert_memory_equal(&message, &again, sizeof(message));
		/* A reply that says no says nothing more. */
		message.is_reply = true;
		message.result = KEEPER_BUSY;
		keeper_put(&message, &packet);
		assert_true(bytes_are_zero(packet.body, sizeof(packet.body)));
		assert_int_equal(
			keeper_get(&packet, sizeof(packet), &again, NULL), 0);
		assert_int_equal(again.result, KEEPER_BUSY);
	}
}

/* Each bit of what has no meaning is seen. */
static void test_packets_refused(void **state)
{
	struct keeper_message message = example(KEEPER_READ, false), out;
	uint8_t bytes[KEEPER_PACKET_SIZE + 1] = { 0 };
	struct err err;

	(void)state;
	keeper_put(&message, (struct keeper_packet *)bytes);
	assert_int_equal(keeper_get(bytes, 256, &out, &err), 0);
	assert_int_equal(keeper_get(bytes, 255, &out, &err), -EBADMSG);
	assert_int_equal(keeper_get(bytes, 257, &out, &err), -EBADMSG);
	assert_int_equal(keeper_get(bytes, 0, &out, &err), -EBADMSG);
	for (unsigned at = 4; at < 256; at++) {
		if ((at >= 8 && at < 36))
			continue;
		bytes[at] ^= 1;
		if (keeper_get(bytes, 256, &out, &err) != -EBADMSG)
			fail_msg("byte %u may be anything", at);
		bytes[at] ^= 1;
	}
	for (unsigned type = 0; type < 70; type++) {
		memset(bytes, 0, sizeof(bytes));
		bytes[0] = (uint8_t)type;
		if (type == 2 || type == 3 || type == 4 || type == 32 ||
		    type == 33 || type == 34)
			assert_int_equal(keeper_get(bytes, 256, &out, &err), 0);
		else
			assert_int_equal(keeper_get(bytes, 256, &out, &err),
					 -EBADMSG);
	}
	message = example(KEEPER_HELLO, false);
	keeper_put(&message, (struct keeper_packet *)bytes);
	bytes[24] = 2;
	assert_int_equal(keeper_get(bytes, 256, &out, &err), -EOPNOTSUPP);
	/* A name with something behind its end; one without an end. */
	message = example(KEEPER_GRANT, false);
	keeper_put(&message, (struct keeper_packet *)bytes);
	bytes[16 + 48 + 10] = 'x';
	assert_int_equal(keeper_get(bytes, 256, &out, &err), -EBADMSG);
	memset(bytes + 16 + 48, 'x', KEEPER_NAME_SIZE);
	assert_int_equal(keeper_get(bytes, 256, &out, &err), -EBADMSG);
}

/* ---- grants ---- */

static const struct store_id store_a = { .b = { 1 } }, store_b = { .b = { 2 } };

static struct keeper_grant wanted(void)
{
	struct keeper_grant grant = {
		.chunk_log2 = 16,
		.size_bytes = 5 * GIB,
		.store = store_a,
		.root = { { 9, 8, 7 } },
		.machine = "web",
	};

	return grant;
}

static void test_grants(void **state)
{
	struct keeper_grant grant = wanted(), out;
	uint8_t bytes[KEEPER_GRANT_SIZE], other[KEEPER_GRANT_SIZE];
	struct masters masters, foreign;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(masters_make(&masters, &err), 0);
	assert_int_equal(masters_make(&foreign, &err), 0);
	assert_int_equal(keeper_grant_make(&grant, &masters, bytes, &err), 0);
	assert_int_equal(
		keeper_grant_check(bytes, &store_a, &masters, &out, &err), 0);
	assert_int_equal(out.chunk_log2, 16);
	assert_true(out.size_bytes == 5 * GIB);
	assert_true(id_equal(&out.root, &grant.root));
	assert_string_equal(out.machine, "web");
	/* Of another store, by its keys and by its id. */
	assert_int_equal(
		keeper_grant_check(bytes, &store_a, &foreign, &out, &err),
		-EACCES);
	assert_int_equal(
		keeper_grant_check(bytes, &store_b, &masters, &out, &err),
		-EACCES);
	/* No bit of it can be another one. */
	for (unsigned at = 0; at < sizeof(bytes); at++) {
		bytes[at] ^= 0x10;
		if (keeper_grant_check(bytes, &store_a, &masters, &out, &err) !=
		    -EACCES)
			fail_msg("byte %u was changed", at);
		bytes[at] ^= 0x10;
	}
	/* Never twice the same, and the key is not one for all. */
	assert_int_equal(keeper_grant_make(&grant, &masters, other, &err), 0);
	assert_memory_not_equal(bytes, other, sizeof(bytes));
	memcpy(other + 144, bytes + 144, 32);
	assert_int_equal(
		keeper_grant_check(other, &store_a, &masters, &out, &err),
		-EACCES);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(
		keeper_grant_check(bytes, &store_a, &masters, &out, &err),
		-EACCES);
	assert_int_equal(keeper_grant_read(bytes, &out, &err), -EBADMSG);
}

static void test_grants_not_made(void **state)
{
	struct keeper_grant grant;
	uint8_t bytes[KEEPER_GRANT_SIZE];
	struct masters masters;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(masters_make(&masters, &err), 0);
	grant = wanted();
	grant.chunk_log2 = 13;
	assert_int_equal(keeper_grant_make(&grant, &masters, bytes, &err),
			 -EINVAL);
	grant = wanted();
	grant.size_bytes = UINT64_MAX;
	assert_int_equal(keeper_grant_make(&grant, &masters, bytes, &err),
			 -EINVAL);
	grant = wanted();
	strcpy(grant.machine, "../web");
	assert_int_equal(keeper_grant_make(&grant, &masters, bytes, &err),
			 -EINVAL);
	grant = wanted();
	memset(grant.machine, 'a', 64);
	grant.machine[64] = 0;
	assert_int_equal(keeper_grant_make(&grant, &masters, bytes, &err), 0);
	assert_int_equal(
		keeper_grant_check(bytes, &store_a, &masters, &grant, &err), 0);
	assert_int_equal(strlen(grant.machine), 64);
}

/* ---- the rules of a connection ---- */

static int say(struct keeper_session *session,
	       const struct keeper_message *message, unsigned descriptors)
{
	struct keeper_message out;
	struct keeper_packet packet;

	keeper_put(message, &packet);
	return keeper_session_take(session, &packet, sizeof(packet),
				   descriptors, &out, NULL);
}

static int say_type(struct keeper_session *session, enum keeper_type type,
		    unsigned descriptors)
{
	struct keeper_message message = example(type, false);

	return say(session, &message, descriptors);
}

static int hello(struct keeper_session *session, uint32_t bytes, uint32_t count,
		 unsigned descriptors)
{
	struct keeper_message message = { .type = KEEPER_HELLO };

	keeper_session_init(session, KEEPER_FOR_AGENTS);
	message.u.hello = (struct keeper_hello){ bytes, count, 0 };
	return say(session, &message, descriptors);
}

static void test_hello(void **state)
{
	struct keeper_session session;

	(void)state;
	keeper_session_init(&session, KEEPER_FOR_AGENTS);
	assert_int_equal(say_type(&session, KEEPER_READ, 0), -EPROTO);
	assert_int_equal(hello(&session, 4096, 1, 1), 0);
	assert_int_equal(hello(&session, 1u << 20, 16, 1), 0);
	assert_int_equal(hello(&session, 1u << 20, 17, 1), -EPROTO);
	assert_int_equal(hello(&session, 4096, 64, 1), 0);
	assert_int_equal(hello(&session, 4096, 65, 1), -EPROTO);
	assert_int_equal(hello(&session, 2048, 1, 1), -EPROTO);
	assert_int_equal(hello(&session, 2u << 20, 1, 1), -EPROTO);
	assert_int_equal(hello(&session, 12288, 1, 1), -EPROTO);
	assert_int_equal(hello(&session, 4096, 0, 1), -EPROTO);
	assert_int_equal(hello(&session, 0, 4, 1), -EPROTO);
	assert_int_equal(hello(&session, 4096, 1, 0), -EPROTO);
	assert_int_equal(hello(&session, 4096, 1, 2), -EPROTO);
	assert_int_equal(hello(&session, 4096, 4, 1), 0);
	assert_int_equal(say_type(&session, KEEPER_HELLO, 1), -EPROTO);
	assert_int_equal(say_type(&session, KEEPER_OPEN, 1), -EPROTO);
	assert_int_equal(say_type(&session, KEEPER_STATUS, 0), -EPROTO);
	assert_int_equal(say_type(&session, KEEPER_GRANT, 0), -EPROTO);
	assert_int_equal(say_type(&session, KEEPER_STOP, 0), -EPROTO);
}

static void test_engines_side(void **state)
{
	struct keeper_message message = { .type = KEEPER_HELLO };
	struct keeper_session session;

	(void)state;
	keeper_session_init(&session, KEEPER_FOR_ENGINE);
	assert_int_equal(say_type(&session, KEEPER_GRANT, 0), -EPROTO);
	assert_int_equal(say_type(&session, KEEPER_HELLO, 0), -EPROTO);
	assert_int_equal(say(&session, &message, 1), -EPROTO);
	assert_int_equal(say(&session, &message, 0), 0);
	assert_int_equal(say_type(&session, KEEPER_GRANT, 0), 0);
	assert_int_equal(say_type(&session, KEEPER_STATUS, 0), 0);
	assert_int_equal(say_type(&session, KEEPER_STOP, 0), 0);
	assert_int_equal(say_type(&session, KEEPER_READ, 0), -EPROTO);
	assert_int_equal(say_type(&session, KEEPER_OPEN, 0), -EPROTO);
}

static int read_at(struct keeper_session *session, uint32_t volume,
		   uint32_t slot, uint64_t offset, uint32_t length)
{
	struct keeper_message message = { .type = KEEPER_READ };
	int r;

	message.u.read = (struct keeper_read){ volume, slot, length, offset };
	r = say(session, &message, 0);
	if (!r)
		keeper_session_done(session);
	return r;
}

static int extent_at(struct keeper_session *session, uint32_t volume,
		     uint64_t offset, uint64_t length)
{
	struct keeper_message message = { .type = KEEPER_EXTENT };
	int r;

	message.u.extent = (struct keeper_extent){ volume, offset, length };
	r = say(session, &message, 0);
	if (!r)
		keeper_session_done(session);
	return r;
}

static void test_ranges(void **state)
{
	struct keeper_message open = { .type = KEEPER_OPEN };
	struct keeper_session session;

	(void)state;
	assert_int_equal(hello(&session, 4096, 4, 1), 0);
	assert_int_equal(read_at(&session, 0, 0, 0, 512), -EPROTO);
	open.u.open.volume = 31;
	assert_int_equal(say(&session, &open, 0), 0);
	/* Asked for is not granted. */
	assert_int_equal(read_at(&session, 31, 0, 0, 512), -EPROTO);
	keeper_session_opened(&session, 31, 10000);
	assert_int_equal(say(&session, &open, 0), -EPROTO);
	open.u.open.volume = 32;
	assert_int_equal(say(&session, &open, 0), -EPROTO);
	assert_int_equal(read_at(&session, 31, 3, 0, 4096), 0);
	assert_int_equal(read_at(&session, 31, 4, 0, 4096), -EPROTO);
	assert_int_equal(read_at(&session, 31, 0, 0, 4097), -EPROTO);
	assert_int_equal(read_at(&session, 31, 0, 0, 0), -EPROTO);
	assert_int_equal(read_at(&session, 31, 0, 9999, 1), 0);
	assert_int_equal(read_at(&session, 31, 0, 9999, 2), -EPROTO);
	assert_int_equal(read_at(&session, 31, 0, 10001, 1), -EPROTO);
	assert_int_equal(read_at(&session, 31, 0, UINT64_MAX, 2), -EPROTO);
	assert_int_equal(read_at(&session, 30, 0, 0, 1), -EPROTO);
	assert_int_equal(read_at(&session, UINT32_MAX, 0, 0, 1), -EPROTO);
	assert_int_equal(extent_at(&session, 31, 0, 10000), 0);
	assert_int_equal(extent_at(&session, 31, 0, 10001), -EPROTO);
	assert_int_equal(extent_at(&session, 31, 1, UINT64_MAX), -EPROTO);
	assert_int_equal(extent_at(&session, 31, 0, 0), -EPROTO);
}

static void test_too_many(void **state)
{
	struct keeper_session session;

	(void)state;
	keeper_session_init(&session, KEEPER_FOR_AGENTS);
	assert_int_equal(hello(&session, 4096, 4, 1), 0);
	for (unsigned i = 1; i < KEEPER_REQUESTS_MAX; i++)
		assert_int_equal(say_type(&session, KEEPER_OPEN, 0), 0);
	assert_int_equal(say_type(&session, KEEPER_OPEN, 0), -EPROTO);
	keeper_session_done(&session);
	assert_int_equal(say_type(&session, KEEPER_OPEN, 0), 0);
	assert_int_equal(say_type(&session, KEEPER_OPEN, 0), -EPROTO);
}

/* ---- the workers ---- */

struct crowd {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool gate;
	unsigned running[2], most[2], done[2], dropped, closed;
	unsigned order[64], order_count;
};

struct task {
	struct fair_job job;
	struct crowd *crowd;
	unsigned queue;
};

static struct crowd crowd;

static void run_task(struct fair_job *job)
{
	struct task *task = container_of(job, struct task, job);
	unsigned q = task->queue;

	pthread_mutex_lock(&crowd.lock);
	crowd.order[crowd.order_count++ % 64] = q;
	crowd.running[q]++;
	crowd.most[q] = (unsigned)max_u64(crowd.most[q], crowd.running[q]);
	pthread_cond_broadcast(&crowd.changed);
	while (!crowd.gate)
		pthread_cond_wait(&crowd.changed, &crowd.lock);
	crowd.running[q]--;
	crowd.done[q]++;
	pthread_cond_broadcast(&crowd.changed);
	pthread_mutex_unlock(&crowd.lock);
	free(task);
}

static void drop_task(struct fair_job *job)
{
	crowd.dropped++;
	free(container_of(job, struct task, job));
}

static void queue_closed(struct fair_queue *queue)
{
	(void)queue;
	pthread_mutex_lock(&crowd.lock);
	crowd.closed++;
	pthread_mutex_unlock(&crowd.lock);
}

static void add_task(struct fair_queue *queue, unsigned number)
{
	struct task *task = calloc(1, sizeof(*task));

	assert_non_null(task);
	task->job.run = run_task;
	task->queue = number;
	fair_queue_add(queue, &task->job);
}

static void await(const unsigned *value, unsigned at_least)
{
	pthread_mutex_lock(&crowd.lock);
	while (*value < at_least)
		pthread_cond_wait(&crowd.changed, &crowd.lock);
	pthread_mutex_unlock(&crowd.lock);
}

static void open_gate(void)
{
	pthread_mutex_lock(&crowd.lock);
	crowd.gate = true;
	pthread_cond_broadcast(&crowd.changed);
	pthread_mutex_unlock(&crowd.lock);
}

static void crowd_init(void)
{
	memset(&crowd, 0, sizeof(crowd));
	pthread_mutex_init(&crowd.lock, NULL);
	pthread_cond_init(&crowd.changed, NULL);
}

/* One queue is stuck with as many workers as it may have: the other is served. */
static void test_a_stuck_queue_is_alone(void **state)
{
	struct fair_queue queues[2];
	struct fair_pool *pool;
	struct err err;

	(void)state;
	crowd_init();
	assert_int_equal(fair_pool_new(&pool, 6, &err), 0);
	fair_queue_init(&queues[0], pool, 4, queue_closed);
	fair_queue_init(&queues[1], pool, 4, queue_closed);
	for (unsigned i = 0; i < 40; i++)
		add_task(&queues[0], 0);
	await(&crowd.running[0], 4);
	add_task(&queues[1], 1);
	await(&crowd.running[1], 1);
	assert_int_equal(crowd.most[0], 4);
	/* Closed in the middle of it: what runs ends, the rest is dropped. */
	fair_queue_close(&queues[0], drop_task);
	assert_int_equal(crowd.dropped, 36);
	assert_int_equal(crowd.closed, 0);
	open_gate();
	await(&crowd.done[0], 4);
	fair_queue_close(&queues[1], drop_task);
	fair_pool_free(pool);
	assert_int_equal(crowd.closed, 2);
	assert_int_equal(crowd.done[0], 4);
	assert_int_equal(crowd.done[1] + crowd.dropped, 37);
}

/* One worker, two queues: in turn, however many the first one has. */
static void test_in_turn(void **state)
{
	struct fair_queue queues[2];
	struct fair_pool *pool;
	struct err err;

	(void)state;
	crowd_init();
	assert_int_equal(fair_pool_new(&pool, 1, &err), 0);
	fair_queue_init(&queues[0], pool, 4, queue_closed);
	fair_queue_init(&queues[1], pool, 4, queue_closed);
	add_task(&queues[0], 0);
	await(&crowd.running[0], 1);
	for (unsigned i = 0; i < 8; i++)
		add_task(&queues[0], 0);
	for (unsigned i = 0; i < 3; i++)
		add_task(&queues[1], 1);
	open_gate();
	await(&crowd.done[0], 9);
	await(&crowd.done[1], 3);
	/* Of the first eight, three are the second queue's. */
	for (unsigned i = 0, seen = 0; i < 8; i++) {
		seen += crowd.order[i];
		if (i == 7)
			assert_int_equal(seen, 3);
	}
	fair_queue_close(&queues[0], drop_task);
	fair_queue_close(&queues[1], drop_task);
	fair_pool_free(pool);
	assert_int_equal(crowd.closed, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_of_the_page),
		cmocka_unit_test(test_packets_round_trip),
		cmocka_unit_test(test_packets_refused),
		cmocka_unit_test(test_grants),
		cmocka_unit_test(test_grants_not_made),
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_engines_side),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_a_stuck_queue_is_alone),
		cmocka_unit_test(test_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
