/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a virtio device over PCI: features, queues, notifications by
 * both ways, breaches, reset while requests are under way, state; and rng. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "kvm-agent/virtio/rng.h"
#include "tests/rig/device_state.h"
#include "tests/rig/virtio_guest.h"

#define FEATURE   (1ULL << 5)
#define ALL       (~0ULL)
#define QUEUES    2u
#define HELD_MAX  512u
#define LISTENING (VIRTIO_F_EVENT_INDEX | VIRTIO_F_INDIRECT)

/* A device that gives back what it was given, at once or when it is told. */
struct echo {
	struct virtio virtio;
	uint8_t config[8];
	bool hold;
	unsigned held;
	uint16_t heads[HELD_MAX];
	unsigned started, resets;
	struct driver *refill; /* puts one more in for each that is taken */
	unsigned more;
	unsigned served[QUEUES], served_before;
	uint32_t own;
};

struct own_state {
	uint32_t own;
};

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

static struct echo *echo_of(struct virtio *virtio)
{
	return container_of(virtio, struct echo, virtio);
}

static void echo_serve(struct virtio *virtio, unsigned queue)
{
	struct echo *echo = echo_of(virtio);
	struct virtqueue_chain chain;
	uint8_t bytes[256];

	if (queue == 1)
		echo->served_before = echo->served[0];
	do {
		while (virtio_pop(virtio, queue, &chain)) {
			size_t n = chain_read(&chain, 0, bytes, sizeof(bytes));

			n = chain_write(&chain, 0, bytes, n);
			echo->served[queue]++;
			if (queue == 0 && echo->more) {
				echo->more--;
				driver_put_head(echo->refill, 0, 0);
			}
			if (echo->hold) {
				virtio_hold(virtio);
				echo->heads[echo->held++] = chain.head;
			} else {
				virtio_push(virtio, queue, chain.head,
					    (uint32_t)n);
			}
		}
	} while (virtio_listen(virtio, queue));
	virtio_signal(virtio, queue);
}

static void echo_let_go(struct echo *echo)
{
	pthread_mutex_lock(&echo->virtio.lock);
	while (echo->held) {
		virtio_push(&echo->virtio, 0, echo->heads[--echo->held], 0);
		virtio_let_go(&echo->virtio);
	}
	virtio_signal(&echo->virtio, 0);
	pthread_mutex_unlock(&echo->virtio.lock);
}

static void echo_config_read(struct virtio *virtio, void *config)
{
	memcpy(config, echo_of(virtio)->config, 8);
}

static void echo_config_write(struct virtio *virtio, unsigned offset,
			      const void *data, unsigned length)
{
	memcpy(echo_of(virtio)->config + offset, data, length);
}

static void echo_started(struct virtio *virtio)
{
	echo_of(virtio)->started++;
}

static void echo_reset(struct virtio *virtio)
{
	echo_of(virtio)->resets++;
	echo_of(virtio)->own = 0;
}

static void echo_save(struct virtio *virtio, struct state_writer *out)
{
	section_put_u32(out, echo_of(virtio)->own);
}

static void echo_take(struct virtio *virtio, struct section_reader *in,
		      void *state)
{
	struct own_state *own = state;

	(void)virtio;
	own->own = section_get_u32(in);
}

static int echo_check(struct virtio *virtio, const void *state,
		      struct err *words)
{
	const struct own_state *own = state;

	(void)virtio;
	return own->own == 666 ? err_set(words, -EBADMSG, "not that") : 0;
}

static void echo_apply(struct virtio *virtio, const void *state)
{
	const struct own_state *own = state;

	echo_of(virtio)->own = own->own;
}

static const struct virtio_class echo_class = {
	.device = { "echo", 1, virtio_reset, virtio_save, virtio_restore },
	.id = 42,
	.pci_class = 0x00ff00,
	.config_length = 8,
	.config_read = echo_config_read,
	.config_write = echo_config_write,
	.started = echo_started,
	.serve = echo_serve,
	.reset = echo_reset,
	.state_size = sizeof(struct own_state),
	.save = echo_save,
	.take = echo_take,
	.check = echo_check,
	.apply = echo_apply,
};

struct rig {
	struct guest guest;
	struct echo echo;
	struct driver driver;
	uint64_t data;
	unsigned quiet;
};

