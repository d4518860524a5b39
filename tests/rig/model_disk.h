/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual disk as a test knows it, in memory, and as a file over a vs_io. */
#ifndef TESTS_RIG_MODEL_DISK_H
#define TESTS_RIG_MODEL_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "format/base/io.h"

#define MODEL_DISK_MAX (600u << 10)

/* Zeroed is an empty disk. Running out of memory aborts. */
struct model_disk {
	uint64_t size;
	uint8_t *data;
};

/* Holes, patterns, noise and repetition, of any size up to MODEL_DISK_MAX. */
void model_disk_make(struct model_disk *disk, uint64_t *random);
/* Some ranges of it, now and then its size. */
void model_disk_change(struct model_disk *disk, uint64_t *random);
struct model_disk model_disk_copy(const struct model_disk *disk);
void model_disk_release(struct model_disk *disk);

/* Bytes of the chunks that are not all zero. */
uint64_t model_disk_data_bytes(const struct model_disk *disk,
			       uint64_t chunk_size);

/* Sparse, and synced; the name is the caller's to sync. 0 or -errno. */
int model_disk_write(const struct model_disk *disk, struct vs_io *io,
		     const char *path, uint64_t *random);
/* 1: the file is this disk, 0: it is another, or -errno. */
int model_disk_compare(const struct model_disk *disk, struct vs_io *io,
		       const char *path);

#endif
