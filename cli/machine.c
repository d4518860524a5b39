/* SPDX-License-Identifier: Apache-2.0 */
/* Where the machines are, and a verb for several of them. */
#include "cli/machine.h"

#include <errno.h>

#include "cli/json.h"
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

/* One document for all, the one name's or a list. */
static int tell_json(const struct cli *cli, const char *done, json_t *names,
		     struct err *err)
{
	if (cli_given(cli, OPT_ALL) || cli->options.argument_count > 1)
		return json_say(
			json_pack("{s:s, s:O}", "type", done, "names", names),
			err);
	if (!json_array_size(names))
		return 0;
	return json_say(json_pack("{s:s, s:O}", "type", done, "name",
				  json_array_get(names, 0)),
			err);
}

/* With --all: somebody else has removed it since it was listed, or done what
 * was wanted. */
static bool is_no_more(const struct cli *cli, const struct machine_verb *verb,
		       const char *home, const char *name)
{
	struct vms_machine_status status;
	int r;

	if (!cli_given(cli, OPT_ALL))
		return false;
	r = vms_machine_status(home, name, &status, NULL);
	return r == -ENOENT || (!r && verb->fits && !verb->fits(&status));
}

static int run_one(struct cli *cli, const struct machine_verb *verb,
		   const char *home, const char *name, json_t *names)
{
	struct err why = { 0 };
	int r = verb->run(cli, home, name, &why);

	if (r < 0 && is_no_more(cli, verb, home, name))
		return 0;
	if (r < 0) {
		report_error(cli, &why);
		return (int)status_of(r);
	}
	if (r == CLI_NOT_NEEDED)
		return 0;
	json_array_append_new(names, json_string(name));
	if (cli_talks(cli))
		say("machine '%s' %s\n", name, verb->done);
	return 0;
}

static int run_each(struct cli *cli, const struct machine_verb *verb,
		    const char *home, const struct vms_machine_names *names,
		    json_t *done)
{
	const bool all = cli_given(cli, OPT_ALL);
	size_t count = all ? names->count : cli->options.argument_count;
	int first = 0;

	for (size_t i = 0; i < count; i++) {
		const char *name =
			all ? names->names[i] : cli->options.arguments[i];
		int r;

		if (all && !is_meant(home, name, verb->fits))
			continue;
		r = run_one(cli, verb, home, name, done);
		first = first ? first : r;
	}
	return first;
}

int cli_each_machine(struct cli *cli, const struct machine_verb *verb,
		     struct err *err)
{
	struct vms_machine_names names = { 0 };
	const bool all = cli_given(cli, OPT_ALL);
	char home[PATH_MAX];
	json_t *done;
	int r = cli_home(cli, home, err);

	if (!r && all == (cli->options.argument_count > 0))
		r = err_set(err, -EINVAL,
			    "which machine? Give a NAME, or --all");
	if (!r && all)
		r = vms_machine_list(home, &names, err);
	if (r)
		return r;
	done = json_array();
	r = run_each(cli, verb, home, &names, done);
	if (cli_given(cli, OPT_JSON) && tell_json(cli, verb->done, done, err))
		r = err->code;
	json_decref(done);
	vms_machine_names_release(&names);
	return r;
}
