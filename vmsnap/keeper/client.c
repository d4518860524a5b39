/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request has a slot of the shared memory from its begin to its end, whatever
 * connection it is sent on. Who reads sends it itself; the client's thread
 * receives, connects anew, and then sends again what has no reply yet. So a
 * reply is for a request of this connection, or for none. Each connection has
 * memory of its own: a keeper that hung up may still be writing to the old one.
 */
#include "vmsnap/keeper/client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include "format/base/thread.h"
#include "vmsnap/keeper/grant.h"
#include "vmsnap/keeper/socket.h"
#include "vmsnap/keeper/transfer.h"

#define SLOT_BYTES   (64u << 10)
#define SLOTS        16u
#define AREA_BYTES   ((size_t)SLOT_BYTES * SLOTS)
#define RETRY_MIN_MS 10
#define RETRY_MAX_MS 500

struct slot {
	bool used, done;
	uint64_t id;
	struct keeper_message message; /* the request; then its reply */
	pthread_cond_t changed;
};

struct connection {
	int fd;
	uint8_t *memory; /* AREA_BYTES; NULL: none */
};

enum client_state {
	CLIENT_AWAY,
	CLIENT_READY,
	CLIENT_FAILED, /* for good */
};

struct keeper_client {
	char *folder;
	int directory; /* the same; a descriptor to get there by */
	bool is_there; /* it is the thread's own current folder */
	int wake;
	unsigned volume_count;
	uint8_t grants[KEEPER_VOLUMES_MAX][KEEPER_GRANT_SIZE];
	struct keeper_grant volumes[KEEPER_VOLUMES_MAX];
	pthread_t thread;
	bool has_thread;

	pthread_mutex_t lock; /* guards the rest; a leaf */
	pthread_cond_t slot_free, slot_read, state_changed;
	enum client_state state;
	struct err why; /* of CLIENT_FAILED */
	atomic_bool stopped;
	struct connection now; /* .fd is -1 unless CLIENT_READY */
	uint64_t next_id;
	struct slot slots[SLOTS];
};

/* ---- the connection: the client's thread ---- */

/* 1: `fd` (-1: none) has something; 0: the time is over, or it was stopped. */
static int wait_for(struct keeper_client *client, int fd, int timeout_ms)
{
	struct pollfd fds[2] = { { .fd = client->wake, .events = POLLIN },
				 { .fd = fd, .events = POLLIN } };
	struct timespec time = { timeout_ms / 1000,
				 timeout_ms % 1000 * 1000000L };
	int r;

	do
		r = ppoll(fds, 2, timeout_ms < 0 ? NULL : &time, NULL);
	while (r < 0 && errno == EINTR);
	return r > 0 && fds[1].revents && !atomic_load(&client->stopped);
}

/* The next reply of this connection. */
static int next_reply(struct keeper_client *client, int fd,
		      struct keeper_message *reply)
{
	struct keeper_packet_in packet;

	while (wait_for(client, fd, -1)) {
		int r = keeper_receive(fd, &packet);

		if (r == -EAGAIN)
			continue;
		if (r <= 0)
			break;
		autofd_run(&packet.descriptor);
		r = keeper_get(packet.data, packet.size, reply, NULL);
		return r || !reply->is_reply ? -EPROTO : 0;
	}
	return -ECONNRESET;
}

static int ask(struct keeper_client *client, int fd,
	       const struct keeper_message *request, int descriptor,
	       struct keeper_message *reply)
{
	int r = keeper_send(fd, request, descriptor);

	if (!r)
		r = next_reply(client, fd, reply);
	return !r && reply->type != request->type ? -EPROTO : r;
}

static void connection_end(struct connection *connection)
{
	autofd_run(&connection->fd);
	if (connection->memory)
		munmap(connection->memory, AREA_BYTES);
	*connection = (struct connection){ .fd = -1 };
}

static int map_area(struct connection *connection, int area)
{
	void *memory = mmap(NULL, AREA_BYTES, PROT_READ, MAP_SHARED, area, 0);

	if (memory == MAP_FAILED)
		return -errno;
	connection->memory = memory;
	return 0;
}

/* -ESTALE: another store. */
static int greet(struct keeper_client *client, struct connection *connection)
{
	struct keeper_message hello = { .type = KEEPER_HELLO,
					.u.hello = { SLOT_BYTES, SLOTS, 0 } };
	autofd int area = transfer_make(AREA_BYTES, NULL);
	struct keeper_message reply;
	int r = area < 0 ? area : map_area(connection, area);

	if (!r)
		r = ask(client, connection->fd, &hello, area, &reply);
	if (r)
		return r;
	if (reply.result != KEEPER_DONE || reply.u.welcome.requests_max < SLOTS)
		return -EPROTO;
	return memcmp(reply.u.welcome.store, client->volumes[0].store.b,
		      STORE_ID_SIZE) == 0
		       ? 0
		       : -ESTALE;
}

