/* SPDX-License-Identifier: Apache-2.0 */
/* Backup: sizes, workers, what an incremental stores, sources that fail. */
#include "tests/unit/engine_test.h"

#define C ((uint64_t)RIG_CHUNK)

struct one {
	struct vms_source source;
	struct vms_backup backup;
	char path[RIG_PATH_MAX];
	unsigned warnings;
};

static void count_warning(void *arg, const char *text)
{
	struct one *one = arg;

	(void)text;
	one->warnings++;
}

static void one_init(struct one *one, const struct engine_rig *rig)
{
	memset(one, 0, sizeof(*one));
	snprintf(one->path, sizeof(one->path), "%s",
		 engine_rig_path(rig, "vda"));
	one->source.disk = "vda";
	one->source.location = one->path;
	one->backup.name = "web";
	one->backup.sources = &one->source;
	one->backup.source_count = 1;
	one->backup.warn = count_warning;
	one->backup.warn_arg = one;
}

static struct snapshot run(struct engine_rig *rig, const struct one *one)
{
	struct snapshot out = { 0 };
	struct err err = { 0 };

	assert_done(vms_backup(rig->vms, &one->backup, &out, &err), &err);
	return out;
}

static void fails(struct engine_rig *rig, const struct one *one, int code,
		  const char *words)
{
	size_t before = engine_rig_count(rig, "snapshots");
	struct snapshot out = { 0 };
	struct err err = { 0 };

	assert_int_equal(vms_backup(rig->vms, &one->backup, &out, &err), code);
	if (!strstr(err.text, words))
		fail_msg("'%s' does not say '%s'", err.text, words);
	assert_null(out.volumes);
	assert_int_equal(engine_rig_count(rig, "snapshots"), before);
	/* A run that was broken off may have failed its store. */
	engine_rig_open(rig, STORE_WRITE, 2);
}

static void restore_same(struct engine_rig *rig, const struct snapshot *from)
{
	struct vms_restore_result result = { 0 };
	char target[RIG_PATH_MAX];
	struct vms_restore restore = { .snapshot = from,
				       .target = target,
				       .force = true };
	struct err err = { 0 };

	snprintf(target, sizeof(target), "%s", engine_rig_path(rig, "out"));
	assert_done(vms_restore(rig->vms, &restore, &result, &err), &err);
	vms_restore_result_release(&result);
	engine_rig_assert_same(rig, "vda", "out");
}

/* Every size near a border, whatever the number of workers. */
static void test_sizes(void **state)
{
	static const uint64_t sizes[] = { 0, 1,     511, 4096,       C - 1,
					  C, C + 1, MIB, MIB + 4097, 257 * C };
	struct engine_rig *rig = *state;
	struct one one;

	one_init(&one, rig);
	for (unsigned workers = 1; workers <= 8; workers = workers * 3 - 1) {
		engine_rig_open(rig, STORE_WRITE, workers);
		for (size_t n = 0; n < ARRAY_SIZE(sizes); n++) {
			struct snapshot made;

			engine_rig_disk(rig, "vda", sizes[n]);
			engine_rig_write(rig, "vda", 0, sizes[n], workers);
			made = run(rig, &one);
			assert_int_equal(made.volumes[0].size_bytes, sizes[n]);
			assert_int_equal(made.totals.logical_bytes, sizes[n]);
			restore_same(rig, &made);
			snapshot_release(&made);
		}
	}
}

static void test_sparse(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot made;
	struct one one;

	one_init(&one, rig);
	engine_rig_open(rig, STORE_WRITE, 4);
	engine_rig_disk(rig, "vda", 4 * GIB + 5);
	engine_rig_write(rig, "vda", GIB + 77, 100, 1);
	engine_rig_write(rig, "vda", 4 * GIB, 5, 1);
	made = run(rig, &one);
	assert_int_equal(made.totals.new_chunks, 2);
	assert_true(made.totals.scanned_bytes < 64 * MIB);
	snapshot_release(&made);
	engine_rig_disk(rig, "vda", 64 * MIB);
	made = run(rig, &one);
	assert_true(id_is_null(&made.volumes[0].root));
	assert_int_equal(made.totals.new_chunks, 0);
	snapshot_release(&made);
}

