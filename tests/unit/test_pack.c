/* SPDX-License-Identifier: Apache-2.0 */
/* Packs written and read back; what is wrong is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/base/base.h"
#include "format/store/pack.h"
#include "tests/rig/mem_backend.h"
#include "tests/rig/table_rig.h"

struct fixture {
	struct backend *backend;
	struct sealer *sealer;
	struct codec *codec;
	struct hasher *hasher;
	uint8_t *content, *coded, *scratch;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->backend = mem_backend_new();
	f->sealer = sealer_new(NULL);
	f->codec = codec_new(3, NULL);
	f->hasher = hasher_new(rig_key, NULL);
	f->content = malloc(CHUNK_SIZE_MAX);
	f->coded = malloc(CHUNK_SIZE_MAX);
	f->scratch = malloc(CHUNK_SIZE_MAX + SEAL_TAG_SIZE);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sealer_free(f->sealer);
	codec_free(f->codec);
	hasher_free(f->hasher);
	backend_close(f->backend);
	free(f->content);
	free(f->coded);
	free(f->scratch);
	free(f);
	return 0;
}

/* Compressible when n is odd. */
static void fill(uint8_t *content, size_t size, unsigned n)
{
	size_t k;

	for (k = 0; k < size; k++) {
		struct id id;

		if (n % 2)
			content[k] = (uint8_t)(n + k / 64);
		else if (k % ID_SIZE == 0)
			id = rig_id(n, k);
		if (n % 2 == 0)
			content[k] = id.b[k % ID_SIZE];
	}
}

static size_t size_of(unsigned n)
{
	return n == 0 ? CHUNK_SIZE_MAX : n < 4 ? n : 40000 + n;
}

static int add(struct fixture *f, struct pack_writer *writer, unsigned n,
	       struct entry *entry)
{
	size_t size = size_of(n), coded_size = size;
	struct id id;
	int codec;

	fill(f->content, size, n);
	assert_int_equal(
		hasher_id(f->hasher, CHUNK_DATA, f->content, size, &id, NULL),
		0);
	codec = codec_encode(f->codec, f->content, size, f->coded, &coded_size,
			     NULL);
	assert_true(codec >= 0);
	return pack_writer_add(
		writer, f->sealer, &id, CHUNK_DATA, (enum codec_kind)codec,
		(uint32_t)size, codec == CODEC_RAW ? f->content : f->coded,
		codec == CODEC_RAW ? size : coded_size, entry, NULL);
}

#define COUNT 60u

static struct id write_pack(struct fixture *f)
{
	struct pack_writer writer = { 0 };
	struct backend_put *put;
	struct entry entry;
	struct id id;
	uint64_t size;
	unsigned n;

	assert_int_equal(pack_writer_open(&writer, f->backend, &rig_store,
					  rig_key, NULL),
			 0);
	for (n = 0; n < COUNT; n++)
		assert_int_equal(add(f, &writer, n, &entry), 0);
	assert_int_equal(pack_writer_count(&writer), COUNT);
	assert_int_equal(
		pack_writer_seal(&writer, f->sealer, &put, &size, NULL), 0);
	assert_int_equal(writer.directory.size, COUNT * sizeof(struct entry));
	assert_int_equal(backend_put_finish(f->backend, put, NULL), 0);
	assert_int_equal(mem_backend_object_size(f->backend, writer.name),
			 size);
	id = writer.id;
	pack_writer_release(&writer);
	return id;
}

static int read_directory(struct fixture *f, const struct id *id,
			  struct pack_info *info, struct bytes *directory,
			  struct err *err)
{
	return pack_read_directory(f->backend, f->sealer, &rig_store, rig_key,
				   id, info, directory, err);
}

