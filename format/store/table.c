/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a table: header, trailer, footer, then the sections that stay in
 * memory. Every number of the footer is held against the object's size
 * before anything is read by it; since the sections lie without a gap, each
 * offset has just one value that can be right.
 */
#include "format/store/table_private.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include "format/base/base.h"

void table_name(char name[OBJECT_NAME_MAX], const struct id *table)
{
	char hex[ID_HEX_SIZE];

	hex_encode(hex, table->b, ID_SIZE);
	snprintf(name, OBJECT_NAME_MAX, "%s/%s", object_folder(OBJECT_TABLE),
		 hex);
}

size_t table_section_width(enum table_section_kind kind)
{
	switch (kind) {
	case SECTION_FENCES:
		return sizeof(le64);
	case SECTION_PACKS:
		return sizeof(struct table_pack);
	case SECTION_REPLACES:
		return sizeof(struct id);
	case SECTION_FILTER:
		return sizeof(struct filter_block);
	}
	return 1;
}

size_t table_footer_aad(const struct object_header *header, const char *name,
			uint8_t aad[TABLE_AAD_MAX])
{
	size_t length = strlen(name);

	memcpy(aad, header, sizeof(*header));
	memcpy(aad + sizeof(*header), name, length);
	return sizeof(*header) + length;
}

static int footer_wrong(const struct table *table, const char *what, uint64_t n,
			struct err *err)
{
	return err_set(err, -EBADMSG, "table '%s': footer: %s %llu is wrong",
		       table->name, what, (unsigned long long)n);
}

/* Parse into the table; `end` is where the footer's ciphertext lies. */
static int footer_check(struct table *table, const struct table_footer *footer,
			uint64_t end, struct err *err)
{
	static const char *const names[SECTION_COUNT] = { "fences", "packs",
							  "replaces",
							  "filter" };
	uint64_t limits[SECTION_COUNT];
	uint64_t at;
	unsigned n;

	table->entries = le64_get(footer->entries);
	table->blocks = le64_get(footer->blocks);
	if (table->entries < 1 || table->entries > TABLE_ENTRIES_MAX)
		return footer_wrong(table, "number of entries", table->entries,
				    err);
	if (table->blocks != div_up(table->entries, TABLE_BLOCK_ENTRIES))
		return footer_wrong(table, "number of blocks", table->blocks,
				    err);
	if (!bytes_are_zero(footer->reserved, sizeof(footer->reserved)))
		return err_set(err, -EBADMSG,
			       "table '%s': footer: reserved bytes are set",
			       table->name);

	limits[SECTION_FENCES] = div_up(table->blocks, TABLE_FENCE_STRIDE);
	limits[SECTION_PACKS] = TABLE_PACKS_MAX;
	limits[SECTION_REPLACES] = TABLE_REPLACES_MAX;
	limits[SECTION_FILTER] = TABLE_FILTER_BLOCKS_MAX;
	at = table_block_offset(table->blocks);
	for (n = 0; n < SECTION_COUNT; n++) {
		uint64_t offset = le64_get(footer->sections[n].offset);
		uint64_t count = le64_get(footer->sections[n].count);
		uint64_t size;

		if (count > limits[n] ||
		    (n != SECTION_REPLACES && count == 0) ||
		    (n == SECTION_FENCES && count != limits[n]))
			return footer_wrong(table, names[n], count, err);
		if (offset != at || at > end)
			return footer_wrong(table, "a section's offset", offset,
					    err);
		size = count * table_section_width(n);
		table->sections[n] =
			(struct table_section){ offset, count, size };
		at += table_sealed_size(size);
	}
	if (at != end)
		return footer_wrong(table, "the end of the sections", at, err);
	return 0;
}

