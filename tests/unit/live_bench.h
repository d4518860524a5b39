/* SPDX-License-Identifier: Apache-2.0 */
/* A live image over a backed-up disk, beside an array of bytes. */
#ifndef TESTS_UNIT_LIVE_BENCH_H
#define TESTS_UNIT_LIVE_BENCH_H

#include "tests/unit/engine_test.h"

#define DISK_BYTES  ((12u << 20) + 512u)
#define MODEL_BYTES (16u << 20)

struct bench {
	struct engine_rig *rig;
	struct vs_io *io; /* of the image */
	struct snapshot snapshot;
	struct vms_live *live;
	struct image_queue *queue;
	char *path;
	uint8_t *model; /* MODEL_BYTES */
	uint64_t size;
	uint64_t random;
	unsigned warnings;
};

static inline void count_warning(void *arg, const char *text)
{
	struct bench *bench = arg;

	assert_true(*text);
	bench->warnings++;
}

static inline uint64_t pick(struct bench *bench, uint64_t below)
{
	bench->random =
		bench->random * 6364136223846793005u + 1442695040888963407u;
	return (bench->random >> 24) % below;
}

static inline void create(struct bench *bench, uint64_t size)
{
	struct vms_live_create how = {
		.io = bench->io,
		.path = bench->path,
		.snapshot =
			bench->snapshot.volume_count ? &bench->snapshot : NULL,
		.size_bytes = size,
		.warn = count_warning,
		.warn_arg = bench,
	};
	struct err err = { 0 };

	assert_done(vms_live_create(bench->rig->vms, &how, &err), &err);
}

static inline void reopen(struct bench *bench)
{
	struct vms_live_options options = {
		.io = bench->io,
		.path = bench->path,
		.mode = IMAGE_READ_WRITE,
		.vms = bench->rig->vms,
		.cache_bytes = 4u << 20,
	};
	struct err err = { 0 };

	assert_done(vms_live_open(&bench->live, &options, &err), &err);
	bench->queue = image_queue_new(vms_live_image(bench->live), 4, &err);
	assert_non_null(bench->queue);
	bench->size = image_size(vms_live_image(bench->live));
	assert_true(bench->size <= MODEL_BYTES);
}

static inline void shut(struct bench *bench)
{
	struct err err = { 0 };

	image_queue_free(bench->queue);
	assert_done(vms_live_close(bench->live, &err), &err);
	bench->live = NULL;
	bench->queue = NULL;
}

/* A backed-up disk: data at 0..3 MiB, 5..8 MiB, and the last MiB. */
static inline void begin(struct bench *bench, void **state)
{
	memset(bench, 0, sizeof(*bench));
	bench->rig = *state;
	bench->io = bench->rig->real;
	bench->random = 7;
	bench->path = strdup(engine_rig_path(bench->rig, "x.vsi"));
	assert_non_null(bench->path);
	bench->model = calloc(1, MODEL_BYTES);
	assert_non_null(bench->model);
}

static inline void begin_disk(struct bench *bench, void **state)
{
	uint32_t tail = DISK_BYTES - (1u << 20);

	begin(bench, state);
	engine_rig_disk(bench->rig, "a", DISK_BYTES);
	engine_rig_write(bench->rig, "a", 0, 3u << 20, 1);
	engine_rig_write(bench->rig, "a", 5u << 20, 3u << 20, 2);
	engine_rig_write(bench->rig, "a", tail, 1u << 20, 3);
	engine_rig_pattern(bench->model, 3u << 20, 0, 1);
	engine_rig_pattern(bench->model + (5u << 20), 3u << 20, 5u << 20, 2);
	engine_rig_pattern(bench->model + tail, 1u << 20, tail, 3);
	engine_rig_backup(bench->rig, "vm", "a", NULL, &bench->snapshot);
	engine_rig_open(bench->rig, STORE_WRITE, 2);
}

static inline void end(struct bench *bench)
{
	if (bench->live)
		shut(bench);
	snapshot_release(&bench->snapshot);
	free(bench->model);
	free(bench->path);
}

static inline void scribble(struct bench *bench, unsigned times)
{
	static uint8_t buffer[256u << 10];

	while (times--) {
		uint64_t at = pick(bench, bench->size / 512) * 512;
		uint64_t length = (1 + pick(bench, 200)) * 512;
		bool discard = pick(bench, 4) == 0;

		if (pick(bench, 5) == 0)
			length = 200u << 10;
		length = min_u64(length, bench->size - at);
		if (discard) {
			/* Whole blocks, so that the model needs no masks. */
			at &= ~4095ull;
			length = min_u64(((length + 4095) & ~4095ull),
					 bench->size - at) &
				 ~4095ull;
			if (!length)
				continue;
			assert_int_equal(
				image_discard(bench->queue, length, at), 0);
			memset(bench->model + at, 0, length);
			continue;
		}
		engine_rig_pattern(buffer, length, at, bench->random);
		assert_int_equal(image_write(bench->queue, buffer, length, at),
				 0);
		memcpy(bench->model + at, buffer, length);
	}
}

static inline void assert_image(struct bench *bench)
{
	uint8_t *got = malloc(bench->size);

	assert_non_null(got);
	assert_int_equal(image_read(bench->queue, got, bench->size, 0), 0);
	assert_memory_equal(got, bench->model, bench->size);
	free(got);
}

static inline void assert_snapshot(struct bench *bench,
				   const struct snapshot *of)
{
	struct vms_restore restore = {
		.snapshot = of,
		.target = engine_rig_path(bench->rig, "restored"),
		.force = true,
	};
	struct vms_restore_result result = { 0 };
	uint8_t *got = malloc(bench->size);
	struct err err = { 0 };
	int fd;

	assert_non_null(got);
	assert_done(vms_restore(bench->rig->vms, &restore, &result, &err),
		    &err);
	assert_int_equal(result.size_bytes, bench->size);
	vms_restore_result_release(&result);
	fd = open(restore.target, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, got, bench->size, 0), bench->size);
	close(fd);
	assert_memory_equal(got, bench->model, bench->size);
	free(got);
}

/* ---- pins ---- */

struct pins {
	struct bench *bench;
	unsigned count;
	struct pin last; /* the caller's to release */
};

static inline int take_pin(void *arg, const char *id_hex, struct err *err)
{
	struct pins *pins = arg;
	struct store_thread *thread =
		vms_thread_take(pins->bench->rig->vms, err);
	int r;

	assert_non_null(thread);
	pin_release(&pins->last);
	r = store_load_pin(thread, id_hex, &pins->last, err);
	vms_thread_give(pins->bench->rig->vms, thread);
	pins->count++;
	return r;
}

static inline unsigned count_pins(struct bench *bench, const struct id *root)
{
	struct pins pins = { .bench = bench };
	struct err err = { 0 };

	assert_done(store_each_pin(vms_store(bench->rig->vms), take_pin, &pins,
				   &err),
		    &err);
	if (pins.count && root) {
		assert_string_equal(pins.last.owner, "image");
		assert_string_equal(pins.last.path, bench->path);
		assert_true(*pins.last.host);
		assert_int_equal(pins.last.volume_count, 1);
		assert_true(id_equal(&pins.last.volumes[0].root, root));
	}
	pin_release(&pins.last);
	return pins.count;
}

#endif
