/* SPDX-License-Identifier: Apache-2.0 */
/* See engine_rig.h. The store's files are changed with plain calls, behind the
 * back of the engine. */
#include "tests/rig/engine_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define PIECE_SIZE (1u << 20)

static void assert_ok(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->text);
}

/* ---- life ---- */

int engine_rig_setup(void **state)
{
	struct store_create_options create = { .plaintext = true };
	struct engine_rig *rig = NULL;
	struct err err = { 0 };

	assert_ok(alloc_array(&rig, 1, sizeof(*rig), &err), &err);
	strcpy(rig->dir, "/tmp/vmsnap-engine.XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	snprintf(rig->store, sizeof(rig->store), "%s/store", rig->dir);
	rig->real = io_new(&err);
	assert_non_null(rig->real);
	fault_io_init(&rig->fault, rig->real);
	assert_ok(vms_init(rig->store, &create, &err), &err);
	*state = rig;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int engine_rig_teardown(void **state)
{
	struct engine_rig *rig = *state;

	vms_close(rig->vms);
	io_free(rig->real);
	nftw(rig->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(rig);
	return 0;
}

static struct vms *rig_open_with(struct engine_rig *rig,
				 const struct vms_options *options)
{
	struct backend *backend = NULL;
	struct err err = { 0 };

	vms_close(rig->vms);
	rig->vms = NULL;
	assert_ok(backend_open_dir(&backend, &rig->fault.io, rig->store, &err),
		  &err);
	assert_ok(vms_open_backend(&rig->vms, &rig->fault.io, backend, options,
				   &err),
		  &err);
	return rig->vms;
}

struct vms *engine_rig_open(struct engine_rig *rig, enum store_mode mode,
			    unsigned workers)
{
	struct vms_options options = {
		.store = { .mode = mode },
		.workers = workers ? workers : 2,
	};

	return rig_open_with(rig, &options);
}

struct vms *engine_rig_open_tolerant(struct engine_rig *rig, unsigned workers)
{
	struct vms_options options = {
		.store = { .mode = STORE_READ, .tolerant = true },
		.workers = workers ? workers : 2,
	};

	return rig_open_with(rig, &options);
}

const char *engine_rig_path(const struct engine_rig *rig, const char *name)
{
	static char paths[4][RIG_PATH_MAX];
	static unsigned turn;
	char *path = paths[turn++ % ARRAY_SIZE(paths)];

	snprintf(path, RIG_PATH_MAX, "%s/%s", rig->dir, name);
	return path;
}

/* ---- disks ---- */

void engine_rig_disk(const struct engine_rig *rig, const char *name,
		     uint64_t size_bytes)
{
	autofd int fd = open(engine_rig_path(rig, name),
			     O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size_bytes), 0);
}

static uint64_t mix(uint64_t n)
{
	n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9u;
	n = (n ^ (n >> 27)) * 0x94d049bb133111ebu;
	n ^= n >> 31;
	return n ? n : 1;
}

void engine_rig_pattern(void *buffer, size_t length, uint64_t offset,
			uint64_t seed)
{
	uint8_t *to = buffer;

	for (size_t n = 0; n < length; n++) {
		uint64_t word = mix((offset + n) / 8 + (seed << 40) + 1);

		to[n] = (uint8_t)(word >> (8 * ((offset + n) % 8)));
	}
}

void engine_rig_write(const struct engine_rig *rig, const char *name,
		      uint64_t offset, uint64_t length, uint64_t seed)
{
	autofd int fd = open(engine_rig_path(rig, name), O_WRONLY | O_CLOEXEC);
	autofree uint8_t *buffer = malloc(PIECE_SIZE);

	assert_true(fd >= 0);
	assert_non_null(buffer);
	while (length) {
		size_t piece = (size_t)min_u64(length, PIECE_SIZE);

		engine_rig_pattern(buffer, piece, offset, seed);
		assert_int_equal(pwrite(fd, buffer, piece, (off_t)offset),
				 piece);
		offset += piece;
		length -= piece;
	}
}

void engine_rig_assert_same(const struct engine_rig *rig, const char *a,
			    const char *b)
{
	autofd int fd_a = open(engine_rig_path(rig, a), O_RDONLY | O_CLOEXEC);
	autofd int fd_b = open(engine_rig_path(rig, b), O_RDONLY | O_CLOEXEC);
	autofree uint8_t *in_a = malloc(PIECE_SIZE);
	autofree uint8_t *in_b = malloc(PIECE_SIZE);
	ssize_t n;

	assert_true(fd_a >= 0 && fd_b >= 0);
	assert_true(in_a && in_b);
	assert_int_equal(lseek(fd_a, 0, SEEK_END), lseek(fd_b, 0, SEEK_END));
	for (off_t at = 0;; at += n) {
		n = pread(fd_a, in_a, PIECE_SIZE, at);
		assert_true(n >= 0);
		assert_int_equal(pread(fd_b, in_b, PIECE_SIZE, at), n);
		if (n == 0)
			return;
		if (memcmp(in_a, in_b, (size_t)n))
			fail_msg("'%s' and '%s' differ from about %lld on", a,
				 b, (long long)at);
	}
}

void engine_rig_backup(struct engine_rig *rig, const char *name,
		       const char *disk, const char *disk2,
		       struct snapshot *out)
{
	struct vms_source sources[2] = {
		{ .disk = disk, .location = engine_rig_path(rig, disk) },
	};
	struct vms_backup backup = { .name = name,
				     .sources = sources,
				     .source_count = 1 };
	struct err err = { 0 };

	if (disk2) {
		sources[1].disk = disk2;
		sources[1].location = engine_rig_path(rig, disk2);
		backup.source_count = 2;
	}
	if (!rig->vms)
		engine_rig_open(rig, STORE_WRITE, 0);
	assert_ok(vms_backup(rig->vms, &backup, out, &err), &err);
}

/* ---- what lies in the store ---- */

struct names {
	char (*names)[OBJECT_NAME_MAX];
	size_t count;
};

static int names_order(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void names_add(const struct engine_rig *rig, const char *folder,
		      struct names *names)
{
	char path[RIG_PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%s", rig->store, folder);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char name[OBJECT_NAME_MAX];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%.16s/%.72s", folder,
			 entry->d_name);
		if (strlen(entry->d_name) == 2) {
			names_add(rig, name, names);
			continue;
		}
		names->names = realloc(names->names,
				       (names->count + 1) * OBJECT_NAME_MAX);
		assert_non_null(names->names);
		memcpy(names->names[names->count++], name, OBJECT_NAME_MAX);
	}
	closedir(dir);
}

size_t engine_rig_count(const struct engine_rig *rig, const char *folder)
{
	struct names names = { 0 };

	names_add(rig, folder, &names);
	free(names.names);
	return names.count;
}

void engine_rig_object(const struct engine_rig *rig, const char *folder,
		       size_t nth, char name[OBJECT_NAME_MAX])
{
	struct names names = { 0 };

	names_add(rig, folder, &names);
	assert_true(nth < names.count);
	qsort(names.names, names.count, OBJECT_NAME_MAX, names_order);
	memcpy(name, names.names[nth], OBJECT_NAME_MAX);
	free(names.names);
}

static void object_path(const struct engine_rig *rig, const char *name,
			char path[RIG_PATH_MAX])
{
	snprintf(path, RIG_PATH_MAX, "%s/%s", rig->store, name);
}

uint64_t engine_rig_object_size(const struct engine_rig *rig, const char *name)
{
	char path[RIG_PATH_MAX];
	struct stat st;

	object_path(rig, name, path);
	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

static int object_open(const struct engine_rig *rig, const char *name)
{
	char path[RIG_PATH_MAX];
	int fd;

	object_path(rig, name, path);
	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

void engine_rig_flip(const struct engine_rig *rig, const char *name,
		     uint64_t offset)
{
	autofd int fd = object_open(rig, name);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
}

void engine_rig_truncate(const struct engine_rig *rig, const char *name,
			 uint64_t size_bytes)
{
	autofd int fd = object_open(rig, name);

	assert_int_equal(ftruncate(fd, (off_t)size_bytes), 0);
}

void engine_rig_remove(const struct engine_rig *rig, const char *name)
{
	char path[RIG_PATH_MAX];

	object_path(rig, name, path);
	assert_int_equal(unlink(path), 0);
}

void engine_rig_swap(const struct engine_rig *rig, const char *a, const char *b)
{
	char path_a[RIG_PATH_MAX], path_b[RIG_PATH_MAX];

	object_path(rig, a, path_a);
	object_path(rig, b, path_b);
	assert_int_equal(
		renameat2(AT_FDCWD, path_a, AT_FDCWD, path_b, RENAME_EXCHANGE),
		0);
}

void engine_rig_place(struct engine_rig *rig, const struct volume *volume,
		      uint64_t number, struct place *out)
{
	struct err err = { 0 };
	struct store_thread *thread = store_thread_new(rig->vms->store, &err);
	struct tree_reader *reader = NULL;
	struct id id;
	int r;

	assert_non_null(thread);
	assert_ok(tree_reader_new(&reader, thread, &volume->root,
				  volume_chunk_count(volume), &err),
		  &err);
	assert_ok(tree_reader_ids(reader, number, 1, &id, NULL, NULL, &err),
		  &err);
	r = index_find(store_index(rig->vms->store),
		       store_thread_sealer(thread), &id, out, &err);
	assert_int_equal(r, 1);
	tree_reader_free(reader);
	store_thread_free(thread);
}
