/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of a file of the simulated disk, as those who use it see it.
 *
 * A file is a sorted array of blocks. Pages are shared by reference and never
 * changed once made: a write makes a new page, which becomes what is read and
 * is appended to the states that the block may have after a loss of power.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/base/base.h"
#include "tests/sim/sim_impl.h"

struct sim_inode *sim_inode_new(struct sim *sim, bool directory)
{
	struct sim_inode *inode = sim_alloc(sizeof(*inode));

	inode->sim = sim;
	inode->number = ++sim->next_inode;
	inode->directory = directory;
	inode->modified_ns = sim_time_ns(sim);
	inode->next = sim->inodes;
	if (inode->next)
		inode->next->previous = inode;
	sim->inodes = inode;
	return inode;
}

void sim_inode_get(struct sim_inode *inode, bool live)
{
	inode->refs++;
	if (live && !inode->live++)
		inode->sim->count.used_bytes += inode->allocated;
}

static void inode_free(struct sim_inode *inode)
{
	size_t i;

	sim_names_release(inode);
	for (i = 0; i < inode->block_count; i++) {
		sim_block_forget(inode->blocks[i]);
		sim_page_put(inode->blocks[i]->now);
		sim_page_put(inode->blocks[i]->durable);
		free(inode->blocks[i]);
	}
	free(inode->blocks);
	free(inode->sizes);
	if (inode->previous)
		inode->previous->next = inode->next;
	else
		inode->sim->inodes = inode->next;
	if (inode->next)
		inode->next->previous = inode->previous;
	free(inode);
}

void sim_inode_put(struct sim_inode *inode, bool live)
{
	assert(inode->refs && (!live || inode->live));
	if (live && !--inode->live)
		inode->sim->count.used_bytes -= inode->allocated;
	if (!--inode->refs)
		inode_free(inode);
}

