/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "format/base/le.h"
#include "tests/rig/bzimage_rig.h"

static void put32(uint8_t *at, uint32_t value)
{
	le32 v = le32_make(value);

	memcpy(at, &v, sizeof(v));
}

void bzimage_rig_make(uint8_t bytes[BZIMAGE_RIG_SIZE])
{
	memset(bytes, 0, BZIMAGE_RIG_SIZE);
	/* Behind the header, and not a part of it. */
	memset(bytes + 0x26c, 0xee, 0x600 - 0x26c);
	bytes[0x1f1] = 2;
	bytes[0x1fe] = 0x55;
	bytes[0x1ff] = 0xaa;
	bytes[0x200] = 0xeb;
	bytes[0x201] = 0x6a;
	memcpy(bytes + 0x202, "HdrS", 4);
	bytes[0x206] = 0x0f;
	bytes[0x207] = 0x02;
	bytes[0x211] = 1;
	put32(bytes + 0x22c, 0x7fffffff);
	put32(bytes + 0x230, 0x200000);
	bytes[0x234] = 1;
	bytes[0x236] = 1;
	put32(bytes + 0x238, 2047);
	put32(bytes + 0x250, 0x41414141);
	put32(bytes + 0x258, BZIMAGE_RIG_WANTED);
	put32(bytes + 0x260, BZIMAGE_RIG_MEMORY);
	for (size_t i = 0x600; i < BZIMAGE_RIG_SIZE; i++)
		bytes[i] = (uint8_t)i;
}
