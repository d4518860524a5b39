/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of a machine, for the files machine_*.c. Private. */
#ifndef VMSNAP_MACHINE_HOME_H
#define VMSNAP_MACHINE_HOME_H

#include "vmsnap/engine.h"

/* HOME/machines/NAME/FILE into `path`; FILE may be "". -EINVAL: no name of a
 * machine. -ENAMETOOLONG. */
int machine_path(const char *home, const char *name, const char *file,
		 char path[PATH_MAX], struct err *err);
/* And what lies above it, as far as it isn't there; mode 0700. */
int home_make_directories(const char *path, struct err *err);
/* The directory as a descriptor; -ENOENT says which machines there are. */
int machine_open(const char *home, const char *name, struct err *err);
/* At most `max` bytes of a file in it, to free(); the size. -EFBIG. */
ssize_t machine_read_file(int directory, const char *file, size_t max,
			  char **out, struct err *err);
/* Does an agent hold the lock? 1, 0, -errno. */
int machine_is_locked(int directory, struct err *err);
/* -ESRCH with words: its agent is gone, or was never there. */
int machine_not_running(const char *name, struct err *err);
/* A connected socket of the machine's, by the name before its ".sock". -ESRCH:
 * there is no agent. */
int machine_connect(const char *home, const char *name, const char *socket,
		    struct err *err);
/* The lock as a descriptor that holds it. -EBUSY. -ENOENT: the machine has been
 * removed since its directory was opened. */
int machine_lock(int directory, const char *name, struct err *err);
/* The user that the machine runs as when root starts it, its own among those of
 * its home; 0 for others. */
#define MACHINE_USER_FIRST 1879048192u /* a range that systemd leaves free */
#define MACHINE_USER_LAST  (MACHINE_USER_FIRST + 65535u)
int machine_user(int directory, uint32_t *out, struct err *err);
/* When a process began: field 22 of its /proc/PID/stat. */
int machine_process_start(int process, uint64_t *out, struct err *err);

#endif
