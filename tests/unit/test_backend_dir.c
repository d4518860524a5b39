/* SPDX-License-Identifier: Apache-2.0 */
/* The directory backend, on a real directory; and a store in it by threads. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sys/stat.h>

#include "tests/unit/store_fixture.h"

struct real {
	char top[64], path[96];
	struct vs_io *io;
	struct backend *backend;
	struct err err;
};

static void open_again(struct real *t)
{
	backend_close(t->backend);
	must(t, backend_open_dir(&t->backend, t->io, t->path, &t->err));
}

static int setup(void **state)
{
	struct real *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	strcpy(t->top, "/tmp/vmsnap-backend-XXXXXX");
	assert_non_null(mkdtemp(t->top));
	snprintf(t->path, sizeof(t->path), "%s/store", t->top);
	t->io = io_new(&t->err);
	assert_non_null(t->io);
	open_again(t);
	*state = t;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct real *t = *state;

	backend_close(t->backend);
	io_free(t->io);
	nftw(t->top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(t);
	return 0;
}

static const char *in(struct real *t, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", t->path, name);
	return path;
}

static void make_file(const char *path)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fputs("x", file), 1);
	fclose(file);
}

static void test_create(void **state)
{
	struct real *t = *state;

	must(t, t->backend->ops->create(t->backend, &t->err));
	/* What an interrupted one has left is no obstacle. */
	must(t, t->backend->ops->create(t->backend, &t->err));
	make_file(in(t, "keys/.tmp-1"));
	make_file(in(t, "keys/a1"));
	must(t, t->backend->ops->create(t->backend, &t->err));
	make_file(in(t, "keys/Notes"));
	assert_int_equal(t->backend->ops->create(t->backend, &t->err), -EEXIST);
	remove(in(t, "keys/Notes"));
	make_file(in(t, "packs/x"));
	assert_int_equal(t->backend->ops->create(t->backend, &t->err), -EEXIST);
	remove(in(t, "packs/x"));
	make_file(in(t, "config"));
	assert_int_equal(t->backend->ops->create(t->backend, &t->err), -EEXIST);
	assert_non_null(strstr(t->err.text, "a store already"));
	remove(in(t, "config"));
	make_file(in(t, "thesis.txt"));
	assert_int_equal(t->backend->ops->create(t->backend, &t->err), -EEXIST);
	assert_non_null(strstr(t->err.text, t->path));

	snprintf(t->path, sizeof(t->path), "%s/no/such", t->top);
	open_again(t);
	assert_int_equal(t->backend->ops->create(t->backend, &t->err), -ENOENT);
}

static void make_temporary(struct real *t, const char *folder, char digit,
			   time_t age_seconds)
{
	struct timespec times[2];
	char name[96];

	snprintf(name, sizeof(name),
		 "%s/.tmp-0123456789abcdef0123456789abcde%c", folder, digit);
	make_file(in(t, name));
	clock_gettime(CLOCK_REALTIME, &times[0]);
	times[0].tv_sec -= age_seconds;
	times[1] = times[0];
	assert_int_equal(utimensat(AT_FDCWD, in(t, name), times, 0), 0);
}

static unsigned count_files(struct real *t, const char *folder)
{
	unsigned count = 0;
	DIR *dir = opendir(in(t, folder));

	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		count += entry->d_type == DT_REG;
	closedir(dir);
	return count;
}

static int pass_over(void *arg, const char *name, struct err *err)
{
	(void)arg;
	(void)name;
	(void)err;
	return 0;
}

/* What others left goes with a put, if it is a day old and called like ours. */
static void test_sweep(void **state)
{
	static const char *const folders[] = { "tables", "packs/a1" };
	const time_t hour = 3600;
	struct real *t = *state;

	must(t, t->backend->ops->create(t->backend, &t->err));
	assert_int_equal(mkdir(in(t, "packs/a1"), 0700), 0);
	for (unsigned n = 0; n < 2; n++) {
		make_temporary(t, folders[n], 'a', 25 * hour);
		make_temporary(t, folders[n], 'b', 23 * hour);
		make_temporary(t, folders[n], 'c', -25 * hour);
		make_temporary(t, folders[n], 'X', 25 * hour);
	}
	must(t, backend_list(t->backend, "tables", pass_over, NULL, &t->err));
	must(t, backend_list(t->backend, "packs", pass_over, NULL, &t->err));
	/* A reader removes nothing. */
	open_again(t);
	assert_int_equal(count_files(t, "tables"), 4);
	assert_int_equal(count_files(t, "packs/a1"), 4);
	must(t, backend_list(t->backend, "tables", pass_over, NULL, &t->err));
	must(t, backend_list(t->backend, "packs", pass_over, NULL, &t->err));
	must(t, backend_put_whole(t->backend, "pins/a1", "x", 1, &t->err));
	assert_int_equal(count_files(t, "tables"), 3);
	assert_int_equal(count_files(t, "packs/a1"), 3);
	assert_int_equal(
		access(in(t, "tables/.tmp-0123456789abcdef0123456789abcdea"),
		       F_OK),
		-1);
}

