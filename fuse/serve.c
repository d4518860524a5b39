/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations. Content changes by what is written here only, so the kernel
 * may keep what it has read for good; names come and go, so they are asked for again each second.
 * A directory is listed as it was when it was opened.
 */
#include "fuse/serve_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

struct node *node_of(fuse_req_t request, fuse_ino_t number)
{
	struct catalog *catalog = serve_of(request)->catalog;
	struct node *node = catalog_node(catalog, number);

	if (!node || catalog_is_gone(catalog, node)) {
		fuse_reply_err(request, ESTALE);
		return NULL;
	}
	return node;
}

static mode_t disk_mode(const struct serve *serve)
{
	mode_t mode = serve->for_all ? 0444 : 0400;

	return S_IFREG | mode | (serve->writable ? 0200 : 0);
}

void fill_stat(const struct serve *serve, const struct node *node,
	       struct stat *st)
{
	int64_t time_ns = catalog_time(serve->catalog, node);

	memset(st, 0, sizeof(*st));
	st->st_ino = node->number;
	st->st_uid = getuid();
	st->st_gid = getgid();
	st->st_blksize = BLOCK_BYTES;
	st->st_mtim.tv_sec = time_ns / 1000000000;
	st->st_mtim.tv_nsec = time_ns % 1000000000;
	st->st_atim = st->st_ctim = st->st_mtim;
	if (node->kind == NODE_DISK) {
		st->st_mode = disk_mode(serve);
		st->st_nlink = 1;
		st->st_size = (off_t)node->volume.size_bytes;
		st->st_blocks = (blkcnt_t)div_up(node_data_bytes(node), 512);
	} else {
		st->st_mode = S_IFDIR | (serve->for_all ? 0555 : 0500);
		st->st_nlink = 2;
	}
}

static void serve_lookup(fuse_req_t request, fuse_ino_t parent,
			 const char *name)
{
	struct serve *serve = serve_of(request);
	struct fuse_entry_param entry = {
		.attr_timeout = NAMES_VALID_SECONDS,
		.entry_timeout = NAMES_VALID_SECONDS,
	};
	struct node *node;

	catalog_refresh(serve->catalog);
	node = catalog_lookup(serve->catalog, parent, name);
	if (!node) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	entry.ino = node->number;
	catalog_count_data(serve->catalog, node);
	fill_stat(serve, node, &entry.attr);
	fuse_reply_entry(request, &entry);
}

static void serve_getattr(fuse_req_t request, fuse_ino_t number,
			  struct fuse_file_info *file)
{
	/* An open file lives on. */
	struct node *node = file ? disk_of(file) : node_of(request, number);
	struct stat st;

	if (!node)
		return;
	catalog_count_data(serve_of(request)->catalog, node);
	fill_stat(serve_of(request), node, &st);
	fuse_reply_attr(request, &st, NAMES_VALID_SECONDS);
}

/* ---- directories ---- */

struct listing {
	struct node *self;
	struct node **children;
	size_t count;
};

static void serve_opendir(fuse_req_t request, fuse_ino_t number,
			  struct fuse_file_info *file)
{
	struct serve *serve = serve_of(request);
	struct listing *listing = NULL;
	struct node *node;

	catalog_refresh(serve->catalog);
	node = node_of(request, number);
	if (!node)
		return;
	if (alloc_array(&listing, 1, sizeof(*listing), NULL) ||
	    catalog_children(serve->catalog, node, &listing->children,
			     &listing->count, NULL)) {
		free(listing);
		fuse_reply_err(request, ENOMEM);
		return;
	}
	listing->self = node;
	file->fh = (uintptr_t)listing;
	if (fuse_reply_open(request, file) == -ENOENT) {
		free(listing->children); /* interrupted: no release comes */
		free(listing);
	}
}

static struct listing *listing_of(const struct fuse_file_info *file)
{
	return (void *)(uintptr_t)file->fh;
}

static void serve_readdir(fuse_req_t request, fuse_ino_t number, size_t size,
			  off_t offset, struct fuse_file_info *file)
{
	const struct listing *listing = listing_of(file);
	char *buffer = malloc(size);
	size_t used = 0;

	(void)number;
	if (!buffer) {
		fuse_reply_err(request, ENOMEM);
		return;
	}
	for (size_t n = (size_t)offset; n < listing->count + 2; n++) {
		const struct node *self = listing->self;
		const struct node *node = n >= 2 ? listing->children[n - 2]
					  : n == 1 && self->parent
						  ? self->parent
						  : self;
		struct stat st;
		size_t one;

		fill_stat(serve_of(request), node, &st);
		one = fuse_add_direntry(request, buffer + used, size - used,
					n == 0   ? "."
					: n == 1 ? ".."
						 : node->name,
					&st, (off_t)n + 1);
		if (one > size - used)
			break;
		used += one;
	}
	fuse_reply_buf(request, buffer, used);
	free(buffer);
}

static void serve_releasedir(fuse_req_t request, fuse_ino_t number,
			     struct fuse_file_info *file)
{
	struct listing *listing = listing_of(file);

