/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a machine's network. An interface is opened by name here,
 * so that the agent needs no right to networks; it is never made, because who
 * may make one is the admin's to say.
 *
 * passt gets one end of a pair of sockets and the agent the other: so it serves
 * this machine alone, and ends with it, whoever of the two goes first. It goes
 * into the background once it is ready; until then it is our child and its exit
 * status tells. What it says goes to a pipe that never makes it wait.
 */
#include "vmsnap/machine_net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define PASST          "passt"
#define NOT_FOUND      127
#define PASST_FD       "3"
#define WORDS_MAX      (16 + 2 * VMS_NET_FORWARDS_MAX)
#define PORTS_TRIES    20u
#define PORTS_PAUSE_NS 50000000
#define MTU_MIN        68
#define SAID_MAX       4096
#define TAP_FLAGS      (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

/* ---- tap ---- */

static int attach(int fd, const char *name, int flags)
{
	struct ifreq request = { .ifr_flags = (short)flags };

	memcpy(request.ifr_name, name, strlen(name));
	return ioctl(fd, TUNSETIFF, &request) < 0 ? -errno : 0;
}

static int no_tap(const char *name, int code, struct err *err)
{
	switch (code) {
	case -EBUSY:
		return err_set(err, -EBUSY,
			       "the interface '%s' is another machine's", name);
	case -EPERM:
		return err_set(err, -ENONET,
			       "no right to the interface '%s': make it with "
			       "'ip tuntap add dev %s mode tap user USER'",
			       name, name);
	case -EINVAL:
		return err_set(err, -ENONET,
			       "the interface '%s' is no tap: make one with "
			       "'ip tuntap add dev NAME mode tap user USER'",
			       name);
	default:
		return err_sys(err, -ENONET, "the interface '%s'", name);
	}
}

/* The guest's frames are as long as the host takes them; 0: not known. */
static unsigned mtu_of(const char *name)
{
	autofd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { 0 };

	memcpy(request.ifr_name, name, strlen(name));
	if (fd < 0 || ioctl(fd, SIOCGIFMTU, &request) < 0 ||
	    request.ifr_mtu < MTU_MIN || request.ifr_mtu > UINT16_MAX)
		return 0;
	return (unsigned)request.ifr_mtu;
}

static int open_tap(const char *name, struct err *err)
{
	autofd int fd = -1;
	int r;

	/* Else it would be made, where we may, and go with the machine. */
	if (!if_nametoindex(name))
		return err_set(err, -ENONET,
			       "no interface '%s': make it with 'ip tuntap add "
			       "dev %s mode tap user USER' and 'ip link set %s "
			       "up'",
			       name, name, name);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(err, -errno == -EACCES ? -EPERM : -errno,
			       "'/dev/net/tun'");
	r = attach(fd, name, TAP_FLAGS);
	if (r == -EINVAL)
		r = attach(fd, name, TAP_FLAGS | IFF_MULTI_QUEUE);
	return r ? no_tap(name, r, err) : fd_steal(&fd);
}

/* ---- passt ---- */

static void make_words(const struct vms_machine_net *net,
		       const char *words[WORDS_MAX])
{
	unsigned count = 0;

	words[count++] = PASST;
	words[count++] = "--quiet";
	words[count++] = "--fd";
	words[count++] = PASST_FD;
	/* What listens on the host's loopback is not for guests. */
	if (!net->host)
		words[count++] = "--no-map-gw";
	for (unsigned i = 0; i < net->forward_count; i++) {
		words[count++] = net->forwards[i][0] == 't' ? "-t" : "-u";
		words[count++] = net->forwards[i] + 4;
	}
	words[count] = NULL;
}

