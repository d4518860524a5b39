/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine around the simulated disk: seed, power, faults, counters.
 *
 * Every operation passes sim_begin() and sim_end(), so that "at operation N"
 * means the same for a loss of power, a fault and a line of the trace. The
 * operation during which the power goes is carried out on the volatile side or
 * not, by the seed, and never makes anything durable by itself: what it leaves
 * is subject to the loss like all else.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/base/base.h"
#include "tests/sim/sim_impl.h"

#define SIM_EPOCH_NS 1700000000000000000LL

void *sim_alloc(size_t size)
{
	void *p = calloc(1, size);

	if (!p)
		abort();
	return p;
}

void *sim_grow(void *old, size_t size)
{
	void *p = realloc(old, size);

	if (!p)
		abort();
	return p;
}

/* splitmix64; the bias of the remainder does not matter here. */
uint64_t sim_random(uint64_t *state, uint64_t below)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (z ^ (z >> 31)) % below;
}

uint64_t sim_pick(struct sim *sim, uint64_t below)
{
	return sim_random(&sim->random, below);
}

bool sim_one_in(struct sim *sim, uint64_t n)
{
	return n && !sim_pick(sim, n);
}

int64_t sim_time_ns(const struct sim *sim)
{
	return SIM_EPOCH_NS + (int64_t)sim->count.ops * 1000;
}

struct sim *sim_new(uint64_t seed)
{
	struct sim *sim = sim_alloc(sizeof(*sim));
	const char *trace = getenv("SIM_TRACE");

	sim->io.ops = &sim_ops;
	sim->io.single_thread = true;
	sim->random = seed;
	sim->trace = trace && *trace;
	sim->root = sim_inode_new(sim, true);
	sim_inode_get(sim->root, true);
	return sim;
}

void sim_free(struct sim *sim)
{
	if (!sim)
		return;
	assert(!sim->queues);
	sim_handles_drop(sim);
	sim_names_free(sim);
	sim_inode_put(sim->root, true);
	assert(!sim->inodes);
	free(sim->handles);
	free(sim);
}

struct vs_io *sim_io(struct sim *sim)
{
	return &sim->io;
}

struct sim_counters sim_count(const struct sim *sim)
{
	return sim->count;
}

static void go_off(struct sim *sim)
{
	sim->dying = false;
	sim->off = true;
	sim->power_loss_at = 0;
	sim_queues_lose(sim);
	if (sim->trace)
		fprintf(stderr, "sim %" PRIu64 ": power off\n", sim->count.ops);
}

int sim_begin(struct sim *sim)
{
	uint64_t op;

	sim->faulted = false;
	if (sim->off)
		return -EIO;
	op = ++sim->count.ops;
	if (op == sim->power_loss_at) {
		sim->dying = true;
		return sim_one_in(sim, 2) ? 0 : -EIO;
	}
	if (sim->fail_at &&
	    (op == sim->fail_at || (sim->fail_forever && op > sim->fail_at))) {
		sim->faulted = true;
		return sim->fail_error;
	}
	return 0;
}

static bool end(struct sim *sim)
{
	if (!sim->dying)
		return false;
	go_off(sim);
	return true;
}

int sim_end(struct sim *sim, struct err *err, const char *what,
	    const char *path, int result)
{
	if (sim->trace)
		fprintf(stderr, "sim %" PRIu64 ": %s %s -> %d\n",
			sim->count.ops, what, path, result);
	if (end(sim))
		result = -EIO;
	if (result < 0)
		err_sys(err, result, "can't %s '%s' on the simulated disk%s",
			what, path, sim->off ? ", which has no power" : "");
	return result;
}

ssize_t sim_end_data(struct sim *sim, const char *what,
		     const struct sim_inode *inode, uint64_t offset,
		     uint64_t length, ssize_t result)
{
	if (sim->trace)
		fprintf(stderr,
			"sim %" PRIu64 ": %s inode %" PRIu64 " %s %" PRIu64
			"+%" PRIu64 " -> %zd\n",
			sim->count.ops, what, inode->number, inode->label,
			offset, length, result);
	return end(sim) ? -EIO : result;
}

/* Now and then nothing or everything survives; those find bugs of their own. */
static unsigned pick_keep(struct sim *sim)
{
	static const unsigned keep[] = { 0, 1, 2, 4, 4, 6, 7, 8 };

	return keep[sim_pick(sim, ARRAY_SIZE(keep))];
}

void sim_reboot(struct sim *sim)
{
	struct sim_inode *inode;
	unsigned keep = pick_keep(sim);
	bool extreme = keep == 0 || keep == 8;

	assert(sim->off);
	sim_handles_drop(sim);
	sim_names_lose(sim, extreme ? keep : pick_keep(sim));
	for (inode = sim->inodes; inode; inode = inode->next)
		sim_inode_lose(inode, extreme ? keep : pick_keep(sim));
	sim->off = false;
	if (sim->trace)
		fprintf(stderr, "sim %" PRIu64 ": power on\n", sim->count.ops);
}

void sim_power_loss(struct sim *sim)
{
	if (!sim->off)
		go_off(sim);
	sim_reboot(sim);
}

void sim_power_loss_at(struct sim *sim, uint64_t op)
{
	assert(!op || op > sim->count.ops);
	sim->power_loss_at = op;
}

bool sim_is_off(const struct sim *sim)
{
	return sim->off;
}

void sim_fail_at(struct sim *sim, uint64_t op, int error, bool from_then_on)
{
	assert(!op || (op > sim->count.ops && error < 0));
	sim->fail_at = op;
	sim->fail_error = error;
	sim->fail_forever = from_then_on;
}

void sim_set_capacity(struct sim *sim, uint64_t bytes)
{
	sim->capacity = bytes;
}

void sim_set_short_io(struct sim *sim, unsigned one_in)
{
	sim->short_one_in = one_in;
}

void sim_set_lying_sync(struct sim *sim, bool lying)
{
	sim->lying_sync = lying;
}

void sim_set_lying_sync_dir(struct sim *sim, bool lying)
{
	sim->lying_sync_dir = lying;
}

void sim_set_lie(struct sim *sim, enum sim_lie lie, const char *where)
{
	sim->lie = lie;
	snprintf(sim->lie_where, sizeof(sim->lie_where), "%s",
		 where ? where : "");
}

static bool is_in(const char *path, const char *where)
{
	size_t size = strlen(where);

	if (!size)
		return false;
	if (where[size - 1] == '/')
		return strncmp(path, where, size) == 0;
	return strcmp(path, where) == 0;
}

bool sim_lies(const struct sim *sim, enum sim_lie lie, const char *path)
{
	return sim->lie == lie && is_in(path, sim->lie_where);
}

void sim_fail_names(struct sim *sim, const char *where)
{
	sim->names_failed = false;
	snprintf(sim->fail_where, sizeof(sim->fail_where), "%s",
		 where ? where : "");
}

bool sim_names_failed(const struct sim *sim)
{
	return sim->names_failed;
}

bool sim_fails_names(struct sim *sim, const char *path)
{
	if (!is_in(path, sim->fail_where))
		return false;
	sim->fail_where[0] = 0;
	sim->names_failed = true;
	return true;
}
