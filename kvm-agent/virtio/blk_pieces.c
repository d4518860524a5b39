/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of virtio-blk, in pieces that the disk gets: there is a fixed number
 * of them, so whatever a guest asks for, memory is bounded and a request of 4 GiB
 * only takes longer. Data goes between the disk and the guest's memory directly,
 * but where its segments are small or odd: then through a buffer, because a disk
 * does few large pieces better than many.
 *
 * Every request ends with the status that the disk gave: EIO and ENOSPC are both
 * IOERR to a guest, and the machine hears which.
 */
#include <errno.h>
#include <string.h>

#include "kvm-agent/virtio/blk_private.h"

#define PIECE_SIZE         (128 * KIB)
#define BOUNCED_MAX        (4 * MIB)

#define STATUS_IOERR       1u
#define STATUS_UNSUPPORTED 2u

/* ---- ends ---- */

void blk_request_free(struct blk_request *request)
{
	free(request->ranges);
	free(request);
}

static uint8_t status_of(int result)
{
	switch (result) {
	case 0:
		return BLK_OK;
	case -EOPNOTSUPP:
		return STATUS_UNSUPPORTED;
	default:
		return STATUS_IOERR;
	}
}

void blk_answer(struct blk *blk, unsigned queue, uint16_t head, uint8_t *status,
		int result, uint64_t data_bytes)
{
	*status = status_of(result);
	/* What comes before the status was not written when it failed. */
	if (data_bytes && result)
		data_bytes = 0;
	else
		data_bytes++;
	virtio_push(&blk->virtio, queue, head, (uint32_t)data_bytes);
	blk->to_signal |= 1ULL << queue;
}

void blk_wait_for_pieces(struct blk *blk, struct blk_request *request)
{
	request->next = NULL;
	*blk->waiting_last = request;
	blk->waiting_last = &request->next;
}

/* A driver that never flushes: what it wrote is durable when it is told so. */
static bool must_flush(const struct blk *blk, const struct blk_request *request)
{
	return !request->result && request->op != DISK_READ &&
	       request->op != DISK_FLUSH &&
	       !virtio_has(&blk->virtio, BLK_F_FLUSH);
}

static void request_done(struct blk *blk, struct blk_request *request)
{
	if (must_flush(blk, request)) {
		request->op = DISK_FLUSH;
		request->begun = 0;
		request->length = 1;
		blk_wait_for_pieces(blk, request);
		return;
	}
	blk_answer(blk, request->queue, request->head, request->status,
		   request->result,
		   request->op == DISK_READ ? request->length : 0);
	blk_request_free(request);
	blk->requests--;
	virtio_let_go(&blk->virtio);
}

void blk_piece_done(struct blk *blk, struct blk_piece *piece)
{
	struct blk_request *request = piece->request;
	const struct disk_request *disk = &piece->disk;

	if (disk->result < 0) {
		if (!request->result && blk->failed)
			blk->failed(blk->failed_arg, disk->op, disk->offset,
				    disk->result);
		if (!request->result)
			request->result = disk->result;
	} else if (piece->bounce && disk->op == DISK_READ) {
		(void)segments_copy_in(request->segments, request->count,
				       piece->at, piece->bounce, disk->length);
	}
	if (piece->bounce) {
		blk->bounced_bytes -= disk->length;
		free(piece->bounce);
	}
	piece->next = blk->free_pieces;
	blk->free_pieces = piece;
	request->under_way--;
	/* Others of it wait for pieces, then, unless it has failed. */
	if (!request->under_way && request->begun == request->length)
		request_done(blk, request);
}

/* ---- pieces ---- */

/* From `at` on, within one segment. */
static uint64_t direct_piece(const struct blk_request *request,
			     struct blk_piece *piece)
{
	uint64_t at = piece->at;

	for (unsigned i = 0; i < request->count; i++) {
		const struct iovec *segment = &request->segments[i];

		if (at < segment->iov_len) {
			piece->disk.buffer = (uint8_t *)segment->iov_base + at;
			return min_u64(segment->iov_len - at, PIECE_SIZE);
		}
		at -= segment->iov_len;
	}
	return 0;
}

static uint64_t bounced_piece(const struct blk_request *request,
			      struct blk_piece *piece)
{
	uint64_t length = min_u64(request->length - piece->at, PIECE_SIZE);

	piece->bounce = malloc((size_t)length);
	if (!piece->bounce)
		return 0;
	piece->disk.buffer = piece->bounce;
	if (request->op == DISK_WRITE)
		(void)segments_copy_out(request->segments, request->count,
					piece->at, piece->bounce,
					(size_t)length);
	return length;
}

/* Of one request the next; false: it can't be had now. */
static bool make_piece(struct blk *blk, struct blk_request *request,
		       struct blk_piece *piece)
{
	uint64_t length;

	*piece = (struct blk_piece){ .request = request, .at = request->begun };
	piece->disk.op = request->op;
	piece->disk.owner = piece;
	switch (request->op) {
	case DISK_READ:
	case DISK_WRITE:
		length = request->bounce ? bounced_piece(request, piece)
					 : direct_piece(request, piece);
		if (!length)
			return false;
		if (piece->bounce)
			blk->bounced_bytes += length;
		piece->disk.offset = request->offset + request->begun;
		piece->disk.length = length;
		request->begun += length;
		break;
	case DISK_FLUSH:
		request->begun = request->length;
		break;
	case DISK_DISCARD:
	case DISK_ZERO: {
		const struct blk_range *range =
			&request->ranges[request->begun++];

		piece->disk.offset = le64_get(range->sector) * DISK_SECTOR;
		piece->disk.length =
			(uint64_t)le32_get(range->sectors) * DISK_SECTOR;
		break;
	}
	}
	request->under_way++;
	return true;
}

static void take_waiting(struct blk *blk)
{
	blk->waiting = blk->waiting->next;
	if (!blk->waiting)
		blk->waiting_last = &blk->waiting;
}

/* It fails, but for what is under way; it waits no longer. */
static void give_up(struct blk *blk, struct blk_request *request, int code)
{
	if (!request->result)
		request->result = code;
	request->begun = request->length;
	if (!request->under_way)
		request_done(blk, request);
}

/* Gives pieces to the disk as long as there are any. */
void blk_submit_waiting(struct blk *blk)
{
	struct blk_piece *held = NULL;

	while (blk->waiting && blk->free_pieces) {
		struct blk_request *request = blk->waiting;
		struct blk_piece *piece = blk->free_pieces;
		struct blk_piece *rest = piece->next;

		if (request->result)
			request->begun = request->length;
		if (request->begun == request->length) {
			take_waiting(blk);
			if (!request->under_way)
				request_done(blk, request);
			continue;
		}
		if (request->bounce && blk->bounced_bytes >= BOUNCED_MAX)
			break;
		if (!make_piece(blk, request, piece)) {
			piece->next = rest;
			take_waiting(blk);
			/* There is no memory for a buffer. */
			give_up(blk, request, -ENOMEM);
			continue;
		}
		blk->free_pieces = rest;
		if (request->begun == request->length)
			take_waiting(blk);
		if (held) {
			held->disk.more = true;
			blk->disk->ops->submit(blk->disk, &held->disk);
		}
		held = piece;
	}
	if (held)
		blk->disk->ops->submit(blk->disk, &held->disk);
}

/* What was not begun never is. */
void blk_cancel_waiting(struct blk *blk)
{
	while (blk->waiting) {
		struct blk_request *request = blk->waiting;

		take_waiting(blk);
		give_up(blk, request, -ECANCELED);
	}
}
