/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board: RAM, buses, and every device of a machine, in one list. A new
 * device is a file of its own, a member here, and a line in board.c.
 */
#ifndef KVM_AGENT_BOARD_H
#define KVM_AGENT_BOARD_H

#include "format/base/loop.h"
#include "kvm-agent/agent_port.h"
#include "kvm-agent/news.h"
#include "kvm-agent/devices/acpi_pm.h"
#include "kvm-agent/devices/i8042.h"
#include "kvm-agent/devices/pvpanic.h"
#include "kvm-agent/devices/rtc.h"
#include "kvm-agent/devices/serial.h"
#include "kvm-agent/devices/vmgenid.h"
#include "kvm-agent/virtio/balloon.h"
#include "kvm-agent/virtio/blk.h"
#include "kvm-agent/virtio/net.h"
#include "kvm-agent/virtio/rng.h"
#include "kvm-agent/vm/bus.h"
#include "kvm-agent/vm/device.h"
#include "kvm-agent/vm/events.h"
#include "kvm-agent/vm/vm.h"
#include "kvm-agent/vsock/sockets.h"

#define BOARD_DEVICES_MAX 128u
#define BOARD_DISKS_MAX   16u

struct board_options {
	uint64_t memory_bytes;
	unsigned cpus;
	struct serial_line *console; /* of COM1 */
	/* Opened with BLK_DEPTH; they stay the caller's, and outlive it. */
	struct disk *disks[BOARD_DISKS_MAX];
	unsigned disk_count;
	/* The host's end of virtio-console; NULL: there is no such device. */
	struct agent_port *agent_port;
	/* The backend stays the caller's, and outlives it, as the hooks; NULL:
	 * there is no network. */
	struct net_options net;
	/* The host's ends of virtio-vsock; NULL: there is no such device. */
	struct vsock_sockets *vsock;
};

/* Which failures of a disk have been told. */
struct board_disk_news {
	struct board *board;
	unsigned index;
	bool full, failed;
};

struct board {
	const struct board_options *options;
	struct guest_events *guest;
	struct vm *vm;        /* NULL in a test: for events of KVM only */
	struct loop *io_loop; /* the I/O thread's */
	struct loop *control; /* the control thread's */
	struct news *news;    /* of what befalls devices; NULL: nobody hears */
	struct interrupts *interrupts;
	struct memory memory;
	struct bus ports, mmio;

	/* In the order in which they were attached. */
	struct device *devices[BOARD_DEVICES_MAX];
	unsigned device_count;

	unsigned parts_made;
	struct serial serial;
	struct acpi_pm pm;
	struct i8042 keyboard;
	struct pvpanic panic;
	struct rtc rtc;
	struct vmgenid genid;
	struct pci_bus pci;
	struct doorbells doorbells;
	struct virtio_host virtio_host;
	struct rng rng;
	struct net net;
	struct blk disks[BOARD_DISKS_MAX];
	struct board_disk_news disk_news[BOARD_DISKS_MAX];
	struct virtio_console console;
	struct balloon balloon;
	struct virtio_vsock vsock;

	/* Those of virtio, which the I/O thread serves. */
	struct virtio *virtios[PCI_SLOTS];
	unsigned virtio_count;

	pthread_mutex_t still_lock; /* of what follows */
	pthread_cond_t still_wake;
	unsigned moving; /* of virtios, when they are to stand still */
	void (*still)(void *arg);
	void *still_arg;
};

/*
 * The caller has set options, guest, vm, loops and interrupts, and nothing else.
 * No thread of a guest runs yet.
 */
int board_init(struct board *board, struct err *err);
/* After the last vCPU and the I/O thread. A zeroed one is left alone. */
void board_release(struct board *board);

/* For a part: the device takes part in reset, save and restore. */
int board_attach(struct board *board, struct device *device, struct err *err);

/*
 * While no vCPU runs and the I/O thread does: no request of the guest is begun
 * until board_go_on(), and when none is under way any more `still` is called:
 * by the I/O thread, and it may not call the board. Before a reset, a save or a
 * restore of a machine that has run. Does not wait: a disk may hang for ever.
 */
void board_quiesce(struct board *board, void (*still)(void *arg), void *arg);
/* It is for a reset: of what a disk has been asked for nothing more is begun. May
 * be called again. */
void board_cut(struct board *board);
/* Nothing is under way, and it is quiesced. */
bool board_is_still(struct board *board);
/* Waits for that: for a machine that never ran, which has no requests. */
void board_await_still(struct board *board);
/* Also while something is under way still. */
void board_go_on(struct board *board);

/* While no vCPU runs. */
void board_reset(struct board *board);
/* What a guest finds in RAM that is all zero: ACPI's tables, the generation
 * ID. Before the first vCPU runs, and again after each reset. */
int board_fill_memory(struct board *board, struct err *err);
void board_save(struct board *board, struct state_writer *out);
/* Not all or nothing: a board that could not be restored is thrown away. */
int board_restore(struct board *board, const struct state *state,
		  struct err *err);

#endif
