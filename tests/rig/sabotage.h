/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to break a store's promises on purpose, each as narrow as it can be, so
 * that a crash test can prove that it would notice. Some are the simulated
 * disk's, some a backend's that stands in front of the real one, some the source
 * of random bytes'.
 */
#ifndef TESTS_RIG_SABOTAGE_H
#define TESTS_RIG_SABOTAGE_H

#include "format/store/backend.h"

struct sim;

enum sabotage {
	SABOTAGE_NONE,
	/* One kind of file is not synced before it gets its name. */
	SABOTAGE_NO_FSYNC_PACK,
	SABOTAGE_NO_FSYNC_TABLE,
	SABOTAGE_NO_FSYNC_SNAPSHOT,
	SABOTAGE_NO_FSYNC_PIN,
	SABOTAGE_NO_FSYNC_KEY,
	/* It is, but for the block with its end. */
	SABOTAGE_TORN_PACK,
	SABOTAGE_TORN_TABLE,
	/* One kind of directory is not synced. */
	SABOTAGE_NO_DIRSYNC_PACK,  /* packs/xx */
	SABOTAGE_NO_DIRSYNC_PACKS, /* packs, where packs/xx is made */
	SABOTAGE_NO_DIRSYNC_TABLE,
	SABOTAGE_NO_DIRSYNC_SNAPSHOT,
	SABOTAGE_NO_DIRSYNC_PIN,
	SABOTAGE_NO_DIRSYNC_KEY,
	/* One pack of a run becomes durable after the snapshot. */
	SABOTAGE_MANIFEST_FIRST,
	/* Packs that were adopted, tables of others, slots are not made durable
	 * before one counts on them. */
	SABOTAGE_NO_SETTLE_PACK,
	SABOTAGE_NO_SETTLE_TABLE,
	SABOTAGE_NO_SETTLE_KEY,
	/* A slot was deleted, and the folder is not synced. */
	SABOTAGE_NO_SETTLE_REMOVED_KEY,
	/* What comes after a run that failed has the salt of its first pack
	 * (where that is lost), or of its snapshot. */
	SABOTAGE_NONCE_PACK,
	SABOTAGE_NONCE_SNAPSHOT,
};
#define SABOTAGE_COUNT (SABOTAGE_NONCE_SNAPSHOT + 1)

/* "no-fsync-pack" and so on; SABOTAGE_NONE when it is none. */
enum sabotage sabotage_of(const char *word);
const char *sabotage_word(enum sabotage kind);

/* What the simulated disk has to do with it, with the store in /store. */
void sabotage_disk(enum sabotage kind, struct sim *sim);
/* Takes `inner` over; gives it back where the kind needs no backend. */
struct backend *sabotage_backend(enum sabotage kind, struct backend *inner);

#endif