static int open_volumes(struct keeper_client *client, int fd)
{
	int r = 0;

	for (unsigned i = 0; !r && i < client->volume_count; i++) {
		struct keeper_message request = { .type = KEEPER_OPEN,
						  .id = i };
		struct keeper_message reply;

		request.u.open.volume = i;
		memcpy(request.u.open.grant, client->grants[i],
		       KEEPER_GRANT_SIZE);
		r = ask(client, fd, &request, -1, &reply);
		if (!r)
			r = keeper_code(reply.result);
	}
	return r;
}

static int connect_once(struct keeper_client *client,
			struct connection *connection)
{
	int r;

	*connection = (struct connection){ .fd = -1 };
	r = connection->fd =
		client->is_there
			? keeper_connect_here(KEEPER_AGENT)
			: keeper_connect_path(client->folder, KEEPER_AGENT);
	/* Not a keeper's word: there may be another socket by and by. */
	if (r == -EACCES)
		r = -EPERM;
	if (r >= 0)
		r = greet(client, connection);
	if (!r)
		r = open_volumes(client, connection->fd);
	if (r)
		connection_end(connection);
	return r;
}

/* By the lock. A failure is the connection's end, which the thread will see. */
static void send_slot(struct keeper_client *client, const struct slot *slot)
{
	if (client->state == CLIENT_READY &&
	    keeper_send(client->now.fd, &slot->message, -1))
		shutdown(client->now.fd, SHUT_RDWR);
}

/* By the lock: somebody still takes what the last connection brought. */
static bool is_being_read(const struct keeper_client *client)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		if (client->slots[i].used && client->slots[i].done)
			return true;
	}
	return false;
}

/* Takes the connection over. */
static void be_ready(struct keeper_client *client,
		     const struct connection *connection)
{
	pthread_mutex_lock(&client->lock);
	while (is_being_read(client))
		pthread_cond_wait(&client->slot_read, &client->lock);
	connection_end(&client->now);
	client->now = *connection;
	client->state = CLIENT_READY;
	for (unsigned i = 0; i < SLOTS; i++) {
		if (client->slots[i].used)
			send_slot(client, &client->slots[i]);
	}
	pthread_cond_broadcast(&client->state_changed);
	pthread_mutex_unlock(&client->lock);
}

/* What it brought stays to be read. */
static void be_away(struct keeper_client *client)
{
	pthread_mutex_lock(&client->lock);
	autofd_run(&client->now.fd);
	client->now.fd = -1;
	client->state = CLIENT_AWAY;
	pthread_mutex_unlock(&client->lock);
}

static void wake_all(struct keeper_client *client)
{
	for (unsigned i = 0; i < SLOTS; i++)
		pthread_cond_broadcast(&client->slots[i].changed);
	pthread_cond_broadcast(&client->slot_free);
	pthread_cond_broadcast(&client->state_changed);
}

static void fail(struct keeper_client *client, int code, const char *words)
{
	pthread_mutex_lock(&client->lock);
	client->state = CLIENT_FAILED;
	err_set(&client->why, code, "%s", words);
	wake_all(client);
	pthread_mutex_unlock(&client->lock);
}

static void take_reply(struct keeper_client *client,
		       const struct keeper_message *reply)
{
	pthread_mutex_lock(&client->lock);
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *slot = &client->slots[i];

		if (!slot->used || slot->done || slot->id != reply->id ||
		    slot->message.type != reply->type)
			continue;
		slot->message = *reply;
		slot->done = true;
		pthread_cond_signal(&slot->changed);
		break;
	}
	pthread_mutex_unlock(&client->lock);
}

static void receive_all(struct keeper_client *client, int fd)
{
	struct keeper_message reply;

	while (next_reply(client, fd, &reply) == 0)
		take_reply(client, &reply);
}

static void *client_main(void *arg)
{
	struct keeper_client *client = arg;
	int retry_ms = RETRY_MIN_MS;

	/* No folder above it need be open to whom the agent becomes. */
	client->is_there =
		unshare(CLONE_FS) == 0 && fchdir(client->directory) == 0;
	thread_begin(THREAD_KEEPER);
	while (!atomic_load(&client->stopped)) {
		struct connection connection;
		int r = connect_once(client, &connection);

		if (r == -EACCES || r == -ESTALE) {
			fail(client, r,
			     r == -EACCES
				     ? "the keeper denies what was granted"
				     : "the keeper is one of another store");
			break;
		}
		if (!r) {
			be_ready(client, &connection);
			receive_all(client, connection.fd);
			be_away(client);
			retry_ms = RETRY_MIN_MS;
		}
		if (!atomic_load(&client->stopped))
			(void)wait_for(client, -1, retry_ms);
		retry_ms = (int)min_u64(2 * (uint64_t)retry_ms, RETRY_MAX_MS);
	}
	return NULL;
}

