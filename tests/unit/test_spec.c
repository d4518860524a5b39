/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worked examples of spec/store.md against the code. Each is made here from the
 * fixed inputs that the page names; what is sealed with random ids in real
 * life (pack, table, slots) is put together by hand and then given to the readers.
 * `test_spec --print` writes the dumps for the page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <xxhash.h>

#include "format/base/base.h"
#include "format/base/bytes.h"
#include "format/store/keys.h"
#include "format/store/record.h"
#include "format/store/table.h"
#include "tests/rig/mem_backend.h"

#define CREATED    1700000000000000000
#define CONTENT    "hello, store"
#define PASSPHRASE "correct horse"

static struct masters masters;
static struct store_id store;
static struct id pack_id, table_id_fixed, chunk, root;
static struct sealer *sealer;
static char *page;

static void put(struct bytes *out, const void *data, size_t size)
{
	assert_int_equal(bytes_append(out, data, size, NULL), 0);
}

static void fill(void *data, size_t size, unsigned from)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)data)[i] = (uint8_t)(from + i);
}

static void fix_sum(void *data, size_t size)
{
	le64 sum = le64_make(XXH3_64bits(data, size));

	memcpy((uint8_t *)data + size, &sum, sizeof(sum));
}

static void make_id(struct bytes *out)
{
	put(out, chunk.b, sizeof(chunk));
}

static void make_name_tag(struct bytes *out)
{
	struct hasher *hasher = hasher_new(masters.id_key, NULL);
	uint8_t tag[8];

	assert_non_null(hasher);
	assert_int_equal(hasher_name_tag(hasher, "web", tag, NULL), 0);
	put(out, tag, sizeof(tag));
	hasher_free(hasher);
}

static void make_object_key(struct bytes *out)
{
	struct object_key key;

	assert_int_equal(object_key_derive(&key, masters.data_key, pack_id.b,
					   "pack", NULL),
			 0);
	put(out, key.b, sizeof(key));
}

static void make_header(struct bytes *out)
{
	struct object_header header;

	object_header_make(&header, OBJECT_PACK, &store, pack_id.b);
	put(out, &header, sizeof(header));
}

static void make_config(struct bytes *out)
{
	const struct store_config config = {
		.store = store,
		.chunk_log2 = 16,
		.level = 3,
		.pack_size_bytes = 32u << 20,
		.created_ns = CREATED,
	};
	struct config_file file;

	assert_int_equal(config_encode(&config, &masters, &file, NULL), 0);
	put(out, &file, sizeof(file));
}

static void finish_slot(struct slot_file *slot, struct bytes *out)
{
	struct masters back;

	fix_sum(slot, 320);
	assert_int_equal(slot_check(slot, sizeof(*slot), &store,
				    "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf", NULL),
			 0);
	assert_int_equal(
		slot_open(slot, PASSPHRASE, strlen(PASSPHRASE), &back, NULL),
		0);
	assert_memory_equal(&back, &masters, sizeof(masters));
	put(out, slot, sizeof(*slot));
}

static void begin_slot(struct slot_file *slot, enum slot_kind kind)
{
	memset(slot, 0, sizeof(*slot));
	memcpy(slot->magic, "VSKEYSLT", 8);
	slot->version = le32_make(1);
	slot->kind = le32_make(kind);
	fill(slot->id, sizeof(slot->id), 0xa0);
	slot->store = store;
	slot->created_ns = le64_make(CREATED);
	memcpy(slot->label, "example", 7);
}

static void make_slot_clear(struct bytes *out)
{
	struct slot_file slot;

	begin_slot(&slot, SLOT_CLEAR);
	memcpy(slot.masters, &masters, sizeof(masters));
	finish_slot(&slot, out);
}

