/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: who connects, what comes in, who is hung up on, and when it is
 * over. It waits for no peer and does no I/O on the store; that is the workers'.
 */
#include "vmsnap/keeper/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "format/base/socket.h"
#include "vmsnap/keeper/server_private.h"

#define TICK_NS 500000000u
#define BATCH   16u /* packets of one peer before the next one's */

uint64_t server_now_ms(void)
{
	return (uint64_t)time_monotonic_ns() / 1000000;
}

void server_log(struct server *server, const char *format, ...)
{
	char text[ERR_TEXT_MAX + 128];
	va_list args;

	if (!server->options->log)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	server->options->log(server->options->arg, text);
}

bool server_may_tell(struct server *server)
{
	return atomic_load(&server->lines) < SERVED_LOG_MAX &&
	       atomic_fetch_add(&server->lines, 1) < SERVED_LOG_MAX;
}

/* ---- peers ---- */

static void peer_closed(struct fair_queue *queue)
{
	struct peer *peer = container_of(queue, struct peer, queue);

	agent_release(peer);
	close(peer->watch.fd);
	free(peer);
}

static void hang_up(struct peer *peer)
{
	struct server *server = peer->server;

	loop_remove(server->loop, &peer->watch);
	*peer->link = peer->next;
	if (peer->next)
		peer->next->link = peer->link;
	server->peer_count--;
	if (peer->granted)
		server->idle_since_ms = server_now_ms();
	/* Also for a worker that is in the middle of it. */
	shutdown(peer->watch.fd, SHUT_RDWR);
	fair_queue_close(&peer->queue, agent_drop);
}

static int take(struct peer *peer, struct keeper_packet_in *packet,
		struct err *err)
{
	struct keeper_message message;
	int r = keeper_session_take(&peer->session, packet->data, packet->size,
				    packet->descriptors, &message, err);

	if (r)
		return r;
	if (peer->session.side == KEEPER_FOR_AGENTS)
		return agent_take(peer, &message, packet, err);
	engine_take(peer, &message);
	return 0;
}

static void on_peer(struct loop_watch *watch, uint32_t events)
{
	struct peer *peer = watch->owner;
	struct keeper_packet_in packet;
	struct err err = { 0 };

	(void)events;
	for (unsigned i = 0; i < BATCH; i++) {
		int r = keeper_receive(watch->fd, &packet);

		if (r == -EAGAIN)
			return;
		if (r > 0) {
			r = take(peer, &packet, &err);
			autofd_run(&packet.descriptor);
			if (!r)
				continue;
			if (server_may_tell(peer->server))
				server_log(peer->server, "hung up: %s",
					   err.text);
		}
		hang_up(peer);
		return;
	}
}

static unsigned count_strangers(const struct server *server)
{
	unsigned count = 0;

	for (const struct peer *peer = server->peers; peer; peer = peer->next)
		count += peer->session.side == KEEPER_FOR_AGENTS &&
			 !peer->granted;
	return count;
}

/* Whoever says who he is does so at once: the one who has waited longest makes
 * room. */
static void end_oldest_stranger(struct server *server)
{
	struct peer *oldest = NULL;

	for (struct peer *peer = server->peers; peer; peer = peer->next) {
		if (peer->session.side == KEEPER_FOR_AGENTS && !peer->granted)
			oldest = peer;
	}
	if (oldest)
		hang_up(oldest);
}

static bool has_room(const struct server *server, enum keeper_side side)
{
	/* The engine gets in also where agents have taken all there is. */
	if (side == KEEPER_FOR_ENGINE)
		return server->peer_count < PEERS_MAX + STRANGERS_MAX;
	return server->peer_count < PEERS_MAX &&
	       count_strangers(server) < STRANGERS_MAX;
}

