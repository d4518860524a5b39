/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stock qemu-guest-agent, by its own protocol: one JSON object a line, each
 * way. What comes from it is a guest's, and hostile: a line is bounded, looked
 * over before it is parsed, and each value checked for type and range.
 * Private.
 */
#ifndef VMSNAP_GUEST_AGENT_H
#define VMSNAP_GUEST_AGENT_H

#include "vmsnap/engine.h"

/* Of a line, but for that with a command's output: the agent keeps 16 MiB each
 * of both streams. */
#define GUEST_AGENT_LINE_MAX   (64u * 1024)
#define GUEST_AGENT_OUTPUT_MAX (48u * 1024 * 1024)

/* ---- guest_agent.c: messages, no I/O ---- */

/* Lines, with their LF, to the end of `out`. The first begins with a delimiter
 * that ends whatever the agent has half read, and asks for one. */
int guest_agent_put_sync(struct bytes *out, uint32_t id, struct err *err);
/* -EINVAL: a word that is no UTF-8. */
int guest_agent_put_command(struct bytes *out,
			    const struct vms_command *command, struct err *err);
int guest_agent_put_look(struct bytes *out, uint64_t process, struct err *err);

struct guest_agent_look {
	bool ended;
	struct vms_command_result result; /* owned; of one that has ended */
};

/*
 * Of a line without its LF. -EPROTO: it is no such reply; -EOPNOTSUPP: the
 * agent knows no such request, or may not; -EIO: it could not, with its words.
 */
int guest_agent_get_sync(const char *line, size_t size, uint32_t *id,
			 struct err *err);
int guest_agent_get_command(const char *line, size_t size, uint64_t *process,
			    struct err *err);
int guest_agent_get_look(const char *line, size_t size,
			 struct guest_agent_look *out, struct err *err);

/* ---- guest_command.c ---- */

/* By a connected socket, which stays the caller's. -EBUSY: it was hung up on
 * before a byte came. Else as vms_machine_command(). */
int guest_agent_run(int fd, const struct vms_command *command,
		    struct vms_command_result *result, struct err *err);

#endif