/* ---- requests: any thread ---- */

/* By the lock. */
static struct slot *take_slot(struct keeper_client *client)
{
	while (!atomic_load(&client->stopped) &&
	       client->state != CLIENT_FAILED) {
		for (unsigned i = 0; i < SLOTS; i++) {
			if (!client->slots[i].used)
				return &client->slots[i];
		}
		pthread_cond_wait(&client->slot_free, &client->lock);
	}
	return NULL;
}

/* By the lock. */
static int run_slot(struct keeper_client *client, struct slot *slot)
{
	send_slot(client, slot);
	while (!slot->done && !atomic_load(&client->stopped) &&
	       client->state != CLIENT_FAILED)
		pthread_cond_wait(&slot->changed, &client->lock);
	return slot->done && slot->message.result == KEEPER_DONE ? 0 : -EIO;
}

/*
 * Fills in id and slot; *message becomes the reply. `data` (may be NULL) gets
 * `size` bytes of the slot.
 */
static int request(struct keeper_client *client, struct keeper_message *message,
		   void *data, size_t size)
{
	const uint8_t *from;
	struct slot *slot;
	unsigned number;
	int r;

	pthread_mutex_lock(&client->lock);
	slot = take_slot(client);
	if (!slot) {
		pthread_mutex_unlock(&client->lock);
		return -EIO;
	}
	number = (unsigned)(slot - client->slots);
	if (message->type == KEEPER_READ)
		message->u.read.slot = number;
	message->id = slot->id = client->next_id++;
	slot->message = *message;
	slot->used = true;
	slot->done = false;
	r = run_slot(client, slot);
	*message = slot->message;
	from = client->now.memory + (size_t)number * SLOT_BYTES;
	pthread_mutex_unlock(&client->lock);
	/* A slot that is done keeps its memory mapped. */
	if (!r && data)
		memcpy(data, from, size);
	pthread_mutex_lock(&client->lock);
	/* A keeper may still write to the slot of one that was broken off. */
	if (slot->done) {
		slot->used = false;
		pthread_cond_signal(&client->slot_free);
		pthread_cond_signal(&client->slot_read);
	}
	pthread_mutex_unlock(&client->lock);
	return r;
}

/* ---- as a base ---- */

struct client_base {
	struct image_base base;
	struct keeper_client *client;
	uint32_t volume;
};

static int base_read(struct image_base *base, void *buffer, size_t length,
		     uint64_t offset)
{
	struct client_base *own = container_of(base, struct client_base, base);
	uint8_t *to = buffer;
	int r = 0;

	if (offset > base->size_bytes || length > base->size_bytes - offset)
		return -EINVAL;
	while (!r && length) {
		size_t size = min_u64(length, SLOT_BYTES);
		struct keeper_message message = { .type = KEEPER_READ };

		message.u.read.volume = own->volume;
		message.u.read.offset = offset;
		message.u.read.length = (uint32_t)size;
		r = request(own->client, &message, to, size);
		to += size;
		offset += size;
		length -= size;
	}
	return r;
}

static int base_extent(struct image_base *base, uint64_t offset,
		       uint64_t length, bool *zero, uint64_t *run)
{
	struct client_base *own = container_of(base, struct client_base, base);
	struct keeper_message message = { .type = KEEPER_EXTENT };
	const struct keeper_extent_reply *reply = &message.u.extent_reply;
	int r;

	if (!length || offset > base->size_bytes ||
	    length > base->size_bytes - offset)
		return -EINVAL;
	message.u.extent.volume = own->volume;
	message.u.extent.offset = offset;
	message.u.extent.length = length;
	r = request(own->client, &message, NULL, 0);
	if (r)
		return r;
	if (!reply->run || reply->run > length)
		return -EIO;
	*zero = reply->is_hole;
	*run = reply->run;
	return 0;
}

static void base_close(struct image_base *base)
{
	free(container_of(base, struct client_base, base));
}