static struct rig *start_with(struct doorbells *doorbells)
{
	struct rig *rig = test_calloc(1, sizeof(*rig));

	ok(guest_init(&rig->guest, &err));
	rig->guest.host.doorbells = doorbells;
	ok(virtio_init(&rig->echo.virtio, &echo_class, 0, &rig->guest.host,
		       FEATURE, QUEUES, 256, &err));
	rig->data = guest_pages(&rig->guest, 2);
	ok(driver_find(&rig->driver, &rig->guest, 1));
	return rig;
}

static struct rig *start(void)
{
	return start_with(NULL);
}

static void finish(struct rig *rig)
{
	if (rig->echo.held)
		echo_let_go(&rig->echo);
	virtio_release(&rig->echo.virtio);
	guest_release(&rig->guest);
	test_free(rig);
}

static uint16_t add_echo(struct rig *rig, unsigned queue)
{
	struct piece pieces[] = { { rig->data, 5, false },
				  { rig->data + 4096, 64, true } };

	memcpy(guest_at(&rig->guest, rig->data), "hello", 5);
	return driver_add(&rig->driver, queue, pieces, 2);
}

static void test_echo(void **state)
{
	struct rig *rig = start();
	uint32_t written = 0;
	uint16_t head;

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	assert_int_equal(rig->driver.features,
			 FEATURE | LISTENING | VIRTIO_F_VERSION_1);
	assert_int_equal(rig->echo.started, 1);
	head = add_echo(rig, 1);
	driver_notify(&rig->driver, 1);
	assert_int_equal(driver_wait(&rig->driver, 1, &written), head);
	assert_int_equal(written, 5);
	assert_memory_equal(guest_at(&rig->guest, rig->data + 4096), "hello",
			    6);
	/* The queue's vector, and no other. */
	assert_int_equal(rig->guest.messages[2], 1);
	assert_int_equal(rig->guest.message_count, 1);
	/* A chain in a table of its own; without a new negotiation of it. */
	{
		struct piece pieces[] = { { rig->data, 5, false },
					  { rig->data + 4096, 3, true } };

		head = driver_add_indirect(&rig->driver, 0, pieces, 2);
		driver_notify(&rig->driver, 0);
		assert_int_equal(driver_wait(&rig->driver, 0, &written), head);
		assert_int_equal(written, 3);
	}
	finish(rig);
}

static void test_features(void **state)
{
	struct rig *rig = start();
	struct driver *driver = &rig->driver;

	(void)state;
	/* One that wasn't offered. */
	driver_set_status(driver, 3);
	guest_write(&rig->guest, driver->common + 8, 1, 4);
	guest_write(&rig->guest, driver->common + 12, 1, 4);
	guest_write(&rig->guest, driver->common + 8, 0, 4);
	guest_write(&rig->guest, driver->common + 12, 1, 4);
	driver_set_status(driver, 11);
	assert_int_equal(driver_status(driver), 3);
	/* DRIVER_OK without features. */
	driver_set_status(driver, 7);
	assert_int_equal(driver_status(driver), 3);
	/* Not modern. */
	driver_set_status(driver, 0);
	driver_set_status(driver, 3);
	driver_set_status(driver, 11);
	assert_int_equal(driver_status(driver), 3);
	ok(driver_start(driver, 0));
	/* Settled is settled. */
	guest_write(&rig->guest, driver->common + 8, 0, 4);
	guest_write(&rig->guest, driver->common + 12, FEATURE, 4);
	assert_int_equal(rig->echo.virtio.accepted, VIRTIO_F_VERSION_1);
	/* Half of it is all there is. */
	guest_write(&rig->guest, driver->common, 2, 4);
	assert_int_equal(guest_read(&rig->guest, driver->common + 4, 4), 0);
	finish(rig);
}

