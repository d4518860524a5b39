/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots, pins and what is below them: each node is read once, however many
 * snapshots share it, and each chunk that is named must be in a table with
 * the size that its place asks for.
 *
 * Nodes seen are held by their whole ids, since a collision would leave a
 * whole subtree unseen; there is one for 256 chunks. Of a chunk a fingerprint does:
 * a collision would leave one missing chunk untold, with a chance of 2^-31 for
 * 2^32 chunks.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/check.h"

/* ---- roots ---- */

static int root_error(struct check *check, const char *object,
		      const struct err *why, const struct id *snapshot,
		      struct err *err)
{
	struct vms_hurt *hurt;
	uint32_t number;
	int r = check_error(check, object, why, &number, err);

	if (!r && snapshot && why->code != -EOPNOTSUPP)
		r = check_error_hurts(check, number, snapshot, "", "", &hurt,
				      err);
	return r;
}

static int snapshot_each(struct check *check, bool tell, const struct id *id,
			 root_fn *fn, void *arg, struct err *err)
{
	struct snapshot snapshot = { 0 };
	struct err why = { 0 };
	char hex[ID_HEX_SIZE], name[OBJECT_NAME_MAX];
	int r = store_load_snapshot(check->thread, id, &snapshot, &why);

	if (r == -ENOENT)
		return 0; /* forgotten meanwhile */
	if (check_is_fatal(r))
		return err_set(err, r, "%s", why.text);
	check->result.snapshots += tell;
	if (r) {
		hex_encode(hex, id->b, ID_SIZE);
		snprintf(name, sizeof(name), "snapshots/%s", hex);
		why.code = r;
		return tell ? root_error(check, name, &why, id, err) : 0;
	}
	r = fn(arg,
	       &(struct root){ .snapshot = snapshot.id,
			       .name = snapshot.name,
			       .volumes = snapshot.volumes,
			       .volume_count = snapshot.volume_count },
	       err);
	snapshot_release(&snapshot);
	return r;
}

static int pin_each(struct check *check, bool tell, const char *id_hex,
		    root_fn *fn, void *arg, struct err *err)
{
	struct pin pin = { 0 };
	struct err why = { 0 };
	char name[OBJECT_NAME_MAX];
	int r = store_load_pin(check->thread, id_hex, &pin, &why);

	if (r == -ENOENT)
		return 0;
	if (check_is_fatal(r))
		return err_set(err, r, "%s", why.text);
	if (r) {
		snprintf(name, sizeof(name), "pins/%.64s", id_hex);
		why.code = r;
		return tell ? root_error(check, name, &why, NULL, err) : 0;
	}
	r = fn(arg,
	       &(struct root){ .snapshot = pin.snapshot,
			       .name = "",
			       .volumes = pin.volumes,
			       .volume_count = pin.volume_count },
	       err);
	pin_release(&pin);
	return r;
}

int check_each_root(struct check *check, bool tell, root_fn *fn, void *arg,
		    struct err *err)
{
	int r = 0;

	for (size_t n = 0; n < check->snapshots.count && !r; n++) {
		r = progress_check(check->progress, err);
		if (!r)
			r = snapshot_each(check, tell, &check->snapshots.ids[n],
					  fn, arg, err);
	}
	for (size_t n = 0; n < check->pin_count && !r; n++)
		r = pin_each(check, tell, check->pins[n], fn, arg, err);
	return r;
}

static int pin_note(void *arg, const char *id_hex, struct err *err)
{
	struct check *check = arg;
	void *more = reallocarray(check->pins, check->pin_count + 1,
				  sizeof(*check->pins));

	if (!more)
		return err_set(err, -ENOMEM,
			       "out of memory for a list of pins");
	check->pins = more;
	memcpy(check->pins[check->pin_count++], id_hex, SMALL_ID_HEX_SIZE);
	return 0;
}

static int id_order(const void *a, const void *b)
{
	return id_compare(a, b);
}

int check_list_roots(struct check *check, struct err *err)
{
	struct store *store = check->vms->store;
	int r = store_list_snapshots(store, &check->snapshots, err);

	/* What is told comes in the same order each time. */
	if (!r && check->snapshots.count)
		qsort(check->snapshots.ids, check->snapshots.count,
		      sizeof(struct id), id_order);
	return r ? r : store_each_pin(store, pin_note, check, err);
}

bool node_key(const struct volume *volume, unsigned level,
	      const struct id *node, uint64_t first, uint64_t count,
	      struct id *key)
{
	*key = *node;
	key->b[0] ^= (uint8_t)level;
	key->b[1] ^= (uint8_t)volume->chunk_log2;
	return first + count < volume_chunk_count(volume);
}

/* ---- the walk ---- */

struct trees {
	struct check *check;
	const struct volume *volume;
};

/* Chunks that no table names: one error for all, and if a table is damaged,
 * that is the one to blame. */
static int missing_error(struct check *check, const struct id *id,
			 struct err *err)
{
	char name[OBJECT_NAME_MAX];
	struct err why = { 0 };

