/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that lose power. crash_image [--seeds N] [--seed S]: N * 5 / 2 lives,
 * or that one.
 *
 * In a life an image is made, read, written, discarded, flushed, sealed,
 * rebased, compacted and resized, with many requests under way; faults are
 * thrown in; then the power goes, once or several times, also while the image
 * is being opened again. Each time what is found is held against the model,
 * and life goes on. First it is shown that what must be caught is caught.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/image/image_private.h"
#include "tests/rig/fixed_random.h"
#include "tests/rig/image_model.h"
#include "tests/rig/image_rig.h"

#define HEAD           "/d.vsi"
#define FLIGHTS        6u
#define SIZE_MIN       (10u * 65536u)
#define SIZE_MAX_BYTES ((size_t)MODEL_SECTORS_MAX * 512)
#define BASE_SIZE      (8u * 65536u + 4096u)
#define SABOTAGE_LIVES 400u
#define BASES          32u

struct flight {
	struct image_request request;
	bool busy;
	uint32_t mark;
	uint32_t order; /* of the model when it was submitted */
	uint8_t buffer[3 * 65536];
};

struct base_state {
	uint8_t *data;
	size_t size;
};

struct life {
	struct sim *sim;
	struct vs_io *io;
	struct image *image;
	struct image_queue *queue;
	struct model *model;
	uint64_t random;
	uint32_t next_mark;
	uint64_t size;
	/* Of resizes that failed: after a loss it may be any of them. */
	uint64_t other_sizes[8];
	unsigned other_size_count;
	struct base_state bases[BASES];
	unsigned base, other_base, base_count; /* 0: none */
	uint64_t sealed;                       /* known to be durable, or 0 */
	uint8_t *sealed_data;
	size_t sealed_size;
	bool faults; /* requests may fail */
	struct flight flights[FLIGHTS];
	uint8_t disk[MODEL_SECTORS_MAX * 512];
	char words[256];
};

struct totals {
	uint64_t lives, losses, flushes, seals, swaps;
};
static struct totals totals;

static uint64_t pick(struct life *life, uint64_t below)
{
	return sim_random(&life->random, below);
}

static bool wrong(struct life *life, const char *what, int r)
{
	if (!life->words[0])
		snprintf(life->words, sizeof(life->words), "%.200s: %d", what,
			 r);
	return false;
}

/* An error is right only when there is a reason. */
static bool may_fail(const struct life *life)
{
	return life->faults || sim_is_off(life->sim);
}

/* ---- requests ---- */

static bool overlaps(const struct life *life, uint64_t offset, uint64_t length)
{
	for (unsigned i = 0; i < FLIGHTS; i++) {
		const struct image_request *r = &life->flights[i].request;

		if (life->flights[i].busy && r->op != IMAGE_FLUSH &&
		    offset < r->offset + r->length &&
		    r->offset < offset + length)
			return true;
	}
	return false;
}

static enum image_op pick_op(struct life *life)
{
	static const enum image_op ops[] = {
		IMAGE_WRITE,   IMAGE_WRITE, IMAGE_WRITE,
		IMAGE_WRITE,   IMAGE_READ,  IMAGE_FLUSH,
		IMAGE_DISCARD, IMAGE_ZERO,  IMAGE_HIDE,
	};

	return ops[pick(life, ARRAY_SIZE(ops))];
}

/* The sectors that the request changes. */
static void changes(const struct image_request *request, size_t *first,
		    size_t *count)
{
	uint64_t from = request->offset, to = from + request->length;

	if (request->op == IMAGE_DISCARD) {
		from = div_up(from, 4096) * 4096;
		to = to / 4096 * 4096;
	}
	*first = from / 512;
	*count = to > from ? (to - from) / 512 : 0;
}

