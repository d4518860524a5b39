/* SPDX-License-Identifier: Apache-2.0 */
/* Restore: to files, over files, on from where it stopped, to a stream; damage
 * and full disks. */
#include "tests/unit/engine_test.h"

#include <sys/stat.h>

#define C    ((uint64_t)RIG_CHUNK)
#define SIZE (100 * C + 13)

struct job {
	struct vms_restore restore;
	struct vms_restore_result result;
	struct snapshot snapshot;
	char target[RIG_PATH_MAX];
	char partial[RIG_PATH_MAX + 32];
};

/* A disk with data at both ends and a hole in the middle. */
static void job_init(struct job *job, struct engine_rig *rig, unsigned workers)
{
	memset(job, 0, sizeof(*job));
	engine_rig_open(rig, STORE_WRITE, workers);
	engine_rig_disk(rig, "vda", SIZE);
	engine_rig_write(rig, "vda", 0, 40 * C, 1);
	engine_rig_write(rig, "vda", 90 * C, SIZE - 90 * C, 1);
	engine_rig_backup(rig, "web", "vda", NULL, &job->snapshot);
	snprintf(job->target, sizeof(job->target), "%s",
		 engine_rig_path(rig, "out"));
	snprintf(job->partial, sizeof(job->partial), "%s.vmsnap-partial",
		 job->target);
	job->restore.snapshot = &job->snapshot;
	job->restore.target = job->target;
}

static void job_run(struct job *job, struct engine_rig *rig)
{
	struct err err = { 0 };

	vms_restore_result_release(&job->result);
	memset(&job->result, 0, sizeof(job->result));
	assert_done(vms_restore(rig->vms, &job->restore, &job->result, &err),
		    &err);
	assert_int_equal(access(job->partial, F_OK), -1);
}

static void job_fails(struct job *job, struct engine_rig *rig, int code,
		      const char *words)
{
	struct err err = { 0 };

	vms_restore_result_release(&job->result);
	memset(&job->result, 0, sizeof(job->result));
	assert_int_equal(
		vms_restore(rig->vms, &job->restore, &job->result, &err), code);
	if (!strstr(err.text, words))
		fail_msg("'%s' does not say '%s'", err.text, words);
}

static void job_release(struct job *job)
{
	vms_restore_result_release(&job->result);
	snapshot_release(&job->snapshot);
}

static void test_file(void **state)
{
	struct engine_rig *rig = *state;

	for (unsigned workers = 1; workers <= 8; workers = workers * 3 - 1) {
		struct job job;
		struct stat st;

		job_init(&job, rig, workers);
		job_run(&job, rig);
		engine_rig_assert_same(rig, "vda", "out");
		assert_int_equal(job.result.size_bytes, SIZE);
		assert_int_equal(job.result.data_bytes, SIZE - 50 * C);
		assert_int_equal(job.result.damaged.count, 0);
		assert_int_equal(stat(job.target, &st), 0);
		assert_true((uint64_t)st.st_blocks * 512 < SIZE - 40 * C);
		job_fails(&job, rig, -EEXIST, "--force");
		engine_rig_write(rig, "out", 50 * C, C, 9);
		job.restore.force = true;
		job_run(&job, rig);
		engine_rig_assert_same(rig, "vda", "out");
		unlink(job.target);
		job_release(&job);
	}
}

static void test_disk(void **state)
{
	struct engine_rig *rig = *state;
	struct snapshot two = { 0 };
	struct job job;

	job_init(&job, rig, 2);
	engine_rig_disk(rig, "vdb", 5000);
	engine_rig_write(rig, "vdb", 0, 5000, 4);
	engine_rig_backup(rig, "both", "vda", "vdb", &two);
	job.restore.snapshot = &two;
	job_fails(&job, rig, -EINVAL, "2 disks");
	job.restore.disk = "vdx";
	job_fails(&job, rig, -ENOENT, "vdx");
	job.restore.disk = "vdb";
	job_run(&job, rig);
	engine_rig_assert_same(rig, "vdb", "out");
	snapshot_release(&two);
	job_release(&job);
}

