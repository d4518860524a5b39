/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A life of whole machines' backups on the simulated disk: what was done, what
 * was acknowledged, and so what must be there. tests/crash/crash_engine.c
 * plays them; this is its memory and its audit.
 */
#ifndef TESTS_RIG_ENGINE_LIFE_H
#define TESTS_RIG_ENGINE_LIFE_H

#include "tests/rig/model_disk.h"
#include "tests/sim/sim.h"
#include "vmsnap/vmsnap.h"

#define LIFE_MACHINES 2u
#define LIFE_DISKS    2u
#define LIFE_SAVED    12u
#define LIFE_STORE    "/store"
#define LIFE_AUDIT    "/out/audit"

enum lie {
	LIE_NONE,
	LIE_SYNC,
	LIE_SYNC_DIR,
	LIE_FLIP, /* a bit of the store, at the end */
};

/* What a call may meet. */
enum fault {
	FAULT_NONE,
	FAULT_SHORT, /* short reads and writes: no failure */
	FAULT_POWER,
	FAULT_EIO,
	FAULT_EIO_ON, /* and all after it */
	FAULT_ENOSPC,
};

/* A backup that was tried. */
struct saved {
	bool acknowledged;
	bool has_id; /* acknowledged, or met in the store */
	bool seen;   /* by the audit that runs */
	struct id id;
	unsigned machine;
	unsigned disk_count;
	struct model_disk disks[LIFE_DISKS];
};

struct life {
	uint64_t seed;
	uint64_t random; /* the life's own choices */
	enum lie lie;
	bool talk; /* each step on stderr */
	struct sim *sim;
	struct vs_io *io;
	struct vms *vms;
	bool tainted; /* a call on this vms has failed */
	struct model_disk disks[LIFE_MACHINES][LIFE_DISKS];
	struct saved saved[LIFE_SAVED];
	unsigned saved_count;
	/* A fault that is armed. */
	enum fault fault;
	uint64_t fault_op;
	uint64_t started_op;
	/* counts for the summary */
	uint64_t backups, restores, losses, faults;
	char words[1200]; /* the first thing that is wrong */
};

/* Notes what is wrong, with the first words kept; -1. */
int life_bad(struct life *life, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void life_say(const struct life *life, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
uint64_t life_pick(struct life *life, uint64_t below);

void life_begin(struct life *life, uint64_t seed, enum lie lie);
void life_end(struct life *life);
/* Directories and an empty store, without a fault; open. */
int life_init(struct life *life);

/* Arm a fault within the next `span` operations, or none; and take it back: true when it
 * may have struck. */
void life_arm(struct life *life, enum fault fault, uint64_t span);
bool life_disarm(struct life *life);

/* As the life's lie allows. */
enum fault life_pick_fault(struct life *life);
/* A call has failed: had it a reason, and is it the one that was given? */
int life_judge(struct life *life, enum fault fault, bool struck, int r,
	       const char *what, const struct err *err);

int life_open(struct life *life);
/* Closes, and nothing is left open. */
int life_close(struct life *life);
/* The power goes (if it is not gone), all is opened again, and what was in
 * doubt is settled by what is there. */
int life_reboot(struct life *life);

const char *life_machine_name(unsigned machine);
const char *life_disk_name(unsigned disk);

/* Restore one disk to LIFE_AUDIT and compare. 1 same, 0 not, or -errno. */
int life_restore_compare(struct life *life, const struct snapshot *snapshot,
			 const struct saved *saved, unsigned disk,
			 struct err *err);
/* Flip a bit of some file of the store, where there is one. */
void life_flip(struct life *life);
/*
 * All that was acknowledged is there, and nothing that was not tried. With
 * `settled` (after a loss of power) what is there counts as acknowledged, and
 * the rest never was. With `full` each is restored and compared, and the store is
 * checked; else one is.
 */
int life_audit(struct life *life, bool settled, bool full);

#endif