static void test_incremental(void **state)
{
	const uint64_t size = 100 * C + 9;
	struct engine_rig *rig = *state;
	struct snapshot first, same, changed, rehashed;
	struct one one;
	size_t packs;

	one_init(&one, rig);
	engine_rig_open(rig, STORE_WRITE, 3);
	engine_rig_disk(rig, "vda", size);
	engine_rig_write(rig, "vda", 0, size, 1);
	first = run(rig, &one);
	assert_int_equal(first.sequence, 1);
	assert_false(first.has_parent);
	assert_int_equal(first.totals.new_chunks, 101);
	assert_int_equal(first.totals.new_content_bytes, size);
	assert_int_equal(first.totals.unchanged_bytes, 0);

	packs = engine_rig_count(rig, "packs");
	same = run(rig, &one);
	assert_int_equal(same.sequence, 2);
	assert_true(same.has_parent && id_equal(&same.parent, &first.id));
	assert_int_equal(same.totals.unchanged_bytes, size);
	assert_int_equal(same.totals.new_chunks, 0);
	assert_true(id_equal(&same.volumes[0].root, &first.volumes[0].root));
	assert_true(id_equal(&same.volumes[0].tags, &first.volumes[0].tags));
	assert_int_equal(engine_rig_count(rig, "packs"), packs);

	engine_rig_open(rig, STORE_WRITE, 3); /* and after it was closed */
	engine_rig_write(rig, "vda", 50 * C - 1, 2, 2);
	changed = run(rig, &one);
	assert_int_equal(changed.totals.new_chunks, 2);
	assert_int_equal(changed.totals.unchanged_bytes, size - 2 * C);
	restore_same(rig, &changed);

	one.backup.rehash = true;
	rehashed = run(rig, &one);
	assert_int_equal(rehashed.totals.unchanged_bytes, 0);
	assert_int_equal(rehashed.totals.new_chunks, 0);
	assert_true(
		id_equal(&rehashed.volumes[0].root, &changed.volumes[0].root));
	assert_int_equal(one.warnings, 0);
	snapshot_release(&first);
	snapshot_release(&same);
	snapshot_release(&changed);
	snapshot_release(&rehashed);
}

/* What the last backup knew is not there any more: all is read anew. */
static void test_parent_damaged(void **state)
{
	struct engine_rig *rig = *state;
	char name[OBJECT_NAME_MAX];
	struct snapshot first, second;
	struct volume tags;
	struct place place;
	struct one one;

	one_init(&one, rig);
	engine_rig_open(rig, STORE_WRITE, 1);
	engine_rig_disk(rig, "vda", 10 * C);
	engine_rig_write(rig, "vda", 0, 10 * C, 1);
	first = run(rig, &one);
	tags = volume_of_tags(&first.volumes[0]);
	engine_rig_place(rig, &tags, 0, &place);
	pack_name(name, &place.pack);
	engine_rig_flip(rig, name, le32_get(place.entry.offset));
	engine_rig_open(rig, STORE_WRITE, 1);
	engine_rig_write(rig, "vda", 0, 1, 2);
	second = run(rig, &one);
	assert_true(one.warnings >= 1);
	assert_int_equal(second.totals.unchanged_bytes, 0);
	restore_same(rig, &second);
	snapshot_release(&first);
	snapshot_release(&second);
}

static void test_bad_blocks(void **state)
{
	const uint64_t from = 3 * C + 8192, to = from + 8192;
	uint8_t zeros[8192] = { 0 };
	struct engine_rig *rig = *state;
	struct snapshot made;
	struct one one;
	int fd;

	one_init(&one, rig);
	rig->fault.path = one.path;
	engine_rig_open(rig, STORE_WRITE, 2);
	engine_rig_disk(rig, "vda", 40 * C);
	engine_rig_write(rig, "vda", 0, 40 * C, 1);
	rig->fault.read_from = from;
	rig->fault.read_to = to;
	rig->fault.read_error = -EIO;
	fails(rig, &one, -EIO, one.path);
	one.backup.skip_bad_blocks = true;
	made = run(rig, &one);
	assert_int_equal(made.volumes[0].bad_count, 1);
	assert_int_equal(made.volumes[0].bad[0].offset, from);
	assert_int_equal(made.volumes[0].bad[0].length, to - from);
	rig->fault.read_error = 0;
	fd = open(one.path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, zeros, sizeof(zeros), (off_t)from), 8192);
	close(fd);
	restore_same(rig, &made);
	snapshot_release(&made);
	/* Only EIO is skipped. */
	rig->fault.read_error = -EACCES;
	fails(rig, &one, -EACCES, one.path);
}

