/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split ring. A walk over a chain is bounded by the segments that it may
 * have, so loops end by themselves; an indirect table comes last in a chain, is
 * looked up once, may not hold another, and its entries are copied one by one
 * as the ring's are.
 */
#include <errno.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/virtio/queue.h"

#define FLAG_NEXT     1u
#define FLAG_WRITE    2u
#define FLAG_INDIRECT 4u

#define NO_INTERRUPT  1u /* in the flags of the driver's area */
#define NO_NOTIFY     1u /* and of the device's */

struct descriptor {
	le64 address;
	le32 length;
	le16 flags;
	le16 next;
};
_Static_assert(sizeof(struct descriptor) == 16, "virtio 1.x, 2.7.5");

struct used_element {
	le32 id;
	le32 length;
};

/* What a guest may change: one read, and the copy is what counts. */
static void copy_once(void *to, const void *from, size_t size)
{
	memcpy(to, from, size);
	__asm__ volatile("" ::: "memory");
}

static uint16_t load16(const uint8_t *at)
{
	return __atomic_load_n((const uint16_t *)(const void *)at,
			       __ATOMIC_SEQ_CST);
}

/* What came before it is seen with it. */
static void store16(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, value, __ATOMIC_RELEASE);
}

/* And a load that follows is not done before it. */
static void store16_before_load(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, value, __ATOMIC_SEQ_CST);
}

/* Offsets in the areas: flags, index, ring, and the other side's event. */
static uint8_t *used_event(const struct virtqueue *queue)
{
	return queue->driver_area + 4 + (size_t)2 * queue->size;
}

static uint8_t *available_event(const struct virtqueue *queue)
{
	return queue->device_area + 4 +
	       sizeof(struct used_element) * queue->size;
}

void virtqueue_reset(struct virtqueue *queue)
{
	*queue = (struct virtqueue){ .memory = queue->memory,
				     .size_max = queue->size_max,
				     .size = queue->size_max };
}

int virtqueue_enable(struct virtqueue *queue)
{
	uint64_t size = queue->size;
	void *descriptors, *driver, *device;

	if (!is_power_of_two(size) || size > queue->size_max)
		return -EINVAL;
	if (queue->descriptors.value % 16 || queue->driver.value % 2 ||
	    queue->device.value % 4)
		return -EFAULT;
	descriptors = memory_at(queue->memory, queue->descriptors,
				size * sizeof(struct descriptor));
	driver = memory_at(queue->memory, queue->driver, 6 + 2 * size);
	device = memory_at(queue->memory, queue->device,
			   6 + sizeof(struct used_element) * size);
	if (!descriptors || !driver || !device)
		return -EFAULT;
	queue->descriptor_area = descriptors;
	queue->driver_area = driver;
	queue->device_area = device;
	queue->enabled = true;
	return 0;
}

static int break_queue(struct virtqueue *queue, const char *why)
{
	queue->broken = why;
	return -EBADMSG;
}

static const char *add_segment(const struct memory *memory,
			       struct virtqueue_chain *chain,
			       const struct descriptor *descriptor)
{
	uint32_t length = le32_get(descriptor->length);
	bool writable = le16_get(descriptor->flags) & FLAG_WRITE;
	void *at = memory_at(memory, gpa_make(le64_get(descriptor->address)),
			     length);

	if (!length)
		return "a segment without bytes";
	if (!at)
		return "a segment that is not in RAM";
	if (chain->count == VIRTQUEUE_SEGMENTS_MAX)
		return "a chain that is too long, or a loop";
	if (!writable && chain->count > chain->readable_count)
		return "a segment to read behind one to write";
	chain->segments[chain->count++] = (struct iovec){ at, length };
	if (writable) {
		chain->writable_bytes += length;
	} else {
		chain->readable_count++;
		chain->readable_bytes += length;
	}
	if (chain->writable_bytes > UINT32_MAX)
		return "a chain of more than 4 GiB";
	return NULL;
}

/* Along `next` in a table of `size` descriptors, from `at`. An indirect table
 * ends the walk and is left in `indirect`; NULL: there may be none. */
static const char *walk_table(const struct memory *memory,
			      struct virtqueue_chain *chain,
			      const uint8_t *table, uint32_t size, uint32_t at,
			      struct descriptor *indirect)
{
	struct descriptor descriptor;
	const char *why;

	for (;;) {
		if (at >= size)
			return "a descriptor past the table's end";
		copy_once(&descriptor, table + (size_t)at * sizeof(descriptor),
			  sizeof(descriptor));
		if (le16_get(descriptor.flags) & FLAG_INDIRECT) {
			if (!indirect)
				return "an indirect table where none may be";
			*indirect = descriptor;
			return NULL;
		}
		why = add_segment(memory, chain, &descriptor);
		if (why || !(le16_get(descriptor.flags) & FLAG_NEXT))
			return why;
		at = le16_get(descriptor.next);
	}
}

static const char *walk_indirect(struct virtqueue *queue,
				 struct virtqueue_chain *chain,
				 const struct descriptor *descriptor)
{
	uint32_t length = le32_get(descriptor->length);
	const uint8_t *table;

	if (!queue->indirect)
		return "an indirect table that was not negotiated";
	if (le16_get(descriptor->flags) & FLAG_NEXT)
		return "an indirect table with a successor";
	if (!length || length % sizeof(struct descriptor))
		return "an indirect table of an odd length";
	table = memory_at(queue->memory,
			  gpa_make(le64_get(descriptor->address)), length);
	if (!table)
		return "an indirect table that is not in RAM";
	return walk_table(queue->memory, chain, table,
			  length / (uint32_t)sizeof(struct descriptor), 0,
			  NULL);
}

