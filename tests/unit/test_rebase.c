/* SPDX-License-Identifier: Apache-2.0 */
/* Images that get another base: of another size, of another chunk size, with
 * hardly a difference and with nothing in common; held against an array of
 * bytes, also when the power goes. */
#include "tests/unit/live_bench.h"

#include "tests/sim/sim.h"

#define OTHERS 4u

/* What a base may be, beside the disk that the image is made from. */
static void make_others(struct bench *bench, struct snapshot others[OTHERS])
{
	struct engine_rig *rig = bench->rig;

	/* A block less and a block more. */
	engine_rig_disk(rig, "near", DISK_BYTES);
	engine_rig_write(rig, "near", 0, 3u << 20, 1);
	engine_rig_write(rig, "near", 5u << 20, (3u << 20) - 4096, 2);
	engine_rig_write(rig, "near", 9u << 20, 4096, 4);
	engine_rig_write(rig, "near", DISK_BYTES - (1u << 20), 1u << 20, 3);
	engine_rig_backup(rig, "near", "near", NULL, &others[0]);
	engine_rig_disk(rig, "short", (6u << 20) + 1000u);
	engine_rig_write(rig, "short", 0, (6u << 20) + 1000u, 5);
	engine_rig_backup(rig, "short", "short", NULL, &others[1]);
	engine_rig_disk(rig, "long", MODEL_BYTES + (3u << 20));
	engine_rig_write(rig, "long", 2u << 20, MODEL_BYTES, 1);
	engine_rig_backup(rig, "long", "long", NULL, &others[2]);
	engine_rig_disk(rig, "empty", DISK_BYTES);
	engine_rig_backup(rig, "empty", "empty", NULL, &others[3]);
}

static void drop_others(struct snapshot others[OTHERS])
{
	for (unsigned n = 0; n < OTHERS; n++)
		snapshot_release(&others[n]);
}

static void rebase(struct bench *bench, const struct snapshot *on,
		   struct vms_rebase_result *result)
{
	struct vms_rebase how = {
		.snapshot = on,
		.warn = count_warning,
		.warn_arg = bench,
	};
	struct err err = { 0 };

	assert_done(vms_live_rebase(bench->live, &how, result, &err), &err);
}

static void assert_sound(struct bench *bench)
{
	struct err err = { 0 };
	int errors;

	shut(bench);
	errors = image_check(bench->io, bench->path, false,
			     (void (*)(void *, const char *, const char *,
				       uint64_t, uint64_t))abort,
			     NULL, &err);
	assert_done(errors, &err);
	reopen(bench);
}

/* One block is told apart from the chunk that it is in. */
static void reads_the_difference(void **state)
{
	struct snapshot others[OTHERS] = { 0 };
	struct vms_rebase_result result;
	struct image_info info;
	struct bench bench;
	struct err err = { 0 };

	begin_disk(&bench, state);
	make_others(&bench, others);
	create(&bench, 0);
	reopen(&bench);
	rebase(&bench, &others[0], &result);
	assert_int_equal(result.compared_bytes, 2 * RIG_CHUNK);
	assert_int_equal(result.kept_bytes, 2 * 4096);
	assert_int_equal(bench.warnings, 0);
	assert_int_equal(count_pins(&bench, &others[0].volumes[0].root), 1);
	assert_image(&bench);
	assert_done(image_get_info(vms_live_image(bench.live), &info, &err),
		    &err);
	assert_memory_equal(info.base.root, others[0].volumes[0].root.b,
			    ID_SIZE);
	assert_memory_equal(info.base.snapshot, others[0].id.b, ID_SIZE);
	assert_sound(&bench);
	assert_image(&bench);
	/* Both are in a layer now, and need no reading. */
	rebase(&bench, &bench.snapshot, &result);
	assert_int_equal(result.kept_bytes, 0);
	assert_int_equal(result.compared_bytes, 2 * RIG_CHUNK - 2 * 4096);
	assert_image(&bench);
	drop_others(others);
	end(&bench);
}

/* The same again: nothing is read. */
static void on_the_same(void **state)
{
	struct vms_rebase_result result;
	struct bench bench;

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	scribble(&bench, 10);
	rebase(&bench, &bench.snapshot, &result);
	assert_int_equal(result.compared_bytes, 0);
	assert_int_equal(count_pins(&bench, &bench.snapshot.volumes[0].root),
			 1);
	assert_image(&bench);
	end(&bench);
}

static void resize_and_scribble(struct bench *bench)
{
	uint64_t size = (1 + pick(bench, MODEL_BYTES / 512)) * 512;
	struct err err = { 0 };

	if (pick(bench, 3) == 0) {
		assert_done(
			image_resize(vms_live_image(bench->live), size, &err),
			&err);
		if (size < bench->size)
			memset(bench->model + size, 0, bench->size - size);
		bench->size = size;
	}
	if (pick(bench, 3) == 0)
		scribble(bench, 8);
}

