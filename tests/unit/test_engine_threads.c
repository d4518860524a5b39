/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine with four workers on the real io: backup, list, verify, restore;
 * two engines in one store at once; a backup that is broken off. Built with
 * SANITIZE=thread this is what holds the locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmsnap/vmsnap.h"

#define DISK_BYTES (5 * MIB + 4711)
#define WORKERS    4u

static char top[64];

static void path_of(char out[128], const char *name)
{
	snprintf(out, 128, "%s/%s", top, name);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* Noise, a hole, and what both disks have. */
static uint8_t *make_disk(const char *name, uint32_t seed)
{
	uint8_t *data = calloc(1, DISK_BYTES);
	uint32_t own = seed, shared = 7;
	char path[128];
	FILE *f;

	assert_non_null(data);
	for (size_t i = 0; i < DISK_BYTES; i++) {
		uint32_t *state = i < 2 * MIB ? &shared : &own;

		if (i / (64 * KIB) % 5 == 3)
			continue;
		*state = *state * 1664525 + 1013904223;
		data[i] = (uint8_t)(*state >> 24);
	}
	path_of(path, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, DISK_BYTES, f), DISK_BYTES);
	assert_int_equal(fclose(f), 0);
	return data;
}

static void assert_file_is(const char *name, const uint8_t *data)
{
	uint8_t *there = malloc(DISK_BYTES + 1);
	char path[128];
	FILE *f;

	assert_non_null(there);
	path_of(path, name);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fread(there, 1, DISK_BYTES + 1, f), DISK_BYTES);
	assert_memory_equal(there, data, DISK_BYTES);
	fclose(f);
	free(there);
}

static struct vms *open_store(void)
{
	char path[128];
	struct vms_options options = { .location = path,
				       .store.mode = STORE_WRITE,
				       .store.names_ahead = true,
				       .workers = WORKERS };
	struct vms *vms = NULL;
	struct err err = { 0 };

	path_of(path, "store");
	if (vms_open(&vms, &options, &err))
		fail_msg("%s", err.text);
	return vms;
}

static int backup(struct vms *vms, const char *name, const char *location,
		  uint64_t size_bytes, struct err *err)
{
	char path[128];
	struct vms_source from = { .disk = "root",
				   .location = path,
				   .size_bytes = size_bytes };
	struct vms_backup how = { .name = name,
				  .sources = &from,
				  .source_count = 1 };
	struct snapshot made = { 0 };
	int r;

	if (strcmp(location, "-"))
		path_of(path, location);
	else
		snprintf(path, sizeof(path), "-");
	r = vms_backup(vms, &how, &made, err);
	snapshot_release(&made);
	return r;
}

static void restore(struct vms *vms, const char *name, const char *to,
		    bool delta, struct vms_restore_result *result)
{
	char path[128];
	struct snapshot snapshot = { 0 };
	struct vms_restore how = { .snapshot = &snapshot,
				   .target = path,
				   .delta = delta };
	struct err err = { 0 };

	path_of(path, to);
	memset(result, 0, sizeof(*result));
	if (vms_find_snapshot(vms, name, &snapshot, &err) ||
	    vms_restore(vms, &how, result, &err))
		fail_msg("%s", err.text);
	snapshot_release(&snapshot);
	vms_restore_result_release(result);
}

static void verify_all(struct vms *vms, size_t expected)
{
	struct vms_snapshot_list list = { 0 };
	struct err err = { 0 };

	if (vms_list(vms, NULL, &list, &err))
		fail_msg("%s", err.text);
	assert_int_equal(list.count, expected);
	assert_int_equal(list.damaged_count, 0);
	for (size_t i = 0; i < list.count; i++) {
		struct vms_verify_result result = { 0 };

		if (vms_verify(vms, &list.snapshots[i], NULL, &result, &err))
			fail_msg("%s", err.text);
		assert_int_equal(result.size_bytes, DISK_BYTES);
		vms_verify_result_release(&result);
	}
	vms_snapshot_list_release(&list);
}

