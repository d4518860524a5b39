/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests: cut into parts at submit, put together again at reap.
 *
 * The submitter's thread does what needs no waiting itself: reads and writes
 * whose map is in memory go straight to its I/O queue. All else is done by
 * helpers (image_helper.c), which post the finished part back; only the
 * queue's own thread touches a request. While a request is under way its
 * `work` holds the number of parts that are not done.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "format/image/image_private.h"

#define REAP_BATCH 64u

static uintptr_t pending(const struct image_request *request)
{
	return (uintptr_t)request->work;
}

static void set_pending(struct image_request *request, uintptr_t count)
{
	request->work = (void *)count;
}

struct image_queue *image_queue_new(struct image *image, unsigned depth,
				    struct err *err)
{
	struct image_queue *queue = NULL;

	if (alloc_array(&queue, 1, sizeof(*queue), err) < 0)
		return NULL;
	queue->io = image->io->ops->queue_new(image->io, depth, err);
	if (!queue->io) {
		free(queue);
		return NULL;
	}
	queue->image = image;
	queue->event.fd = queue->poll_fd = -1;
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->wake, NULL);
	return queue;
}

/* Of an io that does all when it is submitted, and of a ring that is closed to us,
 * only a reap is missing; where no thread helps, or none could be made, a reap
 * does what they would, one of it at a time. */
static bool is_reap_missing(const struct image_queue *queue)
{
	if (queue->io->at_hand || (queue->io_is_done && queue->io->in_flight))
		return true;
	return !queue->image->threads && queue->in_flight &&
	       (queue->io_is_done || helper_has_inline(queue->image));
}

/* What the queue's own thread leaves to a reap: this, and requests that are
 * done. */
static void show_rest(struct image_queue *queue)
{
	if (queue->event.fd < 0 ||
	    (!queue->done.first && !is_reap_missing(queue)))
		return;
	pthread_mutex_lock(&queue->lock);
	event_set(&queue->event);
	pthread_mutex_unlock(&queue->lock);
}

static void hide_event(struct image_queue *queue)
{
	if (queue->event.fd < 0)
		return;
	pthread_mutex_lock(&queue->lock);
	event_clear(&queue->event);
	pthread_mutex_unlock(&queue->lock);
}

static struct part *part_new(struct image_queue *queue,
			     struct image_request *request)
{
	struct part *part = queue->free_parts;

	if (part)
		queue->free_parts = part->next;
	else
		part = malloc(sizeof(*part));
	if (!part)
		return NULL;
	*part = (struct part){
		.queue = queue,
		.request = request,
		.op = request->op,
		.offset = request->offset,
		.length = request->length,
		.buffer = request->buffer,
	};
	set_pending(request, pending(request) + 1);
	return part;
}

struct segment *segment_new(struct part *part, struct layer *layer)
{
	struct image_queue *queue = part->queue;
	struct segment *segment = queue->free_segments;

	if (segment)
		queue->free_segments = segment->next;
	else
		segment = malloc(sizeof(*segment));
	if (!segment)
		return NULL;
	*segment = (struct segment){ .part = part, .layer = layer };
	part->segments++;
	return segment;
}

void segment_submit(struct segment *segment, enum io_op op, void *buffer,
		    size_t length, uint64_t offset)
{
	struct io_queue *io = segment->part->queue->io;

	segment->io = (struct io_request){
		.op = op,
		.file = segment->io.file,
		.buffer = buffer,
		.length = length,
		.offset = offset,
		.owner = segment,
		.more = true, /* until kick() */
	};
	io->io->ops->queue_submit(io, &segment->io);
}

/* What segment_submit() held back goes, in one call. */
static void kick(struct image_queue *queue)
{
	const struct vs_io_ops *ops = queue->io->io->ops;

	if (ops->queue_kick)
		ops->queue_kick(queue->io);
}

static void part_free(struct part *part)
{
	part->next = part->queue->free_parts;
	part->queue->free_parts = part;
}

/* Durable before it completes: a flush goes behind it. */
static void start_flush(struct image_queue *queue,
			struct image_request *request)
{
	struct image *image = queue->image;
	struct part *part = part_new(queue, request);

