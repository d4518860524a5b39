/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap show: all that a manifest says. */
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/report.h"
#include "cli/text.h"

static void show_disk(const struct volume *v)
{
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], root[ID_HEX_SIZE];
	char source[2048];

	hex_encode(root, v->root.b, ID_SIZE);
	say("\ndisk      %s\n", v->name);
	say("  size    %llu bytes (%s), chunks of %s\n",
	    (unsigned long long)v->size_bytes, size_text(a, v->size_bytes),
	    size_text(b, volume_chunk_size(v)));
	say("  root    %s\n", id_is_null(&v->root) ? "none: all zeros" : root);
	if (v->source)
		say("  source  %s\n",
		    escape_name(source, sizeof(source), v->source));
	for (size_t i = 0; i < v->bad_count; i++)
		say("  bad     %llu bytes at %llu could not be read and are "
		    "zeros\n",
		    (unsigned long long)v->bad[i].length,
		    (unsigned long long)v->bad[i].offset);
}

static void show_text(const struct snapshot *s)
{
	const struct snapshot_totals *t = &s->totals;
	char a[SIZE_TEXT_MAX], hex[ID_HEX_SIZE], time[TIME_TEXT_MAX];
	char host[2048];

	hex_encode(hex, s->id.b, ID_SIZE);
	say("snapshot  %s\n", hex);
	say("name      %s\n", s->name);
	if (s->label[0])
		say("label     %s\n", s->label);
	say("time      %s (%s)\n", time_text(time, s->time_ns),
	    time_iso_text(host, s->time_ns));
	say("sequence  %llu\n", (unsigned long long)s->sequence);
	if (s->has_parent) {
		hex_encode(hex, s->parent.b, ID_SIZE);
		say("parent    %s\n", hex);
	}
	if (s->host)
		say("host      %s\n", escape_name(host, sizeof(host), s->host));
	if (s->writer)
		say("writer    %s\n",
		    escape_name(host, sizeof(host), s->writer));
	say("size      %s\n", size_text(a, t->logical_bytes));
	say("scanned   %s\n", size_text(a, t->scanned_bytes));
	say("unchanged %s\n", size_text(a, t->unchanged_bytes));
	say("new       %s", size_text(a, t->new_content_bytes));
	say(" in %llu chunks\n", (unsigned long long)t->new_chunks);
	say("stored    %s\n", size_text(a, t->stored_bytes));
	say("took      %.1f s\n", (double)t->elapsed_us / 1e6);
	for (size_t i = 0; i < s->volume_count; i++)
		show_disk(&s->volumes[i]);
}

int cmd_show(struct cli *cli, struct err *err)
{
	autosnapshot struct snapshot snapshot = { 0 };
	autovms struct vms *vms = NULL;
	int r;

	r = cli_open(cli, STORE_READ, false, &vms, err);
	if (r < 0)
		return r;
	r = vms_find_snapshot(vms, cli->options.arguments[0], &snapshot, err);
	if (r < 0)
		return r;
	if (cli_given(cli, OPT_JSON))
		return json_say(json_snapshot(&snapshot), err);
	show_text(&snapshot);
	return 0;
}
