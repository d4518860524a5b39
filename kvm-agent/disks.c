/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens what a machine's disks are on. An image that stands on a base in a
 * store needs somebody who holds the store's keys, which this process never
 * does: a keeper.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kvm-agent/disks.h"
#include "kvm-agent/temporary/temporary.h"
#include "vmsnap/keeper/client.h"

#define SUFFIX ".vsi"

bool disk_is_image(const char *path)
{
	size_t length = strlen(path);

	return length > strlen(SUFFIX) &&
	       strcmp(path + length - strlen(SUFFIX), SUFFIX) == 0;
}

static int open_image(struct disks *disks, const char *path,
		      enum image_mode mode, bool is_beneath, struct image **out,
		      struct err *err)
{
	/* One that is beneath another is read by that one's helpers, who may
	 * not make threads. */
	struct image_options options = { .mode = mode,
					 .helpers_now = is_beneath };
	struct image_base_info base;
	int r = image_read_base_info(disks->io, path, &base, err);

	if (r < 0)
		return r;
	if (base.present && !disks->keeper)
		return err_set(err, -EOPNOTSUPP,
			       "'%s' stands on a snapshot: it is run by "
			       "'vmsnap run', which has a keeper for that",
			       path);
	if (base.present)
		r = keeper_client_base(&options.base, disks->keeper, &base,
				       err);
	if (r < 0)
		return err_prefix(err, "'%s'", path);
	return image_open(out, disks->io, path, &options, err);
}

/* ---- throw-away ---- */

/* In /var/tmp: what is written may be much, and /tmp may be memory. */
const char *disks_temporary_folder(void)
{
	const char *where = getenv("TMPDIR");

	return where && *where == '/' ? where : "/var/tmp";
}

static int make_folder(char **out, struct err *err)
{
	const char *where = disks_temporary_folder();
	autofree char *path = NULL;

	if (asprintf(&path, "%s/vmsnap-layer-XXXXXX", where) < 0) {
		path = NULL;
		return err_set(err, -ENOMEM, "out of memory for a path");
	}
	if (!mkdtemp(path))
		return err_sys(err, -errno, "a directory in '%s'", where);
	*out = ptr_steal(&path);
	return 0;
}

static int open_nbd(const char *numbers, struct image_base **out,
		    struct err *err)
{
	int sockets[BASE_NBD_SOCKETS_MAX];
	unsigned count = 0;

	do {
		char *end = NULL;
		unsigned long value = strtoul(numbers, &end, 10);

		if (*numbers < '0' || *numbers > '9' || (*end && *end != ',') ||
		    value > INT32_MAX || count == ARRAY_SIZE(sockets) ||
		    fcntl((int)value, F_SETFD, FD_CLOEXEC) < 0)
			return err_set(err, -EINVAL,
				       "--disk-fd: open sockets' numbers, "
				       "with commas in between");
		sockets[count++] = (int)value;
		numbers = *end ? end + 1 : end;
	} while (*numbers);
	return base_nbd_open(out, sockets, count, err);
}

static int open_beneath(struct disks *disks, const char *path,
			enum disk_use use, struct image_base **out,
			struct err *err)
{
	struct image *image;
	int r;

	if (use == DISK_NBD)
		return open_nbd(path, out, err);
	if (!disk_is_image(path))
		return base_raw_open(out, disks->io, path, err);
	r = open_image(disks, path, IMAGE_READ_ONLY, true, &image, err);
	return r < 0 ? r : base_image_open(out, image, err);
}

static int open_temporary(struct disks *disks, const char *path,
			  enum disk_use use, struct image **out,
			  struct err *err)
{
	autofree char *made = NULL;
	struct image_base *base;
	int r = open_beneath(disks, path, use, &base, err);

	if (r < 0)
		return r;
	if (!disks->folder)
		r = make_folder(&made, err);
	if (r < 0) {
		base->close(base);
		return r;
	}
	r = temporary_open(out, disks->io, made ? made : disks->folder,
			   disks->count, base, err);
	if (made)
		rmdir(made);
	return r;
}

/* ---- all of them ---- */

static int add_image(struct disks *disks, struct image *image, bool read_only,
		     struct err *err)
{
	int r = disk_image_new(&disks->disks[disks->count], image, read_only,
			       BLK_DEPTH, err);

	if (r < 0)
		(void)image_close(image, NULL);
	else
		disks->images[disks->count] = image;
	return r;
}

static int open_one(struct disks *disks, const char *path, enum disk_use use,
		    struct err *err)
{
	struct image *image;
	int r;

	if (use == DISK_TEMPORARY || use == DISK_NBD)
		r = open_temporary(disks, path, use, &image, err);
	else if (disk_is_image(path))
		r = open_image(disks, path,
			       use == DISK_READ_ONLY ? IMAGE_READ_ONLY
						     : IMAGE_READ_WRITE,
			       false, &image, err);
	else
		return disk_raw_new(&disks->disks[disks->count], disks->io,
				    path, use == DISK_READ_ONLY, BLK_DEPTH,
				    err);
	return r < 0 ? r : add_image(disks, image, use == DISK_READ_ONLY, err);
}

int disks_open(struct disks *disks, const char *path, enum disk_use use,
	       struct err *err)
{
	int r;

	if (disks->count == BOARD_DISKS_MAX)
		return err_set(err, -EINVAL, "more than %u disks",
			       BOARD_DISKS_MAX);
	if (!disks->io)
		disks->io = io_new_waitless(err);
	if (!disks->io)
		return err_prefix(err, "disks");
	r = open_one(disks, path, use, err);
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
	keeper_client_free(disks->keeper);
	disks->keeper = NULL;
	return result;
}
