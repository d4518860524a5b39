/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recovery copy: config and slots as lines of hex, to survive on paper.
 * Each line has a check of its own, so that a slip in typing is found on its line
 * and not after all 30. What is decoded is checked as if it came from a
 * store, because that is where it will be put.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <xxhash.h>

#include "format/base/base.h"
#include "format/base/bytes.h"
#include "format/store/keys.h"

#define HEADER_LINE "vmsnap recovery 1"
#define HEADER_WORD "vmsnap recovery "
#define LINE_BYTES  16u
#define SLOTS_MAX   256u
#define TEXT_MAX    MIB

static uint16_t line_check(unsigned object, unsigned line, const uint8_t *data,
			   size_t size)
{
	uint8_t message[4 + LINE_BYTES];
	le16 o = le16_make((uint16_t)object), l = le16_make((uint16_t)line);

	memcpy(message, o.b, 2);
	memcpy(message + 2, l.b, 2);
	memcpy(message + 4, data, size);
	return (uint16_t)XXH3_64bits(message, 4 + size);
}

static int put_line(struct bytes *out, unsigned object, unsigned line,
		    const uint8_t *data, size_t size, struct err *err)
{
	char text[80], *at = text;

	at += sprintf(at, "%u.%u:", object, line);
	for (size_t i = 0; i < size; i++) {
		if (i % 4 == 0)
			*at++ = ' ';
		hex_encode(at, data + i, 1);
		at += 2;
	}
	at += sprintf(at, " %04x\n", line_check(object, line, data, size));
	return bytes_append(out, text, (size_t)(at - text), err);
}

static int put_object(struct bytes *out, unsigned object, const void *data,
		      size_t size, struct err *err)
{
	const uint8_t *at = data;
	unsigned line = 1;
	int r = 0;

	while (r == 0 && size) {
		size_t step = min_u64(size, LINE_BYTES);

		r = put_line(out, object, line++, at, step, err);
		at += step;
		size -= step;
	}
	return r;
}

int recovery_encode(const struct config_file *config,
		    const struct slot_file *slots, size_t slot_count,
		    struct bytes *out, struct err *err)
{
	size_t before = out->size;
	char end[24];
	int r;

	if (slot_count < 1 || slot_count > SLOTS_MAX)
		return err_set(err, -EINVAL,
			       "a recovery copy holds 1 to %u key slots, not "
			       "%zu",
			       SLOTS_MAX, slot_count);
	r = bytes_append(out, HEADER_LINE "\n", strlen(HEADER_LINE) + 1, err);
	if (r == 0)
		r = put_object(out, 0, config, sizeof(*config), err);
	for (unsigned i = 0; r == 0 && i < slot_count; i++)
		r = put_object(out, i + 1, &slots[i], sizeof(slots[i]), err);
	if (r == 0) {
		int n = sprintf(end, "end %zu\n", slot_count);

		r = bytes_append(out, end, (size_t)n, err);
	}
	if (r < 0)
		out->size = before;
	return r;
}

