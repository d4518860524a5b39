/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of one volume, shared by snapshots and pins. The writer refuses
 * whatever the reader would: nothing is stored that can't be read back.
 */
#include "format/store/snapshot.h"

#include <assert.h>

#include "format/base/base.h"
#include "format/store/record_rules.h"
#include "format/store/seal.h"

enum volume_record {
	VOLUME_NAME = 1,
	VOLUME_SIZE = 2,
	VOLUME_CHUNK = 3,
	VOLUME_ROOT = 4,
	VOLUME_TAGS = 5,
	VOLUME_BAD = 6,
	VOLUME_SOURCE = 7,
};
#define VOLUME_REQUIRED                                               \
	(1u << VOLUME_NAME | 1u << VOLUME_SIZE | 1u << VOLUME_CHUNK | \
	 1u << VOLUME_ROOT)

struct range_record {
	le64 offset;
	le64 length;
};
static_assert(sizeof(struct range_record) == 16, "spec/store.md, Volume");

struct volume volume_of_tags(const struct volume *v)
{
	return (struct volume){
		.size_bytes = volume_chunk_count(v) * FILTER_TAG_SIZE,
		.chunk_log2 = TAGS_CHUNK_LOG2,
		.root = v->tags,
	};
}

void volume_release(struct volume *volume)
{
	free(volume->bad);
	free(volume->source);
	memset(volume, 0, sizeof(*volume));
}

/* What the volume's values break, or NULL; its name is checked elsewhere. */
static const char *volume_wrong(const struct volume *volume)
{
	uint64_t end = 0;

	if (volume->size_bytes > VOLUME_SIZE_MAX)
		return "it is larger than 64 TiB";
	if (volume->chunk_log2 < CHUNK_LOG2_MIN ||
	    volume->chunk_log2 > CHUNK_LOG2_MAX)
		return "its chunk size is not 16 KiB to 4 MiB";
	if (volume->size_bytes == 0 &&
	    (!id_is_null(&volume->root) ||
	     (volume->has_tags && !id_is_null(&volume->tags))))
		return "it is empty, but has a root";
	for (size_t n = 0; n < volume->bad_count; n++) {
		const struct range *bad = &volume->bad[n];

		if (bad->length == 0 || bad->offset < end)
			return "its bad ranges do not ascend";
		if (bad->offset > volume->size_bytes ||
		    bad->length > volume->size_bytes - bad->offset)
			return "a bad range lies past its end";
		end = bad->offset + bad->length;
	}
	return NULL;
}

static int encode_bad(const struct volume *volume, struct bytes *out,
		      struct err *err)
{
	autofree struct range_record *pairs = NULL;
	int r;

	if (volume->bad_count == 0)
		return 0;
	if (volume->bad_count > VOLUME_BAD_RANGES_MAX)
		return err_set(err, -EFBIG,
			       "volume '%s' has %zu bad ranges, at most %u fit",
			       volume->name, volume->bad_count,
			       VOLUME_BAD_RANGES_MAX);
	r = alloc_array(&pairs, volume->bad_count, sizeof(*pairs), err);
	if (r < 0)
		return r;
	for (size_t n = 0; n < volume->bad_count; n++) {
		pairs[n].offset = le64_make(volume->bad[n].offset);
		pairs[n].length = le64_make(volume->bad[n].length);
	}
	return record_put(out, VOLUME_BAD, false, pairs,
			  volume->bad_count * sizeof(*pairs), err);
}

int volume_encode(const struct volume *volume, struct bytes *out,
		  struct err *err)
{
	const char *wrong = volume_wrong(volume);
	int r;

	if (!name_is_valid(volume->name, strlen(volume->name)))
		return err_set(err, -EINVAL, "a volume's name is not valid");
	if (wrong)
		return err_set(err, -EINVAL, "volume '%s': %s", volume->name,
			       wrong);
	r = record_put_text(out, VOLUME_NAME, true, volume->name, err);
	if (r == 0)
		r = record_put_u64(out, VOLUME_SIZE, true, volume->size_bytes,
				   err);
	if (r == 0)
		r = record_put_u32(out, VOLUME_CHUNK, true, volume->chunk_log2,
				   err);
	if (r == 0)
		r = record_put(out, VOLUME_ROOT, true, volume->root.b, ID_SIZE,
			       err);
	if (r == 0 && volume->has_tags)
		r = record_put(out, VOLUME_TAGS, false, volume->tags.b, ID_SIZE,
			       err);
	if (r == 0)
		r = encode_bad(volume, out, err);
	if (r == 0)
		r = record_put_limited(out, VOLUME_SOURCE, false,
				       volume->source, VOLUME_SOURCE_MAX, err);
	return r;
}

static int decode_bad(const struct record *record, struct volume *volume,
		      const char *what, struct err *err)
{
	size_t count = record->size / sizeof(struct range_record);
	struct range_record pair;
	int r;

	if (record->size % sizeof(pair) || count < 1 ||
	    count > VOLUME_BAD_RANGES_MAX)
		return err_set(err, -EBADMSG,
			       "%s: %zu bytes of bad ranges are not 1 to %u "
			       "pairs",
			       what, record->size, VOLUME_BAD_RANGES_MAX);
	r = alloc_array(&volume->bad, count, sizeof(*volume->bad), err);
	if (r < 0)
		return r;
	for (size_t n = 0; n < count; n++) {
		memcpy(&pair, record->payload + n * sizeof(pair), sizeof(pair));
		volume->bad[n].offset = le64_get(pair.offset);
		volume->bad[n].length = le64_get(pair.length);
	}
	volume->bad_count = count;
	return 0;
}

static int decode_record(const struct record *record, struct volume *volume,
			 uint32_t *seen, const char *what, struct err *err)
{
	int r;

	if (record->type < VOLUME_NAME || record->type > VOLUME_SOURCE)
		return record_unknown(record, what, err);
	r = record_once(record, seen, what, err);
	if (r < 0)
		return r;
	switch ((enum volume_record)record->type) {
	case VOLUME_NAME:
		return record_name(record, volume->name, what, err);
	case VOLUME_SIZE:
		return record_u64(record, &volume->size_bytes, what, err);
	case VOLUME_CHUNK:
		return record_u32(record, &volume->chunk_log2, what, err);
	case VOLUME_ROOT:
		return record_id(record, &volume->root, what, err);
	case VOLUME_TAGS:
		volume->has_tags = true;
		return record_id(record, &volume->tags, what, err);
	case VOLUME_BAD:
		return decode_bad(record, volume, what, err);
	case VOLUME_SOURCE:
		return record_text(record, VOLUME_SOURCE_MAX, &volume->source,
				   what, err);
	}
	return 0;
}

int volume_decode(const void *data, size_t size, const char *what,
		  struct volume *out, struct err *err)
{
	struct reader reader = { .at = data, .left = size };
	struct volume volume = { 0 };
	struct record record;
	const char *wrong;
	uint32_t seen = 0;
	int r;

	while ((r = record_next(&reader, &record, what, err)) > 0) {
		r = decode_record(&record, &volume, &seen, what, err);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = record_all(seen, VOLUME_REQUIRED, what, err);
	if (r == 0) {
		wrong = volume_wrong(&volume);
		if (wrong)
			r = err_set(err, -EBADMSG, "%s: volume '%s': %s", what,
				    volume.name, wrong);
	}
	if (r < 0) {
		volume_release(&volume);
		return r;
	}
	*out = volume;
	return 0;
}
