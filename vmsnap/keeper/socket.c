/* SPDX-License-Identifier: Apache-2.0 */
/* A socket's address has room for 107 bytes: they are reached through their
 * folder's descriptor, whatever its path. */
#include "vmsnap/keeper/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 256

static struct sockaddr_un address_of(int directory, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path),
		 "/proc/self/fd/%d/%s", directory, name);
	return address;
}

static int new_socket(struct err *err)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
			0);

	return fd < 0 ? err_sys(err, -errno, "a socket") : fd;
}

static int remove_dead(int directory, const char *name, struct err *err)
{
	struct stat st;

	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, -errno, "'%s'", name);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "'%s' is in the way", name);
	if (unlinkat(directory, name, 0) < 0 && errno != ENOENT)
		return err_sys(err, -errno, "can't remove '%s'", name);
	return 0;
}

int keeper_listen(int directory, const char *name, mode_t mode, struct err *err)
{
	struct sockaddr_un address = address_of(directory, name);
	autofd int fd = new_socket(err);
	int r;

	if (fd < 0)
		return fd;
	r = remove_dead(directory, name, err);
	if (r)
		return r;
	/* Narrow before the name appears; wider, if it shall be, after. */
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fchmodat(directory, name, mode, 0) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, -errno, "'%s'", name);
	return fd_steal(&fd);
}

static int connect_to(const struct sockaddr_un *address, const char *name,
		      struct err *err)
{
	autofd int fd = new_socket(err);

	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return err_sys(err, -errno, "'%s'", name);
	return fd_steal(&fd);
}

int keeper_connect(int directory, const char *name, struct err *err)
{
	struct sockaddr_un address = address_of(directory, name);

	return connect_to(&address, name, err);
}

int keeper_connect_here(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
	return connect_to(&address, name, NULL);
}

int keeper_connect_path(const char *folder, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	autofd int directory = -1;

	if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path),
			     "%s/%s", folder, name) < sizeof(address.sun_path))
		return connect_to(&address, name, NULL);
	directory = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return directory < 0 ? -errno : keeper_connect(directory, name, NULL);
}

/* ---- packets ---- */

/* Aligned as the kernel's macros want it. */
union room {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int keeper_send(int fd, const struct keeper_message *message, int descriptor)
{
	struct keeper_packet packet;
	struct iovec iov = { &packet, sizeof(packet) };
	struct msghdr head = { .msg_iov = &iov, .msg_iovlen = 1 };
	union room room = { 0 };
	ssize_t n;

	keeper_put(message, &packet);
	if (descriptor >= 0) {
		head.msg_control = &room;
		head.msg_controllen = sizeof(room);
		room.head.cmsg_level = SOL_SOCKET;
		room.head.cmsg_type = SCM_RIGHTS;
		room.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&room.head), &descriptor, sizeof(int));
	}
	do
		n = sendmsg(fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ENOBUFS ? -EAGAIN : -errno;
	return n == (ssize_t)sizeof(packet) ? 0 : -EPIPE;
}

static void take_descriptors(struct msghdr *head, struct keeper_packet_in *out)
{
	struct cmsghdr *one = CMSG_FIRSTHDR(head);

	if (head->msg_flags & MSG_CTRUNC)
		out->descriptors++;
	for (; one; one = CMSG_NXTHDR(head, one)) {
		size_t count = (one->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (one->cmsg_level != SOL_SOCKET ||
		    one->cmsg_type != SCM_RIGHTS)
			continue;
		/* There is room for one; were there more, none may stay. */
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(one) + i * sizeof(int),
			       sizeof(fd));
			if (out->descriptors++)
				close(fd);
			else
				out->descriptor = fd;
		}
	}
}

int keeper_receive(int fd, struct keeper_packet_in *out)
{
	struct iovec iov = { out->data, sizeof(out->data) };
	union room room;
	struct msghdr head = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &room,
		/* The rest of the room would take a second one. */
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	ssize_t n;

	do
		n = recvmsg(fd, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : 0;
	out->descriptors = 0;
	out->descriptor = -1;
	take_descriptors(&head, out);
	out->size = (size_t)n;
	/* An empty packet looks like the end, and is none that we know. */
	if (!n && out->descriptor >= 0)
		close(out->descriptor);
	return n > 0;
}
