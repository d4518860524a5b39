/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a life, and its audit. A snapshot that was acknowledged is
 * there and restores to the byte; one that failed is whole or absent, and once
 * the power has been away it is decided which.
 */
#include "tests/rig/engine_life.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/rig/fixed_random.h"

int life_bad(struct life *life, const char *format, ...)
{
	va_list args;

	if (life->words[0])
		return -1;
	va_start(args, format);
	vsnprintf(life->words, sizeof(life->words), format, args);
	va_end(args);
	return -1;
}

void life_say(const struct life *life, const char *format, ...)
{
	va_list args;

	if (!life->talk)
		return;
	fprintf(stderr, "%6llu ", (unsigned long long)sim_count(life->sim).ops);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

uint64_t life_pick(struct life *life, uint64_t below)
{
	return sim_random(&life->random, below);
}

void life_begin(struct life *life, uint64_t seed, enum lie lie)
{
	memset(life, 0, sizeof(*life));
	life->seed = seed;
	life->random = seed * 0x9e3779b97f4a7c15ULL + (uint64_t)lie;
	life->lie = lie;
	life->sim = sim_new(seed);
	life->io = sim_io(life->sim);
	fixed_random_seed(seed);
}

void life_end(struct life *life)
{
	vms_close(life->vms);
	for (unsigned m = 0; m < LIFE_MACHINES; m++) {
		for (unsigned d = 0; d < LIFE_DISKS; d++)
			model_disk_release(&life->disks[m][d]);
	}
	for (unsigned i = 0; i < life->saved_count; i++) {
		for (unsigned d = 0; d < LIFE_DISKS; d++)
			model_disk_release(&life->saved[i].disks[d]);
	}
	sim_free(life->sim);
}

const char *life_machine_name(unsigned machine)
{
	return machine ? "beta" : "alpha";
}

const char *life_disk_name(unsigned disk)
{
	return disk ? "data" : "root";
}

/* ---- faults ---- */

void life_arm(struct life *life, enum fault fault, uint64_t span)
{
	struct sim_counters now = sim_count(life->sim);

	life->fault = fault;
	life->started_op = now.ops;
	life->fault_op = now.ops + 1 + life_pick(life, span);
	if (fault != FAULT_NONE)
		life_say(life, "fault %d at %llu", fault,
			 (unsigned long long)life->fault_op);
	sim_set_lying_sync(life->sim, life->lie == LIE_SYNC);
	sim_set_lying_sync_dir(life->sim, life->lie == LIE_SYNC_DIR);
	switch (fault) {
	case FAULT_NONE:
		break;
	case FAULT_SHORT:
		sim_set_short_io(life->sim, 2 + (unsigned)life_pick(life, 9));
		break;
	case FAULT_POWER:
		sim_power_loss_at(life->sim, life->fault_op);
		break;
	case FAULT_EIO:
	case FAULT_EIO_ON:
		sim_fail_at(life->sim, life->fault_op, -EIO,
			    fault == FAULT_EIO_ON);
		break;
	case FAULT_ENOSPC:
		sim_set_capacity(life->sim, now.used_bytes + 1 +
						    life_pick(life, 400 << 10));
		break;
	}
}

bool life_disarm(struct life *life)
{
	bool reached = sim_count(life->sim).ops >= life->fault_op;
	enum fault fault = life->fault;

	life->fault = FAULT_NONE;
	sim_set_lying_sync(life->sim, false);
	sim_set_lying_sync_dir(life->sim, false);
	sim_set_short_io(life->sim, 0);
	sim_power_loss_at(life->sim, 0);
	sim_fail_at(life->sim, 0, 0, false);
	sim_set_capacity(life->sim, 0);
	switch (fault) {
	case FAULT_NONE:
	case FAULT_SHORT:
		return false;
	case FAULT_POWER:
	case FAULT_EIO:
	case FAULT_EIO_ON:
		life->faults += reached;
		return reached;
	case FAULT_ENOSPC:
		life->faults++;
		return true;
	}
	return false;
}

/* ---- open and close ---- */

int life_open(struct life *life)
{
	struct vms_options options = { .location = LIFE_STORE,
				       .store.mode = STORE_WRITE,
				       .store.names_ahead = true,
				       .workers = 1 };
	struct backend *backend = NULL;
	struct err err = { 0 };
	int r = backend_open_dir(&backend, life->io, LIFE_STORE, &err);

	if (!r)
		r = vms_open_backend(&life->vms, life->io, backend, &options,
				     &err);
	life->tainted = false;
	if (r)
		life->vms = NULL;
	if (r && life->fault == FAULT_NONE)
		return life_bad(life, "the store doesn't open: %s", err.text);
	return r;
}

int life_close(struct life *life)
{
	struct sim_counters now;

	vms_close(life->vms);
	life->vms = NULL;
	now = sim_count(life->sim);
	if (!sim_is_off(life->sim) && (now.open_files || now.queues))
		return life_bad(life, "%u files and %u queues are left open",
				now.open_files, now.queues);
	return 0;
}

int life_reboot(struct life *life)
{
	int r = 0;

	life_say(life, "power loss");
	life->losses++;
	if (life_pick(life, 2))
		r = life_close(life);
	if (!sim_is_off(life->sim))
		sim_power_loss(life->sim);
	else
		sim_reboot(life->sim);
	vms_close(life->vms);
	life->vms = NULL;
	if (!r)
		r = life_open(life);
	return r ? r : life_audit(life, true, false);
}

/* ---- the beginning ---- */

int life_init(struct life *life)
{
	static const char *const folders[] = { "/src", "/out" };
	struct store_create_options options = { .plaintext = true,
						.chunk_log2 = 14,
						.pack_size_bytes = MIB };
	struct backend *backend = NULL;
	struct err err = { 0 };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(folders) && !r; i++)
		r = life->io->ops->mkdir(life->io, folders[i], &err);
	if (!r)
		r = life->io->ops->sync_dir(life->io, "/", &err);
	if (!r)
		r = backend_open_dir(&backend, life->io, LIFE_STORE, &err);
	if (!r)
		r = store_create(backend, &options, &err);
	backend_close(backend);
	if (r)
		return life_bad(life, "init fails: %s", err.text);
	return life_open(life);
}

