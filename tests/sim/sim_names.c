/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of the simulated disk.
 *
 * A directory has two lists of names, what is seen and what is durable; one
 * list of changes for the whole disk holds what lies between, in order. A sync
 * of a directory carries out the changes that touch it, and those before them
 * that touched the same names. A loss of power chooses some, and drops each
 * that follows on a dropped one of the same name. So a rename is whole or not
 * at all, also between two directories.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_impl.h"

static struct sim_name **slot(struct sim_inode *dir, enum sim_view view,
			      const char *name)
{
	struct sim_name **at = &dir->names[view];

	while (*at && strcmp((*at)->name, name))
		at = &(*at)->next;
	return at;
}

static void name_unset(struct sim_inode *dir, enum sim_view view,
		       const char *name)
{
	struct sim_name **at = slot(dir, view, name);
	struct sim_name *old = *at;

	if (!old)
		return;
	*at = old->next;
	sim_inode_put(old->inode, view == SIM_NOW);
	free(old);
}

static void name_set(struct sim_inode *dir, enum sim_view view,
		     const char *name, struct sim_inode *inode)
{
	struct sim_name *made = sim_alloc(sizeof(*made));

	sim_inode_get(inode, view == SIM_NOW);
	name_unset(dir, view, name);
	snprintf(made->name, sizeof(made->name), "%s", name);
	made->inode = inode;
	*slot(dir, view, name) = made;
}

static void names_clear(struct sim_inode *dir, enum sim_view view)
{
	while (dir->names[view])
		name_unset(dir, view, dir->names[view]->name);
}

void sim_names_release(struct sim_inode *dir)
{
	names_clear(dir, SIM_NOW);
	names_clear(dir, SIM_DURABLE);
}

struct sim_inode *sim_name_find(const struct sim_inode *dir, const char *name)
{
	const struct sim_name *at = dir->names[SIM_NOW];

	while (at && strcmp(at->name, name))
		at = at->next;
	return at ? at->inode : NULL;
}

/* The next part of a path; its length, 0 at the end, or -errno. */
static int next_part(const char **path, char name[SIM_NAME_MAX + 1])
{
	size_t n;

	for (;;) {
		*path += strspn(*path, "/");
		n = strcspn(*path, "/");
		if (n != 1 || **path != '.')
			break;
		*path += 1;
	}
	if (n > SIM_NAME_MAX)
		return -ENAMETOOLONG;
	if (n == 2 && !strncmp(*path, "..", 2))
		return -EINVAL;
	memcpy(name, *path, n);
	name[n] = 0;
	*path += n;
	return (int)n;
}

int sim_lookup(struct sim *sim, const char *path, struct sim_inode **inode)
{
	char name[SIM_NAME_MAX + 1];
	struct sim_inode *at = sim->root;
	int n;

	while ((n = next_part(&path, name)) > 0) {
		if (!at->directory)
			return -ENOTDIR;
		at = sim_name_find(at, name);
		if (!at)
			return -ENOENT;
	}
	if (n < 0)
		return n;
	*inode = at;
	return 0;
}

int sim_lookup_parent(struct sim *sim, const char *path, struct sim_inode **dir,
		      char name[SIM_NAME_MAX + 1])
{
	char following[SIM_NAME_MAX + 1];
	struct sim_inode *at = sim->root;
	int n = next_part(&path, name);

	if (n <= 0)
		return n ? n : -EEXIST;
	while ((n = next_part(&path, following)) > 0) {
		at = sim_name_find(at, name);
		if (!at)
			return -ENOENT;
		if (!at->directory)
			return -ENOTDIR;
		memcpy(name, following, sizeof(following));
	}
	if (n < 0)
		return n;
	*dir = at;
	return 0;
}

static void change_apply(const struct sim_change *change, enum sim_view view)
{
	switch (change->kind) {
	case SIM_ADD:
		name_set(change->dir[0], view, change->name[0], change->inode);
		return;
	case SIM_REMOVE:
		name_unset(change->dir[0], view, change->name[0]);
		return;
	case SIM_RENAME:
		name_set(change->dir[1], view, change->name[1], change->inode);
		name_unset(change->dir[0], view, change->name[0]);
		return;
	}
}

