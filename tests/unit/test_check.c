/* SPDX-License-Identifier: Apache-2.0 */
/* Check: each kind of damage is found, with the object, and whom it hurts. */
#include "tests/unit/engine_test.h"

#include <sys/stat.h>

#define DISK_CHUNKS 40u
#define DISK_SIZE   (DISK_CHUNKS * (uint64_t)RIG_CHUNK - 1000)

static struct vms_check_result check_with(struct engine_rig *rig,
					  bool read_data, double share,
					  unsigned workers)
{
	struct vms_check how = { .read_data = read_data, .share = share };
	struct vms *vms = engine_rig_open_tolerant(rig, workers);
	struct vms_check_result result = { 0 };
	struct err err = { 0 };

	assert_done(vms_check(vms, &how, &result, &err), &err);
	return result;
}

static struct vms_check_result check(struct engine_rig *rig, bool read_data)
{
	return check_with(rig, read_data, 1, 2);
}

static const struct vms_check_error *error_of(
	const struct vms_check_result *result, const char *object)
{
	for (size_t n = 0; n < result->error_count; n++) {
		if (!strncmp(result->errors[n].object, object, strlen(object)))
			return &result->errors[n];
	}
	fail_msg("no error of '%s' among %zu", object, result->error_count);
	return NULL;
}

static void assert_clean(const struct vms_check_result *result)
{
	if (result->error_count)
		fail_msg("%s: %s", result->errors[0].object,
			 result->errors[0].what);
}

static void assert_hurt(const struct vms_hurt *hurt,
			const struct snapshot *snapshot, const char *disk,
			uint64_t offset, uint64_t length)
{
	assert_true(id_equal(&hurt->snapshot, &snapshot->id));
	assert_string_equal(hurt->name, snapshot->name);
	assert_string_equal(hurt->disk, disk);
	assert_int_equal(hurt->ranges.count, 1);
	assert_int_equal(hurt->ranges.ranges[0].offset, offset);
	assert_int_equal(hurt->ranges.ranges[0].length, length);
}

/* One snapshot "web" of one disk, 40 chunks, the last one short. */
static void make_one(struct engine_rig *rig, struct snapshot *out)
{
	engine_rig_disk(rig, "vda", DISK_SIZE);
	engine_rig_write(rig, "vda", 0, DISK_SIZE, 1);
	engine_rig_backup(rig, "web", "vda", NULL, out);
}

static void place_name(struct engine_rig *rig, const struct snapshot *snapshot,
		       uint64_t number, char name[OBJECT_NAME_MAX],
		       struct place *place)
{
	engine_rig_place(rig, &snapshot->volumes[0], number, place);
	pack_name(name, &place->pack);
}

static void test_clean(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	struct vms_check_result result;

	result = check(rig, true); /* an empty store */
	assert_clean(&result);
	assert_int_equal(result.snapshots, 0);
	assert_int_equal(result.packs, 0);
	vms_check_result_release(&result);

	engine_rig_open(rig, STORE_WRITE, 0);
	make_one(rig, &a);
	engine_rig_write(rig, "vda", RIG_CHUNK, 10, 2);
	engine_rig_backup(rig, "web", "vda", NULL, &b);
	for (unsigned workers = 1; workers <= 8; workers *= 2) {
		result = check_with(rig, true, 1, workers);
		assert_clean(&result);
		assert_int_equal(result.snapshots, 2);
		assert_int_equal(result.packs, engine_rig_count(rig, "packs"));
		/* 41 data chunks, tags of two, a node of each tree */
		assert_int_equal(result.chunks, 41 + 2 + 2 + 2);
		assert_true(result.read_bytes >= 41 * RIG_CHUNK - 1000);
		vms_check_result_release(&result);
	}
	result = check(rig, false);
	assert_clean(&result);
	assert_int_equal(result.read_bytes, 0);
	vms_check_result_release(&result);
	snapshot_release(&a);
	snapshot_release(&b);
}

static void test_data_flip(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	struct vms_check_result result;
	const struct vms_check_error *error;
	char name[OBJECT_NAME_MAX];
	struct place place;

	make_one(rig, &a);
	engine_rig_write(rig, "vda", 0, 10, 2);
	engine_rig_backup(rig, "web", "vda", NULL, &b);
	place_name(rig, &a, DISK_CHUNKS - 1, name, &place);
	engine_rig_flip(rig, name, le32_get(place.entry.offset) + 5);
	result = check(rig, false); /* the structure is well */
	assert_clean(&result);
	vms_check_result_release(&result);

	result = check(rig, true);
	assert_int_equal(result.error_count, 1);
	error = error_of(&result, name);
	assert_false(error->too_new);
	assert_int_equal(error->hurt_count, 2);
	for (size_t n = 0; n < 2; n++) {
		bool is_a = id_equal(&error->hurt[n].snapshot, &a.id);

		assert_hurt(&error->hurt[n], is_a ? &a : &b, "vda",
			    (DISK_CHUNKS - 1) * (uint64_t)RIG_CHUNK,
			    RIG_CHUNK - 1000);
	}
	assert_false(
		id_equal(&error->hurt[0].snapshot, &error->hurt[1].snapshot));
	vms_check_result_release(&result);
	snapshot_release(&a);
	snapshot_release(&b);
}

