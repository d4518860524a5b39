/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backup: names checked, sources opened, each disk scanned by the workers,
 * and at the end one commit. Nothing before the commit can be seen in the
 * store; what was stored by then is found again by the next run.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/backup_disk.h"
#include "vmsnap/live.h"

struct run {
	struct vms *vms;
	const struct vms_backup *backup;
	struct store_thread **threads;
	struct source *sources; /* source_count, those opened first */
	size_t opened;
	struct snapshot parent;
	bool has_parent;
};

static void backup_warn(const struct vms_backup *backup, const char *text)
{
	if (backup->warn)
		backup->warn(backup->warn_arg, text);
}

static int names_check(const struct vms_backup *backup, struct err *err)
{
	int r = snapshot_names_check(backup->name, backup->label, err);

	if (r)
		return r;
	if (backup->chunk_log2 && (backup->chunk_log2 < CHUNK_LOG2_MIN ||
				   backup->chunk_log2 > CHUNK_LOG2_MAX))
		return err_set(err, -EINVAL,
			       "a chunk has 2^%u to 2^%u bytes, not 2^%u",
			       CHUNK_LOG2_MIN, CHUNK_LOG2_MAX,
			       backup->chunk_log2);
	if (!backup->source_count ||
	    backup->source_count > SNAPSHOT_VOLUMES_MAX)
		return err_set(err, -EINVAL,
			       "a snapshot has 1 to %d disks, not %zu",
			       SNAPSHOT_VOLUMES_MAX, backup->source_count);
	for (size_t i = 0; i < backup->source_count; i++) {
		const char *disk = backup->sources[i].disk;

		if (!name_is_valid(disk, strlen(disk)))
			return err_set(err, -EINVAL,
				       "'%s' is no name for a disk: use %s",
				       disk, NAME_RULE);
		for (size_t k = 0; k < i; k++) {
			if (!strcmp(disk, backup->sources[k].disk))
				return err_set(err, -EINVAL,
					       "two disks are named '%s'",
					       disk);
		}
	}
	return 0;
}

static int parent_find(struct run *run, struct err *err)
{
	struct err why = { 0 };
	char text[ERR_TEXT_MAX + 128];
	int r = store_latest_snapshot(run->threads[0], run->backup->name,
				      &run->parent, &why);

	if (r == -ENOENT)
		return 0;
	if (r == -ENOMEM) {
		if (err)
			*err = why;
		return r;
	}
	if (r) {
		snprintf(
			text, sizeof(text),
			"the last snapshot can't be read, so all is read anew: %s",
			why.text);
		backup_warn(run->backup, text);
		return 0;
	}
	run->has_parent = true;
	return 0;
}

static int sources_open(struct run *run, struct err *err)
{
	const struct vms_backup *backup = run->backup;
	struct vms_progress *progress = backup->progress;
	unsigned streams = 0;
	int r;

	for (size_t i = 0; i < backup->source_count; i++) {
		struct source *source = &run->sources[i];

		if (source_names_image(run->vms->io, &backup->sources[i]))
			r = source_open_image(source, run->vms,
					      &backup->sources[i], err);
		else
			r = source_open(source, run->vms->io,
					&backup->sources[i], backup->warn,
					backup->warn_arg, err);
		if (r)
			return r;
		run->opened++;
		source->progress = progress;
		if (source->size_bytes > VOLUME_SIZE_MAX)
			return err_set(err, -EFBIG,
				       "source '%s' is larger than 64 TiB",
				       source->location);
		streams += source->is_stream;
		if (streams > 1)
			return err_set(err, -EINVAL,
				       "only one source can be standard input");
		if (progress)
			progress_add(&progress->total_bytes,
				     source->size_bytes);
	}
	return 0;
}

static unsigned chunk_log2_choose(const struct run *run,
				  const struct source *source,
				  const struct volume *parent)
{
	if (run->backup->chunk_log2)
		return run->backup->chunk_log2;
	if (source->live && source->live->info.present)
		return source->live->info.chunk_log2;
	if (parent)
		return parent->chunk_log2;
	return store_config(run->vms->store)->chunk_log2;
}

