/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command in a machine's guest: whether the machine is there to be asked, and
 * its agent.sock, which is for one client at a time: another's turn is waited
 * for.
 */
#include "vmsnap/machine_home.h"

#include <errno.h>
#include <string.h>

#include "vmsnap/guest_agent.h"

#define TURN_MS  10000
#define AGAIN_US 50000

void vms_command_result_release(struct vms_command_result *result)
{
	bytes_release(&result->output);
	bytes_release(&result->error);
	*result = (struct vms_command_result){ 0 };
}

static int must_run(const char *home, const char *name, struct err *err)
{
	struct vms_machine_status status;
	int r = vms_machine_status(home, name, &status, err);

	if (r < 0)
		return r;
	if (!status.alive)
		return machine_not_running(name, err);
	if (strcmp(status.state, "running") != 0)
		return err_set(err, -EINVAL,
			       "machine '%s' is %s: its guest can't answer",
			       name, status.state);
	return 0;
}

static int try_once(const char *home, const char *name,
		    const struct vms_command *command,
		    struct vms_command_result *result, struct err *err)
{
	autofd int fd = machine_connect(home, name, "agent", err);

	return fd < 0 ? fd : guest_agent_run(fd, command, result, err);
}

int vms_machine_command(const char *home, const char *name,
			const struct vms_command *command,
			struct vms_command_result *result, struct err *err)
{
	const uint64_t turn_ms =
		command->timeout_ms ? command->timeout_ms : TURN_MS;
	const int64_t until = time_monotonic_ns() + (int64_t)turn_ms * 1000000;
	struct vms_command_result found = { 0 };
	int r;

	if (command->input_size > VMS_COMMAND_INPUT_MAX)
		return err_set(err, -EINVAL,
			       "more than %u MiB of input for a command in a "
			       "guest",
			       VMS_COMMAND_INPUT_MAX >> 20);
	r = must_run(home, name, err);
	if (r < 0)
		return r;
	for (;;) {
		struct vms_command again = *command;
		const int64_t left = until - time_monotonic_ns();

		if (command->timeout_ms)
			again.timeout_ms =
				left > 1000000 ? (uint64_t)left / 1000000 : 1;
		r = try_once(home, name, &again, &found, err);
		if (!r) {
			*result = found;
			return 0;
		}
		if (r != -EBUSY || left <= 0) {
			err_prefix(err, "machine '%s'", name);
			return r;
		}
		usleep(AGAIN_US);
	}
}
