/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel that a disk would boot: found in the disk's own file systems, by a
 * child process that has no right to anything.
 *
 * The disk is hostile, and what reads partitions and ext4 was written for disks
 * that are not. So all of that runs in the child. It asks for bytes of the disk
 * through a socket and gives back a kernel, an initrd and a command line; it
 * has no other descriptor, and of the kernel's calls a dozen.
 */
#ifndef KVM_AGENT_BOOT_DISK_H
#define KVM_AGENT_BOOT_DISK_H

#include "format/base/base.h"
#include "format/base/bytes.h"

#define DISK_KERNEL_MAX  (256 * MIB)
#define DISK_INITRD_MAX  (1 * GIB)
#define DISK_CMDLINE_MAX 2047u

/* The disk, for as long as a look lasts; read by the caller's thread. */
struct disk_reader {
	uint64_t size_bytes;
	/* All of it, which is within the disk; -errno with words. */
	int (*read)(struct disk_reader *reader, uint64_t offset, void *buffer,
		    size_t size, struct err *err);
};

struct disk_finder {
	int pid; /* 0: there is none */
	int fd;
	bool cut; /* atomic */
};

struct disk_boot {
	struct bytes kernel;
	struct bytes initrd; /* of size 0: there is none */
	char cmdline[DISK_CMDLINE_MAX + 1];
};

/* Of a zeroed one, or one that was stopped. Forks: before the process has
 * threads. */
int disk_finder_start(struct disk_finder *finder, struct err *err);
/* Ends the child. A zeroed or stopped one is left alone. */
void disk_finder_stop(struct disk_finder *finder);

/* Any thread: a look that is under way fails with -ECANCELED as soon as the
 * reader lets it, and so does each one that follows. */
void disk_finder_cut(struct disk_finder *finder);

/*
 * Looks, again for each start of the machine, since the guest may have another
 * kernel by then. Blocks for a minute at most. -ENOENT: the disk has no kernel
 * that we know how to find. -EPROTO, -ETIMEDOUT: the child misbehaved, or died,
 * and is gone. Errors of the reader are passed on.
 */
int disk_finder_look(struct disk_finder *finder, struct disk_reader *reader,
		     struct disk_boot *out, struct err *err);
void disk_boot_release(struct disk_boot *boot);

#endif
