/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a driver asks a virtio-blk for. A guest's mistake ends that request; only
 * what can't be answered stops the device.
 */
#include <errno.h>

#include "kvm-agent/virtio/blk_private.h"

#define SMALL_SEGMENT     (16 * KIB)

#define TYPE_IN           0u
#define TYPE_OUT          1u
#define TYPE_FLUSH        4u
#define TYPE_ID           8u
#define TYPE_DISCARD      11u
#define TYPE_WRITE_ZEROES 13u

#define FLAG_UNMAP        1u

static bool in_disk(const struct blk *blk, uint64_t sector, uint64_t bytes)
{
	uint64_t sectors = blk->disk->size_bytes / DISK_SECTOR;

	return sector <= sectors && bytes % DISK_SECTOR == 0 &&
	       bytes / DISK_SECTOR <= sectors - sector;
}

/* Where its last byte to write is: the status; NULL: there is none. */
static uint8_t *status_at(const struct virtqueue_chain *chain)
{
	const struct iovec *last;

	if (!chain->writable_bytes)
		return NULL;
	last = &chain->segments[chain->count - 1];
	return (uint8_t *)last->iov_base + last->iov_len - 1;
}

static bool wants_bounce(const struct blk_request *request)
{
	if (request->count > 1 &&
	    request->length / request->count < SMALL_SEGMENT)
		return true;
	for (unsigned i = 0; i < request->count; i++) {
		if (request->segments[i].iov_len % DISK_SECTOR)
			return true;
	}
	return false;
}

static int prepare_data(struct blk *blk, struct blk_request *request,
			const struct virtqueue_chain *chain, uint64_t sector)
{
	bool in = request->op == DISK_READ;

	if (in) {
		request->length = chain->writable_bytes - 1;
		request->count =
			segments_cut(chain->segments + chain->readable_count,
				     chain->count - chain->readable_count, 0,
				     request->length, request->segments);
	} else {
		request->length =
			chain->readable_bytes - sizeof(struct blk_head);
		request->count =
			segments_cut(chain->segments, chain->readable_count,
				     sizeof(struct blk_head), request->length,
				     request->segments);
	}
	if (!in && blk->disk->read_only)
		return -EROFS;
	if (!in_disk(blk, sector, request->length))
		return -EINVAL;
	request->offset = sector * DISK_SECTOR;
	request->bounce = wants_bounce(request);
	return 0;
}

static int check_range(const struct blk *blk, const struct blk_request *request,
		       const struct blk_range *range)
{
	uint32_t flags = le32_get(range->flags);
	uint32_t sectors = le32_get(range->sectors);

	if (flags & ~(request->op == DISK_ZERO ? FLAG_UNMAP : 0))
		return -EOPNOTSUPP;
	if (sectors > BLK_RANGE_SECTORS ||
	    !in_disk(blk, le64_get(range->sector),
		     (uint64_t)sectors * DISK_SECTOR))
		return -EINVAL;
	return 0;
}

static int prepare_ranges(struct blk *blk, struct blk_request *request,
			  const struct virtqueue_chain *chain)
{
	uint64_t bytes = chain->readable_bytes - sizeof(struct blk_head);
	int r = 0;

	if (blk->disk->read_only)
		return -EROFS;
	if (!bytes || bytes % sizeof(struct blk_range) ||
	    bytes > BLK_RANGES_MAX * sizeof(struct blk_range))
		return -EINVAL;
	request->ranges = malloc((size_t)bytes);
	if (!request->ranges)
		return -ENOMEM;
	(void)chain_read(chain, sizeof(struct blk_head), request->ranges,
			 (size_t)bytes);
	request->length = bytes / sizeof(struct blk_range);
	for (unsigned i = 0; !r && i < request->length; i++)
		r = check_range(blk, request, &request->ranges[i]);
	return r;
}

/* 0: it is to be done; or how it ends. */
static int prepare(struct blk *blk, struct blk_request *request,
		   const struct virtqueue_chain *chain,
		   const struct blk_head *head)
{
	switch (le32_get(head->type)) {
	case TYPE_IN:
		request->op = DISK_READ;
		return prepare_data(blk, request, chain,
				    le64_get(head->sector));
	case TYPE_OUT:
		request->op = DISK_WRITE;
		return prepare_data(blk, request, chain,
				    le64_get(head->sector));
	case TYPE_FLUSH:
		request->op = DISK_FLUSH;
		request->length = 1;
		return 0;
	case TYPE_DISCARD:
		request->op = DISK_DISCARD;
		return prepare_ranges(blk, request, chain);
	case TYPE_WRITE_ZEROES:
		request->op = DISK_ZERO;
		return prepare_ranges(blk, request, chain);
	default:
		return -EOPNOTSUPP;
	}
}

static void answer_id(struct blk *blk, unsigned queue,
		      const struct virtqueue_chain *chain, uint8_t *status)
{
	uint64_t room = chain->writable_bytes - 1;
	size_t n = chain_write(chain, 0, blk->serial,
			       (size_t)min_u64(room, BLK_SERIAL_MAX));

	*status = BLK_OK;
	virtio_push(&blk->virtio, queue, chain->head,
		    (uint32_t)(n == room ? n + 1 : n));
	blk->to_signal |= 1ULL << queue;
}

void blk_take(struct blk *blk, unsigned queue,
	      const struct virtqueue_chain *chain)
{
	uint8_t *status = status_at(chain);
	struct blk_request *request;
	struct blk_head head;
	int r;

	if (!status ||
	    chain_read(chain, 0, &head, sizeof(head)) < sizeof(head)) {
		virtio_break(&blk->virtio,
			     "a disk request without its head or status");
		return;
	}
	if (le32_get(head.type) == TYPE_ID) {
		answer_id(blk, queue, chain, status);
		return;
	}
	request = malloc(sizeof(*request) +
			 chain->count * sizeof(request->segments[0]));
	if (!request) {
		blk_answer(blk, queue, chain->head, status, -ENOMEM, 0);
		return;
	}
	*request = (struct blk_request){ .head = chain->head,
					 .queue = queue,
					 .status = status };
	r = prepare(blk, request, chain, &head);
	if (r < 0 || !request->length) {
		blk_answer(blk, queue, chain->head, status, r,
			   request->op == DISK_READ ? request->length : 0);
		blk_request_free(request);
		return;
	}
	virtio_hold(&blk->virtio);
	blk->requests++;
	blk_wait_for_pieces(blk, request);
}
