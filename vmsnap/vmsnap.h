/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvmsnap: the engine over a store. Backup, restore, verify, diff, check,
 * stats. Knows no argv and prints nothing; the public header of vmsnap/.
 *
 * A struct vms may be used by one thread at a time; each call makes its own
 * workers and has joined them when it returns. Return values are 0 or -errno
 * with words (format/base/err.h). Outputs are untouched on failure unless said
 * otherwise.
 */
#ifndef VMSNAP_VMSNAP_H
#define VMSNAP_VMSNAP_H

#include <stdatomic.h>

#include "format/vmsnap-format.h"
#include "vmsnap/keeper.h"
#include "vmsnap/machine.h"

struct vms;

/*
 * What a long call has done so far; read it from any thread while the call
 * runs. The caller zeroes it. Set `stop` to end the call soon with -ECANCELED
 * and nothing half-made.
 */
struct vms_progress {
	_Atomic uint64_t total_bytes; /* 0 while unknown */
	_Atomic uint64_t done_bytes;
	_Atomic uint64_t unique_bytes; /* new content */
	_Atomic uint64_t stored_bytes;
	_Atomic bool stop;
};
/* -ECANCELED with words once the caller asked to stop. NULL: never. */
int progress_check(const struct vms_progress *progress, struct err *err);

struct vms_options {
	const char *location; /* a directory; ssh://, s3://, rados:// are
				 -EOPNOTSUPP in this version */
	struct store_options store;
	unsigned workers; /* 0: pool_default_workers() */
};

int vms_init(const char *location, const struct store_create_options *options,
	     struct err *err);
int vms_open(struct vms **out, const struct vms_options *options,
	     struct err *err);
/* Over an io and a backend of the caller's (tests); takes the backend over. */
int vms_open_backend(struct vms **out, struct vs_io *io,
		     struct backend *backend, const struct vms_options *options,
		     struct err *err);
void vms_close(struct vms *vms); /* NULL is ignored */
/* For a process that will hold secrets, before anything else: no core file,
 * nobody's ptrace; a closed pipe or a file beyond its limit is an error to
 * handle and not a death. */
void vms_harden_process(void);
/* A store_passphrase_fn; `arg` is an int *: a descriptor whose every byte up
 * to its end is the passphrase. It is closed then and set to -1. */
int vms_passphrase_from_fd(void *arg, char **out, size_t *size,
			   struct err *err);
struct store *vms_store(struct vms *vms);
/* A backend for key export and import, which need no open store. */
int vms_backend_open(struct vs_io *io, const char *location,
		     struct backend **out, struct err *err);

/* ---- snapshots ---- */

/*
 * NAME, NAME@latest, NAME@LABEL, NAME@-N, or at least 8 hex digits of an id.
 * -ENOENT says what there is; -EINVAL: ambiguous or malformed. What was found
 * can be read, also when it is younger than the opening.
 */
int vms_find_snapshot(struct vms *vms, const char *spec, struct snapshot *out,
		      struct err *err);

struct vms_snapshot_list {
	struct snapshot *snapshots; /* oldest first, by (time, id) */
	size_t count;
	/* Manifests that could not be read: object name and why. */
	struct vms_damage {
		char object[OBJECT_NAME_MAX];
		struct err why;
	} * damaged;
	size_t damaged_count;
};
/* Those of `name`, or all for NULL. A manifest that can't be read is listed,
 * and is no failure of the call. Loads side by side. */
int vms_list(struct vms *vms, const char *name, struct vms_snapshot_list *out,
	     struct err *err);
void vms_snapshot_list_release(struct vms_snapshot_list *list);
/* The latest snapshot of each name. */
int vms_list_latest(struct vms *vms, struct vms_snapshot_list *out,
		    struct err *err);

/* ---- backup ---- */

struct vms_source {
	const char *disk;     /* its name in the snapshot */
	const char *location; /* raw file, block device, or "-" for standard
				 input */
	uint64_t size_bytes;  /* of "-"; 0 elsewhere */
	/* Of an image whose base is in another store: that, open. Else NULL. */
	struct vms *base_store;
};

struct vms_backup {
	const char *name;
	const char *label; /* NULL for none; -EEXIST when a snapshot of this
			      name has it already */
	const struct vms_source *sources;
	size_t source_count;
	unsigned chunk_log2;  /* 0: as the parent's disk, else the store's */
	bool rehash;          /* do without the change filter */
	bool skip_bad_blocks; /* zeros where the source gives EIO; the ranges
				 stand in the snapshot's volume */
	struct vms_progress *progress;             /* may be NULL */
	void (*warn)(void *arg, const char *text); /* may be NULL */
	void *warn_arg;
};

