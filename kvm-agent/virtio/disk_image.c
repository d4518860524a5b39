/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that is a live image: its requests are the image's own. */
#include "kvm-agent/virtio/disk.h"

#define BATCH 64u

struct disk_image {
	struct disk disk;
	struct image_queue *queue;
};

static struct disk_image *of(struct disk *disk)
{
	return container_of(disk, struct disk_image, disk);
}

static enum image_op image_op_of(enum disk_op op)
{
	switch (op) {
	case DISK_READ:
		return IMAGE_READ;
	case DISK_WRITE:
		return IMAGE_WRITE;
	case DISK_FLUSH:
		return IMAGE_FLUSH;
	case DISK_DISCARD:
		return IMAGE_DISCARD;
	case DISK_ZERO:
		break;
	}
	return IMAGE_ZERO;
}

static void submit(struct disk *disk, struct disk_request *request)
{
	request->work.image = (struct image_request){
		.op = image_op_of(request->op),
		.offset = request->offset,
		.length = request->length,
		.buffer = request->buffer,
		.more = request->more,
		.owner = request,
	};
	image_submit(of(disk)->queue, &request->work.image);
}

static unsigned reap(struct disk *disk, unsigned min,
		     struct disk_request **done, unsigned max)
{
	struct image_request *images[BATCH];
	unsigned count = image_reap(of(disk)->queue, min, images,
				    (unsigned)min_u64(max, BATCH));

	for (unsigned i = 0; i < count; i++) {
		done[i] = images[i]->owner;
		done[i]->result = images[i]->result;
	}
	return count;
}

static int fd_of(struct disk *disk)
{
	return image_queue_fd(of(disk)->queue);
}

static void free_image(struct disk *disk)
{
	image_queue_free(of(disk)->queue);
	free(of(disk));
}

static const struct disk_ops ops = { submit, reap, fd_of, free_image };

int disk_image_new(struct disk **out, struct image *image, bool read_only,
		   unsigned depth, struct err *err)
{
	struct disk_image *made = NULL;
	int r = alloc_array(&made, 1, sizeof(*made), err);

	if (r < 0)
		return r;
	made->queue = image_queue_new(image, depth, err);
	if (!made->queue) {
		free(made);
		return err_prefix(err, "a disk's queue");
	}
	made->disk = (struct disk){ &ops, image_size(image), read_only };
	*out = &made->disk;
	return 0;
}

void disk_free(struct disk *disk)
{
	if (disk)
		disk->ops->free(disk);
}
