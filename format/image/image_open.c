/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing an image.
 *
 * The chain of layers is read from the first on. An image that is opened for
 * writing is brought in order before anybody uses it: each journal goes into
 * its map, layers beneath the top are marked as sealed, and the sequence of
 * the next record goes beyond any that a lost one may have. Whatever is found
 * damaged makes writing impossible; reading works, but for what is hurt.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/image/image_private.h"

#define SCAN_PAGES_MAX 8192u /* of each layer's map, looked at in advance */

char *image_dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

void image_damage(struct image *image, uint64_t offset, uint64_t length,
		  const char *what)
{
	__atomic_store_n(&image->damaged, true, __ATOMIC_RELAXED);
	if (image->damage_fn)
		image->damage_fn(image->damage_arg, offset, length, what);
}

uint64_t image_size(const struct image *image)
{
	return __atomic_load_n(&image->size_bytes, __ATOMIC_RELAXED);
}

int image_need_writable(struct image *image, struct err *err)
{
	if (!image->writable)
		return err_set(err, -EROFS, "image '%s' is open for reading",
			       image->path);
	return 0;
}

static int open_head(struct image *image, struct err *err)
{
	struct vs_io *io = image->io;
	int r;

	image->file = io->ops->open(
		io, image->path,
		(image->writable ? IO_READ_WRITE : IO_READ_ONLY), err);
	if (image->file < 0)
		return image->file;
	/* Sealed layers don't change, and need none. */
	r = image->sealed_layer
		    ? 0
		    : io->ops->lock(io, image->file, image->writable);
	if (r == -EBUSY)
		return err_set(err, r,
			       "image '%s' is in use by another program",
			       image->path);
	if (r < 0)
		return err_sys(err, r, "can't lock image '%s'", image->path);
	r = head_read(io, image->file, image->path, &image->head, err);
	if (r < 0)
		return r;
	image->size_bytes = image->head.size_bytes;
	return 0;
}

/* ---- the chain ---- */

struct chain {
	struct layer **layers;
	size_t count, capacity;
};

static int chain_add(struct chain *chain, struct layer *layer)
{
	if (chain->count == chain->capacity) {
		size_t capacity = chain->capacity * 2 + 16;
		struct layer **grown =
			realloc(chain->layers, capacity * sizeof(layer));

		if (!grown) {
			layer_free(layer);
			return -ENOMEM;
		}
		chain->layers = grown;
		chain->capacity = capacity;
	}
	chain->layers[chain->count++] = layer;
	return 0;
}

static void chain_release(struct chain *chain)
{
	for (size_t i = 0; i < chain->count; i++)
		layer_free(chain->layers[i]);
	free(chain->layers);
}

static bool carries_on(const struct chain *chain, const struct layer *layer)
{
	static const uint8_t none[16];
	const struct layer *below;

	if (!chain->count)
		return layer->super.number > 1 ||
		       !memcmp(layer->super.parent, none, sizeof(none));
	below = chain->layers[chain->count - 1];
	return below->broken ||
	       !memcmp(layer->super.parent, below->super.id, 16);
}

/* One that must be there can't be had. */
static int add_broken(struct image *image, struct chain *chain, uint64_t number,
		      const char *what)
{
	struct layer *layer = layer_new_broken(image, number);
	char text[192];

	if (!layer)
		return -ENOMEM;
	snprintf(text, sizeof(text), "layer %llu: %s",
		 (unsigned long long)number, what);
	image_damage(image, 0, image->size_bytes, text);
	return chain_add(chain, layer);
}

/* 1: it ends before this number. */
static int load_one(struct image *image, struct chain *chain, uint64_t number,
		    struct err *err)
{
	bool must = number <= image->head.last_known || image->sealed_layer;
	struct layer *layer = NULL;
	int r = layer_open(image, number, &layer, err);

	if (r == -ENOENT)
		return must ? add_broken(image, chain, number,
					 "its file is missing")
			    : 1;
	if (r == -ESTALE)
		return must ? add_broken(image, chain, number,
					 "its file is of another image")
			    : 1;
	if (r == -EBADMSG)
		return add_broken(image, chain, number,
				  "its superblocks are damaged");
	if (r < 0)
		return r;
	if (!carries_on(chain, layer)) {
		layer_free(layer);
		return must ? add_broken(image, chain, number,
					 "it does not stand on the one before")
			    : 1;
	}
	r = layer_load(layer, err);
	if (r < 0) {
		layer_free(layer);
		return r;
	}
	/* A thousand of them must not use up the descriptors. */
	if (layer->sealed && image->open_files >= OPEN_FILES_MAX) {
		image->io->ops->close(image->io, layer->file);
		layer->file = -1;
	} else {
		image->open_files++;
	}
	return chain_add(chain, layer);
}

