/* SPDX-License-Identifier: Apache-2.0 */
/* What an image takes of memory, whatever is written where, and by whoever its
 * checkpoints are made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/image/image_private.h"
#include "tests/sim/sim.h"

#define SIZE   (1ULL << 40)
#define MAP    (8ULL << 20)
#define WRITES 5000u
#define DEPTH  16u

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

/* Of this program alone, unlike what getrusage() tells. */
static uint64_t peak_bytes(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[256];

	assert_non_null(status);
	while (fgets(line, sizeof(line), status) && !kib) {
		if (!strncmp(line, "VmHWM:", 6))
			kib = strtoul(line + 6, NULL, 10);
	}
	(void)fclose(status);
	assert_true(kib > 0);
	return kib * 1024ULL;
}

/* A block here or there: it makes another page of the map dirty. */
static void send(struct image_queue *queue, struct image_request *request,
		 uint64_t *random)
{
	static uint8_t block[IMAGE_BLOCK_SIZE] = "a block";

	*request = (struct image_request){
		.op = IMAGE_WRITE,
		.offset = sim_random(random, SIZE / sizeof(block)) *
			  sizeof(block),
		.length = sizeof(block),
		.buffer = block,
	};
	image_submit(queue, request);
}

/* So many under way that all helpers are at work. */
static void write_scattered(struct image_queue *queue)
{
	struct image_request requests[DEPTH], *done[DEPTH];
	uint64_t random = 1;

	for (unsigned i = 0; i < DEPTH; i++)
		send(queue, &requests[i], &random);
	for (unsigned left = WRITES; left >= DEPTH;) {
		unsigned n = image_reap(queue, 1, done, DEPTH);

		for (unsigned i = 0; i < n; i++, left--) {
			assert_int_equal(done[i]->result, 0);
			send(queue, done[i], &random);
		}
	}
	while (image_reap(queue, 1, done, 1))
		assert_int_equal(done[0]->result, 0);
}

static void test_bound(void **state)
{
	const char *temp = getenv("TMPDIR");
	struct image_options options = {
		.mode = IMAGE_READ_WRITE,
		.map_memory_bytes = MAP,
	};
	struct vs_io *io = io_new_plain(&err);
	struct image_queue *queue;
	struct image *image;
	char dir[64], path[96];
	uint64_t before;

	(void)state;
#ifdef SANITIZED
	printf("a sanitizer's memory is not the image's\n");
	io_free(io);
	skip();
#endif
	assert_non_null(io);
	snprintf(dir, sizeof(dir), "%.40s/memory-XXXXXX", temp ? temp : "/tmp");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/d.vsi", dir);
	ok(image_create(io, path, SIZE, NULL, &err));
	ok(image_open(&image, io, path, &options, &err));
	queue = image_queue_new(image, DEPTH, &err);
	assert_non_null(queue);
	before = peak_bytes();
	write_scattered(queue);
	/* The pages, a copy of the dirty half, a quarter for all else. */
	assert_true(peak_bytes() - before < MAP + MAP / 2 + MAP / 4);
	/* The test is none if they did not fill it. */
	assert_true(peak_bytes() - before > MAP);
	image_queue_free(queue);
	ok(image_close(image, &err));
	ok(image_remove(io, path, &err));
	assert_int_equal(rmdir(dir), 0);
	io_free(io);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
