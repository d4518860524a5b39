/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots and pins of an open store, and the commit: the one moment at which
 * a backup comes to exist. Everything that the manifest leads to is durable
 * before it is written, also what other writers put and have not yet made sure
 * of (settle).
 */
#include <errno.h>
#include <stdio.h>

#include "format/store/store_private.h"

#define LATEST_TRIES 8

/* ---- list, load ---- */

static int list_ids(struct store *store, const uint8_t *tag,
		    struct snapshot_list *out, struct err *err)
{
	struct id_list list;
	int r = store_names(store, tag, &list, err);

	if (r < 0)
		return r;
	out->ids = list.ids;
	out->count = list.count;
	return 0;
}

int store_list_snapshots(struct store *store, struct snapshot_list *out,
			 struct err *err)
{
	return list_ids(store, NULL, out, err);
}

int store_list_tagged(struct store_thread *thread, const char *name,
		      struct snapshot_list *out, struct err *err)
{
	uint8_t tag[8];
	int r = hasher_name_tag(thread->hasher, name, tag, err);

	return r < 0 ? r : list_ids(thread->store, tag, out, err);
}

void snapshot_list_release(struct snapshot_list *list)
{
	free(list->ids);
	memset(list, 0, sizeof(*list));
}

static void snapshot_object_name(char name[OBJECT_NAME_MAX],
				 const struct id *id)
{
	char hex[ID_HEX_SIZE];

	hex_encode(hex, id->b, ID_SIZE);
	snprintf(name, OBJECT_NAME_MAX, "%s/%s", object_folder(OBJECT_SNAPSHOT),
		 hex);
}

static int check_tag(struct store_thread *thread, const struct snapshot *s,
		     const char *what, struct err *err)
{
	uint8_t tag[8];
	int r = hasher_name_tag(thread->hasher, s->name, tag, err);

	if (r == 0 && memcmp(tag, s->id.b + 16, sizeof(tag)))
		r = err_set(err, -EBADMSG,
			    "'%s': its name '%s' is not the one of its id",
			    what, s->name);
	return r;
}

int store_load_snapshot(struct store_thread *thread, const struct id *id,
			struct snapshot *out, struct err *err)
{
	struct snapshot snapshot = { 0 };
	struct bytes plain = { 0 };
	char name[OBJECT_NAME_MAX];
	int r;

	snapshot_object_name(name, id);
	r = store_get_object(thread->store, thread->sealer, OBJECT_SNAPSHOT,
			     name, &plain, err);
	if (r == 0)
		r = snapshot_decode(id, plain.data, plain.size, name, &snapshot,
				    err);
	bytes_release(&plain);
	if (r < 0)
		return r;
	r = check_tag(thread, &snapshot, name, err);
	if (r < 0) {
		snapshot_release(&snapshot);
		return r;
	}
	*out = snapshot;
	return 0;
}

/* 0 when there is none. */
static uint64_t greatest_sequence(const struct snapshot_list *list)
{
	uint64_t greatest = 0;

	for (size_t n = 0; n < list->count; n++)
		greatest =
			max_u64(greatest, snapshot_id_sequence(&list->ids[n]));
	return greatest;
}

static bool is_later(const struct snapshot *a, const struct snapshot *b)
{
	if (a->time_ns != b->time_ns)
		return a->time_ns > b->time_ns;
	return id_compare(&a->id, &b->id) > 0;
}

/* The latest of those with this sequence (several, if writers raced); 0 when
 * all have vanished since they were listed. */
static int load_latest(struct store_thread *thread,
		       const struct snapshot_list *list, uint64_t sequence,
		       struct snapshot *out, struct err *err)
{
	struct snapshot best = { 0 }, one;
	int found = 0, r;

	for (size_t n = 0; n < list->count; n++) {
		const struct id *id = &list->ids[n];

		if (snapshot_id_sequence(id) != sequence)
			continue;
		r = store_load_snapshot(thread, id, &one, err);
		if (r == -ENOENT)
			continue;
		if (r < 0) {
			snapshot_release(&best);
			return r;
		}
		if (found && !is_later(&one, &best)) {
			snapshot_release(&one);
			continue;
		}
		snapshot_release(&best);
		best = one;
		found = 1;
	}
	if (found)
		*out = best;
	return found;
}

