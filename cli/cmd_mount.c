/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap mount: checks what can be checked, then becomes vmsnap-mount. */
#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/door.h"

int cmd_mount(struct cli *cli, struct err *err)
{
	struct door_words words = { 0 };
	char path[PATH_MAX], number[16];
	const char *location;
	struct vms *vms = NULL;
	int fd = -1, r;

	r = door_find("vmsnap-mount", path, err);
	if (r < 0)
		return r;
	cli->keep_passphrase = true;
	r = cli_open(cli, STORE_READ, false, &vms, err);
	if (r < 0)
		return r;
	vms_close(vms);
	r = cli_location(cli, &location, err);
	if (r == 0)
		r = door_passphrase(cli, &fd, err);
	if (r < 0)
		return r;
	door_word(&words, path);
	if (cli_given(cli, OPT_ALLOW_OTHER))
		door_word(&words, "--allow-other");
	if (cli_given(cli, OPT_WRITABLE))
		door_word(&words, "--writable");
	if (cli_given(cli, OPT_FOREGROUND))
		door_word(&words, "--foreground");
	if (cli_given(cli, OPT_QUIET))
		door_word(&words, "--quiet");
	if (cli_given(cli, OPT_JSON))
		door_word(&words, "--json");
	if (fd >= 0) {
		snprintf(number, sizeof(number), "%d", fd);
		door_word(&words, "--passphrase-fd");
		door_word(&words, number);
	}
	door_word(&words, "--");
	door_word(&words, location);
	door_word(&words, cli->options.arguments[0]);
	r = door_exec(path, &words, err);
	if (fd >= 0)
		close(fd);
	return r;
}
