/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random lives of a store on a disk that loses power, held against a model:
 * the list of all backups that were tried, with their contents. At any time
 *  - each acknowledged snapshot reads back exactly;
 *  - each other one that is seen was tried, and reads back exactly too;
 *  - no two objects share a salt (or a nonce would repeat);
 *  - what fails, fails because of a fault that was injected.
 *
 *	crash_store [--seeds N] [--seed FIRST] [--sabotage KIND] [-v]
 *
 * Without --sabotage each kind of sabotage must be caught first. With it, exit
 * 0 means that it was caught. A seed replays exactly: random bytes come from it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "format/base/base.h"
#include "format/store/header.h"
#include "format/store/pack.h"
#include "format/store/store.h"
#include "format/store/tree.h"
#include "tests/rig/sabotage.h"
#include "tests/sim/sim.h"

#define STORE          "/store"
#define ATTEMPTS_MAX   24
#define VOLUME_CHUNKS  600u
#define CONTENT_MAX    512u
#define SABOTAGE_SEEDS 3000
#define SALTS_MAX      4096

/* A backup that was tried; its number + 1 is the snapshot's time. */
struct attempt {
	const char *name;
	bool called; /* store_commit() was entered */
	bool acknowledged;
	bool seen;
	struct id id;
	unsigned count;
	uint32_t chunks[VOLUME_CHUNKS]; /* number of the content; 0: a hole */
};

struct world {
	uint64_t seed;
	uint64_t choices; /* state of the test's own choices */
	uint64_t random;  /* state of getrandom() */
	enum sabotage sabotage;
	struct sim *sim;
	uint64_t fault_at; /* operation, 0: none */
	bool disk_full;    /* a limit is set */
	unsigned attempt_count;
	struct attempt attempts[ATTEMPTS_MAX];
	struct id salts[SALTS_MAX]; /* of one look at the store */
	size_t salt_count;
	bool violated;
	char what[1024];
};

struct writer {
	struct store *store;
	struct store_thread *thread;
	struct attempt *attempt;
	struct id root;
	struct err err;
};

/* Over all honest lives, so that a test that tests nothing shows. */
static struct {
	uint64_t sessions, faults, acknowledged, half_done;
} sums;

static struct world *current;
static bool verbose;

/* All of the process' random bytes follow from the seed. */
ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
	uint8_t *to = buffer;

	(void)flags;
	for (size_t n = 0; n < size; n++)
		to[n] = (uint8_t)sim_random(&current->random, 256);
	sabotage_random(current->sabotage, buffer, size);
	return (ssize_t)size;
}

static uint64_t choose(struct world *w, uint64_t below)
{
	return sim_random(&w->choices, below);
}

static void __attribute__((format(printf, 2, 3)))
violate(struct world *w, const char *format, ...)
{
	va_list args;

	if (w->violated)
		return;
	w->violated = true;
	va_start(args, format);
	vsnprintf(w->what, sizeof(w->what), format, args);
	va_end(args);
}

static void __attribute__((format(printf, 1, 2))) note(const char *format, ...)
{
	va_list args;

	if (!verbose)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
}

/* ---- faults ---- */

static void arm(struct world *w)
{
	static const int codes[] = { -EIO, -ENOSPC };
	uint64_t at = sim_count(w->sim).ops + 1 + choose(w, 40);

	sim_set_short_io(w->sim, choose(w, 2) ? 3 : 0);
	switch (choose(w, 8)) {
	case 0:
	case 1:
	case 2:
		sim_power_loss_at(w->sim, at);
		w->fault_at = at;
		break;
	case 3:
	case 4:
		sim_fail_at(w->sim, at, codes[choose(w, 2)], choose(w, 2));
		w->fault_at = at;
		break;
	case 5:
		sim_set_capacity(w->sim, sim_count(w->sim).used_bytes +
						 choose(w, 128 * KIB));
		w->disk_full = true;
		break;
	default:
		break;
	}
	note("  fault at operation %llu%s\n", (unsigned long long)w->fault_at,
	     w->disk_full ? ", disk full" : "");
}

static bool fault_fired(const struct world *w)
{
	return w->disk_full ||
	       (w->fault_at && sim_count(w->sim).ops >= w->fault_at);
}

