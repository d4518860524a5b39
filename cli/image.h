/* SPDX-License-Identifier: Apache-2.0 */
/* What the image verbs share: an image opened with the store of its base. */
#ifndef CLI_IMAGE_H
#define CLI_IMAGE_H

#include "cli/cli.h"

struct cli_image {
	const char *path; /* FILE, the first argument */
	struct image_base_info base;
	struct vs_io *io;
	struct vms *vms;       /* NULL: none is needed */
	struct vms_live *live; /* NULL: not opened */
	bool ask_server;       /* one that is served (vmsnap.h) */
};

enum image_store {
	IMAGE_STORE_NONE, /* the base is not read */
	IMAGE_STORE_READ, /* where the image has a base */
	IMAGE_STORE_PINS, /* in any case; to write if it can be written to */
	IMAGE_STORE_WRITE /* in any case */
};

/*
 * The store is the one that --store names, else the one in the image, else (a
 * blank image) VMSNAP_STORE. Whatever the result: cli_image_close().
 */
int cli_image_open(struct cli *cli, enum image_mode mode,
		   enum image_store store, struct cli_image *out,
		   struct err *err);
/* The same; one that is served is asked for what it can (ask_server). */
int cli_image_open_or_ask(struct cli *cli, enum image_mode mode,
			  enum image_store store, struct cli_image *out,
			  struct err *err);
/* The image alone, over image->vms, which the caller has chosen; image->path and
 * image->io are set. */
int cli_image_open_live(struct cli *cli, enum image_mode mode,
			bool without_base, struct cli_image *image,
			struct err *err);
/* The store alone; image->path and image->base are set. */
int cli_image_open_store(struct cli *cli, enum store_mode mode,
			 struct cli_image *image, struct err *err);
/* `r`, or where that is 0 the result of the close: a writable image flushes. */
int cli_image_close(struct cli_image *image, int r, struct err *err);

#endif
