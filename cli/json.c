/* SPDX-License-Identifier: Apache-2.0 */
/* One line a document, keys in the order of the design's pages. */
#include "cli/json.h"

#include <errno.h>

#include "cli/report.h"
#include "cli/text.h"

json_t *json_id(const struct id *id)
{
	char hex[ID_HEX_SIZE];

	if (id_is_null(id))
		return json_null();
	hex_encode(hex, id->b, ID_SIZE);
	return json_string(hex);
}

json_t *json_time(int64_t time_ns)
{
	char text[TIME_TEXT_MAX];

	return json_string(time_iso_text(text, time_ns));
}

json_t *json_text(const char *text)
{
	char escaped[4096];
	json_t *out;

	if (!text)
		return json_null();
	out = json_string(text);
	return out ? out
		   : json_string(escape_name(escaped, sizeof(escaped), text));
}

json_t *json_ranges(const struct range *ranges, size_t count)
{
	json_t *out = json_array();

	for (size_t i = 0; out && i < count; i++) {
		json_t *range =
			json_pack("{s:I, s:I}", "offset_bytes",
				  json_number(ranges[i].offset), "length_bytes",
				  json_number(ranges[i].length));

		if (json_array_append_new(out, range) < 0) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

static json_t *json_disks(const struct snapshot *snapshot)
{
	json_t *out = json_array();

	for (size_t i = 0; out && i < snapshot->volume_count; i++) {
		const struct volume *v = &snapshot->volumes[i];
		json_t *disk = json_pack(
			"{s:o, s:I, s:o, s:I, s:o, s:o}", "name",
			json_text(v->name), "size_bytes",
			json_number(v->size_bytes), "root", json_id(&v->root),
			"chunk_bytes", json_number(volume_chunk_size(v)),
			"source", json_text(v->source), "bad_ranges",
			json_ranges(v->bad, v->bad_count));

		if (json_array_append_new(out, disk) < 0) {
			json_decref(out);
			return NULL;
		}
	}
	return out;
}

json_t *json_snapshot(const struct snapshot *s)
{
	const struct snapshot_totals *t = &s->totals;

	return json_pack(
		"{s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, "
		"s:I, s:I, s:o, s:o, s:o}",
		"type", "snapshot", "id", json_id(&s->id), "name",
		json_text(s->name), "label",
		s->label[0] ? json_text(s->label) : json_null(), "time",
		json_time(s->time_ns), "disks", json_disks(s), "logical_bytes",
		json_number(t->logical_bytes), "scanned_bytes",
		json_number(t->scanned_bytes), "unchanged_bytes",
		json_number(t->unchanged_bytes), "new_chunks",
		json_number(t->new_chunks), "new_content_bytes",
		json_number(t->new_content_bytes), "stored_bytes",
		json_number(t->stored_bytes), "elapsed_us",
		json_number(t->elapsed_us), "sequence",
		json_number(s->sequence), "parent",
		s->has_parent ? json_id(&s->parent) : json_null(), "host",
		json_text(s->host), "writer", json_text(s->writer));
}

char *json_line(json_t *document, struct err *err)
{
	char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;

	json_decref(document);
	if (!text)
		err_set(err, -ENOMEM, "out of memory for JSON");
	return text;
}

int json_say(json_t *document, struct err *err)
{
	char *text = json_line(document, err);

	if (!text)
		return err->code;
	say("%s\n", text);
	free(text);
	return 0;
}