static int open_chunk(struct fixture *f, const struct id *pack,
		      const struct entry *entry, struct err *err)
{
	autofree uint8_t *sealed = malloc(entry_stored_size(entry));
	char name[OBJECT_NAME_MAX];
	struct object_key key;

	pack_name(name, pack);
	assert_int_equal(
		object_key_derive(&key, rig_key, pack->b, "pack", NULL), 0);
	assert_int_equal(backend_get(f->backend, name, le32_get(entry->offset),
				     sealed, entry_stored_size(entry), NULL),
			 0);
	return pack_open_chunk(f->sealer, f->codec, f->hasher, &key, entry,
			       sealed, f->scratch, f->coded, err);
}

static void test_round(void **state)
{
	struct fixture *f = *state;
	struct id id = write_pack(f);
	struct bytes directory = { 0 };
	struct pack_info info;
	const struct entry *entries;
	unsigned n, raw = 0;

	assert_true(mem_backend_count_op(f->backend, MEM_WRITE) < 10);
	assert_int_equal(read_directory(f, &id, &info, &directory, NULL), 0);
	assert_int_equal(info.count, COUNT);
	assert_int_equal(directory.size, COUNT * sizeof(struct entry));
	entries = (const struct entry *)directory.data;
	for (n = 0; n < COUNT; n++) {
		assert_int_equal(entry_content_size(&entries[n]), size_of(n));
		assert_int_equal(open_chunk(f, &id, &entries[n], NULL), 0);
		fill(f->content, size_of(n), n);
		assert_memory_equal(f->coded, f->content, size_of(n));
		raw += entry_codec(&entries[n]) == CODEC_RAW;
	}
	assert_true(raw > COUNT / 3 && raw < COUNT);
	bytes_release(&directory);
}

static void test_chunk_flips(void **state)
{
	struct fixture *f = *state;
	struct id id = write_pack(f);
	struct bytes directory = { 0 };
	struct pack_info info;
	struct entry entry;
	struct err err = { 0 };
	char name[OBJECT_NAME_MAX];
	unsigned n;

	pack_name(name, &id);
	assert_int_equal(read_directory(f, &id, &info, &directory, NULL), 0);
	for (n = 1; n < 12; n++) {
		uint32_t offset, stored;

		entry = ((const struct entry *)directory.data)[n];
		offset = le32_get(entry.offset);
		stored = entry_stored_size(&entry);
		mem_backend_flip(f->backend, name, offset + n % stored, 1);
		assert_int_equal(open_chunk(f, &id, &entry, &err), -EBADMSG);
		assert_non_null(strstr(err.text, "offset"));
		mem_backend_flip(f->backend, name, offset + n % stored, 1);
		/* Another id, kind or length than it was sealed with. */
		entry.id.b[n] ^= 1;
		assert_int_equal(open_chunk(f, &id, &entry, NULL), -EBADMSG);
		entry.id.b[n] ^= 1;
		entry.content.b[3] ^= CHUNK_NODE;
		assert_int_equal(open_chunk(f, &id, &entry, NULL), -EBADMSG);
		entry.content.b[3] ^= CHUNK_NODE;
		entry.stored.b[3] = 9;
		assert_int_equal(open_chunk(f, &id, &entry, NULL), -EBADMSG);
	}
	bytes_release(&directory);
}

/* Sealed well, but named by an id that its content does not have. */
static void test_wrong_id(void **state)
{
	struct fixture *f = *state;
	struct id lie = rig_id(4, 4);
	struct pack_writer writer;
	struct backend_put *put;
	struct entry entry;
	uint64_t size;

	memset(f->content, 7, 50);
	assert_int_equal(pack_writer_open(&writer, f->backend, &rig_store,
					  rig_key, NULL),
			 0);
	assert_int_equal(pack_writer_add(&writer, f->sealer, &lie, CHUNK_DATA,
					 CODEC_RAW, 50, f->content, 50, &entry,
					 NULL),
			 0);
	assert_int_equal(
		pack_writer_seal(&writer, f->sealer, &put, &size, NULL), 0);
	assert_int_equal(backend_put_finish(f->backend, put, NULL), 0);
	assert_int_equal(open_chunk(f, &writer.id, &entry, NULL), -EBADMSG);
	pack_writer_release(&writer);
}

