/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes that a look at the disk asks for. The board's own way to the disk
 * is its I/O thread's, so this is a second one: another queue of the image, or
 * the raw file once more, both seeing what was written through the first.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "kvm-agent/boot_disk.h"

#define BOUNCE_BYTES (64 * KIB)

struct boot_disk {
	struct disk_reader reader;
	struct disk *disk; /* of an image; NULL: */
	int fd;            /* of a raw file */
	uint8_t bounce[BOUNCE_BYTES];
};

/* Whole sectors into the bounce buffer. */
static int read_image(struct boot_disk *source, uint64_t offset, size_t size)
{
	struct disk_request request = { .op = DISK_READ,
					.offset = offset,
					.length = size,
					.buffer = source->bounce };
	struct disk_request *done;

	source->disk->ops->submit(source->disk, &request);
	while (!source->disk->ops->reap(source->disk, 1, &done, 1))
		;
	return request.result;
}

static int read_raw(struct boot_disk *source, uint64_t offset, size_t size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = pread(source->fd, source->bounce + have,
				  size - have, (off_t)(offset + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		have += (size_t)n;
	}
	return 0;
}

static int read_source(struct disk_reader *reader, uint64_t offset,
		       void *buffer, size_t size, struct err *err)
{
	struct boot_disk *source =
		container_of(reader, struct boot_disk, reader);
	uint8_t *to = buffer;

	while (size) {
		uint64_t start = offset / DISK_SECTOR * DISK_SECTOR;
		size_t before = offset - start;
		size_t n = min_u64(size, BOUNCE_BYTES - before);
		size_t whole = div_up(before + n, DISK_SECTOR) * DISK_SECTOR;
		int r = source->disk ? read_image(source, start, whole)
				     : read_raw(source, start, whole);

		if (r < 0)
			return err_sys(err, r, "read the disk to boot from");
		memcpy(to, source->bounce + before, n);
		to += n;
		offset += n;
		size -= n;
	}
	return 0;
}

int boot_disk_open(struct boot_disk **out, const struct disks *disks,
		   const char *path, struct err *err)
{
	autofree struct boot_disk *source = NULL;
	char quoted[256];
	int r = alloc_array(&source, 1, sizeof(*source), err);

	if (r < 0)
		return r;
	source->reader = (struct disk_reader){ disks->disks[0]->size_bytes,
					       read_source };
	source->fd = -1;
	if (disks->images[0])
		r = disk_image_new(&source->disk, disks->images[0], true, 1,
				   err);
	else
		source->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!disks->images[0] && source->fd < 0)
		r = err_sys(err, -errno, "open '%s'",
			    escape_name(quoted, sizeof(quoted), path));
	if (r == 0)
		*out = ptr_steal(&source);
	return r;
}

void boot_disk_close(struct boot_disk *disk)
{
	if (!disk)
		return;
	disk_free(disk->disk);
	autofd_run(&disk->fd);
	free(disk);
}

int boot_disk_look(struct boot_disk *disk, struct disk_finder *finder,
		   struct disk_boot *out, struct err *err)
{
	return disk_finder_look(finder, &disk->reader, out, err);
}