static void make_slot_scrypt(struct bytes *out)
{
	uint8_t sealed[sizeof(masters) + SEAL_TAG_SIZE];
	struct object_key key;
	struct slot_file slot;

	begin_slot(&slot, SLOT_SCRYPT);
	slot.log2_n = le32_make(10);
	slot.r = le32_make(8);
	slot.p = le32_make(1);
	fill(slot.salt, sizeof(slot.salt), 0xc0);
	assert_int_equal(EVP_PBE_scrypt(PASSPHRASE, strlen(PASSPHRASE),
					slot.salt, 32, 1024, 8, 1, 4 << 20,
					key.b, 32),
			 1);
	assert_int_equal(sealer_seal(sealer, &key, 0, &slot, 176, &masters,
				     sizeof(masters), sealed, NULL),
			 0);
	memcpy(slot.masters, sealed, sizeof(slot.masters));
	memcpy(slot.tag, sealed + sizeof(slot.masters), sizeof(slot.tag));
	finish_slot(&slot, out);
}

static struct entry chunk_entry(void)
{
	struct entry entry;

	entry_make(&entry, &chunk, 0, 80, strlen(CONTENT) + SEAL_TAG_SIZE,
		   CODEC_RAW, strlen(CONTENT), CHUNK_DATA);
	return entry;
}

static void make_entry(struct bytes *out)
{
	struct entry entry = chunk_entry();

	assert_null(entry_wrong(&entry, UINT32_MAX));
	put(out, &entry, sizeof(entry));
}

static void make_node(struct bytes *out)
{
	static const uint8_t head[8] = { 1, 0, 0, 0, 2 };
	static const struct id hole;

	put(out, head, sizeof(head));
	put(out, hole.b, sizeof(hole));
	put(out, chunk.b, sizeof(chunk));
}

static void make_volume(struct bytes *out)
{
	assert_int_equal(record_put_text(out, 1, true, "vda", NULL), 0);
	assert_int_equal(record_put_u64(out, 2, true, 65536 + 12, NULL), 0);
	assert_int_equal(record_put_u32(out, 3, true, 16, NULL), 0);
	assert_int_equal(record_put(out, 4, true, root.b, ID_SIZE, NULL), 0);
}

static void put_volume(struct bytes *out, unsigned type)
{
	struct bytes volume = { 0 };

	make_volume(&volume);
	assert_int_equal(
		record_put(out, type, true, volume.data, volume.size, NULL), 0);
	bytes_release(&volume);
}

static void make_snapshot(struct bytes *out)
{
	assert_int_equal(record_put_text(out, 1, true, "web", NULL), 0);
	assert_int_equal(record_put_u64(out, 3, true, 1, NULL), 0);
	assert_int_equal(record_put_u64(out, 4, true, CREATED, NULL), 0);
	put_volume(out, 7);
}

static void make_pin(struct bytes *out)
{
	assert_int_equal(record_put_text(out, 1, true, "image", NULL), 0);
	assert_int_equal(record_put_u64(out, 4, true, CREATED, NULL), 0);
	put_volume(out, 5);
}

static void make_condemned(struct bytes *out)
{
	assert_int_equal(record_put_u64(out, 1, true, CREATED, NULL), 0);
	assert_int_equal(
		record_put_u64(out, 2, true, CREATED + 86400000000000, NULL),
		0);
	assert_int_equal(record_put(out, 3, true, pack_id.b, ID_SIZE, NULL), 0);
}

/* Seal `plain` where the object stands now and append it. */
static void put_sealed(struct bytes *object, const struct object_key *key,
		       const void *aad, size_t aad_size, const void *plain,
		       size_t size)
{
	uint64_t offset = object->size;
	void *to = bytes_extend(object, size + SEAL_TAG_SIZE, NULL);

	assert_non_null(to);
	assert_int_equal(sealer_seal(sealer, key, offset, aad, aad_size, plain,
				     size, to, NULL),
			 0);
}

/* Header and name, the additional data of what says what the object is. */
static size_t object_aad(uint8_t aad[80 + OBJECT_NAME_MAX],
			 const struct bytes *object, const char *name)
{
	memcpy(aad, object->data, 80);
	memcpy(aad + 80, name, strlen(name));
	return 80 + strlen(name);
}

