/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets of a machine: requests, events, peers that misbehave; and the
 * console, its log and its tail. spec/protocol.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "kvm-agent/console.h"
#include "kvm-agent/console_log.h"
#include "kvm-agent/control.h"
#include "kvm-agent/peer.h"
#include "tests/rig/starved.h"

struct fixture {
	struct loop *loop;
	struct control *control;
	struct console *console;
	pthread_t thread;
	struct sockaddr_un address;
	socklen_t address_size;
	struct loop_work work;
	/* the machine */
	atomic_int state; /* 0 running, 1 paused */
	atomic_int stops;
	atomic_bool slow; /* a pause takes its time */
	atomic_int begun;
	uint64_t balloon;
	/* the guest's input */
	pthread_mutex_t lock;
	char typed[65536];
	size_t typed_size, typed_max;
};

static int listen_somewhere(struct fixture *fixture)
{
	static atomic_int serial;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int length = snprintf(fixture->address.sun_path + 1, 100,
			      "vmsnap-test-%d-%d", (int)getpid(), serial++);

	fixture->address.sun_family = AF_UNIX;
	fixture->address_size =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			    (size_t)length);
	assert_int_equal(bind(fd, (struct sockaddr *)&fixture->address,
			      fixture->address_size),
			 0);
	assert_int_equal(listen(fd, 64), 0);
	return fd;
}

static int connect_to(struct fixture *fixture)
{
	const struct timeval patience = { .tv_sec = 20 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
				    sizeof(patience)),
			 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&fixture->address,
				 fixture->address_size),
			 0);
	return fd;
}

static void *run(void *arg)
{
	struct fixture *fixture = arg;

	assert_int_equal(loop_run(fixture->loop, NULL), 0);
	return NULL;
}

static void start_loop(struct fixture *fixture)
{
	assert_int_equal(pthread_create(&fixture->thread, NULL, run, fixture),
			 0);
}

static void stop_loop(struct fixture *fixture)
{
	loop_stop(fixture->loop);
	pthread_join(fixture->thread, NULL);
}

static struct fixture *fixture_new(void)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	pthread_mutex_init(&fixture->lock, NULL);
	fixture->typed_max = sizeof(fixture->typed);
	assert_int_equal(loop_new(&fixture->loop, NULL), 0);
	return fixture;
}

static void fixture_free(struct fixture *fixture)
{
	control_free(fixture->control);
	console_free(fixture->console);
	loop_free(fixture->loop);
	pthread_mutex_destroy(&fixture->lock);
	free(fixture);
}

/* One line with its LF. */
static const char *get_line(int fd)
{
	static char line[8192];
	size_t size = 0;

	while (size + 1 < sizeof(line)) {
		ssize_t n = recv(fd, line + size, 1, 0);

		if (n <= 0)
			break;
		if (line[size++] == '\n')
			break;
	}
	line[size] = 0;
	return line;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL),
			 (ssize_t)strlen(text));
}

static const char *ask(int fd, const char *text)
{
	say(fd, text);
	return get_line(fd);
}

/* ---- control ---- */

static void machine_status(void *machine, struct control_status *out)
{
	struct fixture *fixture = machine;

	*out = (struct control_status){
		.state = fixture->state ? "paused" : "running",
		.cpus = 2,
		.memory_bytes = 1 << 20,
		.resident_bytes = 4096,
		.balloon_bytes = fixture->balloon,
		.uptime_ns = 5000000,
		.cpu_ns = 7000000,
	};
	snprintf(out->cause, sizeof(out->cause), "%s",
		 fixture->state ? "because\x1b[2J" : "");
}

static int machine_act(void *machine, enum control_action action,
		       struct err *err)
{
	struct fixture *fixture = machine;

