/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue of virtio 1.x, the device's side.
 *
 * All in the rings is a guest's: an index is read once, a descriptor is copied
 * once and then checked, and what comes out of virtqueue_pop() are pointers
 * into RAM whose lengths hold. A chain that breaks a rule makes the queue
 * broken; nothing more is taken from it until it is reset. One thread at a
 * time (its device's lock).
 */
#ifndef KVM_AGENT_VIRTIO_QUEUE_H
#define KVM_AGENT_VIRTIO_QUEUE_H

#include <sys/uio.h>

#include "kvm-agent/vm/memory.h"

#define VIRTQUEUE_SIZE_MAX     1024u /* entries of a ring; a power of two */
#define VIRTQUEUE_SEGMENTS_MAX 256u  /* of one chain */

/* What was put into the ring as one: first what the device reads. */
struct virtqueue_chain {
	uint16_t head;
	unsigned count;          /* segments */
	unsigned readable_count; /* so many of them are the device's to read */
	uint64_t readable_bytes;
	uint64_t writable_bytes; /* at most UINT32_MAX */
	struct iovec segments[VIRTQUEUE_SEGMENTS_MAX];
};

struct virtqueue {
	const struct memory *memory;
	unsigned size_max;
	/* As the driver set them. */
	unsigned size;
	bool enabled;
	struct gpa descriptors, driver, device;
	bool event_index, indirect; /* negotiated */
	/* Where we are. */
	uint16_t next_available, next_used;
	uint16_t signalled; /* next_used at the last interrupt */
	/* The areas in this process, while it is enabled. */
	const uint8_t *descriptor_area;
	uint8_t *driver_area, *device_area;
	const char *broken; /* why; NULL: it isn't */
};

/* As after a reset; size_max stays. */
void virtqueue_reset(struct virtqueue *queue);
/* Finds the areas. -EFAULT: not in RAM, not aligned; -EINVAL: the size. */
int virtqueue_enable(struct virtqueue *queue);

/*
 * The next chain. 1; 0: there is none; -EBADMSG: the queue is broken. Its
 * pointers hold as long as the memory does.
 */
int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain);
/* One that was popped and can't be served now is the next one again: the last
 * one that was popped and neither given back nor pushed. */
void virtqueue_unpop(struct virtqueue *queue);
/* A chain is done; `written` bytes of what it has to be written are. */
struct virtqueue_used {
	uint16_t head;
	uint32_t written;
};
void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);
/* Several, of which the driver sees all or none. */
void virtqueue_push_all(struct virtqueue *queue,
			const struct virtqueue_used *used, unsigned count);
/* Whether the driver wants to hear of what was pushed since the last time
 * that this was true. To be called once a batch. */
bool virtqueue_wants_interrupt(struct virtqueue *queue);

/* The driver need not tell of new chains, for a while. */
void virtqueue_hush(struct virtqueue *queue);
/* It must from now on. True: something is there already, look again. */
bool virtqueue_listen(struct virtqueue *queue);

/* Copies out of what the device reads, and into what it writes, from `offset`
 * on; returns how many bytes there were. */
size_t chain_read(const struct virtqueue_chain *chain, uint64_t offset,
		  void *buffer, size_t length);
size_t chain_write(const struct virtqueue_chain *chain, uint64_t offset,
		   const void *buffer, size_t length);

/* The same for any segments. */
size_t segments_copy_out(const struct iovec *segments, unsigned count,
			 uint64_t offset, void *buffer, size_t length);
size_t segments_copy_in(const struct iovec *segments, unsigned count,
			uint64_t offset, const void *buffer, size_t length);
/* Those of [from, from + length); `out` has room for `count`. How many. */
unsigned segments_cut(const struct iovec *segments, unsigned count,
		      uint64_t from, uint64_t length, struct iovec *out);

#endif
