/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens what a machine's disks are on. An image that stands on a base in a
 * store needs somebody who holds the store's keys, which this process never
 * does.
 */
#include <errno.h>
#include <string.h>

#include "kvm-agent/disks.h"

#define SUFFIX ".vsi"

static bool is_image(const char *path)
{
	size_t length = strlen(path);

	return length > strlen(SUFFIX) &&
	       strcmp(path + length - strlen(SUFFIX), SUFFIX) == 0;
}

static int open_image(struct disks *disks, const char *path, bool read_only,
		      struct err *err)
{
	struct image_options options = {
		.mode = read_only ? IMAGE_READ_ONLY : IMAGE_READ_WRITE,
	};
	struct image_base_info base;
	struct image *image;
	int r = image_read_base_info(disks->io, path, &base, err);

	if (r < 0)
		return r;
	if (base.present)
		return err_set(err, -EOPNOTSUPP,
			       "'%s' stands on a snapshot, which this version "
			       "can't read for a machine: export it with "
			       "vmsnap image export",
			       path);
	r = image_open(&image, disks->io, path, &options, err);
	if (r < 0)
		return r;
	r = disk_image_new(&disks->disks[disks->count], image, read_only,
			   BLK_DEPTH, err);
	if (r < 0) {
		(void)image_close(image, NULL);
		return r;
	}
	disks->images[disks->count] = image;
	return 0;
}

int disks_open(struct disks *disks, const char *path, bool read_only,
	       struct err *err)
{
	int r;

	if (disks->count == BOARD_DISKS_MAX)
		return err_set(err, -EINVAL, "more than %u disks",
			       BOARD_DISKS_MAX);
	if (!disks->io)
		disks->io = io_new(err);
	if (!disks->io)
		return err_prefix(err, "disks");
	r = is_image(path)
		    ? open_image(disks, path, read_only, err)
		    : disk_raw_new(&disks->disks[disks->count], disks->io, path,
				   read_only, BLK_DEPTH, err);
	if (r == 0)
		disks->count++;
	return r;
}

int disks_close(struct disks *disks, struct err *err)
{
	int result = 0;

	while (disks->count) {
		unsigned i = --disks->count;
		int r;

		disk_free(disks->disks[i]);
		if (!disks->images[i])
			continue;
		r = image_close(disks->images[i], result ? NULL : err);
		if (r < 0 && !result)
			result = r;
		disks->images[i] = NULL;
	}
	if (disks->io)
		io_free(disks->io);
	disks->io = NULL;
	return result;
}
