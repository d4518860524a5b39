/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives a live image as `qemu-img bench` drives its formats, and, for the
 * bare limit, a raw file through the same queue (struct vs_io). Each command
 * prints one JSON object. The store's passphrase is in VMSNAP_PASSPHRASE.
 *
 *	ops image|raw FILE read|write COUNT DEPTH STEP RANGE [flush|sync] [STORE]
 *	    requests of 4 KiB, STEP bytes apart, beginning anew at RANGE (STEP
 *	    0: at random places below it); with `flush` a flush behind each
 *	    write, with `sync` one behind the last
 *	warm FILE RANGE STORE     the same reads twice, the second is measured
 *	create FILE SNAPSHOT STORE  FILE.0, FILE.1, ... made and removed
 *	seal FILE BYTES           BYTES written and not flushed, then sealed
 *	map FILE SIZE COUNT       COUNT blocks at random places of SIZE
 *	touch FILE BYTES STORE    BYTES written at random places and flushed
 *	absorb FILE BYTES STORE   BYTES written at random places, then absorbed
 *	cold FILE STORE           store, image, and the first read of each 64 KiB
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "vmsnap/vmsnap.h"

#define BLOCK       4096u
#define DEPTH_MAX   256u
#define FILL_DEPTH  64u
#define CREATES     30u
#define SEALS       8u
#define COLD_READS  64u
#define FILL_LENGTH IMAGE_CLUSTER_SIZE

static struct err err;

static _Noreturn void die(const char *what, int r)
{
	fprintf(stderr, "image_bench: %s: %s\n", what,
		err.text[0] ? err.text : strerror(-r));
	exit(1);
}

static void ok(const char *what, int r)
{
	if (r < 0)
		die(what, r);
}

static double seconds_since(int64_t start_ns)
{
	return (double)(time_monotonic_ns() - start_ns) / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static long peak_rss_bytes(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return use.ru_maxrss * 1024;
}

static uint64_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 20;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), by_value);
	return values[count / 2];
}

/* ---- what is driven ---- */

struct side {
	struct vs_io *io;
	struct vms *vms;       /* NULL: without a store */
	struct vms_live *live; /* NULL: a raw file */
	struct image_queue *queue;
	struct io_queue *raw_queue;
	int raw_file;
};

struct slot {
	struct image_request request;
	struct io_request raw;
	uint8_t *buffer;
	bool flushing;
};

static int passphrase(void *arg, char **out, size_t *size, struct err *e)
{
	const char *text = getenv("VMSNAP_PASSPHRASE");

	(void)arg;
	*out = text ? strdup(text) : NULL;
	if (!*out)
		return err_set(e, -EINVAL, "VMSNAP_PASSPHRASE is not set");
	*size = strlen(text);
	return 0;
}

static struct vms *open_store(const char *location, enum store_mode mode)
{
	struct vms_options options = {
		.location = location,
		.store = { .mode = mode, .passphrase = passphrase },
	};
	struct vms *vms;

	ok("store", vms_open(&vms, &options, &err));
	return vms;
}

static void open_image(struct side *side, const char *path, const char *store,
		       enum store_mode mode)
{
	struct vms_live_options options = {
		.path = path,
		.mode = IMAGE_READ_WRITE,
	};

	side->io = io_new(&err);
	if (!side->io)
		die("io", err.code);
	if (store)
		side->vms = open_store(store, mode);
	options.io = side->io;
	options.vms = side->vms;
	ok(path, vms_live_open(&side->live, &options, &err));
}

static void open_queue(struct side *side, unsigned depth)
{
	side->queue = image_queue_new(vms_live_image(side->live), depth, &err);
	if (!side->queue)
		die("queue", err.code);
}

static void open_raw(struct side *side, const char *path, unsigned depth)
{
	side->io = io_new(&err);
	if (!side->io)
		die("io", err.code);
	side->raw_file =
		side->io->ops->open(side->io, path, IO_READ_WRITE, &err);
	ok(path, side->raw_file);
	side->raw_queue = side->io->ops->queue_new(side->io, depth, &err);
	if (!side->raw_queue)
		die("queue", err.code);
}

static void close_side(struct side *side)
{
	image_queue_free(side->queue);
	if (side->live)
		ok("close", vms_live_close(side->live, &err));
	vms_close(side->vms);
	if (side->raw_queue) {
		side->io->ops->queue_free(side->raw_queue);
		side->io->ops->close(side->io, side->raw_file);
	}
	io_free(side->io);
}

