/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading chunks. Many are looked up at once, sorted by their place, and those
 * that lie close together are read in one go; what they cost is then the
 * device's bandwidth, not its latency. Each is authenticated and its id
 * recomputed; one that is bad is read from another copy if any table names one.
 */
#include <errno.h>
#include <stdio.h>

#include "format/store/store_private.h"

/* More copies than this are not tried: tables are hostile too. */
#define COPIES_MAX 256

struct located {
	struct store_read *read;
	struct place place;
};

int store_has(struct store_thread *thread, const struct id *id, struct err *err)
{
	struct place place;

	return index_find(thread->store->index, thread->sealer, id, &place,
			  err);
}

int store_refresh(struct store_thread *thread, struct err *err)
{
	return index_load(thread->store->index, thread->sealer, err);
}

/* As index_find(); a damaged block of a table is not the end of it. */
static int find(struct store_thread *thread, const struct id *id,
		struct place *out, struct err *err)
{
	struct store *store = thread->store;
	struct err why; /* set where a look-up fails, and read only then */
	int r = index_find(store->index, thread->sealer, id, out, &why);

	if (r == -EBADMSG && store->mode == STORE_READ && !store->tolerant) {
		store_ask_packs(store, thread->sealer, &why);
		r = index_find(store->index, thread->sealer, id, out, &why);
	}
	return r < 0 ? err_set(err, r, "%s", why.text) : r;
}

/* ---- one chunk from its bytes ---- */

static int pack_key(struct store_thread *thread, const struct id *pack,
		    const struct object_key **out, struct err *err)
{
	struct pack_key *slot;
	int r;

	for (unsigned n = 0; n < PACK_KEYS; n++) {
		slot = &thread->keys[n];
		if (slot->is_set && id_equal(&slot->pack, pack)) {
			*out = &slot->key;
			return 0;
		}
	}
	slot = &thread->keys[thread->next_key++ % PACK_KEYS];
	slot->is_set = false;
	r = object_key_derive(&slot->key, thread->store->masters.data_key,
			      pack->b, object_word(OBJECT_PACK), err);
	if (r < 0)
		return r;
	slot->pack = *pack;
	slot->is_set = true;
	*out = &slot->key;
	return 0;
}

/* Words that name the place; -ENOENT and -ENODATA are corruption here. */
static int place_fail(const struct place *place, int code, struct err *err)
{
	char name[OBJECT_NAME_MAX], hex[ID_HEX_SIZE];

	hex_encode(hex, place->entry.id.b, ID_SIZE);
	pack_name(name, &place->pack);
	err_prefix(err, "chunk %s in pack '%s' at offset %u", hex, name,
		   le32_get(place->entry.offset));
	if (code == -ENOENT || code == -ENODATA)
		code = -EBADMSG;
	if (err)
		err->code = code;
	return code;
}

/* Is this the chunk that is asked for? */
static const char *entry_mismatch(const struct store_read *read,
				  const struct entry *entry)
{
	const char *wrong = entry_wrong(entry, UINT32_MAX);

	if (wrong)
		return wrong;
	if (entry_kind(entry) != (unsigned)read->kind)
		return "it is of another kind";
	if (entry_content_size(entry) != read->content_size)
		return "it has another size than its place in the volume";
	return NULL;
}

static int open_chunk(struct store_thread *thread, struct store_read *read,
		      const struct place *place, const void *ciphertext,
		      struct err *err)
{
	const struct object_key *key = NULL;
	char name[OBJECT_NAME_MAX];
	int r = 0;

	if (!thread->coded)
		r = alloc_array(&thread->coded, CHUNK_SIZE_MAX + SEAL_TAG_SIZE,
				1, err);
	if (r == 0)
		r = pack_key(thread, &place->pack, &key, err);
	if (r < 0)
		return r;
	r = pack_open_chunk(thread->sealer, thread->codec, thread->hasher, key,
			    &place->entry, ciphertext, thread->coded,
			    read->content, err);
	if (r < 0) {
		pack_name(name, &place->pack);
		err_prefix(err, "pack '%s'", name);
	}
	return r;
}

static int need_buffer(struct store_thread *thread, size_t size,
		       struct err *err)
{
	size_t room = (size_t)max_u64(size, READ_BUFFER) + BACKEND_ROOM;

