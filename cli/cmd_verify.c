/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap verify: one snapshot, or the latest of each name. A damaged one does
 * not keep the others from being looked at. */
#include <errno.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"

struct verify {
	struct cli *cli;
	struct vms *vms;
	json_t *snapshots;
	int status;
};

static void disk_words(const struct verify *v, const struct snapshot *s,
		       const char *id, const struct vms_verify_disk *disk)
{
	for (size_t i = 0; i < disk->damaged.count; i++)
		report_line(v->cli, "%s %s: disk '%s' hurt: %llu bytes at %llu",
			    s->name, id, disk->name,
			    (unsigned long long)disk->damaged.ranges[i].length,
			    (unsigned long long)disk->damaged.ranges[i].offset);
}

static void verify_words(const struct verify *v, const struct snapshot *s,
			 const struct vms_verify_result *result,
			 const struct err *wrong)
{
	char id[SHORT_ID_SIZE], size[SIZE_TEXT_MAX], data[SIZE_TEXT_MAX];

	short_id(id, &s->id);
	if (!wrong->code) {
		if (cli_talks(v->cli))
			say("%s %s: good, %s, data %s\n", s->name, id,
			    size_text(size, result->size_bytes),
			    size_text(data, result->data_bytes));
		return;
	}
	report_line(v->cli, "%s %s: %s", s->name, id, wrong->text);
	for (size_t i = 0; i < result->disk_count; i++)
		disk_words(v, s, id, &result->disks[i]);
}

/* Of all disks, in their order. */
static json_t *json_damaged(const struct vms_verify_result *result)
{
	json_t *out = json_array();

	for (size_t i = 0; out && i < result->disk_count; i++) {
		const struct vms_verify_disk *disk = &result->disks[i];
		json_t *ranges =
			json_ranges(disk->damaged.ranges, disk->damaged.count);
		bool failed = !ranges;

		for (size_t k = 0; k < json_array_size(ranges); k++)
			failed |= json_object_set_new(
					  json_array_get(ranges, k), "disk",
					  json_text(disk->name)) < 0;
		if (failed || json_array_extend(out, ranges) < 0) {
			json_decref(out);
			out = NULL;
		}
		json_decref(ranges);
	}
	return out;
}

static int verify_json(struct verify *v, const struct snapshot *s,
		       const struct vms_verify_result *result,
		       const struct err *wrong, struct err *err)
{
	json_t *one = json_pack(
		"{s:o, s:o, s:b, s:I, s:I, s:o, s:o}", "id", json_id(&s->id),
		"name", json_text(s->name), "good", !wrong->code, "size_bytes",
		json_number(result->size_bytes), "data_bytes",
		json_number(result->data_bytes), "damaged",
		json_damaged(result), "what",
		wrong->code ? json_text(wrong->text) : json_null());

	if (json_array_append_new(v->snapshots, one) < 0)
		return err_set(err, -ENOMEM, "out of memory for JSON");
	return 0;
}

/* Damage is counted in v->status; -errno is what keeps us from going on. */
static int verify_one(struct verify *v, const struct snapshot *s,
		      struct err *err)
{
	struct vms_verify_result result = { 0 };
	struct err wrong = { .code = 0 };
	int r;

	r = vms_verify(v->vms, s, &v->cli->progress, &result, &wrong);
	if (r == -EBADMSG || r == -EOPNOTSUPP) {
		if (v->status != STATUS_CORRUPT)
			v->status = (int)status_of(r);
	} else if (r < 0) {
		if (err)
			*err = wrong;
		vms_verify_result_release(&result);
		return r;
	}
	verify_words(v, s, &result, &wrong);
	r = v->snapshots ? verify_json(v, s, &result, &wrong, err) : 0;
	vms_verify_result_release(&result);
	return r;
}

static int verify_all(struct verify *v, struct err *err)
{
	struct vms_snapshot_list list = { 0 };
	int r = vms_list_latest(v->vms, &list, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < list.damaged_count; i++) {
		const struct vms_damage *d = &list.damaged[i];

		report_line(v->cli, "%s: %s", d->object, d->why.text);
		if (v->status != STATUS_CORRUPT)
			v->status = (int)status_of(d->why.code);
	}
	for (size_t i = 0; r == 0 && i < list.count; i++)
		r = verify_one(v, &list.snapshots[i], err);
	if (r == 0 && !list.count && !list.damaged_count)
		r = err_set(err, -ENOENT, "the store has no snapshot");
	vms_snapshot_list_release(&list);
	return r;
}

static int verify_named(struct verify *v, const char *name, struct err *err)
{
	autosnapshot struct snapshot snapshot = { 0 };
	int r = vms_find_snapshot(v->vms, name, &snapshot, err);

	return r < 0 ? r : verify_one(v, &snapshot, err);
}

int cmd_verify(struct cli *cli, struct err *err)
{
	bool all = cli_given(cli, OPT_ALL_LATEST);
	struct verify v = { .cli = cli };
	autovms struct vms *vms = NULL;
	int r;

	if (all == (cli->options.argument_count > 0))
		return err_set(err, -EINVAL,
			       "either a SNAPSHOT or --all-latest");
	r = cli_open(cli, STORE_READ, false, &vms, err);
	if (r < 0)
		return r;
	v.vms = vms;
	if (cli_given(cli, OPT_JSON))
		v.snapshots = json_array();
	r = progress_begin(cli, err);
	if (r == 0) {
		r = all ? verify_all(&v, err)
			: verify_named(&v, cli->options.arguments[0], err);
		progress_end(cli);
	}
	if (r < 0) {
		json_decref(v.snapshots);
		return r;
	}
	if (cli_given(cli, OPT_JSON))
		r = json_say(json_pack("{s:s, s:o}", "type", "verify",
				       "snapshots", v.snapshots),
			     err);
	return r < 0 ? r : v.status;
}
