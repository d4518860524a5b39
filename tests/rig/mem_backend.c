/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend in memory. Objects stand in an array sorted by name: tests have
 * few of them, and a listing comes in a fixed order.
 */
#include "tests/rig/mem_backend.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "format/base/base.h"

struct object {
	char *name;
	uint8_t *data;
	size_t size;
};

struct mem {
	struct backend base;
	pthread_mutex_t lock;
	struct object **objects;
	size_t count, capacity;
	unsigned long ops[MEM_OP_COUNT];
	unsigned long fail_in; /* of any kind */
	int fail_code;
	unsigned long fail_op_in[MEM_OP_COUNT];
	int fail_op_code[MEM_OP_COUNT];
	unsigned long open_puts;
	mem_backend_hook *hook;
	void *hook_arg;
};

struct backend_put {
	struct mem *mem;
	char *name;
	uint8_t *data;
	size_t size, capacity;
};

static struct mem *mem_of(struct backend *backend)
{
	return container_of(backend, struct mem, base);
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* What stands at or after `name`. */
static size_t lower_bound(struct mem *mem, const char *name)
{
	size_t low = 0, high = mem->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(mem->objects[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct object *find(struct mem *mem, const char *name)
{
	size_t at = lower_bound(mem, name);

	if (at < mem->count && strcmp(mem->objects[at]->name, name) == 0)
		return mem->objects[at];
	return NULL;
}

static void insert(struct mem *mem, const char *name, uint8_t *data,
		   size_t size)
{
	size_t at = lower_bound(mem, name);
	struct object *object = must(calloc(1, sizeof(*object)));

	if (mem->count == mem->capacity) {
		mem->capacity = mem->capacity ? 2 * mem->capacity : 64;
		mem->objects = must(reallocarray(mem->objects, mem->capacity,
						 sizeof(struct object *)));
	}
	memmove(mem->objects + at + 1, mem->objects + at,
		(mem->count - at) * sizeof(struct object *));
	object->name = must(strdup(name));
	object->data = data;
	object->size = size;
	mem->objects[at] = object;
	mem->count++;
}

static bool erase(struct mem *mem, const char *name)
{
	size_t at = lower_bound(mem, name);
	struct object *object = find(mem, name);

	if (!object)
		return false;
	free(object->name);
	free(object->data);
	free(object);
	mem->count--;
	memmove(mem->objects + at, mem->objects + at + 1,
		(mem->count - at) * sizeof(struct object *));
	return true;
}

/* Counts the operation; takes the lock unless it must fail. */
static int enter(struct mem *mem, enum mem_op op, const char *name,
		 struct err *err)
{
	mem_backend_hook *hook;
	void *arg;
	int r = 0;

	pthread_mutex_lock(&mem->lock);
	hook = mem->hook;
	arg = mem->hook_arg;
	pthread_mutex_unlock(&mem->lock);
	if (hook)
		hook(arg, op, name);

	pthread_mutex_lock(&mem->lock);
	mem->ops[op]++;
	if (mem->fail_in && --mem->fail_in == 0)
		r = mem->fail_code;
	if (mem->fail_op_in[op] && --mem->fail_op_in[op] == 0)
		r = mem->fail_op_code[op];
	if (!r)
		return 0;
	pthread_mutex_unlock(&mem->lock);
	return err_sys(err, r, "'%s'", name);
}

static int mem_create(struct backend *backend, struct err *err)
{
	struct mem *mem = mem_of(backend);
	size_t count;

	pthread_mutex_lock(&mem->lock);
	count = mem->count;
	pthread_mutex_unlock(&mem->lock);
	return count ? err_set(err, -EEXIST, "it is not empty") : 0;
}

static int mem_put_begin(struct backend *backend, const char *name,
			 struct backend_put **out, struct err *err)
{
	struct mem *mem = mem_of(backend);
	struct backend_put *put;
	int r = enter(mem, MEM_BEGIN, name, err);

	if (r < 0)
		return r;
	put = must(calloc(1, sizeof(*put)));
	put->mem = mem;
	put->name = must(strdup(name));
	mem->open_puts++;
	pthread_mutex_unlock(&mem->lock);
	*out = put;
	return 0;
}

static int mem_put_write(struct backend_put *put, const void *data, size_t size,
			 struct err *err)
{
	int r = enter(put->mem, MEM_WRITE, put->name, err);

	if (r < 0)
		return r;
	pthread_mutex_unlock(&put->mem->lock);
	if (put->capacity - put->size < size) {
		put->capacity = 2 * put->capacity + size;
		put->data = must(realloc(put->data, put->capacity));
	}
	if (size)
		memcpy(put->data + put->size, data, size);
	put->size += size;
	return 0;
}

static void put_free(struct backend_put *put)
{
	pthread_mutex_lock(&put->mem->lock);
	put->mem->open_puts--;
	pthread_mutex_unlock(&put->mem->lock);
	free(put->name);
	free(put->data);
	free(put);
}

static int mem_put_finish(struct backend_put *put, struct err *err)
{
	struct mem *mem = put->mem;
	int r = enter(mem, MEM_FINISH, put->name, err);

	if (r == 0) {
		if (find(mem, put->name))
			r = err_sys(err, -EEXIST, "'%s'", put->name);
		else
			insert(mem, put->name, ptr_steal(&put->data),
			       put->size);
		pthread_mutex_unlock(&mem->lock);
	}
	put_free(put);
	return r;
}

static void mem_put_abort(struct backend_put *put)
{
	put_free(put);
}

static int mem_get(struct backend *backend, const char *name, uint64_t offset,
		   void *buffer, size_t size, struct err *err)
{
	struct mem *mem = mem_of(backend);
	struct object *object;
	int r = enter(mem, MEM_GET, name, err);

	if (r < 0)
		return r;
	object = find(mem, name);
	if (!object)
		r = err_sys(err, -ENOENT, "'%s'", name);
	else if (offset > object->size || size > object->size - offset)
		r = err_set(err, -ENODATA, "'%s' is shorter", name);
	else if (size)
		memcpy(buffer, object->data + offset, size);
	pthread_mutex_unlock(&mem->lock);
	return r;
}

static int mem_size(struct backend *backend, const char *name, uint64_t *size,
		    struct err *err)
{
	struct mem *mem = mem_of(backend);
	struct object *object;
	int r = enter(mem, MEM_SIZE, name, err);

	if (r < 0)
		return r;
	object = find(mem, name);
	if (object)
		*size = object->size;
	else
		r = err_sys(err, -ENOENT, "'%s'", name);
	pthread_mutex_unlock(&mem->lock);
	return r;
}

static int mem_list(struct backend *backend, const char *folder,
		    backend_list_fn *fn, void *arg, struct err *err)
{
	struct mem *mem = mem_of(backend);
	size_t length = strlen(folder), n, count = 0;
	char **leaves;
	int r = enter(mem, MEM_LIST, folder, err);

	if (r < 0)
		return r;
	leaves = must(calloc(mem->count + 1, sizeof(char *)));
	for (n = 0; n < mem->count; n++) {
		const char *name = mem->objects[n]->name;

		if (strncmp(name, folder, length) || name[length] != '/')
			continue;
		leaves[count++] = must(strdup(strrchr(name, '/') + 1));
	}
	pthread_mutex_unlock(&mem->lock);

	for (n = 0; n < count && r == 0; n++)
		r = fn(arg, leaves[n], err);
	for (n = 0; n < count; n++)
		free(leaves[n]);
	free(leaves);
	return r;
}

static int mem_delete(struct backend *backend, const char *name,
		      struct err *err)
{
	struct mem *mem = mem_of(backend);
	int r = enter(mem, MEM_DELETE, name, err);

	if (r < 0)
		return r;
	if (!erase(mem, name))
		r = err_sys(err, -ENOENT, "'%s'", name);
	pthread_mutex_unlock(&mem->lock);
	return r;
}

static int mem_settle(struct backend *backend, const char *folder,
		      struct err *err)
{
	struct mem *mem = mem_of(backend);
	int r = enter(mem, MEM_SETTLE, folder, err);

	if (r == 0)
		pthread_mutex_unlock(&mem->lock);
	return r;
}

static void mem_close(struct backend *backend)
{
	struct mem *mem = mem_of(backend);

	while (mem->count)
		erase(mem, mem->objects[mem->count - 1]->name);
	free(mem->objects);
	pthread_mutex_destroy(&mem->lock);
	free(mem);
}

static const struct backend_ops mem_ops = {
	.create = mem_create,
	.put_begin = mem_put_begin,
	.put_write = mem_put_write,
	.put_finish = mem_put_finish,
	.put_abort = mem_put_abort,
	.get = mem_get,
	.size = mem_size,
	.list = mem_list,
	.delete = mem_delete,
	.settle = mem_settle,
	.close = mem_close,
};

struct backend *mem_backend_new(void)
{
	struct mem *mem = must(calloc(1, sizeof(*mem)));

	mem->base.ops = &mem_ops;
	pthread_mutex_init(&mem->lock, NULL);
	return &mem->base;
}

void mem_backend_fail(struct backend *backend, unsigned long nth, int code)
{
	struct mem *mem = mem_of(backend);

	pthread_mutex_lock(&mem->lock);
	mem->fail_in = nth;
	mem->fail_code = code;
	pthread_mutex_unlock(&mem->lock);
}

void mem_backend_fail_op(struct backend *backend, enum mem_op op,
			 unsigned long nth, int code)
{
	struct mem *mem = mem_of(backend);

	pthread_mutex_lock(&mem->lock);
	mem->fail_op_in[op] = nth;
	mem->fail_op_code[op] = code;
	pthread_mutex_unlock(&mem->lock);
}

unsigned long mem_backend_count_op(struct backend *backend, enum mem_op op)
{
	struct mem *mem = mem_of(backend);
	unsigned long n;

	pthread_mutex_lock(&mem->lock);
	n = mem->ops[op];
	pthread_mutex_unlock(&mem->lock);
	return n;
}

unsigned long mem_backend_open_puts(struct backend *backend)
{
	struct mem *mem = mem_of(backend);
	unsigned long n;

	pthread_mutex_lock(&mem->lock);
	n = mem->open_puts;
	pthread_mutex_unlock(&mem->lock);
	return n;
}

void mem_backend_set_hook(struct backend *backend, mem_backend_hook *hook,
			  void *arg)
{
	struct mem *mem = mem_of(backend);

	pthread_mutex_lock(&mem->lock);
	mem->hook = hook;
	mem->hook_arg = arg;
	pthread_mutex_unlock(&mem->lock);
}

const char *mem_backend_name(struct backend *backend, const char *prefix,
			     size_t nth)
{
	struct mem *mem = mem_of(backend);
	const char *name = NULL;
	size_t at;

	pthread_mutex_lock(&mem->lock);
	at = lower_bound(mem, prefix) + nth;
	if (at < mem->count)
		name = mem->objects[at]->name;
	if (name && strncmp(name, prefix, strlen(prefix)))
		name = NULL;
	pthread_mutex_unlock(&mem->lock);
	return name;
}

size_t mem_backend_count(struct backend *backend, const char *prefix)
{
	size_t n = 0;

	while (mem_backend_name(backend, prefix, n))
		n++;
	return n;
}

size_t mem_backend_object_size(struct backend *backend, const char *name)
{
	struct mem *mem = mem_of(backend);
	struct object *object;
	size_t size;

	pthread_mutex_lock(&mem->lock);
	object = find(mem, name);
	size = object ? object->size : SIZE_MAX;
	pthread_mutex_unlock(&mem->lock);
	return size;
}

uint8_t *mem_backend_copy(struct backend *backend, const char *name,
			  size_t *size)
{
	struct mem *mem = mem_of(backend);
	struct object *object;
	uint8_t *copy = NULL;

	pthread_mutex_lock(&mem->lock);
	object = find(mem, name);
	if (object) {
		copy = must(malloc(object->size + 1));
		if (object->size)
			memcpy(copy, object->data, object->size);
		*size = object->size;
	}
	pthread_mutex_unlock(&mem->lock);
	return copy;
}

void mem_backend_set(struct backend *backend, const char *name,
		     const void *data, size_t size)
{
	struct mem *mem = mem_of(backend);
	uint8_t *copy = must(malloc(size + 1));

	if (size)
		memcpy(copy, data, size);
	pthread_mutex_lock(&mem->lock);
	erase(mem, name);
	insert(mem, name, copy, size);
	pthread_mutex_unlock(&mem->lock);
}

bool mem_backend_flip(struct backend *backend, const char *name,
		      uint64_t offset, uint8_t mask)
{
	struct mem *mem = mem_of(backend);
	struct object *object;
	bool done = false;

	pthread_mutex_lock(&mem->lock);
	object = find(mem, name);
	if (object && offset < object->size) {
		object->data[offset] ^= mask;
		done = true;
	}
	pthread_mutex_unlock(&mem->lock);
	return done;
}

bool mem_backend_remove(struct backend *backend, const char *name)
{
	struct mem *mem = mem_of(backend);
	bool done;

	pthread_mutex_lock(&mem->lock);
	done = erase(mem, name);
	pthread_mutex_unlock(&mem->lock);
	return done;
}
