/* SPDX-License-Identifier: Apache-2.0 */
/* A trailer with its checksum made right; ahead of it the object's size. */
#include "format/base/base.h"
#include "format/store/header.h"
#include "tests/fuzz/fix.h"

static void check(const struct object_trailer *trailer, enum object_kind kind,
		  uint64_t size)
{
	struct object_trailer again;
	struct err err;

	if (object_trailer_check(trailer, kind, size, "x", &err) < 0)
		return;
	must(le64_get(trailer->offset) < size);
	must(le64_get(trailer->length) < size);
	object_trailer_make(&again, kind, le32_get(trailer->count),
			    le64_get(trailer->offset),
			    le64_get(trailer->length));
	must(memcmp(&again, trailer, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct object_trailer trailer;
	le64 object;

	if (size < sizeof(object) + sizeof(trailer))
		return 0;
	memcpy(&object, data, sizeof(object));
	memcpy(&trailer, data + sizeof(object), sizeof(trailer));
	check(&trailer, OBJECT_PACK, le64_get(object));
	fix_sum(&trailer, offsetof(struct object_trailer, check));
	for (int kind = OBJECT_PACK; kind <= OBJECT_TABLE; kind++) {
		check(&trailer, (enum object_kind)kind, le64_get(object));
		check(&trailer, (enum object_kind)kind,
		      le64_get(trailer.object_length));
	}
	return 0;
}