static void make_pack(struct bytes *out)
{
	uint8_t aad[80 + OBJECT_NAME_MAX], chunk_aad[CHUNK_AAD_SIZE];
	struct entry entry = chunk_entry();
	struct object_trailer trailer;
	struct object_key key;
	char name[OBJECT_NAME_MAX];
	size_t at;

	pack_name(name, &pack_id);
	assert_int_equal(object_key_derive(&key, masters.data_key, pack_id.b,
					   "pack", NULL),
			 0);
	make_header(out);
	entry_aad(&entry, chunk_aad);
	put_sealed(out, &key, chunk_aad, sizeof(chunk_aad), CONTENT,
		   strlen(CONTENT));
	at = out->size;
	put_sealed(out, &key, aad, object_aad(aad, out, name), &entry,
		   sizeof(entry));
	object_trailer_make(&trailer, OBJECT_PACK, 1, at, out->size - at);
	put(out, &trailer, sizeof(trailer));
}

static void make_filter(uint8_t filter[32])
{
	static const uint32_t salts[] = { 0x47b6137b, 0x44974d91, 0x8824ad5b,
					  0xa2b7289d, 0x705495c7, 0x2df1424b,
					  0x9efc4947, 0x5c6bfb31 };
	uint32_t k;

	/* One block: block number 0, whatever the id. */
	memcpy(&k, chunk.b + 16, sizeof(k));
	for (size_t i = 0; i < 8; i++) {
		le32 word = le32_make(1u << (k * salts[i] >> 27));

		memcpy(filter + 4 * i, &word, sizeof(word));
	}
}

static void put_footer(struct bytes *out, const struct object_key *key,
		       const uint64_t offsets[4])
{
	static const uint64_t counts[4] = { 1, 1, 0, 1 };
	uint8_t aad[80 + OBJECT_NAME_MAX];
	char name[OBJECT_NAME_MAX];
	le64 footer[16];

	memset(footer, 0, sizeof(footer));
	footer[0] = le64_make(1);
	footer[1] = le64_make(1);
	for (size_t i = 0; i < 4; i++) {
		footer[2 + 2 * i] = le64_make(offsets[i]);
		footer[3 + 2 * i] = le64_make(counts[i]);
	}
	table_name(name, &table_id_fixed);
	put_sealed(out, key, aad, object_aad(aad, out, name), footer,
		   sizeof(footer));
}

static void make_table(struct bytes *out)
{
	struct table_pack pack = { .id = pack_id, .count = le32_make(1) };
	uint8_t block[TABLE_BLOCK_SIZE - SEAL_TAG_SIZE] = { 0 }, filter[32];
	struct entry entry = chunk_entry();
	struct object_header header;
	struct object_trailer trailer;
	struct object_key key;
	uint64_t offsets[4], at;
	le64 fence = le64_make(be64_get(chunk.b));

	assert_int_equal(object_key_derive(&key, masters.data_key,
					   table_id_fixed.b, "table", NULL),
			 0);
	object_header_make(&header, OBJECT_TABLE, &store, table_id_fixed.b);
	put(out, &header, sizeof(header));
	assert_non_null(bytes_extend(out, 4096 - sizeof(header), NULL));
	memcpy(block, &entry, sizeof(entry));
	put_sealed(out, &key, NULL, 0, block, sizeof(block));
	offsets[0] = out->size;
	put_sealed(out, &key, NULL, 0, &fence, sizeof(fence));
	offsets[1] = out->size;
	pack.size_bytes = le64_make(220);
	put_sealed(out, &key, NULL, 0, &pack, sizeof(pack));
	offsets[2] = offsets[3] = out->size;
	make_filter(filter);
	put_sealed(out, &key, NULL, 0, filter, sizeof(filter));
	at = out->size;
	put_footer(out, &key, offsets);
	object_trailer_make(&trailer, OBJECT_TABLE, 0, at, out->size - at);
	put(out, &trailer, sizeof(trailer));
}