/*
 * One snapshot of all sources. In a store opened with STORE_DRY it is counted,
 * not made. -EIO names the source and the offset. *out is the caller's to
 * release.
 */
int vms_backup(struct vms *vms, const struct vms_backup *backup,
	       struct snapshot *out, struct err *err);

/* ---- restore and verify ---- */

struct vms_ranges {
	struct range *ranges;
	size_t count, capacity;
};

struct vms_restore {
	const struct snapshot *snapshot;
	const char *disk; /* NULL: the only one; -EINVAL when there are more */
	const char *target; /* file, block device, or "-" for standard output */
	bool force;         /* write over a block device, or an existing file */
	bool delta;         /* read the target, write only what differs; also
			       goes on with TARGET.vmsnap-partial */
	bool skip_damaged;  /* zeros for what can't be read, told in result */
	struct vms_progress *progress;             /* may be NULL */
	void (*warn)(void *arg, const char *text); /* may be NULL */
	void *warn_arg;
};

struct vms_restore_result {
	uint64_t size_bytes;
	uint64_t data_bytes; /* not holes */
	uint64_t written_bytes;
	uint64_t unchanged_bytes; /* --delta: was there already */
	struct vms_ranges
		damaged;         /* byte ranges that became zeros, ascending */
	struct err first_damage; /* words of the first */
};

/*
 * To a file: written as TARGET.vmsnap-partial (sparse) beside it, synced,
 * renamed. -EEXIST: target is there and neither force nor delta; -EBUSY: a mounted
 * device. A damaged chunk is -EBADMSG with the byte range unless skip_damaged.
 */
int vms_restore(struct vms *vms, const struct vms_restore *restore,
		struct vms_restore_result *result, struct err *err);
void vms_restore_result_release(struct vms_restore_result *result);

struct vms_verify_result {
	uint64_t size_bytes;
	uint64_t data_bytes; /* not holes */
	/* In the snapshot's order, the good ones too. */
	struct vms_verify_disk {
		char name[NAME_MAX_SIZE + 1];
		struct vms_ranges damaged; /* byte ranges, ascending */
		struct err first_damage;   /* words of one of them */
	} * disks;
	size_t disk_count;
};

/* Read and check every byte of a snapshot, disk by disk, in memory. -EBADMSG:
 * something is damaged, and *result (zeroed by the caller, filled and to be
 * released in any case) tells all of it. */
int vms_verify(struct vms *vms, const struct snapshot *snapshot,
	       struct vms_progress *progress, struct vms_verify_result *result,
	       struct err *err);
void vms_verify_result_release(struct vms_verify_result *result);

/* ---- random access ---- */

/* Verified chunks in memory, shared by all readers of a process, and the
 * threads that read ahead for them. memory_bytes 0: 64 MiB. */
struct vms_cache;
int vms_cache_new(struct vms_cache **out, size_t memory_bytes, struct err *err);
/* All its readers are closed. NULL is ignored. */
void vms_cache_free(struct vms_cache *cache);

/*
 * One volume, to be read anywhere by any number of threads, also beside one
 * other call on `vms`, which must outlive it as `cache` must. `volume` is
 * copied. What is read in order is read ahead.
 */
struct vms_reader;
int vms_reader_open(struct vms_reader **out, struct vms *vms,
		    struct vms_cache *cache, const struct volume *volume,
		    struct err *err);
/* No call on it is under way. NULL is ignored. */
void vms_reader_close(struct vms_reader *reader);
uint64_t vms_reader_size(const struct vms_reader *reader);
/* All of it, verified, or -EIO with words: something in this range is damaged
 * or can't be had (the buffer's content is undefined then); other ranges are
 * not concerned. -EINVAL: past the end. */
int vms_reader_read(struct vms_reader *reader, void *buffer, size_t length,
		    uint64_t offset, struct err *err);
/*
 * What stands at `offset`: a hole (zeros) or data, and for how long: *run is 1
 * to `length` (cut at the end of the volume); the next run may be of the same
 * kind. Reads no data. What is damaged counts as data.
 */
int vms_reader_extent(struct vms_reader *reader, uint64_t offset,
		      uint64_t length, bool *is_hole, uint64_t *run,
		      struct err *err);
