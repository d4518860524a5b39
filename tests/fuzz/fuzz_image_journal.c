/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record, and a map sector, with their checksums made right. The first 24
 * bytes of the input are the layer's id and the sequence that is awaited.
 */
#include "format/base/base.h"
#include "format/image/layout.h"
#include "tests/fuzz/fix.h"

#define LARGEST 65536u

static struct map_item items[JOURNAL_ITEMS_MAX];
static struct block_check checks[JOURNAL_CHECKS_MAX];
static uint8_t record[LARGEST], again[LARGEST];

static void try_record(const uint8_t *layer, uint64_t sequence, size_t size)
{
	struct journal_record found = { .sequence = sequence,
					.items = items,
					.checks = checks };
	size_t took = journal_record_decode(record, size, layer, &found);
	size_t need = journal_record_size(found.item_count, found.check_count);

	if (!took)
		return;
	must(found.item_count <= JOURNAL_ITEMS_MAX);
	must(found.check_count <= JOURNAL_CHECKS_MAX);
	must(took == need && took <= size);
	journal_record_encode(again, layer, &found);
	must(journal_record_decode(again, took, layer, &found) == need);
	must(took == journal_record_size(found.item_count, found.check_count));
}

static void fix_record(size_t size, uint64_t sequence)
{
	struct journal_head head;
	size_t need;
	le64 sum;

	if (size < sizeof(head))
		return;
	memcpy(&head, record, sizeof(head));
	need = journal_record_size(le16_get(head.items), le16_get(head.checks));
	if (need > size)
		return;
	sum = le64_make(XXH3_64bits_withSeed(record, need - 8, sequence));
	memcpy(record + need - 8, &sum, sizeof(sum));
}

static void try_sector(uint64_t number)
{
	uint64_t entries[MAP_SECTOR_ENTRIES];
	struct map_sector sector, written;

	memcpy(&sector, record, sizeof(sector));
	(void)map_sector_decode(&sector, number, IMAGE_CLUSTERS_MAX, entries);
	sector.check = le64_make(XXH3_64bits_withSeed(
		sector.entries, sizeof(sector.entries), number));
	if (!map_sector_decode(&sector, number, IMAGE_CLUSTERS_MAX, entries))
		return;
	for (unsigned i = 0; i < MAP_SECTOR_ENTRIES; i++)
		must(entry_is_valid(entries[i], IMAGE_CLUSTERS_MAX));
	map_sector_encode(entries, number, &written);
	if (!bytes_are_zero(entries, sizeof(entries)))
		must(memcmp(&written, &sector, sizeof(sector)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	le64 sequence;

	if (size < 24 || size - 24 > LARGEST)
		return 0;
	memcpy(&sequence, data + 16, sizeof(sequence));
	memset(record, 0, sizeof(record));
	memcpy(record, data + 24, size - 24);
	/* As if the rest of the ring were zeros. */
	try_record(data, le64_get(sequence), sizeof(record));
	fix_record(sizeof(record), le64_get(sequence));
	try_record(data, le64_get(sequence), sizeof(record));
	try_record(data, le64_get(sequence), size - 24);
	try_sector(le64_get(sequence));
	return 0;
}
