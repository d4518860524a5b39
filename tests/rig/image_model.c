/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/rig/image_model.h"

#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "tests/rig/image_rig.h"

void model_init(struct model *model, const uint32_t *marks, size_t count)
{
	char *words = model->words;

	memset(model, 0, sizeof(*model));
	model->words = words;
	for (size_t i = 0; i < MODEL_SECTORS_MAX; i++) {
		model->sectors[i].count = 1;
		model->sectors[i].versions[0].mark =
			marks && i < count ? marks[i] : 0;
	}
}

bool model_has_room(const struct model *model, size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		if (model->sectors[i].count + 2 > MODEL_VERSIONS_MAX)
			return false;
	}
	return true;
}

void model_put(struct model *model, size_t first, size_t count, uint32_t mark,
	       bool unsure)
{
	model->order++;
	for (size_t i = first; i < first + count; i++) {
		struct model_sector *sector = &model->sectors[i];

		if (sector->count == MODEL_VERSIONS_MAX)
			abort();
		sector->versions[sector->count++] =
			(struct model_version){ mark, model->order };
		sector->unsure = unsure;
	}
}

void model_durable(struct model *model, uint32_t order, size_t first,
		   size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		struct model_sector *sector = &model->sectors[i];
		unsigned last = 0;

		/* One that failed may have happened, or not: what was before
		 * it is what is durable then. */
		if (sector->unsure)
			continue;
		while (last + 1 < sector->count &&
		       sector->versions[last + 1].order <= order)
			last++;
		sector->count -= last;
		memmove(sector->versions, sector->versions + last,
			sector->count * sizeof(sector->versions[0]));
	}
}

uint32_t model_mark_of(const void *data, uint64_t offset)
{
	uint8_t expected[512];
	uint64_t word;
	uint32_t mark;

	if (bytes_are_zero(data, 512))
		return 0;
	memcpy(&word, data, sizeof(word));
	mark = (uint32_t)((word ^ offset ^ 0x5a00000000000000ULL) >> 40);
	pattern_fill(expected, sizeof(expected), offset, mark);
	return memcmp(expected, data, sizeof(expected)) ? MODEL_BAD_MARK : mark;
}

static int find(const struct model_sector *sector, uint32_t mark)
{
	for (unsigned i = sector->count; i--;) {
		if (sector->versions[i].mark == mark)
			return (int)i;
	}
	return -1;
}

static bool wrong(struct model *model, size_t at, uint32_t mark,
		  const char *when)
{
	const struct model_sector *sector = &model->sectors[at];

	snprintf(model->words, 256,
		 "%s: sector %zu is %d; durable %u, last %u, %u states", when,
		 at, (int)mark, sector->versions[0].mark,
		 sector->versions[sector->count - 1].mark, sector->count);
	return false;
}

bool model_check_now(struct model *model, const void *data, size_t first,
		     size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct model_sector *sector = &model->sectors[first + i];
		uint32_t mark = model_mark_of((const uint8_t *)data + 512 * i,
					      512 * (uint64_t)(first + i));
		int at = find(sector, mark);

		if (at < 0 ||
		    (!sector->unsure &&
		     mark != sector->versions[sector->count - 1].mark))
			return wrong(model, first + i, mark, "read");
	}
	return true;
}

bool model_settle(struct model *model, const void *data, size_t first,
		  size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct model_sector *sector = &model->sectors[first + i];
		uint32_t mark = model_mark_of((const uint8_t *)data + 512 * i,
					      512 * (uint64_t)(first + i));

		if (find(sector, mark) < 0)
			return wrong(model, first + i, mark, "after the loss");
		sector->count = 1;
		sector->unsure = false;
		sector->versions[0].mark = mark;
	}
	return true;
}
