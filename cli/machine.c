/* SPDX-License-Identifier: Apache-2.0 */
/* Where the machines are, and a verb for several of them. */
#include "cli/machine.h"

#include <errno.h>

#include "cli/report.h"

int cli_home(const struct cli *cli, char home[PATH_MAX], struct err *err)
{
	return vms_home_find(cli_value(cli, OPT_HOME), home, err);
}

static bool is_meant(const char *home, const char *name,
		     bool (*fits)(const struct vms_machine_status *status))
{
	struct vms_machine_status status;

	return !fits || (!vms_machine_status(home, name, &status, NULL) &&
			 fits(&status));
}

int cli_each_machine(struct cli *cli,
		     bool (*fits)(const struct vms_machine_status *status),
		     int (*run)(struct cli *cli, const char *home,
				const char *name, struct err *err),
		     struct err *err)
{
	struct vms_machine_names names = { 0 };
	const bool all = cli_given(cli, OPT_ALL);
	char home[PATH_MAX];
	int worst = 0;
	size_t count;
	int r = cli_home(cli, home, err);

	if (!r && all == (cli->options.argument_count > 0))
		r = err_set(err, -EINVAL,
			    "which machine? Give a NAME, or --all");
	if (!r && all)
		r = vms_machine_list(home, &names, err);
	if (r)
		return r;
	count = all ? names.count : cli->options.argument_count;
	for (size_t i = 0; i < count; i++) {
		const char *name =
			all ? names.names[i] : cli->options.arguments[i];
		struct err why = { 0 };

		if (all && !is_meant(home, name, fits))
			continue;
		r = run(cli, home, name, &why);
		if (!r)
			continue;
		report_error(cli, &why);
		worst = worst ? worst : (int)status_of(r);
	}
	vms_machine_names_release(&names);
	return worst;
}
