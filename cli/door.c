/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Becoming another program. The store was opened here first, so that what is
 * wrong with it is told as by every other verb; the passphrase goes on in a
 * pipe, never in argv or the environment.
 */
#include "cli/door.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int door_find(const char *name, char path[PATH_MAX], struct err *err)
{
	static const char *const folders[] = { "", "../libexec/vmsnap/" };
	char self[PATH_MAX];
	ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (size < 0)
		return err_sys(err, -errno, "/proc/self/exe");
	self[size] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return err_set(err, -EIO, "'%s' is no path", self);
	slash[1] = '\0';
	for (size_t n = 0; n < ARRAY_SIZE(folders); n++) {
		if (snprintf(path, PATH_MAX, "%s%s%s", self, folders[n], name) <
			    PATH_MAX &&
		    access(path, R_OK) == 0)
			return 0;
	}
	return err_set(err, -EOPNOTSUPP,
		       "%s is not installed: neither beside vmsnap in '%s' nor "
		       "in ../libexec/vmsnap",
		       name, self);
}

int door_passphrase(struct cli *cli, int *fd, struct err *err)
{
	const size_t size = cli->kept_size;
	int ends[2], r = 0;

	*fd = -1;
	if (!cli->kept)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "pipe for the passphrase");
	/* It must fit, as nobody reads yet. */
	if (fcntl(ends[0], F_GETPIPE_SZ) < (int)size)
		fcntl(ends[0], F_SETPIPE_SZ, (int)size);
	if (fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(ends[0], F_SETFD, 0) < 0 ||
	    write(ends[1], cli->kept, size) != (ssize_t)size)
		r = err_set(err, -EIO,
			    "the passphrase does not fit into a pipe");
	close(ends[1]);
	passphrase_free(cli->kept, size);
	cli->kept = NULL;
	if (r < 0)
		close(ends[0]);
	else
		*fd = ends[0];
	return r;
}

void door_word(struct door_words *words, const char *word)
{
	assert(words->count + 1 < ARRAY_SIZE(words->words));
	words->words[words->count++] = word;
	words->words[words->count] = NULL;
}

int door_exec(const char *path, const struct door_words *words, struct err *err)
{
	fflush(stdout);
	signal(SIGPIPE, SIG_DFL);
	execvp(path, (char *const *)(uintptr_t)words->words);
	return err_sys(err, -errno, "can't run '%s'", path);
}
