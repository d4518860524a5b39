/* SPDX-License-Identifier: Apache-2.0 */
/* Condemned lists, to and from records: packs that will be deleted. */
#include "format/base/base.h"
#include "format/store/header.h"
#include "format/store/pin.h"
#include "format/store/record_rules.h"

enum condemned_record {
	CONDEMNED_TIME = 1,
	CONDEMNED_NOT_BEFORE = 2,
	CONDEMNED_PACKS = 3,
};
#define CONDEMNED_REQUIRED                                   \
	(1u << CONDEMNED_TIME | 1u << CONDEMNED_NOT_BEFORE | \
	 1u << CONDEMNED_PACKS)

void condemned_release(struct condemned *condemned)
{
	free(condemned->packs);
	memset(condemned, 0, sizeof(*condemned));
}

int condemned_encode(const struct condemned *condemned, struct bytes *out,
		     struct err *err)
{
	size_t before = out->size;
	int r;

	if (condemned->pack_count > SEALED_OBJECT_MAX / ID_SIZE)
		return err_set(err, -EFBIG,
			       "%zu packs do not fit a condemned list: write "
			       "several",
			       condemned->pack_count);
	r = record_put_u64(out, CONDEMNED_TIME, true,
			   (uint64_t)condemned->time_ns, err);
	if (r == 0)
		r = record_put_u64(out, CONDEMNED_NOT_BEFORE, true,
				   (uint64_t)condemned->not_before_ns, err);
	if (r == 0)
		r = record_put(out, CONDEMNED_PACKS, true, condemned->packs,
			       condemned->pack_count * ID_SIZE, err);
	if (r < 0)
		out->size = before;
	return r;
}

static int decode_packs(const struct record *record, struct condemned *into,
			const char *what, struct err *err)
{
	int r;

	if (record->size % ID_SIZE)
		return err_set(err, -EBADMSG,
			       "%s: %zu bytes are no list of pack ids", what,
			       record->size);
	if (record->size == 0)
		return 0;
	r = alloc_array(&into->packs, record->size / ID_SIZE, ID_SIZE, err);
	if (r < 0)
		return r;
	memcpy(into->packs, record->payload, record->size);
	into->pack_count = record->size / ID_SIZE;
	return 0;
}

static int decode_record(const struct record *record, struct condemned *into,
			 uint32_t *seen, const char *what, struct err *err)
{
	uint64_t n;
	int r;

	if (record->type < CONDEMNED_TIME || record->type > CONDEMNED_PACKS)
		return record_unknown(record, what, err);
	r = record_once(record, seen, what, err);
	if (r < 0)
		return r;
	switch ((enum condemned_record)record->type) {
	case CONDEMNED_TIME:
		r = record_u64(record, &n, what, err);
		if (r == 0)
			into->time_ns = (int64_t)n;
		return r;
	case CONDEMNED_NOT_BEFORE:
		r = record_u64(record, &n, what, err);
		if (r == 0)
			into->not_before_ns = (int64_t)n;
		return r;
	case CONDEMNED_PACKS:
		return decode_packs(record, into, what, err);
	}
	return 0;
}

int condemned_decode(const void *data, size_t size, const char *what,
		     struct condemned *out, struct err *err)
{
	struct reader reader = { .at = data, .left = size };
	struct condemned condemned = { 0 };
	struct record record;
	uint32_t seen = 0;
	int r;

	while ((r = record_next(&reader, &record, what, err)) > 0) {
		r = decode_record(&record, &condemned, &seen, what, err);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = record_all(seen, CONDEMNED_REQUIRED, what, err);
	if (r < 0) {
		condemned_release(&condemned);
		return r;
	}
	*out = condemned;
	return 0;
}
