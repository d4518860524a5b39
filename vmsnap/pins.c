/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does anything stand on a pin? That is told from what can be seen here: the
 * image at the path that the pin names, the note of a base that is to come, and
 * the other images of that folder, since one may have got another name. A pin
 * of another host, of another kind of owner, or of a folder that is not there
 * (a file system that is not mounted) is left alone.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmsnap/live.h"

struct judge {
	struct vs_io *io;
	const char *path;
	char folder[PATH_MAX];
	uint8_t id[SMALL_ID_SIZE];
	struct vms_pin_verdict *out;
};

static enum vms_pin_state say(struct judge *judge, enum vms_pin_state state,
			      const char *format, const char *what)
{
	struct err words;

	(void)err_set(&words, -EIO, format, what);
	judge->out->state = state;
	memcpy(judge->out->why, words.text, sizeof(judge->out->why));
	return state;
}

static bool is_pin(const struct judge *judge,
		   const struct image_base_info *info)
{
	return info->present && !memcmp(info->pin, judge->id, SMALL_ID_SIZE);
}

/* 1: it names the pin; 0: it does not; -ENOENT; -errno: who knows. */
static int image_names(struct judge *judge, const char *path)
{
	struct image_base_info info;
	struct io_stat st;
	/* A pin may name any path: nothing is opened that could block. */
	int r = judge->io->ops->stat(judge->io, path, &st, NULL);

	if (r)
		return r;
	if (st.kind != IO_KIND_FILE)
		return -EBADMSG;
	r = image_read_base_info(judge->io, path, &info, NULL);
	return r ? r : is_pin(judge, &info);
}

static int note_names(struct judge *judge)
{
	struct image_swap_note note;
	int r = image_read_swap_note(judge->io, judge->path, &note, NULL);

	if (r)
		return r;
	return is_pin(judge, &note.from) || is_pin(judge, &note.to);
}

