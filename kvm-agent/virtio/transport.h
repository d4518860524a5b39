/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio 1.x over PCI, modern only: what all virtio devices have in common.
 *
 * A device is a struct that starts with struct virtio, and a struct
 * virtio_class of functions. Its queues are served by the I/O thread, which
 * runs the loop; registers are read and written by vCPUs' threads. Each device
 * has one lock for both, held whenever a function of its class is called;
 * those never block.
 *
 * Requests that a device holds on to are counted: a reset by the guest is over
 * and a quiesce done only when there are none. So no memory of a guest is
 * touched after it has taken it back.
 */
#ifndef KVM_AGENT_VIRTIO_TRANSPORT_H
#define KVM_AGENT_VIRTIO_TRANSPORT_H

#include "format/base/loop.h"
#include "kvm-agent/pci/msix.h"
#include "kvm-agent/virtio/queue.h"
#include "kvm-agent/vm/doorbells.h"

#define VIRTIO_QUEUES_MAX         32u
#define VIRTIO_CONFIG_MAX         256u

#define VIRTIO_F_INDIRECT         (1ULL << 28)
#define VIRTIO_F_EVENT_INDEX      (1ULL << 29)
#define VIRTIO_F_VERSION_1        (1ULL << 32)

#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER      0x02u
#define VIRTIO_STATUS_DRIVER_OK   0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED      0x80u

/* The machine around a device; all outlives it. */
struct virtio_host {
	const struct memory *memory;
	struct pci_bus *pci;
	struct loop *loop; /* the I/O thread's */
	struct interrupts *interrupts;
	struct doorbells *doorbells; /* NULL: notifications come by the bus */
	/* A device stopped because its driver broke a rule; may be NULL. Any
	 * thread, with the device's lock held. */
	void (*broken)(const struct virtio_host *host, const char *device,
		       unsigned instance, const char *why);
};

struct virtio;

struct virtio_class {
	/* reset, save and restore are virtio_reset(), virtio_save(),
	 * virtio_restore(). */
	struct device_ops device;
	uint16_t id; /* virtio's number of the kind of device */
	uint32_t pci_class;
	unsigned config_length; /* at most VIRTIO_CONFIG_MAX */
	/* All of the device's own configuration; NULL: it has none. */
	void (*config_read)(struct virtio *virtio, void *config);
	/* Within its configuration; NULL: nothing there can be written. */
	void (*config_write)(struct virtio *virtio, unsigned offset,
			     const void *data, unsigned length);
	/* DRIVER_OK: features are settled; may be NULL. Also after a restore
	 * of such a device. */
	void (*started)(struct virtio *virtio);
	/* The queue has been notified, or may have something: I/O thread. */
	void (*serve)(struct virtio *virtio, unsigned queue);
	/* No request is under way: all that is of this driver goes; may be
	 * NULL. */
	void (*reset)(struct virtio *virtio);
	/* The device's own fields; NULL where it has none. A state has
	 * state_size bytes; check is after section_done(), apply can't fail. */
	size_t state_size;
	void (*save)(struct virtio *virtio, struct state_writer *out);
	void (*take)(struct virtio *virtio, struct section_reader *in,
		     void *state);
	int (*check)(struct virtio *virtio, const void *state, struct err *err);
	void (*apply)(struct virtio *virtio, const void *state);
};

struct virtio_queue {
	struct virtqueue ring;
	uint16_t vector;
	unsigned budget; /* chains until others have their turn */
	struct virtio *virtio;
	struct loop_watch doorbell; /* fd: -1 without */
};

struct virtio {
	struct device device;
	const struct virtio_class *class;
	const struct virtio_host *host;
	struct pci_function function;
	struct msix msix;
	unsigned pci_window; /* the capability with a window into the BAR */
	uint64_t kicked;     /* queues to look at, a bit each; atomic */
	struct loop_work look;
	struct loop_work settle;

	bool quiesced; /* atomic */
	bool cut;      /* atomic; by virtio_cut() */
	/* After `lock`, where both are held; never held for long. */
	pthread_mutex_t quiet_lock;
	void (*quiet)(void *arg); /* to be called when nothing is under way */
	void *quiet_arg;

	pthread_mutex_t lock; /* of all below */
	uint64_t offered;
	uint64_t accepted; /* what the driver has chosen, so far */
	uint32_t offered_select, accepted_select;
	uint16_t config_vector;
	uint16_t queue_select;
	uint8_t status;
	uint8_t generation;
	uint8_t isr;
	bool resetting; /* asked for, and requests are under way */
	unsigned under_way;
	unsigned queue_count;
	struct virtio_queue queues[VIRTIO_QUEUES_MAX];
};

