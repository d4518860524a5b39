/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each machine that root starts is a user of its own, so that one that got out
 * of its guest is nobody to the others. The number stays with the machine; a
 * free one is looked for and written under a lock on the folder of all of them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "vmsnap/machine_home.h"

/* 0: it has none yet. */
static uint32_t read_user(int directory)
{
	autofree char *text = NULL;
	ssize_t size = machine_read_file(directory, "user", 32, &text, NULL);
	unsigned long user;

	if (size <= 0)
		return 0;
	text[size] = 0;
	user = strtoul(text, NULL, 10);
	return user >= MACHINE_USER_FIRST && user <= MACHINE_USER_LAST
		       ? (uint32_t)user
		       : 0;
}

static int write_user(int directory, uint32_t user, struct err *err)
{
	autofd int fd = openat(
		directory, "user",
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || dprintf(fd, "%u\n", user) < 0)
		return err_sys(err, -errno, "'user'");
	return 0;
}

/* A bit a number. */
static int mark_taken(int machines, uint8_t *taken, struct err *err)
{
	int copy = openat(machines, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;

	if (!list) {
		int r = err_sys(err, -errno, "the folder of machines");

		if (copy >= 0)
			close(copy);
		return r;
	}
	while ((entry = readdir(list))) {
		autofd int one =
			openat(machines, entry->d_name,
			       O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		uint32_t user = one < 0 ? 0 : read_user(one);

		if (user) {
			user -= MACHINE_USER_FIRST;
			taken[user / 8] |= (uint8_t)(1u << user % 8);
		}
	}
	closedir(list);
	return 0;
}

static int choose(int machines, int directory, uint32_t *out, struct err *err)
{
	const uint32_t count = MACHINE_USER_LAST - MACHINE_USER_FIRST + 1;
	autofree uint8_t *taken = NULL;
	uint32_t user = 0;
	int r = alloc_array(&taken, div_up(count, 8), 1, err);

	if (r == 0)
		r = mark_taken(machines, taken, err);
	if (r < 0)
		return r;
	while (user < count && taken[user / 8] & 1u << user % 8)
		user++;
	if (user == count)
		return err_set(err, -EUSERS, "too many machines");
	*out = MACHINE_USER_FIRST + user;
	return write_user(directory, *out, err);
}

int machine_user(int directory, uint32_t *out, struct err *err)
{
	autofd int machines = -1;

	*out = 0;
	if (geteuid())
		return 0;
	*out = read_user(directory);
	if (*out)
		return 0;
	machines = openat(directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (machines < 0 || flock(machines, LOCK_EX) < 0)
		return err_sys(err, -errno, "the folder of machines");
	return choose(machines, directory, out, err);
}
