/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The area is an agent's own memory, and agents are hostile: the keeper does
 * not map it, because what is mapped can be taken away (holes punched where no
 * memory is left to fill them again), and a touch of it is a SIGBUS. A write by
 * descriptor fails with a code. The seals hold it to its size.
 */
#include "vmsnap/keeper/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int transfer_make(size_t size, struct err *err)
{
	autofd int fd = memfd_create("vmsnap-transfer",
				     MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return err_sys(err, -errno, "memory to share with a keeper");
	return fd_steal(&fd);
}

int transfer_check(int fd, uint64_t size, struct err *err)
{
	int seals = fcntl(fd, F_GET_SEALS);
	int flags = fcntl(fd, F_GETFL);
	struct statfs fs;
	struct stat st;

	if (seals < 0 || (seals & SEALS) != SEALS ||
	    (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) || flags < 0 ||
	    (flags & O_ACCMODE) != O_RDWR || (flags & O_APPEND) ||
	    fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0 ||
	    (uint64_t)st.st_size != size || fstatfs(fd, &fs) < 0 ||
	    fs.f_type != TMPFS_MAGIC)
		return err_set(err, -EPROTO,
			       "a peer broke a rule: a memfd that is sealed, "
			       "of the size that was told");
	return 0;
}

int transfer_write(int fd, uint64_t offset, const void *data, size_t size)
{
	const char *from = data;

	while (size) {
		ssize_t n = pwrite(fd, from, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO;
		from += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}
