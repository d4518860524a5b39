/* SPDX-License-Identifier: Apache-2.0 */
/* Map sectors and journal records: bytes to values and back. */
#include <xxhash.h>

#include "format/base/base.h"
#include "format/image/layout.h"

static const uint8_t record_magic[4] = { 'V', 'S', 'J', 'R' };

bool entry_is_valid(uint64_t entry, uint64_t max_cluster)
{
	return !entry ||
	       (entry_mask(entry) && entry_cluster(entry) <= max_cluster);
}

void map_sector_encode(const uint64_t *entries, uint64_t number,
		       struct map_sector *out)
{
	bool any = false;

	for (unsigned i = 0; i < MAP_SECTOR_ENTRIES; i++) {
		/* A cluster whose first write is under way. */
		uint64_t entry = entry_mask(entries[i]) ? entries[i] : 0;

		any |= entry != 0;
		out->entries[i] = le64_make(entry);
	}
	out->check = le64_make(any ? XXH3_64bits_withSeed(out->entries,
							  sizeof(out->entries),
							  number)
				   : 0);
}

bool map_sector_decode(const struct map_sector *sector, uint64_t number,
		       uint64_t max_cluster, uint64_t *entries)
{
	bool good = true;

	if (bytes_are_zero(sector, sizeof(*sector))) {
		memset(entries, 0, MAP_SECTOR_ENTRIES * sizeof(*entries));
		return true;
	}
	if (le64_get(sector->check) !=
	    XXH3_64bits_withSeed(sector->entries, sizeof(sector->entries),
				 number))
		return false;
	for (unsigned i = 0; i < MAP_SECTOR_ENTRIES; i++) {
		entries[i] = le64_get(sector->entries[i]);
		good &= entry_is_valid(entries[i], max_cluster);
	}
	return good;
}

uint64_t block_sum(const void *data, uint64_t block)
{
	return XXH3_64bits_withSeed(data, IMAGE_BLOCK_SIZE, block);
}

size_t journal_record_size(unsigned items, unsigned checks)
{
	size_t size = sizeof(struct journal_head) +
		      items * sizeof(struct journal_item) +
		      checks * sizeof(struct journal_check) + sizeof(le64);

	return div_up(size, JOURNAL_RECORD_UNIT) * JOURNAL_RECORD_UNIT;
}

void journal_record_encode(void *out, const uint8_t layer[16],
			   const struct journal_record *record)
{
	size_t size =
		journal_record_size(record->item_count, record->check_count);
	struct journal_head head = {
		.items = le16_make((uint16_t)record->item_count),
		.checks = le16_make((uint16_t)record->check_count),
		.sequence = le64_make(record->sequence),
	};
	uint8_t *start = out, *at = start;
	le64 sum;

	memcpy(head.magic, record_magic, sizeof(head.magic));
	memcpy(head.layer, layer, sizeof(head.layer));
	memset(at, 0, size);
	memcpy(at, &head, sizeof(head));
	at += sizeof(head);
	for (unsigned i = 0; i < record->item_count; i++) {
		struct journal_item item = {
			.unit = le64_make(record->items[i].unit),
			.entry = le64_make(record->items[i].entry),
		};

		memcpy(at, &item, sizeof(item));
		at += sizeof(item);
	}
	for (unsigned i = 0; i < record->check_count; i++) {
		struct journal_check check = {
			.block = le64_make(record->checks[i].block),
			.sum = le64_make(record->checks[i].sum),
		};

		memcpy(at, &check, sizeof(check));
		at += sizeof(check);
	}
	sum = le64_make(XXH3_64bits_withSeed(start, size - sizeof(sum),
					     record->sequence));
	memcpy(start + size - sizeof(sum), &sum, sizeof(sum));
}

static void read_items(const uint8_t *at, const struct journal_record *record)
{
	for (unsigned i = 0; i < record->item_count; i++) {
		struct journal_item item;

		memcpy(&item, at, sizeof(item));
		record->items[i].unit = le64_get(item.unit);
		record->items[i].entry = le64_get(item.entry);
		at += sizeof(item);
	}
	for (unsigned i = 0; i < record->check_count; i++) {
		struct journal_check check;

		memcpy(&check, at, sizeof(check));
		record->checks[i].block = le64_get(check.block);
		record->checks[i].sum = le64_get(check.sum);
		at += sizeof(check);
	}
}

size_t journal_record_decode(const void *data, size_t size,
			     const uint8_t layer[16],
			     struct journal_record *record)
{
	const uint8_t *at = data;
	struct journal_head head;
	unsigned items, checks;
	size_t need;
	le64 sum;

	if (size < JOURNAL_RECORD_UNIT)
		return 0;
	memcpy(&head, at, sizeof(head));
	items = le16_get(head.items);
	checks = le16_get(head.checks);
	if (memcmp(head.magic, record_magic, sizeof(record_magic)) != 0 ||
	    items > JOURNAL_ITEMS_MAX || checks > JOURNAL_CHECKS_MAX ||
	    le64_get(head.sequence) != record->sequence ||
	    memcmp(head.layer, layer, sizeof(head.layer)) != 0)
		return 0;
	need = journal_record_size(items, checks);
	if (need > size)
		return 0;
	memcpy(&sum, at + need - sizeof(sum), sizeof(sum));
	if (le64_get(sum) !=
	    XXH3_64bits_withSeed(at, need - sizeof(sum), record->sequence))
		return 0;
	record->item_count = items;
	record->check_count = checks;
	read_items(at + sizeof(head), record);
	return need;
}
