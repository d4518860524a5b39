/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine asks for at the control socket: this user's own commands. */
#include <errno.h>
#include <string.h>

#include "vmsnap/keeper/server_private.h"

static bool is_agent(const struct peer *peer)
{
	return peer->granted && peer->session.side == KEEPER_FOR_AGENTS;
}

static unsigned count_agents(const struct server *server, unsigned *machines)
{
	unsigned agents = 0;

	*machines = 0;
	for (const struct peer *peer = server->peers; peer; peer = peer->next) {
		const struct peer *before = server->peers;

		if (!is_agent(peer))
			continue;
		agents++;
		while (before != peer &&
		       strcmp(before->machine, peer->machine) != 0)
			before = before->next;
		*machines += before == peer;
	}
	return agents;
}

static void get_status(struct server *server, struct keeper_status *out)
{
	struct chunk_cache_totals totals;
	unsigned machines;

	chunk_cache_totals(server->cache->chunks, &totals);
	*out = (struct keeper_status){
		.process = (uint64_t)getpid(),
		.watcher = server->options->watcher,
		.agents = count_agents(server, &machines),
		.served_bytes = atomic_load(&server->served_bytes),
		.served_reads = atomic_load(&server->served_reads),
		.failed_reads = atomic_load(&server->failed_reads),
		.cache_hits = totals.hits,
		.cache_fetches = totals.fetches,
		.cache_bytes = totals.held_bytes,
		.uptime_ms = server_now_ms() - server->began_ms,
		.start = server->options->start,
	};
	out->machines = machines;
}

static int make_grant(struct peer *peer,
		      const struct keeper_grant_request *request,
		      uint8_t out[KEEPER_GRANT_SIZE], struct err *err)
{
	struct server *server = peer->server;
	struct store *store = vms_store(server->options->vms);
	struct keeper_grant grant = {
		.chunk_log2 = request->chunk_log2,
		.size_bytes = request->size_bytes,
		.store = store_config(store)->store,
		.root = request->root,
	};

	memcpy(grant.machine, request->machine, sizeof(grant.machine));
	/* An agent will come with it. */
	server->idle_since_ms = server_now_ms();
	peer->granted = true;
	return keeper_grant_make(&grant, store_masters(store), out, err);
}

/* By an agent, or by who is starting one. */
static bool is_used(const struct server *server)
{
	for (const struct peer *peer = server->peers; peer; peer = peer->next) {
		if (peer->granted)
			return true;
	}
	return false;
}

static int stop(struct server *server, bool force)
{
	if (!force && is_used(server))
		return -EBUSY;
	server->stopping = true;
	loop_stop(server->loop);
	return 0;
}

void engine_take(struct peer *peer, const struct keeper_message *message)
{
	struct server *server = peer->server;
	struct keeper_message reply = { .type = message->type,
					.is_reply = true,
					.id = message->id };
	struct keeper_welcome *welcome = &reply.u.welcome;
	int r = 0;

	switch (message->type) {
	case KEEPER_HELLO:
		welcome->requests_max = KEEPER_REQUESTS_MAX;
		memcpy(welcome->store,
		       store_config(vms_store(server->options->vms))->store.b,
		       STORE_ID_SIZE);
		break;
	case KEEPER_STATUS:
		get_status(server, &reply.u.status);
		break;
	case KEEPER_GRANT:
		r = make_grant(peer, &message->u.grant_request, reply.u.grant,
			       NULL);
		break;
	case KEEPER_STOP:
		r = stop(server, message->u.stop_by_force);
		break;
	case KEEPER_OPEN:
	case KEEPER_READ:
	case KEEPER_EXTENT:
		r = -EINVAL; /* never: the session lets none through */
		break;
	}
	reply.result = keeper_result_of(r);
	peer_reply(peer, &reply);
}