/* Async-signal-safe calls only. */
static void run_passt(int fd, int said, const char *const *words)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	signal(SIGPIPE, SIG_DFL);
	/* By way of numbers above all of those that it gets. */
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 4);
	said = fcntl(said, F_DUPFD_CLOEXEC, 4);
	if (fd >= 0 && said >= 0 && dup2(null, 0) >= 0 && dup2(said, 1) >= 0 &&
	    dup2(said, 2) >= 0 && dup2(fd, 3) >= 0 &&
	    close_range(4, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
		execvp(words[0], (char *const *)(uintptr_t)words);
	_exit(NOT_FOUND);
}

static int start_passt(struct machine_net *out,
		       const struct vms_machine_net *net, struct err *err)
{
	const char *words[WORDS_MAX];
	autofd int ours = -1, its = -1, said = -1;
	int ends[2];
	pid_t child;

	make_words(net, words);
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(err, -errno, "a pipe for passt");
	out->words = ends[0];
	said = ends[1];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(err, -errno, "a socket for passt");
	ours = ends[0];
	its = ends[1];
	child = fork();
	if (child < 0)
		return err_sys(err, -errno, "can't start passt");
	if (!child)
		run_passt(its, said, words);
	out->passt = child;
	out->fd = fd_steal(&ours);
	return 0;
}

/* Its last line. */
static void last_words(int fd, char out[ERR_TEXT_MAX])
{
	char said[SAID_MAX];
	ssize_t size = read(fd, said, sizeof(said) - 1);
	char *line = said;

	while (size > 0 && said[size - 1] == '\n')
		size--;
	said[size > 0 ? size : 0] = 0;
	if (strrchr(said, '\n'))
		line = strrchr(said, '\n') + 1;
	escape_name(out, ERR_TEXT_MAX, line);
}

static int wait_passt(struct machine_net *net)
{
	int status = -1;

	while (waitpid(net->passt, &status, 0) < 0 && errno == EINTR)
		;
	net->passt = 0;
	return status;
}

int machine_net_await(struct machine_net *net, struct err *err)
{
	char words[ERR_TEXT_MAX];
	int status;

	if (!net->passt)
		return 0;
	status = wait_passt(net);
	if (status == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
		return err_set(err, -ENONET,
			       "passt is not installed: 'apt install passt', "
			       "or give another --net");
	last_words(net->words, words);
	return err_set(err, -ENONET, "passt did not start: %s",
		       *words ? words : "it did not say why");
}

/* ---- what a host has ---- */

static bool can_run(const char *name)
{
	const char *path = getenv("PATH");
	char file[4096];

	for (path = path ? path : "/usr/bin:/bin"; *path;) {
		size_t size = strcspn(path, ":");

		if (snprintf(file, sizeof(file), "%.*s/%s", (int)size, path,
			     name) < (int)sizeof(file) &&
		    access(file, X_OK) == 0)
			return true;
		path += size + (path[size] == ':');
	}
	return false;
}

/* IPv4: interface, destination, ... */
static bool is_default4(const char *line)
{
	char interface[64], destination[64];

	return sscanf(line, "%63s %63s", interface, destination) == 2 &&
	       !strcmp(destination, "00000000");
}

/* IPv6: destination, length of its prefix, eight more, interface. */
static bool is_default6(const char *line)
{
	char destination[64], length[64], interface[64];

	return sscanf(line,
		      "%63s %63s %*s %*s %*s %*s %*s %*s %*s "
		      "%63s",
		      destination, length, interface) == 3 &&
	       strspn(destination, "0") == strlen(destination) &&
	       !strcmp(length, "00") && strcmp(interface, "lo") != 0;
}

static bool has_line(const char *file, bool (*is_it)(const char *line))
{
	FILE *table = fopen(file, "re");
	char line[512];
	bool found = false;

	while (table && !found && fgets(line, sizeof(line), table))
		found = is_it(line);
	if (table)
		fclose(table);
	return found;
}

int vms_net_user_check(struct err *err)
{
	if (!can_run(PASST))
		return err_set(err, -ENONET,
			       "passt is not installed: 'apt install passt'");
	if (!has_line("/proc/self/net/route", is_default4) &&
	    !has_line("/proc/self/net/ipv6_route", is_default6))
		return err_set(err, -ENONET,
			       "this host has no default route to share");
	return 0;
}

/* ---- all of it ---- */

void machine_net_release(struct machine_net *net)
{
	if (net->passt) {
		kill(net->passt, SIGKILL);
		(void)wait_passt(net);
	}
	if (net->fd >= 0)
		close(net->fd);
	if (net->words >= 0)
		close(net->words);
	*net = (struct machine_net){ .fd = -1, .words = -1 };
}

/* A port may still be that of a passt that is about to end, of the machine's
 * last life: it gets a moment for it. */
static int start_and_await(struct machine_net *out,
			   const struct vms_machine_net *net, struct err *err)
{
	const struct timespec pause = { .tv_nsec = PORTS_PAUSE_NS };
	unsigned tries = net->forward_count ? PORTS_TRIES : 1;
	int r;

	do {
		machine_net_release(out);
		r = start_passt(out, net, err);
		if (!r)
			r = machine_net_await(out, err);
	} while (r == -ENONET && can_run(PASST) && --tries &&
		 !nanosleep(&pause, NULL));
	return r;
}

int machine_net_open(struct machine_net *out, const struct vms_machine_net *net,
		     struct err *err)
{
	*out = (struct machine_net){ .fd = -1, .words = -1 };
	switch (net->kind) {
	case VMS_NET_NONE:
		return 0;
	case VMS_NET_USER:
		return net->forward_count || vms_net_user_check(NULL)
			       ? start_and_await(out, net, err)
			       : start_passt(out, net, err);
	case VMS_NET_TAP:
		out->fd = open_tap(net->interface, err);
		out->mtu = mtu_of(net->interface);
		return out->fd < 0 ? out->fd : 0;
	}
	return -EINVAL;
}
