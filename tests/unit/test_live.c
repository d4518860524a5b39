/* SPDX-License-Identifier: Apache-2.0 */
/* Live images over a store, held against an array of bytes: made from a
 * snapshot, written, sealed, absorbed, backed up by the map, removed; and the
 * pins that keep their bases. */
#include "tests/unit/live_bench.h"
#include "vmsnap/live.h"

/* ---- tests ---- */

static void from_a_snapshot(void **state)
{
	struct bench bench;
	struct err err = { 0 };

	begin_disk(&bench, state);
	create(&bench, 0);
	assert_int_equal(bench.warnings, 0);
	assert_int_equal(count_pins(&bench, &bench.snapshot.volumes[0].root),
			 1);
	reopen(&bench);
	assert_int_equal(bench.size, DISK_BYTES);
	assert_image(&bench);
	scribble(&bench, 60);
	assert_image(&bench);
	shut(&bench);
	reopen(&bench);
	assert_image(&bench);
	shut(&bench);
	assert_done(vms_live_remove(bench.rig->vms, bench.rig->real, bench.path,
				    &err),
		    &err);
	assert_int_equal(count_pins(&bench, NULL), 0);
	assert_int_not_equal(access(bench.path, F_OK), 0);
	end(&bench);
}

/* The pin names the root, also when the snapshot has gone. */
static void a_pin_outlives_the_snapshot(void **state)
{
	struct bench bench;
	char name[OBJECT_NAME_MAX];

	begin_disk(&bench, state);
	create(&bench, 0);
	engine_rig_object(bench.rig, "snapshots", 0, name);
	engine_rig_remove(bench.rig, name);
	assert_int_equal(engine_rig_count(bench.rig, "snapshots"), 0);
	engine_rig_open(bench.rig, STORE_WRITE, 2);
	assert_int_equal(count_pins(&bench, &bench.snapshot.volumes[0].root),
			 1);
	reopen(&bench);
	assert_image(&bench);
	end(&bench);
}

static void without_a_pin(void **state)
{
	struct bench bench;

	begin_disk(&bench, state);
	engine_rig_open(bench.rig, STORE_READ, 2);
	create(&bench, 0);
	assert_int_equal(bench.warnings, 1);
	assert_int_equal(count_pins(&bench, NULL), 0);
	reopen(&bench);
	assert_image(&bench);
	end(&bench);
}

static void absorb(struct bench *bench, const char *name, struct snapshot *out)
{
	struct vms_absorb how = { .name = name };
	struct err err = { 0 };

	assert_done(vms_live_absorb(bench->live, &how, NULL, NULL, out, &err),
		    &err);
}

/* Ten seals, then absorbed; twice, and the image goes on. */
static void sealed_and_absorbed(void **state)
{
	struct bench bench;
	struct snapshot absorbed = { 0 };
	struct image_info info;
	struct err err = { 0 };

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned n = 0; n < 10; n++) {
			uint64_t layer;

			scribble(&bench, 6);
			assert_done(image_seal(vms_live_image(bench.live),
					       &layer, &err),
				    &err);
		}
		scribble(&bench, 3);
		absorb(&bench, "clone", &absorbed);
		assert_image(&bench);
		assert_snapshot(&bench, &absorbed);
		assert_done(
			image_get_info(vms_live_image(bench.live), &info, &err),
			&err);
		assert_int_equal(info.first_layer, info.top_layer);
		assert_int_equal(info.data_bytes, 0);
		assert_memory_equal(info.base.root, absorbed.volumes[0].root.b,
				    ID_SIZE);
		assert_int_equal(count_pins(&bench, &absorbed.volumes[0].root),
				 1);
		assert_true(absorbed.has_parent == (round == 1));
		snapshot_release(&absorbed);
		shut(&bench);
		reopen(&bench);
		assert_image(&bench);
	}
	end(&bench);
}

/* Without a snapshot only the base changes; reads are what was written. */
static void absorbed_reads_little(void **state)
{
	struct bench bench;
	struct snapshot absorbed = { 0 };
	uint8_t block[4096];

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	engine_rig_pattern(block, sizeof(block), 1u << 20, 9);
	assert_int_equal(
		image_write(bench.queue, block, sizeof(block), 1u << 20), 0);
	memcpy(bench.model + (1u << 20), block, sizeof(block));
	absorb(&bench, NULL, &absorbed);
	assert_int_equal(absorbed.totals.scanned_bytes, RIG_CHUNK);
	assert_int_equal(absorbed.totals.new_chunks, 1);
	assert_true(id_is_null(&absorbed.id));
	assert_int_equal(engine_rig_count(bench.rig, "snapshots"), 1);
	assert_int_equal(count_pins(&bench, &absorbed.volumes[0].root), 1);
	assert_image(&bench);
	snapshot_release(&absorbed);
	end(&bench);
}