static void test_objects(void **state)
{
	struct real *t = *state;
	struct backend_put *put;
	struct bytes data = { 0 };
	uint64_t size = 0;
	char buffer[8];

	must(t, t->backend->ops->create(t->backend, &t->err));
	must(t, backend_put_begin(t->backend, "tables/a1", &put, &t->err));
	must(t, backend_put_write(t->backend, put, "0123", 4, &t->err));
	assert_int_equal(backend_size(t->backend, "tables/a1", &size, &t->err),
			 -ENOENT); /* seen by nobody */
	must(t, backend_put_write(t->backend, put, "4567", 4, &t->err));
	must(t, backend_put_finish(t->backend, put, &t->err));
	must(t, backend_size(t->backend, "tables/a1", &size, &t->err));
	assert_int_equal(size, 8);
	must(t, backend_get(t->backend, "tables/a1", 2, buffer, 4, &t->err));
	assert_memory_equal(buffer, "2345", 4);
	assert_int_equal(
		backend_get(t->backend, "tables/a1", 5, buffer, 4, &t->err),
		-ENODATA);
	assert_int_equal(backend_get(t->backend, "tables/a1", UINT64_MAX,
				     buffer, 4, &t->err),
			 -ENODATA);
	assert_int_equal(
		backend_put_whole(t->backend, "tables/a1", "x", 1, &t->err),
		-EEXIST);
	assert_int_equal(
		backend_get_whole(t->backend, "tables/a1", 7, &data, &t->err),
		-EFBIG);
	must(t, backend_get_whole(t->backend, "tables/a1", 8, &data, &t->err));
	assert_int_equal(data.size, 8);
	bytes_release(&data);

	must(t, backend_put_begin(t->backend, "tables/a2", &put, &t->err));
	must(t, backend_put_write(t->backend, put, "x", 1, &t->err));
	backend_put_abort(t->backend, put);
	assert_int_equal(access(in(t, "tables/a2"), F_OK), -1);

	must(t, backend_delete(t->backend, "tables/a1", &t->err));
	assert_int_equal(
		backend_get(t->backend, "tables/a1", 0, buffer, 4, &t->err),
		-ENOENT); /* also if it was open */
	assert_int_equal(backend_delete(t->backend, "tables/a1", &t->err),
			 -ENOENT);
}

/* Wherever the part lies in the file's blocks; in the page cache or not. */
static void test_get_once(void **state)
{
	static const size_t parts[][2] = {
		{ 0, 1 },       { 0, 4096 }, { 1, 4096 },   { 4095, 2 },
		{ 4096, 5000 }, { 5000, 1 }, { 100, 9900 }, { 9999, 1 },
	};
	struct real *t = *state;
	uint8_t data[10000], *buffer = aligned_alloc(BACKEND_ALIGNMENT, 32768);
	const uint8_t *at;

	assert_non_null(buffer);
	fixture_content(1, data, sizeof(data));
	must(t, t->backend->ops->create(t->backend, &t->err));
	must(t, backend_put_whole(t->backend, "packs/a1/a1", data, sizeof(data),
				  &t->err));
	for (unsigned n = 0; n < 2 * ARRAY_SIZE(parts); n++) {
		const size_t *part = parts[n % ARRAY_SIZE(parts)];

		memset(buffer, 0, 32768);
		must(t, backend_get_once(t->backend, "packs/a1/a1", part[0],
					 buffer, part[1], &at, &t->err));
		assert_memory_equal(at, data + part[0], part[1]);
		if (n == ARRAY_SIZE(parts) - 1)
			must(t, backend_get(t->backend, "packs/a1/a1", 0,
					    buffer, sizeof(data), &t->err));
	}
	assert_int_equal(backend_get_once(t->backend, "packs/a1/a1", 9999,
					  buffer, 2, &at, &t->err),
			 -ENODATA);
	assert_int_equal(backend_get_once(t->backend, "packs/a1/a1", UINT64_MAX,
					  buffer, 2, &at, &t->err),
			 -ENODATA);
	must(t, backend_delete(t->backend, "packs/a1/a1", &t->err));
	assert_int_equal(backend_get_once(t->backend, "packs/a1/a1", 0, buffer,
					  1, &at, &t->err),
			 -ENOENT); /* also if it was open */
	free(buffer);
}