int store_latest_snapshot(struct store_thread *thread, const char *name,
			  struct snapshot *out, struct err *err)
{
	struct snapshot_list list;
	uint64_t sequence;
	char safe[256];
	int r, tries = 0;

	do {
		r = store_list_tagged(thread, name, &list, err);
		if (r < 0)
			return r;
		sequence = greatest_sequence(&list);
		r = sequence ? load_latest(thread, &list, sequence, out, err)
			     : 0;
		snapshot_list_release(&list);
		if (r != 0)
			return r < 0 ? r : 0;
	} while (sequence && ++tries < LATEST_TRIES);
	return err_set(err, -ENOENT, "the store has no snapshot of '%s'",
		       escape_name(safe, sizeof(safe), name));
}

/* ---- commit ---- */

/* Has a pack been condemned that this run counted on? */
static int check_condemned(struct store *store, struct sealer *sealer,
			   struct err *err)
{
	autofree struct id *packs = NULL;
	char name[OBJECT_NAME_MAX];
	size_t count = 0;
	int r = store_read_condemned(store, sealer, &packs, &count, err);

	for (size_t n = 0; n < count && r == 0; n++) {
		if (!index_relied_on(store->index, &packs[n]))
			continue;
		pack_name(name, &packs[n]);
		r = err_set(err, -EAGAIN,
			    "a prune has meanwhile condemned '%s', which this "
			    "run counted on: nothing was committed; run again",
			    name);
	}
	return r;
}

static int make_id(struct store_thread *thread, struct snapshot *snapshot,
		   struct err *err)
{
	struct snapshot_list list;
	uint64_t greatest;
	uint8_t tag[8];
	int r;

	r = hasher_name_tag(thread->hasher, snapshot->name, tag, err);
	if (r == 0)
		r = random_fill(snapshot->id.b, 16, err);
	if (r == 0)
		r = list_ids(thread->store, tag, &list, err);
	if (r < 0)
		return r;
	greatest = greatest_sequence(&list);
	snapshot_list_release(&list);
	if (greatest == UINT64_MAX)
		return err_set(err, -EOVERFLOW,
			       "the greatest sequence is taken by a snapshot "
			       "of '%s'",
			       snapshot->name);
	snapshot->sequence = greatest + 1;
	memcpy(snapshot->id.b + 16, tag, sizeof(tag));
	be64_put(snapshot->id.b + 24, snapshot->sequence);
	return 0;
}

static int put_snapshot(struct store_thread *thread, struct snapshot *snapshot,
			struct err *err)
{
	struct bytes plain = { 0 };
	char name[OBJECT_NAME_MAX];
	int r = make_id(thread, snapshot, err);

	if (r < 0)
		return r;
	if (snapshot->time_ns == 0)
		snapshot->time_ns = time_now_ns();
	snapshot_object_name(name, &snapshot->id);
	r = snapshot_encode(snapshot, &plain, err);
	if (r == 0)
		r = store_put_object(thread->store, thread->sealer,
				     OBJECT_SNAPSHOT, name, &plain, err);
	bytes_release(&plain);
	return r;
}

int store_settle(struct store *store, struct store_thread *thread,
		 struct err *err)
{
	int r = store_check_writable(store, err);

	if (r == 0)
		r = store_thread_flush(thread, err);
	if (r == 0)
		r = finisher_wait(store, err);
	if (r < 0 || store->mode == STORE_DRY)
		return r;
	r = store_flush_index(store, thread->sealer, err);
	/* Tables of others that were read may not be durable yet. */
	if (r == 0)
		r = backend_settle(store->backend, object_folder(OBJECT_TABLE),
				   err);
	if (r == 0)
		r = check_condemned(store, thread->sealer, err);
	return r;
}