static void test_queue_registers(void **state)
{
	struct rig *rig = start();
	struct guest *guest = &rig->guest;
	uint64_t common = rig->driver.common;

	(void)state;
	driver_set_status(&rig->driver, 3);
	guest_write(guest, common + 8, 1, 4);
	guest_write(guest, common + 12, 1, 4);
	/* Not before the features. */
	guest_write(guest, common + 24, 16, 2);
	assert_int_equal(guest_read(guest, common + 24, 2), 256);
	driver_set_status(&rig->driver, 11);
	guest_write(guest, common + 24, 16, 2);
	assert_int_equal(guest_read(guest, common + 24, 2), 16);
	guest_write(guest, common + 24, 17, 2);
	guest_write(guest, common + 24, 512, 2);
	guest_write(guest, common + 24, 0, 2);
	assert_int_equal(guest_read(guest, common + 24, 2), 16);
	guest_write(guest, common + 26, QUEUES + 1, 2);
	assert_int_equal(guest_read(guest, common + 26, 2), MSIX_NONE);
	guest_write(guest, common + 16, 77, 2);
	assert_int_equal(guest_read(guest, common + 16, 2), MSIX_NONE);
	/* One that there isn't. */
	guest_write(guest, common + 22, QUEUES, 2);
	assert_int_equal(guest_read(guest, common + 24, 2), 0);
	guest_write(guest, common + 24, 16, 2);
	guest_write(guest, common + 32, 4096, 8);
	guest_write(guest, common + 28, 1, 2);
	guest_write(guest, common + 22, 1, 2);
	assert_int_equal(guest_read(guest, common + 24, 2), 256);
	guest_write(guest, common + 32, 0x123456789abcdef0, 8);
	assert_int_equal(guest_read(guest, common + 32, 8), 0x123456789abcdef0);
	guest_write(guest, common + 36, 5, 4);
	assert_int_equal(guest_read(guest, common + 32, 8), 0x59abcdef0);
	/* Odd sizes and places change nothing. */
	guest_write(guest, common + 33, 1, 4);
	guest_write(guest, common + 32, 1, 2);
	guest_write(guest, common + 54, 1, 4);
	assert_int_equal(guest_read(guest, common + 32, 8), 0x59abcdef0);
	assert_int_equal(guest_read(guest, common + 56, 8), 0);
	/* Enabled where there is no RAM: the device needs a reset. */
	guest_write(guest, common + 28, 1, 2);
	assert_int_equal(guest_read(guest, common + 28, 2), 0);
	assert_int_equal(driver_status(&rig->driver), 0x4b);
	assert_int_equal(guest->broken, 1);
	finish(rig);
}

static void test_config(void **state)
{
	struct rig *rig = start();
	struct guest *guest = &rig->guest;
	uint64_t config = rig->driver.config;

	(void)state;
	guest_write(guest, config + 2, 0x1234, 2);
	assert_int_equal(driver_config(&rig->driver, 0, 8), 0x12340000);
	/* Over the end: not a byte of it. */
	guest_write(guest, config + 6, 0xffffffff, 4);
	assert_int_equal(driver_config(&rig->driver, 0, 8), 0x12340000);
	assert_int_equal(guest_read(guest, config + 8, 8), 0);
	finish(rig);
}

/* The BAR through configuration space. */
static void test_window(void **state)
{
	struct rig *rig = start();
	struct guest *guest = &rig->guest;
	uint64_t at = LAYOUT_ECAM + 0x8000 + rig->echo.virtio.pci_window;

	(void)state;
	rig->echo.config[1] = 0x77;
	guest_write(guest, at + 8, VIRTIO_BAR_CONFIG + 1, 4);
	guest_write(guest, at + 12, 1, 4);
	assert_int_equal(guest_read(guest, at + 16, 1), 0x77);
	guest_write(guest, at + 16, 0x55, 1);
	assert_int_equal(rig->echo.config[1], 0x55);
	/* What can't be is nothing. */
	guest_write(guest, at + 12, 4, 4);
	guest_write(guest, at + 16, 0x99999999, 4);
	guest_write(guest, at + 12, 1, 4);
	guest_write(guest, at + 4, 1, 1);
	guest_write(guest, at + 16, 0x99, 1);
	guest_write(guest, at + 4, 0, 1);
	guest_write(guest, at + 8, 0xffffffff, 4);
	guest_write(guest, at + 16, 0x99, 1);
	assert_int_equal(rig->echo.config[1], 0x55);
	finish(rig);
}

