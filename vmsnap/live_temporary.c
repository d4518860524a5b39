/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer that is thrown away: an image over a volume whose files lose their
 * names once they are open, so that they end with the process, however that
 * ends. The layer that stands ready for a seal is made before; there is no
 * later one, and nothing else is looked up by name.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmsnap/live.h"

/* In /var/tmp: what is written may be much, and /tmp may be memory. */
static int make_directory(char **out, struct err *err)
{
	const char *where = getenv("TMPDIR");
	autofree char *path = NULL;

	if (!where || *where != '/')
		where = "/var/tmp";
	if (asprintf(&path, "%s/vmsnap-layer-XXXXXX", where) < 0) {
		path = NULL;
		return err_set(err, -ENOMEM, "out of memory for a path");
	}
	if (!mkdtemp(path))
		return err_sys(err, -errno, "a directory in '%s'", where);
	*out = path;
	path = NULL;
	return 0;
}

static int open_named(struct vms_live **out,
		      const struct vms_live_temporary *how, const char *path,
		      struct err *err)
{
	struct vms_live_options options = {
		.io = how->io,
		.path = path,
		.mode = IMAGE_READ_WRITE,
		.vms = how->vms,
		.cache = how->cache,
		.map_memory_bytes = how->map_memory_bytes,
		.damage = how->damage,
		.arg = how->arg,
	};
	struct image_base_info info;
	struct vms_live *live;
	int r = live_base_describe(how->vms, how->volume, &info, err);

	if (!r)
		r = image_create(how->io, path,
				 div_up(how->volume->size_bytes, 512) * 512,
				 &info, err);
	if (!r)
		r = vms_live_open(&live, &options, err);
	if (r)
		return r;
	r = image_prepare(live->image, err);
	if (r)
		(void)vms_live_close(live, NULL);
	else
		*out = live;
	return r;
}

/* The head, the layer, and the one that stands ready. */
static void remove_files(struct vs_io *io, const char *directory)
{
	static const char *const names[] = { "disk", "disk.1", "disk.2" };
	char path[PATH_MAX];

	for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[n]);
		(void)io->ops->unlink(io, path, NULL);
	}
	rmdir(directory);
}

int vms_live_temporary(struct vms_live **out,
		       const struct vms_live_temporary *how, struct err *err)
{
	autofree char *directory = NULL, *path = NULL;
	struct vms_live *live = NULL;
	int r = make_directory(&directory, err);

	if (r)
		return r;
	if (asprintf(&path, "%s/disk", directory) < 0) {
		path = NULL;
		r = err_set(err, -ENOMEM, "out of memory for a path");
	}
	if (!r)
		r = open_named(&live, how, path, err);
	remove_files(how->io, directory);
	if (!r)
		*out = live;
	return r;
}
