/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a stopped machine as bytes: sections, each with a name, an
 * instance and a version, little-endian, written field by field. spec/state.md.
 *
 * Writing never fails until state_finish(): what went wrong first is kept.
 * Reading a section never fails until section_done(): a value that isn't there
 * reads as 0, so that a restore takes all its fields, asks section_done(),
 * checks them, and only then changes anything. One thread at a time.
 */
#ifndef KVM_AGENT_STATE_SECTION_H
#define KVM_AGENT_STATE_SECTION_H

#include "format/base/base.h"
#include "format/base/bytes.h"

#define SECTION_NAME_MAX   15u /* lower case, digits, '-' */
#define SECTION_SIZE_MAX   (16u * 1024 * 1024)
#define STATE_SECTIONS_MAX 4096u
#define STATE_SIZE_MAX     (256u * 1024 * 1024)

struct state_writer {
	struct bytes bytes;
	size_t section; /* where the open one's head stands; 0: none is open */
	unsigned count;
	int code; /* the first failure */
};

int state_begin(struct state_writer *writer, struct err *err);
/* A section from here to section_end(); no two with one name and instance. */
void section_begin(struct state_writer *writer, const char *name,
		   unsigned instance, unsigned version);
void section_end(struct state_writer *writer);
void section_put_u8(struct state_writer *writer, uint8_t value);
void section_put_u16(struct state_writer *writer, uint16_t value);
void section_put_u32(struct state_writer *writer, uint32_t value);
void section_put_u64(struct state_writer *writer, uint64_t value);
void section_put_bytes(struct state_writer *writer, const void *data,
		       size_t size);
/* The count and the check; then writer->bytes is the state. The caller
 * releases it with state_release() in any case. -ENOMEM, -EFBIG. */
int state_finish(struct state_writer *writer, struct err *err);
void state_release(struct state_writer *writer);

/* A state that has been checked as a whole; its bytes are the caller's. */
struct state {
	const uint8_t *data;
	size_t size;
	unsigned count;
};

struct section_reader {
	struct reader bytes;
	unsigned version;
	bool overrun; /* something was taken that wasn't there */
	char name[SECTION_NAME_MAX + 1];
	unsigned instance;
};

/* -EBADMSG: damaged, or no state. -EOPNOTSUPP: too new. */
int state_open(struct state *state, const void *data, size_t size,
	       struct err *err);
/* -ENOENT: there is none. -EOPNOTSUPP: a version above `version_max`. */
int state_find(const struct state *state, const char *name, unsigned instance,
	       unsigned version_max, struct section_reader *out,
	       struct err *err);
/* How many sections have this name. */
unsigned state_count(const struct state *state, const char *name);
uint8_t section_get_u8(struct section_reader *reader);
uint16_t section_get_u16(struct section_reader *reader);
uint32_t section_get_u32(struct section_reader *reader);
uint64_t section_get_u64(struct section_reader *reader);
void section_get_bytes(struct section_reader *reader, void *data, size_t size);
/* -EBADMSG: it was too short, or something is left. */
int section_done(const struct section_reader *reader, struct err *err);

#endif
