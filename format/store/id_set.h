/* SPDX-License-Identifier: Apache-2.0 */
/* A set of random ids (packs, tables). Zeroed is empty. Not thread safe. */
#ifndef FORMAT_STORE_ID_SET_H
#define FORMAT_STORE_ID_SET_H

#include <stdbool.h>

#include "format/store/id.h"

struct id_set {
	struct id *slots; /* the null id: free */
	size_t capacity;  /* 0 or a power of two */
	size_t count;     /* without the null id */
	bool has_null;
};

/* 1 added, 0 was there, -ENOMEM. */
int id_set_add(struct id_set *set, const struct id *id, struct err *err);
bool id_set_has(const struct id_set *set, const struct id *id);
void id_set_release(struct id_set *set);

#endif