/* Behind descriptors of the ring there may be one indirect table: virtio 1.x,
 * 2.7.5.3.2, has devices take that, though few drivers do it. */
static const char *walk(struct virtqueue *queue, struct virtqueue_chain *chain)
{
	struct descriptor indirect = { 0 };
	const char *why;

	if (chain->head >= queue->size)
		return "a head past the table's end";
	why = walk_table(queue->memory, chain, queue->descriptor_area,
			 queue->size, chain->head, &indirect);
	if (why || !(le16_get(indirect.flags) & FLAG_INDIRECT))
		return why;
	return walk_indirect(queue, chain, &indirect);
}

/* How many wait, or -EBADMSG. */
static int available(struct virtqueue *queue)
{
	uint16_t index = load16(queue->driver_area + 2);
	uint16_t count = (uint16_t)(index - queue->next_available);

	if (count > queue->size)
		return break_queue(queue, "an index that is ahead of its ring");
	return count;
}

int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain)
{
	const uint8_t *entry;
	const char *why;
	int count;

	if (queue->broken)
		return -EBADMSG;
	if (!queue->enabled)
		return 0;
	count = available(queue);
	if (count <= 0)
		return count;
	entry = queue->driver_area + 4 +
		(size_t)2 * (queue->next_available & (queue->size - 1));
	chain->head = load16(entry);
	chain->count = chain->readable_count = 0;
	chain->readable_bytes = chain->writable_bytes = 0;
	why = walk(queue, chain);
	if (why)
		return break_queue(queue, why);
	queue->next_available++;
	return 1;
}

void virtqueue_unpop(struct virtqueue *queue)
{
	queue->next_available--;
}

void virtqueue_push_all(struct virtqueue *queue,
			const struct virtqueue_used *used, unsigned count)
{
	uint8_t *ring = queue->device_area + 4;

	for (unsigned i = 0; i < count; i++) {
		struct used_element element = { le32_make(used[i].head),
						le32_make(used[i].written) };
		unsigned at = queue->next_used++ & (queue->size - 1);

		memcpy(ring + sizeof(element) * at, &element, sizeof(element));
	}
	store16(queue->device_area + 2, queue->next_used);
}

void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written)
{
	struct virtqueue_used used = { head, written };

	virtqueue_push_all(queue, &used, 1);
}

/* Is `event` among the last steps, from `old` to `new`? */
static bool passed(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

bool virtqueue_wants_interrupt(struct virtqueue *queue)
{
	bool wants;

	if (!queue->enabled || queue->signalled == queue->next_used)
		return false;
	/* What was pushed is seen before we look at what is wanted. */
	store16_before_load(queue->device_area + 2, queue->next_used);
	if (queue->event_index)
		wants = passed(load16(used_event(queue)), queue->next_used,
			       queue->signalled);
	else
		wants = !(load16(queue->driver_area) & NO_INTERRUPT);
	queue->signalled = queue->next_used;
	return wants;
}

void virtqueue_hush(struct virtqueue *queue)
{
	/* With an event index, the last one that was asked for has come. */
	if (queue->enabled && !queue->event_index)
		store16(queue->device_area, NO_NOTIFY);
}

bool virtqueue_listen(struct virtqueue *queue)
{
	if (!queue->enabled || queue->broken)
		return false;
	if (queue->event_index)
		store16_before_load(available_event(queue),
				    queue->next_available);
	else
		store16_before_load(queue->device_area, 0);
	/* What is wanted is seen before we look at what came. A broken index
	 * is found by the pop that follows. */
	return load16(queue->driver_area + 2) != queue->next_available;
}

/* ---- bytes of segments ---- */

static size_t copy(const struct iovec *segments, unsigned count,
		   uint64_t offset, uint8_t *out, const uint8_t *in,
		   size_t length)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < length; i++) {
		uint8_t *base = segments[i].iov_base;
		size_t n;

		if (offset >= segments[i].iov_len) {
			offset -= segments[i].iov_len;
			continue;
		}
		n = (size_t)min_u64(segments[i].iov_len - offset,
				    length - done);
		if (out)
			copy_once(out + done, base + offset, n);
		else
			memcpy(base + offset, in + done, n);
		done += n;
		offset = 0;
	}
	return done;
}

size_t segments_copy_out(const struct iovec *segments, unsigned count,
			 uint64_t offset, void *buffer, size_t length)
{
	return copy(segments, count, offset, buffer, NULL, length);
}

size_t segments_copy_in(const struct iovec *segments, unsigned count,
			uint64_t offset, const void *buffer, size_t length)
{
	return copy(segments, count, offset, NULL, buffer, length);
}

unsigned segments_cut(const struct iovec *segments, unsigned count,
		      uint64_t from, uint64_t length, struct iovec *out)
{
	unsigned made = 0;

	for (unsigned i = 0; i < count && length; i++) {
		uint64_t n;

		if (from >= segments[i].iov_len) {
			from -= segments[i].iov_len;
			continue;
		}
		n = min_u64(segments[i].iov_len - from, length);
		out[made++] =
			(struct iovec){ (uint8_t *)segments[i].iov_base + from,
					(size_t)n };
		length -= n;
		from = 0;
	}
	return made;
}

size_t chain_read(const struct virtqueue_chain *chain, uint64_t offset,
		  void *buffer, size_t length)
{
	return segments_copy_out(chain->segments, chain->readable_count, offset,
				 buffer, length);
}

size_t chain_write(const struct virtqueue_chain *chain, uint64_t offset,
		   const void *buffer, size_t length)
{
	return segments_copy_in(chain->segments + chain->readable_count,
				chain->count - chain->readable_count, offset,
				buffer, length);
}
