/* SPDX-License-Identifier: Apache-2.0 */
/* Diff: what is told is what differs, whatever sizes and chunk sizes. */
#include "tests/unit/engine_test.h"

#define C ((uint64_t)RIG_CHUNK)

struct told {
	struct range ranges[64];
	size_t count;
	char disk[NAME_MAX_SIZE + 1];
	int stop_with;
};

static int tell(void *arg, const char *disk, uint64_t offset, uint64_t length,
		struct err *err)
{
	struct told *told = arg;

	assert_true(told->count < ARRAY_SIZE(told->ranges));
	told->ranges[told->count++] = (struct range){ offset, length };
	snprintf(told->disk, sizeof(told->disk), "%s", disk);
	return told->stop_with ? err_set(err, told->stop_with, "enough") : 0;
}

static void backup_log2(struct engine_rig *rig, const char *name,
			const char *file, unsigned chunk_log2,
			struct snapshot *out)
{
	struct vms_source source = { .disk = "vda",
				     .location = engine_rig_path(rig, file) };
	struct vms_backup backup = { .name = name,
				     .sources = &source,
				     .source_count = 1,
				     .chunk_log2 = chunk_log2 };
	struct err err = { 0 };

	if (!rig->vms)
		engine_rig_open(rig, STORE_WRITE, 2);
	assert_done(vms_backup(rig->vms, &backup, out, &err), &err);
}

/* Diffs both ways; the ranges must be the same. */
static struct told diff(struct engine_rig *rig, const struct snapshot *a,
			const struct snapshot *b)
{
	struct vms_diff_result result = { 0 };
	struct told there = { 0 }, back = { 0 };
	struct vms_progress progress = { 0 };
	struct err err = { 0 };
	uint64_t sum = 0;

	assert_done(vms_diff(rig->vms, b, a, tell, &back, NULL, &result, &err),
		    &err);
	vms_diff_result_release(&result);
	assert_done(vms_diff(rig->vms, a, b, tell, &there, &progress, &result,
			     &err),
		    &err);
	assert_int_equal(
		progress.total_bytes,
		max_u64(a->volumes[0].size_bytes, b->volumes[0].size_bytes));
	assert_int_equal(progress.done_bytes, progress.total_bytes);
	assert_int_equal(result.count, 1);
	assert_true(result.disks[0].in_a && result.disks[0].in_b);
	assert_int_equal(result.disks[0].size_a, a->volumes[0].size_bytes);
	assert_int_equal(result.disks[0].size_b, b->volumes[0].size_bytes);
	for (size_t n = 0; n < there.count; n++)
		sum += there.ranges[n].length;
	assert_int_equal(result.disks[0].differing_bytes, sum);
	vms_diff_result_release(&result);
	assert_int_equal(there.count, back.count);
	assert_memory_equal(there.ranges, back.ranges, sizeof(there.ranges));
	return there;
}

static void assert_range(const struct told *told, size_t n, uint64_t offset,
			 uint64_t length)
{
	assert_true(n < told->count);
	assert_int_equal(told->ranges[n].offset, offset);
	assert_int_equal(told->ranges[n].length, length);
}

static void test_same_size(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	const uint64_t size = 600 * C + 77; /* two levels */
	struct told told;

	engine_rig_disk(rig, "vda", size);
	engine_rig_write(rig, "vda", 0, 20 * C, 1);
	backup_log2(rig, "web", "vda", 0, &a);
	told = diff(rig, &a, &a);
	assert_int_equal(told.count, 0);

	engine_rig_write(rig, "vda", 3 * C + 5, 1, 2);   /* in a chunk */
	engine_rig_write(rig, "vda", 255 * C, 2 * C, 3); /* over nodes */
	engine_rig_write(rig, "vda", size - 1, 1, 4);    /* the last */
	backup_log2(rig, "web", "vda", 0, &b);
	told = diff(rig, &a, &b);
	assert_string_equal(told.disk, "vda");
	assert_int_equal(told.count, 3);
	assert_range(&told, 0, 3 * C, C);
	assert_range(&told, 1, 255 * C, 2 * C);
	assert_range(&told, 2, 600 * C, 77);
	snapshot_release(&a);
	snapshot_release(&b);
}

/* One level against two: the common part is compared, data beyond differs. */
static void test_grown(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	struct told told;

	engine_rig_disk(rig, "short", 100 * C);
	engine_rig_write(rig, "short", 0, 2 * C, 1);
	engine_rig_disk(rig, "long", 70000 * C); /* three levels */
	engine_rig_write(rig, "long", 0, 2 * C, 1);
	engine_rig_write(rig, "long", C, 1, 2);
	engine_rig_write(rig, "long", 150 * C, C, 5);
	engine_rig_write(rig, "long", 256 * C, C, 5);
	engine_rig_write(rig, "long", 65536 * C - 1, 2, 5);
	backup_log2(rig, "short", "short", 0, &a);
	backup_log2(rig, "long", "long", 0, &b);
	told = diff(rig, &a, &b);
	assert_int_equal(told.count, 4);
	assert_range(&told, 0, C, C);
	assert_range(&told, 1, 150 * C, C);
	assert_range(&told, 2, 256 * C, C);
	assert_range(&told, 3, 65535 * C, 2 * C);
	snapshot_release(&a);
	snapshot_release(&b);

	engine_rig_disk(rig, "nothing", 0);
	engine_rig_disk(rig, "little", 100);
	engine_rig_write(rig, "little", 50, 10, 1);
	backup_log2(rig, "nothing", "nothing", 0, &a);
	backup_log2(rig, "little", "little", 0, &b);
	told = diff(rig, &a, &b);
	assert_int_equal(told.count, 1);
	assert_range(&told, 0, 0, 100);
	told = diff(rig, &a, &a);
	assert_int_equal(told.count, 0);
	snapshot_release(&a);
	snapshot_release(&b);
}

