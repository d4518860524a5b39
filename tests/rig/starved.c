/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/base/base.h"
#include "tests/rig/starved.h"

#define PATIENCE_NS 60000000000

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

static void open_threads(struct starved *starved)
{
	DIR *list = opendir("/proc/self/task");
	const struct dirent *entry;

	must(list, "/proc/self/task");
	while ((entry = readdir(list)) &&
	       starved->count < STARVED_THREADS_MAX) {
		char path[64];
		long task = strtol(entry->d_name, NULL, 10);
		int fd;

		if (!task || task == gettid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", task);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			starved->threads[starved->count++] = fd;
	}
	closedir(list);
}

void starved_begin(struct starved *starved)
{
	struct rlimit none;

	starved->count = 0;
	open_threads(starved);
	must(getrlimit(RLIMIT_NOFILE, &starved->before) == 0, "getrlimit");
	none = starved->before;
	/* All numbers below it are in use. */
	none.rlim_cur = STDERR_FILENO + 1;
	must(setrlimit(RLIMIT_NOFILE, &none) == 0, "setrlimit");
}

/* Or is gone. */
static bool sleeps(int thread)
{
	char text[512] = "";
	const char *state;

	if (pread(thread, text, sizeof(text) - 1, 0) <= 0)
		return true;
	state = strrchr(text, ')');
	return state && !strncmp(state, ") S", 3);
}

bool starved_await_sleep(const struct starved *starved)
{
	int64_t until_ns = time_monotonic_ns() + PATIENCE_NS;

	for (unsigned i = 0; i < starved->count; i++) {
		while (!sleeps(starved->threads[i])) {
			if (time_monotonic_ns() > until_ns)
				return false;
			sched_yield();
		}
	}
	return true;
}

void starved_end(struct starved *starved)
{
	must(setrlimit(RLIMIT_NOFILE, &starved->before) == 0, "setrlimit");
	for (unsigned i = 0; i < starved->count; i++)
		close(starved->threads[i]);
}
