/* SPDX-License-Identifier: Apache-2.0 */
/* An image on a simulated disk beside a byte array, for the image's tests. */
#ifndef TESTS_UNIT_IMAGE_FILES_H
#define TESTS_UNIT_IMAGE_FILES_H

#include "tests/unit/sim_files.h"

#include "format/image/image_private.h"
#include "tests/rig/image_rig.h"

#define SIZE (8ULL << 20)
#define HEAD "/d.vsi"
#define UNIT IMAGE_CLUSTER_SIZE

struct rig {
	struct sim *sim;
	struct vs_io *io;
	struct image *image;
	struct image_queue *queue;
	uint8_t *model;
	uint8_t *base; /* of SIZE / 2, or NULL */
	uint64_t random;
};

static struct err err;

static inline void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

static inline void open_rig(struct rig *rig, enum image_mode mode)
{
	struct image_options options = { .mode = mode };

	if (rig->base)
		options.base = mem_base_new(rig->base, SIZE / 2);
	ok(image_open(&rig->image, rig->io, HEAD, &options, &err));
	rig->queue = image_queue_new(rig->image, 8, &err);
	assert_non_null(rig->queue);
}

static inline void close_rig(struct rig *rig)
{
	image_queue_free(rig->queue);
	ok(image_close(rig->image, &err));
	rig->image = NULL;
}

static inline void reopen(struct rig *rig)
{
	close_rig(rig);
	open_rig(rig, IMAGE_READ_WRITE);
}

static inline void make_rig(struct rig *rig, bool with_base)
{
	struct image_base_info info;

	memset(rig, 0, sizeof(*rig));
	image_journal_length = JOURNAL_LENGTH_MIN;
	rig->sim = sim_new(1);
	rig->io = sim_io(rig->sim);
	rig->model = calloc(1, SIZE);
	assert_non_null(rig->model);
	if (with_base) {
		rig->base = malloc(SIZE / 2);
		assert_non_null(rig->base);
		pattern_fill(rig->base, SIZE / 2, 0, 999);
		memcpy(rig->model, rig->base, SIZE / 2);
		mem_base_info(&info, SIZE / 2);
	}
	ok(image_create(rig->io, HEAD, SIZE, with_base ? &info : NULL, &err));
	open_rig(rig, IMAGE_READ_WRITE);
}

static inline void free_rig(struct rig *rig)
{
	if (rig->image)
		close_rig(rig);
	sim_free(rig->sim);
	free(rig->model);
	free(rig->base);
}

static inline void do_write(struct rig *rig, uint64_t offset, size_t length,
			    uint64_t mark)
{
	pattern_fill(rig->model + offset, length, offset, mark);
	assert_int_equal(
		image_write(rig->queue, rig->model + offset, length, offset),
		0);
}

static inline int do_zero(struct rig *rig, uint64_t offset, uint64_t length)
{
	struct image_request zero = { .op = IMAGE_ZERO,
				      .offset = offset,
				      .length = length };
	struct image_request *done;

	image_submit(rig->queue, &zero);
	assert_int_equal(image_reap(rig->queue, 1, &done, 1), 1);
	assert_ptr_equal(done, &zero);
	return zero.result;
}

/* As the model, byte for byte, in reads of an awkward size. */
static inline void compare(struct rig *rig)
{
	static uint8_t buffer[512 * 333];

	for (uint64_t at = 0; at < SIZE;) {
		size_t n = (size_t)min_u64(sizeof(buffer), SIZE - at);

		assert_int_equal(image_read(rig->queue, buffer, n, at), 0);
		assert_memory_equal(buffer, rig->model + at, n);
		at += n;
	}
}

#endif
