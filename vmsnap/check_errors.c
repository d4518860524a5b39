/* SPDX-License-Identifier: Apache-2.0 */
/* The list of errors, and which chunks each is to blame for. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "vmsnap/check.h"

#define BLAME_CAPACITY_MIN 64u

/* ---- blame ---- */

static struct blame *blame_slot(const struct blame_map *map,
				const struct id *id)
{
	uint64_t at;

	memcpy(&at, id->b + 8, sizeof(at));
	for (at &= map->capacity - 1;; at = (at + 1) & (map->capacity - 1)) {
		if (id_is_null(&map->slots[at].id) ||
		    id_equal(&map->slots[at].id, id))
			return &map->slots[at];
	}
}

static int blame_grow(struct blame_map *map, struct err *err)
{
	struct blame_map larger = {
		.capacity =
			map->capacity ? 2 * map->capacity : BLAME_CAPACITY_MIN,
		.count = map->count,
	};
	int r = alloc_array(&larger.slots, larger.capacity,
			    sizeof(*larger.slots), err);

	if (r < 0)
		return r;
	for (size_t n = 0; n < map->capacity; n++) {
		if (!id_is_null(&map->slots[n].id))
			*blame_slot(&larger, &map->slots[n].id) = map->slots[n];
	}
	free(map->slots);
	*map = larger;
	return 0;
}

int blame_add(struct blame_map *map, const struct id *id, uint32_t error,
	      enum chunk_kind kind, bool is_final, struct err *err)
{
	struct blame *slot;
	int r;

	if (id_is_null(id)) /* a hole, or nonsense: nobody looks for it */
		return 0;
	if (4 * (map->count + 1) > 3 * map->capacity) {
		r = blame_grow(map, err);
		if (r < 0)
			return r;
	}
	slot = blame_slot(map, id);
	if (!id_is_null(&slot->id)) {
		slot->is_final |= is_final;
		return 0;
	}
	slot->id = *id;
	slot->error = error;
	slot->kind = (uint8_t)kind;
	slot->is_final = is_final;
	map->count++;
	return 0;
}

struct blame *blame_find(const struct blame_map *map, const struct id *id)
{
	struct blame *slot;

	if (!map->count || id_is_null(id))
		return NULL;
	slot = blame_slot(map, id);
	return id_is_null(&slot->id) ? NULL : slot;
}

void blame_release(struct blame_map *map)
{
	free(map->slots);
	memset(map, 0, sizeof(*map));
}

/* ---- errors ---- */

bool check_is_fatal(int r)
{
	return r == -ENOMEM || r == -ECANCELED || r == -EMFILE || r == -ENFILE;
}

int check_error(struct check *check, const char *object, const struct err *why,
		uint32_t *number, struct err *err)
{
	struct vms_check_result *result = &check->result;
	struct vms_check_error *error;

	if (result->error_count == check->error_capacity) {
		size_t capacity =
			check->error_capacity ? 2 * check->error_capacity : 8;
		struct vms_check_error *more =
			capacity < NO_ERROR
				? reallocarray(result->errors, capacity,
					       sizeof(*more))
				: NULL;

		if (!more)
			return err_set(err, -ENOMEM,
				       "out of memory for a list of errors");
		result->errors = more;
		check->error_capacity = capacity;
	}
	error = &result->errors[result->error_count];
	memset(error, 0, sizeof(*error));
	snprintf(error->object, sizeof(error->object), "%s", object);
	snprintf(error->what, sizeof(error->what), "%s", why->text);
	error->too_new = why->code == -EOPNOTSUPP;
	if (number)
		*number = (uint32_t)result->error_count;
	result->error_count++;
	return 0;
}

int check_error_once(struct check *check, const char *object,
		     const struct err *why, struct err *err)
{
	for (size_t n = 0; n < check->result.error_count; n++) {
		if (!strcmp(check->result.errors[n].object, object))
			return 0;
	}
	return check_error(check, object, why, NULL, err);
}

void chunk_object(char name[OBJECT_NAME_MAX], const struct id *id)
{
	char hex[ID_HEX_SIZE];

	hex_encode(hex, id->b, ID_SIZE);
	snprintf(name, OBJECT_NAME_MAX, "chunk %s", hex);
}

int check_error_hurts(struct check *check, uint32_t number,
		      const struct id *snapshot, const char *name,
		      const char *disk, struct vms_hurt **out, struct err *err)
{
	struct vms_check_error *error = &check->result.errors[number];
	struct vms_hurt *hurt;

	/* Walks go disk by disk: it is the last, or new. */
	if (error->hurt_count) {
		hurt = &error->hurt[error->hurt_count - 1];
		if (id_equal(&hurt->snapshot, snapshot) &&
		    !strcmp(hurt->name, name) && !strcmp(hurt->disk, disk)) {
			*out = hurt;
			return 0;
		}
	}
	hurt = reallocarray(error->hurt, error->hurt_count + 1, sizeof(*hurt));
	if (!hurt)
		return err_set(err, -ENOMEM,
			       "out of memory for a list of errors");
	error->hurt = hurt;
	hurt += error->hurt_count++;
	memset(hurt, 0, sizeof(*hurt));
	hurt->snapshot = *snapshot;
	snprintf(hurt->name, sizeof(hurt->name), "%s", name);
	snprintf(hurt->disk, sizeof(hurt->disk), "%s", disk);
	*out = hurt;
	return 0;
}

void vms_check_result_release(struct vms_check_result *result)
{
	for (size_t n = 0; n < result->error_count; n++) {
		struct vms_check_error *error = &result->errors[n];

		for (size_t k = 0; k < error->hurt_count; k++)
			ranges_release(&error->hurt[k].ranges);
		free(error->hurt);
	}
	free(result->errors);
	memset(result, 0, sizeof(*result));
}

/* ---- fingerprints ---- */

uint64_t print_of_entry(const struct id *pack, const struct entry *entry)
{
	struct {
		struct id pack;
		struct entry entry;
	} all = { *pack, *entry };

	all.entry.pack = le32_make(0);
	return XXH3_64bits(&all, sizeof(all));
}

uint64_t print_of_chunk(const struct id *id, enum chunk_kind kind,
			uint32_t content_size)
{
	struct {
		struct id id;
		le32 content;
	} all = { *id, le32_make(content_size | (uint32_t)kind << 24) };

	return XXH3_64bits(&all, sizeof(all));
}

uint64_t print_of_id(const struct id *id)
{
	return be64_get(id->b);
}
