/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmsnap nbd: finds the disk, then becomes nbdkit with our plugin. The plugin
 * gets the snapshot's id, so that NAME@latest stays what it is now. An image is
 * opened here once, so that what is wrong with it, or that it is in use, is
 * told as by every other verb; it is closed again before the plugin opens it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/door.h"
#include "cli/json.h"
#include "cli/nbd_address.h"

#define ARGUMENT_MAX (PATH_MAX + 64)

struct nbd {
	struct cli *cli;
	char plugin[PATH_MAX];
	char store[ARGUMENT_MAX], snapshot[ID_HEX_SIZE + 16];
	char disk[NAME_MAX_SIZE + 16], image[ARGUMENT_MAX], passphrase[48];
	struct image_base_info base; /* of the image */
	struct nbd_address address;
	char *ready; /* owned; NULL: it is not told */
	char socket[ARGUMENT_MAX], ready_fd[48];
};

static int choose_disk(struct nbd *nbd, const struct snapshot *snapshot,
		       struct err *err)
{
	const char *name = cli_value(nbd->cli, OPT_DISK);

	if (!name && snapshot->volume_count != 1)
		return err_set(err, -EINVAL,
			       "the snapshot has %zu disks: name one with "
			       "--disk",
			       snapshot->volume_count);
	if (!name)
		name = snapshot->volumes[0].name;
	if (!snapshot_volume(snapshot, name))
		return err_set(err, -ENOENT, "the snapshot has no disk '%s'",
			       name);
	snprintf(nbd->disk, sizeof(nbd->disk), "disk=%s", name);
	return 0;
}

static int find_snapshot(struct nbd *nbd, struct err *err)
{
	autosnapshot struct snapshot snapshot = { 0 };
	autovms struct vms *vms = NULL;
	char hex[ID_HEX_SIZE];
	int r;

	nbd->cli->keep_passphrase = true;
	r = cli_open(nbd->cli, STORE_READ, false, &vms, err);
	if (r == 0)
		r = vms_find_snapshot(vms, nbd->cli->options.arguments[0],
				      &snapshot, err);
	if (r == 0)
		r = choose_disk(nbd, &snapshot, err);
	if (r < 0)
		return r;
	hex_encode(hex, snapshot.id.b, ID_SIZE);
	snprintf(nbd->snapshot, sizeof(nbd->snapshot), "snapshot=%s", hex);
	return 0;
}

/* Without -s the image knows where its base is. */
static int open_base(struct nbd *nbd, struct vms **out, struct err *err)
{
	struct options *options = &nbd->cli->options;

	if (!options->given[OPT_STORE] && nbd->base.store[0]) {
		options->given[OPT_STORE] = true;
		options->value[OPT_STORE] = nbd->base.store;
	}
	nbd->cli->keep_passphrase = true;
	return cli_open(nbd->cli, STORE_READ, false, out, err);
}

static int try_image(struct nbd *nbd, struct vs_io *io, const char *path,
		     struct err *err)
{
	autovms struct vms *vms = NULL;
	struct vms_live *live = NULL;
	struct vms_live_options options = {
		.io = io,
		.path = path,
		.mode = cli_given(nbd->cli, OPT_WRITABLE) ? IMAGE_READ_WRITE
							  : IMAGE_READ_ONLY,
	};
	int r = image_read_base_info(io, path, &nbd->base, err);

	/* A blank one's, for what is made of it while it is served. */
	if (r == 0 && (nbd->base.present || cli_given(nbd->cli, OPT_STORE)))
		r = open_base(nbd, &vms, err);
	if (r < 0)
		return r;
	options.vms = vms;
	r = vms_live_open(&live, &options, err);
	return r ? r : vms_live_close(live, err);
}

static int find_image(struct nbd *nbd, struct err *err)
{
	const char *path = cli_value(nbd->cli, OPT_IMAGE);
	struct vs_io *io = io_new(err);
	int r;

	if (!io)
		return err->code;
	r = try_image(nbd, io, path, err);
	io_free(io);
	if (r == 0 && (size_t)snprintf(nbd->image, sizeof(nbd->image),
				       "image=%s", path) >= sizeof(nbd->image))
		r = err_set(err, -ENAMETOOLONG, "the image's path");
	return r;
}

static int check_what(const struct cli *cli, struct err *err)
{
	if (cli_given(cli, OPT_IMAGE) == (cli->options.argument_count == 1))
		return err_set(err, -EINVAL,
			       "what? Give a SNAPSHOT or --image FILE");
	if (cli_given(cli, OPT_IMAGE) && cli_given(cli, OPT_DISK))
		return err_set(err, -EINVAL, "--disk: an image is one disk");
	return 0;
}

