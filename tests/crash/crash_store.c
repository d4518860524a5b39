/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random lives of a store on a disk that loses power (tests/rig/store_life.h).
 *
 *	crash_store [--seeds N] [--seed FIRST] [--sabotage KIND] [-v]
 *
 * Without --seed and --sabotage it is first shown what would be noticed: each
 * sabotage, which begins after honest sessions, must be caught by the check
 * that it offends; and init is cut off at each of its operations. With
 * --sabotage exit 0 means that it was caught. A seed replays exactly.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "tests/rig/init_losses.h"
#include "tests/rig/store_life.h"

#define SABOTAGE_SEEDS 20000
#define INIT_SEEDS     6
#define INIT_LIES      200

static struct world world;
static bool talk;

#define BIT(check)   (1u << (check))
#define ACKNOWLEDGED (BIT(CHECK_THERE) | BIT(CHECK_READS))

/* The checks that count as having seen it. */
static unsigned offended(enum sabotage sabotage)
{
	switch (sabotage) {
	case SABOTAGE_NO_FSYNC_PIN:
	case SABOTAGE_NO_DIRSYNC_PIN:
		return BIT(CHECK_PINS);
	case SABOTAGE_NO_FSYNC_KEY:
	case SABOTAGE_NO_DIRSYNC_KEY:
	case SABOTAGE_NO_SETTLE_KEY:
	case SABOTAGE_NO_SETTLE_REMOVED_KEY:
		return BIT(CHECK_KEYS);
	case SABOTAGE_MANIFEST_FIRST:
		return ACKNOWLEDGED | BIT(CHECK_WHOLE);
	case SABOTAGE_TORN_PACK:
		return ACKNOWLEDGED | BIT(CHECK_PACKS);
	case SABOTAGE_NONCE_PACK:
	case SABOTAGE_NONCE_SNAPSHOT:
		return BIT(CHECK_NONCES);
	default:
		return ACKNOWLEDGED;
	}
}

/* 0, or -1: it went unnoticed. */
static int prove_caught(enum sabotage sabotage, uint64_t first, uint64_t seeds)
{
	uint64_t otherwise = 0;

	for (uint64_t n = 0; n < seeds; n++) {
		enum check check =
			store_life(&world, first + n, sabotage, talk);

		if (check && offended(sabotage) & BIT(check)) {
			printf("%s, from session %u on: caught with seed %llu "
			       "in session %u by '%s': %s\n",
			       sabotage_word(sabotage), world.sabotage_from,
			       (unsigned long long)(first + n), world.session,
			       check_words(check), world.what);
			return 0;
		}
		otherwise += check != CHECK_NONE;
		if (check && talk)
			printf("not so: %s: %s\n", check_words(check),
			       world.what);
	}
	printf("%s: NOT caught in %llu seeds from %llu (in %llu by another "
	       "check)\n",
	       sabotage_word(sabotage), (unsigned long long)seeds,
	       (unsigned long long)first, (unsigned long long)otherwise);
	return -1;
}

static int prove_init(void)
{
	char what[ERR_TEXT_MAX + 128];
	uint64_t seen, played;
	const char *name;

	for (unsigned n = 0;
	     (name = init_sabotage(n, INIT_LIES, &seen, what, sizeof(what)));
	     n++) {
		if (!seen) {
			printf("%s: NOT caught in %d seeds\n", name, INIT_LIES);
			return -1;
		}
		printf("%s: caught with seed %llu: %s\n", name,
		       (unsigned long long)seen, what);
	}
	if (init_losses(INIT_SEEDS, &played, what, sizeof(what)) < 0) {
		printf("init: %s\n", what);
		return -1;
	}
	printf("init cut off %llu times, at each operation: all right\n",
	       (unsigned long long)played);
	return 0;
}

static void add(struct store_life_counts *to,
		const struct store_life_counts *more)
{
	to->sessions += more->sessions;
	to->faults += more->faults;
	to->acknowledged += more->acknowledged;
	to->half_done += more->half_done;
	to->merges += more->merges;
	to->pins += more->pins;
	to->keys += more->keys;
	to->removed += more->removed;
	to->seals += more->seals;
}

#define U(n) ((unsigned long long)(n))

static int run_honest(uint64_t first, uint64_t seeds, const char *before)
{
	struct store_life_counts sums = { 0 };
	int64_t start = time_monotonic_ns();
	double seconds;

	for (uint64_t n = 0; n < seeds; n++) {
		enum check check =
			store_life(&world, first + n, SABOTAGE_NONE, talk);

		add(&sums, &world.counts);
		if (check == CHECK_NONE)
			continue;
		printf("seed %llu: not so: %s: %s\n"
		       "replay: crash_store --seed %llu -v\n",
		       U(first + n), check_words(check), world.what,
		       U(first + n));
		return 1;
	}
	seconds = (double)(time_monotonic_ns() - start) / 1e9;
	printf("%llu lives held (%llu sessions, %llu with a fault, %llu "
	       "snapshots acknowledged, %llu commits cut off, %llu sessions "
	       "that merged tables, %llu pins, %llu keys, %llu of them "
	       "removed, %llu seals), %s%.0f a second\n",
	       U(seeds), U(sums.sessions), U(sums.faults), U(sums.acknowledged),
	       U(sums.half_done), U(sums.merges), U(sums.pins), U(sums.keys),
	       U(sums.removed), U(sums.seals), before, (double)seeds / seconds);
	return 0;
}

static int run_all(uint64_t seeds)
{
	for (int kind = 1; kind < SABOTAGE_COUNT; kind++) {
		if (prove_caught((enum sabotage)kind, 1, SABOTAGE_SEEDS) < 0)
			return 1;
	}
	if (prove_init() < 0)
		return 1;
	return run_honest(1, seeds, "all sabotage caught, ");
}

static int usage(void)
{
	fprintf(stderr, "usage: crash_store [--seeds N] [--seed FIRST] "
			"[--sabotage KIND] [-v]\n");
	return 2;
}

int main(int argc, char **argv)
{
	enum sabotage sabotage = SABOTAGE_NONE;
	uint64_t seeds = 0, first = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* Large zeroed buffers fresh from the kernel, not cleared by hand. */
	mallopt(M_MMAP_THRESHOLD, 2 * (int)MIB);
	for (int n = 1; n < argc; n++) {
		const char *value = n + 1 < argc ? argv[n + 1] : "";

		if (strcmp(argv[n], "-v") == 0) {
			talk = true;
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
		    ++n == argc)
			return usage();
	}
	if (sabotage != SABOTAGE_NONE)
		return prove_caught(sabotage, first ? first : 1,
				    seeds   ? seeds
				    : first ? 1
					    : SABOTAGE_SEEDS) < 0;
	if (first)
		return run_honest(first, seeds ? seeds : 1, "");
	return run_all(seeds ? seeds : 2000);
}
