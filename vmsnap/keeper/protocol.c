/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets to messages and back. What was read is written again and compared:
 * so whatever has no meaning is zero, and each message has one form only.
 */
#include "vmsnap/keeper/protocol.h"

#include <errno.h>
#include <string.h>

#define REPLY 0x80000000u

static const uint8_t magic[8] = "VMSKEEP";

/* What stands in a packet's body, by type. */
struct body_hello {
	uint8_t magic[8];
	le32 version;
	le32 slot_bytes;
	le32 slot_count;
	le32 zero;
	le64 features;
};
struct body_welcome {
	uint8_t magic[8];
	le32 version;
	le32 requests_max;
	uint8_t store[STORE_ID_SIZE];
	le64 features;
};
struct body_open {
	le32 volume;
	le32 zero;
	uint8_t grant[KEEPER_GRANT_SIZE];
};
struct body_opened {
	le64 size_bytes;
};
struct body_read {
	le32 volume;
	le32 slot;
	le64 offset;
	le32 length;
};
struct body_extent {
	le32 volume;
	le32 zero;
	le64 offset;
	le64 length;
};
struct body_extent_reply {
	le32 is_hole;
	le32 zero;
	le64 run;
};
struct body_grant_request {
	le32 chunk_log2;
	le32 zero;
	le64 size_bytes;
	struct id root;
	char machine[KEEPER_NAME_SIZE];
};
struct body_stop {
	le32 force;
};
#define STATUS_FIELDS 12u
struct body_status {
	le64 fields[STATUS_FIELDS];
};
static_assert(sizeof(struct keeper_status) == STATUS_FIELDS * sizeof(uint64_t),
	      "u64 each, in this order");

union body {
	uint8_t bytes[240];
	struct body_hello hello;
	struct body_welcome welcome;
	struct body_open open;
	struct body_opened opened;
	struct body_read read;
	struct body_extent extent;
	struct body_extent_reply extent_reply;
	struct body_status status;
	struct body_grant_request grant_request;
	uint8_t grant[KEEPER_GRANT_SIZE];
	struct body_stop stop;
};
static_assert(sizeof(union body) == 240, "spec/protocol.md, The keeper");

/* ---- out ---- */

static void put_request(const struct keeper_message *message, union body *body)
{
	switch (message->type) {
	case KEEPER_HELLO:
		memcpy(body->hello.magic, magic, sizeof(magic));
		body->hello.version = le32_make(KEEPER_VERSION);
		body->hello.slot_bytes = le32_make(message->u.hello.slot_bytes);
		body->hello.slot_count = le32_make(message->u.hello.slot_count);
		body->hello.features = le64_make(message->u.hello.features);
		break;
	case KEEPER_OPEN:
		body->open.volume = le32_make(message->u.open.volume);
		memcpy(body->open.grant, message->u.open.grant,
		       KEEPER_GRANT_SIZE);
		break;
	case KEEPER_READ:
		body->read.volume = le32_make(message->u.read.volume);
		body->read.slot = le32_make(message->u.read.slot);
		body->read.offset = le64_make(message->u.read.offset);
		body->read.length = le32_make(message->u.read.length);
		break;
	case KEEPER_EXTENT:
		body->extent.volume = le32_make(message->u.extent.volume);
		body->extent.offset = le64_make(message->u.extent.offset);
		body->extent.length = le64_make(message->u.extent.length);
		break;
	case KEEPER_STATUS:
		break;
	case KEEPER_GRANT:
		body->grant_request.chunk_log2 =
			le32_make(message->u.grant_request.chunk_log2);
		body->grant_request.size_bytes =
			le64_make(message->u.grant_request.size_bytes);
		body->grant_request.root = message->u.grant_request.root;
		memcpy(body->grant_request.machine,
		       message->u.grant_request.machine,
		       strnlen(message->u.grant_request.machine,
			       VMS_MACHINE_NAME_MAX));
		break;
	case KEEPER_STOP:
		body->stop.force = le32_make(message->u.stop_by_force);
		break;
	}
}

static void put_status(const struct keeper_status *status,
		       struct body_status *body)
{
	uint64_t fields[STATUS_FIELDS];

