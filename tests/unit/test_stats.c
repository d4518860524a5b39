/* SPDX-License-Identifier: Apache-2.0 */
/* Stats: the numbers of stores small enough to count by hand. */
#include "tests/unit/engine_test.h"

#define C ((uint64_t)RIG_CHUNK)

static struct vms_stats stats(struct engine_rig *rig)
{
	struct vms *vms = engine_rig_open_tolerant(rig, 2);
	struct vms_stats out = { 0 };
	struct err err = { 0 };

	assert_done(vms_stats(vms, NULL, &out, &err), &err);
	return out;
}

static uint64_t sum(const uint64_t *buckets)
{
	uint64_t all = 0;

	for (unsigned n = 0; n < VMS_HISTOGRAM_BUCKETS; n++)
		all += buckets[n];
	return all;
}

static uint64_t store_size(const struct engine_rig *rig)
{
	static const char *const folders[] = { "keys", "packs", "tables",
					       "snapshots" };
	uint64_t all = engine_rig_object_size(rig, "config");
	char name[OBJECT_NAME_MAX];

	for (size_t k = 0; k < ARRAY_SIZE(folders); k++) {
		for (size_t n = 0; n < engine_rig_count(rig, folders[k]); n++) {
			engine_rig_object(rig, folders[k], n, name);
			all += engine_rig_object_size(rig, name);
		}
	}
	return all;
}

static void test_empty(void **state)
{
	struct engine_rig *rig = *state;
	struct vms_stats out = stats(rig);

	assert_int_equal(out.snapshot_count, 0);
	assert_int_equal(out.chunks, 0);
	assert_int_equal(out.store_bytes, store_size(rig));
	vms_stats_release(&out);
}

/* Two snapshots of 10 chunks and a short one that share all but two. */
static void test_counts(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	struct vms_stats out;
	const uint64_t size = 300 * C + 10;

	engine_rig_disk(rig, "vda", size);
	engine_rig_write(rig, "vda", 0, 10 * C, 1);
	engine_rig_write(rig, "vda", 300 * C, 10, 1);
	engine_rig_backup(rig, "web", "vda", NULL, &a);
	out = stats(rig);
	assert_int_equal(out.snapshot_count, 1);
	assert_int_equal(out.data_bytes, 10 * C + 10);
	assert_int_equal(out.unique_bytes, 10 * C + 10);
	assert_int_equal(out.snapshots[0].unique_bytes, 10 * C + 10);
	assert_int_equal(out.unreferenced_bytes, 0);
	vms_stats_release(&out);

	engine_rig_open(rig, STORE_WRITE, 2);
	engine_rig_write(rig, "vda", 0, 2 * C, 2);
	engine_rig_backup(rig, "web", "vda", NULL, &b);
	out = stats(rig);
	assert_int_equal(out.snapshot_count, 2);
	assert_true(id_equal(&out.snapshots[0].id, &a.id));
	assert_string_equal(out.snapshots[1].name, "web");
	assert_int_equal(out.logical_bytes, 2 * size);
	assert_int_equal(out.data_bytes, 2 * (10 * C + 10));
	assert_int_equal(out.unique_bytes, 12 * C + 10);
	assert_true(out.unique_stored_bytes >= out.unique_bytes);
	for (unsigned n = 0; n < 2; n++) {
		assert_int_equal(out.snapshots[n].logical_bytes, size);
		assert_int_equal(out.snapshots[n].data_bytes, 10 * C + 10);
		assert_int_equal(out.snapshots[n].unique_bytes, 2 * C);
		assert_int_equal(out.snapshots[n].unique_stored_bytes,
				 2 * (C + 16));
	}
	/* 4 are of one snapshot, 9 of two; the pattern does not compress. */
	assert_int_equal(out.by_references[0], 4);
	assert_int_equal(out.by_references[1], 9);
	assert_int_equal(sum(out.by_references), 13);
	assert_int_equal(out.chunks, 13); /* without those of the tags */
	assert_int_equal(out.by_ratio[VMS_HISTOGRAM_BUCKETS - 1], 13);
	assert_int_equal(sum(out.by_ratio), 13);
	assert_int_equal(out.unreferenced_bytes, 0);
	assert_int_equal(out.damaged, 0);
	assert_int_equal(out.packs, engine_rig_count(rig, "packs"));
	assert_int_equal(out.tables, engine_rig_count(rig, "tables"));
	assert_int_equal(out.store_bytes, store_size(rig));
	vms_stats_release(&out);
	snapshot_release(&a);
	snapshot_release(&b);
}

/* Shared subtrees: each of many snapshots counts what is below them. */
static void test_shared(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot made = { 0 };
	struct vms_stats out;

	engine_rig_disk(rig, "vda", 512 * C); /* two full nodes */
	engine_rig_write(rig, "vda", 0, 2 * C, 1);
	engine_rig_write(rig, "vda", 300 * C, C, 1);
	for (unsigned n = 0; n < 4; n++) {
		engine_rig_backup(rig, "web", "vda", NULL, &made);
		snapshot_release(&made);
		engine_rig_write(rig, "vda", 300 * C, C, n + 5);
	}
	out = stats(rig);
	assert_int_equal(out.snapshot_count, 4);
	assert_int_equal(out.data_bytes, 4 * 3 * C);
	assert_int_equal(out.unique_bytes, (2 + 4) * C);
	assert_int_equal(out.by_references[0], 4);
	assert_int_equal(out.by_references[2], 2); /* 4 times */
	for (unsigned n = 0; n < 4; n++)
		assert_int_equal(out.snapshots[n].unique_bytes, C);
	vms_stats_release(&out);
}

/* What nobody needs any more, and what can't be read. */
static void test_unreferenced(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	char name[OBJECT_NAME_MAX], hex[ID_HEX_SIZE];
	struct vms_stats out;

	engine_rig_disk(rig, "vda", 10 * C);
	engine_rig_write(rig, "vda", 0, 10 * C, 1);
	engine_rig_backup(rig, "web", "vda", NULL, &a);
	engine_rig_write(rig, "vda", 0, 3 * C, 2);
	engine_rig_backup(rig, "web", "vda", NULL, &b);
	hex_encode(hex, a.id.b, ID_SIZE);
	snprintf(name, sizeof(name), "snapshots/%s", hex);
	engine_rig_flip(rig, name, 100);
	out = stats(rig);
	assert_int_equal(out.damaged, 1);
	assert_int_equal(out.snapshot_count, 1);
	assert_true(out.unreferenced_bytes >= 3 * (C + 16));
	assert_true(out.unreferenced_bytes < 4 * C);
	assert_int_equal(out.snapshots[0].unique_bytes, 10 * C);
	vms_stats_release(&out);

	engine_rig_object(rig, "tables", 0, name);
	engine_rig_remove(rig, name);
	out = stats(rig);
	assert_true(out.damaged >= 1);
	assert_int_equal(out.logical_bytes, 10 * C);
	vms_stats_release(&out);
	snapshot_release(&a);
	snapshot_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_empty),
		RIG_TEST(test_counts),
		RIG_TEST(test_shared),
		RIG_TEST(test_unreferenced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