/* The disk as new; with `power_loss` what was not durable may be gone. */
static void disarm(struct world *w, bool power_loss)
{
	sim_fail_at(w->sim, 0, -EIO, false);
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

static void step(struct world *w, int r, const char *doing,
		 const struct err *err)
{
	if (r >= 0)
		return;
	note("  %s: %s\n", doing, err->text);
	if (!fault_fired(w))
		violate(w, "%s failed without a fault: %s", doing, err->text);
}

/* ---- contents ---- */

static size_t content_make(uint32_t number, uint8_t content[CONTENT_MAX])
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
		from = &w->attempts[choose(w, 2)
					    ? w->attempt_count - 2
					    : choose(w, w->attempt_count - 1)];
	attempt->count = counts[choose(w, choose(w, 4) ? 3 : 5)];
	for (unsigned n = 0; n < attempt->count; n++)
		attempt->chunks[n] =
			from && n < from->count ? from->chunks[n] : 0;
	changes = choose(w, 3) || !from
			  ? 1 + (unsigned)choose(w, min_u64(attempt->count, 24))
			  : 0;
	while (changes--)
		attempt->chunks[choose(w, attempt->count)] =
			choose(w, 4) ? 1 + (uint32_t)choose(w, 500) : 0;
}

/* ---- a writer ---- */

static struct backend *open_backend(struct world *w)
{
	struct backend *backend;
	struct err err;

	if (backend_open_dir(&backend, sim_io(w->sim), STORE, &err) < 0)
		abort();
	return sabotage_backend(w->sabotage, backend);
}

static int writer_open(struct world *w, struct writer *writer,
		       enum store_mode mode)
{
	const struct store_options options = {
		.mode = mode,
		.index_memory = 256 * KIB,
	};
	int r;

	memset(writer, 0, sizeof(*writer));
	r = store_open(&writer->store, open_backend(w), &options, &writer->err);
	if (r < 0) {
		writer->store = NULL;
		return r;
	}
	writer->thread = store_thread_new(writer->store, &writer->err);
	return writer->thread ? 0 : -ENOMEM;
}

static void writer_close(struct writer *writer)
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
			      content_make(attempt->chunks[n], content), &id,
			      &result, &writer->err);
		if (r == 0)
			r = tree_builder_append(tree, writer->thread, &id, 1,
						&writer->err);
		if (r == 0 && choose(w, 40) == 0)
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
	writer->attempt->name = choose(w, 2) ? "vm" : "db";
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

static int writer_commit(struct world *w, struct writer *writer)
{
	struct attempt *attempt = writer->attempt;
	struct snapshot snapshot = { .time_ns = attempt - w->attempts + 1 };
	struct volume *volume = snapshot_add_volume(&snapshot, &writer->err);
	int r;

	if (!volume)
		return -ENOMEM;
	snprintf(snapshot.name, sizeof(snapshot.name), "%s", attempt->name);
	strcpy(volume->name, "disk0");
	volume->chunk_log2 = 14;
	volume->size_bytes = (uint64_t)attempt->count << 14;
	volume->root = writer->root;
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
	note("  backup %u of '%s', %u chunks: %d\n",
	     (unsigned)(attempt - w->attempts), attempt->name, attempt->count,
	     r);
	snapshot_release(&snapshot);
	return r;
}

/* Open, back up, commit; sometimes a second writer does so in between. */
static void session(struct world *w)
{
	struct writer a, b;
	bool two = choose(w, 4) == 0;
	int r = writer_open(w, &a, STORE_WRITE);

	step(w, r, "open", &a.err);
	if (two && r == 0) {
		int second = writer_open(w, &b, STORE_WRITE);

		step(w, second, "second open", &b.err);
		two = second == 0;
	} else {
		two = false;
	}
	if (r == 0) {
		r = writer_backup(w, &a);
		step(w, r, "backup", &a.err);
	}
	if (two) {
		int second = writer_backup(w, &b);

		if (second == 0)
			second = writer_commit(w, &b);
		step(w, second, "second backup", &b.err);
		writer_close(&b);
	}
	if (r == 0)
		step(w, writer_commit(w, &a), "commit", &a.err);
	writer_close(&a);
}

/* ---- the look at what is there ---- */

static int check_chunks(struct writer *reader, const struct attempt *attempt,
			const struct id *root)
{
	static struct store_read reads[VOLUME_CHUNKS];
	static uint8_t found[VOLUME_CHUNKS][CONTENT_MAX];
	static struct id ids[VOLUME_CHUNKS];
	uint8_t wanted[CONTENT_MAX];
	struct tree_reader *tree;
	unsigned count = 0;
	int r;

	r = tree_reader_new(&tree, reader->thread, root, attempt->count,
			    &reader->err);
	if (r < 0)
		return r;
	r = tree_reader_ids(tree, 0, attempt->count, ids, NULL, NULL,
			    &reader->err);
	tree_reader_free(tree);
	for (unsigned n = 0; n < attempt->count && r == 0; n++) {
		uint32_t number = attempt->chunks[n];

		if (id_is_null(&ids[n]) != (number == 0))
			return err_set(&reader->err, -EBADMSG,
				       "chunk %u is a hole, or should be", n);
		if (number == 0)
			continue;
		reads[count].id = ids[n];
		reads[count].kind = CHUNK_DATA;
		reads[count].content = found[n];
		reads[count].content_size =
			(uint32_t)content_make(number, wanted);
		count++;
	}
	if (r == 0)
		r = store_get_many(reader->thread, reads, count, &reader->err);
	for (unsigned n = 0; n < attempt->count && r == 0; n++) {
		if (attempt->chunks[n] == 0)
			continue;
		if (memcmp(found[n], wanted,
			   content_make(attempt->chunks[n], wanted)))
			r = err_set(&reader->err, -EBADMSG,
				    "chunk %u has another content", n);
	}
	return r;
}

