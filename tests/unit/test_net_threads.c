/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device with an I/O thread of its own, over a stream whose other end
 * sends back what it gets; a vCPU's thread that sends and receives, resets the
 * device in between, and somebody who makes it stand still again and again: no
 * frame is lost, doubled, torn or out of its order. For TSan above all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "kvm-agent/virtio/net.h"
#include "tests/rig/virtio_guest.h"

#define RX      0u
#define TX      1u
#define ROUNDS  150u
#define FRAMES  8u /* of a round */
#define BUFFERS 64u
#define PAGE    4096u
#define HEADER  sizeof(struct net_header)

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

struct rig {
	struct guest guest;
	struct net net;
	struct net_backend *backend;
	struct driver driver;
	int peer;
	uint64_t sending, receiving; /* pages */
	pthread_t io_thread, peer_thread;
	atomic_bool stop;
	atomic_uint quiet;
};

static void *run_loop(void *arg)
{
	struct rig *rig = arg;

	while (!atomic_load(&rig->stop))
		(void)loop_run(rig->guest.loop, NULL);
	return NULL;
}

static void *send_back(void *arg)
{
	struct rig *rig = arg;
	uint8_t bytes[3000];
	ssize_t n;

	/* Wherever it ends. */
	while ((n = read(rig->peer, bytes, sizeof(bytes))) > 0) {
		if (send(rig->peer, bytes, (size_t)n, MSG_NOSIGNAL) != n)
			break;
	}
	return NULL;
}

static struct rig *start(void)
{
	struct net_options options = { .mac = { 0x52, 0x54 } };
	struct rig *rig = test_calloc(1, sizeof(*rig));
	int ends[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	rig->peer = ends[1];
	ok(net_passt_new(&rig->backend, ends[0], &err));
	ok(guest_init(&rig->guest, &err));
	options.backend = rig->backend;
	ok(net_init(&rig->net, 0, &rig->guest.host, &options, &err));
	rig->sending = guest_pages(&rig->guest, 4 * FRAMES);
	rig->receiving = guest_pages(&rig->guest, BUFFERS);
	ok(driver_find(&rig->driver, &rig->guest, 1));
	assert_int_equal(pthread_create(&rig->io_thread, NULL, run_loop, rig),
			 0);
	assert_int_equal(
		pthread_create(&rig->peer_thread, NULL, send_back, rig), 0);
	return rig;
}

static void finish(struct rig *rig)
{
	shutdown(rig->peer, SHUT_RDWR);
	pthread_join(rig->peer_thread, NULL);
	atomic_store(&rig->stop, true);
	loop_stop(rig->guest.loop);
	pthread_join(rig->io_thread, NULL);
	close(rig->peer);
	net_release(&rig->net);
	net_backend_free(rig->backend);
	guest_release(&rig->guest);
	test_free(rig);
}

static size_t size_of(unsigned number)
{
	return 14 + number * 997 % 9000;
}

static uint8_t byte_of(unsigned number, size_t at)
{
	return (uint8_t)(number * 31 + at);
}

static void submit(struct rig *rig, unsigned number)
{
	uint64_t at = rig->sending + 4ULL * PAGE * (number % FRAMES);
	uint8_t *bytes = guest_at(&rig->guest, at);
	struct piece pieces[] = {
		{ at, HEADER, false },
		{ at + HEADER, (uint32_t)size_of(number), false },
	};

	memset(bytes, 0, HEADER);
	for (size_t i = 0; i < size_of(number); i++)
		bytes[HEADER + i] = byte_of(number, i);
	driver_add(&rig->driver, TX, pieces, 2);
	driver_notify_wanted(&rig->driver, TX);
}

/* Buffers are put in by their numbers, as many as there are descriptors. */
static void offer(struct rig *rig, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned index = rig->driver.rings[RX].next_descriptor;
		struct piece piece = {
			rig->receiving + (uint64_t)PAGE * (index % BUFFERS),
			PAGE, true
		};

		driver_add(&rig->driver, RX, &piece, 1);
		driver_notify_wanted(&rig->driver, RX);
	}
}

static int wait_for(struct rig *rig, unsigned queue, uint32_t *written)
{
	int head;

	while ((head = driver_take(&rig->driver, queue, written)) < 0)
		sched_yield();
	return head;
}

/* The next frame is this one, in buffers that have come all at once. */
static unsigned expect(struct rig *rig, unsigned number)
{
	unsigned buffers = 1, wrong = 0;
	size_t done = 0;

	for (unsigned i = 0; i < buffers; i++) {
		uint32_t written = 0;
		int head = i ? driver_take(&rig->driver, RX, &written)
			     : wait_for(rig, RX, &written);
		const uint8_t *at = guest_at(
			&rig->guest,
			rig->receiving +
				(uint64_t)PAGE * ((unsigned)head % BUFFERS));
		size_t skip = i ? 0 : HEADER;

		if (head < 0)
			return 1;
		if (!i)
			buffers = at[10];
		for (size_t j = skip; j < written; j++)
			wrong += at[j] != byte_of(number, done++);
	}
	offer(rig, buffers);
	return wrong + (done != size_of(number));
}

static unsigned one_round(struct rig *rig, unsigned round)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < FRAMES; i++)
		submit(rig, round * FRAMES + i);
	for (unsigned i = 0; i < FRAMES; i++)
		(void)wait_for(rig, TX, NULL);
	for (unsigned i = 0; i < FRAMES; i++)
		wrong += expect(rig, round * FRAMES + i);
	return wrong;
}

struct vcpu {
	struct rig *rig;
	uint64_t features;
	unsigned wrong;
	atomic_bool done;
};

static void *run_vcpu(void *arg)
{
	struct vcpu *vcpu = arg;
	struct rig *rig = vcpu->rig;

	for (unsigned round = 0; round < ROUNDS; round++) {
		/* Nothing is under way: nothing gets lost. */
		if (round % 50 == 0) {
			if (driver_setup(&rig->driver, vcpu->features) < 0)
				break;
			offer(rig, BUFFERS);
		}
		vcpu->wrong += one_round(rig, round);
	}
	atomic_store(&vcpu->done, true);
	return NULL;
}

static void is_quiet(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static void run(uint64_t features)
{
	struct rig *rig = start();
	struct vcpu vcpu = { .rig = rig, .features = features };
	struct net_counters counters;
	pthread_t thread;
	bool up;

	assert_int_equal(pthread_create(&thread, NULL, run_vcpu, &vcpu), 0);
	while (!atomic_load(&vcpu.done)) {
		unsigned before = atomic_load(&rig->quiet);

		virtio_quiesce(&rig->net.virtio, is_quiet, &rig->quiet);
		while (atomic_load(&rig->quiet) == before)
			sched_yield();
		virtio_resume(&rig->net.virtio);
		net_count(&rig->net, &counters, &up);
	}
	pthread_join(thread, NULL);
	assert_int_equal(vcpu.wrong, 0);
	assert_int_equal(rig->guest.broken, 0);
	net_count(&rig->net, &counters, &up);
	assert_int_equal(counters.sent_frames, ROUNDS * FRAMES);
	assert_int_equal(counters.received_frames, ROUNDS * FRAMES);
	assert_int_equal(counters.sent_dropped + counters.received_dropped, 0);
	finish(rig);
}

static void test_by_event_index(void **state)
{
	(void)state;
	run(~0ULL);
}

static void test_by_flags(void **state)
{
	(void)state;
	run(~VIRTIO_F_EVENT_INDEX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_event_index),
		cmocka_unit_test(test_by_flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
