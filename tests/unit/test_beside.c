/* SPDX-License-Identifier: Apache-2.0 */
/* Reading beside a writer: what it adds is found whole or left alone, and
 * never taken for damage. */
#include "tests/unit/engine_test.h"

#include "format/base/base.h"

#define DISK_SIZE (8 * (uint64_t)RIG_CHUNK)
#define BACKUPS   8u /* enough for a merge of tables */

/*
 * A directory, and a writer that comes at a bad moment: after the list of the
 * folder that is named. A file that is gone can't be read from then on, open
 * as it may still be here.
 */
struct busy {
	struct backend base;
	struct backend *directory;
	struct engine_rig *rig;
	const char *after; /* NULL: it has come */
};

static struct busy *busy_of(struct backend *backend)
{
	return container_of(backend, struct busy, base);
}

static struct vms *second_vms(struct engine_rig *rig, enum store_mode mode,
			      struct backend *backend)
{
	struct vms_options options = {
		.store = { .mode = mode, .tolerant = mode == STORE_READ },
		.workers = 2,
	};
	struct vms *vms = NULL;
	struct err err = { 0 };

	if (!backend)
		assert_done(
			backend_open_dir(&backend, rig->real, rig->store, &err),
			&err);
	assert_done(vms_open_backend(&vms, rig->real, backend, &options, &err),
		    &err);
	return vms;
}

/* Backups of "late" by somebody else. */
static void write_late(struct engine_rig *rig, unsigned count)
{
	static uint64_t seed = 100; /* never the same content again */
	const char *disk = engine_rig_path(rig, "late");
	struct vms_source source = { .disk = "vda", .location = disk };
	struct vms_backup backup = { .name = "late",
				     .sources = &source,
				     .source_count = 1 };

	engine_rig_disk(rig, "late", DISK_SIZE);
	for (unsigned n = 0; n < count; n++) {
		struct vms *writer = second_vms(rig, STORE_WRITE, NULL);
		struct snapshot made = { 0 };
		struct err err = { 0 };

		engine_rig_write(rig, "late", 0, DISK_SIZE, seed++);
		assert_done(vms_backup(writer, &backup, &made, &err), &err);
		snapshot_release(&made);
		vms_close(writer);
	}
}