/* Its layers say what has changed. */
static int image_run(struct run *run, struct source *source,
		     struct volume *volume, struct snapshot_totals *totals,
		     struct err *err)
{
	struct live_tree tree = {
		.live = source->live,
		.vms = run->vms,
		.threads = run->threads,
		/* Another store has other keys, so other ids. */
		.keep_ids = !run->backup->rehash &&
			    source->live->vms == run->vms &&
			    source->live->info.chunk_log2 == volume->chunk_log2,
		.volume = volume,
		.totals = totals,
		.progress = run->backup->progress,
	};

	return live_tree_build(&tree, err);
}

static int disk_run(struct run *run, struct snapshot *snapshot, size_t i,
		    struct err *err)
{
	const struct vms_source *from = &run->backup->sources[i];
	const struct volume *parent =
		run->has_parent ? snapshot_volume(&run->parent, from->disk)
				: NULL;
	struct volume *volume = snapshot_add_volume(snapshot, err);
	struct backup_disk disk = {
		.vms = run->vms,
		.backup = run->backup,
		.threads = run->threads,
		.source = &run->sources[i],
		.volume = volume,
		.totals = &snapshot->totals,
	};
	char source[VOLUME_SOURCE_MAX + 1];

	if (!volume)
		return -ENOMEM;
	snprintf(volume->name, sizeof(volume->name), "%s", from->disk);
	volume->size_bytes = run->sources[i].size_bytes;
	volume->chunk_log2 = chunk_log2_choose(run, &run->sources[i], parent);
	/* A file's name need not be text. */
	escape_name(source, sizeof(source), from->location);
	volume->source = strdup(source);
	if (!volume->source)
		return err_set(err, -ENOMEM, "out of memory");
	snapshot->totals.logical_bytes += volume->size_bytes;
	if (run->sources[i].live)
		return image_run(run, &run->sources[i], volume,
				 &snapshot->totals, err);
	if (parent && parent->has_tags && !run->backup->rehash &&
	    parent->chunk_log2 == volume->chunk_log2)
		disk.parent = parent;
	return backup_disk(&disk, err);
}

static int run_all(struct run *run, struct snapshot *snapshot, struct err *err)
{
	uint64_t stored = store_stored_bytes(run->vms->store);
	int64_t started = time_monotonic_ns();
	int r = parent_find(run, err);

	if (!r)
		r = sources_open(run, err);
	if (!r)
		r = snapshot_begin(
			snapshot, run->backup->name, run->backup->label,
			run->has_parent ? &run->parent.id : NULL, err);
	for (size_t i = 0; i < run->backup->source_count && !r; i++)
		r = disk_run(run, snapshot, i, err);
	for (unsigned i = 0; i < run->vms->workers && !r; i++)
		r = store_thread_flush(run->threads[i], err);
	if (!r)
		r = progress_check(run->backup->progress, err);
	if (r)
		return r;
	snapshot->totals.stored_bytes =
		store_stored_bytes(run->vms->store) - stored;
	snapshot->totals.elapsed_us =
		(uint64_t)(time_monotonic_ns() - started) / 1000;
	return store_commit(run->vms->store, run->threads[0], snapshot, err);
}

static int run_open(struct run *run, struct err *err)
{
	int r = alloc_array(&run->threads, run->vms->workers,
			    sizeof(*run->threads), err);

	if (!r)
		r = alloc_array(&run->sources, run->backup->source_count,
				sizeof(*run->sources), err);
	for (unsigned i = 0; i < run->vms->workers && !r; i++) {
		run->threads[i] = store_thread_new(run->vms->store, err);
		if (!run->threads[i])
			r = err && err->code ? err->code : -ENOMEM;
	}
	return r;
}

static void run_close(struct run *run)
{
	for (size_t i = 0; i < run->opened; i++)
		source_close(&run->sources[i]);
	for (unsigned i = 0; run->threads && i < run->vms->workers; i++)
		store_thread_free(run->threads[i]);
	snapshot_release(&run->parent);
	free(run->threads);
	free(run->sources);
}

int vms_backup(struct vms *vms, const struct vms_backup *backup,
	       struct snapshot *out, struct err *err)
{
	struct run run = { .vms = vms, .backup = backup };
	struct snapshot snapshot = { 0 };
	int r = names_check(backup, err);

	if (!r)
		r = snapshot_label_check(vms, backup->name, backup->label, err);
	if (r)
		return r;
	r = run_open(&run, err);
	if (!r)
		r = run_all(&run, &snapshot, err);
	run_close(&run);
	if (r) {
		snapshot_release(&snapshot);
		return r;
	}
	*out = snapshot;
	return 0;
}
