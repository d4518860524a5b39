/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap pause, resume, stop, rm: one word to a machine, or to several. */
#include <errno.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/keeper.h"
#include "cli/machine.h"
#include "cli/report.h"
#include "cli/text.h"

#define PATIENCE_S 90 /* of stop, for a guest that shuts down */
#define FORCED_MS  5000
#define KILLED_MS  10000

static int tell(const struct cli *cli, const char *name, const char *what,
		struct err *err)
{
	if (cli_given(cli, OPT_JSON))
		return json_say(
			json_pack("{s:s, s:s}", "type", what, "name", name),
			err);
	if (cli_talks(cli))
		say("machine '%s' %s\n", name, what);
	return 0;
}

static int pause_one(struct cli *cli, const char *home, const char *name,
		     struct err *err)
{
	int r = vms_machine_act(home, name, VMS_MACHINE_PAUSE, err);

	return r ? r : tell(cli, name, "paused", err);
}

static int resume_one(struct cli *cli, const char *home, const char *name,
		      struct err *err)
{
	int r = vms_machine_act(home, name, VMS_MACHINE_RESUME, err);

	return r ? r : tell(cli, name, "resumed", err);
}

/* Power off; an agent that does not answer is ended. */
static int force(const char *home, const char *name, struct err *err)
{
	int r = vms_machine_act(home, name, VMS_MACHINE_STOP, err);

	if (r == -ENOENT ||
	    (r == -ESRCH && vms_machine_wait(home, name, 0, NULL) == 0))
		return r;
	/* One that is ending already answers no more. */
	if (!r || r == -ESRCH)
		r = vms_machine_wait(home, name, FORCED_MS, err);
	if (!r)
		return r;
	r = vms_machine_kill(home, name, err);
	/* It may have ended by itself meanwhile. */
	if (r && r != -ESRCH)
		return r;
	return vms_machine_wait(home, name, KILLED_MS, err);
}

static int ask_guest(const struct cli *cli, const char *home, const char *name,
		     struct err *err)
{
	long long seconds = PATIENCE_S;
	int r = 0;

	if (cli_given(cli, OPT_TIMEOUT))
		r = integer_parse("--timeout", cli_value(cli, OPT_TIMEOUT), 0,
				  86400, &seconds, err);
	if (!r)
		r = vms_machine_act(home, name, VMS_MACHINE_POWER_BUTTON, err);
	if (r == -EINVAL || r == -EOPNOTSUPP)
		return err_prefix(err, "it can't be asked to shut down (vmsnap "
				       "stop --force turns it off)");
	if (!r)
		r = vms_machine_wait(home, name, (uint64_t)seconds * 1000, err);
	if (r == -ETIMEDOUT)
		r = err_set(err, r,
			    "machine '%s' was asked to shut down and still "
			    "runs after %lld s: 'vmsnap stop --force %s' turns "
			    "it off",
			    name, seconds, name);
	return r;
}

static int stop_one(struct cli *cli, const char *home, const char *name,
		    struct err *err)
{
	int r = cli_given(cli, OPT_FORCE) ? force(home, name, err)
					  : ask_guest(cli, home, name, err);

	return r ? r : tell(cli, name, "stopped", err);
}

/* Held all the while, so that nobody starts it without its disks. */
static int remove_all(struct cli *cli, const char *home, const char *name,
		      struct err *err)
{
	autofd int held = vms_machine_hold(home, name, err);
	int r;

	if (held < 0)
		return held;
	r = run_disks_remove(cli, home, name, err);
	return r ? r : vms_machine_remove_held(home, name, err);
}

static int remove_one(struct cli *cli, const char *home, const char *name,
		      struct err *err)
{
	int r = 0;

	if (cli_given(cli, OPT_FORCE))
		r = force(home, name, err);
	/* It may be about to end. */
	if (r == -ESRCH)
		r = vms_machine_wait(home, name, KILLED_MS, err);
	if (!r)
		r = remove_all(cli, home, name, err);
	return r ? r : tell(cli, name, "removed", err);
}

static bool is_alive(const struct vms_machine_status *status)
{
	return status->alive;
}

int cmd_pause(struct cli *cli, struct err *err)
{
	return cli_each_machine(cli, is_alive, pause_one, err);
}

int cmd_resume(struct cli *cli, struct err *err)
{
	return cli_each_machine(cli, is_alive, resume_one, err);
}

int cmd_stop(struct cli *cli, struct err *err)
{
	return cli_each_machine(cli, is_alive, stop_one, err);
}

int cmd_rm(struct cli *cli, struct err *err)
{
	return cli_each_machine(cli, NULL, remove_one, err);
}
