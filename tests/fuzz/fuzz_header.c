/* SPDX-License-Identifier: Apache-2.0 */
/* An object's header: as it is, and with its checksum made right. */
#include "format/base/base.h"
#include "format/store/header.h"
#include "tests/fuzz/fix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct store_id store = { { 0, 1, 2, 3 } };
	struct object_header header, again;
	struct err err;

	if (size < sizeof(header))
		return 0;
	for (int kind = OBJECT_PACK; kind <= OBJECT_CONDEMNED; kind++) {
		memcpy(&header, data, sizeof(header));
		(void)object_header_check(&header, (enum object_kind)kind,
					  &store, "x", &err);
		fix_sum(&header, offsetof(struct object_header, check));
		if (object_header_check(&header, (enum object_kind)kind,
					&header.store, "x", &err) < 0)
			continue;
		object_header_make(&again, (enum object_kind)kind,
				   &header.store, header.salt);
		again.compat = header.compat;
		fix_sum(&again, offsetof(struct object_header, check));
		must(memcmp(&again, &header, sizeof(header)) == 0);
	}
	return 0;
}