static int find_store(struct nbd *nbd, struct err *err)
{
	const char *location;
	int r;

	if (nbd->image[0] && !nbd->base.present &&
	    !cli_given(nbd->cli, OPT_STORE))
		return 0;
	r = cli_location(nbd->cli, &location, err);
	if (r < 0)
		return r;
	if ((size_t)snprintf(nbd->store, sizeof(nbd->store), "store=%s",
			     location) >= sizeof(nbd->store))
		return err_set(err, -ENAMETOOLONG, "the store's path");
	return 0;
}

static void word_unless_empty(struct door_words *words, const char *word)
{
	if (*word)
		door_word(words, word);
}

static int run(struct nbd *nbd, int fd, struct err *err)
{
	struct door_words words = { 0 };
	int r;

	door_word(&words, "nbdkit");
	door_word(&words, "--foreground");
	if (!cli_given(nbd->cli, OPT_WRITABLE))
		door_word(&words, "--readonly");
	if (nbd->address.port) {
		door_word(&words, "--ipaddr");
		door_word(&words, nbd->address.host);
		door_word(&words, "--port");
		door_word(&words, nbd->address.port);
	} else {
		door_word(&words, "--unix");
		door_word(&words, nbd->address.socket);
	}
	door_word(&words, nbd->plugin);
	word_unless_empty(&words, nbd->socket);
	if (nbd->ready) {
		door_word(&words, nbd->ready);
		door_word(&words, nbd->ready_fd);
	}
	word_unless_empty(&words, nbd->store);
	word_unless_empty(&words, nbd->snapshot);
	word_unless_empty(&words, nbd->disk);
	word_unless_empty(&words, nbd->image);
	if (cli_given(nbd->cli, OPT_WRITABLE))
		door_word(&words, "writable=1");
	if (fd >= 0) {
		snprintf(nbd->passphrase, sizeof(nbd->passphrase),
			 "passphrase-fd=%d", fd);
		door_word(&words, nbd->passphrase);
	}
	r = door_exec("nbdkit", &words, err);
	if (r == -ENOENT)
		r = err_set(err, -EOPNOTSUPP,
			    "nbdkit is not installed: apt-get install nbdkit");
	return r;
}

/* nbdkit's own standard output is /dev/null. */
static int keep_output(struct nbd *nbd, struct err *err)
{
	const int fd = dup(STDOUT_FILENO);

	if (fd < 0)
		return err_sys(err, -errno, "standard output");
	snprintf(nbd->ready_fd, sizeof(nbd->ready_fd), "ready-fd=%d", fd);
	return 0;
}

/* The plugin says it when clients can connect, and takes the socket away. */
static int prepare_words(struct nbd *nbd, struct err *err)
{
	const char *uri = nbd->address.uri;
	char *line = NULL;
	int n = 0;

	if (*nbd->address.socket)
		snprintf(nbd->socket, sizeof(nbd->socket), "socket=%s",
			 nbd->address.socket);
	if (cli_given(nbd->cli, OPT_JSON)) {
		line = json_line(json_pack("{s:s, s:o, s:I}", "type", "nbd",
					   "uri", json_text(uri), "pid",
					   (json_int_t)getpid()),
				 err);
		if (!line)
			return err->code;
		n = asprintf(&nbd->ready, "ready=%s", line);
		free(line);
	} else if (cli_talks(nbd->cli)) {
		n = asprintf(&nbd->ready,
			     "ready=serving %s; Ctrl-C or SIGTERM ends it",
			     uri);
	}
	if (n < 0) {
		nbd->ready = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	return nbd->ready ? keep_output(nbd, err) : 0;
}

int cmd_nbd(struct cli *cli, struct err *err)
{
	struct nbd nbd = { .cli = cli };
	int fd = -1, r;

	r = check_what(cli, err);
	if (r == 0)
		r = nbd_address_parse(&nbd.address, cli, err);
	if (r == 0)
		r = door_find("nbdkit-vmsnap-plugin.so", nbd.plugin, err);
	if (r == 0)
		r = cli_given(cli, OPT_IMAGE) ? find_image(&nbd, err)
					      : find_snapshot(&nbd, err);
	if (r == 0)
		r = find_store(&nbd, err);
	if (r == 0)
		r = nbd_address_clear(&nbd.address, err);
	if (r == 0)
		r = prepare_words(&nbd, err);
	if (r == 0)
		r = door_passphrase(cli, &fd, err);
	if (r == 0)
		r = run(&nbd, fd, err);
	if (fd >= 0)
		close(fd);
	free(nbd.ready);
	return r;
}
