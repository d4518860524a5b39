/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoding of a machine's state, spec/state.md: framing, and the fields'
 * primitives. What a section holds is its device's. A reader never leaves its
 * section, whatever the bytes say.
 */
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "format/base/le.h"
#include "kvm-agent/state/section.h"

#define STATE_VERSION 1u

static const uint8_t state_magic[8] = { 'V', 'M', 'S', 'T', 'A', 'T', 'E', 0 };

struct state_head {
	uint8_t magic[8];
	le32 version;
	le32 count;
};
_Static_assert(sizeof(struct state_head) == 16, "spec/state.md, Bytes");

struct section_head {
	uint8_t name[16];
	le32 instance;
	le32 version;
	le32 length;
	le32 reserved;
};
_Static_assert(sizeof(struct section_head) == 32, "spec/state.md, Bytes");

/* ---- writing ---- */

static void fail(struct state_writer *writer, int code)
{
	if (!writer->code)
		writer->code = code;
}

static void put(struct state_writer *writer, const void *data, size_t size)
{
	int r;

	if (writer->code)
		return;
	if (size > STATE_SIZE_MAX - writer->bytes.size) {
		fail(writer, -EFBIG);
		return;
	}
	r = bytes_append(&writer->bytes, data, size, NULL);
	if (r < 0)
		fail(writer, r);
}

int state_begin(struct state_writer *writer, struct err *err)
{
	struct state_head head = { .version = le32_make(STATE_VERSION) };

	*writer = (struct state_writer){ 0 };
	memcpy(head.magic, state_magic, sizeof(head.magic));
	return bytes_append(&writer->bytes, &head, sizeof(head), err);
}

void section_begin(struct state_writer *writer, const char *name,
		   unsigned instance, unsigned version)
{
	struct section_head head = { .instance = le32_make(instance),
				     .version = le32_make(version) };
	size_t length = strlen(name);

	if (length > SECTION_NAME_MAX || writer->section ||
	    writer->count == STATE_SECTIONS_MAX) {
		fail(writer, -EINVAL);
		return;
	}
	memcpy(head.name, name, length);
	writer->section = writer->bytes.size;
	writer->count++;
	put(writer, &head, sizeof(head));
}

void section_end(struct state_writer *writer)
{
	struct section_head head;
	size_t length;

	if (writer->code)
		return;
	length = writer->bytes.size - writer->section - sizeof(head);
	if (length > SECTION_SIZE_MAX) {
		fail(writer, -EFBIG);
		return;
	}
	memcpy(&head, writer->bytes.data + writer->section, sizeof(head));
	head.length = le32_make((uint32_t)length);
	memcpy(writer->bytes.data + writer->section, &head, sizeof(head));
	writer->section = 0;
}

void section_put_u8(struct state_writer *writer, uint8_t value)
{
	put(writer, &value, sizeof(value));
}

void section_put_u16(struct state_writer *writer, uint16_t value)
{
	le16 v = le16_make(value);

	put(writer, &v, sizeof(v));
}

void section_put_u32(struct state_writer *writer, uint32_t value)
{
	le32 v = le32_make(value);

	put(writer, &v, sizeof(v));
}

void section_put_u64(struct state_writer *writer, uint64_t value)
{
	le64 v = le64_make(value);

	put(writer, &v, sizeof(v));
}

void section_put_bytes(struct state_writer *writer, const void *data,
		       size_t size)
{
	put(writer, data, size);
}

int state_finish(struct state_writer *writer, struct err *err)
{
	struct state_head head;
	le64 check;

	if (!writer->code) {
		memcpy(&head, writer->bytes.data, sizeof(head));
		head.count = le32_make(writer->count);
		memcpy(writer->bytes.data, &head, sizeof(head));
		check = le64_make(
			XXH3_64bits(writer->bytes.data, writer->bytes.size));
		put(writer, &check, sizeof(check));
	}
	if (writer->code)
		return err_sys(err, writer->code, "the machine's state");
	return 0;
}

void state_release(struct state_writer *writer)
{
	bytes_release_secret(&writer->bytes);
}

/* ---- reading ---- */

static bool name_is_good(const uint8_t name[16])
{
	size_t length = strnlen((const char *)name, 16);

	if (!length || length > SECTION_NAME_MAX)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!((name[i] >= 'a' && name[i] <= 'z') ||
		      (name[i] >= '0' && name[i] <= '9') || name[i] == '-'))
			return false;
	}
	return bytes_are_zero(name + length, 16 - length);
}

/* The next section's head, and its fields. */
static int next_section(struct reader *reader, struct section_head *head,
			struct reader *fields)
{
	const void *at = reader_take(reader, sizeof(*head));

	if (!at)
		return -EBADMSG;
	memcpy(head, at, sizeof(*head));
	if (!name_is_good(head->name) || !le32_get(head->version) ||
	    le32_get(head->length) > SECTION_SIZE_MAX ||
	    le32_get(head->reserved))
		return -EBADMSG;
	fields->left = le32_get(head->length);
	fields->at = reader_take(reader, fields->left);
	return fields->at ? 0 : -EBADMSG;
}

