/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where objects live: put whole, get a range, list, delete. Nothing here
 * knows what an object holds. A name is a path with `/`, of characters
 * [a-z0-9/.-] only, made by us. All calls from any thread; one put belongs to
 * one thread at a time.
 */
#ifndef FORMAT_STORE_BACKEND_H
#define FORMAT_STORE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/base/bytes.h"
#include "format/base/err.h"

struct backend;
struct backend_put;

/* Called with the last part of each name in a folder; non-zero stops. */
typedef int backend_list_fn(void *arg, const char *leaf, struct err *err);

/* Of a buffer for get_once: its address, and how much larger it is than what
 * is asked for. */
#define BACKEND_ALIGNMENT 4096u
#define BACKEND_ROOM      (2 * BACKEND_ALIGNMENT)

struct backend_ops {
	/* Make what must be there before the first object. -EEXIST when
	 * something stands there; objects in keys/ are the caller's to judge. */
	int (*create)(struct backend *backend, struct err *err);
	/* Begin an object; it is seen by nobody before finish. */
	int (*put_begin)(struct backend *backend, const char *name,
			 struct backend_put **put, struct err *err);
	int (*put_write)(struct backend_put *put, const void *data, size_t size,
			 struct err *err);
	/* Durable, and then visible and durable under its name; frees the put in
	 * any case. -EEXIST when the name is taken. */
	int (*put_finish)(struct backend_put *put, struct err *err);
	void (*put_abort)(struct backend_put *put);
	/* Exactly this range. -ENOENT: no such object. -ENODATA: it is
	 * shorter. */
	int (*get)(struct backend *backend, const char *name, uint64_t offset,
		   void *buffer, size_t size, struct err *err);
	/* As get, for a large part that nobody will soon ask for again: where
	 * it can it leaves no copy in memory. The buffer is BACKEND_ALIGNMENT
	 * aligned and has BACKEND_ROOM more than `size`; *at is where in it
	 * the part begins. May be NULL: get does as well. */
	int (*get_once)(struct backend *backend, const char *name,
			uint64_t offset, void *buffer, size_t size,
			const uint8_t **at, struct err *err);
	int (*size)(struct backend *backend, const char *name, uint64_t *size,
		    struct err *err);
	/* In no order, while they are read: `fn` leaves the folder as it
	 * is. An absent folder is empty. "packs" lists its 256 sub-folders'
	 * names too ("ab" gives nothing; leafs only): a leaf is reported
	 * once. */
	int (*list)(struct backend *backend, const char *folder,
		    backend_list_fn *fn, void *arg, struct err *err);
	/* Another one once a name in the folder has come or gone; 0: it can't
	 * be told. May be NULL: it never can. */
	uint64_t (*stamp)(struct backend *backend, const char *folder);
	int (*delete)(struct backend *backend, const char *name,
		      struct err *err);
	/* Names in this folder ("": beside the folders) that are visible now,
	 * made by whoever, are durable after this (an object's data is durable before its name
	 * is visible). */
	int (*settle)(struct backend *backend, const char *folder,
		      struct err *err);
	void (*close)(struct backend *backend);
};

struct backend {
	const struct backend_ops *ops;
	bool read_only;     /* set after open: puts answer -EROFS */
	bool single_thread; /* a simulation: no threads of ours */
	uint64_t put_bytes; /* atomic: handed to puts so far */
};

struct vs_io;

/* A directory. Opens without touching it; `io` must outlive it. */
int backend_open_dir(struct backend **out, struct vs_io *io, const char *path,
		     struct err *err);

/* Thin callers of the ops. */
int backend_put_begin(struct backend *backend, const char *name,
		      struct backend_put **put, struct err *err);
int backend_put_write(struct backend *backend, struct backend_put *put,
		      const void *data, size_t size, struct err *err);
int backend_put_finish(struct backend *backend, struct backend_put *put,
		       struct err *err);
void backend_put_abort(struct backend *backend, struct backend_put *put);
int backend_get(struct backend *backend, const char *name, uint64_t offset,
		void *buffer, size_t size, struct err *err);
int backend_get_once(struct backend *backend, const char *name, uint64_t offset,
		     void *buffer, size_t size, const uint8_t **at,
		     struct err *err);
int backend_size(struct backend *backend, const char *name, uint64_t *size,
		 struct err *err);
/* The op: in no order, `fn` leaves the folder as it is. For large folders. */
int backend_each(struct backend *backend, const char *folder,
		 backend_list_fn *fn, void *arg, struct err *err);
uint64_t backend_stamp(struct backend *backend, const char *folder);
int backend_delete(struct backend *backend, const char *name, struct err *err);
int backend_settle(struct backend *backend, const char *folder,
		   struct err *err);
void backend_close(struct backend *backend); /* NULL is ignored */

/* Sorted, and all are known before the first is told: `fn` may change the
 * folder. */
int backend_list(struct backend *backend, const char *folder,
		 backend_list_fn *fn, void *arg, struct err *err);
/* A small object at once. */
int backend_put_whole(struct backend *backend, const char *name,
		      const void *data, size_t size, struct err *err);
/* A whole object of at most `max` bytes; -EFBIG above. */
int backend_get_whole(struct backend *backend, const char *name, size_t max,
		      struct bytes *out, struct err *err);

#endif
