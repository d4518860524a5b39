/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is at work on which 64 KiB of the volume. Reads and writes of whole
 * blocks share a unit. What reads, merges and writes, or gives up a cluster,
 * has it alone: so no cluster is given up under a read, and no merge loses a
 * write. Who can't have it waits in order, without a thread.
 */
#include <errno.h>

#include "format/image/image_private.h"

void part_push(struct part_list *list, struct part *part)
{
	part->next = NULL;
	if (list->first)
		list->last->next = part;
	else
		list->first = part;
	list->last = part;
}

struct part *part_pop(struct part_list *list)
{
	struct part *part = list->first;

	if (part) {
		list->first = part->next;
		part->next = NULL;
	}
	return part;
}

static struct unit **find_unit(struct image *image, uint64_t number)
{
	struct unit **at = &image->units[number % UNIT_BUCKETS];

	while (*at && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

bool unit_is_held(struct image *image, uint64_t number)
{
	return *find_unit(image, number) != NULL;
}

static struct unit *unit_make(struct image *image, uint64_t number)
{
	struct unit **at = find_unit(image, number);
	struct unit *unit = *at;

	if (unit)
		return unit;
	unit = image->free_units;
	if (unit)
		image->free_units = unit->next;
	else
		unit = malloc(sizeof(*unit));
	if (!unit)
		return NULL;
	*unit = (struct unit){ .number = number };
	*at = unit;
	return unit;
}

static void grant(struct unit *unit, struct part *part, bool exclusive)
{
	if (exclusive)
		unit->exclusive = true;
	else
		unit->shared++;
	part->unit = unit;
	part->exclusive = exclusive;
}

static bool is_free(const struct unit *unit, bool exclusive)
{
	return !unit->exclusive && !(exclusive && unit->shared);
}

bool unit_acquire(struct part *part, uint64_t number, bool exclusive)
{
	struct image *image = part->queue->image;
	struct unit *unit = unit_make(image, number);

	if (!unit) {
		part->result = -ENOMEM;
		part_to_helper(part);
		return false;
	}
	if (!unit->first && is_free(unit, exclusive)) {
		grant(unit, part, exclusive);
		return true;
	}
	part->next = NULL;
	part->exclusive = exclusive;
	if (unit->first)
		unit->last->next = part;
	else
		unit->first = part;
	unit->last = part;
	return false;
}

void unit_release(struct part *part)
{
	struct image *image = part->queue->image;
	struct unit *unit = part->unit;

	if (!unit)
		return;
	part->unit = NULL;
	if (part->exclusive)
		unit->exclusive = false;
	else
		unit->shared--;
	while (unit->first && is_free(unit, unit->first->exclusive)) {
		struct part *waiter = unit->first;

		unit->first = waiter->next;
		grant(unit, waiter, waiter->exclusive);
		part_to_helper(waiter);
	}
	if (!unit->first && !unit->shared && !unit->exclusive) {
		*find_unit(image, unit->number) = unit->next;
		unit->next = image->free_units;
		image->free_units = unit;
	}
}
