/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of the walls that go up at once. Namespaces first, which take
 * rights that are given up behind them.
 */
#include "kvm-agent/sandbox/sandbox.h"

#include <errno.h>
#include <stdio.h>

#include "kvm-agent/sandbox/private.h"
#include "kvm-agent/sandbox/namespaces.h"
#include "kvm-agent/sandbox/root.h"

int sandbox_enter(const struct sandbox_options *options, struct err *err)
{
	char why[ERR_TEXT_MAX] = "", words[ERR_TEXT_MAX + 80];
	int r = namespaces_enter(why, err);

	if (r > 0)
		r = root_change(options->views, options->view_count, err);
	else if (r == 0 && options->say) {
		snprintf(words, sizeof(words),
			 "it sees the host's files and network, as it may have "
			 "no namespaces: %s",
			 why);
		options->say(words);
	}
	return r == 0 ? privileges_reduce(err) : r;
}
