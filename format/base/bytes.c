/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A buffer that doubles as it grows, and the bounds check that every parser
 * shares. A buffer for secrets should be reserved in full before the first is
 * put in: growing may leave the old copy in freed memory.
 */
#include "format/base/bytes.h"

#include <errno.h>
#include <string.h>

#include "format/base/base.h"

#define CAPACITY_MIN 64

int bytes_reserve(struct bytes *bytes, size_t more, struct err *err)
{
	size_t need, capacity;
	uint8_t *data;

	if (__builtin_add_overflow(bytes->size, more, &need) ||
	    need > PTRDIFF_MAX)
		return err_set(err, -ENOMEM,
			       "out of memory: a buffer of %zu and %zu bytes",
			       bytes->size, more);
	if (need <= bytes->capacity)
		return 0;

	capacity = max_u64(need, CAPACITY_MIN);
	if (bytes->capacity <= PTRDIFF_MAX / 2)
		capacity = max_u64(capacity, 2 * bytes->capacity);
	data = realloc(bytes->data, capacity);
	if (!data)
		return err_set(err, -ENOMEM,
			       "out of memory for a buffer of %zu bytes",
			       capacity);
	bytes->data = data;
	bytes->capacity = capacity;
	return 0;
}

int bytes_append(struct bytes *bytes, const void *data, size_t size,
		 struct err *err)
{
	int r = bytes_reserve(bytes, size, err);

	if (r < 0)
		return r;
	if (size)
		memcpy(bytes->data + bytes->size, data, size);
	bytes->size += size;
	return 0;
}

void *bytes_extend(struct bytes *bytes, size_t size, struct err *err)
{
	uint8_t *at;

	/* One byte at least, so that "no bytes" has an address too. */
	if (bytes_reserve(bytes, size ? size : 1, err) < 0)
		return NULL;
	at = bytes->data + bytes->size;
	memset(at, 0, size);
	bytes->size += size;
	return at;
}

void bytes_release(struct bytes *bytes)
{
	free(bytes->data);
	*bytes = (struct bytes){ 0 };
}

void bytes_release_secret(struct bytes *bytes)
{
	wipe(bytes->data, bytes->capacity);
	bytes_release(bytes);
}

const void *reader_take(struct reader *reader, size_t size)
{
	const uint8_t *taken = reader->at;

	if (size > reader->left)
		return NULL;
	if (!size)
		return taken ? (const void *)taken : "";
	reader->at += size;
	reader->left -= size;
	return taken;
}
