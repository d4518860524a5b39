/* SPDX-License-Identifier: Apache-2.0 */
/* What comes in at a control socket, at either end, in pieces of the first
 * byte's size: what is understood is said again and understood the same. */
#include "format/base/bytes.h"
#include "tests/fuzz/fix.h"
#include "vmsnap/control.h"

/* The one line that was put. */
static const char *line_of(const struct bytes *bytes, size_t *size)
{
	must(bytes->size && bytes->size <= CONTROL_LINE_MAX);
	*size = bytes->size - 1;
	must(memchr(bytes->data, '\n', bytes->size) == bytes->data + *size);
	return (const char *)bytes->data;
}

static void greeting(const char *line, size_t size)
{
	struct control_greeting first, second;
	struct bytes bytes = { 0 };
	struct err err;

	if (control_get_greeting(line, size, &first, &err) < 0)
		return;
	must(control_put_greeting(&bytes, &first, &err) == 0);
	line = line_of(&bytes, &size);
	must(control_get_greeting(line, size, &second, &err) == 0);
	must(!memcmp(first.image, second.image, sizeof(first.image)));
	must(first.has_store == second.has_store);
	must(!first.has_store ||
	     !memcmp(first.store, second.store, sizeof(first.store)));
	must(first.process == second.process);
	bytes_release(&bytes);
}

static void request(const char *line, size_t size)
{
	struct bytes bytes = { 0 };
	enum control_do first, second;
	struct err err;

	if (control_get_request(line, size, &first, &err) < 0)
		return;
	must(control_put_request(&bytes, first, &err) == 0);
	line = line_of(&bytes, &size);
	must(control_get_request(line, size, &second, &err) == 0);
	must(first == second);
	bytes_release(&bytes);
}

static void reply(enum control_do what, const char *line, size_t size)
{
	struct control_reply first, second;
	struct bytes bytes = { 0 };
	struct err err;

	if (control_get_reply(line, size, what, &first, &err) < 0)
		return;
	must(strlen(first.text) < sizeof(first.text));
	must(control_put_reply(&bytes, what, &first, &err) == 0);
	line = line_of(&bytes, &size);
	must(control_get_reply(line, size, what, &second, &err) == 0);
	must(first.code == second.code && first.code <= 0);
	must(!strcmp(first.text, second.text));
	must(first.layer == second.layer);
	must(first.info.size_bytes == second.info.size_bytes);
	must(first.info.file_bytes == second.info.file_bytes);
	must(first.info.damaged == second.info.damaged);
	bytes_release(&bytes);
}

static int each_line(struct lines *lines)
{
	const char *line;
	size_t size;
	int r;

	while ((r = lines_next(lines, &line, &size)) == 1) {
		must(size < CONTROL_LINE_MAX);
		greeting(line, size);
		request(line, size);
		for (unsigned what = CONTROL_INFO; what <= CONTROL_SWAP; what++)
			reply((enum control_do)what, line, size);
	}
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lines lines;
	size_t piece = size ? (size_t)data[0] * 16 + 1 : 0;

	lines.used = lines.taken = 0;
	for (size_t at = 1; at < size;) {
		size_t room, n;
		char *to = lines_room(&lines, &room);

		must(room > 0 && room <= CONTROL_LINE_MAX);
		n = size - at < piece ? size - at : piece;
		n = n < room ? n : room;
		memcpy(to, data + at, n);
		lines_add(&lines, n);
		at += n;
		if (each_line(&lines) < 0)
			break;
	}
	return 0;
}
