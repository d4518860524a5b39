/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of a file of the simulated disk: what is durable, and what is
 * left of the rest when the power goes.
 *
 * A block ends in one of the states it had since it was durable, or torn
 * between them. Truncations go with the size, in order: a block never goes
 * back behind a truncation that the surviving size stands on, and never
 * beyond one that did not survive. So no data reappears that was cut off,
 * which no file system would do either.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/base/base.h"
#include "tests/sim/sim_impl.h"

struct sim_page *sim_page_get(struct sim_page *page)
{
	if (page)
		page->refs++;
	return page;
}

void sim_page_put(struct sim_page *page)
{
	if (page && !--page->refs)
		free(page);
}

/* A page of its own; zeros from NULL. */
struct sim_page *sim_page_copy(const struct sim_page *page)
{
	struct sim_page *copy = sim_alloc(sizeof(*copy));

	copy->refs = 1;
	if (page)
		memcpy(copy->data, page->data, sizeof(copy->data));
	return copy;
}

void sim_block_set_now(struct sim_inode *inode, struct sim_block *block,
		       struct sim_page *page)
{
	uint64_t before = block->now ? SIM_BLOCK_SIZE : 0;
	uint64_t after = page ? SIM_BLOCK_SIZE : 0;

	inode->allocated += after - before;
	if (inode->live)
		inode->sim->count.used_bytes += after - before;
	sim_page_put(block->now);
	block->now = page;
}

void sim_block_forget(struct sim_block *block)
{
	unsigned i;

	for (i = 0; i < block->version_count; i++)
		sim_page_put(block->versions[i].page);
	free(block->versions);
	block->versions = NULL;
	block->version_count = 0;
}

/* `page` (taken over) is on the disk, and nothing is on the way there. */
static void block_settle(struct sim_block *block, struct sim_page *page)
{
	sim_block_forget(block);
	sim_page_put(block->durable);
	block->durable = page;
}

static void size_settle(struct sim_inode *inode, uint64_t size)
{
	inode->durable_size = size;
	free(inode->sizes);
	inode->sizes = NULL;
	inode->size_count = 0;
}

/* A block without states of its own is clean, or lost behind the gate. */
static void sync_blocks(struct sim_inode *inode, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		struct sim_block *block = inode->blocks[i];

		if (block->version_count)
			block_settle(block, sim_page_get(block->now));
	}
	size_settle(inode, inode->size);
}

void sim_inode_sync(struct sim_inode *inode)
{
	sync_blocks(inode, inode->block_count);
}

void sim_inode_sync_but_tail(struct sim_inode *inode)
{
	sync_blocks(inode, inode->block_count ? inode->block_count - 1 : 0);
}

static bool block_is_cut(const struct sim_block *block)
{
	unsigned i;

	for (i = 0; i < block->version_count; i++) {
		if (block->versions[i].cut)
			return true;
	}
	return false;
}

void sim_inode_gate(struct sim_inode *inode)
{
	size_t i;

	for (i = 0; i < inode->block_count; i++) {
		struct sim_block *block = inode->blocks[i];

		/* Metadata is in the journal still. */
		if (!block->version_count || block_is_cut(block))
			continue;
		if (sim_one_in(inode->sim, 2))
			sim_block_forget(block);
	}
}

/* How many of the sizes survive, and a size on the way to the next. */
static unsigned pick_size(struct sim_inode *inode, unsigned keep,
			  uint64_t *size)
{
	struct sim *sim = inode->sim;
	unsigned n = inode->size_count;
	uint64_t low, high;

	if (sim_pick(sim, 8) >= keep)
		n = keep ? (unsigned)sim_pick(sim, n + 1) : 0;
	*size = n ? inode->sizes[n - 1].size : inode->durable_size;
	if (!keep || n == inode->size_count || inode->sizes[n].cut ||
	    !sim_one_in(sim, 2))
		return n;
	low = *size / SIM_BLOCK_SIZE + 1;
	high = inode->sizes[n].size / SIM_BLOCK_SIZE;
	if (low <= high)
		*size = (low + sim_pick(sim, high - low + 1)) * SIM_BLOCK_SIZE;
	return n;
}

