/* SPDX-License-Identifier: Apache-2.0 */
/* Credit of a virtio-vsock's connections both ways: slow ones, liars, and a random
 * life in which every byte arrives once and in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim/sim.h"
#include "tests/unit/vsock_ends.h"

#define TEXT_SIZE (8u * 1024 * 1024)

/* The host's end is slow: so much is kept and no more, and the guest hears when
 * there is room. Another connection is not held up. */
static void test_slow_host(void **state)
{
	struct rig *rig = start();
	struct end *slow = connect_guest(rig, 0), *other;

	(void)state;
	other = connect_guest(rig, 1);
	slow->takes = 1000;
	for (unsigned i = 0; i < 16; i++)
		send_packet(rig, 0, VSOCK_DATA, 4096, 0);
	assert_int_equal(slow->got, 1000);
	nothing(rig);
	send_packet(rig, 1, VSOCK_DATA, 4096, 0);
	assert_int_equal(other->got, 4096);
	/* It may have what left, and not a byte more. */
	send_packet(rig, 0, VSOCK_DATA, 1000, 0);
	takes(rig, slow, 8000);
	nothing(rig);
	takes(rig, slow, 8000);
	assert_int_equal(slow->got, 17000);
	came_to(rig, 0, VSOCK_CREDIT);
	assert_int_equal(le32_get(rig->header.forwarded), 17000);
	takes(rig, slow, SIZE_MAX);
	assert_int_equal(slow->got, 66536);
	came_to(rig, 0, VSOCK_CREDIT);
	nothing(rig);
	/* The guest asks. */
	send_packet(rig, 0, VSOCK_CREDIT_ASKED, 0, 0);
	came_to(rig, 0, VSOCK_CREDIT);
	assert_int_equal(le32_get(rig->header.forwarded), 66536);
	/* More than there is room for. */
	slow->takes = 0;
	send_packet(rig, 0, VSOCK_DATA, VSOCK_ROOM, 0);
	send_packet(rig, 0, VSOCK_DATA, 1, 0);
	assert_true(slow->closed);
	came_to(rig, 0, VSOCK_RESET);
	assert_false(other->closed);
	finish(rig);
}

static void test_wrong_lengths(void **state)
{
	struct rig *rig = start();
	struct packet packet = { VSOCK_DATA, GUEST_PORT, LISTENED, 5, 0, 1, 0 };
	struct vsock_header header;

	(void)state;
	/* Less than the header says. */
	connect_guest(rig, 0);
	header = header_of(&packet);
	vsock_take(&rig->vsock, &header, rig->data, 4);
	came_to(rig, 0, VSOCK_RESET);
	/* More than a packet can have. */
	connect_guest(rig, 0);
	packet.length = VSOCK_DATA_MAX + 1;
	header = header_of(&packet);
	vsock_take(&rig->vsock, &header, rig->data, UINT64_MAX);
	came_to(rig, 0, VSOCK_RESET);
	connect_guest(rig, 0);
	packet.length = UINT32_MAX;
	header = header_of(&packet);
	vsock_take(&rig->vsock, &header, rig->data, UINT64_MAX);
	came_to(rig, 0, VSOCK_RESET);
	/* More behind it than it says is left alone; none at all is none. */
	connect_guest(rig, 0);
	packet.length = 5;
	header = header_of(&packet);
	vsock_take(&rig->vsock, &header, rig->data, 500);
	assert_int_equal(rig->ends[3].got, 5);
	packet.length = 0;
	header = header_of(&packet);
	vsock_take(&rig->vsock, &header, rig->data, 0);
	assert_false(rig->ends[3].closed);
	nothing(rig);
	finish(rig);
}

/* The guest gets what it has room for, and is asked once when it has none. */
static void test_slow_guest(void **state)
{
	static char text[100000];
	struct rig *rig = start();
	struct end *end = connect_guest(rig, 0);
	uint8_t data[64];

	(void)state;
	send_credit(rig, 0, 1000, 0);
	says(rig, end, text, sizeof(text));
	came_to(rig, 0, VSOCK_DATA);
	assert_int_equal(le32_get(rig->header.length), 1000);
	came_to(rig, 0, VSOCK_CREDIT_ASKED);
	nothing(rig);
	/* The answer: still none. It is not asked again for ever. */
	send_credit(rig, 0, 1000, 0);
	nothing(rig);
	send_credit(rig, 0, 1000, 400);
	came_to(rig, 0, VSOCK_DATA);
	assert_int_equal(le32_get(rig->header.length), 400);
	came_to(rig, 0, VSOCK_CREDIT_ASKED);
	nothing(rig);
	/* It took more than it was sent, or gave some back: not believed. */
	send_credit(rig, 0, 1000, 1401);
	nothing(rig);
	send_credit(rig, 0, 1000, 399);
	nothing(rig);
	send_credit(rig, 0, 1000, 0x80000000);
	nothing(rig);
	/* The room shrinks below what is on its way. */
	send_credit(rig, 0, 10, 400);
	nothing(rig);
	send_credit(rig, 0, UINT32_MAX, 1400);
	/* A buffer's own size is a limit, too, and one without room is one. */
	assert_int_equal(vsock_give(&rig->vsock, &rig->header, data, 0), 0);
	assert_int_equal(vsock_give(&rig->vsock, &rig->header, data, 64), 1);
	assert_int_equal(le32_get(rig->header.length), 64);
	came_to(rig, 0, VSOCK_DATA);
	assert_int_equal(le32_get(rig->header.length), VSOCK_DATA_MAX);
	finish(rig);
}

