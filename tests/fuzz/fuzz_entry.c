/* SPDX-License-Identifier: Apache-2.0 */
/* An entry, and ahead of it the end of its pack. */
#include "format/base/base.h"
#include "format/store/entry.h"
#include "format/store/pack.h"
#include "tests/fuzz/fix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t aad[CHUNK_AAD_SIZE];
	struct entry entry, again;
	le64 end;

	if (size < sizeof(end) + sizeof(entry))
		return 0;
	memcpy(&end, data, sizeof(end));
	memcpy(&entry, data + sizeof(end), sizeof(entry));
	if (entry_wrong(&entry, le64_get(end)))
		return 0;
	must((uint64_t)le32_get(entry.offset) + entry_stored_size(&entry) <=
	     le64_get(end));
	must(entry_content_size(&entry) <= CHUNK_SIZE_MAX);
	must(entry_stored_size(&entry) <=
	     entry_content_size(&entry) + SEAL_TAG_SIZE);
	entry_make(&again, &entry.id, le32_get(entry.pack),
		   le32_get(entry.offset), entry_stored_size(&entry),
		   (enum codec_kind)entry_codec(&entry),
		   entry_content_size(&entry),
		   (enum chunk_kind)entry_kind(&entry));
	must(memcmp(&again, &entry, sizeof(entry)) == 0);
	entry_aad(&entry, aad);
	return 0;
}
