/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records, written and read. A record that is read points into what it was
 * read from; nothing is copied but texts. What a type means, whether it may
 * stand twice, and what to do with an unknown one is the caller's.
 */
#include "format/store/record.h"

#include <errno.h>

#include "format/base/base.h"

struct record_header {
	le16 type;
	le16 flags;
	le32 size;
};
_Static_assert(sizeof(struct record_header) == 8, "spec/store.md, records");

int record_put(struct bytes *out, unsigned type, bool required,
	       const void *payload, size_t size, struct err *err)
{
	struct record_header header;
	uint8_t *to;

	if (type > UINT16_MAX || size > UINT32_MAX)
		return err_set(err, -EINVAL,
			       "a record of type %u with %zu bytes can't be",
			       type, size);
	header.type = le16_make((uint16_t)type);
	header.flags = le16_make(required ? RECORD_REQUIRED : 0);
	header.size = le32_make((uint32_t)size);
	to = bytes_extend(out, sizeof(header) + size, err);
	if (!to)
		return -ENOMEM;
	memcpy(to, &header, sizeof(header));
	if (size)
		memcpy(to + sizeof(header), payload, size);
	return 0;
}

int record_put_u32(struct bytes *out, unsigned type, bool required, uint32_t n,
		   struct err *err)
{
	le32 le = le32_make(n);

	return record_put(out, type, required, &le, sizeof(le), err);
}

int record_put_u64(struct bytes *out, unsigned type, bool required, uint64_t n,
		   struct err *err)
{
	le64 le = le64_make(n);

	return record_put(out, type, required, &le, sizeof(le), err);
}

int record_put_text(struct bytes *out, unsigned type, bool required,
		    const char *text, struct err *err)
{
	size_t size = strlen(text);
	char safe[256];

	if (!text_is_valid(text, size))
		return err_set(err, -EINVAL, "'%s' is not UTF-8",
			       escape_name(safe, sizeof(safe), text));
	return record_put(out, type, required, text, size, err);
}

int record_next(struct reader *reader, struct record *record, const char *what,
		struct err *err)
{
	struct record_header header;
	const void *at, *payload;
	unsigned type, flags;
	uint32_t size;

	if (reader->left == 0)
		return 0;
	at = reader_take(reader, sizeof(header));
	if (!at)
		return err_set(err, -EBADMSG, "%s: a record is cut short",
			       what);
	memcpy(&header, at, sizeof(header));
	type = le16_get(header.type);
	flags = le16_get(header.flags);
	size = le32_get(header.size);
	if (flags & ~RECORD_REQUIRED)
		return err_set(err, -EBADMSG,
			       "%s: record of type %u has reserved flags 0x%x",
			       what, type, flags);
	payload = reader_take(reader, size);
	if (!payload)
		return err_set(err, -EBADMSG,
			       "%s: record of type %u says %u bytes, %zu are "
			       "left",
			       what, type, size, reader->left);
	record->type = type;
	record->required = flags & RECORD_REQUIRED;
	record->payload = payload;
	record->size = size;
	return 1;
}

static int wrong_width(const struct record *record, size_t width,
		       const char *what, struct err *err)
{
	return err_set(err, -EBADMSG,
		       "%s: record of type %u has %zu bytes instead of %zu",
		       what, record->type, record->size, width);
}

int record_u32(const struct record *record, uint32_t *out, const char *what,
	       struct err *err)
{
	le32 le;

	if (record->size != sizeof(le))
		return wrong_width(record, sizeof(le), what, err);
	memcpy(le.b, record->payload, sizeof(le));
	*out = le32_get(le);
	return 0;
}

int record_u64(const struct record *record, uint64_t *out, const char *what,
	       struct err *err)
{
	le64 le;

	if (record->size != sizeof(le))
		return wrong_width(record, sizeof(le), what, err);
	memcpy(le.b, record->payload, sizeof(le));
	*out = le64_get(le);
	return 0;
}

int record_text(const struct record *record, size_t max, char **out,
		const char *what, struct err *err)
{
	char *text;

	if (*out)
		return err_set(err, -EBADMSG,
			       "%s: record of type %u stands twice", what,
			       record->type);
	if (record->size > max)
		return err_set(err, -EBADMSG,
			       "%s: text of type %u has %zu bytes, at most %zu",
			       what, record->type, record->size, max);
	if (!text_is_valid((const char *)record->payload, record->size))
		return err_set(err, -EBADMSG,
			       "%s: text of type %u is not UTF-8", what,
			       record->type);
	text = malloc(record->size + 1);
	if (!text)
		return err_set(err, -ENOMEM, "out of memory");
	if (record->size)
		memcpy(text, record->payload, record->size);
	text[record->size] = '\0';
	*out = text;
	return 0;
}

/* Bytes of the UTF-8 sequence that starts here (RFC 3629), or 0. */
static size_t sequence_size(const uint8_t *at, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t size = at[0] < 0x80   ? 1
		      : at[0] < 0xc0 ? 0
		      : at[0] < 0xe0 ? 2
		      : at[0] < 0xf0 ? 3
		      : at[0] < 0xf8 ? 4
				     : 0;
	uint32_t code;

	if (size <= 1)
		return size;
	if (size > left)
		return 0;
	code = at[0] & (0x7fu >> size);
	for (size_t i = 1; i < size; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3f);
	}
	if (code < least[size] || code > 0x10ffff ||
	    (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return size;
}

bool text_is_valid(const char *text, size_t size)
{
	const uint8_t *at = (const uint8_t *)text;
	size_t step;

	for (; size; at += step, size -= step) {
		if (*at == 0)
			return false;
		step = sequence_size(at, size);
		if (step == 0)
			return false;
	}
	return true;
}

static bool is_alphanumeric(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9');
}

bool name_is_valid(const char *name, size_t size)
{
	if (size == 0 || size > NAME_MAX_SIZE || !is_alphanumeric(name[0]))
		return false;
	for (size_t i = 1; i < size; i++) {
		if (!is_alphanumeric(name[i]) && name[i] != '.' &&
		    name[i] != '_' && name[i] != '-')
			return false;
	}
	return true;
}
