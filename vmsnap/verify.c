/* SPDX-License-Identifier: Apache-2.0 */
/* Verify: a restore to nowhere. Every node and chunk is read, authenticated,
 * and its id recomputed, so the root holds for every byte. */
#include <errno.h>

#include "vmsnap/fetch.h"

static int verify_after(void *arg, unsigned worker,
			struct fetch_segment *segment, struct err *err)
{
	(void)arg;
	(void)worker;
	(void)segment;
	(void)err;
	return 0;
}

static const struct fetch_sink verify_sink = { .after = verify_after };

int vms_verify(struct vms *vms, const struct snapshot *snapshot,
	       struct vms_progress *progress, struct vms_restore_result *result,
	       struct err *err)
{
	struct fetch fetch = {
		.vms = vms,
		.sink = &verify_sink,
		.skip_damaged = true, /* tell all of it, not the first */
		.progress = progress,
		.result = result,
	};
	int r = 0;

	for (size_t i = 0; i < snapshot->volume_count; i++) {
		result->size_bytes += snapshot->volumes[i].size_bytes;
		if (progress)
			progress_add(&progress->total_bytes,
				     snapshot->volumes[i].size_bytes);
	}
	for (size_t i = 0; i < snapshot->volume_count && !r; i++) {
		size_t before = result->damaged.count;

		fetch.volume = &snapshot->volumes[i];
		r = fetch_run(&fetch, err);
		if (!r && result->damaged.count > before)
			break;
	}
	if (!r && result->damaged.count)
		r = err_set(
			err, -EBADMSG, "disk '%s', bytes %llu to %llu: %s",
			fetch.volume->name,
			(unsigned long long)result->damaged.ranges[0].offset,
			(unsigned long long)(result->damaged.ranges[0].offset +
					     result->damaged.ranges[0].length),
			result->first_damage.text);
	return r;
}
