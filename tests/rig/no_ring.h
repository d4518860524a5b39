/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox that comes down over rings in use. */
#ifndef TESTS_RIG_NO_RING_H
#define TESTS_RIG_NO_RING_H

/* From here on this thread may not enter any ring; -errno. */
int no_ring_forbid(void);

#endif
