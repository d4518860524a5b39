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

size_t journal_record_size(unsigned count)
{
	size_t size = sizeof(struct journal_head) +
		      count * sizeof(struct journal_item) + sizeof(le64);

	return div_up(size, JOURNAL_RECORD_UNIT) * JOURNAL_RECORD_UNIT;
}

void journal_record_encode(void *out, const uint8_t layer[16],
			   uint64_t sequence, const struct map_item *items,
			   unsigned count)
{
	size_t size = journal_record_size(count);
	struct journal_head head = {
		.count = le32_make(count),
		.sequence = le64_make(sequence),
	};
	uint8_t *at = out;
	le64 sum;

	memcpy(head.magic, record_magic, sizeof(head.magic));
	memcpy(head.layer, layer, sizeof(head.layer));
	memset(at, 0, size);
	memcpy(at, &head, sizeof(head));
	for (unsigned i = 0; i < count; i++) {
		struct journal_item item = {
			.unit = le64_make(items[i].unit),
			.entry = le64_make(items[i].entry),
		};

		memcpy(at + sizeof(head) + i * sizeof(item), &item,
		       sizeof(item));
	}
	sum = le64_make(XXH3_64bits_withSeed(at, size - sizeof(sum), sequence));
	memcpy(at + size - sizeof(sum), &sum, sizeof(sum));
}

size_t journal_record_decode(const void *data, size_t size,
			     const uint8_t layer[16], uint64_t sequence,
			     struct map_item *items, unsigned *count)
{
	const uint8_t *at = data;
	struct journal_head head;
	uint32_t found;
	size_t need;
	le64 sum;

	if (size < JOURNAL_RECORD_UNIT)
		return 0;
	memcpy(&head, at, sizeof(head));
	found = le32_get(head.count);
	if (memcmp(head.magic, record_magic, sizeof(record_magic)) != 0 ||
	    found > JOURNAL_ITEMS_MAX || le64_get(head.sequence) != sequence ||
	    memcmp(head.layer, layer, sizeof(head.layer)) != 0)
		return 0;
	need = journal_record_size(found);
	if (need > size)
		return 0;
	memcpy(&sum, at + need - sizeof(sum), sizeof(sum));
	if (le64_get(sum) !=
	    XXH3_64bits_withSeed(at, need - sizeof(sum), sequence))
		return 0;
	for (uint32_t i = 0; i < found; i++) {
		struct journal_item item;

		memcpy(&item, at + sizeof(head) + i * sizeof(item),
		       sizeof(item));
		items[i].unit = le64_get(item.unit);
		items[i].entry = le64_get(item.entry);
	}
	*count = found;
	return need;
}
