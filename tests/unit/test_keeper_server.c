/* SPDX-License-Identifier: Apache-2.0 */
/* A keeper's server over a real store: what it serves, whom it refuses, whom it
 * hangs up on, and when it ends. */
#include "tests/unit/keeper_bench.h"

#include <dirent.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/un.h>

#include "tests/rig/starved.h"

static unsigned open_descriptors(void)
{
	DIR *list = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(list);
	while (readdir(list))
		count++;
	closedir(list);
	return count;
}

/* ---- tests ---- */

static void test_reads_by_hand(void **state)
{
	uint8_t grant[KEEPER_GRANT_SIZE], got[65536];
	struct keeper_message request, reply;
	struct bench bench;
	int fd, area;

	bench_open(&bench, state);
	get_grant(&bench, "web", grant);
	fd = call_agents(&bench, &area);
	assert_int_equal(open_grant(fd, 5, grant), KEEPER_DONE);
	/* Four at once, each to its slot, in whatever order they come. */
	for (uint32_t i = 0; i < 4; i++) {
		request = reading(5, i, 65536ull * i + 512, 65536);
		assert_int_equal(keeper_send(fd, &request, -1), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		reply = await_reply(fd);
		assert_int_equal(reply.result, KEEPER_DONE);
		assert_true(reply.id % 65536 == 512);
		assert_int_equal(
			pread(area, got, 65536, (off_t)(reply.id - 512)),
			65536);
		assert_memory_equal(got, bench.want + reply.id, 65536);
	}
	request = reading(5, 1, DISK_BYTES - 1000, 1000);
	assert_int_equal(ask(fd, &request, -1).result, KEEPER_DONE);
	assert_int_equal(pread(area, got, 1000, 65536), 1000);
	assert_true(bytes_are_zero(got, 1000));
	request = (struct keeper_message){ .type = KEEPER_EXTENT };
	request.u.extent = (struct keeper_extent){ 5, 0, DISK_BYTES };
	reply = ask(fd, &request, -1);
	assert_false(reply.u.extent_reply.is_hole);
	assert_true(reply.u.extent_reply.run <= DATA_BYTES);
	request.u.extent.offset = DATA_BYTES;
	request.u.extent.length = DISK_BYTES - DATA_BYTES;
	reply = ask(fd, &request, -1);
	assert_true(reply.u.extent_reply.is_hole);
	assert_true(reply.u.extent_reply.run == DISK_BYTES - DATA_BYTES);
	close(fd);
	close(area);
	bench_stop(&bench);
	bench_close(&bench);
}

static void test_grants_refused(void **state)
{
	uint8_t grant[KEEPER_GRANT_SIZE], other[KEEPER_GRANT_SIZE];
	struct keeper_grant foreign = { .chunk_log2 = 16,
					.size_bytes = DISK_BYTES,
					.machine = "web" };
	struct keeper_message request;
	struct masters masters;
	struct bench bench;
	int fd, area;

	bench_open(&bench, state);
	get_grant(&bench, "web", grant);
	get_grant(&bench, "db", other);
	fd = call_agents(&bench, &area);
	/* Another root, forged; one of another store's keeper. */
	grant[40] ^= 1;
	assert_int_equal(open_grant(fd, 0, grant), KEEPER_DENIED);
	grant[40] ^= 1;
	assert_int_equal(masters_make(&masters, NULL), 0);
	foreign.store = store_config(vms_store(bench.rig->vms))->store;
	foreign.root = bench.snapshot.volumes[0].root;
	{
		uint8_t made[KEEPER_GRANT_SIZE];

		assert_int_equal(
			keeper_grant_make(&foreign, &masters, made, NULL), 0);
		assert_int_equal(open_grant(fd, 0, made), KEEPER_DENIED);
	}
	/* Its own; then one that another machine was given. */
	assert_int_equal(open_grant(fd, 0, grant), KEEPER_DONE);
	assert_int_equal(open_grant(fd, 1, other), KEEPER_DENIED);
	assert_int_equal(open_grant(fd, 1, grant), KEEPER_DONE);
	/* What was refused is not there: who asks for it is hung up on. */
	request = reading(2, 0, 0, 512);
	assert_int_equal(keeper_send(fd, &request, -1), 0);
	assert_hung_up(fd);
	close(area);
	/* Requests of the engine's at the agents' socket. */
	fd = call_agents(&bench, &area);
	request = (struct keeper_message){ .type = KEEPER_GRANT };
	assert_int_equal(keeper_send(fd, &request, -1), 0);
	assert_hung_up(fd);
	close(area);
	bench_stop(&bench);
	bench_close(&bench);
}

static int plain_memfd(size_t size, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void refuse_area(struct bench *bench, int area)
{
	int fd = call(bench, KEEPER_AGENT);

	assert_int_equal(keeper_send(fd, &hello_64k, area), 0);
	assert_hung_up(fd);
	if (area >= 0)
		close(area);
}

static void test_areas_refused(void **state)
{
	const int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct bench bench;
	char path[64];
	int ends[2], fd, area;

	bench_open(&bench, state);
	refuse_area(&bench, -1);
	refuse_area(&bench, plain_memfd(4 * 65536, F_SEAL_GROW | F_SEAL_SEAL));
	refuse_area(&bench,
		    plain_memfd(4 * 65536, F_SEAL_SHRINK | F_SEAL_SEAL));
	refuse_area(&bench,
		    plain_memfd(4 * 65536, F_SEAL_SHRINK | F_SEAL_GROW));
	refuse_area(&bench, plain_memfd(4 * 65536, all | F_SEAL_WRITE));
	refuse_area(&bench, plain_memfd(4 * 65536, all | F_SEAL_FUTURE_WRITE));
	refuse_area(&bench, plain_memfd(4 * 65536 - 1, all));
	refuse_area(&bench, plain_memfd(4 * 65536 + 4096, all));
	refuse_area(&bench, open("/dev/null", O_RDWR | O_CLOEXEC));
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	refuse_area(&bench, ends[1]);
	close(ends[0]);
	/* One that can only be read. */
	area = plain_memfd(4 * 65536, all);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", area);
	refuse_area(&bench, open(path, O_RDONLY | O_CLOEXEC));
	/* And one that is good. */
	fd = call(&bench, KEEPER_AGENT);
	assert_int_equal(ask(fd, &hello_64k, area).result, KEEPER_DONE);
	close(fd);
	close(area);
	bench_stop(&bench);
	bench_close(&bench);
}

/* Two descriptors in one packet, and one where none belongs: none stays. */
static void test_descriptors_refused(void **state)
{
	uint8_t grant[KEEPER_GRANT_SIZE];
	struct keeper_message status = { .type = KEEPER_STATUS };
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} room = { 0 };
	struct keeper_packet packet;
	struct iovec iov = { &packet, sizeof(packet) };
	struct msghdr head = { .msg_iov = &iov,
			       .msg_iovlen = 1,
			       .msg_control = &room,
			       .msg_controllen = sizeof(room) };
	struct bench bench;
	unsigned before;
	int fd, area, control;

	bench_open(&bench, state);
	get_grant(&bench, "web", grant);
	(void)status_of(&bench);
	fd = call_agents(&bench, &area);
	close(fd);
	while (status_of(&bench).agents)
		;
	before = open_descriptors();
	room.head.cmsg_level = SOL_SOCKET;
	room.head.cmsg_type = SCM_RIGHTS;
	room.head.cmsg_len = CMSG_LEN(8 * sizeof(int));
	for (unsigned i = 0; i < 8; i++)
		memcpy(CMSG_DATA(&room.head) + i * sizeof(int), &area,
		       sizeof(area));
	keeper_put(&hello_64k, &packet);
	for (unsigned i = 0; i < 20; i++) {
		fd = call(&bench, KEEPER_AGENT);
		assert_int_equal(sendmsg(fd, &head, 0), sizeof(packet));
		assert_hung_up(fd);
	}
	control = call_control(&bench);
	assert_int_equal(keeper_send(control, &status, area), 0);
	assert_hung_up(control);
	for (unsigned tries = 0; open_descriptors() > before; tries++) {
		if (tries == PATIENCE)
			fail_msg("%u descriptors, and %u before",
				 open_descriptors(), before);
		usleep(1000);
	}
	close(area);
	bench_stop(&bench);
	bench_close(&bench);
}

/* Floods without taking replies; another one is served all the while. */
static void test_floods(void **state)
{
	uint8_t grant[KEEPER_GRANT_SIZE];
	struct keeper_message request, reply;
	struct bench bench;
	int bad, good, area, good_area;
	bool open = true;

	bench_open(&bench, state);
	get_grant(&bench, "web", grant);
	good = call_agents(&bench, &good_area);
	assert_int_equal(open_grant(good, 0, grant), KEEPER_DONE);
	bad = call_agents(&bench, &area);
	assert_int_equal(open_grant(bad, 0, grant), KEEPER_DONE);
	for (uint64_t i = 0; open && i < 1000000; i++) {
		int r;

		request = reading(0, 0, i % 1000 * 512, 512);
		r = keeper_send(bad, &request, -1);
		open = r == 0 || r == -EAGAIN;
		if (i % 1000)
			continue;
		request = reading(0, 1, i % DATA_BYTES / 2, 65536);
		reply = ask(good, &request, -1);
		assert_int_equal(reply.result, KEEPER_DONE);
	}
	assert_false(open);
	close(bad);
	close(area);
	request = reading(0, 1, 0, 65536);
	assert_int_equal(ask(good, &request, -1).result, KEEPER_DONE);
	close(good);
	close(good_area);
	bench_stop(&bench);
	bench_close(&bench);
}

/* Garbage, half packets, nothing: alone with that. */
static void test_garbage(void **state)
{
	uint8_t bytes[1000];
	struct bench bench;
	uint64_t seed = 1;

	bench_open(&bench, state);
	for (unsigned i = 0; i < 200; i++) {
		int fd = call(&bench, i % 2 ? KEEPER_AGENT : KEEPER_CONTROL);

		for (unsigned at = 0; at < sizeof(bytes); at++) {
			seed = seed * 6364136223846793005u + 1;
			bytes[at] = (uint8_t)(seed >> 56);
		}
		assert_true(send(fd, bytes, i * 5, MSG_NOSIGNAL) >= 0);
		assert_hung_up(fd);
	}
	assert_int_equal(status_of(&bench).agents, 0);
	bench_stop(&bench);
	bench_close(&bench);
}

static atomic_uint lines;

static void count_line(void *arg, const char *text)
{
	(void)arg;
	(void)text;
	atomic_fetch_add(&lines, 1);
}

/* What agents do fills no log: garbage, and grants that are none. */
static void test_few_lines(void **state)
{
	uint8_t grant[KEEPER_GRANT_SIZE];
	struct bench bench;
	int fd, area;

	bench_open(&bench, state);
	bench_stop(&bench);
	atomic_store(&lines, 0);
	bench.options.log = count_line;
	bench_start(&bench);
	for (unsigned i = 0; i < 40; i++) {
		fd = call(&bench, KEEPER_AGENT);
		assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
		assert_hung_up(fd);
	}
	assert_int_equal(atomic_load(&lines), 40);
	get_grant(&bench, "web", grant);
	fd = call_agents(&bench, &area);
	grant[40] ^= 1;
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(open_grant(fd, 0, grant), KEEPER_DENIED);
	grant[40] ^= 1;
	assert_int_equal(open_grant(fd, 0, grant), KEEPER_DONE);
	assert_int_equal(atomic_load(&lines), 64);
	for (unsigned i = 0; i < 40; i++) {
		int other = call(&bench, KEEPER_AGENT);

		assert_int_equal(send(other, "x", 1, MSG_NOSIGNAL), 1);
		assert_hung_up(other);
	}
	assert_int_equal(atomic_load(&lines), 64);
	close(fd);
	close(area);
	bench_stop(&bench);
	bench_close(&bench);
}

static void connect_by_name(int fd, const struct bench *bench, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	assert_true(snprintf(address.sun_path, sizeof(address.sun_path),
			     "%s/%s", bench->rig->dir,
			     name) < (int)sizeof(address.sun_path));
	assert_int_equal(
		connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

/* Who connects waits, at both sockets; nothing spins, and the others are
 * served. */
static void test_no_descriptor_left(void **state)
{
	struct keeper_message hello = { .type = KEEPER_HELLO };
	struct keeper_message request = { .type = KEEPER_STATUS };
	struct starved starved;
	struct bench bench;
	int first, engine, agent, area;

	bench_open(&bench, state);
	first = call_control(&bench);
	engine = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	agent = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	area = transfer_make(4 * 65536, NULL);
	assert_true(engine >= 0 && agent >= 0 && area >= 0);
	starved_begin(&starved);
	connect_by_name(engine, &bench, KEEPER_CONTROL);
	connect_by_name(agent, &bench, KEEPER_AGENT);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ask(first, &request, -1).result, KEEPER_DONE);
		assert_true(starved_await_sleep(&starved));
	}
	starved_end(&starved);
	assert_int_equal(ask(engine, &hello, -1).result, KEEPER_DONE);
	assert_int_equal(ask(agent, &hello_64k, area).result, KEEPER_DONE);
	close(first);
	close(engine);
	close(agent);
	close(area);
	bench_stop(&bench);
	bench_close(&bench);
}

static bool is_hung_up(int fd)
{
	uint8_t byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* Those who say nothing keep nobody out: the oldest of them goes. */
static void test_oldest_stranger(void **state)
{
	uint8_t grant[KEEPER_GRANT_SIZE];
	struct bench bench;
	int fds[40], fd, area;
	unsigned gone = 0;

	bench_open(&bench, state);
	get_grant(&bench, "web", grant);
	for (unsigned i = 0; i < 40; i++)
		fds[i] = call(&bench, KEEPER_AGENT);
	fd = call_agents(&bench, &area);
	assert_int_equal(open_grant(fd, 0, grant), KEEPER_DONE);
	/* They were let in in their order, and before. */
	while (gone < 40 && is_hung_up(fds[gone]))
		gone++;
	assert_int_equal(gone, 9);
	for (unsigned i = gone; i < 40; i++)
		assert_false(is_hung_up(fds[i]));
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
	close(fd);
	close(area);
	bench_stop(&bench);
	bench_close(&bench);
}

/* STOP is refused while somebody is about to start a machine: he has its grant,
 * and its agent is not there yet. */
static void test_stop_while_one_starts(void **state)
{
	const struct volume *volume;
	struct keeper_message stop = { .type = KEEPER_STOP };
	struct keeper_message request = { .type = KEEPER_GRANT };
	struct bench bench;
	int starting, fd;

	bench_open(&bench, state);
	volume = &bench.snapshot.volumes[0];
	request.u.grant_request =
		(struct keeper_grant_request){ .chunk_log2 = volume->chunk_log2,
					       .size_bytes = volume->size_bytes,
					       .root = volume->root,
					       .machine = "web" };
	starting = call_control(&bench);
	fd = call_control(&bench);
	assert_int_equal(ask(starting, &request, -1).result, KEEPER_DONE);
	assert_int_equal(ask(fd, &stop, -1).result, KEEPER_BUSY);
	assert_int_equal(status_of(&bench).agents, 0);
	close(starting);
	/* It is seen to before the next connection is. */
	close(call_control(&bench));
	assert_int_equal(ask(fd, &stop, -1).result, KEEPER_DONE);
	close(fd);
	assert_int_equal(join(&bench), 0);
	bench_close(&bench);
}

/* More connections than may be: the ones too many, and not the engine's. */
static void test_crowds(void **state)
{
	uint8_t grant[KEEPER_GRANT_SIZE];
	int fds[40], areas[8], granted[8];
	struct bench bench;
	unsigned busy = 0;

	bench_open(&bench, state);
	get_grant(&bench, "web", grant);
	for (unsigned i = 0; i < 8; i++) {
		granted[i] = call_agents(&bench, &areas[i]);
		busy += open_grant(granted[i], 0, grant) == KEEPER_BUSY;
	}
	assert_int_equal(busy, 4);
	assert_int_equal(status_of(&bench).agents, 4);
	assert_int_equal(status_of(&bench).machines, 1);
	for (unsigned i = 0; i < 40; i++)
		fds[i] = call(&bench, KEEPER_AGENT);
	assert_int_equal(status_of(&bench).agents, 4);
	/* STOP is refused while they are there. */
	{
		struct keeper_message stop = { .type = KEEPER_STOP };
		int fd = call_control(&bench);

		assert_int_equal(ask(fd, &stop, -1).result, KEEPER_BUSY);
		close(fd);
	}
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
	for (unsigned i = 0; i < 8; i++) {
		close(granted[i]);
		close(areas[i]);
	}
	bench_stop(&bench);
	bench_close(&bench);
}

/* The last one has gone: it ends. */
static void test_ends_by_itself(void **state)
{
	struct keeper_message hello = { .type = KEEPER_HELLO };
	struct bench bench;
	int fd;

	bench_open(&bench, state);
	bench_stop(&bench);
	bench.options.grace_ms = 0;
	fd = keeper_connect(bench.directory, KEEPER_CONTROL, NULL);
	assert_true(fd >= 0);
	/* One that waits at the door is let in first. */
	bench_start(&bench);
	assert_int_equal(ask(fd, &hello, -1).result, KEEPER_DONE);
	close(fd);
	assert_int_equal(join(&bench), 0);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_reads_by_hand),
		RIG_TEST(test_grants_refused),
		RIG_TEST(test_areas_refused),
		RIG_TEST(test_descriptors_refused),
		RIG_TEST(test_floods),
		RIG_TEST(test_garbage),
		RIG_TEST(test_few_lines),
		RIG_TEST(test_no_descriptor_left),
		RIG_TEST(test_oldest_stranger),
		RIG_TEST(test_stop_while_one_starts),
		RIG_TEST(test_crowds),
		RIG_TEST(test_ends_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
