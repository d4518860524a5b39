/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's side of one connection: which message may come when, and what
 * it may ask for. No I/O, no keys: packets in, checked requests out. Private.
 */
#ifndef VMSNAP_KEEPER_SESSION_H
#define VMSNAP_KEEPER_SESSION_H

#include <stdatomic.h>

#include "vmsnap/keeper/protocol.h"

enum keeper_side {
	KEEPER_FOR_AGENTS,
	KEEPER_FOR_ENGINE,
};

struct keeper_session {
	enum keeper_side side;
	bool greeted;
	uint32_t slot_bytes, slot_count;
	atomic_uint under_way;
	bool open[KEEPER_VOLUMES_MAX];
	uint64_t size_bytes[KEEPER_VOLUMES_MAX];
};

void keeper_session_init(struct keeper_session *session, enum keeper_side side);

/*
 * A packet that came with `descriptors` descriptors. It is one of the requests
 * of this side, within all limits, and counts as under way until
 * keeper_session_done(). -EPROTO: the peer broke a rule, and is to be hung up
 * on; -EOPNOTSUPP: so is one of another version.
 */
int keeper_session_take(struct keeper_session *session, const void *data,
			size_t size, unsigned descriptors,
			struct keeper_message *out, struct err *err);
/* Its reply is about to be sent. Any thread. */
void keeper_session_done(struct keeper_session *session);
/* An OPEN was granted. */
void keeper_session_opened(struct keeper_session *session, uint32_t volume,
			   uint64_t size_bytes);

#endif
