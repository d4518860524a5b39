/* SPDX-License-Identifier: Apache-2.0 */
/* A live image behind the NBD door. Private to nbd/. */
#ifndef NBD_IMAGE_DOOR_H
#define NBD_IMAGE_DOOR_H

#include "vmsnap/vmsnap.h"

struct image_door;

struct image_door_options {
	/* The image; NULL: a layer over `volume`, thrown away at the end. */
	const char *path;
	const struct volume *volume;
	struct vms *vms; /* the base's store; NULL: it has no base */
	bool writable;
};
int image_door_open(struct image_door **out,
		    const struct image_door_options *options, struct err *err);
/* No request is under way. Flushed first; NULL is ignored. Closes in any
 * case. */
int image_door_close(struct image_door *door, struct err *err);

struct vms_live *image_door_live(struct image_door *door);

/* One request to its end, from any thread: 0 or -errno. */
int image_door_request(struct image_door *door, struct image_request *request);

#endif