static void resize_to(struct bench *bench, uint64_t size)
{
	struct err err = { 0 };

	assert_done(image_resize(vms_live_image(bench->live), size, &err),
		    &err);
	if (size < bench->size)
		memset(bench->model + size, 0, bench->size - size);
	bench->size = size;
}

/* The last chunk of the shorter has another length in the longer. */
static void other_sizes(void **state)
{
	static const uint64_t sizes[] = {
		MODEL_BYTES,           DISK_BYTES + 65536, 7u << 20,
		(7u << 20) + 3u * 512, MODEL_BYTES - 512,  (6u << 20) - 512,
		MODEL_BYTES,
	};
	struct bench bench;

	begin_disk(&bench, state);
	create(&bench, MODEL_BYTES - 4096);
	reopen(&bench);
	assert_image(&bench);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct snapshot absorbed = { 0 };

		resize_to(&bench, sizes[i]);
		assert_image(&bench);
		if (i % 3 == 2)
			scribble(&bench, 5);
		absorb(&bench, "sizes", &absorbed);
		assert_image(&bench);
		assert_snapshot(&bench, &absorbed);
		snapshot_release(&absorbed);
	}
	end(&bench);
}

static void from_nothing(void **state)
{
	struct bench bench;
	struct snapshot absorbed = { 0 };

	begin(&bench, state);
	engine_rig_open(bench.rig, STORE_WRITE, 2);
	create(&bench, MODEL_BYTES - 512);
	reopen(&bench);
	assert_image(&bench);
	scribble(&bench, 40);
	absorb(&bench, "blank", &absorbed);
	assert_image(&bench);
	assert_snapshot(&bench, &absorbed);
	assert_int_equal(count_pins(&bench, &absorbed.volumes[0].root), 1);
	snapshot_release(&absorbed);
	end(&bench);
}

/* Broken off by the caller, or by a store that is full: the image has all, its
 * pin is the old one, and the next try goes through. */
static void absorb_broken_off(void **state)
{
	struct vms_progress progress = { 0 };
	struct vms_absorb how = { .name = "clone", .progress = &progress };
	struct snapshot absorbed = { 0 };
	struct bench bench;
	struct err err = { 0 };
	struct id root;

	begin_disk(&bench, state);
	root = bench.snapshot.volumes[0].root;
	create(&bench, 0);
	reopen(&bench);
	scribble(&bench, 20);
	atomic_store(&progress.stop, true);
	assert_int_equal(
		vms_live_absorb(bench.live, &how, NULL, NULL, &absorbed, &err),
		-ECANCELED);
	assert_image(&bench);
	atomic_store(&progress.stop, false);
	scribble(&bench, 5);
	shut(&bench);

	/* A run that failed is over for this opened store. */
	engine_rig_open(bench.rig, STORE_WRITE, 2);
	reopen(&bench);
	bench.rig->fault.path = "/packs/";
	bench.rig->fault.write_error = -ENOSPC;
	bench.rig->fault.write_limit = 256u << 10;
	assert_int_equal(
		vms_live_absorb(bench.live, &how, NULL, NULL, &absorbed, &err),
		-ENOSPC);
	assert_image(&bench);
	bench.rig->fault.write_error = 0;
	bench.rig->fault.path = NULL;
	shut(&bench);

	engine_rig_open(bench.rig, STORE_WRITE, 2);
	reopen(&bench);
	assert_image(&bench);
	assert_int_equal(count_pins(&bench, &root), 1);
	assert_int_equal(engine_rig_count(bench.rig, "snapshots"), 1);
	absorb(&bench, "clone", &absorbed);
	assert_image(&bench);
	assert_snapshot(&bench, &absorbed);
	assert_int_equal(count_pins(&bench, &absorbed.volumes[0].root), 1);
	snapshot_release(&absorbed);
	end(&bench);
}

/* The snapshot can't be written: the pin that was written for it goes. */
static void a_pin_without_a_snapshot(void **state)
{
	struct vms_absorb how = { .name = "clone" };
	struct snapshot absorbed = { 0 };
	struct bench bench;
	struct err err = { 0 };

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	scribble(&bench, 5);
	bench.rig->fault.path = "/snapshots";
	bench.rig->fault.write_error = -EIO;
	assert_int_equal(
		vms_live_absorb(bench.live, &how, NULL, NULL, &absorbed, &err),
		-EIO);
	bench.rig->fault.write_error = 0;
	bench.rig->fault.path = NULL;
	assert_int_equal(count_pins(&bench, &bench.snapshot.volumes[0].root),
			 1);
	assert_image(&bench);
	end(&bench);
}

