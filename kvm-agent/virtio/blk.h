/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk over a disk.h: several queues, flush, discard, write zeroes. Locks
 * and threads as transport.h says; the disk's completions come by its
 * descriptor in the loop.
 */
#ifndef KVM_AGENT_VIRTIO_BLK_H
#define KVM_AGENT_VIRTIO_BLK_H

#include "kvm-agent/virtio/disk.h"
#include "kvm-agent/virtio/transport.h"
#include "kvm-agent/vm/clock.h"

#define BLK_QUEUES_MAX 16u
#define BLK_SERIAL_MAX 20u
#define BLK_DEPTH      1024u /* to give to disk_image_new(), disk_raw_new() */

struct blk_request;
struct blk_piece;

struct blk {
	struct virtio virtio;
	struct disk *disk;
	struct loop_watch watch;
	struct loop_work again; /* there is more at hand */
	struct clock *clock;    /* the host's; a test has one of its own */
	char serial[BLK_SERIAL_MAX];
	/* The host failed a request; may be NULL. With the lock held. */
	void (*failed)(void *arg, enum disk_op op, uint64_t offset, int code);
	void *failed_arg;

	/* With virtio.lock. */
	struct blk_piece *free_pieces;
	struct blk_piece *pieces;                    /* all of them */
	struct blk_request *waiting, **waiting_last; /* for pieces */
	unsigned requests;
	uint64_t bounced_bytes;
	uint64_t to_signal; /* queues, a bit each */
	uint64_t silent;    /* queues whose drivers don't tell of more */
	unsigned done;      /* pieces, since pace_at_ns */
	int64_t pace_at_ns;
	uint64_t pace_ns;     /* from one piece that is done to the next */
	struct timer stalled; /* set while a disk that is busy is relied on */
};

/* `serial` is cut to BLK_SERIAL_MAX bytes. The disk stays the caller's, and
 * outlives it. */
int blk_init(struct blk *blk, unsigned instance, const struct virtio_host *host,
	     struct disk *disk, unsigned queue_count, const char *serial,
	     struct err *err);
void blk_release(struct blk *blk);

/* By the I/O thread: what the disk has done, for one whose descriptor is -1 and
 * which does not do all at once. */
void blk_poll(struct blk *blk);

#endif
