/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel, or its initial RAM disk, that was named by a path. */
#ifndef KVM_AGENT_KERNEL_FILE_H
#define KVM_AGENT_KERNEL_FILE_H

#include "format/base/base.h"

#define KERNEL_SIZE_MAX (1 * GIB)

/* A descriptor; -ENOENT, -EPERM. */
int kernel_file_open(const char *path, struct err *err);
/* The whole file, to free(). -EINVAL: it is none, empty, or too large. */
int kernel_file_read(int fd, const char *path, void **out, size_t *out_size,
		     struct err *err);

#endif
