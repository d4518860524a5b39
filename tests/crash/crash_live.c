/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images absorbed into a store, both on one disk that loses power. crash_live
 * [--seeds N] [--seed S]: N / 5 lives (each has many losses), or that one.
 *
 * In a life an image is written, flushed and sealed, absorbed with and without
 * a snapshot, and written on in the middle of that; the power goes, or the
 * disk fails or is full, at any operation of it. After each loss the image
 * holds what the contract allows, its base is held by a pin on its root, every
 * pin is one that its head or its note names, and each snapshot that was
 * acknowledged reads as the image was at its seal. After an absorb that went
 * through there is one pin and no note. First come lives with a sabotage each,
 * which must be caught.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/image/image_sabotage.h"
#include "tests/rig/fixed_random.h"
#include "tests/rig/image_model.h"
#include "tests/rig/image_rig.h"
#include "vmsnap/live.h"

#define STORE          "/store"
#define IMAGE          "/x.vsi"
#define SIZE           (12u * 65536u + 4096u)
#define SECTORS        (SIZE / 512u)
#define SAVED_MAX      24u
#define SEEDS_A_LIFE   5u
#define SABOTAGE_LIVES 3000u

/* A snapshot that was tried: what the image was at its seal. */
struct saved {
	uint8_t *data;
	bool acknowledged, seen;
};

enum strike {
	STRIKE_POWER,
	STRIKE_EIO,
	STRIKE_EIO_ON, /* and all after it */
};

struct life {
	struct sim *sim;
	struct vs_io *io;
	struct vms *vms;
	struct vms_live *live;
	struct image_queue *queue;
	struct model *model;
	uint64_t random;
	uint32_t next_mark;
	enum strike strike; /* what is to come, once there is a note: */
	bool at_note;
	bool tainted; /* something failed since it was opened */
	struct saved saved[SAVED_MAX];
	unsigned saved_count;
	uint32_t sealed_order;
	uint8_t disk[SIZE];
	char words[1024];
};

struct totals {
	uint64_t lives, losses, absorbs, snapshots, faults;
};
static struct totals totals;

static uint64_t pick(struct life *life, uint64_t below)
{
	return sim_random(&life->random, below);
}

static bool __attribute__((format(printf, 2, 3)))
wrong(struct life *life, const char *format, ...)
{
	va_list args;

	if (life->words[0])
		return false;
	va_start(args, format);
	vsnprintf(life->words, sizeof(life->words), format, args);
	va_end(args);
	return false;
}

static bool may_fail(const struct life *life)
{
	return life->tainted || sim_is_off(life->sim);
}

/* ---- open and close ---- */

static bool open_store(struct life *life)
{
	struct vms_options options = { .location = STORE,
				       .store.mode = STORE_WRITE,
				       .workers = 1 };
	struct backend *backend = NULL;
	struct err err = { 0 };
	int r = backend_open_dir(&backend, life->io, STORE, &err);

	if (!r)
		r = vms_open_backend(&life->vms, life->io, backend, &options,
				     &err);
	return !r || wrong(life, "the store doesn't open: %s", err.text);
}

static bool open_live(struct life *life)
{
	struct vms_live_options options = { .io = life->io,
					    .path = IMAGE,
					    .mode = IMAGE_READ_WRITE,
					    .vms = life->vms,
					    .cache_bytes = 1u << 20 };
	struct err err = { 0 };
	int r = vms_live_open(&life->live, &options, &err);

	if (r)
		return wrong(life, "the image doesn't open: %s", err.text);
	life->queue = image_queue_new(vms_live_image(life->live), 4, &err);
	life->tainted = false;
	return true;
}

static void abandon(struct life *life)
{
	image_queue_free(life->queue);
	(void)vms_live_close(life->live, NULL);
	vms_close(life->vms);
	life->queue = NULL;
	life->live = NULL;
	life->vms = NULL;
}

/* ---- what must be so ---- */

static int count_one(void *arg, const char *id_hex, struct err *err)
{
	unsigned *count = arg;

	(void)id_hex;
	(void)err;
	++*count;
	return 0;
}