/* What follows the block, since that is 4 KiB of noise. */
static void make_table_end(struct bytes *out)
{
	struct bytes table = { 0 };

	make_table(&table);
	put(out, table.data + 8192, table.size - 8192);
	bytes_release(&table);
}

static void make_table_sum(struct bytes *out)
{
	struct bytes table = { 0 };
	uint8_t sum[32];

	make_table(&table);
	assert_int_equal(EVP_Digest(table.data, table.size, sum, NULL,
				    EVP_sha256(), NULL),
			 1);
	put(out, sum, sizeof(sum));
	bytes_release(&table);
}

static const struct example {
	const char *name;
	void (*make)(struct bytes *out);
} examples[] = {
	{ "chunk id", make_id },
	{ "name tag", make_name_tag },
	{ "object key", make_object_key },
	{ "object header", make_header },
	{ "key slot, clear", make_slot_clear },
	{ "key slot, scrypt", make_slot_scrypt },
	{ "config", make_config },
	{ "entry", make_entry },
	{ "tree node", make_node },
	{ "snapshot, plaintext", make_snapshot },
	{ "pin, plaintext", make_pin },
	{ "condemned list, plaintext", make_condemned },
	{ "pack", make_pack },
	{ "table, from 8192 on", make_table_end },
	{ "table, SHA-256 of the whole", make_table_sum },
};

static void print_examples(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		struct bytes made = { 0 };

		examples[i].make(&made);
		printf("\n### Example: %s\n", examples[i].name);
		for (size_t at = 0; at < made.size; at++) {
			if (at % 16 == 0)
				printf("\n    %04zx ", at);
			printf("%s%02x", at % 8 ? " " : "  ", made.data[at]);
		}
		printf("\n");
		bytes_release(&made);
	}
}

/* The bytes of the dump under this heading. */
static void read_dump(const char *name, struct bytes *out)
{
	char heading[80];
	const char *line;
	unsigned at;

	snprintf(heading, sizeof(heading), "\n### Example: %s\n", name);
	line = strstr(page, heading);
	if (!line)
		fail_msg("spec/store.md has no example '%s'", name);
	line += strlen(heading);
	for (; *line && *line != '#'; line = strchr(line, '\n') + 1) {
		int skip = 0;

		if (sscanf(line, "    %4x%n", &at, &skip) != 1)
			continue;
		assert_int_equal(at, out->size);
		line += skip;
		while (*line == ' ') {
			uint8_t byte;

			line += strspn(line, " ");
			assert_int_equal(hex_decode(&byte, 1, line, 2), 0);
			put(out, &byte, 1);
			line += 2;
		}
	}
}

static void test_examples(void **state)
{
	size_t headings = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		struct bytes made = { 0 }, written = { 0 };

		examples[i].make(&made);
		read_dump(examples[i].name, &written);
		if (made.size != written.size ||
		    memcmp(made.data, written.data, made.size) != 0)
			fail_msg("example '%s' differs", examples[i].name);
		bytes_release(&made);
		bytes_release(&written);
	}
	for (char *at = page; (at = strstr(at, "\n### Example: ")); at++)
		headings++;
	assert_int_equal(headings, ARRAY_SIZE(examples));
}