	if (!part) {
		request->result = -ENOMEM;
		return;
	}
	part->op = IMAGE_FLUSH;
	image_lock(image);
	part_push(&image->flushes, part);
	helper_wake_background(image);
	image_unlock(image);
}

static void request_done(struct image_queue *queue,
			 struct image_request *request)
{
	struct request_list *done = &queue->done;

	request->work = NULL;
	request->next = NULL;
	if (done->first)
		done->last->next = request;
	else
		done->first = request;
	done->last = request;
}

static void drop_pending(struct image_queue *queue,
			 struct image_request *request, bool flushed)
{
	set_pending(request, pending(request) - 1);
	if (pending(request))
		return;
	if (request->fua && !request->result && !flushed &&
	    request->op != IMAGE_READ && request->op != IMAGE_FLUSH) {
		start_flush(queue, request);
		if (pending(request))
			return;
	}
	request_done(queue, request);
}

void part_finish(struct part *part)
{
	struct image_request *request = part->request;
	bool flushed = part->op == IMAGE_FLUSH;

	if (part->result < 0 && !request->result)
		request->result = part->result;
	part_free(part);
	drop_pending(part->queue, request, flushed);
}

static bool changes_disk(const struct part *part)
{
	return part->op != IMAGE_READ && part->op != IMAGE_FLUSH;
}

void part_take_stack(struct part *part)
{
	part->stack = stack_get(part->queue->image->stack);
	if (changes_disk(part))
		stack_top(part->stack)->writers++;
}

/* A layer that is sealed meanwhile can be finished when its last one goes. */
static void writer_goes(struct image *image, struct layer *layer)
{
	if (--layer->writers || layer == stack_top(image->stack))
		return;
	image->want_finish = true;
	helper_wake_background(image);
	pthread_cond_broadcast(&image->writers_gone);
}

void part_release(struct part *part)
{
	struct image *image = part->queue->image;

	if (part->page) {
		part->page->pins--;
		part->page = NULL;
	}
	unit_release(part);
	if (part->stack) {
		struct stack *stack = part->stack;

		if (changes_disk(part))
			writer_goes(image, stack_top(stack));
		part->stack = NULL;
		stack_put(image, stack);
	}
}

void queue_post(struct part *part)
{
	struct image_queue *queue = part->queue;

	pthread_mutex_lock(&queue->lock);
	part_push(&queue->posted, part);
	event_set(&queue->event);
	pthread_cond_signal(&queue->wake);
	pthread_mutex_unlock(&queue->lock);
}

/* One part for each 64 KiB that is touched. */
static void start_units(struct image_queue *queue,
			struct image_request *request)
{
	uint64_t done = 0;

	while (done < request->length) {
		uint64_t at = request->offset + done;
		uint64_t n =
			min_u64(IMAGE_CLUSTER_SIZE - at % IMAGE_CLUSTER_SIZE,
				request->length - done);
		struct part *part = part_new(queue, request);

		if (!part) {
			request->result = -ENOMEM;
			return;
		}
		part->offset = at;
		part->length = n;
		part->buffer = (uint8_t *)request->buffer + done;
		if (request->op == IMAGE_READ)
			read_start(part);
		else
			write_start(part);
		done += n;
	}
}

static void start_discard(struct image_queue *queue,
			  struct image_request *request)
{
	struct image *image = queue->image;
	struct part *part = part_new(queue, request);

	if (!part) {
		request->result = -ENOMEM;
		return;
	}
	image_lock(image);
	part_take_stack(part);
	part_to_helper(part);
	image_unlock(image);
}

static int request_wrong(const struct image *image,
			 const struct image_request *request)
{
	uint64_t size =
		request->op == IMAGE_HIDE ? IMAGE_SIZE_MAX : image_size(image);

	if (request->op == IMAGE_FLUSH)
		return 0;
	if (request->op > IMAGE_HIDE || request->offset % 512 ||
	    request->length % 512 || request->offset > size ||
	    request->length > size - request->offset)
		return -EINVAL;
	return request->op != IMAGE_READ && !image->writable ? -EROFS : 0;
}

