/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An nbdkit plugin: one disk of one snapshot, read-only or under a throw-away
 * layer, or a live image. `vmsnap nbd` starts it:
 *
 *	nbdkit nbdkit-vmsnap-plugin.so store=STORE snapshot=SNAPSHOT
 *		[disk=NAME] [writable=1] [passphrase-fd=N] [socket=PATH]
 *		[ready=TEXT ready-fd=N]
 *	nbdkit nbdkit-vmsnap-plugin.so image=FILE [store=STORE] ...
 *
 * Any number of connections may be there at once, also where they write: a
 * flush of one makes durable what any of them has been told is written.
 * The store is opened after nbdkit has forked, since it has threads of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "nbd/image_door.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct {
	/* Absolute where it is a path. */
	char *store, *snapshot, *disk, *image_path, *socket_path;
	char *ready; /* what to say when clients can connect */
	int ready_fd, passphrase_fd;
	bool writable;
	struct vms *vms;
	struct vms_cache *cache;
	/* Of all connections; one of both. */
	struct vms_reader *reader;
	struct image_door *image;
	bool lost; /* what was written, in part: it could not be closed */
} door = { .ready_fd = -1, .passphrase_fd = -1 };

static int failed(const struct err *err)
{
	nbdkit_error("%s", err->text);
	return -1;
}

/* Of errnos, nbdkit passes a few on; all others must not become EINVAL. */
static int request_failed(int r, const char *what, uint64_t offset)
{
	nbdkit_error("%s at byte %llu: %s", what, (unsigned long long)offset,
		     strerror(-r));
	switch (r) {
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		nbdkit_set_error(ENOSPC);
		break;
	case -EINVAL:
	case -ENOMEM:
		nbdkit_set_error(-r);
		break;
	case -EROFS:
		nbdkit_set_error(EPERM);
		break;
	default:
		nbdkit_set_error(EIO);
		break;
	}
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
	if (!strcmp(key, "image")) {
		free(door.image_path);
		door.image_path = nbdkit_absolute_path(value);
		return door.image_path ? 0 : -1;
	}
	if (!strcmp(key, "socket")) {
		free(door.socket_path);
		door.socket_path = nbdkit_absolute_path(value);
		return door.socket_path ? 0 : -1;
	}
	if (!strcmp(key, "ready"))
		return keep(&door.ready, value);
	if (!strcmp(key, "ready-fd"))
		return nbdkit_parse_int(key, value, &door.ready_fd);
	if (!strcmp(key, "writable")) {
		int yes = nbdkit_parse_bool(value);

		door.writable = yes > 0;
		return yes < 0 ? -1 : 0;
	}
	if (!strcmp(key, "passphrase-fd"))
		return nbdkit_parse_int(key, value, &door.passphrase_fd);
	nbdkit_error("unknown parameter '%s'", key);
	return -1;
}

/*
 * nbdkit 1.32.4 to 1.33.10 abort where a client hangs up while two of its
 * connection's threads have a reply for it. With one thread a connection they
 * can't. Reading loses nothing by it: clients that want more open several.
 * Writing would lose most of its speed, so it keeps that risk; what was flushed
 * is safe then.
 */
static int door_thread_model(void)
{
	const bool aborts =
		NBDKIT_VERSION_MAJOR == 1 && NBDKIT_VERSION_MINOR < 34;

	return aborts && !door.writable ? NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS
					: NBDKIT_THREAD_MODEL_PARALLEL;
}

static int door_config_complete(void)
{
	if (door.image_path ? !door.snapshot && !door.disk
			    : door.store && door.snapshot)
		return 0;
	nbdkit_error("store=STORE and snapshot=SNAPSHOT are needed, or "
		     "image=FILE");
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

static int open_store(struct err *err)
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

	return door.store ? vms_open(&door.vms, &options, err) : 0;
}

static int open_reader(const struct volume *volume, struct err *err)
{
	int r = vms_cache_new(&door.cache, 0, err);

	return r ? r
		 : vms_reader_open(&door.reader, door.vms, door.cache, volume,
				   err);
}