static unsigned count_pins(struct life *life)
{
	struct err err = { 0 };
	unsigned count = 0;

	if (store_each_pin(vms_store(life->vms), count_one, &count, &err))
		wrong(life, "the pins can't be listed: %s", err.text);
	return count;
}

/* Is there a pin of this id, on this root? */
static bool is_pinned(struct life *life, const struct image_base_info *info)
{
	struct store_thread *thread = vms_thread_take(life->vms, NULL);
	char hex[SMALL_ID_HEX_SIZE];
	struct pin pin = { 0 };
	bool yes;

	hex_encode(hex, info->pin, SMALL_ID_SIZE);
	yes = store_load_pin(thread, hex, &pin, NULL) == 0 &&
	      pin.volume_count == 1 &&
	      !memcmp(pin.volumes[0].root.b, info->root, ID_SIZE);
	pin_release(&pin);
	vms_thread_give(life->vms, thread);
	return yes;
}

/* The base is held; and no pin is there that nobody knows of. */
static bool audit_pins(struct life *life)
{
	unsigned known = 0, count = count_pins(life);
	struct image_base_info head;
	struct image_swap_note note;

	if (image_read_base_info(life->io, IMAGE, &head, NULL))
		return wrong(life, "the head can't be read");
	if (head.present && !is_pinned(life, &head))
		return wrong(life, "the base has no pin");
	known += head.present;
	if (!image_read_swap_note(life->io, IMAGE, &note, NULL)) {
		if (note.from.present &&
		    memcmp(note.from.pin, head.pin, SMALL_ID_SIZE) != 0)
			known += is_pinned(life, &note.from);
		if (memcmp(note.to.pin, head.pin, SMALL_ID_SIZE) != 0)
			known += is_pinned(life, &note.to);
	}
	return count == known ||
	       wrong(life, "%u pins, of which %u are known", count, known);
}

static bool same_content(struct life *life, const struct volume *volume,
			 const uint8_t *data)
{
	struct vms_reader *reader;
	struct vms_cache *cache;
	struct err err = { 0 };
	int r = vms_cache_new(&cache, 1u << 20, &err);

	if (!r)
		r = vms_reader_open(&reader, life->vms, cache, volume, &err);
	if (!r) {
		r = vms_reader_read(reader, life->disk, SIZE, 0, &err);
		vms_reader_close(reader);
	}
	vms_cache_free(cache);
	if (r)
		return wrong(life, "a snapshot can't be read: %s", err.text);
	return !memcmp(life->disk, data, SIZE) ||
	       wrong(life, "a snapshot is not the image at its seal");
}

static bool audit_one(struct life *life, const struct snapshot *snapshot)
{
	unsigned n = (unsigned)atoi(snapshot->label + 1);
	struct saved *saved = &life->saved[n];

	if (n >= life->saved_count || !saved->data)
		return wrong(life, "a snapshot '%s' that nobody made",
			     snapshot->label);
	saved->seen = true;
	return same_content(life, &snapshot->volumes[0], saved->data);
}

static bool audit_snapshots(struct life *life)
{
	struct vms_snapshot_list list = { 0 };
	struct err err = { 0 };
	bool good = true;

	if (vms_list(life->vms, "vm", &list, &err))
		return wrong(life, "the list fails: %s", err.text);
	for (size_t i = 0; i < list.count && good; i++)
		good = audit_one(life, &list.snapshots[i]);
	if (list.damaged_count)
		good = wrong(life, "%s is damaged", list.damaged[0].object);
	vms_snapshot_list_release(&list);
	for (unsigned i = 0; i < life->saved_count && good; i++) {
		if (life->saved[i].acknowledged && !life->saved[i].seen)
			good = wrong(life, "snapshot %u is gone", i);
		life->saved[i].acknowledged = life->saved[i].seen;
		life->saved[i].seen = false;
	}
	return good;
}

static bool audit_image(struct life *life)
{
	int r = image_read(life->queue, life->disk, SIZE, 0);

	if (r)
		return wrong(life, "can't be read after the loss: %d", r);
	return model_settle(life->model, life->disk, 0, SECTORS);
}

