/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image on top. Its head names a base that no store has: the head is never
 * read again. Head and first layer have names until both are open; a layer that
 * comes later never has one.
 */
#include "kvm-agent/temporary/temporary.h"

#include <errno.h>
#include <stdio.h>

#include "format/base/base.h"

#define CHUNK_LOG2 16u
#define SECTOR     512u

/* The head and the layer; a later one never gets a name. */
static void remove_files(struct vs_io *io, const char *path)
{
	static const char *const ends[] = { "", ".1" };
	char name[IMAGE_PATH_MAX + 4];

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		(void)io->ops->unlink(io, name, NULL);
	}
}

static int create(struct vs_io *io, const char *path,
		  const struct image_base *base, struct err *err)
{
	struct image_base_info info = {
		.present = true,
		.chunk_log2 = CHUNK_LOG2,
		.size_bytes = base->size_bytes,
	};

	if (base->size_bytes > IMAGE_SIZE_MAX - SECTOR)
		return err_set(err, -EFBIG, "a disk of more than 64 TiB");
	return image_create(io, path, div_up(base->size_bytes, SECTOR) * SECTOR,
			    &info, err);
}

static int open_named(struct image **out, struct vs_io *io, const char *path,
		      struct image_base *base, struct err *err)
{
	const struct image_options options = { .mode = IMAGE_READ_WRITE,
					       .base = base,
					       .thrown_away = true };
	int r = create(io, path, base, err);

	if (r < 0) {
		base->close(base);
		return r;
	}
	return image_open(out, io, path, &options, err);
}

int temporary_open(struct image **out, struct vs_io *io, const char *folder,
		   unsigned number, struct image_base *base, struct err *err)
{
	char path[IMAGE_PATH_MAX];
	int r;

	if (snprintf(path, sizeof(path), "%s/temporary%u", folder, number) >=
	    (int)sizeof(path)) {
		base->close(base);
		return err_set(err, -ENAMETOOLONG,
			       "the path to throw-away layers is too long");
	}
	remove_files(io, path);
	r = open_named(out, io, path, base, err);
	remove_files(io, path);
	if (r < 0)
		err_prefix(err, "the throw-away layer in '%s'", folder);
	return r;
}