	memcpy(fields, status, sizeof(fields));
	for (unsigned i = 0; i < STATUS_FIELDS; i++)
		body->fields[i] = le64_make(fields[i]);
}

static void put_reply(const struct keeper_message *message, union body *body)
{
	switch (message->type) {
	case KEEPER_HELLO:
		memcpy(body->welcome.magic, magic, sizeof(magic));
		body->welcome.version = le32_make(KEEPER_VERSION);
		body->welcome.requests_max =
			le32_make(message->u.welcome.requests_max);
		memcpy(body->welcome.store, message->u.welcome.store,
		       STORE_ID_SIZE);
		body->welcome.features = le64_make(message->u.welcome.features);
		break;
	case KEEPER_OPEN:
		body->opened.size_bytes = le64_make(message->u.opened_bytes);
		break;
	case KEEPER_EXTENT:
		body->extent_reply.is_hole =
			le32_make(message->u.extent_reply.is_hole);
		body->extent_reply.run = le64_make(message->u.extent_reply.run);
		break;
	case KEEPER_STATUS:
		put_status(&message->u.status, &body->status);
		break;
	case KEEPER_GRANT:
		memcpy(body->grant, message->u.grant, KEEPER_GRANT_SIZE);
		break;
	case KEEPER_READ:
	case KEEPER_STOP:
		break;
	}
}

void keeper_put(const struct keeper_message *message, struct keeper_packet *out)
{
	uint32_t type = message->type;
	union body body;

	memset(&body, 0, sizeof(body));
	memset(out, 0, sizeof(*out));
	if (message->is_reply) {
		type |= REPLY;
		out->result = le32_make(message->result);
	}
	out->type = le32_make(type);
	out->id = le64_make(message->id);
	if (!message->is_reply)
		put_request(message, &body);
	else if (message->result == KEEPER_DONE)
		put_reply(message, &body);
	memcpy(out->body, body.bytes, sizeof(out->body));
}

/* ---- in ---- */

static int wrong(struct err *err, const char *what)
{
	return err_set(err, -EBADMSG, "no message of a keeper: %s", what);
}

static int check_version(const uint8_t found[8], le32 version, struct err *err)
{
	if (memcmp(found, magic, sizeof(magic)) != 0)
		return wrong(err, "the magic");
	if (le32_get(version) == KEEPER_VERSION)
		return 0;
	return err_set(err, -EOPNOTSUPP,
		       "version %u of the keeper's protocol; this is version "
		       "%u: keeper and machines are of one vmsnap",
		       le32_get(version), KEEPER_VERSION);
}

static void get_grant_request(const struct body_grant_request *body,
			      struct keeper_grant_request *out)
{
	out->chunk_log2 = le32_get(body->chunk_log2);
	out->size_bytes = le64_get(body->size_bytes);
	out->root = body->root;
	/* A name without its end is cut, and so not the same written again. */
	memcpy(out->machine, body->machine, VMS_MACHINE_NAME_MAX);
}

static int get_request(const union body *body, struct keeper_message *out,
		       struct err *err)
{
	switch (out->type) {
	case KEEPER_HELLO:
		out->u.hello.slot_bytes = le32_get(body->hello.slot_bytes);
		out->u.hello.slot_count = le32_get(body->hello.slot_count);
		out->u.hello.features = le64_get(body->hello.features);
		return check_version(body->hello.magic, body->hello.version,
				     err);
	case KEEPER_OPEN:
		out->u.open.volume = le32_get(body->open.volume);
		memcpy(out->u.open.grant, body->open.grant, KEEPER_GRANT_SIZE);
		return 0;
	case KEEPER_READ:
		out->u.read.volume = le32_get(body->read.volume);
		out->u.read.slot = le32_get(body->read.slot);
		out->u.read.offset = le64_get(body->read.offset);
		out->u.read.length = le32_get(body->read.length);
		return 0;
	case KEEPER_EXTENT:
		out->u.extent.volume = le32_get(body->extent.volume);
		out->u.extent.offset = le64_get(body->extent.offset);
		out->u.extent.length = le64_get(body->extent.length);
		return 0;
	case KEEPER_STATUS:
		return 0;
	case KEEPER_GRANT:
		get_grant_request(&body->grant_request, &out->u.grant_request);
		return 0;
	case KEEPER_STOP:
		out->u.stop_by_force = le32_get(body->stop.force) == 1;
		return 0;
	}
	return wrong(err, "its type");
}

