/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in a format of others, read by QEMU's qemu-nbd. Private. */
#ifndef VMSNAP_DISK_SERVER_H
#define VMSNAP_DISK_SERVER_H

#include <sys/types.h>

#include "vmsnap/engine.h"

#define DISK_SERVER_SOCKETS 4u

struct disk_server {
	pid_t process;
	/* Connections to it that nobody has used; it ends with the last. */
	int sockets[DISK_SERVER_SOCKETS];
};

/*
 * Starts one, which only reads `disk`, and waits until it answers. `socket`: a
 * path for control_bind(), in use as long as that takes. `log` gets its words.
 * -EOPNOTSUPP: there is no qemu-nbd, or it can't read the file. -EBUSY.
 */
int disk_server_start(struct disk_server *out, const char *socket,
		      const struct vms_machine_disk *disk, int log,
		      struct err *err);
/* Closes our ends of it; with `end` it is ended, too. A zeroed one is left
 * alone. */
void disk_server_release(struct disk_server *server, bool end);

#endif