enum fault life_pick_fault(struct life *life)
{
	static const enum fault honest[] = {
		FAULT_NONE,  FAULT_SHORT,  FAULT_POWER,
		FAULT_POWER, FAULT_POWER,  FAULT_EIO,
		FAULT_EIO,   FAULT_EIO_ON, FAULT_ENOSPC,
	};

	if (life->lie == LIE_FLIP)
		return FAULT_NONE;
	if (life->lie != LIE_NONE)
		return life_pick(life, 2) ? FAULT_POWER : FAULT_NONE;
	return honest[life_pick(life, ARRAY_SIZE(honest))];
}

int life_judge(struct life *life, enum fault fault, bool struck, int r,
	       const char *what, const struct err *err)
{
	bool is_right = true;

	life_say(life, "%s: %s", what, err->text);
	if (life->lie != LIE_NONE)
		return 0;
	if (!struck && !life->tainted)
		return life_bad(life, "%s fails without a reason: %s", what,
				err->text);
	if (fault == FAULT_ENOSPC)
		is_right = r == -ENOSPC;
	else if (fault != FAULT_NONE && fault != FAULT_SHORT)
		is_right = r == -EIO;
	if (!is_right && !life->tainted)
		return life_bad(life, "%s fails with another reason: %s", what,
				err->text);
	if (err->code != r || !err->text[0])
		return life_bad(life, "%s: code %d, words of %d: '%s'", what, r,
				err->code, err->text);
	return 0;
}

/* ---- audit ---- */

int life_restore_compare(struct life *life, const struct snapshot *snapshot,
			 const struct saved *saved, unsigned disk,
			 struct err *err)
{
	struct vms_restore restore = {
		.snapshot = snapshot,
		.disk = life_disk_name(disk),
		.target = LIFE_AUDIT,
		.force = true,
	};
	struct vms_restore_result result = { 0 };
	int r = vms_restore(life->vms, &restore, &result, err);

	vms_restore_result_release(&result);
	if (r)
		return r;
	r = model_disk_compare(&saved->disks[disk], life->io, LIFE_AUDIT);
	return r < 0 ? err_sys(err, r, "comparing") : r;
}

/* 1: all disks are those of `saved`, 0: they are not, or -errno. */
static int same_disks(struct life *life, const struct snapshot *snapshot,
		      const struct saved *saved, struct err *err)
{
	int r = 1;

	if (snapshot->volume_count != saved->disk_count)
		return 0;
	for (unsigned d = 0; d < saved->disk_count && r == 1; d++)
		r = life_restore_compare(life, snapshot, saved, d, err);
	return r;
}

static struct saved *find_by_id(struct life *life, const struct id *id)
{
	for (unsigned i = 0; i < life->saved_count; i++) {
		if (life->saved[i].has_id && id_equal(&life->saved[i].id, id))
			return &life->saved[i];
	}
	return NULL;
}