static int look_at(void *arg, const char *name)
{
	struct judge *judge = arg;
	size_t size = strlen(name);
	autofree char *path = NULL;

	if (size < 5 || strcmp(name + size - 4, ".vsi") != 0)
		return 0;
	if (asprintf(&path, "%s/%s", judge->folder, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (image_names(judge, path) == 1)
		(void)say(
			judge, VMS_PIN_USED,
			"image '%s' stands on it ('vmsnap image rm' removes both)",
			path);
	return 0;
}

static enum vms_pin_state look_around(struct judge *judge)
{
	int r;

	judge->out->state = VMS_PIN_GONE;
	r = judge->io->ops->list(judge->io,
				 *judge->folder ? judge->folder : "/", look_at,
				 judge, NULL);
	if (r)
		return say(
			judge, VMS_PIN_UNKNOWN,
			"the folder '%s' can't be looked into: is its file system mounted?",
			judge->folder);
	if (judge->out->state == VMS_PIN_GONE)
		(void)say(judge, VMS_PIN_GONE, "no image at '%s' stands on it",
			  judge->path);
	return judge->out->state;
}

static enum vms_pin_state judge_path(struct judge *judge)
{
	const char *slash = strrchr(judge->path, '/');
	int r;

	/* Names that are no text were written down in another form. */
	if (*judge->path != '/' || strstr(judge->path, "\\x"))
		return say(judge, VMS_PIN_UNKNOWN,
			   "its path '%s' can't be followed", judge->path);
	memcpy(judge->folder, judge->path, (size_t)(slash - judge->path));
	r = image_names(judge, judge->path);
	if (r == 1)
		return say(
			judge, VMS_PIN_USED,
			"image '%s' stands on it ('vmsnap image rm' removes both)",
			judge->path);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		return say(judge, VMS_PIN_UNKNOWN,
			   "'%s' can't be read as an image", judge->path);
	if (r == 0 && note_names(judge) == 1)
		return say(
			judge, VMS_PIN_USED,
			"image '%s' is about to get another base, or that was broken off: the next 'vmsnap image absorb' removes the pin too many",
			judge->path);
	return look_around(judge);
}

void vms_pin_judge(struct vs_io *io, const char *id_hex, const struct pin *pin,
		   struct vms_pin_verdict *out)
{
	char host[SNAPSHOT_TEXT_MAX + 1] = "";
	struct judge judge = { .io = io, .path = pin->path, .out = out };

	gethostname(host, sizeof(host) - 1);
	if (hex_decode(judge.id, SMALL_ID_SIZE, id_hex, strlen(id_hex)) ||
	    strcmp(pin->owner, "image") != 0)
		(void)say(&judge, VMS_PIN_UNKNOWN, "its owner is a '%s'",
			  pin->owner);
	else if (!pin->host || !pin->path)
		(void)say(&judge, VMS_PIN_UNKNOWN, "it does not say %s",
			  pin->host ? "which file" : "which host");
	else if (strcmp(pin->host, host) != 0)
		(void)say(&judge, VMS_PIN_UNKNOWN,
			  "it is of the host '%s': look there", pin->host);
	else if (strlen(pin->path) >= PATH_MAX)
		(void)say(&judge, VMS_PIN_UNKNOWN, "its path is too long%s",
			  "");
	else
		(void)judge_path(&judge);
}

/* ---- removal ---- */

struct find {
	const char *prefix;
	char id_hex[SMALL_ID_HEX_SIZE];
	unsigned count;
};

static int find_one(void *arg, const char *id_hex, struct err *err)
{
	struct find *find = arg;

	(void)err;
	if (!strncmp(id_hex, find->prefix, strlen(find->prefix))) {
		snprintf(find->id_hex, sizeof(find->id_hex), "%s", id_hex);
		find->count++;
	}
	return 0;
}

static int find_pin(struct vms *vms, const char *prefix,
		    char out[SMALL_ID_HEX_SIZE], struct err *err)
{
	struct find find = { .prefix = prefix };
	int r;

	if (strlen(prefix) < 8)
		return err_set(err, -EINVAL,
			       "pin '%s': at least 8 digits of its id, please "
			       "('vmsnap list --pins')",
			       prefix);
	r = store_each_pin(vms->store, find_one, &find, err);
	if (r)
		return r;
	if (!find.count)
		return err_set(err, -ENOENT,
			       "pin '%s': there is none such ('vmsnap list "
			       "--pins' shows all)",
			       prefix);
	if (find.count > 1)
		return err_set(err, -EINVAL,
			       "pin '%s': %u begin so, give more digits",
			       prefix, find.count);
	memcpy(out, find.id_hex, sizeof(find.id_hex));
	return 0;
}

static int check_unused(struct vms *vms, struct vs_io *io, const char *id_hex,
			bool force, struct err *err)
{
	struct store_thread *thread = vms_thread_take(vms, err);
	struct vms_pin_verdict verdict;
	struct pin pin = { 0 };
	int r = -ENOMEM;

	if (thread)
		r = store_load_pin(thread, id_hex, &pin, err);
	vms_thread_give(vms, thread);
	if (r == -EBADMSG && force)
		return 0;
	if (r)
		return r;
	vms_pin_judge(io, id_hex, &pin, &verdict);
	pin_release(&pin);
	if (verdict.state == VMS_PIN_USED)
		return err_set(err, -EBUSY, "pin %s stays: %s", id_hex,
			       verdict.why);
	if (verdict.state == VMS_PIN_UNKNOWN && !force)
		return err_set(
			err, -EPERM,
			"pin %s stays: %s; --force removes it, and what stands on it may lose its base",
			id_hex, verdict.why);
	return 0;
}

int vms_pin_remove(struct vms *vms, struct vs_io *io, const char *prefix,
		   bool force, char id_hex[SMALL_ID_HEX_SIZE], struct err *err)
{
	char found[SMALL_ID_HEX_SIZE];
	int r = find_pin(vms, prefix, found, err);

	if (!r)
		r = check_unused(vms, io, found, force, err);
	if (!r)
		r = store_delete_pin(vms->store, found, err);
	if (!r)
		memcpy(id_hex, found, sizeof(found));
	return r;
}
