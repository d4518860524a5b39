/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open store: chunks by id, snapshots by name, over any backend.
 *
 * Life of a write: store_put() in any number of threads (each with a struct
 * store_thread of its own) -> packs; store_commit() -> all packs durable ->
 * tables durable -> the snapshot durable. Whatever dies in between leaves only
 * packs that the next writer adopts. spec/store.md, Writer's duties.
 */
#ifndef FORMAT_STORE_STORE_H
#define FORMAT_STORE_STORE_H

#include "format/base/io.h"
#include "format/store/index.h"
#include "format/store/keys.h"
#include "format/store/pin.h"
#include "format/store/snapshot.h"

struct store;

/*
 * Gives the passphrase when a store turns out to need one. 0 and *out (from
 * malloc(), wiped and freed by the store; not NUL terminated), or -errno with
 * words (-EKEYREJECTED: there is none to be had).
 */
typedef int store_passphrase_fn(void *arg, char **out, size_t *size,
				struct err *err);

enum store_mode {
	STORE_READ,  /* nothing is ever written */
	STORE_WRITE, /* puts allowed: adopts stray packs, reads the condemned */
	STORE_DRY,   /* as write, but packs, tables, snapshots go nowhere:
			counts what would be stored. New content that comes
			again after 600,000 other chunks is counted again:
			memory stays bounded */
};

struct store_options {
	enum store_mode mode;
	store_passphrase_fn *passphrase;
	void *passphrase_arg;
	int level;           /* zstd; 0: the store's default */
	size_t index_memory; /* bytes; 0: the default */
	bool tolerant;       /* for check: damaged tables are told by
				    store_each_damage() only, and what they
				    name is not looked for elsewhere */
	bool names_ahead;    /* the snapshots' names will be needed: they are
				    read beside the opening */
	/* Told of things that are no failure; may be NULL. */
	void (*warn)(void *arg, const char *text);
	void *warn_arg;
};

struct store_create_options {
	bool plaintext;
	unsigned chunk_log2;      /* 0: 16 (64 KiB) */
	int level;                /* 0: STORE_LEVEL_DEFAULT */
	uint64_t pack_size_bytes; /* 0: PACK_SIZE_DEFAULT */
	const char *passphrase;   /* unless plaintext */
	size_t passphrase_size;
	const struct slot_parameters *scrypt; /* NULL: default */
};
#define STORE_LEVEL_DEFAULT 1

/* -EEXIST when a store (or anything but what an init that was cut off has left)
 * is there. spec/store.md, Making a store. */
int store_create(struct backend *backend,
		 const struct store_create_options *options, struct err *err);

/*
 * Opens; takes the backend over (closes it, also on failure). -ENOENT: not a
 * store; -EOPNOTSUPP: too new; -EKEYREJECTED; -EBADMSG.
 */
int store_open(struct store **out, struct backend *backend,
	       const struct store_options *options, struct err *err);
void store_close(struct store *store); /* NULL is ignored */

const struct store_config *store_config(const struct store *store);
const struct masters *store_masters(const struct store *store);
struct backend *store_backend(struct store *store);
struct index *store_index(struct store *store);

/* ---- chunks ---- */

/* One thread's contexts, read buffer and open pack. */
struct store_thread;
struct store_thread *store_thread_new(struct store *store, struct err *err);
/* An unfinished pack is aborted, and the run has failed with it: no more puts or
 * commits until the store is opened again. NULL is ignored. */
void store_thread_free(struct store_thread *thread);
/* The thread's chunks will not soon be read again: they need not stand in the
 * page cache. */
void store_thread_read_once(struct store_thread *thread);
struct hasher *store_thread_hasher(struct store_thread *thread);
struct sealer *store_thread_sealer(struct store_thread *thread);
struct store *store_thread_store(struct store_thread *thread);

struct put_result {
	bool is_new;
	uint32_t stored_bytes; /* 0 when it was there */
};

/*
 * The chunk's id; stored unless the store has it. Zero content is stored like
 * any other: holes are the tree's business. After a failure the whole run has
 * failed: nothing may be committed.
 */
int store_put(struct store_thread *thread, enum chunk_kind kind,
	      const void *content, size_t size, struct id *id,
	      struct put_result *result, struct err *err);

/* As store_put() for content whose id is known from an earlier backup: costs no
 * hash when the store has it. A wrong id is a caller's bug. */
int store_put_known(struct store_thread *thread, enum chunk_kind kind,
		    const void *content, size_t size, const struct id *id,
		    struct put_result *result, struct err *err);

/* 1 or 0: does the index have it. */
int store_has(struct store_thread *thread, const struct id *id,
	      struct err *err);

/* Learn of the tables that other processes have written since the store was
 * opened. Any thread, beside any other call. */
int store_refresh(struct store_thread *thread, struct err *err);

