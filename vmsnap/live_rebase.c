/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rebase: another base, and the same disk. The trees of the two bases are
 * walked where they differ; what no layer has there is read from both, and the
 * blocks that are not the same go to the top layer. Order is what keeps it
 * safe: new pin, kept blocks, flush, new head, old pin gone. A kept block holds
 * what the image shows there anyhow, so whatever is broken off has changed
 * nothing, and the next run finds it kept.
 */
#include <errno.h>
#include <string.h>

#include "vmsnap/diff.h"
#include "vmsnap/live.h"

struct rebase {
	struct vms_live *live;
	const struct vms_rebase *how;
	const struct volume *volume;
	struct image_base_info info; /* of the new base */
	struct image_base *base;
	struct image_queue *queue;
	uint8_t *old, *new; /* SEGMENT_BYTES each */
	struct vms_rebase_result result;
};

/* As the new base shows it: zeros past its end. */
static int read_new(struct rebase *rebase, size_t length, uint64_t offset,
		    struct err *err)
{
	struct image_base *base = rebase->base;
	uint64_t size = base->size_bytes, there;
	int r = 0;

	there = offset < size ? min_u64(length, size - offset) : 0;
	if (there)
		r = base->read(base, rebase->new, there, offset);
	memset(rebase->new + there, 0, length - there);
	return r ? err_sys(err, r,
			   "the new base: reading %zu bytes at offset %llu",
			   length, (unsigned long long)offset)
		 : 0;
}

enum fate {
	FATE_SAME,
	FATE_HIDE, /* zeros here, something there */
	FATE_KEEP,
};

static enum fate fate_of(const struct rebase *rebase, size_t at, size_t length)
{
	if (!memcmp(rebase->old + at, rebase->new + at, length))
		return FATE_SAME;
	return bytes_are_zero(rebase->old + at, length) ? FATE_HIDE : FATE_KEEP;
}

static int hide(struct image_queue *queue, size_t length, uint64_t offset)
{
	struct image_request request = {
		.op = IMAGE_HIDE,
		.offset = offset,
		.length = length,
	};

	return image_request_run(queue, &request);
}

/* [at, at + length) of the segment at `offset`. */
static int keep_run(struct rebase *rebase, enum fate fate, uint64_t offset,
		    size_t at, size_t length, struct err *err)
{
	int r;

	if (fate == FATE_SAME)
		return 0;
	r = fate == FATE_HIDE ? hide(rebase->queue, length, offset + at)
			      : image_write(rebase->queue, rebase->old + at,
					    length, offset + at);
	if (r)
		return err_sys(err, r,
			       "image '%s': keeping %zu bytes at offset %llu",
			       rebase->live->path, length,
			       (unsigned long long)(offset + at));
	rebase->result.kept_bytes += length;
	return 0;
}

/* No layer has any of it. */
static int keep_segment(struct rebase *rebase, size_t length, uint64_t offset,
			struct err *err)
{
	enum fate fate = FATE_SAME;
	size_t start = 0;
	int r = image_read(rebase->queue, rebase->old, length, offset);

	if (r)
		return err_sys(
			err, r, "image '%s': reading %zu bytes at offset %llu",
			rebase->live->path, length, (unsigned long long)offset);
	r = read_new(rebase, length, offset, err);
	for (size_t at = 0; !r && at < length; at += IMAGE_BLOCK_SIZE) {
		enum fate next = fate_of(
			rebase, at, min_u64(IMAGE_BLOCK_SIZE, length - at));

		if (next == fate)
			continue;
		r = keep_run(rebase, fate, offset, start, at - start, err);
		start = at;
		fate = next;
	}
	if (!r)
		r = keep_run(rebase, fate, offset, start, length - start, err);
	rebase->result.compared_bytes += length;
	if (!r && rebase->how->progress)
		progress_add(&rebase->how->progress->done_bytes, length);
	return r;
}

static int keep_extent(struct rebase *rebase, const struct image_extent *extent,
		       struct err *err)
{
	uint64_t at = extent->offset, end = at + extent->length, step;
	int r = 0;