/* Chunk 0 is only in the first snapshot, and disk vdb is not hurt. */
static void test_flips_merge(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	struct vms_check_result result;
	const struct vms_check_error *error;
	char name[OBJECT_NAME_MAX];
	struct place place;

	engine_rig_open(rig, STORE_WRITE, 1); /* one pack */
	engine_rig_disk(rig, "vdb", DISK_SIZE);
	engine_rig_write(rig, "vdb", 0, DISK_SIZE, 9);
	engine_rig_disk(rig, "vda", DISK_SIZE);
	engine_rig_write(rig, "vda", 0, DISK_SIZE, 1);
	engine_rig_backup(rig, "web", "vdb", "vda", &a);
	engine_rig_write(rig, "vda", 0, 4 * RIG_CHUNK, 2);
	engine_rig_backup(rig, "web", "vdb", "vda", &b);
	for (unsigned n = 1; n < 4; n++) {
		engine_rig_place(rig, &a.volumes[1], n, &place);
		pack_name(name, &place.pack);
		engine_rig_flip(rig, name, le32_get(place.entry.offset));
	}
	result = check(rig, true);
	assert_int_equal(result.error_count, 1);
	error = error_of(&result, name);
	assert_non_null(strstr(error->what, "3 bad chunks"));
	assert_int_equal(error->hurt_count, 1);
	assert_hurt(&error->hurt[0], &a, "vda", RIG_CHUNK, 3 * RIG_CHUNK);
	vms_check_result_release(&result);
	snapshot_release(&a);
	snapshot_release(&b);
}

/* All of a share is read, and nothing else: a flip is found by the shares
 * that its id falls in. */
static void test_share(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	struct vms_check_result result;
	char name[OBJECT_NAME_MAX];
	struct place place;
	double at;

	make_one(rig, &a);
	place_name(rig, &a, 7, name, &place);
	at = (double)be64_get(place.entry.id.b) / 0x1p64;
	engine_rig_flip(rig, name, le32_get(place.entry.offset) + 1);
	if (at > 0.001) {
		result = check_with(rig, true, at * 0.99, 2);
		assert_clean(&result);
		assert_true(result.read_bytes < DISK_SIZE);
		vms_check_result_release(&result);
	}
	result = check_with(rig, true, at + (1 - at) * 0.01, 2);
	assert_int_equal(result.error_count, 1);
	vms_check_result_release(&result);
	snapshot_release(&a);
}

static void test_pack_missing(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	struct vms_check_result result;
	const struct vms_check_error *error;
	char name[OBJECT_NAME_MAX];
	struct place place;

	engine_rig_open(rig, STORE_WRITE, 1);
	make_one(rig, &a);
	place_name(rig, &a, 3, name, &place);
	engine_rig_remove(rig, name);
	result = check(rig, false);
	error = error_of(&result, name);
	assert_non_null(strstr(error->what, "missing"));
	assert_true(error->hurt_count >= 1);
	assert_hurt(&error->hurt[0], &a, "vda", 0, DISK_SIZE);
	vms_check_result_release(&result);
	snapshot_release(&a);
}

static void test_pack_cut(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	struct vms_check_result result;
	const struct vms_check_error *error;
	char name[OBJECT_NAME_MAX];
	struct place place;

	engine_rig_open(rig, STORE_WRITE, 1);
	make_one(rig, &a);
	/* Cut in the middle of its 30th chunk: those before can be read. */
	place_name(rig, &a, 29, name, &place);
	engine_rig_truncate(rig, name, le32_get(place.entry.offset) + 100);
	result = check(rig, false);
	error = error_of(&result, name);
	assert_true(error->hurt_count >= 1);
	for (size_t n = 0; n < error->hurt_count; n++)
		assert_string_equal(error->hurt[n].disk, "vda");
	vms_check_result_release(&result);
	snapshot_release(&a);
}

