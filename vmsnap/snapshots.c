/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding and listing snapshots. The names of the objects tell name tag and
 * sequence, so only manifests that may be meant are opened; a listing opens
 * them side by side.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/engine.h"

#define ID_DIGITS_MIN 8

/* ---- listing ---- */

struct load {
	struct vms *vms;
	const struct snapshot_list *ids;
	const char *name;        /* NULL: all */
	struct snapshot *loaded; /* one an id; zeroed where not wanted */
	pthread_mutex_t lock;    /* all below */
	size_t next;
	struct vms_snapshot_list *out; /* its damaged list */
};

#define LOAD_AT_ONCE 64u

static int note_damaged(struct load *load, const struct id *id,
			const struct err *why, struct err *err)
{
	struct vms_snapshot_list *out = load->out;
	char hex[ID_HEX_SIZE];
	struct vms_damage *more;

	pthread_mutex_lock(&load->lock);
	more = realloc(out->damaged, (out->damaged_count + 1) * sizeof(*more));
	if (more) {
		out->damaged = more;
		more += out->damaged_count++;
		hex_encode(hex, id->b, ID_SIZE);
		snprintf(more->object, sizeof(more->object), "snapshots/%s",
			 hex);
		more->why = *why;
	}
	pthread_mutex_unlock(&load->lock);
	return more ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int load_one(struct load *load, struct store_thread *thread, size_t i,
		    struct err *err)
{
	struct err why = { 0 };
	int r = store_load_snapshot(thread, &load->ids->ids[i],
				    &load->loaded[i], &why);

	if (r == -EBADMSG || r == -EOPNOTSUPP)
		return note_damaged(load, &load->ids->ids[i], &why, err);
	if (r == -ENOENT) /* forgotten meanwhile */
		return 0;
	if (r) {
		if (err)
			*err = why;
		return r;
	}
	/* Two names may share a tag. */
	if (load->name && strcmp(load->loaded[i].name, load->name))
		snapshot_release(&load->loaded[i]);
	return 0;
}

static int load_worker(void *arg, unsigned worker, struct err *err)
{
	struct load *load = arg;
	struct store_thread *thread = store_thread_new(load->vms->store, err);
	int r = thread ? 0 : -ENOMEM;

	(void)worker;
	while (!r) {
		size_t from, to;

		pthread_mutex_lock(&load->lock);
		from = load->next;
		to = (size_t)min_u64(from + LOAD_AT_ONCE, load->ids->count);
		load->next = to;
		pthread_mutex_unlock(&load->lock);
		if (from == to)
			break;
		for (; from < to && !r; from++)
			r = load_one(load, thread, from, err);
	}
	store_thread_free(thread);
	return r;
}

static int snapshot_order(const void *a, const void *b)
{
	const struct snapshot *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	if (x->sequence != y->sequence)
		return x->sequence < y->sequence ? -1 : 1;
	return id_compare(&x->id, &y->id);
}

/* Load all of `ids`; what is wanted becomes the list. */
static int load_all(struct vms *vms, const struct snapshot_list *ids,
		    const char *name, struct vms_snapshot_list *out,
		    struct err *err)
{
	struct vms_snapshot_list list = { 0 };
	struct load load = {
		.vms = vms, .ids = ids, .name = name, .out = &list
	};
	unsigned workers = ids->count > LOAD_AT_ONCE ? vms->workers : 1;
	int r = alloc_array(&load.loaded, ids->count, sizeof(*load.loaded),
			    err);

	if (r)
		return r;
	pthread_mutex_init(&load.lock, NULL);
	r = pool_run(workers, load_worker, &load, err);
	pthread_mutex_destroy(&load.lock);
	for (size_t i = 0; i < ids->count; i++) {
		if (load.loaded[i].volume_count)
			load.loaded[list.count++] = load.loaded[i];
	}
	list.snapshots = load.loaded;
	if (r) {
		vms_snapshot_list_release(&list);
		return r;
	}
	if (list.count)
		qsort(list.snapshots, list.count, sizeof(*list.snapshots),
		      snapshot_order);
	*out = list;
	return 0;
}

static int list_tagged(struct vms *vms, const char *name,
		       struct snapshot_list *ids, struct err *err)
{
	struct store_thread *thread = vms_thread_take(vms, err);
	int r;

	if (!thread)
		return -ENOMEM;
	r = store_list_tagged(thread, name, ids, err);
	vms_thread_give(vms, thread);
	return r;
}

int vms_list(struct vms *vms, const char *name, struct vms_snapshot_list *out,
	     struct err *err)
{
	struct snapshot_list ids = { 0 };
	int r = name ? list_tagged(vms, name, &ids, err)
		     : store_list_snapshots(vms->store, &ids, err);

	if (!r)
		r = load_all(vms, &ids, name, out, err);
	snapshot_list_release(&ids);
	return r;
}

void vms_snapshot_list_release(struct vms_snapshot_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		snapshot_release(&list->snapshots[i]);
	free(list->snapshots);
	free(list->damaged);
	memset(list, 0, sizeof(*list));
}

/* By tag, then the greatest sequence first. */
static int id_order_latest(const void *a, const void *b)
{
	const struct id *x = a, *y = b;
	int tag = memcmp(x->b + 16, y->b + 16, 8);

	return tag ? tag : -memcmp(x->b + 24, y->b + 24, 8);
}

int vms_list_latest(struct vms *vms, struct vms_snapshot_list *out,
		    struct err *err)
{
	struct snapshot_list ids = { 0 };
	size_t kept = 0;
	int r = store_list_snapshots(vms->store, &ids, err);

	if (!r && ids.count) {
		qsort(ids.ids, ids.count, sizeof(*ids.ids), id_order_latest);
		for (size_t i = 0; i < ids.count; i++) {
			if (!kept || memcmp(ids.ids[kept - 1].b + 16,
					    ids.ids[i].b + 16, 8))
				ids.ids[kept++] = ids.ids[i];
		}
		ids.count = kept;
	}
	/* Tables are durable before the snapshot that needs them. */
	if (!r)
		r = vms_refresh(vms, err);
	if (!r)
		r = load_all(vms, &ids, NULL, out, err);
	snapshot_list_release(&ids);
	return r;
}

/* ---- finding ---- */

static bool is_hex(const char *text)
{
	return text[strspn(text, "0123456789abcdef")] == '\0';
}

static bool is_number(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

static int load_by_id(struct vms *vms, const struct id *id,
		      struct snapshot *out, struct err *err)
{
	struct store_thread *thread = store_thread_new(vms->store, err);
	int r;

	if (!thread)
		return -ENOMEM;
	r = store_load_snapshot(thread, id, out, err);
	store_thread_free(thread);
	return r;
}

/* -ENOENT without words when no id starts so. */
static int find_by_id(struct vms *vms, const char *digits, struct snapshot *out,
		      struct err *err)
{
	struct snapshot_list ids = { 0 };
	size_t length = strlen(digits), found = 0, which = 0;
	int r = store_list_snapshots(vms->store, &ids, err);

	for (size_t i = 0; i < ids.count && !r; i++) {
		char hex[ID_HEX_SIZE];

		hex_encode(hex, ids.ids[i].b, ID_SIZE);
		if (!strncmp(hex, digits, length)) {
			found++;
			which = i;
		}
	}
	if (!r && !found)
		r = -ENOENT;
	else if (!r && found > 1)
		r = err_set(
			err, -EINVAL,
			"%zu snapshots have an id that starts with '%s'; give more digits",
			found, digits);
	if (!r)
		r = load_by_id(vms, &ids.ids[which], out, err);
	snapshot_list_release(&ids);
	return r;
}

/* How many of those that can't be read are later. */
static size_t damaged_after(const struct vms_snapshot_list *list,
			    uint64_t sequence)
{
	size_t count = 0;

	for (size_t i = 0; i < list->damaged_count; i++) {
		const char *object = list->damaged[i].object;
		const char *digits = object + strlen(object) - 16;

		count += strtoull(digits, NULL, 16) > sequence;
	}
	return count;
}

/* Those that can't be read count, too: else what is meant would change with
 * the damage. -1: there is none such, or it can't be read. */
static ssize_t choose_back(const struct vms_snapshot_list *list, uint64_t back)
{
	for (size_t i = list->count; i-- > 0;) {
		uint64_t sequence = list->snapshots[i].sequence;

		if (list->count - 1 - i + damaged_after(list, sequence) == back)
			return (ssize_t)i;
	}
	return -1;
}

/* The index of the one that is meant in the list, oldest first; or -1. */
static ssize_t choose(const struct vms_snapshot_list *list, const char *which)
{
	if (!*which || !strcmp(which, "latest"))
		return (ssize_t)list->count - 1;
	if (which[0] == '-' && is_number(which + 1))
		return choose_back(list, strtoull(which + 1, NULL, 10));
	for (size_t i = list->count; i-- > 0;) {
		if (!strcmp(list->snapshots[i].label, which))
			return (ssize_t)i;
	}
	return -1;
}

/* NAME@latest is by sequence, whatever the clocks said. */
static int sequence_order(const void *a, const void *b)
{
	const struct snapshot *x = a, *y = b;

	if (x->sequence != y->sequence)
		return x->sequence < y->sequence ? -1 : 1;
	return snapshot_order(a, b);
}

static int words_absent(const struct vms_snapshot_list *list, const char *name,
			const char *which, struct err *err)
{
	char labels[400] = "";
	size_t used = 0;

	for (size_t i = list->count; i-- > 0 && used < 300;) {
		if (list->snapshots[i].label[0])
			used += (size_t)snprintf(labels + used,
						 sizeof(labels) - used,
						 "%s'%.128s'", used ? ", " : "",
						 list->snapshots[i].label);
	}
	if (list->damaged_count)
		return err_set(
			err, list->damaged[0].why.code,
			"'%s@%s' is not among the %zu that can be read; %zu can't: %s; `vmsnap list %s` shows them",
			name, which, list->count, list->damaged_count,
			list->damaged[0].why.text, name);
	return err_set(
		err, -ENOENT,
		"'%s' has no snapshot '%s': it has %zu, labels: %s; `vmsnap list %s` shows them",
		name, which, list->count, used ? labels : "none", name);
}

static int find_by_name(struct vms *vms, const char *name, const char *which,
			struct snapshot *out, struct err *err)
{
	struct vms_snapshot_list list = { 0 };
	ssize_t i;
	int r = vms_list(vms, name, &list, err);

	if (r)
		return r;
	if (!list.count && list.damaged_count) {
		r = err_set(err, list.damaged[0].why.code, "%s",
			    list.damaged[0].why.text);
	} else if (!list.count) {
		r = err_set(
			err, -ENOENT,
			"no snapshot is named '%s'; `vmsnap list` shows all",
			name);
	} else {
		qsort(list.snapshots, list.count, sizeof(*list.snapshots),
		      sequence_order);
		i = choose(&list, which);
		if (i < 0) {
			r = words_absent(&list, name, which, err);
		} else {
			*out = list.snapshots[i];
			memset(&list.snapshots[i], 0,
			       sizeof(list.snapshots[i]));
		}
	}
	vms_snapshot_list_release(&list);
	return r;
}

/* The newest by the names of the objects alone: one manifest is opened. */
static int find_latest(struct vms *vms, const char *name, struct snapshot *out,
		       struct err *err)
{
	struct store_thread *thread = store_thread_new(vms->store, err);
	int r;

	if (!thread)
		return -ENOMEM;
	r = store_latest_snapshot(thread, name, out, err);
	store_thread_free(thread);
	return r;
}

static int find(struct vms *vms, const char *spec, struct snapshot *out,
		struct err *err)
{
	const char *at = strchr(spec, '@');
	size_t length = at ? (size_t)(at - spec) : strlen(spec);
	char name[NAME_MAX_SIZE + 1];
	int r;

	if (!name_is_valid(spec, length) || (at && !at[1]))
		return err_set(
			err, -EINVAL,
			"'%s' is no snapshot: give NAME, NAME@LABEL, NAME@-1 or %d digits of an id",
			spec, ID_DIGITS_MIN);
	memcpy(name, spec, length);
	name[length] = '\0';
	if (at && strcmp(at + 1, "latest"))
		return find_by_name(vms, name, at + 1, out, err);
	r = find_latest(vms, name, out, err);
	if (r != -ENOENT || at || length < ID_DIGITS_MIN ||
	    length >= ID_HEX_SIZE || !is_hex(name))
		return r;
	r = find_by_id(vms, name, out, err);
	if (r == -ENOENT)
		err_set(err, -ENOENT,
			"no snapshot is named '%s', and no id starts so; `vmsnap list` shows all",
			name);
	return r;
}

int vms_find_snapshot(struct vms *vms, const char *spec, struct snapshot *out,
		      struct err *err)
{
	struct snapshot found = { 0 };
	int r = find(vms, spec, &found, err);

	/* It may be younger than the tables that were read at the opening. */
	if (!r)
		r = vms_refresh(vms, err);
	if (r) {
		snapshot_release(&found);
		return r;
	}
	*out = found;
	return 0;
}