/* The first block at or after `number`. */
static size_t block_index(const struct sim_inode *inode, uint64_t number)
{
	size_t low = 0;
	size_t high = inode->block_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (inode->blocks[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct sim_block *sim_block_find(const struct sim_inode *inode, uint64_t number)
{
	size_t i = block_index(inode, number);

	if (i == inode->block_count || inode->blocks[i]->number != number)
		return NULL;
	return inode->blocks[i];
}

static struct sim_block *block_make(struct sim_inode *inode, uint64_t number)
{
	size_t i = block_index(inode, number);
	struct sim_block *block;

	if (i < inode->block_count && inode->blocks[i]->number == number)
		return inode->blocks[i];
	if (inode->block_count == inode->block_capacity) {
		inode->block_capacity = inode->block_capacity * 2 + 8;
		inode->blocks = sim_grow(inode->blocks,
					 inode->block_capacity *
						 sizeof(struct sim_block *));
	}
	block = sim_alloc(sizeof(*block));
	block->number = number;
	memmove(&inode->blocks[i + 1], &inode->blocks[i],
		(inode->block_count - i) * sizeof(struct sim_block *));
	inode->blocks[i] = block;
	inode->block_count++;
	return block;
}

/* Old states may be forgotten, that only makes the disk kinder; but never a
 * cut, which must stay in step with the sizes. */
static void thin_out(struct sim_block *block)
{
	unsigned i;

	if (block->version_count < SIM_VERSIONS_MAX)
		return;
	for (i = 0; i + 1 < block->version_count; i++) {
		if (block->versions[i].cut)
			continue;
		sim_page_put(block->versions[i].page);
		block->version_count--;
		memmove(&block->versions[i], &block->versions[i + 1],
			(block->version_count - i) *
				sizeof(block->versions[0]));
		return;
	}
}

/* The block now holds `page` (taken over). */
static void block_change(struct sim_inode *inode, struct sim_block *block,
			 struct sim_page *page, bool cut)
{
	struct sim_version *version;

	thin_out(block);
	block->versions =
		sim_grow(block->versions, (block->version_count + 1) *
						  sizeof(block->versions[0]));
	version = &block->versions[block->version_count++];
	version->seq = inode->seq;
	version->cut = cut;
	version->page = sim_page_get(page);
	sim_block_set_now(inode, block, page);
}

static void size_change(struct sim_inode *inode, uint64_t size, bool cut)
{
	unsigned n = inode->size_count;
	struct sim_size *last = n ? &inode->sizes[n - 1] : NULL;

	inode->size = size;
	if (n >= SIM_SIZES_MAX && !cut && !last->cut && last->size <= size) {
		last->seq = inode->seq;
		last->size = size;
		return;
	}
	inode->sizes =
		sim_grow(inode->sizes, (n + 1) * sizeof(inode->sizes[0]));
	inode->sizes[n].seq = inode->seq;
	inode->sizes[n].size = size;
	inode->sizes[n].cut = cut;
	inode->size_count++;
}

size_t sim_read(struct sim_inode *inode, uint8_t *to, size_t length,
		uint64_t offset)
{
	size_t done = 0;

	if (offset >= inode->size)
		return 0;
	length = (size_t)min_u64(length, inode->size - offset);
	while (done < length) {
		uint64_t at = offset + done;
		size_t from = (size_t)(at % SIM_BLOCK_SIZE);
		size_t n =
			(size_t)min_u64(length - done, SIM_BLOCK_SIZE - from);
		struct sim_block *block =
			sim_block_find(inode, at / SIM_BLOCK_SIZE);

		if (block && block->now)
			memcpy(to + done, block->now->data + from, n);
		else
			memset(to + done, 0, n);
		done += n;
	}
	return length;
}

static bool is_full(const struct sim *sim)
{
	return sim->capacity &&
	       sim->count.used_bytes + SIM_BLOCK_SIZE > sim->capacity;
}

ssize_t sim_write(struct sim_inode *inode, const uint8_t *from, size_t length,
		  uint64_t offset)
{
	struct sim *sim = inode->sim;
	size_t done = 0;

	inode->seq++;
	while (done < length) {
		uint64_t at = offset + done;
		size_t to = (size_t)(at % SIM_BLOCK_SIZE);
		size_t n = (size_t)min_u64(length - done, SIM_BLOCK_SIZE - to);
		struct sim_block *block =
			block_make(inode, at / SIM_BLOCK_SIZE);
		struct sim_page *page;

		if (!block->now && is_full(sim))
			break;
		page = sim_page_copy(block->now);
		memcpy(page->data + to, from + done, n);
		block_change(inode, block, page, false);
		done += n;
	}
	if (length && !done)
		return -ENOSPC;
	if (done && offset + done > inode->size)
		size_change(inode, offset + done, false);
	inode->modified_ns = sim_time_ns(sim);
	sim->count.bytes_written += done;
	return (ssize_t)done;
}

static void zero_range(struct sim_inode *inode, uint64_t start, uint64_t end,
		       bool cut)
{
	size_t i = block_index(inode, start / SIM_BLOCK_SIZE);

	for (; i < inode->block_count; i++) {
		struct sim_block *block = inode->blocks[i];
		uint64_t at = block->number * SIM_BLOCK_SIZE;
		struct sim_page *page = NULL;
		uint64_t from, to;

		if (at >= end)
			return;
		from = max_u64(start, at) - at;
		to = min_u64(end, at + SIM_BLOCK_SIZE) - at;
		if (!block->now && !block->version_count && !block->durable)
			continue;
		if (block->now && to - from < SIM_BLOCK_SIZE) {
			page = sim_page_copy(block->now);
			memset(page->data + from, 0, (size_t)(to - from));
		}
		block_change(inode, block, page, cut);
	}
}

void sim_truncate(struct sim_inode *inode, uint64_t size)
{
	bool cut = size < inode->size;

	inode->seq++;
	inode->modified_ns = sim_time_ns(inode->sim);
	if (size == inode->size)
		return;
	if (cut)
		zero_range(inode, size, SIM_FILE_SIZE_MAX, true);
	size_change(inode, size, cut);
}

/* The last block goes as a whole when the range reaches the end of the file. */
void sim_punch(struct sim_inode *inode, uint64_t offset, uint64_t length)
{
	uint64_t end = min_u64(offset + length, inode->size);

	if (end == inode->size)
		end = div_up(end, SIM_BLOCK_SIZE) * SIM_BLOCK_SIZE;
	inode->seq++;
	inode->modified_ns = sim_time_ns(inode->sim);
	if (offset < end)
		zero_range(inode, offset, end, false);
}

int sim_seek_data(const struct sim_inode *inode, uint64_t offset,
		  uint64_t *start, uint64_t *end)
{
	size_t i = block_index(inode, offset / SIM_BLOCK_SIZE);
	uint64_t next;

	while (i < inode->block_count && !inode->blocks[i]->now)
		i++;
	if (i == inode->block_count || offset >= inode->size)
		return -ENXIO;
	next = inode->blocks[i]->number;
	*start = max_u64(offset, next * SIM_BLOCK_SIZE);
	for (; i < inode->block_count; i++, next++) {
		if (!inode->blocks[i]->now || inode->blocks[i]->number != next)
			break;
	}
	*end = min_u64(next * SIM_BLOCK_SIZE, inode->size);
	return 0;
}