/* How much of it is data, in whole chunks. Reads the tree, no data; what is
 * damaged, and what comes after so many runs of one kind, counts as data. */
uint64_t vms_reader_data_bytes(struct vms_reader *reader, unsigned max_runs);
/* The same as the base of an image (format/image/image.h), which takes the
 * reader over also on failure. */
int vms_reader_base(struct image_base **out, struct vms_reader *reader,
		    struct err *err);

/* Find also what other processes have written since the store was opened;
 * snapshots are listed without it, their chunks are not found. Any thread. */
int vms_refresh(struct vms *vms, struct err *err);

/* ---- diff ---- */

/* A byte range of one disk that differs; disks in a's order. */
typedef int vms_diff_fn(void *arg, const char *disk, uint64_t offset,
			uint64_t length, struct err *err);
struct vms_diff_disk {
	char name[NAME_MAX_SIZE + 1];
	bool in_a, in_b;
	uint64_t size_a, size_b;
	uint64_t differing_bytes;
};
struct vms_diff_result {
	struct vms_diff_disk *disks;
	size_t count;
};
/* Walks both trees from the root, only where they differ. Other chunk sizes
 * are compared by content. `fn` and `progress` may be NULL; what counts as done
 * is how far on the disk it is. */
int vms_diff(struct vms *vms, const struct snapshot *a,
	     const struct snapshot *b, vms_diff_fn *fn, void *arg,
	     struct vms_progress *progress, struct vms_diff_result *result,
	     struct err *err);
void vms_diff_result_release(struct vms_diff_result *result);

struct vms_live;
struct vms_diff_side {
	struct vms_live *live; /* an image; nobody writes to it meanwhile */
	const struct snapshot *snapshot; /* where that is NULL */
	const char *disk; /* of the snapshot; NULL: the only one, or the one
			     that is called as the image's */
};
/*
 * Where an image differs from another or from a snapshot's disk, in the units
 * of vms_diff(), and by content: the same bytes written again are no
 * difference. One side at least is an image. Reads the chunks of which a layer
 * has a part; where trees can't be compared (other chunk sizes) all but holes.
 * `vms` is the store of all bases; NULL: none has one.
 */
int vms_diff_image(struct vms *vms, const struct vms_diff_side *a,
		   const struct vms_diff_side *b, vms_diff_fn *fn, void *arg,
		   struct vms_progress *progress, struct vms_diff_disk *out,
		   struct err *err);

/* ---- check ---- */

struct vms_check {
	bool read_data;
	double share; /* of the data chunks, 0 < share <= 1 */
	struct vms_progress *progress;
};

/* One thing that is wrong, and whom it hurts. */
struct vms_check_error {
	char object[OBJECT_NAME_MAX]; /* "packs/ab/ab12..", "chunk 12ab.." */
	char what[ERR_TEXT_MAX];
	struct vms_hurt {
		struct id snapshot;
		char name[NAME_MAX_SIZE + 1]; /* "" when it can't be known */
		char disk[NAME_MAX_SIZE + 1];
		struct vms_ranges ranges;
	} * hurt;
	size_t hurt_count;
	bool too_new; /* not damage: made by a newer version */
};

struct vms_check_result {
	struct vms_check_error *errors;
	size_t error_count;
	uint64_t snapshots;
	uint64_t chunks; /* distinct, referenced */
	uint64_t packs;
	uint64_t read_bytes; /* content bytes read and recomputed */
};

/*
 * Structure: manifest -> tree -> table -> pack directory; with read_data also
 * every chunk (or a share of them). Open the store tolerant. Errors found are
 * in the result, and the call then answers 0; -errno only where the check
 * itself could not go on. Memory grows with the number of distinct chunks by
 * a bounded few bytes each.
 */
int vms_check(struct vms *vms, const struct vms_check *check,
	      struct vms_check_result *result, struct err *err);
void vms_check_result_release(struct vms_check_result *result);

/* ---- stats ---- */

