/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers that every file needs: cleanup, arithmetic, hex, time. */
#ifndef FORMAT_BASE_BASE_H
#define FORMAT_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "format/base/err.h"

#define KIB               1024ULL
#define MIB               (1024 * KIB)
#define GIB               (1024 * MIB)
#define TIB               (1024 * GIB)

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void autofree_run(void *p)
{
	free(*(void **)p);
}
/* A pointer from malloc() that is freed when it leaves scope. */
#define autofree __attribute__((cleanup(autofree_run)))

static inline void autofd_run(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
/* A real descriptor (not a vs_io file) that is closed when it leaves scope. */
#define autofd __attribute__((cleanup(autofd_run)))

static inline int fd_steal(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static inline void *ptr_steal(void *pp)
{
	void *taken = *(void **)pp;

	*(void **)pp = NULL;
	return taken;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t div_up(uint64_t n, uint64_t by)
{
	return n / by + (n % by != 0);
}

static inline bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* calloc(count, size) or -ENOMEM with words; *out is untouched on failure. */
int alloc_array(void *out, size_t count, size_t size, struct err *err);

/* Overwrite `size` bytes in a way the compiler may not drop. */
void wipe(void *data, size_t size);

/* All `size` bytes zero? Runs at memory speed. */
bool bytes_are_zero(const void *data, size_t size);

/* 2 * size + 1 characters into `text`, lower case. */
void hex_encode(char *text, const void *data, size_t size);
/* Exactly 2 * size lower-case digits; -EINVAL otherwise. */
int hex_decode(void *data, size_t size, const char *text, size_t length);

/* Nanoseconds since the epoch; and of a clock that never goes back. */
int64_t time_now_ns(void);
int64_t time_monotonic_ns(void);

/* From getrandom(2); 0 or -errno. */
int random_fill(void *data, size_t size, struct err *err);

/*
 * A name from outside made safe for a terminal or a message: bytes that are
 * not printable UTF-8 become \xNN. At most `capacity` bytes with the NUL.
 */
const char *escape_name(char *out, size_t capacity, const char *name);

#endif
