/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap image create, info, rm: a live disk's life without a machine. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/image.h"
#include "cli/json.h"
#include "cli/report.h"
#include "cli/text.h"

/* ---- create ---- */

static int tell_created(struct cli *cli, const struct vms_live_create *create,
			struct err *err)
{
	char size[SIZE_TEXT_MAX], id[SHORT_ID_SIZE], path[2048];
	const struct snapshot *from = create->snapshot;
	struct image_base_info base;
	uint64_t bytes = create->size_bytes;
	int r = image_read_base_info(create->io, create->path, &base, err);

	if (r < 0)
		return r;
	if (!bytes)
		bytes = div_up(base.size_bytes, 512) * 512;
	if (cli_given(cli, OPT_JSON))
		return json_say(
			json_pack("{s:s, s:o, s:I, s:o, s:o}", "type", "image",
				  "file", json_text(create->path), "size_bytes",
				  json_number(bytes), "snapshot",
				  from ? json_id(&from->id) : json_null(),
				  "disk",
				  from ? json_text(base.disk) : json_null()),
			err);
	if (!cli_talks(cli))
		return 0;
	say("%s: %s, ", escape_name(path, sizeof(path), create->path),
	    size_text(size, bytes));
	if (from)
		say("from %s, snapshot %s, %s\n", from->name,
		    short_id(id, &from->id), base.disk);
	else
		say("blank\n");
	return 0;
}

static int create_with(struct cli *cli, const struct vms_live_create *create,
		       struct err *err)
{
	autosnapshot struct snapshot snapshot = { 0 };
	autovms struct vms *vms = NULL;
	struct vms_live_create how = *create;
	struct err why = { 0 };
	int r = 0;

	if (cli_given(cli, OPT_FROM)) {
		/* A store that can't be written to still gives an image. */
		r = cli_open(cli, STORE_WRITE, false, &vms, &why);
		if (r == -EROFS || r == -EACCES || r == -EPERM)
			r = cli_open(cli, STORE_READ, false, &vms, err);
		else if (r < 0)
			*err = why;
		if (r == 0)
			r = vms_find_snapshot(vms, cli_value(cli, OPT_FROM),
					      &snapshot, err);
		how.snapshot = &snapshot;
	}
	if (r == 0)
		r = vms_live_create(vms, &how, err);
	return r < 0 ? r : tell_created(cli, &how, err);
}

int cmd_image_create(struct cli *cli, struct err *err)
{
	struct vms_live_create create = {
		.path = cli->options.arguments[0],
		.disk = cli_value(cli, OPT_DISK),
		.warn = report_warn,
		.warn_arg = cli,
	};
	int r = 0;

	if (cli_given(cli, OPT_SIZE))
		r = size_parse("--size", cli_value(cli, OPT_SIZE),
			       &create.size_bytes, err);
	else if (!cli_given(cli, OPT_FROM))
		r = err_set(err, -EINVAL,
			    "from what? --from SNAPSHOT, or --size N for a "
			    "blank disk");
	if (r == 0 && create.disk && !cli_given(cli, OPT_FROM))
		r = err_set(err, -EINVAL, "--disk goes with --from only");
	if (r < 0)
		return r;
	create.io = io_new(err);
	if (!create.io)
		return err->code ? err->code : -EIO;
	r = create_with(cli, &create, err);
	io_free(create.io);
	return r;
}

/* ---- info ---- */

static json_t *json_base(const struct image_base_info *base)
{
	char pin[SMALL_ID_HEX_SIZE];
	struct id root, snapshot;

	if (!base->present)
		return json_null();
	memcpy(root.b, base->root, ID_SIZE);
	memcpy(snapshot.b, base->snapshot, ID_SIZE);
	hex_encode(pin, base->pin, sizeof(base->pin));
	return json_pack(
		"{s:o, s:o, s:I, s:I, s:o, s:o, s:o}", "store",
		json_text(base->store), "disk", json_text(base->disk),
		"size_bytes", json_number(base->size_bytes), "chunk_bytes",
		json_number(1ULL << base->chunk_log2), "root", json_id(&root),
		"snapshot", json_id(&snapshot), "pin",
		bytes_are_zero(base->pin, sizeof(base->pin)) ? json_null()
							     : json_text(pin));
}

