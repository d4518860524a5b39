/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two volumes of different chunk sizes, side by side, a window of the largest
 * chunk size at a time; windows that are holes in both are skipped. What
 * differs is told in units of the smaller chunk size.
 */
#include <errno.h>
#include <string.h>

#include "vmsnap/diff.h"

#define WINDOW        ((uint64_t)CHUNK_SIZE_MAX)
#define WINDOW_CHUNKS (CHUNK_SIZE_MAX >> CHUNK_LOG2_MIN)

struct side {
	const struct volume *volume;
	uint64_t chunk_count;
	struct tree_reader *reader;
	uint8_t *content; /* WINDOW bytes */
	struct id ids[WINDOW_CHUNKS];
	struct store_read reads[WINDOW_CHUNKS];
};

static int side_open(struct side *side, struct store_thread *thread,
		     const struct volume *volume, struct err *err)
{
	int r = alloc_array(&side->content, WINDOW, 1, err);

	side->volume = volume;
	side->chunk_count = volume_chunk_count(volume);
	if (!r)
		r = tree_reader_new(&side->reader, thread, &volume->root,
				    side->chunk_count, err);
	return r;
}

static void side_close(struct side *side)
{
	tree_reader_free(side->reader);
	free(side->content);
}

/* Where the next data at or after `offset` is; UINT64_MAX: none. */
static int side_next(struct side *side, uint64_t offset, uint64_t *next,
		     struct err *err)
{
	unsigned log2 = side->volume->chunk_log2;
	uint64_t found;
	int r;

	*next = UINT64_MAX;
	if (offset >= side->volume->size_bytes)
		return 0;
	r = tree_reader_next_data(side->reader, offset >> log2, &found, NULL,
				  NULL, err);
	if (!r && found < side->chunk_count)
		*next = found << log2;
	return r;
}

/* The window at `offset`; past the end and in holes: zeros. */
static int side_read(struct side *side, struct store_thread *thread,
		     uint64_t offset, struct err *err)
{
	const struct volume *volume = side->volume;
	uint64_t first = offset >> volume->chunk_log2, count;
	size_t wanted = 0;
	int r;

	memset(side->content, 0, WINDOW);
	if (first >= side->chunk_count)
		return 0;
	count = min_u64(side->chunk_count - first,
			WINDOW >> volume->chunk_log2);
	r = tree_reader_ids(side->reader, first, count, side->ids, NULL, NULL,
			    err);
	for (uint64_t n = 0; n < count && !r; n++) {
		if (id_is_null(&side->ids[n]))
			continue;
		side->reads[wanted++] = (struct store_read){
			.id = side->ids[n],
			.kind = CHUNK_DATA,
			.content = side->content + (n << volume->chunk_log2),
			.content_size = volume_chunk_bytes(volume, first + n),
		};
	}
	if (!r && wanted)
		r = store_get_many(thread, side->reads, wanted, err);
	if (r)
		err_prefix(err, "disk '%s', from byte %llu on", volume->name,
			   (unsigned long long)offset);
	return r;
}

static int window_compare(struct diff_disk *diff, const struct side *sides,
			  uint64_t offset, struct err *err)
{
	unsigned log2 = sides[0].volume->chunk_log2;
	uint64_t step;
	int r = 0;

	if (sides[1].volume->chunk_log2 < log2)
		log2 = sides[1].volume->chunk_log2;
	step = 1ULL << log2;
	for (uint64_t at = 0; at < WINDOW && !r; at += step) {
		if (memcmp(sides[0].content + at, sides[1].content + at, step))
			r = diff_found(diff, offset + at, offset + at + step,
				       err);
	}
	return r;
}

static int sides_compare(struct diff_disk *diff, struct side *sides,
			 struct err *err)
{
	uint64_t at = 0;

	for (;;) {
		uint64_t a = UINT64_MAX, b = UINT64_MAX;
		int r = side_next(&sides[0], at, &a, err);

		if (!r)
			r = side_next(&sides[1], at, &b, err);
		if (r)
			return r;
		at = min_u64(a, b);
		if (at == UINT64_MAX)
			return 0;
		at &= -WINDOW;
		r = diff_reached(diff, at, err);
		if (!r)
			r = side_read(&sides[0], diff->thread, at, err);
		if (!r)
			r = side_read(&sides[1], diff->thread, at, err);
		if (!r)
			r = window_compare(diff, sides, at, err);
		if (r)
			return r;
		at += WINDOW;
	}
}

int diff_content(struct diff_disk *diff, struct err *err)
{
	struct side *sides = NULL;
	int r = alloc_array(&sides, 2, sizeof(*sides), err);

	if (r)
		return r;
	r = side_open(&sides[0], diff->thread, diff->a, err);
	if (!r)
		r = side_open(&sides[1], diff->thread, diff->b, err);
	if (!r)
		r = sides_compare(diff, sides, err);
	side_close(&sides[0]);
	side_close(&sides[1]);
	free(sides);
	return r;
}
