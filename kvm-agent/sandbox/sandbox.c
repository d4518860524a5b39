/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of the walls that go up at once. Namespaces first, which take
 * rights that are given up behind them.
 */
#include "kvm-agent/sandbox/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "kvm-agent/sandbox/private.h"
#include "kvm-agent/sandbox/namespaces.h"
#include "kvm-agent/sandbox/root.h"

static void say(const struct sandbox_options *options, const char *what,
		const char *why)
{
	char words[ERR_TEXT_MAX + 160];

	if (!options->say)
		return;
	snprintf(words, sizeof(words), "%s%s", what, why);
	options->say(words);
}

int sandbox_enter(const struct sandbox_options *options, struct err *err)
{
	char why[ERR_TEXT_MAX] = "";
	uid_t user = geteuid() == 0 ? options->user : 0;
	int r = namespaces_enter(why, err);

	if (r == NAMESPACES_NONE) {
		say(options,
		    "it sees the host's files and network, as it may have no "
		    "namespaces: ",
		    why);
		user = 0;
	} else if (r >= 0) {
		if (r == NAMESPACES_OF_USER)
			user = 0;
		r = root_change(options->views, options->view_count, &user,
				err);
		if (r == 0 && options->user && !user)
			say(options,
			    "it runs as root, without its rights, and as no "
			    "user of its own: this kernel, or a file system "
			    "here, can't give it files by mapped mounts",
			    "");
	}
	return r >= 0 ? privileges_reduce(user, err) : r;
}