static bool audit_store(struct life *life)
{
	struct vms_check check = { .read_data = true, .share = 1 };
	struct vms_check_result result = { 0 };
	struct err err = { 0 };
	int r = vms_check(life->vms, &check, &result, &err);
	bool good = !r && !result.error_count;

	if (!good)
		wrong(life, "check: %s", r ? err.text : result.errors[0].what);
	vms_check_result_release(&result);
	return good;
}

/* The power goes, now if it has not yet; what is there then is right. */
static bool lose_power(struct life *life)
{
	abandon(life);
	life->at_note = false;
	sim_fail_at(life->sim, 0, 0, false);
	sim_set_capacity(life->sim, 0);
	sim_power_loss_at(life->sim, 0);
	if (sim_is_off(life->sim))
		sim_reboot(life->sim);
	else
		sim_power_loss(life->sim);
	totals.losses++;
	return open_store(life) && audit_pins(life) && open_live(life) &&
	       audit_image(life) && audit_pins(life) && audit_snapshots(life);
}

/* ---- what is done ---- */

static bool change(struct life *life)
{
	static const unsigned most[] = { 1, 2, 8, 40 };
	uint64_t length = (1 + pick(life, most[pick(life, 4)])) * 512;
	uint64_t offset = pick(life, (SIZE - length) / 512 + 1) * 512;
	size_t first = offset / 512, count = length / 512;
	uint32_t mark = life->next_mark++;
	int r;

	if (!model_has_room(life->model, first, count))
		return true;
	if (pick(life, 4)) {
		pattern_fill(life->disk, length, offset, mark);
		r = image_write(life->queue, life->disk, length, offset);
	} else {
		struct image_request zero = { .op = IMAGE_ZERO,
					      .offset = offset,
					      .length = length };
		struct image_request *done;

		mark = 0;
		image_submit(life->queue, &zero);
		image_reap(life->queue, 1, &done, 1);
		r = zero.result;
	}
	model_put(life->model, first, count, mark, r < 0);
	return r >= 0 || may_fail(life) || wrong(life, "a write fails: %d", r);
}

static bool flush(struct life *life)
{
	uint32_t order = life->model->order;
	int r = image_flush(life->queue);

	if (!r)
		model_durable(life->model, order, 0, SECTORS);
	return !r || may_fail(life) || wrong(life, "a flush fails: %d", r);
}

static bool read_all(struct life *life, uint8_t *to)
{
	int r = image_read(life->queue, to, SIZE, 0);

	if (r)
		return may_fail(life) || wrong(life, "a read fails: %d", r);
	return model_check_now(life->model, to, 0, SECTORS);
}

static bool seal(struct life *life)
{
	struct image *image = vms_live_image(life->live);
	uint32_t order = life->model->order;
	struct err err = { 0 };
	uint64_t layer;
	int r = image_seal(image, &layer, &err);

	if (!r && pick(life, 2)) {
		r = image_seal_wait(image, layer, &err);
		if (!r)
			model_durable(life->model, order, 0, SECTORS);
	}
	return !r || may_fail(life) ||
	       wrong(life, "a seal fails: %s", err.text);
}

/* The image goes on while it is absorbed. */
static void write_on(void *arg, uint64_t layer)
{
	struct life *life = arg;

	(void)layer;
	for (unsigned i = (unsigned)pick(life, 8); i-- && change(life);)
		continue;
	if (!pick(life, 3))
		flush(life);
}

static void strike_at(struct life *life, uint64_t op)
{
	if (life->strike == STRIKE_POWER) {
		sim_power_loss_at(life->sim, op);
		return;
	}
	life->tainted = true;
	totals.faults++;
	sim_fail_at(life->sim, op, -EIO, life->strike == STRIKE_EIO_ON);
}