static void submit(struct life *life, struct flight *flight)
{
	static const unsigned most[] = { 1, 1, 2, 4, 16, 40 };
	uint64_t grain = pick(life, 3) ? 4096 : 512;
	uint64_t length = (1 + pick(life, most[pick(life, 6)])) * grain;
	uint64_t slots = (life->size - length) / grain;
	uint64_t offset = pick(life, slots + 1) * grain;
	struct image_request *request = &flight->request;
	size_t first, count;

	/* Often near others, so that clusters are shared. */
	if (pick(life, 2))
		offset = pick(life, min_u64(slots, 3 * 65536 / grain) + 1) *
			 grain;
	*request = (struct image_request){ .op = pick_op(life),
					   .offset = offset,
					   .length = length,
					   .buffer = flight->buffer,
					   .fua = !pick(life, 10),
					   .owner = flight };
	if (request->op != IMAGE_FLUSH && overlaps(life, offset, length))
		return;
	changes(request, &first, &count);
	if (!model_has_room(life->model, first, count))
		request->op = IMAGE_FLUSH;
	flight->mark = 0;
	if (request->op == IMAGE_WRITE) {
		flight->mark = life->next_mark++;
		pattern_fill(flight->buffer, length, offset, flight->mark);
	}
	flight->order = life->model->order;
	flight->busy = true;
	image_submit(life->queue, request);
}

static bool complete(struct life *life, struct flight *flight)
{
	const struct image_request *request = &flight->request;
	bool failed = request->result < 0;
	size_t first, count;

	flight->busy = false;
	if (failed && !may_fail(life))
		return wrong(life, "a request failed", request->result);
	changes(request, &first, &count);
	switch (request->op) {
	case IMAGE_READ:
		return failed || model_check_now(life->model, flight->buffer,
						 first, count);
	case IMAGE_FLUSH:
		totals.flushes++;
		if (failed)
			return true;
		model_durable(life->model, flight->order, 0, MODEL_SECTORS_MAX);
		/* What resizes wanted that failed is no more to be seen. */
		life->other_size_count = 0;
		return true;
	case IMAGE_WRITE:
	case IMAGE_DISCARD:
	case IMAGE_ZERO:
	case IMAGE_HIDE:
		model_put(life->model, first, count, flight->mark, failed);
		if (!failed && request->fua)
			model_durable(life->model, life->model->order, first,
				      count);
		return true;
	}
	return false;
}

static unsigned busy(const struct life *life)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FLIGHTS; i++)
		count += life->flights[i].busy;
	return count;
}

static bool reap(struct life *life, unsigned min)
{
	struct image_request *done[FLIGHTS];
	unsigned n = image_reap(life->queue, min, done, FLIGHTS);
	bool good = true;

	for (unsigned i = 0; i < n; i++)
		good = complete(life, done[i]->owner) && good;
	return good;
}

static bool drain(struct life *life)
{
	return reap(life, busy(life));
}

/* ---- what is done between requests ---- */

static bool known_sealed(struct life *life)
{
	if (!life->sealed)
		return true;
	int r = image_read_at(life->image, life->sealed, life->disk,
			      life->sealed_size, 0);

	if (r < 0) {
		snprintf(life->words, sizeof(life->words),
			 "sealed layer %llu can't be read: %d",
			 (unsigned long long)life->sealed, r);
		return false;
	}
	for (size_t i = 0; i < life->sealed_size; i += 512) {
		if (memcmp(life->disk + i, life->sealed_data + i, 512) == 0)
			continue;
		snprintf(life->words, sizeof(life->words),
			 "sealed layer %llu: sector %zu is %d, was %d",
			 (unsigned long long)life->sealed, i / 512,
			 (int)model_mark_of(life->disk + i, i),
			 (int)model_mark_of(life->sealed_data + i, i));
		return false;
	}
	return true;
}

static bool read_all(struct life *life, uint8_t *to)
{
	int r = image_read(life->queue, to, life->size, 0);

	if (r < 0)
		return may_fail(life) ? false : wrong(life, "a read failed", r);
	return model_check_now(life->model, to, 0, life->size / 512);
}

/* A seal, waited for. True also when it could not be had for good reason. */
static bool seal(struct life *life)
{
	uint64_t layer;
	uint32_t order;
	int r;

	if (!drain(life))
		return false;
	/* What is sealed must be known to be compared. */
	life->sealed = 0;
	if (!read_all(life, life->sealed_data))
		return !life->words[0];
	life->sealed_size = life->size;
	order = life->model->order;
	r = image_seal(life->image, &layer, NULL);
	if (r < 0)
		return may_fail(life) || wrong(life, "seal", r);
	totals.seals++;
	for (unsigned i = (unsigned)pick(life, 4); i--;)
		submit(life, &life->flights[i]);
	if (pick(life, 2))
		return true;
	r = image_seal_wait(life->image, layer, NULL);
	if (r < 0)
		return may_fail(life) || wrong(life, "wait for a seal", r);
	model_durable(life->model, order, 0, MODEL_SECTORS_MAX);
	life->sealed = layer;
	return known_sealed(life);
}

