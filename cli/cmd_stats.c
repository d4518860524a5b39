/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap stats: what the store holds, and what dedup and compression save. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"

static double ratio(uint64_t whole, uint64_t part)
{
	return part ? (double)whole / (double)part : 1;
}

static json_t *buckets_json(const uint64_t *counts)
{
	json_t *out = json_array();

	for (unsigned i = 0; i < VMS_HISTOGRAM_BUCKETS; i++)
		json_array_append_new(out,
				      json_integer(json_number(counts[i])));
	return out;
}

static json_t *snapshot_json(const struct vms_stats_snapshot *s)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "id",
			 json_id(&s->id), "name", json_text(s->name), "label",
			 s->label[0] ? json_text(s->label) : json_null(),
			 "time", json_time(s->time_ns), "logical_bytes",
			 json_number(s->logical_bytes), "data_bytes",
			 json_number(s->data_bytes), "unique_bytes",
			 json_number(s->unique_bytes), "unique_stored_bytes",
			 json_number(s->unique_stored_bytes));
}

static int tell_json(const struct cli *cli, const struct vms_stats *s,
		     struct err *err)
{
	json_t *snapshots = json_array(), *document;

	for (size_t i = 0; i < s->snapshot_count; i++)
		if (json_array_append_new(
			    snapshots, snapshot_json(&s->snapshots[i])) < 0) {
			json_decref(snapshots);
			return err_set(err, -ENOMEM, "out of memory for JSON");
		}
	document = json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, "
		"s:f, s:I, s:o}",
		"type", "stats", "logical_bytes", json_number(s->logical_bytes),
		"data_bytes", json_number(s->data_bytes), "unique_bytes",
		json_number(s->unique_bytes), "unique_stored_bytes",
		json_number(s->unique_stored_bytes), "store_bytes",
		json_number(s->store_bytes), "unreferenced_bytes",
		json_number(s->unreferenced_bytes), "chunks",
		json_number(s->chunks), "nodes", json_number(s->nodes), "packs",
		json_number(s->packs), "tables", json_number(s->tables),
		"dedup_ratio", ratio(s->data_bytes, s->unique_bytes),
		"compression_ratio",
		ratio(s->unique_bytes, s->unique_stored_bytes),
		"damaged_objects", json_number(s->damaged), "snapshots",
		snapshots);
	if (document && cli_given(cli, OPT_HISTOGRAM)) {
		json_object_set_new(document, "by_ratio",
				    buckets_json(s->by_ratio));
		json_object_set_new(document, "by_references",
				    buckets_json(s->by_references));
	}
	return json_say(document, err);
}

static void bar(const char *left, uint64_t count, uint64_t most)
{
	char stars[41] = "";
	unsigned length =
		most ? (unsigned)((double)count * 40 / (double)most) : 0;

	memset(stars, '#', length);
	stars[length] = 0;
	say("  %-14s %12llu  %s\n", left, (unsigned long long)count, stars);
}

static uint64_t most_of(const uint64_t *counts)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < VMS_HISTOGRAM_BUCKETS; i++)
		most = max_u64(most, counts[i]);
	return most;
}

static void tell_histogram(const struct vms_stats *s)
{
	char left[40];

	say("\nchunks by what is left of them after compression\n");
	for (unsigned i = 0; i < VMS_HISTOGRAM_BUCKETS; i++) {
		snprintf(left, sizeof(left), "%3u%% to %3u%%", i * 100 / 32,
			 (i + 1) * 100 / 32);
		if (s->by_ratio[i])
			bar(left, s->by_ratio[i], most_of(s->by_ratio));
	}
	say("\nchunks by how often they are referenced\n");
	for (unsigned i = 0; i < VMS_HISTOGRAM_BUCKETS; i++) {
		snprintf(left, sizeof(left), "from %llu", 1ULL << i);
		if (s->by_references[i])
			bar(left, s->by_references[i],
			    most_of(s->by_references));
	}
}

static void tell_text(const struct vms_stats *s)
{
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX],
		time[TIME_TEXT_MAX], name[2 * NAME_MAX_SIZE + 4];

	say("snapshots     %zu\n", s->snapshot_count);
	say("logical       %s, data %s\n", size_text(a, s->logical_bytes),
	    size_text(b, s->data_bytes));
	say("unique        %s in %llu chunk%s (dedup %.2f)\n",
	    size_text(a, s->unique_bytes), (unsigned long long)s->chunks,
	    s->chunks == 1 ? "" : "s", ratio(s->data_bytes, s->unique_bytes));
	say("stored        %s (compression %.2f)\n",
	    size_text(a, s->unique_stored_bytes),
	    ratio(s->unique_bytes, s->unique_stored_bytes));
	say("store         %s: %llu pack%s, %llu table%s, %llu tree nodes\n",
	    size_text(a, s->store_bytes), (unsigned long long)s->packs,
	    s->packs == 1 ? "" : "s", (unsigned long long)s->tables,
	    s->tables == 1 ? "" : "s", (unsigned long long)s->nodes);
	say("unreferenced  %s\n", size_text(a, s->unreferenced_bytes));
	if (s->snapshot_count)
		say("\n%-24s %-19s %10s %10s %10s\n", "SNAPSHOT", "TIME",
		    "DATA", "ONLY HERE", "STORED");
	for (size_t i = 0; i < s->snapshot_count; i++) {
		const struct vms_stats_snapshot *one = &s->snapshots[i];

		snprintf(name, sizeof(name), "%s%s%s", one->name,
			 one->label[0] ? "@" : "", one->label);
		say("%-24s %-19s %10s %10s %10s\n", name,
		    time_text(time, one->time_ns),
		    size_text(a, one->data_bytes),
		    size_text(b, one->unique_bytes),
		    size_text(c, one->unique_stored_bytes));
	}
}

int cmd_stats(struct cli *cli, struct err *err)
{
	struct vms_stats stats = { 0 };
	autovms struct vms *vms = NULL;
	int r;

	r = cli_open(cli, STORE_READ, false, &vms, err);
	if (r < 0)
		return r;
	r = progress_begin(cli, err);
	if (r < 0)
		return r;
	r = vms_stats(vms, &cli->progress, &stats, err);
	progress_end(cli);
	if (r < 0)
		return r;
	if (cli_given(cli, OPT_JSON)) {
		r = tell_json(cli, &stats, err);
	} else {
		tell_text(&stats);
		if (cli_given(cli, OPT_HISTOGRAM))
			tell_histogram(&stats);
	}
	if (stats.damaged) {
		report_line(cli,
			    "%llu object%s can't be read and %s left out: "
			    "vmsnap check tells which",
			    (unsigned long long)stats.damaged,
			    stats.damaged == 1 ? "" : "s",
			    stats.damaged == 1 ? "is" : "are");
		r = r < 0 ? r : STATUS_CORRUPT;
	}
	vms_stats_release(&stats);
	return r;
}
