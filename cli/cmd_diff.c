/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmsnap diff: how much differs between snapshots or images, and with --map
 * where. Ranges are told as they
 * are found, joined where they touch: memory does not grow with their number.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/image.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"

struct map {
	struct cli *cli;
	char disk[NAME_MAX_SIZE + 1];
	struct range range; /* not told yet; length 0: none */
};

static int map_tell(struct map *map, struct range range, struct err *err)
{
	if (cli_given(map->cli, OPT_JSON))
		return json_say(
			json_pack("{s:s, s:s, s:I, s:I}", "type", "range",
				  "disk", map->disk, "offset_bytes",
				  json_number(range.offset), "length_bytes",
				  json_number(range.length)),
			err);
	say("%s %llu %llu\n", map->disk, (unsigned long long)range.offset,
	    (unsigned long long)range.length);
	return 0;
}

static int map_flush(struct map *map, struct err *err)
{
	struct range range = map->range;
	int r;

	if (!range.length)
		return 0;
	map->range.length = 0;
	/* Both may be the same terminal. */
	progress_pause();
	r = map_tell(map, range, err);
	progress_resume();
	return r;
}

static int map_range(void *arg, const char *disk, uint64_t offset,
		     uint64_t length, struct err *err)
{
	struct map *map = arg;
	int r;

	if (map->range.length && !strcmp(map->disk, disk) &&
	    map->range.offset + map->range.length == offset) {
		map->range.length += length;
		return 0;
	}
	r = map_flush(map, err);
	if (r < 0)
		return r;
	snprintf(map->disk, sizeof(map->disk), "%s", disk);
	map->range = (struct range){ .offset = offset, .length = length };
	return 0;
}

static json_t *disk_json(const struct vms_diff_disk *d)
{
	return json_pack("{s:s, s:b, s:b, s:I, s:I, s:I}", "name", d->name,
			 "in_a", d->in_a, "in_b", d->in_b, "size_a_bytes",
			 json_number(d->size_a), "size_b_bytes",
			 json_number(d->size_b), "differing_bytes",
			 json_number(d->differing_bytes));
}

/* A snapshot, or an image. */
struct side {
	const char *text; /* as it was given */
	bool is_image;
	struct cli_image image;
	struct snapshot snapshot;
};

static json_t *side_json(const struct side *side)
{
	return side->is_image ? json_text(side->text)
			      : json_id(&side->snapshot.id);
}

static int tell_json(const struct side sides[2],
		     const struct vms_diff_disk *disks, size_t count,
		     struct err *err)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, disk_json(&disks[i]));
	return json_say(json_pack("{s:s, s:o, s:o, s:o}", "type", "diff", "a",
				  side_json(&sides[0]), "b",
				  side_json(&sides[1]), "disks", list),
			err);
}

static void tell_disk(const struct vms_diff_disk *d)
{
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX];

	if (!d->in_a || !d->in_b) {
		say("%s: only in the %s, %s\n", d->name,
		    d->in_a ? "first" : "second",
		    size_text(a, d->in_a ? d->size_a : d->size_b));
		return;
	}
	say("%s: %s of %s differ (%llu bytes)", d->name,
	    size_text(a, d->differing_bytes),
	    size_text(b, max_u64(d->size_a, d->size_b)),
	    (unsigned long long)d->differing_bytes);
	if (d->size_a != d->size_b)
		say(", size %llu became %llu", (unsigned long long)d->size_a,
		    (unsigned long long)d->size_b);
	say("\n");
}

/* ---- the sides ---- */

/* NAME@LABEL can't look like this; a snapshot NAME that does is NAME@latest. */
static bool names_image(const char *text)
{
	size_t size = strlen(text);

	return strchr(text, '/') ||
	       (size > 4 && !strcmp(text + size - 4, ".vsi"));
}

static int side_init(struct side *side, const char *text, struct err *err)
{
	side->text = text;
	side->is_image = names_image(text);
	if (!side->is_image)
		return 0;
	side->image.path = text;
	side->image.io = io_new(err);
	if (!side->image.io)
		return err->code ? err->code : -EIO;
	return image_read_base_info(side->image.io, text, &side->image.base,
				    err);
}