static void change_free(struct sim_change *change)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		if (change->dir[i])
			sim_inode_put(change->dir[i], false);
	}
	if (change->inode)
		sim_inode_put(change->inode, false);
	free(change);
}

/* Carried out in what is seen, and remembered as not durable. */
static void change_make(struct sim_change *change)
{
	struct sim_change **at = &change->dir[0]->sim->changes;
	unsigned i;

	for (i = 0; i < 2; i++) {
		if (!change->dir[i])
			continue;
		sim_inode_get(change->dir[i], false);
		change->dir[i]->modified_ns = sim_time_ns(change->dir[i]->sim);
	}
	if (change->inode)
		sim_inode_get(change->inode, false);
	while (*at)
		at = &(*at)->next;
	*at = change;
	change_apply(change, SIM_NOW);
}

void sim_name_add(struct sim_inode *dir, const char *name,
		  struct sim_inode *inode)
{
	struct sim_change *change = sim_alloc(sizeof(*change));

	inode->named = true;
	snprintf(inode->label, sizeof(inode->label), "%.90s", name);
	change->kind = SIM_ADD;
	change->dir[0] = dir;
	snprintf(change->name[0], sizeof(change->name[0]), "%s", name);
	change->inode = inode;
	change_make(change);
}

void sim_name_remove(struct sim_inode *dir, const char *name)
{
	struct sim_change *change = sim_alloc(sizeof(*change));

	change->kind = SIM_REMOVE;
	change->dir[0] = dir;
	snprintf(change->name[0], sizeof(change->name[0]), "%s", name);
	change_make(change);
}

static int check_rename(const struct sim_inode *from_dir,
			const struct sim_inode *to_dir,
			const struct sim_inode *from,
			const struct sim_inode *to)
{
	if (!from)
		return -ENOENT;
	/* Else a loss of power could tie a directory into itself. */
	if (from->directory && from_dir != to_dir)
		return -EXDEV;
	if (!to || to == from)
		return 0;
	if (from->directory && !to->directory)
		return -ENOTDIR;
	if (!from->directory && to->directory)
		return -EISDIR;
	return to->names[SIM_NOW] ? -ENOTEMPTY : 0;
}

int sim_name_rename(struct sim *sim, const char *from, const char *to)
{
	struct sim_change *change = sim_alloc(sizeof(*change));
	struct sim_inode *target;
	int r = sim_lookup_parent(sim, from, &change->dir[0], change->name[0]);

	if (!r)
		r = sim_lookup_parent(sim, to, &change->dir[1],
				      change->name[1]);
	if (r < 0) {
		free(change);
		return r;
	}
	change->kind = SIM_RENAME;
	change->inode = sim_name_find(change->dir[0], change->name[0]);
	target = sim_name_find(change->dir[1], change->name[1]);
	r = check_rename(change->dir[0], change->dir[1], change->inode, target);
	if (r < 0 || target == change->inode) {
		free(change);
		return r;
	}
	snprintf(change->inode->label, sizeof(change->inode->label), "%.90s",
		 change->name[1]);
	change_make(change);
	return 0;
}

static bool touches(const struct sim_change *change,
		    const struct sim_inode *dir)
{
	return change->dir[0] == dir || change->dir[1] == dir;
}

static bool share_a_name(const struct sim_change *a, const struct sim_change *b)
{
	unsigned i, j;

	for (i = 0; i < 2; i++) {
		for (j = 0; j < 2; j++) {
			if (a->dir[i] && a->dir[i] == b->dir[j] &&
			    !strcmp(a->name[i], b->name[j]))
				return true;
		}
	}
	return false;
}