void image_submit(struct image_queue *queue, struct image_request *request)
{
	struct image *image = queue->image;
	bool more;

	queue->in_flight++;
	/* One of its own, so that it is not done before all is begun. */
	set_pending(request, 1);
	request->result = request_wrong(image, request);
	if (!request->result) {
		switch (request->op) {
		case IMAGE_READ:
		case IMAGE_WRITE:
			start_units(queue, request);
			break;
		case IMAGE_FLUSH:
			if (image->writable)
				start_flush(queue, request);
			break;
		case IMAGE_DISCARD:
		case IMAGE_ZERO:
		case IMAGE_HIDE:
			if (request->length)
				start_discard(queue, request);
			break;
		}
	}
	more = request->more;
	drop_pending(queue, request, false);
	if (!more)
		kick(queue);
	show_rest(queue);
}

/* True: it goes on with the rest. */
static bool continue_segment(struct segment *segment)
{
	struct io_request *io = &segment->io;
	size_t done;

	if (io->result < 0 || (size_t)io->result == io->length)
		return false;
	done = (size_t)io->result;
	/* Past the end of a layer's file nothing was ever written. */
	if (!done && io->op == IO_OP_READ) {
		memset(io->buffer, 0, io->length);
		return false;
	}
	if (!done) {
		io->result = -EIO;
		return false;
	}
	segment_submit(segment, io->op, (uint8_t *)io->buffer + done,
		       io->length - done, io->offset + done);
	kick(segment->part->queue);
	return true;
}

static void segment_done(struct segment *segment)
{
	struct part *part = segment->part;
	struct image *image = part->queue->image;

	if (continue_segment(segment))
		return;
	if (segment->io.result < 0)
		part->result = (int)segment->io.result;
	part->segments--;
	if (part->op == IMAGE_READ) {
		image_lock(image);
		layer_unuse(segment->layer);
		if (!part->segments)
			part_release(part);
		image_unlock(image);
		if (!part->segments)
			part_finish(part);
	} else {
		write_complete(part);
	}
	segment->next = part->queue->free_segments;
	part->queue->free_segments = segment;
}

static void take_posted(struct image_queue *queue)
{
	struct part_list posted;
	struct part *part;

	pthread_mutex_lock(&queue->lock);
	posted = queue->posted;
	queue->posted.first = NULL;
	pthread_mutex_unlock(&queue->lock);
	while ((part = part_pop(&posted)))
		part_finish(part);
}

static void reap_io(struct image_queue *queue, unsigned min)
{
	struct io_request *done[REAP_BATCH];
	unsigned n;

	do {
		n = queue->io->io->ops->queue_reap(queue->io, min, done,
						   REAP_BATCH);
		for (unsigned i = 0; i < n; i++)
			segment_done(done[i]->owner);
		min = 0;
	} while (n == REAP_BATCH);
}

static void wait_posted(struct image_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	while (!queue->posted.first)
		pthread_cond_wait(&queue->wake, &queue->lock);
	pthread_mutex_unlock(&queue->lock);
}

/* Finish what can be finished; with `wait` at least one step of it. */
static void make_progress(struct image_queue *queue, bool wait)
{
	struct image *image = queue->image;
	bool ran = !image->threads && helper_run_inline(image);

	take_posted(queue);
	if (queue->io->in_flight)
		reap_io(queue, 0);
	if (!wait || ran || queue->done.first)
		return;
	if (queue->io->in_flight)
		reap_io(queue, 1);
	else if (image->threads)
		wait_posted(queue);
}

unsigned image_reap(struct image_queue *queue, unsigned min,
		    struct image_request **done, unsigned max)
{
	unsigned count = 0;

	hide_event(queue);
	min = (unsigned)min_u64(min, min_u64(max, queue->in_flight));
	for (;;) {
		make_progress(queue, !queue->done.first && count < min);
		while (count < max && queue->done.first) {
			done[count] = queue->done.first;
			queue->done.first = done[count++]->next;
			queue->in_flight--;
		}
		if (count >= min)
			break;
	}
	show_rest(queue);
	return count;
}

void image_queue_free(struct image_queue *queue)
{
	struct image_request *done;

	if (!queue)
		return;
	while (queue->in_flight)
		image_reap(queue, 1, &done, 1);
	queue->io->io->ops->queue_free(queue->io);
	while (queue->free_parts) {
		struct part *part = queue->free_parts;

		queue->free_parts = part->next;
		free(part);
	}
	while (queue->free_segments) {
		struct segment *segment = queue->free_segments;

		queue->free_segments = segment->next;
		free(segment);
	}
	if (queue->event.fd >= 0)
		close(queue->event.fd);
	if (queue->poll_fd >= 0)
		close(queue->poll_fd);
	pthread_cond_destroy(&queue->wake);
	pthread_mutex_destroy(&queue->lock);
	free(queue);
}

