/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of a keeper: HOME/keepers/STOREID/. Private. */
#ifndef VMSNAP_KEEPER_HOME_H
#define VMSNAP_KEEPER_HOME_H

#include "vmsnap/machine_home.h"

#define STORE_HEX_SIZE (2 * VMS_STORE_ID_SIZE + 1)

/* FILE in it, or "". */
int keeper_home_path(const char *home, const uint8_t store[VMS_STORE_ID_SIZE],
		     const char *file, char path[PATH_MAX], struct err *err);
/* As a descriptor; with `make` it is made, and agents/ in it. -ENOENT. */
int keeper_home_open(const char *home, const uint8_t store[VMS_STORE_ID_SIZE],
		     bool make, struct err *err);
/* A descriptor that holds its lock. -EBUSY: a keeper does. */
int keeper_home_lock(int directory, struct err *err);

/* This process and when it began, for the next one. */
int keeper_process_write(int directory, const char *file, struct err *err);
/* Ends the process that the file names, if that is still the one. -ESRCH. */
int keeper_process_kill(int directory, const char *file, struct err *err);

#endif
