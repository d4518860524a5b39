/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random access to a volume in the store. Data and nodes alike come through
 * the cache of verified chunks, a window of neighbours at a time, so that what
 * lies together in a pack is read at once. A window first begins all its
 * chunks, then fetches those that are its own, then waits for those of others:
 * nobody waits while others wait for him.
 *
 * A chunk that can't be found may have been moved by a prune since the tables
 * were read: they are listed anew, and it is tried once more.
 */
#include "vmsnap/reader.h"

#include <errno.h>
#include <string.h>

#include "format/image/image.h"

int vms_cache_new(struct vms_cache **out, size_t memory_bytes, struct err *err)
{
	struct vms_cache *cache = NULL;
	int r = alloc_array(&cache, 1, sizeof(*cache), err);

	if (r < 0)
		return r;
	if (!memory_bytes)
		memory_bytes = CHUNK_CACHE_DEFAULT;
	cache->ahead_max_bytes = min_u64(memory_bytes / 8, 8 * MIB);
	r = chunk_cache_new(&cache->chunks, memory_bytes, err);
	if (r == 0)
		r = read_ahead_new(&cache->ahead, err);
	if (r < 0) {
		vms_cache_free(cache);
		return r;
	}
	*out = cache;
	return 0;
}

void vms_cache_free(struct vms_cache *cache)
{
	if (!cache)
		return;
	read_ahead_free(cache->ahead);
	chunk_cache_free(cache->chunks);
	free(cache);
}

int vms_reader_open(struct vms_reader **out, struct vms *vms,
		    struct vms_cache *cache, const struct volume *volume,
		    struct err *err)
{
	struct vms_reader *reader = NULL;
	int r = alloc_array(&reader, 1, sizeof(*reader), err);

	if (r < 0)
		return r;
	reader->vms = vms;
	reader->cache = cache;
	memcpy(reader->volume.name, volume->name, sizeof(volume->name));
	reader->volume.size_bytes = volume->size_bytes;
	reader->volume.chunk_log2 = volume->chunk_log2;
	reader->volume.root = volume->root;
	reader->chunk_count = volume_chunk_count(volume);
	reader->levels = tree_levels(reader->chunk_count);
	pthread_mutex_init(&reader->streams_lock, NULL);
	*out = reader;
	return 0;
}

void vms_reader_close(struct vms_reader *reader)
{
	if (!reader)
		return;
	read_ahead_leave(reader);
	pthread_mutex_destroy(&reader->streams_lock);
	free(reader);
}

uint64_t vms_reader_size(const struct vms_reader *reader)
{
	return reader->volume.size_bytes;
}

int visit_thread(struct visit *visit, struct err *err)
{
	if (!visit->thread)
		visit->thread = vms_thread_take(visit->reader->vms, err);
	return visit->thread ? 0 : -ENOMEM;
}

void visit_end(struct visit *visit)
{
	vms_thread_give(visit->reader->vms, visit->thread);
	visit->thread = NULL;
}

/* ---- windows ---- */

unsigned window_span(const struct vms_reader *reader, uint64_t first,
		     uint64_t end)
{
	/* Segments lie in one node: both are aligned powers of two. */
	unsigned most = segment_chunks(reader->volume.chunk_log2);

	return (unsigned)min_u64(most - first % most, end - first);
}

void window_put(struct visit *visit, struct window *window)
{
	for (unsigned n = 0; n < window->count; n++) {
		if (window->entries[n])
			chunk_cache_put(visit->reader->cache->chunks,
					window->entries[n]);
		window->entries[n] = NULL;
	}
}

static int window_peek(struct visit *visit, struct window *window)
{
	struct chunk_cache *chunks = visit->reader->cache->chunks;

	for (unsigned n = 0; n < window->count; n++) {
		if (id_is_null(&window->ids[n]))
			continue;
		window->entries[n] = chunk_cache_peek(
			chunks, CHUNK_DATA, &window->ids[n],
			volume_chunk_bytes(&visit->reader->volume,
					   window->first + n));
		if (!window->entries[n])
			return -EAGAIN;
	}
	return 0;
}

