/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing to a mounted disk: into a layer of its own, which the first write
 * makes and all who have the disk open share. A disk keeps its size, and
 * belongs to whom it belongs. What is flushed is asked of the layer's files,
 * though nobody will read them after a crash: an error of theirs must show.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "fuse/serve_private.h"

/* NULL: answered already. */
static struct written *written_for(fuse_req_t request, struct node *node)
{
	struct serve *serve = serve_of(request);
	struct written *written;
	struct err err = { 0 };
	int r = catalog_written(serve->catalog, node, &written, &err);

	if (r == 0)
		return written;
	serve->warn(err.text);
	fuse_reply_err(request, -r);
	return NULL;
}

void serve_write(fuse_req_t request, fuse_ino_t number, const char *buffer,
		 size_t size, off_t offset, struct fuse_file_info *file)
{
	struct node *node = disk_of(file);
	uint64_t end = node->volume.size_bytes, at = (uint64_t)offset;
	struct written *written;
	int r;

	(void)number;
	if (offset < 0 || at >= end) {
		fuse_reply_err(request, ENOSPC);
		return;
	}
	size = (size_t)min_u64(size, end - at);
	written = written_for(request, node);
	if (!written)
		return;
	r = written_write(written, buffer, size, at);
	if (r < 0)
		fuse_reply_err(request, -r);
	else
		fuse_reply_write(request, size);
}

void serve_fallocate(fuse_req_t request, fuse_ino_t number, int mode,
		     off_t offset, off_t length, struct fuse_file_info *file)
{
	struct node *node = disk_of(file);
	uint64_t end = node->volume.size_bytes, at = (uint64_t)offset, n;
	int what = mode & ~FALLOC_FL_KEEP_SIZE;
	struct written *written;

	(void)number;
	/* Space can't be kept ready: who wants it writes. */
	if (what != FALLOC_FL_PUNCH_HOLE && what != FALLOC_FL_ZERO_RANGE) {
		fuse_reply_err(request, EOPNOTSUPP);
		return;
	}
	if (offset < 0 || length <= 0) {
		fuse_reply_err(request, EINVAL);
		return;
	}
	n = at < end ? min_u64((uint64_t)length, end - at) : 0;
	if (n < (uint64_t)length && !(mode & FALLOC_FL_KEEP_SIZE)) {
		fuse_reply_err(request, ENOSPC);
		return;
	}
	written = n ? written_for(request, node) : NULL;
	if (written)
		fuse_reply_err(request, -written_zero(written, n, at));
	else if (!n)
		fuse_reply_err(request, 0);
}

void serve_fsync(fuse_req_t request, fuse_ino_t number, int only_data,
		 struct fuse_file_info *file)
{
	struct written *written = node_written(disk_of(file));

	(void)number;
	(void)only_data;
	fuse_reply_err(request, written ? -written_flush(written) : 0);
}

void serve_setattr(fuse_req_t request, fuse_ino_t number, struct stat *wanted,
		   int which, struct fuse_file_info *file)
{
	struct node *node = node_of(request, number);
	struct stat st;

	(void)file;
	if (!node)
		return;
	/* Times may be set, and stay what they are. */
	if (which & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID |
		     FUSE_SET_ATTR_GID) ||
	    (which & FUSE_SET_ATTR_SIZE &&
	     (node->kind != NODE_DISK ||
	      (uint64_t)wanted->st_size != node->volume.size_bytes))) {
		fuse_reply_err(request, EPERM);
		return;
	}
	fill_stat(serve_of(request), node, &st);
	fuse_reply_attr(request, &st, NAMES_VALID_SECONDS);
}