static int open_disk(struct err *err)
{
	struct snapshot snapshot = { 0 };
	struct image_door_options image = {
		.path = door.image_path,
		.vms = door.vms,
		.writable = door.writable,
	};
	int r;

	if (door.image_path)
		return image_door_open(&door.image, &image, err);
	r = vms_find_snapshot(door.vms, door.snapshot, &snapshot, err);
	if (r == 0) {
		image.volume = choose(&snapshot, err);
		r = image.volume ? 0 : err->code;
	}
	if (r == 0)
		r = door.writable ? image_door_open(&door.image, &image, err)
				  : open_reader(image.volume, err);
	snapshot_release(&snapshot);
	return r;
}

/* nbdkit leaves its socket behind. Where somebody else serves there by now, it
 * is theirs. */
static void remove_socket(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd;

	if (!door.socket_path ||
	    strlen(door.socket_path) >= sizeof(name.sun_path))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	memcpy(name.sun_path, door.socket_path, strlen(door.socket_path));
	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0 &&
	    errno == ECONNREFUSED)
		unlink(door.socket_path);
	close(fd);
}

/* nbdkit listens already, and accepts from now on. */
static int door_after_fork(void)
{
	struct err err = { 0 };

	if (open_store(&err) < 0 || open_disk(&err) < 0) {
		if (door.socket_path)
			unlink(door.socket_path);
		return failed(&err);
	}
	if (door.ready && door.ready_fd >= 0) {
		dprintf(door.ready_fd, "%s\n", door.ready);
		close(door.ready_fd);
	}
	return 0;
}

static void door_cleanup(void)
{
	struct err err = { 0 };

	remove_socket();
	if (image_door_close(door.image, &err) < 0) {
		door.lost = true;
		failed(&err);
	}
	vms_reader_close(door.reader);
	vms_cache_free(door.cache);
	vms_close(door.vms);
	door.image = NULL;
	door.reader = NULL;
	door.cache = NULL;
	door.vms = NULL;
}

/* nbdkit has ended everything else by then, and would end with 0. */
static void door_unload(void)
{
	free(door.store);
	free(door.snapshot);
	free(door.disk);
	free(door.image_path);
	free(door.socket_path);
	free(door.ready);
	if (door.lost)
		exit(EXIT_FAILURE);
}

/* ---- a connection ---- */

static void *door_open(int readonly)
{
	(void)readonly;
	return &door;
}

static struct image *the_image(void)
{
	return vms_live_image(image_door_live(door.image));
}

static int64_t door_get_size(void *handle)
{
	(void)handle;
	return (int64_t)(door.image ? image_size(the_image())
				    : vms_reader_size(door.reader));
}

static int door_yes(void *handle)
{
	(void)handle;
	return 1;
}

static int door_is_writable(void *handle)
{
	(void)handle;
	return door.image && door.writable;
}

static int door_can_fua(void *handle)
{
	return door_is_writable(handle) ? NBDKIT_FUA_NATIVE : NBDKIT_FUA_NONE;
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
	*minimum = door.image ? 512 : 1;
	*preferred = door.image ? IMAGE_BLOCK_SIZE : 65536;
	*maximum = 0xffffffff;
	return 0;
}

static int run(struct image_request *request, uint32_t flags, const char *what)
{
	int r;

	request->fua = flags & NBDKIT_FLAG_FUA;
	r = image_door_request(door.image, request);
	return r < 0 ? request_failed(r, what, request->offset) : 0;
}

static int door_pread(void *handle, void *buffer, uint32_t count,
		      uint64_t offset, uint32_t flags)
{
	struct image_request request = {
		.op = IMAGE_READ,
		.offset = offset,
		.length = count,
		.buffer = buffer,
	};
	struct err err = { 0 };

	(void)handle;
	if (door.image)
		return run(&request, flags, "read");
	if (vms_reader_read(door.reader, buffer, count, offset, &err) == 0)
		return 0;
	nbdkit_set_error(EIO);
	return failed(&err);
}

