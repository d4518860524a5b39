/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who serves an image listens at its control socket. One thread accepts, each
 * peer has one of its own: a peer that is slow, or sends what it should not,
 * is alone with that. Who seals holds the image, so that the layers it reads
 * stay until it goes. All that is done for a peer is a seal, a swap to the base
 * that the note names, and a look: no key and no byte of the disk goes out.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "format/base/bytes.h"
#include "format/base/socket.h"
#include "format/base/thread.h"
#include "vmsnap/control.h"
#include "vmsnap/live.h"

#define PEERS_MAX        8u
#define PATIENCE_SECONDS 30

enum peer_state {
	PEER_FREE,
	PEER_RUNS,
	PEER_ENDED, /* its thread is to be joined */
};

struct peer {
	struct vms_control *control;
	enum peer_state state; /* by control->lock, as fd */
	int fd;
	pthread_t thread;
	struct lines lines;
};

struct vms_control {
	struct vms_live *live;
	uint8_t image[16];
	int listener, stop_fd;
	pthread_t thread;
	pthread_mutex_t lock;
	struct peer *holder; /* sealed, and is still there */
	bool stopping;
	struct peer peers[PEERS_MAX];
};

/* ---- what is done ---- */

static int hold(struct peer *peer, struct err *err)
{
	struct vms_control *control = peer->control;
	int r = 0;

	pthread_mutex_lock(&control->lock);
	if (!control->holder)
		control->holder = peer;
	else if (control->holder != peer)
		r = err_set(err, -EBUSY,
			    "image '%s' is being absorbed by another program",
			    control->live->path);
	pthread_mutex_unlock(&control->lock);
	return r;
}

static bool holds(struct peer *peer)
{
	struct vms_control *control = peer->control;
	bool yes;

	pthread_mutex_lock(&control->lock);
	yes = control->holder == peer;
	pthread_mutex_unlock(&control->lock);
	return yes;
}

static int do_seal(struct peer *peer, uint64_t *layer, struct err *err)
{
	struct image *image = peer->control->live->image;
	int r = hold(peer, err);

	if (!r)
		r = image_seal(image, layer, err);
	return r ? r : image_seal_wait(image, *layer, err);
}

static int read_note(struct vms_control *control, struct image_swap_note *note,
		     struct err *err)
{
	struct vms_live *live = control->live;
	int r = image_read_swap_note(live->io, live->path, note, err);

	if (r)
		return r;
	if (memcmp(note->id, control->image, sizeof(note->id)) != 0 ||
	    !note->layer)
		return err_set(err, -EINVAL,
			       "image '%s': the note is not of this swap",
			       live->path);
	if (!live->vms ||
	    memcmp(note->to.store_id, store_config(live->vms->store)->store.b,
		   sizeof(note->to.store_id)) != 0)
		return err_set(err, -EINVAL,
			       "image '%s' is not served with that store",
			       live->path);
	return 0;
}

/* Only the holder comes here, so one at a time. */
static int do_swap(struct peer *peer, struct err *err)
{
	struct vms_live *live = peer->control->live;
	struct image_swap_note note;
	struct image_base *base;
	int r;

	if (!holds(peer))
		return err_set(err, -EINVAL, "a swap without a seal");
	r = read_note(peer->control, &note, err);
	/* Others have written what the new base stands on. */
	if (!r)
		r = vms_refresh(live->vms, err);
	if (!r)
		r = live_base_open(live, &note.to, &base, err);
	if (!r)
		r = image_swap_base(live->image, note.layer, &note.to, base,
				    err);
	if (!r)
		live->info = note.to;
	return r;
}

/* ---- a peer ---- */

static int answer(struct peer *peer, const char *line, size_t size)
{
	struct control_reply reply = { 0 };
	struct bytes out = { 0 };
	struct err err = { 0 };
	enum control_do what = CONTROL_SWAP;
	int r = control_get_request(line, size, &what, &err);

	if (r == -EBADMSG)
		return r;
	if (!r && what == CONTROL_INFO)
		r = image_get_info(peer->control->live->image, &reply.info,
				   &err);
	else if (!r && what == CONTROL_SEAL)
		r = do_seal(peer, &reply.layer, &err);
	else if (!r)
		r = do_swap(peer, &err);
	reply.code = r;
	memcpy(reply.text, err.text, sizeof(reply.text));
	r = control_put_reply(&out, what, &reply, NULL);
	if (!r)
		r = control_send(peer->fd, &out);
	bytes_release(&out);
	return r;
}

static int greet(struct peer *peer)
{
	struct vms_control *control = peer->control;
	const struct vms *vms = control->live->vms;
	struct control_greeting greeting = {
		.has_store = vms != NULL,
		.process = (uint64_t)getpid(),
	};
	struct bytes out = { 0 };
	int r;

	memcpy(greeting.image, control->image, sizeof(greeting.image));
	if (vms)
		memcpy(greeting.store, store_config(vms->store)->store.b,
		       sizeof(greeting.store));
	r = control_put_greeting(&out, &greeting, NULL);
	if (!r)
		r = control_send(peer->fd, &out);
	bytes_release(&out);
	return r;
}

