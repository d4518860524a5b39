/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of a virtio-vsock: how they begin and end, and floods of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/vsock_ends.h"

/* ---- beginnings ---- */

static void test_from_the_guest(void **state)
{
	struct rig *rig = start();
	struct end *end = connect_guest(rig, 0);

	(void)state;
	assert_int_equal(le64_get(rig->header.from_cid), 2);
	assert_int_equal(le64_get(rig->header.to_cid), 3);
	assert_int_equal(le16_get(rig->header.type), VSOCK_STREAM);
	assert_int_equal(le32_get(rig->header.room), VSOCK_ROOM);
	assert_int_equal(le32_get(rig->header.forwarded), 0);
	memcpy(rig->data, "abc", 3);
	send_packet(rig, 0, VSOCK_DATA, 3, 0);
	assert_int_equal(end->got, 3);
	assert_int_equal(end->last, 'c');
	nothing(rig);
	says(rig, end, "hello", 5);
	came_to(rig, 0, VSOCK_DATA);
	assert_int_equal(le32_get(rig->header.length), 5);
	assert_int_equal(le32_get(rig->header.forwarded), 3);
	nothing(rig);
	finish(rig);
}

static void test_refused(void **state)
{
	struct rig *rig = start();
	struct packet packet = { VSOCK_REQUEST, 1, 81, 0, 0, 1, 0 };
	struct vsock_header header = header_of(&packet);

	(void)state;
	/* Nobody listens there. */
	vsock_take(&rig->vsock, &header, NULL, 0);
	came(rig, VSOCK_RESET, 81, 1);
	nothing(rig);
	/* Of no connection, whatever it says; but not a reset. */
	for (unsigned op = 0; op < 20; op++) {
		packet.op = op;
		header = header_of(&packet);
		vsock_take(&rig->vsock, &header, NULL, 0);
		if (op != VSOCK_RESET)
			came(rig, VSOCK_RESET, 81, 1);
		nothing(rig);
	}
	/* Another kind, another computer. */
	packet = (struct packet){ VSOCK_REQUEST, 1, LISTENED, 0, 0, 1, 0 };
	header = header_of(&packet);
	header.type = le16_make(2);
	vsock_take(&rig->vsock, &header, NULL, 0);
	came(rig, VSOCK_RESET, LISTENED, 1);
	assert_int_equal(le16_get(rig->header.type), 2);
	header = header_of(&packet);
	header.to_cid = le64_make(7);
	vsock_take(&rig->vsock, &header, NULL, 0);
	came(rig, VSOCK_RESET, LISTENED, 1);
	assert_int_equal(le64_get(rig->header.from_cid), 7);
	header = header_of(&packet);
	header.from_cid = le64_make(UINT64_MAX);
	vsock_take(&rig->vsock, &header, NULL, 0);
	came(rig, VSOCK_RESET, LISTENED, 1);
	assert_int_equal(le64_get(rig->header.to_cid), UINT64_MAX);
	assert_int_equal(rig->end_count, 0);
	finish(rig);
}

static struct end *ask(struct rig *rig, int *id)
{
	struct end *end = &rig->ends[rig->end_count++];

	*end = (struct end){ .used = true, .takes = SIZE_MAX };
	*id = vsock_open(&rig->vsock, 22, end);
	assert_true(*id >= 0);
	return end;
}

