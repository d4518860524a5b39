/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the keeper's server share. Private to server*.c. */
#ifndef VMSNAP_KEEPER_SERVER_PRIVATE_H
#define VMSNAP_KEEPER_SERVER_PRIVATE_H

#include "format/base/listener.h"
#include "format/image/image.h"
#include "vmsnap/keeper/fair_pool.h"
#include "vmsnap/keeper/grant.h"
#include "vmsnap/keeper/server.h"
#include "vmsnap/keeper/session.h"
#include "vmsnap/keeper/socket.h"
#include "vmsnap/reader.h"

#define PEERS_MAX      256u
#define STRANGERS_MAX  32u /* without a grant yet */
#define OF_MACHINE_MAX 4u  /* connections */
#define STRANGER_MS    10000u
#define WORKERS        16u
#define WORKERS_A_PEER 4u
#define SERVED_LOG_MAX 64u /* lines about what agents do */

struct server {
	const struct keeper_server_options *options;
	struct loop *loop;
	struct listener control, agents;
	struct loop_watch timer;
	struct vms_cache *cache;
	struct fair_pool *pool;
	struct peer *peers; /* the loop's: all that are connected */
	unsigned peer_count;
	uint64_t idle_since_ms, began_ms;
	bool stopping;
	_Atomic uint64_t served_bytes, served_reads, failed_reads;
	atomic_uint lines;
};

/*
 * One connection. The loop's thread receives; workers read, write to the area
 * and reply. Freed by a worker once the loop has let go of it and no request
 * runs.
 */
struct peer {
	struct server *server;
	struct loop_watch watch;
	struct peer *next, **link; /* the loop's */
	struct keeper_session session;
	struct fair_queue queue;
	int transfer; /* -1: none yet */
	bool granted; /* it was given what it asked for */
	uint64_t since_ms;
	char machine[VMS_MACHINE_NAME_MAX + 1]; /* of its first grant */
	/* Written by the loop before a request names them. */
	struct volume_reader {
		struct vms_reader *reader;
		struct image_base *base; /* the same, and its owner */
	} volumes[KEEPER_VOLUMES_MAX];
};

void server_log(struct server *server, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* What an agent can make happen at will fills no disk: so many lines. Any
 * thread. */
bool server_may_tell(struct server *server);
uint64_t server_now_ms(void);

/* ---- server_agent.c ---- */

/* A request of an agent's; -EPROTO as of keeper_session_take(). */
int agent_take(struct peer *peer, const struct keeper_message *message,
	       struct keeper_packet_in *packet, struct err *err);
/* Under way no more; the reply goes out, or the peer with it. Any thread. */
void peer_reply(struct peer *peer, const struct keeper_message *reply);
/* Of its readers and the area. */
void agent_release(struct peer *peer);
void agent_drop(struct fair_job *job);

/* ---- server_engine.c ---- */

void engine_take(struct peer *peer, const struct keeper_message *message);

#endif
