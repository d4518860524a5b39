/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the operations share. Private to serve*.c. */
#ifndef FUSE_SERVE_PRIVATE_H
#define FUSE_SERVE_PRIVATE_H

#include "fuse/serve.h"

#define NAMES_VALID_SECONDS 1.0
#define BLOCK_BYTES         4096u

static inline struct serve *serve_of(fuse_req_t request)
{
	return fuse_req_userdata(request);
}

/* Of one that is open. */
static inline struct node *disk_of(const struct fuse_file_info *file)
{
	return (void *)(uintptr_t)file->fh;
}

/* NULL: answered already. */
struct node *node_of(fuse_req_t request, fuse_ino_t number);
void fill_stat(const struct serve *serve, const struct node *node,
	       struct stat *st);

/* ---- serve_write.c ---- */

void serve_write(fuse_req_t request, fuse_ino_t number, const char *buffer,
		 size_t size, off_t offset, struct fuse_file_info *file);
void serve_fallocate(fuse_req_t request, fuse_ino_t number, int mode,
		     off_t offset, off_t length, struct fuse_file_info *file);
void serve_fsync(fuse_req_t request, fuse_ino_t number, int only_data,
		 struct fuse_file_info *file);
void serve_setattr(fuse_req_t request, fuse_ino_t number, struct stat *wanted,
		   int which, struct fuse_file_info *file);

#endif