	(void)number;
	free(listing->children);
	free(listing);
	fuse_reply_err(request, 0);
}

/* ---- disks ---- */

static void serve_open(fuse_req_t request, fuse_ino_t number,
		       struct fuse_file_info *file)
{
	struct catalog *catalog = serve_of(request)->catalog;
	struct node *node = node_of(request, number);

	if (!node)
		return;
	if ((file->flags & O_ACCMODE) != O_RDONLY &&
	    !serve_of(request)->writable) {
		fuse_reply_err(request, EROFS);
		return;
	}
	if (file->flags & O_TRUNC && node->volume.size_bytes) {
		fuse_reply_err(request, EPERM);
		return;
	}
	if (catalog_open_disk(catalog, node, NULL) < 0) {
		fuse_reply_err(request, ENOMEM);
		return;
	}
	file->fh = (uintptr_t)node;
	file->keep_cache = 1;
	if (fuse_reply_open(request, file) == -ENOENT)
		catalog_close_disk(catalog, node);
}

static void serve_release(fuse_req_t request, fuse_ino_t number,
			  struct fuse_file_info *file)
{
	(void)number;
	catalog_close_disk(serve_of(request)->catalog, disk_of(file));
	fuse_reply_err(request, 0);
}

static int disk_read(const struct node *node, void *buffer, size_t size,
		     uint64_t offset, struct err *err)
{
	struct written *written = node_written(node);
	int r;

	if (!written)
		return vms_reader_read(node->reader, buffer, size, offset, err);
	r = written_read(written, buffer, size, offset);
	return r < 0 ? err_sys(err, r, "disk '%s': reading %zu bytes at %llu",
			       node->volume.name, size,
			       (unsigned long long)offset)
		     : 0;
}

static int disk_extent(const struct node *node, uint64_t offset,
		       uint64_t length, bool *is_hole, uint64_t *run)
{
	struct written *written = node_written(node);

	return written ? written_extent(written, offset, length, is_hole, run)
		       : vms_reader_extent(node->reader, offset, length,
					   is_hole, run, NULL);
}

static void serve_read(fuse_req_t request, fuse_ino_t number, size_t size,
		       off_t offset, struct fuse_file_info *file)
{
	const struct node *node = disk_of(file);
	uint64_t end = node->volume.size_bytes, at = (uint64_t)offset;
	struct err err = { 0 };
	char *buffer;

	(void)number;
	if (at >= end) {
		fuse_reply_buf(request, NULL, 0);
		return;
	}
	size = (size_t)min_u64(size, end - at);
	buffer = malloc(size);
	if (!buffer) {
		fuse_reply_err(request, ENOMEM);
		return;
	}
	if (disk_read(node, buffer, size, at, &err) < 0) {
		serve_of(request)->warn(err.text);
		fuse_reply_err(request, EIO);
	} else {
		fuse_reply_buf(request, buffer, size);
	}
	free(buffer);
}

/* SEEK_DATA and SEEK_HOLE; the rest the kernel does itself. */
static void serve_lseek(fuse_req_t request, fuse_ino_t number, off_t offset,
			int whence, struct fuse_file_info *file)
{
	const struct node *node = disk_of(file);
	uint64_t size = node->volume.size_bytes, at = (uint64_t)offset, run;
	bool is_hole;

	(void)number;
	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		fuse_reply_err(request, EINVAL);
		return;
	}
	if (offset < 0 || at >= size) {
		fuse_reply_err(request, ENXIO);
		return;
	}
	for (; at < size; at += run) {
		if (disk_extent(node, at, size - at, &is_hole, &run) < 0) {
			fuse_reply_err(request, EIO);
			return;
		}
		if (is_hole == (whence == SEEK_HOLE))
			break;
	}
	if (at >= size && whence == SEEK_DATA)
		fuse_reply_err(request, ENXIO);
	else
		fuse_reply_lseek(request, (off_t)min_u64(at, size));
}

/* ---- the whole ---- */

static void serve_statfs(fuse_req_t request, fuse_ino_t number)
{
	struct catalog_totals totals;
	struct statvfs st = { 0 };

	(void)number;
	catalog_totals(serve_of(request)->catalog, &totals);
	st.f_bsize = st.f_frsize = BLOCK_BYTES;
	st.f_blocks = div_up(totals.disk_bytes, BLOCK_BYTES);
	st.f_files = totals.nodes;
	st.f_namemax = 255;
	st.f_flag = serve_of(request)->writable ? 0 : ST_RDONLY;
	fuse_reply_statfs(request, &st);
}

const struct fuse_lowlevel_ops serve_ops = {
	.lookup = serve_lookup,
	.getattr = serve_getattr,
	.opendir = serve_opendir,
	.readdir = serve_readdir,
	.releasedir = serve_releasedir,
	.open = serve_open,
	.read = serve_read,
	.write = serve_write,
	.fallocate = serve_fallocate,
	.fsync = serve_fsync,
	.setattr = serve_setattr,
	.release = serve_release,
	.lseek = serve_lseek,
	.statfs = serve_statfs,
};
