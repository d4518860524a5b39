/* SPDX-License-Identifier: Apache-2.0 */
/* This process has no descriptor left; and whether its other threads sleep then:
 * one that spins never does. */
#ifndef TESTS_RIG_STARVED_H
#define TESTS_RIG_STARVED_H

#include <stdbool.h>
#include <sys/resource.h>

#define STARVED_THREADS_MAX 64u

struct starved {
	struct rlimit before;
	int threads[STARVED_THREADS_MAX]; /* what the kernel says of each */
	unsigned count;
};

/* From here on nothing can be opened. */
void starved_begin(struct starved *starved);
/* Until each of the threads that there were was seen asleep; false: one was not,
 * in a minute. */
bool starved_await_sleep(const struct starved *starved);
void starved_end(struct starved *starved);

#endif
