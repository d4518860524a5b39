/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every entry of every table, once: it must stand so in its pack's directory.
 * What lies in a broken pack may be lost. And what is indexed at all is
 * remembered, so that the walk over the trees needs no look-up a chunk.
 */
#include <errno.h>
#include <stdio.h>

#include "vmsnap/check.h"

static int entry_differs(struct check *check, const struct id *pack,
			 const struct entry *entry, uint32_t *number,
			 struct err *err)
{
	char name[OBJECT_NAME_MAX], hex[ID_HEX_SIZE];
	struct err why = { 0 };
	int r;

	pack_name(name, pack);
	hex_encode(hex, entry->id.b, ID_SIZE);
	err_set(&why, -EBADMSG,
		"a table says that chunk %s lies at offset %u, the pack's directory does not",
		hex, le32_get(entry->offset));
	r = check_error(check, name, &why, number, err);
	if (!r)
		r = blame_add(&check->packs, pack, *number, CHUNK_DATA, true,
			      err);
	return r;
}

static int entry_check(void *arg, const struct id *pack,
		       const struct entry *entry, struct err *err)
{
	struct check *check = arg;
	const struct blame *blame = blame_find(&check->packs, pack);
	uint32_t number = blame ? blame->error : NO_ERROR;
	bool is_placed =
		print_set_has(&check->placed, print_of_entry(pack, entry));
	int r = print_set_add(&check->indexed,
			      print_of_chunk(&entry->id,
					     (enum chunk_kind)entry_kind(entry),
					     entry_content_size(entry)),
			      err);

	if (r >= 0 && check->indexed.count % 65536 == 0)
		r = progress_check(check->progress, err);
	if (r < 0)
		return r;
	/* A table that another process has written meanwhile, in place of some
	 * that were there, names packs that are too new to have been held. */
	if (is_placed || !id_set_has(&check->held, pack))
		return 0;
	if (!blame) {
		r = entry_differs(check, pack, entry, &number, err);
		if (r)
			return r;
	}
	return blame_add(&check->chunks, &entry->id, number,
			 (enum chunk_kind)entry_kind(entry), false, err);
}

int check_entries(struct check *check, struct err *err)
{
	struct index *index = store_index(check->vms->store);
	int r = print_set_reserve(&check->indexed, index_entry_count(index),
				  err);

	if (!r)
		r = index_each(index, store_thread_sealer(check->thread),
			       entry_check, check, err);
	print_set_release(&check->placed);
	return r;
}
