/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the live image know of each other.
 *
 * Lock order: image.commit_lock, image.lock, image_queue.lock. No device is
 * waited for under image.lock (but to open a sealed layer's file again and to
 * grow a layer's file, which touch no data).
 *
 * commit_lock: the superblocks, the journal, map pages on disk, the head, the
 * list of layers as it is on disk. Held by whoever makes things durable.
 * lock: everything in memory: map pages, clusters, units, the stack, jobs.
 * image_queue.lock: what other threads hand to a queue.
 */
#ifndef FORMAT_IMAGE_IMAGE_PRIVATE_H
#define FORMAT_IMAGE_IMAGE_PRIVATE_H

#include <pthread.h>

#include "format/base/base.h"
#include "format/base/event.h"
#include "format/image/image_sabotage.h"
#include "format/image/layout.h"

/* A page of the map: eight sectors, 4 KiB of the file. */
#define PAGE_SECTORS       8u
#define PAGE_ENTRIES       (PAGE_SECTORS * MAP_SECTOR_ENTRIES)
#define PAGE_BYTES         (PAGE_SECTORS * MAP_SECTOR_SIZE)
#define PAGES_MAX          2130441u /* for MAP_SECTORS, the last one is short */
#define PRESENT_CHUNK      32768u   /* pages a chunk of the bitmap */
#define PRESENT_CHUNKS     66u

#define MAP_MEMORY_DEFAULT (64u << 20)
#define MAP_PAGES_MIN      64u
#define UNIT_BUCKETS       1024u
#define SLOW_THREADS       4u
#define OPEN_FILES_MAX     128u
#define FREED_MAX          65536u
#define SEQUENCE_GAP       (1ULL << 20) /* above the records of any ring */
#define JOURNAL_DEFAULT    (2u << 20)

struct layer;
struct part;

/* ---- map.c: pages of the layers' maps, in memory as needed ---- */

struct map_page {
	struct map_page *hash_next;
	struct map_page *newer, *older; /* by last use */
	struct map_page *next_unrecorded, *next_dirty;
	struct layer *layer;
	uint32_t number;
	uint32_t pins;  /* never evicted while not 0 */
	uint8_t bad;    /* sectors that can't be trusted */
	bool dirty;     /* not as in the file's map; on layer->dirty */
	bool unwritten; /* on layer->unrecorded */
	uint64_t unrecorded[PAGE_ENTRIES / 64 + 1];
	uint64_t entries[PAGE_ENTRIES];
};

struct map_cache {
	struct map_page **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
	size_t max;         /* pages that may be held */
	size_t dirty;       /* of all layers */
	size_t dirty_limit; /* who would make more waits for a checkpoint */
	struct map_page *newest, *oldest;
	struct map_page *unused; /* no page now, chained by `older` */
};

int map_cache_init(struct map_cache *cache, size_t memory_bytes,
		   struct err *err);
void map_cache_release(struct map_cache *cache);

static inline uint32_t page_of_unit(uint64_t unit)
{
	return (uint32_t)(unit / PAGE_ENTRIES);
}

/* Is there, in memory or in the file, anything of this page? */
bool map_page_present(const struct layer *layer, uint32_t page);
int map_page_set_present(struct layer *layer, uint32_t page);
/* The first page from `page` on that may be there, or PAGES_MAX. */
uint32_t map_next_present(const struct layer *layer, uint32_t page);
/* In memory, or NULL. */
struct map_page *map_page_find(struct layer *layer, uint32_t page);
/* As find; makes an empty one where the file has none. NULL: must be loaded
 * (*r = 0), or *r = -ENOMEM. */
struct map_page *map_page_get(struct layer *layer, uint32_t page, int *r);
/* Load it; the lock is let go in between. 0 or -errno. */
int map_page_load(struct layer *layer, uint32_t page);
/* get, or load and get. */
int map_page_need(struct layer *layer, uint32_t page, struct map_page **out);
/* The entry is another one now. */
void map_entry_changed(struct map_page *page, unsigned index);
void map_page_dirty(struct map_page *page);
/* Drop all of a layer's pages. */
void map_drop_layer(struct layer *layer);
/* What the journal says over what the file's map says. */
void map_apply_replayed(const struct layer *layer, uint32_t page,
			uint64_t entries[PAGE_ENTRIES]);
/* Entry of a unit: 0 with *entry, 1: its page must be loaded, -EIO: hurt. */
int map_lookup(struct layer *layer, uint64_t unit, uint64_t *entry);

/* ---- layers ---- */

struct cluster_run {
	uint64_t first, count;
};

/* Blocks of a unit. */
struct block_set {
	uint64_t unit;
	unsigned mask;
};

struct block_list {
	unsigned count, blocks;
	struct block_set sets[JOURNAL_CHECKS_MAX];
};

/* Blocks that became valid. */
struct fresh {
	struct block_list now;   /* since the last record */
	struct block_list taken; /* in the record on its way */
	struct block_list bound; /* in the last one, which nothing confirms */
};

struct layer {
	struct image *image;
	struct layer_super super; /* as durable; by commit_lock */
	char *path;
	unsigned refs;  /* stacks that have it; by image->lock, as all below */
	int file;       /* -1: closed for now */
	unsigned users; /* of the file, now */
	unsigned writers; /* parts under way that may write to it */
	uint64_t last_used;
	bool broken; /* nothing can be read from it */
	bool sealed; /* durable and marked so */
	bool failed; /* a sync failed: nothing is durable here any more */
	bool unsynced;

	/* The journal; by commit_lock. */
	uint64_t sequence, position;
	bool journal_broken; /* a record may stand there that doesn't count */
	uint64_t checked_at; /* the last record with checks */
	struct map_item *replayed; /* read only: what the journal says */
	size_t replayed_count;

	uint64_t max_cluster;
	uint64_t file_end;
	struct cluster_run *free_runs; /* zeros, and nothing names them */
	size_t free_count, free_capacity;
	uint64_t *freed; /* given up, not recorded yet */
	size_t freed_count, freed_capacity;

	uint64_t map_epoch; /* moves when pages are written to the file */
	uint64_t *present[PRESENT_CHUNKS];
	struct map_page *first_unrecorded, *first_dirty;
	size_t unrecorded_count; /* entries */
	struct fresh *fresh;     /* or NULL: none yet */
	bool fresh_unknown;      /* `now` does not name all of them */
};

/* layer.c */
char *layer_path(const struct image *image, uint64_t number);
/* A new file, durable with its name. */
int layer_create(struct image *image, uint64_t number, const uint8_t parent[16],
		 struct layer **out, struct err *err);
/* One that is there; the superblock read, nothing else. -ENOENT. */
int layer_open(struct image *image, uint64_t number, struct layer **out,
	       struct err *err);
/* In place of one that can't be had. */
struct layer *layer_new_broken(struct image *image, uint64_t number);
void layer_free(struct layer *layer);
int layer_super_write(struct layer *layer, const struct layer_super *change,
		      struct err *err);
/* What of the map is in the file; and what its journal says. */
int layer_load(struct layer *layer, struct err *err);
/* Before it is written to: its journal goes into its map. image_open.c */
int layer_recover(struct layer *layer, bool seal, struct err *err);
/* Its file, opened if need be; -errno. Counts a user. By image->lock. */
int layer_use(struct layer *layer);
void layer_unuse(struct layer *layer);
/* Files of sealed layers that nobody uses, above the bound. */
void layer_close_idle(struct image *image);
/* A cluster of zeros that nothing names. */
int layer_take_cluster(struct layer *layer, uint64_t *cluster);
int layer_give_up(struct layer *layer, uint64_t cluster);
/* Zeros there, and their space given back where that works. */
int layer_zero(struct layer *layer, int file, uint64_t offset, uint64_t length);
int layer_add_free(struct layer *layer, uint64_t first, uint64_t count);

/* journal.c */
/* All items in order, then merged: sorted by unit, the last of each. Position
 * and sequence behind the last good record go to the layer. */
int journal_replay(struct layer *layer, struct err *err);
/* Bytes that so many items take, whatever the ring's end does. */
uint64_t journal_need(size_t items);
uint64_t journal_used(const struct layer *layer);
/* Without items: an empty record, which confirms the one before it. */
int journal_write(struct layer *layer, struct map_item *items, size_t count);
/* Do they fit in one record before the ring's end? */
bool journal_fits(const struct layer *layer, size_t items, size_t checks);
/* That one record. */
int journal_write_checked(struct layer *layer, struct map_item *items,
			  size_t count, struct block_check *checks,
			  size_t check_count);
/* The sync that it shared with its data failed: what the host's cache shows
 * of it must not count when the layer is opened anew. */
void journal_unwrite_checked(struct layer *layer);

/* ---- fresh.c: new blocks, and what a record says of them; all by
 * image->lock ---- */

/* Blocks of a cluster are valid that were not. */
void fresh_add(struct layer *layer, uint64_t unit, unsigned mask);
/* Something changed that no check could tell. */
void fresh_unknown(struct layer *layer);
/* May the flush be one record with checks? Nobody is at work on its blocks
 * then. By commit_lock too. */
bool fresh_may_check(const struct layer *layer);
/* They go into a record: their blocks' numbers, of which it returns how many;
 * with checks NULL it will be one without. */
size_t fresh_take(struct layer *layer, struct block_check *checks);
/* That record is durable, and confirms the one before it. */
void fresh_recorded(struct layer *layer);
/* It came to nothing, or has no checks. */
void fresh_untake(struct layer *layer);
bool fresh_has_bound(const struct layer *layer);
/* Would a change of bytes [from, to) of the unit belie the last record? */
bool fresh_is_bound(const struct layer *layer, uint64_t unit, unsigned from,
		    unsigned to);

/* ---- units: who is at work on which 64 KiB ---- */

struct unit {
	struct unit *next;
	uint64_t number;
	unsigned shared;
	bool exclusive;
	struct part *first, *last; /* wait, in order */
};

/* True: the part has it now. False: it waits, and becomes a job when it has
 * it (or, with -ENOMEM in part->result, at once). */
bool unit_acquire(struct part *part, uint64_t unit, bool exclusive);
void unit_release(struct part *part);
/* Is anybody at work on it? By image->lock. */
bool unit_is_held(struct image *image, uint64_t unit);

/* ---- the stack ---- */

struct base_ref {
	unsigned refs;
	struct image_base *base;
};

/* Never changed once published. layers[0] is the lowest. */
struct stack {
	unsigned refs;
	struct base_ref *base; /* or NULL */
	size_t count;
	struct layer *layers[];
};

struct stack *stack_new(struct image *image, struct base_ref *base,
			size_t count);
struct stack *stack_get(struct stack *stack);
/* By image->lock, which is let go while the last one closes files. */
void stack_put(struct image *image, struct stack *stack);
static inline struct layer *stack_top(const struct stack *stack)
{
	return stack->layers[stack->count - 1];
}

enum run_kind { RUN_ZERO, RUN_DATA, RUN_BASE };

/* Blocks of one unit that lie in one place. */
struct run {
	enum run_kind kind;
	struct layer *layer; /* NULL: in none */
	unsigned first, count;
	uint64_t file_offset;
};

/*
 * Where blocks first to last of the unit lie, seen from layers[count - 1]
 * down. 0, 1: *missing needs its page loaded, or -EIO. By image->lock.
 */
int stack_resolve(const struct stack *stack, size_t count, uint64_t unit,
		  unsigned first, unsigned last, struct run runs[16],
		  unsigned *run_count, struct layer **missing);
/* From the base, zeros past its end. Blocks. */
int base_read(const struct base_ref *base, void *buffer, size_t length,
	      uint64_t offset);
/* Blocking; all of it within one unit. The unit must not change under it. */
int stack_read_unit(struct image *image, const struct stack *stack,
		    size_t count, void *buffer, size_t length, uint64_t offset);

/* One run of the volume, seen from layers[count - 1] down. */
typedef int stack_run_fn(void *arg, uint64_t offset, uint64_t length,
			 const struct run *run, struct err *err);
/* In order, cut at units but where nothing is in any layer for long. Non-zero
 * of `fn` ends it and is returned. -EIO: that unit's map is hurt. */
int stack_each_run(struct image *image, const struct stack *stack, size_t count,
		   uint64_t from, uint64_t to, stack_run_fn *fn, void *arg,
		   struct err *err);
/* How many of the stack's layers have numbers up to this one. */
size_t stack_count_to(const struct stack *stack, uint64_t number);

/* ---- requests ---- */

struct segment {
	struct io_request io;
	struct segment *next;
	struct part *part;
	struct layer *layer;
};

/* What a request was cut into: within one unit, but for discard and zero. */
struct part {
	struct part *next; /* in the list where it is */
	struct image_queue *queue;
	struct image_request *request;
	enum image_op op;
	uint64_t offset;
	uint64_t length;
	uint8_t *buffer;
	struct stack *stack;
	struct unit *unit;
	bool exclusive;
	struct map_page *page; /* of a write under way; pinned */
	unsigned segments;     /* under way */
	int result;
};

struct part_list {
	struct part *first, *last;
};

void part_push(struct part_list *list, struct part *part);
struct part *part_pop(struct part_list *list);

struct request_list {
	struct image_request *first, *last;
};

struct image_queue {
	struct image *image;
	struct io_queue *io;
	unsigned in_flight; /* requests */
	struct request_list done;
	struct part *free_parts;
	struct segment *free_segments;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct part_list posted; /* by others */
	struct event event;      /* a reap would give something; by lock */
	int poll_fd;             /* -1: not asked for */
	bool io_is_done;         /* as soon as it is submitted: no descriptor */
};

/* In the queue's thread, unless said otherwise. */
struct segment *segment_new(struct part *part, struct layer *layer);
void segment_submit(struct segment *segment, enum io_op op, void *buffer,
		    size_t length, uint64_t offset);
/* No more of the part is under way. */
void part_finish(struct part *part);
/* By any thread: the part is finished. */
void queue_post(struct part *part);
/* By image->lock: have a helper (or the next reap) go on with it. */
void part_to_helper(struct part *part);
/* The stack as it is now; who changes the disk counts as a writer of its top.
 * By image->lock. */
void part_take_stack(struct part *part);
/* Lets go of unit, page and stack. By image->lock. */
void part_release(struct part *part);

/* Start in the submitter's thread. */
void read_start(struct part *part);
void write_start(struct part *part);
/* All segments are done. By the queue's thread. */
void write_complete(struct part *part);
/* To the end, blocking; false: the part waits for a unit. By a helper. */
bool read_slow(struct part *part);
bool write_slow(struct part *part);
bool discard_slow(struct part *part);
/* Room for one more dirty page, by a checkpoint if need be. Lock is not held. */
int image_make_room(struct image *image);
/* Journals of all layers empty, everything in the maps. By commit_lock. */
int image_checkpoint(struct image *image, struct err *err);
/* Data for [from, to) of a unit, by whoever holds it; what is there of a block
 * in part is merged, for which it must be held alone. -EAGAIN: it is not. */
int write_range(struct part *part, uint64_t unit, unsigned from, unsigned to,
		const uint8_t *data);
/* Any blocks of the top that a write to [from, to) of a unit changes in part
 * only and that it does not have? */
bool write_needs_merge(uint64_t entry, unsigned from, unsigned to);
/* The page's entry gets a cluster if it has none. By image->lock. */
int write_take_cluster(struct layer *top, struct map_page *page,
		       unsigned index);
/* The blocks of [from, to) of the unit are there now. */
void write_set_bits(struct layer *top, struct map_page *page, unsigned index,
		    unsigned from, unsigned to);

/* image_helper.c: threads, or the same done inline. */
/* All helpers, where threads are allowed. */
void helper_start(struct image *image);
void helper_stop(struct image *image);
void helper_wake_background(struct image *image);
/* A flush by the caller, blocking. Of several at once the second makes durable
 * what the rest have, who find nothing left to do. By no lock. */
int helper_flush(struct image *image);
/* Without threads: do one of what is to be done; true when there was any. */
bool helper_run_inline(struct image *image);
bool helper_has_inline(struct image *image);

/* ---- making things durable ---- */

/* image_flush.c: the head is this one from now on. By commit_lock. */
int image_write_head(struct image *image, struct head *next, struct err *err);
/* After one that failed: the head that counts here is on the disk too, before
 * anything is called durable. By commit_lock. */
int image_make_head_sure(struct image *image, struct err *err);
/*
 * All layers from the lowest that isn't sealed up to layers[count - 1]:
 * flushed, in order. By commit_lock.
 */
int image_commit(struct image *image, struct stack *stack, size_t count,
		 struct err *err);
/* One layer: its data and its entries; with `checkpoint` the journal is empty
 * after it, with `seal` it is marked as sealed too. By commit_lock. */
int layer_commit(struct layer *layer, bool checkpoint, bool seal,
		 struct err *err);
/* Its last record no longer depends on the data it checks, so that may be
 * changed. Takes commit_lock. */
int image_confirm(struct image *image, struct layer *layer);
/* image_seal.c: nobody writes to the sealed layers up to this number any more.
 * -EBUSY: somebody does, and there are no threads to wait for. By no lock. */
int image_wait_writers(struct image *image, uint64_t number, struct err *err);
/* Finish the sealed layers up to this number, but for what is still written
 * to. By commit_lock. */
int image_finish_seals(struct image *image, uint64_t number, struct err *err);
int image_prepare_locked(struct image *image, struct err *err);

/* ---- the image ---- */

struct image {
	struct vs_io *io;
	char *path; /* of the head */
	char *dir;
	bool writable;
	bool thrown_away;
	bool threads;
	int file; /* of the head, locked */
	void (*damage_fn)(void *arg, uint64_t offset, uint64_t length,
			  const char *what);
	void *damage_arg;

	pthread_mutex_t commit_lock;
	struct head head;
	bool head_unsure; /* a write failed: the disk may have another one */

	pthread_mutex_t lock;
	struct layer *prepared; /* the next top, or NULL */
	uint64_t size_bytes;
	struct stack *stack;
	struct map_cache map;
	bool damaged;
	uint64_t sealed_layer; /* it ends with this one; 0: the whole image */
	uint64_t use_clock;
	unsigned open_files;
	struct unit *units[UNIT_BUCKETS];
	struct unit *free_units;

	struct part_list jobs;    /* for helpers */
	struct part_list flushes; /* for the background */
	bool want_prepare, want_finish, want_checkpoint, stopping;
	pthread_cond_t job_there, background_there;
	pthread_cond_t writers_gone; /* from a layer that was sealed */
	pthread_t slow_threads[SLOW_THREADS];
	unsigned slow_count, slow_idle;
	pthread_t background;
	bool background_runs;
};

static inline void image_lock(struct image *image)
{
	pthread_mutex_lock(&image->lock);
}

static inline void image_unlock(struct image *image)
{
	pthread_mutex_unlock(&image->lock);
}

/* Tells the caller, and remembers. By no lock but commit_lock. */
void image_damage(struct image *image, uint64_t offset, uint64_t length,
		  const char *what);
int image_need_writable(struct image *image, struct err *err);
/* Calls `fn` for each name of the head's folder that is a layer of it. */
typedef int image_layer_fn(void *arg, uint64_t number, const char *path,
			   struct err *err);
int image_each_layer_file(struct vs_io *io, const char *path,
			  image_layer_fn *fn, void *arg, struct err *err);
/* The folder of a path; NULL without memory. */
char *image_dir_of(const char *path);

#endif
