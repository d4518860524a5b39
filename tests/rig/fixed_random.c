/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getrandom() of a test program: a store takes its ids and salts from it, and
 * a simulated life replays only when they come again. The program's own symbol
 * goes before that of the C library.
 */
#include "tests/rig/fixed_random.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool fixed;
static uint64_t state;
static void (*watcher)(void *arg, void *bytes, size_t size);
static void *watcher_arg;

void fixed_random_seed(uint64_t seed)
{
	pthread_mutex_lock(&lock);
	fixed = true;
	state = seed;
	pthread_mutex_unlock(&lock);
}

void fixed_random_watch(void (*fn)(void *arg, void *bytes, size_t size),
			void *arg)
{
	pthread_mutex_lock(&lock);
	watcher = fn;
	watcher_arg = arg;
	pthread_mutex_unlock(&lock);
}

/* splitmix64 */
static uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
	uint8_t *at = buffer;
	bool ours;

	pthread_mutex_lock(&lock);
	ours = fixed;
	for (size_t done = 0; ours && done < size;) {
		uint64_t word = next();
		size_t piece = size - done < 8 ? size - done : 8;

		memcpy(at + done, &word, piece);
		done += piece;
	}
	if (ours && watcher)
		watcher(watcher_arg, buffer, size);
	pthread_mutex_unlock(&lock);
	if (ours)
		return (ssize_t)size;
	return syscall(SYS_getrandom, buffer, size, flags);
}