static void check_snapshot(struct world *w, struct writer *reader,
			   const struct id *id)
{
	struct snapshot snapshot;
	struct attempt *attempt;
	int r = store_load_snapshot(reader->thread, id, &snapshot,
				    &reader->err);

	if (r < 0) {
		violate(w, "a snapshot can't be loaded: %s", reader->err.text);
		return;
	}
	if (snapshot.time_ns < 1 || snapshot.time_ns > w->attempt_count) {
		violate(w, "a snapshot that nobody made");
		snapshot_release(&snapshot);
		return;
	}
	attempt = &w->attempts[snapshot.time_ns - 1];
	if (!attempt->called || attempt->seen ||
	    strcmp(attempt->name, snapshot.name) ||
	    (attempt->acknowledged && !id_equal(&attempt->id, id)))
		violate(w, "snapshot %d is not the one that was made",
			(int)snapshot.time_ns - 1);
	attempt->seen = true;
	r = check_chunks(reader, attempt, &snapshot.volumes[0].root);
	if (r < 0)
		violate(w, "snapshot %d (%sacknowledged) does not read: %s",
			(int)snapshot.time_ns - 1,
			attempt->acknowledged ? "" : "not ", reader->err.text);
	snapshot_release(&snapshot);
}

struct look {
	struct world *w;
	struct backend *backend;
	enum object_kind kind;
};

/* The key is made of the kind's word and the salt. */
static int gather_salt(void *arg, const char *leaf, struct err *err)
{
	struct look *look = arg;
	struct world *w = look->w;
	struct object_header header;
	char name[OBJECT_NAME_MAX];

	if (look->kind == OBJECT_PACK)
		snprintf(name, sizeof(name), "packs/%.2s/%s", leaf, leaf);
	else
		snprintf(name, sizeof(name), "%s/%s", object_folder(look->kind),
			 leaf);
	if (backend_get(look->backend, name, 0, &header, sizeof(header), err))
		return 0;
	if (w->salt_count == SALTS_MAX)
		abort();
	memcpy(w->salts[w->salt_count].b, header.salt, ID_SIZE);
	w->salts[w->salt_count++].b[0] ^= (uint8_t)look->kind;
	return 0;
}

static int compare_salts(const void *a, const void *b)
{
	return id_compare(a, b);
}

static void check_salts(struct world *w, struct backend *backend)
{
	struct look look = { .w = w, .backend = backend };

	w->salt_count = 0;
	for (int kind = OBJECT_PACK; kind <= OBJECT_CONDEMNED; kind++) {
		look.kind = (enum object_kind)kind;
		if (backend_list(backend, object_folder(look.kind), gather_salt,
				 &look, NULL) < 0)
			violate(w, "can't list %s", object_folder(look.kind));
	}
	qsort(w->salts, w->salt_count, sizeof(*w->salts), compare_salts);
	for (size_t n = 1; n < w->salt_count; n++) {
		if (id_equal(&w->salts[n - 1], &w->salts[n]))
			violate(w, "two objects share a salt: nonces repeat");
	}
}

static void look(struct world *w)
{
	struct snapshot_list list = { 0 };
	struct writer reader;

	for (unsigned n = 0; n < w->attempt_count; n++)
		w->attempts[n].seen = false;
	if (writer_open(w, &reader, STORE_READ) < 0 ||
	    store_list_snapshots(reader.store, &list, &reader.err) < 0)
		violate(w, "the store can't be opened: %s", reader.err.text);
	for (size_t n = 0; n < list.count; n++)
		check_snapshot(w, &reader, &list.ids[n]);
	for (unsigned n = 0; n < w->attempt_count; n++) {
		if (w->attempts[n].acknowledged && !w->attempts[n].seen)
			violate(w, "snapshot %u was acknowledged and is gone",
				n);
	}
	if (reader.store)
		check_salts(w, store_backend(reader.store));
	snapshot_list_release(&list);
	writer_close(&reader);
}

/* ---- lives ---- */