/* Only what differs is written: changed chunks, data in holes, size. */
static void test_delta(void **state)
{
	struct engine_rig *rig = *state;
	struct job job;

	job_init(&job, rig, 2);
	job.restore.delta = true;
	job_run(&job, rig); /* nothing there: as without */
	engine_rig_assert_same(rig, "vda", "out");
	job_run(&job, rig);
	assert_int_equal(job.result.written_bytes, 0);
	assert_int_equal(job.result.unchanged_bytes, SIZE - 50 * C);

	engine_rig_write(rig, "out", 3 * C + 1, 1, 7);
	engine_rig_write(rig, "out", 60 * C, 100, 7); /* a hole */
	engine_rig_write(rig, "out", SIZE - 1, 1, 7);
	engine_rig_write(rig, "out", SIZE, 1000, 7); /* past the end */
	job_run(&job, rig);
	engine_rig_assert_same(rig, "vda", "out");
	assert_int_equal(job.result.unchanged_bytes, SIZE - 50 * C - C - 13);
	assert_true(job.result.written_bytes >= C + 13 + 100);
	assert_true(job.result.written_bytes <= 4 * MIB);

	assert_int_equal(truncate(job.target, 10 * C + 5), 0);
	job_run(&job, rig);
	engine_rig_assert_same(rig, "vda", "out");
	assert_int_equal(job.result.unchanged_bytes, 10 * C);
	job_release(&job);
}

/* A full disk at the very end: it fails, tells so, and leaves no target; and
 * --delta goes on where it stopped. */
static void test_no_space(void **state)
{
	struct engine_rig *rig = *state;

	for (unsigned workers = 1; workers <= 2; workers++) {
		struct job job;

		job_init(&job, rig, workers);
		rig->fault.path = "out.vmsnap-partial";
		rig->fault.write_error = -ENOSPC;
		rig->fault.write_limit = SIZE - 1;
		job_fails(&job, rig, -ENOSPC, "--delta");
		assert_int_equal(access(job.target, F_OK), -1);
		assert_int_equal(access(job.partial, F_OK), 0);
		rig->fault.write_error = 0;
		job.restore.delta = true;
		job_run(&job, rig);
		engine_rig_assert_same(rig, "vda", "out");
		assert_true(job.result.unchanged_bytes >= C);
		unlink(job.target);
		job_release(&job);
	}
}

/* After a failed sync nothing that was written can be trusted. */
static void test_sync_fails(void **state)
{
	struct engine_rig *rig = *state;
	struct job job;

	job_init(&job, rig, 2);
	rig->fault.path = "out.vmsnap-partial";
	rig->fault.sync_error = -EIO;
	job_fails(&job, rig, -EIO, "durable");
	assert_int_equal(access(job.target, F_OK), -1);
	assert_int_equal(access(job.partial, F_OK), -1);
	rig->fault.sync_error = 0;
	job_run(&job, rig);
	engine_rig_assert_same(rig, "vda", "out");
	job_release(&job);
}

static void flip_chunk_of(struct engine_rig *rig, const struct volume *volume,
			  uint64_t number)
{
	char name[OBJECT_NAME_MAX];
	struct place place;

	engine_rig_place(rig, volume, number, &place);
	pack_name(name, &place.pack);
	engine_rig_flip(rig, name, le32_get(place.entry.offset) + 3);
}

static void flip_chunk(struct engine_rig *rig, const struct snapshot *snapshot,
		       uint64_t number)
{
	flip_chunk_of(rig, &snapshot->volumes[0], number);
}

static void assert_damage(const struct vms_ranges *damaged,
			  const struct err *first)
{
	assert_int_equal(damaged->count, 2);
	assert_int_equal(damaged->ranges[0].offset, 5 * C);
	assert_int_equal(damaged->ranges[0].length, 2 * C);
	assert_int_equal(damaged->ranges[1].offset, 100 * C);
	assert_int_equal(damaged->ranges[1].length, 13);
	assert_int_equal(first->code, -EBADMSG);
}

