/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend in memory for tests: what is finished is visible at once. It can
 * fail a chosen operation, change an object behind the back of the code under
 * test, and call a hook before each operation. Thread safe; the functions
 * here take a struct backend that mem_backend_new() made.
 */
#ifndef TESTS_RIG_MEM_BACKEND_H
#define TESTS_RIG_MEM_BACKEND_H

#include "format/store/backend.h"

enum mem_op {
	MEM_BEGIN,
	MEM_WRITE,
	MEM_FINISH,
	MEM_GET,
	MEM_SIZE,
	MEM_LIST,
	MEM_DELETE,
	MEM_SETTLE,
};
#define MEM_OP_COUNT 8

/* Aborts the test program when there is no memory. */
struct backend *mem_backend_new(void);

/* The `nth` operation from now on (1: the next) answers `code`, once. 0: none.
 */
void mem_backend_fail(struct backend *backend, unsigned long nth, int code);
/* As above, but counts operations of one kind only. */
void mem_backend_fail_op(struct backend *backend, enum mem_op op,
			 unsigned long nth, int code);
/* How many operations of a kind have begun. */
unsigned long mem_backend_count_op(struct backend *backend, enum mem_op op);
/* Puts that were begun and neither finished nor aborted. */
unsigned long mem_backend_open_puts(struct backend *backend);

/* Called before each operation, without a lock held: it may change the
 * backend. NULL: none. */
typedef void mem_backend_hook(void *arg, enum mem_op op, const char *name);
void mem_backend_set_hook(struct backend *backend, mem_backend_hook *hook,
			  void *arg);

/* Objects whose name starts with `prefix`. */
size_t mem_backend_count(struct backend *backend, const char *prefix);
/* The name of the nth of them in the order of names, or NULL; valid until it
 * is deleted. */
const char *mem_backend_name(struct backend *backend, const char *prefix,
			     size_t nth);
/* Size of an object; SIZE_MAX when there is none. */
size_t mem_backend_object_size(struct backend *backend, const char *name);
/* A copy (free() it), or NULL. */
uint8_t *mem_backend_copy(struct backend *backend, const char *name,
			  size_t *size);
/* Make or replace an object. */
void mem_backend_set(struct backend *backend, const char *name,
		     const void *data, size_t size);
/* XOR one byte; false when there is no such byte. */
bool mem_backend_flip(struct backend *backend, const char *name,
		      uint64_t offset, uint8_t mask);
bool mem_backend_remove(struct backend *backend, const char *name);

#endif
