/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches every AES-GCM encryption that the process asks libcrypto for, and
 * tells when a pair of key and nonce has sealed two different things (text or
 * additional data). It is told by what reaches libcrypto, so a mistake anywhere
 * above is seen; also of what never came to a disk, or was lost there. Tags
 * alone (no text: the change filter) don't count. One thread at a time.
 */
#ifndef TESTS_RIG_SEAL_WATCH_H
#define TESTS_RIG_SEAL_WATCH_H

#include <stdint.h>

/* Forget all, and watch from now on. */
void seal_watch_start(void);
/* No more: what was counted stays. A context that is freed is not forgotten, so
 * who makes them without end must not be watched. */
void seal_watch_stop(void);
/* Pairs of key and nonce that were used since. */
uint64_t seal_watch_seals(void);
/* How many of the seals repeated a pair for something else. */
uint64_t seal_watch_repeats(void);

#endif
