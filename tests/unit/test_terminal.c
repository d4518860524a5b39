/* SPDX-License-Identifier: Apache-2.0 */
/* A serial port on a terminal whose other side is slow: the loop goes on, and
 * what there is room for arrives in its order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

#include "kvm-agent/terminal.h"

#define HANGS_S 60 /* then it waits for the other side */

static struct err err;

struct rig {
	struct loop *loop;
	struct terminal *terminal;
	int master, slave;
	struct loop_work turn;
	unsigned turns;
};

static void take_turn(struct loop_work *work)
{
	struct rig *rig = container_of(work, struct rig, turn);

	if (rig->turns--)
		loop_post(rig->loop, work);
	else
		loop_stop(rig->loop);
}

static void run_loop(struct rig *rig)
{
	rig->turns = 4;
	loop_post(rig->loop, &rig->turn);
	assert_int_equal(loop_run(rig->loop, &err), 0);
}

static void never(void *arg)
{
	(void)arg;
	fail();
}

static void start(struct rig *rig)
{
	*rig = (struct rig){ .turn.run = take_turn };
	rig->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(rig->master >= 0);
	assert_int_equal(grantpt(rig->master), 0);
	assert_int_equal(unlockpt(rig->master), 0);
	rig->slave = open(ptsname(rig->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(rig->slave >= 0);
	assert_int_equal(loop_new(&rig->loop, &err), 0);
	assert_int_equal(terminal_new(&rig->terminal, rig->slave, rig->slave,
				      rig->loop, never, NULL, &err),
			 0);
}

static void finish(struct rig *rig)
{
	terminal_free(rig->terminal);
	loop_free(rig->loop);
	close(rig->slave);
	close(rig->master);
}

static uint8_t letter(size_t i)
{
	return (uint8_t)('a' + i % 23);
}

static void print(struct rig *rig, size_t size)
{
	struct serial_line *line = terminal_line(rig->terminal);

	for (size_t i = 0; i < size; i++) {
		uint8_t c = letter(i);

		line->output(line, &c, 1);
	}
}

static void test_nobody_reads(void **state)
{
	const size_t size = 512 * KIB;
	uint8_t data[4096];
	size_t seen = 0;
	struct rig rig;

	(void)state;
	start(&rig);
	print(&rig, size);
	/* Ends the test where it would wait for ever. */
	alarm(HANGS_S);
	run_loop(&rig);
	while (seen < size) {
		struct pollfd look = { rig.master, POLLIN, 0 };
		ssize_t n;

		run_loop(&rig);
		assert_int_equal(poll(&look, 1, HANGS_S * 1000), 1);
		n = read(rig.master, data, sizeof(data));
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(data[i], letter(seen++));
	}
	alarm(0);
	assert_int_equal(seen, size);
	assert_int_equal(terminal_lost(rig.terminal), 0);
	/* The descriptor is others' as well, and as it was. */
	assert_false(fcntl(rig.slave, F_GETFL) & O_NONBLOCK);
	finish(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
