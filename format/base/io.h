/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All input and output of format/ and vmsnap/ on files goes through struct
 * vs_io, so that a test can put a simulated disk under it that loses power.
 *
 * Four implementations: io_uring and, for hosts that forbid it, plain (who
 * submits waits) and threads (which do the waiting), all on the real kernel,
 * and tests/sim/.
 *
 * A *file* is a small integer handle that belongs to the io it came from (on
 * the real ones a descriptor). All calls may be made from any thread; one
 * file's calls may overlap. A queue belongs to one thread.
 *
 * Return values: 0, a count, a handle, or -errno. Where a struct err is taken,
 * words are written. read/write never write words: the caller knows the place.
 */
#ifndef FORMAT_BASE_IO_H
#define FORMAT_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "format/base/err.h"

enum io_open_flags {
	IO_READ_ONLY = 0,
	IO_READ_WRITE = 1 << 0,
	IO_CREATE = 1 << 1,    /* with IO_READ_WRITE: make it if absent, 0600 */
	IO_EXCLUSIVE = 1 << 2, /* with IO_CREATE: -EEXIST when it is there */
	IO_DIRECT = 1 << 3,    /* past the page cache; a hint: taken back
				  where the file system has none */
	IO_NO_FOLLOW = 1 << 4, /* -ELOOP on a symbolic link */
	IO_CLAIM = 1 << 5,     /* of a block device that is there: -EBUSY when
				  the system uses it (mounted anywhere, of a
				  volume group or a RAID, swap), or somebody
				  else who claims it */
};

enum io_kind {
	IO_KIND_FILE,
	IO_KIND_DIRECTORY,
	IO_KIND_BLOCK,
	IO_KIND_OTHER, /* FIFO, socket, character device */
};

struct io_stat {
	uint64_t size_bytes; /* of a block device too */
	uint64_t allocated_bytes;
	enum io_kind kind;
	int64_t modified_ns;
	uint64_t device; /* st_rdev of a block device, else st_dev */
	uint64_t inode;
};

enum io_op {
	IO_OP_READ,
	IO_OP_WRITE,
	IO_OP_SYNC, /* file data and metadata durable, device flushed */
};

struct io_queue;

/*
 * One asynchronous request. The caller owns it and its buffer and leaves both
 * alone from submit until io_queue_reap() hands it back.
 */
struct io_request {
	enum io_op op;
	int file;
	void *buffer;
	size_t length;
	uint64_t offset;
	void *owner;             /* the caller's */
	ssize_t result;          /* bytes (may be short) or -errno */
	bool more;               /* another follows at once: may be held until
				    one without, a kick or a reap */
	struct io_request *next; /* the queue's, as all below */
	struct io_queue *queue;
	bool in_flight; /* submit asserts it is unset */
};

struct vs_io;

/* Called for each name in a directory but "." and ".."; non-zero stops the
 * listing and becomes its result. */
typedef int io_list_fn(void *arg, const char *name);

struct vs_io_ops {
	const char *name; /* "io_uring", "plain", "threads", "simulated" */

	int (*open)(struct vs_io *io, const char *path, int flags,
		    struct err *err);
	/* A file without a name in `dir`, writable; vanishes unless linked. */
	int (*create_unnamed)(struct vs_io *io, const char *dir,
			      struct err *err);
	/* Give an unnamed file its name; -EEXIST when the name is taken. */
	int (*link)(struct vs_io *io, int file, const char *path,
		    struct err *err);
	int (*close)(struct vs_io *io, int file);
	/* The whole file, for as long as this handle (and copies of it) is
	 * open; shared needs a handle that reads, exclusive one that writes.
	 * -EBUSY: somebody else's, in this process too. Never waits. */
	int (*lock)(struct vs_io *io, int file, bool exclusive);

	int (*rename)(struct vs_io *io, const char *from, const char *to,
		      struct err *err);
	int (*unlink)(struct vs_io *io, const char *path, struct err *err);
	/* 0 also when it exists already. */
	int (*mkdir)(struct vs_io *io, const char *path, struct err *err);
	/* Names made, renamed or removed in `path` are durable after this. */
	int (*sync_dir)(struct vs_io *io, const char *path, struct err *err);
	int (*list)(struct vs_io *io, const char *path, io_list_fn *fn,
		    void *arg, struct err *err);
	int (*stat)(struct vs_io *io, const char *path, struct io_stat *st,
		    struct err *err);
	int (*fstat)(struct vs_io *io, int file, struct io_stat *st,
		     struct err *err);

