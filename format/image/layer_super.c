/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's superblock: bytes to values and back, everything checked. */
#include <errno.h>
#include <stddef.h>
#include <xxhash.h>

#include "format/base/base.h"
#include "format/image/layout.h"

static const uint8_t layer_magic[8] = "VSLAYER";

static le64 layer_sum(const struct layer_block *block)
{
	return le64_make(
		XXH3_64bits(block, offsetof(struct layer_block, check)));
}

void layer_super_layout(struct layer_super *super, uint64_t journal_length)
{
	uint64_t map_end;

	super->journal_length = journal_length;
	super->map_offset = JOURNAL_OFFSET + journal_length;
	map_end = super->map_offset + MAP_SECTORS * MAP_SECTOR_SIZE;
	super->clusters_offset =
		div_up(map_end, IMAGE_CLUSTER_SIZE) * IMAGE_CLUSTER_SIZE;
}

void layer_super_encode(const struct layer_super *super,
			struct layer_block *block)
{
	memset(block, 0, sizeof(*block));
	memcpy(block->magic, layer_magic, sizeof(block->magic));
	block->version = le32_make(IMAGE_VERSION);
	block->flags = le32_make(super->sealed ? IMAGE_FLAG_SEALED : 0);
	block->generation = le64_make(super->generation);
	memcpy(block->image_id, super->image_id, 16);
	memcpy(block->id, super->id, 16);
	memcpy(block->parent, super->parent, 16);
	block->number = le64_make(super->number);
	block->size_bytes = le64_make(super->size_bytes);
	block->journal_offset = le64_make(JOURNAL_OFFSET);
	block->journal_length = le64_make(super->journal_length);
	block->map_offset = le64_make(super->map_offset);
	block->map_sectors = le64_make(MAP_SECTORS);
	block->clusters_offset = le64_make(super->clusters_offset);
	block->sequence = le64_make(super->sequence);
	block->position = le64_make(super->position);
	block->max_cluster = le64_make(super->max_cluster);
	block->check = layer_sum(block);
}

static const char *layer_wrong(const struct layer_block *block)
{
	uint64_t length = le64_get(block->journal_length);
	uint64_t clusters = le64_get(block->clusters_offset);
	uint64_t position = le64_get(block->position);
	uint64_t size = le64_get(block->size_bytes);

	if (le32_get(block->flags) & ~IMAGE_FLAG_SEALED)
		return "its flags";
	if (!le64_get(block->number))
		return "its number";
	if (!size || size > IMAGE_SIZE_MAX || size % 512)
		return "the size of the volume";
	if (le64_get(block->journal_offset) != JOURNAL_OFFSET ||
	    length < JOURNAL_LENGTH_MIN || length > JOURNAL_LENGTH_MAX ||
	    length % 4096)
		return "the place of its journal";
	if (le64_get(block->map_offset) != JOURNAL_OFFSET + length ||
	    le64_get(block->map_sectors) != MAP_SECTORS)
		return "the place of its map";
	if (clusters % IMAGE_CLUSTER_SIZE || clusters > 1ULL << 60 ||
	    clusters < JOURNAL_OFFSET + length + MAP_SECTORS * MAP_SECTOR_SIZE)
		return "the place of its clusters";
	if (!le64_get(block->sequence) || position > length ||
	    position % JOURNAL_RECORD_UNIT)
		return "the begin of its journal";
	if (le64_get(block->max_cluster) > IMAGE_CLUSTERS_MAX)
		return "its number of clusters";
	if (!bytes_are_zero(block->reserved, sizeof(block->reserved)))
		return "reserved bytes";
	return NULL;
}

int layer_super_decode(const struct layer_block *block, struct layer_super *out,
		       const char *name, struct err *err)
{
	struct layer_super super = { 0 };
	le64 sum = layer_sum(block);
	const char *wrong;

	if (memcmp(block->magic, layer_magic, sizeof(layer_magic)) != 0)
		return err_set(err, -EBADMSG, "'%s' is not a layer", name);
	if (le32_get(block->version) != IMAGE_VERSION ||
	    le32_get(block->incompat))
		return err_set(
			err, -EOPNOTSUPP,
			"'%s' is a layer of version %u, features %#x: needs a newer vmsnap",
			name, le32_get(block->version),
			le32_get(block->incompat));
	if (memcmp(&sum, &block->check, sizeof(sum)) != 0)
		return err_set(err, -EBADMSG,
			       "layer '%s': a superblock's checksum is wrong",
			       name);
	wrong = layer_wrong(block);
	if (wrong)
		return err_set(err, -EBADMSG, "layer '%s': %s can't be", name,
			       wrong);
	memcpy(super.image_id, block->image_id, 16);
	memcpy(super.id, block->id, 16);
	memcpy(super.parent, block->parent, 16);
	super.generation = le64_get(block->generation);
	super.sealed = le32_get(block->flags) & IMAGE_FLAG_SEALED;
	super.number = le64_get(block->number);
	super.size_bytes = le64_get(block->size_bytes);
	super.journal_length = le64_get(block->journal_length);
	super.map_offset = le64_get(block->map_offset);
	super.clusters_offset = le64_get(block->clusters_offset);
	super.sequence = le64_get(block->sequence);
	super.position = le64_get(block->position);
	super.max_cluster = le64_get(block->max_cluster);
	*out = super;
	return 0;
}

int layer_super_pick(const struct layer_block blocks[2],
		     struct layer_super *out, const char *name, struct err *err)
{
	struct layer_super supers[2];
	int r[2];
	unsigned best;

	for (unsigned i = 0; i < 2; i++) {
		r[i] = layer_super_decode(&blocks[i], &supers[i], name,
					  i && r[0] < 0 ? NULL : err);
		if (r[i] == -EOPNOTSUPP)
			return layer_super_decode(&blocks[i], &supers[i], name,
						  err);
	}
	if (r[0] < 0 && r[1] < 0)
		return r[0];
	best = r[0] < 0 ||
	       (!r[1] && supers[1].generation > supers[0].generation);
	supers[best].slot = best;
	*out = supers[best];
	return 0;
}
