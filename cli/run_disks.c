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

/* The first `count` of its own images. */
static int name_images(const char *home, size_t count,
		       struct vms_machine *machine, struct err *err)
{
	int r = 0;

	for (size_t i = 0; !r && i < count; i++) {
		struct vms_machine_disk *disk = &machine->disks[i];
		char file[32];

		snprintf(file, sizeof(file), "disk%zu.vsi", i);
		r = vms_machine_file(home, machine->name, file, disk->path,
				     err);
		disk->format = VMS_DISK_IMAGE;
	}
	machine->disk_count = count;
	return r;
}

static int name_disks(const char *home, const struct snapshot *snapshot,
		      struct vms_machine *machine, struct err *err)
{
	if (snapshot->volume_count > VMS_MACHINE_DISKS_MAX)
		return err_set(err, -EINVAL,
			       "the snapshot has %zu disks, a machine at most "
			       "%u",
			       snapshot->volume_count, VMS_MACHINE_DISKS_MAX);
	return name_images(home, snapshot->volume_count, machine, err);
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

		r = progress_check(&cli->progress, err);
		if (!r)
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
	*from = (struct run_snapshot){ 0 };
}

/* ---- rm ---- */

static bool has_pin(const struct image_base_info *base)
{
	return base->present && !bytes_are_zero(base->pin, sizeof(base->pin));
}

/* The images of a machine's own, and the store with their pins. */
struct doomed {
	const char *paths[VMS_MACHINE_DISKS_MAX];
	bool pinned[VMS_MACHINE_DISKS_MAX];
	bool lost[VMS_MACHINE_DISKS_MAX]; /* there is none any more */
	size_t count;
	struct image_base_info base; /* of one with a pin; else not present */
	struct vms *vms;             /* NULL: none has one, or they stay */
};

static void find_doomed(struct doomed *doomed, struct vs_io *io,
			const char *home, const struct vms_machine *machine)
{
	for (size_t i = 0; i < machine->disk_count; i++) {
		const struct vms_machine_disk *disk = &machine->disks[i];
		struct image_base_info base = { 0 };
		int r;

		if (disk->format != VMS_DISK_IMAGE ||
		    !vms_machine_owns(home, machine->name, disk->path))
			continue;
		doomed->paths[doomed->count] = disk->path;
		r = image_read_base_info(io, disk->path, &base, NULL);
		doomed->lost[doomed->count] = r == -ENOENT;
		doomed->pinned[doomed->count] = !r && has_pin(&base);
		if (doomed->pinned[doomed->count++])
			doomed->base = base;
	}
}

/* -s, else where the image says. */
static int open_for_pins(struct cli *cli, struct doomed *doomed,
			 struct err *err)
{
	const char *location = doomed->base.store;
	int r = 0;

	if (cli_given(cli, OPT_STORE) || !*location)
		r = cli_location(cli, &location, err);
	return r ? r
		 : cli_open_at(cli, location, STORE_WRITE, false, &doomed->vms,
			       err);
}

/* Before anything is removed: a passphrase may be wrong. */
static int open_pins(struct cli *cli, struct doomed *doomed, const char *name,
		     struct err *err)
{
	struct err why = { 0 };
	int r = doomed->base.present ? open_for_pins(cli, doomed, &why) : 0;

	if (r < 0 && cli_given(cli, OPT_FORCE)) {
		report_warning(cli, "the pins of machine '%s' stay: %s", name,
			       why.text);
		return 0;
	}
	if (r < 0) {
		*err = why;
		return err_prefix(
			err, "the pins of machine '%s' (--force leaves them)",
			name);
	}
	return 0;
}

/* What is no image any more goes with the directory; which pin it had is not
 * known. */
static int remove_image(struct cli *cli, struct vs_io *io, const char *path,
			struct vms *vms, struct err *err)
{
	struct err why = { 0 };
	int r = vms_live_remove(vms, io, path, &why);

	if (!r || r == -ENOENT)
		return 0;
	if (r == -EBADMSG && cli_given(cli, OPT_FORCE)) {
		report_warning(cli,
			       "%s: its pin stays, if it had one ('vmsnap list "
			       "--pins')",
			       why.text);
		return 0;
	}
	*err = why;
	return r == -EBADMSG ? err_prefix(err, "--force removes it") : r;
}

/* Somebody has removed it by hand. Which pin was its is not known: that of the
 * same path may be another host's of this name. */
static void tell_lost(const struct cli *cli, const char *name, const char *path)
{
	char safe[2048];

	report_warning(
		cli,
		"machine '%s': image '%s' was gone already: its pin "
		"stays, if it had one ('vmsnap list --pins'), and 'vmsnap "
		"pin remove --force PIN' removes it",
		name, escape_name(safe, sizeof(safe), path));
}

/* `all_known`: each of them was there once. */
static int remove_images(struct cli *cli, struct vs_io *io, const char *home,
			 const struct vms_machine *machine, bool all_known,
			 struct err *err)
{
	struct doomed doomed = { 0 };
	int r;

	find_doomed(&doomed, io, home, machine);
	r = open_pins(cli, &doomed, machine->name, err);
	for (size_t i = 0; !r && i < doomed.count; i++) {
		r = remove_image(cli, io, doomed.paths[i],
				 doomed.pinned[i] ? doomed.vms : NULL, err);
		if (!r && all_known && doomed.lost[i])
			tell_lost(cli, machine->name, doomed.paths[i]);
	}
	vms_close(doomed.vms);
	return r;
}

/* All that there may be: of one whose description can't be read. */
static int name_all(const char *home, const char *name,
		    struct vms_machine *machine, struct err *err)
{
	int r = alloc_array(&machine->disks, VMS_MACHINE_DISKS_MAX,
			    sizeof(*machine->disks), err);

	if (r)
		return r;
	snprintf(machine->name, sizeof(machine->name), "%s", name);
	return name_images(home, VMS_MACHINE_DISKS_MAX, machine, err);
}

static int load_disks(const char *home, const char *name,
		      struct vms_machine *machine, bool *all_known,
		      struct err *err)
{
	int r = vms_machine_load(home, name, machine, err);

	*all_known = !r;
	/* Their names are known all the same. */
	if (r == -EBADMSG || r == -EOPNOTSUPP)
		r = name_all(home, name, machine, err);
	return r;
}

int run_disks_remove(struct cli *cli, const char *home, const char *name,
		     struct err *err)
{
	struct vms_machine machine = { 0 };
	struct vs_io *io = NULL;
	bool all_known;
	int r = load_disks(home, name, &machine, &all_known, err);

	if (!r) {
		io = io_new(err);
		r = io ? remove_images(cli, io, home, &machine, all_known, err)
		       : (err->code ? err->code : -EIO);
	}
	if (io)
		io_free(io);
	vms_machine_release(&machine);
	return r;
}