/* Somewhere in an absorb; often where it matters most, from the note on. */
static void arm(struct life *life)
{
	uint64_t now = sim_count(life->sim).ops;
	unsigned kind = (unsigned)pick(life, 8);

	life->strike = kind < 5   ? STRIKE_POWER
		       : kind < 6 ? STRIKE_EIO
				  : STRIKE_EIO_ON;
	life->at_note = pick(life, 3);
	if (kind == 7) {
		life->at_note = false;
		life->tainted = true;
		totals.faults++;
		sim_set_capacity(life->sim, sim_count(life->sim).used_bytes +
						    pick(life, 300 << 10));
	} else if (!life->at_note) {
		strike_at(life, now + 1 + pick(life, 120));
	}
}

/* The only rename there is gives the note its name. */
static struct life *renaming;
static const struct vs_io_ops *sim_ops;
static int rename_and_strike(struct vs_io *io, const char *from, const char *to,
			     struct err *err)
{
	int r = sim_ops->rename(io, from, to, err);

	if (renaming->at_note) {
		renaming->at_note = false;
		strike_at(renaming, sim_count(renaming->sim).ops + 1 +
					    pick(renaming, 24));
	}
	return r;
}

/* It went through: one pin, no note. */
static bool absorbed(struct life *life)
{
	struct image_swap_note note;

	totals.absorbs++;
	model_durable(life->model, life->sealed_order, 0, SECTORS);
	if (may_fail(life))
		return true;
	if (image_read_swap_note(life->io, IMAGE, &note, NULL) != -ENOENT)
		return wrong(life, "a note is left");
	if (count_pins(life) != 1)
		return wrong(life, "%u pins after an absorb", count_pins(life));
	return audit_pins(life);
}

static bool absorb(struct life *life)
{
	bool named = life->saved_count < SAVED_MAX && pick(life, 2);
	struct vms_absorb how = { .name = named ? "vm" : NULL };
	struct saved *saved = NULL;
	struct err err = { 0 };
	char label[16];
	int r;

	if (named) {
		snprintf(label, sizeof(label), "n%u", life->saved_count);
		how.label = label;
		saved = &life->saved[life->saved_count++];
		saved->data = malloc(SIZE);
		if (!saved->data)
			abort();
		if (!read_all(life, saved->data))
			return false;
	}
	life->sealed_order = life->model->order;
	r = vms_live_absorb(life->live, &how, write_on, life, NULL, &err);
	if (life->words[0])
		return false;
	if (r && !may_fail(life))
		return wrong(life, "an absorb fails: %s", err.text);
	if (r)
		return true;
	if (named) {
		totals.snapshots++;
		saved->acknowledged = true;
	}
	return absorbed(life);
}

static bool close_and_open(struct life *life)
{
	struct err err = { 0 };
	int r;

	image_queue_free(life->queue);
	life->queue = NULL;
	r = vms_live_close(life->live, &err);
	life->live = NULL;
	if (r && !may_fail(life))
		return wrong(life, "close: %s", err.text);
	if (!r)
		model_durable(life->model, life->model->order, 0, SECTORS);
	/* After a sync that failed the cache shows what the disk lacks. */
	if (may_fail(life) || pick(life, 2))
		return lose_power(life);
	sim_power_loss_at(life->sim, 0);
	vms_close(life->vms);
	life->vms = NULL;
	return open_store(life) && open_live(life) && audit_pins(life);
}

static bool act(struct life *life)
{
	switch (pick(life, 12)) {
	case 0:
		return seal(life);
	case 1:
		return flush(life);
	case 2:
		return read_all(life, life->disk);
	case 3:
		arm(life);
		return absorb(life);
	case 4:
		return absorb(life);
	default:
		return change(life);
	}
}

static bool live(struct life *life)
{
	for (unsigned rounds = 2 + (unsigned)pick(life, 5); rounds--;) {
		unsigned acts = 5 + (unsigned)pick(life, 30);

		while (acts-- && !sim_is_off(life->sim)) {
			if (!act(life))
				return false;
		}
		if (sim_is_off(life->sim) || pick(life, 2)
			    ? !lose_power(life)
			    : !close_and_open(life))
			return false;
	}
	/* Whatever was left behind, the next one puts it right. */
	return absorb(life) && lose_power(life) && audit_store(life);
}

