/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that is thrown away: what the guest writes goes to an image without a
 * name, over something that is only read. It ends with the process, however
 * that ends; a reset of the machine leaves it as it is.
 */
#ifndef KVM_AGENT_TEMPORARY_TEMPORARY_H
#define KVM_AGENT_TEMPORARY_TEMPORARY_H

#include "format/image/image.h"

/* ---- what lies beneath; each may be read by any thread ---- */

/* A raw file or block device, which others may read meanwhile. -EBUSY: a
 * machine writes to it. */
int base_raw_open(struct image_base **out, struct vs_io *io, const char *path,
		  struct err *err);
/* An image that is open IMAGE_READ_ONLY; taken over, also on failure. */
int base_image_open(struct image_base **out, struct image *image,
		    struct err *err);
/*
 * What an NBD server has, by `count` connections to it that nobody has used
 * yet; taken over, also on failure. -EPROTO: that is no NBD server.
 */
#define BASE_NBD_SOCKETS_MAX 8u
int base_nbd_open(struct image_base **out, const int *sockets, unsigned count,
		  struct err *err);

/* ---- what lies on top ---- */

/*
 * Its files are in `folder` until all of them are open, called temporaryN for
 * this `number`; files of that name are of one that died, and go. `base` is
 * taken over, also on failure. Sizes are rounded up to a sector, with zeros.
 */
int temporary_open(struct image **out, struct vs_io *io, const char *folder,
		   unsigned number, struct image_base *base, struct err *err);

#endif
