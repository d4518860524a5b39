/* SPDX-License-Identifier: Apache-2.0 */
/* A keeper's server in a thread of its own, over a real store with one disk,
 * and peers by hand, for unit tests. */
#ifndef TESTS_UNIT_KEEPER_BENCH_H
#define TESTS_UNIT_KEEPER_BENCH_H

#include "tests/unit/engine_test.h"

#include <pthread.h>
#include <sys/socket.h>

#include "format/store/pack.h"
#include "vmsnap/keeper/grant.h"
#include "vmsnap/keeper/server.h"
#include "vmsnap/keeper/socket.h"
#include "vmsnap/keeper/transfer.h"

#define DISK_BYTES (9u << 20)
#define DATA_BYTES (5u << 20) /* then a hole */
#define PATIENCE   60000

struct bench {
	struct engine_rig *rig;
	struct snapshot snapshot;
	int directory;
	struct keeper_server_options options;
	pthread_t thread;
	int result;
	struct err why;
	uint8_t *want;
};

static inline void *serve(void *arg)
{
	struct bench *bench = arg;

	bench->result = keeper_server_run(&bench->options, &bench->why);
	return NULL;
}

static inline void ok(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->text);
}

static inline void bench_listen(struct bench *bench)
{
	struct err err = { 0 };
	int r;

	r = bench->options.control =
		keeper_listen(bench->directory, KEEPER_CONTROL, 0600, &err);
	ok(r, &err);
	r = bench->options.agents =
		keeper_listen(bench->directory, KEEPER_AGENT, 0666, &err);
	ok(r, &err);
}

static inline void bench_start(struct bench *bench)
{
	assert_int_equal(pthread_create(&bench->thread, NULL, serve, bench), 0);
}

static inline void bench_open(struct bench *bench, void **state)
{
	memset(bench, 0, sizeof(*bench));
	bench->rig = *state;
	engine_rig_disk(bench->rig, "a", DISK_BYTES);
	engine_rig_write(bench->rig, "a", 0, DATA_BYTES, 1);
	engine_rig_backup(bench->rig, "vm", "a", NULL, &bench->snapshot);
	engine_rig_open(bench->rig, STORE_READ, 2);
	bench->options.vms = bench->rig->vms;
	bench->options.grace_ms = PATIENCE;
	bench->directory = open(bench->rig->dir, O_PATH | O_DIRECTORY);
	assert_true(bench->directory >= 0);
	bench->want = calloc(1, DISK_BYTES);
	assert_non_null(bench->want);
	engine_rig_pattern(bench->want, DATA_BYTES, 0, 1);
	bench_listen(bench);
	bench_start(bench);
}

static inline struct keeper_message ask(int fd,
					const struct keeper_message *request,
					int descriptor);

static inline int join(struct bench *bench)
{
	pthread_join(bench->thread, NULL);
	return bench->result;
}

static inline int call(struct bench *bench, const char *socket)
{
	struct err err = { 0 };
	int fd = keeper_connect(bench->directory, socket, &err);

	ok(fd, &err);
	return fd;
}

/* At the control socket, greeted. */
static inline int call_control(struct bench *bench)
{
	struct keeper_message hello = { .type = KEEPER_HELLO };
	int fd = call(bench, KEEPER_CONTROL);

	assert_int_equal(ask(fd, &hello, -1).result, KEEPER_DONE);
	return fd;
}

static inline void bench_stop(struct bench *bench)
{
	struct keeper_message stop = { .type = KEEPER_STOP };
	int fd = call_control(bench);

	stop.u.stop_by_force = true;
	assert_int_equal(ask(fd, &stop, -1).result, KEEPER_DONE);
	close(fd);
	assert_int_equal(join(bench), 0);
}

static inline void bench_unlisten(struct bench *bench)
{
	close(bench->options.control);
	close(bench->options.agents);
}