struct names {
	char text[1024];
	size_t used;
	unsigned count;
};

static int add_name(void *arg, const char *leaf, struct err *err)
{
	struct names *names = arg;

	(void)err;
	names->used += (size_t)snprintf(names->text + names->used,
					sizeof(names->text) - names->used,
					"%s ", leaf);
	return ++names->count == 9 ? -ECANCELED : 0;
}

static void test_list(void **state)
{
	struct real *t = *state;
	struct names names = { 0 };

	must(t, t->backend->ops->create(t->backend, &t->err));
	must(t, backend_put_whole(t->backend, "packs/b2/b2", "x", 1, &t->err));
	must(t, backend_put_whole(t->backend, "packs/a1/a1c", "x", 1, &t->err));
	must(t, backend_put_whole(t->backend, "packs/a1/a1b", "x", 1, &t->err));
	make_file(in(t, "packs/a1/.tmp-1"));
	make_file(in(t, "packs/a1/b2stray")); /* not of that folder */
	make_file(in(t, "packs/c3"));         /* no folder */
	assert_int_equal(mkdir(in(t, "packs/notes"), 0700), 0);
	must(t, backend_list(t->backend, "packs", add_name, &names, &t->err));
	assert_string_equal(names.text, "a1b a1c b2 ");

	memset(&names, 0, sizeof(names));
	must(t, backend_list(t->backend, "pins", add_name, &names, &t->err));
	assert_int_equal(rmdir(in(t, "pins")), 0);
	must(t, backend_list(t->backend, "pins", add_name, &names, &t->err));
	assert_string_equal(names.text, "");
	/* A copy of a store may lack its empty folders. */
	must(t, backend_settle(t->backend, "pins", &t->err));
	must(t, backend_put_whole(t->backend, "pins/p1", "x", 1, &t->err));
	must(t, backend_settle(t->backend, "packs", &t->err));
	must(t, backend_settle(t->backend, "packs/a1", &t->err));
	names.count = 8;
	assert_int_equal(
		backend_list(t->backend, "pins", add_name, &names, &t->err),
		-ECANCELED);
}

static void test_stamp(void **state)
{
	const struct timespec long_ago[2] = { { 1000, 7 }, { 1000, 7 } };
	struct real *t = *state;

	must(t, t->backend->ops->create(t->backend, &t->err));
	assert_int_equal(backend_stamp(t->backend, "nowhere"), 0);
	assert_int_equal(utimensat(AT_FDCWD, in(t, "pins"), long_ago, 0), 0);
	assert_int_equal(backend_stamp(t->backend, "pins"), 1000000000007);
	must(t, backend_put_whole(t->backend, "pins/p1", "x", 1, &t->err));
	assert_int_not_equal(backend_stamp(t->backend, "pins"), 1000000000007);
}

static void test_refusals(void **state)
{
	struct real *t = *state;
	char buffer[1];

	must(t, t->backend->ops->create(t->backend, &t->err));
	make_file(in(t, "config"));
	assert_int_equal(symlink("../config", in(t, "tables/aa")), 0);
	assert_int_equal(
		backend_get(t->backend, "tables/aa", 0, buffer, 1, &t->err),
		-ELOOP);
	assert_int_equal(mkdir(in(t, "tables/bb"), 0700), 0);
	assert_int_equal(
		backend_get(t->backend, "tables/bb", 0, buffer, 1, &t->err),
		-EBADMSG);
	assert_int_equal(mkfifo(in(t, "tables/cc"), 0600), 0);
	assert_int_equal(
		backend_get(t->backend, "tables/cc", 0, buffer, 1, &t->err),
		-EBADMSG);
	t->backend->read_only = true;
	assert_int_equal(
		backend_put_whole(t->backend, "pins/a", "x", 1, &t->err),
		-EROFS);
	assert_int_equal(backend_delete(t->backend, "config", &t->err), -EROFS);
	must(t, backend_get(t->backend, "config", 0, buffer, 1, &t->err));
}