	if (room <= thread->buffer_size)
		return 0;
	free(thread->buffer);
	room = div_up(room, BACKEND_ALIGNMENT) * BACKEND_ALIGNMENT;
	thread->buffer = aligned_alloc(BACKEND_ALIGNMENT, room);
	thread->buffer_size = thread->buffer ? room : 0;
	return thread->buffer ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* `size` bytes, which then stand at *at in the thread's buffer. */
static int read_pack(struct store_thread *thread, const struct id *pack,
		     uint64_t offset, size_t size, const uint8_t **at,
		     struct err *err)
{
	struct backend *backend = thread->store->backend;
	char name[OBJECT_NAME_MAX];
	int r = need_buffer(thread, size, err);

	if (r < 0)
		return r;
	pack_name(name, pack);
	if (thread->reads_once)
		return backend_get_once(backend, name, offset, thread->buffer,
					size, at, err);
	*at = thread->buffer;
	return backend_get(backend, name, offset, thread->buffer, size, err);
}

void store_thread_read_once(struct store_thread *thread)
{
	thread->reads_once = true;
}

static int read_place(struct store_thread *thread, struct store_read *read,
		      const struct place *place, struct err *err)
{
	const char *wrong = entry_mismatch(read, &place->entry);
	const uint8_t *at;
	int r;

	if (wrong) {
		err_set(err, -EBADMSG, "%s", wrong);
		return place_fail(place, -EBADMSG, err);
	}
	r = read_pack(thread, &place->pack, le32_get(place->entry.offset),
		      entry_stored_size(&place->entry), &at, err);
	if (r < 0)
		return place_fail(place, r, err);
	return open_chunk(thread, read, place, at, err);
}

/* ---- other copies ---- */

static bool same_place(const struct place *a, const struct place *b)
{
	return id_equal(&a->pack, &b->pack) &&
	       le32_get(a->entry.offset) == le32_get(b->entry.offset);
}

static void tell_of_copy(struct store *store, const struct err *why)
{
	if (__atomic_exchange_n(&store->told_of_copy, true, __ATOMIC_RELAXED))
		return;
	store_warn(store,
		   "%s; another copy was read: run vmsnap check to learn what "
		   "is damaged",
		   why->text);
}

/* The copy at `tried` is bad, and read->err says why: any other one? */
static void heal(struct store_thread *thread, struct store_read *read,
		 const struct place *tried)
{
	struct store *store = thread->store;
	struct place place;
	struct err why;
	int r;

	for (unsigned nth = 0; nth < COPIES_MAX; nth++) {
		r = index_find_copy(store->index, thread->sealer, &read->id,
				    nth, &place, &why);
		if (r <= 0)
			return;
		if (same_place(&place, tried))
			continue;
		r = read_place(thread, read, &place, &why);
		if (r < 0)
			continue;
		tell_of_copy(store, &read->err);
		read->result = 0;
		read->err.code = 0;
		read->err.text[0] = '\0';
		return;
	}
}

static void read_failed(struct store_thread *thread, struct located *located,
			int code)
{
	located->read->result = code;
	heal(thread, located->read, &located->place);
}

/* ---- many ---- */

static int compare(const void *a, const void *b)
{
	const struct located *x = a, *y = b;
	uint32_t i = le32_get(x->place.entry.offset);
	uint32_t j = le32_get(y->place.entry.offset);
	int r = id_compare(&x->place.pack, &y->place.pack);

	return r ? r : (i > j) - (i < j);
}

static uint64_t end_of(const struct located *located)
{
	return (uint64_t)le32_get(located->place.entry.offset) +
	       entry_stored_size(&located->place.entry);
}

/* How many from the first on are read at once; *end: where they end. */
static size_t group_size(const struct located *from, size_t count,
			 uint64_t *end)
{
	uint64_t start = le32_get(from->place.entry.offset);
	size_t n;

	*end = end_of(from);
	for (n = 1; n < count; n++) {
		const struct located *next = &from[n];
		uint64_t offset = le32_get(next->place.entry.offset);

		if (!id_equal(&next->place.pack, &from->place.pack) ||
		    offset > *end + READ_GAP_MAX ||
		    max_u64(*end, end_of(next)) - start > READ_BUFFER)
			break;
		*end = max_u64(*end, end_of(next));
	}
	return n;
}

static void read_group(struct store_thread *thread, struct located *group,
		       size_t count, uint64_t end)
{
	uint64_t start = le32_get(group->place.entry.offset);
	const uint8_t *bytes;
	int whole = read_pack(thread, &group->place.pack, start,
			      (size_t)(end - start), &bytes, NULL);

	for (size_t n = 0; n < count; n++) {
		struct located *at = &group[n];
		struct store_read *read = at->read;
		uint64_t offset = le32_get(at->place.entry.offset) - start;

		if (whole == 0)
			read->result = open_chunk(thread, read, &at->place,
						  bytes + offset, &read->err);
		else
			read->result = read_place(thread, read, &at->place,
						  &read->err);
	}
	/* Healing uses the buffer, so it waits until the group is done. */
	for (size_t n = 0; n < count; n++) {
		if (group[n].read->result < 0)
			read_failed(thread, &group[n], group[n].read->result);
	}
}

/* Adds the read to the located ones, or decides it here. */
static void locate(struct store_thread *thread, struct store_read *read,
		   size_t *count)
{
	struct located *at = &thread->located[*count];
	char hex[ID_HEX_SIZE];
	const char *wrong;
	int r;

	read->err.code = 0;
	read->err.text[0] = '\0';
	at->read = read;
	r = find(thread, &read->id, &at->place, &read->err);
	if (r == 0) {
		hex_encode(hex, read->id.b, ID_SIZE);
		r = err_set(&read->err, -EBADMSG,
			    "chunk %s is missing: no table names it", hex);
	}
	if (r < 0) {
		read->result = r;
		return;
	}
	wrong = entry_mismatch(read, &at->place.entry);
	if (!wrong) {
		read->result = 0;
		(*count)++;
		return;
	}
	err_set(&read->err, -EBADMSG, "%s", wrong);
	place_fail(&at->place, -EBADMSG, &read->err);
	read_failed(thread, at, -EBADMSG);
}

static int need_located(struct store_thread *thread, size_t count,
			struct err *err)
{
	struct located *grown;