static inline void bench_close(struct bench *bench)
{
	bench_unlisten(bench);
	close(bench->directory);
	snapshot_release(&bench->snapshot);
	free(bench->want);
}

/* ---- a peer by hand ---- */

static inline struct keeper_message await_reply(int fd)
{
	struct keeper_packet_in packet;
	struct keeper_message reply;
	struct timeval limit = { PATIENCE / 1000, 0 };
	uint8_t look;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	fcntl(fd, F_SETFL, 0);
	assert_true(recv(fd, &look, 1, MSG_PEEK) == 1);
	assert_int_equal(keeper_receive(fd, &packet), 1);
	assert_int_equal(keeper_get(packet.data, packet.size, &reply, NULL), 0);
	return reply;
}

static inline struct keeper_message ask(int fd,
					const struct keeper_message *request,
					int descriptor)
{
	struct keeper_message reply;

	assert_int_equal(keeper_send(fd, request, descriptor), 0);
	reply = await_reply(fd);
	assert_int_equal(reply.type, request->type);
	assert_true(reply.is_reply);
	return reply;
}

/* The server has hung up; what it said before is left aside. */
static inline void assert_hung_up(int fd)
{
	struct timeval limit = { PATIENCE / 1000, 0 };
	uint8_t bytes[300];
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	fcntl(fd, F_SETFL, 0);
	do
		n = recv(fd, bytes, sizeof(bytes), 0);
	while (n > 0);
	if (n < 0)
		assert_int_equal(errno, ECONNRESET);
	close(fd);
}

static inline void get_grant(struct bench *bench, const char *machine,
			     uint8_t grant[KEEPER_GRANT_SIZE])
{
	const struct volume *volume = &bench->snapshot.volumes[0];
	struct keeper_message request = { .type = KEEPER_GRANT }, reply;
	int fd = call_control(bench);

	request.u.grant_request = (struct keeper_grant_request){
		.chunk_log2 = volume->chunk_log2,
		.size_bytes = volume->size_bytes,
		.root = volume->root,
	};
	snprintf(request.u.grant_request.machine,
		 sizeof(request.u.grant_request.machine), "%s", machine);
	reply = ask(fd, &request, -1);
	assert_int_equal(reply.result, KEEPER_DONE);
	memcpy(grant, reply.u.grant, KEEPER_GRANT_SIZE);
	close(fd);
}

static const struct keeper_message hello_64k = {
	.type = KEEPER_HELLO,
	.u.hello = { 65536, 4, 0 },
};

/* At the agents' socket, greeted; its area. */
static inline int call_agents(struct bench *bench, int *area)
{
	struct err err = { 0 };
	int fd = call(bench, KEEPER_AGENT);

	*area = transfer_make(4 * 65536, &err);
	ok(*area, &err);
	assert_int_equal(ask(fd, &hello_64k, *area).result, KEEPER_DONE);
	return fd;
}

static inline enum keeper_result open_grant(
	int fd, uint32_t volume, const uint8_t grant[KEEPER_GRANT_SIZE])
{
	struct keeper_message request = { .type = KEEPER_OPEN };

	request.u.open.volume = volume;
	memcpy(request.u.open.grant, grant, KEEPER_GRANT_SIZE);
	return ask(fd, &request, -1).result;
}

static inline struct keeper_message reading(uint32_t volume, uint32_t slot,
					    uint64_t offset, uint32_t length)
{
	struct keeper_message message = { .type = KEEPER_READ };

	message.id = offset;
	message.u.read = (struct keeper_read){ volume, slot, length, offset };
	return message;
}

static inline struct keeper_status status_of(struct bench *bench)
{
	struct keeper_message request = { .type = KEEPER_STATUS }, reply;
	int fd = call_control(bench);

	reply = ask(fd, &request, -1);
	assert_int_equal(reply.result, KEEPER_DONE);
	close(fd);
	return reply.u.status;
}

#endif
