/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of volumes, as snapshots and pins hold them. Private to those. */
#ifndef FORMAT_STORE_VOLUMES_H
#define FORMAT_STORE_VOLUMES_H

#include "format/store/snapshot.h"

struct record;

/* A zeroed one at the end; NULL with words (-ENOMEM; -EFBIG above 64). */
struct volume *volumes_add(struct volume **volumes, size_t *count,
			   struct err *err);
void volumes_release(struct volume **volumes, size_t *count);
/* All as required records of this type; -EINVAL: none, or names repeat. */
int volumes_encode(const struct volume *volumes, size_t count, unsigned type,
		   struct bytes *out, struct err *err);
/* One record more at the end; -EBADMSG when the name repeats. */
int volumes_decode(const struct record *record, struct volume **volumes,
		   size_t *count, const char *what, struct err *err);

#endif
