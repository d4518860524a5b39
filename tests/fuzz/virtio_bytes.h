/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest whose every step is the input's: registers by BAR and by
 * configuration space, RAM, chains that are half right, notifications, and the
 * machine's own resets, saves and restores in between. For the targets of
 * virtio devices; each has one device in slot 1.
 */
#ifndef TESTS_FUZZ_VIRTIO_BYTES_H
#define TESTS_FUZZ_VIRTIO_BYTES_H

#include "format/base/bytes.h"
#include "tests/fuzz/fix.h"
#include "tests/rig/virtio_guest.h"

#define BYTES_STEPS_MAX 200u

struct bytes_guest {
	struct guest guest;
	struct driver driver;
	struct virtio *virtio;
	struct reader in;
	bool started;
};

static inline uint64_t bytes_take(struct bytes_guest *guest, unsigned size)
{
	uint64_t value = 0;
	const void *at = reader_take(&guest->in, size);

	if (at)
		memcpy(&value, at, size);
	else
		guest->in.left = 0;
	return value;
}

static inline void bytes_save(struct bytes_guest *guest,
			      struct state_writer *out)
{
	must(state_begin(out, NULL) == 0);
	device_save(&guest->virtio->device, out);
	must(state_finish(out, NULL) == 0);
}

/* What it is in can be saved, and restored, and is the same. */
static inline void bytes_save_restore(struct bytes_guest *guest)
{
	struct state_writer first, second;
	struct state state;

	if (guest->virtio->under_way || guest->virtio->resetting)
		return;
	bytes_save(guest, &first);
	must(state_open(&state, first.bytes.data, first.bytes.size, NULL) == 0);
	must(device_restore(&guest->virtio->device, &state, NULL) == 0);
	bytes_save(guest, &second);
	must(first.bytes.size == second.bytes.size);
	must(!memcmp(first.bytes.data, second.bytes.data, first.bytes.size));
	state_release(&first);
	state_release(&second);
}

/* A state with bytes of the input's in it: refused, or then it can be saved. */
static inline void bytes_restore_changed(struct bytes_guest *guest)
{
	struct state_writer saved;
	struct state state;

	if (guest->virtio->under_way || guest->virtio->resetting)
		return;
	bytes_save(guest, &saved);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = bytes_take(guest, 2) % (saved.bytes.size - 56);

		saved.bytes.data[48 + at] ^= (uint8_t)bytes_take(guest, 1);
	}
	fix_sum(saved.bytes.data, saved.bytes.size - 8);
	if (state_open(&state, saved.bytes.data, saved.bytes.size, NULL) == 0 &&
	    device_restore(&guest->virtio->device, &state, NULL) == 0)
		bytes_save_restore(guest);
	state_release(&saved);
}

/* One that a driver might put in, but for what the input makes of it. */
static inline void bytes_chain(struct bytes_guest *guest)
{
	struct driver *driver = &guest->driver;
	unsigned queue = (unsigned)bytes_take(guest, 1) % driver->queue_count;
	unsigned count = 1 + (unsigned)bytes_take(guest, 1) % 6;
	struct piece pieces[6];
	bool indirect = bytes_take(guest, 1) & 1;

	if (!guest->started || !driver->rings[queue].size)
		return;
	for (unsigned i = 0; i < count; i++) {
		uint64_t at = bytes_take(guest, 2);

		pieces[i] = (struct piece){
			.address = 16 * at,
			.length = (uint32_t)bytes_take(guest, 2),
			.write = bytes_take(guest, 1) & 1,
		};
	}
	if (indirect && guest->guest.next_page < GUEST_RAM / 2)
		driver_add_indirect(driver, queue, pieces, count);
	else
		driver_add(driver, queue, pieces, count);
	driver_notify(driver, queue);
}

static inline void bytes_ram(struct bytes_guest *guest)
{
	uint64_t at = bytes_take(guest, 3) % (GUEST_RAM - 256);
	uint64_t size = bytes_take(guest, 1);
	uint8_t *to = guest_at(&guest->guest, at);

	for (uint64_t i = 0; i < size; i++)
		to[i] = (uint8_t)bytes_take(guest, 1);
}

static inline void bytes_access(struct bytes_guest *guest, uint64_t base,
				uint64_t within)
{
	uint64_t at = base + bytes_take(guest, 2) % within;
	unsigned how = (unsigned)bytes_take(guest, 1);
	unsigned length = 1 + how % 8;
	uint64_t value = bytes_take(guest, length);

	if (how & 0x80)
		(void)guest_read(&guest->guest, at, length);
	else
		guest_write(&guest->guest, at, value, length);
}

static inline void bytes_step(struct bytes_guest *guest)
{
	struct driver *driver = &guest->driver;

	switch (bytes_take(guest, 1) % 12) {
	case 0:
		bytes_access(guest, driver->common, VIRTIO_BAR_SIZE);
		break;
	case 1:
		bytes_access(guest, driver->common, 64);
		break;
	case 2:
		bytes_access(guest, LAYOUT_ECAM + 0x8000, 256);
		break;
	case 3:
		guest->started =
			driver_start(driver, bytes_take(guest, 8)) == 0;
		break;
	case 4:
		guest->started = driver_start(driver, ~0ULL) == 0;
		break;
	case 5:
		bytes_ram(guest);
		break;
	case 6:
		bytes_save_restore(guest);
		break;
	case 7:
		bytes_restore_changed(guest);
		break;
	case 8:
		if (guest->virtio->under_way)
			break;
		virtio_reset(&guest->virtio->device);
		(void)driver_find(driver, &guest->guest, 1);
		guest->started = false;
		break;
	case 9:
		driver_notify(driver, (unsigned)bytes_take(guest, 1) %
					      driver->queue_count);
		break;
	default:
		bytes_chain(guest);
		break;
	}
	/* One page for each queue's rings: enough for so many starts. */
	if (guest->guest.next_page > GUEST_RAM / 2)
		guest->guest.next_page = 0x10000;
	guest_settle(&guest->guest);
}

static inline void bytes_begin(struct bytes_guest *guest)
{
	must(guest_init(&guest->guest, NULL) == 0);
}

/* After the device is there; `also` is the target's own step, or NULL. */
static inline void bytes_run(struct bytes_guest *guest, struct virtio *virtio,
			     const uint8_t *data, size_t size,
			     void (*also)(struct bytes_guest *guest))
{
	guest->virtio = virtio;
	guest->in = (struct reader){ data, size };
	must(driver_find(&guest->driver, &guest->guest, 1) == 0);
	for (unsigned i = 0; guest->in.left && i < BYTES_STEPS_MAX; i++) {
		bytes_step(guest);
		if (also)
			also(guest);
	}
}

#endif