static bool begin(struct life *life)
{
	struct store_create_options options = { .plaintext = true,
						.chunk_log2 = 14,
						.pack_size_bytes = MIB };
	struct vms_live_create create = { .io = life->io,
					  .path = IMAGE,
					  .size_bytes = SIZE };
	struct backend *backend = NULL;
	struct err err = { 0 };
	int r = backend_open_dir(&backend, life->io, STORE, &err);

	if (!r)
		r = store_create(backend, &options, &err);
	backend_close(backend);
	if (!r)
		r = vms_live_create(NULL, &create, &err);
	if (r)
		return wrong(life, "it can't begin: %s", err.text);
	model_init(life->model, NULL, 0);
	life->next_mark = 1;
	return open_store(life) && open_live(life);
}

static bool run(struct life *life, uint64_t seed)
{
	struct model *model = life->model;
	struct vs_io_ops ops;
	bool good;

	memset(life, 0, sizeof(*life));
	life->model = model;
	model->words = life->words;
	life->random = seed * 0x9e3779b97f4a7c15ULL;
	fixed_random_seed(seed);
	life->sim = sim_new(seed);
	life->io = sim_io(life->sim);
	sim_ops = life->io->ops;
	ops = *sim_ops;
	ops.rename = rename_and_strike;
	life->io->ops = &ops;
	renaming = life;
	good = begin(life) && live(life);
	if (!good)
		wrong(life, "stopped without a reason");
	sim_power_loss_at(life->sim, 0);
	abandon(life);
	life->io->ops = sim_ops;
	sim_free(life->sim);
	for (unsigned i = 0; i < SAVED_MAX; i++)
		free(life->saved[i].data);
	totals.lives++;
	return good;
}

static int sabotage(struct life *life, unsigned kind, unsigned image_kind,
		    const char *what)
{
	unsigned caught = 0;
	uint64_t seed;

	live_sabotage = kind;
	image_sabotage = image_kind;
	for (seed = 1; seed <= SABOTAGE_LIVES && !caught; seed++)
		caught += !run(life, seed);
	live_sabotage = image_sabotage = 0;
	fflush(stdout);
	if (caught)
		printf("%s: caught in life %llu: %s\n", what,
		       (unsigned long long)seed - 1, life->words);
	else
		printf("sabotage is not caught: %s\n", what);
	return caught ? 0 : -1;
}

static int all_sabotage(struct life *life)
{
	return sabotage(life, LIVE_SABOTAGE_OLD_PIN_FIRST, 0,
			"the old pin gone before the swap") |
	       sabotage(life, LIVE_SABOTAGE_NO_NOTE, 0, "no note") |
	       sabotage(life, LIVE_SABOTAGE_TIDY_FIRST, SABOTAGE_HEAD_UNSURE,
			"a pin dropped by a head that is not durable") |
	       sabotage(life, 0, SABOTAGE_LAYERS_FIRST,
			"layers gone before the head is durable");
}

static int run_all(struct life *life, uint64_t first, uint64_t last)
{
	memset(&totals, 0, sizeof(totals));
	for (uint64_t seed = first; seed <= last; seed++) {
		if (run(life, seed))
			continue;
		printf("seed %llu: %s\nreplay: crash_live --seed %llu\n",
		       (unsigned long long)seed, life->words,
		       (unsigned long long)seed);
		return 1;
	}
	printf("%llu lives: %llu losses of power, %llu other faults, %llu absorbs, %llu snapshots; all right\n",
	       (unsigned long long)totals.lives,
	       (unsigned long long)totals.losses,
	       (unsigned long long)totals.faults,
	       (unsigned long long)totals.absorbs,
	       (unsigned long long)totals.snapshots);
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
	if (!life->model)
		return 1;
	if (!one)
		r = all_sabotage(life);
	if (!r)
		r = run_all(life, first,
			    one ? first : div_up(seeds, SEEDS_A_LIFE));
	free(life->model);
	free(life);
	return r ? 1 : 0;
}
