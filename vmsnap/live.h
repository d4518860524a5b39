/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the live image share. Private. */
#ifndef VMSNAP_LIVE_H
#define VMSNAP_LIVE_H

#include "vmsnap/control.h"

struct vms_live {
	struct vs_io *io;
	struct vms *vms; /* NULL: no base */
	struct vms_cache *cache;
	bool own_cache;
	struct image *image; /* NULL: is served; in an absorb: what is sealed */
	struct control_client *server; /* NULL: is not */
	char *path;
	struct image_base_info info; /* as in the head */
};

/* The volume that the head names as base; owns nothing. */
struct volume live_base_volume(const struct image_base_info *info);
/* A base over `info` in the store of `live`. */
int live_base_open(struct vms_live *live, const struct image_base_info *info,
		   struct image_base **out, struct err *err);
/* What a head says of `volume` in `vms`: but for snapshot and pin. */
int live_base_describe(const struct vms *vms, const struct volume *volume,
		       struct image_base_info *out, struct err *err);

/* The disk that `disk` names; NULL: the only one, else the one of that name
 * (may be NULL too). -EINVAL: say which; -ENOENT. */
int live_find_volume(const struct snapshot *snapshot, const char *disk,
		     const char *otherwise, const struct volume **out,
		     struct err *err);
/* A pin on `volume` for the image at `path`; its id to pin[], zeros on failure. */
int live_pin_put(struct vms *vms, const char *path, const struct volume *volume,
		 const struct id *snapshot, uint8_t pin[SMALL_ID_SIZE],
		 struct err *err);
/* The same with an id that the caller drew. */
int live_pin_put_as(struct vms *vms, const char *path,
		    const struct volume *volume, const struct id *snapshot,
		    const uint8_t id[SMALL_ID_SIZE], struct err *err);
/* Tell `warn` (may be NULL) that there is no pin, and why. */
void live_pin_missing(const struct err *why,
		      void (*warn)(void *arg, const char *text), void *arg);
/* The pin that a head names, if it is an image's and on that head's root: a
 * head is a file that anyone may have written. None (zeros) or gone already is
 * no failure. */
int live_pin_delete(struct vms *vms, const struct image_base_info *info,
		    struct err *err);

/* Sabotage, for the crash simulation's own test; 0 in real life. */
enum live_sabotage {
	LIVE_SABOTAGE_OLD_PIN_FIRST = 1 << 0,
	LIVE_SABOTAGE_NO_NOTE = 1 << 1,
	LIVE_SABOTAGE_TIDY_FIRST = 1 << 2,
};
extern unsigned live_sabotage;

/* ---- live_swap.c ---- */

/*
 * `volume` is to become the base once layers up to `layer` (0: none) are in
 * it: a pin on it, its id to info->pin, and before that a note beside the
 * image. On failure the note stays.
 */
int live_swap_begin(struct vms_live *live, uint64_t layer,
		    const struct volume *volume, const struct id *snapshot,
		    struct image_base_info *info, struct err *err);
/*
 * The head names the new base, or never will: whichever of both pins it does
 * not name goes, and then the note. No note is no failure. The caller alone
 * may swap this image's base now, and the head is durable as it reads: it was
 * written since the last failure, by a seal or a swap that succeeded.
 */
int live_swap_end(struct vms *vms, struct vs_io *io, const char *path,
		  struct err *err);

/* The same; what can't be removed is told to `warn` (may be NULL). */
void live_swap_tidy(struct vms_live *live,
		    void (*warn)(void *arg, const char *text), void *warn_arg);
/*
 * `info` becomes the base, as image_swap_base(), and the pin of the old one
 * goes. On failure the head may name the new base all the same: both pins stay
 * then, and the note.
 */
int live_base_swap(struct vms_live *live, uint64_t layer,
		   const struct image_base_info *info, struct image_base *base,
		   void (*warn)(void *arg, const char *text), void *warn_arg,
		   struct err *err);
/* Both pins of a note go: its image is no more. */
int live_swap_forget(struct vms *vms, const struct image_swap_note *note,
		     struct err *err);

/* ---- live_tree.c ---- */

/* The tree of an image's content: what its layers have is read and stored, the
 * rest keeps its ids. */
struct live_tree {
	struct vms_live *live;
	struct vms *vms;               /* where it goes */
	struct store_thread **threads; /* one a worker */
	uint64_t layer; /* as of this seal; 0: now, and nobody writes */
	bool keep_ids;  /* of the base's tree: same store, same chunk size */
	struct volume *volume; /* size and chunk size are set; gets the root */
	struct snapshot_totals *totals; /* added to */
	struct vms_progress *progress;  /* may be NULL */
};
int live_tree_build(const struct live_tree *tree, struct err *err);

#endif
