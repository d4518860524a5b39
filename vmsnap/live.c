/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of an image over a store: made from a snapshot's disk, opened with
 * the base that its head names, removed. The pin is there before the image and
 * goes after it, so that a base is never without one; what dies in between
 * leaves a pin too many, never one too few.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmsnap/live.h"

static void warn_with(void (*warn)(void *arg, const char *text), void *arg,
		      const char *text)
{
	if (warn)
		warn(arg, text);
}

/* From the root, or a URL: as it will be understood elsewhere too. */
static char *absolute(const char *path, struct err *err)
{
	autofree char *directory = NULL;
	char *out = NULL;

	if (*path == '/' || strstr(path, "://")) {
		out = strdup(path);
	} else {
		directory = getcwd(NULL, 0);
		if (!directory) {
			err_sys(err, -errno, "the current directory");
			return NULL;
		}
		if (asprintf(&out, "%s/%s", directory, path) < 0)
			out = NULL;
	}
	if (!out)
		err_set(err, -ENOMEM, "out of memory for a path");
	return out;
}

/* ---- pins ---- */

int live_pin_put_as(struct vms *vms, const char *path,
		    const struct volume *volume, const struct id *snapshot,
		    const uint8_t id[SMALL_ID_SIZE], struct err *err)
{
	struct store_thread *thread = vms_thread_take(vms, err);
	char host[SNAPSHOT_TEXT_MAX + 1] = "", hex[SMALL_ID_HEX_SIZE];
	autofree char *where = absolute(path, err);
	char safe[PATH_MAX];
	struct volume copy = *volume;
	struct pin it = {
		.owner = (char *)(uintptr_t) "image",
		.host = host,
		.path = safe,
		.time_ns = time_now_ns(),
		.volumes = &copy,
		.volume_count = 1,
	};
	int r = -ENOMEM;

	/* Only the root counts; the tags may go with their snapshot. */
	copy.has_tags = false;
	copy.bad = NULL;
	copy.bad_count = 0;
	copy.source = NULL;
	gethostname(host, sizeof(host) - 1);
	if (snapshot && !id_is_null(snapshot)) {
		it.has_snapshot = true;
		it.snapshot = *snapshot;
	}
	if (thread && where) {
		/* A file's name need not be text. */
		escape_name(safe, sizeof(safe), where);
		hex_encode(hex, id, SMALL_ID_SIZE);
		r = store_put_pin_as(thread, &it, hex, err);
	}
	vms_thread_give(vms, thread);
	return r;
}

int live_pin_put(struct vms *vms, const char *path, const struct volume *volume,
		 const struct id *snapshot, uint8_t pin[SMALL_ID_SIZE],
		 struct err *err)
{
	uint8_t id[SMALL_ID_SIZE];
	char hex[SMALL_ID_HEX_SIZE];
	int r = random_fill(id, sizeof(id), err);

	memset(pin, 0, sizeof(id));
	if (r)
		return r;
	r = live_pin_put_as(vms, path, volume, snapshot, id, err);
	if (!r) {
		memcpy(pin, id, sizeof(id));
		return 0;
	}
	/* It may be there, but not durable: nobody will know of it. */
	hex_encode(hex, id, SMALL_ID_SIZE);
	(void)store_delete_pin(vms->store, hex, NULL);
	return r;
}

void live_pin_missing(const struct err *why,
		      void (*warn)(void *arg, const char *text), void *arg)
{
	char text[ERR_TEXT_MAX + 128];

	snprintf(
		text, sizeof(text),
		"no pin in the store: when its snapshot is removed, the image loses its base: %s",
		why->text);
	warn_with(warn, arg, text);
}

/* 1 or 0 */
static int pin_is_ours(struct store_thread *thread, const char *hex,
		       const struct image_base_info *info, struct err *err)
{
	struct pin pin = { 0 };
	int r = store_load_pin(thread, hex, &pin, err);

	if (r)
		return r;
	r = !strcmp(pin.owner, "image") && pin.volume_count == 1 &&
	    !memcmp(pin.volumes[0].root.b, info->root, ID_SIZE);
	pin_release(&pin);
	return r;
}

int live_pin_delete(struct vms *vms, const struct image_base_info *info,
		    struct err *err)
{
	struct store_thread *thread;
	char hex[SMALL_ID_HEX_SIZE];
	int r;

	if (!info->present || bytes_are_zero(info->pin, SMALL_ID_SIZE))
		return 0;
	hex_encode(hex, info->pin, SMALL_ID_SIZE);
	thread = vms_thread_take(vms, err);
	if (!thread)
		return -ENOMEM;
	r = pin_is_ours(thread, hex, info, err);
	if (r == 0)
		r = err_set(err, -EPERM, "pin %s is not this image's: it stays",
			    hex);
	else if (r > 0)
		r = store_delete_pin(vms->store, hex, err);
	vms_thread_give(vms, thread);
	return r == -ENOENT ? 0 : r;
}

