/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk with an I/O thread of its own, two vCPUs' threads that drive a queue
 * each, and somebody who makes the device stand still again and again: every
 * request comes back once, with what was written. Then a reset while requests
 * are under way. For TSan above all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "kvm-agent/virtio/blk.h"
#include "tests/rig/virtio_guest.h"

#define SIZE     (1 * MIB)
#define ROUNDS   400u
#define REQUESTS 8u /* of a vCPU at once */
#define IN       0u
#define OUT      1u

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

struct rig {
	struct guest guest;
	struct blk blk;
	struct disk *disk;
	struct vs_io *io;
	struct driver driver;
	char path[64];
	pthread_t io_thread;
	atomic_bool stop;
	atomic_uint quiet;
};

struct vcpu {
	struct rig *rig;
	unsigned queue;
	uint64_t pages; /* a head with its status, and data, for each request */
	unsigned wrong;
};

static void *run_loop(void *arg)
{
	struct rig *rig = arg;

	/* A message stops it: the rig's doing. */
	while (!atomic_load(&rig->stop))
		(void)loop_run(rig->guest.loop, NULL);
	return NULL;
}

static struct rig *start(uint64_t features)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));
	int fd;

	strcpy(rig->path, "/tmp/test_virtio_threads.XXXXXX");
	fd = mkstemp(rig->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
	rig->io = io_new(&err);
	assert_non_null(rig->io);
	ok(disk_raw_new(&rig->disk, rig->io, rig->path, false, BLK_DEPTH,
			&err));
	ok(guest_init(&rig->guest, &err));
	ok(blk_init(&rig->blk, 0, &rig->guest.host, rig->disk, 2, "threads",
		    &err));
	ok(driver_find(&rig->driver, &rig->guest, 1));
	ok(driver_start(&rig->driver, features));
	assert_int_equal(pthread_create(&rig->io_thread, NULL, run_loop, rig),
			 0);
	return rig;
}

static void finish(struct rig *rig)
{
	atomic_store(&rig->stop, true);
	loop_stop(rig->guest.loop);
	pthread_join(rig->io_thread, NULL);
	blk_release(&rig->blk);
	disk_free(rig->disk);
	guest_release(&rig->guest);
	io_free(rig->io);
	unlink(rig->path);
	test_free(rig);
}

/* Request `i` of a round: a page of the disk that is this vCPU's alone. */
static void submit(struct vcpu *vcpu, unsigned i, uint32_t type, uint8_t mark)
{
	struct rig *rig = vcpu->rig;
	uint64_t head_at = vcpu->pages + 8192ULL * i, data_at = head_at + 4096;
	struct piece pieces[] = { { head_at, 16, false },
				  { data_at, 4096, type == IN },
				  { head_at + 16, 1, true } };
	uint8_t *head = guest_at(&rig->guest, head_at);
	uint64_t sector = 8ULL * (vcpu->queue * REQUESTS + i);

	memset(head, 0, 16);
	head[0] = (uint8_t)type;
	memcpy(head + 8, &sector, sizeof(sector));
	head[16] = 0xee;
	memset(guest_at(&rig->guest, data_at), type == OUT ? mark : 0, 4096);
	driver_add(&rig->driver, vcpu->queue, pieces, 3);
	driver_notify_wanted(&rig->driver, vcpu->queue);
}

static void collect(struct vcpu *vcpu)
{
	for (unsigned done = 0; done < REQUESTS; done++) {
		while (driver_take(&vcpu->rig->driver, vcpu->queue, NULL) < 0)
			sched_yield();
	}
}

static void check(struct vcpu *vcpu, uint8_t mark)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		const uint8_t *head =
			guest_at(&vcpu->rig->guest, vcpu->pages + 8192ULL * i);

		vcpu->wrong += head[16] != 0 || head[4096] != mark ||
			       head[8191] != mark;
	}
}

static void *run_vcpu(void *arg)
{
	struct vcpu *vcpu = arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint8_t mark = (uint8_t)(round + 100 * vcpu->queue + 1);

		for (unsigned i = 0; i < REQUESTS; i++)
			submit(vcpu, i, OUT, mark);
		collect(vcpu);
		for (unsigned i = 0; i < REQUESTS; i++)
			submit(vcpu, i, IN, mark);
		collect(vcpu);
		check(vcpu, mark);
	}
	return NULL;
}

static void is_quiet(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static void stand_still(struct rig *rig, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		unsigned before = atomic_load(&rig->quiet);

		virtio_quiesce(&rig->blk.virtio, is_quiet, &rig->quiet);
		while (atomic_load(&rig->quiet) == before)
			sched_yield();
		virtio_resume(&rig->blk.virtio);
	}
}

static void with_two_vcpus(uint64_t features)
{
	struct rig *rig = start(features);
	struct vcpu vcpus[2];
	pthread_t threads[2];

	for (unsigned i = 0; i < 2; i++) {
		vcpus[i] = (struct vcpu){
			rig, i, guest_pages(&rig->guest, 2 * REQUESTS), 0
		};
		assert_int_equal(
			pthread_create(&threads[i], NULL, run_vcpu, &vcpus[i]),
			0);
	}
	stand_still(rig, 100);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(vcpus[i].wrong, 0);
	}
	assert_int_equal(rig->guest.broken, 0);
	finish(rig);
}

/* A notification that is not sent when it is wanted, or not wanted when it is
 * needed, hangs. */
static void test_by_event_index(void **state)
{
	(void)state;
	with_two_vcpus(~0ULL);
}

static void test_by_flags(void **state)
{
	(void)state;
	with_two_vcpus(~VIRTIO_F_EVENT_INDEX);
}

/* Whatever is under way when it is reset, it is over when the status says so,
 * and the device starts anew. */
static void test_resets(void **state)
{
	struct rig *rig = start(~0ULL);
	struct vcpu vcpu = { rig, 0, guest_pages(&rig->guest, 2 * REQUESTS),
			     0 };

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < REQUESTS; i++)
			submit(&vcpu, i, IN, 0);
		/* The first has come back: others are on their way. */
		while (driver_take(&rig->driver, 0, NULL) < 0)
			sched_yield();
		driver_set_status(&rig->driver, 0);
		while (driver_status(&rig->driver))
			sched_yield();
		memset(guest_at(&rig->guest, vcpu.pages), 0x77,
		       8192 * REQUESTS);
		driver_set_status(&rig->driver, 3);
		driver_set_status(&rig->driver, 0);
		/* Nothing of it is written to any more. */
		for (unsigned i = 0; i < 8192 * REQUESTS; i++)
			assert_int_equal(((uint8_t *)guest_at(&rig->guest,
							      vcpu.pages))[i],
					 0x77);
		assert_int_equal(driver_setup(&rig->driver, ~0ULL), 0);
	}
	assert_int_equal(rig->guest.broken, 0);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_event_index),
		cmocka_unit_test(test_by_flags),
		cmocka_unit_test(test_resets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