	/* A layer has it: no base shows there. */
	if (extent->layer)
		return 0;
	for (; !r && at < end; at += step) {
		step = min_u64(SEGMENT_BYTES, end - at);
		r = progress_check(rebase->how->progress, err);
		if (!r)
			r = keep_segment(rebase, (size_t)step, at, err);
	}
	return r;
}

/* A range in which the bases differ, as far as their trees tell. */
static int keep_range(void *arg, const char *disk, uint64_t offset,
		      uint64_t length, struct err *err)
{
	struct rebase *rebase = arg;
	struct image *image = rebase->live->image;
	uint64_t end = div_up(offset + length, IMAGE_BLOCK_SIZE);
	struct image_extent extent;
	int r = 0;

	(void)disk;
	end = min_u64(end * IMAGE_BLOCK_SIZE, image_size(image));
	for (; !r && offset < end; offset += extent.length) {
		r = image_extent(image, offset, end - offset, &extent, err);
		if (!r)
			r = keep_extent(rebase, &extent, err);
	}
	return r;
}

static int keep_all(struct rebase *rebase, struct err *err)
{
	struct vms_live *live = rebase->live;
	struct volume old = live_base_volume(&live->info);
	int r;

	/* No base is one without a byte; its chunks may have any size. */
	if (!live->info.present)
		old.chunk_log2 = rebase->volume->chunk_log2;
	r = diff_volumes(live->vms, &old, rebase->volume, keep_range, rebase,
			 err);
	if (r)
		return r;
	r = image_flush(rebase->queue);
	return r ? err_sys(err, r, "image '%s': flushing what was kept",
			   live->path)
		 : 0;
}

static int put_pin(struct rebase *rebase, struct err *err)
{
	struct vms_live *live = rebase->live;
	const struct vms_rebase *how = rebase->how;
	struct err why = { 0 };
	/* What an earlier swap left goes by what the head says. */
	int r = image_settle_head(live->image, err);

	if (r)
		return r;
	live_swap_tidy(live, how->warn, how->warn_arg);
	r = live_swap_begin(live, 0, rebase->volume, &how->snapshot->id,
			    &rebase->info, &why);
	if (r && r != -EROFS) {
		*err = why;
		return r;
	}
	if (r) {
		memset(rebase->info.pin, 0, sizeof(rebase->info.pin));
		live_pin_missing(&why, how->warn, how->warn_arg);
	}
	return 0;
}

static int run(struct rebase *rebase, struct err *err)
{
	struct vms_live *live = rebase->live;
	const struct vms_rebase *how = rebase->how;
	struct image_base *base;
	int r = live_base_describe(live->vms, rebase->volume, &rebase->info,
				   err);

	if (!r)
		r = put_pin(rebase, err);
	if (r)
		return r;
	memcpy(rebase->info.snapshot, how->snapshot->id.b, ID_SIZE);
	r = live_base_open(live, &rebase->info, &rebase->base, err);
	if (!r)
		r = keep_all(rebase, err);
	if (r) {
		(void)live_swap_end(live->vms, live->io, live->path, NULL);
		return r;
	}
	base = rebase->base;
	rebase->base = NULL;
	return live_base_swap(live, 0, &rebase->info, base, how->warn,
			      how->warn_arg, err);
}

int vms_live_rebase(struct vms_live *live, const struct vms_rebase *how,
		    struct vms_rebase_result *result, struct err *err)
{
	struct rebase rebase = { .live = live, .how = how };
	int r;

	if (!live->vms)
		return err_set(err, -EINVAL,
			       "image '%s': a base in which store?",
			       live->path);
	r = live_find_volume(how->snapshot, how->disk,
			     live->info.present ? live->info.disk : NULL,
			     &rebase.volume, err);
	if (r)
		return r;
	rebase.old = segment_buffer(CHUNK_LOG2_MIN, err);
	rebase.new = segment_buffer(CHUNK_LOG2_MIN, err);
	rebase.queue = image_queue_new(live->image, 8, err);
	if (!rebase.old || !rebase.new || !rebase.queue)
		r = err && err->code ? err->code : -ENOMEM;
	if (!r)
		r = run(&rebase, err);
	if (rebase.base)
		rebase.base->close(rebase.base);
	image_queue_free(rebase.queue);
	free(rebase.old);
	free(rebase.new);
	if (!r)
		*result = rebase.result;
	return r;
}
