/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The look at a store in the middle of its life: opened as a check does it, so
 * that nothing that is damaged heals unseen, and one knows whom it hurts.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "format/store/pack.h"
#include "format/store/tree.h"
#include "tests/rig/seal_watch.h"
#include "tests/rig/store_life.h"

int life_check_chunks(struct writer *reader, const struct attempt *attempt,
		      const struct id *root)
{
	static struct store_read reads[VOLUME_CHUNKS];
	static uint8_t found[VOLUME_CHUNKS][CONTENT_MAX];
	static struct id ids[VOLUME_CHUNKS];
	uint8_t wanted[CONTENT_MAX];
	struct tree_reader *tree;
	unsigned count = 0;
	int r;

	r = tree_reader_new(&tree, reader->thread, root, attempt->count,
			    &reader->err);
	if (r < 0)
		return r;
	r = tree_reader_ids(tree, 0, attempt->count, ids, NULL, NULL,
			    &reader->err);
	tree_reader_free(tree);
	for (unsigned n = 0; n < attempt->count && r == 0; n++) {
		uint32_t number = attempt->chunks[n];

		if (id_is_null(&ids[n]) != (number == 0))
			return err_set(&reader->err, -EBADMSG,
				       "chunk %u is a hole, or should be", n);
		if (number == 0)
			continue;
		reads[count].id = ids[n];
		reads[count].kind = CHUNK_DATA;
		reads[count].content = found[n];
		reads[count].content_size =
			(uint32_t)life_content(number, wanted);
		count++;
	}
	if (r == 0)
		r = store_get_many(reader->thread, reads, count, &reader->err);
	for (unsigned n = 0; n < attempt->count && r == 0; n++) {
		if (attempt->chunks[n] == 0)
			continue;
		if (memcmp(found[n], wanted,
			   life_content(attempt->chunks[n], wanted)))
			r = err_set(&reader->err, -EBADMSG,
				    "chunk %u has another content", n);
	}
	return r;
}

static void check_snapshot(struct world *w, struct writer *reader,
			   const struct id *id)
{
	enum check check = CHECK_WHOLE;
	struct snapshot snapshot;
	struct attempt *attempt;
	int r, number;

	for (unsigned n = 0; n < w->attempt_count; n++) {
		if (w->attempts[n].acknowledged &&
		    id_equal(&w->attempts[n].id, id))
			check = CHECK_READS;
	}
	r = store_load_snapshot(reader->thread, id, &snapshot, &reader->err);
	if (r < 0) {
		life_violate(w, check, "a snapshot can't be loaded: %s",
			     reader->err.text);
		return;
	}
	number = (int)snapshot.time_ns - 1;
	if (number < 0 || number >= (int)w->attempt_count) {
		life_violate(w, CHECK_WHOLE, "a snapshot that nobody made");
		snapshot_release(&snapshot);
		return;
	}
	attempt = &w->attempts[number];
	if (!attempt->called || attempt->seen ||
	    strcmp(attempt->name, snapshot.name) ||
	    attempt->acknowledged != (check == CHECK_READS))
		life_violate(w, CHECK_WHOLE,
			     "snapshot %d is not the one that was made",
			     number);
	attempt->seen = true;
	r = life_check_chunks(reader, attempt, &snapshot.volumes[0].root);
	if (r < 0)
		life_violate(w, check, "snapshot %d does not read: %s", number,
			     reader->err.text);
	snapshot_release(&snapshot);
}

static void look_at_snapshots(struct world *w, struct writer *reader)
{
	struct snapshot_list list = { 0 };

	for (unsigned n = 0; n < w->attempt_count; n++)
		w->attempts[n].seen = false;
	if (store_list_snapshots(reader->store, &list, &reader->err) < 0)
		life_violate(w, CHECK_OPENS, "can't list: %s",
			     reader->err.text);
	for (size_t n = 0; n < list.count; n++)
		check_snapshot(w, reader, &list.ids[n]);
	for (unsigned n = 0; n < w->attempt_count; n++) {
		if (w->attempts[n].acknowledged && !w->attempts[n].seen)
			life_violate(w, CHECK_THERE, "snapshot %u is gone", n);
	}
	snapshot_list_release(&list);
}

/* ---- packs ---- */

struct look {
	struct world *w;
	struct writer *reader;
};

static int look_at_pack(void *arg, const char *leaf, struct err *err)
{
	struct look *look = arg;
	struct store *store = look->reader->store;
	struct bytes directory = { 0 };
	struct pack_info info;
	struct id id;

	if (hex_decode(id.b, ID_SIZE, leaf, strlen(leaf)) < 0 ||
	    !index_names_pack(store_index(store), &id))
		return 0;
	if (pack_read_directory(store_backend(store),
				store_thread_sealer(look->reader->thread),
				&store_config(store)->store,
				store_masters(store)->data_key, &id, &info,
				&directory, err) < 0)
		life_violate(look->w, CHECK_PACKS, "%s", err->text);
	bytes_release(&directory);
	return 0;
}

static void look_at_packs(struct world *w, struct writer *reader)
{
	struct look look = { w, reader };

	if (backend_list(store_backend(reader->store), "packs", look_at_pack,
			 &look, &reader->err) < 0)
		life_violate(w, CHECK_PACKS, "can't list packs: %s",
			     reader->err.text);
}

/* ---- all ---- */

static int damage_found(void *arg, const char *object, const struct err *why)
{
	(void)object;
	life_violate(arg, CHECK_OPENS, "%s", why->text);
	return 0;
}

static void look_at_all(struct world *w, struct writer *reader, bool last)
{
	size_t tables = index_table_count(store_index(reader->store));

	w->counts.merges += tables < w->tables;
	w->tables = tables;
	look_at_snapshots(w, reader);
	life_look_at_pins(w, reader);
	life_look_at_keys(w, reader);
	if (last)
		look_at_packs(w, reader);
	store_each_damage(reader->store, damage_found, w);
}

void life_look(struct world *w, bool last)
{
	struct writer reader;
	int r = life_open_writer(w, &reader, STORE_READ);
	bool of_keys =
		r == -EKEYREJECTED || strstr(reader.err.text, "key slot");

	if (r == 0)
		look_at_all(w, &reader, last);
	else
		life_violate(w, of_keys ? CHECK_KEYS : CHECK_OPENS,
			     "the store can't be opened: %s", reader.err.text);
	life_close_writer(&reader);
	if (seal_watch_repeats())
		life_violate(w, CHECK_NONCES,
			     "%llu of %llu seals repeat another one's key and "
			     "nonce",
			     (unsigned long long)seal_watch_repeats(),
			     (unsigned long long)seal_watch_seals());
}
