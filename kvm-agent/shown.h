/* SPDX-License-Identifier: Apache-2.0 */
/* What of the host's files a machine's agent goes on seeing. */
#ifndef KVM_AGENT_SHOWN_H
#define KVM_AGENT_SHOWN_H

#include "kvm-agent/disks.h"
#include "kvm-agent/sandbox/sandbox.h"

struct shown {
	struct sandbox_options options;
	char *paths[SANDBOX_VIEWS_MAX + BOARD_DISKS_MAX];
	unsigned path_count;
};

/* KVM's device; always. */
int shown_begin(struct shown *shown, struct err *err);
/* A file, device or folder by an absolute path. */
int shown_add(struct shown *shown, const char *path, bool write,
	      struct err *err);
/* A disk; an image is its whole folder. The path becomes the one by which it is
 * found from then on, until shown_release(). */
int shown_add_disk(struct shown *shown, const char **path, enum disk_use use,
		   struct err *err);
/* The machine's own directory, spec/machine.md: what says what the machine is,
 * and which process, can only be read there. */
int shown_add_machine(struct shown *shown, const char *directory,
		      struct err *err);
void shown_release(struct shown *shown);

#endif
