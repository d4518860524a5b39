/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each chain gets at most 4 KiB, whatever it has room for, so that no guest
 * keeps the I/O thread at it; a driver takes what it got and asks again. It
 * holds nothing of its own: two clones that ask get different bytes.
 */
#include "kvm-agent/virtio/rng.h"

#define QUEUE_SIZE 64u
#define BYTES_MAX  4096u

static void serve(struct virtio *virtio, unsigned queue)
{
	struct rng *rng = container_of(virtio, struct rng, virtio);
	struct virtqueue_chain chain;
	uint8_t bytes[BYTES_MAX];

	do {
		while (virtio_pop(virtio, queue, &chain)) {
			size_t n = (size_t)min_u64(chain.writable_bytes,
						   sizeof(bytes));

			/* The kernel has none: say so by giving none. */
			if (rng->fill(bytes, n, NULL) < 0)
				n = 0;
			n = chain_write(&chain, 0, bytes, n);
			virtio_push(virtio, queue, chain.head, (uint32_t)n);
		}
	} while (virtio_listen(virtio, queue));
	virtio_signal(virtio, queue);
	wipe(bytes, sizeof(bytes));
}

static const struct virtio_class rng_class = {
	.device = { "virtio-rng", 1, virtio_reset, virtio_save,
		    virtio_restore },
	.id = 4,
	.pci_class = 0x00ff00,
	.serve = serve,
};

int rng_init(struct rng *rng, unsigned instance, const struct virtio_host *host,
	     struct err *err)
{
	*rng = (struct rng){ .fill = random_fill };
	return virtio_init(&rng->virtio, &rng_class, instance, host, 0, 1,
			   QUEUE_SIZE, err);
}

void rng_release(struct rng *rng)
{
	virtio_release(&rng->virtio);
}
