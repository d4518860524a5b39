/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is and takes. Reads the maps of all layers. */
#include <errno.h>
#include <string.h>

#include "format/image/image_private.h"

static int count_layer(struct layer *layer, uint64_t *blocks)
{
	struct image *image = layer->image;
	int r = 0;

	image_lock(image);
	for (uint32_t number = 0; !r && !layer->broken; number++) {
		struct map_page *page;

		number = map_next_present(layer, number);
		if (number >= PAGES_MAX)
			break;
		r = map_page_need(layer, number, &page);
		for (unsigned i = 0; !r && i < PAGE_ENTRIES; i++) {
			uint64_t entry = page->entries[i];

			if (page->bad >> i / MAP_SECTOR_ENTRIES & 1 ||
			    !entry_cluster(entry) ||
			    entry_cluster(entry) > layer->max_cluster)
				continue;
			*blocks +=
				(unsigned)__builtin_popcount(entry_mask(entry));
		}
	}
	image_unlock(image);
	return r;
}

static int measure(struct image *image, struct stack *stack,
		   struct image_info *info, struct err *err)
{
	struct vs_io *io = image->io;
	struct io_stat st;
	int r = io->ops->stat(io, image->path, &st, err);

	if (r < 0)
		return r;
	info->file_bytes = st.allocated_bytes;
	for (size_t i = 0; i < stack->count; i++) {
		struct layer *layer = stack->layers[i];
		uint64_t blocks = 0;

		r = count_layer(layer, &blocks);
		if (r < 0)
			return err_sys(err, r, "can't read the map of '%s'",
				       layer->path);
		info->data_bytes += blocks * IMAGE_BLOCK_SIZE;
		if (io->ops->stat(io, layer->path, &st, NULL) == 0)
			info->file_bytes += st.allocated_bytes;
	}
	return 0;
}

int image_get_info(struct image *image, struct image_info *out, struct err *err)
{
	struct image_info info = { 0 };
	struct stack *stack;
	int r;

	pthread_mutex_lock(&image->commit_lock);
	memcpy(info.id, image->head.id, sizeof(info.id));
	info.base = image->head.base;
	pthread_mutex_unlock(&image->commit_lock);
	info.size_bytes = image_size(image);
	image_lock(image);
	stack = stack_get(image->stack);
	info.first_layer = stack->layers[0]->super.number;
	info.top_layer = stack_top(stack)->super.number;
	image_unlock(image);
	r = measure(image, stack, &info, err);
	info.damaged = __atomic_load_n(&image->damaged, __ATOMIC_RELAXED);
	image_lock(image);
	stack_put(image, stack);
	image_unlock(image);
	if (!r)
		*out = info;
	return r;
}
