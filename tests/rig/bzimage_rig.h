/* SPDX-License-Identifier: Apache-2.0 */
/* A bzImage as small as can be, for tests to damage. */
#ifndef TESTS_RIG_BZIMAGE_RIG_H
#define TESTS_RIG_BZIMAGE_RIG_H

#include <stddef.h>
#include <stdint.h>

#define BZIMAGE_RIG_SIZE   (3 * 512 + 1000)
#define BZIMAGE_RIG_MEMORY 0x500000u
#define BZIMAGE_RIG_WANTED 0x1000000u

/* Two sectors of setup; the rest counts up from 0. */
void bzimage_rig_make(uint8_t bytes[BZIMAGE_RIG_SIZE]);

#endif
