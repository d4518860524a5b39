/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper that vmsnap run has named, and what it has granted this machine. */
#ifndef KVM_AGENT_KEEPER_H
#define KVM_AGENT_KEEPER_H

#include "vmsnap/keeper/client.h"

/* Its folder, and grants one behind the other up to the end of `grants`, which
 * is closed. Waits for a first answer. The errors of keeper_client_new(), but
 * -EPROTO: that are no grants. */
int keeper_connect_agent(struct keeper_client **out, const char *folder,
			 int grants, struct err *err);

#endif
