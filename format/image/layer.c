/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One layer's file: made, opened, its superblock written, its clusters handed
 * out and taken back.
 *
 * A new layer gets its name only when all of it is durable, so a file with a
 * layer's name is whole or damaged, never half made. Every cluster that is
 * handed out reads as zeros: the file's end is cut off behind the last
 * recorded one when it is opened, and what is given up is punched out.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/image/image_private.h"

#define GROW_MIN   (1u << 20)
#define GROW_MAX   (64u << 20)
#define ZERO_CHUNK 65536u

uint64_t image_journal_length = JOURNAL_DEFAULT;
uint64_t image_journal_position;

char *layer_path(const struct image *image, uint64_t number)
{
	char *path;

	if (asprintf(&path, "%s.%llu", image->path,
		     (unsigned long long)number) < 0)
		return NULL;
	return path;
}

static struct layer *layer_new(struct image *image, uint64_t number)
{
	struct layer *layer = calloc(1, sizeof(*layer));

	if (!layer)
		return NULL;
	layer->image = image;
	layer->file = -1;
	layer->super.number = number;
	layer->path = layer_path(image, number);
	if (!layer->path) {
		free(layer);
		return NULL;
	}
	return layer;
}

struct layer *layer_new_broken(struct image *image, uint64_t number)
{
	struct layer *layer = layer_new(image, number);

	if (layer)
		layer->broken = true;
	return layer;
}

void layer_free(struct layer *layer)
{
	if (!layer)
		return;
	if (layer->file >= 0)
		layer->image->io->ops->close(layer->image->io, layer->file);
	for (unsigned i = 0; i < PRESENT_CHUNKS; i++)
		free(layer->present[i]);
	free(layer->replayed);
	free(layer->free_runs);
	free(layer->freed);
	free(layer->fresh);
	free(layer->path);
	free(layer);
}

static int write_zeros(struct vs_io *io, int file, uint64_t offset,
		       uint64_t length)
{
	static const uint8_t zeros[ZERO_CHUNK];

	while (length) {
		size_t size = (size_t)min_u64(length, sizeof(zeros));
		int r = io_write_full(io, file, zeros, size, offset);

		if (r < 0)
			return r;
		offset += size;
		length -= size;
	}
	return 0;
}

/* Space that is there makes sure that a flush never lacks it. */
static int reserve_journal(struct vs_io *io, int file, uint64_t length)
{
	int r = io->ops->reserve(io, file, JOURNAL_OFFSET, length);

	return r == -EOPNOTSUPP ? write_zeros(io, file, JOURNAL_OFFSET, length)
				: r;
}

/* Both superblocks, the journal's space, and the size. */
static int write_new(struct vs_io *io, int file, struct layer_super *super)
{
	struct layer_block blocks[2];
	int r;

	layer_super_encode(super, &blocks[0]);
	super->generation++;
	super->slot = 1;
	layer_super_encode(super, &blocks[1]);
	r = io_write_full(io, file, blocks, sizeof(blocks), 0);
	if (!r)
		r = reserve_journal(io, file, super->journal_length);
	if (!r)
		r = io->ops->truncate(io, file, super->clusters_offset);
	return r ? r : io->ops->sync(io, file);
}

/* A file of that name that is none of the chain's goes. */
static int link_layer(struct image *image, struct layer *layer, struct err *err)
{
	struct vs_io *io = image->io;
	int r = io->ops->link(io, layer->file, layer->path, err);

	if (r == -EEXIST) {
		r = io->ops->unlink(io, layer->path, err);
		if (!r)
			r = io->ops->link(io, layer->file, layer->path, err);
	}
	return r ? r : io->ops->sync_dir(io, image->dir, err);
}

int layer_create(struct image *image, uint64_t number, const uint8_t parent[16],
		 struct layer **out, struct err *err)
{
	struct layer *layer = layer_new(image, number);
	struct layer_super *super;
	int r;

	if (!layer)
		return err_set(err, -ENOMEM, "out of memory for a layer");
	super = &layer->super;
	memcpy(super->image_id, image->head.id, 16);
	memcpy(super->parent, parent, 16);
	super->generation = 1;
	super->size_bytes = image->head.size_bytes;
	super->sequence = 1;
	super->position = image_journal_position;
	layer_super_layout(super, image_journal_length);
	r = random_fill(super->id, sizeof(super->id), err);
	if (!r) {
		layer->file = image->io->ops->create_unnamed(image->io,
							     image->dir, err);
		r = layer->file < 0 ? layer->file : 0;
	}
	if (!r) {
		r = write_new(image->io, layer->file, super);
		if (r < 0)
			err_sys(err, r, "can't write layer '%s'", layer->path);
	}
	if (!r && !image->thrown_away)
		r = link_layer(image, layer, err);
	if (r < 0) {
		layer_free(layer);
		return r;
	}
	layer->sequence = super->sequence;
	layer->position = super->position;
	layer->file_end = super->clusters_offset;
	*out = layer;
	return 0;
}

