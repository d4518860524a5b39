/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead. A reader remembers a few places where somebody reads in
 * order; each step that goes on as expected asks for more, up to a bound. A
 * few threads of the cache fetch it. What nobody has time for is dropped: the
 * read itself will fetch it. Damage is left for the read to tell.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "vmsnap/reader.h"

#define THREADS_MAX 4u
#define JOBS_MAX    64u
#define SLACK_BYTES MIB /* parallel reads of one stream come out of order */
#define STEPS_MIN   2u
#define STEPS_MAX   6u
#define FIRST_BYTES (256 * KIB)

struct job {
	struct vms_reader *reader;
	uint64_t first;
	unsigned count;
};

struct read_ahead {
	pthread_mutex_t lock; /* all below, and readers' `jobs` */
	pthread_cond_t work;  /* there is a job, or it is over */
	pthread_cond_t done;  /* a job has ended */
	bool stop;
	bool is_started;
	unsigned thread_count;
	pthread_t threads[THREADS_MAX];
	struct job jobs[JOBS_MAX]; /* a ring */
	unsigned head, count;
};

int read_ahead_new(struct read_ahead **out, struct err *err)
{
	struct read_ahead *ahead = NULL;
	int r = alloc_array(&ahead, 1, sizeof(*ahead), err);

	if (r < 0)
		return r;
	pthread_mutex_init(&ahead->lock, NULL);
	pthread_cond_init(&ahead->work, NULL);
	pthread_cond_init(&ahead->done, NULL);
	*out = ahead;
	return 0;
}

void read_ahead_free(struct read_ahead *ahead)
{
	if (!ahead)
		return;
	pthread_mutex_lock(&ahead->lock);
	ahead->stop = true;
	pthread_cond_broadcast(&ahead->work);
	pthread_mutex_unlock(&ahead->lock);
	for (unsigned n = 0; n < ahead->thread_count; n++)
		pthread_join(ahead->threads[n], NULL);
	pthread_mutex_destroy(&ahead->lock);
	pthread_cond_destroy(&ahead->work);
	pthread_cond_destroy(&ahead->done);
	free(ahead);
}

static void job_run(const struct job *job)
{
	struct visit visit = { .reader = job->reader };
	struct window window = { .first = job->first, .count = job->count };

	if (window_get(&visit, &window, NULL) == 0)
		window_put(&visit, &window);
	visit_end(&visit);
}

static void *thread_main(void *arg)
{
	struct read_ahead *ahead = arg;

	pthread_mutex_lock(&ahead->lock);
	for (;;) {
		struct job job;

		while (!ahead->count && !ahead->stop)
			pthread_cond_wait(&ahead->work, &ahead->lock);
		if (ahead->stop)
			break;
		job = ahead->jobs[ahead->head];
		ahead->head = (ahead->head + 1) % JOBS_MAX;
		ahead->count--;
		pthread_mutex_unlock(&ahead->lock);
		job_run(&job);
		pthread_mutex_lock(&ahead->lock);
		job.reader->jobs--;
		pthread_cond_broadcast(&ahead->done);
	}
	pthread_mutex_unlock(&ahead->lock);
	return NULL;
}

/* Under the lock. Without a thread nothing is read ahead, and all works. */
static void start(struct read_ahead *ahead, unsigned wanted)
{
	sigset_t all, old;

	ahead->is_started = true;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned n = 0; n < wanted; n++) {
		if (pthread_create(&ahead->threads[n], NULL, thread_main,
				   ahead))
			break;
		ahead->thread_count++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* How far it got. */
static uint64_t queue_jobs(struct vms_reader *reader, uint64_t from,
			   uint64_t to)
{
	const unsigned log2 = reader->volume.chunk_log2;
	struct read_ahead *ahead = reader->cache->ahead;
	uint64_t chunk = from >> log2;
	uint64_t end = min_u64(div_up(to, 1ULL << log2), reader->chunk_count);

	pthread_mutex_lock(&ahead->lock);
	if (!ahead->is_started)
		start(ahead,
		      (unsigned)min_u64(reader->vms->workers, THREADS_MAX));
	while (chunk < end && ahead->thread_count && ahead->count < JOBS_MAX) {
		struct job *job =
			&ahead->jobs[(ahead->head + ahead->count) % JOBS_MAX];

		job->reader = reader;
		job->first = chunk;
		job->count = window_span(reader, chunk, end);
		chunk += job->count;
		ahead->count++;
		reader->jobs++;
		pthread_cond_signal(&ahead->work);
	}
	pthread_mutex_unlock(&ahead->lock);
	return chunk << log2;
}

void read_ahead_leave(struct vms_reader *reader)
{
	struct read_ahead *ahead = reader->cache->ahead;
	unsigned kept = 0;

	pthread_mutex_lock(&ahead->lock);
	for (unsigned n = 0; n < ahead->count; n++) {
		struct job job = ahead->jobs[(ahead->head + n) % JOBS_MAX];

		if (job.reader == reader)
			reader->jobs--;
		else
			ahead->jobs[(ahead->head + kept++) % JOBS_MAX] = job;
	}
	ahead->count = kept;
	while (reader->jobs)
		pthread_cond_wait(&ahead->done, &ahead->lock);
	pthread_mutex_unlock(&ahead->lock);
}

/* The stream that this read goes on with, or a new one in the place of the
 * one whose turn it is. */
static struct stream *stream_of(struct vms_reader *reader, uint64_t offset)
{
	struct stream *stream;

	for (unsigned n = 0; n < STREAMS; n++) {
		stream = &reader->streams[n];
		if (stream->next && offset + SLACK_BYTES >= stream->next &&
		    offset <= stream->next + SLACK_BYTES)
			return stream;
	}
	stream = &reader->streams[reader->next_stream++ % STREAMS];
	memset(stream, 0, sizeof(*stream));
	return stream;
}

void read_ahead_note(struct vms_reader *reader, uint64_t offset,
		     uint64_t length)
{
	uint64_t end = offset + length, from = 0, to = 0;
	struct stream *stream;

	if (reader->vms->io->single_thread)
		return;
	pthread_mutex_lock(&reader->streams_lock);
	stream = stream_of(reader, offset);
	if (end > stream->next) {
		if (stream->next && stream->steps < STEPS_MAX)
			stream->steps++;
		stream->next = end;
	}
	if (stream->steps >= STEPS_MIN) {
		from = max_u64(stream->ahead, end);
		to = end + min_u64(FIRST_BYTES << (stream->steps - STEPS_MIN),
				   reader->cache->ahead_max_bytes);
		to = min_u64(to, reader->volume.size_bytes);
		/* Half of it is used up: worth a job. */
		if (to > from && (from - end) * 2 <= to - end)
			stream->ahead = queue_jobs(reader, from, to);
	}
	pthread_mutex_unlock(&reader->streams_lock);
}
