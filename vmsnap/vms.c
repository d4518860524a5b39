/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open engine: an io, a store over a backend, how many workers. Picks the
 * backend by the location's scheme; a new one is a line in backend_open().
 */
#include <errno.h>
#include <string.h>

#include "vmsnap/engine.h"

int vms_backend_open(struct vs_io *io, const char *location,
		     struct backend **out, struct err *err)
{
	static const char *const schemes[] = { "ssh://", "s3://", "rados://" };

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		if (!strncmp(location, schemes[i], strlen(schemes[i])))
			return err_set(
				err, -EOPNOTSUPP,
				"store '%s': this version keeps stores in directories only; give a path",
				location);
	}
	if (!*location)
		return err_set(err, -EINVAL, "the store's path is empty");
	return backend_open_dir(out, io, location, err);
}

int vms_init(const char *location, const struct store_create_options *options,
	     struct err *err)
{
	struct vs_io *io = io_new(err);
	struct backend *backend = NULL;
	int r;

	if (!io)
		return err && err->code ? err->code : -EIO;
	r = vms_backend_open(io, location, &backend, err);
	if (!r)
		r = store_create(backend, options, err);
	backend_close(backend);
	io_free(io);
	return r;
}

/* Beside those that compute, so that no processor waits for the store. */
#define EXTRA_READERS 2

static void free_locks(struct vms *vms)
{
	pthread_mutex_destroy(&vms->idle_lock);
	pthread_mutex_destroy(&vms->refresh_lock);
}

int vms_open_backend(struct vms **out, struct vs_io *io,
		     struct backend *backend, const struct vms_options *options,
		     struct err *err)
{
	struct vms *vms = NULL;
	int r = alloc_array(&vms, 1, sizeof(*vms), err);

	if (r) {
		backend_close(backend);
		return r;
	}
	vms->io = io;
	pthread_mutex_init(&vms->idle_lock, NULL);
	pthread_mutex_init(&vms->refresh_lock, NULL);
	vms->refreshed_ns = time_monotonic_ns();
	vms->workers =
		options->workers ? options->workers : pool_default_workers();
	if (io->single_thread)
		vms->workers = 1;
	vms->readers = io->single_thread ? 1 : vms->workers + EXTRA_READERS;
	r = store_open(&vms->store, backend, &options->store, err);
	if (r) {
		free_locks(vms);
		free(vms);
		return r;
	}
	*out = vms;
	return 0;
}

int vms_open(struct vms **out, const struct vms_options *options,
	     struct err *err)
{
	struct vs_io *io = io_new(err);
	struct backend *backend = NULL;
	struct vms *vms = NULL;
	int r;

	if (!io)
		return err && err->code ? err->code : -EIO;
	r = vms_backend_open(io, options->location, &backend, err);
	if (!r)
		r = vms_open_backend(&vms, io, backend, options, err);
	if (!r) {
		vms->own_io = true;
		vms->location = strdup(options->location);
		if (!vms->location)
			r = err_set(err, -ENOMEM, "out of memory");
	}
	if (r) {
		if (vms)
			vms_close(vms);
		else
			io_free(io);
		return r;
	}
	*out = vms;
	return 0;
}

void vms_close(struct vms *vms)
{
	if (!vms)
		return;
	while (vms->idle_count)
		store_thread_free(vms->idle[--vms->idle_count]);
	store_close(vms->store);
	free_locks(vms);
	if (vms->own_io)
		io_free(vms->io);
	free(vms->location);
	free(vms);
}

struct store *vms_store(struct vms *vms)
{
	return vms->store;
}

/* ---- what readers share ---- */

#define REFRESH_EVERY_NS 1000000000

struct store_thread *vms_thread_take(struct vms *vms, struct err *err)
{
	struct store_thread *thread = NULL;

	pthread_mutex_lock(&vms->idle_lock);
	if (vms->idle_count)
		thread = vms->idle[--vms->idle_count];
	pthread_mutex_unlock(&vms->idle_lock);
	return thread ? thread : store_thread_new(vms->store, err);
}

void vms_thread_give(struct vms *vms, struct store_thread *thread)
{
	if (!thread)
		return;
	pthread_mutex_lock(&vms->idle_lock);
	if (vms->idle_count < IDLE_THREADS_MAX) {
		vms->idle[vms->idle_count++] = thread;
		thread = NULL;
	}
	pthread_mutex_unlock(&vms->idle_lock);
	store_thread_free(thread);
}

/* Under refresh_lock. */
static int refresh(struct vms *vms, struct err *err)
{
	int64_t began = time_monotonic_ns();
	struct store_thread *thread = vms_thread_take(vms, err);
	int r;

	if (!thread)
		return -ENOMEM;
	r = store_refresh(thread, err);
	vms_thread_give(vms, thread);
	if (r == 0)
		vms->refreshed_ns = began;
	return r;
}

int vms_refresh(struct vms *vms, struct err *err)
{
	int r;

	pthread_mutex_lock(&vms->refresh_lock);
	r = refresh(vms, err);
	pthread_mutex_unlock(&vms->refresh_lock);
	return r;
}

bool vms_look_again(struct vms *vms, int64_t since_ns)
{
	bool again;

	pthread_mutex_lock(&vms->refresh_lock);
	if (time_monotonic_ns() - vms->refreshed_ns >= REFRESH_EVERY_NS)
		refresh(vms, NULL);
	again = vms->refreshed_ns > since_ns;
	pthread_mutex_unlock(&vms->refresh_lock);
	return again;
}