	if (count <= thread->located_capacity)
		return 0;
	grown = reallocarray(thread->located, count, sizeof(*grown));
	if (!grown)
		return err_set(err, -ENOMEM, "out of memory");
	thread->located = grown;
	thread->located_capacity = count;
	return 0;
}

int store_get_many(struct store_thread *thread, struct store_read *reads,
		   size_t count, struct err *err)
{
	size_t located = 0, n;
	uint64_t end;
	int r = need_located(thread, count, err);

	if (r < 0) {
		for (n = 0; n < count; n++) {
			reads[n].result = r;
			err_set(&reads[n].err, r, "out of memory");
		}
		return r;
	}
	for (n = 0; n < count; n++)
		locate(thread, &reads[n], &located);
	if (located > 1)
		qsort(thread->located, located, sizeof(*thread->located),
		      compare);
	for (n = 0; n < located;) {
		struct located *group = &thread->located[n];
		size_t size = group_size(group, located - n, &end);

		read_group(thread, group, size, end);
		n += size;
	}
	for (n = 0; n < count; n++) {
		if (reads[n].result < 0)
			return err_set(err, reads[n].result, "%s",
				       reads[n].err.text);
	}
	return 0;
}

int store_get(struct store_thread *thread, enum chunk_kind kind,
	      const struct id *id, void *content, size_t capacity,
	      uint32_t *size, struct err *err)
{
	struct store_read read = { .id = *id, .kind = kind };
	struct located at = { .read = &read };
	char hex[ID_HEX_SIZE];
	int r;

	r = find(thread, id, &at.place, err);
	if (r < 0)
		return r;
	hex_encode(hex, id->b, ID_SIZE);
	if (r == 0)
		return err_set(err, -EBADMSG,
			       "chunk %s is missing: no table names it", hex);
	read.content = content;
	read.content_size = entry_content_size(&at.place.entry);
	if (read.content_size > capacity) {
		err_set(err, -EBADMSG, "it has %u bytes, at most %zu are due",
			read.content_size, capacity);
		return place_fail(&at.place, -EBADMSG, err);
	}
	read.result = read_place(thread, &read, &at.place, &read.err);
	if (read.result < 0)
		read_failed(thread, &at, read.result);
	if (read.result < 0)
		return err_set(err, read.result, "%s", read.err.text);
	*size = read.content_size;
	return 0;
}