/* Takes the descriptor over. */
static int add_peer(struct server *server, int fd, enum keeper_side side)
{
	struct peer *peer = NULL;
	int r;

	if (side == KEEPER_FOR_AGENTS &&
	    count_strangers(server) >= STRANGERS_MAX)
		end_oldest_stranger(server);
	r = has_room(server, side) ? alloc_array(&peer, 1, sizeof(*peer), NULL)
				   : -EBUSY;
	if (r) {
		close(fd);
		return r;
	}
	peer->server = server;
	peer->watch = (struct loop_watch){ fd, EPOLLIN, on_peer, peer };
	peer->transfer = -1;
	peer->since_ms = server_now_ms();
	keeper_session_init(&peer->session, side);
	r = loop_add(server->loop, &peer->watch, NULL);
	if (r) {
		close(fd);
		free(peer);
		return r;
	}
	fair_queue_init(&peer->queue, server->pool, WORKERS_A_PEER,
			peer_closed);
	peer->next = server->peers;
	peer->link = &server->peers;
	if (peer->next)
		peer->next->link = &peer->next;
	server->peers = peer;
	server->peer_count++;
	return 0;
}

static void on_control(struct listener *listener, int fd)
{
	struct server *server = container_of(listener, struct server, control);

	if (socket_peer_is_ours(fd))
		(void)add_peer(server, fd, KEEPER_FOR_ENGINE);
	else
		close(fd);
}

/* Whoever was shown the folder; what he may read, his grant says. */
static void on_agents(struct listener *listener, int fd)
{
	struct server *server = container_of(listener, struct server, agents);

	(void)add_peer(server, fd, KEEPER_FOR_AGENTS);
}

/* ---- time ---- */

static void end_strangers(struct server *server, uint64_t now_ms)
{
	struct peer *next;

	for (struct peer *peer = server->peers; peer; peer = next) {
		next = peer->next;
		if (peer->session.side == KEEPER_FOR_AGENTS && !peer->granted &&
		    now_ms - peer->since_ms >= STRANGER_MS)
			hang_up(peer);
	}
}

static void on_tick(struct loop_watch *watch, uint32_t events)
{
	struct server *server = watch->owner;
	uint64_t now_ms = server_now_ms();

	(void)events;
	(void)loop_timer_read(watch->fd);
	loop_timer_set(watch->fd, TICK_NS);
	end_strangers(server, now_ms);
	if (!server->peer_count &&
	    now_ms - server->idle_since_ms >= server->options->grace_ms)
		loop_stop(server->loop);
}

/* ---- life ---- */

static int open_parts(struct server *server, struct err *err)
{
	const struct keeper_server_options *options = server->options;
	int r = loop_new(&server->loop, err);

	if (!r)
		r = vms_cache_new(&server->cache, options->cache_bytes, err);
	if (!r)
		r = fair_pool_new(&server->pool, WORKERS, err);
	if (r)
		return r;
	server->timer.fd = loop_timer_new(err);
	if (server->timer.fd < 0)
		return server->timer.fd;
	loop_timer_set(server->timer.fd, TICK_NS);
	r = loop_add(server->loop, &server->timer, err);
	if (!r)
		r = listener_start(&server->control, server->loop,
				   options->control, on_control, err);
	return r ? r
		 : listener_start(&server->agents, server->loop,
				  options->agents, on_agents, err);
}

static void close_parts(struct server *server)
{
	while (server->peers)
		hang_up(server->peers);
	fair_pool_free(server->pool);
	vms_cache_free(server->cache);
	listener_stop(&server->control);
	listener_stop(&server->agents);
	autofd_run(&server->timer.fd);
	loop_free(server->loop);
}

/* Somebody came while it was about to end. */
static bool goes_on(struct server *server)
{
	if (server->stopping)
		return false;
	listener_look(&server->control);
	listener_look(&server->agents);
	return server->peer_count != 0;
}

int keeper_server_run(const struct keeper_server_options *options,
		      struct err *err)
{
	struct server server = { .options = options };
	int r;

	server.timer = (struct loop_watch){ -1, EPOLLIN, on_tick, &server };
	server.began_ms = server.idle_since_ms = server_now_ms();
	r = open_parts(&server, err);
	if (!r && options->ready)
		options->ready(options->arg);
	while (!r) {
		r = loop_run(server.loop, err);
		if (!r && !goes_on(&server))
			break;
	}
	close_parts(&server);
	return r;
}