/* Written to while it is absorbed: what came after the seal stays the image's. */
struct meanwhile {
	struct bench *bench;
	uint8_t *at_seal;
};

static void write_after_seal(void *arg, uint64_t layer)
{
	struct meanwhile *meanwhile = arg;

	assert_true(layer > 0);
	memcpy(meanwhile->at_seal, meanwhile->bench->model, MODEL_BYTES);
	scribble(meanwhile->bench, 20);
}

static void written_meanwhile(void **state)
{
	struct vms_absorb how = { .name = "clone" };
	struct snapshot absorbed = { 0 };
	struct bench bench;
	struct meanwhile meanwhile = { &bench, malloc(MODEL_BYTES) };
	uint8_t *model;
	struct err err = { 0 };

	assert_non_null(meanwhile.at_seal);
	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	scribble(&bench, 20);
	assert_done(vms_live_absorb(bench.live, &how, write_after_seal,
				    &meanwhile, &absorbed, &err),
		    &err);
	assert_image(&bench);
	model = bench.model;
	bench.model = meanwhile.at_seal;
	assert_snapshot(&bench, &absorbed);
	bench.model = model;
	shut(&bench);
	reopen(&bench);
	assert_image(&bench);
	snapshot_release(&absorbed);
	free(meanwhile.at_seal);
	end(&bench);
}

/* Backed up by its map: only what was written is read, and nothing changes in
 * the image. With another chunk size all is read, and it is the same disk. */
static void backed_up_by_the_map(void **state)
{
	struct bench bench;
	struct vms_source source = { .disk = "disk0" };
	struct vms_backup backup = {
		.name = "map",
		.sources = &source,
		.source_count = 1,
	};
	struct snapshot made = { 0 };
	struct err err = { 0 };
	uint64_t scanned;

	begin_disk(&bench, state);
	source.location = bench.path;
	create(&bench, 0);
	reopen(&bench);
	scribble(&bench, 4);
	assert_int_equal(vms_backup(bench.rig->vms, &backup, &made, &err),
			 -EBUSY);
	shut(&bench);
	assert_done(vms_backup(bench.rig->vms, &backup, &made, &err), &err);
	scanned = made.totals.scanned_bytes;
	assert_in_range(scanned, 4096, 2u << 20);
	assert_true(made.totals.unchanged_bytes > 3u << 20);
	reopen(&bench);
	assert_snapshot(&bench, &made);
	shut(&bench);
	snapshot_release(&made);
	backup.chunk_log2 = 14;
	assert_done(vms_backup(bench.rig->vms, &backup, &made, &err), &err);
	assert_true(made.totals.scanned_bytes > 6u << 20);
	assert_int_equal(made.totals.unchanged_bytes, 0);
	reopen(&bench);
	assert_snapshot(&bench, &made);
	snapshot_release(&made);
	end(&bench);
}

static void exported(void **state)
{
	struct bench bench;
	struct err err = { 0 };
	const char *out;
	uint8_t *got = malloc(MODEL_BYTES);
	uint64_t data = 0;
	int fd;

	assert_non_null(got);
	begin_disk(&bench, state);
	create(&bench, MODEL_BYTES - 512);
	reopen(&bench);
	scribble(&bench, 20);
	out = engine_rig_path(bench.rig, "out");
	assert_done(vms_live_export(bench.live, out, false, NULL, &data, &err),
		    &err);
	assert_in_range(data, 1u << 20, bench.size);
	fd = open(out, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, got, MODEL_BYTES, 0), bench.size);
	close(fd);
	assert_memory_equal(got, bench.model, bench.size);
	assert_int_equal(
		vms_live_export(bench.live, out, false, NULL, &data, &err),
		-EEXIST);
	free(got);
	end(&bench);
}

/* A head that names another image's pin takes it from nobody. */
static void the_pin_of_another(void **state)
{
	struct bench bench;
	struct err err = { 0 };
	struct image_base_info theirs;
	char *evil;

	begin_disk(&bench, state);
	create(&bench, 0);
	assert_done(image_read_base_info(bench.rig->real, bench.path, &theirs,
					 &err),
		    &err);
	theirs.root[0] ^= 1;
	evil = strdup(engine_rig_path(bench.rig, "evil.vsi"));
	assert_non_null(evil);
	assert_done(image_create(bench.rig->real, evil, 4096, &theirs, &err),
		    &err);
	assert_int_equal(
		vms_live_remove(bench.rig->vms, bench.rig->real, evil, &err),
		-EPERM);
	assert_int_equal(count_pins(&bench, &bench.snapshot.volumes[0].root),
			 1);
	free(evil);
	end(&bench);
}