/* From any to any, over sizes that come and go; growing never shows what a
 * base has behind the end. */
static void from_any_to_any(void **state)
{
	struct snapshot others[OTHERS] = { 0 };
	struct vms_rebase_result result;
	struct bench bench;

	begin_disk(&bench, state);
	make_others(&bench, others);
	create(&bench, 0);
	reopen(&bench);
	for (unsigned round = 0; round < 40; round++) {
		const struct snapshot *on = &others[pick(&bench, OTHERS)];

		resize_and_scribble(&bench);
		rebase(&bench, on, &result);
		assert_image(&bench);
		assert_int_equal(count_pins(&bench, &on->volumes[0].root), 1);
		if (round % 8 == 7)
			assert_sound(&bench);
		assert_image(&bench);
	}
	assert_int_equal(bench.warnings, 0);
	drop_others(others);
	end(&bench);
}

/* What a longer base has behind the end never shows. */
static void grown_over_a_longer(void **state)
{
	static const uint64_t sizes[] = { DISK_BYTES + 512, DISK_BYTES + 70000,
					  MODEL_BYTES - 512, MODEL_BYTES };
	struct snapshot others[OTHERS] = { 0 };
	struct vms_rebase_result result;
	struct bench bench;
	struct err err = { 0 };

	begin_disk(&bench, state);
	make_others(&bench, others);
	create(&bench, 0);
	reopen(&bench);
	rebase(&bench, &others[2], &result);
	for (size_t n = 0; n < ARRAY_SIZE(sizes); n++) {
		bench.size = sizes[n] / 512 * 512;
		assert_done(image_resize(vms_live_image(bench.live), bench.size,
					 &err),
			    &err);
		assert_image(&bench);
		shut(&bench);
		reopen(&bench);
		assert_image(&bench);
	}
	assert_sound(&bench);
	drop_others(others);
	end(&bench);
}

/* A blank one: what the base has is hidden, also where no layer had anything. */
static void from_nothing(void **state)
{
	struct snapshot others[OTHERS] = { 0 };
	struct vms_rebase_result result;
	struct bench bench;

	begin(&bench, state);
	engine_rig_open(bench.rig, STORE_WRITE, 2);
	make_others(&bench, others);
	create(&bench, MODEL_BYTES - 512);
	reopen(&bench);
	assert_image(&bench);
	rebase(&bench, &others[2], &result);
	assert_image(&bench);
	scribble(&bench, 10);
	rebase(&bench, &others[1], &result);
	assert_image(&bench);
	assert_sound(&bench);
	assert_image(&bench);
	drop_others(others);
	end(&bench);
}

/* Ids say nothing: the content does. */
static void other_chunk_size(void **state)
{
	struct vms_source source = { .disk = "disk0" };
	struct vms_backup backup = {
		.name = "small",
		.sources = &source,
		.source_count = 1,
		.chunk_log2 = 14,
	};
	struct vms_rebase_result result;
	struct snapshot small = { 0 };
	struct bench bench;
	struct err err = { 0 };

	begin_disk(&bench, state);
	engine_rig_write(bench.rig, "a", 1u << 20, 4096, 9);
	source.location = engine_rig_path(bench.rig, "a");
	assert_done(vms_backup(bench.rig->vms, &backup, &small, &err), &err);
	create(&bench, 0);
	reopen(&bench);
	rebase(&bench, &small, &result);
	assert_int_equal(result.compared_bytes, 16384);
	assert_int_equal(result.kept_bytes, 4096);
	assert_image(&bench);
	snapshot_release(&small);
	end(&bench);
}

static void which_disk(void **state)
{
	struct vms_rebase how = { 0 };
	struct vms_rebase_result result;
	struct snapshot two = { 0 };
	struct bench bench;
	struct err err = { 0 };

	begin_disk(&bench, state);
	engine_rig_disk(bench.rig, "b", 1u << 20);
	engine_rig_backup(bench.rig, "two", "a", "b", &two);
	create(&bench, 0);
	reopen(&bench);
	/* That of the same name, unless another is named. */
	how.snapshot = &two;
	assert_done(vms_live_rebase(bench.live, &how, &result, &err), &err);
	assert_int_equal(result.compared_bytes, 0);
	how.disk = two.volumes[1].name;
	assert_done(vms_live_rebase(bench.live, &how, &result, &err), &err);
	assert_true(result.kept_bytes > 0);
	assert_image(&bench);
	how.disk = "none";
	assert_int_equal(vms_live_rebase(bench.live, &how, &result, &err),
			 -ENOENT);
	assert_image(&bench);
	snapshot_release(&two);
	end(&bench);
}

/* The pin can't be written for want of space: nothing has happened. In a store
 * that is open for reading there is none, and a warning. */