/* 64 KiB chunks against 1 MiB ones: told in the smaller unit. */
static void test_chunk_sizes(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	const uint64_t size = 300 * C + 1000;
	struct told told;

	engine_rig_disk(rig, "vda", size);
	engine_rig_write(rig, "vda", 0, 20 * C, 1);
	engine_rig_write(rig, "vda", 200 * C, 10 * C, 1);
	backup_log2(rig, "small", "vda", 16, &a);
	backup_log2(rig, "large", "vda", 20, &b);
	assert_int_equal(b.volumes[0].chunk_log2, 20);
	told = diff(rig, &a, &b);
	assert_int_equal(told.count, 0);
	snapshot_release(&b);

	engine_rig_write(rig, "vda", 63 * C + 9, C, 2); /* over two windows */
	engine_rig_write(rig, "vda", 300 * C + 999, 1, 2);
	backup_log2(rig, "large", "vda", 20, &b);
	told = diff(rig, &a, &b);
	assert_int_equal(told.count, 2);
	assert_range(&told, 0, 63 * C, 2 * C);
	assert_range(&told, 1, 300 * C, 1000);
	snapshot_release(&a);
	snapshot_release(&b);
}

static void test_disks(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	struct vms_diff_result result = { 0 };
	struct vms_progress progress = { 0 };
	struct err err = { 0 };

	engine_rig_disk(rig, "one", C);
	engine_rig_disk(rig, "two", 2 * C);
	engine_rig_disk(rig, "three", 3 * C);
	engine_rig_backup(rig, "web", "two", "one", &a);
	engine_rig_write(rig, "two", 0, 1, 1);
	engine_rig_backup(rig, "web", "three", "two", &b);
	assert_done(vms_diff(rig->vms, &a, &b, NULL, NULL, &progress, &result,
			     &err),
		    &err);
	/* Of the one that both have. */
	assert_int_equal(progress.total_bytes, 2 * C);
	assert_int_equal(progress.done_bytes, 2 * C);
	vms_diff_result_release(&result);
	progress.stop = true;
	assert_int_equal(vms_diff(rig->vms, &a, &b, NULL, NULL, &progress,
				  &result, &err),
			 -ECANCELED);
	assert_done(vms_diff(rig->vms, &a, &b, NULL, NULL, NULL, &result, &err),
		    &err);
	assert_int_equal(result.count, 3);
	assert_string_equal(result.disks[0].name, "two");
	assert_true(result.disks[0].in_a && result.disks[0].in_b);
	assert_int_equal(result.disks[0].differing_bytes, C);
	assert_string_equal(result.disks[1].name, "one");
	assert_true(result.disks[1].in_a && !result.disks[1].in_b);
	assert_string_equal(result.disks[2].name, "three");
	assert_true(!result.disks[2].in_a && result.disks[2].in_b);
	assert_int_equal(result.disks[2].size_b, 3 * C);
	vms_diff_result_release(&result);
	snapshot_release(&a);
	snapshot_release(&b);
}

static void test_failures(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	struct vms_diff_result result = { 0 };
	struct told told = { .stop_with = -EPIPE };
	char name[OBJECT_NAME_MAX];
	struct err err = { 0 };
	struct place place;

	engine_rig_open(rig, STORE_WRITE, 1);
	engine_rig_disk(rig, "vda", 10 * C);
	engine_rig_write(rig, "vda", 0, C, 1);
	backup_log2(rig, "web", "vda", 0, &a);
	engine_rig_write(rig, "vda", 0, C, 2);
	backup_log2(rig, "large", "vda", 20, &b);
	assert_int_equal(
		vms_diff(rig->vms, &a, &b, tell, &told, NULL, &result, &err),
		-EPIPE);
	assert_int_equal(result.count, 0);
	/* A chunk that can't be read is no difference. */
	engine_rig_place(rig, &a.volumes[0], 0, &place);
	pack_name(name, &place.pack);
	engine_rig_flip(rig, name, le32_get(place.entry.offset));
	told.stop_with = 0;
	assert_int_equal(
		vms_diff(rig->vms, &a, &b, tell, &told, NULL, &result, &err),
		-EBADMSG);
	assert_non_null(strstr(err.text, "disk 'vda'"));
	assert_null(result.disks);
	snapshot_release(&a);
	snapshot_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_same_size),   RIG_TEST(test_grown),
		RIG_TEST(test_chunk_sizes), RIG_TEST(test_disks),
		RIG_TEST(test_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
