/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table's footer, sealed as it must be, behind the blocks and sections of an
 * honest table of 200 entries. Input: the footer's bytes are XORed to those of the
 * right one, so that a few set bytes are a near miss; what follows them
 * lies between the sections and the footer.
 */
#include "format/store/table_private.h"
#include "tests/fuzz/table_walk.h"

static struct backend *backend;
static struct forge forge;
static struct id id;
static uint8_t *honest;
static size_t sections_end; /* in `honest` */
static struct table_footer right;

static void prepare(void)
{
	struct table *table;
	char name[OBJECT_NAME_MAX];
	size_t size;
	unsigned n;

	backend = mem_backend_new();
	forge.sealer = sealer_new(NULL);
	id = rig_table(backend, forge.sealer, 1, 200, NULL);
	table = rig_open(backend, forge.sealer, NULL, &id, 0);
	right.entries = le64_make(table->entries);
	right.blocks = le64_make(table->blocks);
	for (n = 0; n < SECTION_COUNT; n++) {
		right.sections[n].offset = le64_make(table->sections[n].offset);
		right.sections[n].count = le64_make(table->sections[n].count);
	}
	table_close(table);
	table_name(name, &id);
	honest = mem_backend_copy(backend, name, &size);
	sections_end = size - sizeof(struct object_trailer) - sizeof(right) -
		       SEAL_TAG_SIZE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct table_footer footer;
	size_t n, part = min_u64(size, sizeof(footer));

	if (!backend)
		prepare();
	memcpy(&footer, &right, sizeof(footer));
	for (n = 0; n < part; n++)
		((uint8_t *)&footer)[n] ^= data[n];
	forge_begin(&forge, OBJECT_TABLE, &id);
	must(bytes_append(&forge.object, honest + sizeof(forge.header),
			  sections_end - sizeof(forge.header), NULL) == 0);
	must(bytes_append(&forge.object, data + part, size - part, NULL) == 0);
	forge_seal(&forge, &footer, sizeof(footer), true);
	forge_trailer(&forge, 0, sizeof(footer) + SEAL_TAG_SIZE);
	table_try(backend, &forge, &id, forge.object.data, forge.object.size);
	return 0;
}