struct vms_stats_snapshot {
	struct id id;
	char name[NAME_MAX_SIZE + 1];
	char label[NAME_MAX_SIZE + 1];
	int64_t time_ns;
	uint64_t logical_bytes; /* sizes of the disks */
	uint64_t data_bytes;    /* of them not holes */
	uint64_t unique_bytes;  /* content in no other snapshot */
	uint64_t unique_stored_bytes;
};
#define VMS_HISTOGRAM_BUCKETS 32
struct vms_stats {
	struct vms_stats_snapshot *snapshots;
	size_t snapshot_count;
	uint64_t logical_bytes;       /* over all snapshots */
	uint64_t data_bytes;          /* over all snapshots, not holes */
	uint64_t unique_bytes;        /* distinct content */
	uint64_t unique_stored_bytes; /* sealed bytes of it */
	uint64_t store_bytes;         /* all objects of the store */
	uint64_t unreferenced_bytes;  /* sealed bytes no snapshot needs */
	uint64_t chunks; /* distinct; unique_bytes is their content */
	uint64_t nodes, packs, tables;
	uint64_t damaged; /* manifests, tables, nodes left out: can't be read */
	/* Data chunks by stored share of their content: bucket n holds those
	 * between n/32 and (n+1)/32; and by times referenced, log2. */
	uint64_t by_ratio[VMS_HISTOGRAM_BUCKETS];
	uint64_t by_references[VMS_HISTOGRAM_BUCKETS];
};
int vms_stats(struct vms *vms, struct vms_progress *progress,
	      struct vms_stats *out, struct err *err);
void vms_stats_release(struct vms_stats *stats);

/* ---- live images ---- */

/* An open image (format/image/image.h) over its base in a store. */
struct vms_live;

struct vms_live_create {
	struct vs_io *io; /* of the image's files */
	const char *path;
	const struct snapshot *snapshot; /* NULL: blank */
	const char *disk; /* NULL: the only one; -EINVAL when there are more */
	uint64_t size_bytes; /* 0: the disk's, rounded up to 512 */
	void (*warn)(void *arg, const char *text); /* may be NULL */
	void *warn_arg;
};
/*
 * A new image in O(1). A pin in the store keeps its base from then on; where
 * `vms` is not open for writing there is none, and `warn` is told. `vms` may be NULL for a
 * blank one. -EEXIST.
 */
int vms_live_create(struct vms *vms, const struct vms_live_create *create,
		    struct err *err);

struct vms_live_options {
	struct vs_io *io; /* of the image's files; outlives it */
	const char *path;
	enum image_mode mode;
	/* The store of its base, and of what is absorbed; outlives it. NULL: the
	 * image has no base (-EINVAL when it has). */
	struct vms *vms;
	/* The base is not to be read: `vms` is not asked for, and reading what
	 * no layer has is -EIO. */
	bool without_base;
	/* Where another program serves the image, ask that: see below. */
	bool ask_server;
	struct vms_cache *cache; /* outlives it; NULL: one of its own */
	size_t cache_bytes;      /* of that; 0: 64 MiB */
	size_t map_memory_bytes; /* as of struct image_options */
	void (*damage)(void *arg, uint64_t offset, uint64_t length,
		       const char *what); /* may be NULL; any thread */
	void *arg;
};
/*
 * As image_open(); -EINVAL: `vms` is not the store that its base is in. With
 * ask_server an image that vms_control_start() serves is opened at its control
 * socket: it has no struct image, and vms_live_info() and vms_live_absorb() are
 * all that it can do.
 */
int vms_live_open(struct vms_live **out, const struct vms_live_options *options,
		  struct err *err);
/* As image_close(). NULL is ignored. */
int vms_live_close(struct vms_live *live, struct err *err);
struct image *vms_live_image(struct vms_live *live); /* NULL: is served */
/* As image_get_info(). *process: who serves it, or 0. */
int vms_live_info(struct vms_live *live, struct image_info *out,
		  uint64_t *process, struct err *err);

/*
 * Let others seal this image and swap its base while it is served: a socket
 * beside it, spec/control.md, with threads of its own. `live` is open for
 * writing and outlives it.
 */
struct vms_control;
int vms_control_start(struct vms_control **out, struct vms_live *live,
		      struct err *err);
void vms_control_stop(struct vms_control *control); /* NULL is ignored */
/* As image_extent_deep(). */
int vms_live_extent(struct vms_live *live, uint64_t offset, uint64_t length,
		    struct image_extent *out, struct err *err);

struct vms_live_temporary {
	struct vs_io *io; /* outlives it */
	struct vms *vms;  /* outlives it; open for reading is enough */
	const struct volume *volume;
	struct vms_cache *cache; /* these as in struct vms_live_options */
	size_t map_memory_bytes;
	void (*damage)(void *arg, uint64_t offset, uint64_t length,
		       const char *what);
	void *arg;
};
/*
 * A layer over a volume that is thrown away: its files are in TMPDIR, else
 * /var/tmp, without a name, and gone when it is closed or the process ends. It
 * can't be sealed. No pin is put. -ENOSPC, -EMFILE, ...
 */
