/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live image: a stack of layers over a base. spec/image.md.
 *
 * Requests are asynchronous. Each thread that submits has a queue of its own
 * and reaps from it; any number of queues work on one image. What completes
 * in which order is as of a disk: requests under way together have no order;
 * one that was submitted after another completed sees it.
 *
 * A host's error never becomes success: a request that fails says why in its
 * result (-EIO, -ENOSPC, ...), and later ones are honest.
 */
#ifndef FORMAT_IMAGE_IMAGE_H
#define FORMAT_IMAGE_IMAGE_H

#include "format/base/io.h"

#define IMAGE_BLOCK_SIZE   4096u
#define IMAGE_CLUSTER_SIZE 65536u
#define IMAGE_SIZE_MAX     (64ULL << 40)
#define IMAGE_PATH_MAX     3840

/* ---- what lies beneath all layers ---- */

/*
 * A read-only byte array, verified by whoever provides it. `read` may block
 * and is called by any thread; past size_bytes the image itself gives zeros.
 */
struct image_base {
	uint64_t size_bytes;
	/* 0 or -errno (-EIO: this range can't be had; others still can). */
	int (*read)(struct image_base *base, void *buffer, size_t length,
		    uint64_t offset);
	/* As read, from what is at hand: -EAGAIN where it would block. May be
	 * NULL; with it, cached reads cost no change of threads. */
	int (*try_read)(struct image_base *base, void *buffer, size_t length,
			uint64_t offset);
	/* Is [offset, offset + length) known to be zeros, and how far from
	 * offset does that answer hold? May be NULL. */
	int (*extent)(struct image_base *base, uint64_t offset, uint64_t length,
		      bool *zero, uint64_t *run);
	void (*close)(struct image_base *base);
};

/* What the head says of the base; the caller opens it. All zero: none. */
struct image_base_info {
	bool present;
	uint8_t store_id[16];
	uint8_t root[32];
	unsigned chunk_log2;
	uint64_t size_bytes;
	uint8_t snapshot[32];
	uint8_t pin[16];
	char disk[136];   /* with NUL */
	char store[1024]; /* with NUL: where it is */
};

/* ---- life ---- */

struct image;

/* A new image: head and first layer, durable. -EEXIST. O(1) in size. */
int image_create(struct vs_io *io, const char *path, uint64_t size_bytes,
		 const struct image_base_info *base, struct err *err);

/* The head alone, e.g. to open the base. -ENOENT, -EBADMSG, -EOPNOTSUPP. */
int image_read_base_info(struct vs_io *io, const char *path,
			 struct image_base_info *out, struct err *err);
/* The same, and the image's id. */
int image_read_identity(struct vs_io *io, const char *path, uint8_t id[16],
			struct image_base_info *out, struct err *err);

enum image_mode {
	IMAGE_READ_ONLY,
	IMAGE_READ_WRITE,
	IMAGE_SEALED, /* its sealed layers only; whoever writes to it goes on */
};

struct image_options {
	enum image_mode mode;
	uint64_t sealed_layer; /* IMAGE_SEALED: as of this one's seal */
	/* Nobody opens it again: no flush at close, no layer that stands
	 * prepared before the first seal, and no names for those to come. */
	bool thrown_away;
	struct image_base *base; /* taken over (closed with the image, also when
				    the open fails); NULL: must have none */
	size_t map_memory_bytes; /* bound for map pages held; 0: 64 MiB */
	bool helpers_now; /* its helpers are made by the open: whoever reads may
			     have no right to make threads. Else when needed */
	/* Damage found at open or later; may be NULL. Any thread. */
	void (*damage)(void *arg, uint64_t offset, uint64_t length,
		       const char *what);
	void *arg;
};

/* -EBUSY: somebody has it open for writing. -EBADMSG with words: it is damaged
 * and can only be opened IMAGE_READ_ONLY. */
int image_open(struct image **out, struct vs_io *io, const char *path,
	       const struct image_options *options, struct err *err);
/* Flushes first when writable; the error is that of the flush. All queues
 * must have been freed. Closes in any case. */
int image_close(struct image *image, struct err *err);

uint64_t image_size(const struct image *image);

/* ---- requests ---- */

enum image_op {
	IMAGE_READ,
	IMAGE_WRITE,
	IMAGE_FLUSH,
	IMAGE_DISCARD, /* reads as zeros; what is smaller than a block stays */
	IMAGE_ZERO,    /* reads as zeros, exactly the range */
	/* As ZERO, also past the end of the volume, and said even where nothing
	 * lies beneath: a base that comes there later does not show. */
	IMAGE_HIDE,
};

/* The caller's until done; a multiple of 512 for offset and length (any, for
 * the single thread of a test: still 512). */
struct image_request {
	enum image_op op;
	uint64_t offset;
	uint64_t length;
	void *buffer; /* read, write */
	bool fua;     /* durable before it completes; not of reads */
	bool more;    /* another is submitted right behind it: it may be held
			 back until one without, or a reap */
	void *owner;  /* the caller's */
	int result;   /* 0 or -errno */
	struct image_request *next; /* the image's */
	void *work;                 /* the image's */
};

struct image_queue; /* one thread's */

struct image_queue *image_queue_new(struct image *image, unsigned depth,
				    struct err *err);
void image_queue_free(struct image_queue *queue); /* waits; NULL ignored */
/* Out of range or unaligned: completes with -EINVAL. Never blocks on a device
 * but when the depth is exceeded. */
void image_submit(struct image_queue *queue, struct image_request *request);
/* Waits until `min` are done; returns how many are in done[]. */
unsigned image_reap(struct image_queue *queue, unsigned min,
		    struct image_request **done, unsigned max);
/* Readable whenever reap(0) would give something; -1: none to be had. */
int image_queue_fd(struct image_queue *queue);

