/* SPDX-License-Identifier: Apache-2.0 */
/* An image on the command line: whose store, opened how. */
#include "cli/image.h"

#include <errno.h>

#include "cli/report.h"
#include "cli/text.h"

static void tell_damage(void *arg, uint64_t offset, uint64_t length,
			const char *what)
{
	if (length)
		report_warning(arg, "%llu bytes at %llu are hurt: %s",
			       (unsigned long long)length,
			       (unsigned long long)offset, what);
	else
		report_warning(arg, "%s", what);
}

int cli_image_open_store(struct cli *cli, enum store_mode mode,
			 struct cli_image *image, struct err *err)
{
	const char *location = image->base.store;
	int r;

	if (cli_given(cli, OPT_STORE) || !image->base.present || !*location)
		return cli_open(cli, mode, false, &image->vms, err);
	r = cli_open_at(cli, location, mode, false, &image->vms, err);
	if (r < 0)
		err_prefix(err, "the store of image '%s' (-s, if it has moved)",
			   image->path);
	return r;
}

int cli_image_open_live(struct cli *cli, enum image_mode mode,
			bool without_base, struct cli_image *out,
			struct err *err)
{
	struct vms_live_options options = {
		.io = out->io,
		.path = out->path,
		.mode = mode,
		.vms = out->vms,
		.without_base = without_base,
		.ask_server = out->ask_server,
		.damage = tell_damage,
		.arg = cli,
	};

	return vms_live_open(&out->live, &options, err);
}

static bool cannot_write(int r)
{
	return r == -EROFS || r == -EACCES || r == -EPERM;
}

static int open_image(struct cli *cli, enum image_mode mode,
		      enum image_store store, bool ask_server,
		      struct cli_image *out, struct err *err)
{
	int r;

	*out = (struct cli_image){ .path = cli->options.arguments[0],
				   .ask_server = ask_server };
	out->io = io_new(err);
	if (!out->io)
		return err->code ? err->code : -EIO;
	r = image_read_base_info(out->io, out->path, &out->base, err);
	if (r < 0)
		return r;
	if (store == IMAGE_STORE_WRITE || store == IMAGE_STORE_PINS)
		r = cli_image_open_store(cli, STORE_WRITE, out, err);
	if (store == IMAGE_STORE_PINS && cannot_write(r)) {
		*err = (struct err){ 0 };
		r = cli_image_open_store(cli, STORE_READ, out, err);
	}
	if (store == IMAGE_STORE_READ && out->base.present)
		r = cli_image_open_store(cli, STORE_READ, out, err);
	return r < 0 ? r
		     : cli_image_open_live(cli, mode, store == IMAGE_STORE_NONE,
					   out, err);
}

int cli_image_open(struct cli *cli, enum image_mode mode,
		   enum image_store store, struct cli_image *out,
		   struct err *err)
{
	return open_image(cli, mode, store, false, out, err);
}

int cli_image_open_or_ask(struct cli *cli, enum image_mode mode,
			  enum image_store store, struct cli_image *out,
			  struct err *err)
{
	return open_image(cli, mode, store, true, out, err);
}

int cli_image_close(struct cli_image *image, int r, struct err *err)
{
	int r2 = vms_live_close(image->live, r < 0 ? NULL : err);

	vms_close(image->vms);
	io_free(image->io);
	return r < 0 || r2 == 0 ? r : r2;
}
