/* SPDX-License-Identifier: Apache-2.0 */
/* A vs_io and a directory of its own for a test; included after cmocka.h. */
#ifndef TESTS_UNIT_IO_FIXTURE_H
#define TESTS_UNIT_IO_FIXTURE_H

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "format/base/base.h"
#include "format/base/io.h"
#include "format/base/io_posix.h"

/* One test's io and its own directory. */
struct rig {
	struct vs_io *io;
	char dir[256];
	char path[4][320]; /* room for names, see in() */
	unsigned next;
};

typedef struct vs_io *make_io_fn(struct err *err);

static inline struct vs_io *new_plain_named(struct err *err)
{
	struct vs_io *io = io_new_plain(err);

	if (io)
		container_of(io, struct io_posix, io)->no_tmpfile = true;
	return io;
}

static inline int set_up(void **state, make_io_fn *make)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	const char *top = getenv("TMPDIR");

	assert_non_null(rig);
	snprintf(rig->dir, sizeof(rig->dir), "%s/vmsnap-test-XXXXXX",
		 top ? top : "/tmp");
	assert_non_null(mkdtemp(rig->dir));
	rig->io = make(NULL);
	*state = rig;
	return 0;
}

static inline int set_up_uring(void **state)
{
	return set_up(state, io_new_uring);
}

static inline int set_up_plain(void **state)
{
	return set_up(state, io_new_plain);
}

static inline int set_up_threads(void **state)
{
	return set_up(state, io_new_threads);
}

static inline int set_up_named(void **state)
{
	return set_up(state, new_plain_named);
}

static inline int remove_one(const char *path, const struct stat *st, int type,
			     struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int tear_down(void **state)
{
	struct rig *rig = *state;

	io_free(rig->io);
	nftw(rig->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(rig);
	return 0;
}

/* The rig of this test; skipped where the host forbids its io. */
static inline struct rig *rig_of(void **state)
{
	struct rig *rig = *state;

	if (!rig->io) {
		print_message("io_uring is not available on this host\n");
		skip();
	}
	return rig;
}

/* A path in the rig's directory; good for four more calls. */
static inline const char *in(struct rig *rig, const char *name)
{
	char *path = rig->path[rig->next++ % 4];

	snprintf(path, sizeof(rig->path[0]), "%s/%s", rig->dir, name);
	return path;
}

static inline int count_name(void *arg, const char *name)
{
	(void)name;
	++*(unsigned *)arg;
	return 0;
}

static inline unsigned names_in(struct rig *rig)
{
	unsigned count = 0;

	assert_int_equal(
		rig->io->ops->list(rig->io, rig->dir, count_name, &count, NULL),
		0);
	return count;
}

static inline int make_file(struct rig *rig, const char *name, int more)
{
	int file = rig->io->ops->open(rig->io, in(rig, name),
				      IO_READ_WRITE | IO_CREATE | more, NULL);

	assert_true(file >= 0);
	return file;
}

static inline void fill(uint8_t *data, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(seed + i * 7 + (i >> 8));
}

/* clang-format off */
#define IO_TEST(f, how) { #f "_" #how, f, set_up_##how, tear_down, NULL }
/* clang-format on */

#endif