/* Which of the bases the head names. */
static unsigned base_of(const struct image_base_info *info)
{
	return info->present ? info->root[0] : 0;
}

static struct image_base *open_base(const struct life *life, unsigned base)
{
	return base ? mem_base_new(life->bases[base].data,
				   life->bases[base].size)
		    : NULL;
}

static unsigned add_base(struct life *life, const uint8_t *data, size_t size)
{
	struct base_state *base = &life->bases[++life->base_count];

	base->data = malloc(size);
	if (!base->data)
		abort();
	memcpy(base->data, data, size);
	base->size = size;
	return life->base_count;
}

static void base_info(const struct life *life, unsigned base,
		      struct image_base_info *info)
{
	mem_base_info(info, life->bases[base].size);
	info->root[0] = (uint8_t)base;
}

static bool swap(struct life *life)
{
	struct image_base_info info;
	unsigned base;
	int r;

	if (!life->sealed || life->base_count + 1 >= BASES ||
	    life->base != life->other_base)
		return true;
	base = add_base(life, life->sealed_data, life->sealed_size);
	base_info(life, base, &info);
	life->other_base = life->base;
	life->base = base;
	r = image_swap_base(life->image, life->sealed, &info,
			    open_base(life, base), NULL);
	if (r < 0) {
		/* It counts, or not, when the image is opened again. */
		life->base = life->other_base;
		life->other_base = base;
		return may_fail(life) || wrong(life, "swap of the base", r);
	}
	totals.swaps++;
	life->sealed = 0;
	life->other_base = base;
	return true;
}

static bool compact(struct life *life)
{
	uint64_t freed;
	int r = image_compact(life->image, &freed, NULL);

	return r >= 0 || may_fail(life) || wrong(life, "compact", r);
}

static bool resize(struct life *life)
{
	uint64_t size =
		SIZE_MIN + pick(life, (SIZE_MAX_BYTES - SIZE_MIN) / 512) * 512;
	size_t first = size / 512;
	size_t count = size < life->size ? life->size / 512 - first : 0;
	int r;

	if (!drain(life))
		return false;
	if (!model_has_room(life->model, first, count) ||
	    life->other_size_count == ARRAY_SIZE(life->other_sizes))
		return true;
	life->other_sizes[life->other_size_count++] = size;
	model_put(life->model, first, count, 0, true);
	r = image_resize(life->image, size, NULL);
	if (r < 0)
		return may_fail(life) || wrong(life, "resize", r);
	for (size_t i = first; i < first + count; i++)
		life->model->sectors[i].unsure = false;
	model_durable(life->model, life->model->order, first, count);
	life->size = size;
	life->other_size_count = 0;
	return true;
}

static void arm_fault(struct life *life)
{
	uint64_t at = sim_count(life->sim).ops + 1 + pick(life, 20);

	life->faults = true;
	sim_fail_at(life->sim, at, pick(life, 2) ? -EIO : -ENOSPC, false);
}

static bool act(struct life *life)
{
	struct flight *flight = &life->flights[pick(life, FLIGHTS)];

	switch (pick(life, 60)) {
	case 0:
		return seal(life);
	case 1:
		return swap(life);
	case 2:
		return compact(life);
	case 3:
		return resize(life);
	case 4:
		if (!pick(life, 4))
			arm_fault(life);
		return true;
	case 5:
		return !drain(life)
			       ? false
			       : read_all(life, life->disk) || !life->words[0];
	default:
		if (!flight->busy) {
			submit(life, flight);
			return true;
		}
		return reap(life, (unsigned)pick(life, busy(life) + 1));
	}
}

/* ---- opening, and the power ---- */

static int try_open(struct life *life)
{
	struct image_options options = { .mode = IMAGE_READ_WRITE };
	struct image_base_info info;
	unsigned base;
	struct err err = { 0 };
	int r = image_read_base_info(life->io, HEAD, &info, &err);

	if (r < 0) {
		wrong(life, err.text, r);
		return r;
	}
	base = base_of(&info);
	if (base != life->base && base != life->other_base)
		return wrong(life, "another base", (int)base), -EINVAL;
	options.base = open_base(life, base);
	r = image_open(&life->image, life->io, HEAD, &options, &err);
	if (r < 0) {
		wrong(life, err.text, r);
		return r;
	}
	if (base != life->base)
		life->sealed = 0;
	life->base = life->other_base = base;
	life->queue = image_queue_new(life->image, 4, NULL);
	return 0;
}