/* With `more` another is submitted right behind it. */
static void submit(struct side *side, struct slot *slot, enum image_op op,
		   uint64_t offset, bool more)
{
	static const enum io_op raw_op[] = { [IMAGE_READ] = IO_OP_READ,
					     [IMAGE_WRITE] = IO_OP_WRITE,
					     [IMAGE_FLUSH] = IO_OP_SYNC };

	slot->flushing = op == IMAGE_FLUSH;
	if (side->live) {
		slot->request = (struct image_request){
			.op = op,
			.offset = offset,
			.length = op == IMAGE_FLUSH ? 0 : BLOCK,
			.buffer = slot->buffer,
			.owner = slot,
			.more = more,
		};
		image_submit(side->queue, &slot->request);
		return;
	}
	slot->raw = (struct io_request){
		.op = raw_op[op],
		.file = side->raw_file,
		.offset = offset,
		.length = op == IMAGE_FLUSH ? 0 : BLOCK,
		.buffer = slot->buffer,
		.owner = slot,
		.more = more,
	};
	side->io->ops->queue_submit(side->raw_queue, &slot->raw);
}

static unsigned reap(struct side *side, struct slot *slots[DEPTH_MAX])
{
	struct image_request *done[DEPTH_MAX];
	struct io_request *raw[DEPTH_MAX];
	unsigned n;

	if (side->live) {
		n = image_reap(side->queue, 1, done, DEPTH_MAX);
		for (unsigned i = 0; i < n; i++) {
			ok("request", done[i]->result);
			slots[i] = done[i]->owner;
		}
		return n;
	}
	n = side->io->ops->queue_reap(side->raw_queue, 1, raw, DEPTH_MAX);
	for (unsigned i = 0; i < n; i++) {
		ok("request", (int)raw[i]->result);
		slots[i] = raw[i]->owner;
	}
	return n;
}

struct pattern {
	enum image_op op;
	unsigned count, depth;
	uint64_t step, range;
	bool flush, sync;
};

static uint64_t next_offset(const struct pattern *pattern, uint64_t offset,
			    uint64_t *random)
{
	if (!pattern->step)
		return random_next(random) % (pattern->range / BLOCK) * BLOCK;
	offset += pattern->step;
	return offset + BLOCK > pattern->range ? 0 : offset;
}

/* The same pattern as qemu-img bench's. Seconds. */
static double drive(struct side *side, const struct pattern *pattern)
{
	struct slot slots[DEPTH_MAX] = { 0 }, *done[DEPTH_MAX];
	unsigned begun = 0, finished = 0, free_count = pattern->depth;
	struct slot *unused[DEPTH_MAX];
	uint64_t offset = 0, random = 1;
	int64_t start;

	for (unsigned i = 0; i < pattern->depth; i++) {
		unused[i] = &slots[i];
		slots[i].buffer = aligned_alloc(BLOCK, BLOCK);
		if (!slots[i].buffer)
			die("memory", -ENOMEM);
		memset(slots[i].buffer, (int)i + 1, BLOCK);
	}
	start = time_monotonic_ns();
	while (finished < pattern->count) {
		unsigned n;

		while (free_count && begun < pattern->count) {
			struct slot *slot = unused[--free_count];

			begun++;
			submit(side, slot, pattern->op, offset,
			       free_count && begun < pattern->count);
			offset = next_offset(pattern, offset, &random);
		}
		n = reap(side, done);
		for (unsigned i = 0; i < n; i++) {
			if (pattern->flush && !done[i]->flushing) {
				submit(side, done[i], IMAGE_FLUSH, 0, false);
				continue;
			}
			finished++;
			unused[free_count++] = done[i];
		}
	}
	if (pattern->sync) {
		submit(side, unused[0], IMAGE_FLUSH, 0, false);
		(void)reap(side, done);
	}
	for (unsigned i = 0; i < pattern->depth; i++)
		free(slots[i].buffer);
	return seconds_since(start);
}

/* Random content, in order, nothing flushed. */
static void fill(struct side *side, uint64_t bytes)
{
	struct image_request requests[FILL_DEPTH] = { 0 };
	struct image_request *done[FILL_DEPTH];
	static uint8_t content[FILL_LENGTH];
	unsigned busy = 0;
	uint64_t at = 0;

	ok("random", random_fill(content, sizeof(content), &err));
	while (at < bytes || busy) {
		if (at < bytes && busy < FILL_DEPTH) {
			struct image_request *request = requests;

			while (request->owner)
				request++;
			*request = (struct image_request){
				.op = IMAGE_WRITE,
				.offset = at,
				.length = FILL_LENGTH,
				.buffer = content,
				.owner = request,
			};
			image_submit(side->queue, request);
			at += FILL_LENGTH;
			busy++;
			continue;
		}
		for (unsigned n = image_reap(side->queue, 1, done, FILL_DEPTH);
		     n--; busy--) {
			ok("fill", done[n]->result);
			done[n]->owner = NULL;
		}
	}
}

/* ---- the commands ---- */

