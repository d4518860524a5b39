/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An nbdkit plugin: one disk of one snapshot, read-only. Its content never
 * changes, so any number of connections may read at once and each may cache
 * what it likes. `vmsnap nbd` starts it:
 *
 *	nbdkit -r nbdkit-vmsnap-plugin.so store=STORE snapshot=SNAPSHOT
 *		[disk=NAME] [passphrase-fd=N]
 *
 * The store is opened after nbdkit has forked, since it has threads of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "vmsnap/vmsnap.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct {
	char *store, *snapshot, *disk; /* absolute where it is a path */
	int passphrase_fd;
	struct vms *vms;
	struct vms_cache *cache;
	struct vms_reader *reader; /* of all connections */
} door = { .passphrase_fd = -1 };

static int failed(const struct err *err)
{
	nbdkit_error("%s", err->text);
	return -1;
}

static int keep(char **out, const char *text)
{
	free(*out);
	*out = strdup(text);
	if (!*out) {
		nbdkit_error("out of memory");
		return -1;
	}
	return 0;
}

static int door_config(const char *key, const char *value)
{
	if (!strcmp(key, "store")) {
		free(door.store);
		/* nbdkit changes its directory. */
		door.store = strstr(value, "://") ? strdup(value)
						  : nbdkit_realpath(value);
		return door.store ? 0 : -1;
	}
	if (!strcmp(key, "snapshot"))
		return keep(&door.snapshot, value);
	if (!strcmp(key, "disk"))
		return keep(&door.disk, value);
	if (!strcmp(key, "passphrase-fd"))
		return nbdkit_parse_int(key, value, &door.passphrase_fd);
	nbdkit_error("unknown parameter '%s'", key);
	return -1;
}

static int door_config_complete(void)
{
	if (door.store && door.snapshot)
		return 0;
	nbdkit_error("store=STORE and snapshot=SNAPSHOT are needed");
	return -1;
}

static const struct volume *choose(const struct snapshot *snapshot,
				   struct err *err)
{
	const struct volume *volume;

	if (!door.disk && snapshot->volume_count == 1)
		return &snapshot->volumes[0];
	if (!door.disk) {
		err_set(err, -EINVAL, "it has %zu disks: name one with disk=",
			snapshot->volume_count);
		return NULL;
	}
	volume = snapshot_volume(snapshot, door.disk);
	if (!volume)
		err_set(err, -ENOENT, "it has no disk '%s'", door.disk);
	return volume;
}

static void door_warn(void *arg, const char *text)
{
	(void)arg;
	nbdkit_error("warning: %s", text);
}

static int door_after_fork(void)
{
	struct vms_options options = {
		.location = door.store,
		.store = {
			.mode = STORE_READ,
			.passphrase = vms_passphrase_from_fd,
			.passphrase_arg = &door.passphrase_fd,
			.warn = door_warn,
		},
	};
	struct snapshot snapshot = { 0 };
	const struct volume *volume = NULL;
	struct err err = { 0 };

	if (vms_open(&door.vms, &options, &err) < 0 ||
	    vms_find_snapshot(door.vms, door.snapshot, &snapshot, &err) < 0)
		return failed(&err);
	volume = choose(&snapshot, &err);
	if (!volume || vms_cache_new(&door.cache, 0, &err) < 0 ||
	    vms_reader_open(&door.reader, door.vms, door.cache, volume, &err) <
		    0) {
		snapshot_release(&snapshot);
		return failed(&err);
	}
	snapshot_release(&snapshot);
	return 0;
}

static void door_cleanup(void)
{
	vms_reader_close(door.reader);
	vms_cache_free(door.cache);
	vms_close(door.vms);
	door.reader = NULL;
	door.cache = NULL;
	door.vms = NULL;
}

static void door_unload(void)
{
	free(door.store);
	free(door.snapshot);
	free(door.disk);
}

/* ---- a connection ---- */

static void *door_open(int readonly)
{
	(void)readonly;
	return door.reader;
}

static int64_t door_get_size(void *handle)
{
	return (int64_t)vms_reader_size(handle);
}

static int door_yes(void *handle)
{
	(void)handle;
	return 1;
}

static int door_no(void *handle)
{
	(void)handle;
	return 0;
}

/* nbdkit reads and drops: that fills our own cache. */
static int door_can_cache(void *handle)
{
	(void)handle;
	return NBDKIT_CACHE_EMULATE;
}

static int door_block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
			   uint32_t *maximum)
{
	(void)handle;
	*minimum = 1;
	*preferred = 65536;
	*maximum = 0xffffffff;
	return 0;
}

static int door_pread(void *handle, void *buffer, uint32_t count,
		      uint64_t offset, uint32_t flags)
{
	struct err err = { 0 };

	(void)flags;
	if (vms_reader_read(handle, buffer, count, offset, &err) == 0)
		return 0;
	nbdkit_set_error(EIO);
	return failed(&err);
}

static int door_extents(void *handle, uint32_t count, uint64_t offset,
			uint32_t flags, struct nbdkit_extents *extents)
{
	uint64_t end = offset + count, run;
	struct err err = { 0 };
	bool is_hole;

	while (offset < end) {
		if (vms_reader_extent(handle, offset, end - offset, &is_hole,
				      &run, &err) < 0) {
			nbdkit_set_error(EIO);
			return failed(&err);
		}
		if (nbdkit_add_extent(extents, offset, run,
				      is_hole ? NBDKIT_EXTENT_HOLE |
							NBDKIT_EXTENT_ZERO
					      : 0) < 0)
			return -1;
		offset += run;
		if (flags & NBDKIT_FLAG_REQ_ONE)
			break;
	}
	return 0;
}

static struct nbdkit_plugin plugin = {
	.name = "vmsnap",
	.longname = "a disk of a vmsnap snapshot",
	.description = "Serves one disk of a snapshot, read-only.",
	.magic_config_key = "snapshot",
	.config_help =
		"store=STORE         (required) where the store is\n"
		"snapshot=SNAPSHOT   (required) NAME, NAME@LABEL, an id\n"
		"disk=NAME           which disk, where there are more\n"
		"passphrase-fd=N     descriptor to read the passphrase "
		"from",
	.config = door_config,
	.config_complete = door_config_complete,
	.after_fork = door_after_fork,
	.cleanup = door_cleanup,
	.unload = door_unload,
	.open = door_open,
	.get_size = door_get_size,
	.block_size = door_block_size,
	.can_write = door_no,
	.can_multi_conn = door_yes,
	.can_cache = door_can_cache,
	.can_extents = door_yes,
	.pread = door_pread,
	.extents = door_extents,
};

/* The macro defines it without declaring it. */
struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(plugin)
