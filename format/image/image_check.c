/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every rule of spec/image.md, on an image that nobody writes to. Repair
 * mends what can be mended without a guess: a bad superblock from its twin, a
 * bad map sector to an empty one, a cluster named twice kept by the first.
 * What was lost by that is said, never made up.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/image/image_private.h"

typedef void check_fn(void *arg, const char *file, const char *what,
		      uint64_t offset, uint64_t length);

struct check {
	struct image image; /* no more of one than layer.c needs */
	bool repair;
	check_fn *fn;
	void *arg;
	const char *file; /* that is looked at */
	int breaches;
};

static void breach(struct check *check, const char *what, uint64_t offset,
		   uint64_t length)
{
	if (check->breaches < INT32_MAX)
		check->breaches++;
	if (check->fn)
		check->fn(check->arg, check->file, what, offset, length);
}

static void on_damage(void *arg, uint64_t offset, uint64_t length,
		      const char *what)
{
	breach(arg, what, offset, length);
}

/* One of two superblocks is bad: 1. */
static int twin_is_bad(struct check *check, bool first_good, bool second_good)
{
	if (first_good && second_good)
		return 0;
	breach(check,
	       first_good ? "superblock B is damaged"
			  : "superblock A is damaged",
	       0, 0);
	return 1;
}

static int check_head(struct check *check, struct err *err)
{
	struct image *image = &check->image;
	struct head_block blocks[2];
	struct head ignored;
	bool good[2];
	int r = io_read_full(image->io, image->file, blocks, sizeof(blocks), 0);

	if (r < 0)
		return r == -ENODATA
			       ? err_set(err, -EBADMSG,
					 "'%s' is not an image: it is too short",
					 image->path)
			       : err_sys(err, r, "can't read image '%s'",
					 image->path);
	r = head_pick(blocks, &image->head, image->path, err);
	if (r < 0)
		return r;
	image->size_bytes = image->head.size_bytes;
	for (unsigned i = 0; i < 2; i++)
		good[i] = !head_decode(&blocks[i], &ignored, "", NULL);
	if (twin_is_bad(check, good[0], good[1]) && check->repair)
		return head_write(image->io, image->file, image->path,
				  &image->head, err);
	return 0;
}

static int check_super(struct check *check, struct layer *layer,
		       struct err *err)
{
	struct vs_io *io = check->image.io;
	struct layer_block blocks[2];
	struct layer_super ignored;
	bool good[2];
	int r = io_read_full(io, layer->file, blocks, sizeof(blocks), 0);

	if (r < 0)
		return err_sys(err, r, "can't read layer '%s'", layer->path);
	for (unsigned i = 0; i < 2; i++)
		good[i] = !layer_super_decode(&blocks[i], &ignored, "", NULL);
	if (twin_is_bad(check, good[0], good[1]) && check->repair)
		return layer_super_write(layer, &layer->super, err);
	return 0;
}

static int read_sectors(struct layer *layer, uint32_t page,
			struct map_sector sectors[PAGE_SECTORS], size_t *count)
{
	uint64_t first = (uint64_t)page * PAGE_SECTORS;
	int r;

	memset(sectors, 0, PAGE_BYTES);
	*count = (size_t)min_u64(PAGE_SECTORS, MAP_SECTORS - first);
	r = io_read_full(layer->image->io, layer->file, sectors,
			 *count * MAP_SECTOR_SIZE,
			 layer->super.map_offset + first * MAP_SECTOR_SIZE);
	return r == -ENODATA ? 0 : r;
}

static int write_sectors(struct layer *layer, uint32_t page,
			 const struct map_sector sectors[PAGE_SECTORS],
			 size_t count)
{
	uint64_t first = (uint64_t)page * PAGE_SECTORS;

	return io_write_full(layer->image->io, layer->file, sectors,
			     count * MAP_SECTOR_SIZE,
			     layer->super.map_offset + first * MAP_SECTOR_SIZE);
}

