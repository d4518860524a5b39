/* SPDX-License-Identifier: Apache-2.0 */
/* The engine at a keeper's control socket: one question, one answer. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "vmsnap/keeper/home.h"
#include "vmsnap/keeper/socket.h"

struct vms_keeper {
	int directory, fd;
	uint64_t patience_ms;
	const struct vms_progress *progress;
	uint8_t store[VMS_STORE_ID_SIZE];
	char agents[PATH_MAX];
};

static int no_answer(struct err *err)
{
	return err_set(err, -ETIMEDOUT,
		       "the keeper of the store does not answer: 'vmsnap "
		       "keeper stop --force' ends it");
}

static int wait_reply(struct vms_keeper *keeper, struct err *err)
{
	int64_t end =
		time_monotonic_ns() + (int64_t)keeper->patience_ms * 1000000;

	for (;;) {
		int64_t left = (end - time_monotonic_ns()) / 1000000;
		int r = progress_wait(keeper->progress, keeper->fd, left, err);

		if (r)
			return r < 0 ? r : 0;
		if (left <= 0)
			return no_answer(err);
	}
}

static int ask(struct vms_keeper *keeper, const struct keeper_message *request,
	       struct keeper_message *reply, struct err *err)
{
	struct keeper_packet_in packet;
	int r = keeper_send(keeper->fd, request, -1);

	if (!r)
		r = wait_reply(keeper, err);
	if (r == -ETIMEDOUT || r == -ECANCELED)
		return r;
	if (r || keeper_receive(keeper->fd, &packet) != 1)
		return err_set(err, -ECONNRESET, "the keeper has ended");
	autofd_run(&packet.descriptor);
	r = keeper_get(packet.data, packet.size, reply, err);
	if (!r && (!reply->is_reply || reply->type != request->type))
		r = err_set(err, -EBADMSG, "the keeper answers something else");
	return r;
}

static int greet(struct vms_keeper *keeper, const uint8_t *store,
		 struct err *err)
{
	struct keeper_message hello = { .type = KEEPER_HELLO }, reply;
	int r = ask(keeper, &hello, &reply, err);

	if (!r && memcmp(reply.u.welcome.store, store, VMS_STORE_ID_SIZE) != 0)
		r = err_set(err, -ESTALE, "the keeper is another store's");
	return r;
}

static bool is_nobody(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET;
}

int vms_keeper_open(struct vms_keeper **out, const char *home,
		    const uint8_t store[VMS_STORE_ID_SIZE],
		    uint64_t patience_ms, const struct vms_progress *progress,
		    struct err *err)
{
	struct vms_keeper *keeper = NULL;
	int r = alloc_array(&keeper, 1, sizeof(*keeper), err);

	if (r)
		return r;
	keeper->fd = -1;
	keeper->patience_ms = patience_ms;
	keeper->progress = progress;
	memcpy(keeper->store, store, sizeof(keeper->store));
	r = keeper_home_path(home, store, KEEPER_AGENTS, keeper->agents, err);
	keeper->directory = r ? -1 : keeper_home_open(home, store, false, err);
	if (!r)
		r = keeper->directory;
	if (r >= 0)
		r = keeper->fd =
			keeper_connect(keeper->directory, KEEPER_CONTROL, err);
	if (r >= 0)
		r = greet(keeper, store, err);
	if (r) {
		vms_keeper_close(keeper);
		return is_nobody(r) ? err_set(err, -ESRCH,
					      "no keeper runs for the store")
				    : r;
	}
	*out = keeper;
	return 0;
}

void vms_keeper_close(struct vms_keeper *keeper)
{
	if (!keeper)
		return;
	if (keeper->fd >= 0)
		close(keeper->fd);
	if (keeper->directory >= 0)
		close(keeper->directory);
	free(keeper);
}

const uint8_t *vms_keeper_store(const struct vms_keeper *keeper)
{
	return keeper->store;
}

const char *vms_keeper_agents(const struct vms_keeper *keeper)
{
	return keeper->agents;
}

int vms_keeper_grant(struct vms_keeper *keeper, const char *machine,
		     const struct image_base_info *base,
		     uint8_t grant[VMS_KEEPER_GRANT_SIZE], struct err *err)
{
	struct keeper_message request = { .type = KEEPER_GRANT }, reply;
	struct keeper_grant_request *wanted = &request.u.grant_request;
	int r = vms_machine_check_name(machine, err);

	if (!r &&
	    memcmp(base->store_id, keeper->store, sizeof(keeper->store)) != 0)
		r = err_set(err, -EINVAL,
			    "it stands on a disk of another store");
	if (r)
		return r;
	wanted->chunk_log2 = base->chunk_log2;
	wanted->size_bytes = base->size_bytes;
	memcpy(wanted->root.b, base->root, ID_SIZE);
	memcpy(wanted->machine, machine, strlen(machine));
	r = ask(keeper, &request, &reply, err);
	if (r)
		return r;
	if (reply.result != KEEPER_DONE)
		return err_set(err, keeper_code(reply.result),
			       "the keeper gives no grant for its base");
	memcpy(grant, reply.u.grant, VMS_KEEPER_GRANT_SIZE);
	return 0;
}

int vms_keeper_status(struct vms_keeper *keeper, struct vms_keeper_status *out,
		      struct err *err)
{
	struct keeper_message request = { .type = KEEPER_STATUS }, reply;
	const struct keeper_status *status = &reply.u.status;
	int r = ask(keeper, &request, &reply, err);

	if (r)
		return r;
	*out = (struct vms_keeper_status){
		.process = status->process,
		.watcher = status->watcher,
		.agents = status->agents,
		.machines = status->machines,
		.served_bytes = status->served_bytes,
		.served_reads = status->served_reads,
		.failed_reads = status->failed_reads,
		.cache_hits = status->cache_hits,
		.cache_fetches = status->cache_fetches,
		.cache_bytes = status->cache_bytes,
		.uptime_ms = status->uptime_ms,
		.start = status->start,
	};
	return 0;
}

int vms_keeper_stop(struct vms_keeper *keeper, bool force, struct err *err)
{
	struct keeper_message request = { .type = KEEPER_STOP }, reply;
	int r;

	request.u.stop_by_force = force;
	r = ask(keeper, &request, &reply, err);
	if (!r && reply.result == KEEPER_BUSY)
		r = err_set(err, -EBUSY,
			    "machines use the keeper: stop them, or --force: "
			    "they wait then until another one is started");
	return r;
}

int vms_keeper_wait(const char *home, const uint8_t store[VMS_STORE_ID_SIZE],
		    uint64_t timeout_ms, struct err *err)
{
	const int64_t end = time_monotonic_ns() + (int64_t)timeout_ms * 1000000;
	const struct timespec a_while = { 0, 10000000 };
	autofd int directory = keeper_home_open(home, store, false, err);

	while (directory >= 0) {
		int r = machine_is_locked(directory, err);

		if (r <= 0)
			return r;
		if (time_monotonic_ns() > end)
			return err_set(err, -ETIMEDOUT,
				       "the keeper does not end");
		nanosleep(&a_while, NULL);
	}
	return directory == -ENOENT ? 0 : directory;
}

int vms_keeper_kill(const char *home, const uint8_t store[VMS_STORE_ID_SIZE],
		    struct err *err)
{
	autofd int directory = keeper_home_open(home, store, false, err);

	int r, r2;

	if (directory == -ENOENT)
		return err_set(err, -ESRCH, "no keeper runs for the store");
	if (directory < 0)
		return directory;
	/* What starts the server again goes first. */
	r = keeper_process_kill(directory, "keeper.pid", err);
	r2 = keeper_process_kill(directory, "server.pid", err);
	return r && r2 ? r2 : 0;
}