int store_commit(struct store *store, struct store_thread *thread,
		 struct snapshot *snapshot, struct err *err)
{
	/* Set only when it is true; what is behind pointers stays as it is. */
	struct snapshot copy = *snapshot;
	int r = store_settle(store, thread, err);

	if (r == 0 && store->mode != STORE_DRY)
		r = put_snapshot(thread, &copy, err);
	if (r < 0 || store->mode == STORE_DRY)
		return r;
	snapshot->id = copy.id;
	snapshot->sequence = copy.sequence;
	snapshot->time_ns = copy.time_ns;
	return 0;
}

/* ---- pins ---- */

static int pin_name(char name[OBJECT_NAME_MAX], const char *id_hex,
		    struct err *err)
{
	char safe[128];

	if (!store_leaf_is_hex(id_hex, SMALL_ID_SIZE))
		return err_set(err, -EINVAL,
			       "'%s' is no pin's id: it has %d "
			       "hex digits",
			       escape_name(safe, sizeof(safe), id_hex),
			       2 * SMALL_ID_SIZE);
	snprintf(name, OBJECT_NAME_MAX, "%s/%s", object_folder(OBJECT_PIN),
		 id_hex);
	return 0;
}

int store_put_pin_as(struct store_thread *thread, const struct pin *pin,
		     const char *id_hex, struct err *err)
{
	char name[OBJECT_NAME_MAX];
	struct bytes plain = { 0 };
	int r = store_check_writable(thread->store, err);

	if (r == 0)
		r = pin_name(name, id_hex, err);
	if (r == 0)
		r = pin_encode(pin, &plain, err);
	if (r == 0 && thread->store->mode != STORE_DRY)
		r = store_put_object(thread->store, thread->sealer, OBJECT_PIN,
				     name, &plain, err);
	bytes_release(&plain);
	return r;
}

int store_put_pin(struct store_thread *thread, const struct pin *pin,
		  char id_hex[SMALL_ID_HEX_SIZE], struct err *err)
{
	char hex[SMALL_ID_HEX_SIZE];
	uint8_t id[SMALL_ID_SIZE];
	int r = random_fill(id, sizeof(id), err);

	if (r < 0)
		return r;
	hex_encode(hex, id, sizeof(id));
	r = store_put_pin_as(thread, pin, hex, err);
	if (r == 0)
		memcpy(id_hex, hex, sizeof(hex));
	return r;
}

int store_load_pin(struct store_thread *thread, const char *id_hex,
		   struct pin *out, struct err *err)
{
	char name[OBJECT_NAME_MAX];
	struct bytes plain = { 0 };
	int r = pin_name(name, id_hex, err);

	if (r == 0)
		r = store_get_object(thread->store, thread->sealer, OBJECT_PIN,
				     name, &plain, err);
	if (r == 0)
		r = pin_decode(plain.data, plain.size, name, out, err);
	bytes_release(&plain);
	return r;
}

int store_delete_pin(struct store *store, const char *id_hex, struct err *err)
{
	char name[OBJECT_NAME_MAX];
	int r = pin_name(name, id_hex, err);

	if (r == 0)
		r = store_check_writable(store, err);
	if (r < 0 || store->mode == STORE_DRY)
		return r;
	r = backend_delete(store->backend, name, err);
	/* Nobody would take it away a second time. */
	if (r == 0)
		r = backend_settle(store->backend, object_folder(OBJECT_PIN),
				   err);
	return r;
}

struct each_pin {
	int (*fn)(void *arg, const char *id_hex, struct err *err);
	void *arg;
};

static int tell_pin(void *arg, const char *leaf, struct err *err)
{
	struct each_pin *each = arg;

	if (!store_leaf_is_hex(leaf, SMALL_ID_SIZE))
		return 0;
	return each->fn(each->arg, leaf, err);
}

int store_each_pin(struct store *store,
		   int (*fn)(void *arg, const char *id_hex, struct err *err),
		   void *arg, struct err *err)
{
	struct each_pin each = { fn, arg };

	return backend_list(store->backend, object_folder(OBJECT_PIN), tell_pin,
			    &each, err);
}
