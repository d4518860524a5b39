/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers among the program's options. All: -EINVAL with words. */
#ifndef KVM_AGENT_NUMBERS_H
#define KVM_AGENT_NUMBERS_H

#include <sys/types.h>

#include "format/base/base.h"

/* Like 512M: bytes of RAM. */
int number_size(const char *text, uint64_t *out, struct err *err);
int number_cpus(const char *text, unsigned *out, struct err *err);
int number_user(const char *text, uid_t *out, struct err *err);
/* One that is open. */
int number_fd(const char *text, int *out, struct err *err);

#endif