static void test_damaged(void **state)
{
	struct engine_rig *rig = *state;
	struct vms_verify_result verified = { 0 };
	uint8_t zeros[2 * RIG_CHUNK] = { 0 };
	struct err err = { 0 };
	struct job job;
	int fd;

	job_init(&job, rig, 2);
	assert_done(vms_verify(rig->vms, &job.snapshot, NULL, &verified, &err),
		    &err);
	assert_int_equal(verified.size_bytes, SIZE);
	vms_verify_result_release(&verified);
	flip_chunk(rig, &job.snapshot, 5);
	flip_chunk(rig, &job.snapshot, 6);
	flip_chunk(rig, &job.snapshot, 100);
	engine_rig_open(rig, STORE_READ, 3);
	job_fails(&job, rig, -EBADMSG, "disk 'vda', bytes");
	assert_int_equal(access(job.target, F_OK), -1);
	/* Its words are fit for a terminal, whatever the target is called. */
	job.restore.target = engine_rig_path(rig, "o\x1b[31m");
	job_fails(&job, rig, -EBADMSG, "o\\x1b[31m.vmsnap-partial'; --skip");
	job.restore.target = job.target;
	assert_int_equal(
		vms_verify(rig->vms, &job.snapshot, NULL, &verified, &err),
		-EBADMSG);
	assert_damage(&verified.disks[0].damaged,
		      &verified.disks[0].first_damage);
	vms_verify_result_release(&verified);

	job.restore.skip_damaged = true;
	job_run(&job, rig);
	assert_damage(&job.result.damaged, &job.result.first_damage);
	fd = open(engine_rig_path(rig, "vda"), O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, zeros, 2 * C, 5 * C), 2 * C);
	assert_int_equal(pwrite(fd, zeros, 13, 100 * C), 13);
	close(fd);
	engine_rig_assert_same(rig, "vda", "out");

	/* Over old data, too: what can't be read is zeros there. */
	engine_rig_write(rig, "out", 5 * C, 2 * C, 8);
	job.restore.delta = true;
	job_run(&job, rig);
	engine_rig_assert_same(rig, "vda", "out");
	job_release(&job);
}

/* The first damaged disk is not the last that is looked at. */
static void test_verify_all_disks(void **state)
{
	struct engine_rig *rig = *state;
	struct vms_verify_result found = { 0 };
	struct snapshot made = { 0 };
	struct err err = { 0 };

	for (unsigned n = 0; n < 2; n++) {
		engine_rig_disk(rig, n ? "vdb" : "vda", 20 * C);
		engine_rig_write(rig, n ? "vdb" : "vda", 0, 20 * C, 1 + n);
	}
	engine_rig_backup(rig, "web", "vda", "vdb", &made);
	flip_chunk_of(rig, &made.volumes[0], 3);
	flip_chunk_of(rig, &made.volumes[1], 7);
	engine_rig_open(rig, STORE_READ, 2);
	assert_int_equal(vms_verify(rig->vms, &made, NULL, &found, &err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, "disk 'vda'"));
	assert_non_null(strstr(err.text, "1 more disk is hurt"));
	assert_int_equal(found.disk_count, 2);
	assert_string_equal(found.disks[1].name, "vdb");
	for (unsigned n = 0; n < 2; n++) {
		assert_int_equal(found.disks[n].damaged.count, 1);
		assert_int_equal(found.disks[n].damaged.ranges[0].offset,
				 (n ? 7 : 3) * C);
	}
	assert_int_equal(found.data_bytes, 40 * C);
	vms_verify_result_release(&found);
	snapshot_release(&made);
}

/* Standard output is swapped for a file while it runs. */
static void test_stream(void **state)
{
	struct engine_rig *rig = *state;

	for (unsigned workers = 1; workers <= 8; workers = workers * 3 - 1) {
		struct err err = { 0 };
		struct job job;
		int fd, saved, r;

		job_init(&job, rig, workers);
		job.restore.target = "-";
		fflush(stdout);
		fd = open(job.target, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC,
			  0600);
		saved = dup(STDOUT_FILENO);
		assert_true(fd >= 0 && saved >= 0);
		assert_true(dup2(fd, STDOUT_FILENO) >= 0);
		r = vms_restore(rig->vms, &job.restore, &job.result, &err);
		dup2(saved, STDOUT_FILENO);
		close(saved);
		close(fd);
		assert_done(r, &err);
		assert_int_equal(job.result.written_bytes, SIZE);
		engine_rig_assert_same(rig, "vda", "out");
		unlink(job.target);
		job_release(&job);
	}
}

static void test_stop(void **state)
{
	struct vms_progress progress = { .stop = true };
	struct engine_rig *rig = *state;
	struct job job;

	job_init(&job, rig, 2);
	job.restore.progress = &progress;
	job_fails(&job, rig, -ECANCELED, "stopped");
	assert_int_equal(access(job.target, F_OK), -1);
	memset(&progress, 0, sizeof(progress));
	job_run(&job, rig);
	assert_int_equal(progress.total_bytes, SIZE);
	assert_int_equal(progress.done_bytes, SIZE);
	job_release(&job);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_file),
		RIG_TEST(test_disk),
		RIG_TEST(test_delta),
		RIG_TEST(test_no_space),
		RIG_TEST(test_sync_fails),
		RIG_TEST(test_damaged),
		RIG_TEST(test_verify_all_disks),
		RIG_TEST(test_stream),
		RIG_TEST(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
