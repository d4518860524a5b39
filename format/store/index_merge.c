/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to merge: tables are kept in tiers of a factor of eight in entries,
 * few in each, so that a look-up asks few tables and an entry is rewritten
 * seldom. A merge is a service, not a duty: whatever goes wrong, the tables
 * that were there stay, and the backup goes on. A merged table's filter must
 * fit the memory that there is for filters; larger ones are left apart.
 */
#include "format/store/index_private.h"

#include <errno.h>

#include "format/base/base.h"

#define TIER_TABLES_MAX 4u
#define TIER_FIRST      4096u /* entries: all below is one tier */
#define FAN_IN_MAX      64u
#define ROUNDS_MAX      64u

static unsigned tier_of(uint64_t entries)
{
	unsigned tier = 0;

	while (entries >= TIER_FIRST) {
		entries /= 8;
		tier++;
	}
	return tier;
}

/* The tables of a tier that fit one merge. */
static void pick_tier(struct index *index, unsigned tier,
		      struct index_tables *out)
{
	uint64_t entries = 0, filter, size;
	size_t n;

	out->count = 0;
	for (n = 0; n < index->set.count && out->count < FAN_IN_MAX; n++) {
		struct index_table *table = index->set.tables[n];

		size = table_entries(table->table);
		filter = filter_blocks_for(entries + size) * TABLE_FILTER_BLOCK;
		if (table->unmergeable || tier_of(size) != tier ||
		    entries + size > TABLE_ENTRIES_MAX ||
		    filter > index->filters_max_bytes)
			continue;
		entries += size;
		out->tables[out->count++] = table;
	}
}

/* The smallest tier that is overfull. */
static bool pick(struct index *index, struct index_tables *out)
{
	unsigned tier;

	for (tier = 0; tier <= tier_of(TABLE_ENTRIES_MAX); tier++) {
		pick_tier(index, tier, out);
		if (out->count > TIER_TABLES_MAX)
			return true;
	}
	return false;
}

/* Delete what a present table replaces. What can't be deleted stays noted. */
static void delete_hidden(struct index *index)
{
	struct id *ids = (struct id *)index->hidden.data;
	size_t count = index->hidden.size / sizeof(*ids), left = 0, n;
	char name[OBJECT_NAME_MAX];
	int r;

	if (count == 0)
		return;
	/* Another writer's table may be visible and not yet durable. */
	if (backend_settle(index->backend, object_folder(OBJECT_TABLE), NULL) <
	    0)
		return;
	for (n = 0; n < count; n++) {
		table_name(name, &ids[n]);
		r = backend_delete(index->backend, name, NULL);
		if (r < 0 && r != -ENOENT)
			ids[left++] = ids[n];
	}
	index->hidden.size = left * sizeof(*ids);
}

void index_merge(struct index *index, struct sealer *sealer)
{
	struct index_table *chosen[FAN_IN_MAX], *bad;
	struct index_tables from = { chosen, 0 };
	unsigned round;
	int r = 0;

	delete_hidden(index);
	for (round = 0; round < ROUNDS_MAX && r == 0; round++) {
		if (!pick(index, &from))
			return;
		bad = NULL;
		r = index_merge_tables(index, sealer, &from, &bad, NULL);
		if (r == -ENOENT) {
			/* Another writer merged them: see what there is now. */
			index_load_locked(index, sealer, NULL);
			return;
		}
		if (r < 0 && bad) {
			bad->unmergeable = true;
			r = 0;
			continue;
		}
		delete_hidden(index);
	}
}
