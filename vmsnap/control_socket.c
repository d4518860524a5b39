/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket beside an image. A socket's address has room for 107 bytes, a path
 * may be longer; it is reached through its directory's descriptor then. The
 * mode is set before the name appears, so nobody else ever gets in.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include "format/base/bytes.h"
#include "vmsnap/control.h"

#define PATIENCE_S 10ll

struct socket_place {
	int directory; /* -1: the address is the path */
	struct sockaddr_un address;
};

static void place_release(struct socket_place *place)
{
	if (place->directory >= 0)
		close(place->directory);
}

static int open_directory(struct socket_place *place, const char *path,
			  const char *slash, struct err *err)
{
	autofree char *name = NULL;

	if (!slash)
		name = strdup(".");
	else
		name = strndup(path,
			       slash == path ? 1 : (size_t)(slash - path));
	if (!name)
		return err_set(err, -ENOMEM, "out of memory for a path");
	place->directory = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return place->directory < 0 ? err_sys(err, -errno, "'%s'", name) : 0;
}

static int find_place(struct socket_place *place, const char *path,
		      struct err *err)
{
	const char *slash = strrchr(path, '/');
	size_t room = sizeof(place->address.sun_path);
	int r;

	*place = (struct socket_place){ .directory = -1,
					.address.sun_family = AF_UNIX };
	if ((size_t)snprintf(place->address.sun_path, room, "%s.sock", path) <
	    room)
		return 0;
	r = open_directory(place, path, slash, err);
	if (r)
		return r;
	if ((size_t)snprintf(place->address.sun_path, room,
			     "/proc/self/fd/%d/%s.sock", place->directory,
			     slash ? slash + 1 : path) < room)
		return 0;
	place_release(place);
	return err_set(err, -ENAMETOOLONG,
		       "'%s.sock': the name is too long for a socket", path);
}

static int new_socket(struct err *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? err_sys(err, -errno, "a socket") : fd;
}

static int remove_dead(const struct socket_place *place, struct err *err)
{
	const char *name = place->address.sun_path;
	struct stat st;

	if (lstat(name, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(err, -errno, "'%s'", name);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "'%s' is in the way", name);
	if (unlink(name) < 0 && errno != ENOENT)
		return err_sys(err, -errno, "can't remove '%s'", name);
	return 0;
}

int control_bind(const char *path, struct err *err)
{
	struct socket_place place;
	autofd int fd = -1;
	int r = find_place(&place, path, err);

	if (r)
		return r;
	fd = new_socket(err);
	r = fd < 0 ? fd : remove_dead(&place, err);
	if (!r && (fchmod(fd, 0600) < 0 ||
		   bind(fd, (struct sockaddr *)&place.address,
			sizeof(place.address)) < 0 ||
		   listen(fd, 8) < 0))
		r = err_sys(err, -errno, "'%s.sock'", path);
	place_release(&place);
	return r ? r : fd_steal(&fd);
}

void control_unbind(const char *path)
{
	struct socket_place place;

	if (find_place(&place, path, NULL))
		return;
	(void)remove_dead(&place, NULL);
	place_release(&place);
}

/* Who accepts nobody has no room by and by: that wait has an end. A process
 * with an io_uring is woken from it also without a signal. */
static int connect_in_time(int fd, const struct sockaddr_un *address)
{
	static const struct timeval patience = { .tv_sec = PATIENCE_S }, none;
	const int64_t until_ns = time_monotonic_ns() + PATIENCE_S * 1000000000;
	int r;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
		       sizeof(patience)) < 0)
		return -errno;
	do
		r = connect(fd, (const struct sockaddr *)address,
			    sizeof(*address)) < 0
			    ? -errno
			    : 0;
	while (r == -EINTR && time_monotonic_ns() < until_ns);
	if (r == -EINTR || r == -EAGAIN)
		return -ETIMEDOUT;
	if (!r)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none,
				 sizeof(none));
	return r;
}

int control_connect_to(const char *path, struct err *err)
{
	struct socket_place place;
	autofd int fd = -1;
	int r = find_place(&place, path, err);

	if (r)
		return r;
	fd = new_socket(err);
	r = fd < 0 ? fd : 0;
	if (!r) {
		r = connect_in_time(fd, &place.address);
		if (r == -ETIMEDOUT)
			err_set(err, r, "'%s.sock': nobody accepts", path);
		else if (r < 0)
			err_sys(err, r, "'%s.sock'", path);
	}
	place_release(&place);
	return r ? r : fd_steal(&fd);
}

int control_send(int fd, const struct bytes *bytes)
{
	size_t done = 0;

	while (done < bytes->size) {
		ssize_t n = send(fd, bytes->data + done, bytes->size - done,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}