/* The ring's completions and what helpers post, in one descriptor. */
static int open_poll_fd(struct image_queue *queue, int io_fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	autofd int poll_fd = epoll_create1(EPOLL_CLOEXEC);
	autofd int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (poll_fd < 0 || event_fd < 0 ||
	    (io_fd >= 0 &&
	     epoll_ctl(poll_fd, EPOLL_CTL_ADD, io_fd, &event) < 0) ||
	    epoll_ctl(poll_fd, EPOLL_CTL_ADD, event_fd, &event) < 0)
		return -1;
	pthread_mutex_lock(&queue->lock);
	queue->event.fd = fd_steal(&event_fd);
	queue->poll_fd = fd_steal(&poll_fd);
	/* Whatever is done already. */
	event_set(&queue->event);
	pthread_mutex_unlock(&queue->lock);
	return queue->poll_fd;
}

int image_queue_fd(struct image_queue *queue)
{
	int io_fd;

	if (queue->poll_fd >= 0)
		return queue->poll_fd;
	io_fd = queue->io->io->ops->queue_fd(queue->io);
	queue->io_is_done = io_fd < 0;
	return open_poll_fd(queue, io_fd);
}

/* Out of the list of those done, if it is there. */
static bool take_done(struct image_queue *queue, struct image_request *request)
{
	struct request_list *done = &queue->done;
	struct image_request *before = NULL;

	for (struct image_request *at = done->first; at; at = at->next) {
		if (at == request) {
			if (before)
				before->next = at->next;
			else
				done->first = at->next;
			if (done->last == at)
				done->last = before;
			queue->in_flight--;
			return true;
		}
		before = at;
	}
	return false;
}

static void run_one(struct image_queue *queue, struct image_request *request)
{
	struct request_list others = { 0 };

	image_submit(queue, request);
	while (!take_done(queue, request)) {
		/* Those of others stay, and don't end the wait. */
		if (queue->done.first) {
			if (others.first)
				others.last->next = queue->done.first;
			else
				others.first = queue->done.first;
			others.last = queue->done.last;
			queue->done.first = NULL;
		}
		make_progress(queue, true);
	}
	if (others.first) {
		others.last->next = queue->done.first;
		if (!queue->done.first)
			queue->done.last = others.last;
		queue->done.first = others.first;
	}
	show_rest(queue);
}

/* Who waits for it anyway flushes himself: no change of threads. */
static int run_flush(struct image *image)
{
	return image->writable ? helper_flush(image) : 0;
}

int image_request_run(struct image_queue *queue, struct image_request *request)
{
	struct image *image = queue->image;
	bool fua = request->fua && request->op != IMAGE_READ;

	if (request->op == IMAGE_FLUSH) {
		request->result = run_flush(image);
		return request->result;
	}
	request->fua = false;
	run_one(queue, request);
	request->fua = fua;
	if (fua && !request->result)
		request->result = run_flush(image);
	return request->result;
}

int image_read(struct image_queue *queue, void *buffer, size_t length,
	       uint64_t offset)
{
	struct image_request request = {
		.op = IMAGE_READ,
		.offset = offset,
		.length = length,
		.buffer = buffer,
	};

	return image_request_run(queue, &request);
}

int image_write(struct image_queue *queue, const void *buffer, size_t length,
		uint64_t offset)
{
	struct image_request request = {
		.op = IMAGE_WRITE,
		.offset = offset,
		.length = length,
		.buffer = (void *)(uintptr_t)buffer,
	};

	return image_request_run(queue, &request);
}

int image_flush(struct image_queue *queue)
{
	struct image_request request = { .op = IMAGE_FLUSH };

	return image_request_run(queue, &request);
}

int image_discard(struct image_queue *queue, uint64_t length, uint64_t offset)
{
	struct image_request request = {
		.op = IMAGE_DISCARD,
		.offset = offset,
		.length = length,
	};

	return image_request_run(queue, &request);
}