static void without_a_pin(void **state)
{
	struct snapshot others[OTHERS] = { 0 };
	struct vms_rebase how = { 0 };
	struct vms_rebase_result result;
	struct bench bench;
	struct err err = { 0 };

	begin_disk(&bench, state);
	make_others(&bench, others);
	create(&bench, 0);
	reopen(&bench);
	how.snapshot = &others[0];
	bench.rig->fault.path = "/pins";
	bench.rig->fault.write_error = -ENOSPC;
	assert_int_equal(vms_live_rebase(bench.live, &how, &result, &err),
			 -ENOSPC);
	bench.rig->fault.write_error = 0;
	bench.rig->fault.path = NULL;
	assert_image(&bench);
	assert_int_equal(count_pins(&bench, &bench.snapshot.volumes[0].root),
			 1);
	shut(&bench);
	engine_rig_open(bench.rig, STORE_READ, 2);
	reopen(&bench);
	rebase(&bench, &others[0], &result);
	/* Neither a new pin, nor the old one's removal. */
	assert_int_equal(bench.warnings, 2);
	assert_image(&bench);
	assert_int_equal(count_pins(&bench, &bench.snapshot.volumes[0].root),
			 1);
	drop_others(others);
	end(&bench);
}

/* A chunk of the old base is lost where it is needed: the image keeps it. */
static void a_hurt_base(void **state)
{
	struct snapshot others[OTHERS] = { 0 };
	struct vms_rebase how = { 0 };
	struct vms_rebase_result result;
	struct place place;
	struct bench bench;
	struct err err = { 0 };
	char name[OBJECT_NAME_MAX];

	begin_disk(&bench, state);
	make_others(&bench, others);
	create(&bench, 0);
	engine_rig_place(bench.rig, &bench.snapshot.volumes[0],
			 ((8u << 20) - 1) / RIG_CHUNK, &place);
	pack_name(name, &place.pack);
	engine_rig_flip(bench.rig, name, le32_get(place.entry.offset));
	engine_rig_open(bench.rig, STORE_WRITE, 2);
	reopen(&bench);
	how.snapshot = &others[0];
	assert_int_equal(vms_live_rebase(bench.live, &how, &result, &err),
			 -EIO);
	assert_int_equal(count_pins(&bench, &bench.snapshot.volumes[0].root),
			 1);
	engine_rig_flip(bench.rig, name, le32_get(place.entry.offset));
	shut(&bench);
	reopen(&bench);
	assert_image(&bench);
	drop_others(others);
	end(&bench);
}

/* ---- the power goes ---- */

static void crash_once(void **state, uint64_t op, bool *through)
{
	struct snapshot others[OTHERS] = { 0 };
	struct vms_rebase how = { 0 };
	struct vms_rebase_result result;
	struct sim *sim = sim_new(op);
	struct bench bench;
	struct err err = { 0 };
	int r;

	begin_disk(&bench, state);
	make_others(&bench, others);
	bench.io = sim_io(sim);
	free(bench.path);
	bench.path = strdup("/x.vsi");
	bench.random = op;
	create(&bench, MODEL_BYTES - 512);
	reopen(&bench);
	scribble(&bench, 10);
	shut(&bench);
	reopen(&bench);
	how.snapshot = &others[op % OTHERS];
	sim_power_loss_at(sim, sim_count(sim).ops + op);
	r = vms_live_rebase(bench.live, &how, &result, &err);
	*through = !sim_is_off(sim);
	if (*through)
		assert_done(r, &err);
	image_queue_free(bench.queue);
	(void)vms_live_close(bench.live, NULL);
	sim_power_loss_at(sim, 0);
	if (sim_is_off(sim))
		sim_reboot(sim);
	else
		sim_power_loss(sim);
	reopen(&bench);
	assert_image(&bench);
	rebase(&bench, how.snapshot, &result);
	assert_image(&bench);
	assert_sound(&bench);
	/* That of the first try may be left, never none. */
	assert_in_range(count_pins(&bench, NULL), 1, 2);
	shut(&bench);
	sim_free(sim);
	drop_others(others);
	end(&bench);
}

static void at_any_moment(void **state)
{
	bool through = false;

	for (uint64_t op = 1; op < 4000 && !through; op += 1 + op / 8) {
		if (op > 1) {
			engine_rig_teardown(state);
			engine_rig_setup(state);
		}
		crash_once(state, op, &through);
	}
	assert_true(through);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(reads_the_difference), RIG_TEST(on_the_same),
		RIG_TEST(from_any_to_any),      RIG_TEST(grown_over_a_longer),
		RIG_TEST(from_nothing),         RIG_TEST(other_chunk_size),
		RIG_TEST(which_disk),           RIG_TEST(without_a_pin),
		RIG_TEST(a_hurt_base),          RIG_TEST(at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
