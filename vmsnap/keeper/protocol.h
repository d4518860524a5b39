/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a keeper and its peers say to each other: packets of one size, bytes in
 * and out, no I/O. spec/protocol.md, The keeper. Private.
 */
#ifndef VMSNAP_KEEPER_PROTOCOL_H
#define VMSNAP_KEEPER_PROTOCOL_H

#include "format/base/le.h"
#include "format/store/header.h"
#include "format/store/id.h"
#include "vmsnap/machine.h"

#define KEEPER_VERSION        1u
#define KEEPER_PACKET_SIZE    256u
#define KEEPER_VOLUMES_MAX    32u
#define KEEPER_REQUESTS_MAX   64u
#define KEEPER_SLOT_BYTES_MIN 4096u
#define KEEPER_SLOT_BYTES_MAX (1u << 20)
#define KEEPER_SLOTS_MAX      64u
#define KEEPER_TRANSFER_MAX   (16u << 20)
#define KEEPER_GRANT_SIZE     208u
#define KEEPER_NAME_SIZE      72u /* VMS_MACHINE_NAME_MAX, and zeros */

struct keeper_packet {
	le32 type;
	le32 result;
	le64 id;
	uint8_t body[240];
};
static_assert(sizeof(struct keeper_packet) == KEEPER_PACKET_SIZE,
	      "spec/protocol.md, The keeper");

enum keeper_type {
	KEEPER_HELLO = 1,
	KEEPER_OPEN = 2,
	KEEPER_READ = 3,
	KEEPER_EXTENT = 4,
	KEEPER_STATUS = 32,
	KEEPER_GRANT = 33,
	KEEPER_STOP = 34,
};

enum keeper_result {
	KEEPER_DONE,
	KEEPER_LOST,   /* the range can't be had */
	KEEPER_DENIED, /* no grant of this store's, or of another machine */
	KEEPER_BUSY,
	KEEPER_NO_MEMORY,
	KEEPER_INVALID,
	KEEPER_RESULTS,
};

struct keeper_hello {
	uint32_t slot_bytes, slot_count; /* 0: no transfer area */
	uint64_t features;
};

struct keeper_welcome {
	uint32_t requests_max;
	uint8_t store[STORE_ID_SIZE];
	uint64_t features;
};

struct keeper_open {
	uint32_t volume;
	uint8_t grant[KEEPER_GRANT_SIZE];
};

struct keeper_read {
	uint32_t volume, slot, length;
	uint64_t offset;
};

struct keeper_extent {
	uint32_t volume;
	uint64_t offset, length;
};

struct keeper_extent_reply {
	bool is_hole;
	uint64_t run;
};

struct keeper_grant_request {
	uint32_t chunk_log2;
	uint64_t size_bytes;
	struct id root;
	char machine[VMS_MACHINE_NAME_MAX + 1];
};

struct keeper_status {
	uint64_t process, watcher;
	uint64_t agents, machines;
	uint64_t served_bytes, served_reads, failed_reads;
	uint64_t cache_hits, cache_fetches, cache_bytes;
	uint64_t uptime_ms;
	uint64_t start; /* 1: was never started again */
};

struct keeper_message {
	enum keeper_type type;
	bool is_reply;
	enum keeper_result result; /* of a reply; the rest of one that failed
				      means nothing */
	uint64_t id;
	union {
		struct keeper_hello hello;
		struct keeper_welcome welcome;
		struct keeper_open open;
		uint64_t opened_bytes;
		struct keeper_read read;
		struct keeper_extent extent;
		struct keeper_extent_reply extent_reply;
		struct keeper_status status;
		struct keeper_grant_request grant_request;
		uint8_t grant[KEEPER_GRANT_SIZE];
		bool stop_by_force;
	} u;
};

void keeper_put(const struct keeper_message *message,
		struct keeper_packet *out);
/*
 * A packet of `size` bytes; *out is whole then, and as it was otherwise.
 * -EBADMSG: it is none, or says what it may not. -EOPNOTSUPP: another version.
 */
int keeper_get(const void *data, size_t size, struct keeper_message *out,
	       struct err *err);

/* -errno of a result, and back. */
int keeper_code(enum keeper_result result);
enum keeper_result keeper_result_of(int code);

#endif
