/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap image rebase: another base, and the same disk. */
#include <errno.h>

#include "cli/image.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"

static int tell(const struct cli *cli, const struct cli_image *image,
		const struct snapshot *snapshot,
		const struct vms_rebase_result *result, struct err *err)
{
	char safe[2048], id[SHORT_ID_SIZE], a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX];

	if (cli_given(cli, OPT_JSON))
		return json_say(json_pack("{s:s, s:o, s:o, s:I, s:I}", "type",
					  "image-rebase", "file",
					  json_text(image->path), "snapshot",
					  json_id(&snapshot->id),
					  "compared_bytes",
					  json_number(result->compared_bytes),
					  "kept_bytes",
					  json_number(result->kept_bytes)),
				err);
	if (cli_talks(cli))
		say("%s: on %s, snapshot %s: %s compared, %s kept\n",
		    escape_name(safe, sizeof(safe), image->path),
		    snapshot->name, short_id(id, &snapshot->id),
		    size_text(a, result->compared_bytes),
		    size_text(b, result->kept_bytes));
	return 0;
}

static int rebase(struct cli *cli, struct cli_image *image, struct err *err)
{
	autosnapshot struct snapshot snapshot = { 0 };
	struct vms_rebase how = {
		.snapshot = &snapshot,
		.disk = cli_value(cli, OPT_DISK),
		.progress = &cli->progress,
		.warn = report_warn,
		.warn_arg = cli,
	};
	struct vms_rebase_result result;
	int r = vms_find_snapshot(image->vms, cli->options.arguments[1],
				  &snapshot, err);

	if (r == 0)
		r = progress_begin(cli, err);
	if (r < 0)
		return r;
	r = vms_live_rebase(image->live, &how, &result, err);
	progress_end(cli);
	return r < 0 ? r : tell(cli, image, &snapshot, &result, err);
}

int cmd_image_rebase(struct cli *cli, struct err *err)
{
	struct cli_image image;
	int r = cli_image_open(cli, IMAGE_READ_WRITE, IMAGE_STORE_PINS, &image,
			       err);

	if (r == 0)
		r = rebase(cli, &image, err);
	return cli_image_close(&image, r, err);
}