static void test_frame_flips(void **state)
{
	struct fixture *f = *state;
	struct id id = write_pack(f), other = rig_id(1, 2);
	struct bytes directory = { 0 };
	struct pack_info info;
	char name[OBJECT_NAME_MAX];
	size_t size, at, tail = PACK_TAIL_SIZE(COUNT);

	pack_name(name, &id);
	size = mem_backend_object_size(f->backend, name);
	for (at = 0; at < size; at = at == 79 ? size - tail : at + 1) {
		struct err err = { 0 };
		int r;

		assert_true(mem_backend_flip(f->backend, name, at, 0x20));
		r = read_directory(f, &id, &info, &directory, &err);
		assert_true(r == -EBADMSG || r == -EOPNOTSUPP);
		assert_non_null(strstr(err.text, "packs/"));
		assert_true(mem_backend_flip(f->backend, name, at, 0x20));
	}
	assert_int_equal(directory.size, 0);
	assert_int_equal(read_directory(f, &other, &info, &directory, NULL),
			 -ENOENT);
}

static void test_cut_and_swapped(void **state)
{
	struct fixture *f = *state;
	struct id id = write_pack(f), other = rig_id(1, 2);
	struct bytes directory = { 0 };
	struct pack_info info;
	char name[OBJECT_NAME_MAX], other_name[OBJECT_NAME_MAX];
	autofree uint8_t *whole = NULL;
	size_t size, cut;

	pack_name(name, &id);
	pack_name(other_name, &other);
	whole = mem_backend_copy(f->backend, name, &size);
	mem_backend_set(f->backend, other_name, whole, size);
	assert_int_equal(read_directory(f, &other, &info, &directory, NULL),
			 -EBADMSG);
	for (cut = 0; cut < 400; cut++) {
		mem_backend_set(f->backend, name, whole, cut);
		assert_int_equal(
			read_directory(f, &id, &info, &directory, NULL),
			-EBADMSG);
		mem_backend_set(f->backend, name, whole, size - 1 - cut);
		assert_int_equal(
			read_directory(f, &id, &info, &directory, NULL),
			-EBADMSG);
	}
	assert_int_equal(directory.size, 0);
}

static void test_writer_refuses(void **state)
{
	struct fixture *f = *state;
	struct pack_writer writer, zero = { 0 };
	struct id id = rig_id(1, 1);
	struct backend_put *put;
	struct entry entry;
	uint64_t size;

	pack_writer_release(&zero);
	assert_int_equal(pack_writer_open(&writer, f->backend, &rig_store,
					  rig_key, NULL),
			 0);
	assert_int_equal(
		pack_writer_seal(&writer, f->sealer, &put, &size, NULL),
		-EINVAL);
	assert_int_equal(pack_writer_add(&writer, f->sealer, &id, CHUNK_DATA,
					 CODEC_RAW, 50, f->content, 49, &entry,
					 NULL),
			 -EINVAL);
	assert_int_equal(pack_writer_add(&writer, f->sealer, &id, CHUNK_DATA,
					 CODEC_RAW, 0, f->content, 0, &entry,
					 NULL),
			 -EINVAL);
	/* As if it were nearly full. */
	memset(f->content, 1, 4096);
	writer.offset = PACK_SIZE_MAX - 4096;
	assert_int_equal(pack_writer_add(&writer, f->sealer, &id, CHUNK_DATA,
					 CODEC_RAW, 4096, f->content, 4096,
					 &entry, NULL),
			 -EFBIG);
	assert_int_equal(pack_writer_count(&writer), 0);
	pack_writer_release(&writer);
	assert_int_equal(mem_backend_open_puts(f->backend), 0);

	mem_backend_fail(f->backend, 1, -EIO);
	assert_int_equal(pack_writer_open(&writer, f->backend, &rig_store,
					  rig_key, NULL),
			 -EIO);
	assert_int_equal(mem_backend_open_puts(f->backend), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round, setup, teardown),
		cmocka_unit_test_setup_teardown(test_chunk_flips, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_wrong_id, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frame_flips, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_cut_and_swapped, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_writer_refuses, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
