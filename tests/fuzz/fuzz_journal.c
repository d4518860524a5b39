/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of an ext4, of any bytes: what is told of it are blocks of the
 * file system, each once, at places that it gave. */
#include <errno.h>

#include "kvm-agent/boot/disk_journal.h"
#include "tests/fuzz/fix.h"

#define BLOCK  1024u
#define BLOCKS 1024u
#define SYSTEM 65536u
#define PLACE  100u /* where the journal stands */
#define DATA   (64u * 1024)

static const uint8_t *bytes;
static size_t size;

/* What is not given is zeros. */
static int read_block(struct journal_source *source, uint64_t block,
		      void *buffer)
{
	uint64_t at = block * source->block_size;
	uint64_t end = at + source->block_size;

	must(block < source->blocks);
	memset(buffer, 0, source->block_size);
	if (at < size)
		memcpy(buffer, bytes + at,
		       (size_t)min_u64(end, size) - (size_t)at);
	return 0;
}

static bool place(struct journal_source *source, uint64_t block, uint64_t *out)
{
	must(block && block < source->blocks);
	*out = PLACE + block;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	struct journal_source source = { .block_size = BLOCK,
					 .blocks = BLOCKS,
					 .system_blocks = SYSTEM,
					 .read = read_block,
					 .place = place };
	struct journal_map map = { 0 };
	size_t found = 0;

	if (length > DATA)
		return 0;
	bytes = data;
	size = length;
	if (journal_read(&map, &source) < 0) {
		must(!map.entries);
		return 0;
	}
	must(2 * map.used <= map.capacity && map.used < BLOCKS);
	for (size_t i = 0; i < map.capacity; i++) {
		const struct journal_entry *entry = &map.entries[i];

		if (!entry->block)
			continue;
		found++;
		must(entry->block <= SYSTEM);
		must(!entry->place ||
		     (entry->place > PLACE && entry->place < PLACE + BLOCKS));
		must(journal_find(&map, entry->block - 1) ==
		     (entry->place ? entry : NULL));
	}
	must(found == map.used);
	must(!journal_find(&map, SYSTEM));
	journal_map_release(&map);
	return 0;
}