	switch (action) {
	case CONTROL_PAUSE:
		if (fixture->state)
			return err_set(err, -EINVAL, "it is paused");
		if (fixture->slow) {
			fixture->begun++;
			return 1;
		}
		fixture->state = 1;
		control_event(fixture->control, "state", "paused", "asked");
		return 0;
	case CONTROL_RESUME:
		fixture->state = 0;
		control_answer(fixture->control, -EINVAL, "it runs");
		return 0;
	case CONTROL_STOP:
		fixture->stops++;
		loop_stop(fixture->loop);
		return 0;
	case CONTROL_POWER_BUTTON:
		return err_set(err, -EOPNOTSUPP, "no button");
	case CONTROL_RESET:
		break;
	}
	return 0;
}

static int machine_balloon(void *machine, uint64_t target_bytes,
			   struct err *err)
{
	struct fixture *fixture = machine;

	if (target_bytes > 1 << 20)
		return err_set(err, -EINVAL, "more than there is");
	fixture->balloon = (1 << 20) - target_bytes;
	return 0;
}

static const struct control_ops machine_ops = { machine_status, machine_act,
						machine_balloon };

static struct fixture *control_fixture(void)
{
	struct fixture *fixture = fixture_new();

	assert_int_equal(control_new(&fixture->control, fixture->loop,
				     listen_somewhere(fixture), "web",
				     &machine_ops, fixture, NULL),
			 0);
	start_loop(fixture);
	return fixture;
}

static void test_requests(void **state)
{
	struct fixture *fixture = control_fixture();
	int fd = connect_to(fixture);
	char greeting[256];

	(void)state;
	snprintf(greeting, sizeof(greeting),
		 "{\"type\":\"machine-control\",\"version\":1,\"name\":\"web\","
		 "\"process\":%d,\"state\":\"running\"}\n",
		 (int)getpid());
	assert_string_equal(get_line(fd), greeting);
	assert_string_equal(ask(fd, "{\"do\":\"status\",\"id\":7}\n"),
			    "{\"ok\":true,\"state\":\"running\",\"cause\":null,"
			    "\"cpus\":2,\"memory_bytes\":1048576,"
			    "\"resident_bytes\":4096,\"balloon_bytes\":0,"
			    "\"uptime_ms\":5,"
			    "\"cpu_ms\":7,\"net\":null,\"id\":7}\n");
	assert_string_equal(ask(fd, "{\"do\":\"pause\",\"x\":[1]}\n"),
			    "{\"ok\":true}\n");
	assert_string_equal(ask(fd, "{\"do\":\"pause\",\"id\":\"a\"}\n"),
			    "{\"ok\":false,\"error\":\"invalid\","
			    "\"text\":\"it is paused\",\"id\":\"a\"}\n");
	assert_non_null(strstr(ask(fd, "{\"do\":\"status\"}\n"),
			       "\"cause\":\"because\\\\x1b[2J\""));
	assert_non_null(strstr(ask(fd, "{\"do\":\"power-button\"}\n"),
			       "\"error\":\"unsupported\""));
	assert_non_null(strstr(ask(fd, "{\"do\":\"fly\\u001b\"}\n"),
			       "unknown request 'fly\\\\x1b'"));
	assert_non_null(strstr(ask(fd, "{}\n"), "without a 'do'"));
	assert_non_null(strstr(ask(fd, "{\"do\":1}\n"), "without a 'do'"));
	assert_non_null(
		strstr(ask(fd, "{\"do\":\"pause\",\"id\":[]}\n"), "an id is"));
	assert_string_equal(
		ask(fd, "{\"do\":\"balloon\",\"target_bytes\":1048000}\n"),
		"{\"ok\":true}\n");
	assert_non_null(strstr(ask(fd, "{\"do\":\"status\"}\n"),
			       "\"balloon_bytes\":576,"));
	assert_non_null(
		strstr(ask(fd, "{\"do\":\"balloon\",\"target_bytes\":0}\n"),
		       "without a 'target_bytes'"));
	assert_non_null(
		strstr(ask(fd, "{\"do\":\"balloon\",\"target_bytes\":\"1\"}\n"),
		       "without a 'target_bytes'"));
	assert_non_null(strstr(ask(fd, "{\"do\":\"balloon\"}\n"),
			       "without a 'target_bytes'"));
	assert_non_null(strstr(
		ask(fd, "{\"do\":\"balloon\",\"target_bytes\":1048577}\n"),
		"more than there is"));
	/* Two at once, and one in two pieces. */
	say(fd, "{\"do\":\"resume\",\"id\":1}\n{\"do\":\"reset\",\"id\":2}\n{");
	assert_string_equal(get_line(fd), "{\"ok\":true,\"id\":1}\n");
	assert_string_equal(get_line(fd), "{\"ok\":true,\"id\":2}\n");
	assert_string_equal(ask(fd, "\"do\":\"stop\"}\n"), "{\"ok\":true}\n");
	pthread_join(fixture->thread, NULL);
	assert_int_equal(fixture->stops, 1);
	close(fd);
	fixture_free(fixture);
}