	if (check->missing_error != NO_ERROR)
		return 0;
	for (uint32_t n = 0; n < check->result.error_count; n++) {
		if (!strncmp(check->result.errors[n].object, "tables/", 7)) {
			check->missing_error = n;
			return 0;
		}
	}
	chunk_object(name, id);
	err_set(&why, -EBADMSG, "no table names it");
	return check_error(check, name, &why, &check->missing_error, err);
}

static int chunk_missing(struct check *check, const struct id *id,
			 enum chunk_kind kind, struct err *err)
{
	int r;

	if (blame_find(&check->chunks, id))
		return 0;
	r = missing_error(check, id, err);
	if (r)
		return r;
	check->missing++;
	check->missing_stray += print_set_has(&check->stray, print_of_id(id));
	return blame_add(&check->chunks, id, check->missing_error, kind, true,
			 err);
}

static int visit_chunk(struct trees *trees, const struct id *id,
		       uint64_t number, struct err *err)
{
	struct check *check = trees->check;
	uint32_t size = volume_chunk_bytes(trees->volume, number);
	struct place place;
	int r = print_set_mark(&check->indexed,
			       print_of_chunk(id, CHUNK_DATA, size));

	if (r >= 0) {
		check->result.chunks += (uint64_t)r;
		return 0;
	}
	/* A table that is damaged here and there was not read to its end, but
	 * may answer. */
	r = index_find(store_index(check->vms->store),
		       store_thread_sealer(check->thread), id, &place, NULL);
	if (check_is_fatal(r))
		return err_set(err, r, "looking for a chunk");
	if (r == 1 && entry_content_size(&place.entry) == size &&
	    entry_kind(&place.entry) == CHUNK_DATA) {
		r = print_set_add(&check->indexed,
				  print_of_chunk(id, CHUNK_DATA, size), err);
		return r < 0 ? r : visit_chunk(trees, id, number, err);
	}
	return chunk_missing(check, id, CHUNK_DATA, err);
}

static int visit(void *arg, unsigned level, const struct id *id, uint64_t first,
		 uint64_t count, struct err *err)
{
	struct trees *trees = arg;
	struct check *check = trees->check;
	bool once;
	struct id key;
	int r;

	if (level == 0)
		return visit_chunk(trees, id, first, err);
	r = progress_check(check->progress, err);
	if (r)
		return r;
	once = node_key(trees->volume, level, id, first, count, &key);
	r = id_set_add(&check->nodes, &key, err);
	if (r < 0)
		return r;
	check->result.chunks += (uint64_t)r;
	return r || !once;
}

static int node_damaged(void *arg, const struct id *id, uint64_t first,
			uint64_t count, const struct err *why)
{
	struct trees *trees = arg;
	struct check *check = trees->check;
	struct err words = *why;
	char name[OBJECT_NAME_MAX];
	struct place place;
	uint32_t number;
	int r;

	(void)first;
	(void)count;
	if (check_is_fatal(why->code))
		return why->code;
	if (blame_find(&check->chunks, id))
		return 0;
	r = index_find(store_index(check->vms->store),
		       store_thread_sealer(check->thread), id, &place, NULL);
	if (r != 1) /* absent, or its table's block is damaged */
		return chunk_missing(check, id, CHUNK_NODE, NULL);
	chunk_object(name, id);
	r = check_error(check, name, &words, &number, NULL);
	if (!r)
		r = blame_add(&check->chunks, id, number, CHUNK_NODE, true,
			      NULL);
	return r;
}

static int walk_volume(struct check *check, const struct volume *volume,
		       struct err *err)
{
	struct trees trees = { .check = check, .volume = volume };
	const struct tree_visit how = { visit, node_damaged, &trees };

	return tree_walk(check->thread, &volume->root,
			 volume_chunk_count(volume), &how, err);
}

static int walk_root(void *arg, const struct root *root, struct err *err)
{
	int r = 0;

	for (size_t n = 0; n < root->volume_count && !r; n++) {
		r = walk_volume(arg, &root->volumes[n], err);
		if (!r && root->volumes[n].has_tags) {
			struct volume tags = volume_of_tags(&root->volumes[n]);

			r = walk_volume(arg, &tags, err);
		}
	}
	return r;
}

/* Once it is known how many there are. */
static void missing_words(struct check *check)
{
	struct vms_check_error *error;
	size_t used;

	if (check->missing_error == NO_ERROR)
		return;
	error = &check->result.errors[check->missing_error];
	used = strlen(error->what);
	snprintf(
		error->what + used, sizeof(error->what) - used,
		"%s%llu chunks are missing%s",
		strncmp(error->object, "tables/", 7) ? ": " : "; ",
		(unsigned long long)check->missing,
		check->missing_stray
			? ", some of them in packs that no table names: the next backup takes those in again"
			: "");
}

int check_trees(struct check *check, struct err *err)
{
	int r;

	check->missing_error = NO_ERROR;
	r = check_each_root(check, true, walk_root, check, err);
	missing_words(check);
	return r;
}