static struct reader sections_of(const struct state *state)
{
	return (struct reader){ state->data + sizeof(struct state_head),
				state->size - sizeof(struct state_head) -
					sizeof(le64) };
}

static int check_sections(const struct state *state, struct err *err)
{
	struct reader reader = sections_of(state), fields;
	struct section_head head;

	for (unsigned i = 0; i < state->count; i++) {
		if (next_section(&reader, &head, &fields) < 0)
			return err_set(err, -EBADMSG,
				       "the machine's state is damaged: "
				       "section %u of %u",
				       i, state->count);
	}
	if (reader.left)
		return err_set(err, -EBADMSG,
			       "the machine's state is damaged: %zu bytes "
			       "behind its last section",
			       reader.left);
	return 0;
}

int state_open(struct state *state, const void *data, size_t size,
	       struct err *err)
{
	struct state opened = { data, size, 0 };
	struct state_head head;
	le64 check;
	int r;

	if (size < sizeof(head) + sizeof(check) || size > STATE_SIZE_MAX)
		return err_set(err, -EBADMSG,
			       "%zu bytes are no state of a machine", size);
	memcpy(&head, data, sizeof(head));
	if (memcmp(head.magic, state_magic, sizeof(head.magic)) != 0)
		return err_set(err, -EBADMSG, "this is no state of a machine");
	if (le32_get(head.version) != STATE_VERSION)
		return err_set(err, -EOPNOTSUPP,
			       "the machine's state has version %u, and this "
			       "vmsnap reads %u: use a newer one",
			       le32_get(head.version), STATE_VERSION);
	memcpy(&check, opened.data + size - sizeof(check), sizeof(check));
	if (le64_get(check) != XXH3_64bits(data, size - sizeof(check)))
		return err_set(err, -EBADMSG,
			       "the machine's state is damaged: its check "
			       "does not hold");
	opened.count = le32_get(head.count);
	if (opened.count > STATE_SECTIONS_MAX)
		return err_set(err, -EBADMSG,
			       "the machine's state is damaged: %u sections",
			       opened.count);
	r = check_sections(&opened, err);
	if (r < 0)
		return r;
	*state = opened;
	return 0;
}

int state_find(const struct state *state, const char *name, unsigned instance,
	       unsigned version_max, struct section_reader *out,
	       struct err *err)
{
	struct reader reader = sections_of(state), fields;
	struct section_head head;

	for (unsigned i = 0; i < state->count; i++) {
		if (next_section(&reader, &head, &fields) < 0)
			break;
		if (strcmp((const char *)head.name, name) != 0 ||
		    le32_get(head.instance) != instance)
			continue;
		if (le32_get(head.version) > version_max)
			return err_set(err, -EOPNOTSUPP,
				       "section '%s' %u of the machine's state "
				       "has version %u, and this vmsnap reads "
				       "up to %u: use a newer one",
				       name, instance, le32_get(head.version),
				       version_max);
		*out = (struct section_reader){
			.bytes = fields,
			.version = le32_get(head.version),
			.instance = instance,
		};
		memcpy(out->name, head.name, sizeof(out->name));
		return 0;
	}
	return err_set(err, -ENOENT,
		       "the machine's state has no section '%s' %u", name,
		       instance);
}

unsigned state_count(const struct state *state, const char *name)
{
	struct reader reader = sections_of(state), fields;
	struct section_head head;
	unsigned count = 0;

	for (unsigned i = 0; i < state->count; i++) {
		if (next_section(&reader, &head, &fields) < 0)
			break;
		if (strcmp((const char *)head.name, name) == 0)
			count++;
	}
	return count;
}

void section_get_bytes(struct section_reader *reader, void *data, size_t size)
{
	const void *at = reader_take(&reader->bytes, size);

	if (at) {
		memcpy(data, at, size);
		return;
	}
	memset(data, 0, size);
	reader->overrun = true;
}

uint8_t section_get_u8(struct section_reader *reader)
{
	uint8_t value;

	section_get_bytes(reader, &value, sizeof(value));
	return value;
}

uint16_t section_get_u16(struct section_reader *reader)
{
	le16 value;

	section_get_bytes(reader, &value, sizeof(value));
	return le16_get(value);
}

uint32_t section_get_u32(struct section_reader *reader)
{
	le32 value;

	section_get_bytes(reader, &value, sizeof(value));
	return le32_get(value);
}

uint64_t section_get_u64(struct section_reader *reader)
{
	le64 value;

	section_get_bytes(reader, &value, sizeof(value));
	return le64_get(value);
}

int section_done(const struct section_reader *reader, struct err *err)
{
	if (reader->overrun)
		return err_set(err, -EBADMSG,
			       "section '%s' %u of the machine's state is too "
			       "short",
			       reader->name, reader->instance);
	if (reader->bytes.left)
		return err_set(err, -EBADMSG,
			       "section '%s' %u of the machine's state is too "
			       "long by %zu bytes",
			       reader->name, reader->instance,
			       reader->bytes.left);
	return 0;
}
