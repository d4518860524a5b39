/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of 1 to 64 volumes whose names differ, as records. */
#include "format/store/volumes.h"

#include "format/base/base.h"
#include "format/store/record_rules.h"

struct volume *volumes_add(struct volume **volumes, size_t *count,
			   struct err *err)
{
	struct volume *grown;

	if (*count >= SNAPSHOT_VOLUMES_MAX) {
		err_set(err, -EFBIG, "more than %d volumes",
			SNAPSHOT_VOLUMES_MAX);
		return NULL;
	}
	grown = reallocarray(*volumes, *count + 1, sizeof(*grown));
	if (!grown) {
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	*volumes = grown;
	memset(&grown[*count], 0, sizeof(*grown));
	return &grown[(*count)++];
}

void volumes_release(struct volume **volumes, size_t *count)
{
	for (size_t n = 0; n < *count; n++)
		volume_release(&(*volumes)[n]);
	free(*volumes);
	*volumes = NULL;
	*count = 0;
}

/* Does the last one bear the name of one before? */
static bool last_repeats(const struct volume *volumes, size_t count)
{
	for (size_t n = 0; n + 1 < count; n++) {
		if (strcmp(volumes[n].name, volumes[count - 1].name) == 0)
			return true;
	}
	return false;
}

int volumes_encode(const struct volume *volumes, size_t count, unsigned type,
		   struct bytes *out, struct err *err)
{
	struct bytes one = { 0 };
	int r = 0;

	if (count < 1 || count > SNAPSHOT_VOLUMES_MAX)
		return err_set(err, -EINVAL, "%zu volumes are not 1 to %d",
			       count, SNAPSHOT_VOLUMES_MAX);
	for (size_t n = 0; n < count && r == 0; n++) {
		if (last_repeats(volumes, n + 1)) {
			r = err_set(err, -EINVAL, "two volumes are called '%s'",
				    volumes[n].name);
			break;
		}
		one.size = 0;
		r = volume_encode(&volumes[n], &one, err);
		if (r == 0)
			r = record_put(out, type, true, one.data, one.size,
				       err);
	}
	bytes_release(&one);
	return r;
}

int volumes_decode(const struct record *record, struct volume **volumes,
		   size_t *count, const char *what, struct err *err)
{
	struct volume *volume;
	int r;

	if (*count >= SNAPSHOT_VOLUMES_MAX)
		return err_set(err, -EBADMSG, "%s: more than %d volumes", what,
			       SNAPSHOT_VOLUMES_MAX);
	volume = volumes_add(volumes, count, err);
	if (!volume)
		return -ENOMEM;
	/* On failure it stays zeroed, and is released with the others. */
	r = volume_decode(record->payload, record->size, what, volume, err);
	if (r < 0)
		return r;
	if (last_repeats(*volumes, *count))
		return err_set(err, -EBADMSG, "%s: two volumes are called '%s'",
			       what, volume->name);
	return 0;
}
