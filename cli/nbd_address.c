/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nbdkit would refuse in words that don't say what it was for, and the
 * URI that a client is given.
 */
#include "cli/nbd_address.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/text.h"

static int socket_uri(struct nbd_address *out, struct err *err)
{
	static const char plain[] = "/._-~";
	char *at = out->uri + sprintf(out->uri, "nbd+unix:///?socket=");
	const char *end = out->uri + sizeof(out->uri);

	for (const char *c = out->socket; *c; c++) {
		const unsigned char byte = (unsigned char)*c;

		if (end - at < 4)
			return err_set(err, -ENAMETOOLONG, "--socket '%s'",
				       out->socket);
		if (isalnum(byte) || strchr(plain, byte))
			at += sprintf(at, "%c", byte);
		else
			at += sprintf(at, "%%%02X", byte);
	}
	return 0;
}

static int parse_socket(struct nbd_address *out, const char *path,
			struct err *err)
{
	char here[PATH_MAX] = "";
	int size;

	if (!*path)
		return err_set(err, -EINVAL, "--socket '': no path");
	if (*path != '/' && !getcwd(here, sizeof(here)))
		return err_sys(err, -errno, "--socket '%s': this directory",
			       path);
	size = snprintf(out->socket, sizeof(out->socket), "%s%s%s", here,
			*here && strcmp(here, "/") != 0 ? "/" : "", path);
	if (size < 0 ||
	    (size_t)size >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(err, -EINVAL,
			       "--socket '%s%s%s': too long for a socket", here,
			       *here ? "/" : "", path);
	return socket_uri(out, err);
}

static int parse_port(struct nbd_address *out, const char *port,
		      struct err *err)
{
	const char *colon = strrchr(port, ':');
	const char *open = "", *close = "";
	long long number;
	int r;

	/* Who can connect can read the disk: only this host, unless asked. */
	snprintf(out->host, sizeof(out->host), "127.0.0.1");
	if (colon) {
		if ((size_t)(colon - port) >= sizeof(out->host) ||
		    colon == port)
			return err_set(err, -EINVAL,
				       "--port '%s': not ADDRESS:N", port);
		memcpy(out->host, port, (size_t)(colon - port));
		out->host[colon - port] = '\0';
		port = colon + 1;
	}
	out->port = port;
	r = integer_parse("--port", port, 1, 65535, &number, err);
	if (r < 0)
		return r;
	if (strchr(out->host, ':') && *out->host != '[') {
		open = "[";
		close = "]";
	}
	snprintf(out->uri, sizeof(out->uri), "nbd://%s%s%s:%lld", open,
		 out->host, close, number);
	return 0;
}

int nbd_address_parse(struct nbd_address *out, const struct cli *cli,
		      struct err *err)
{
	const char *path = cli_value(cli, OPT_SOCKET);
	const char *port = cli_value(cli, OPT_PORT);

	memset(out, 0, sizeof(*out));
	if (!path == !port)
		return err_set(err, -EINVAL,
			       "where? Give --socket PATH or --port N");
	return path ? parse_socket(out, path, err) : parse_port(out, port, err);
}

static int check_folder(const char *path, struct err *err)
{
	char folder[PATH_MAX];
	char *slash;

	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	slash[slash == folder] = '\0';
	if (access(folder, W_OK | X_OK) < 0)
		return err_sys(err, -errno, "--socket '%s': '%s'", path,
			       folder);
	return 0;
}

int nbd_address_clear(const struct nbd_address *address, struct err *err)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	const char *path = address->socket;
	autofd int fd = -1;
	struct stat st;

	if (!*path)
		return 0;
	if (lstat(path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? check_folder(path, err)
			       : err_sys(err, -errno, "--socket '%s'", path);
	/* connect() refuses what is no socket just as one that nobody has. */
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST,
			       "--socket '%s': a file is there that is no "
			       "socket",
			       path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, -errno, "socket");
	memcpy(name.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0)
		return err_set(err, -EBUSY, "--socket '%s': it is in use",
			       path);
	if (errno != ECONNREFUSED)
		return err_sys(err, -errno, "--socket '%s'", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(err, -errno, "--socket '%s': what a server left",
			       path);
	return check_folder(path, err);
}