/* One whose backup failed: whose is it? */
static struct saved *find_by_content(struct life *life,
				     const struct snapshot *snapshot)
{
	struct err err = { 0 };

	for (unsigned i = 0; i < life->saved_count; i++) {
		struct saved *saved = &life->saved[i];
		int r;

		if (saved->has_id ||
		    strcmp(snapshot->name, life_machine_name(saved->machine)))
			continue;
		r = same_disks(life, snapshot, saved, &err);
		if (r < 0) {
			life_bad(life, "a snapshot of a failed backup: %s",
				 err.text);
			return NULL;
		}
		if (r == 1) {
			saved->has_id = true;
			saved->id = snapshot->id;
			return saved;
		}
	}
	life_bad(life, "a snapshot of '%s' that no backup made",
		 snapshot->name);
	return NULL;
}

static int audit_one(struct life *life, const struct snapshot *snapshot,
		     bool compare)
{
	struct saved *saved = find_by_id(life, &snapshot->id);
	struct err err = { 0 };
	int r;

	if (!saved) {
		saved = find_by_content(life, snapshot);
		compare = false;
	}
	if (!saved)
		return -1;
	saved->seen = true;
	if (!compare)
		return 0;
	r = same_disks(life, snapshot, saved, &err);
	if (r < 0)
		return life_bad(life, "snapshot %u doesn't restore: %s",
				(unsigned)(saved - life->saved), err.text);
	if (!r)
		return life_bad(life, "snapshot %u restores to other content",
				(unsigned)(saved - life->saved));
	return 0;
}

static void forget(struct life *life, unsigned i)
{
	for (unsigned d = 0; d < LIFE_DISKS; d++)
		model_disk_release(&life->saved[i].disks[d]);
	life->saved[i] = life->saved[--life->saved_count];
	memset(&life->saved[life->saved_count], 0, sizeof(*life->saved));
}

static int audit_absent(struct life *life, bool settled)
{
	for (unsigned i = life->saved_count; i-- > 0;) {
		struct saved *saved = &life->saved[i];

		if (saved->acknowledged && !saved->seen)
			return life_bad(
				life,
				"a snapshot of '%s' that was acknowledged is gone",
				life_machine_name(saved->machine));
		if (settled && saved->seen)
			saved->acknowledged = true;
		else if (settled)
			forget(life, i);
	}
	return 0;
}

static int audit_check(struct life *life)
{
	struct vms_check check = { .read_data = true, .share = 1 };
	struct vms_check_result result = { 0 };
	struct err err = { 0 };
	int r = vms_check(life->vms, &check, &result, &err);

	if (r)
		life_bad(life, "check fails: %s", err.text);
	else if (result.error_count)
		r = life_bad(life, "check finds %s: %s",
			     result.errors[0].object, result.errors[0].what);
	vms_check_result_release(&result);
	return r ? -1 : 0;
}

int life_audit(struct life *life, bool settled, bool full)
{
	struct vms_snapshot_list list = { 0 };
	struct err err = { 0 };
	size_t one;
	int r;

	for (unsigned i = 0; i < life->saved_count; i++)
		life->saved[i].seen = false;
	if (vms_list(life->vms, NULL, &list, &err))
		return life_bad(life, "the list fails: %s", err.text);
	r = list.damaged_count
		    ? life_bad(life, "%s is damaged: %s",
			       list.damaged[0].object, list.damaged[0].why.text)
		    : 0;
	one = list.count ? (size_t)life_pick(life, list.count) : 0;
	for (size_t i = 0; i < list.count && !r; i++)
		r = audit_one(life, &list.snapshots[i], full || i == one);
	vms_snapshot_list_release(&list);
	if (!r)
		r = audit_absent(life, settled);
	if (!r && full)
		r = audit_check(life);
	return r;
}

/* ---- sabotage ---- */

static int list_file(void *arg, const char *name)
{
	char *leaf = arg;

	snprintf(leaf, 80, "%s", name);
	return 0;
}

void life_flip(struct life *life)
{
	static const char *const folders[] = { "", "/keys", "/packs", "/tables",
					       "/snapshots" };
	const char *folder = folders[life_pick(life, ARRAY_SIZE(folders))];
	char path[256], leaf[80] = "config";
	struct io_stat st;

	snprintf(path, sizeof(path), LIFE_STORE "%s", folder);
	for (unsigned deep = 0; deep < 1 + !strcmp(folder, "/packs"); deep++) {
		size_t used = strlen(path);

		if (*folder)
			life->io->ops->list(life->io, path, list_file, leaf,
					    NULL);
		snprintf(path + used, sizeof(path) - used, "/%s", leaf);
	}
	if (life->io->ops->stat(life->io, path, &st, NULL) || !st.size_bytes)
		return;
	sim_flip(life->sim, path, life_pick(life, st.size_bytes),
		 (unsigned)life_pick(life, 8));
}
