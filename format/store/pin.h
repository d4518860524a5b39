/* SPDX-License-Identifier: Apache-2.0 */
/* Pins and condemned lists: records in, records out, no I/O. spec/store.md. */
#ifndef FORMAT_STORE_PIN_H
#define FORMAT_STORE_PIN_H

#include "format/store/snapshot.h"

#define SMALL_ID_SIZE     16
#define SMALL_ID_HEX_SIZE (2 * SMALL_ID_SIZE + 1)

/* A root that something live stands on. Owns what is behind pointers. */
struct pin {
	char *owner; /* "image", "template", "restore" */
	char *host;
	char *path;
	int64_t time_ns;
	struct volume *volumes;
	size_t volume_count;
	bool has_snapshot;
	struct id snapshot;
};
void pin_release(struct pin *pin);
int pin_encode(const struct pin *pin, struct bytes *out, struct err *err);
int pin_decode(const void *data, size_t size, const char *what, struct pin *out,
	       struct err *err);

struct condemned {
	int64_t time_ns;
	int64_t not_before_ns;
	struct id *packs;
	size_t pack_count;
};
void condemned_release(struct condemned *condemned);
int condemned_encode(const struct condemned *condemned, struct bytes *out,
		     struct err *err);
int condemned_decode(const void *data, size_t size, const char *what,
		     struct condemned *out, struct err *err);

#endif
