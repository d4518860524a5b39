/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the sandbox share. */
#ifndef KVM_AGENT_SANDBOX_PRIVATE_H
#define KVM_AGENT_SANDBOX_PRIVATE_H

#include <seccomp.h>

#include "kvm-agent/sandbox/sandbox.h"

/* Adds the rules of a kind to a filter that refuses all else; -errno. */
int filter_add_rules(scmp_filter_ctx filter, enum sandbox_kind kind,
		     const struct sandbox_filter *options);

/* Limits, and rights but for those to open files, and to become `user` (0:
 * nobody else). */
int privileges_reduce(uid_t user, struct err *err);
/* The calling thread becomes that user, and keeps no right; -errno. Again: it
 * is. */
int privileges_drop(void);
uid_t privileges_user(void);

/* For the words of a violation. */
const char *sandbox_kind_name(enum sandbox_kind kind);

/* The handler of SIGSYS, once; `end` as in struct sandbox_filter. */
int violation_watch(int end);
/* The calling thread is of this kind. */
void violation_set_kind(enum sandbox_kind kind);

#endif