/* ---- a random life ---- */

static uint8_t byte_at(uint64_t n)
{
	return (uint8_t)(n * 167 + (n >> 8) * 31 + (n >> 16));
}

struct life {
	struct rig *rig;
	uint64_t random;
	uint64_t sent, got;             /* from the guest to the end */
	uint64_t heard;                 /* from the end to the guest */
	uint32_t forwarded, room;       /* the guest's */
	uint32_t host_room, host_taken; /* as the guest knows them */
	char *text;
};

static uint64_t below(struct life *life, uint64_t limit)
{
	return sim_random(&life->random, limit);
}

static void guest_sends(struct life *life)
{
	struct packet packet = { VSOCK_DATA, GUEST_PORT, LISTENED,       0,
				 0,          life->room, life->forwarded };
	uint32_t may =
		life->host_room - (uint32_t)(life->sent) + life->host_taken;
	struct vsock_header header;

	packet.length = (uint32_t)min_u64(may, below(life, 20000));
	for (uint32_t i = 0; i < packet.length; i++)
		life->rig->data[i] = byte_at(life->sent + i);
	life->sent += packet.length;
	header = header_of(&packet);
	vsock_take(&life->rig->vsock, &header, life->rig->data, packet.length);
}

static void guest_takes(struct life *life)
{
	uint8_t data[VSOCK_DATA_MAX];
	struct vsock_header header;
	size_t room = 1 + below(life, sizeof(data));

	if (!vsock_give(&life->rig->vsock, &header, data, room))
		return;
	life->host_room = le32_get(header.room);
	life->host_taken = le32_get(header.forwarded);
	if (le16_get(header.op) != VSOCK_DATA) {
		assert_true(le16_get(header.op) == VSOCK_CREDIT ||
			    le16_get(header.op) == VSOCK_CREDIT_ASKED);
		return;
	}
	assert_true(le32_get(header.length) <= room);
	for (uint32_t i = 0; i < le32_get(header.length); i++)
		assert_int_equal(data[i], byte_at(life->heard + i));
	life->heard += le32_get(header.length);
	assert_true((uint32_t)life->heard - life->forwarded <= life->room);
}

static void step(struct life *life, struct end *end, unsigned id)
{
	switch (below(life, 5)) {
	case 0:
		guest_sends(life);
		break;
	case 1:
		guest_takes(life);
		break;
	case 2:
		end->takes = below(life, 30000);
		vsock_ready(&life->rig->vsock, id, false, true, false);
		break;
	case 3:
		end->say_size +=
			min_u64(below(life, 20000),
				(uint64_t)(life->text + TEXT_SIZE - end->says) -
					end->say_size);
		vsock_ready(&life->rig->vsock, id, true, false, false);
		break;
	default:
		/* It has read some. */
		life->forwarded += (uint32_t)below(
			life, (uint32_t)life->heard - life->forwarded + 1);
		send_credit(life->rig, 0, life->room, life->forwarded);
	}
}

static void test_random_life(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct life life = { .rig = start(), .room = 50000 };
		struct end *end = connect_guest(life.rig, 0);
		unsigned id = id_of(life.rig, end);

		life.random = seed;
		life.text = test_malloc(TEXT_SIZE);
		for (size_t i = 0; i < TEXT_SIZE; i++)
			life.text[i] = (char)byte_at(i);
		end->says = life.text;
		send_credit(life.rig, 0, life.room, 0);
		life.host_room = VSOCK_ROOM;
		for (unsigned i = 0; i < 3000 && !end->closed; i++) {
			step(&life, end, id);
			if (end->got)
				assert_int_equal(end->last,
						 byte_at(end->got - 1));
			assert_true(end->got <= life.sent);
		}
		if (end->closed || !end->got || !life.heard)
			fail_msg("seed %llu", (unsigned long long)seed);
		test_free(life.text);
		finish(life.rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slow_host),
		cmocka_unit_test(test_wrong_lengths),
		cmocka_unit_test(test_slow_guest),
		cmocka_unit_test(test_random_life),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
