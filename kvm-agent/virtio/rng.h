/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng: random bytes of the host's kernel. Locks and threads as
 * transport.h says. */
#ifndef KVM_AGENT_VIRTIO_RNG_H
#define KVM_AGENT_VIRTIO_RNG_H

#include "kvm-agent/virtio/transport.h"

struct rng {
	struct virtio virtio;
	/* Where the bytes come from: 0 or -errno. */
	int (*fill)(void *data, size_t size, struct err *err);
};

int rng_init(struct rng *rng, unsigned instance, const struct virtio_host *host,
	     struct err *err);
void rng_release(struct rng *rng);

#endif
