/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who does what may wait for a device: a few helpers for parts of requests,
 * and one background thread for flushes, checkpoints, seals and the next
 * layer. All are made when they are first needed. Where there may be no
 * threads (the simulated disk) the same is done when a queue is reaped.
 */
#include <errno.h>
#include <signal.h>

#include "format/base/thread.h"
#include "format/image/image_private.h"

/* The part holds what it needs, or says what is wrong. */
static void run_job(struct image *image, struct part *part)
{
	bool done = false;

	switch (part->op) {
	case IMAGE_READ:
		done = read_slow(part);
		break;
	case IMAGE_WRITE:
		done = write_slow(part);
		break;
	case IMAGE_DISCARD:
	case IMAGE_ZERO:
	case IMAGE_HIDE:
		done = discard_slow(part);
		break;
	case IMAGE_FLUSH:
		return;
	}
	if (!done)
		return;
	image_lock(image);
	part_release(part);
	image_unlock(image);
	queue_post(part);
}

static void *helper_main(void *arg)
{
	struct image *image = arg;
	struct part *part;

	thread_begin(THREAD_FILES);
	image_lock(image);
	for (;;) {
		part = part_pop(&image->jobs);
		if (part) {
			image_unlock(image);
			run_job(image, part);
			image_lock(image);
			continue;
		}
		if (image->stopping)
			break;
		image->slow_idle++;
		pthread_cond_wait(&image->job_there, &image->lock);
		image->slow_idle--;
	}
	image_unlock(image);
	return NULL;
}

void helper_start(struct image *image)
{
	image_lock(image);
	while (image->threads && image->slow_count < SLOW_THREADS &&
	       thread_make(&image->slow_threads[image->slow_count], helper_main,
			   image) == 0)
		image->slow_count++;
	image_unlock(image);
}

void part_to_helper(struct part *part)
{
	struct image *image = part->queue->image;

	part_push(&image->jobs, part);
	if (!image->threads)
		return;
	if (!image->slow_idle && image->slow_count < SLOW_THREADS &&
	    thread_make(&image->slow_threads[image->slow_count], helper_main,
			image) == 0)
		image->slow_count++;
	/* None could be made: reap does it. */
	if (!image->slow_count)
		image->threads = false;
	pthread_cond_signal(&image->job_there);
}

int helper_flush(struct image *image)
{
	struct stack *stack;
	int r;

	pthread_mutex_lock(&image->commit_lock);
	image_lock(image);
	stack = stack_get(image->stack);
	image_unlock(image);
	r = image_commit(image, stack, stack->count, NULL);
	image_lock(image);
	if (journal_used(stack_top(stack)) >
	    stack_top(stack)->super.journal_length / 2) {
		image->want_checkpoint = true;
		helper_wake_background(image);
	}
	stack_put(image, stack);
	image_unlock(image);
	pthread_mutex_unlock(&image->commit_lock);
	return r;
}

/* All flushes that wait share one. */
static void run_flushes(struct image *image)
{
	struct part_list flushes = image->flushes;
	struct part *part;
	int r;

	image->flushes.first = NULL;
	image_unlock(image);
	r = helper_flush(image);
	while ((part = part_pop(&flushes))) {
		part->result = r;
		queue_post(part);
	}
	image_lock(image);
}

static void run_other(struct image *image)
{
	bool prepare = image->want_prepare, finish = image->want_finish;
	bool checkpoint = image->want_checkpoint;
	struct layer *below = NULL;

	image->want_prepare = image->want_finish = image->want_checkpoint =
		false;
	if (image->stack->count > 1)
		below = image->stack->layers[image->stack->count - 2];
	image_unlock(image);
	pthread_mutex_lock(&image->commit_lock);
	/* A failure here is not lost: who needs it done tries again. */
	if (prepare)
		(void)image_prepare_locked(image, NULL);
	if (finish && below)
		(void)image_finish_seals(image, below->super.number, NULL);
	if (checkpoint)
		(void)image_checkpoint(image, NULL);
	pthread_mutex_unlock(&image->commit_lock);
	image_lock(image);
}

static bool has_other(const struct image *image)
{
	return image->want_prepare || image->want_finish ||
	       image->want_checkpoint;
}

static void *background_main(void *arg)
{
	struct image *image = arg;

	thread_begin(THREAD_FILES);
	image_lock(image);
	for (;;) {
		if (image->flushes.first)
			run_flushes(image);
		else if (image->stopping)
			break;
		else if (has_other(image))
			run_other(image);
		else
			pthread_cond_wait(&image->background_there,
					  &image->lock);
	}
	image_unlock(image);
	return NULL;
}

void helper_wake_background(struct image *image)
{
	if (!image->threads)
		return;
	if (!image->background_runs) {
		if (thread_make(&image->background, background_main, image)) {
			image->threads = false;
			return;
		}
		image->background_runs = true;
	}
	pthread_cond_signal(&image->background_there);
}

bool helper_run_inline(struct image *image)
{
	struct part *part;
	bool ran = true;

	image_lock(image);
	part = part_pop(&image->jobs);
	if (part) {
		image_unlock(image);
		run_job(image, part);
		return true;
	}
	if (image->flushes.first)
		run_flushes(image);
	else if (has_other(image))
		run_other(image);
	else
		ran = false;
	image_unlock(image);
	return ran;
}

bool helper_has_inline(struct image *image)
{
	bool has;

	image_lock(image);
	has = image->jobs.first || image->flushes.first || has_other(image);
	image_unlock(image);
	return has;
}

void helper_stop(struct image *image)
{
	image_lock(image);
	image->stopping = true;
	pthread_cond_broadcast(&image->job_there);
	pthread_cond_broadcast(&image->background_there);
	image_unlock(image);
	for (unsigned i = 0; i < image->slow_count; i++)
		pthread_join(image->slow_threads[i], NULL);
	if (image->background_runs)
		pthread_join(image->background, NULL);
	image->slow_count = 0;
	image->background_runs = false;
}
