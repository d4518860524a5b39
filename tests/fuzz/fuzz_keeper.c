/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent, or whoever has the socket, against the rules of a keeper's
 * connection: packets of any bytes and sizes, with descriptors or without. What
 * is let through is within the limits, and says the same when it is said again.
 * A byte in front of each packet: bit 0, one of another size; bits 1 and 2, so
 * many descriptors; bit 3, a reply is sent; bit 4, an OPEN is granted.
 */
#include "tests/fuzz/fix.h"
#include "vmsnap/keeper/grant.h"
#include "vmsnap/keeper/session.h"

static void check_range(const struct keeper_session *session, uint32_t volume,
			uint64_t offset, uint64_t length)
{
	must(volume < KEEPER_VOLUMES_MAX && session->open[volume]);
	must(length && length <= session->size_bytes[volume] &&
	     offset <= session->size_bytes[volume] - length);
}

static void check_grant(const uint8_t data[KEEPER_GRANT_SIZE])
{
	static const struct masters masters = { .data_key = { 1 } };
	static const struct store_id store = { .b = { 1 } };
	struct keeper_grant grant;
	struct err err;

	if (keeper_grant_read(data, &grant, &err) == 0)
		must(strlen(grant.machine) <= VMS_MACHINE_NAME_MAX);
	must(keeper_grant_check(data, &store, &masters, &grant, &err) < 0);
}

static void check(struct keeper_session *session,
		  const struct keeper_message *message, bool grants)
{
	const struct keeper_read *read = &message->u.read;

	must(!message->is_reply && session->greeted);
	must(atomic_load(&session->under_way) <= KEEPER_REQUESTS_MAX);
	switch (message->type) {
	case KEEPER_HELLO:
		must((uint64_t)session->slot_bytes * session->slot_count <=
		     KEEPER_TRANSFER_MAX);
		break;
	case KEEPER_READ:
		must(read->slot < session->slot_count);
		must(read->length <= session->slot_bytes);
		check_range(session, read->volume, read->offset, read->length);
		break;
	case KEEPER_EXTENT:
		check_range(session, message->u.extent.volume,
			    message->u.extent.offset, message->u.extent.length);
		break;
	case KEEPER_OPEN:
		must(message->u.open.volume < KEEPER_VOLUMES_MAX);
		check_grant(message->u.open.grant);
		if (grants)
			keeper_session_opened(session, message->u.open.volume,
					      message->id);
		break;
	case KEEPER_GRANT:
		must(strlen(message->u.grant_request.machine) <=
		     VMS_MACHINE_NAME_MAX);
		break;
	case KEEPER_STATUS:
	case KEEPER_STOP:
		break;
	}
	must((session->side == KEEPER_FOR_ENGINE) ==
		     (message->type >= KEEPER_STATUS) ||
	     message->type == KEEPER_HELLO);
}

static void say_again(const uint8_t *data, size_t size)
{
	struct keeper_message first, second;
	struct keeper_packet packet, again;

	if (keeper_get(data, size, &first, NULL) < 0)
		return;
	keeper_put(&first, &packet);
	must(size == sizeof(packet) && !memcmp(&packet, data, size));
	must(keeper_get(&packet, sizeof(packet), &second, NULL) == 0);
	keeper_put(&second, &again);
	must(!memcmp(&again, &packet, sizeof(packet)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct keeper_session session;
	size_t at = 1;

	if (!size)
		return 0;
	keeper_session_init(&session, data[0] & 1 ? KEEPER_FOR_ENGINE
						  : KEEPER_FOR_AGENTS);
	while (at < size) {
		unsigned how = data[at++];
		size_t most = how & 1 ? (size_t)how : KEEPER_PACKET_SIZE;
		size_t length = size - at < most ? size - at : most;
		uint8_t *packet = malloc(length ? length : 1);
		struct keeper_message message;

		must(packet != NULL);
		memcpy(packet, data + at, length);
		at += length;
		say_again(packet, length);
		/* The server hangs up; here the next one comes all the same. */
		if (keeper_session_take(&session, packet, length, how >> 1 & 3,
					&message, NULL) == 0) {
			check(&session, &message, how & 16);
			if (how & 8)
				keeper_session_done(&session);
		}
		free(packet);
	}
	return 0;
}
