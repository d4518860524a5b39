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
	vms->workers =
		options->workers ? options->workers : pool_default_workers();
	if (io->single_thread)
		vms->workers = 1;
	r = store_open(&vms->store, backend, &options->store, err);
	if (r) {
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
	store_close(vms->store);
	if (vms->own_io)
		io_free(vms->io);
	free(vms->location);
	free(vms);
}

struct store *vms_store(struct vms *vms)
{
	return vms->store;
}
