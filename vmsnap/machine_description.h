/* SPDX-License-Identifier: Apache-2.0 */
/* machine.json: to text and from text, no I/O. spec/machine.md. Private. */
#ifndef VMSNAP_MACHINE_DESCRIPTION_H
#define VMSNAP_MACHINE_DESCRIPTION_H

#include "vmsnap/engine.h"

#define MACHINE_JSON_MAX (256u * 1024)

/* One line with its LF, to free(); -ENOMEM. */
int machine_description_put(const struct vms_machine *machine, char **out,
			    struct err *err);
/* -EBADMSG; -EOPNOTSUPP: another version. What is in *out is the caller's to
 * release. */
int machine_description_get(const char *text, size_t size,
			    struct vms_machine *out, struct err *err);
/* -EINVAL: a value that the format does not allow. */
int machine_description_check(const struct vms_machine *machine,
			      struct err *err);

/* end.json; state is "stopped" or "crashed". -EBADMSG. */
int machine_end_get(const char *data, size_t size, char state[16],
		    char text[ERR_TEXT_MAX], struct err *err);

#endif
