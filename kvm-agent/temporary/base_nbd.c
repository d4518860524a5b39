/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an NBD server reads for us, beneath a throw-away layer: a client of as
 * much of the protocol as reading takes, over sockets that somebody else has
 * connected (https://github.com/NetworkBlockDevice/nbd, doc/proto.md: fixed
 * newstyle, NBD_OPT_GO, simple replies). libnbd would bring TLS, XML and the
 * memory of twenty libraries into each agent.
 *
 * The server reads formats of others from files of others: it is trusted with
 * nothing but the content. A connection that says what it must not is closed,
 * and what can't be read is an error of the disk.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "format/base/socket.h"
#include "format/base/base.h"
#include "kvm-agent/temporary/temporary.h"

#define GREETING       0x4e42444d41474943ull /* NBDMAGIC */
#define OPTION         0x49484156454f5054ull /* IHAVEOPT */
#define OPTION_REPLY   0x0003e889045565a9ull
#define REQUEST        0x25609513u
#define REPLY          0x67446698u

#define FIXED_NEWSTYLE 1u
#define NO_ZEROES      2u
#define OPT_GO         7u
#define REP_ACK        1u
#define REP_INFO       3u
#define REP_ERROR      0x80000000u
#define INFO_EXPORT    0u

#define INFO_BYTES_MAX 4096u
#define REPLIES_MAX    32u
#define READ_MAX       (1 * MIB)
#define GREETING_MAX_S 60

struct base_nbd {
	struct image_base base;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int idle[BASE_NBD_SOCKETS_MAX];
	unsigned idle_count;
	unsigned busy_count;
	uint64_t next_handle;
};

static struct base_nbd *of(struct image_base *base)
{
	return container_of(base, struct base_nbd, base);
}

/* ---- bytes ---- */

static void put(uint8_t **at, uint64_t value, unsigned bytes)
{
	while (bytes--)
		*(*at)++ = (uint8_t)(value >> (8 * bytes));
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | *at++;
	return value;
}

/* ---- how it begins ---- */

static int greet(int fd)
{
	uint8_t hello[18], out[4 + 8 + 4 + 4 + 6], *at = out;
	int r = socket_receive_all(fd, hello, sizeof(hello));

	if (r < 0)
		return r;
	if (get(hello, 8) != GREETING || get(hello + 8, 8) != OPTION ||
	    !(get(hello + 16, 2) & FIXED_NEWSTYLE))
		return -EPROTO;
	put(&at, FIXED_NEWSTYLE | (get(hello + 16, 2) & NO_ZEROES), 4);
	put(&at, OPTION, 8);
	put(&at, OPT_GO, 4);
	put(&at, 6, 4);
	/* The export without a name, and no questions. */
	put(&at, 0, 4);
	put(&at, 0, 2);
	return socket_send_all(fd, out, sizeof(out));
}

/* 1: it may be read now. */
static int take_reply(int fd, uint64_t *size)
{
	uint8_t head[20], info[INFO_BYTES_MAX];
	uint64_t type, length;
	int r = socket_receive_all(fd, head, sizeof(head));

	if (r < 0)
		return r;
	type = get(head + 12, 4);
	length = get(head + 16, 4);
	if (get(head, 8) != OPTION_REPLY || get(head + 8, 4) != OPT_GO ||
	    length > sizeof(info))
		return -EPROTO;
	r = socket_receive_all(fd, info, (size_t)length);
	if (r < 0)
		return r;
	if (type & REP_ERROR)
		return -EIO;
	if (type == REP_ACK)
		return *size == UINT64_MAX ? -EPROTO : 1;
	if (type == REP_INFO && length == 12 && get(info, 2) == INFO_EXPORT)
		*size = get(info + 2, 8);
	return 0;
}

static int begin(int fd, uint64_t *size)
{
	int r = greet(fd);

	*size = UINT64_MAX;
	for (unsigned i = 0; r == 0 && i < REPLIES_MAX; i++)
		r = take_reply(fd, size);
	if (r >= 0)
		r = r == 1 && *size && *size < IMAGE_SIZE_MAX ? 0 : -EPROTO;
	return r;
}

static int set_timeout(int fd, time_t seconds)
{
	const struct timeval limit = { .tv_sec = seconds };

	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) <
			       0
		       ? -errno
		       : 0;
}