static int table_read_footer(struct table *table, struct sealer *sealer,
			     const struct store_id *store, struct err *err)
{
	const uint64_t size_min = 2 * TABLE_BLOCK_SIZE +
				  sizeof(struct table_footer) + SEAL_TAG_SIZE +
				  sizeof(struct object_trailer);
	struct object_trailer trailer;
	uint8_t sealed[sizeof(struct table_footer) + SEAL_TAG_SIZE];
	uint8_t aad[TABLE_AAD_MAX];
	struct table_footer footer;
	uint64_t offset;
	int r;

	r = backend_size(table->backend, table->name, &table->size_bytes, err);
	if (r < 0)
		return r;
	if (table->size_bytes < size_min)
		return err_set(
			err, -EBADMSG, "table '%s': cut short at %llu bytes",
			table->name, (unsigned long long)table->size_bytes);
	r = backend_get(table->backend, table->name, 0, &table->header,
			sizeof(table->header), err);
	if (r == 0)
		r = object_header_check(&table->header, OBJECT_TABLE, store,
					table->name, err);
	if (r < 0)
		return r;
	if (memcmp(table->header.salt, table->id.b, ID_SIZE))
		return err_set(err, -EBADMSG,
			       "table '%s': its header is of another table",
			       table->name);
	r = backend_get(table->backend, table->name,
			table->size_bytes - sizeof(trailer), &trailer,
			sizeof(trailer), err);
	if (r == 0)
		r = object_trailer_check(&trailer, OBJECT_TABLE,
					 table->size_bytes, table->name, err);
	if (r < 0)
		return r;
	if (le32_get(trailer.count) != 0 ||
	    le64_get(trailer.length) != sizeof(sealed))
		return err_set(err, -EBADMSG,
			       "table '%s': its trailer does not describe a "
			       "footer",
			       table->name);

	offset = le64_get(trailer.offset);
	r = backend_get(table->backend, table->name, offset, sealed,
			sizeof(sealed), err);
	if (r < 0)
		return r;
	r = sealer_open(sealer, &table->key, offset, aad,
			table_footer_aad(&table->header, table->name, aad),
			sealed, sizeof(sealed), &footer, err);
	if (r < 0) {
		err_prefix(err, "table '%s': footer at offset %llu",
			   table->name, (unsigned long long)offset);
		return r;
	}
	return footer_check(table, &footer, offset, err);
}

#define READ_PIECES 8u

/* One get and the opening of all pieces in it. */
static int section_read_run(const struct table *table, struct sealer *sealer,
			    uint64_t offset, uint8_t *sealed, uint8_t *out,
			    uint64_t size, struct err *err)
{
	uint64_t done = 0, at = 0;
	int r;

	r = backend_get(table->backend, table->name, offset, sealed,
			table_sealed_size(size), err);
	if (r < 0)
		return r;
	while (done < size) {
		uint64_t plain = min_u64(size - done, TABLE_PIECE_SIZE);

		r = sealer_open(sealer, &table->key, offset + at, NULL, 0,
				sealed + at, plain + SEAL_TAG_SIZE, out + done,
				err);
		if (r < 0) {
			err_prefix(err, "table '%s': section at offset %llu",
				   table->name,
				   (unsigned long long)(offset + at));
			return r;
		}
		done += plain;
		at += plain + SEAL_TAG_SIZE;
	}
	return 0;
}

int table_section_read(const struct table *table, struct sealer *sealer,
		       enum table_section_kind kind, uint64_t from, void *out,
		       uint64_t size, struct err *err)
{
	const struct table_section *section = &table->sections[kind];
	uint64_t run_max = READ_PIECES * TABLE_PIECE_SIZE;
	autofree uint8_t *sealed = NULL;
	uint64_t done = 0;
	int r;

	assert(from % TABLE_PIECE_SIZE == 0 && from <= section->size &&
	       size <= section->size - from);
	assert(from + size == section->size || size % TABLE_PIECE_SIZE == 0);
	if (size == 0)
		return 0;
	r = alloc_array(&sealed, table_sealed_size(min_u64(size, run_max)), 1,
			err);
	if (r < 0)
		return r;
	while (done < size) {
		uint64_t run = min_u64(size - done, run_max);

		r = section_read_run(table, sealer,
				     section->offset +
					     table_sealed_size(from + done),
				     sealed, (uint8_t *)out + done, run, err);
		if (r < 0)
			return r;
		done += run;
	}
	return 0;
}

static int section_load(const struct table *table, struct sealer *sealer,
			enum table_section_kind kind, void *out,
			struct err *err)
{
	const struct table_section *section = &table->sections[kind];
	autofree void *data = NULL;
	int r;

	if (section->count == 0)
		return 0;
	r = alloc_array(&data, section->count, table_section_width(kind), err);
	if (r == 0)
		r = table_section_read(table, sealer, kind, 0, data,
				       section->size, err);
	if (r == 0)
		memcpy(out, &(void *){ ptr_steal(&data) }, sizeof(void *));
	return r;
}

