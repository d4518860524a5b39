/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunks of one pack, read in the order in which they lie, a large piece
 * at a time, each opened and its id recomputed. Every copy of a chunk is read,
 * so a bad one is found while another still stands.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/base/bytes.h"
#include "vmsnap/check.h"

#define PIECE_SIZE  ((size_t)MIB)
#define BUFFER_SIZE (CHUNK_SIZE_MAX + SEAL_TAG_SIZE)
#define SEALED_SIZE (CHUNK_SIZE_MAX + BACKEND_ALIGNMENT + BACKEND_ROOM)
static_assert(BUFFER_SIZE >= PIECE_SIZE, "a piece fits");

struct pack_data {
	struct check *check;
	struct sealer *sealer;
	struct codec *codec;
	struct hasher *hasher;
	uint8_t *sealed;          /* for backend_get_once() */
	uint8_t *coded, *content; /* BUFFER_SIZE each */
	uint64_t limit;           /* first 8 bytes of an id: below it is read */
	/* The pack in work. */
	const struct id *pack;
	char name[OBJECT_NAME_MAX];
	struct object_key key;
	uint32_t error; /* NO_ERROR: none so far */
	uint32_t bad;
	uint64_t read_bytes;
};

void pack_data_free(struct pack_data *data)
{
	if (!data)
		return;
	wipe(&data->key, sizeof(data->key));
	sealer_free(data->sealer);
	codec_free(data->codec);
	hasher_free(data->hasher);
	free(data->sealed);
	free(data->coded);
	free(data->content);
	free(data);
}

static uint64_t limit_of(double share)
{
	return share >= 1 ? UINT64_MAX : (uint64_t)(share * 0x1p64);
}

int pack_data_new(struct pack_data **out, struct check *check, struct err *err)
{
	struct store *store = check->vms->store;
	struct pack_data *data = NULL;
	int r = alloc_array(&data, 1, sizeof(*data), err);

	if (r < 0)
		return r;
	data->check = check;
	data->limit = limit_of(check->how->share);
	data->sealer = sealer_new(err);
	data->codec = codec_new(STORE_LEVEL_DEFAULT, err);
	data->hasher = hasher_new(store_masters(store)->id_key, err);
	if (!data->sealer || !data->codec || !data->hasher)
		r = -ENOMEM;
	data->sealed = aligned_alloc(BACKEND_ALIGNMENT, SEALED_SIZE);
	if (!r && !data->sealed)
		r = err_set(err, -ENOMEM, "out of memory");
	if (!r)
		r = alloc_array(&data->coded, BUFFER_SIZE, 1, err);
	if (!r)
		r = alloc_array(&data->content, BUFFER_SIZE, 1, err);
	if (r) {
		pack_data_free(data);
		return r;
	}
	*out = data;
	return 0;
}

static bool is_wanted(const struct pack_data *data, const struct entry *entry)
{
	return data->limit == UINT64_MAX || be64_get(entry->id.b) < data->limit;
}

/* One error a pack, however many of its chunks are bad. */
static int note_bad(struct pack_data *data, const struct entry *entry,
		    const struct err *why, struct err *err)
{
	struct check *check = data->check;
	int r = 0;

	data->bad++;
	pthread_mutex_lock(&check->lock);
	if (data->error == NO_ERROR)
		r = check_error(check, data->name, why, &data->error, err);
	if (!r)
		r = blame_add(&check->chunks, &entry->id, data->error,
			      (enum chunk_kind)entry_kind(entry), false, err);
	pthread_mutex_unlock(&check->lock);
	return r;
}

static int chunk_open(struct pack_data *data, const struct entry *entry,
		      const uint8_t *sealed, struct err *err)
{
	struct err why = { 0 };
	int r = pack_open_chunk(data->sealer, data->codec, data->hasher,
				&data->key, entry, sealed, data->coded,
				data->content, &why);

	if (check_is_fatal(r))
		return err_set(err, r, "%s", why.text);
	if (r) {
		why.code = -EBADMSG;
		return note_bad(data, entry, &why, err);
	}
	data->read_bytes += entry_content_size(entry);
	return 0;
}

/* Entries [from, to), those wanted lying within one buffer. */
static int piece_read(struct pack_data *data, const struct entry *entries,
		      uint32_t from, uint32_t to, struct err *err)
{
	uint64_t start = le32_get(entries[from].offset);
	uint64_t end = (uint64_t)le32_get(entries[to - 1].offset) +
		       entry_stored_size(&entries[to - 1]);
	const uint8_t *sealed;
	struct err why = { 0 };
	int r = backend_get_once(store_backend(data->check->vms->store),
				 data->name, start, data->sealed,
				 (size_t)(end - start), &sealed, &why);

	if (check_is_fatal(r))
		return err_set(err, r, "%s", why.text);
	if (r && to - from > 1) { /* which of them is it? */
		r = 0;
		for (uint32_t n = from; n < to && !r; n++) {
			if (is_wanted(data, &entries[n]))
				r = piece_read(data, entries, n, n + 1, err);
		}
		return r;
	}
	if (r)
		return note_bad(data, &entries[from], &why, err);
	for (uint32_t n = from; n < to && !r; n++) {
		if (is_wanted(data, &entries[n]))
			r = chunk_open(
				data, &entries[n],
				sealed + (le32_get(entries[n].offset) - start),
				err);
	}
	if (data->check->progress)
		progress_add(&data->check->progress->done_bytes, end - start);
	return r;
}

/* How far one read goes from the entry `from`: behind the last wanted one. */
static uint32_t piece_end(const struct pack_data *data,
			  const struct entry *entries, uint32_t from,
			  uint32_t count)
{
	uint64_t start = le32_get(entries[from].offset);
	uint32_t to = from + 1;

	for (uint32_t n = to; n < count; n++) {
		uint64_t end = (uint64_t)le32_get(entries[n].offset) +
			       entry_stored_size(&entries[n]);

		if (end - start > PIECE_SIZE)
			break;
		if (is_wanted(data, &entries[n]))
			to = n + 1;
	}
	return to;
}

static void words_many(struct pack_data *data)
{
	struct vms_check_error *error;
	char first[ERR_TEXT_MAX];

	pthread_mutex_lock(&data->check->lock);
	error = &data->check->result.errors[data->error];
	memcpy(first, error->what, sizeof(first));
	snprintf(error->what, sizeof(error->what),
		 "%u bad chunks, the first: %.700s", data->bad, first);
	pthread_mutex_unlock(&data->check->lock);
}

int pack_data_check(struct pack_data *data, const struct id *pack,
		    const struct entry *directory, uint32_t count,
		    struct err *err)
{
	uint32_t n = 0, to;
	int r;

	data->pack = pack;
	data->error = NO_ERROR;
	data->bad = 0;
	data->read_bytes = 0;
	pack_name(data->name, pack);
	r = object_key_derive(&data->key,
			      store_masters(data->check->vms->store)->data_key,
			      pack->b, object_word(OBJECT_PACK), err);
	while (n < count && !r) {
		if (!is_wanted(data, &directory[n])) {
			n++;
			continue;
		}
		to = piece_end(data, directory, n, count);
		r = progress_check(data->check->progress, err);
		if (!r)
			r = piece_read(data, directory, n, to, err);
		n = to;
	}
	if (data->bad > 1)
		words_many(data);
	pthread_mutex_lock(&data->check->lock);
	data->check->result.read_bytes += data->read_bytes;
	pthread_mutex_unlock(&data->check->lock);
	return r;
}
