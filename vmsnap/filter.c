/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The change filter's two sides. Reading: the parent's ids come from its tree,
 * its tags from the volume of tags, one 16 KiB chunk (1024 tags) held at a
 * time. Writing: tags come in order, are gathered to such chunks and stored.
 *
 * A filter that can't be read costs a rescan, never a backup.
 */
#include <errno.h>
#include <string.h>

#include "vmsnap/filter.h"

#define TAG_CHUNK_BYTES (1u << TAGS_CHUNK_LOG2)

struct filter {
	const struct volume *parent;
	struct volume tags_volume;
	struct store_thread *thread;
	struct tree_reader *ids;
	struct tree_reader *tags;
	uint64_t loaded; /* number of the tag chunk held, or UINT64_MAX */
	struct filter_tag held[TAGS_PER_CHUNK];
};

int filter_new(struct filter **out, struct store_thread *thread,
	       const struct volume *parent, struct err *err)
{
	struct filter *filter = NULL;
	int r = alloc_array(&filter, 1, sizeof(*filter), err);

	if (r)
		return r;
	filter->parent = parent;
	filter->thread = thread;
	filter->loaded = UINT64_MAX;
	filter->tags_volume = volume_of_tags(parent);
	r = tree_reader_new(&filter->ids, thread, &parent->root,
			    volume_chunk_count(parent), err);
	if (!r)
		r = tree_reader_new(
			&filter->tags, thread, &filter->tags_volume.root,
			volume_chunk_count(&filter->tags_volume), err);
	if (r) {
		filter_free(filter);
		return r;
	}
	*out = filter;
	return 0;
}

void filter_free(struct filter *filter)
{
	if (!filter)
		return;
	tree_reader_free(filter->ids);
	tree_reader_free(filter->tags);
	free(filter);
}

static int filter_hold(struct filter *filter, uint64_t number, struct err *err)
{
	struct store_read get = { .kind = CHUNK_DATA };
	struct id id;
	int r;

	if (filter->loaded == number)
		return 0;
	filter->loaded = UINT64_MAX;
	r = tree_reader_ids(filter->tags, number, 1, &id, NULL, NULL, err);
	if (r)
		return r;
	memset(filter->held, 0, sizeof(filter->held));
	if (!id_is_null(&id)) {
		get.id = id;
		get.content = filter->held;
		get.content_size =
			volume_chunk_bytes(&filter->tags_volume, number);
		r = store_get_many(filter->thread, &get, 1, err);
		if (r)
			return r;
	}
	filter->loaded = number;
	return 0;
}

int filter_load(struct filter *filter, uint64_t first, unsigned count,
		struct id *ids, struct filter_tag *tags, struct err *err)
{
	uint64_t known = volume_chunk_count(filter->parent);
	unsigned have =
		first >= known ? 0 : (unsigned)min_u64(count, known - first);
	int r;

	memset(ids, 0, count * sizeof(*ids));
	memset(tags, 0, count * sizeof(*tags));
	if (!have)
		return 0;
	r = tree_reader_ids(filter->ids, first, have, ids, NULL, NULL, err);
	for (unsigned i = 0; i < have && !r; i++) {
		uint64_t number = first + i;

		r = filter_hold(filter, number / TAGS_PER_CHUNK, err);
		if (!r)
			tags[i] = filter->held[number % TAGS_PER_CHUNK];
	}
	if (r) {
		memset(ids, 0, count * sizeof(*ids));
		memset(tags, 0, count * sizeof(*tags));
	}
	return r;
}

struct tag_writer {
	struct tree_builder *tree;
	unsigned gathered;
	struct filter_tag chunk[TAGS_PER_CHUNK];
};

int tag_writer_new(struct tag_writer **out, uint64_t chunk_count,
		   struct err *err)
{
	struct tag_writer *writer = NULL;
	int r = alloc_array(&writer, 1, sizeof(*writer), err);

	if (r)
		return r;
	r = tree_builder_new(&writer->tree, div_up(chunk_count, TAGS_PER_CHUNK),
			     err);
	if (r) {
		free(writer);
		return r;
	}
	*out = writer;
	return 0;
}

void tag_writer_free(struct tag_writer *writer)
{
	if (!writer)
		return;
	tree_builder_free(writer->tree);
	wipe(writer->chunk, sizeof(writer->chunk));
	free(writer);
}

static int tag_writer_put(struct tag_writer *writer,
			  struct store_thread *thread, struct err *err)
{
	size_t size = writer->gathered * sizeof(struct filter_tag);
	struct put_result put;
	struct id id = { 0 };
	int r = 0;

	if (!bytes_are_zero(writer->chunk, size))
		r = store_put(thread, CHUNK_DATA, writer->chunk, size, &id,
			      &put, err);
	if (!r)
		r = tree_builder_append(writer->tree, thread, &id, 1, err);
	writer->gathered = 0;
	return r;
}

int tag_writer_append(struct tag_writer *writer, struct store_thread *thread,
		      const struct filter_tag *tags, uint64_t count,
		      struct err *err)
{
	int r = 0;

	while (count && !r) {
		unsigned room = TAGS_PER_CHUNK - writer->gathered;
		unsigned n = (unsigned)min_u64(room, count);

		memcpy(writer->chunk + writer->gathered, tags,
		       n * sizeof(*tags));
		writer->gathered += n;
		tags += n;
		count -= n;
		if (writer->gathered == TAGS_PER_CHUNK)
			r = tag_writer_put(writer, thread, err);
	}
	return r;
}

int tag_writer_append_holes(struct tag_writer *writer,
			    struct store_thread *thread, uint64_t count,
			    struct err *err)
{
	static const struct filter_tag none[TAGS_PER_CHUNK];
	unsigned room = (TAGS_PER_CHUNK - writer->gathered) % TAGS_PER_CHUNK;
	uint64_t head = min_u64(count, room);
	uint64_t whole;
	int r = tag_writer_append(writer, thread, none, head, err);

	if (r)
		return r;
	count -= head;
	whole = count / TAGS_PER_CHUNK;
	if (whole)
		r = tree_builder_append_holes(writer->tree, thread, whole, err);
	if (!r)
		r = tag_writer_append(writer, thread, none,
				      count % TAGS_PER_CHUNK, err);
	return r;
}

int tag_writer_finish(struct tag_writer *writer, struct store_thread *thread,
		      struct id *root, struct err *err)
{
	struct tree_totals totals;
	int r = 0;

	if (writer->gathered)
		r = tag_writer_put(writer, thread, err);
	if (!r)
		r = tree_builder_finish(writer->tree, thread, root, &totals,
					err);
	return r;
}
