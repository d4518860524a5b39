/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent asks for. A volume is opened at once, which takes no I/O, and
 * what lies in the cache is read at once; all else goes to the workers. Bytes
 * pass through a buffer of the keeper's own, because the area is the agent's to
 * change at any time.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "vmsnap/keeper/server_private.h"
#include "vmsnap/keeper/transfer.h"

#define PIECE (64u << 10)

struct request {
	struct fair_job job;
	struct peer *peer;
	struct keeper_message message;
};

void peer_reply(struct peer *peer, const struct keeper_message *reply)
{
	keeper_session_done(&peer->session);
	/* No room: it does not take its replies. The loop sees the end. */
	if (keeper_send(peer->watch.fd, reply, -1))
		shutdown(peer->watch.fd, SHUT_RDWR);
}

static struct keeper_message reply_to(const struct keeper_message *request)
{
	struct keeper_message reply;

	memset(&reply, 0, sizeof(reply));
	reply.type = request->type;
	reply.id = request->id;
	reply.is_reply = true;
	return reply;
}

/* ---- by a worker ---- */

static int serve_read(struct peer *peer, const struct keeper_read *read,
		      struct err *err)
{
	struct vms_reader *reader = peer->volumes[read->volume].reader;
	uint64_t to = (uint64_t)read->slot * peer->session.slot_bytes;
	uint8_t buffer[PIECE];
	int r = 0;

	for (uint32_t at = 0; !r && at < read->length; at += PIECE) {
		size_t size = min_u64(read->length - at, PIECE);

		r = vms_reader_read(reader, buffer, size, read->offset + at,
				    err);
		if (!r && transfer_write(peer->transfer, to + at, buffer, size))
			r = err_set(err, -ENOMEM, "no room in its memory");
	}
	return r;
}

static void count_read(struct peer *peer, const struct keeper_read *read, int r,
		       const struct err *err)
{
	struct server *server = peer->server;

	if (!r) {
		atomic_fetch_add(&server->served_reads, 1);
		atomic_fetch_add(&server->served_bytes, read->length);
		return;
	}
	atomic_fetch_add(&server->failed_reads, 1);
	if (server_may_tell(server))
		server_log(server, "machine '%s': %s", peer->machine,
			   err->text);
}

static void serve_extent(struct peer *peer, const struct keeper_extent *extent,
			 struct keeper_message *reply)
{
	struct keeper_extent_reply *out = &reply->u.extent_reply;

	if (vms_reader_extent(peer->volumes[extent->volume].reader,
			      extent->offset, extent->length, &out->is_hole,
			      &out->run, NULL))
		*out = (struct keeper_extent_reply){ .run = extent->length };
}

static void serve(struct fair_job *job)
{
	struct request *request = container_of(job, struct request, job);
	const struct keeper_message *message = &request->message;
	struct keeper_message reply = reply_to(message);
	struct peer *peer = request->peer;
	struct err err = { 0 };
	int r;

	if (message->type == KEEPER_READ) {
		r = serve_read(peer, &message->u.read, &err);
		count_read(peer, &message->u.read, r, &err);
		reply.result = keeper_result_of(r);
	} else {
		serve_extent(peer, &message->u.extent, &reply);
	}
	free(request);
	peer_reply(peer, &reply);
}

void agent_drop(struct fair_job *job)
{
	free(container_of(job, struct request, job));
}

void agent_release(struct peer *peer)
{
	for (unsigned i = 0; i < KEEPER_VOLUMES_MAX; i++) {
		if (peer->volumes[i].base)
			peer->volumes[i].base->close(peer->volumes[i].base);
	}
	if (peer->transfer >= 0)
		close(peer->transfer);
}

/* ---- by the loop ---- */

static unsigned count_machine(const struct server *server, const char *machine)
{
	unsigned count = 0;

	for (const struct peer *peer = server->peers; peer; peer = peer->next)
		count += !strcmp(peer->machine, machine);
	return count;
}

