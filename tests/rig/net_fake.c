/* SPDX-License-Identifier: Apache-2.0 */
/* See net_fake.h. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "tests/rig/net_fake.h"

static struct net_fake *fake_of(struct net_backend *backend)
{
	return container_of(backend, struct net_fake, backend);
}

static void drop_first(struct net_fake *fake)
{
	unsigned at = fake->first++ % NET_FAKE_FRAMES;

	free(fake->frames[at].data);
	fake->frames[at].data = NULL;
}

/* The one that was given last stays until the next is asked for. */
static int receive(struct net_backend *backend, struct net_frame *out)
{
	struct net_fake *fake = fake_of(backend);
	unsigned at = fake->next % NET_FAKE_FRAMES;
	uint64_t count;

	(void)!read(backend->fd, &count, sizeof(count));
	fake->asked++;
	while (fake->first != fake->next)
		drop_first(fake);
	if (fake->gone)
		return -EPIPE;
	if (!fake->frames[at].data)
		return 0;
	fake->next++;
	*out = (struct net_frame){ fake->frames[at].header,
				   fake->frames[at].data,
				   fake->frames[at].length };
	return 1;
}

static int send_frame(struct net_backend *backend,
		      const struct net_header *header,
		      const struct iovec *segments, unsigned count,
		      size_t length)
{
	struct net_fake *fake = fake_of(backend);

	if (fake->gone)
		return -EPIPE;
	if (fake->refusals) {
		fake->refusals--;
		return fake->code;
	}
	fake->sent_header = *header;
	fake->sent_length = 0;
	for (unsigned i = 0; i < count; i++) {
		if (segments[i].iov_len >
		    sizeof(fake->sent) - fake->sent_length)
			abort();
		memcpy(fake->sent + fake->sent_length, segments[i].iov_base,
		       segments[i].iov_len);
		fake->sent_length += segments[i].iov_len;
	}
	if (fake->sent_length != length)
		abort();
	fake->sent_count++;
	return 0;
}

static int flush(struct net_backend *backend)
{
	struct net_fake *fake = fake_of(backend);

	fake->flushes++;
	backend->unsent = false;
	return fake->gone ? -EPIPE : 0;
}

static void set_offloads(struct net_backend *backend, unsigned offloads)
{
	fake_of(backend)->offloads = offloads;
	fake_of(backend)->offload_calls++;
}

void net_fake_init(struct net_fake *fake, bool has_offloads)
{
	*fake = (struct net_fake){
		.ops = { .name = "fake",
			 .receive = receive,
			 .send = send_frame,
			 .flush = flush,
			 .set_offloads = has_offloads ? set_offloads : NULL },
	};
	fake->backend.ops = &fake->ops;
	fake->backend.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fake->backend.fd < 0)
		abort();
}

void net_fake_release(struct net_fake *fake)
{
	for (unsigned i = 0; i < NET_FAKE_FRAMES; i++)
		free(fake->frames[i].data);
	close(fake->backend.fd);
}

void net_fake_give(struct net_fake *fake, const struct net_header *header,
		   const void *data, size_t length)
{
	unsigned at = fake->next;
	uint64_t one = 1;

	while (at - fake->next < NET_FAKE_FRAMES - 1 &&
	       fake->frames[at % NET_FAKE_FRAMES].data)
		at++;
	if (at - fake->next == NET_FAKE_FRAMES - 1)
		abort();
	at %= NET_FAKE_FRAMES;
	/* Never 0 bytes: NULL would say that there is none. */
	fake->frames[at].data = malloc(length + 1);
	if (!fake->frames[at].data)
		abort();
	fake->frames[at].header = header ? *header : (struct net_header){ 0 };
	memcpy(fake->frames[at].data, data, length);
	fake->frames[at].length = length;
	(void)!write(fake->backend.fd, &one, sizeof(one));
}
