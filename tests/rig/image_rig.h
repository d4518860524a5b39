/* SPDX-License-Identifier: Apache-2.0 */
/* Images on a simulated disk, and a base in memory, for tests. */
#ifndef TESTS_RIG_IMAGE_RIG_H
#define TESTS_RIG_IMAGE_RIG_H

#include "format/base/base.h"
#include "format/image/image.h"
#include "tests/sim/sim.h"

/* A base of these bytes (copied). Reads of [bad_from, bad_to) are -EIO. */
struct mem_base {
	struct image_base base;
	uint8_t *data;
	uint64_t bad_from, bad_to;
	unsigned *closed; /* counted up; may be NULL */
	bool quick;       /* try_read works */
};

struct image_base *mem_base_new(const void *data, uint64_t size_bytes);
void mem_base_info(struct image_base_info *info, uint64_t size_bytes);

/* Byte `i` of a write marked `mark`: blocks differ from each other. */
void pattern_fill(void *buffer, size_t length, uint64_t offset, uint64_t mark);

#endif
