/* SPDX-License-Identifier: Apache-2.0 */
/* Salts, ids and names that are the same in each run of a test. */
#ifndef TESTS_RIG_FIXED_RANDOM_H
#define TESTS_RIG_FIXED_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/*
 * From here on getrandom() of this program gives what follows from `seed`,
 * from any thread. Before the first call it asks the kernel.
 */
void fixed_random_seed(uint64_t seed);
/* Told of each such draw, which it may change; NULL: nobody. */
void fixed_random_watch(void (*fn)(void *arg, void *bytes, size_t size),
			void *arg);

#endif
