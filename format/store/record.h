/* SPDX-License-Identifier: Apache-2.0 */
/* Records: type, flags, length, payload. spec/store.md, Sealed object. */
#ifndef FORMAT_STORE_RECORD_H
#define FORMAT_STORE_RECORD_H

#include <stdbool.h>

#include "format/base/bytes.h"
#include "format/base/le.h"

#define RECORD_REQUIRED 1u

int record_put(struct bytes *out, unsigned type, bool required,
	       const void *payload, size_t size, struct err *err);
int record_put_u32(struct bytes *out, unsigned type, bool required, uint32_t n,
		   struct err *err);
int record_put_u64(struct bytes *out, unsigned type, bool required, uint64_t n,
		   struct err *err);
/* -EINVAL when a reader would refuse it: not UTF-8. */
int record_put_text(struct bytes *out, unsigned type, bool required,
		    const char *text, struct err *err);

struct record {
	unsigned type;
	bool required;
	const uint8_t *payload; /* points into what is read */
	size_t size;
};

/* The next one: 1, or 0 at the end, or -EBADMSG with `what` in the words. */
int record_next(struct reader *reader, struct record *record, const char *what,
		struct err *err);
/* Width checks; -EBADMSG. */
int record_u32(const struct record *record, uint32_t *out, const char *what,
	       struct err *err);
int record_u64(const struct record *record, uint64_t *out, const char *what,
	       struct err *err);
/* UTF-8 without NUL, at most `max` bytes; *out is from malloc(), must be NULL
 * before (else: the type stands twice). */
int record_text(const struct record *record, size_t max, char **out,
		const char *what, struct err *err);

/* UTF-8 (shortest form, no surrogates) without NUL? */
bool text_is_valid(const char *text, size_t size);

/* [A-Za-z0-9][A-Za-z0-9._-]{0,127} */
#define NAME_MAX_SIZE 128
bool name_is_valid(const char *name, size_t size);

#endif