int vms_live_temporary(struct vms_live **out,
		       const struct vms_live_temporary *how, struct err *err);

/* Queues on an image, at most `max` (0: 64), that any thread borrows for one
 * request to its end: 0 or -errno. */
struct vms_live_queues;
int vms_live_queues_new(struct vms_live_queues **out, struct vms_live *live,
			unsigned max, struct err *err);
/* No request is under way; before the image is closed. NULL is ignored. */
void vms_live_queues_free(struct vms_live_queues *queues);
int vms_live_request(struct vms_live_queues *queues,
		     struct image_request *request);

struct vms_absorb {
	const char *name;    /* NULL: no snapshot, a new base only */
	const char *label;   /* NULL for none; -EEXIST */
	unsigned chunk_log2; /* of an image without base; 0: the store's */
	struct vms_progress *progress;             /* may be NULL */
	void (*warn)(void *arg, const char *text); /* may be NULL */
	void *warn_arg;
};
/*
 * Seals the image (image_seal()), puts what its layers hold into the store,
 * and swaps the base for the new root, under running requests; `sealed` (may
 * be NULL) is told when the seal is done. Reads only what was written. *out (may be NULL without a name) is the
 * snapshot, or only its volume and totals; the caller's to release. Broken off
 * at any point nothing is lost, and it can be run again. `vms` was opened for
 * writing.
 */
int vms_live_absorb(struct vms_live *live, const struct vms_absorb *absorb,
		    void (*sealed)(void *arg, uint64_t layer), void *arg,
		    struct snapshot *out, struct err *err);

struct vms_rebase {
	const struct snapshot *snapshot;
	const char *disk; /* NULL: the only one, or the one that is called as
			     the image's; -EINVAL when there are more */
	struct vms_progress *progress;             /* may be NULL */
	void (*warn)(void *arg, const char *text); /* may be NULL */
	void *warn_arg;
};
struct vms_rebase_result {
	uint64_t compared_bytes; /* read of the image and of the new base */
	uint64_t kept_bytes; /* put into the layer: only the old base had it */
};
/*
 * The snapshot's disk becomes the base, and what the image holds stays the
 * same: where the two bases differ and no layer has it, what the old one has
 * goes to the top layer. Reads only where their trees differ. Nobody writes to
 * the image meanwhile. Broken off at any point nothing is lost, and it can be
 * run again. A store that isn't open for writing gets no pin, and `warn` is told.
 */
int vms_live_rebase(struct vms_live *live, const struct vms_rebase *rebase,
		    struct vms_rebase_result *result, struct err *err);

/* The image as it is now to a raw file, a device or "-", as vms_restore();
 * nobody writes to it meanwhile. *data_bytes: of them not holes. */
int vms_live_export(struct vms_live *live, const char *target, bool force,
		    struct vms_progress *progress, uint64_t *data_bytes,
		    struct err *err);

/* ---- pins ---- */

enum vms_pin_state {
	VMS_PIN_USED,
	VMS_PIN_GONE,    /* its owner is not there any more */
	VMS_PIN_UNKNOWN, /* can't be told here */
};
struct vms_pin_verdict {
	enum vms_pin_state state;
	char why[ERR_TEXT_MAX];
};
/* Does something stand on the pin? Looks at this host's files through `io`. */
void vms_pin_judge(struct vs_io *io, const char *id_hex, const struct pin *pin,
		   struct vms_pin_verdict *out);
/*
 * The pin whose id begins so (8 digits or more) goes, if nothing stands on it:
 * -EBUSY: something does. -EPERM: that can't be told, and not `force`. -EBADMSG:
 * it can't be read, and not `force`. -ENOENT; -EINVAL: several begin so.
 */
int vms_pin_remove(struct vms *vms, struct vs_io *io, const char *prefix,
		   bool force, char id_hex[SMALL_ID_HEX_SIZE], struct err *err);

/* Head and layers go, then the pin. `vms` as for vms_live_open(), for writing;
 * NULL: the pin stays. */
int vms_live_remove(struct vms *vms, struct vs_io *io, const char *path,
		    struct err *err);

#endif
