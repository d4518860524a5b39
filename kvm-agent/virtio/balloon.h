/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon: RAM that the guest does not need goes back to the host, page
 * by page when the balloon is to grow, and in large pieces as the guest's
 * kernel frees memory (free-page reporting). Both are the guest's word on its
 * own memory, so nothing of it need be believed.
 */
#ifndef KVM_AGENT_VIRTIO_BALLOON_H
#define KVM_AGENT_VIRTIO_BALLOON_H

#include "kvm-agent/virtio/transport.h"

#define BALLOON_PAGE_SIZE 4096u

struct balloon {
	struct virtio virtio;
	uint32_t target; /* pages that the host wants */
	uint32_t actual; /* and that the guest says it has given */
	uint32_t poison; /* what the guest fills its free pages with */
};

int balloon_init(struct balloon *balloon, unsigned instance,
		 const struct virtio_host *host, struct err *err);
void balloon_release(struct balloon *balloon);

/* Any thread, without the lock. */

/* The guest is to keep so many bytes of its RAM, and to give the rest; it does
 * that in its own time, if at all. While the machine runs. */
void balloon_set_target(struct balloon *balloon, uint64_t keep_bytes);
/* What it says that it has given: at most its RAM. */
uint64_t balloon_bytes(struct balloon *balloon);

#endif
