/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of a machine's disks stand on a snapshot, and the grants for them. The
 * heads are read anew at each start: an image may have got another base.
 */
#include "vmsnap/machine_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "vmsnap/machine_home.h"

typedef int each_base(void *arg, const struct vms_machine_disk *disk,
		      const struct image_base_info *base, struct err *err);

/* What each image stands on that stands on something. */
static int each(const struct vms_machine *machine, each_base *fn, void *arg,
		struct err *err)
{
	struct vs_io *io = NULL;
	int r = 0;

	for (size_t i = 0; !r && i < machine->disk_count; i++) {
		const struct vms_machine_disk *disk = &machine->disks[i];
		struct image_base_info base;

		if (disk->format != VMS_DISK_IMAGE)
			continue;
		if (!io)
			io = io_new(err);
		if (!io)
			return err_prefix(err, "disks");
		r = image_read_base_info(io, disk->path, &base, err);
		if (!r && base.present)
			r = fn(arg, disk, &base, err);
	}
	if (io)
		io_free(io);
	return r;
}

static int take_base(void *arg, const struct vms_machine_disk *disk,
		     const struct image_base_info *base, struct err *err)
{
	struct image_base_info *out = arg;

	if (out->present &&
	    memcmp(out->store_id, base->store_id, sizeof(out->store_id)) != 0)
		return err_set(err, -EOPNOTSUPP,
			       "'%s' stands on a disk of another store than "
			       "the machine's other ones: this version holds "
			       "one store open for a machine",
			       disk->path);
	*out = *base;
	return 0;
}

int vms_machine_base(const struct vms_machine *machine,
		     struct image_base_info *out, struct err *err)
{
	memset(out, 0, sizeof(*out));
	return each(machine, take_base, out, err);
}

/* ---- grants ---- */

struct grants {
	const char *machine;
	struct vms_keeper *keeper;
	size_t count;
	uint8_t bytes[VMS_MACHINE_DISKS_MAX][VMS_KEEPER_GRANT_SIZE];
};

static int add_grant(void *arg, const struct vms_machine_disk *disk,
		     const struct image_base_info *base, struct err *err)
{
	struct grants *grants = arg;
	int r = grants->count == VMS_MACHINE_DISKS_MAX
			? err_set(err, -EINVAL, "too many disks")
			: vms_keeper_grant(grants->keeper, grants->machine,
					   base, grants->bytes[grants->count],
					   err);

	if (r)
		return err_prefix(err, "'%s'", disk->path);
	grants->count++;
	return 0;
}

int machine_grants(const struct vms_machine *machine, struct vms_keeper *keeper,
		   struct err *err)
{
	struct grants grants = { .machine = machine->name, .keeper = keeper };
	int ends[2], r = each(machine, add_grant, &grants, err);
	size_t size = grants.count * VMS_KEEPER_GRANT_SIZE;
	bool whole;

	if (r)
		return r;
	/* A few KiB: a pipe takes them before anybody reads. */
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "a pipe");
	whole = write(ends[1], grants.bytes, size) == (ssize_t)size;
	close(ends[1]);
	if (whole)
		return ends[0];
	close(ends[0]);
	return err_set(err, -EIO, "grants do not fit into a pipe");
}

/* ---- files of its own ---- */

int vms_machine_file(const char *home, const char *name, const char *file,
		     char path[PATH_MAX], struct err *err)
{
	return machine_path(home, name, file, path, err);
}

bool vms_machine_owns(const char *home, const char *name, const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	struct stat own, other;

	if (!slash || slash == path ||
	    machine_path(home, name, "", folder, NULL))
		return false;
	if (stat(folder, &own) < 0)
		return false;
	if (snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path),
		     path) >= (int)sizeof(folder))
		return false;
	return stat(folder, &other) == 0 && own.st_dev == other.st_dev &&
	       own.st_ino == other.st_ino;
}