static int check_machine(const struct peer *peer, const char *machine)
{
	if (peer->granted)
		return strcmp(peer->machine, machine) ? -EACCES : 0;
	return count_machine(peer->server, machine) < OF_MACHINE_MAX ? 0
								     : -EBUSY;
}

static int open_volume(struct peer *peer, const struct keeper_open *open,
		       uint64_t *size_bytes, struct err *err)
{
	struct volume_reader *out = &peer->volumes[open->volume];
	struct vms *vms = peer->server->options->vms;
	struct store *store = vms_store(vms);
	struct volume volume = { 0 };
	struct keeper_grant grant;
	int r = keeper_grant_check(open->grant, &store_config(store)->store,
				   store_masters(store), &grant, err);

	if (!r && (r = check_machine(peer, grant.machine)) != 0)
		err_set(err, r, "machine '%s': not in this connection",
			grant.machine);
	if (r)
		return r;
	snprintf(volume.name, sizeof(volume.name), "%s", grant.machine);
	volume.size_bytes = grant.size_bytes;
	volume.chunk_log2 = grant.chunk_log2;
	volume.root = grant.root;
	r = vms_reader_open(&out->reader, vms, peer->server->cache, &volume,
			    err);
	if (!r)
		r = vms_reader_base(&out->base, out->reader, err);
	if (r)
		return r;
	keeper_session_opened(&peer->session, open->volume, grant.size_bytes);
	peer->granted = true;
	memcpy(peer->machine, grant.machine, sizeof(peer->machine));
	*size_bytes = grant.size_bytes;
	return 0;
}

static void take_open(struct peer *peer, const struct keeper_message *message)
{
	struct keeper_message reply = reply_to(message);
	struct err err = { 0 };
	int r = open_volume(peer, &message->u.open, &reply.u.opened_bytes,
			    &err);

	if (r && server_may_tell(peer->server))
		server_log(peer->server, "an agent was refused: %s", err.text);
	reply.result = keeper_result_of(r);
	peer_reply(peer, &reply);
}

static int take_hello(struct peer *peer, const struct keeper_message *message,
		      struct keeper_packet_in *packet, struct err *err)
{
	struct store *store = vms_store(peer->server->options->vms);
	struct keeper_message reply = reply_to(message);
	int r = transfer_check(packet->descriptor,
			       (uint64_t)peer->session.slot_bytes *
				       peer->session.slot_count,
			       err);

	if (r)
		return r;
	peer->transfer = fd_steal(&packet->descriptor);
	reply.u.welcome.requests_max = KEEPER_REQUESTS_MAX;
	memcpy(reply.u.welcome.store, store_config(store)->store.b,
	       STORE_ID_SIZE);
	peer_reply(peer, &reply);
	return 0;
}

/* What lies in the cache is not worth a worker's waking. */
static bool read_at_once(struct peer *peer,
			 const struct keeper_message *message)
{
	const struct keeper_read *read = &message->u.read;
	struct image_base *base = peer->volumes[read->volume].base;
	struct keeper_message reply = reply_to(message);
	uint8_t buffer[PIECE];

	if (read->length > PIECE ||
	    base->try_read(base, buffer, read->length, read->offset) ||
	    transfer_write(peer->transfer,
			   (uint64_t)read->slot * peer->session.slot_bytes,
			   buffer, read->length))
		return false;
	count_read(peer, read, 0, NULL);
	peer_reply(peer, &reply);
	return true;
}

int agent_take(struct peer *peer, const struct keeper_message *message,
	       struct keeper_packet_in *packet, struct err *err)
{
	struct request *request = NULL;
	int r;

	if (message->type == KEEPER_HELLO)
		return take_hello(peer, message, packet, err);
	if (message->type == KEEPER_OPEN) {
		take_open(peer, message);
		return 0;
	}
	if (message->type == KEEPER_READ && read_at_once(peer, message))
		return 0;
	r = alloc_array(&request, 1, sizeof(*request), err);
	if (r)
		return r;
	request->job.run = serve;
	request->peer = peer;
	request->message = *message;
	fair_queue_add(&peer->queue, &request->job);
	return 0;
}
