/* SPDX-License-Identifier: Apache-2.0 */
/* The program vmsnap-keeper: for vmsnap run, which opens what it names here. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/keeper/watcher.h"
#include "vmsnap/version.h"

enum {
	EXIT_USAGE = 2,
};

static const char help[] =
	"usage: vmsnap-keeper --store STORE --id ID --directory-fd N --lock-fd "
	"N\n"
	"                     --ready-fd N [--passphrase-fd N]\n"
	"Holds a store open for the machines of this user; vmsnap run starts it "
	"with the\n"
	"first of them, and it ends with the last. 'vmsnap keeper status' looks "
	"at it,\n"
	"'vmsnap keeper stop' ends it.\n";

static int parse_fd(const char *text, int *out)
{
	char *end = NULL;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || text[0] < '0' || text[0] > '9' ||
	    value > INT32_MAX || fcntl((int)value, F_SETFD, FD_CLOEXEC) < 0)
		return -EINVAL;
	*out = (int)value;
	return 0;
}

static int parse_option(struct watcher_options *options, int option, int *lock)
{
	switch (option) {
	case 's':
		options->location = optarg;
		return 0;
	case 'i':
		return hex_decode(options->store, sizeof(options->store),
				  optarg, strlen(optarg));
	case 'd':
		return parse_fd(optarg, &options->directory);
	case 'l':
		return parse_fd(optarg, lock);
	case 'r':
		return parse_fd(optarg, &options->ready);
	case 'p':
		return parse_fd(optarg, &options->passphrase);
	default:
		return -EINVAL;
	}
}

static int parse(struct watcher_options *options, int argc, char **argv)
{
	static const struct option table[] = {
		{ "store", required_argument, NULL, 's' },
		{ "id", required_argument, NULL, 'i' },
		{ "directory-fd", required_argument, NULL, 'd' },
		{ "lock-fd", required_argument, NULL, 'l' },
		{ "ready-fd", required_argument, NULL, 'r' },
		{ "passphrase-fd", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	int option, lock = -1;

	while ((option = getopt_long(argc, argv, "", table, NULL)) >= 0) {
		if (option == 'h')
			fputs(help, stdout);
		if (option == 'v')
			puts("vmsnap-keeper " VMSNAP_VERSION);
		if (option == 'h' || option == 'v')
			return 1;
		if (parse_option(options, option, &lock))
			return -EINVAL;
	}
	if (optind < argc || !options->location || options->directory < 0 ||
	    options->ready < 0 || lock < 0)
		return -EINVAL;
	return 0;
}

int main(int argc, char **argv)
{
	struct watcher_options options = { .directory = -1,
					   .ready = -1,
					   .passphrase = -1 };
	int r;

	vms_harden_process();
	r = parse(&options, argc, argv);
	if (r < 0) {
		fputs("vmsnap-keeper: it is for vmsnap run; see --help\n",
		      stderr);
		return EXIT_USAGE;
	}
	if (r > 0)
		return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	return watcher_run(&options);
}