static int door_pwrite(void *handle, const void *buffer, uint32_t count,
		       uint64_t offset, uint32_t flags)
{
	struct image_request request = {
		.op = IMAGE_WRITE,
		.offset = offset,
		.length = count,
		.buffer = (void *)(uintptr_t)buffer,
	};

	(void)handle;
	return run(&request, flags, "write");
}

static int door_flush(void *handle, uint32_t flags)
{
	struct image_request request = { .op = IMAGE_FLUSH };

	(void)handle;
	return run(&request, flags, "flush");
}

static int door_trim(void *handle, uint32_t count, uint64_t offset,
		     uint32_t flags)
{
	struct image_request request = {
		.op = IMAGE_DISCARD,
		.offset = offset,
		.length = count,
	};

	(void)handle;
	return run(&request, flags, "trim");
}

static int door_zero(void *handle, uint32_t count, uint64_t offset,
		     uint32_t flags)
{
	struct image_request request = {
		.op = IMAGE_ZERO,
		.offset = offset,
		.length = count,
	};

	(void)handle;
	return run(&request, flags, "zero");
}

/* The run at `offset`: is it a hole, and how long? */
static int next_extent(uint64_t offset, uint64_t length, bool *is_hole,
		       uint64_t *run_length, struct err *err)
{
	struct image_extent extent = { 0 };
	int r;

	if (!door.image)
		return vms_reader_extent(door.reader, offset, length, is_hole,
					 run_length, err);
	r = vms_live_extent(image_door_live(door.image), offset, length,
			    &extent, err);
	*is_hole = extent.kind == IMAGE_EXTENT_ZERO;
	*run_length = extent.length;
	return r;
}

static int door_extents(void *handle, uint32_t count, uint64_t offset,
			uint32_t flags, struct nbdkit_extents *extents)
{
	uint64_t end = offset + count, length;
	struct err err = { 0 };
	bool is_hole;

	(void)handle;
	while (offset < end) {
		if (next_extent(offset, end - offset, &is_hole, &length, &err) <
		    0) {
			nbdkit_set_error(EIO);
			return failed(&err);
		}
		if (nbdkit_add_extent(extents, offset, length,
				      is_hole ? NBDKIT_EXTENT_HOLE |
							NBDKIT_EXTENT_ZERO
					      : 0) < 0)
			return -1;
		offset += length;
		if (flags & NBDKIT_FLAG_REQ_ONE)
			break;
	}
	return 0;
}

static struct nbdkit_plugin plugin = {
	.name = "vmsnap",
	.longname = "a disk of a vmsnap snapshot, or a live image",
	.description = "Serves one disk of a snapshot, or a live image.",
	.magic_config_key = "snapshot",
	.config_help =
		"store=STORE         where the store is\n"
		"snapshot=SNAPSHOT   NAME, NAME@LABEL, an id\n"
		"disk=NAME           which disk, where there are more\n"
		"image=FILE          a live image instead of a snapshot\n"
		"writable=BOOL       write to the image; over a snapshot: to a "
		"throw-away layer\n"
		"passphrase-fd=N     descriptor to read the passphrase "
		"from\n"
		"socket=PATH         removed at the end\n"
		"ready=TEXT          a line for when clients can connect\n"
		"ready-fd=N          descriptor to write it to",
	.config = door_config,
	.config_complete = door_config_complete,
	.thread_model = door_thread_model,
	.after_fork = door_after_fork,
	.cleanup = door_cleanup,
	.unload = door_unload,
	.open = door_open,
	.get_size = door_get_size,
	.block_size = door_block_size,
	.can_write = door_is_writable,
	.can_flush = door_is_writable,
	.can_trim = door_is_writable,
	.can_zero = door_is_writable,
	.can_fast_zero = door_is_writable,
	.can_fua = door_can_fua,
	.can_multi_conn = door_yes,
	.can_cache = door_can_cache,
	.can_extents = door_yes,
	.pread = door_pread,
	.pwrite = door_pwrite,
	.flush = door_flush,
	.trim = door_trim,
	.zero = door_zero,
	.extents = door_extents,
};

/* The macro defines it without declaring it. */
struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(plugin)
