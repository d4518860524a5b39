/* SPDX-License-Identifier: Apache-2.0 */
/* What tests set to have the image do wrong, or at a smaller scale. Private. */
#ifndef FORMAT_IMAGE_IMAGE_SABOTAGE_H
#define FORMAT_IMAGE_IMAGE_SABOTAGE_H

#include <stdint.h>

/* Sabotage, for the crash simulation's own test; 0 in real life. */
enum image_sabotage {
	SABOTAGE_NO_DATA_SYNC = 1 << 0,
	SABOTAGE_RECORD_FIRST = 1 << 1,
	SABOTAGE_BIT_EARLY = 1 << 2,
	SABOTAGE_STALE_PAGE = 1 << 3,
	SABOTAGE_SEAL_LEAK = 1 << 4,
	SABOTAGE_NO_CHECK = 1 << 5,
	SABOTAGE_NO_CONFIRM = 1 << 6,
	SABOTAGE_CHECK_BUSY = 1 << 7,
	SABOTAGE_LAYERS_FIRST = 1 << 8,
	SABOTAGE_HEAD_UNSURE = 1 << 9,
};
extern unsigned image_sabotage;
/* Of new layers; a test makes it small. */
extern uint64_t image_journal_length;
/* Where their first record goes; a test lets it be near the ring's end. */
extern uint64_t image_journal_position;

#endif
