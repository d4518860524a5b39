/* SPDX-License-Identifier: Apache-2.0 */
/* A head's superblock, its checksum made right: what is read is written so. */
#include "format/base/base.h"
#include "format/image/layout.h"
#include "tests/fuzz/fix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct head_block block = { 0 }, again;
	struct err err;
	struct head head;

	memcpy(&block, data, size < sizeof(block) ? size : sizeof(block));
	(void)head_decode(&block, &head, "x", &err);
	fix_sum(&block, offsetof(struct head_block, check));
	if (head_decode(&block, &head, "x", &err) < 0)
		return 0;
	must(head.size_bytes && head.size_bytes <= IMAGE_SIZE_MAX);
	must(head.last_known - head.first_layer < IMAGE_LAYERS_MAX);
	head_encode(&head, &again);
	again.compat = block.compat;
	fix_sum(&again, offsetof(struct head_block, check));
	must(memcmp(&again, &block, sizeof(block)) == 0);
	return 0;
}
