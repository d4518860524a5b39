/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thin callers of a backend's ops, and what every backend needs alike: names
 * in order, small objects as a whole. The only rule here is that nothing is changed through a
 * backend that was opened for reading.
 */
#include "format/store/backend.h"

#include <errno.h>
#include <string.h>

#include "format/base/base.h"

static int check_writable(const struct backend *backend, const char *name,
			  struct err *err)
{
	if (!backend->read_only)
		return 0;
	return err_set(err, -EROFS, "'%s': the store is open for reading only",
		       name);
}

int backend_put_begin(struct backend *backend, const char *name,
		      struct backend_put **put, struct err *err)
{
	int r = check_writable(backend, name, err);

	return r < 0 ? r : backend->ops->put_begin(backend, name, put, err);
}

int backend_put_write(struct backend *backend, struct backend_put *put,
		      const void *data, size_t size, struct err *err)
{
	__atomic_add_fetch(&backend->put_bytes, size, __ATOMIC_RELAXED);
	return backend->ops->put_write(put, data, size, err);
}

int backend_put_finish(struct backend *backend, struct backend_put *put,
		       struct err *err)
{
	return backend->ops->put_finish(put, err);
}

void backend_put_abort(struct backend *backend, struct backend_put *put)
{
	backend->ops->put_abort(put);
}

int backend_get(struct backend *backend, const char *name, uint64_t offset,
		void *buffer, size_t size, struct err *err)
{
	return backend->ops->get(backend, name, offset, buffer, size, err);
}

int backend_get_once(struct backend *backend, const char *name, uint64_t offset,
		     void *buffer, size_t size, const uint8_t **at,
		     struct err *err)
{
	if (backend->ops->get_once)
		return backend->ops->get_once(backend, name, offset, buffer,
					      size, at, err);
	*at = buffer;
	return backend_get(backend, name, offset, buffer, size, err);
}

int backend_size(struct backend *backend, const char *name, uint64_t *size,
		 struct err *err)
{
	return backend->ops->size(backend, name, size, err);
}

int backend_each(struct backend *backend, const char *folder,
		 backend_list_fn *fn, void *arg, struct err *err)
{
	return backend->ops->list(backend, folder, fn, arg, err);
}

uint64_t backend_stamp(struct backend *backend, const char *folder)
{
	return backend->ops->stamp ? backend->ops->stamp(backend, folder) : 0;
}

int backend_delete(struct backend *backend, const char *name, struct err *err)
{
	int r = check_writable(backend, name, err);

	return r < 0 ? r : backend->ops->delete (backend, name, err);
}

int backend_settle(struct backend *backend, const char *folder, struct err *err)
{
	return backend->ops->settle(backend, folder, err);
}

void backend_close(struct backend *backend)
{
	if (backend)
		backend->ops->close(backend);
}

/* ---- names in order ---- */

struct gathered {
	struct bytes text; /* the names, each with its NUL */
	size_t count;
};

static int gather(void *arg, const char *leaf, struct err *err)
{
	struct gathered *gathered = arg;

	gathered->count++;
	return bytes_append(&gathered->text, leaf, strlen(leaf) + 1, err);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int tell_sorted(struct gathered *gathered, backend_list_fn *fn,
		       void *arg, struct err *err)
{
	const char *at = (const char *)gathered->text.data;
	autofree const char **names = NULL;
	int r = alloc_array(&names, gathered->count, sizeof(*names), err);

	if (r < 0)
		return r;
	for (size_t n = 0; n < gathered->count; n++) {
		names[n] = at;
		at += strlen(at) + 1;
	}
	qsort(names, gathered->count, sizeof(*names), compare);
	for (size_t n = 0; n < gathered->count && r == 0; n++)
		r = fn(arg, names[n], err);
	return r;
}

int backend_list(struct backend *backend, const char *folder,
		 backend_list_fn *fn, void *arg, struct err *err)
{
	struct gathered gathered = { 0 };
	int r = backend_each(backend, folder, gather, &gathered, err);

	if (r == 0 && gathered.count)
		r = tell_sorted(&gathered, fn, arg, err);
	bytes_release(&gathered.text);
	return r;
}

/* ---- small objects ---- */

int backend_put_whole(struct backend *backend, const char *name,
		      const void *data, size_t size, struct err *err)
{
	struct backend_put *put;
	int r = backend_put_begin(backend, name, &put, err);

	if (r < 0)
		return r;
	r = backend_put_write(backend, put, data, size, err);
	if (r < 0) {
		backend_put_abort(backend, put);
		return r;
	}
	return backend_put_finish(backend, put, err);
}

int backend_get_whole(struct backend *backend, const char *name, size_t max,
		      struct bytes *out, struct err *err)
{
	size_t before = out->size;
	uint64_t size;
	void *to;
	int r = backend_size(backend, name, &size, err);

	if (r < 0)
		return r;
	if (size > max)
		return err_set(err, -EFBIG,
			       "'%s' has %llu bytes, at most %zu are possible",
			       name, (unsigned long long)size, max);
	if (size == 0)
		return 0;
	to = bytes_extend(out, (size_t)size, err);
	if (!to)
		return -ENOMEM;
	r = backend_get(backend, name, 0, to, (size_t)size, err);
	if (r < 0)
		out->size = before;
	return r;
}