static void say_sector(struct check *check, uint64_t sector)
{
	char what[96];

	snprintf(what, sizeof(what), "map sector %llu is damaged%s",
		 (unsigned long long)sector,
		 check->repair ? "; it is empty now, its range is lost" : "");
	breach(check, what, sector * MAP_SECTOR_ENTRIES * IMAGE_CLUSTER_SIZE,
	       MAP_SECTOR_ENTRIES * IMAGE_CLUSTER_SIZE);
}

/* Sectors whose checksum or entries can't be. */
static int check_sectors(struct check *check, struct layer *layer)
{
	struct map_sector sectors[PAGE_SECTORS];
	uint64_t entries[MAP_SECTOR_ENTRIES];
	int r = 0;

	for (uint32_t page = 0; !r; page++) {
		bool bad = false;
		size_t count;

		page = map_next_present(layer, page);
		if (page >= PAGES_MAX)
			break;
		r = read_sectors(layer, page, sectors, &count);
		for (size_t i = 0; !r && i < count; i++) {
			uint64_t sector = (uint64_t)page * PAGE_SECTORS + i;

			if (map_sector_decode(&sectors[i], sector,
					      IMAGE_CLUSTERS_MAX, entries))
				continue;
			say_sector(check, sector);
			memset(&sectors[i], 0, sizeof(sectors[i]));
			bad = true;
		}
		if (!r && bad && check->repair)
			r = write_sectors(layer, page, sectors, count);
	}
	return r;
}

/* NULL: it may be so. */
static const char *entry_wrong(const struct layer *layer, uint64_t *used,
			       uint64_t unit, uint64_t entry)
{
	uint64_t cluster = entry_cluster(entry);

	if (!entry || entry == UINT64_MAX) /* said by the journal's reader */
		return NULL;
	if (unit >= IMAGE_UNITS_MAX)
		return "an entry past the end of all disks";
	if (!cluster)
		return NULL;
	if (cluster > layer->max_cluster)
		return "an entry names a cluster past the end";
	if (used[cluster / 64] >> cluster % 64 & 1)
		return "a cluster is named by two entries";
	used[cluster / 64] |= 1ULL << cluster % 64;
	return NULL;
}

static int check_page(struct check *check, struct layer *layer, uint32_t page,
		      uint64_t *used)
{
	struct map_sector sectors[PAGE_SECTORS];
	uint64_t entries[PAGE_ENTRIES] = { 0 };
	bool changed = false;
	size_t count;
	int r = read_sectors(layer, page, sectors, &count);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		uint64_t *to = entries + i * MAP_SECTOR_ENTRIES;

		if (!map_sector_decode(&sectors[i],
				       (uint64_t)page * PAGE_SECTORS + i,
				       IMAGE_CLUSTERS_MAX, to))
			memset(to, 0, MAP_SECTOR_ENTRIES * sizeof(*to));
	}
	/* Where it was not folded into the map. */
	map_apply_replayed(layer, page, entries);
	for (unsigned i = 0; i < PAGE_ENTRIES; i++) {
		uint64_t unit = (uint64_t)page * PAGE_ENTRIES + i;
		const char *what = entry_wrong(layer, used, unit, entries[i]);

		if (!what)
			continue;
		breach(check, what, unit * IMAGE_CLUSTER_SIZE,
		       IMAGE_CLUSTER_SIZE);
		entries[i] = 0;
		changed = true;
	}
	if (!changed || !check->repair)
		return 0;
	for (size_t i = 0; i < count; i++)
		map_sector_encode(entries + i * MAP_SECTOR_ENTRIES,
				  (uint64_t)page * PAGE_SECTORS + i,
				  &sectors[i]);
	return write_sectors(layer, page, sectors, count);
}

static int check_entries(struct check *check, struct layer *layer)
{
	autofree uint64_t *used = NULL;
	int r = alloc_array(&used, layer->max_cluster / 64 + 1, sizeof(*used),
			    NULL);

	for (uint32_t page = 0; !r; page++) {
		page = map_next_present(layer, page);
		if (page >= PAGES_MAX)
			break;
		r = check_page(check, layer, page, used);
	}
	return r;
}

