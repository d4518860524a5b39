/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the open store share. Private to store*.c. */
#ifndef FORMAT_STORE_STORE_PRIVATE_H
#define FORMAT_STORE_STORE_PRIVATE_H

#include <pthread.h>

#include "format/base/base.h"
#include "format/store/header.h"
#include "format/store/pack.h"
#include "format/store/store.h"

#define FINISHER_QUEUE 4
#define PACK_KEYS      8          /* object keys that a thread keeps */
#define READ_BUFFER    (1u << 20) /* read at once */
#define READ_GAP_MAX   (64u << 10)
#define SLOTS_MAX      256    /* looked at when a store is opened */
#define DRY_CLAIMS_MAX 600000 /* some 48 MiB; 36 GiB in chunks of 64 KiB */

/* A pack whose bytes are written and that must be made durable. */
struct finish_job {
	struct backend_put *put;
	struct id id;
	uint64_t size_bytes;
	struct bytes directory; /* struct entry each */
};

/*
 * Makes packs durable beside the threads that fill them, in the order in which
 * they came. Without threads (single_thread) it is called in place.
 */
struct finisher {
	pthread_mutex_t lock; /* guards all below; a leaf, never held in I/O */
	pthread_cond_t changed;
	pthread_t thread;
	bool has_thread;
	bool stop;
	bool busy;
	unsigned count;
	struct finish_job jobs[FINISHER_QUEUE]; /* [0] is next */
	struct sealer *sealer;                  /* its own */
	int failed; /* 0, or what the run has failed with, for good */
	struct err why;
};

struct damage {
	char *object;
	struct err why;
};

/* A growing list of ids. */
struct id_list {
	struct id *ids;
	size_t count, capacity;
};
int id_list_add(struct id_list *list, const struct id *id, struct err *err);

/* The names in snapshots/, read since the store was opened. */
struct names_ahead {
	pthread_t thread;
	bool has_thread; /* it may still be at work; the rest is its own */
	uint64_t stamp;  /* of the folder before; 0: nothing is known */
	struct id_list list;
};

struct store {
	struct backend *backend;
	struct store_config config;
	struct masters masters;
	struct index *index;
	enum store_mode mode;
	int level;
	bool tolerant;
	void (*warn)(void *arg, const char *text);
	void *warn_arg;
	char open_key[SLOT_ID_HEX_SIZE];
	uint64_t put_bytes_before;
	uint64_t dry_bytes; /* atomic */
	bool told_of_copy;  /* atomic */

	pthread_mutex_t
		mend_lock; /* guards the next one; nothing else is held */
	bool mended;       /* packs in doubt were asked */

	pthread_mutex_t warn_lock;  /* one warning at a time */
	pthread_mutex_t flush_lock; /* guards the two below */
	bool adopted;
	bool adopted_folder[256]; /* packs/xx: names to be settled */

	pthread_mutex_t names_lock; /* guards `ahead`; stamps are taken below */
	struct names_ahead ahead;

	struct finisher finisher;
	struct damage *damage;
	size_t damage_count;
};

struct pack_key {
	struct id pack;
	struct object_key key;
	bool is_set;
};

struct store_thread {
	struct store *store;
	struct hasher *hasher;
	struct sealer *sealer;
	struct codec *codec;
	uint8_t *coded;  /* CHUNK_SIZE_MAX + SEAL_TAG_SIZE, on first use */
	uint8_t *buffer; /* BACKEND_ALIGNMENT aligned, on first use */
	size_t buffer_size;
	bool reads_once;
	struct pack_key keys[PACK_KEYS];
	unsigned next_key;
	struct pack_writer pack;
	bool pack_is_open;
	/* For store_get_many(): reads in the order of their places. */
	struct located *located;
	size_t located_capacity;
};

/* A line for the user; dropped when nobody listens. */
void store_warn(struct store *store, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Remember what is damaged. */
int store_note_damage(struct store *store, const char *object,
		      const struct err *why, struct err *err);
/* -EROFS in a store that is open for reading. */
int store_check_writable(const struct store *store, struct err *err);

/* store_write.c */
int finisher_init(struct finisher *finisher, struct err *err);
/* Makes durable what waits (unless it has failed), ends the thread. */
void finisher_release(struct store *store);
/* Nothing waits any more; what it failed with. */
int finisher_wait(struct store *store, struct err *err);
int store_fail(struct store *store, int code, const struct err *why);
int store_failed(struct store *store, struct err *err);
/* Adopted packs settled, then index_flush(). */
int store_flush_index(struct store *store, struct sealer *sealer,
		      struct err *err);

/* store_adopt.c */
int store_read_condemned(struct store *store, struct sealer *sealer,
			 struct id **packs, size_t *count, struct err *err);
/* `absent`: packs not to be counted on. A writer's gets those as well that a
 * table names and that are not there. */
int store_adopt_packs(struct store *store, struct sealer *sealer,
		      struct id_list *absent, struct err *err);

/*
 * A look-up by a reader has met a damaged block of a table: what the packs of
 * that table hold and no table can say any more is taken from the packs
 * themselves, in memory and once.
 */
void store_ask_packs(struct store *store, struct sealer *sealer,
		     const struct err *why);

/* store_keys.c */
int store_unlock(struct store *store, const struct store_options *options,
		 const struct config_file *file, struct err *err);

/* store_object.c: small sealed objects. */
int store_put_object(struct store *store, struct sealer *sealer,
		     enum object_kind kind, const char *name,
		     const struct bytes *plain, struct err *err);
int store_get_object(struct store *store, struct sealer *sealer,
		     enum object_kind kind, const char *name,
		     struct bytes *plain, struct err *err);
/* Is `leaf` exactly `size` bytes in hex? */
bool store_leaf_is_hex(const char *leaf, size_t size);

/* store_names.c */
void store_names_begin(struct store *store);
void store_names_release(struct store *store);
/* The ids in snapshots/, of one name tag or (NULL) all, as they are now. The
 * ids are the caller's to free. */
int store_names(struct store *store, const uint8_t *tag, struct id_list *list,
		struct err *err);

#endif
