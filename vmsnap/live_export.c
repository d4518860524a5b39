/* SPDX-License-Identifier: Apache-2.0 */
/* An image as one raw disk again, with the rules of a restore's targets: never
 * half-written under its own name, sparse, a device only when forced. */
#include <errno.h>
#include <string.h>

#include "vmsnap/live.h"
#include "vmsnap/target.h"

struct export
{
	struct vms_live *live;
	struct vms_progress *progress;
	struct target target;
	struct image_queue *queue;
	uint8_t *buffer; /* SEGMENT_BYTES */
	uint64_t size_bytes;
	uint64_t data_bytes;
};

static int write_stream(const uint8_t *data, size_t length, uint64_t offset,
			struct err *err)
{
	while (length) {
		ssize_t n = write(STDOUT_FILENO, data, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno,
				       "standard output at offset %llu",
				       (unsigned long long)offset);
		data += n;
		length -= (size_t)n;
	}
	return 0;
}

static int write_out(struct export *export, size_t length, uint64_t offset,
		     struct err *err)
{
	struct target *target = &export->target;
	/* Direct writes are whole blocks; target_finish() cuts the rest off. */
	size_t padded = (size_t)div_up(length, IO_ALIGNMENT) * IO_ALIGNMENT;
	int r;

	if (target->kind == TARGET_STREAM)
		return write_stream(export->buffer, length, offset, err);
	memset(export->buffer + length, 0, padded - length);
	if (target->kind == TARGET_DEVICE)
		padded = length;
	r = io_write_full(target->io, target->file, export->buffer, padded,
			  offset);
	return r ? err_sys(err, r, "writing '%s' at offset %llu", target->path,
			   (unsigned long long)offset)
		 : 0;
}

/* How many bytes from `offset` on need no work: zeros, on a new file. */
static int skippable(struct export *export, uint64_t offset, uint64_t *skip,
		     struct err *err)
{
	struct image_extent extent;
	uint64_t run;
	int r;

	*skip = 0;
	if (!export->target.is_fresh || export->target.kind == TARGET_STREAM)
		return 0;
	r = vms_live_extent(export->live, offset, export->size_bytes - offset,
			    &extent, err);
	if (r || extent.kind != IMAGE_EXTENT_ZERO)
		return r;
	run = extent.length;
	if (offset + run < export->size_bytes)
		run -= run % SEGMENT_BYTES;
	*skip = run;
	return 0;
}

static int copy_segment(struct export *export, uint64_t offset, size_t length,
			struct err *err)
{
	bool zero;
	int r = image_read(export->queue, export->buffer, length, offset);

	if (r)
		return err_sys(
			err, r, "image '%s': reading %zu bytes at offset %llu",
			export->live->path, length, (unsigned long long)offset);
	zero = bytes_are_zero(export->buffer, length);
	if (!zero)
		export->data_bytes += length;
	if (zero && export->target.is_fresh &&
	    export->target.kind != TARGET_STREAM)
		return 0;
	return write_out(export, length, offset, err);
}

static int copy(struct export *export, struct err *err)
{
	uint64_t at = 0, step;
	int r = 0;

	for (; !r && at < export->size_bytes; at += step) {
		step = 0;
		r = progress_check(export->progress, err);
		if (!r)
			r = skippable(export, at, &step, err);
		if (!r && !step) {
			step = min_u64(SEGMENT_BYTES, export->size_bytes - at);
			r = copy_segment(export, at, (size_t)step, err);
		}
		if (!r && export->progress)
			progress_add(&export->progress->done_bytes, step);
	}
	return r;
}

int vms_live_export(struct vms_live *live, const char *target, bool force,
		    struct vms_progress *progress, uint64_t *data_bytes,
		    struct err *err)
{
	struct vms_restore restore = { .target = target, .force = force };
	struct export export = {
		.live = live,
		.progress = progress,
		.size_bytes = image_size(live->image),
	};
	int r = target_open(&export.target, live->io, &restore,
			    export.size_bytes, err);

	if (r)
		return r;
	if (progress)
		progress_add(&progress->total_bytes, export.size_bytes);
	export.buffer = segment_buffer(CHUNK_LOG2_MIN, err);
	export.queue = image_queue_new(live->image, 8, err);
	if (!export.buffer || !export.queue)
		r = err && err->code ? err->code : -ENOMEM;
	if (!r)
		r = copy(&export, err);
	if (!r)
		r = target_finish(&export.target, err);
	target_close(&export.target);
	image_queue_free(export.queue);
	free(export.buffer);
	if (!r)
		*data_bytes = export.data_bytes;
	return r;
}
