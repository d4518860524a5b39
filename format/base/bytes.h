/* SPDX-License-Identifier: Apache-2.0 */
/* A growing buffer, and a reader that cannot leave its buffer. */
#ifndef FORMAT_BASE_BYTES_H
#define FORMAT_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "format/base/err.h"

/* Zeroed is empty. Not thread safe. */
struct bytes {
	uint8_t *data;
	size_t size;
	size_t capacity;
};

/* Room for `more` bytes after the end; -ENOMEM, and nothing is lost. */
int bytes_reserve(struct bytes *bytes, size_t more, struct err *err);
int bytes_append(struct bytes *bytes, const void *data, size_t size,
		 struct err *err);
/* Append `size` zero bytes and hand out where they stand (valid until the
 * next append), or NULL with words. */
void *bytes_extend(struct bytes *bytes, size_t size, struct err *err);
void bytes_release(struct bytes *bytes);
/* As bytes_release(), and wipes what was held. */
void bytes_release_secret(struct bytes *bytes);

struct reader {
	const uint8_t *at;
	size_t left;
};

/* The next `size` bytes and step over them, or NULL when they aren't there. */
const void *reader_take(struct reader *reader, size_t size);

#endif