static int cmd_ops(int count, char **words)
{
	struct side side = { 0 };
	struct pattern pattern = { 0 };
	const char *store = NULL;
	double cpu, wall;

	if (count < 7)
		return 2;
	pattern.op = !strcmp(words[2], "write") ? IMAGE_WRITE : IMAGE_READ;
	pattern.count = (unsigned)strtoul(words[3], NULL, 10);
	pattern.depth = (unsigned)strtoul(words[4], NULL, 10);
	pattern.step = strtoull(words[5], NULL, 10);
	pattern.range = strtoull(words[6], NULL, 10);
	for (int i = 7; i < count; i++) {
		if (!strcmp(words[i], "flush"))
			pattern.flush = true;
		else if (!strcmp(words[i], "sync"))
			pattern.sync = true;
		else
			store = words[i];
	}
	if (!pattern.depth || pattern.depth > DEPTH_MAX ||
	    pattern.range < BLOCK)
		return 2;
	if (!strcmp(words[0], "raw")) {
		open_raw(&side, words[1], pattern.depth);
	} else {
		open_image(&side, words[1], store, STORE_READ);
		open_queue(&side, pattern.depth);
	}
	cpu = cpu_seconds();
	wall = drive(&side, &pattern);
	cpu = cpu_seconds() - cpu;
	close_side(&side);
	printf("{\"seconds\": %.6f, \"cpu_seconds\": %.4f}\n", wall, cpu);
	return 0;
}

static int cmd_warm(int count, char **words)
{
	struct pattern pattern = {
		.op = IMAGE_READ,
		.count = 20000,
		.depth = 16,
		.step = 139264,
	};
	struct side side = { 0 };
	double wall;

	if (count != 3)
		return 2;
	pattern.range = strtoull(words[1], NULL, 10);
	open_image(&side, words[0], words[2], STORE_READ);
	open_queue(&side, pattern.depth);
	drive(&side, &pattern);
	wall = drive(&side, &pattern);
	close_side(&side);
	printf("{\"seconds\": %.6f}\n", wall);
	return 0;
}

static int cmd_create(int count, char **words)
{
	struct snapshot snapshot = { 0 };
	double seconds[CREATES];
	struct vs_io *io;
	struct vms *vms;
	char path[4096];

	if (count != 3)
		return 2;
	io = io_new(&err);
	if (!io)
		die("io", err.code);
	vms = open_store(words[2], STORE_WRITE);
	ok(words[1], vms_find_snapshot(vms, words[1], &snapshot, &err));
	for (unsigned i = 0; i < CREATES; i++) {
		struct vms_live_create create = {
			.io = io,
			.path = path,
			.snapshot = &snapshot,
			.size_bytes = IMAGE_SIZE_MAX,
		};
		int64_t start;

		snprintf(path, sizeof(path), "%s.%u.vsi", words[0], i);
		start = time_monotonic_ns();
		ok(path, vms_live_create(vms, &create, &err));
		seconds[i] = seconds_since(start);
		ok(path, vms_live_remove(vms, io, path, &err));
	}
	snapshot_release(&snapshot);
	vms_close(vms);
	io_free(io);
	printf("{\"seconds\": %.6f}\n", median(seconds, CREATES));
	return 0;
}

/* Between two seals all is made durable, and the next layer is prepared. */
static int cmd_seal(int count, char **words)
{
	double seconds[SEALS], longest = 0;
	struct side side = { 0 };
	struct image *image;
	uint64_t bytes;

	if (count != 2)
		return 2;
	bytes = strtoull(words[1], NULL, 10);
	open_image(&side, words[0], NULL, STORE_READ);
	open_queue(&side, FILL_DEPTH);
	image = vms_live_image(side.live);
	for (unsigned i = 0; i < SEALS; i++) {
		uint64_t layer;
		int64_t start;

		ok("prepare", image_prepare(image, &err));
		fill(&side, i ? bytes / 64 : bytes);
		start = time_monotonic_ns();
		ok("seal", image_seal(image, &layer, &err));
		seconds[i] = seconds_since(start);
		longest = seconds[i] > longest ? seconds[i] : longest;
		ok("seal", image_seal_wait(image, layer, &err));
	}
	printf("{\"first_seconds\": %.6f, ", seconds[0]);
	printf("\"seconds\": %.6f, \"longest_seconds\": %.6f}\n",
	       median(seconds, SEALS), longest);
	close_side(&side);
	return 0;
}

