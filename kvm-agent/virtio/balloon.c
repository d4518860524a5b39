/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon. A page that is given back is not remembered: the guest may
 * use it again at any time, told or untold, and finds zeros in it. So the queue
 * for taking pages back out of the balloon has nothing to do here.
 *
 * A call to the host is the costly part: a run of pages is one call, a chain
 * may name so many pages and no more, and after a turn of them other devices
 * are served first.
 *
 * Drivers disagree on the number of the queue for reports where the queues
 * between are not there, so that each one behind the first two takes reports.
 */
#include <errno.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/virtio/balloon.h"

#define QUEUE_SIZE       128u
#define QUEUES           5u
#define INFLATE          0u
#define DEFLATE          1u

#define F_DEFLATE_ON_OOM (1ULL << 2)
#define F_PAGE_POISON    (1ULL << 4)
#define F_REPORTING      (1ULL << 5)

#define NUMBERS_MAX      1024u /* of pages in a chain; the rest is left alone */
#define TURN             1024u /* pages, or pieces, until others have theirs */

struct balloon_config {
	le32 target, actual, hint, poison;
};
_Static_assert(sizeof(struct balloon_config) == 16, "virtio 1.x, 5.5.4");

static struct balloon *balloon_of(struct virtio *virtio)
{
	return container_of(virtio, struct balloon, virtio);
}

static uint32_t ram_pages(const struct balloon *balloon)
{
	return (uint32_t)min_u64(balloon->virtio.host->memory->size_bytes /
					 BALLOON_PAGE_SIZE,
				 UINT32_MAX);
}

/* ---- pages by their numbers ---- */

static bool give(const struct memory *memory, uint64_t page, uint64_t count)
{
	void *at = memory_at(memory, gpa_make(page * BALLOON_PAGE_SIZE),
			     count * BALLOON_PAGE_SIZE);

	if (at)
		(void)memory_discard(memory, at, count * BALLOON_PAGE_SIZE);
	return at;
}

/* Numbers that are no RAM are left out. How many there were. */
static unsigned inflate(const struct memory *memory,
			const struct virtqueue_chain *chain)
{
	le32 numbers[NUMBERS_MAX];
	size_t count = chain_read(chain, 0, numbers, sizeof(numbers)) /
		       sizeof(numbers[0]);

	for (size_t from = 0, end; from < count; from = end) {
		uint64_t page = le32_get(numbers[from]);

		for (end = from + 1; end < count; end++) {
			if (le32_get(numbers[end]) != page + (end - from))
				break;
		}
		if (give(memory, page, end - from))
			continue;
		/* Not all of it is: each for itself. */
		for (size_t i = from; i < end; i++)
			(void)give(memory, page + (i - from), 1);
	}
	return (unsigned)count;
}

/* ---- pieces that were freed ---- */

/* How many there were. */
static unsigned take_report(const struct balloon *balloon,
			    const struct virtqueue_chain *chain)
{
	/* It relies on what it has filled its free pages with. */
	if (virtio_has(&balloon->virtio, F_PAGE_POISON) && balloon->poison)
		return 0;
	for (unsigned i = chain->readable_count; i < chain->count; i++)
		(void)memory_discard(balloon->virtio.host->memory,
				     chain->segments[i].iov_base,
				     chain->segments[i].iov_len);
	return chain->count - chain->readable_count;
}

/* ---- the device ---- */

/* How much work it was. */
static unsigned take_chain(const struct balloon *balloon, unsigned queue,
			   const struct virtqueue_chain *chain)
{
	if (queue == INFLATE)
		return inflate(balloon->virtio.host->memory, chain);
	if (queue != DEFLATE && virtio_has(&balloon->virtio, F_REPORTING))
		return take_report(balloon, chain);
	return 0;
}

static void serve(struct virtio *virtio, unsigned queue)
{
	struct balloon *balloon = balloon_of(virtio);
	struct virtqueue_chain chain;
	unsigned done = 0;

	do {
		while (done < TURN && virtio_pop(virtio, queue, &chain)) {
			done += take_chain(balloon, queue, &chain);
			virtio_push(virtio, queue, chain.head, 0);
		}
	} while (done < TURN && virtio_listen(virtio, queue));
	if (done >= TURN)
		virtio_look(virtio, queue);
	virtio_signal(virtio, queue);
}