static int open_file(struct layer *layer, struct err *err)
{
	struct image *image = layer->image;
	int flags = IO_NO_FOLLOW;

	if (image->writable && !layer->sealed)
		flags |= IO_READ_WRITE;
	return image->io->ops->open(image->io, layer->path, flags, err);
}

static int read_super(struct layer *layer, uint64_t number, struct err *err)
{
	struct image *image = layer->image;
	struct layer_block blocks[2];
	int r = io_read_full(image->io, layer->file, blocks, sizeof(blocks), 0);

	if (r == -ENODATA)
		return err_set(err, -EBADMSG, "layer '%s' is too short",
			       layer->path);
	if (r < 0)
		return err_sys(err, r, "can't read layer '%s'", layer->path);
	r = layer_super_pick(blocks, &layer->super, layer->path, err);
	if (r < 0)
		return r;
	if (memcmp(layer->super.image_id, image->head.id, 16) != 0)
		return err_set(err, -ESTALE,
			       "layer '%s' belongs to another image",
			       layer->path);
	if (layer->super.number != number)
		return err_set(err, -ESTALE,
			       "layer '%s' says it is number %llu", layer->path,
			       (unsigned long long)layer->super.number);
	return 0;
}

int layer_open(struct image *image, uint64_t number, struct layer **out,
	       struct err *err)
{
	struct layer *layer = layer_new(image, number);
	int r;

	if (!layer)
		return err_set(err, -ENOMEM, "out of memory for a layer");
	layer->file = open_file(layer, err);
	r = layer->file < 0 ? layer->file : read_super(layer, number, err);
	if (r < 0) {
		layer_free(layer);
		return r;
	}
	layer->sealed = layer->super.sealed;
	layer->sequence = layer->super.sequence;
	layer->position = layer->super.position;
	layer->max_cluster = layer->super.max_cluster;
	*out = layer;
	return 0;
}

int layer_super_write(struct layer *layer, const struct layer_super *change,
		      struct err *err)
{
	struct vs_io *io = layer->image->io;
	struct layer_super next = *change;
	struct layer_block block;
	int r;

	next.generation = layer->super.generation + 1;
	next.slot = !layer->super.slot;
	layer_super_encode(&next, &block);
	r = io_write_full(io, layer->file, &block, sizeof(block),
			  (uint64_t)next.slot * IMAGE_SUPERBLOCK_SIZE);
	if (!r) {
		r = io->ops->sync_data(io, layer->file);
		if (r < 0)
			layer->failed = true;
	}
	if (r < 0)
		return err_sys(err, r,
			       "can't write the superblock of layer '%s'",
			       layer->path);
	/* Others read the rest, which never changes. */
	layer->super.generation = next.generation;
	layer->super.slot = next.slot;
	layer->super.sealed = next.sealed;
	layer->super.sequence = next.sequence;
	layer->super.position = next.position;
	layer->super.max_cluster = next.max_cluster;
	return 0;
}

/* The pages of the map that the file has, by its extents. */
static int find_present(struct layer *layer, struct err *err)
{
	struct vs_io *io = layer->image->io;
	uint64_t from = layer->super.map_offset;
	uint64_t end = from + MAP_SECTORS * MAP_SECTOR_SIZE, start, stop;
	uint64_t at = from;
	int r;

	while (at < end) {
		r = io->ops->seek_data(io, layer->file, at, &start, &stop);
		if (r == -ENXIO)
			return 0;
		if (r < 0)
			return err_sys(err, r, "can't read the map of '%s'",
				       layer->path);
		stop = min_u64(stop, end);
		for (at = start; at < stop;) {
			uint64_t page = (at - from) / PAGE_BYTES;

			if (map_page_set_present(layer, (uint32_t)page) < 0)
				return err_set(err, -ENOMEM,
					       "out of memory for a map");
			at = from + (page + 1) * PAGE_BYTES;
		}
		at = max_u64(at, stop);
	}
	return 0;
}