/* More objects than open files are kept, from several threads. */
enum { MANY = 300, THREADS = 4 };

static void *read_many(void *arg)
{
	struct real *t = arg;
	char name[32];
	unsigned wrong = 0, found;

	for (unsigned n = 0; n < 4 * MANY; n++) {
		unsigned k = (n * 7) % MANY;

		snprintf(name, sizeof(name), "tables/%03u", k);
		if (backend_get(t->backend, name, 0, &found, sizeof(found),
				NULL) < 0 ||
		    found != k)
			wrong++;
	}
	return (void *)(uintptr_t)wrong;
}

static void test_many_files(void **state)
{
	struct real *t = *state;
	pthread_t threads[THREADS];
	char name[32];
	void *wrong;

	must(t, t->backend->ops->create(t->backend, &t->err));
	for (unsigned n = 0; n < MANY; n++) {
		snprintf(name, sizeof(name), "tables/%03u", n);
		must(t, backend_put_whole(t->backend, name, &n, sizeof(n),
					  &t->err));
	}
	for (unsigned n = 0; n < THREADS; n++)
		assert_int_equal(
			pthread_create(&threads[n], NULL, read_many, t), 0);
	for (unsigned n = 0; n < THREADS; n++) {
		assert_int_equal(pthread_join(threads[n], &wrong), 0);
		assert_null(wrong);
	}
}

/* Threads that put chunks, half of which all of them have. */
struct putter {
	struct store *store;
	unsigned number;
	int result;
	struct id ids[800];
};

static uint64_t content_of(const struct putter *p, unsigned n)
{
	return n % 2 ? n : 100000 * (p->number + 1ull) + n;
}

static void *put_many(void *arg)
{
	struct putter *p = arg;
	uint8_t content[FIXTURE_CHUNK];
	struct put_result result;
	struct store_thread *thread = store_thread_new(p->store, NULL);

	for (unsigned n = 0; thread && n < 800 && p->result == 0; n++) {
		fixture_content(content_of(p, n), content, sizeof(content));
		p->result =
			store_put(thread, CHUNK_DATA, content, sizeof(content),
				  &p->ids[n], &result, NULL);
	}
	if (p->result == 0)
		p->result = thread ? store_thread_flush(thread, NULL) : -ENOMEM;
	store_thread_free(thread);
	return NULL;
}

static void open_real_store(struct real *t, struct fixture *f,
			    enum store_mode mode)
{
	const struct store_options options = { .mode = mode };
	struct backend *backend;

	must(t, backend_open_dir(&backend, t->io, t->path, &t->err));
	must(f, store_open(&f->store, backend, &options, &f->err));
	f->thread = store_thread_new(f->store, &f->err);
	assert_non_null(f->thread);
}

static void test_threads(void **state)
{
	const struct store_create_options create = {
		.plaintext = true,
		.pack_size_bytes = MIB,
	};
	struct real *t = *state;
	struct fixture f = { 0 };
	static struct putter putters[THREADS];
	pthread_t threads[THREADS];

	must(t, store_create(t->backend, &create, &t->err));
	open_real_store(t, &f, STORE_WRITE);
	memset(putters, 0, sizeof(putters));
	for (unsigned n = 0; n < THREADS; n++) {
		putters[n].store = f.store;
		putters[n].number = n;
		assert_int_equal(pthread_create(&threads[n], NULL, put_many,
						&putters[n]),
				 0);
	}
	for (unsigned n = 0; n < THREADS; n++) {
		assert_int_equal(pthread_join(threads[n], NULL), 0);
		assert_int_equal(putters[n].result, 0);
	}
	fixture_commit(&f, "vm", NULL);
	/* 400 chunks that all have, and 400 of each, and no more. */
	assert_true(store_stored_bytes(f.store) <
		    2000 * (FIXTURE_CHUNK + 16 + 48) + MIB);
	fixture_close(&f);

	open_real_store(t, &f, STORE_READ);
	for (unsigned n = 0; n < THREADS; n++) {
		for (unsigned k = 0; k < 800; k++)
			assert_int_equal(fixture_get(&f,
						     content_of(&putters[n], k),
						     &putters[n].ids[k]),
					 0);
	}
	fixture_close(&f);
}

#define real_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		real_test(test_create),   real_test(test_sweep),
		real_test(test_objects),  real_test(test_get_once),
		real_test(test_list),     real_test(test_stamp),
		real_test(test_refusals), real_test(test_many_files),
		real_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