static void test_from_the_host(void **state)
{
	struct rig *rig = start();
	uint32_t port = VSOCK_PORT_FIRST + 1;
	struct end *end;
	int id;

	(void)state;
	end = ask(rig, &id);
	assert_true(rig->ticks_asked > 0);
	came(rig, VSOCK_REQUEST, port, 22);
	nothing(rig);
	answer(rig, port, VSOCK_RESPONSE);
	assert_int_equal(end->opened, port);
	says(rig, end, "x", 1);
	came(rig, VSOCK_DATA, port, 22);
	assert_false(vsock_tick(&rig->vsock));
	/* It can't be opened twice. */
	answer(rig, port, VSOCK_RESPONSE);
	assert_true(end->closed);
	came(rig, VSOCK_RESET, port, 22);
	/* Refused. */
	end = ask(rig, &id);
	came(rig, VSOCK_REQUEST, ++port, 22);
	answer(rig, port, VSOCK_RESET);
	assert_true(end->closed);
	assert_int_equal(end->opened, 0);
	/* Answered with nonsense. */
	end = ask(rig, &id);
	came(rig, VSOCK_REQUEST, ++port, 22);
	answer(rig, port, VSOCK_DATA);
	came(rig, VSOCK_RESET, port, 22);
	assert_true(end->closed);
	/* Before it was asked. */
	end = ask(rig, &id);
	answer(rig, ++port, VSOCK_RESPONSE);
	assert_true(end->closed);
	assert_int_equal(end->opened, 0);
	came(rig, VSOCK_RESET, port, 22);
	/* The one who asked has left when the answer comes. */
	end = ask(rig, &id);
	came(rig, VSOCK_REQUEST, ++port, 22);
	end->takes_none = true;
	answer(rig, port, VSOCK_RESPONSE);
	assert_true(end->closed);
	came(rig, VSOCK_RESET, port, 22);
	nothing(rig);
	finish(rig);
}

static void test_no_answer(void **state)
{
	struct rig *rig = start();
	struct end *end;
	int id;

	(void)state;
	end = ask(rig, &id);
	came(rig, VSOCK_REQUEST, VSOCK_PORT_FIRST + 1, 22);
	for (unsigned i = 1; i < VSOCK_ANSWER_TICKS; i++)
		assert_true(vsock_tick(&rig->vsock));
	assert_false(end->closed);
	assert_false(vsock_tick(&rig->vsock));
	assert_true(end->closed);
	came(rig, VSOCK_RESET, VSOCK_PORT_FIRST + 1, 22);
	/* Too late. */
	answer(rig, VSOCK_PORT_FIRST + 1, VSOCK_RESPONSE);
	came(rig, VSOCK_RESET, VSOCK_PORT_FIRST + 1, 22);
	/* It leaves before, asked or not. */
	end = ask(rig, &id);
	vsock_ready(&rig->vsock, (unsigned)id, false, false, true);
	assert_true(end->closed);
	nothing(rig);
	end = ask(rig, &id);
	came(rig, VSOCK_REQUEST, VSOCK_PORT_FIRST + 3, 22);
	vsock_ready(&rig->vsock, (unsigned)id, false, false, true);
	assert_true(end->closed);
	came(rig, VSOCK_RESET, VSOCK_PORT_FIRST + 3, 22);
	finish(rig);
}

/* ---- ends ---- */

static void test_host_ends(void **state)
{
	struct rig *rig = start();
	struct end *end = connect_guest(rig, 0);

	(void)state;
	/* It sends no more, and still takes. */
	end->ends = true;
	says(rig, end, "bye", 3);
	came_to(rig, 0, VSOCK_DATA);
	assert_int_equal(came_to(rig, 0, VSOCK_SHUTDOWN), VSOCK_SENDS_NONE);
	nothing(rig);
	assert_false(vsock_tick(&rig->vsock));
	send_packet(rig, 0, VSOCK_DATA, 10, 0);
	assert_int_equal(end->got, 10);
	/* It is gone. */
	vsock_ready(&rig->vsock, id_of(rig, end), true, true, true);
	assert_int_equal(came_to(rig, 0, VSOCK_SHUTDOWN),
			 VSOCK_SENDS_NONE | VSOCK_TAKES_NONE);
	/* What was on its way is dropped, and no breach. */
	for (unsigned i = 0; i < 5; i++)
		send_packet(rig, 0, VSOCK_DATA, VSOCK_DATA_MAX, 0);
	came_to(rig, 0, VSOCK_CREDIT);
	assert_int_equal(end->got, 10);
	assert_false(end->closed);
	send_packet(rig, 0, VSOCK_RESET, 0, 0);
	assert_true(end->closed);
	nothing(rig);
	/* A guest that doesn't end it. */
	end = connect_guest(rig, 0);
	end->ends = true;
	vsock_ready(&rig->vsock, id_of(rig, end), false, false, true);
	assert_int_equal(came_to(rig, 0, VSOCK_SHUTDOWN), VSOCK_TAKES_NONE);
	assert_int_equal(came_to(rig, 0, VSOCK_SHUTDOWN),
			 VSOCK_SENDS_NONE | VSOCK_TAKES_NONE);
	nothing(rig);
	for (unsigned i = 1; i < VSOCK_ANSWER_TICKS; i++)
		assert_true(vsock_tick(&rig->vsock));
	assert_false(vsock_tick(&rig->vsock));
	assert_true(end->closed);
	came_to(rig, 0, VSOCK_RESET);
	/* The same when the last word on it is the guest's. */
	end = connect_guest(rig, 0);
	end->takes_none = true;
	send_packet(rig, 0, VSOCK_DATA, 10, 0);
	assert_int_equal(came_to(rig, 0, VSOCK_SHUTDOWN), VSOCK_TAKES_NONE);
	nothing(rig);
	assert_false(vsock_tick(&rig->vsock));
	send_packet(rig, 0, VSOCK_SHUTDOWN, 0, VSOCK_TAKES_NONE);
	assert_int_equal(came_to(rig, 0, VSOCK_SHUTDOWN),
			 VSOCK_SENDS_NONE | VSOCK_TAKES_NONE);
	nothing(rig);
	for (unsigned i = 1; i < VSOCK_ANSWER_TICKS; i++)
		assert_true(vsock_tick(&rig->vsock));
	assert_false(vsock_tick(&rig->vsock));
	assert_true(end->closed);
	came_to(rig, 0, VSOCK_RESET);
	/* It broke, or takes no more all at once. */
	end = connect_guest(rig, 0);
	end->broken = true;
	vsock_ready(&rig->vsock, id_of(rig, end), true, false, false);
	came_to(rig, 0, VSOCK_RESET);
	assert_true(end->closed);
	end = connect_guest(rig, 0);
	end->takes_none = true;
	send_packet(rig, 0, VSOCK_DATA, 10, 0);
	assert_int_equal(came_to(rig, 0, VSOCK_SHUTDOWN), VSOCK_TAKES_NONE);
	assert_false(end->closed);
	finish(rig);
}

