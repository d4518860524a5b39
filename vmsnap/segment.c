/* SPDX-License-Identifier: Apache-2.0 */
/* The small things that every pass over a volume needs: segments, progress,
 * byte ranges. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "vmsnap/engine.h"

#define STOP_LOOK_MS 100 /* a signal may come just before a wait */

unsigned segment_chunks(unsigned chunk_log2)
{
	uint64_t chunk = 1ULL << chunk_log2;

	return chunk >= SEGMENT_BYTES ? 1 : (unsigned)(SEGMENT_BYTES / chunk);
}

size_t segment_bytes(unsigned chunk_log2)
{
	return (size_t)max_u64(SEGMENT_BYTES, 1ULL << chunk_log2);
}

void *segment_buffer(unsigned chunk_log2, struct err *err)
{
	void *buffer = aligned_alloc(IO_ALIGNMENT, segment_bytes(chunk_log2));

	if (!buffer)
		err_set(err, -ENOMEM, "out of memory for a segment's buffer");
	return buffer;
}

uint32_t volume_chunk_bytes(const struct volume *volume, uint64_t number)
{
	uint64_t start = number << volume->chunk_log2;

	return (uint32_t)min_u64(volume_chunk_size(volume),
				 volume->size_bytes - start);
}

int progress_check(const struct vms_progress *progress, struct err *err)
{
	if (progress &&
	    atomic_load_explicit(&progress->stop, memory_order_relaxed))
		return err_set(err, -ECANCELED, "stopped on request");
	return 0;
}

int progress_wait(const struct vms_progress *progress, int fd, int64_t most_ms,
		  struct err *err)
{
	struct pollfd look = { .fd = fd, .events = POLLIN };
	int64_t some = most_ms < STOP_LOOK_MS ? most_ms : STOP_LOOK_MS;
	int r = poll(&look, 1, some > 0 ? (int)some : 0);

	if (r > 0)
		return 1;
	if (r < 0 && errno != EINTR)
		return err_sys(err, -errno, "poll");
	return progress_check(progress, err);
}

void progress_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

int ranges_add(struct vms_ranges *ranges, uint64_t offset, uint64_t length,
	       struct err *err)
{
	struct range *last;

	if (ranges->count) {
		last = &ranges->ranges[ranges->count - 1];
		if (last->offset + last->length == offset) {
			last->length += length;
			return 0;
		}
	}
	if (ranges->count == ranges->capacity) {
		size_t capacity = ranges->capacity ? ranges->capacity * 2 : 16;
		struct range *more =
			realloc(ranges->ranges, capacity * sizeof(*more));

		if (!more)
			return err_set(err, -ENOMEM,
				       "out of memory for a list of ranges");
		ranges->ranges = more;
		ranges->capacity = capacity;
	}
	ranges->ranges[ranges->count].offset = offset;
	ranges->ranges[ranges->count].length = length;
	ranges->count++;
	return 0;
}

static int range_compare(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

void ranges_sort(struct vms_ranges *ranges)
{
	size_t kept = 0;

	if (!ranges->count)
		return;
	qsort(ranges->ranges, ranges->count, sizeof(*ranges->ranges),
	      range_compare);
	for (size_t i = 1; i < ranges->count; i++) {
		struct range *last = &ranges->ranges[kept];
		const struct range *next = &ranges->ranges[i];
		uint64_t end = last->offset + last->length;

		if (next->offset > end)
			ranges->ranges[++kept] = *next;
		else
			last->length =
				max_u64(end, next->offset + next->length) -
				last->offset;
	}
	ranges->count = kept + 1;
}

void ranges_release(struct vms_ranges *ranges)
{
	free(ranges->ranges);
	memset(ranges, 0, sizeof(*ranges));
}
