/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring that is the input: descriptors, an indirect table, the driver's area;
 * and between two pops the guest writes more of it. What is handed out lies in
 * RAM, every byte of it.
 */
#include "format/base/bytes.h"
#include "kvm-agent/virtio/queue.h"
#include "tests/fuzz/fix.h"

#define RAM         (2 * MIB)
#define SIZE        16u
#define DESCRIPTORS 0x1000u
#define DRIVER      0x2000u
#define DEVICE      0x3000u
#define TABLE       0x4000u

static struct memory memory;

static void must_be_ram(const struct iovec *segment)
{
	const uint8_t *host = memory.regions[0].host;
	const uint8_t *at = segment->iov_base;

	must(at >= host && segment->iov_len && segment->iov_len <= RAM);
	must((size_t)(at - host) <= RAM - segment->iov_len);
}

static void use_chain(struct virtqueue *queue,
		      const struct virtqueue_chain *chain)
{
	uint8_t buffer[64];
	uint64_t readable = 0, writable = 0;

	must(chain->count && chain->count <= VIRTQUEUE_SEGMENTS_MAX);
	must(chain->readable_count <= chain->count);
	for (unsigned i = 0; i < chain->count; i++) {
		must_be_ram(&chain->segments[i]);
		if (i < chain->readable_count)
			readable += chain->segments[i].iov_len;
		else
			writable += chain->segments[i].iov_len;
	}
	must(readable == chain->readable_bytes);
	must(writable == chain->writable_bytes);
	(void)chain_read(chain, 3, buffer, sizeof(buffer));
	virtqueue_push(queue, chain->head,
		       (uint32_t)chain_write(chain, 1, "written", 7));
	(void)virtqueue_wants_interrupt(queue);
}

/* A place, how many bytes, and they. */
static bool guest_writes(struct reader *in)
{
	static const uint32_t places[] = { DESCRIPTORS, DRIVER, TABLE, 0 };
	const uint8_t *head = reader_take(in, 3);
	const uint8_t *bytes;

	if (!head)
		return false;
	bytes = reader_take(in, head[2] & 63);
	if (!bytes)
		return false;
	memcpy(memory.regions[0].host + places[head[0] & 3] + head[1], bytes,
	       head[2] & 63);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader in = { data, size };
	struct virtqueue queue = { .memory = &memory, .size_max = SIZE };
	struct virtqueue_chain chain;
	const uint8_t *flags;

	if (!memory.count)
		must(memory_init(&memory, RAM, NULL) == 0);
	memset(memory.regions[0].host, 0, 0x6000);
	flags = reader_take(&in, 1);
	virtqueue_reset(&queue);
	queue.descriptors = gpa_make(DESCRIPTORS);
	queue.driver = gpa_make(DRIVER);
	queue.device = gpa_make(DEVICE);
	queue.indirect = flags && *flags & 1;
	queue.event_index = flags && *flags & 2;
	must(virtqueue_enable(&queue) == 0);
	while (guest_writes(&in)) {
		/* As many as a device takes at once. */
		for (unsigned i = 0; i < 32; i++) {
			if (virtqueue_pop(&queue, &chain) <= 0)
				break;
			use_chain(&queue, &chain);
		}
		(void)virtqueue_listen(&queue);
		virtqueue_hush(&queue);
	}
	return 0;
}