static void test_events(void **state)
{
	struct fixture *fixture = control_fixture();
	int watcher = connect_to(fixture), other = connect_to(fixture);

	(void)state;
	get_line(watcher);
	get_line(other);
	assert_string_equal(ask(watcher, "{\"do\":\"events\"}\n"),
			    "{\"ok\":true}\n");
	assert_string_equal(ask(other, "{\"do\":\"pause\"}\n"),
			    "{\"ok\":true}\n");
	assert_string_equal(get_line(watcher),
			    "{\"event\":\"state\",\"state\":\"paused\","
			    "\"text\":\"asked\"}\n");
	/* Who did not ask gets none. */
	assert_non_null(strstr(ask(other, "{\"do\":\"status\"}\n"), "paused"));
	close(watcher);
	close(other);
	stop_loop(fixture);
	fixture_free(fixture);
}

/* By the loop's thread, as the machine does. */
static void on_paused(struct loop_work *work)
{
	struct fixture *fixture = container_of(work, struct fixture, work);

	fixture->state = 1;
	control_answer(fixture->control, 0, NULL);
}

/* A pause that takes its time holds up who asked for it, and nobody else. */
static void test_a_pause_that_waits(void **state)
{
	struct fixture *fixture = control_fixture();
	int first = connect_to(fixture), second = connect_to(fixture);
	int third = connect_to(fixture);
	char byte;

	(void)state;
	fixture->slow = true;
	fixture->work.run = on_paused;
	get_line(first);
	get_line(second);
	get_line(third);
	/* What stands behind it is not looked at before it is done. */
	say(first, "{\"do\":\"pause\",\"id\":1}\n"
		   "{\"do\":\"status\",\"id\":2}\n{\"do\":");
	say(second, "{\"do\":\"pause\"}\n");
	for (int i = 0; i < 100 || fixture->begun < 2; i++)
		assert_non_null(strstr(ask(third, "{\"do\":\"status\"}\n"),
				       "\"running\""));
	assert_int_equal(recv(first, &byte, 1, MSG_DONTWAIT), -1);
	/* One that leaves takes nothing with it. */
	close(second);
	assert_non_null(
		strstr(ask(third, "{\"do\":\"status\"}\n"), "\"running\""));
	loop_post(fixture->loop, &fixture->work);
	assert_string_equal(get_line(first), "{\"ok\":true,\"id\":1}\n");
	assert_non_null(strstr(get_line(first), "\"paused\""));
	assert_non_null(strstr(ask(first, "\"status\"}\n"), "\"paused\""));
	/* Taken back by another. */
	fixture->state = 0;
	say(first, "{\"do\":\"pause\",\"id\":\"x\"}\n");
	while (fixture->begun < 3)
		ask(third, "{\"do\":\"status\"}\n");
	assert_string_equal(ask(third, "{\"do\":\"resume\"}\n"),
			    "{\"ok\":true}\n");
	assert_string_equal(get_line(first),
			    "{\"ok\":false,\"error\":\"invalid\","
			    "\"text\":\"it runs\",\"id\":\"x\"}\n");
	/* The end finds one that waits; and what it sent is no message. */
	say(first, "{\"do\":\"pause\"}\n[]\n");
	while (fixture->begun < 4)
		ask(third, "{\"do\":\"status\"}\n");
	loop_post(fixture->loop, &fixture->work);
	assert_string_equal(get_line(first), "{\"ok\":true}\n");
	assert_string_equal(get_line(first), "");
	fixture->state = 0;
	say(third, "{\"do\":\"pause\",\"id\":4}\n");
	close(first);
	stop_loop(fixture);
	fixture_free(fixture);
	assert_string_equal(get_line(third), "");
	close(third);
}

