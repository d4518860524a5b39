/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmsnap diff: how much differs, and with --map where. Ranges are told as they
 * are found, joined where they touch: memory does not grow with their number.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/report.h"
#include "cli/text.h"

struct map {
	struct cli *cli;
	char disk[NAME_MAX_SIZE + 1];
	struct range range; /* not told yet; length 0: none */
};

static int map_flush(struct map *map, struct err *err)
{
	struct range range = map->range;

	if (!range.length)
		return 0;
	map->range.length = 0;
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

static int tell_json(const struct snapshot *a, const struct snapshot *b,
		     const struct vms_diff_result *result, struct err *err)
{
	json_t *disks = json_array();

	for (size_t i = 0; i < result->count; i++)
		json_array_append_new(disks, disk_json(&result->disks[i]));
	return json_say(json_pack("{s:s, s:o, s:o, s:o}", "type", "diff", "a",
				  json_id(&a->id), "b", json_id(&b->id),
				  "disks", disks),
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

int cmd_diff(struct cli *cli, struct err *err)
{
	autosnapshot struct snapshot a = { 0 }, b = { 0 };
	struct vms_diff_result result = { 0 };
	autovms struct vms *vms = NULL;
	bool with_map = cli_given(cli, OPT_MAP);
	struct map map = { .cli = cli };
	int r;

	r = cli_open(cli, STORE_READ, false, &vms, err);
	if (r < 0)
		return r;
	r = vms_find_snapshot(vms, cli->options.arguments[0], &a, err);
	if (r < 0)
		return r;
	r = vms_find_snapshot(vms, cli->options.arguments[1], &b, err);
	if (r < 0)
		return r;
	r = vms_diff(vms, &a, &b, with_map ? map_range : NULL, &map, &result,
		     err);
	if (r == 0)
		r = map_flush(&map, err);
	if (r == 0 && cli_given(cli, OPT_JSON))
		r = tell_json(&a, &b, &result, err);
	else if (r == 0 && !with_map)
		for (size_t i = 0; i < result.count; i++)
			tell_disk(&result.disks[i]);
	vms_diff_result_release(&result);
	return r;
}