static int window_begin(struct visit *visit, struct window *window,
			struct err *err)
{
	struct chunk_cache *chunks = visit->reader->cache->chunks;
	int r = 0;

	for (unsigned n = 0; n < window->count && r == 0; n++) {
		uint32_t size = volume_chunk_bytes(&visit->reader->volume,
						   window->first + n);

		if (!id_is_null(&window->ids[n]))
			r = chunk_cache_begin(
				chunks, CHUNK_DATA, &window->ids[n], size,
				&window->entries[n], &window->is_mine[n], err);
	}
	return r;
}

/* Finishes all that is mine, with `failed` if it is an error. */
static int window_fetch(struct visit *visit, struct window *window, int failed,
			struct err *err)
{
	struct chunk_cache *chunks = visit->reader->cache->chunks;
	struct cache_entry *mine[WINDOW_CHUNKS_MAX];
	autofree struct store_read *reads = NULL;
	unsigned count = 0;
	int r = failed;

	for (unsigned n = 0; n < window->count; n++)
		if (window->is_mine[n])
			mine[count++] = window->entries[n];
	if (!count)
		return r;
	if (r == 0)
		r = alloc_array(&reads, count, sizeof(*reads), err);
	if (r == 0)
		r = visit_thread(visit, err);
	for (unsigned n = 0; n < count && r == 0; n++) {
		reads[n].id = mine[n]->id;
		reads[n].kind = CHUNK_DATA;
		reads[n].content = mine[n]->data;
		reads[n].content_size = mine[n]->capacity;
	}
	if (r < 0) {
		for (unsigned n = 0; n < count; n++)
			chunk_cache_finish(chunks, mine[n], 0, r);
		return r;
	}
	r = store_get_many(visit->thread, reads, count, err);
	for (unsigned n = 0; n < count; n++)
		chunk_cache_finish(chunks, mine[n], mine[n]->capacity,
				   reads[n].result);
	return r;
}

int window_get(struct visit *visit, struct window *window, struct err *err)
{
	const struct volume *volume = &visit->reader->volume;
	int r;

	memset(window->entries, 0, sizeof(window->entries));
	memset(window->is_mine, 0, sizeof(window->is_mine));
	r = visit_ids(visit, window->first, window->count, window->ids, err);
	if (r < 0)
		return r;
	if (visit->only_cached) {
		r = window_peek(visit, window);
	} else {
		r = window_begin(visit, window, err);
		r = window_fetch(visit, window, r, err);
	}
	for (unsigned n = 0; n < window->count && r == 0; n++) {
		if (!window->entries[n] || window->is_mine[n])
			continue;
		r = chunk_cache_wait(visit->reader->cache->chunks,
				     window->entries[n]);
		if (r < 0)
			err_set(err, r,
				"disk '%s', chunk %llu: another reader could not fetch it",
				volume->name,
				(unsigned long long)(window->first + n));
	}
	if (r < 0)
		window_put(visit, window);
	return r;
}

/* ---- reading ---- */

/* The part of the window that is in [offset, offset + length). */
static void window_copy(const struct vms_reader *reader,
			const struct window *window, uint8_t *buffer,
			size_t length, uint64_t offset)
{
	const unsigned log2 = reader->volume.chunk_log2;

	for (unsigned n = 0; n < window->count; n++) {
		const struct cache_entry *entry = window->entries[n];
		uint64_t start = (window->first + n) << log2;
		uint64_t from = max_u64(start, offset);
		uint64_t to = min_u64(start + (1ULL << log2), offset + length);

		if (entry)
			memcpy(buffer + (from - offset),
			       entry->data + (from - start), to - from);
		else
			memset(buffer + (from - offset), 0, to - from);
	}
}