/* Carry out what is chosen and take it from the list. */
static void commit_chosen(struct sim *sim)
{
	struct sim_change **at = &sim->changes;
	struct sim_change *change;

	while ((change = *at)) {
		if (!change->chosen) {
			at = &change->next;
			continue;
		}
		*at = change->next;
		change_apply(change, SIM_DURABLE);
		change_free(change);
	}
}

void sim_names_sync(struct sim_inode *dir)
{
	struct sim *sim = dir->sim;
	struct sim_change *change, *before;
	bool more = true;

	for (change = sim->changes; change; change = change->next)
		change->chosen = touches(change, dir);
	while (more) {
		more = false;
		for (change = sim->changes; change; change = change->next) {
			for (before = sim->changes;
			     change->chosen && before != change;
			     before = before->next) {
				if (before->chosen ||
				    !share_a_name(before, change))
					continue;
				before->chosen = true;
				more = true;
			}
		}
	}
	commit_chosen(sim);
}

/* `keep` of 8 in a subset; or a prefix, as of a journal. */
static void choose_in_dir(struct sim_inode *dir, unsigned keep)
{
	struct sim *sim = dir->sim;
	struct sim_change *change;
	bool subset = sim_one_in(sim, 3);
	uint64_t count = 0;
	uint64_t prefix;

	for (change = sim->changes; change; change = change->next)
		count += touches(change, dir);
	if (!count)
		return;
	prefix = keep == 8 ? count : keep ? sim_pick(sim, count + 1) : 0;
	for (change = sim->changes; change; change = change->next) {
		if (!touches(change, dir))
			continue;
		if (subset ? sim_pick(sim, 8) >= keep : !prefix)
			change->chosen = false;
		if (prefix)
			prefix--;
	}
}

/* What is seen becomes what is durable. */
static void show_durable(struct sim *sim)
{
	struct sim_inode *inode;
	const struct sim_name *name;

	for (inode = sim->inodes; inode; inode = inode->next) {
		names_clear(inode, SIM_NOW);
		for (name = inode->names[SIM_DURABLE]; name; name = name->next)
			name_set(inode, SIM_NOW, name->name, name->inode);
	}
}

void sim_names_free(struct sim *sim)
{
	struct sim_change *change;

	while ((change = sim->changes)) {
		sim->changes = change->next;
		change_free(change);
	}
}

void sim_names_lose(struct sim *sim, unsigned keep)
{
	struct sim_change *change, *before;
	struct sim_inode *inode, *next;

	for (change = sim->changes; change; change = change->next)
		change->chosen = true;
	for (inode = sim->inodes; inode; inode = inode->next) {
		if (inode->directory)
			choose_in_dir(inode, keep);
	}
	for (change = sim->changes; change; change = change->next) {
		for (before = sim->changes; before != change;
		     before = before->next) {
			if (!before->chosen && share_a_name(before, change))
				change->chosen = false;
		}
	}
	/* Nothing goes while the list is walked. */
	for (inode = sim->inodes; inode; inode = inode->next)
		sim_inode_get(inode, false);
	commit_chosen(sim);
	sim_names_free(sim);
	show_durable(sim);
	for (inode = sim->inodes; inode; inode = next) {
		next = inode->next;
		sim_inode_put(inode, false);
	}
}

int sim_names_list(struct sim_inode *dir, io_list_fn *fn, void *arg)
{
	char(*names)[SIM_NAME_MAX + 1];
	const struct sim_name *at;
	size_t count = 0;
	size_t i, j;
	int r = 0;

	for (at = dir->names[SIM_NOW]; at; at = at->next)
		count++;
	names = sim_alloc((count + 1) * sizeof(*names));
	/* Any order, as from a real directory. */
	for (i = 0, at = dir->names[SIM_NOW]; at; at = at->next, i++) {
		j = (size_t)sim_pick(dir->sim, i + 1);
		if (j != i)
			memcpy(names[i], names[j], sizeof(*names));
		memcpy(names[j], at->name, sizeof(*names));
	}
	for (i = 0; i < count && !r; i++)
		r = fn(arg, names[i]);
	free(names);
	return r;
}
