/* SPDX-License-Identifier: Apache-2.0 */
/* Onto the heap: a mapping of a file that another cuts off would be our end. */
#include "kvm-agent/kernel_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

int kernel_file_open(const char *path, struct err *err)
{
	char quoted[256];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	int code = -errno;

	if (fd >= 0)
		return fd;
	/* -EACCES is KVM's, for the exit status. */
	return err_sys(err, code == -EACCES ? -EPERM : code, "open '%s'",
		       escape_name(quoted, sizeof(quoted), path));
}

int kernel_file_read(int fd, const char *path, void **out, size_t *out_size,
		     struct err *err)
{
	autofree uint8_t *data = NULL;
	char quoted[256];
	struct stat stat;
	size_t size = 0;
	int r;

	escape_name(quoted, sizeof(quoted), path);
	if (fstat(fd, &stat) < 0)
		return err_sys(err, -errno, "'%s'", quoted);
	if (!S_ISREG(stat.st_mode) || stat.st_size <= 0 ||
	    stat.st_size > (off_t)KERNEL_SIZE_MAX)
		return err_set(err, -EINVAL,
			       "'%s' is no file of 1 byte to 1 GiB", quoted);
	r = alloc_array(&data, (size_t)stat.st_size, 1, err);
	while (r == 0 && size < (size_t)stat.st_size) {
		ssize_t got = pread(fd, data + size,
				    (size_t)stat.st_size - size, (off_t)size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return err_sys(err, got ? -errno : -ENODATA,
				       "read '%s'", quoted);
		size += (size_t)got;
	}
	if (r < 0)
		return r;
	*out = ptr_steal(&data);
	*out_size = size;
	return 0;
}
