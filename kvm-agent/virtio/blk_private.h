/* SPDX-License-Identifier: Apache-2.0 */
/* What virtio-blk's files share. All with virtio.lock held. */
#ifndef KVM_AGENT_VIRTIO_BLK_PRIVATE_H
#define KVM_AGENT_VIRTIO_BLK_PRIVATE_H

#include "format/base/le.h"
#include "kvm-agent/virtio/blk.h"

#define BLK_F_FLUSH       (1ULL << 9)
#define BLK_RANGES_MAX    32u
#define BLK_RANGE_SECTORS (1u << 22) /* 2 GiB */
#define BLK_OK            0u         /* a request's status */

struct blk_head {
	le32 type, reserved;
	le64 sector;
};

struct blk_range {
	le64 sector;
	le32 sectors, flags;
};

struct blk_piece {
	struct disk_request disk;
	struct blk_request *request;
	uint64_t at;     /* of the request's data */
	uint8_t *bounce; /* or NULL */
	struct blk_piece *next;
};

struct blk_request {
	struct blk_request *next;
	enum disk_op op;
	uint16_t head;
	unsigned queue;
	uint8_t *status;
	uint64_t offset;    /* on the disk */
	uint64_t length;    /* of data; of ranges: their number */
	uint64_t begun;     /* so much of it is in pieces */
	unsigned under_way; /* pieces */
	int result;
	bool bounce;
	struct blk_range *ranges; /* of what is to be discarded or zeroed */
	unsigned count;
	struct iovec segments[]; /* of data */
};

/* ---- blk_request.c ---- */

/* A chain of the driver's: it is answered at once, or waits for pieces. */
void blk_take(struct blk *blk, unsigned queue,
	      const struct virtqueue_chain *chain);

/* ---- blk_pieces.c ---- */

void blk_request_free(struct blk_request *request);
/* The request's end; its queue is to be signalled. `data_bytes` of it were to be
 * written to the guest. */
void blk_answer(struct blk *blk, unsigned queue, uint16_t head, uint8_t *status,
		int result, uint64_t data_bytes);
void blk_wait_for_pieces(struct blk *blk, struct blk_request *request);
/* Gives pieces to the disk as long as there are any. */
void blk_submit_waiting(struct blk *blk);
/* What was not begun never is. */
void blk_cancel_waiting(struct blk *blk);
/* The disk has given it back. */
void blk_piece_done(struct blk *blk, struct blk_piece *piece);

#endif