int keeper_client_base(struct image_base **out, struct keeper_client *client,
		       const struct image_base_info *info, struct err *err)
{
	struct client_base *own = NULL;
	unsigned i = 0;
	int r;

	while (i < client->volume_count &&
	       (memcmp(client->volumes[i].root.b, info->root, ID_SIZE) != 0 ||
		memcmp(client->volumes[i].store.b, info->store_id,
		       STORE_ID_SIZE) != 0 ||
		client->volumes[i].chunk_log2 != info->chunk_log2 ||
		client->volumes[i].size_bytes != info->size_bytes))
		i++;
	if (i == client->volume_count)
		return err_set(err, -ENOENT,
			       "no keeper has granted the snapshot that it "
			       "stands on");
	r = alloc_array(&own, 1, sizeof(*own), err);
	if (r)
		return r;
	own->client = client;
	own->volume = i;
	own->base = (struct image_base){ .size_bytes = info->size_bytes,
					 .read = base_read,
					 .extent = base_extent,
					 .close = base_close };
	*out = &own->base;
	return 0;
}

/* ---- life ---- */

static int take_grants(struct keeper_client *client,
		       const struct keeper_client_options *options,
		       struct err *err)
{
	client->volume_count = options->grant_count;
	if (!client->volume_count || client->volume_count > KEEPER_VOLUMES_MAX)
		return err_set(err, -EINVAL, "%u grants", client->volume_count);
	for (unsigned i = 0; i < client->volume_count; i++) {
		int r = keeper_grant_read(options->grants[i],
					  &client->volumes[i], err);

		if (!r &&
		    memcmp(&client->volumes[i].store, &client->volumes[0].store,
			   sizeof(client->volumes[i].store)) != 0)
			r = err_set(err, -EINVAL, "grants of several stores");
		if (r)
			return r;
		memcpy(client->grants[i], options->grants[i],
		       KEEPER_GRANT_SIZE);
	}
	return 0;
}

/* Signals are for the program's own threads, but for what it has to answer for
 * itself: a call that a sandbox refuses. */
static int start_thread(struct keeper_client *client, struct err *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&client->thread, NULL, client_main, client);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	client->has_thread = r == 0;
	return r ? thread_failed(err, -r, "a thread") : 0;
}

static int wait_ready(struct keeper_client *client, uint64_t patience_ms,
		      struct err *err)
{
	struct timespec end;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (time_t)div_up(patience_ms, 1000);
	pthread_mutex_lock(&client->lock);
	while (client->state == CLIENT_AWAY && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&client->state_changed,
					   &client->lock, &end);
	r = 0;
	if (client->state == CLIENT_FAILED)
		r = err_set(err, client->why.code, "%s", client->why.text);
	else if (client->state == CLIENT_AWAY)
		r = err_set(err, -ETIMEDOUT,
			    "the keeper of the store does not answer");
	pthread_mutex_unlock(&client->lock);
	return r;
}

static void init_locks(struct keeper_client *client)
{
	pthread_condattr_t monotonic;

	pthread_mutex_init(&client->lock, NULL);
	pthread_cond_init(&client->slot_free, NULL);
	pthread_cond_init(&client->slot_read, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&client->state_changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	for (unsigned i = 0; i < SLOTS; i++)
		pthread_cond_init(&client->slots[i].changed, NULL);
}

int keeper_client_new(struct keeper_client **out,
		      const struct keeper_client_options *options,
		      struct err *err)
{
	struct keeper_client *client = NULL;
	int r = alloc_array(&client, 1, sizeof(*client), err);

	if (r)
		return r;
	client->now.fd = client->directory = -1;
	init_locks(client);
	client->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	client->folder = strdup(options->folder);
	client->directory =
		open(options->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = client->wake < 0 || !client->folder || client->directory < 0
		    ? err_sys(err, -errno, "a keeper's client")
		    : take_grants(client, options, err);
	if (!r)
		r = start_thread(client, err);
	if (!r)
		r = wait_ready(client, options->patience_ms, err);
	if (r) {
		keeper_client_free(client);
		return r;
	}
	*out = client;
	return 0;
}

void keeper_client_stop(struct keeper_client *client)
{
	uint64_t one = 1;

	pthread_mutex_lock(&client->lock);
	atomic_store(&client->stopped, true);
	wake_all(client);
	pthread_mutex_unlock(&client->lock);
	/* Full means that it is awake already. */
	if (client->wake >= 0 && write(client->wake, &one, sizeof(one)) < 0)
		return;
}

void keeper_client_free(struct keeper_client *client)
{
	if (!client)
		return;
	keeper_client_stop(client);
	if (client->has_thread)
		pthread_join(client->thread, NULL);
	connection_end(&client->now);
	autofd_run(&client->wake);
	autofd_run(&client->directory);
	free(client->folder);
	for (unsigned i = 0; i < SLOTS; i++)
		pthread_cond_destroy(&client->slots[i].changed);
	pthread_cond_destroy(&client->state_changed);
	pthread_cond_destroy(&client->slot_read);
	pthread_cond_destroy(&client->slot_free);
	pthread_mutex_destroy(&client->lock);
	free(client);
}
