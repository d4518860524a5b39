/* SPDX-License-Identifier: Apache-2.0 */
/* The catalog as a file system: what the kernel asks, answered. */
#ifndef FUSE_SERVE_H
#define FUSE_SERVE_H

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>

#include "fuse/catalog.h"

struct serve {
	struct catalog *catalog;
	catalog_warn_fn *warn;
	bool for_all;  /* --allow-other: others may read */
	bool writable; /* into layers that are thrown away */
};

/* Its userdata is the struct serve. Any thread. */
extern const struct fuse_lowlevel_ops serve_ops;

#endif
