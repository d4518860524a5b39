/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests, to and from records. That the name's tag is the one in the id
 * takes the id key, and is checked by whoever holds it (store_snapshot.c).
 */
#include "format/store/snapshot.h"

#include <assert.h>

#include "format/base/base.h"
#include "format/store/record_rules.h"
#include "format/store/volumes.h"

enum snapshot_record {
	SNAPSHOT_NAME = 1,
	SNAPSHOT_LABEL = 2,
	SNAPSHOT_SEQUENCE = 3,
	SNAPSHOT_TIME = 4,
	SNAPSHOT_PARENT = 5,
	SNAPSHOT_HOST = 6,
	SNAPSHOT_VOLUME = 7,
	SNAPSHOT_TOTALS = 8,
	SNAPSHOT_ATTACHMENT = 9,
	SNAPSHOT_MACHINE = 10,
	SNAPSHOT_WRITER = 11,
};
#define SNAPSHOT_REQUIRED                                                      \
	(1u << SNAPSHOT_NAME | 1u << SNAPSHOT_SEQUENCE | 1u << SNAPSHOT_TIME | \
	 1u << SNAPSHOT_VOLUME)

struct totals_record {
	le64 logical_bytes;
	le64 scanned_bytes;
	le64 unchanged_bytes;
	le64 new_chunks;
	le64 new_content_bytes;
	le64 stored_bytes;
	le64 elapsed_us;
	le64 reserved;
};
static_assert(sizeof(struct totals_record) == 64, "spec/store.md, Snapshot");

void snapshot_release(struct snapshot *snapshot)
{
	volumes_release(&snapshot->volumes, &snapshot->volume_count);
	free(snapshot->host);
	free(snapshot->writer);
	memset(snapshot, 0, sizeof(*snapshot));
}

struct volume *snapshot_add_volume(struct snapshot *snapshot, struct err *err)
{
	return volumes_add(&snapshot->volumes, &snapshot->volume_count, err);
}

const struct volume *snapshot_volume(const struct snapshot *snapshot,
				     const char *name)
{
	for (size_t n = 0; n < snapshot->volume_count; n++) {
		if (strcmp(snapshot->volumes[n].name, name) == 0)
			return &snapshot->volumes[n];
	}
	return NULL;
}

static int encode_totals(const struct snapshot_totals *totals,
			 struct bytes *out, struct err *err)
{
	struct totals_record record = {
		.logical_bytes = le64_make(totals->logical_bytes),
		.scanned_bytes = le64_make(totals->scanned_bytes),
		.unchanged_bytes = le64_make(totals->unchanged_bytes),
		.new_chunks = le64_make(totals->new_chunks),
		.new_content_bytes = le64_make(totals->new_content_bytes),
		.stored_bytes = le64_make(totals->stored_bytes),
		.elapsed_us = le64_make(totals->elapsed_us),
	};

	return record_put(out, SNAPSHOT_TOTALS, false, &record, sizeof(record),
			  err);
}

static int encode_head(const struct snapshot *snapshot, struct bytes *out,
		       struct err *err)
{
	const char *label = snapshot->label;
	int r;

	r = record_put_text(out, SNAPSHOT_NAME, true, snapshot->name, err);
	if (r == 0 && *label)
		r = record_put_text(out, SNAPSHOT_LABEL, false, label, err);
	if (r == 0)
		r = record_put_u64(out, SNAPSHOT_SEQUENCE, true,
				   snapshot->sequence, err);
	if (r == 0)
		r = record_put_u64(out, SNAPSHOT_TIME, true,
				   (uint64_t)snapshot->time_ns, err);
	if (r == 0 && snapshot->has_parent)
		r = record_put(out, SNAPSHOT_PARENT, false, snapshot->parent.b,
			       ID_SIZE, err);
	if (r == 0)
		r = record_put_limited(out, SNAPSHOT_HOST, false,
				       snapshot->host, SNAPSHOT_TEXT_MAX, err);
	return r;
}

int snapshot_encode(const struct snapshot *snapshot, struct bytes *out,
		    struct err *err)
{
	size_t before = out->size;
	int r;

