/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new image, its removal, and the files that belong to one. The first layer
 * is durable before the head gets its name, and the head goes first when all
 * goes: an image is there when its head is.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/image/image_private.h"

static int check_new(struct vs_io *io, const char *path, uint64_t size_bytes,
		     struct err *err)
{
	autofree char *layer = NULL;
	struct io_stat st;

	if (!size_bytes || size_bytes > IMAGE_SIZE_MAX || size_bytes % 512)
		return err_set(
			err, -EINVAL,
			"an image of %llu bytes: must be a multiple of 512, at most 64 TiB",
			(unsigned long long)size_bytes);
	if (strlen(path) > IMAGE_PATH_MAX)
		return err_set(err, -ENAMETOOLONG,
			       "the image's path is too long");
	if (asprintf(&layer, "%s.1", path) < 0) {
		layer = NULL;
		return err_set(err, -ENOMEM, "out of memory for a path");
	}
	if (io->ops->stat(io, path, &st, NULL) == 0)
		return err_set(err, -EEXIST, "'%s' is there already", path);
	if (io->ops->stat(io, layer, &st, NULL) == 0)
		return err_set(
			err, -EEXIST,
			"'%s' is there already: the layer of an image that has lost its head, or was not made to the end; remove it first",
			layer);
	return 0;
}

static int write_head(struct image *image, struct err *err)
{
	const char *slash = strrchr(image->path, '/');
	struct head_block blocks[2];

	head_encode(&image->head, &blocks[0]);
	image->head.generation++;
	head_encode(&image->head, &blocks[1]);
	return io_write_new(image->io, image->dir,
			    slash ? slash + 1 : image->path, blocks,
			    sizeof(blocks), err);
}

int image_create(struct vs_io *io, const char *path, uint64_t size_bytes,
		 const struct image_base_info *base, struct err *err)
{
	static const uint8_t none[16];
	struct image image = {
		.io = io,
		.path = (char *)(uintptr_t)path,
		.writable = true,
		.head = { .generation = 1,
			  .size_bytes = size_bytes,
			  .first_layer = 1,
			  .last_known = 1 },
	};
	autofree char *dir = image_dir_of(path);
	struct layer *layer = NULL;
	int r = check_new(io, path, size_bytes, err);

	if (r < 0)
		return r;
	if (!dir)
		return err_set(err, -ENOMEM, "out of memory for a path");
	image.dir = dir;
	if (base)
		image.head.base = *base;
	r = random_fill(image.head.id, sizeof(image.head.id), err);
	if (!r)
		r = layer_create(&image, 1, none, &layer, err);
	if (r < 0)
		return r;
	r = write_head(&image, err);
	if (r < 0)
		(void)io->ops->unlink(io, layer->path, NULL);
	layer_free(layer);
	return r;
}

struct names {
	const char *prefix; /* name of the head and a dot */
	const char *path;
	image_layer_fn *fn;
	void *arg;
	struct err *err;
};

/* The number of a layer's name, or 0. */
static uint64_t number_of(const char *prefix, const char *name)
{
	size_t n = strlen(prefix);
	uint64_t number = 0;

	if (strncmp(name, prefix, n) != 0 || name[n] < '1' || name[n] > '9')
		return 0;
	for (const char *c = name + n; *c; c++) {
		if (*c < '0' || *c > '9' || number > UINT64_MAX / 100)
			return 0;
		number = number * 10 + (uint64_t)(*c - '0');
	}
	return number;
}

static int each_name(void *arg, const char *name)
{
	const struct names *names = arg;
	uint64_t number = number_of(names->prefix, name);
	autofree char *path = NULL;

	if (!number)
		return 0;
	if (asprintf(&path, "%s.%llu", names->path,
		     (unsigned long long)number) < 0) {
		path = NULL;
		return err_set(names->err, -ENOMEM, "out of memory for a path");
	}
	return names->fn(names->arg, number, path, names->err);
}

int image_each_layer_file(struct vs_io *io, const char *path,
			  image_layer_fn *fn, void *arg, struct err *err)
{
	const char *slash = strrchr(path, '/');
	autofree char *dir = image_dir_of(path);
	autofree char *prefix = NULL;
	struct names names = { .path = path, .fn = fn, .arg = arg, .err = err };

	if (!dir || asprintf(&prefix, "%s.", slash ? slash + 1 : path) < 0) {
		prefix = NULL;
		return err_set(err, -ENOMEM, "out of memory for a path");
	}
	names.prefix = prefix;
	return io->ops->list(io, dir, each_name, &names, err);
}

static int remove_layer(void *arg, uint64_t number, const char *path,
			struct err *err)
{
	struct vs_io *io = arg;

	(void)number;
	return io->ops->unlink(io, path, err);
}

int image_remove(struct vs_io *io, const char *path, struct err *err)
{
	int r, file = io->ops->open(io, path, IO_READ_WRITE, err);

	if (file < 0)
		return file;
	r = io->ops->lock(io, file, true);
	if (r == -EBUSY)
		err_set(err, r, "image '%s' is in use by another program",
			path);
	else if (r < 0)
		err_sys(err, r, "can't lock image '%s'", path);
	/* Even a damaged one may go, but nothing that is no image. */
	if (!r) {
		uint8_t magic[8];

		r = io_read_full(io, file, magic, sizeof(magic), 0);
		if (r < 0 || memcmp(magic, "VSIMAGE", 8) != 0)
			r = err_set(err, r < 0 && r != -ENODATA ? r : -EBADMSG,
				    "'%s' is not an image", path);
	}
	if (!r)
		r = io->ops->unlink(io, path, err);
	if (!r)
		r = image_each_layer_file(io, path, remove_layer, io, err);
	if (!r)
		r = image_remove_swap_note(io, path, err);
	io->ops->close(io, file);
	return r;
}
