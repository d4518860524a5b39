/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of 63-bit fingerprints, each with a mark: 11 bytes a member when the
 * number is known ahead, at most 22 else. Zeroed is empty. Not thread safe.
 * Private.
 *
 * Fingerprints of two ids may be equal (for 2^32 chunks with a chance of one
 * in two, somewhere). Who uses this must live with one member taken for
 * another; ids come from a secret key, so nobody can bring it about.
 */
#ifndef VMSNAP_PRINT_SET_H
#define VMSNAP_PRINT_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/base/err.h"

struct print_set {
	uint64_t *slots; /* 0: free; bit 63: marked */
	size_t capacity;
	size_t count;
};

/* Room for `count` in all. */
int print_set_reserve(struct print_set *set, uint64_t count, struct err *err);
/* 1 added, 0 was there, -ENOMEM. Bit 63 of `print` is ignored. */
int print_set_add(struct print_set *set, uint64_t print, struct err *err);
bool print_set_has(const struct print_set *set, uint64_t print);
/* 1 marked now, 0 was marked already, -ENOENT (without words). */
int print_set_mark(struct print_set *set, uint64_t print);
void print_set_release(struct print_set *set);

#endif
