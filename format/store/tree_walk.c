/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking trees: one as a whole (check, prune), and two where they differ
 * (ship, restore --delta). Both hold one node a level; depth is bounded by the
 * tree's levels, never by what is read.
 */
#include <errno.h>

#include "format/store/tree_private.h"

/* ---- one tree ---- */

struct walk {
	struct store_thread *thread;
	uint64_t chunk_count;
	const struct tree_visit *visit;
	struct id ids[TREE_LEVELS_MAX][NODE_FANOUT]; /* [0] is level 1 */
	uint8_t buffer[NODE_SIZE_MAX];
};

static int walk_node(struct walk *walk, unsigned level, const struct id *id,
		     uint64_t first, struct err *err);

static int walk_children(struct walk *walk, unsigned level, uint64_t first,
			 struct err *err)
{
	const struct tree_visit *visit = walk->visit;
	unsigned count = tree_children(first, level, walk->chunk_count);
	int r = 0;

	for (unsigned n = 0; n < count && r >= 0; n++) {
		const struct id *id = &walk->ids[level - 1][n];
		uint64_t at = first + n * tree_span(level - 1);

		if (id_is_null(id))
			continue;
		if (level > 1)
			r = walk_node(walk, level - 1, id, at, err);
		else
			r = visit->visit(visit->arg, 0, id, at, 1, err);
	}
	return r < 0 ? r : 0;
}

static int walk_node(struct walk *walk, unsigned level, const struct id *id,
		     uint64_t first, struct err *err)
{
	const struct tree_visit *visit = walk->visit;
	uint64_t covers = min_u64(tree_span(level), walk->chunk_count - first);
	struct err why = { 0 };
	int r;

	r = visit->visit(visit->arg, level, id, first, covers, err);
	if (r <= 0)
		return r;
	r = tree_load(walk->thread, id, level, first, walk->chunk_count,
		      walk->buffer, walk->ids[level - 1], &why);
	if (r == 0)
		return walk_children(walk, level, first, err);
	if (r == -ENOMEM || !visit->damaged)
		return err_set(err, r, "%s", why.text);
	r = visit->damaged(visit->arg, id, first, covers, &why);
	return r < 0 ? err_set(err, r, "%s", why.text) : 0;
}

int tree_walk(struct store_thread *thread, const struct id *root,
	      uint64_t chunk_count, const struct tree_visit *visit,
	      struct err *err)
{
	autofree struct walk *walk = NULL;
	int r = tree_check_count(chunk_count, err);

	if (r < 0 || id_is_null(root))
		return r;
	if (chunk_count == 0)
		return err_set(err, -EBADMSG, "an empty volume has a tree");
	r = alloc_array(&walk, 1, sizeof(*walk), err);
	if (r < 0)
		return r;
	walk->thread = thread;
	walk->chunk_count = chunk_count;
	walk->visit = visit;
	return walk_node(walk, tree_levels(chunk_count), root, 0, err);
}

/* ---- two trees ---- */

struct diff {
	struct store_thread *thread;
	uint64_t chunk_count;
	tree_diff_fn *fn;
	void *arg;
	struct id a[TREE_LEVELS_MAX][NODE_FANOUT];
	struct id b[TREE_LEVELS_MAX][NODE_FANOUT];
	uint8_t buffer[NODE_SIZE_MAX];
};

/* Runs of children of a level 1 node that differ. */
static int diff_chunks(struct diff *diff, uint64_t first, unsigned count,
		       struct err *err)
{
	const struct id *a = diff->a[0], *b = diff->b[0];
	unsigned n = 0, run;
	int r;

	while (n < count) {
		for (run = 0; n + run < count; run++) {
			if (id_equal(&a[n + run], &b[n + run]))
				break;
		}
		if (run) {
			r = diff->fn(diff->arg, first + n, run, &a[n], &b[n],
				     err);
			if (r < 0)
				return r;
		}
		n += run + 1;
	}
	return 0;
}

static int diff_node(struct diff *diff, unsigned level, const struct id *a,
		     const struct id *b, uint64_t first, struct err *err)
{
	unsigned count = tree_children(first, level, diff->chunk_count);
	struct id *in_a = diff->a[level - 1], *in_b = diff->b[level - 1];
	int r;

	if (id_equal(a, b))
		return 0;
	r = tree_load(diff->thread, a, level, first, diff->chunk_count,
		      diff->buffer, in_a, err);
	if (r == 0)
		r = tree_load(diff->thread, b, level, first, diff->chunk_count,
			      diff->buffer, in_b, err);
	if (r < 0)
		return r;
	if (level == 1)
		return diff_chunks(diff, first, count, err);
	for (unsigned n = 0; n < count && r == 0; n++)
		r = diff_node(diff, level - 1, &in_a[n], &in_b[n],
			      first + n * tree_span(level - 1), err);
	return r;
}

int tree_diff(struct store_thread *thread, const struct id *a,
	      const struct id *b, uint64_t chunk_count, tree_diff_fn *fn,
	      void *arg, struct err *err)
{
	autofree struct diff *diff = NULL;
	int r = tree_check_count(chunk_count, err);

	if (r < 0 || chunk_count == 0)
		return r;
	r = alloc_array(&diff, 1, sizeof(*diff), err);
	if (r < 0)
		return r;
	diff->thread = thread;
	diff->chunk_count = chunk_count;
	diff->fn = fn;
	diff->arg = arg;
	return diff_node(diff, tree_levels(chunk_count), a, b, 0, err);
}
