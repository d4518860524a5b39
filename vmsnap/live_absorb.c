/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Absorb: [base + sealed layers] becomes a root in the store, and that the
 * base. Order is what keeps it safe: chunks durable, a note of both bases, new
 * pin, snapshot, new head, old pin gone. Wherever it ends in between, the image
 * has a base that a pin names; what was stored is found again by the next run,
 * which also removes the pin that is too many.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/live.h"

struct absorb {
	struct vms_live *live;
	const struct vms_absorb *how;
	struct store_thread **threads;
	uint64_t layer;
	struct snapshot snapshot; /* without a name: only volume and totals */
	struct volume *volume;    /* in it */
	struct image_base_info info;
};

static int find_parent(struct absorb *absorb, struct id *id, bool *found,
		       struct err *err)
{
	struct snapshot parent = { 0 };
	int r = store_latest_snapshot(absorb->threads[0], absorb->how->name,
				      &parent, err);

	*found = r == 0;
	*id = parent.id;
	snapshot_release(&parent);
	return r == -ENOENT ? 0 : r;
}

static int begin_snapshot(struct absorb *absorb, struct err *err)
{
	const struct vms_absorb *how = absorb->how;
	struct vms *vms = absorb->live->vms;
	struct id parent;
	bool found;
	int r;

	if (!how->name)
		return 0;
	r = snapshot_names_check(how->name, how->label, err);
	if (!r)
		r = snapshot_label_check(vms, how->name, how->label, err);
	if (!r)
		r = find_parent(absorb, &parent, &found, err);
	return r ? r
		 : snapshot_begin(&absorb->snapshot, how->name, how->label,
				  found ? &parent : NULL, err);
}

static int begin_volume(struct absorb *absorb, struct err *err)
{
	const struct image_base_info *info = &absorb->live->info;
	const struct vms_absorb *how = absorb->how;
	struct volume *volume = snapshot_add_volume(&absorb->snapshot, err);
	struct vms_progress *progress = how->progress;
	char source[VOLUME_SOURCE_MAX + 1];

	if (!volume)
		return -ENOMEM;
	absorb->volume = volume;
	memcpy(volume->name, live_base_volume(info).name, sizeof(volume->name));
	if (info->present)
		volume->chunk_log2 = info->chunk_log2;
	else if (how->chunk_log2)
		volume->chunk_log2 = how->chunk_log2;
	else
		volume->chunk_log2 =
			store_config(absorb->live->vms->store)->chunk_log2;
	escape_name(source, sizeof(source), absorb->live->path);
	volume->source = strdup(source);
	if (!volume->source)
		return err_set(err, -ENOMEM, "out of memory");
	volume->size_bytes = image_size(absorb->live->image);
	absorb->snapshot.totals.logical_bytes = volume->size_bytes;
	if (progress)
		progress_add(&progress->total_bytes, volume->size_bytes);
	return 0;
}

/* Its layers are sealed by who serves it, and stay until we hang up. */
static int open_sealed(struct absorb *absorb, struct err *err)
{
	struct vms_live *live = absorb->live;
	struct image_options options = {
		.mode = IMAGE_SEALED,
		.sealed_layer = absorb->layer,
	};
	int r = image_read_base_info(live->io, live->path, &live->info, err);

	if (!r && live->info.present)
		r = live_base_open(live, &live->info, &options.base, err);
	return r ? r
		 : image_open(&live->image, live->io, live->path, &options,
			      err);
}

static int seal(struct absorb *absorb,
		void (*sealed)(void *arg, uint64_t layer), void *arg,
		struct err *err)
{
	struct vms_live *live = absorb->live;
	struct control_reply reply = { 0 };
	int r;

	if (live->server) {
		r = control_ask(live->server, CONTROL_SEAL,
				absorb->how->progress, &reply, err);
		absorb->layer = reply.layer;
	} else {
		r = image_seal(live->image, &absorb->layer, err);
	}
	if (r)
		return r;
	if (sealed)
		sealed(arg, absorb->layer);
	return live->server ? open_sealed(absorb, err)
			    : image_seal_wait(live->image, absorb->layer, err);
}

static int build(struct absorb *absorb, struct err *err)
{
	struct vms *vms = absorb->live->vms;
	struct live_tree tree = {
		.live = absorb->live,
		.vms = vms,
		.threads = absorb->threads,
		.layer = absorb->layer,
		.keep_ids = true,
		.volume = absorb->volume,
		.totals = &absorb->snapshot.totals,
		.progress = absorb->how->progress,
	};
	int r = live_tree_build(&tree, err);

	for (unsigned i = 0; i < vms->workers && !r; i++)
		r = store_thread_flush(absorb->threads[i], err);
	if (!r)
		r = progress_check(absorb->how->progress, err);
	if (!r)
		r = store_settle(vms->store, absorb->threads[0], err);
	return r;
}

static int commit(struct absorb *absorb, struct err *err)
{
	struct vms *vms = absorb->live->vms;
	int r;

	if (!absorb->how->name)
		return 0;
	r = store_commit(vms->store, absorb->threads[0], &absorb->snapshot,
			 err);
	if (!r)
		memcpy(absorb->info.snapshot, absorb->snapshot.id.b, ID_SIZE);
	return r;
}

/* The server has gone in the middle of it: the head says what came of it. */
static int look_at_head(struct absorb *absorb, struct err *err)
{
	struct vms_live *live = absorb->live;
	struct image_base_info head;
	int r = image_read_base_info(live->io, live->path, &head, NULL);

	if (!r && head.present &&
	    !memcmp(head.pin, absorb->info.pin, sizeof(head.pin)))
		return 0;
	return err->code;
}

