/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap image map, check: what stands where, and whether it is whole. The map's
 * JSON is that of `qemu-img map`: depth 0 is the top layer, the greatest the
 * base. */
#include <errno.h>
#include <stdio.h>

#include "cli/image.h"
#include "cli/json.h"
#include "cli/report.h"
#include "cli/text.h"

/* ---- map ---- */

struct map {
	struct cli *cli;
	const char *path;
	struct image_info info;
	json_t *list; /* NULL: lines of text */
};

static json_t *json_extent(const struct map *map, const struct image_extent *at)
{
	uint64_t layers = map->info.top_layer - map->info.first_layer + 1;
	uint64_t depth = at->layer ? map->info.top_layer - at->layer : layers;
	bool data = at->kind != IMAGE_EXTENT_ZERO;
	json_t *out;

	if (!at->layer && !map->info.base.present)
		depth = layers - 1;
	out = json_pack("{s:I, s:I, s:I, s:b, s:b, s:b}", "start",
			json_number(at->offset), "length",
			json_number(at->length), "depth", json_number(depth),
			"present", at->layer || data, "zero", !data, "data",
			data);
	if (out && at->kind == IMAGE_EXTENT_DATA) {
		char file[4096];

		snprintf(file, sizeof(file), "%s.%llu", map->path,
			 (unsigned long long)at->layer);
		json_object_set_new(out, "offset",
				    json_integer(json_number(at->file_offset)));
		json_object_set_new(out, "filename", json_text(file));
	}
	return out;
}

static int tell_extent(struct map *map, const struct image_extent *at,
		       struct err *err)
{
	char where[64] = "base";

	if (map->list)
		return json_array_append_new(map->list, json_extent(map, at))
			       ? err_set(err, -ENOMEM, "out of memory for JSON")
			       : 0;
	if (at->layer)
		snprintf(where, sizeof(where), "layer %llu",
			 (unsigned long long)at->layer);
	if (at->kind == IMAGE_EXTENT_ZERO)
		say("%llu %llu zero\n", (unsigned long long)at->offset,
		    (unsigned long long)at->length);
	else
		say("%llu %llu %s\n", (unsigned long long)at->offset,
		    (unsigned long long)at->length, where);
	return 0;
}

static bool goes_on(const struct image_extent *a, const struct image_extent *b)
{
	return a->kind == b->kind && a->layer == b->layer &&
	       a->kind != IMAGE_EXTENT_DATA;
}

static int tell_map(struct map *map, struct vms_live *live, struct err *err)
{
	struct image_extent now = { 0 }, next;
	uint64_t size = map->info.size_bytes;
	int r = 0;

	for (uint64_t at = 0; !r && at < size; at += next.length) {
		r = vms_live_extent(live, at, size - at, &next, err);
		if (r < 0)
			return r;
		if (now.length && goes_on(&now, &next)) {
			now.length += next.length;
			continue;
		}
		if (now.length)
			r = tell_extent(map, &now, err);
		now = next;
	}
	return r ? r : tell_extent(map, &now, err);
}

int cmd_image_map(struct cli *cli, struct err *err)
{
	struct map map = { .cli = cli };
	struct cli_image image;
	int r = cli_image_open(cli, IMAGE_READ_ONLY, IMAGE_STORE_READ, &image,
			       err);

	map.path = image.path;
	if (r == 0)
		r = image_get_info(vms_live_image(image.live), &map.info, err);
	if (r == 0 && cli_given(cli, OPT_JSON))
		map.list = json_array();
	if (r == 0)
		r = tell_map(&map, image.live, err);
	if (r == 0 && map.list)
		r = json_say(map.list, err);
	else
		json_decref(map.list);
	return cli_image_close(&image, r, err);
}

/* ---- check ---- */

struct check {
	struct cli *cli;
	json_t *errors; /* NULL: lines of text */
	bool hurts;     /* one of them hurts what the image holds */
};

static void tell_breach(void *arg, const char *file, const char *what,
			uint64_t offset, uint64_t length)
{
	struct check *check = arg;
	char safe[2048];

	check->hurts |= length > 0;
	if (check->errors)
		(void)json_array_append_new(
			check->errors,
			json_pack("{s:o, s:o, s:I, s:I}", "file",
				  json_text(file), "what", json_text(what),
				  "offset_bytes", json_number(offset),
				  "length_bytes", json_number(length)));
	else if (length)
		say("%s: %s (hurts %llu bytes at %llu)\n",
		    escape_name(safe, sizeof(safe), file), what,
		    (unsigned long long)length, (unsigned long long)offset);
	else
		say("%s: %s\n", escape_name(safe, sizeof(safe), file), what);
}

static int run_check(struct cli *cli, struct vs_io *io, struct err *err)
{
	const char *path = cli->options.arguments[0];
	struct check check = { .cli = cli };
	bool repair = cli_given(cli, OPT_REPAIR), remains;
	int r, count;

	if (cli_given(cli, OPT_JSON))
		check.errors = json_array();
	count = image_check(io, path, repair, tell_breach, &check, err);
	if (count < 0) {
		json_decref(check.errors);
		return count;
	}
	/* A superblock's twin is mended from the other, and all is there. */
	remains = repair ? check.hurts : count > 0;
	if (check.errors) {
		r = json_say(json_pack("{s:s, s:o, s:b, s:b, s:o}", "type",
				       "image-check", "file", json_text(path),
				       "repair", repair, "damaged", remains,
				       "errors", check.errors),
			     err);
		if (r < 0)
			return r;
	} else if (cli_talks(cli)) {
		say("%d error%s%s\n", count, count == 1 ? "" : "s",
		    !count || !repair ? ""
		    : remains ? ", mended where that could be; what it says "
				"they hurt is lost"
			      : ", mended; nothing is lost");
	}
	return remains ? STATUS_CORRUPT : STATUS_DONE;
}

int cmd_image_check(struct cli *cli, struct err *err)
{
	struct vs_io *io = io_new(err);
	int r;

	if (!io)
		return err->code ? err->code : -EIO;
	r = run_check(cli, io, err);
	io_free(io);
	return r;
}
