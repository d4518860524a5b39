/* SPDX-License-Identifier: Apache-2.0 */
/* Records, and records inside them; what is read is written again. */
#include "format/base/base.h"
#include "format/store/record.h"
#include "tests/fuzz/fix.h"

static void look(const struct record *record)
{
	char *text = NULL;
	uint64_t large;
	uint32_t small;

	must((record_u32(record, &small, "x", NULL) == 0) ==
	     (record->size == 4));
	must((record_u64(record, &large, "x", NULL) == 0) ==
	     (record->size == 8));
	if (record_text(record, 256, &text, "x", NULL) == 0)
		must(strlen(text) == record->size);
	(void)name_is_valid((const char *)record->payload, record->size);
	free(text);
}

static void read_all(const uint8_t *data, size_t size, int depth)
{
	struct reader reader = { data, size };
	struct bytes again = { 0 };
	struct record record;
	struct err err;
	int r;

	while ((r = record_next(&reader, &record, "x", &err)) > 0) {
		look(&record);
		if (depth < 4)
			read_all(record.payload, record.size, depth + 1);
		must(record_put(&again, record.type, record.required,
				record.payload, record.size, &err) == 0);
	}
	must(again.size <= size);
	must(r < 0 || again.size == size);
	must(again.size == 0 || memcmp(again.data, data, again.size) == 0);
	bytes_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_all(data, size, 0);
	return 0;
}
