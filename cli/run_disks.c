/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks that live and die with their machine: images in its directory, over the
 * disks of a snapshot, each with a pin in the store.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/keeper.h"
#include "cli/report.h"

static bool cannot_write(int r)
{
	return r == -EROFS || r == -EACCES || r == -EPERM;
}

/* A store that can't be written to still gives images, without pins. */
static int open_store(struct cli *cli, struct vms **out, struct err *err)
{
	struct err why = { 0 };
	int r;

	cli->keep_passphrase = true;
	r = cli_open(cli, STORE_WRITE, false, out, &why);
	if (cannot_write(r))
		return cli_open(cli, STORE_READ, false, out, err);
	if (r)
		*err = why;
	return r;
}

static int name_disks(const char *home, const struct snapshot *snapshot,
		      struct vms_machine *machine, struct err *err)
{
	int r = 0;

	if (snapshot->volume_count > VMS_MACHINE_DISKS_MAX)
		return err_set(err, -EINVAL,
			       "the snapshot has %zu disks, a machine at most "
			       "%u",
			       snapshot->volume_count, VMS_MACHINE_DISKS_MAX);
	for (size_t i = 0; !r && i < snapshot->volume_count; i++) {
		struct vms_machine_disk *disk = &machine->disks[i];
		char file[32];

		snprintf(file, sizeof(file), "disk%zu.vsi", i);
		r = vms_machine_file(home, machine->name, file, disk->path,
				     err);
		disk->format = VMS_DISK_IMAGE;
	}
	machine->disk_count = snapshot->volume_count;
	return r;
}

int run_snapshot_find(struct cli *cli, const char *home,
		      struct run_snapshot *from, struct vms_machine *machine,
		      struct err *err)
{
	int r;

	if (!cli_given(cli, OPT_FROM))
		return 0;
	from->io = io_new(err);
	if (!from->io)
		return err->code ? err->code : -EIO;
	r = open_store(cli, &from->vms, err);
	if (!r)
		r = vms_find_snapshot(from->vms, cli_value(cli, OPT_FROM),
				      &from->snapshot, err);
	return r ? r : name_disks(home, &from->snapshot, machine, err);
}

int run_snapshot_make(struct cli *cli, struct run_snapshot *from,
		      const struct vms_machine *machine, struct err *err)
{
	int r = 0;

	while (!r && from->vms && from->made < from->snapshot.volume_count) {
		struct vms_live_create create = {
			.io = from->io,
			.path = machine->disks[from->made].path,
			.snapshot = &from->snapshot,
			.disk = from->snapshot.volumes[from->made].name,
			.warn = report_warn,
			.warn_arg = cli,
		};

		r = vms_live_create(from->vms, &create, err);
		if (!r)
			from->made++;
	}
	return r;
}

void run_snapshot_undo(struct run_snapshot *from,
		       const struct vms_machine *machine)
{
	while (from->made)
		(void)vms_live_remove(from->vms, from->io,
				      machine->disks[--from->made].path, NULL);
}

void run_snapshot_release(struct run_snapshot *from)
{
	snapshot_release(&from->snapshot);
	vms_close(from->vms);
	if (from->io)
		io_free(from->io);
}

/* ---- rm ---- */

static bool has_pin(const struct image_base_info *base)
{
	return base->present && !bytes_are_zero(base->pin, sizeof(base->pin));
}

/* For the pin: -s, else where the image says. *vms may be open already. */
static int open_for_pin(struct cli *cli, const struct image_base_info *base,
			struct vms **vms, struct err *err)
{
	const char *location = base->store;
	int r = 0;

	if (*vms)
		return 0;
	if (cli_given(cli, OPT_STORE) || !*location)
		r = cli_location(cli, &location, err);
	if (!r)
		r = cli_open_at(cli, location, STORE_WRITE, false, vms, err);
	return r;
}

static int remove_image(struct cli *cli, struct vs_io *io, const char *path,
			struct vms **vms, struct err *err)
{
	struct image_base_info base = { 0 };
	bool pinned =
		!image_read_base_info(io, path, &base, NULL) && has_pin(&base);
	struct err why = { 0 };
	int r = pinned ? open_for_pin(cli, &base, vms, &why) : 0;

	if (r < 0 && cli_given(cli, OPT_FORCE)) {
		report_warning(cli, "the pin of '%s' stays: %s", path,
			       why.text);
		r = 0;
	} else if (r < 0) {
		*err = why;
		return err_prefix(err, "the pin of '%s' (--force leaves it)",
				  path);
	}
	r = vms_live_remove(pinned ? *vms : NULL, io, path, err);
	return r == -ENOENT ? 0 : r;
}

int run_disks_remove(struct cli *cli, const char *home, const char *name,
		     struct err *err)
{
	struct vms_machine machine = { 0 };
	struct vms_machine_status status;
	autovms struct vms *vms = NULL;
	struct vs_io *io;
	int r = 0;

	/* What runs, is damaged, or not there, is told by who removes it. */
	if (vms_machine_status(home, name, &status, NULL) || status.alive ||
	    vms_machine_load(home, name, &machine, NULL))
		return 0;
	io = io_new(err);
	if (!io)
		r = err->code ? err->code : -EIO;
	for (size_t i = 0; !r && i < machine.disk_count; i++) {
		const struct vms_machine_disk *disk = &machine.disks[i];

		if (disk->format == VMS_DISK_IMAGE &&
		    vms_machine_owns(home, name, disk->path))
			r = remove_image(cli, io, disk->path, &vms, err);
	}
	if (io)
		io_free(io);
	vms_machine_release(&machine);
	return r;
}