static void info_text(const char *file, const struct image_info *info,
		      uint64_t process)
{
	const struct image_base_info *base = &info->base;
	char size[SIZE_TEXT_MAX], path[2048], id[SHORT_ID_SIZE];
	struct id snapshot;

	say("%s\n", escape_name(path, sizeof(path), file));
	say("size       %s\n", size_text(size, info->size_bytes));
	say("layers     %llu (%llu to %llu)\n",
	    (unsigned long long)(info->top_layer - info->first_layer + 1),
	    (unsigned long long)info->first_layer,
	    (unsigned long long)info->top_layer);
	say("data       %s\n", size_text(size, info->data_bytes));
	say("on disk    %s\n", size_text(size, info->file_bytes));
	if (process)
		say("served by  process %llu\n", (unsigned long long)process);
	if (info->damaged)
		say("DAMAGED    'vmsnap image check' says where\n");
	if (!base->present) {
		say("base       none\n");
		return;
	}
	say("base       %s, %s", escape_name(path, sizeof(path), base->disk),
	    size_text(size, base->size_bytes));
	memcpy(snapshot.b, base->snapshot, ID_SIZE);
	if (!id_is_null(&snapshot))
		say(", snapshot %s", short_id(id, &snapshot));
	say("\nstore      %s\n", escape_name(path, sizeof(path), base->store));
	if (bytes_are_zero(base->pin, sizeof(base->pin)))
		say("pin        none: the store does not know of this image\n");
}

int cmd_image_info(struct cli *cli, struct err *err)
{
	struct cli_image image;
	struct image_info info;
	uint64_t process;
	int r = cli_image_open_or_ask(cli, IMAGE_READ_ONLY, IMAGE_STORE_NONE,
				      &image, err);

	if (r == 0)
		r = vms_live_info(image.live, &info, &process, err);
	if (r == 0 && cli_given(cli, OPT_JSON))
		r = json_say(
			json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:b, "
				  "s:o, s:o}",
				  "type", "image", "file",
				  json_text(image.path), "size_bytes",
				  json_number(info.size_bytes), "first_layer",
				  json_number(info.first_layer), "top_layer",
				  json_number(info.top_layer), "data_bytes",
				  json_number(info.data_bytes), "file_bytes",
				  json_number(info.file_bytes), "damaged",
				  info.damaged, "base", json_base(&info.base),
				  "process",
				  process ? json_integer(json_number(process))
					  : json_null()),
			err);
	else if (r == 0)
		info_text(image.path, &info, process);
	return cli_image_close(&image, r, err);
}

/* ---- rm ---- */

static bool has_pin(const struct image_base_info *base)
{
	return base->present && !bytes_are_zero(base->pin, sizeof(base->pin));
}

int cmd_image_rm(struct cli *cli, struct err *err)
{
	struct cli_image image = { .path = cli->options.arguments[0] };
	int r = 0;

	image.io = io_new(err);
	if (!image.io)
		return err->code ? err->code : -EIO;
	/* A damaged head says nothing of a pin; a missing file is told below. */
	if (image_read_base_info(image.io, image.path, &image.base, NULL) ==
		    0 &&
	    has_pin(&image.base)) {
		r = cli_image_open_store(cli, STORE_WRITE, &image, err);
		if (r < 0 && cli_given(cli, OPT_FORCE)) {
			report_warning(cli, "its pin stays: %s", err->text);
			r = 0;
		} else if (r < 0) {
			err_prefix(err, "the pin of '%s' (--force leaves it)",
				   image.path);
		}
	}
	if (r == 0)
		r = vms_live_remove(image.vms, image.io, image.path, err);
	if (r == 0 && cli_given(cli, OPT_JSON))
		r = json_say(json_pack("{s:s, s:o}", "type", "image-removed",
				       "file", json_text(image.path)),
			     err);
	return cli_image_close(&image, r, err);
}