static void config_read(struct virtio *virtio, void *config)
{
	const struct balloon *balloon = balloon_of(virtio);
	struct balloon_config fields = {
		.target = le32_make(balloon->target),
		.actual = le32_make(balloon->actual),
		.poison = le32_make(balloon->poison),
	};

	memcpy(config, &fields, sizeof(fields));
}

static void config_write(struct virtio *virtio, unsigned offset,
			 const void *data, unsigned length)
{
	struct balloon *balloon = balloon_of(virtio);
	le32 value;

	if (length != sizeof(value))
		return;
	memcpy(&value, data, sizeof(value));
	if (offset == offsetof(struct balloon_config, actual))
		balloon->actual = le32_get(value);
	if (offset == offsetof(struct balloon_config, poison))
		balloon->poison = le32_get(value);
}

/* The host's wish stays: the next driver hears of it. */
static void reset(struct virtio *virtio)
{
	struct balloon *balloon = balloon_of(virtio);

	balloon->actual = balloon->poison = 0;
}

void balloon_set_target(struct balloon *balloon, uint64_t keep_bytes)
{
	uint32_t all = ram_pages(balloon);

	pthread_mutex_lock(&balloon->virtio.lock);
	balloon->target =
		all -
		(uint32_t)min_u64(all, div_up(keep_bytes, BALLOON_PAGE_SIZE));
	virtio_config_changed(&balloon->virtio);
	pthread_mutex_unlock(&balloon->virtio.lock);
}

uint64_t balloon_bytes(struct balloon *balloon)
{
	uint32_t pages;

	pthread_mutex_lock(&balloon->virtio.lock);
	pages = balloon->actual;
	pthread_mutex_unlock(&balloon->virtio.lock);
	return min_u64(pages, ram_pages(balloon)) * BALLOON_PAGE_SIZE;
}

/* ---- its state ---- */

struct balloon_state {
	uint32_t target, actual, poison;
};

static void save(struct virtio *virtio, struct state_writer *out)
{
	const struct balloon *balloon = balloon_of(virtio);

	section_put_u32(out, balloon->target);
	section_put_u32(out, balloon->actual);
	section_put_u32(out, balloon->poison);
}

static void take(struct virtio *virtio, struct section_reader *in, void *state)
{
	struct balloon_state *saved = state;

	(void)virtio;
	saved->target = section_get_u32(in);
	saved->actual = section_get_u32(in);
	saved->poison = section_get_u32(in);
}

static int check(struct virtio *virtio, const void *state, struct err *err)
{
	const struct balloon_state *saved = state;

	if (saved->target > ram_pages(balloon_of(virtio)))
		return err_set(err, -EBADMSG,
			       "the saved balloon wants %u pages, more than "
			       "there are",
			       saved->target);
	return 0;
}

static void apply(struct virtio *virtio, const void *state)
{
	struct balloon *balloon = balloon_of(virtio);
	const struct balloon_state *saved = state;

	balloon->target = saved->target;
	balloon->actual = saved->actual;
	balloon->poison = saved->poison;
}

static const struct virtio_class balloon_class = {
	.device = { "virtio-balloon", 1, virtio_reset, virtio_save,
		    virtio_restore },
	.id = 5,
	.pci_class = 0x00ff00,
	.config_length = sizeof(struct balloon_config),
	.config_read = config_read,
	.config_write = config_write,
	.serve = serve,
	.reset = reset,
	.state_size = sizeof(struct balloon_state),
	.save = save,
	.take = take,
	.check = check,
	.apply = apply,
};

int balloon_init(struct balloon *balloon, unsigned instance,
		 const struct virtio_host *host, struct err *err)
{
	*balloon = (struct balloon){ 0 };
	return virtio_init(&balloon->virtio, &balloon_class, instance, host,
			   F_DEFLATE_ON_OOM | F_PAGE_POISON | F_REPORTING,
			   QUEUES, QUEUE_SIZE, err);
}

void balloon_release(struct balloon *balloon)
{
	virtio_release(&balloon->virtio);
}
