/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An io over another that can be told to fail: for sources with bad blocks,
 * full disks, files that change while they are read. Its queues do each
 * request at once, so that faults come in a fixed order. Any thread; the
 * faults are set while nothing runs.
 */
#ifndef TESTS_RIG_FAULT_IO_H
#define TESTS_RIG_FAULT_IO_H

#include <stdatomic.h>

#include "format/base/io.h"

struct fault_io {
	struct vs_io io; /* hand this out */
	struct vs_io *real;
	/* Only files whose path has this in it; NULL: no faults. */
	const char *path;
	int read_error; /* 0, or for reads that touch the range */
	uint64_t read_from, read_to;
	int write_error; /* 0, or for writes that end past this offset */
	uint64_t write_limit;
	int sync_error;
	/* After so many bytes read, the file is cut to this size; 0: not. */
	uint64_t shrink_after, shrink_to;

	_Atomic uint64_t bytes_read; /* of files with that path */
	_Atomic uint64_t bytes_written;
	_Atomic uint64_t syncs;
	_Atomic bool is_hit[4096]; /* by handle: its path matches */
};

/* `real` must outlive it; nothing to release. */
void fault_io_init(struct fault_io *fault, struct vs_io *real);

#endif