static void test_guest_ends(void **state)
{
	struct rig *rig = start();
	struct end *end = connect_guest(rig, 0);

	(void)state;
	/* It sends no more: the end hears of it behind the last byte. */
	end->takes = 10;
	send_packet(rig, 0, VSOCK_DATA, 100, 0);
	send_packet(rig, 0, VSOCK_SHUTDOWN, 0, VSOCK_SENDS_NONE);
	assert_false(end->shut_write);
	takes(rig, end, 200);
	assert_int_equal(end->got, 100);
	assert_true(end->shut_write);
	says(rig, end, "more", 4);
	came_to(rig, 0, VSOCK_DATA);
	send_packet(rig, 0, VSOCK_SHUTDOWN, 0, 0);
	send_packet(rig, 0, VSOCK_SHUTDOWN, 0, VSOCK_SENDS_NONE);
	nothing(rig);
	/* And then does. */
	send_packet(rig, 0, VSOCK_DATA, 1, 0);
	assert_true(end->closed);
	came_to(rig, 0, VSOCK_RESET);
	/* It takes no more. */
	end = connect_guest(rig, 0);
	send_packet(rig, 0, VSOCK_SHUTDOWN, 0, VSOCK_TAKES_NONE);
	assert_true(end->shut_read);
	vsock_ready(&rig->vsock, id_of(rig, end), true, false, false);
	nothing(rig);
	send_packet(rig, 0, VSOCK_DATA, 1, 0);
	assert_int_equal(end->got, 1);
	/* Both: it is over, with a reset, once all is out. */
	end->takes = 0;
	send_packet(rig, 0, VSOCK_DATA, 5, 0);
	send_packet(rig, 0, VSOCK_SHUTDOWN, 0,
		    VSOCK_SENDS_NONE | VSOCK_TAKES_NONE | 0xf0);
	nothing(rig);
	takes(rig, end, 5);
	assert_int_equal(end->got, 6);
	assert_true(end->closed);
	came_to(rig, 0, VSOCK_RESET);
	nothing(rig);
	finish(rig);
}

