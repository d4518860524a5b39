/* SPDX-License-Identifier: Apache-2.0 */
/* Each life: one init with a fault, maybe another one, and one without. */
#include "tests/rig/init_losses.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "format/store/store.h"
#include "tests/rig/fixed_random.h"
#include "tests/sim/sim.h"

#define PLACE         "/srv/store"
#define FIRST         "first"
#define FAULT_COUNT   4
#define TRIES_MAX     100 /* operations of an init, and many more */
#define SECOND_WITHIN 30

enum fault { FAULT_POWER, FAULT_EIO, FAULT_EIO_ON, FAULT_ENOSPC };

struct life {
	struct sim *sim;
	uint64_t choices;
	bool encrypted;
	unsigned cut;      /* inits that were, so far */
	unsigned warnings; /* of the last opening */
	struct err err;
	char *what;
	size_t what_size;
};

static int fail(struct life *life, const char *rule)
{
	snprintf(life->what, life->what_size, "%s: %s", rule, life->err.text);
	return -1;
}

static struct backend *backend_of(struct life *life)
{
	struct backend *backend;

	if (backend_open_dir(&backend, sim_io(life->sim), PLACE, &life->err) <
	    0)
		abort();
	return backend;
}

static int init(struct life *life)
{
	static const struct slot_parameters cheap = { .log2_n = 10,
						      .r = 1,
						      .p = 1 };
	const struct store_create_options options = {
		.plaintext = !life->encrypted,
		.passphrase = life->encrypted ? FIRST : NULL,
		.passphrase_size = strlen(FIRST),
		.scrypt = &cheap,
	};
	struct backend *backend = backend_of(life);
	int r;

	memset(&life->err, 0, sizeof(life->err));
	r = store_create(backend, &options, &life->err);
	backend_close(backend);
	return r;
}

static void warned(void *arg, const char *text)
{
	struct life *life = arg;

	(void)text;
	life->warnings++;
}

static int give(void *arg, char **out, size_t *size, struct err *err)
{
	(void)arg;
	(void)err;
	*out = strdup(FIRST);
	*size = strlen(FIRST);
	return *out ? 0 : -ENOMEM;
}

static int opens(struct life *life)
{
	const struct store_options options = {
		.mode = STORE_WRITE,
		.passphrase = give,
		.index_memory = 256 * KIB,
		.warn = warned,
		.warn_arg = life,
	};
	struct store *store = NULL;
	int r;

	life->warnings = 0;
	memset(&life->err, 0, sizeof(life->err));
	r = store_open(&store, backend_of(life), &options, &life->err);
	if (r == 0)
		store_close(store);
	return r;
}

static void begin(struct life *life, uint64_t seed, bool encrypted)
{
	struct vs_io *io;

	life->sim = sim_new(seed);
	life->choices = seed;
	life->encrypted = encrypted;
	life->cut = 0;
	fixed_random_seed(seed);
	io = sim_io(life->sim);
	if (io->ops->mkdir(io, "/srv", &life->err) < 0 ||
	    io->ops->sync_dir(io, "/", &life->err) < 0)
		abort();
}

/* Is it over with the fault? What is not durable may be gone then. */
static bool cut_init(struct life *life, enum fault fault, uint64_t after,
		     int *result)
{
	uint64_t at = sim_count(life->sim).ops + after;
	bool struck;

	if (fault == FAULT_POWER)
		sim_power_loss_at(life->sim, at);
	else
		sim_fail_at(life->sim, at,
			    fault == FAULT_ENOSPC ? -ENOSPC : -EIO,
			    fault == FAULT_EIO_ON);
	*result = init(life);
	struck = sim_count(life->sim).ops >= at;
	sim_power_loss_at(life->sim, 0);
	sim_fail_at(life->sim, 0, -EIO, false);
	if (sim_is_off(life->sim))
		sim_reboot(life->sim);
	else if (sim_random(&life->choices, 2))
		sim_power_loss(life->sim);
	life->cut += *result < 0;
	return struck;
}

/* A store that was acknowledged, or that a cut init has made all the same. */
static int judge_store(struct life *life)
{
	if (opens(life) < 0)
		return fail(life, "a store that is made does not open");
	/* Two that were cut may leave a slot, which one is told of. */
	if (life->warnings && life->cut < 2)
		return fail(life, "something is left over in a new store");
	if (init(life) != -EEXIST)
		return fail(life, "init goes over a store");
	sim_power_loss(life->sim);
	return opens(life) < 0 ? fail(life, "it is gone with the power") : 0;
}

/* 1: a store is there. */
static int judge_cut(struct life *life, int result)
{
	int r;

	if (result == 0)
		return 1;
	r = opens(life);
	if (r == 0)
		return 1;
	if (r == -ENOENT)
		return 0;
	return fail(life, "what a cut init leaves is neither");
}

static int life_run(struct life *life, enum fault fault, uint64_t at,
		    bool *struck)
{
	int result, r;

	*struck = cut_init(life, fault, at, &result);
	if (result < 0 && !*struck)
		return fail(life, "init fails without a reason");
	r = judge_cut(life, result);
	if (r == 0 && sim_random(&life->choices, 2)) {
		cut_init(life, fault,
			 1 + sim_random(&life->choices, SECOND_WITHIN),
			 &result);
		r = judge_cut(life, result);
	}
	if (r == 0 && init(life) < 0)
		return fail(life, "init can't be run again");
	return r < 0 ? r : judge_store(life);
}

int init_losses(uint64_t seeds, uint64_t *played, char *what, size_t size)
{
	struct life life = { .what = what, .what_size = size };
	bool struck = true;
	int r = 0;

	*played = 0;
	for (unsigned kind = 0; kind < 2 * FAULT_COUNT; kind++) {
		struck = true;
		for (uint64_t at = 1; struck && at < TRIES_MAX; at++) {
			for (uint64_t seed = 1; seed <= seeds && !r; seed++) {
				begin(&life, seed * TRIES_MAX + at, kind & 1);
				r = life_run(&life, (enum fault)(kind / 2), at,
					     &struck);
				sim_free(life.sim);
				*played += struck;
			}
		}
	}
	return r;
}

/* ---- sabotage ---- */

const char *init_sabotage(unsigned number, uint64_t seeds, uint64_t *seen,
			  char *what, size_t size)
{
	static const struct {
		const char *name, *where;
		enum sim_lie lie;
	} rows[] = {
		{ "init-no-fsync-config", PLACE, SIM_LIE_DATA },
		{ "init-no-fsync-key", PLACE "/keys", SIM_LIE_DATA },
		{ "init-no-dirsync-config", PLACE, SIM_LIE_NAMES },
		{ "init-no-dirsync-key", PLACE "/keys", SIM_LIE_NAMES },
		{ "init-no-dirsync-store", "/srv", SIM_LIE_NAMES },
	};
	struct life life = { .what = what, .what_size = size };

	if (number >= ARRAY_SIZE(rows))
		return NULL;
	*seen = 0;
	for (uint64_t seed = 1; seed <= seeds && !*seen; seed++) {
		begin(&life, seed, seed & 1);
		sim_set_lie(life.sim, rows[number].lie, rows[number].where);
		if (init(&life) == 0) {
			sim_power_loss(life.sim);
			if (opens(&life) < 0) {
				fail(&life, "a store that is made does not "
					    "open");
				*seen = seed;
			}
		}
		sim_free(life.sim);
	}
	return rows[number].name;
}