static void get_status(const struct body_status *body,
		       struct keeper_status *status)
{
	uint64_t fields[STATUS_FIELDS];

	for (unsigned i = 0; i < STATUS_FIELDS; i++)
		fields[i] = le64_get(body->fields[i]);
	memcpy(status, fields, sizeof(fields));
}

static int get_reply(const union body *body, struct keeper_message *out,
		     struct err *err)
{
	switch (out->type) {
	case KEEPER_HELLO:
		out->u.welcome.requests_max =
			le32_get(body->welcome.requests_max);
		memcpy(out->u.welcome.store, body->welcome.store,
		       STORE_ID_SIZE);
		out->u.welcome.features = le64_get(body->welcome.features);
		return check_version(body->welcome.magic, body->welcome.version,
				     err);
	case KEEPER_OPEN:
		out->u.opened_bytes = le64_get(body->opened.size_bytes);
		return 0;
	case KEEPER_EXTENT:
		out->u.extent_reply.is_hole =
			le32_get(body->extent_reply.is_hole) == 1;
		out->u.extent_reply.run = le64_get(body->extent_reply.run);
		return 0;
	case KEEPER_STATUS:
		get_status(&body->status, &out->u.status);
		return 0;
	case KEEPER_GRANT:
		memcpy(out->u.grant, body->grant, KEEPER_GRANT_SIZE);
		return 0;
	case KEEPER_READ:
	case KEEPER_STOP:
		return 0;
	}
	return wrong(err, "its type");
}

static bool is_type(uint32_t type)
{
	return (type >= KEEPER_HELLO && type <= KEEPER_EXTENT) ||
	       (type >= KEEPER_STATUS && type <= KEEPER_STOP);
}

int keeper_get(const void *data, size_t size, struct keeper_message *out,
	       struct err *err)
{
	struct keeper_message message;
	struct keeper_packet packet, again;
	union body body;
	uint32_t type;
	int r = 0;

	if (size != sizeof(packet))
		return wrong(err, "its size");
	memcpy(&packet, data, sizeof(packet));
	memcpy(&body, packet.body, sizeof(body));
	type = le32_get(packet.type);
	if (!is_type(type & ~REPLY) ||
	    le32_get(packet.result) >= KEEPER_RESULTS)
		return wrong(err, "its type or result");
	memset(&message, 0, sizeof(message));
	message.type = (enum keeper_type)(type & ~REPLY);
	message.is_reply = (type & REPLY) != 0;
	message.result = (enum keeper_result)le32_get(packet.result);
	message.id = le64_get(packet.id);
	if (!message.is_reply)
		r = get_request(&body, &message, err);
	else if (message.result == KEEPER_DONE)
		r = get_reply(&body, &message, err);
	if (r)
		return r;
	keeper_put(&message, &again);
	if (memcmp(&packet, &again, sizeof(packet)) != 0)
		return wrong(err, "bytes that are not zero");
	*out = message;
	return 0;
}

/* ---- results ---- */

int keeper_code(enum keeper_result result)
{
	switch (result) {
	case KEEPER_DONE:
		return 0;
	case KEEPER_DENIED:
		return -EACCES;
	case KEEPER_BUSY:
		return -EBUSY;
	case KEEPER_NO_MEMORY:
		return -ENOMEM;
	case KEEPER_INVALID:
		return -EINVAL;
	case KEEPER_LOST:
	case KEEPER_RESULTS:
		break;
	}
	return -EIO;
}

enum keeper_result keeper_result_of(int code)
{
	switch (code) {
	case 0:
		return KEEPER_DONE;
	case -EACCES:
		return KEEPER_DENIED;
	case -EBUSY:
		return KEEPER_BUSY;
	case -ENOMEM:
		return KEEPER_NO_MEMORY;
	case -EINVAL:
		return KEEPER_INVALID;
	default:
		return KEEPER_LOST;
	}
}