	if (!name_is_valid(snapshot->name, strlen(snapshot->name)))
		return err_set(err, -EINVAL,
			       "the snapshot's name is not valid");
	if (*snapshot->label &&
	    !name_is_valid(snapshot->label, strlen(snapshot->label)))
		return err_set(err, -EINVAL,
			       "the snapshot's label is not valid");
	if (snapshot->sequence < 1 ||
	    snapshot->sequence != snapshot_id_sequence(&snapshot->id))
		return err_set(err, -EINVAL,
			       "sequence %llu is not the one in the id",
			       (unsigned long long)snapshot->sequence);
	r = encode_head(snapshot, out, err);
	if (r == 0)
		r = volumes_encode(snapshot->volumes, snapshot->volume_count,
				   SNAPSHOT_VOLUME, out, err);
	if (r == 0)
		r = encode_totals(&snapshot->totals, out, err);
	if (r == 0)
		r = record_put_limited(out, SNAPSHOT_WRITER, false,
				       snapshot->writer, SNAPSHOT_TEXT_MAX,
				       err);
	if (r < 0)
		out->size = before;
	return r;
}

static int decode_totals(const struct record *record,
			 struct snapshot_totals *totals, const char *what,
			 struct err *err)
{
	struct totals_record from;

	if (record->size != sizeof(from))
		return err_set(err, -EBADMSG,
			       "%s: totals have %zu bytes instead of %zu", what,
			       record->size, sizeof(from));
	memcpy(&from, record->payload, sizeof(from));
	if (le64_get(from.reserved))
		return err_set(err, -EBADMSG, "%s: reserved bytes are not zero",
			       what);
	totals->logical_bytes = le64_get(from.logical_bytes);
	totals->scanned_bytes = le64_get(from.scanned_bytes);
	totals->unchanged_bytes = le64_get(from.unchanged_bytes);
	totals->new_chunks = le64_get(from.new_chunks);
	totals->new_content_bytes = le64_get(from.new_content_bytes);
	totals->stored_bytes = le64_get(from.stored_bytes);
	totals->elapsed_us = le64_get(from.elapsed_us);
	return 0;
}

static int decode_sequence(const struct record *record, struct snapshot *s,
			   const char *what, struct err *err)
{
	int r = record_u64(record, &s->sequence, what, err);

	if (r < 0)
		return r;
	if (s->sequence < 1 || s->sequence != snapshot_id_sequence(&s->id))
		return err_set(err, -EBADMSG,
			       "%s: sequence %llu is not the one in its name",
			       what, (unsigned long long)s->sequence);
	return 0;
}

static int decode_time(const struct record *record, int64_t *time_ns,
		       const char *what, struct err *err)
{
	uint64_t n;
	int r = record_u64(record, &n, what, err);

	if (r == 0)
		*time_ns = (int64_t)n;
	return r;
}

static int decode_record(const struct record *record, struct snapshot *s,
			 uint32_t *seen, const char *what, struct err *err)
{
	int r = 0;

	if (record->type < SNAPSHOT_NAME || record->type > SNAPSHOT_WRITER)
		return record_unknown(record, what, err);
	if (record->type == SNAPSHOT_VOLUME)
		*seen |= 1u << SNAPSHOT_VOLUME;
	else if (record->type != SNAPSHOT_ATTACHMENT)
		r = record_once(record, seen, what, err);
	if (r < 0)
		return r;
	switch ((enum snapshot_record)record->type) {
	case SNAPSHOT_NAME:
		return record_name(record, s->name, what, err);
	case SNAPSHOT_LABEL:
		return record_name(record, s->label, what, err);
	case SNAPSHOT_SEQUENCE:
		return decode_sequence(record, s, what, err);
	case SNAPSHOT_TIME:
		return decode_time(record, &s->time_ns, what, err);
	case SNAPSHOT_PARENT:
		s->has_parent = true;
		return record_id(record, &s->parent, what, err);
	case SNAPSHOT_HOST:
		return record_text(record, SNAPSHOT_TEXT_MAX, &s->host, what,
				   err);
	case SNAPSHOT_VOLUME:
		return volumes_decode(record, &s->volumes, &s->volume_count,
				      what, err);
	case SNAPSHOT_TOTALS:
		return decode_totals(record, &s->totals, what, err);
	case SNAPSHOT_ATTACHMENT:
	case SNAPSHOT_MACHINE:
		return record_unknown(record, what, err);
	case SNAPSHOT_WRITER:
		return record_text(record, SNAPSHOT_TEXT_MAX, &s->writer, what,
				   err);
	}
	return 0;
}

int snapshot_decode(const struct id *id, const void *data, size_t size,
		    const char *what, struct snapshot *out, struct err *err)
{
	struct reader reader = { .at = data, .left = size };
	struct snapshot snapshot = { .id = *id };
	struct record record;
	uint32_t seen = 0;
	int r;

	while ((r = record_next(&reader, &record, what, err)) > 0) {
		r = decode_record(&record, &snapshot, &seen, what, err);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = record_all(seen, SNAPSHOT_REQUIRED, what, err);
	if (r < 0) {
		snapshot_release(&snapshot);
		return r;
	}
	*out = snapshot;
	return 0;
}