static void life_run(struct world *w)
{
	const struct store_create_options options = {
		.plaintext = true,
		.pack_size_bytes = MIB,
	};
	unsigned sessions = 2 + (unsigned)choose(w, choose(w, 4) ? 5 : 10);
	struct backend *backend = open_backend(w);
	struct err err;
	int r = store_create(backend, &options, &err);

	backend_close(backend);
	if (r < 0)
		violate(w, "can't create: %s", err.text);
	for (unsigned n = 0; n < sessions && !w->violated; n++) {
		bool power_loss = choose(w, 2);

		note(" session %u\n", n);
		/* The last one must go well, whatever was before. */
		if (n + 1 < sessions)
			arm(w);
		session(w);
		sums.sessions++;
		sums.faults += fault_fired(w);
		disarm(w, power_loss || n + 1 == sessions);
		if (!w->violated)
			look(w);
	}
}

/* 0, or 1 when a rule was broken. */
static int life(uint64_t seed, enum sabotage sabotage, char what[1024])
{
	struct world *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		abort();
	w->seed = seed;
	w->choices = seed * 2 + 1;
	w->random = seed ^ 0x5eed;
	w->sabotage = sabotage;
	w->sim = sim_new(seed);
	current = w;
	sabotage_disk(sabotage, w->sim);
	note("seed %llu\n", (unsigned long long)seed);
	life_run(w);
	for (unsigned n = 0; n < w->attempt_count; n++) {
		sums.acknowledged += w->attempts[n].acknowledged;
		sums.half_done +=
			w->attempts[n].called && !w->attempts[n].acknowledged;
	}
	r = w->violated;
	memcpy(what, w->what, sizeof(w->what));
	sim_free(w->sim);
	free(w);
	return r;
}

/* The seeds it took, 0: it went unnoticed. */
static uint64_t prove_caught(enum sabotage sabotage, uint64_t first,
			     uint64_t seeds)
{
	char what[1024];

	for (uint64_t n = 0; n < seeds; n++) {
		if (!life(first + n, sabotage, what))
			continue;
		printf("%s: caught with seed %llu: %s\n",
		       sabotage_word(sabotage), (unsigned long long)(first + n),
		       what);
		return n + 1;
	}
	printf("%s: NOT caught in %llu seeds from %llu\n",
	       sabotage_word(sabotage), (unsigned long long)seeds,
	       (unsigned long long)first);
	return 0;
}

static int run_honest(uint64_t first, uint64_t seeds, bool all)
{
	int64_t start = time_monotonic_ns();
	char what[1024];
	double seconds;

	for (int kind = 1; all && kind < SABOTAGE_COUNT; kind++) {
		if (!prove_caught((enum sabotage)kind, 1, SABOTAGE_SEEDS))
			return 1;
	}
	memset(&sums, 0, sizeof(sums));
	for (uint64_t n = 0; n < seeds; n++) {
		if (!life(first + n, SABOTAGE_NONE, what))
			continue;
		printf("seed %llu: %s\nreplay: crash_store --seed %llu -v\n",
		       (unsigned long long)(first + n), what,
		       (unsigned long long)(first + n));
		return 1;
	}
	seconds = (double)(time_monotonic_ns() - start) / 1e9;
	printf("%llu lives held (%llu sessions, %llu with a fault, %llu "
	       "snapshots acknowledged, %llu commits cut off), %s%.0f a "
	       "second\n",
	       (unsigned long long)seeds, (unsigned long long)sums.sessions,
	       (unsigned long long)sums.faults,
	       (unsigned long long)sums.acknowledged,
	       (unsigned long long)sums.half_done,
	       all ? "all sabotage caught, " : "", (double)seeds / seconds);
	return 0;
}

int main(int argc, char **argv)
{
	enum sabotage sabotage = SABOTAGE_NONE;
	uint64_t seeds = 0, first = 0;

	for (int n = 1; n < argc; n++) {
		const char *value = n + 1 < argc ? argv[n + 1] : "";

		if (strcmp(argv[n], "-v") == 0) {
			verbose = true;
			continue;
		}
		if (strcmp(argv[n], "--seeds") == 0)
			seeds = strtoull(value, NULL, 10);
		else if (strcmp(argv[n], "--seed") == 0)
			first = strtoull(value, NULL, 10);
		else if (strcmp(argv[n], "--sabotage") == 0)
			sabotage = sabotage_of(value);
		if (strncmp(argv[n], "--s", 3) != 0 ||
		    (sabotage == SABOTAGE_NONE && argv[n][3] == 'a') ||
		    ++n == argc) {
			fprintf(stderr,
				"usage: crash_store [--seeds N] [--seed FIRST] "
				"[--sabotage KIND] [-v]\n");
			return 2;
		}
	}
	if (sabotage != SABOTAGE_NONE)
		return !prove_caught(sabotage, first ? first : 1,
				     seeds   ? seeds
				     : first ? 1
					     : SABOTAGE_SEEDS);
	if (first && !seeds)
		return run_honest(first, 1, false);
	return run_honest(first ? first : 1, seeds ? seeds : 2000, !first);
}
