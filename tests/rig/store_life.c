/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A life: sessions that back up, pin, add and remove keys, sometimes two
 * writers at once, with a fault in most of them; after each the power goes or
 * not, and all is looked at. The last session must go well, whatever was
 * before. A sabotage begins after some honest sessions.
 */
#include "tests/rig/store_life.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "format/store/pack.h"
#include "format/store/tree.h"
#include "tests/rig/fixed_random.h"
#include "tests/rig/seal_watch.h"
#include "tests/sim/sim.h"

static bool talks;

static const char *const words[CHECK_COUNT] = {
	[CHECK_NONE] = "nothing",
	[CHECK_REASON] = "what fails has a reason",
	[CHECK_OPENS] = "the store opens, undamaged",
	[CHECK_THERE] = "an acknowledged snapshot is there",
	[CHECK_READS] = "an acknowledged snapshot reads back",
	[CHECK_WHOLE] = "a snapshot that is seen is whole",
	[CHECK_PINS] = "pins are as acknowledged",
	[CHECK_KEYS] = "keys are as acknowledged",
	[CHECK_PACKS] = "packs have their directories",
	[CHECK_NONCES] = "a nonce seals one thing",
};

const char *check_words(enum check check)
{
	return words[check];
}

uint64_t life_choose(struct world *w, uint64_t below)
{
	return sim_random(&w->choices, below);
}

void life_violate(struct world *w, enum check check, const char *format, ...)
{
	va_list args;

	if (w->check)
		return;
	w->check = check;
	va_start(args, format);
	vsnprintf(w->what, sizeof(w->what), format, args);
	va_end(args);
}

void life_note(const char *format, ...)
{
	va_list args;

	if (!talks)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
}

/* ---- faults ---- */

static void arm(struct world *w)
{
	static const int codes[] = { -EIO, -ENOSPC };
	/* What is seen there and not durable may be relied on. */
	static const char *const names[] = { "packs/", "tables",    "tables",
					     "keys",   "snapshots", "pins" };
	char where[64];
	uint64_t at = sim_count(w->sim).ops + 1 + life_choose(w, 40);

	sim_set_short_io(w->sim, life_choose(w, 2) ? 3 : 0);
	switch (life_choose(w, 9)) {
	case 0:
	case 1:
	case 2:
		sim_power_loss_at(w->sim, at);
		w->fault_at = at;
		break;
	case 3:
	case 4:
		sim_fail_at(w->sim, at, codes[life_choose(w, 2)],
			    life_choose(w, 2));
		w->fault_at = at;
		break;
	case 5:
		sim_set_capacity(w->sim, sim_count(w->sim).used_bytes +
						 life_choose(w, 128 * KIB));
		w->disk_full = true;
		break;
	case 6:
		snprintf(where, sizeof(where), STORE_LIFE_PATH "/%s",
			 names[life_choose(w, ARRAY_SIZE(names))]);
		sim_fail_names(w->sim, where);
		life_note("  names in %s stay in doubt\n", where);
		break;
	default:
		break;
	}
	life_note("  fault at operation %llu%s\n",
		  (unsigned long long)w->fault_at,
		  w->disk_full ? ", disk full" : "");
}

static bool fault_fired(const struct world *w)
{
	return w->disk_full || sim_names_failed(w->sim) ||
	       (w->fault_at && sim_count(w->sim).ops >= w->fault_at);
}

/* The disk as new; with `power_loss` what was not durable may be gone. */
static void disarm(struct world *w, bool power_loss)
{
	sim_fail_at(w->sim, 0, -EIO, false);
	sim_fail_names(w->sim, NULL);
	sim_power_loss_at(w->sim, 0);
	sim_set_capacity(w->sim, 0);
	sim_set_short_io(w->sim, 0);
	w->fault_at = 0;
	w->disk_full = false;
	if (sim_is_off(w->sim))
		sim_reboot(w->sim);
	else if (power_loss)
		sim_power_loss(w->sim);
}

void life_step(struct world *w, int r, const char *doing, const struct err *err)
{
	if (r >= 0)
		return;
	life_note("  %s: %s\n", doing, err->text);
	if (!fault_fired(w))
		life_violate(w, CHECK_REASON, "%s failed without a fault: %s",
			     doing, err->text);
}

/* ---- sabotage ---- */

static enum sabotage sabotage_now(const struct world *w)
{
	return w->session >= w->sabotage_from ? w->sabotage : SABOTAGE_NONE;
}