static void test_no_message_ends_the_connection(void **state)
{
	static const char *const bad[] = { "[]\n", "x\n", "\n",
					   "{\"do\":\"pause\",\"do\":1}\n",
					   "{\"do\":\"\xff\"}\n" };
	struct fixture *fixture = control_fixture();
	char *flood = calloc(1, 9000);

	(void)state;
	assert_non_null(flood);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = connect_to(fixture);

		get_line(fd);
		assert_string_equal(ask(fd, bad[i]), "");
		close(fd);
	}
	memset(flood, ' ', 8999);
	for (int i = 0; i < 3; i++) {
		int fd = connect_to(fixture);

		get_line(fd);
		assert_string_equal(ask(fd, flood), "");
		close(fd);
	}
	assert_int_equal(fixture->state, 0);
	free(flood);
	stop_loop(fixture);
	fixture_free(fixture);
}

/* One asks and never reads; it stalls nobody, and costs a bounded buffer. */
static void test_who_does_not_read(void **state)
{
	struct fixture *fixture = control_fixture();
	int deaf = connect_to(fixture), fd = connect_to(fixture);
	ssize_t n = 0;
	size_t sent = 0;

	(void)state;
	get_line(fd);
	while (n >= 0 && sent < (8u << 20)) {
		n = send(deaf, "{\"do\":\"status\"}\n", 16,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			sent += (size_t)n;
	}
	/* It was stopped by what it does not read, not by our patience. */
	assert_true(sent < (8u << 20));
	assert_non_null(strstr(ask(fd, "{\"do\":\"status\"}\n"), "running"));
	close(deaf);
	assert_non_null(strstr(ask(fd, "{\"do\":\"status\"}\n"), "running"));
	close(fd);
	stop_loop(fixture);
	fixture_free(fixture);
}

static void test_one_peer_too_many(void **state)
{
	struct fixture *fixture = control_fixture();
	int fds[CONTROL_PEERS_MAX + 1];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = connect_to(fixture);
		assert_int_equal(*get_line(fds[i]) != 0, i < CONTROL_PEERS_MAX);
	}
	/* One goes, another comes; that it went is seen a little later. */
	close(fds[0]);
	for (;;) {
		int fd = connect_to(fixture);
		bool greeted = *get_line(fd) != 0;

		close(fd);
		if (greeted)
			break;
	}
	for (unsigned i = 1; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	stop_loop(fixture);
	fixture_free(fixture);
}

/* ---- console ---- */

static size_t type(void *arg, const void *data, size_t size)
{
	struct fixture *fixture = arg;
	size_t n;

	pthread_mutex_lock(&fixture->lock);
	n = min_u64(size, fixture->typed_max - fixture->typed_size);
	memcpy(fixture->typed + fixture->typed_size, data, n);
	fixture->typed_size += n;
	pthread_mutex_unlock(&fixture->lock);
	return n;
}

static struct fixture *console_fixture(int log)
{
	struct fixture *fixture = fixture_new();
	struct console_options options = {
		.listener = listen_somewhere(fixture),
		.log = log,
		.input = type,
		.arg = fixture,
	};

	assert_int_equal(
		console_new(&fixture->console, fixture->loop, &options, NULL),
		0);
	start_loop(fixture);
	return fixture;
}

static void get_exactly(int fd, void *data, size_t size)
{
	assert_int_equal(recv(fd, data, size, MSG_WAITALL), (ssize_t)size);
}

/* No descriptor is left for who connects: he waits, nothing spins, the others
 * are served. */
static void test_no_descriptor_left(void **state)
{
	struct fixture *fixture = control_fixture();
	int first = connect_to(fixture), late;
	struct starved starved;

	(void)state;
	get_line(first);
	late = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(late >= 0);
	starved_begin(&starved);
	assert_int_equal(connect(late, (struct sockaddr *)&fixture->address,
				 fixture->address_size),
			 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_string_equal(ask(first, "{\"do\":\"resume\"}\n"),
				    "{\"ok\":true}\n");
		assert_true(starved_await_sleep(&starved));
	}
	starved_end(&starved);
	assert_non_null(strstr(get_line(late), "machine-control"));
	close(first);
	close(late);
	stop_loop(fixture);
	fixture_free(fixture);
}

static void test_console_tail_and_log(void **state)
{
	int log = memfd_create("log", MFD_CLOEXEC), copy = dup(log);
	struct fixture *fixture = console_fixture(log);
	uint8_t line[1000], *tail = malloc(CONSOLE_TAIL_SIZE);
	int first = connect_to(fixture), second;

	(void)state;
	assert_non_null(tail);
	for (unsigned i = 0; i < 2000; i++) {
		memset(line, (int)('a' + i % 26), sizeof(line));
		console_put(fixture->console, line, sizeof(line));
		get_exactly(first, line, sizeof(line));
		assert_int_equal(line[999], 'a' + i % 26);
	}
	second = connect_to(fixture);
	get_exactly(second, tail, CONSOLE_TAIL_SIZE);
	assert_int_equal(tail[CONSOLE_TAIL_SIZE - 1], 'a' + 1999 % 26);
	assert_int_equal(tail[CONSOLE_TAIL_SIZE - 1001], 'a' + 1998 % 26);
	stop_loop(fixture);
	console_free(fixture->console);
	fixture->console = NULL;
	assert_in_range(lseek(copy, 0, SEEK_END), CONSOLE_LOG_MAX / 2,
			CONSOLE_LOG_MAX);
	assert_int_equal(pread(copy, line, 1, lseek(copy, 0, SEEK_END) - 1), 1);
	assert_int_equal(line[0], 'a' + 1999 % 26);
	close(first);
	close(second);
	close(copy);
	free(tail);
	fixture_free(fixture);
}

/* More than a deaf viewer may leave unread: it goes, the other one stays. */
static void test_console_deaf_viewer(void **state)
{
	struct fixture *fixture = console_fixture(-1);
	int deaf = connect_to(fixture), fd = connect_to(fixture);
	uint8_t block[4096];
	ssize_t n;

	(void)state;
	memset(block, 'x', sizeof(block));
	for (unsigned i = 0; i < 2048; i++) {
		console_put(fixture->console, block, sizeof(block));
		get_exactly(fd, block, sizeof(block));
	}
	do
		n = recv(deaf, block, sizeof(block), 0);
	while (n > 0);
	assert_int_equal(n, 0);
	close(deaf);
	close(fd);
	stop_loop(fixture);
	fixture_free(fixture);
}

/* Who types and leaves is heard all the same; who types without end waits. */
static void test_console_typed_and_gone(void **state)
{
	struct fixture *fixture = console_fixture(-1);
	int fd = connect_to(fixture);
	char *much = malloc(60000);
	size_t size = 0;

	(void)state;
	assert_non_null(much);
	memset(much, 'm', 60000);
	fixture->typed_max = 0;
	say(fd, "bye");
	close(fd);
	fd = connect_to(fixture);
	assert_int_equal(send(fd, much, 60000, MSG_NOSIGNAL), 60000);
	while (size < 60003) {
		pthread_mutex_lock(&fixture->lock);
		size = fixture->typed_size;
		if (size == fixture->typed_max)
			fixture->typed_max += 977;
		pthread_mutex_unlock(&fixture->lock);
		console_input_ready(fixture->console);
	}
	assert_memory_equal(fixture->typed, "byemmm", 6);
	assert_memory_equal(fixture->typed + 3, much, 60000);
	free(much);
	close(fd);
	stop_loop(fixture);
	fixture_free(fixture);
}

static void test_console_input_waits(void **state)
{
	struct fixture *fixture = console_fixture(-1);
	int fd = connect_to(fixture);
	size_t size = 0;

	(void)state;
	fixture->typed_max = 3;
	say(fd, "hello");
	while (size < 5) {
		pthread_mutex_lock(&fixture->lock);
		size = fixture->typed_size;
		/* The guest takes one more at a time. */
		if (size == fixture->typed_max)
			fixture->typed_max++;
		pthread_mutex_unlock(&fixture->lock);
		console_input_ready(fixture->console);
	}
	assert_memory_equal(fixture->typed, "hello", 5);
	say(fd, "!");
	while (size < 6) {
		pthread_mutex_lock(&fixture->lock);
		fixture->typed_max = 10;
		size = fixture->typed_size;
		pthread_mutex_unlock(&fixture->lock);
		console_input_ready(fixture->console);
	}
	assert_memory_equal(fixture->typed, "hello!", 6);
	close(fd);
	stop_loop(fixture);
	fixture_free(fixture);
}

/* Faster than the loop takes it: the guest never waits. */
static void test_console_overflow(void **state)
{
	struct fixture *fixture = fixture_new();
	struct console_options options = {
		.listener = -1,
		.log = memfd_create("log", MFD_CLOEXEC),
		.input = type,
		.arg = fixture,
	};
	int copy = dup(options.log);
	char end[40] = "";
	off_t size;
	uint8_t *block = calloc(1, 300000);

	(void)state;
	assert_non_null(block);
	assert_int_equal(
		console_new(&fixture->console, fixture->loop, &options, NULL),
		0);
	console_put(fixture->console, block, 300000);
	console_free(fixture->console);
	fixture->console = NULL;
	size = lseek(copy, 0, SEEK_END);
	assert_int_equal(pread(copy, end, 28, size - 28), 28);
	assert_string_equal(end, "\r\n[vmsnap: output dropped]\r\n");
	assert_int_equal(size, 256 * 1024 + 28);
	close(copy);
	free(block);
	fixture_free(fixture);
}

static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER;

/* In place of the library's: a disk that hangs while a test says so. */
ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	pthread_mutex_lock(&disk);
	pthread_mutex_unlock(&disk);
	return syscall(SYS_pwrite64, fd, data, size, at);
}