/* The directory can't be read, but each chunk can, through the table. */
static void test_directory_flip(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	struct vms_check_result result;
	const struct vms_check_error *error;
	char name[OBJECT_NAME_MAX];
	struct place place;

	make_one(rig, &a);
	place_name(rig, &a, 3, name, &place);
	engine_rig_flip(rig, name, engine_rig_object_size(rig, name) - 60);
	result = check(rig, false);
	assert_int_equal(result.error_count, 1);
	error = error_of(&result, name);
	assert_int_equal(error->hurt_count, 0);
	vms_check_result_release(&result);
	snapshot_release(&a);
}

static void test_packs_swapped(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	char name_a[OBJECT_NAME_MAX], name_b[OBJECT_NAME_MAX];
	struct vms_check_result result;
	struct place place;

	engine_rig_open(rig, STORE_WRITE, 1);
	make_one(rig, &a);
	engine_rig_disk(rig, "vdc", DISK_SIZE);
	engine_rig_write(rig, "vdc", 0, DISK_SIZE, 3);
	engine_rig_backup(rig, "db", "vdc", NULL, &b);
	place_name(rig, &a, 3, name_a, &place);
	place_name(rig, &b, 3, name_b, &place);
	assert_string_not_equal(name_a, name_b);
	engine_rig_swap(rig, name_a, name_b);
	result = check(rig, false);
	assert_true(result.error_count >= 2);
	assert_hurt(&error_of(&result, name_a)->hurt[0], &a, "vda", 0,
		    DISK_SIZE);
	assert_hurt(&error_of(&result, name_b)->hurt[0], &b, "vdc", 0,
		    DISK_SIZE);
	vms_check_result_release(&result);
	snapshot_release(&a);
	snapshot_release(&b);
}

static void test_table_missing(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	struct vms_check_result result;
	const struct vms_check_error *error;
	char name[OBJECT_NAME_MAX];

	make_one(rig, &a);
	assert_int_equal(engine_rig_count(rig, "tables"), 1);
	engine_rig_object(rig, "tables", 0, name);
	engine_rig_remove(rig, name);
	result = check(rig, false);
	error = error_of(&result, "chunk ");
	assert_non_null(strstr(error->what, "no table names it"));
	assert_non_null(strstr(error->what, "the next backup"));
	assert_hurt(&error->hurt[0], &a, "vda", 0, DISK_SIZE);
	vms_check_result_release(&result);
	snapshot_release(&a);
}

/* At several places: some tables don't open any more, others half work. */
static void test_table_flip(void **state)
{
	static const uint64_t places[] = { 3, 500, 4100, 8200 };
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	char name[OBJECT_NAME_MAX];

	make_one(rig, &a);
	engine_rig_object(rig, "tables", 0, name);
	for (size_t n = 0; n < ARRAY_SIZE(places); n++) {
		struct vms_check_result result;

		engine_rig_flip(rig, name, places[n]);
		result = check(rig, false);
		assert_true(result.error_count >= 1);
		assert_string_equal(error_of(&result, "tables/")->object, name);
		if (places[n] == 3 || places[n] == 4100)
			assert_hurt(&error_of(&result, name)->hurt[0], &a,
				    "vda", 0, DISK_SIZE);
		vms_check_result_release(&result);
		engine_rig_flip(rig, name, places[n]); /* back */
	}
	snapshot_release(&a);
}

static void test_manifest_flip(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	struct vms_check_result result;
	const struct vms_check_error *error;
	char name[OBJECT_NAME_MAX], hex[ID_HEX_SIZE];

	make_one(rig, &a);
	engine_rig_backup(rig, "web", "vda", NULL, &b);
	hex_encode(hex, a.id.b, ID_SIZE);
	snprintf(name, sizeof(name), "snapshots/%s", hex);
	engine_rig_flip(rig, name, 90);
	result = check(rig, true);
	assert_int_equal(result.error_count, 1);
	assert_int_equal(result.snapshots, 2);
	error = error_of(&result, name);
	assert_int_equal(error->hurt_count, 1);
	assert_true(id_equal(&error->hurt[0].snapshot, &a.id));
	assert_string_equal(error->hurt[0].disk, "");
	vms_check_result_release(&result);
	snapshot_release(&a);
	snapshot_release(&b);
}

/* An unknown feature bit, with its checksum made to fit, is no damage. */
static void test_too_new(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	struct vms_check_result result;
	char name[OBJECT_NAME_MAX];

	make_one(rig, &a);
	engine_rig_object(rig, "snapshots", 0, name);
	engine_rig_flip(rig, name, 12); /* incompat */
	result = check(rig, false);
	assert_int_equal(result.error_count, 1);
	assert_true(error_of(&result, name)->too_new);
	assert_int_equal(result.errors[0].hurt_count, 0);
	vms_check_result_release(&result);
	snapshot_release(&a);
}

