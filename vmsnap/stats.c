/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stats: what the snapshots refer to (stats_trees.c), held against every entry
 * of every table in one pass. What can't be read is left out and counted as
 * damaged; a check tells what is wrong.
 *
 * chunks, unique_bytes and the like are of the disks' data; nodes and filter tags
 * are in use, but are no content of anybody's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/stats.h"

/* ---- entries ---- */

static void histograms_add(struct vms_stats *out, const struct entry *entry,
			   uint32_t references)
{
	uint64_t stored = entry_stored_size(entry) - SEAL_TAG_SIZE;
	uint64_t ratio =
		stored * VMS_HISTOGRAM_BUCKETS / entry_content_size(entry);
	unsigned log2 = 0;

	while (references >>= 1)
		log2++;
	out->by_ratio[min_u64(ratio, VMS_HISTOGRAM_BUCKETS - 1)]++;
	out->by_references[log2]++;
}

static void data_add(struct stats *stats, struct stats_chunk *chunk,
		     const struct entry *entry)
{
	struct vms_stats *out = stats->out;
	uint64_t content = entry_content_size(entry);
	uint64_t stored = entry_stored_size(entry);

	chunk->is_counted = 1;
	if (!chunk->is_disk)
		return;
	out->chunks++;
	out->unique_bytes += content;
	out->unique_stored_bytes += stored;
	histograms_add(out, entry, chunk->references);
	if (chunk->owner < out->snapshot_count) {
		out->snapshots[chunk->owner].unique_bytes += content;
		out->snapshots[chunk->owner].unique_stored_bytes += stored;
	}
}

static bool node_in_use(struct stats *stats, const struct id *id)
{
	for (unsigned level = 1; level <= TREE_LEVELS_MAX; level++) {
		if (node_map_has(&stats->levels[level], id))
			return true;
	}
	return false;
}

/* Of several copies the first counts, the others are needed by nobody. */
static int entry_add(void *arg, const struct id *pack,
		     const struct entry *entry, struct err *err)
{
	struct stats *stats = arg;
	struct stats_chunk *chunk;

	(void)pack;
	(void)err;
	if (entry_kind(entry) == CHUNK_NODE) {
		if (!node_in_use(stats, &entry->id))
			stats->out->unreferenced_bytes +=
				entry_stored_size(entry);
		return 0;
	}
	chunk = chunk_map_find(&stats->chunks, &entry->id);
	if (chunk && !chunk->is_counted)
		data_add(stats, chunk, entry);
	else
		stats->out->unreferenced_bytes += entry_stored_size(entry);
	return 0;
}

/* ---- objects ---- */

struct folder {
	struct stats *stats;
	const char *name;
};

static int object_add(void *arg, const char *leaf, struct err *err)
{
	const struct folder *folder = arg;
	struct vms_stats *out = folder->stats->out;
	bool is_pack = !strcmp(folder->name, "packs");
	char name[OBJECT_NAME_MAX];
	uint64_t size;
	int r = progress_check(folder->stats->progress, err);

	if (r || strlen(leaf) > 64)
		return r;
	if (is_pack)
		snprintf(name, sizeof(name), "packs/%.2s/%.64s", leaf, leaf);
	else
		snprintf(name, sizeof(name), "%.16s/%.64s", folder->name, leaf);
	r = backend_size(store_backend(folder->stats->vms->store), name, &size,
			 NULL);
	if (r) /* gone meanwhile, or no object's name */
		return 0;
	out->store_bytes += size;
	out->packs += is_pack;
	return 0;
}

static int objects_add(struct stats *stats, struct err *err)
{
	static const char *const folders[] = {
		"keys", "packs", "tables", "snapshots", "pins", "condemned",
	};
	struct backend *backend = store_backend(stats->vms->store);
	uint64_t size;
	int r = 0;

	if (!backend_size(backend, "config", &size, NULL))
		stats->out->store_bytes += size;
	for (size_t n = 0; n < ARRAY_SIZE(folders) && !r; n++) {
		struct folder folder = { stats, folders[n] };

		r = backend_list(backend, folders[n], object_add, &folder, err);
	}
	return r;
}

/* ---- the whole ---- */

static int damage_count(void *arg, const char *object, const struct err *why)
{
	struct vms_stats *out = arg;

	(void)object;
	(void)why;
	out->damaged++;
	return 0;
}

static int snapshots_add(struct vms_stats *out,
			 const struct vms_snapshot_list *list, struct err *err)
{
	int r = alloc_array(&out->snapshots, list->count,
			    sizeof(*out->snapshots), err);

	if (r)
		return r;
	out->snapshot_count = list->count;
	out->damaged += list->damaged_count;
	for (size_t n = 0; n < list->count; n++) {
		const struct snapshot *from = &list->snapshots[n];
		struct vms_stats_snapshot *to = &out->snapshots[n];

		to->id = from->id;
		memcpy(to->name, from->name, sizeof(to->name));
		memcpy(to->label, from->label, sizeof(to->label));
		to->time_ns = from->time_ns;
		for (size_t k = 0; k < from->volume_count; k++)
			to->logical_bytes += from->volumes[k].size_bytes;
	}
	return 0;
}

static int stats_run(struct stats *stats, struct err *err)
{
	struct store *store = stats->vms->store;
	struct vms_stats *out = stats->out;
	struct vms_snapshot_list list = { 0 };
	int r = vms_list(stats->vms, NULL, &list, err);

	/* What others have put into the store until then is found whole. */
	if (!r)
		r = vms_refresh(stats->vms, err);
	if (!r)
		r = snapshots_add(out, &list, err);
	if (!r)
		r = stats_trees(stats, &list, err);
	vms_snapshot_list_release(&list);
	if (!r)
		r = index_each(store_index(store),
			       store_thread_sealer(stats->thread), entry_add,
			       stats, err);
	if (!r)
		r = objects_add(stats, err);
	if (r)
		return r;
	out->tables = index_table_count(store_index(store));
	for (unsigned level = 1; level <= TREE_LEVELS_MAX; level++)
		out->nodes += stats->levels[level].count;
	for (size_t n = 0; n < out->snapshot_count; n++) {
		out->logical_bytes += out->snapshots[n].logical_bytes;
		out->data_bytes += out->snapshots[n].data_bytes;
	}
	return store_each_damage(store, damage_count, out);
}

int vms_stats(struct vms *vms, struct vms_progress *progress,
	      struct vms_stats *out, struct err *err)
{
	struct vms_stats made = { 0 };
	struct stats *stats = NULL;
	int r = alloc_array(&stats, 1, sizeof(*stats), err);

	if (r)
		return r;
	stats->vms = vms;
	stats->progress = progress;
	stats->out = &made;
	stats->thread = store_thread_new(vms->store, err);
	r = stats->thread ? stats_run(stats, err) : -ENOMEM;
	store_thread_free(stats->thread);
	for (unsigned level = 1; level <= TREE_LEVELS_MAX; level++)
		free(stats->levels[level].slots);
	free(stats->chunks.slots);
	free(stats);
	if (r) {
		vms_stats_release(&made);
		return r;
	}
	*out = made;
	return 0;
}

void vms_stats_release(struct vms_stats *stats)
{
	free(stats->snapshots);
	memset(stats, 0, sizeof(*stats));
}