/* ---- the base ---- */

struct volume live_base_volume(const struct image_base_info *info)
{
	struct volume volume = {
		.size_bytes = info->size_bytes,
		.chunk_log2 = info->chunk_log2,
	};

	snprintf(volume.name, sizeof(volume.name), "%.128s",
		 name_is_valid(info->disk, strlen(info->disk)) ? info->disk
							       : "disk0");
	memcpy(volume.root.b, info->root, ID_SIZE);
	return volume;
}

int live_base_describe(const struct vms *vms, const struct volume *volume,
		       struct image_base_info *out, struct err *err)
{
	autofree char *where =
		absolute(vms->location ? vms->location : "/", err);
	struct image_base_info info = {
		.present = true,
		.chunk_log2 = volume->chunk_log2,
		.size_bytes = volume->size_bytes,
	};

	if (!where)
		return -ENOMEM;
	if (strlen(where) >= sizeof(info.store))
		return err_set(
			err, -ENAMETOOLONG,
			"the store's path has more than %zu bytes: too long for an image",
			sizeof(info.store) - 1);
	memcpy(info.store, where, strlen(where));
	memcpy(info.disk, volume->name, strlen(volume->name));
	memcpy(info.store_id, store_config(vms->store)->store.b,
	       sizeof(info.store_id));
	memcpy(info.root, volume->root.b, ID_SIZE);
	*out = info;
	return 0;
}

int live_base_open(struct vms_live *live, const struct image_base_info *info,
		   struct image_base **out, struct err *err)
{
	struct volume volume = live_base_volume(info);
	struct vms_reader *reader;
	int r = vms_reader_open(&reader, live->vms, live->cache, &volume, err);

	return r ? r : vms_reader_base(out, reader, err);
}

static int check_store(const struct vms_live *live, struct err *err)
{
	char safe[1024];

	if (!live->info.present)
		return 0;
	escape_name(safe, sizeof(safe), live->info.store);
	if (!live->vms)
		return err_set(err, -EINVAL,
			       "image '%s' stands on a disk of the store '%s'",
			       live->path, safe);
	if (memcmp(live->info.store_id, store_config(live->vms->store)->store.b,
		   sizeof(live->info.store_id)) != 0)
		return err_set(
			err, -EINVAL,
			"image '%s' stands on a disk of another store: the one that was at '%s'",
			live->path, safe);
	return 0;
}

/* ---- making ---- */

int live_find_volume(const struct snapshot *snapshot, const char *disk,
		     const char *otherwise, const struct volume **out,
		     struct err *err)
{
	const struct volume *found = NULL;

	if (disk)
		found = snapshot_volume(snapshot, disk);
	else if (snapshot->volume_count == 1)
		found = &snapshot->volumes[0];
	else if (otherwise)
		found = snapshot_volume(snapshot, otherwise);
	if (!found && disk)
		return err_set(err, -ENOENT, "'%s' has no disk '%s'",
			       snapshot->name, disk);
	if (!found)
		return err_set(err, -EINVAL,
			       "'%s' has %zu disks; say which with --disk",
			       snapshot->name, snapshot->volume_count);
	*out = found;
	return 0;
}

static int create_pinned(struct vms *vms, const struct vms_live_create *create,
			 const struct volume *volume, struct err *err)
{
	struct image_base_info info;
	uint64_t size = create->size_bytes;
	struct err why = { 0 };
	int r = live_base_describe(vms, volume, &info, err);

	if (r)
		return r;
	if (!size)
		size = div_up(volume->size_bytes, 512) * 512;
	memcpy(info.snapshot, create->snapshot->id.b, ID_SIZE);
	if (live_pin_put(vms, create->path, volume, &create->snapshot->id,
			 info.pin, &why))
		live_pin_missing(&why, create->warn, create->warn_arg);
	r = image_create(create->io, create->path, size, &info, err);
	if (r)
		(void)live_pin_delete(vms, &info, NULL);
	return r;
}

int vms_live_create(struct vms *vms, const struct vms_live_create *create,
		    struct err *err)
{
	const struct volume *volume;
	struct io_stat st;
	int r;

	if (!create->snapshot)
		return image_create(create->io, create->path,
				    create->size_bytes, NULL, err);
	/* Before a pin is written in vain. */
	if (create->io->ops->stat(create->io, create->path, &st, NULL) == 0)
		return err_set(err, -EEXIST, "'%s' is there already",
			       create->path);
	r = live_find_volume(create->snapshot, create->disk, NULL, &volume,
			     err);
	return r ? r : create_pinned(vms, create, volume, err);
}

/* ---- open ---- */

static int absent_read(struct image_base *base, void *buffer, size_t length,
		       uint64_t offset)
{
	(void)base;
	(void)buffer;
	(void)length;
	(void)offset;
	return -EIO;
}

static void absent_close(struct image_base *base)
{
	free(base);
}

