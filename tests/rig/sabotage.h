/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to break a store's promises on purpose, so that a crash test can prove
 * that it would notice. Some are the simulated disk's, some a backend's that
 * stands in front of the real one, one is the source of random bytes.
 */
#ifndef TESTS_RIG_SABOTAGE_H
#define TESTS_RIG_SABOTAGE_H

#include "format/store/backend.h"

struct sim;

enum sabotage {
	SABOTAGE_NONE,
	SABOTAGE_NO_FSYNC,       /* sync of a file does nothing */
	SABOTAGE_NO_DIRSYNC,     /* sync of a directory does nothing */
	SABOTAGE_MANIFEST_FIRST, /* packs become durable after the snapshot */
	SABOTAGE_TORN_TABLE,     /* one sector of a table is zeros */
	SABOTAGE_NONCE_REUSE,    /* small objects all have the same salt */
	SABOTAGE_NO_SETTLE,      /* what is adopted is not made durable */
};
#define SABOTAGE_COUNT 7

/* "no-fsync" and so on; SABOTAGE_NONE when it is none. */
enum sabotage sabotage_of(const char *word);
const char *sabotage_word(enum sabotage kind);

/* What the simulated disk has to do with it. */
void sabotage_disk(enum sabotage kind, struct sim *sim);
/* Takes `inner` over; gives it back where the kind needs no backend. */
struct backend *sabotage_backend(enum sabotage kind, struct backend *inner);
/* After `size` bytes at `data` were drawn. */
void sabotage_random(enum sabotage kind, void *data, size_t size);

#endif
