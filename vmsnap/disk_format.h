/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of file a disk is in, by its first bytes: no I/O. Private. */
#ifndef VMSNAP_DISK_FORMAT_H
#define VMSNAP_DISK_FORMAT_H

#include "vmsnap/engine.h"

#define DISK_FORMAT_BYTES (64u * 1024) /* that are looked at */

/*
 * The first bytes of a file, as many as it has up to DISK_FORMAT_BYTES. What is
 * known by nothing is raw. -EOPNOTSUPP: a disk whose content stands in other
 * files too, which whoever made it could choose among all of this host.
 */
int disk_format_probe(const void *data, size_t size, enum vms_disk_format *out,
		      struct err *err);

#endif
