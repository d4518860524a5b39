/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI and what is on it. A queue's doorbell is KVM's where there is one: the
 * guest's write becomes an eventfd of the I/O thread's loop without an exit
 * to us. Slots follow the order of the list, so that a machine that is put
 * together again has its devices where they were.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kvm-agent/board_virtio.h"
#include "kvm-agent/vm/layout.h"

#define NOTIFY_LENGTH 2u

static struct board *board_of(struct doorbells *doorbells)
{
	return container_of(doorbells, struct board, doorbells);
}

static int add_doorbell(struct doorbells *doorbells, uint64_t address, int fd,
			struct err *err)
{
	return vm_add_ioevent(board_of(doorbells)->vm, address, NOTIFY_LENGTH,
			      fd, err);
}

static void remove_doorbell(struct doorbells *doorbells, uint64_t address,
			    int fd)
{
	vm_remove_ioevent(board_of(doorbells)->vm, address, NOTIFY_LENGTH, fd);
}

/* Any thread, with the device's lock held. */
static void on_broken(const struct virtio_host *host, const char *device,
		      unsigned instance, const char *why)
{
	const struct board *board =
		container_of(host, struct board, virtio_host);

	if (board->news)
		news_put(board->news, device, instance,
			 "it stands still until its driver resets it, which "
			 "broke a rule: %s",
			 why);
}

int board_make_pci(struct board *board, struct err *err)
{
	int r = pci_bus_init(&board->pci, &board->mmio, &board->ports,
			     layout_window64(board->options->memory_bytes),
			     err);

	if (r < 0)
		return r;
	board->doorbells = (struct doorbells){ add_doorbell, remove_doorbell };
	board->virtio_host = (struct virtio_host){
		.memory = &board->memory,
		.pci = &board->pci,
		.loop = board->io_loop,
		.interrupts = board->interrupts,
		.doorbells = board->vm ? &board->doorbells : NULL,
		.broken = on_broken,
	};
	return board_attach(board, &board->pci.device, err);
}

void board_drop_pci(struct board *board)
{
	pci_bus_release(&board->pci);
}

static int attach(struct board *board, struct virtio *virtio, struct err *err)
{
	board->virtios[board->virtio_count++] = virtio;
	return board_attach(board, &virtio->device, err);
}

int board_make_rng(struct board *board, struct err *err)
{
	int r = rng_init(&board->rng, 0, &board->virtio_host, err);

	return r == 0 ? attach(board, &board->rng.virtio, err) : r;
}

void board_drop_rng(struct board *board)
{
	rng_release(&board->rng);
}

int board_make_net(struct board *board, struct err *err)
{
	const struct board_options *options = board->options;
	int r;

	if (!options->net.backend)
		return 0;
	r = net_init(&board->net, 0, &board->virtio_host, &options->net, err);
	return r == 0 ? attach(board, &board->net.virtio, err) : r;
}

void board_drop_net(struct board *board)
{
	net_release(&board->net);
}

static const char *op_name(enum disk_op op)
{
	switch (op) {
	case DISK_READ:
		return "read";
	case DISK_WRITE:
		return "write";
	case DISK_FLUSH:
		return "flush";
	case DISK_DISCARD:
		return "discard";
	case DISK_ZERO:
		return "write of zeros";
	}
	return "request";
}

/* The first for want of space and the first for another reason; the guest has
 * heard of each. */
static void on_disk_failed(void *arg, enum disk_op op, uint64_t offset,
			   int code)
{
	struct board_disk_news *disk = arg;
	bool *told = code == -ENOSPC || code == -EDQUOT ? &disk->full
							: &disk->failed;

	if (*told || !disk->board->news)
		return;
	*told = true;
	news_put(disk->board->news,
		 disk->board->disks[disk->index].virtio.class->device.name,
		 disk->index, "a %s failed at byte %" PRIu64 ": %s",
		 op_name(op), offset, strerror(-code));
}