static int check_content(struct check *check, struct layer *layer,
			 struct err *err)
{
	struct vs_io *io = check->image.io;
	int r = check_super(check, layer, err);

	if (!r)
		r = layer_load(layer, err);
	if (r < 0)
		return r;
	r = check_sectors(check, layer);
	if (!r && check->repair && !layer->sealed) {
		r = layer_recover(layer, false, err);
		if (r < 0)
			return r;
	}
	if (!r)
		r = check_entries(check, layer);
	if (!r && check->repair)
		r = io->ops->sync(io, layer->file);
	return r < 0 ? err_sys(err, r, "can't check layer '%s'", layer->path)
		     : 0;
}

struct below {
	bool known;
	bool sealed;
	uint8_t id[16];
};

static bool stands_on(const struct layer *layer, const struct below *below)
{
	static const uint8_t none[16];

	if (layer->super.number == 1)
		return !memcmp(layer->super.parent, none, sizeof(none));
	return !below->known || !memcmp(layer->super.parent, below->id, 16);
}

/* 1: the chain ends before this one. */
static int check_layer(struct check *check, uint64_t number,
		       struct below *below, struct err *err)
{
	struct image *image = &check->image;
	bool must = number <= image->head.last_known;
	autofree char *path = layer_path(image, number);
	struct layer *layer = NULL;
	int r = layer_open(image, number, &layer, err);

	if (!path) {
		layer_free(layer);
		return err_set(err, -ENOMEM, "out of memory for a path");
	}
	check->file = path;
	if (r == -ENOENT || r == -ESTALE || r == -EBADMSG) {
		if (!must && r != -EBADMSG)
			return 1;
		breach(check,
		       r == -ENOENT   ? "the layer's file is missing"
		       : r == -ESTALE ? "the layer is another image's"
				      : "both superblocks are damaged",
		       0, image->size_bytes);
		below->known = false;
		return 0;
	}
	if (r < 0)
		return r;
	if (!stands_on(layer, below)) {
		if (must)
			breach(check,
			       "the layer does not stand on the one before", 0,
			       image->size_bytes);
		if (!must) {
			layer_free(layer);
			return 1;
		}
	}
	r = check_content(check, layer, err);
	below->known = true;
	below->sealed = layer->sealed;
	memcpy(below->id, layer->super.id, sizeof(below->id));
	layer_free(layer);
	return r;
}

static int check_all(struct check *check, struct err *err)
{
	struct image *image = &check->image;
	struct below below = { 0 };
	int r = check_head(check, err);

	for (uint64_t n = 0; !r && n < IMAGE_LAYERS_MAX; n++)
		r = check_layer(check, image->head.first_layer + n, &below,
				err);
	if (r == 1 && below.known && below.sealed)
		breach(check, "the layer after the last sealed one is missing",
		       0, image->size_bytes);
	return r < 0 ? r : check->breaches;
}

int image_check(struct vs_io *io, const char *path, bool repair,
		void (*fn)(void *arg, const char *file, const char *what,
			   uint64_t offset, uint64_t length),
		void *arg, struct err *err)
{
	struct check check = {
		.image = { .io = io,
			   .path = (char *)(uintptr_t)path,
			   .writable = repair },
		.repair = repair,
		.fn = fn,
		.arg = arg,
		.file = path,
	};
	int r, file = io->ops->open(io, path,
				    repair ? IO_READ_WRITE : IO_READ_ONLY, err);

	if (file < 0)
		return file;
	check.image.file = file;
	check.image.damage_fn = on_damage;
	check.image.damage_arg = &check;
	r = io->ops->lock(io, file, repair);
	if (r < 0)
		r = err_set(err, r, "image '%s' is in use by another program",
			    path);
	else
		r = check_all(&check, err);
	io->ops->close(io, file);
	return r;
}
