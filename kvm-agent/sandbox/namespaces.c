/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root takes namespaces as it is. A plain user may have them in a user
 * namespace only, where it is the only user there is: the kernel then shows
 * everybody else, root too, as "nobody".
 *
 * No PID namespace: it would take another process, and what it stops, seeing
 * and signalling others, seccomp stops too.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "format/base/socket.h"
#include "kvm-agent/sandbox/namespaces.h"

#define KINDS (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

static int write_text(const char *path, const char *text)
{
	autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* This user, as itself. */
static int map_user(uid_t user, gid_t group, struct err *err)
{
	char users[48], groups[48];
	int r;

	snprintf(users, sizeof(users), "%u %u 1", user, user);
	snprintf(groups, sizeof(groups), "%u %u 1", group, group);
	r = write_text("/proc/self/setgroups", "deny");
	if (r == 0)
		r = write_text("/proc/self/uid_map", users);
	if (r == 0)
		r = write_text("/proc/self/gid_map", groups);
	if (r < 0)
		return err_sys(err, r, "a user namespace");
	socket_accept_nobody();
	return 0;
}

int namespaces_enter(char why[ERR_TEXT_MAX], struct err *err)
{
	const uid_t user = geteuid();
	const gid_t group = getegid();
	int result = NAMESPACES_OF_ROOT, r;

	if (unshare(KINDS) < 0) {
		if (errno != EPERM) {
			snprintf(why, ERR_TEXT_MAX, "%s", strerror(errno));
			return NAMESPACES_NONE;
		}
		if (unshare(CLONE_NEWUSER | KINDS) < 0) {
			snprintf(why, ERR_TEXT_MAX,
				 "this user may have no user namespace (%s)",
				 strerror(errno));
			return NAMESPACES_NONE;
		}
		result = NAMESPACES_OF_USER;
		r = map_user(user, group, err);
		if (r < 0)
			return r;
	}
	/* What is done to mounts here stays here, and the other way round. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		snprintf(why, ERR_TEXT_MAX,
			 "a user namespace has no rights on this host (%s)",
			 strerror(errno));
		return NAMESPACES_NONE;
	}
	return result;
}