static void another_store(void **state)
{
	struct vms_live_options options = { .mode = IMAGE_READ_ONLY };
	struct bench bench;
	struct err err = { 0 };

	begin_disk(&bench, state);
	create(&bench, 0);
	options.io = bench.rig->real;
	options.path = bench.path;
	assert_int_equal(vms_live_open(&bench.live, &options, &err), -EINVAL);
	assert_non_null(strstr(err.text, "store"));
	assert_null(bench.live);
	end(&bench);
}

static unsigned swap_notes(struct bench *bench)
{
	char path[600];

	snprintf(path, sizeof(path), "%s.swap", bench->path);
	return access(path, F_OK) == 0;
}

/* As a kill between the new pin and the swap leaves it. */
static void leave_a_note(struct bench *bench)
{
	struct vms_live *live = bench->live;
	struct image_base_info info = live->info;
	struct volume volume = live_base_volume(&info);
	unsigned before = count_pins(bench, NULL);
	struct err err = { 0 };

	assert_done(live_swap_begin(live, 1, &volume, NULL, &info, &err), &err);
	assert_int_equal(swap_notes(bench), 1);
	assert_int_equal(count_pins(bench, NULL), before + 1);
}

/* A pin that is too many goes with the next absorb, or with the image; one
 * that the head names stays, also when the note is on it. */
static void no_pin_is_left(void **state)
{
	struct snapshot absorbed = { 0 };
	struct image_swap_note note;
	struct bench bench;
	struct err err = { 0 };

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	leave_a_note(&bench);
	assert_done(live_swap_end(bench.rig->vms, bench.rig->real, bench.path,
				  &err),
		    &err);
	assert_int_equal(swap_notes(&bench), 0);
	assert_int_equal(count_pins(&bench, &bench.snapshot.volumes[0].root),
			 1);
	leave_a_note(&bench);
	scribble(&bench, 5);
	absorb(&bench, "clone", &absorbed);
	assert_int_equal(swap_notes(&bench), 0);
	assert_int_equal(count_pins(&bench, &absorbed.volumes[0].root), 1);
	leave_a_note(&bench);
	assert_done(
		image_read_swap_note(bench.rig->real, bench.path, &note, &err),
		&err);
	assert_int_equal(note.layer, 0);
	shut(&bench);
	assert_done(vms_live_remove(bench.rig->vms, bench.rig->real, bench.path,
				    &err),
		    &err);
	assert_int_equal(count_pins(&bench, NULL), 0);
	assert_int_equal(swap_notes(&bench), 0);
	snapshot_release(&absorbed);
	end(&bench);
}

/* What is no note, and the note of an image that was here before. */
static void a_note_of_another(void **state)
{
	char path[600], kept[600];
	struct bench bench;
	struct err err = { 0 };
	int fd;

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	leave_a_note(&bench);
	snprintf(path, sizeof(path), "%s.swap", bench.path);
	snprintf(kept, sizeof(kept), "%s.kept", bench.path);
	assert_int_equal(rename(path, kept), 0);
	shut(&bench);
	assert_done(image_remove(bench.rig->real, bench.path, &err), &err);
	create(&bench, 0);
	assert_int_equal(rename(kept, path), 0);
	assert_int_equal(count_pins(&bench, NULL), 3);
	assert_done(live_swap_end(bench.rig->vms, bench.rig->real, bench.path,
				  &err),
		    &err);
	assert_int_equal(count_pins(&bench, NULL), 3);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "no note", 7), 7);
	close(fd);
	assert_done(live_swap_end(bench.rig->vms, bench.rig->real, bench.path,
				  &err),
		    &err);
	assert_int_equal(swap_notes(&bench), 0);
	assert_int_equal(count_pins(&bench, NULL), 3);
	end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(no_pin_is_left),
		RIG_TEST(a_note_of_another),
		RIG_TEST(from_a_snapshot),
		RIG_TEST(a_pin_outlives_the_snapshot),
		RIG_TEST(without_a_pin),
		RIG_TEST(sealed_and_absorbed),
		RIG_TEST(absorbed_reads_little),
		RIG_TEST(other_sizes),
		RIG_TEST(from_nothing),
		RIG_TEST(absorb_broken_off),
		RIG_TEST(a_pin_without_a_snapshot),
		RIG_TEST(written_meanwhile),
		RIG_TEST(backed_up_by_the_map),
		RIG_TEST(exported),
		RIG_TEST(the_pin_of_another),
		RIG_TEST(another_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
