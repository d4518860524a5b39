/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that a program finds under fixed numbers. Private. */
#ifndef VMSNAP_DESCRIPTORS_H
#define VMSNAP_DESCRIPTORS_H

#include <stdbool.h>

#define DESCRIPTORS_END 32

/* fds[n], unless it is -1, gets the number n, and goes along with an exec, for
 * each n from `first` to `end` - 1; `end` is at most DESCRIPTORS_END. For
 * between fork and exec: async-signal-safe calls only. False: errno says why. */
bool descriptors_place(const int *fds, int first, int end);

#endif
