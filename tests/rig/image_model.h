/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk may be after a loss of power, 512 bytes at a time: the states
 * that each sector had since it was durable. A sector's content tells which
 * write made it (pattern_fill()), so another place's data shows.
 *
 * The image promises old or new by 4 KiB blocks; the disk under it may tear a
 * block that is overwritten in place into its sectors, so these are judged.
 */
#ifndef TESTS_RIG_IMAGE_MODEL_H
#define TESTS_RIG_IMAGE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_SECTORS_MAX  3072u
#define MODEL_VERSIONS_MAX 12u
#define MODEL_BAD_MARK     UINT32_MAX

struct model_version {
	uint32_t mark; /* 0: zeros */
	uint32_t order;
};

struct model_sector {
	unsigned count; /* oldest first; the first is durable */
	bool unsure;    /* which of them it is now is not known */
	struct model_version versions[MODEL_VERSIONS_MAX];
};

struct model {
	uint32_t order;
	char *words; /* of what is wrong; room for 256 */
	struct model_sector sectors[MODEL_SECTORS_MAX];
};

/* All durable; marks[i] of sector i, or zeros. */
void model_init(struct model *model, const uint32_t *marks, size_t count);
/* Room for two more in each? */
bool model_has_room(const struct model *model, size_t first, size_t count);
/* A change of these is done, or with `unsure` may be. */
void model_put(struct model *model, size_t first, size_t count, uint32_t mark,
	       bool unsure);
/* All that was done up to `order` is durable now. */
void model_durable(struct model *model, uint32_t order, size_t first,
		   size_t count);
/* Which write made this sector; MODEL_BAD_MARK: none, or of another place. */
uint32_t model_mark_of(const void *sector, uint64_t offset);
/* Does what was read now fit? */
bool model_check_now(struct model *model, const void *data, size_t first,
		     size_t count);
/* Does what was found after a loss of power fit? It is the state from now. */
bool model_settle(struct model *model, const void *data, size_t first,
		  size_t count);

#endif
