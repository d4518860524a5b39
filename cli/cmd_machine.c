/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap pause, resume, stop, rm: one word to a machine, or to several. */
#include <errno.h>

#include "cli/cli.h"
#include "cli/keeper.h"
#include "cli/machine.h"
#include "cli/text.h"

#define PATIENCE_S 90 /* of stop, for a guest that shuts down */
#define FORCED_MS  5000
#define KILLED_MS  10000

/* With --all, what is so already is as it was meant to be. */
static int unless_so(const struct cli *cli, int r)
{
	return r == -EINVAL && cli_given(cli, OPT_ALL) ? CLI_NOT_NEEDED : r;
}

static int pause_one(struct cli *cli, const char *home, const char *name,
		     struct err *err)
{
	return unless_so(cli,
			 vms_machine_act(home, name, VMS_MACHINE_PAUSE, err));
}

static int resume_one(struct cli *cli, const char *home, const char *name,
		      struct err *err)
{
	return unless_so(cli,
			 vms_machine_act(home, name, VMS_MACHINE_RESUME, err));
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

static int wait_for_guest(const char *home, const char *name, long long seconds,
			  struct err *err)
{
	int r = vms_machine_wait(home, name, (uint64_t)seconds * 1000, err);

	if (r == -ETIMEDOUT)
		r = err_set(err, r,
			    "machine '%s' was asked to shut down and still "
			    "runs after %lld s: 'vmsnap stop --force %s' turns "
			    "it off",
			    name, seconds, name);
	return r;
}

static int ask_guest(const struct cli *cli, const char *home, const char *name,
		     struct err *err)
{
	long long seconds = PATIENCE_S;
	int r = 0;

	if (cli_given(cli, OPT_TIMEOUT))
		r = integer_parse("--timeout", cli_value(cli, OPT_TIMEOUT), 0,
				  86400, &seconds, err);
	if (r)
		return r;
	r = vms_machine_act(home, name, VMS_MACHINE_POWER_BUTTON, err);
	if (r == -EINVAL || r == -EOPNOTSUPP)
		return err_prefix(err, "it can't be asked to shut down (vmsnap "
				       "stop --force turns it off)");
	return r ? r : wait_for_guest(home, name, seconds, err);
}

static int stop_one(struct cli *cli, const char *home, const char *name,
		    struct err *err)
{
	return cli_given(cli, OPT_FORCE) ? force(home, name, err)
					 : ask_guest(cli, home, name, err);
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
	return r ? r : remove_all(cli, home, name, err);
}

static bool is_alive(const struct vms_machine_status *status)
{
	return status->alive;
}

int cmd_pause(struct cli *cli, struct err *err)
{
	static const struct machine_verb verb = { "paused", is_alive,
						  pause_one };

	return cli_each_machine(cli, &verb, err);
}

int cmd_resume(struct cli *cli, struct err *err)
{
	static const struct machine_verb verb = { "resumed", is_alive,
						  resume_one };

	return cli_each_machine(cli, &verb, err);
}

int cmd_stop(struct cli *cli, struct err *err)
{
	static const struct machine_verb verb = { "stopped", is_alive,
						  stop_one };

	return cli_each_machine(cli, &verb, err);
}

int cmd_rm(struct cli *cli, struct err *err)
{
	static const struct machine_verb verb = { "removed", NULL, remove_one };

	return cli_each_machine(cli, &verb, err);
}
