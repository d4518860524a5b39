/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bench programs share: a file's data cut into pieces that threads
 * take one after the other, and the clocks. Failures end the program.
 */
#ifndef TESTS_BENCH_EXTENTS_H
#define TESTS_BENCH_EXTENTS_H

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "format/base/base.h"

#define PIECE_BYTES     (256 * KIB)
#define CHUNK_BYTES_MAX (4 * MIB)

struct piece {
	uint64_t offset;
	size_t length;
};

struct pieces {
	int fd;
	struct piece *list;
	size_t count;
	size_t capacity;
	uint64_t bytes; /* of all pieces */
	atomic_size_t taken;
};

static inline double wall_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* [start, end) of the file, in pieces of `piece` bytes. */
static inline void pieces_add(struct pieces *p, uint64_t start, uint64_t end,
			      size_t piece)
{
	while (start < end) {
		size_t length = (size_t)min_u64(piece, end - start);

		if (p->count == p->capacity) {
			p->capacity = p->capacity ? 2 * p->capacity : 1024;
			p->list = reallocarray(p->list, p->capacity,
					       sizeof(*p->list));
			if (!p->list)
				err(1, "pieces");
		}
		p->list[p->count++] = (struct piece){ start, length };
		p->bytes += length;
		start += length;
	}
}

/* The data extents of `path`, widened to whole chunks of `chunk` bytes. */
static inline void pieces_open(struct pieces *p, const char *path, size_t chunk)
{
	size_t piece = chunk > PIECE_BYTES ? chunk : PIECE_BYTES;
	uint64_t at = 0, size;
	struct stat st;

	*p = (struct pieces){ .fd = open(path, O_RDONLY | O_CLOEXEC) };
	if (p->fd < 0 || fstat(p->fd, &st) < 0)
		err(1, "%s", path);
	size = (uint64_t)st.st_size;
	while (at < size) {
		off_t data = lseek(p->fd, (off_t)at, SEEK_DATA);
		off_t hole;
		uint64_t start, end;

		if (data < 0 && errno == ENXIO)
			break;
		hole = data < 0 ? -1 : lseek(p->fd, data, SEEK_HOLE);
		if (hole < 0)
			err(1, "%s: looking for holes", path);
		start = max_u64((uint64_t)data / chunk * chunk, at);
		end = min_u64(div_up((uint64_t)hole, chunk) * chunk, size);
		if (start < end)
			pieces_add(p, start, end, piece);
		at = max_u64(end, start);
	}
}

static inline void pieces_close(struct pieces *p)
{
	close(p->fd);
	free(p->list);
	*p = (struct pieces){ .fd = -1 };
}

/* The next piece, read whole into `buffer`; false after the last. */
static inline bool pieces_next(struct pieces *p, uint8_t *buffer,
			       struct piece *out)
{
	size_t i = atomic_fetch_add(&p->taken, 1);
	size_t done = 0;

	if (i >= p->count)
		return false;
	*out = p->list[i];
	while (done < out->length) {
		ssize_t n = pread(p->fd, buffer + done, out->length - done,
				  (off_t)(out->offset + done));

		if (n <= 0)
			err(1, "read at %llu",
			    (unsigned long long)(out->offset + done));
		done += (size_t)n;
	}
	return true;
}

static inline bool all_zero(const uint8_t *data, size_t size)
{
	return data[0] == 0 && !memcmp(data, data + 1, size - 1);
}

#endif
