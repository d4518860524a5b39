/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image, and the queues through which nbdkit's threads use it. nbdkit has
 * a thread for each request under way, and makes and ends them with each
 * connection; a queue is dear to make, so a thread borrows one for a request.
 * There are as many as were ever in use at once, up to a bound; beyond that a
 * request waits for its turn.
 */
#include "nbd/image_door.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define QUEUES_MAX  64u
#define QUEUE_DEPTH 32u

struct image_door {
	struct vs_io *io;
	struct vms_live *live;
	char *directory; /* of a throw-away layer; else NULL */
	char *path;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* a queue came back */
	struct image_queue *idle[QUEUES_MAX];
	unsigned idle_count, count; /* with those in use */
};

/* ---- queues ---- */

static struct image_queue *borrow(struct image_door *door, struct err *err)
{
	struct image_queue *queue = NULL;

	pthread_mutex_lock(&door->lock);
	for (;;) {
		if (door->idle_count) {
			queue = door->idle[--door->idle_count];
			break;
		}
		if (door->count < QUEUES_MAX)
			queue = image_queue_new(vms_live_image(door->live),
						QUEUE_DEPTH, err);
		if (queue)
			door->count++;
		/* Where no more can be had, one of those there must do. */
		if (queue || !door->count)
			break;
		pthread_cond_wait(&door->wake, &door->lock);
	}
	pthread_mutex_unlock(&door->lock);
	return queue;
}

static void give_back(struct image_door *door, struct image_queue *queue)
{
	pthread_mutex_lock(&door->lock);
	door->idle[door->idle_count++] = queue;
	pthread_cond_signal(&door->wake);
	pthread_mutex_unlock(&door->lock);
}

int image_door_request(struct image_door *door, struct image_request *request)
{
	struct err err = { 0 };
	struct image_queue *queue = borrow(door, &err);
	struct image_request *done;

	if (!queue)
		return err.code < 0 ? err.code : -ENOMEM;
	image_submit(queue, request);
	image_reap(queue, 1, &done, 1);
	give_back(door, queue);
	return request->result;
}

/* ---- life ---- */

/* In /var/tmp: what is written may be much, and /tmp may be memory. */
static int make_directory(struct image_door *door, struct err *err)
{
	const char *where = getenv("TMPDIR");

	if (!where || *where != '/')
		where = "/var/tmp";
	if (asprintf(&door->directory, "%s/vmsnap-nbd-XXXXXX", where) < 0) {
		door->directory = NULL;
		return err_set(err, -ENOMEM, "out of memory for a path");
	}
	if (!mkdtemp(door->directory)) {
		err_sys(err, -errno, "a directory in '%s'", where);
		free(door->directory);
		door->directory = NULL;
		return err->code;
	}
	if (asprintf(&door->path, "%s/layer.vsi", door->directory) < 0) {
		door->path = NULL;
		return err_set(err, -ENOMEM, "out of memory for a path");
	}
	return 0;
}

static int make_throw_away(struct image_door *door,
			   const struct image_door_options *options,
			   struct err *err)
{
	struct vms_live_create create = {
		.io = door->io,
		.snapshot = options->snapshot,
		.disk = options->disk,
	};
	int r = make_directory(door, err);

	create.path = door->path;
	return r ? r : vms_live_create(options->vms, &create, err);
}

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
	struct vms_live_options live = {
		.mode = options->writable ? IMAGE_READ_WRITE : IMAGE_READ_ONLY,
		.vms = options->vms,
		.damage = report_damage,
	};
	int r = 0;

	door->io = io_new(err);
	if (!door->io)
		return err->code;
	if (options->path) {
		door->path = strdup(options->path);
		if (!door->path)
			r = err_set(err, -ENOMEM, "out of memory for a path");
	} else {
		r = make_throw_away(door, options, err);
	}
	live.io = door->io;
	live.path = door->path;
	return r ? r : vms_live_open(&door->live, &live, err);
}

static void throw_away(struct image_door *door)
{
	if (!door->directory)
		return;
	if (door->path)
		(void)image_remove(door->io, door->path, NULL);
	rmdir(door->directory);
	free(door->directory);
}

int image_door_open(struct image_door **out,
		    const struct image_door_options *options, struct err *err)
{
	struct image_door *door = NULL;
	int r = alloc_array(&door, 1, sizeof(*door), err);

	if (r < 0)
		return r;
	pthread_mutex_init(&door->lock, NULL);
	pthread_cond_init(&door->wake, NULL);
	r = open_image(door, options, err);
	if (r < 0) {
		(void)image_door_close(door, NULL);
		return r;
	}
	*out = door;
	return 0;
}

int image_door_close(struct image_door *door, struct err *err)
{
	int r;

	if (!door)
		return 0;
	while (door->idle_count)
		image_queue_free(door->idle[--door->idle_count]);
	r = vms_live_close(door->live, err);
	throw_away(door);
	io_free(door->io);
	pthread_cond_destroy(&door->wake);
	pthread_mutex_destroy(&door->lock);
	free(door->path);
	free(door);
	return r;
}

struct vms_live *image_door_live(struct image_door *door)
{
	return door->live;
}
