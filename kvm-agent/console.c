/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's bytes go into a bounded queue by a vCPU's thread; the loop's
 * thread takes them from there to the log, to the tail that newcomers get, and
 * to who is connected.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "kvm-agent/console.h"
#include "kvm-agent/console_log.h"
#include "kvm-agent/peer.h"

#define QUEUE_SIZE   (256u * 1024)
#define TYPED_MAX    4096u
#define DROPPED_TEXT "\r\n[vmsnap: output dropped]\r\n"

struct console {
	struct loop *loop;
	struct peers *peers;
	struct console_log *log; /* or NULL */
	size_t (*input)(void *arg, const void *data, size_t size);
	void *arg;
	struct loop_work work;

	pthread_mutex_t lock; /* of these */
	uint8_t *queue;
	size_t queued;
	bool dropped;

	uint8_t *tail; /* the last of what came, as a ring */
	uint64_t seen;

	/* What the guest didn't take yet, also of those who have left. */
	char typed[TYPED_MAX];
	size_t typed_size;
};

struct viewer {
	struct peer peer;
	char held[TYPED_MAX]; /* for which there was no room there */
	size_t held_size;
};

/* ---- out ---- */

static void keep_tail(struct console *console, const uint8_t *data, size_t size)
{
	while (size) {
		size_t at = console->seen % CONSOLE_TAIL_SIZE;
		size_t n = min_u64(size, CONSOLE_TAIL_SIZE - at);

		memcpy(console->tail + at, data, n);
		console->seen += n;
		data += n;
		size -= n;
	}
}

struct output {
	const uint8_t *data;
	size_t size;
};

static void show(struct peer *peer, void *arg)
{
	const struct output *output = arg;

	(void)peer_send(peer, output->data, output->size);
}

static void spread(struct console *console, const uint8_t *data, size_t size)
{
	struct output output = { data, size };

	if (console->log)
		console_log_put(console->log, data, size);
	keep_tail(console, data, size);
	if (console->peers)
		peers_each(console->peers, show, &output);
}

static size_t take_queue(struct console *console, uint8_t *data, bool *dropped)
{
	size_t size;

	pthread_mutex_lock(&console->lock);
	size = console->queued;
	memcpy(data, console->queue, size);
	*dropped = console->dropped;
	console->queued = 0;
	console->dropped = false;
	pthread_mutex_unlock(&console->lock);
	return size;
}

static void drain(struct console *console)
{
	autofree uint8_t *data = malloc(QUEUE_SIZE);
	bool dropped = false;
	size_t size;

	if (!data)
		return;
	size = take_queue(console, data, &dropped);
	if (size)
		spread(console, data, size);
	if (dropped)
		spread(console, (const uint8_t *)DROPPED_TEXT,
		       strlen(DROPPED_TEXT));
}

void console_put(struct console *console, const void *data, size_t size)
{
	size_t n;

	pthread_mutex_lock(&console->lock);
	n = min_u64(size, QUEUE_SIZE - console->queued);
	memcpy(console->queue + console->queued, data, n);
	console->queued += n;
	if (n < size)
		console->dropped = true;
	pthread_mutex_unlock(&console->lock);
	loop_post(console->loop, &console->work);
}

/* ---- in ---- */

/* How many there was room for. */
static size_t keep_typed(struct console *console, const char *data, size_t size)
{
	size_t n = min_u64(size, TYPED_MAX - console->typed_size);

	memcpy(console->typed + console->typed_size, data, n);
	console->typed_size += n;
	return n;
}

/* As much as the guest takes. */
static void offer_typed(struct console *console)
{
	size_t n = 0;

	if (console->typed_size)
		n = console->input(console->arg, console->typed,
				   console->typed_size);
	console->typed_size -= n;
	memmove(console->typed, console->typed + n, console->typed_size);
}

/* Once all that was held is kept, the viewer is listened to again. */
static void keep_held(struct peer *peer, void *arg)
{
	struct viewer *viewer = container_of(peer, struct viewer, peer);
	size_t n;

	if (!viewer->held_size)
		return;
	n = keep_typed(arg, viewer->held, viewer->held_size);
	viewer->held_size -= n;
	memmove(viewer->held, viewer->held + n, viewer->held_size);
	if (!viewer->held_size)
		peer_hold(peer, false);
}

static int receive(struct peer *peer, const char *data, size_t size)
{
	struct console *console = peers_owner(peer->peers);
	struct viewer *viewer = container_of(peer, struct viewer, peer);
	size_t n = keep_typed(console, data, size);

	offer_typed(console);
	n += keep_typed(console, data + n, size - n);
	if (n == size)
		return 0;
	/* Nothing is held while it is listened to. */
	if (size - n > sizeof(viewer->held) - viewer->held_size)
		return -ENOBUFS;
	memcpy(viewer->held + viewer->held_size, data + n, size - n);
	viewer->held_size += size - n;
	peer_hold(peer, true);
	return 0;
}

static void feed(struct console *console)
{
	size_t before;

	do {
		before = console->typed_size;
		offer_typed(console);
		if (console->peers)
			peers_each(console->peers, keep_held, console);
	} while (console->typed_size && console->typed_size < before);
}

static void run_work(struct loop_work *work)
{
	struct console *console = container_of(work, struct console, work);

	drain(console);
	feed(console);
}

void console_input_ready(struct console *console)
{
	loop_post(console->loop, &console->work);
}

/* ---- life ---- */

/* The tail, from its oldest byte. */
static int greet(struct peer *peer)
{
	struct console *console = peers_owner(peer->peers);
	size_t size = min_u64(console->seen, CONSOLE_TAIL_SIZE);
	size_t start = (console->seen - size) % CONSOLE_TAIL_SIZE;
	size_t first = min_u64(size, CONSOLE_TAIL_SIZE - start);
	int r = peer_send(peer, console->tail + start, first);

	return r ? r : peer_send(peer, console->tail, size - first);
}

static const struct peers_ops console_peers = {
	.peer_size = sizeof(struct viewer),
	.greet = greet,
	.receive = receive,
};

static int start(struct console *console, int listener, int log,
		 struct err *err)
{
	int r = log < 0 ? 0 : console_log_new(&console->log, log, err);

	if (!r)
		r = alloc_array(&console->queue, QUEUE_SIZE, 1, err);
	if (!r)
		r = alloc_array(&console->tail, CONSOLE_TAIL_SIZE, 1, err);
	if (r) {
		if (listener >= 0)
			close(listener);
		return r;
	}
	if (listener < 0)
		return 0;
	return peers_new(&console->peers, console->loop, listener,
			 CONSOLE_PEERS_MAX, &console_peers, console, err);
}

static void release(struct console *console)
{
	loop_cancel(console->loop, &console->work);
	peers_free(console->peers);
	console_log_free(console->log);
	pthread_mutex_destroy(&console->lock);
	free(console->queue);
	free(console->tail);
	free(console);
}

int console_new(struct console **out, struct loop *loop,
		const struct console_options *options, struct err *err)
{
	struct console *console = NULL;
	int r = alloc_array(&console, 1, sizeof(*console), err);

	if (r) {
		if (options->listener >= 0)
			close(options->listener);
		if (options->log >= 0)
			close(options->log);
		return r;
	}
	console->loop = loop;
	console->input = options->input;
	console->arg = options->arg;
	console->work.run = run_work;
	pthread_mutex_init(&console->lock, NULL);
	r = start(console, options->listener, options->log, err);
	if (r) {
		release(console);
		return r;
	}
	*out = console;
	return 0;
}

void console_free(struct console *console)
{
	if (!console)
		return;
	drain(console);
	release(console);
}
