/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check: from what was met while opening over key slots, tables, packs and
 * entries to manifests and trees, each part believing nothing of the others;
 * at the end, whom the damage hurts. Finds, and repairs nothing. Others may
 * write meanwhile.
 *
 * Memory: at most 22 bytes an entry of the tables while packs are held
 * against them, 11 after that, 32 or so a node (of 256 chunks), 48 a pack, and
 * what grows with the damage. Fingerprints may collide: see print_set.h. An
 * entry that differs from its pack's directory would pass for right with a
 * chance of 2^-31 in a store of 2^32 chunks, and a restore would still refuse what
 * it finds there.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/check.h"

struct notes {
	struct check *check;
	struct err *err;
	int r;
};

static int note_damage(void *arg, const char *object, const struct err *why)
{
	struct notes *notes = arg;

	return check_error_once(notes->check, object, why, notes->err);
}

static void note_table(void *arg, const char *name, const struct err *why)
{
	struct notes *notes = arg;

	if (!notes->r)
		notes->r =
			check_error_once(notes->check, name, why, notes->err);
}

static int note_key(void *arg, const char *id_hex, const struct slot_file *slot,
		    bool is_open, const struct err *wrong)
{
	struct notes *notes = arg;
	char name[OBJECT_NAME_MAX];

	(void)slot;
	(void)is_open;
	if (!wrong || !wrong->code)
		return 0;
	snprintf(name, sizeof(name), "keys/%.64s", id_hex);
	return check_error_once(notes->check, name, wrong, notes->err);
}

static int check_tables(struct check *check, struct err *err)
{
	struct notes notes = { .check = check, .err = err };
	int r = index_check_tables(store_index(check->vms->store),
				   store_thread_sealer(check->thread),
				   note_table, &notes, err);

	return r < 0 ? r : notes.r;
}

/* Opening for reading leaves these alone, but a damaged one keeps every
 * writer out. */
static int condemned_each(void *arg, const char *leaf, struct err *err)
{
	struct check *check = arg;
	struct store *store = check->vms->store;
	struct bytes data = { 0 }, plain = { 0 };
	struct condemned condemned = { 0 };
	uint8_t id[SMALL_ID_SIZE];
	char name[OBJECT_NAME_MAX];
	struct err why = { 0 };
	int r;

	if (hex_decode(id, sizeof(id), leaf, strlen(leaf)) < 0)
		return 0; /* no list's name */
	snprintf(name, sizeof(name), "condemned/%.64s", leaf);
	r = backend_get_whole(store_backend(store), name, SEALED_OBJECT_MAX,
			      &data, &why);
	if (!r)
		r = sealed_object_open(store_thread_sealer(check->thread),
				       OBJECT_CONDEMNED,
				       &store_config(store)->store,
				       store_masters(store)->data_key, name,
				       data.data, data.size, &plain, &why);
	if (!r)
		r = condemned_decode(plain.data, plain.size, name, &condemned,
				     &why);
	condemned_release(&condemned);
	bytes_release(&plain);
	bytes_release(&data);
	if (!r || r == -ENOENT)
		return 0;
	if (check_is_fatal(r))
		return err_set(err, r, "%s", why.text);
	why.code = r;
	return check_error_once(check, name, &why, err);
}

static int check_run(struct check *check, struct err *err)
{
	struct store *store = check->vms->store;
	struct notes notes = { .check = check, .err = err };
	int r = check_list_roots(check, err);

	if (!r)
		r = store_refresh(check->thread, err);
	if (!r)
		r = store_each_damage(store, note_damage, &notes);
	if (!r)
		r = store_each_key(store, note_key, &notes, err);
	if (!r)
		r = backend_list(store_backend(store), "condemned",
				 condemned_each, check, err);
	if (!r)
		r = progress_check(check->progress, err);
	if (!r)
		r = check_tables(check, err);
	if (!r)
		r = check_packs(check, err);
	if (!r)
		r = check_entries(check, err);
	/* Tables that turned out damaged only now. */
	if (!r)
		r = store_each_damage(store, note_damage, &notes);
	if (!r)
		r = check_trees(check, err);
	return r ? r : check_hurt(check, err);
}

int vms_check(struct vms *vms, const struct vms_check *how,
	      struct vms_check_result *result, struct err *err)
{
	struct check check = { .vms = vms,
			       .how = how,
			       .progress = how->progress };
	int r;

	if (how->read_data && !(how->share > 0 && how->share <= 1))
		return err_set(err, -EINVAL,
			       "a share of the data is above 0 and at most 1");
	check.thread = store_thread_new(vms->store, err);
	if (!check.thread)
		return -ENOMEM;
	pthread_mutex_init(&check.lock, NULL);
	r = check_run(&check, err);
	pthread_mutex_destroy(&check.lock);
	store_thread_free(check.thread);
	print_set_release(&check.placed);
	print_set_release(&check.stray);
	print_set_release(&check.indexed);
	id_set_release(&check.nodes);
	id_set_release(&check.held);
	snapshot_list_release(&check.snapshots);
	free(check.pins);
	blame_release(&check.packs);
	blame_release(&check.chunks);
	if (r) {
		vms_check_result_release(&check.result);
		return r;
	}
	*result = check.result;
	return 0;
}