/* Stands for a base whose store is not opened. */
static int absent_base(uint64_t size_bytes, struct image_base **out,
		       struct err *err)
{
	struct image_base *base = NULL;
	int r = alloc_array(&base, 1, sizeof(*base), err);

	if (r)
		return r;
	base->size_bytes = size_bytes;
	base->read = absent_read;
	base->close = absent_close;
	*out = base;
	return 0;
}

/* It is locked. What that said stands where nobody serves it. */
static int open_served(struct vms_live *live, struct err *err)
{
	struct image_base_info base;
	struct err why = { 0 };
	uint8_t id[16];
	int r = image_read_identity(live->io, live->path, id, &base, err);

	if (!r)
		r = control_open(&live->server, live->path, id, &why);
	if (!r || r == -ENOENT || r == -ECONNREFUSED)
		return r ? -EBUSY : 0;
	if (err && why.code)
		*err = why;
	return err_prefix(err, "image '%s' is in use, and can't be asked for",
			  live->path);
}

static int open_parts(struct vms_live *live,
		      const struct vms_live_options *options, struct err *err)
{
	struct image_options image = {
		.mode = options->mode,
		.map_memory_bytes = options->map_memory_bytes,
		.damage = options->damage,
		.arg = options->arg,
	};
	bool with_base;
	int r = image_read_base_info(live->io, live->path, &live->info, err);

	with_base = live->info.present && !options->without_base;
	if (!r && with_base)
		r = check_store(live, err);
	live->cache = options->cache;
	live->own_cache = !live->cache;
	if (!r && live->vms && live->own_cache)
		r = vms_cache_new(&live->cache, options->cache_bytes, err);
	if (!r && with_base)
		r = live_base_open(live, &live->info, &image.base, err);
	else if (!r && live->info.present)
		r = absent_base(live->info.size_bytes, &image.base, err);
	if (r)
		return r;
	r = image_open(&live->image, live->io, live->path, &image, err);
	return r == -EBUSY && options->ask_server ? open_served(live, err) : r;
}

static void live_free(struct vms_live *live)
{
	control_close(live->server);
	if (live->own_cache)
		vms_cache_free(live->cache);
	free(live->path);
	free(live);
}

int vms_live_open(struct vms_live **out, const struct vms_live_options *options,
		  struct err *err)
{
	struct vms_live *live = NULL;
	int r = alloc_array(&live, 1, sizeof(*live), err);

	if (r)
		return r;
	live->io = options->io;
	live->vms = options->without_base ? NULL : options->vms;
	live->path = strdup(options->path);
	r = live->path ? open_parts(live, options, err)
		       : err_set(err, -ENOMEM, "out of memory for a path");
	if (r) {
		live_free(live);
		return r;
	}
	*out = live;
	return 0;
}

int vms_live_close(struct vms_live *live, struct err *err)
{
	int r;

	if (!live)
		return 0;
	r = image_close(live->image, err);
	live_free(live);
	return r;
}

struct image *vms_live_image(struct vms_live *live)
{
	return live->image;
}

int vms_live_info(struct vms_live *live, struct image_info *out,
		  uint64_t *process, struct err *err)
{
	const struct control_greeting *greeting;
	struct control_reply reply;
	int r;

	if (!live->server) {
		*process = 0;
		return image_get_info(live->image, out, err);
	}
	r = control_ask(live->server, CONTROL_INFO, NULL, &reply, err);
	if (r)
		return r;
	greeting = control_greeting(live->server);
	*process = greeting->process;
	memcpy(reply.info.id, greeting->image, sizeof(reply.info.id));
	reply.info.base = live->info;
	*out = reply.info;
	return 0;
}

int vms_live_extent(struct vms_live *live, uint64_t offset, uint64_t length,
		    struct image_extent *out, struct err *err)
{
	return image_extent_deep(live->image, offset, length, out, err);
}

/* ---- removal ---- */

int vms_live_remove(struct vms *vms, struct vs_io *io, const char *path,
		    struct err *err)
{
	struct image_base_info info = { 0 };
	/* A damaged one may go as well; what it stood on is not known then. */
	uint8_t id[16];
	bool known = image_read_identity(io, path, id, &info, NULL) == 0;
	struct image_swap_note note;
	bool noted = known &&
		     image_read_swap_note(io, path, &note, NULL) == 0 &&
		     !memcmp(id, note.id, sizeof(id));
	int r;

	if (known && vms && info.present &&
	    memcmp(info.store_id, store_config(vms->store)->store.b,
		   sizeof(info.store_id)) != 0)
		return err_set(err, -EINVAL,
			       "image '%s' has its pin in another store", path);
	r = image_remove(io, path, err);
	if (!r)
		control_unbind(path);
	if (r || !vms)
		return r;
	if (known && info.present)
		r = live_pin_delete(vms, &info, err);
	if (!r && noted)
		r = live_swap_forget(vms, &note, err);
	if (r)
		err_prefix(err, "image '%s' is removed, but not its pin", path);
	return r;
}
