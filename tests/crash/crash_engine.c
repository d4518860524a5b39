/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lives of whole machines' backups on a disk that loses power, fails, fills up
 * and gives less than was asked for. crash_engine [--seeds N] [--seed S]: N/2
 * lives (one costs as much as two of a store's), or that one, talkative.
 *
 * In a life machines change, are backed up, and are restored to a target that
 * must be whole under its own name whenever one looks. First come lives with a
 * sabotage each, which must be told from honest ones.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "tests/rig/engine_life.h"

#define TARGET         "/out/disk"
#define PARTIAL        TARGET ".vmsnap-partial"
#define SEEDS_A_LIFE   2u
#define SABOTAGE_LIVES 40u

struct totals {
	uint64_t lives, backups, restores, losses, faults;
};

/* ---- backup ---- */

static struct saved *source_change(struct life *life, struct vms_source *from,
				   char paths[LIFE_DISKS][32])
{
	struct saved *saved = &life->saved[life->saved_count++];

	saved->machine = (unsigned)life_pick(life, LIFE_MACHINES);
	saved->disk_count = life_pick(life, 3) ? 1 : 2;
	for (unsigned d = 0; d < saved->disk_count; d++) {
		struct model_disk *disk = &life->disks[saved->machine][d];
		int r;

		if (!disk->data || !life_pick(life, 10))
			model_disk_make(disk, &life->random);
		else
			model_disk_change(disk, &life->random);
		snprintf(paths[d], sizeof(paths[d]), "/src/%s-%s",
			 life_machine_name(saved->machine), life_disk_name(d));
		from[d].disk = life_disk_name(d);
		from[d].location = paths[d];
		saved->disks[d] = model_disk_copy(disk);
		r = model_disk_write(disk, life->io, paths[d], &life->random);
		if (r)
			life_bad(life, "writing '%s': %d", paths[d], r);
	}
	if (life->io->ops->sync_dir(life->io, "/src", NULL))
		life_bad(life, "syncing the sources");
	return saved;
}

static void source_drop(struct life *life)
{
	struct saved *saved = &life->saved[--life->saved_count];

	for (unsigned d = 0; d < LIFE_DISKS; d++)
		model_disk_release(&saved->disks[d]);
	memset(saved, 0, sizeof(*saved));
}

/* NAME is the one that was just made. */
static int find_newest(struct life *life, const struct saved *saved)
{
	struct snapshot found = { 0 };
	struct err err = { 0 };
	int r = vms_find_snapshot(life->vms, life_machine_name(saved->machine),
				  &found, &err);

	if (r)
		return life_bad(life, "the new snapshot is not found: %s",
				err.text);
	if (!id_equal(&found.id, &saved->id))
		r = life_bad(life, "the new snapshot is not the latest");
	snapshot_release(&found);
	return r;
}

/* The last one, as another snapshot. */
static void save_again(struct life *life, const struct id *id)
{
	struct saved *saved = &life->saved[life->saved_count++];

	*saved = saved[-1];
	saved->id = *id;
	for (unsigned d = 0; d < saved->disk_count; d++)
		saved->disks[d] = model_disk_copy(&saved[-1].disks[d]);
}

/* Nothing has changed since: the filter must see that, and keep the ids. */
static int backup_again(struct life *life, const struct vms_backup *backup,
			const struct snapshot *before)
{
	struct vms_backup again = *backup;
	struct snapshot made = { 0 };
	struct err err = { 0 };
	uint64_t data = 0;
	int r;

	if (life->lie != LIE_NONE || life->saved_count == LIFE_SAVED)
		return 0;
	life_say(life, "backup again");
	again.rehash = false;
	r = vms_backup(life->vms, &again, &made, &err);
	if (r)
		return life_bad(life, "a backup once more fails: %s", err.text);
	for (size_t d = 0; d < made.volume_count && !r; d++) {
		const struct volume *a = &before->volumes[d];
		const struct volume *b = &made.volumes[d];

		if (!id_equal(&a->root, &b->root) ||
		    !id_equal(&a->tags, &b->tags))
			r = life_bad(life, "the same disk has another root");
		data += model_disk_data_bytes(
			&life->saved[life->saved_count - 1].disks[d],
			1ULL << b->chunk_log2);
	}
	if (!r &&
	    (made.totals.new_chunks || made.totals.unchanged_bytes != data))
		r = life_bad(life,
			     "nothing has changed, but %llu of %llu bytes are",
			     (unsigned long long)made.totals.unchanged_bytes,
			     (unsigned long long)data);
	save_again(life, &made.id);
	snapshot_release(&made);
	return r;
}

static int backup_step(struct life *life)
{
	struct vms_source from[LIFE_DISKS] = { 0 };
	char paths[LIFE_DISKS][32];
	struct saved *saved = source_change(life, from, paths);
	struct vms_backup backup = {
		.name = life_machine_name(saved->machine),
		.sources = from,
		.source_count = saved->disk_count,
		.rehash = !life_pick(life, 6),
		.chunk_log2 = life_pick(life, 12) ? 0 : 15,
	};
	enum fault fault = life_pick_fault(life);
	struct snapshot made = { 0 };
	struct err err = { 0 };
	bool struck;
	int r;

	life_say(life, "backup %u of '%s', %u disks, %llu bytes%s",
		 life->saved_count - 1, backup.name, saved->disk_count,
		 (unsigned long long)saved->disks[0].size,
		 backup.rehash ? ", rehash" : "");
	life_arm(life, fault, life_pick(life, 4) ? 25 : 80);
	r = vms_backup(life->vms, &backup, &made, &err);
	struck = life_disarm(life);
	life->backups++;
	if (!r) {
		saved->acknowledged = saved->has_id = true;
		saved->id = made.id;
	} else {
		r = life_judge(life, fault, struck, r, "backup", &err);
		if (!struck) /* a vms that said no at once */
			source_drop(life);
		life->tainted = true;
		saved = NULL;
	}
	if (!r && saved && !sim_is_off(life->sim)) {
		r = find_newest(life, saved);
		if (!r && !life->tainted && !life_pick(life, 6))
			r = backup_again(life, &backup, &made);
	}
	snapshot_release(&made);
	return r || !sim_is_off(life->sim) ? r : life_reboot(life);
}

/* ---- restore ---- */

/* What stands under the target's name. */
struct target {
	bool is_there;
	struct model_disk disk;
};

static int restore_run(struct life *life, const struct id *id, unsigned disk,
		       bool delta, enum fault fault, bool *struck,
		       struct err *err)
{
	char spec[ID_HEX_SIZE];
	struct snapshot snapshot = { 0 };
	struct vms_restore restore = {
		.snapshot = &snapshot,
		.disk = life_disk_name(disk),
		.target = TARGET,
		.force = !delta,
		.delta = delta,
	};
	struct vms_restore_result result = { 0 };
	int r;

	*struck = false;
	hex_encode(spec, id->b, ID_SIZE);
	r = vms_find_snapshot(life->vms, spec, &snapshot, err);
	if (r)
		return r;
	life_say(life, "restore %.8s %s%s", spec, life_disk_name(disk),
		 delta ? " --delta" : "");
	life_arm(life, fault, life_pick(life, 4) ? 8 : 30);
	r = vms_restore(life->vms, &restore, &result, err);
	*struck = life_disarm(life);
	life->restores++;
	vms_restore_result_release(&result);
	snapshot_release(&snapshot);
	return r;
}

/* Under its own name: what was there, what should be, or nothing. */
static int target_look(struct life *life, const struct target *before,
		       const struct model_disk *after, bool may_be_absent)
{
	int r = model_disk_compare(after, life->io, TARGET);

	if (r == 0 && before->is_there)
		r = model_disk_compare(&before->disk, life->io, TARGET);
	if (r == -ENOENT && (may_be_absent || !before->is_there))
		return 0;
	if (r == 1)
		return 0;
	return life_bad(life,
			r ? "the target can't be read: %d"
			  : "the target is neither old nor new (%d)",
			r);
}

static int target_is(struct life *life, const struct model_disk *disk,
		     const char *when)
{
	struct io_stat st;
	int r = model_disk_compare(disk, life->io, TARGET);

	if (r != 1)
		return life_bad(life, "the target is not the snapshot's %s: %d",
				when, r);
	if (life->io->ops->stat(life->io, PARTIAL, &st, NULL) != -ENOENT)
		return life_bad(life, "a partial file is left %s", when);
	return 0;
}

static int target_complete(struct life *life, struct target *target,
			   const struct saved *saved, unsigned disk)
{
	bool struck;
	struct err err = { 0 };

	if (restore_run(life, &saved->id, disk, life_pick(life, 4) > 0,
			FAULT_NONE, &struck, &err))
		return life_bad(life, "a restore is not completed: %s",
				err.text);
	model_disk_release(&target->disk);
	target->disk = model_disk_copy(&saved->disks[disk]);
	target->is_there = true;
	return target_is(life, &target->disk, "after completion");
}

static int restore_of(struct life *life, struct target *target,
		      const struct saved *saved, unsigned disk)
{
	bool delta = life_pick(life, 2), struck;
	enum fault fault = life_pick_fault(life);
	struct err err = { 0 };
	/* A reboot may move what is saved. */
	struct saved copy = *saved;
	struct model_disk after = model_disk_copy(&saved->disks[disk]);
	int r = restore_run(life, &saved->id, disk, delta, fault, &struck,
			    &err);
	bool failed = r != 0;

	if (failed)
		r = life_judge(life, fault, struck, r, "restore", &err);
	if (strstr(err.text, "by hand"))
		life->io->ops->unlink(life->io, PARTIAL, NULL);
	if (!r && sim_is_off(life->sim))
		r = life_reboot(life);
	if (!r && failed)
		r = target_look(life, target, &after, delta);
	copy.disks[disk] = after;
	if (!r && !failed) {
		model_disk_release(&target->disk);
		target->disk = model_disk_copy(&after);
		target->is_there = true;
		r = target_is(life, &after, "at once");
	} else if (!r) {
		r = target_complete(life, target, &copy, disk);
	}
	if (!r && !life_pick(life, 3)) {
		r = life_reboot(life);
		if (!r)
			r = target_is(life, &after, "after a loss of power");
	}
	model_disk_release(&after);
	return r;
}

static int restore_step(struct life *life, struct target *target)
{
	unsigned from = (unsigned)life_pick(life, LIFE_SAVED);

	for (unsigned i = 0; i < life->saved_count; i++) {
		const struct saved *saved =
			&life->saved[(from + i) % life->saved_count];

		if (saved->acknowledged)
			return restore_of(
				life, target, saved,
				(unsigned)life_pick(life, saved->disk_count));
	}
	return 0;
}

/* ---- the rest of a life ---- */

static int reopen_step(struct life *life)
{
	enum fault fault =
		life_pick(life, 3) ? FAULT_NONE : life_pick_fault(life);
	bool struck;
	int r = life_close(life);

	if (r)
		return r;
	life_say(life, "reopen");
	life_arm(life, fault, 2);
	r = life_open(life);
	struck = life_disarm(life);
	if (sim_is_off(life->sim))
		return life_reboot(life);
	if (r && !struck)
		return life_bad(life, "opening fails without a reason");
	return r ? life_open(life) : 0;
}

static int life_finish(struct life *life)
{
	int r = life_reboot(life);

	if (!r && life->lie == LIE_FLIP) {
		r = life_close(life);
		life_flip(life);
		if (!r)
			r = life_open(life);
	}
	if (!r)
		r = life_audit(life, false, true);
	return r ? r : life_close(life);
}

static int life_step(struct life *life, struct target *target)
{
	uint64_t choice = life_pick(life, 10);
	int r;

	if (choice < 6 && life->saved_count < LIFE_SAVED)
		r = backup_step(life);
	else if (choice < 9)
		r = restore_step(life, target);
	else
		r = life_pick(life, 2) ? reopen_step(life) : life_reboot(life);
	/* One that has failed is used again now and then. */
	if (!r && life->tainted && life_pick(life, 2))
		r = reopen_step(life);
	return r;
}

/* 0, or -1 and words. */
static int life_run(struct life *life, struct totals *totals, uint64_t seed,
		    enum lie lie, bool talk)
{
	struct target target = { 0 };
	uint64_t steps;
	int r;

	life_begin(life, seed, lie);
	life->talk = talk;
	steps = 3 + life_pick(life, 8);
	r = life_init(life);
	while (!r && steps--)
		r = life_step(life, &target);
	if (!r)
		r = life_finish(life);
	totals->lives++;
	totals->backups += life->backups;
	totals->restores += life->restores;
	totals->losses += life->losses;
	totals->faults += life->faults;
	model_disk_release(&target.disk);
	life_end(life);
	return r || life->words[0] ? -1 : 0;
}

/* A test that lets these pass sees nothing. */
static int sabotage(enum lie lie, const char *what)
{
	struct totals totals = { 0 };
	struct life life;
	unsigned caught = 0;

	for (uint64_t seed = 1; seed <= SABOTAGE_LIVES; seed++) {
		if (!life_run(&life, &totals, seed, lie, false))
			continue;
		if (lie == LIE_FLIP && strstr(life.words, "other content")) {
			printf("%s: seed %llu: %s\n", what,
			       (unsigned long long)seed, life.words);
			return -1;
		}
		caught++;
	}
	printf("%s: caught in %u of %u lives\n", what, caught, SABOTAGE_LIVES);
	return caught ? 0 : -1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seeds", required_argument, NULL, 'n' },
		{ "seed", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t seeds = 400, first = 1, last;
	struct totals totals = { 0 };
	struct life life;
	bool one = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return 2;
		*(c == 'n' ? &seeds : &first) = strtoull(optarg, NULL, 10);
		one = one || c == 's';
	}
	last = one ? first : div_up(seeds, SEEDS_A_LIFE);
	if (!one && (sabotage(LIE_SYNC, "a sync that lies") ||
		     sabotage(LIE_SYNC_DIR, "a sync of names that lies") ||
		     sabotage(LIE_FLIP, "a bit flipped")))
		return 1;
	for (uint64_t seed = first; seed <= last; seed++) {
		if (!life_run(&life, &totals, seed, LIE_NONE, one))
			continue;
		printf("seed %llu: %s\nreplay: crash_engine --seed %llu\n",
		       (unsigned long long)seed, life.words,
		       (unsigned long long)seed);
		return 1;
	}
	printf("%llu lives: %llu backups, %llu restores, %llu losses of power, %llu other faults; all right\n",
	       (unsigned long long)totals.lives,
	       (unsigned long long)totals.backups,
	       (unsigned long long)totals.restores,
	       (unsigned long long)totals.losses,
	       (unsigned long long)totals.faults);
	return 0;
}
