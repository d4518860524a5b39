/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing. Fingerprints are uniform, so their high
 * bits are the place, and the capacity need not be a power of two: no more
 * memory than is needed.
 */
#include "vmsnap/print_set.h"

#include <errno.h>
#include <string.h>

#include "format/base/base.h"

#define MARK         (1ULL << 63)
#define CAPACITY_MIN 64u
#define COUNT_MAX    (1ULL << 40)

static uint64_t print_clean(uint64_t print)
{
	print &= ~MARK;
	return print ? print : 1;
}

static uint64_t *print_slot(const struct print_set *set, uint64_t print)
{
	unsigned __int128 wide =
		(unsigned __int128)(print << 1) * set->capacity;
	size_t at = (size_t)(wide >> 64);

	while (set->slots[at] && (set->slots[at] & ~MARK) != print) {
		if (++at == set->capacity)
			at = 0;
	}
	return &set->slots[at];
}

static int print_set_resize(struct print_set *set, uint64_t capacity,
			    struct err *err)
{
	struct print_set larger = {
		.capacity = (size_t)max_u64(capacity, CAPACITY_MIN),
		.count = set->count,
	};
	int r = alloc_array(&larger.slots, larger.capacity,
			    sizeof(*larger.slots), err);

	if (r < 0)
		return r;
	for (size_t n = 0; n < set->capacity; n++) {
		if (set->slots[n])
			*print_slot(&larger, set->slots[n] & ~MARK) =
				set->slots[n];
	}
	free(set->slots);
	*set = larger;
	return 0;
}

int print_set_reserve(struct print_set *set, uint64_t count, struct err *err)
{
	uint64_t capacity;

	if (count > COUNT_MAX)
		return err_set(err, -ENOMEM, "out of memory for %llu chunks",
			       (unsigned long long)count);
	capacity = count + count / 3 + 1;
	return capacity <= set->capacity ? 0
					 : print_set_resize(set, capacity, err);
}

int print_set_add(struct print_set *set, uint64_t print, struct err *err)
{
	int r;

	print = print_clean(print);
	if (set->count && *print_slot(set, print))
		return 0;
	if (4 * (set->count + 1) > 3 * set->capacity) {
		r = print_set_resize(set, 2 * set->capacity, err);
		if (r < 0)
			return r;
	}
	*print_slot(set, print) = print;
	set->count++;
	return 1;
}

bool print_set_has(const struct print_set *set, uint64_t print)
{
	return set->count && *print_slot(set, print_clean(print));
}

int print_set_mark(struct print_set *set, uint64_t print)
{
	uint64_t *slot;

	if (!set->count)
		return -ENOENT;
	slot = print_slot(set, print_clean(print));
	if (!*slot)
		return -ENOENT;
	if (*slot & MARK)
		return 0;
	*slot |= MARK;
	return 1;
}

void print_set_release(struct print_set *set)
{
	free(set->slots);
	memset(set, 0, sizeof(*set));
}