static void abandon(struct life *life)
{
	if (!life->image)
		return;
	image_queue_free(life->queue);
	image_close(life->image, NULL);
	life->image = NULL;
}

/* Open it; now and then the power goes meanwhile. */
static bool open_image(struct life *life)
{
	for (;;) {
		int r;

		if (!pick(life, 3))
			sim_power_loss_at(life->sim, sim_count(life->sim).ops +
							     1 +
							     pick(life, 12));
		r = try_open(life);
		sim_power_loss_at(life->sim, 0);
		if (!r && !sim_is_off(life->sim))
			return true;
		abandon(life);
		if (!sim_is_off(life->sim))
			return false;
		life->words[0] = 0;
		totals.losses++;
		sim_reboot(life->sim);
	}
}

static bool judge(struct life *life)
{
	uint64_t size = image_size(life->image);
	bool known = size == life->size;
	int r;

	for (unsigned i = 0; i < life->other_size_count; i++)
		known |= size == life->other_sizes[i];
	if (!known)
		return wrong(life, "another size", (int)(size / 512));
	life->size = size;
	life->other_size_count = 0;
	r = image_read(life->queue, life->disk, size, 0);
	if (r < 0)
		return wrong(life, "can't be read after the loss", r);
	if (!model_settle(life->model, life->disk, 0, size / 512))
		return false;
	return known_sealed(life);
}

/* Writes under way may have happened, also those nobody waits for now. */
static bool lose_power(struct life *life)
{
	bool good;

	if (!sim_is_off(life->sim)) {
		uint64_t next = sim_count(life->sim).ops + 1;

		/* At once, with all that is under way. */
		sim_power_loss_at(life->sim, next);
		(void)life->io->ops->sync_dir(life->io, "/", NULL);
	}
	good = drain(life);
	abandon(life);
	sim_fail_at(life->sim, 0, 0, false);
	life->faults = false;
	sim_reboot(life->sim);
	totals.losses++;
	return good && open_image(life) && judge(life);
}

/* A clean end: nothing may be lost; unless a fault made it unclean. */
static bool close_and_open(struct life *life)
{
	int r;

	if (!drain(life))
		return false;
	image_queue_free(life->queue);
	r = image_close(life->image, NULL);
	life->image = NULL;
	if (r < 0 && !may_fail(life))
		return wrong(life, "close", r);
	if (!r && !sim_is_off(life->sim))
		model_durable(life->model, life->model->order, 0,
			      MODEL_SECTORS_MAX);
	sim_fail_at(life->sim, 0, 0, false);
	/* After a sync that failed, the cache shows what the disk lacks. */
	if (life->faults || pick(life, 2) || sim_is_off(life->sim))
		sim_power_loss(life->sim);
	life->faults = false;
	return open_image(life) && judge(life);
}

static bool live(struct life *life)
{
	unsigned rounds = 1 + (unsigned)pick(life, 3);

	for (unsigned i = 0; i < rounds; i++) {
		unsigned acts = 10 + (unsigned)pick(life, 120);

		if (pick(life, 4))
			sim_power_loss_at(life->sim, sim_count(life->sim).ops +
							     1 +
							     pick(life, 120));
		while (acts-- && !sim_is_off(life->sim)) {
			if (!act(life))
				return false;
		}
		if (!sim_is_off(life->sim) && !pick(life, 3)) {
			if (!close_and_open(life))
				return false;
		} else if (!lose_power(life)) {
			return false;
		}
	}
	return drain(life) && (read_all(life, life->disk) || !life->words[0]);
}