static bool is_on_disk(struct world *w, const uint8_t salt[32])
{
	char path[256] = STORE_LIFE_PATH "/";
	struct io_stat st;
	struct id id;

	memcpy(id.b, salt, sizeof(id.b));
	pack_name(path + strlen(path), &id);
	return sim_io(w->sim)->ops->stat(sim_io(w->sim), path, &st, NULL) == 0;
}

static void salt_drawn(struct salt *salt, bool repeat, uint8_t bytes[32])
{
	if (repeat && salt->lost) {
		memcpy(bytes, salt->before, 32);
		salt->lost = false;
	}
	memcpy(salt->now, bytes, 32);
	salt->drawn = true;
}

/* A small object draws its id (16 bytes), then its salt; a run's first 32 bytes
 * are the id of its first pack. */
static void drawn(void *arg, void *bytes, size_t size)
{
	struct world *w = arg;
	enum sabotage now = sabotage_now(w);

	if (size == 32 && w->in_commit && w->drawn_before == 16)
		salt_drawn(&w->small, now == SABOTAGE_NONCE_SNAPSHOT, bytes);
	else if (size == 32 && w->in_pack && !w->pack.drawn)
		salt_drawn(&w->pack,
			   now == SABOTAGE_NONCE_PACK &&
				   !is_on_disk(w, w->pack.before),
			   bytes);
	w->drawn_before = size;
}

static void salt_session_ends(struct salt *salt, bool failed)
{
	if (failed && salt->drawn) {
		salt->lost = true;
		memcpy(salt->before, salt->now, sizeof(salt->before));
	}
	salt->drawn = false;
}

/* ---- contents ---- */

size_t life_content(uint32_t number, uint8_t content[CONTENT_MAX])
{
	size_t size = 32 + number % (CONTENT_MAX - 32);
	uint64_t state = number;

	for (size_t n = 0; n < size; n++)
		content[n] = number % 3 ? (uint8_t)sim_random(&state, 256)
					: (uint8_t)number;
	memcpy(content, &number, sizeof(number));
	return size;
}

/* A volume like an earlier one, with some changes. Like a failed one most of
 * all: then what that one left behind (packs to adopt, names that are not
 * durable) is relied on. */
static void attempt_fill(struct world *w, struct attempt *attempt)
{
	static const unsigned counts[] = { 1, 7, 40, 257, VOLUME_CHUNKS };
	const struct attempt *from = NULL;
	unsigned changes;

	if (w->attempt_count > 1)
		from = &w->attempts[life_choose(w, 2)
					    ? w->attempt_count - 2
					    : life_choose(w, w->attempt_count -
								     1)];
	attempt->count = counts[life_choose(w, life_choose(w, 4) ? 3 : 5)];
	for (unsigned n = 0; n < attempt->count; n++)
		attempt->chunks[n] =
			from && n < from->count ? from->chunks[n] : 0;
	changes = life_choose(w, 3) || !from
			  ? 1 + (unsigned)life_choose(
					w, min_u64(attempt->count, 24))
			  : 0;
	while (changes--)
		attempt->chunks[life_choose(w, attempt->count)] =
			life_choose(w, 4) ? 1 + (uint32_t)life_choose(w, 500)
					  : 0;
}

/* ---- a writer ---- */

static struct backend *open_backend(struct world *w)
{
	struct backend *backend;
	struct err err;

	if (backend_open_dir(&backend, sim_io(w->sim), STORE_LIFE_PATH, &err) <
	    0)
		abort();
	return sabotage_backend(sabotage_now(w), backend);
}

static void passphrase_of(unsigned key, char out[16])
{
	snprintf(out, 16, "key %u", key);
}

static int give_passphrase(void *arg, char **out, size_t *size, struct err *err)
{
	const struct world *w = arg;
	char text[16];

	passphrase_of(w->trying, text);
	*out = strdup(text);
	if (!*out)
		return err_set(err, -ENOMEM, "out of memory");
	*size = strlen(text);
	return 0;
}

static int try_open(struct world *w, struct writer *writer,
		    enum store_mode mode)
{
	const struct store_options options = {
		.mode = mode,
		.tolerant = mode == STORE_READ,
		.index_memory = 256 * KIB,
		.passphrase = give_passphrase,
		.passphrase_arg = w,
	};
	int r = store_open(&writer->store, open_backend(w), &options,
			   &writer->err);

	if (r < 0)
		writer->store = NULL;
	return r;
}