static void test_node_damaged(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	struct vms_check_result result;
	struct store_thread *thread;
	char name[OBJECT_NAME_MAX], chunk[OBJECT_NAME_MAX];
	char hex[ID_HEX_SIZE];
	struct place place;
	struct err err = { 0 };

	make_one(rig, &a);
	thread = store_thread_new(rig->vms->store, &err);
	assert_int_equal(index_find(store_index(rig->vms->store),
				    store_thread_sealer(thread),
				    &a.volumes[0].root, &place, &err),
			 1);
	store_thread_free(thread);
	pack_name(name, &place.pack);
	engine_rig_flip(rig, name, le32_get(place.entry.offset));
	hex_encode(hex, a.volumes[0].root.b, ID_SIZE);
	snprintf(chunk, sizeof(chunk), "chunk %s", hex);

	result = check(rig, false);
	assert_int_equal(result.error_count, 1);
	assert_hurt(&error_of(&result, chunk)->hurt[0], &a, "vda", 0,
		    DISK_SIZE);
	vms_check_result_release(&result);

	result = check(rig, true); /* the pack is told, and not twice */
	assert_int_equal(result.error_count, 1);
	assert_hurt(&error_of(&result, name)->hurt[0], &a, "vda", 0, DISK_SIZE);
	vms_check_result_release(&result);
	snapshot_release(&a);
}

/* Lost filter tags: an error, and no byte is lost. */
static void test_tags_damaged(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	struct vms_check_result result;
	char name[OBJECT_NAME_MAX];
	struct volume tags;
	struct place place;

	make_one(rig, &a);
	assert_true(a.volumes[0].has_tags);
	tags = volume_of_tags(&a.volumes[0]);
	engine_rig_place(rig, &tags, 0, &place);
	pack_name(name, &place.pack);
	engine_rig_flip(rig, name, le32_get(place.entry.offset));
	result = check(rig, true);
	assert_int_equal(result.error_count, 1);
	assert_int_equal(error_of(&result, name)->hurt_count, 1);
	assert_string_equal(result.errors[0].hurt[0].disk, "vda");
	assert_int_equal(result.errors[0].hurt[0].ranges.count, 0);
	vms_check_result_release(&result);
	snapshot_release(&a);
}

/* Store the same content again behind the index's back, in another store
 * handle that does not see the first pack's table. */
static void test_second_copy(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 }, b = { 0 };
	struct vms_check_result result;
	char table[OBJECT_NAME_MAX], name[OBJECT_NAME_MAX];
	char away[RIG_PATH_MAX + 8], from[RIG_PATH_MAX];
	struct place place;

	engine_rig_open(rig, STORE_WRITE, 1);
	make_one(rig, &a);
	place_name(rig, &a, 5, name, &place);
	/* Table and pack step aside while the second backup runs. */
	engine_rig_object(rig, "tables", 0, table);
	snprintf(from, sizeof(from), "%s/%s", rig->store, table);
	snprintf(away, sizeof(away), "%s/table.away", rig->dir);
	assert_int_equal(rename(from, away), 0);
	snprintf(from, sizeof(from), "%s/%s", rig->store, name);
	snprintf(away, sizeof(away), "%s/pack.away", rig->dir);
	assert_int_equal(rename(from, away), 0);
	engine_rig_open(rig, STORE_WRITE, 1);
	engine_rig_backup(rig, "other", "vda", NULL, &b);
	assert_int_equal(rename(away, from), 0);
	snprintf(from, sizeof(from), "%s/%s", rig->store, table);
	snprintf(away, sizeof(away), "%s/table.away", rig->dir);
	assert_int_equal(rename(away, from), 0);

	engine_rig_flip(rig, name, le32_get(place.entry.offset));
	result = check(rig, true);
	assert_int_equal(result.error_count, 1);
	assert_int_equal(error_of(&result, name)->hurt_count, 0);
	vms_check_result_release(&result);
	snapshot_release(&a);
	snapshot_release(&b);
}