static int read_once(struct visit *visit, void *buffer, size_t length,
		     uint64_t offset, struct err *err)
{
	struct vms_reader *reader = visit->reader;
	const unsigned log2 = reader->volume.chunk_log2;
	const uint64_t end = ((offset + length - 1) >> log2) + 1;
	struct window window;
	int r = 0;

	for (uint64_t chunk = offset >> log2; chunk < end && r == 0;
	     chunk += window.count) {
		window.first = chunk;
		window.count = window_span(reader, chunk, end);
		r = window_get(visit, &window, err);
		if (r < 0)
			break;
		window_copy(reader, &window, buffer, length, offset);
		window_put(visit, &window);
	}
	return r;
}

static int check_range(const struct vms_reader *reader, uint64_t offset,
		       uint64_t length, struct err *err)
{
	uint64_t size = reader->volume.size_bytes;

	if (offset <= size && length <= size - offset)
		return 0;
	return err_set(err, -EINVAL,
		       "%llu bytes at %llu are past the end of disk '%s' of "
		       "%llu bytes",
		       (unsigned long long)length, (unsigned long long)offset,
		       reader->volume.name, (unsigned long long)size);
}

int vms_reader_read(struct vms_reader *reader, void *buffer, size_t length,
		    uint64_t offset, struct err *err)
{
	struct visit visit = { .reader = reader };
	int64_t since = time_monotonic_ns();
	int r = check_range(reader, offset, length, err);

	if (r < 0 || length == 0)
		return r;
	r = read_once(&visit, buffer, length, offset, err);
	if (r == -EBADMSG && vms_look_again(reader->vms, since))
		r = read_once(&visit, buffer, length, offset, err);
	visit_end(&visit);
	if (r < 0) {
		err_prefix(err, "disk '%s', bytes %llu to %llu",
			   reader->volume.name, (unsigned long long)offset,
			   (unsigned long long)(offset + length));
		if (err)
			err->code = -EIO;
		return -EIO;
	}
	read_ahead_note(reader, offset, length);
	return 0;
}

/* ---- as the base of an image ---- */

struct reader_base {
	struct image_base base;
	struct vms_reader *reader;
};

static struct vms_reader *reader_of(struct image_base *base)
{
	return container_of(base, struct reader_base, base)->reader;
}

static int base_read(struct image_base *base, void *buffer, size_t length,
		     uint64_t offset)
{
	return vms_reader_read(reader_of(base), buffer, length, offset, NULL);
}

static int base_try_read(struct image_base *base, void *buffer, size_t length,
			 uint64_t offset)
{
	struct visit visit = { .reader = reader_of(base), .only_cached = true };
	int r = check_range(visit.reader, offset, length, NULL);

	if (r < 0 || length == 0)
		return r;
	/* No thread is ever taken: there is nothing to end. Damage is left to
	 * read(), which tries harder. */
	if (read_once(&visit, buffer, length, offset, NULL) < 0)
		return -EAGAIN;
	read_ahead_note(visit.reader, offset, length);
	return 0;
}

static int base_extent(struct image_base *base, uint64_t offset,
		       uint64_t length, bool *zero, uint64_t *run)
{
	return vms_reader_extent(reader_of(base), offset, length, zero, run,
				 NULL);
}

static void base_close(struct image_base *base)
{
	vms_reader_close(reader_of(base));
	free(container_of(base, struct reader_base, base));
}

int vms_reader_base(struct image_base **out, struct vms_reader *reader,
		    struct err *err)
{
	struct reader_base *base = NULL;
	int r = alloc_array(&base, 1, sizeof(*base), err);

	if (r < 0) {
		vms_reader_close(reader);
		return r;
	}
	base->base = (struct image_base){
		.size_bytes = reader->volume.size_bytes,
		.read = base_read,
		.try_read = base_try_read,
		.extent = base_extent,
		.close = base_close,
	};
	base->reader = reader;
	*out = &base->base;
	return 0;
}