static void test_one_engine(void **state)
{
	uint8_t *disk = make_disk("disk", 1);
	struct vms *vms = open_store();
	struct vms_restore_result result;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(backup(vms, "vm", "disk", 0, &err), 0);
	assert_int_equal(backup(vms, "vm", "disk", 0, &err), 0);
	verify_all(vms, 2);
	restore(vms, "vm@-1", "back", false, &result);
	assert_file_is("back", disk);
	assert_int_equal(result.written_bytes, result.data_bytes);
	free(disk);

	/* The next generation over it. */
	disk = make_disk("disk", 2);
	assert_int_equal(backup(vms, "vm", "disk", 0, &err), 0);
	restore(vms, "vm", "back", true, &result);
	assert_file_is("back", disk);
	assert_true(result.unchanged_bytes > 0 && result.written_bytes > 0);
	vms_close(vms);
	free(disk);
}

struct engine {
	pthread_t thread;
	const char *name;
	int result;
	struct err err;
};

static void *engine_main(void *arg)
{
	struct engine *engine = arg;
	struct vms *vms = open_store();

	for (unsigned i = 0; i < 3 && !engine->result; i++)
		engine->result = backup(vms, engine->name, engine->name, 0,
					&engine->err);
	vms_close(vms);
	return NULL;
}

static void test_two_engines(void **state)
{
	uint8_t *one = make_disk("one", 1), *two = make_disk("two", 2);
	struct engine engines[] = { { .name = "one" }, { .name = "two" } };
	struct vms_restore_result result;
	struct vms *vms;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		assert_int_equal(pthread_create(&engines[i].thread, NULL,
						engine_main, &engines[i]),
				 0);
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		pthread_join(engines[i].thread, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		if (engines[i].result)
			fail_msg("%s", engines[i].err.text);
	}
	vms = open_store();
	verify_all(vms, 6);
	restore(vms, "one", "one.back", false, &result);
	restore(vms, "two", "two.back", false, &result);
	assert_file_is("one.back", one);
	assert_file_is("two.back", two);
	vms_close(vms);
	free(one);
	free(two);
}

/* What a broken-off backup has claimed is not there for the next. */
static void test_broken_off(void **state)
{
	uint8_t *disk = make_disk("disk", 1);
	int before = dup(STDIN_FILENO), short_one;
	struct vms *vms = open_store();
	struct vms_restore_result result;
	struct err err = { 0 };
	char path[128];

	(void)state;
	path_of(path, "disk");
	short_one = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(before >= 0 && short_one >= 0);
	assert_int_equal(dup2(short_one, STDIN_FILENO), STDIN_FILENO);
	assert_int_equal(backup(vms, "stream", "-", DISK_BYTES + 3 * MIB, &err),
			 -EIO);
	assert_non_null(strstr(err.text, "ended at offset"));
	dup2(before, STDIN_FILENO);
	close(before);
	close(short_one);

	assert_int_equal(backup(vms, "vm", "disk", 0, &err), -ECANCELED);
	verify_all(vms, 0);
	vms_close(vms);
	vms = open_store();
	assert_int_equal(backup(vms, "again", "disk", 0, &err), 0);
	restore(vms, "again", "back", false, &result);
	assert_file_is("back", disk);
	vms_close(vms);
	free(disk);
}

static int setup(void **state)
{
	struct store_create_options options = { .plaintext = true,
						.chunk_log2 = 14,
						.pack_size_bytes = MIB };
	char path[128];

	(void)state;
	snprintf(top, sizeof(top), "/tmp/vmsnap-engine-XXXXXX");
	if (!mkdtemp(top))
		return -1;
	path_of(path, "store");
	return vms_init(path, &options, NULL);
}

static int teardown(void **state)
{
	(void)state;
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_engine, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_two_engines, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_broken_off, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