/* What it sent before a reset arrives; its ports are its own again. */
static void test_guest_resets(void **state)
{
	struct rig *rig = start();
	struct end *end = connect_guest(rig, 0), *second;

	(void)state;
	end->takes = 0;
	send_packet(rig, 0, VSOCK_DATA, 50000, 0);
	send_packet(rig, 0, VSOCK_RESET, 0, 0);
	assert_false(end->closed);
	second = connect_guest(rig, 0);
	takes(rig, end, 40000);
	nothing(rig);
	assert_false(end->closed);
	takes(rig, end, 40000);
	assert_int_equal(end->got, 50000);
	assert_true(end->closed);
	nothing(rig);
	/* Not for ever. */
	second->takes = 0;
	send_packet(rig, 0, VSOCK_DATA, 5, 0);
	send_packet(rig, 0, VSOCK_RESET, 0, 0);
	for (unsigned i = 1; i < VSOCK_DRAIN_TICKS; i++)
		assert_true(vsock_tick(&rig->vsock));
	assert_false(second->closed);
	assert_false(vsock_tick(&rig->vsock));
	assert_true(second->closed);
	/* Nor to nobody. */
	end = connect_guest(rig, 0);
	end->takes = 0;
	send_packet(rig, 0, VSOCK_DATA, 5, 0);
	send_packet(rig, 0, VSOCK_RESET, 0, 0);
	vsock_ready(&rig->vsock, id_of(rig, end), false, false, true);
	assert_true(end->closed);
	nothing(rig);
	/* A request on ports that are in use ends what is there. */
	end = connect_guest(rig, 0);
	send_packet(rig, 0, VSOCK_REQUEST, 0, 0);
	assert_true(end->closed);
	send_packet(rig, 0, VSOCK_REQUEST, 0, 0);
	came_to(rig, 0, VSOCK_RESET);
	nothing(rig);
	connect_guest(rig, 0);
	/* An operation that is none. */
	send_packet(rig, 0, 8, 0, 0);
	came_to(rig, 0, VSOCK_RESET);
	finish(rig);
}

/* ---- floods ---- */

static void test_bounded(void **state)
{
	struct rig *rig = start();
	struct packet packet = { VSOCK_REQUEST, 1, 81, 0, 0, 1, 0 };
	struct vsock_header header = header_of(&packet);
	struct end end = { 0 };

	(void)state;
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		connect_guest(rig, i);
	assert_int_equal(vsock_open(&rig->vsock, 22, &end), -ENOSPC);
	send_packet(rig, VSOCK_CONNECTIONS_MAX, VSOCK_REQUEST, 0, 0);
	came_to(rig, VSOCK_CONNECTIONS_MAX, VSOCK_RESET);
	/* One that takes no answers is not listened to. */
	for (unsigned i = 0; i < VSOCK_REFUSALS_MAX; i++) {
		assert_true(vsock_can_take(&rig->vsock));
		vsock_take(&rig->vsock, &header, NULL, 0);
	}
	assert_false(vsock_can_take(&rig->vsock));
	came(rig, VSOCK_RESET, 81, 1);
	assert_true(vsock_can_take(&rig->vsock));
	for (unsigned i = 1; i < VSOCK_REFUSALS_MAX; i++)
		came(rig, VSOCK_RESET, 81, 1);
	nothing(rig);
	/* All of them end; then there is room. */
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		send_packet(rig, i, VSOCK_SHUTDOWN, 0, 3);
	send_packet(rig, 999, VSOCK_REQUEST, 0, 0);
	came_to(rig, 999, VSOCK_RESET);
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		assert_true(vsock_has_some(&rig->vsock));
		assert_int_equal(vsock_give(&rig->vsock, &rig->header,
					    rig->data, VSOCK_DATA_MAX),
				 1);
		assert_int_equal(le16_get(rig->header.op), VSOCK_RESET);
	}
	nothing(rig);
	connect_guest(rig, 999);
	finish(rig);
}

/* Each has its turn. */
static void test_fair(void **state)
{
	static char text[10 * 4096];
	struct rig *rig = start();
	unsigned counts[4] = { 0 };
	uint8_t data[4096];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		connect_guest(rig, i);
	for (unsigned i = 0; i < 4; i++)
		says(rig, &rig->ends[i], text, sizeof(text));
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(
			vsock_give(&rig->vsock, &rig->header, data, 4096), 1);
		counts[le32_get(rig->header.to_port) - GUEST_PORT]++;
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(counts[i], 5);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_the_guest),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_from_the_host),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_host_ends),
		cmocka_unit_test(test_guest_ends),
		cmocka_unit_test(test_guest_resets),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_fair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
