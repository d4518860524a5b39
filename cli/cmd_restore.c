/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap restore: a disk of a snapshot to a file, a device or a pipe. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"

static int check_arguments(const struct cli *cli,
			   const struct vms_restore *restore, struct err *err)
{
	const char *format = cli_value(cli, OPT_FORMAT);
	bool to_output = !strcmp(restore->target, "-");

	if (format && strcmp(format, "raw"))
		return err_set(err, -EOPNOTSUPP,
			       "--format '%s': not in this version; restore to "
			       "a raw file, then 'qemu-img convert -f raw -O "
			       "%s FILE OUT'",
			       format, format);
	if (!to_output)
		return 0;
	if (cli_given(cli, OPT_JSON))
		return err_set(err, -EINVAL,
			       "--json and '-' both want standard output");
	if (cli_given(cli, OPT_DELTA))
		return err_set(err, -EINVAL,
			       "--delta reads its target: standard output "
			       "('-') can't be read");
	if (isatty(STDOUT_FILENO))
		return err_set(err, -EINVAL,
			       "a disk to a terminal? Send '-' to a file or a "
			       "pipe");
	if (cli->stdout_was_closed)
		return err_set(err, -EBADF, "standard output is closed");
	return 0;
}

static void tell_damage(const struct cli *cli,
			const struct vms_restore_result *result)
{
	for (size_t i = 0; i < result->damaged.count; i++)
		report_line(
			cli,
			"%llu bytes at %llu could not be read: zeros "
			"stand there",
			(unsigned long long)result->damaged.ranges[i].length,
			(unsigned long long)result->damaged.ranges[i].offset);
	if (result->damaged.count)
		report_line(cli, "the first: %s", result->first_damage.text);
}

static int tell(const struct cli *cli, const struct vms_restore *restore,
		const struct vms_restore_result *result, struct err *err)
{
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX], path[2048];

	if (cli_given(cli, OPT_JSON))
		return json_say(
			json_pack("{s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:o}",
				  "type", "restore", "snapshot",
				  json_id(&restore->snapshot->id), "target",
				  json_text(restore->target), "size_bytes",
				  json_number(result->size_bytes), "data_bytes",
				  json_number(result->data_bytes),
				  "written_bytes",
				  json_number(result->written_bytes),
				  "unchanged_bytes",
				  json_number(result->unchanged_bytes),
				  "damaged",
				  json_ranges(result->damaged.ranges,
					      result->damaged.count)),
			err);
	if (!cli_talks(cli) || !strcmp(restore->target, "-"))
		return 0;
	say("%s: %s, data %s, written %s",
	    escape_name(path, sizeof(path), restore->target),
	    size_text(a, result->size_bytes), size_text(b, result->data_bytes),
	    size_text(c, result->written_bytes));
	if (restore->delta)
		say(", unchanged %s", size_text(a, result->unchanged_bytes));
	say("\n");
	return 0;
}

int cmd_restore(struct cli *cli, struct err *err)
{
	autosnapshot struct snapshot snapshot = { 0 };
	struct vms_restore_result result = { 0 };
	struct vms_restore restore = {
		.snapshot = &snapshot,
		.disk = cli_value(cli, OPT_DISK),
		.target = cli->options.arguments[1],
		.force = cli_given(cli, OPT_FORCE),
		.delta = cli_given(cli, OPT_DELTA),
		.skip_damaged = cli_given(cli, OPT_SKIP_DAMAGED),
		.progress = &cli->progress,
		.warn = report_warn,
		.warn_arg = cli,
	};
	autovms struct vms *vms = NULL;
	int r;

	r = check_arguments(cli, &restore, err);
	if (r < 0)
		return r;
	r = cli_open(cli, STORE_READ, false, &vms, err);
	if (r < 0)
		return r;
	r = vms_find_snapshot(vms, cli->options.arguments[0], &snapshot, err);
	if (r < 0)
		return r;
	r = progress_begin(cli, err);
	if (r < 0)
		return r;
	r = vms_restore(vms, &restore, &result, err);
	progress_end(cli);
	if (r == 0) {
		r = tell(cli, &restore, &result, err);
		tell_damage(cli, &result);
		if (r == 0 && result.damaged.count)
			r = STATUS_INCOMPLETE;
	}
	vms_restore_result_release(&result);
	return r;
}