/* One of many reads. */
struct store_read {
	struct id id;
	enum chunk_kind kind;
	void *content;         /* the caller's, content_size bytes */
	uint32_t content_size; /* exactly; a chunk of another size is corrupt */
	int result;            /* 0 or -errno: -EBADMSG also when missing */
	struct err err;        /* its words, with pack, offset and id */
};

/*
 * Read many chunks: looked up, sorted by place, adjacent ones read at once,
 * verified. Tries another copy when one is bad. Returns 0 when all went well, else the
 * first failure; each result stands on its own.
 */
int store_get_many(struct store_thread *thread, struct store_read *reads,
		   size_t count, struct err *err);
/* One chunk of at most `capacity` bytes whose size is not known (a node). */
int store_get(struct store_thread *thread, enum chunk_kind kind,
	      const struct id *id, void *content, size_t capacity,
	      uint32_t *size, struct err *err);

/* The thread's open pack goes to be made durable. Call it once a thread's
 * work is done, before store_commit(). */
int store_thread_flush(struct store_thread *thread, struct err *err);

/*
 * All flushed packs durable, tables durable, then `snapshot` (its id,
 * sequence and time are set here unless time is given; totals as they stand)
 * durable. -EAGAIN: a pack that was counted on has been condemned meanwhile;
 * run again. In dry mode nothing is written and the id stays null.
 */
int store_commit(struct store *store, struct store_thread *thread,
		 struct snapshot *snapshot, struct err *err);

/* store_commit() without a snapshot: what was put is durable and can be found,
 * e.g. for a pin to name it. */
int store_settle(struct store *store, struct store_thread *thread,
		 struct err *err);

/* Bytes that went (or in dry mode would go) into packs, tables and snapshots. */
uint64_t store_stored_bytes(const struct store *store);

/* ---- snapshots ---- */

/* The names in snapshots/, in no order; the sequence and name tag are in each. */
struct snapshot_list {
	struct id *ids;
	size_t count;
};
int store_list_snapshots(struct store *store, struct snapshot_list *out,
			 struct err *err);
/* Only those with the tag of `name`, which another name may share. */
int store_list_tagged(struct store_thread *thread, const char *name,
		      struct snapshot_list *out, struct err *err);
void snapshot_list_release(struct snapshot_list *list);

/* -ENOENT, -EBADMSG, -EOPNOTSUPP. */
int store_load_snapshot(struct store_thread *thread, const struct id *id,
			struct snapshot *out, struct err *err);
/* The greatest sequence of that name, loaded. -ENOENT when there is none. */
int store_latest_snapshot(struct store_thread *thread, const char *name,
			  struct snapshot *out, struct err *err);

/* ---- pins ---- */

/* Under a new id, which goes to id_hex[]. */
int store_put_pin(struct store_thread *thread, const struct pin *pin,
		  char id_hex[SMALL_ID_HEX_SIZE], struct err *err);
/* Under this id: random, so that who writes it down before finds the pin. */
int store_put_pin_as(struct store_thread *thread, const struct pin *pin,
		     const char *id_hex, struct err *err);
int store_load_pin(struct store_thread *thread, const char *id_hex,
		   struct pin *out, struct err *err);
int store_delete_pin(struct store *store, const char *id_hex, struct err *err);
int store_each_pin(struct store *store,
		   int (*fn)(void *arg, const char *id_hex, struct err *err),
		   void *arg, struct err *err);

/* ---- keys ---- */

/* Each slot in keys/; a damaged one has `wrong` set. */
int store_each_key(struct store *store,
		   int (*fn)(void *arg, const char *id_hex,
			     const struct slot_file *slot, bool is_open,
			     const struct err *wrong),
		   void *arg, struct err *err);
/* A slot more; writes its id. `store` is open, so its masters are at hand. */
int store_add_key(struct store *store, const char *passphrase,
		  size_t passphrase_size,
		  const struct slot_parameters *parameters, const char *label,
		  char id_hex[SLOT_ID_HEX_SIZE], struct err *err);
/* -EBUSY: it is the last that can be opened. */
int store_remove_key(struct store *store, const char *id_hex, struct err *err);
/* The slot that opened this store. */
const char *store_open_key(const struct store *store);
/* Config and slots as text. Needs no passphrase. */
int store_export_keys(struct backend *backend, struct bytes *out,
		      struct err *err);
/* Put back config and slots of a recovery copy where they are missing. */
int store_import_keys(struct backend *backend, const char *text, size_t size,
		      unsigned *restored, struct err *err);

/* ---- for check ---- */

/* Damage met so far that kept nobody from going on: tables; in tolerant mode
 * condemned lists too. */
int store_each_damage(struct store *store,
		      int (*fn)(void *arg, const char *object,
				const struct err *why),
		      void *arg);

#endif