/* One request to its end, which blocks: its result. Others of the queue may be
 * under way, and stay to be reaped. A flush is done by the caller itself. */
int image_request_run(struct image_queue *queue, struct image_request *request);
int image_read(struct image_queue *queue, void *buffer, size_t length,
	       uint64_t offset);
int image_write(struct image_queue *queue, const void *buffer, size_t length,
		uint64_t offset);
int image_flush(struct image_queue *queue);
int image_discard(struct image_queue *queue, uint64_t length, uint64_t offset);

/* ---- layers ---- */

/*
 * Everything completed before this call belongs to the sealed layers,
 * everything submitted after it to the new top. What is under way goes to
 * either, each 64 KiB of it for itself, as it may at a loss of power; so what
 * is sealed is a state that the disk may have had, to whoever waits for one
 * write before the next. O(1), waits for no device as long as a layer stands
 * prepared (image_prepare() makes one; open and a finished seal do it
 * themselves in the background where threads are allowed). *layer: the number
 * of the layer that is sealed now.
 */
int image_seal(struct image *image, uint64_t *layer, struct err *err);
int image_prepare(struct image *image, struct err *err);
/* Wait until layer `layer` and all beneath are durable and marked sealed. What
 * was under way at the seal is waited for: its queues are reaped by others. */
int image_seal_wait(struct image *image, uint64_t layer, struct err *err);

/*
 * The clusters that the sealed layers up to `layer` hold, in order of the
 * disk, merged over the layers: `fn` gets runs of blocks that these layers
 * have (data or zeros). For absorb, and for a backup by the map.
 */
typedef int image_extent_fn(void *arg, uint64_t offset, uint64_t length,
			    bool zero, struct err *err);
int image_sealed_extents(struct image *image, uint64_t layer,
			 image_extent_fn *fn, void *arg, struct err *err);
/* Read as of layer `layer` sealed: what the disk was at that seal. Blocking. */
int image_read_at(struct image *image, uint64_t layer, void *buffer,
		  size_t length, uint64_t offset);

/*
 * The base becomes `base` (taken over), which holds all of the old base and of
 * the sealed layers up to `layer`; those layers' files go. Layer 0: no layer
 * goes, and where the bases differ a layer has it, flushed. Under running
 * requests; they see one or the other. Durable when it returns.
 */
int image_swap_base(struct image *image, uint64_t layer,
		    const struct image_base_info *info, struct image_base *base,
		    struct err *err);

/*
 * Before a base is relied on that is to come: PATH.swap, durable, names the
 * base as it is and as it will be once layers up to `layer` (0: none) are in it. So
 * whoever comes after a crash knows of both pins. One that is there is
 * replaced. The image may be open elsewhere.
 */
int image_write_swap_note(struct vs_io *io, const char *path, uint64_t layer,
			  const struct image_base_info *info, struct err *err);
struct image_swap_note {
	uint8_t id[16]; /* the image's */
	uint64_t layer; /* 0: none goes */
	struct image_base_info from, to;
};
/* -ENOENT: there is none. -EBADMSG. */
int image_read_swap_note(struct vs_io *io, const char *path,
			 struct image_swap_note *out, struct err *err);
/* 0 also when there is none. */
int image_remove_swap_note(struct vs_io *io, const char *path, struct err *err);

/* The head is durable as this image has it, whatever failed before. */
int image_settle_head(struct image *image, struct err *err);

/* ---- the rest ---- */

/* What is cut off is gone, what is added is zeros whatever the base has there.
 * Nobody writes to what is cut off meanwhile. */
int image_resize(struct image *image, uint64_t size_bytes, struct err *err);

/* Give clusters that nothing names back to the file system. */
int image_compact(struct image *image, uint64_t *freed_bytes, struct err *err);

enum image_extent_kind {
	IMAGE_EXTENT_DATA, /* in a layer */
	IMAGE_EXTENT_ZERO, /* discarded, or nothing anywhere */
	IMAGE_EXTENT_BASE, /* in the base (may be zeros there) */
};
struct image_extent {
	uint64_t offset, length;
	enum image_extent_kind kind;
	uint64_t layer;       /* DATA, ZERO in a layer: which; else 0 */
	uint64_t file_offset; /* DATA: place in that layer's file */
};
/* What stands at `offset`, and how far (at most `length`). Runs of one kind
 * in one layer are merged. */
int image_extent(struct image *image, uint64_t offset, uint64_t length,
		 struct image_extent *out, struct err *err);

/* The same; what is known to be zeros in the base is ZERO of layer 0. */
int image_extent_deep(struct image *image, uint64_t offset, uint64_t length,
		      struct image_extent *out, struct err *err);

struct image_info {
	uint8_t id[16];
	uint64_t size_bytes;
	uint64_t first_layer, top_layer;
	uint64_t data_bytes; /* blocks held by all layers */
	uint64_t file_bytes; /* allocated, all files */
	bool damaged;
	struct image_base_info base;
};
int image_get_info(struct image *image, struct image_info *out,
		   struct err *err);

/*
 * Every rule of the spec on head and all layers; `fn` gets each breach with
 * the range of the volume that it hurts (length 0: none). Returns how many, or
 * -errno where the check could not go on. With `repair` what can be mended is:
 * a bad superblock from its twin, a bad map sector to empty (its range is then
 * reported as lost), clusters named twice freed on the later entry.
 */
int image_check(struct vs_io *io, const char *path, bool repair,
		void (*fn)(void *arg, const char *file, const char *what,
			   uint64_t offset, uint64_t length),
		void *arg, struct err *err);

/* Remove head and layers. -EBUSY when it is open. */
int image_remove(struct vs_io *io, const char *path, struct err *err);

#endif