/* Puts it onto the bus. `features` are the device's own; `sizes` of queues are
 * powers of two. Before the loop runs. On failure nothing is left. */
int virtio_init(struct virtio *virtio, const struct virtio_class *class,
		unsigned instance, const struct virtio_host *host,
		uint64_t features, unsigned queue_count, unsigned size,
		struct err *err);
/* The loop doesn't run any more, nothing is under way. */
void virtio_release(struct virtio *virtio);

/* ---- for classes; the lock is held ---- */

static inline bool virtio_has(const struct virtio *virtio, uint64_t feature)
{
	return virtio->accepted & feature;
}
/* The driver runs, and the device may do what its queues say. */
bool virtio_is_live(const struct virtio *virtio);
/* As virtqueue_pop(); false also when this queue has had its share, and then
 * it comes again later. A broken chain stops the device. */
bool virtio_pop(struct virtio *virtio, unsigned queue,
		struct virtqueue_chain *chain);
/* The chain that was popped last comes again with the next pop; then the one
 * before it. */
void virtio_unpop(struct virtio *virtio, unsigned queue);
/* A new share, for who pops by himself and not when he is told to serve. */
void virtio_refill(struct virtio *virtio, unsigned queue);
void virtio_push(struct virtio *virtio, unsigned queue, uint16_t head,
		 uint32_t written);
void virtio_push_all(struct virtio *virtio, unsigned queue,
		     const struct virtqueue_used *used, unsigned count);
/* As virtqueue_listen(): true: pop again. */
bool virtio_listen(struct virtio *virtio, unsigned queue);
/* Once after each batch of pushes. */
void virtio_signal(struct virtio *virtio, unsigned queue);
/* The driver broke a rule: it must reset the device to go on. */
void virtio_break(struct virtio *virtio, const char *why);
/* The configuration has changed. */
void virtio_config_changed(struct virtio *virtio);
/* A reset waits for what is under way: what has not begun of it is to end as it
 * is. It may be so from any moment on. */
bool virtio_is_ending(const struct virtio *virtio);
/* A chain is held from here on; no longer (I/O thread). */
void virtio_hold(struct virtio *virtio);
void virtio_let_go(struct virtio *virtio);

/* ---- for the machine ---- */

/* Any thread: serve this queue soon. */
void virtio_look(struct virtio *virtio, unsigned queue);

/*
 * Nothing more is taken from the queues, and when nothing is under way `done`
 * is called: by the I/O thread, and it may not call the device. No vCPU runs.
 * Then it can be saved, restored and reset, until it is resumed.
 *
 * Neither call waits for the device, which may be held up by a disk that hangs.
 */
void virtio_quiesce(struct virtio *virtio, void (*done)(void *arg), void *arg);
/* It is quiesced, or about to be, for a reset: of what is under way nothing more
 * is begun. */
void virtio_cut(struct virtio *virtio);
/* Looks at each queue: a notification may have been lost. Also while something
 * is under way still; `done` is not called any more. */
void virtio_resume(struct virtio *virtio);

/* For device_ops. Nothing is under way. */
void virtio_reset(struct device *device);
void virtio_save(struct device *device, struct state_writer *out);
int virtio_restore(struct device *device, struct section_reader *in,
		   struct err *err);

/* ---- transport_pci.c, transport_state.c ---- */

#define VIRTIO_BAR_SIZE    0x8000u
#define VIRTIO_BAR_COMMON  0x0000u
#define VIRTIO_BAR_ISR     0x1000u
#define VIRTIO_BAR_CONFIG  0x2000u
#define VIRTIO_BAR_NOTIFY  0x3000u /* four bytes a queue */
#define VIRTIO_BAR_TABLE   0x4000u
#define VIRTIO_BAR_PENDING 0x5000u

/* Registers of the common configuration; any offset, any length. */
void virtio_common_read(struct virtio *virtio, uint64_t offset, void *data,
			unsigned length);
void virtio_common_write(struct virtio *virtio, uint64_t offset,
			 const void *data, unsigned length);
/* With the lock, nothing under way: as after power-on, but for PCI. */
void virtio_clear(struct virtio *virtio);

int virtio_pci_attach(struct virtio *virtio, struct err *err);

#endif