static void test_breach_stops_it(void **state)
{
	struct rig *rig = start();
	unsigned messages;

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	messages = rig->guest.messages[0];
	driver_set_descriptor(&rig->driver, 0, 0, GUEST_RAM, 16, 0, 0);
	driver_put_head(&rig->driver, 0, 0);
	driver_notify(&rig->driver, 0);
	guest_settle(&rig->guest);
	assert_int_equal(driver_status(&rig->driver), 0x4f);
	assert_int_equal(rig->guest.messages[0], messages + 1);
	assert_int_equal(rig->guest.broken, 1);
	/* The other queue is served no more either, until it is reset. */
	add_echo(rig, 1);
	driver_notify(&rig->driver, 1);
	guest_settle(&rig->guest);
	assert_int_equal(driver_take(&rig->driver, 1, NULL), -1);
	ok(driver_start(&rig->driver, ALL));
	add_echo(rig, 1);
	driver_notify(&rig->driver, 1);
	assert_true(driver_wait(&rig->driver, 1, NULL) >= 0);
	assert_int_equal(rig->guest.broken, 1);
	finish(rig);
}

/* A reset is over when the last request is. */
static void test_reset_waits(void **state)
{
	struct rig *rig = start();

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	rig->echo.hold = true;
	add_echo(rig, 0);
	add_echo(rig, 0);
	driver_notify(&rig->driver, 0);
	guest_settle(&rig->guest);
	assert_int_equal(rig->echo.held, 2);
	rig->echo.resets = 0;
	driver_set_status(&rig->driver, 0);
	assert_int_equal(driver_status(&rig->driver), 15);
	driver_set_status(&rig->driver, 1);
	assert_int_equal(driver_status(&rig->driver), 15);
	add_echo(rig, 0);
	driver_notify(&rig->driver, 0);
	guest_settle(&rig->guest);
	assert_int_equal(rig->echo.held, 2);
	echo_let_go(&rig->echo);
	guest_settle(&rig->guest);
	assert_int_equal(driver_status(&rig->driver), 0);
	assert_int_equal(rig->echo.resets, 1);
	finish(rig);
}

static void is_quiet(void *arg)
{
	struct rig *rig = arg;

	rig->quiet++;
}

static void test_quiesce_waits(void **state)
{
	struct rig *rig = start();

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	rig->echo.hold = true;
	add_echo(rig, 0);
	driver_notify(&rig->driver, 0);
	guest_settle(&rig->guest);
	virtio_quiesce(&rig->echo.virtio, is_quiet, rig);
	guest_settle(&rig->guest);
	assert_int_equal(rig->quiet, 0);
	add_echo(rig, 0);
	driver_notify(&rig->driver, 0);
	guest_settle(&rig->guest);
	assert_int_equal(rig->echo.held, 1);
	echo_let_go(&rig->echo);
	guest_settle(&rig->guest);
	assert_int_equal(rig->quiet, 1);
	rig->echo.hold = false;
	assert_true(driver_take(&rig->driver, 0, NULL) >= 0);
	assert_int_equal(driver_take(&rig->driver, 0, NULL), -1);
	virtio_resume(&rig->echo.virtio);
	assert_true(driver_wait(&rig->driver, 0, NULL) >= 0);
	assert_int_equal(rig->quiet, 1);
	finish(rig);
}

/* More than its share: others have their turn, and it goes on by itself. */
static void test_share(void **state)
{
	struct rig *rig = start();
	struct piece piece = { rig->data, 1, false };

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	rig->echo.refill = &rig->driver;
	rig->echo.more = 1000;
	driver_add(&rig->driver, 0, &piece, 1);
	driver_add(&rig->driver, 1, &piece, 1);
	driver_notify(&rig->driver, 0);
	driver_notify(&rig->driver, 1);
	guest_settle(&rig->guest);
	assert_int_equal(rig->echo.served_before, 256);
	assert_int_equal(rig->echo.served[1], 1);
	assert_int_equal(rig->echo.served[0], 1001);
	finish(rig);
}