	/* May be short; 0 from read is the end of the file. */
	ssize_t (*read)(struct vs_io *io, int file, void *buffer, size_t length,
			uint64_t offset);
	ssize_t (*write)(struct vs_io *io, int file, const void *buffer,
			 size_t length, uint64_t offset);
	int (*sync)(struct vs_io *io, int file);
	/* What is needed to read it back (content, size, where it lies) is
	 * durable; its times may not be. */
	int (*sync_data)(struct vs_io *io, int file);
	int (*truncate)(struct vs_io *io, int file, uint64_t size);
	/* The range reads as zeros and its space is given back. -EOPNOTSUPP
	 * where the file system can't. */
	int (*punch)(struct vs_io *io, int file, uint64_t offset,
		     uint64_t length);
	/* Space for the range, which ends the file at least there, so that a
	 * write to it never fails for want of it; zeros where nothing was
	 * written. -EOPNOTSUPP, -ENOSPC. */
	int (*reserve)(struct vs_io *io, int file, uint64_t offset,
		       uint64_t length);
	/* The first data extent at or after `offset`: [*start, *end). Where
	 * holes can't be told, all is data. -ENXIO: no data from there on. */
	int (*seek_data)(struct vs_io *io, int file, uint64_t offset,
			 uint64_t *start, uint64_t *end);
	/* Past the page cache from now on (on) or no longer: offsets, lengths
	 * and buffers are then multiples of 4096. false: the file system has
	 * no such thing, and nothing changed. */
	bool (*set_direct)(struct vs_io *io, int file, bool on);
	/* All of the range stands in the page cache; false also where that
	 * can't be told. */
	bool (*is_cached)(struct vs_io *io, int file, uint64_t offset,
			  uint64_t length);
	/* Hints, never errors: write-back may start; will be read soon. */
	void (*start_writeback)(struct vs_io *io, int file, uint64_t offset,
				uint64_t length);
	void (*will_read)(struct vs_io *io, int file, uint64_t offset,
			  uint64_t length);

	struct io_queue *(*queue_new)(struct vs_io *io, unsigned depth,
				      struct err *err);
	/* Takes the request; a failure is in its result, at reap. */
	void (*queue_submit)(struct io_queue *queue,
			     struct io_request *request);
	/* What was held back (io_request.more) goes now. NULL: none ever is. */
	void (*queue_kick)(struct io_queue *queue);
	/* Wait until at least `min` of those submitted are done, fill up to
	 * `max` into `done`; returns how many. min may not exceed what is in
	 * flight. */
	unsigned (*queue_reap)(struct io_queue *queue, unsigned min,
			       struct io_request **done, unsigned max);
	/* Readable when a reap that doesn't wait may give something; -1: there
	 * is none. */
	int (*queue_fd)(struct io_queue *queue);
	/* Waits for what is in flight. NULL is ignored. */
	void (*queue_free)(struct io_queue *queue);

	void (*free)(struct vs_io *io);
};

struct vs_io {
	const struct vs_io_ops *ops;
	bool single_thread; /* a simulation: the store makes no threads */
};

/* A queue starts with this; what follows belongs to the implementation. */
struct io_queue {
	struct vs_io *io;
	unsigned in_flight;
	unsigned at_hand; /* of those: done, which the descriptor does not tell;
			     a reap gives them */
};

/*
 * The best one that this host allows: io_uring, else plain; of io_new_waitless,
 * for a program whose threads may not wait for a device, else threads.
 * VMSNAP_IO=plain, =threads or =uring in the environment forces one (=uring
 * fails where it is forbidden). NULL with words.
 */
struct vs_io *io_new(struct err *err);
struct vs_io *io_new_waitless(struct err *err);
struct vs_io *io_new_uring(struct err *err);
struct vs_io *io_new_plain(struct err *err);
/* Makes its threads now: THREAD_FILES. */
struct vs_io *io_new_threads(struct err *err);
void io_free(struct vs_io *io);

/* Loops over the ops of the same name until all is read or written. */

/* Exactly `length` bytes; -ENODATA at an early end. */
int io_read_full(struct vs_io *io, int file, void *buffer, size_t length,
		 uint64_t offset);
int io_write_full(struct vs_io *io, int file, const void *buffer, size_t length,
		  uint64_t offset);

/* A whole small file into `out` (bytes.h); -EFBIG above `max`. */
struct bytes;
int io_read_file(struct vs_io *io, const char *path, size_t max,
		 struct bytes *out, struct err *err);

/*
 * A whole new file, durably: written unnamed in `dir`, synced, linked as
 * `dir/name`, directory synced. -EEXIST when the name is taken.
 */
int io_write_new(struct vs_io *io, const char *dir, const char *name,
		 const void *data, size_t size, struct err *err);

#endif
