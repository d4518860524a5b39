/* SPDX-License-Identifier: Apache-2.0 */
/* Pins, to and from records: whose root something live stands on. */
#include "format/store/pin.h"

#include "format/base/base.h"
#include "format/store/record_rules.h"
#include "format/store/volumes.h"

enum pin_record {
	PIN_OWNER = 1,
	PIN_HOST = 2,
	PIN_PATH = 3,
	PIN_TIME = 4,
	PIN_VOLUME = 5,
	PIN_SNAPSHOT = 6,
};
#define PIN_REQUIRED (1u << PIN_OWNER | 1u << PIN_TIME | 1u << PIN_VOLUME)
#define PIN_PATH_MAX 4096

void pin_release(struct pin *pin)
{
	free(pin->owner);
	free(pin->host);
	free(pin->path);
	volumes_release(&pin->volumes, &pin->volume_count);
	memset(pin, 0, sizeof(*pin));
}

int pin_encode(const struct pin *pin, struct bytes *out, struct err *err)
{
	size_t before = out->size;
	int r;

	if (!pin->owner)
		return err_set(err, -EINVAL, "a pin needs an owner");
	r = record_put_limited(out, PIN_OWNER, true, pin->owner,
			       SNAPSHOT_TEXT_MAX, err);
	if (r == 0)
		r = record_put_limited(out, PIN_HOST, false, pin->host,
				       SNAPSHOT_TEXT_MAX, err);
	if (r == 0)
		r = record_put_limited(out, PIN_PATH, false, pin->path,
				       PIN_PATH_MAX, err);
	if (r == 0)
		r = record_put_u64(out, PIN_TIME, true, (uint64_t)pin->time_ns,
				   err);
	if (r == 0)
		r = volumes_encode(pin->volumes, pin->volume_count, PIN_VOLUME,
				   out, err);
	if (r == 0 && pin->has_snapshot)
		r = record_put(out, PIN_SNAPSHOT, false, pin->snapshot.b,
			       ID_SIZE, err);
	if (r < 0)
		out->size = before;
	return r;
}

static int decode_record(const struct record *record, struct pin *pin,
			 uint32_t *seen, const char *what, struct err *err)
{
	uint64_t n;
	int r = 0;

	if (record->type < PIN_OWNER || record->type > PIN_SNAPSHOT)
		return record_unknown(record, what, err);
	if (record->type == PIN_VOLUME)
		*seen |= 1u << PIN_VOLUME;
	else
		r = record_once(record, seen, what, err);
	if (r < 0)
		return r;
	switch ((enum pin_record)record->type) {
	case PIN_OWNER:
		return record_text(record, SNAPSHOT_TEXT_MAX, &pin->owner, what,
				   err);
	case PIN_HOST:
		return record_text(record, SNAPSHOT_TEXT_MAX, &pin->host, what,
				   err);
	case PIN_PATH:
		return record_text(record, PIN_PATH_MAX, &pin->path, what, err);
	case PIN_TIME:
		r = record_u64(record, &n, what, err);
		if (r == 0)
			pin->time_ns = (int64_t)n;
		return r;
	case PIN_VOLUME:
		return volumes_decode(record, &pin->volumes, &pin->volume_count,
				      what, err);
	case PIN_SNAPSHOT:
		pin->has_snapshot = true;
		return record_id(record, &pin->snapshot, what, err);
	}
	return 0;
}

int pin_decode(const void *data, size_t size, const char *what, struct pin *out,
	       struct err *err)
{
	struct reader reader = { .at = data, .left = size };
	struct pin pin = { 0 };
	struct record record;
	uint32_t seen = 0;
	int r;

	while ((r = record_next(&reader, &record, what, err)) > 0) {
		r = decode_record(&record, &pin, &seen, what, err);
		if (r < 0)
			break;
	}
	if (r == 0)
		r = record_all(seen, PIN_REQUIRED, what, err);
	if (r < 0) {
		pin_release(&pin);
		return r;
	}
	*out = pin;
	return 0;
}
