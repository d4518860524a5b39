/* SPDX-License-Identifier: Apache-2.0 */
/* What a target does to bytes so that a fuzzer gets past their checksum. */
#ifndef TESTS_FUZZ_FIX_H
#define TESTS_FUZZ_FIX_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "format/base/le.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As assert(), whatever NDEBUG says. */
static inline void must(int truth)
{
	if (!truth)
		abort();
}

/* The XXH3 of the first `size` bytes, put behind them. */
static inline void fix_sum(void *data, size_t size)
{
	le64 sum = le64_make(XXH3_64bits(data, size));

	memcpy((uint8_t *)data + size, &sum, sizeof(sum));
}

#endif
