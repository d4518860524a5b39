/* SPDX-License-Identifier: Apache-2.0 */
/* By way of numbers above all of them, so that none is overwritten before it
 * has moved. */
#include "vmsnap/descriptors.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Of numbers that are past the limit, the kernel says EINVAL and EBADF. */
static bool too_many(void)
{
	errno = EMFILE;
	return false;
}

bool descriptors_place(const int *fds, int first, int end)
{
	int high[DESCRIPTORS_END];

	assert(end <= DESCRIPTORS_END);
	for (int i = first; i < end; i++) {
		high[i] = fds[i];
		if (high[i] >= 0 && high[i] < end)
			high[i] = fcntl(high[i], F_DUPFD_CLOEXEC, end);
		if (fds[i] >= 0 && high[i] < 0)
			return too_many();
	}
	for (int i = first; i < end; i++) {
		if (high[i] >= 0 && dup2(high[i], i) < 0)
			return too_many();
	}
	return true;
}
