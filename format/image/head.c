/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an image: two superblocks that take turns, so that one whole one
 * is always there. Refuses what it does not know, never guesses.
 */
#include <errno.h>
#include <stddef.h>
#include <xxhash.h>

#include "format/base/base.h"
#include "format/image/layout.h"

static const uint8_t head_magic[8] = "VSIMAGE";

static le64 head_sum(const struct head_block *block)
{
	return le64_make(
		XXH3_64bits(block, offsetof(struct head_block, check)));
}

void head_encode(const struct head *head, struct head_block *block)
{
	const struct image_base_info *base = &head->base;

	memset(block, 0, sizeof(*block));
	memcpy(block->magic, head_magic, sizeof(block->magic));
	block->version = le32_make(IMAGE_VERSION);
	block->flags = le32_make(base->present ? IMAGE_FLAG_BASE : 0);
	block->generation = le64_make(head->generation);
	memcpy(block->id, head->id, sizeof(block->id));
	block->size_bytes = le64_make(head->size_bytes);
	block->first_layer = le64_make(head->first_layer);
	block->last_known = le64_make(head->last_known);
	if (base->present) {
		memcpy(block->base_store_id, base->store_id, 16);
		memcpy(block->base_root, base->root, 32);
		block->base_chunk_log2 = le32_make(base->chunk_log2);
		block->base_size_bytes = le64_make(base->size_bytes);
		memcpy(block->base_snapshot, base->snapshot, 32);
		memcpy(block->base_pin, base->pin, 16);
		memcpy(block->base_disk, base->disk,
		       strnlen(base->disk, sizeof(base->disk) - 1));
		memcpy(block->base_store, base->store,
		       strnlen(base->store, sizeof(base->store) - 1));
	}
	block->check = head_sum(block);
}

/* Terminated, and zeros from there on. */
static bool text_is_padded(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	return length < size && bytes_are_zero(text + length, size - length);
}

static const char *base_wrong(const struct head_block *block, bool present)
{
	size_t from = offsetof(struct head_block, base_store_id);
	size_t to = offsetof(struct head_block, reserved2);
	uint32_t log2 = le32_get(block->base_chunk_log2);

	if (!present)
		return bytes_are_zero((const uint8_t *)block + from, to - from)
			       ? NULL
			       : "bytes of a base that it does not have";
	if (log2 < 14 || log2 > 22)
		return "the base's chunk size";
	if (le64_get(block->base_size_bytes) > IMAGE_SIZE_MAX)
		return "the base's size";
	if (!text_is_padded(block->base_disk, sizeof(block->base_disk)) ||
	    !text_is_padded(block->base_store, sizeof(block->base_store)))
		return "the base's names";
	return NULL;
}

static const char *head_wrong(const struct head_block *block)
{
	uint64_t size = le64_get(block->size_bytes);
	uint64_t first = le64_get(block->first_layer);
	uint64_t last = le64_get(block->last_known);
	uint32_t flags = le32_get(block->flags);

	if (flags & ~IMAGE_FLAG_BASE)
		return "its flags";
	if (!size || size > IMAGE_SIZE_MAX || size % 512)
		return "the size of the volume";
	if (!first || last < first || last - first >= IMAGE_LAYERS_MAX ||
	    last > UINT64_MAX - IMAGE_LAYERS_MAX)
		return "the numbers of its layers";
	if (le32_get(block->reserved1) ||
	    !bytes_are_zero(block->reserved2, sizeof(block->reserved2)))
		return "reserved bytes";
	return base_wrong(block, flags & IMAGE_FLAG_BASE);
}

static void base_decode(const struct head_block *block,
			struct image_base_info *base)
{
	base->present = true;
	memcpy(base->store_id, block->base_store_id, 16);
	memcpy(base->root, block->base_root, 32);
	base->chunk_log2 = le32_get(block->base_chunk_log2);
	base->size_bytes = le64_get(block->base_size_bytes);
	memcpy(base->snapshot, block->base_snapshot, 32);
	memcpy(base->pin, block->base_pin, 16);
	memcpy(base->disk, block->base_disk, sizeof(base->disk));
	memcpy(base->store, block->base_store, sizeof(base->store));
}

int head_decode(const struct head_block *block, struct head *out,
		const char *name, struct err *err)
{
	struct head head = { 0 };
	le64 sum = head_sum(block);
	const char *wrong;

	if (memcmp(block->magic, head_magic, sizeof(head_magic)) != 0)
		return err_set(err, -EBADMSG, "'%s' is not an image", name);
	if (le32_get(block->version) != IMAGE_VERSION ||
	    le32_get(block->incompat))
		return err_set(
			err, -EOPNOTSUPP,
			"'%s' is an image of version %u, features %#x: needs a newer vmsnap",
			name, le32_get(block->version),
			le32_get(block->incompat));
	if (memcmp(&sum, &block->check, sizeof(sum)) != 0)
		return err_set(err, -EBADMSG,
			       "image '%s': a superblock's checksum is wrong",
			       name);
	wrong = head_wrong(block);
	if (wrong)
		return err_set(err, -EBADMSG, "image '%s': %s can't be", name,
			       wrong);
	memcpy(head.id, block->id, sizeof(head.id));
	head.generation = le64_get(block->generation);
	head.size_bytes = le64_get(block->size_bytes);
	head.first_layer = le64_get(block->first_layer);
	head.last_known = le64_get(block->last_known);
	if (le32_get(block->flags) & IMAGE_FLAG_BASE)
		base_decode(block, &head.base);
	*out = head;
	return 0;
}

int head_pick(const struct head_block blocks[2], struct head *out,
	      const char *name, struct err *err)
{
	struct head heads[2];
	int r[2];
	unsigned best;

	for (unsigned i = 0; i < 2; i++) {
		r[i] = head_decode(&blocks[i], &heads[i], name,
				   i && r[0] < 0 ? NULL : err);
		if (r[i] == -EOPNOTSUPP)
			return head_decode(&blocks[i], &heads[i], name, err);
	}
	if (r[0] < 0 && r[1] < 0)
		return r[0];
	best = r[0] < 0 || (!r[1] && heads[1].generation > heads[0].generation);
	heads[best].slot = best;
	*out = heads[best];
	return 0;
}

int head_read(struct vs_io *io, int file, const char *name, struct head *out,
	      struct err *err)
{
	autofree struct head_block *blocks = NULL;
	int r = alloc_array(&blocks, 2, sizeof(*blocks), err);

	if (r < 0)
		return r;
	r = io_read_full(io, file, blocks, IMAGE_HEAD_SIZE, 0);
	if (r == -ENODATA)
		return err_set(err, -EBADMSG,
			       "'%s' is not an image: it is too short", name);
	if (r < 0)
		return err_sys(err, r, "can't read image '%s'", name);
	return head_pick(blocks, out, name, err);
}

int head_write(struct vs_io *io, int file, const char *name, struct head *head,
	       struct err *err)
{
	struct head next = *head;
	struct head_block block;
	int r;

	next.generation++;
	next.slot = !head->slot;
	head_encode(&next, &block);
	r = io_write_full(io, file, &block, sizeof(block),
			  (uint64_t)next.slot * IMAGE_SUPERBLOCK_SIZE);
	if (!r)
		r = io->ops->sync(io, file);
	if (r < 0)
		return err_sys(err, r, "can't write the head of image '%s'",
			       name);
	*head = next;
	return 0;
}
