/* SPDX-License-Identifier: Apache-2.0 */
/* Verify: a restore to nowhere. Every node and chunk is read, authenticated,
 * and its id recomputed, so the root holds for every byte. A damaged disk does
 * not keep the others from being looked at. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

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

static int verify_disk(struct vms *vms, const struct volume *volume,
		       struct vms_progress *progress,
		       struct vms_verify_result *result, struct err *err)
{
	struct vms_verify_disk *disk = &result->disks[result->disk_count++];
	struct vms_restore_result found = { 0 };
	const struct fetch fetch = {
		.vms = vms,
		.volume = volume,
		.sink = &verify_sink,
		.skip_damaged = true, /* tell all of it, not the first */
		.progress = progress,
		.result = &found,
	};
	int r = fetch_run(&fetch, err);

	memcpy(disk->name, volume->name, sizeof(disk->name));
	disk->damaged = found.damaged;
	disk->first_damage = found.first_damage;
	result->data_bytes += found.data_bytes;
	return r;
}

/* -EBADMSG and the words of the first, or 0. */
static int tell_damage(const struct vms_verify_result *result, struct err *err)
{
	const struct vms_verify_disk *first = NULL;
	size_t others = 0;
	char more[64] = "";

	for (size_t i = 0; i < result->disk_count; i++) {
		if (!result->disks[i].damaged.count)
			continue;
		others += first != NULL;
		first = first ? first : &result->disks[i];
	}
	if (!first)
		return 0;
	if (others)
		snprintf(more, sizeof(more), " (and %zu more disk%s hurt)",
			 others, others == 1 ? " is" : "s are");
	return err_set(err, -EBADMSG, "disk '%s', bytes %llu to %llu: %s%s",
		       first->name,
		       (unsigned long long)first->damaged.ranges[0].offset,
		       (unsigned long long)(first->damaged.ranges[0].offset +
					    first->damaged.ranges[0].length),
		       first->first_damage.text, more);
}

int vms_verify(struct vms *vms, const struct snapshot *snapshot,
	       struct vms_progress *progress, struct vms_verify_result *result,
	       struct err *err)
{
	int r = alloc_array(&result->disks, snapshot->volume_count + 1,
			    sizeof(*result->disks), err);

	for (size_t i = 0; i < snapshot->volume_count; i++) {
		result->size_bytes += snapshot->volumes[i].size_bytes;
		if (progress)
			progress_add(&progress->total_bytes,
				     snapshot->volumes[i].size_bytes);
	}
	for (size_t i = 0; i < snapshot->volume_count && !r; i++)
		r = verify_disk(vms, &snapshot->volumes[i], progress, result,
				err);
	return r ? r : tell_damage(result, err);
}

void vms_verify_result_release(struct vms_verify_result *result)
{
	for (size_t i = 0; i < result->disk_count; i++)
		ranges_release(&result->disks[i].damaged);
	free(result->disks);
	memset(result, 0, sizeof(*result));
}