/* Lines that mean something, trimmed; `number` counts all of them. */
struct lines {
	const char *at, *end;
	unsigned number;
	const char *line;
	size_t size;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool lines_next(struct lines *lines)
{
	while (lines->at < lines->end) {
		const char *start = lines->at, *stop;

		stop = memchr(start, '\n', (size_t)(lines->end - start));
		lines->at = stop ? stop + 1 : lines->end;
		if (!stop)
			stop = lines->end;
		lines->number++;
		while (start < stop && is_blank(*start))
			start++;
		while (start < stop && is_blank(stop[-1]))
			stop--;
		if (start == stop || *start == '#')
			continue;
		lines->line = start;
		lines->size = (size_t)(stop - start);
		return true;
	}
	lines->number++;
	return false;
}

static bool line_is(const struct lines *lines, const char *text)
{
	return lines->size == strlen(text) &&
	       memcmp(lines->line, text, lines->size) == 0;
}

__attribute__((format(printf, 3, 4))) static int line_wrong(
	const struct lines *lines, struct err *err, const char *format, ...)
{
	char words[128];
	va_list args;

	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	return err_set(err, -EBADMSG, "recovery copy, line %u: %s",
		       lines->number, words);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Exactly `size` bytes of hex with blanks anywhere. */
static int take_hex(const struct lines *lines, size_t skip, uint8_t *out,
		    size_t size, struct err *err)
{
	size_t digits = 0;

	for (size_t i = skip; i < lines->size; i++) {
		char c = lines->line[i];
		int value = digit(c);

		if (is_blank(c))
			continue;
		if (value < 0)
			return line_wrong(lines, err,
					  "column %zu is no hex digit", i + 1);
		if (digits < 2 * size)
			out[digits / 2] =
				(uint8_t)(out[digits / 2] << 4 | value);
		digits++;
	}
	if (digits != 2 * size)
		return line_wrong(lines, err, "%zu hex digits instead of %zu",
				  digits, 2 * size);
	return 0;
}

static int take_line(struct lines *lines, unsigned object, unsigned line,
		     uint8_t *out, size_t size, struct err *err)
{
	uint8_t raw[LINE_BYTES + 2] = { 0 };
	char label[24];
	size_t label_size;
	uint16_t check;
	int r;

	label_size = (size_t)sprintf(label, "%u.%u:", object, line);
	if (!lines_next(lines))
		return line_wrong(lines, err, "'%s' is missing", label);
	if (lines->size < label_size ||
	    memcmp(lines->line, label, label_size) != 0)
		return line_wrong(lines, err, "'%s' should stand here", label);
	r = take_hex(lines, label_size, raw, size + 2, err);
	if (r < 0)
		return r;
	check = line_check(object, line, raw, size);
	if (raw[size] != check >> 8 || raw[size + 1] != (check & 0xff))
		return line_wrong(lines, err,
				  "the check is wrong: compare the digits");
	memcpy(out, raw, size);
	wipe(raw, sizeof(raw));
	return 0;
}

static int take_object(struct lines *lines, unsigned object, void *out,
		       size_t size, struct err *err)
{
	uint8_t *at = out;
	unsigned line = 1;
	int r = 0;

	while (r == 0 && size) {
		size_t step = min_u64(size, LINE_BYTES);

		r = take_line(lines, object, line++, at, step, err);
		at += step;
		size -= step;
	}
	return r;
}

static int take_header(struct lines *lines, struct err *err)
{
	if (!lines_next(lines) || lines->size < strlen(HEADER_WORD) ||
	    memcmp(lines->line, HEADER_WORD, strlen(HEADER_WORD)) != 0)
		return line_wrong(lines, err, "'%s' should stand here",
				  HEADER_LINE);
	if (!line_is(lines, HEADER_LINE))
		return err_set(err, -EOPNOTSUPP,
			       "recovery copy, line %u: another version, "
			       "known here is 1: use a newer vmsnap",
			       lines->number);
	return 0;
}

/* One more slot into `slots`, checked. */
static int take_slot(struct lines *lines, const struct store_id *store,
		     struct bytes *slots, struct err *err)
{
	size_t count = slots->size / sizeof(struct slot_file);
	char id_hex[SLOT_ID_HEX_SIZE];
	struct slot_file slot, other;
	int r;

	if (count >= SLOTS_MAX)
		return err_set(err, -EBADMSG,
			       "recovery copy: more than %u key slots",
			       SLOTS_MAX);
	r = take_object(lines, (unsigned)count + 1, &slot, sizeof(slot), err);
	if (r < 0)
		return r;
	hex_encode(id_hex, slot.id, sizeof(slot.id));
	r = slot_check(&slot, sizeof(slot), store, id_hex, err);
	if (r < 0)
		return err ? err_prefix(err, "recovery copy") : r;
	for (size_t i = 0; i < count; i++) {
		memcpy(&other, slots->data + i * sizeof(other), sizeof(other));
		if (memcmp(other.id, slot.id, sizeof(slot.id)) == 0)
			return err_set(err, -EBADMSG,
				       "recovery copy: key slot '%s' stands "
				       "twice",
				       id_hex);
	}
	return bytes_append(slots, &slot, sizeof(slot), err);
}

/* Peeks: is this the line that ends `count` slots? */
static bool take_end(struct lines *lines, size_t count)
{
	struct lines ahead = *lines;
	char end[32];

	sprintf(end, "end %zu", count);
	if (!lines_next(&ahead) || !line_is(&ahead, end))
		return false;
	*lines = ahead;
	return true;
}

static int decode(struct lines *lines, struct config_file *config,
		  struct bytes *slots, struct err *err)
{
	struct store_config values;
	int r;

	r = take_header(lines, err);
	if (r == 0)
		r = take_object(lines, 0, config, sizeof(*config), err);
	if (r < 0)
		return r;
	r = config_decode(config, sizeof(*config), &values, err);
	if (r < 0)
		return err ? err_prefix(err, "recovery copy") : r;
	do {
		r = take_slot(lines, &values.store, slots, err);
		if (r < 0)
			return r;
	} while (!take_end(lines, slots->size / sizeof(struct slot_file)));
	if (lines_next(lines))
		return line_wrong(lines, err, "something follows the end");
	return 0;
}

int recovery_decode(const char *text, size_t size, struct config_file *config,
		    struct slot_file **slots, size_t *slot_count,
		    struct err *err)
{
	struct lines lines = { .at = text, .end = size ? text + size : text };
	struct bytes found = { 0 };
	struct config_file file;
	int r;

	if (size > TEXT_MAX)
		return err_set(err, -EFBIG,
			       "recovery copy: %zu bytes are too many", size);
	r = decode(&lines, &file, &found, err);
	if (r < 0) {
		bytes_release_secret(&found);
		return r;
	}
	*config = file;
	*slots = (struct slot_file *)(void *)found.data;
	*slot_count = found.size / sizeof(struct slot_file);
	return 0;
}