/* With a key that must be there, or else with one that may be. */
int life_open_writer(struct world *w, struct writer *writer,
		     enum store_mode mode)
{
	unsigned from =
		w->encrypted ? (unsigned)life_choose(w, w->key_count) : 0;
	int r = -EKEYREJECTED;

	memset(writer, 0, sizeof(*writer));
	for (int known = THERE; known >= MAYBE && r == -EKEYREJECTED; known--) {
		for (unsigned n = 0; n < w->key_count; n++) {
			w->trying = (from + n) % w->key_count;
			if ((int)w->keys[w->trying].known != known)
				continue;
			r = try_open(w, writer, mode);
			if (r != -EKEYREJECTED)
				break;
			/* One that is there must open it at once. */
			if (known == THERE)
				return r;
		}
	}
	if (r < 0)
		return r;
	writer->thread = store_thread_new(writer->store, &writer->err);
	return writer->thread ? 0 : -ENOMEM;
}

void life_close_writer(struct writer *writer)
{
	store_thread_free(writer->thread);
	store_close(writer->store);
	writer->thread = NULL;
	writer->store = NULL;
}

static int put_chunks(struct world *w, struct writer *writer,
		      struct tree_builder *tree)
{
	const struct attempt *attempt = writer->attempt;
	uint8_t content[CONTENT_MAX];
	struct put_result result;
	int r = 0;

	for (unsigned n = 0; n < attempt->count && r == 0; n++) {
		struct id id;

		if (attempt->chunks[n] == 0) {
			r = tree_builder_append_holes(tree, writer->thread, 1,
						      &writer->err);
			continue;
		}
		r = store_put(writer->thread, CHUNK_DATA, content,
			      life_content(attempt->chunks[n], content), &id,
			      &result, &writer->err);
		if (r == 0)
			r = tree_builder_append(tree, writer->thread, &id, 1,
						&writer->err);
		if (r == 0 && life_choose(w, 40) == 0)
			r = store_thread_flush(writer->thread, &writer->err);
	}
	return r;
}

static int writer_backup(struct world *w, struct writer *writer)
{
	struct tree_builder *tree;
	struct tree_totals totals;
	int r;

	writer->attempt = &w->attempts[w->attempt_count++];
	writer->attempt->name = life_choose(w, 2) ? "vm" : "db";
	attempt_fill(w, writer->attempt);
	r = tree_builder_new(&tree, writer->attempt->count, &writer->err);
	if (r < 0)
		return r;
	r = put_chunks(w, writer, tree);
	if (r == 0)
		r = tree_builder_finish(tree, writer->thread, &writer->root,
					&totals, &writer->err);
	tree_builder_free(tree);
	return r;
}

static int snapshot_of(const struct world *w, const struct writer *writer,
		       struct snapshot *snapshot, struct err *err)
{
	struct volume *volume = snapshot_add_volume(snapshot, err);

	if (!volume)
		return -ENOMEM;
	snapshot->time_ns = writer->attempt - w->attempts + 1;
	snprintf(snapshot->name, sizeof(snapshot->name), "%s",
		 writer->attempt->name);
	strcpy(volume->name, "disk0");
	volume->chunk_log2 = 14;
	volume->size_bytes = (uint64_t)writer->attempt->count << 14;
	volume->root = writer->root;
	return 0;
}

static int writer_commit(struct world *w, struct writer *writer)
{
	struct attempt *attempt = writer->attempt;
	struct snapshot snapshot = { 0 };
	int r = snapshot_of(w, writer, &snapshot, &writer->err);

	if (r == 0)
		r = store_thread_flush(writer->thread, &writer->err);
	if (r == 0) {
		attempt->called = true;
		r = store_commit(writer->store, writer->thread, &snapshot,
				 &writer->err);
	}
	if (r == 0) {
		attempt->acknowledged = true;
		attempt->id = snapshot.id;
	}
	life_note("  backup %u of '%s', %u chunks: %d\n",
		  (unsigned)(attempt - w->attempts), attempt->name,
		  attempt->count, r);
	snapshot_release(&snapshot);
	return r;
}

/* A pin stands on a root with a snapshot or without. */
static int finish(struct world *w, struct writer *writer)
{
	struct tried_pin *pin = NULL;
	int r;

	if (life_choose(w, 4) == 0)
		pin = life_pin(w, writer);
	if (pin && life_choose(w, 2))
		r = store_settle(writer->store, writer->thread, &writer->err);
	else
		r = writer_commit(w, writer);
	if (pin && r == 0)
		pin->settled = true;
	return r;
}