int layer_load(struct layer *layer, struct err *err)
{
	struct vs_io *io = layer->image->io;
	uint64_t clusters = 0;
	struct io_stat st;
	int r = io->ops->fstat(io, layer->file, &st, err);

	if (!r)
		r = find_present(layer, err);
	if (r < 0)
		return r;
	if (st.size_bytes > layer->super.clusters_offset)
		clusters = (st.size_bytes - layer->super.clusters_offset) /
			   IMAGE_CLUSTER_SIZE;
	layer->file_end = st.size_bytes;
	if (layer->max_cluster > clusters) {
		image_damage(layer->image, 0, layer->image->size_bytes,
			     "a layer's file is cut off");
		layer->max_cluster = clusters;
	}
	if (layer->sealed)
		return 0;
	return journal_replay(layer, err);
}

/* Close the sealed layer that was not used for the longest time. */
static bool close_one(struct image *image)
{
	struct layer *oldest = NULL;

	for (size_t i = 0; image->stack && i < image->stack->count; i++) {
		struct layer *layer = image->stack->layers[i];

		if (layer->file >= 0 && layer->sealed && !layer->users &&
		    (!oldest || layer->last_used < oldest->last_used))
			oldest = layer;
	}
	if (!oldest)
		return false;
	image->io->ops->close(image->io, oldest->file);
	oldest->file = -1;
	image->open_files--;
	return true;
}

void layer_close_idle(struct image *image)
{
	while (image->open_files > OPEN_FILES_MAX && close_one(image))
		;
}

int layer_use(struct layer *layer)
{
	struct image *image = layer->image;

	if (layer->broken)
		return -EIO;
	if (layer->file < 0) {
		if (image->open_files >= OPEN_FILES_MAX)
			close_one(image);
		layer->file = open_file(layer, NULL);
		if (layer->file < 0) {
			int r = layer->file;

			layer->file = -1;
			return r;
		}
		image->open_files++;
	}
	layer->users++;
	layer->last_used = ++image->use_clock;
	return layer->file;
}

void layer_unuse(struct layer *layer)
{
	assert(layer->users);
	layer->users--;
}

static int grow(struct layer *layer, uint64_t end)
{
	struct vs_io *io = layer->image->io;
	uint64_t step = (layer->file_end - layer->super.clusters_offset) / 4 /
			IMAGE_CLUSTER_SIZE * IMAGE_CLUSTER_SIZE;
	int r;

	step = min_u64(max_u64(step, GROW_MIN), GROW_MAX);
	r = io->ops->truncate(io, layer->file, end + step);
	if (r < 0)
		return r;
	layer->file_end = end + step;
	return 0;
}

int layer_take_cluster(struct layer *layer, uint64_t *cluster)
{
	uint64_t end;
	int r;

	if (layer->free_count) {
		struct cluster_run *run =
			&layer->free_runs[layer->free_count - 1];

		*cluster = run->first++;
		if (!--run->count)
			layer->free_count--;
		return 0;
	}
	if (layer->max_cluster >= IMAGE_CLUSTERS_MAX)
		return -ENOSPC;
	end = layer_cluster_at(&layer->super, layer->max_cluster + 2);
	if (end > layer->file_end) {
		r = grow(layer, end);
		if (r < 0)
			return r;
	}
	*cluster = ++layer->max_cluster;
	return 0;
}

int layer_give_up(struct layer *layer, uint64_t cluster)
{
	if (layer->freed_count == layer->freed_capacity) {
		size_t capacity = layer->freed_capacity * 2 + 64;
		uint64_t *grown =
			realloc(layer->freed, capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		layer->freed = grown;
		layer->freed_capacity = capacity;
	}
	layer->freed[layer->freed_count++] = cluster;
	return 0;
}

/* What does not fit in memory is forgotten: compact finds it again. */
int layer_add_free(struct layer *layer, uint64_t first, uint64_t count)
{
	struct cluster_run *last =
		layer->free_count ? &layer->free_runs[layer->free_count - 1]
				  : NULL;

	if (last && last->first + last->count == first) {
		last->count += count;
		return 0;
	}
	if (layer->free_count == layer->free_capacity) {
		size_t capacity = layer->free_capacity * 2 + 64;
		struct cluster_run *grown =
			capacity > 2 * FREED_MAX
				? NULL
				: realloc(layer->free_runs,
					  capacity * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		layer->free_runs = grown;
		layer->free_capacity = capacity;
	}
	layer->free_runs[layer->free_count++] =
		(struct cluster_run){ first, count };
	return 0;
}

int layer_zero(struct layer *layer, int file, uint64_t offset, uint64_t length)
{
	struct vs_io *io = layer->image->io;
	int r = io->ops->punch(io, file, offset, length);

	return r == -EOPNOTSUPP ? write_zeros(io, file, offset, length) : r;
}