static int busy_get(struct backend *backend, const char *name, uint64_t offset,
		    void *buffer, size_t size, struct err *err)
{
	struct busy *busy = busy_of(backend);
	char path[RIG_PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", busy->rig->store, name);
	if (access(path, F_OK) < 0)
		return err_set(err, -ENOENT, "'%s' is gone", name);
	return backend_get(busy->directory, name, offset, buffer, size, err);
}

static int busy_size(struct backend *backend, const char *name, uint64_t *size,
		     struct err *err)
{
	return backend_size(busy_of(backend)->directory, name, size, err);
}

static int busy_list(struct backend *backend, const char *folder,
		     backend_list_fn *fn, void *arg, struct err *err)
{
	struct busy *busy = busy_of(backend);
	int r = backend_list(busy->directory, folder, fn, arg, err);

	if (busy->after && !strcmp(folder, busy->after)) {
		busy->after = NULL;
		write_late(busy->rig, BACKUPS);
	}
	return r;
}

static void busy_close(struct backend *backend)
{
	struct busy *busy = busy_of(backend);

	backend_close(busy->directory);
	free(busy);
}

/* For reading, without a writer so far. */
static struct busy *busy_new(struct engine_rig *rig)
{
	static const struct backend_ops ops = {
		.get = busy_get,
		.size = busy_size,
		.list = busy_list,
		.close = busy_close,
	};
	struct busy *busy = NULL;
	struct err err = { 0 };

	assert_done(alloc_array(&busy, 1, sizeof(*busy), &err), &err);
	busy->base.ops = &ops;
	busy->rig = rig;
	assert_done(
		backend_open_dir(&busy->directory, rig->real, rig->store, &err),
		&err);
	return busy;
}

/* A few tables: the next ones make a merge. */
static void make_some(struct engine_rig *rig)
{
	engine_rig_disk(rig, "web", DISK_SIZE);
	for (unsigned n = 0; n < 3; n++) {
		struct snapshot made = { 0 };

		engine_rig_write(rig, "web", 0, DISK_SIZE, n);
		engine_rig_backup(rig, "web", "web", NULL, &made);
		snapshot_release(&made);
	}
}

static void assert_clean(struct vms *vms, uint64_t snapshots)
{
	struct vms_check how = { .read_data = true, .share = 1 };
	struct vms_check_result result = { 0 };
	struct err err = { 0 };

	assert_done(vms_check(vms, &how, &result, &err), &err);
	if (result.error_count)
		fail_msg("%s: %s", result.errors[0].object,
			 result.errors[0].what);
	assert_int_equal(result.snapshots, snapshots);
	vms_check_result_release(&result);
}

/* The writer has come between the opening and the check. */
static void test_check_after(void **state)
{
	struct engine_rig *rig = *state;
	struct vms *vms;

	make_some(rig);
	vms = second_vms(rig, STORE_READ, NULL);
	write_late(rig, BACKUPS);
	assert_clean(vms, 3 + BACKUPS);
	vms_close(vms);
}

/* It comes when the check has listed what it will look at. */
static void test_check_beside(void **state)
{
	static const char *const folders[] = { "snapshots", "pins", "condemned",
					       "packs" };
	struct engine_rig *rig = *state;

	make_some(rig);
	for (size_t n = 0; n < ARRAY_SIZE(folders); n++) {
		struct busy *busy = busy_new(rig);
		struct vms *vms = second_vms(rig, STORE_READ, &busy->base);

		busy->after = folders[n];
		assert_clean(vms, 3 + n * BACKUPS);
		assert_null(busy->after);
		vms_close(vms);
	}
}

static void test_stats(void **state)
{
	struct engine_rig *rig = *state;
	struct vms_stats stats = { 0 };
	struct err err = { 0 };
	struct vms *vms;

	make_some(rig);
	vms = second_vms(rig, STORE_READ, NULL);
	write_late(rig, 1);
	assert_done(vms_stats(vms, NULL, &stats, &err), &err);
	assert_int_equal(stats.snapshot_count, 4);
	assert_int_equal(stats.damaged, 0);
	assert_int_equal(stats.unique_bytes, 4 * DISK_SIZE);
	vms_stats_release(&stats);
	vms_close(vms);
}

/* A snapshot that is found can be read. */
static void test_find(void **state)
{
	struct engine_rig *rig = *state;
	struct vms_restore restore = { .force = true };
	struct vms_restore_result result = { 0 };
	struct vms_snapshot_list latest = { 0 };
	struct snapshot found = { 0 };
	struct err err = { 0 };
	struct vms *vms;

	make_some(rig);
	vms = second_vms(rig, STORE_READ, NULL);
	write_late(rig, 1);
	assert_done(vms_find_snapshot(vms, "late", &found, &err), &err);
	restore.snapshot = &found;
	restore.target = engine_rig_path(rig, "out");
	assert_done(vms_restore(vms, &restore, &result, &err), &err);
	engine_rig_assert_same(rig, "late", "out");
	snapshot_release(&found);
	vms_restore_result_release(&result);
	vms_close(vms);

	vms = second_vms(rig, STORE_READ, NULL);
	write_late(rig, 2);
	assert_done(vms_list_latest(vms, &latest, &err), &err);
	assert_int_equal(latest.count, 2);
	for (size_t n = 0; n < latest.count; n++) {
		struct vms_verify_result verified = { 0 };

		assert_done(vms_verify(vms, &latest.snapshots[n], NULL,
				       &verified, &err),
			    &err);
		vms_verify_result_release(&verified);
	}
	vms_snapshot_list_release(&latest);
	vms_close(vms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_check_after),
		RIG_TEST(test_check_beside),
		RIG_TEST(test_stats),
		RIG_TEST(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