static void write_at_random(struct side *side, uint64_t range, uint64_t grain,
			    uint64_t count)
{
	struct image_request requests[FILL_DEPTH] = { 0 };
	struct image_request *done[FILL_DEPTH];
	static uint8_t content[FILL_LENGTH];
	uint64_t begun = 0, random = 5;
	unsigned busy = 0;

	ok("random", random_fill(content, sizeof(content), &err));
	while (begun < count || busy) {
		if (begun < count && busy < FILL_DEPTH) {
			struct image_request *request = requests;

			while (request->owner)
				request++;
			*request = (struct image_request){
				.op = IMAGE_WRITE,
				.offset = random_next(&random) %
					  (range / grain) * grain,
				.length = grain,
				.buffer = content,
				.owner = request,
			};
			image_submit(side->queue, request);
			begun++;
			busy++;
			continue;
		}
		for (unsigned n = image_reap(side->queue, 1, done, FILL_DEPTH);
		     n--; busy--) {
			ok("write", done[n]->result);
			done[n]->owner = NULL;
		}
	}
}

static int cmd_map(int count, char **words)
{
	struct side side = { 0 };
	uint64_t size, writes;
	int64_t start;
	double wall;
	long before;

	if (count != 3)
		return 2;
	size = strtoull(words[1], NULL, 10);
	writes = strtoull(words[2], NULL, 10);
	open_image(&side, words[0], NULL, STORE_READ);
	open_queue(&side, FILL_DEPTH);
	before = peak_rss_bytes();
	start = time_monotonic_ns();
	write_at_random(&side, size, BLOCK, writes);
	wall = seconds_since(start);
	printf("{\"seconds\": %.6f, \"rss_before_bytes\": %ld, ", wall, before);
	printf("\"peak_rss_bytes\": %ld}\n", peak_rss_bytes());
	close_side(&side);
	return 0;
}

static void touch(struct side *side, const char *bytes)
{
	open_queue(side, FILL_DEPTH);
	write_at_random(side, image_size(vms_live_image(side->live)),
			FILL_LENGTH, strtoull(bytes, NULL, 10) / FILL_LENGTH);
	ok("flush", image_flush(side->queue));
}

static int cmd_touch(int count, char **words)
{
	struct side side = { 0 };

	if (count != 3)
		return 2;
	open_image(&side, words[0], words[2], STORE_READ);
	touch(&side, words[1]);
	close_side(&side);
	return 0;
}

static int cmd_absorb(int count, char **words)
{
	struct vms_absorb absorb = { 0 };
	struct side side = { 0 };
	int64_t start;
	double wall;

	if (count != 3)
		return 2;
	open_image(&side, words[0], words[2], STORE_WRITE);
	touch(&side, words[1]);
	start = time_monotonic_ns();
	ok("absorb",
	   vms_live_absorb(side.live, &absorb, NULL, NULL, NULL, &err));
	wall = seconds_since(start);
	close_side(&side);
	printf("{\"seconds\": %.6f}\n", wall);
	return 0;
}

static int cmd_cold(int count, char **words)
{
	double seconds[COLD_READS], store, image, first;
	uint64_t size, at, random = 5;
	struct vms_live_options options = { .mode = IMAGE_READ_ONLY };
	uint8_t buffer[BLOCK];
	struct side side = { 0 };
	int64_t start;

	if (count != 2)
		return 2;
	side.io = io_new(&err);
	if (!side.io)
		die("io", err.code);
	start = time_monotonic_ns();
	side.vms = open_store(words[1], STORE_READ);
	store = seconds_since(start);
	start = time_monotonic_ns();
	options.io = side.io;
	options.vms = side.vms;
	options.path = words[0];
	ok(words[0], vms_live_open(&side.live, &options, &err));
	open_queue(&side, 1);
	image = seconds_since(start);
	size = image_size(vms_live_image(side.live));
	start = time_monotonic_ns();
	ok("read", image_read(side.queue, buffer, BLOCK, 0));
	first = seconds_since(start);
	for (unsigned i = 0; i < COLD_READS; i++) {
		struct image_extent extent = { 0 };

		/* Where there is something. */
		do {
			at = random_next(&random) % (size / BLOCK) * BLOCK;
			ok("extent", vms_live_extent(side.live, at, BLOCK,
						     &extent, &err));
		} while (extent.kind == IMAGE_EXTENT_ZERO);
		start = time_monotonic_ns();
		ok("read", image_read(side.queue, buffer, BLOCK, at));
		seconds[i] = seconds_since(start);
	}
	close_side(&side);
	printf("{\"store_seconds\": %.6f, \"image_seconds\": %.6f, ", store,
	       image);
	printf("\"first_seconds\": %.6f, \"seconds\": %.6f}\n", first,
	       median(seconds, COLD_READS));
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int count, char **words);
	} commands[] = {
		{ "ops", cmd_ops },       { "warm", cmd_warm },
		{ "create", cmd_create }, { "seal", cmd_seal },
		{ "map", cmd_map },       { "absorb", cmd_absorb },
		{ "cold", cmd_cold },     { "touch", cmd_touch },
	};
	int r = 2;

	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(argv[1], commands[i].name))
			r = commands[i].run(argc - 2, argv + 2);
	}
	if (r == 2)
		fprintf(stderr, "image_bench: see the head of its source\n");
	return r;
}
