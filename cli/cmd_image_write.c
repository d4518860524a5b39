/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap image snapshot, absorb, resize, compact, export: what opens an image
 * and does one thing with it. */
#include <errno.h>
#include <string.h>

#include "cli/image.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"

/* ---- snapshot, absorb ---- */

static int tell_absorbed(const struct cli *cli, const char *path,
			 const struct snapshot *s, struct err *err)
{
	const struct snapshot_totals *t = &s->totals;
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX],
		id[SHORT_ID_SIZE], safe[2048];

	if (cli_given(cli, OPT_JSON) && s->name[0])
		return json_say(json_snapshot(s), err);
	if (cli_given(cli, OPT_JSON))
		return json_say(
			json_pack("{s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I}",
				  "type", "absorb", "file", json_text(path),
				  "root", json_id(&s->volumes[0].root),
				  "scanned_bytes",
				  json_number(t->scanned_bytes), "new_chunks",
				  json_number(t->new_chunks),
				  "new_content_bytes",
				  json_number(t->new_content_bytes),
				  "stored_bytes", json_number(t->stored_bytes),
				  "elapsed_us", json_number(t->elapsed_us)),
			err);
	if (!cli_talks(cli))
		return 0;
	if (s->name[0])
		say("%s%s%s, snapshot %s: ", s->name, s->label[0] ? "@" : "",
		    s->label, short_id(id, &s->id));
	else
		say("%s: ", escape_name(safe, sizeof(safe), path));
	say("%s read, %s new in %llu chunk%s, %s stored, %.1f s\n",
	    size_text(a, t->scanned_bytes), size_text(b, t->new_content_bytes),
	    (unsigned long long)t->new_chunks, t->new_chunks == 1 ? "" : "s",
	    size_text(c, t->stored_bytes), (double)t->elapsed_us / 1e6);
	return 0;
}

static int absorb(struct cli *cli, const char *name, struct err *err)
{
	struct vms_absorb how = {
		.name = name,
		.label = cli_value(cli, OPT_LABEL),
		.progress = &cli->progress,
		.warn = report_warn,
		.warn_arg = cli,
	};
	autosnapshot struct snapshot snapshot = { 0 };
	struct cli_image image;
	int r = cli_chunk_log2(cli, &how.chunk_log2, err);

	if (r < 0)
		return r;
	r = cli_image_open_or_ask(cli, IMAGE_READ_WRITE, IMAGE_STORE_WRITE,
				  &image, err);
	if (r == 0 && how.chunk_log2 && image.base.present &&
	    how.chunk_log2 != image.base.chunk_log2)
		r = err_set(err, -EINVAL,
			    "--chunk-size: the base of '%s' has chunks of %llu "
			    "bytes",
			    image.path, 1ULL << image.base.chunk_log2);
	if (r == 0)
		r = progress_begin(cli, err);
	if (r == 0) {
		r = vms_live_absorb(image.live, &how, NULL, NULL, &snapshot,
				    err);
		progress_end(cli);
	}
	if (r == 0)
		r = tell_absorbed(cli, image.path, &snapshot, err);
	return cli_image_close(&image, r, err);
}

int cmd_image_snapshot(struct cli *cli, struct err *err)
{
	return absorb(cli, cli->options.arguments[1], err);
}

int cmd_image_absorb(struct cli *cli, struct err *err)
{
	return absorb(cli, NULL, err);
}

/* ---- resize, compact ---- */

int cmd_image_resize(struct cli *cli, struct err *err)
{
	struct cli_image image;
	char text[SIZE_TEXT_MAX];
	uint64_t size;
	int r;

	if (!cli_given(cli, OPT_SIZE))
		return err_set(err, -EINVAL, "to what size? Give --size N");
	r = size_parse("--size", cli_value(cli, OPT_SIZE), &size, err);
	if (r < 0)
		return r;
	/* A cut within a block reads the rest of that block. */
	r = cli_image_open(cli, IMAGE_READ_WRITE, IMAGE_STORE_READ, &image,
			   err);
	if (r == 0)
		r = image_resize(vms_live_image(image.live), size, err);
	if (r == 0 && cli_given(cli, OPT_JSON))
		r = json_say(json_pack("{s:s, s:o, s:I}", "type",
				       "image-resize", "file",
				       json_text(image.path), "size_bytes",
				       json_number(size)),
			     err);
	else if (r == 0 && cli_talks(cli))
		say("%s\n", size_text(text, size));
	return cli_image_close(&image, r, err);
}

int cmd_image_compact(struct cli *cli, struct err *err)
{
	struct cli_image image;
	char text[SIZE_TEXT_MAX];
	uint64_t freed = 0;
	int r = cli_image_open(cli, IMAGE_READ_WRITE, IMAGE_STORE_NONE, &image,
			       err);

	if (r == 0)
		r = image_compact(vms_live_image(image.live), &freed, err);
	if (r == 0 && cli_given(cli, OPT_JSON))
		r = json_say(json_pack("{s:s, s:o, s:I}", "type",
				       "image-compact", "file",
				       json_text(image.path), "freed_bytes",
				       json_number(freed)),
			     err);
	else if (r == 0 && cli_talks(cli))
		say("%s given back\n", size_text(text, freed));
	return cli_image_close(&image, r, err);
}

/* ---- export ---- */

static int export(struct cli *cli, struct cli_image *image, const char *out,
		  struct err *err)
{
	uint64_t size = image_size(vms_live_image(image->live)), data = 0;
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], safe[2048];
	int r = progress_begin(cli, err);

	if (r < 0)
		return r;
	r = vms_live_export(image->live, out, cli_given(cli, OPT_FORCE),
			    &cli->progress, &data, err);
	progress_end(cli);
	if (r < 0)
		return r;
	if (cli_given(cli, OPT_JSON))
		return json_say(json_pack("{s:s, s:o, s:o, s:I, s:I}", "type",
					  "image-export", "file",
					  json_text(image->path), "target",
					  json_text(out), "size_bytes",
					  json_number(size), "data_bytes",
					  json_number(data)),
				err);
	if (cli_talks(cli) && strcmp(out, "-") != 0)
		say("%s: %s, data %s\n", escape_name(safe, sizeof(safe), out),
		    size_text(a, size), size_text(b, data));
	return 0;
}

int cmd_image_export(struct cli *cli, struct err *err)
{
	const char *out = cli->options.arguments[1];
	struct cli_image image;
	int r;

	if (!strcmp(out, "-") && cli_given(cli, OPT_JSON))
		return err_set(err, -EINVAL,
			       "--json and '-' both want standard output");
	if (!strcmp(out, "-") && cli->stdout_was_closed)
		return err_set(err, -EBADF, "standard output is closed");
	r = cli_image_open(cli, IMAGE_READ_ONLY, IMAGE_STORE_READ, &image, err);
	if (r == 0)
		r = export(cli, &image, out, err);
	return cli_image_close(&image, r, err);
}