static void test_no_master_no_access(void **state)
{
	struct rig *rig = start();
	uint64_t command = LAYOUT_ECAM + 0x8000 + PCI_COMMAND;

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	guest_write(&rig->guest, command, PCI_COMMAND_MEMORY, 2);
	add_echo(rig, 0);
	driver_notify(&rig->driver, 0);
	guest_settle(&rig->guest);
	assert_int_equal(driver_take(&rig->driver, 0, NULL), -1);
	guest_write(&rig->guest, command,
		    PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	assert_true(driver_wait(&rig->driver, 0, NULL) >= 0);
	finish(rig);
}

/* Without MSI-X the register says what there is, once. */
static void test_isr(void **state)
{
	struct rig *rig = start();

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	guest_write(&rig->guest, LAYOUT_ECAM + 0x8000 + rig->driver.msix + 2, 0,
		    2);
	add_echo(rig, 0);
	driver_notify(&rig->driver, 0);
	guest_settle(&rig->guest);
	assert_int_equal(rig->guest.message_count, 0);
	assert_int_equal(guest_read(&rig->guest, rig->driver.isr, 1), 1);
	assert_int_equal(guest_read(&rig->guest, rig->driver.isr, 1), 0);
	pthread_mutex_lock(&rig->echo.virtio.lock);
	virtio_config_changed(&rig->echo.virtio);
	pthread_mutex_unlock(&rig->echo.virtio.lock);
	assert_int_equal(guest_read(&rig->guest, rig->driver.isr, 1), 2);
	assert_int_equal(guest_read(&rig->guest, rig->driver.common + 21, 1),
			 1);
	finish(rig);
}

/* ---- doorbells ---- */

static struct {
	struct doorbells doorbells;
	unsigned count;
	uint64_t address[8];
	int fd[8];
} bells;

static int bell_add(struct doorbells *doorbells, uint64_t address, int fd,
		    struct err *words)
{
	(void)doorbells;
	(void)words;
	bells.address[bells.count] = address;
	bells.fd[bells.count++] = fd;
	return 0;
}

static void bell_remove(struct doorbells *doorbells, uint64_t address, int fd)
{
	(void)doorbells;
	for (unsigned i = 0; i < bells.count; i++) {
		if (bells.address[i] == address && bells.fd[i] == fd) {
			bells.count--;
			bells.address[i] = bells.address[bells.count];
			bells.fd[i] = bells.fd[bells.count];
			return;
		}
	}
	fail_msg("a doorbell that was never added");
}

static void test_doorbells(void **state)
{
	uint64_t one = 1, moved = LAYOUT_WINDOW32 + 16 * MIB;
	struct rig *rig;

	(void)state;
	bells.doorbells = (struct doorbells){ bell_add, bell_remove };
	rig = start_with(&bells.doorbells);
	assert_int_equal(bells.count, QUEUES);
	assert_int_equal(bells.address[1], rig->driver.notify + 4);
	ok(driver_start(&rig->driver, ALL));
	add_echo(rig, 1);
	assert_int_equal(write(bells.fd[1], &one, 8), 8);
	assert_true(driver_wait(&rig->driver, 1, NULL) >= 0);
	/* They move with the BAR, and go with it. */
	guest_write(&rig->guest, LAYOUT_ECAM + 0x8000 + PCI_BAR_0, moved, 4);
	assert_int_equal(bells.count, QUEUES);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(bells.address[i] & ~0x7fffULL, moved);
	guest_write(&rig->guest, LAYOUT_ECAM + 0x8000 + PCI_COMMAND, 0, 2);
	assert_int_equal(bells.count, 0);
	finish(rig);
}

/* ---- state ---- */

static void save(struct rig *rig, struct state_writer *out)
{
	device_state_save(&rig->echo.virtio.device, out);
}

static int restore(struct rig *rig, const struct state_writer *saved)
{
	return device_state_restore(&rig->echo.virtio.device, saved, &err);
}

static void test_save_restore(void **state)
{
	struct rig *rig = start(), *other = start(), *fresh = start();
	struct state_writer first, second;

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	add_echo(rig, 1);
	driver_notify(&rig->driver, 1);
	assert_true(driver_wait(&rig->driver, 1, NULL) >= 0);
	rig->echo.own = 5;
	/* What is in the ring and was not told of goes along. */
	add_echo(rig, 1);
	save(rig, &first);
	ok(restore(other, &first));
	save(other, &second);
	device_state_same(&first, &second);
	state_release(&second);
	assert_int_equal(other->echo.started, 1);
	memcpy(guest_at(&other->guest, 0), guest_at(&rig->guest, 0), GUEST_RAM);
	rig->driver.guest = &other->guest;
	virtio_resume(&other->echo.virtio);
	assert_true(driver_wait(&rig->driver, 1, NULL) >= 0);
	assert_int_equal(other->guest.messages[2], 1);
	state_release(&first);
	/* A reset is a new one, but for PCI's being switched on. */
	virtio_reset(&rig->echo.virtio.device);
	save(rig, &first);
	virtio_reset(&fresh->echo.virtio.device);
	save(fresh, &second);
	device_state_same(&first, &second);
	state_release(&first);
	state_release(&second);
	finish(rig);
	finish(other);
	finish(fresh);
}

static void refused(struct rig *rig, struct rig *other)
{
	struct state_writer saved, before, after;

	save(rig, &saved);
	save(other, &before);
	assert_int_equal(restore(other, &saved), -EBADMSG);
	save(other, &after);
	device_state_same(&before, &after);
	state_release(&saved);
	state_release(&before);
	state_release(&after);
}

static void test_restore_refuses(void **state)
{
	struct rig *rig = start(), *other = start();
	struct virtio *virtio = &rig->echo.virtio;

	(void)state;
	ok(driver_start(&rig->driver, ALL));
	ok(driver_start(&other->driver, 0));
	rig->echo.own = 666;
	refused(rig, other);
	rig->echo.own = 0;
	virtio->accepted |= 2;
	refused(rig, other);
	virtio->accepted &= ~2ULL;
	virtio->queues[0].ring.descriptors = gpa_make(GUEST_RAM);
	refused(rig, other);
	virtio->queues[0].ring.descriptors = gpa_make(0);
	virtio->queues[1].ring.size = 7;
	refused(rig, other);
	virtio->queues[1].ring.size = 512;
	refused(rig, other);
	virtio->queues[1].ring.size = 256;
	virtio->queues[1].vector = 9;
	refused(rig, other);
	virtio->queues[1].vector = 0;
	virtio->config_vector = 9;
	refused(rig, other);
	virtio->config_vector = 0;
	virtio->status = 7;
	refused(rig, other);
	finish(rig);
	finish(other);
}

/* ---- rng ---- */

static int no_random(void *data, size_t size, struct err *words)
{
	(void)data;
	(void)size;
	return err_set(words, -EIO, "none");
}

static void test_rng(void **state)
{
	struct guest *guest = test_calloc(1, sizeof(*guest));
	struct rng *rng = test_calloc(1, sizeof(*rng));
	struct driver driver;
	struct piece pieces[2];
	uint32_t written = 0;
	uint8_t *bytes;

	(void)state;
	ok(guest_init(guest, &err));
	ok(rng_init(rng, 0, &guest->host, &err));
	ok(driver_find(&driver, guest, 1));
	ok(driver_start(&driver, ALL));
	pieces[0] = (struct piece){ guest_pages(guest, 1), 100, true };
	pieces[1] = (struct piece){ guest_pages(guest, 2), 8000, true };
	driver_add(&driver, 0, pieces, 2);
	driver_notify(&driver, 0);
	assert_true(driver_wait(&driver, 0, &written) >= 0);
	assert_int_equal(written, 4096);
	bytes = guest_at(guest, pieces[0].address);
	assert_false(bytes_are_zero(bytes, 100));
	assert_true(bytes_are_zero(bytes + 100, 3996));
	bytes = guest_at(guest, pieces[1].address);
	assert_false(bytes_are_zero(bytes + 3996 - 32, 32));
	assert_true(bytes_are_zero(bytes + 3996, 4096));
	/* A host without any: none, and no words of success. */
	rng->fill = no_random;
	driver_add(&driver, 0, pieces, 1);
	driver_notify(&driver, 0);
	assert_true(driver_wait(&driver, 0, &written) >= 0);
	assert_int_equal(written, 0);
	rng_release(rng);
	guest_release(guest);
	test_free(rng);
	test_free(guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_queue_registers),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_breach_stops_it),
		cmocka_unit_test(test_reset_waits),
		cmocka_unit_test(test_quiesce_waits),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_no_master_no_access),
		cmocka_unit_test(test_isr),
		cmocka_unit_test(test_doorbells),
		cmocka_unit_test(test_save_restore),
		cmocka_unit_test(test_restore_refuses),
		cmocka_unit_test(test_rng),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
