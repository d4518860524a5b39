/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `init` cut off at each of its operations, by a loss of power or an error, and
 * run again: in the end there is a store that opens, and nothing is left over.
 */
#ifndef TESTS_RIG_INIT_LOSSES_H
#define TESTS_RIG_INIT_LOSSES_H

#include <stddef.h>
#include <stdint.h>

/* 0, and how many were played; or -1 and words. */
int init_losses(uint64_t seeds, uint64_t *played, char *what, size_t size);
/*
 * A sabotage of init, numbered from 0: its name, or NULL past the last; writes
 * by which seed it was seen (0: it was not) and how.
 */
const char *init_sabotage(unsigned number, uint64_t seeds, uint64_t *seen,
			  char *what, size_t size);

#endif
