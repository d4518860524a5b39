/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sorted array of ranges under a reader-writer lock. A PC has some dozens of
 * ranges and they change when a guest programs a BAR: nothing finer is needed.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "kvm-agent/vm/bus.h"

int bus_init(struct bus *bus, uint64_t end, struct err *err)
{
	int r = pthread_rwlock_init(&bus->lock, NULL);

	if (r)
		return err_sys(err, -r, "lock of a bus");
	bus->end = end;
	bus->count = 0;
	return 0;
}

void bus_release(struct bus *bus)
{
	pthread_rwlock_destroy(&bus->lock);
	bus->count = 0;
}

/* The first range that starts past `address`. */
static unsigned range_after(const struct bus *bus, uint64_t address)
{
	unsigned low = 0, high = bus->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (bus->ranges[middle].start > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static int insert(struct bus *bus, const struct bus_range *range,
		  struct err *err)
{
	unsigned at = range_after(bus, range->start);
	const struct bus_range *before = at ? &bus->ranges[at - 1] : NULL;

	if ((before && range->start - before->start < before->length) ||
	    (at < bus->count &&
	     bus->ranges[at].start - range->start < range->length))
		return err_set(err, -EEXIST,
			       "the range at 0x%" PRIx64 " of 0x%" PRIx64
			       " overlaps another one",
			       range->start, range->length);
	if (bus->count == BUS_RANGES_MAX)
		return err_set(err, -ENOSPC, "more than %u ranges on a bus",
			       BUS_RANGES_MAX);
	memmove(&bus->ranges[at + 1], &bus->ranges[at],
		(bus->count - at) * sizeof(bus->ranges[0]));
	bus->ranges[at] = *range;
	bus->count++;
	return 0;
}

int bus_add(struct bus *bus, uint64_t start, uint64_t length,
	    const struct bus_ops *ops, void *device, struct err *err)
{
	struct bus_range range = { start, length, ops, device };
	int r;

	if (!length || start >= bus->end || length > bus->end - start)
		return err_set(err, -EINVAL,
			       "the range at 0x%" PRIx64 " of 0x%" PRIx64
			       " is not within the bus",
			       start, length);
	pthread_rwlock_wrlock(&bus->lock);
	r = insert(bus, &range, err);
	pthread_rwlock_unlock(&bus->lock);
	return r;
}

void bus_remove(struct bus *bus, uint64_t start)
{
	unsigned at;

	pthread_rwlock_wrlock(&bus->lock);
	at = range_after(bus, start);
	if (at && bus->ranges[at - 1].start == start) {
		memmove(&bus->ranges[at - 1], &bus->ranges[at],
			(bus->count - at) * sizeof(bus->ranges[0]));
		bus->count--;
	}
	pthread_rwlock_unlock(&bus->lock);
}

/* Who has all of it; false: nobody. */
static bool find(struct bus *bus, uint64_t address, unsigned length,
		 struct bus_range *out)
{
	bool found = false;
	unsigned at;

	pthread_rwlock_rdlock(&bus->lock);
	at = range_after(bus, address);
	if (at) {
		const struct bus_range *range = &bus->ranges[at - 1];
		uint64_t offset = address - range->start;

		found = offset < range->length &&
			length <= range->length - offset;
		*out = *range;
	}
	pthread_rwlock_unlock(&bus->lock);
	return found;
}

bool bus_read(struct bus *bus, uint64_t address, void *data, unsigned length)
{
	struct bus_range range;

	memset(data, 0xff, length);
	if (!find(bus, address, length, &range))
		return false;
	range.ops->read(range.device, address - range.start, data, length);
	return true;
}

bool bus_write(struct bus *bus, uint64_t address, const void *data,
	       unsigned length)
{
	struct bus_range range;

	if (!find(bus, address, length, &range))
		return false;
	range.ops->write(range.device, address - range.start, data, length);
	return true;
}