static int begin_all(struct base_nbd *nbd, struct err *err)
{
	for (unsigned i = 0; i < nbd->idle_count; i++) {
		uint64_t size;
		int r = set_timeout(nbd->idle[i], GREETING_MAX_S);

		if (r == 0)
			r = begin(nbd->idle[i], &size);
		if (r == 0)
			r = set_timeout(nbd->idle[i], 0);
		if (r < 0)
			return err_sys(err, r, "the NBD server of a disk");
		if (i && size != nbd->base.size_bytes)
			return err_set(err, -EPROTO,
				       "the NBD server of a disk tells two "
				       "sizes");
		nbd->base.size_bytes = size;
	}
	return 0;
}

/* ---- reads ---- */

/* -EIO: the server could not read it. Others: the connection is of no use. */
static int ask(int fd, uint64_t handle, void *buffer, size_t length,
	       uint64_t offset)
{
	uint8_t out[28], in[16], *at = out;
	int r;

	put(&at, REQUEST, 4);
	put(&at, 0, 4); /* flags, and NBD_CMD_READ */
	put(&at, handle, 8);
	put(&at, offset, 8);
	put(&at, length, 4);
	r = socket_send_all(fd, out, sizeof(out));
	if (r == 0)
		r = socket_receive_all(fd, in, sizeof(in));
	if (r < 0)
		return -EPIPE;
	if (get(in, 4) != REPLY || get(in + 8, 8) != handle)
		return -EPROTO;
	if (get(in + 4, 4))
		return -EIO;
	return socket_receive_all(fd, buffer, length) < 0 ? -EPIPE : 0;
}

static int take_connection(struct base_nbd *nbd, uint64_t *handle)
{
	int fd = -1;

	pthread_mutex_lock(&nbd->lock);
	while (!nbd->idle_count && nbd->busy_count)
		pthread_cond_wait(&nbd->changed, &nbd->lock);
	if (nbd->idle_count) {
		fd = nbd->idle[--nbd->idle_count];
		nbd->busy_count++;
		*handle = ++nbd->next_handle;
	}
	pthread_mutex_unlock(&nbd->lock);
	return fd;
}

static void give_back(struct base_nbd *nbd, int fd, bool lost)
{
	pthread_mutex_lock(&nbd->lock);
	nbd->busy_count--;
	if (lost)
		close(fd);
	else
		nbd->idle[nbd->idle_count++] = fd;
	/* All: with the last connection everybody's wait is over. */
	pthread_cond_broadcast(&nbd->changed);
	pthread_mutex_unlock(&nbd->lock);
}

static int read_nbd(struct image_base *base, void *buffer, size_t length,
		    uint64_t offset)
{
	struct base_nbd *nbd = of(base);
	uint8_t *at = buffer;
	int r = 0;

	while (r == 0 && length) {
		size_t n = (size_t)min_u64(length, READ_MAX);
		uint64_t handle = 0;
		int fd = take_connection(nbd, &handle);

		if (fd < 0)
			return -EIO;
		r = ask(fd, handle, at, n, offset);
		give_back(nbd, fd, r < 0 && r != -EIO);
		at += n;
		offset += n;
		length -= n;
	}
	return r < 0 ? -EIO : 0;
}

static void close_nbd(struct image_base *base)
{
	struct base_nbd *nbd = of(base);

	while (nbd->idle_count)
		close(nbd->idle[--nbd->idle_count]);
	pthread_cond_destroy(&nbd->changed);
	pthread_mutex_destroy(&nbd->lock);
	free(nbd);
}

int base_nbd_open(struct image_base **out, const int *sockets, unsigned count,
		  struct err *err)
{
	struct base_nbd *nbd = NULL;
	int r = alloc_array(&nbd, 1, sizeof(*nbd), err);

	if (r < 0 || !count || count > BASE_NBD_SOCKETS_MAX) {
		for (unsigned i = 0; i < count; i++)
			close(sockets[i]);
		free(nbd);
		return r < 0 ? r
			     : err_set(err, -EINVAL,
				       "%u connections to a disk: 1 to %u",
				       count, BASE_NBD_SOCKETS_MAX);
	}
	nbd->base = (struct image_base){ .read = read_nbd, .close = close_nbd };
	pthread_mutex_init(&nbd->lock, NULL);
	pthread_cond_init(&nbd->changed, NULL);
	memcpy(nbd->idle, sockets, count * sizeof(sockets[0]));
	nbd->idle_count = count;
	r = begin_all(nbd, err);
	if (r < 0) {
		close_nbd(&nbd->base);
		return r;
	}
	*out = &nbd->base;
	return 0;
}