/* That of --store, or of the first image that has a base, or VMSNAP_STORE. */
static int open_store(struct cli *cli, struct side sides[2], struct vms **out,
		      struct err *err)
{
	int r;

	for (unsigned n = 0; n < 2; n++) {
		struct cli_image *image = &sides[n].image;

		if (!sides[n].is_image || !image->base.present)
			continue;
		r = cli_image_open_store(cli, STORE_READ, image, err);
		*out = image->vms;
		image->vms = NULL;
		return r;
	}
	if (sides[0].is_image && sides[1].is_image)
		return 0;
	return cli_open(cli, STORE_READ, false, out, err);
}

static int side_open(struct cli *cli, struct side *side, struct vms *vms,
		     struct err *err)
{
	int r;

	if (!side->is_image)
		return vms_find_snapshot(vms, side->text, &side->snapshot, err);
	side->image.vms = side->image.base.present ? vms : NULL;
	r = cli_image_open_live(cli, IMAGE_READ_ONLY, false, &side->image, err);
	side->image.vms = NULL;
	return r;
}

static int side_close(struct side *side, int r, struct err *err)
{
	snapshot_release(&side->snapshot);
	return side->is_image ? cli_image_close(&side->image, r, err) : r;
}

/* ---- the difference ---- */

static int diff_images(struct cli *cli, struct vms *vms, struct side sides[2],
		       struct map *map, struct vms_diff_result *result,
		       struct err *err)
{
	struct vms_diff_side from[2] = { 0 };
	int r = alloc_array(&result->disks, 1, sizeof(*result->disks), err);

	for (unsigned n = 0; n < 2; n++) {
		from[n].live = sides[n].image.live;
		from[n].snapshot = &sides[n].snapshot;
		from[n].disk = cli_value(cli, OPT_DISK);
	}
	result->count = 1;
	return r ? r
		 : vms_diff_image(vms, &from[0], &from[1],
				  map ? map_range : NULL, map, &cli->progress,
				  result->disks, err);
}

static int diff(struct cli *cli, struct vms *vms, struct side sides[2],
		struct err *err)
{
	struct vms_diff_result result = { 0 };
	bool with_map = cli_given(cli, OPT_MAP);
	struct map map = { .cli = cli };
	int r = progress_begin(cli, err);

	if (r < 0)
		return r;
	if (sides[0].is_image || sides[1].is_image)
		r = diff_images(cli, vms, sides, with_map ? &map : NULL,
				&result, err);
	else
		r = vms_diff(vms, &sides[0].snapshot, &sides[1].snapshot,
			     with_map ? map_range : NULL, &map, &cli->progress,
			     &result, err);
	if (r == 0)
		r = map_flush(&map, err);
	progress_end(cli);
	if (r == 0 && cli_given(cli, OPT_JSON))
		r = tell_json(sides, result.disks, result.count, err);
	else if (r == 0 && !with_map)
		for (size_t i = 0; i < result.count; i++)
			tell_disk(&result.disks[i]);
	vms_diff_result_release(&result);
	return r;
}

int cmd_diff(struct cli *cli, struct err *err)
{
	struct side sides[2] = { 0 };
	autovms struct vms *vms = NULL;
	int r = 0;

	for (unsigned n = 0; n < 2 && r == 0; n++)
		r = side_init(&sides[n], cli->options.arguments[n], err);
	if (r == 0 && cli_given(cli, OPT_DISK) &&
	    sides[0].is_image == sides[1].is_image)
		r = err_set(err, -EINVAL,
			    "--disk is for a snapshot beside an image");
	if (r == 0)
		r = open_store(cli, sides, &vms, err);
	for (unsigned n = 0; n < 2 && r == 0; n++)
		r = side_open(cli, &sides[n], vms, err);
	if (r == 0)
		r = diff(cli, vms, sides, err);
	for (unsigned n = 0; n < 2; n++)
		r = side_close(&sides[n], r, err);
	return r;
}