/* More of what it says; who holds nothing is not waited for for ever. */
static int receive(struct peer *peer)
{
	size_t size;
	char *room = lines_room(&peer->lines, &size);
	ssize_t n = recv(peer->fd, room, size, 0);

	if (n > 0)
		lines_add(&peer->lines, (size_t)n);
	else if (!n)
		return -ECONNRESET;
	else if (errno == EAGAIN)
		return holds(peer) ? 0 : -ETIMEDOUT;
	else if (errno != EINTR)
		return -errno;
	return 0;
}

static void serve(struct peer *peer)
{
	int r = greet(peer);

	while (!r) {
		const char *line;
		size_t size;

		r = lines_next(&peer->lines, &line, &size);
		if (r == 1)
			r = answer(peer, line, size);
		else if (!r)
			r = receive(peer);
	}
}

static void *peer_main(void *arg)
{
	struct peer *peer = arg;
	struct vms_control *control = peer->control;

	serve(peer);
	pthread_mutex_lock(&control->lock);
	close(peer->fd);
	peer->fd = -1;
	peer->state = PEER_ENDED;
	if (control->holder == peer)
		control->holder = NULL;
	pthread_mutex_unlock(&control->lock);
	return NULL;
}

/* ---- all of them ---- */

static struct peer *free_peer(struct vms_control *control)
{
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		struct peer *peer = &control->peers[i];

		if (peer->state == PEER_ENDED) {
			pthread_join(peer->thread, NULL);
			peer->state = PEER_FREE;
		}
		if (peer->state == PEER_FREE)
			return peer;
	}
	return NULL;
}

/* By control->lock. Takes fd over. */
static void start_peer(struct vms_control *control, int fd)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	struct peer *peer = free_peer(control);

	if (!peer || control->stopping || !socket_peer_is_ours(fd) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
		       sizeof(patience)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
		       sizeof(patience)) < 0) {
		close(fd);
		return;
	}
	peer->control = control;
	peer->fd = fd;
	peer->lines.used = peer->lines.taken = 0;
	peer->state = PEER_RUNS;
	if (thread_make(&peer->thread, peer_main, peer)) {
		peer->state = PEER_FREE;
		close(fd);
	}
}

static void *accept_main(void *arg)
{
	struct vms_control *control = arg;
	struct pollfd fds[2] = {
		{ .fd = control->listener, .events = POLLIN },
		{ .fd = control->stop_fd, .events = POLLIN },
	};

	for (;;) {
		int fd;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			break;
		fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC);
		/* Out of descriptors: the peer waits until there are some. */
		if (fd < 0 && (errno == EMFILE || errno == ENFILE ||
			       errno == ENOBUFS || errno == ENOMEM))
			poll(&fds[1], 1, 1000);
		if (fd < 0)
			continue;
		pthread_mutex_lock(&control->lock);
		start_peer(control, fd);
		pthread_mutex_unlock(&control->lock);
	}
	return NULL;
}

static void control_free(struct vms_control *control)
{
	if (control->listener >= 0)
		close(control->listener);
	if (control->stop_fd >= 0)
		close(control->stop_fd);
	pthread_mutex_destroy(&control->lock);
	free(control);
}

static int start(struct vms_control *control, struct err *err)
{
	struct vms_live *live = control->live;
	struct image_base_info base;
	int r = image_read_identity(live->io, live->path, control->image, &base,
				    err);

	if (r)
		return r;
	control->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (control->stop_fd < 0)
		return err_sys(err, -errno, "an eventfd");
	control->listener = control_bind(live->path, err);
	if (control->listener < 0)
		return control->listener;
	/* A peer that hangs up before it is accepted is not waited for. */
	if (fcntl(control->listener, F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	else
		r = thread_make(&control->thread, accept_main, control);
	if (r)
		control_unbind(live->path);
	return r ? thread_failed(err, r, "a thread for the control socket") : 0;
}

int vms_control_start(struct vms_control **out, struct vms_live *live,
		      struct err *err)
{
	struct vms_control *control = NULL;
	int r = alloc_array(&control, 1, sizeof(*control), err);

	if (r)
		return r;
	control->live = live;
	control->listener = control->stop_fd = -1;
	pthread_mutex_init(&control->lock, NULL);
	r = start(control, err);
	if (r) {
		control_free(control);
		return r;
	}
	*out = control;
	return 0;
}

void vms_control_stop(struct vms_control *control)
{
	bool runs[PEERS_MAX];
	uint64_t one = 1;

	if (!control)
		return;
	control_unbind(control->live->path);
	if (write(control->stop_fd, &one, sizeof(one)) < 0)
		shutdown(control->listener, SHUT_RDWR);
	pthread_join(control->thread, NULL);
	pthread_mutex_lock(&control->lock);
	control->stopping = true;
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		runs[i] = control->peers[i].state != PEER_FREE;
		if (control->peers[i].state == PEER_RUNS)
			shutdown(control->peers[i].fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&control->lock);
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		if (runs[i])
			pthread_join(control->peers[i].thread, NULL);
	}
	control_free(control);
}
