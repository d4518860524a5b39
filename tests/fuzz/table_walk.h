/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to a table that opens: everything. */
#ifndef TESTS_FUZZ_TABLE_WALK_H
#define TESTS_FUZZ_TABLE_WALK_H

#include "format/base/base.h"
#include "format/store/table.h"
#include "tests/fuzz/fix.h"
#include "tests/rig/forge.h"
#include "tests/rig/mem_backend.h"
#include "tests/rig/table_rig.h"

static inline void table_walk(struct table *table, struct sealer *sealer)
{
	struct table_stream *stream;
	struct entry entry, found;
	struct err err;
	unsigned n;
	int r, whole;

	whole = table_check(table, sealer, &err);
	must(table_stream_open(&stream, table, NULL) == 0);
	while ((r = table_stream_next(stream, sealer, &entry, &err)) == 1) {
		must(le32_get(entry.pack) < table_pack_count(table));
		r = table_find(table, sealer, &entry.id, &found, &err);
		must(r <= 1);
		if (whole == 0)
			must(r == 1 && memcmp(&entry, &found, 48) == 0);
	}
	must(whole < 0 || r == 0);
	table_stream_close(stream);
	for (n = 0; n < 16; n++) {
		struct id id = rig_id(n, n);

		must(table_find(table, sealer, &id, &found, &err) <= 1);
	}
}

/* Open and walk what stands under the forge's name. */
static inline void table_try(struct backend *backend, struct forge *forge,
			     const struct id *id, const void *data, size_t size)
{
	struct table_open how = {
		.backend = backend,
		.store = &rig_store,
		.data_key = rig_key,
	};
	struct table *table;
	struct err err;
	int r;

	mem_backend_set(backend, forge->name, data, size);
	for (; how.filter_budget_bytes <= 1 << 20;
	     how.filter_budget_bytes += 1 << 20) {
		err.text[0] = 0;
		r = table_open(&table, &how, forge->sealer, id, &err);
		must(r == 0 || (r < 0 && err.text[0]));
		if (r < 0)
			continue;
		table_walk(table, forge->sealer);
		table_close(table);
	}
}

#endif