/* ---- lives ---- */

static void second_backup(struct world *w, struct writer *writer)
{
	int r = writer_backup(w, writer);

	if (r == 0)
		r = writer_commit(w, writer);
	life_step(w, r, "second backup", &writer->err);
	life_close_writer(writer);
}

/* Open, back up, commit; sometimes a second writer does so in between. */
static void session(struct world *w)
{
	struct writer a, b;
	bool two = life_choose(w, 4) == 0;
	int second, r = life_open_writer(w, &a, STORE_WRITE);

	life_step(w, r, "open", &a.err);
	if (r < 0) {
		life_close_writer(&a);
		return;
	}
	if (two) {
		second = life_open_writer(w, &b, STORE_WRITE);
		life_step(w, second, "second open", &b.err);
		two = second == 0;
		if (second < 0)
			life_close_writer(&b);
	}
	life_keys_step(w, &a);
	if (life_choose(w, 6) == 0)
		life_unpin_step(w, &a);
	w->in_pack = true;
	r = writer_backup(w, &a);
	w->in_pack = false;
	life_step(w, r, "backup", &a.err);
	if (two)
		second_backup(w, &b);
	w->in_commit = true;
	if (r == 0) {
		r = finish(w, &a);
		life_step(w, r, "commit", &a.err);
	}
	w->in_commit = false;
	salt_session_ends(&w->pack, r < 0);
	salt_session_ends(&w->small, r < 0);
	life_close_writer(&a);
}

static int make_store(struct world *w, struct err *err)
{
	static const struct slot_parameters cheap = { .log2_n = 10,
						      .r = 1,
						      .p = 1 };
	struct store_create_options options = {
		.plaintext = !w->encrypted,
		.pack_size_bytes = MIB,
		.scrypt = &cheap,
	};
	struct backend *backend = open_backend(w);
	char text[16];
	int r;

	passphrase_of(0, text);
	if (w->encrypted) {
		options.passphrase = text;
		options.passphrase_size = strlen(text);
	}
	r = store_create(backend, &options, err);
	backend_close(backend);
	w->keys[w->key_count++].known = THERE;
	return r;
}

static void run(struct world *w)
{
	unsigned sessions =
		2 + (unsigned)life_choose(w, life_choose(w, 4) ? 5 : 10);
	struct err err;

	if (make_store(w, &err) < 0)
		life_violate(w, CHECK_REASON, "can't create: %s", err.text);
	for (w->session = 0;; w->session++) {
		bool power_loss = life_choose(w, 2);

		w->is_last = w->session + 1 == sessions;
		life_note(" session %u\n", w->session);
		sabotage_disk(sabotage_now(w), w->sim);
		if (!w->is_last)
			arm(w);
		session(w);
		w->counts.sessions++;
		w->counts.faults += fault_fired(w);
		disarm(w, power_loss || w->is_last);
		if (!w->check)
			life_look(w, w->is_last);
		if (w->check || w->is_last)
			break;
	}
}

static void count(struct world *w)
{
	for (unsigned n = 0; n < w->attempt_count; n++) {
		w->counts.acknowledged += w->attempts[n].acknowledged;
		w->counts.half_done +=
			w->attempts[n].called && !w->attempts[n].acknowledged;
	}
	w->counts.pins += w->pin_count;
	w->counts.keys += w->key_count;
	for (unsigned n = 0; n < w->pin_count; n++)
		w->counts.removed += w->pins[n].known == GONE;
	for (unsigned n = 0; n < w->key_count; n++)
		w->counts.removed += w->keys[n].known == GONE;
	w->counts.seals = seal_watch_seals();
	seal_watch_stop();
}

enum check store_life(struct world *w, uint64_t seed, enum sabotage sabotage,
		      bool talk)
{
	memset(w, 0, sizeof(*w));
	talks = talk;
	w->seed = seed;
	w->choices = seed * 2 + 1;
	w->sabotage = sabotage;
	w->sim = sim_new(seed);
	w->encrypted = life_choose(w, 8) == 0;
	w->sabotage_from = 1 + (unsigned)life_choose(w, 3);
	fixed_random_seed(seed ^ 0x5eed);
	fixed_random_watch(drawn, w);
	seal_watch_start();
	life_note("seed %llu%s\n", (unsigned long long)seed,
		  w->encrypted ? ", encrypted" : "");
	run(w);
	count(w);
	fixed_random_watch(NULL, NULL);
	sim_free(w->sim);
	w->sim = NULL;
	return w->check;
}