/* Viewers are served, and the log has later what there was room for. */
static void test_console_log_hangs(void **state)
{
	int log = memfd_create("log", MFD_CLOEXEC), copy = dup(log);
	struct fixture *fixture = console_fixture(log);
	int fd = connect_to(fixture);
	char line[1000], end[40] = "";
	off_t size;

	(void)state;
	pthread_mutex_lock(&disk);
	for (unsigned i = 0; i < 3000; i++) {
		memset(line, (int)('a' + i % 26), sizeof(line));
		console_put(fixture->console, line, sizeof(line));
		get_exactly(fd, line, sizeof(line));
		assert_int_equal(line[999], 'a' + i % 26);
	}
	pthread_mutex_unlock(&disk);
	stop_loop(fixture);
	console_free(fixture->console);
	fixture->console = NULL;
	size = lseek(copy, 0, SEEK_END);
	assert_in_range(size, CONSOLE_LOG_MAX / 2, CONSOLE_LOG_MAX);
	assert_int_equal(pread(copy, end, 28, size - 28), 28);
	assert_string_equal(end, "\r\n[vmsnap: output dropped]\r\n");
	close(fd);
	close(copy);
	fixture_free(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_a_pause_that_waits),
		cmocka_unit_test(test_no_message_ends_the_connection),
		cmocka_unit_test(test_who_does_not_read),
		cmocka_unit_test(test_one_peer_too_many),
		cmocka_unit_test(test_no_descriptor_left),
		cmocka_unit_test(test_console_tail_and_log),
		cmocka_unit_test(test_console_deaf_viewer),
		cmocka_unit_test(test_console_typed_and_gone),
		cmocka_unit_test(test_console_input_waits),
		cmocka_unit_test(test_console_overflow),
		cmocka_unit_test(test_console_log_hangs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