static int all_sealed(struct image *image, const struct chain *chain,
		      struct err *err)
{
	for (size_t i = 0; i < chain->count; i++) {
		if (!chain->layers[i]->sealed && !chain->layers[i]->broken)
			return err_set(err, -EINVAL,
				       "image '%s': layer %llu is not sealed",
				       image->path,
				       (unsigned long long)chain->layers[i]
					       ->super.number);
	}
	return 0;
}

static int load_chain(struct image *image, struct chain *chain, struct err *err)
{
	for (uint64_t number = image->head.first_layer;
	     number - image->head.first_layer < IMAGE_LAYERS_MAX; number++) {
		int r = load_one(image, chain, number, err);

		if (r == 1)
			break;
		if (r == -ENOMEM)
			return err_set(err, r, "out of memory for a layer");
		if (r < 0)
			return r;
		if (number == image->sealed_layer)
			return all_sealed(image, chain, err);
	}
	if (image->sealed_layer)
		return err_set(err, -EINVAL, "image '%s' has no layer %llu",
			       image->path,
			       (unsigned long long)image->sealed_layer);
	if (chain->layers[chain->count - 1]->sealed)
		image_damage(image, 0, image->size_bytes,
			     "the layer after the last sealed one is missing");
	return 0;
}

/* Map pages that are damaged are found before somebody writes. */
static int scan_maps(struct image *image, struct chain *chain)
{
	for (size_t i = 0; i < chain->count; i++) {
		struct layer *layer = chain->layers[i];
		uint32_t page = 0;
		int r = 0;

		if (layer->broken)
			continue;
		for (unsigned n = 0; !r && n < SCAN_PAGES_MAX; n++) {
			page = map_next_present(layer, page);
			if (page >= PAGES_MAX)
				break;
			image_lock(image);
			r = map_page_load(layer, page++);
			image_unlock(image);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- recovery ---- */

static int recover_page(struct layer *layer, const struct map_item *items,
			size_t count)
{
	struct vs_io *io = layer->image->io;
	uint32_t number = page_of_unit(items[0].unit);
	uint64_t first = (uint64_t)number * PAGE_SECTORS;
	uint64_t at = layer->super.map_offset + first * MAP_SECTOR_SIZE;
	size_t sectors = (size_t)min_u64(PAGE_SECTORS, MAP_SECTORS - first);
	struct map_sector page[PAGE_SECTORS] = { 0 };
	uint64_t entries[PAGE_ENTRIES];
	int r = io_read_full(io, layer->file, page, sectors * MAP_SECTOR_SIZE,
			     at);

	if (r < 0 && r != -ENODATA)
		return r;
	for (unsigned i = 0; i < PAGE_SECTORS; i++) {
		if (!map_sector_decode(&page[i], first + i, IMAGE_CLUSTERS_MAX,
				       entries + i * MAP_SECTOR_ENTRIES))
			return -EBADMSG;
	}
	for (size_t i = 0; i < count; i++)
		entries[items[i].unit % PAGE_ENTRIES] = items[i].entry;
	for (unsigned i = 0; i < PAGE_SECTORS; i++)
		map_sector_encode(entries + i * MAP_SECTOR_ENTRIES, first + i,
				  &page[i]);
	return io_write_full(io, layer->file, page, sectors * MAP_SECTOR_SIZE,
			     at);
}

static int recover_map(struct layer *layer)
{
	const struct map_item *items = layer->replayed;
	size_t left = layer->replayed_count;
	int r = 0;

	while (!r && left) {
		size_t n = 1;

		while (n < left && page_of_unit(items[n].unit) ==
					   page_of_unit(items[0].unit))
			n++;
		r = recover_page(layer, items, n);
		items += n;
		left -= n;
	}
	return r;
}

/* The journal into the map; the file's end behind the last cluster that was
 * recorded; and the next record beyond all that might still stand there. */
int layer_recover(struct layer *layer, bool seal, struct err *err)
{
	struct vs_io *io = layer->image->io;
	struct layer_super next = layer->super;
	uint64_t end = layer_cluster_at(&layer->super, layer->max_cluster + 1);
	int r = io->ops->truncate(io, layer->file, end);

	if (!r)
		r = recover_map(layer);
	if (!r)
		r = io->ops->sync(io, layer->file);
	if (r == -EBADMSG)
		return err_set(err, r, "layer '%s': its map is damaged",
			       layer->path);
	if (r < 0)
		return err_sys(err, r, "can't recover layer '%s'", layer->path);
	layer->file_end = end;
	layer->sequence += SEQUENCE_GAP;
	next.sequence = layer->sequence;
	next.position = layer->position;
	next.max_cluster = layer->max_cluster;
	next.sealed = seal;
	r = layer_super_write(layer, &next, err);
	if (r < 0)
		return r;
	layer->sealed = seal;
	free(layer->replayed);
	layer->replayed = NULL;
	layer->replayed_count = 0;
	return 0;
}

static bool is_empty(const struct layer *layer)
{
	return !layer->broken && !layer->sealed && !layer->max_cluster &&
	       !layer->replayed_count &&
	       map_next_present(layer, 0) >= PAGES_MAX;
}

/* A last layer that was made ready and not used is that still. */
static void take_prepared(struct image *image, struct chain *chain)
{
	size_t n = chain->count;

	if (n < 2 || chain->layers[n - 2]->sealed ||
	    !is_empty(chain->layers[n - 1]) ||
	    chain->layers[n - 1]->super.number <= image->head.last_known)
		return;
	image->prepared = chain->layers[n - 1];
	image->open_files--;
	chain->count--;
}

struct sweep {
	struct image *image;
	bool head_is_durable;
};

static int remove_old(void *arg, uint64_t number, const char *path,
		      struct err *err)
{
	struct sweep *sweep = arg;
	struct image *image = sweep->image;
	int r;

	if (number >= image->head.first_layer)
		return 0;
	/* The head that makes them old may stand in the cache only, after a
	 * sync that failed. */
	if (!sweep->head_is_durable) {
		r = head_write(image->io, image->file, image->path,
			       &image->head, err);
		if (r < 0)
			return r;
		sweep->head_is_durable = true;
	}
	return image->io->ops->unlink(image->io, path, err);
}

static int recover(struct image *image, struct chain *chain, struct err *err)
{
	struct sweep sweep = { .image = image };
	int r = 0;

	if (image->damaged)
		return err_set(
			err, -EBADMSG,
			"image '%s' is damaged: it can be opened for reading, and 'image check' says what is hurt",
			image->path);
	take_prepared(image, chain);
	/* The maps are read again with what the journals said. */
	for (size_t i = 0; i < chain->count; i++)
		map_drop_layer(chain->layers[i]);
	for (size_t i = 0; !r && i < chain->count; i++) {
		if (!chain->layers[i]->sealed)
			r = layer_recover(chain->layers[i],
					  i + 1 < chain->count, err);
	}
	if (!r && image->prepared)
		r = layer_recover(image->prepared, false, err);
	/* What a swap of the base left; not being able to is no harm. */
	if (!r)
		(void)image_each_layer_file(image->io, image->path, remove_old,
					    &sweep, NULL);
	return r;
}

/* ---- putting it together ---- */

static int publish(struct image *image, struct chain *chain,
		   struct image_base *base, struct err *err)
{
	struct base_ref *ref = NULL;
	struct stack *stack;

	if (base) {
		ref = calloc(1, sizeof(*ref));
		if (!ref)
			return err_set(err, -ENOMEM, "out of memory");
		ref->base = base;
	}
	stack = stack_new(image, ref, chain->count);
	if (!stack) {
		free(ref);
		return err_set(err, -ENOMEM, "out of memory for the layers");
	}
	for (size_t i = 0; i < chain->count; i++) {
		stack->layers[i] = chain->layers[i];
		stack->layers[i]->refs = 1;
	}
	chain->count = 0;
	image->stack = stack;
	return 0;
}

static int open_rest(struct image *image, const struct image_options *options,
		     struct image_base **base, struct err *err)
{
	struct chain chain = { 0 };
	int r = open_head(image, err);

	if (!r && image->head.base.present != (*base != NULL))
		r = err_set(err, -EINVAL, "image '%s' stands on %s base",
			    image->path, image->head.base.present ? "a" : "no");
	if (!r)
		r = map_cache_init(&image->map, options->map_memory_bytes, err);
	if (!r)
		r = load_chain(image, &chain, err);
	if (!r) {
		r = scan_maps(image, &chain);
		if (r < 0)
			err_sys(err, r, "can't read the map of image '%s'",
				image->path);
	}
	if (!r && image->writable)
		r = recover(image, &chain, err);
	if (!r)
		r = publish(image, &chain, *base, err);
	if (!r)
		*base = NULL;
	chain_release(&chain);
	return r;
}

static struct image *image_new(struct vs_io *io, const char *path,
			       const struct image_options *options)
{
	struct image *image = calloc(1, sizeof(*image));

	if (!image)
		return NULL;
	image->io = io;
	image->file = -1;
	image->path = strdup(path);
	image->dir = image_dir_of(path);
	image->writable = options->mode == IMAGE_READ_WRITE;
	image->thrown_away = options->thrown_away;
	if (options->mode == IMAGE_SEALED)
		image->sealed_layer = options->sealed_layer;
	image->threads = !io->single_thread;
	image->damage_fn = options->damage;
	image->damage_arg = options->arg;
	pthread_mutex_init(&image->commit_lock, NULL);
	pthread_mutex_init(&image->lock, NULL);
	pthread_cond_init(&image->job_there, NULL);
	pthread_cond_init(&image->background_there, NULL);
	pthread_cond_init(&image->writers_gone, NULL);
	return image;
}

static void image_free(struct image *image)
{
	if (image->stack) {
		image_lock(image);
		stack_put(image, image->stack);
		image_unlock(image);
	}
	layer_free(image->prepared);
	map_cache_release(&image->map);
	while (image->free_units) {
		struct unit *unit = image->free_units;

		image->free_units = unit->next;
		free(unit);
	}
	if (image->file >= 0)
		image->io->ops->close(image->io, image->file);
	pthread_cond_destroy(&image->writers_gone);
	pthread_cond_destroy(&image->background_there);
	pthread_cond_destroy(&image->job_there);
	pthread_mutex_destroy(&image->lock);
	pthread_mutex_destroy(&image->commit_lock);
	free(image->path);
	free(image->dir);
	free(image);
}

int image_open(struct image **out, struct vs_io *io, const char *path,
	       const struct image_options *options, struct err *err)
{
	struct image_base *base = options->base;
	struct image *image = image_new(io, path, options);
	int r;

	if (!image || !image->path || !image->dir)
		r = err_set(err, -ENOMEM, "out of memory for an image");
	else if (strlen(path) > IMAGE_PATH_MAX)
		r = err_set(err, -ENAMETOOLONG, "the image's path is too long");
	else if (options->mode == IMAGE_SEALED && !options->sealed_layer)
		r = err_set(err, -EINVAL, "image '%s': up to which layer?",
			    path);
	else
		r = open_rest(image, options, &base, err);
	if (r < 0) {
		if (image)
			image_free(image);
		if (base)
			base->close(base);
		return r;
	}
	if (options->helpers_now)
		helper_start(image);
	if (image->writable && image->threads) {
		image_lock(image);
		image->want_prepare = !image->prepared && !image->thrown_away;
		helper_wake_background(image);
		image_unlock(image);
	}
	*out = image;
	return 0;
}

int image_close(struct image *image, struct err *err)
{
	int r = 0;

	if (!image)
		return 0;
	helper_stop(image);
	if (image->writable && !image->thrown_away) {
		pthread_mutex_lock(&image->commit_lock);
		r = image_checkpoint(image, err);
		pthread_mutex_unlock(&image->commit_lock);
		if (image->prepared)
			(void)image->io->ops->unlink(
				image->io, image->prepared->path, NULL);
	}
	image_free(image);
	return r;
}

int image_read_identity(struct vs_io *io, const char *path, uint8_t id[16],
			struct image_base_info *out, struct err *err)
{
	struct head head;
	int r, file = io->ops->open(io, path, IO_READ_ONLY, err);

	if (file < 0)
		return file;
	r = head_read(io, file, path, &head, err);
	io->ops->close(io, file);
	if (r < 0)
		return r;
	memcpy(id, head.id, sizeof(head.id));
	*out = head.base;
	return 0;
}

int image_read_base_info(struct vs_io *io, const char *path,
			 struct image_base_info *out, struct err *err)
{
	uint8_t id[16];

	return image_read_identity(io, path, id, out, err);
}
