/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap check: what is wrong with the store, and whom it hurts. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"

/* "10%", "0.5%" */
static int share_parse(const char *text, double *out, struct err *err)
{
	double percent = 0, place = 1;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++)
		percent = percent * 10 + (*at - '0');
	if (*at == '.')
		for (at++; *at >= '0' && *at <= '9'; at++)
			percent += (*at - '0') * (place /= 10);
	if (at == text || (*at == '%' ? at[1] : at[0]) || percent <= 0 ||
	    percent > 100)
		return err_set(err, -EINVAL,
			       "--read-data '%s': a share above 0%% and up to "
			       "100%%, as 10%%",
			       text);
	*out = percent / 100;
	return 0;
}

static void tell_hurt(const struct cli *cli, const struct vms_hurt *hurt)
{
	char id[SHORT_ID_SIZE];

	short_id(id, &hurt->snapshot);
	if (!hurt->ranges.count)
		report_line(cli, "  hurts %s %s%s%s",
			    hurt->name[0] ? hurt->name : "snapshot", id,
			    hurt->disk[0] ? ", " : "", hurt->disk);
	for (size_t i = 0; i < hurt->ranges.count; i++)
		report_line(cli, "  hurts %s %s, %s: %llu bytes at %llu",
			    hurt->name[0] ? hurt->name : "snapshot", id,
			    hurt->disk,
			    (unsigned long long)hurt->ranges.ranges[i].length,
			    (unsigned long long)hurt->ranges.ranges[i].offset);
}

/* The status: corruption outweighs what is only too new. */
static int tell_errors(const struct cli *cli,
		       const struct vms_check_result *result)
{
	int status = STATUS_DONE;

	for (size_t i = 0; i < result->error_count; i++) {
		const struct vms_check_error *e = &result->errors[i];

		if (!e->too_new)
			status = STATUS_CORRUPT;
		else if (status == STATUS_DONE)
			status = STATUS_UNSUPPORTED;
		report_line(cli, "%s: %s", e->object, e->what);
		for (size_t k = 0; k < e->hurt_count; k++)
			tell_hurt(cli, &e->hurt[k]);
	}
	return status;
}

static json_t *hurt_json(const struct vms_hurt *hurt)
{
	return json_pack(
		"{s:o, s:o, s:o, s:o}", "id", json_id(&hurt->snapshot), "name",
		hurt->name[0] ? json_text(hurt->name) : json_null(), "disk",
		hurt->disk[0] ? json_text(hurt->disk) : json_null(), "ranges",
		json_ranges(hurt->ranges.ranges, hurt->ranges.count));
}

static json_t *error_json(const struct vms_check_error *e)
{
	json_t *snapshots = json_array();

	for (size_t i = 0; i < e->hurt_count; i++)
		if (json_array_append_new(snapshots, hurt_json(&e->hurt[i])) <
		    0) {
			json_decref(snapshots);
			return NULL;
		}
	return json_pack("{s:o, s:o, s:b, s:o}", "object", json_text(e->object),
			 "what", json_text(e->what), "too_new", e->too_new,
			 "snapshots", snapshots);
}

static int tell_json(const struct vms_check_result *result, struct err *err)
{
	json_t *errors = json_array();

	for (size_t i = 0; i < result->error_count; i++)
		if (json_array_append_new(errors,
					  error_json(&result->errors[i])) < 0) {
			json_decref(errors);
			return err_set(err, -ENOMEM, "out of memory for JSON");
		}
	return json_say(json_pack("{s:s, s:o, s:I, s:I, s:I, s:I}", "type",
				  "check", "errors", errors, "chunks",
				  json_number(result->chunks), "read_bytes",
				  json_number(result->read_bytes), "snapshots",
				  json_number(result->snapshots), "packs",
				  json_number(result->packs)),
			err);
}

static int tell(const struct cli *cli, const struct vms_check_result *result,
		struct err *err)
{
	char size[SIZE_TEXT_MAX];
	int status, r;

	if (cli_given(cli, OPT_JSON)) {
		r = tell_json(result, err);
		if (r < 0)
			return r;
	}
	status = tell_errors(cli, result);
	if (cli_talks(cli))
		say("%llu snapshot%s, %llu chunk%s, %llu pack%s, "
		    "%s of data read: %zu error%s\n",
		    (unsigned long long)result->snapshots,
		    result->snapshots == 1 ? "" : "s",
		    (unsigned long long)result->chunks,
		    result->chunks == 1 ? "" : "s",
		    (unsigned long long)result->packs,
		    result->packs == 1 ? "" : "s",
		    size_text(size, result->read_bytes), result->error_count,
		    result->error_count == 1 ? "" : "s");
	return status;
}

int cmd_check(struct cli *cli, struct err *err)
{
	struct vms_check check = {
		.read_data = cli_given(cli, OPT_READ_DATA),
		.share = 1,
		.progress = &cli->progress,
	};
	struct vms_check_result result = { 0 };
	autovms struct vms *vms = NULL;
	int r;

	if (cli_value(cli, OPT_READ_DATA)) {
		r = share_parse(cli_value(cli, OPT_READ_DATA), &check.share,
				err);
		if (r < 0)
			return r;
	}
	r = cli_open(cli, STORE_READ, true, &vms, err);
	if (r < 0)
		return r;
	r = progress_begin(cli, err);
	if (r < 0)
		return r;
	r = vms_check(vms, &check, &result, err);
	progress_end(cli);
	if (r < 0)
		return r;
	r = tell(cli, &result, err);
	vms_check_result_release(&result);
	return r;
}
