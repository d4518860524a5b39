/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image, or a layer that is thrown away, for nbdkit's threads: it has one
 * for each request under way, and makes and ends them with each connection. So
 * a thread may as well do its request's I/O by a plain call: through a ring it
 * would wait for another thread, or the kernel's, to do it.
 */
#include "nbd/image_door.h"

#include <stdio.h>

struct image_door {
	struct vs_io *io;
	struct vms_live *live;
	struct vms_live_queues *queues;
	struct vms_control *control; /* NULL: nobody can ask for anything */
};

int image_door_request(struct image_door *door, struct image_request *request)
{
	return vms_live_request(door->queues, request);
}

/* ---- life ---- */

static void report_damage(void *arg, uint64_t offset, uint64_t length,
			  const char *what)
{
	(void)arg;
	fprintf(stderr, "vmsnap: image damaged: %s (bytes %llu to %llu)\n",
		what, (unsigned long long)offset,
		(unsigned long long)(offset + length));
}

static int open_image(struct image_door *door,
		      const struct image_door_options *options, struct err *err)
{
	struct vms_live_temporary temporary = {
		.vms = options->vms,
		.volume = options->volume,
		.damage = report_damage,
	};
	struct vms_live_options live = {
		.path = options->path,
		.mode = options->writable ? IMAGE_READ_WRITE : IMAGE_READ_ONLY,
		.vms = options->vms,
		.damage = report_damage,
	};
	int r;

	door->io = io_new_plain(err);
	if (!door->io)
		return err->code;
	live.io = temporary.io = door->io;
	r = options->path ? vms_live_open(&door->live, &live, err)
			  : vms_live_temporary(&door->live, &temporary, err);
	return r ? r : vms_live_queues_new(&door->queues, door->live, 0, err);
}

/* It is served all the same, where there can be none. */
static void start_control(struct image_door *door,
			  const struct image_door_options *options)
{
	struct err why = { 0 };

	if (!options->path || !options->writable)
		return;
	if (vms_control_start(&door->control, door->live, &why) < 0)
		fprintf(stderr,
			"vmsnap: no snapshot of the image while it is served: "
			"%s\n",
			why.text);
}

int image_door_open(struct image_door **out,
		    const struct image_door_options *options, struct err *err)
{
	struct image_door *door = NULL;
	int r = alloc_array(&door, 1, sizeof(*door), err);

	if (r < 0)
		return r;
	r = open_image(door, options, err);
	if (r < 0) {
		(void)image_door_close(door, NULL);
		return r;
	}
	start_control(door, options);
	*out = door;
	return 0;
}

int image_door_close(struct image_door *door, struct err *err)
{
	int r;

	if (!door)
		return 0;
	vms_control_stop(door->control);
	vms_live_queues_free(door->queues);
	r = vms_live_close(door->live, err);
	io_free(door->io);
	free(door);
	return r;
}

struct vms_live *image_door_live(struct image_door *door)
{
	return door->live;
}