/* It reads the note for what is to be. */
static int swap_served(struct absorb *absorb, struct err *err)
{
	struct vms_live *live = absorb->live;
	const struct vms_absorb *how = absorb->how;
	struct control_reply reply;
	struct err why = { 0 };
	int r = control_ask(live->server, CONTROL_SWAP, NULL, &reply, &why);
	bool gone = r == -ECONNRESET;

	if (gone)
		r = look_at_head(absorb, &why);
	if (r) {
		if (err)
			*err = why;
		return err_prefix(err, "%simage '%s' keeps its layers",
				  how->name ? "the snapshot is made, but " : "",
				  live->path);
	}
	live->info = absorb->info;
	/* What it wrote last may not be durable: the next absorb tidies up. */
	if (!gone)
		live_swap_tidy(live, how->warn, how->warn_arg);
	return 0;
}

static int swap(struct absorb *absorb, struct err *err)
{
	const struct vms_absorb *how = absorb->how;
	struct image_base *base;
	int r;

	if (absorb->live->server)
		return swap_served(absorb, err);
	r = live_base_open(absorb->live, &absorb->info, &base, err);
	return r ? r
		 : live_base_swap(absorb->live, absorb->layer, &absorb->info,
				  base, how->warn, how->warn_arg, err);
}

/* From the swap on the head may name the new base even if that fails: both
 * pins stay then, and the note. */
static int change_base(struct absorb *absorb, struct err *err)
{
	struct vms_live *live = absorb->live;
	int r = live_base_describe(live->vms, absorb->volume, &absorb->info,
				   err);

	if (!r)
		r = live_swap_begin(live, absorb->layer, absorb->volume, NULL,
				    &absorb->info, err);
	if (!r)
		r = commit(absorb, err);
	if (r) {
		(void)live_swap_end(live->vms, live->io, live->path, NULL);
		return r;
	}
	if (live_sabotage & LIVE_SABOTAGE_OLD_PIN_FIRST)
		(void)live_pin_delete(live->vms, &live->info, NULL);
	return swap(absorb, err);
}

static int run(struct absorb *absorb, void (*sealed)(void *arg, uint64_t layer),
	       void *arg, struct err *err)
{
	struct vms *vms = absorb->live->vms;
	uint64_t stored = store_stored_bytes(vms->store);
	int64_t started = time_monotonic_ns();
	struct snapshot_totals *totals = &absorb->snapshot.totals;
	int r = begin_snapshot(absorb, err);

	if (live_sabotage & LIVE_SABOTAGE_TIDY_FIRST)
		live_swap_tidy(absorb->live, absorb->how->warn,
			       absorb->how->warn_arg);
	if (!r)
		r = seal(absorb, sealed, arg, err);
	if (!r)
		r = begin_volume(absorb, err);
	if (r)
		return r;
	/* The head was written anew by the seal. */
	live_swap_tidy(absorb->live, absorb->how->warn, absorb->how->warn_arg);
	r = build(absorb, err);
	if (r)
		return r;
	totals->stored_bytes = store_stored_bytes(vms->store) - stored;
	totals->elapsed_us = (uint64_t)(time_monotonic_ns() - started) / 1000;
	return change_base(absorb, err);
}

static int threads_open(struct absorb *absorb, struct err *err)
{
	struct vms *vms = absorb->live->vms;
	int r = alloc_array(&absorb->threads, vms->workers,
			    sizeof(*absorb->threads), err);

	for (unsigned i = 0; i < vms->workers && !r; i++) {
		absorb->threads[i] = store_thread_new(vms->store, err);
		if (!absorb->threads[i])
			r = err && err->code ? err->code : -ENOMEM;
	}
	return r;
}

/* Before anything is sealed in vain. */
static int check_server(const struct vms_live *live, struct err *err)
{
	const struct control_greeting *greeting;

	if (!live->server)
		return 0;
	greeting = control_greeting(live->server);
	if (greeting->has_store &&
	    !memcmp(greeting->store, store_config(live->vms->store)->store.b,
		    sizeof(greeting->store)))
		return 0;
	return err_set(err, -EINVAL,
		       "image '%s' is served %s by process %llu: end that, or "
		       "start it anew with -s",
		       live->path,
		       greeting->has_store ? "with another store"
					   : "without a store",
		       (unsigned long long)greeting->process);
}

int vms_live_absorb(struct vms_live *live, const struct vms_absorb *how,
		    void (*sealed)(void *arg, uint64_t layer), void *arg,
		    struct snapshot *out, struct err *err)
{
	struct absorb absorb = { .live = live, .how = how };
	int r;

	if (!live->vms)
		return err_set(err, -EINVAL,
			       "image '%s': absorb into which store?",
			       live->path);
	r = check_server(live, err);
	if (!r)
		r = threads_open(&absorb, err);
	if (!r)
		r = run(&absorb, sealed, arg, err);
	for (unsigned i = 0; absorb.threads && i < live->vms->workers; i++)
		store_thread_free(absorb.threads[i]);
	free(absorb.threads);
	if (live->server && live->image) {
		(void)image_close(live->image, NULL);
		live->image = NULL;
	}
	if (!r && out)
		*out = absorb.snapshot;
	else
		snapshot_release(&absorb.snapshot);
	return r;
}