static void test_shrinking(void **state)
{
	struct engine_rig *rig = *state;
	struct one one;

	one_init(&one, rig);
	rig->fault.path = one.path;
	engine_rig_open(rig, STORE_WRITE, 1);
	engine_rig_disk(rig, "vda", 200 * C);
	engine_rig_write(rig, "vda", 0, 200 * C, 1);
	rig->fault.shrink_after = 20 * C;
	rig->fault.shrink_to = 150 * C;
	fails(rig, &one, -EIO, "run again");
	rig->fault.shrink_after = 0;
}

/* The store's disk is full: nothing is committed, and the next run is well. */
static void test_store_full(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot made;
	struct one one;

	one_init(&one, rig);
	rig->fault.path = rig->store;
	engine_rig_open(rig, STORE_WRITE, 2);
	engine_rig_disk(rig, "vda", 40 * C);
	engine_rig_write(rig, "vda", 0, 40 * C, 1);
	rig->fault.write_error = -ENOSPC;
	rig->fault.write_limit = 20000;
	fails(rig, &one, -ENOSPC, "");
	rig->fault.write_error = 0;
	engine_rig_open(rig, STORE_WRITE, 2);
	made = run(rig, &one);
	assert_int_equal(made.sequence, 1);
	restore_same(rig, &made);
	snapshot_release(&made);
}

static void test_names(void **state)
{
	struct engine_rig *rig = *state;
	struct vms_source twice[2];
	struct snapshot made;
	struct one one;

	one_init(&one, rig);
	engine_rig_open(rig, STORE_WRITE, 1);
	engine_rig_disk(rig, "vda", 10);
	one.backup.label = "before";
	made = run(rig, &one);
	assert_string_equal(made.label, "before");
	snapshot_release(&made);
	fails(rig, &one, -EEXIST, "web@before");
	one.backup.name = "db"; /* labels are of a name */
	made = run(rig, &one);
	assert_int_equal(made.sequence, 1);
	snapshot_release(&made);
	one.backup.label = "latest";
	fails(rig, &one, -EINVAL, "latest");
	one.backup.label = "a/b";
	fails(rig, &one, -EINVAL, "a/b");
	one.backup.label = NULL;
	one.backup.name = "-x";
	fails(rig, &one, -EINVAL, "-x");
	one.backup.name = "web";
	one.backup.chunk_log2 = CHUNK_LOG2_MAX + 1;
	fails(rig, &one, -EINVAL, "chunk");
	one.backup.chunk_log2 = 0;
	twice[0] = twice[1] = one.source;
	one.backup.sources = twice;
	one.backup.source_count = 2;
	fails(rig, &one, -EINVAL, "two disks");
	one.backup.source_count = 1;
	twice[0].location = "/nonexistent/disk";
	fails(rig, &one, -ENOENT, "/nonexistent/disk");
}

/* Dry: counted, and nothing is made. */
static void test_dry(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot made;
	struct one one;

	one_init(&one, rig);
	engine_rig_open(rig, STORE_DRY, 2);
	engine_rig_disk(rig, "vda", 10 * C);
	engine_rig_write(rig, "vda", 0, 10 * C, 1);
	made = run(rig, &one);
	assert_true(id_is_null(&made.id));
	assert_int_equal(made.totals.new_chunks, 10);
	assert_true(made.totals.stored_bytes > 10 * C);
	assert_int_equal(engine_rig_count(rig, "packs"), 0);
	assert_int_equal(engine_rig_count(rig, "snapshots"), 0);
	snapshot_release(&made);
}

static void test_stop(void **state)
{
	struct vms_progress progress = { .stop = true };
	struct engine_rig *rig = *state;
	struct snapshot made;
	struct one one;

	one_init(&one, rig);
	engine_rig_open(rig, STORE_WRITE, 2);
	engine_rig_disk(rig, "vda", 10 * C);
	engine_rig_write(rig, "vda", 0, 10 * C, 1);
	one.backup.progress = &progress;
	fails(rig, &one, -ECANCELED, "stopped");
	memset(&progress, 0, sizeof(progress));
	made = run(rig, &one);
	assert_int_equal(progress.total_bytes, 10 * C);
	assert_int_equal(progress.done_bytes, 10 * C);
	snapshot_release(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_sizes),       RIG_TEST(test_sparse),
		RIG_TEST(test_incremental), RIG_TEST(test_parent_damaged),
		RIG_TEST(test_bad_blocks),  RIG_TEST(test_shrinking),
		RIG_TEST(test_store_full),  RIG_TEST(test_names),
		RIG_TEST(test_dry),         RIG_TEST(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
