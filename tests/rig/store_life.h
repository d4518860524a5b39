/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random lives of a store on a disk that loses power, held against a model: what
 * was tried, and what was acknowledged. tests/crash/crash_store.c plays them.
 * All follows from the seed; one life at a time in a process.
 */
#ifndef TESTS_RIG_STORE_LIFE_H
#define TESTS_RIG_STORE_LIFE_H

#include "format/store/store.h"
#include "tests/rig/sabotage.h"

#define STORE_LIFE_PATH "/store"
#define ATTEMPTS_MAX    24
#define VOLUME_CHUNKS   600u
#define CONTENT_MAX     512u
#define PINS_MAX        16
#define KEYS_MAX        6

/* What must hold at any time; the first that doesn't ends a life. */
enum check {
	CHECK_NONE,
	CHECK_REASON, /* what fails, fails because of an injected fault */
	CHECK_OPENS,  /* the store opens, and no table is damaged */
	CHECK_THERE,  /* each acknowledged snapshot is there ... */
	CHECK_READS,  /* ... and reads back exactly */
	CHECK_WHOLE,  /* each other that is seen was tried, and does so too */
	CHECK_PINS,   /* pins are there, gone, whole; their roots read */
	CHECK_KEYS,   /* so are key slots, and one always opens the store */
	CHECK_PACKS,  /* each pack that a table names has its directory */
	CHECK_NONCES, /* no key and nonce have sealed two things */
};
#define CHECK_COUNT (CHECK_NONCES + 1)
const char *check_words(enum check check);

/* What an operation that failed has left is not known. */
enum known { MAYBE, THERE, GONE };

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

/* Its number stands in its path. */
struct tried_pin {
	enum known known;
	bool settled; /* what its root leads to was acknowledged as durable */
	bool seen;
	char hex[SMALL_ID_HEX_SIZE];
	struct id root;
	const struct attempt *attempt;
};

/* Its number is label and passphrase; the first is the one of init. */
struct tried_key {
	enum known known;
	bool seen;
	char hex[SLOT_ID_HEX_SIZE]; /* empty: never seen */
};

/* A 32 byte salt of a run, for those that come after. */
struct salt {
	bool drawn; /* in this session */
	bool lost;  /* in an earlier one, which failed */
	uint8_t now[32], before[32];
};

struct store_life_counts {
	uint64_t sessions, faults, acknowledged, half_done, merges;
	uint64_t pins, keys, removed, seals;
};

struct world {
	uint64_t seed;
	uint64_t choices; /* state of the life's own choices */
	enum sabotage sabotage;
	unsigned session, sabotage_from;
	bool encrypted;
	struct sim *sim;
	bool is_last;      /* session: no fault */
	uint64_t fault_at; /* operation, 0: none */
	bool disk_full;    /* a limit is set */
	struct attempt attempts[ATTEMPTS_MAX];
	struct tried_pin pins[PINS_MAX];
	struct tried_key keys[KEYS_MAX];
	unsigned attempt_count, pin_count, key_count;
	unsigned trying; /* the key whose passphrase is given */
	size_t tables;   /* at the last look */
	/* For the sabotage of salts. */
	size_t drawn_before;
	bool in_pack, in_commit;
	struct salt pack, small;
	struct store_life_counts counts;
	enum check check; /* the one that failed */
	char what[1200];
};

struct writer {
	struct store *store;
	struct store_thread *thread;
	struct attempt *attempt;
	struct id root;
	struct err err;
};

/* Plays one; CHECK_NONE, or the check that failed, with words in w->what. */
enum check store_life(struct world *w, uint64_t seed, enum sabotage sabotage,
		      bool talk);

/* ---- for its parts ---- */

uint64_t life_choose(struct world *w, uint64_t below);
void life_violate(struct world *w, enum check check, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void life_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* `r` of something that may fail only because of a fault. */
void life_step(struct world *w, int r, const char *doing,
	       const struct err *err);
/* To read: tolerant, as a check does it. */
int life_open_writer(struct world *w, struct writer *writer,
		     enum store_mode mode);
void life_close_writer(struct writer *writer);
size_t life_content(uint32_t number, uint8_t content[CONTENT_MAX]);

/* store_life_small.c; in most sessions the first two do nothing. */
void life_keys_step(struct world *w, struct writer *writer);
void life_unpin_step(struct world *w, struct writer *writer);
/* A pin on the writer's root. */
struct tried_pin *life_pin(struct world *w, struct writer *writer);
void life_look_at_keys(struct world *w, struct writer *reader);
void life_look_at_pins(struct world *w, struct writer *reader);

/* store_life_look.c: is all there that must be? */
void life_look(struct world *w, bool last);
int life_check_chunks(struct writer *reader, const struct attempt *attempt,
		      const struct id *root);

#endif