static void test_pack_is_read(void **state)
{
	struct backend *backend = mem_backend_new();
	struct codec *codec = codec_new(3, NULL);
	struct hasher *hasher = hasher_new(masters.id_key, NULL);
	struct bytes pack = { 0 }, directory = { 0 };
	struct entry entry = chunk_entry();
	char name[OBJECT_NAME_MAX], content[sizeof(CONTENT)] = "", scratch[64];
	struct pack_info info;
	struct object_key key;

	(void)state;
	make_pack(&pack);
	pack_name(name, &pack_id);
	mem_backend_set(backend, name, pack.data, pack.size);
	assert_int_equal(pack_read_directory(backend, sealer, &store,
					     masters.data_key, &pack_id, &info,
					     &directory, NULL),
			 0);
	assert_int_equal(info.count, 1);
	assert_int_equal(directory.size, sizeof(entry));
	assert_memory_equal(directory.data, &entry, sizeof(entry));
	assert_int_equal(object_key_derive(&key, masters.data_key, pack_id.b,
					   "pack", NULL),
			 0);
	assert_int_equal(pack_open_chunk(sealer, codec, hasher, &key, &entry,
					 pack.data + 80, scratch, content,
					 NULL),
			 0);
	assert_string_equal(content, CONTENT);
	bytes_release(&pack);
	bytes_release(&directory);
	hasher_free(hasher);
	codec_free(codec);
	backend_close(backend);
}

static void test_table_is_read(void **state)
{
	struct backend *backend = mem_backend_new();
	struct block_cache *cache = block_cache_new(1 << 20, NULL);
	const struct table_open how = {
		.backend = backend,
		.cache = cache,
		.store = &store,
		.data_key = masters.data_key,
		.filter_budget_bytes = 4096,
	};
	struct entry entry = chunk_entry(), found;
	struct table *table = NULL;
	struct bytes object = { 0 };
	char name[OBJECT_NAME_MAX];
	struct err err = { 0 };

	(void)state;
	make_table(&object);
	table_name(name, &table_id_fixed);
	mem_backend_set(backend, name, object.data, object.size);
	if (table_open(&table, &how, sealer, &table_id_fixed, &err) < 0)
		fail_msg("%s", err.text);
	if (table_check(table, sealer, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(table_find(table, sealer, &chunk, &found, NULL), 1);
	assert_memory_equal(&found, &entry, sizeof(entry));
	assert_int_equal(table_find(table, sealer, &root, &found, NULL), 0);
	table_close(table);
	block_cache_free(cache);
	bytes_release(&object);
	backend_close(backend);
}

static int setup(void **state)
{
	struct hasher *hasher;
	struct bytes node = { 0 };

	(void)state;
	fill(masters.id_key, 32, 0x00);
	fill(masters.data_key, 32, 0x20);
	fill(masters.filter_key, 32, 0x40);
	fill(store.b, sizeof(store), 0x00);
	fill(pack_id.b, sizeof(pack_id), 0x60);
	fill(table_id_fixed.b, sizeof(table_id_fixed), 0x80);
	sealer = sealer_new(NULL);
	hasher = hasher_new(masters.id_key, NULL);
	if (!sealer || !hasher ||
	    hasher_id(hasher, CHUNK_DATA, CONTENT, strlen(CONTENT), &chunk,
		      NULL) < 0)
		return -1;
	make_node(&node);
	if (hasher_id(hasher, CHUNK_NODE, node.data, node.size, &root, NULL) <
	    0)
		return -1;
	bytes_release(&node);
	hasher_free(hasher);
	return 0;
}

static int read_page(void **state)
{
	const char *top = getenv("TOP");
	char path[4096];
	FILE *file;
	size_t size;

	if (setup(state) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/spec/store.md", top ? top : ".");
	file = fopen(path, "r");
	page = calloc(1, MIB);
	if (!file || !page) {
		fprintf(stderr,
			"cannot read '%s': start in the source's top "
			"folder, or set TOP\n",
			path);
		return -1;
	}
	size = fread(page, 1, MIB - 1, file);
	fclose(file);
	return size > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	sealer_free(sealer);
	free(page);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_pack_is_read),
		cmocka_unit_test(test_table_is_read),
	};

	if (argc == 2 && strcmp(argv[1], "--print") == 0) {
		if (setup(NULL) < 0)
			return 1;
		print_examples();
		return teardown(NULL);
	}
	return cmocka_run_group_tests(tests, read_page, teardown);
}
