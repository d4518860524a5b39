/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory that loses power: a struct vs_io for tests.
 *
 * All that happens follows from the seed and from the calls made, so a failing
 * seed replays exactly. One thread only. Running out of memory aborts.
 *
 * What survives a loss of power:
 *  - data that was synced (sync of the file);
 *  - names that were synced (sync_dir of the directory that holds them, and
 *    of the directories above it);
 *  - of the rest, what the seed says. Each 4 KiB block of a file is one of
 *    the states it had since its last sync, independently of the others; one
 *    in eight is torn, each 512 bytes by itself. The size is one that the file
 *    had, or on the way to the next larger one, at a 4 KiB border. Size and
 *    truncations keep their order: what was cut off never comes back under a
 *    later size. Of the changes to a directory a prefix survives, or any
 *    subset that keeps the order of changes to one name. A rename is atomic.
 *
 * Paths: absolute and relative ones are the same; only "/" exists at first.
 * No ".."; a directory can't be renamed out of its directory.
 *
 * IO_DIRECT is held to what the kernel asks: offset, length and buffer in
 * multiples of 512, else -EINVAL.
 *
 * Operations are numbered from 1; each change and each sync counts when it is
 * tried (open that creates, create_unnamed, link, rename, unlink, mkdir,
 * sync_dir, write, sync, truncate, punch; those of a queue when they
 * complete). SIM_TRACE in the environment prints each on stderr.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "format/base/io.h"

struct sim;

struct sim_counters {
	uint64_t ops; /* the number of the last operation */
	uint64_t syncs;
	uint64_t dir_syncs;
	uint64_t bytes_written;
	uint64_t bytes_read;
	uint64_t used_bytes; /* blocks of files that have a name or are open */
	unsigned open_files;
	unsigned queues;
};

/* Never NULL. */
struct sim *sim_new(uint64_t seed);
/* Also done by io_free(sim_io(sim)); queues must be gone. */
void sim_free(struct sim *sim);
struct vs_io *sim_io(struct sim *sim);
struct sim_counters sim_count(const struct sim *sim);

/*
 * The power goes and comes back: handles are dead (-EBADF), the disk holds
 * what survived. Writes in flight in a queue may have happened; their buffers
 * must still be there.
 */
void sim_power_loss(struct sim *sim);
/*
 * The power goes during operation number `op`, which may have had its effect;
 * it and all others give -EIO until sim_reboot(). 0: not at all.
 */
void sim_power_loss_at(struct sim *sim, uint64_t op);
bool sim_is_off(const struct sim *sim);
/* Of one that is off. The counters go on. */
void sim_reboot(struct sim *sim);

/*
 * Operation number `op` fails with `error` (negative), and with `from_then_on`
 * all after it. One fault is armed at a time; op 0 takes it back. A write that
 * fails with -EIO may have written something (of whole sectors, whole ones). After a failed sync some dirty
 * blocks are taken for clean and lost: they read as written, but no later sync
 * brings them to the disk unless they are written again.
 */
void sim_fail_at(struct sim *sim, uint64_t op, int error, bool from_then_on);

/*
 * The next sync_dir of a directory (`where` as for sim_set_lie()) fails with -EIO
 * and does nothing: its names are seen, and their maker knows that they are not
 * durable. NULL takes it back. And: has it?
 */
void sim_fail_names(struct sim *sim, const char *where);
bool sim_names_failed(const struct sim *sim);

/* Blocks of files beyond this many bytes: -ENOSPC (a write is short first).
 * 0: no limit. */
void sim_set_capacity(struct sim *sim, uint64_t bytes);
/* One in so many reads and writes is short; 0: none, 1: all above a byte (a
 * sector, with IO_DIRECT). */
void sim_set_short_io(struct sim *sim, unsigned one_in);
/* sync and sync_dir return 0 and do nothing. */
void sim_set_lying_sync(struct sim *sim, bool lying);
void sim_set_lying_sync_dir(struct sim *sim, bool lying);

/*
 * One kind of sync lies in one place. `where` is a directory's path, or with a
 * `/` at its end all below it; NULL: no lie. A file is of the directory in which
 * it was created without a name, until it gets one.
 */
enum sim_lie {
	SIM_LIE_DATA,  /* sync of a file there does nothing */
	SIM_LIE_TAIL,  /* it leaves out the file's last 4 KiB block */
	SIM_LIE_NAMES, /* sync_dir of that directory does nothing */
};
void sim_set_lie(struct sim *sim, enum sim_lie lie, const char *where);

/* Flip bit 0-7 of the byte at `offset`, on the medium and in the cache.
 * -ENOENT; -ERANGE past the end; -ENXIO in a hole. Not an operation. */
int sim_flip(struct sim *sim, const char *path, uint64_t offset, unsigned bit);

/* Below `below` (not 0), and steps *state: for a test's own choices. */
uint64_t sim_random(uint64_t *state, uint64_t below);

#endif