static void write_object(const struct engine_rig *rig, const char *name,
			 const char *text)
{
	char path[RIG_PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", rig->store, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void test_strays(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	struct vms_check_result result;
	char name[OBJECT_NAME_MAX], torn[OBJECT_NAME_MAX + 8];
	char folder[8];

	make_one(rig, &a);
	engine_rig_object(rig, "packs", 0, name);
	memcpy(folder, name, 8);
	/* Not a pack's name: nobody's business. */
	snprintf(torn, sizeof(torn), "%s.tmp", name);
	write_object(rig, torn, "torn");
	result = check(rig, true);
	assert_clean(&result);
	vms_check_result_release(&result);
	/* A pack's name: it was whole once. */
	snprintf(torn, sizeof(torn), "%s", name);
	torn[strlen(torn) - 1] = name[strlen(name) - 1] == 'a' ? 'b' : 'a';
	write_object(rig, torn, "torn");
	result = check(rig, true);
	assert_int_equal(result.error_count, 1);
	assert_int_equal(error_of(&result, torn)->hurt_count, 0);
	vms_check_result_release(&result);
	snapshot_release(&a);
}

static void test_key_damaged(void **state)
{
	struct engine_rig *rig = *state;
	char id[SLOT_ID_HEX_SIZE], name[OBJECT_NAME_MAX];
	struct vms_check_result result;
	struct err err = { 0 };

	engine_rig_open(rig, STORE_WRITE, 1);
	assert_done(store_add_key(rig->vms->store, NULL, 0, NULL, "second", id,
				  &err),
		    &err);
	result = check(rig, false);
	assert_clean(&result);
	vms_check_result_release(&result);
	snprintf(name, sizeof(name), "keys/%s", id);
	engine_rig_flip(rig, name, 200);
	result = check(rig, false);
	assert_int_equal(result.error_count, 1);
	assert_string_equal(result.errors[0].object, name);
	vms_check_result_release(&result);
}

/* Pins and condemned lists: read only by a check and by writers. */
static void test_small_objects(void **state)
{
	static const char leaf[] = "00112233445566778899aabbccddeeff";
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	struct vms_check_result result;
	struct store_thread *thread;
	char id[SMALL_ID_HEX_SIZE], name[OBJECT_NAME_MAX];
	char path[RIG_PATH_MAX];
	char owner[] = "image";
	struct pin pin = { .owner = owner, .time_ns = 1 };
	struct err err = { 0 };

	make_one(rig, &a);
	pin.volumes = a.volumes;
	pin.volume_count = a.volume_count;
	thread = store_thread_new(rig->vms->store, &err);
	assert_non_null(thread);
	assert_done(store_put_pin(thread, &pin, id, &err), &err);
	store_thread_free(thread);
	result = check(rig, true);
	assert_clean(&result);
	vms_check_result_release(&result);

	snprintf(name, sizeof(name), "pins/%s", id);
	engine_rig_flip(rig, name, 90);
	snprintf(path, sizeof(path), "%s/condemned", rig->store);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "condemned/%s", leaf);
	write_object(rig, path, "not a list");
	write_object(rig, "condemned/temporary", "nobody's business");
	result = check(rig, false);
	assert_int_equal(result.error_count, 2);
	assert_false(error_of(&result, path)->too_new);
	assert_int_equal(error_of(&result, path)->hurt_count, 0);
	assert_non_null(error_of(&result, name));
	vms_check_result_release(&result);
	snapshot_release(&a);
}

static void test_stop(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot a = { 0 };
	struct vms_progress progress = { 0 };
	struct vms_check how = { .read_data = true,
				 .share = 1,
				 .progress = &progress };
	struct vms_check_result result = { 0 };
	struct err err = { 0 };

	make_one(rig, &a);
	engine_rig_open_tolerant(rig, 2);
	assert_done(vms_check(rig->vms, &how, &result, &err), &err);
	assert_true(progress.total_bytes >= DISK_SIZE);
	assert_true(progress.done_bytes >= DISK_SIZE);
	vms_check_result_release(&result);
	progress.stop = true;
	assert_int_equal(vms_check(rig->vms, &how, &result, &err), -ECANCELED);
	assert_int_equal(result.error_count, 0);
	how.share = 0;
	assert_int_equal(vms_check(rig->vms, &how, &result, &err), -EINVAL);
	snapshot_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_clean),          RIG_TEST(test_data_flip),
		RIG_TEST(test_flips_merge),    RIG_TEST(test_share),
		RIG_TEST(test_pack_missing),   RIG_TEST(test_pack_cut),
		RIG_TEST(test_directory_flip), RIG_TEST(test_packs_swapped),
		RIG_TEST(test_table_missing),  RIG_TEST(test_table_flip),
		RIG_TEST(test_manifest_flip),  RIG_TEST(test_too_new),
		RIG_TEST(test_node_damaged),   RIG_TEST(test_tags_damaged),
		RIG_TEST(test_second_copy),    RIG_TEST(test_strays),
		RIG_TEST(test_key_damaged),    RIG_TEST(test_stop),
		RIG_TEST(test_small_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
