/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a connection. Who breaks one has no honest reason to: there is
 * no reply to that, and the connection ends. */
#include "vmsnap/keeper/session.h"

#include <errno.h>
#include <string.h>

void keeper_session_init(struct keeper_session *session, enum keeper_side side)
{
	memset(session, 0, sizeof(*session));
	session->side = side;
}

static int broken(struct err *err, const char *rule)
{
	return err_set(err, -EPROTO, "a peer broke a rule: %s", rule);
}

static int take_hello(struct keeper_session *session,
		      const struct keeper_hello *hello, unsigned descriptors,
		      struct err *err)
{
	uint64_t total = (uint64_t)hello->slot_bytes * hello->slot_count;

	if (session->greeted)
		return broken(err, "one HELLO");
	if (session->side == KEEPER_FOR_ENGINE) {
		if (total || hello->slot_bytes || hello->slot_count ||
		    descriptors)
			return broken(err, "no transfer area here");
	} else if (descriptors != 1 || !is_power_of_two(hello->slot_bytes) ||
		   hello->slot_bytes < KEEPER_SLOT_BYTES_MIN ||
		   hello->slot_bytes > KEEPER_SLOT_BYTES_MAX ||
		   !hello->slot_count || hello->slot_count > KEEPER_SLOTS_MAX ||
		   total > KEEPER_TRANSFER_MAX) {
		return broken(err, "a transfer area within the limits");
	}
	session->greeted = true;
	session->slot_bytes = hello->slot_bytes;
	session->slot_count = hello->slot_count;
	return 0;
}

/* Not empty, and within a volume that is open. */
static int check_range(const struct keeper_session *session, uint32_t volume,
		       uint64_t offset, uint64_t length, struct err *err)
{
	uint64_t size;

	if (volume >= KEEPER_VOLUMES_MAX || !session->open[volume])
		return broken(err, "a volume that is open");
	size = session->size_bytes[volume];
	if (!length || offset > size || length > size - offset)
		return broken(err, "a range within the volume");
	return 0;
}

static int take_read(const struct keeper_session *session,
		     const struct keeper_read *read, struct err *err)
{
	if (read->slot >= session->slot_count ||
	    read->length > session->slot_bytes)
		return broken(err, "a slot that is there");
	return check_range(session, read->volume, read->offset, read->length,
			   err);
}

static int take_open(const struct keeper_session *session,
		     const struct keeper_open *open, struct err *err)
{
	if (open->volume >= KEEPER_VOLUMES_MAX || session->open[open->volume])
		return broken(err, "a volume that is not open");
	return 0;
}

static bool is_for(enum keeper_side side, enum keeper_type type)
{
	switch (type) {
	case KEEPER_HELLO:
		return true;
	case KEEPER_OPEN:
	case KEEPER_READ:
	case KEEPER_EXTENT:
		return side == KEEPER_FOR_AGENTS;
	case KEEPER_STATUS:
	case KEEPER_GRANT:
	case KEEPER_STOP:
		break;
	}
	return side == KEEPER_FOR_ENGINE;
}

static int take(struct keeper_session *session,
		const struct keeper_message *message, unsigned descriptors,
		struct err *err)
{
	if (message->is_reply || !is_for(session->side, message->type))
		return broken(err, "requests of this socket");
	if (message->type == KEEPER_HELLO)
		return take_hello(session, &message->u.hello, descriptors, err);
	if (!session->greeted)
		return broken(err, "HELLO first");
	if (descriptors)
		return broken(err, "no descriptor but with HELLO");
	switch (message->type) {
	case KEEPER_OPEN:
		return take_open(session, &message->u.open, err);
	case KEEPER_READ:
		return take_read(session, &message->u.read, err);
	case KEEPER_EXTENT:
		return check_range(session, message->u.extent.volume,
				   message->u.extent.offset,
				   message->u.extent.length, err);
	case KEEPER_HELLO:
	case KEEPER_STATUS:
	case KEEPER_GRANT:
	case KEEPER_STOP:
		break;
	}
	return 0;
}

int keeper_session_take(struct keeper_session *session, const void *data,
			size_t size, unsigned descriptors,
			struct keeper_message *out, struct err *err)
{
	struct keeper_message message;
	int r = keeper_get(data, size, &message, err);

	if (r == -EBADMSG)
		return broken(err, "packets of the protocol");
	if (!r)
		r = take(session, &message, descriptors, err);
	if (r)
		return r;
	if (atomic_load(&session->under_way) >= KEEPER_REQUESTS_MAX)
		return broken(err, "not more requests than may be under way");
	atomic_fetch_add(&session->under_way, 1);
	*out = message;
	return 0;
}

void keeper_session_done(struct keeper_session *session)
{
	atomic_fetch_sub(&session->under_way, 1);
}

void keeper_session_opened(struct keeper_session *session, uint32_t volume,
			   uint64_t size_bytes)
{
	session->open[volume] = true;
	session->size_bytes[volume] = size_bytes;
}
