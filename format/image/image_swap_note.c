/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The note of a swap that is about to be: the head as it is and as it will be,
 * in a file beside it. Whoever finds one knows of both bases, so that what
 * keeps the one that did not come to be, or the one that was left, can go.
 * Written whole under another name first, so it is there or it isn't.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/image/image_private.h"

static int note_path(char *out, size_t size, const char *path, const char *end,
		     struct err *err)
{
	if ((size_t)snprintf(out, size, "%s.swap%s", path, end) >= size)
		return err_set(err, -ENAMETOOLONG,
			       "the image's path is too long");
	return 0;
}

static int read_head(struct vs_io *io, const char *path, struct head *out,
		     struct err *err)
{
	int r, file = io->ops->open(io, path, IO_READ_ONLY, err);

	if (file < 0)
		return file;
	r = head_read(io, file, path, out, err);
	io->ops->close(io, file);
	return r;
}

static int write_blocks(struct vs_io *io, const char *path,
			const struct head_block blocks[2], struct err *err)
{
	int r, file = io->ops->open(
		       io, path, IO_READ_WRITE | IO_CREATE | IO_NO_FOLLOW, err);

	if (file < 0)
		return file;
	r = io_write_full(io, file, blocks, IMAGE_HEAD_SIZE, 0);
	if (!r)
		r = io->ops->truncate(io, file, IMAGE_HEAD_SIZE);
	if (!r)
		r = io->ops->sync(io, file);
	if (r < 0)
		err_sys(err, r, "can't write '%s'", path);
	io->ops->close(io, file);
	return r;
}

static int write_note(struct vs_io *io, const char *path,
		      const struct head heads[2], struct err *err)
{
	char name[IMAGE_PATH_MAX + 16], new[IMAGE_PATH_MAX + 16];
	autofree struct head_block *blocks = NULL;
	autofree char *dir = image_dir_of(path);
	int r = alloc_array(&blocks, 2, sizeof(*blocks), err);

	if (!r && !dir)
		r = err_set(err, -ENOMEM, "out of memory for a path");
	if (!r)
		r = note_path(name, sizeof(name), path, "", err);
	if (!r)
		r = note_path(new, sizeof(new), path, ".new", err);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < 2; i++)
		head_encode(&heads[i], &blocks[i]);
	r = write_blocks(io, new, blocks, err);
	if (!r)
		r = io->ops->rename(io, new, name, err);
	if (!r)
		r = io->ops->sync_dir(io, dir, err);
	return r;
}

int image_write_swap_note(struct vs_io *io, const char *path, uint64_t layer,
			  const struct image_base_info *info, struct err *err)
{
	struct head heads[2];
	int r = read_head(io, path, &heads[0], err);

	if (r < 0)
		return r;
	heads[1] = heads[0];
	heads[1].generation++;
	if (layer)
		heads[1].first_layer = layer + 1;
	heads[1].last_known =
		max_u64(heads[0].last_known, heads[1].first_layer);
	heads[1].base = *info;
	heads[1].base.present = true;
	return write_note(io, path, heads, err);
}

static int decode_note(const struct head_block blocks[2], const char *name,
		       struct image_swap_note *out, struct err *err)
{
	struct head heads[2];
	int r = 0;

	for (unsigned i = 0; !r && i < 2; i++)
		r = head_decode(&blocks[i], &heads[i], name, err);
	if (r < 0)
		return r;
	if (memcmp(heads[0].id, heads[1].id, sizeof(heads[0].id)) != 0 ||
	    !heads[1].base.present ||
	    heads[1].first_layer < heads[0].first_layer)
		return err_set(err, -EBADMSG,
			       "'%s': its two heads don't go together", name);
	memcpy(out->id, heads[0].id, sizeof(out->id));
	out->from = heads[0].base;
	out->to = heads[1].base;
	out->layer = heads[1].first_layer == heads[0].first_layer
			     ? 0
			     : heads[1].first_layer - 1;
	return 0;
}

int image_read_swap_note(struct vs_io *io, const char *path,
			 struct image_swap_note *out, struct err *err)
{
	autofree struct head_block *blocks = NULL;
	char name[IMAGE_PATH_MAX + 16];
	int file, r = note_path(name, sizeof(name), path, "", err);

	if (!r)
		r = alloc_array(&blocks, 2, sizeof(*blocks), err);
	if (r < 0)
		return r;
	file = io->ops->open(io, name, IO_READ_ONLY | IO_NO_FOLLOW, err);
	if (file < 0)
		return file;
	r = io_read_full(io, file, blocks, IMAGE_HEAD_SIZE, 0);
	io->ops->close(io, file);
	if (r == -ENODATA)
		return err_set(err, -EBADMSG, "'%s' is too short", name);
	if (r < 0)
		return err_sys(err, r, "can't read '%s'", name);
	return decode_note(blocks, name, out, err);
}

int image_remove_swap_note(struct vs_io *io, const char *path, struct err *err)
{
	char name[IMAGE_PATH_MAX + 16];
	int r = note_path(name, sizeof(name), path, ".new", err);

	if (r < 0)
		return r;
	(void)io->ops->unlink(io, name, NULL);
	r = note_path(name, sizeof(name), path, "", err);
	if (!r)
		r = io->ops->unlink(io, name, err);
	return r == -ENOENT ? 0 : r;
}
