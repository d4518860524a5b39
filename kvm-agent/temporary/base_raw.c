/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A raw file or block device beneath a throw-away layer: through the page
 * cache, which all machines over it share.
 */
#include <errno.h>
#include <stdlib.h>

#include "format/base/base.h"
#include "kvm-agent/temporary/temporary.h"

struct base_raw {
	struct image_base base;
	struct vs_io *io;
	int file;
};

static struct base_raw *of(struct image_base *base)
{
	return container_of(base, struct base_raw, base);
}

static int read_raw(struct image_base *base, void *buffer, size_t length,
		    uint64_t offset)
{
	struct base_raw *raw = of(base);
	int r = io_read_full(raw->io, raw->file, buffer, length, offset);

	/* It was cut off meanwhile: what is missing can't be had. */
	return r == -ENODATA ? -EIO : r;
}

static int try_read_raw(struct image_base *base, void *buffer, size_t length,
			uint64_t offset)
{
	struct base_raw *raw = of(base);

	if (!raw->io->ops->is_cached(raw->io, raw->file, offset, length))
		return -EAGAIN;
	return read_raw(base, buffer, length, offset);
}

static int extent_raw(struct image_base *base, uint64_t offset, uint64_t length,
		      bool *zero, uint64_t *run)
{
	struct base_raw *raw = of(base);
	uint64_t start = 0, end = 0;
	int r = raw->io->ops->seek_data(raw->io, raw->file, offset, &start,
					&end);

	if (r < 0 && r != -ENXIO)
		return r;
	*zero = r == -ENXIO || start > offset;
	if (r == -ENXIO)
		*run = length;
	else
		*run = min_u64(length, (*zero ? start : end) - offset);
	return 0;
}

static void close_raw(struct image_base *base)
{
	of(base)->io->ops->close(of(base)->io, of(base)->file);
	free(of(base));
}

static int open_raw(struct base_raw *raw, const char *path, struct err *err)
{
	struct vs_io *io = raw->io;
	char quoted[256];
	struct io_stat st;
	int r;

	escape_name(quoted, sizeof(quoted), path);
	raw->file = io->ops->open(io, path, IO_READ_ONLY, err);
	if (raw->file < 0)
		return raw->file;
	r = io->ops->fstat(io, raw->file, &st, err);
	if (!r && st.kind != IO_KIND_FILE && st.kind != IO_KIND_BLOCK)
		r = err_set(err, -EINVAL,
			    "'%s' is neither a file nor a block device",
			    quoted);
	if (!r && !st.size_bytes)
		r = err_set(err, -EINVAL, "'%s' is empty: no disk", quoted);
	if (!r && io->ops->lock(io, raw->file, false) < 0)
		r = err_set(err, -EBUSY,
			    "'%s' is in use: a machine writes to it", quoted);
	if (r < 0)
		io->ops->close(io, raw->file);
	else
		raw->base.size_bytes = st.size_bytes;
	return r;
}

int base_raw_open(struct image_base **out, struct vs_io *io, const char *path,
		  struct err *err)
{
	struct base_raw *raw = NULL;
	int r = alloc_array(&raw, 1, sizeof(*raw), err);

	if (r < 0)
		return r;
	raw->base = (struct image_base){ .read = read_raw,
					 .try_read = try_read_raw,
					 .extent = extent_raw,
					 .close = close_raw };
	raw->io = io;
	r = open_raw(raw, path, err);
	if (r < 0) {
		free(raw);
		return r;
	}
	*out = &raw->base;
	return 0;
}