static struct sim_page *state(const struct sim_block *block, unsigned k)
{
	return k ? block->versions[k - 1].page : block->durable;
}

static struct sim_page *tear(struct sim *sim, const struct sim_block *block,
			     unsigned low, unsigned high)
{
	struct sim_page *torn = sim_page_copy(NULL);
	size_t at;

	for (at = 0; at < SIM_BLOCK_SIZE; at += SIM_SECTOR_SIZE) {
		unsigned k = low + (unsigned)sim_pick(sim, high - low + 1);
		const struct sim_page *page = state(block, k);

		if (page)
			memcpy(torn->data + at, page->data + at,
			       SIM_SECTOR_SIZE);
	}
	return torn;
}

/* Truncations up to `seq` of the inode have happened, later ones have not. */
static struct sim_page *pick_page(struct sim *sim, struct sim_block *block,
				  uint64_t seq, unsigned keep)
{
	unsigned low = 0;
	unsigned high = block->version_count;
	unsigned k;

	for (k = 1; k <= block->version_count; k++) {
		if (!block->versions[k - 1].cut)
			continue;
		if (block->versions[k - 1].seq > seq) {
			high = k - 1;
			break;
		}
		low = k;
	}
	if (low < high && keep && keep < 8 && sim_one_in(sim, SIM_TORN_ONE_IN))
		return tear(sim, block, low, high);
	if (sim_pick(sim, 8) < keep)
		k = high;
	else if (!keep || sim_one_in(sim, 2))
		k = low;
	else
		k = low + (unsigned)sim_pick(sim, high - low + 1);
	return sim_page_get(state(block, k));
}

static struct sim_page *cut_tail(struct sim_page *page, uint64_t from)
{
	struct sim_page *copy;

	if (!page)
		return NULL;
	copy = sim_page_copy(page);
	sim_page_put(page);
	memset(copy->data + from, 0, (size_t)(SIM_BLOCK_SIZE - from));
	return copy;
}

void sim_inode_lose(struct sim_inode *inode, unsigned keep)
{
	uint64_t size;
	unsigned n = pick_size(inode, keep, &size);
	uint64_t seq = n ? inode->sizes[n - 1].seq : 0;
	size_t i;

	for (i = 0; i < inode->block_count; i++) {
		struct sim_block *block = inode->blocks[i];
		uint64_t at = block->number * SIM_BLOCK_SIZE;
		struct sim_page *page = pick_page(inode->sim, block, seq, keep);

		if (at >= size) {
			sim_page_put(page);
			page = NULL;
		} else if (size - at < SIM_BLOCK_SIZE) {
			page = cut_tail(page, size - at);
		}
		block_settle(block, page);
		sim_block_set_now(inode, block, sim_page_get(page));
	}
	size_settle(inode, size);
	inode->size = size;
}

int sim_flip(struct sim *sim, const char *path, uint64_t offset, unsigned bit)
{
	struct sim_inode *inode;
	struct sim_block *block;
	struct sim_page **pages[2 + SIM_VERSIONS_MAX];
	size_t count = 0;
	unsigned i;
	int r = sim_lookup(sim, path, &inode);

	if (r < 0)
		return r;
	if (inode->directory)
		return -EISDIR;
	if (offset >= inode->size)
		return -ERANGE;
	block = sim_block_find(inode, offset / SIM_BLOCK_SIZE);
	if (!block || !block->now)
		return -ENXIO;
	pages[count++] = &block->now;
	pages[count++] = &block->durable;
	for (i = 0; i < block->version_count; i++) {
		if (count < ARRAY_SIZE(pages))
			pages[count++] = &block->versions[i].page;
	}
	while (count--) {
		struct sim_page *old = *pages[count];

		if (!old)
			continue;
		*pages[count] = sim_page_copy(old);
		(*pages[count])->data[offset % SIM_BLOCK_SIZE] ^=
			(uint8_t)(1U << (bit & 7));
		sim_page_put(old);
	}
	return 0;
}