static int packs_check(const struct table *table, struct err *err)
{
	uint64_t n;

	for (n = 0; n < table->sections[SECTION_PACKS].count; n++) {
		const struct table_pack *pack = &table->packs[n];
		uint64_t size = le64_get(pack->size_bytes);
		uint64_t count = le32_get(pack->count);

		if (count < 1 || count > PACK_COUNT_MAX ||
		    size > PACK_SIZE_MAX || le32_get(pack->reserved) != 0 ||
		    size < sizeof(struct object_header) +
				    count * (SEAL_TAG_SIZE + 1) +
				    PACK_TAIL_SIZE(count))
			return err_set(err, -EBADMSG,
				       "table '%s': pack number %llu: %llu "
				       "chunks in %llu bytes are not possible",
				       table->name, (unsigned long long)n,
				       (unsigned long long)count,
				       (unsigned long long)size);
	}
	return 0;
}

/* A table that hides itself would lose what it holds. */
static int replaces_check(const struct table *table, struct err *err)
{
	uint64_t n;

	for (n = 0; n < table->sections[SECTION_REPLACES].count; n++)
		if (id_equal(&table->replaces[n], &table->id))
			return err_set(err, -EBADMSG,
				       "table '%s': it replaces itself",
				       table->name);
	return 0;
}

static int fences_check(const struct table *table, struct err *err)
{
	uint64_t n;

	for (n = 1; n < table->sections[SECTION_FENCES].count; n++)
		if (le64_get(table->fences[n - 1]) > le64_get(table->fences[n]))
			return err_set(err, -EBADMSG,
				       "table '%s': fence %llu is out of order",
				       table->name, (unsigned long long)n);
	return 0;
}

static int table_load(struct table *table, const struct table_open *how,
		      struct sealer *sealer, struct err *err)
{
	int r;

	r = object_key_derive(&table->key, how->data_key, table->id.b,
			      object_word(OBJECT_TABLE), err);
	if (r == 0)
		r = table_read_footer(table, sealer, how->store, err);
	if (r == 0)
		r = section_load(table, sealer, SECTION_FENCES, &table->fences,
				 err);
	if (r == 0)
		r = section_load(table, sealer, SECTION_PACKS, &table->packs,
				 err);
	if (r == 0)
		r = section_load(table, sealer, SECTION_REPLACES,
				 &table->replaces, err);
	if (r == 0)
		r = fences_check(table, err);
	if (r == 0)
		r = packs_check(table, err);
	if (r == 0)
		r = replaces_check(table, err);
	if (r == 0 && table_filter_size(table) <= how->filter_budget_bytes)
		r = table_load_filter(table, sealer, err);
	return r;
}

int table_open(struct table **out, const struct table_open *how,
	       struct sealer *sealer, const struct id *id, struct err *err)
{
	static atomic_uint_fast64_t numbers;
	struct table *table;
	int r;

	r = alloc_array(&table, 1, sizeof(*table), err);
	if (r < 0)
		return r;
	table->backend = how->backend;
	table->cache = how->cache;
	table->number = atomic_fetch_add(&numbers, 1) + 1;
	table->id = *id;
	table_name(table->name, id);
	r = table_load(table, how, sealer, err);
	if (r < 0) {
		table_close(table);
		return r;
	}
	*out = table;
	return 0;
}

void table_close(struct table *table)
{
	if (!table)
		return;
	free(table->fences);
	free(table->packs);
	free(table->replaces);
	free(table->filter);
	wipe(&table->key, sizeof(table->key));
	free(table);
}

int table_load_filter(struct table *table, struct sealer *sealer,
		      struct err *err)
{
	if (table->filter)
		return 0;
	return section_load(table, sealer, SECTION_FILTER, &table->filter, err);
}

size_t table_filter_size(const struct table *table)
{
	return table->sections[SECTION_FILTER].size;
}

const struct id *table_id(const struct table *table)
{
	return &table->id;
}

uint64_t table_entries(const struct table *table)
{
	return table->entries;
}

size_t table_filter_bytes(const struct table *table)
{
	return table->filter ? table_filter_size(table) : 0;
}

uint32_t table_pack_count(const struct table *table)
{
	return (uint32_t)table->sections[SECTION_PACKS].count;
}

const struct table_pack *table_pack(const struct table *table, uint32_t n)
{
	assert(n < table_pack_count(table));
	return &table->packs[n];
}

size_t table_replaces(const struct table *table, const struct id **ids)
{
	*ids = table->replaces;
	return table->sections[SECTION_REPLACES].count;
}