/* A queue for each vCPU; the serial number is the disk's place. */
static int make_disk(struct board *board, unsigned index, struct err *err)
{
	const struct board_options *options = board->options;
	char serial[BLK_SERIAL_MAX + 1];
	int r;

	snprintf(serial, sizeof(serial), "vmsnap-disk%u", index);
	r = blk_init(&board->disks[index], index, &board->virtio_host,
		     options->disks[index],
		     (unsigned)min_u64(options->cpus, BLK_QUEUES_MAX), serial,
		     err);
	if (r < 0)
		return r;
	board->disk_news[index] =
		(struct board_disk_news){ .board = board, .index = index };
	board->disks[index].failed = on_disk_failed;
	board->disks[index].failed_arg = &board->disk_news[index];
	return attach(board, &board->disks[index].virtio, err);
}

int board_make_disks(struct board *board, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; !r && i < board->options->disk_count; i++)
		r = make_disk(board, i, err);
	return r;
}

void board_drop_disks(struct board *board)
{
	for (unsigned i = 0; i < board->options->disk_count; i++)
		blk_release(&board->disks[i]);
}

int board_make_console(struct board *board, struct err *err)
{
	struct agent_port *port = board->options->agent_port;
	int r;

	if (!port)
		return 0;
	r = virtio_console_init(&board->console, 0, &board->virtio_host,
				&port->hooks, err);
	if (r == 0)
		r = attach(board, &board->console.virtio, err);
	return r == 0 ? agent_port_start(port, board->io_loop, &board->console,
					 err)
		      : r;
}

void board_drop_console(struct board *board)
{
	if (board->options->agent_port)
		agent_port_stop(board->options->agent_port);
	virtio_console_release(&board->console);
}

int board_make_balloon(struct board *board, struct err *err)
{
	int r = balloon_init(&board->balloon, 0, &board->virtio_host, err);

	return r == 0 ? attach(board, &board->balloon.virtio, err) : r;
}

void board_drop_balloon(struct board *board)
{
	balloon_release(&board->balloon);
}

int board_make_vsock(struct board *board, struct err *err)
{
	struct vsock_sockets *sockets = board->options->vsock;
	int r;

	if (!sockets)
		return 0;
	r = virtio_vsock_init(&board->vsock, 0, &board->virtio_host,
			      &sockets->hooks, err);
	if (r == 0)
		r = attach(board, &board->vsock.virtio, err);
	return r == 0 ? vsock_sockets_start(sockets, board->io_loop,
					    &board->vsock, err)
		      : r;
}

void board_drop_vsock(struct board *board)
{
	virtio_vsock_release(&board->vsock);
	if (board->options->vsock)
		vsock_sockets_stop(board->options->vsock);
}

/* ---- standing still ---- */

/* One device is, by the I/O thread. */
static void device_is_still(void *arg)
{
	struct board *board = arg;

	pthread_mutex_lock(&board->still_lock);
	board->moving--;
	if (!board->moving && board->still)
		board->still(board->still_arg);
	pthread_cond_broadcast(&board->still_wake);
	pthread_mutex_unlock(&board->still_lock);
}

void board_quiesce(struct board *board, void (*still)(void *arg), void *arg)
{
	pthread_mutex_lock(&board->still_lock);
	board->moving = board->virtio_count;
	board->still = still;
	board->still_arg = arg;
	pthread_mutex_unlock(&board->still_lock);
	for (unsigned i = 0; i < board->virtio_count; i++)
		virtio_quiesce(board->virtios[i], device_is_still, board);
}

void board_cut(struct board *board)
{
	for (unsigned i = 0; i < board->virtio_count; i++)
		virtio_cut(board->virtios[i]);
}

bool board_is_still(struct board *board)
{
	bool still;

	pthread_mutex_lock(&board->still_lock);
	still = !board->moving;
	pthread_mutex_unlock(&board->still_lock);
	return still;
}

void board_await_still(struct board *board)
{
	pthread_mutex_lock(&board->still_lock);
	while (board->moving)
		pthread_cond_wait(&board->still_wake, &board->still_lock);
	pthread_mutex_unlock(&board->still_lock);
}

void board_go_on(struct board *board)
{
	for (unsigned i = 0; i < board->virtio_count; i++)
		virtio_resume(board->virtios[i]);
}