static bool begin(struct life *life)
{
	struct image_base_info info;
	uint32_t marks[BASE_SIZE / 512];
	bool based = pick(life, 3);
	struct err err;
	int r;

	/* The ring's end is never far. */
	image_journal_position =
		JOURNAL_LENGTH_MIN - 512 * (1 + pick(life, 12));
	life->size = SIZE_MIN + pick(life, 20) * 65536 / 2;
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		marks[i] = 1;
	pattern_fill(life->disk, BASE_SIZE, 0, 1);
	life->next_mark = 2;
	if (based) {
		life->base = add_base(life, life->disk, BASE_SIZE);
		base_info(life, life->base, &info);
	}
	life->other_base = life->base;
	model_init(life->model, marks, based ? ARRAY_SIZE(marks) : 0);
	r = image_create(life->io, HEAD, life->size, based ? &info : NULL,
			 &err);
	if (r < 0)
		return wrong(life, err.text, r);
	return open_image(life);
}

static bool run(struct life *life, uint64_t seed)
{
	struct model *model = life->model;
	uint8_t *sealed = life->sealed_data;
	bool good;

	memset(life, 0, offsetof(struct life, flights));
	for (unsigned i = 0; i < FLIGHTS; i++)
		life->flights[i].busy = false;
	life->words[0] = 0;
	life->model = model;
	life->sealed_data = sealed;
	model->words = life->words;
	life->random = seed * 0x9e3779b97f4a7c15ULL;
	fixed_random_seed(seed);
	life->sim = sim_new(seed);
	life->io = sim_io(life->sim);
	good = begin(life) && live(life);
	if (!good && !life->words[0])
		wrong(life, "stopped without a reason", 0);
	sim_power_loss_at(life->sim, 0);
	abandon(life);
	sim_free(life->sim);
	for (unsigned i = 0; i < BASES; i++)
		free(life->bases[i].data);
	totals.lives++;
	return good;
}

static int sabotage(struct life *life, unsigned kind, const char *what)
{
	unsigned caught = 0;

	image_sabotage = kind;
	for (uint64_t seed = 1; seed <= SABOTAGE_LIVES && caught < 3; seed++)
		caught += !run(life, seed);
	image_sabotage = 0;
	if (!caught)
		printf("sabotage is not caught: %s\n", what);
	return caught ? 0 : -1;
}

static int all_sabotage(struct life *life)
{
	return sabotage(life, SABOTAGE_NO_DATA_SYNC, "a skipped flush") |
	       sabotage(life, SABOTAGE_RECORD_FIRST,
			"a journal record before its data") |
	       sabotage(life, SABOTAGE_BIT_EARLY, "a mask set too early") |
	       sabotage(life, SABOTAGE_STALE_PAGE, "a stale map page") |
	       sabotage(life, SABOTAGE_SEAL_LEAK,
			"a seal that leaks a later write") |
	       sabotage(life, SABOTAGE_NO_CHECK,
			"a record taken without its data") |
	       sabotage(life, SABOTAGE_NO_CONFIRM,
			"an overwrite of what a record answers for") |
	       sabotage(life, SABOTAGE_CHECK_BUSY,
			"a check of what is being written");
}

static int run_all(struct life *life, uint64_t first, uint64_t last)
{
	for (uint64_t seed = first; seed <= last; seed++) {
		if (run(life, seed))
			continue;
		printf("seed %llu: %s\nreplay: crash_image --seed %llu\n",
		       (unsigned long long)seed, life->words,
		       (unsigned long long)seed);
		return 1;
	}
	printf("%llu lives: %llu losses of power, %llu flushes, %llu seals, %llu swaps; all right\n",
	       (unsigned long long)totals.lives,
	       (unsigned long long)totals.losses,
	       (unsigned long long)totals.flushes,
	       (unsigned long long)totals.seals,
	       (unsigned long long)totals.swaps);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seeds", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t seeds = 400, first = 1;
	struct life *life = calloc(1, sizeof(*life));
	bool one = false;
	int c, r = 0;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return 2;
		*(c == 'n' ? &seeds : &first) = strtoull(optarg, NULL, 10);
		one = one || c == 's';
	}
	if (!life)
		return 1;
	life->model = calloc(1, sizeof(*life->model));
	life->sealed_data = malloc(SIZE_MAX_BYTES);
	if (!life->model || !life->sealed_data)
		return 1;
	image_journal_length = JOURNAL_LENGTH_MIN;
	if (!one)
		r = all_sabotage(life);
	totals = (struct totals){ 0 };
	if (!r)
		r = run_all(life, first, one ? first : seeds * 5 / 2);
	free(life->sealed_data);
	free(life->model);
	free(life);
	return r ? 1 : 0;
}
