/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the directory backend share. Private to backend_dir*.c. */
#ifndef FORMAT_STORE_BACKEND_DIR_PRIVATE_H
#define FORMAT_STORE_BACKEND_DIR_PRIVATE_H

#include <pthread.h>

#include "format/base/base.h"
#include "format/base/io.h"
#include "format/store/backend.h"

#define DIR_HANDLES     128
#define DIR_NAME_MAX    96 /* of an object, with the NUL */
#define DIR_PACKS       "packs"
#define DIR_SUBFOLDER   256 /* of packs/ */
#define DIR_TEMPORARIES 64  /* left by others, kept in mind */

/* A file that is open for reading; objects never change, so neither does its
 * size. */
struct dir_handle {
	char name[DIR_NAME_MAX]; /* "" : free */
	uint64_t hash;
	bool direct; /* past the page cache, where that can be */
	int file;
	uint64_t size_bytes;
	unsigned users;
	uint64_t last_used;
	bool doomed; /* deleted meanwhile: close it after the last user */
};

struct dir_backend {
	struct backend base;
	struct vs_io *io;
	char *path;  /* without slashes at the end */
	char *shown; /* the path, escaped for words */

	/* Leaf locks: nothing else is taken below them. */
	pthread_mutex_t handles_lock; /* guards handles, clock */
	struct dir_handle handles[DIR_HANDLES];
	uint64_t clock;

	pthread_mutex_t folders_lock;   /* guards all below */
	bool packs_seen;                /* packs/ was listed and synced */
	bool has_folder[DIR_SUBFOLDER]; /* packs/xx is durable */
	char *temporaries[DIR_TEMPORARIES];
	unsigned temporary_count;
};

static inline struct dir_backend *dir_of(struct backend *backend)
{
	return container_of(backend, struct dir_backend, base);
}

/* "PATH/name" from malloc(), or NULL with words. `name` "": PATH itself. */
char *dir_path(const struct dir_backend *dir, const char *name,
	       struct err *err);
/* Words for a failure of the system at an object; returns `code`. */
int dir_fail(const struct dir_backend *dir, int code, const char *doing,
	     const char *name, struct err *err);
/* 0 to 255 from two hex digits, or -1. */
int dir_subfolder(const char *two);

/* Handles: get one, use it, put it back. */
int dir_handle_get(struct dir_backend *dir, const char *name, bool direct,
		   struct dir_handle **out, struct dir_handle *spare,
		   struct err *err);
void dir_handle_put(struct dir_backend *dir, struct dir_handle *handle);
/* The object is gone: forget its handle. */
void dir_handle_drop(struct dir_backend *dir, const char *name);
void dir_handle_close_all(struct dir_backend *dir);

/* Puts. */
int dir_put_begin(struct backend *backend, const char *name,
		  struct backend_put **put, struct err *err);
int dir_put_write(struct backend_put *put, const void *data, size_t size,
		  struct err *err);
int dir_put_finish(struct backend_put *put, struct err *err);
void dir_put_abort(struct backend_put *put);

/* Listing. */
int dir_list(struct backend *backend, const char *folder, backend_list_fn *fn,
	     void *arg, struct err *err);
uint64_t dir_stamp(struct backend *backend, const char *folder);
/* Which of packs/00 to packs/ff are there. 0 or -errno (-ENOENT: no packs/). */
int dir_subfolders(struct dir_backend *dir, bool found[DIR_SUBFOLDER],
		   struct err *err);
/* Not a temporary, nor a file manager's litter. */
bool dir_could_be_ours(const char *name);

/* Sweeping: files that never got a name. */
bool dir_is_temporary(const char *name);
/* One was seen; as many as there is room for are kept in mind. */
void dir_note_temporary(struct dir_backend *dir, const char *folder,
			const char *name);
/* Those noted go, if they are a day old. */
void dir_sweep(struct dir_backend *dir);
void dir_forget_temporaries(struct dir_backend *dir);

#endif
