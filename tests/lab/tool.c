/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stock Debian lacks for the lab's tests, as one static program that is
 * put into the guest:
 *
 *	listen PORT            answers at a vsock port, one peer at a time, with
 *	                       what it is sent
 *	send CID PORT          standard input to a vsock port, its answer to
 *	                       standard output
 *	serve SOCKET           as listen, at a Unix socket, of the host
 *	call SOCKET PORT       as send, to a guest's port by its vsock.sock
 *	rate FILE read|write COUNT DEPTH STEP RANGE
 *	                       requests of 4 KiB past the page cache, STEP bytes
 *	                       apart, beginning anew at RANGE (STEP 0: at random
 *	                       places), as image_bench does it; writes are synced
 *	                       behind the last; prints requests a second
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define BLOCK     4096u
#define DEPTH_MAX 256u

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "tool: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- vsock ---- */

static void write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0)
			die("write");
		data += n;
		size -= (size_t)n;
	}
}

/* Until the other end says that there is no more. */
static void copy(int from, int to)
{
	static char data[65536];
	ssize_t n;

	while ((n = read(from, data, sizeof(data))) > 0)
		write_all(to, data, (size_t)n);
	if (n < 0)
		die("read");
}

static int vsock(void)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

static _Noreturn void answer(int fd)
{
	if (listen(fd, 4) < 0)
		die("listen");
	for (;;) {
		int peer = accept(fd, NULL, NULL);

		if (peer < 0)
			die("accept");
		copy(peer, peer);
		close(peer);
	}
}

static int ask(int fd)
{
	copy(0, fd);
	if (shutdown(fd, SHUT_WR) < 0)
		die("shutdown");
	copy(fd, 1);
	return 0;
}

static _Noreturn void listen_at(unsigned port)
{
	struct sockaddr_vm address = { .svm_family = AF_VSOCK,
				       .svm_cid = VMADDR_CID_ANY,
				       .svm_port = port };
	int fd = vsock();

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("bind");
	answer(fd);
}

static int send_to(unsigned cid, unsigned port)
{
	struct sockaddr_vm address = { .svm_family = AF_VSOCK,
				       .svm_cid = cid,
				       .svm_port = port };
	int fd = vsock();

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	return ask(fd);
}

static int unix_socket(const char *path, struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strncpy(address->sun_path, path, sizeof(address->sun_path) - 1);
	return fd;
}

static _Noreturn void serve(const char *path)
{
	struct sockaddr_un address;
	int fd = unix_socket(path, &address);

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("bind");
	answer(fd);
}

static int call(const char *path, const char *port)
{
	struct sockaddr_un address;
	int fd = unix_socket(path, &address);
	char line[32];
	size_t n = 0;

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	n = (size_t)snprintf(line, sizeof(line), "CONNECT %.10s\n", port);
	write_all(fd, line, n);
	/* Behind the line is what the guest sends. */
	for (n = 0; n < sizeof(line); n++) {
		if (read(fd, line + n, 1) != 1)
			die("no answer");
		if (line[n] == '\n')
			break;
	}
	if (strncmp(line, "OK ", 3))
		die("no OK");
	return ask(fd);
}

/* ---- a disk's rate ---- */

struct pattern {
	unsigned opcode, count, depth;
	uint64_t step, range;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t next_offset(const struct pattern *pattern, uint64_t offset,
			    uint64_t *random)
{
	if (!pattern->step) {
		*random = *random * 6364136223846793005ULL +
			  1442695040888963407ULL;
		return (*random >> 20) % (pattern->range / BLOCK) * BLOCK;
	}
	offset += pattern->step;
	return offset + BLOCK > pattern->range ? 0 : offset;
}

static double drive(int fd, const struct pattern *pattern)
{
	struct iocb slots[DEPTH_MAX] = { 0 }, *unused[DEPTH_MAX];
	struct io_event done[DEPTH_MAX];
	unsigned begun = 0, finished = 0, idle = pattern->depth;
	aio_context_t context = 0;
	uint64_t offset = 0, random = 1;
	double start;

	if (syscall(SYS_io_setup, DEPTH_MAX, &context) < 0)
		die("io_setup");
	for (unsigned i = 0; i < pattern->depth; i++) {
		void *buffer = aligned_alloc(BLOCK, BLOCK);

		if (!buffer)
			die("memory");
		memset(buffer, (int)i + 1, BLOCK);
		slots[i].aio_buf = (uintptr_t)buffer;
		unused[i] = &slots[i];
	}
	start = now();
	while (finished < pattern->count) {
		struct iocb *batch[DEPTH_MAX];
		long n = 0;

		while (idle && begun < pattern->count) {
			struct iocb *slot = unused[--idle];

			slot->aio_lio_opcode = (uint16_t)pattern->opcode;
			slot->aio_fildes = (uint32_t)fd;
			slot->aio_offset = (int64_t)offset;
			slot->aio_nbytes = BLOCK;
			slot->aio_data = (uintptr_t)slot;
			batch[n++] = slot;
			begun++;
			offset = next_offset(pattern, offset, &random);
		}
		if (n && syscall(SYS_io_submit, context, n, batch) != n)
			die("io_submit");
		n = syscall(SYS_io_getevents, context, 1, DEPTH_MAX, done,
			    NULL);
		if (n < 0)
			die("io_getevents");
		for (long i = 0; i < n; i++) {
			if (done[i].res != BLOCK) {
				errno = done[i].res < 0 ? (int)-done[i].res
							: EIO;
				die("a request");
			}
			unused[idle++] = (struct iocb *)(uintptr_t)done[i].data;
			finished++;
		}
	}
	if (pattern->opcode == IOCB_CMD_PWRITE && fdatasync(fd) < 0)
		die("fdatasync");
	return now() - start;
}

static int rate(char **words)
{
	struct pattern pattern = {
		.opcode = strcmp(words[1], "write") ? IOCB_CMD_PREAD
						    : IOCB_CMD_PWRITE,
		.count = (unsigned)strtoul(words[2], NULL, 10),
		.depth = (unsigned)strtoul(words[3], NULL, 10),
		.step = strtoull(words[4], NULL, 10),
		.range = strtoull(words[5], NULL, 10),
	};
	int fd = open(words[0], O_RDWR | O_DIRECT | O_CLOEXEC);

	if (!pattern.count || !pattern.depth || pattern.depth > DEPTH_MAX ||
	    pattern.step % BLOCK || pattern.range < BLOCK)
		return 2;
	if (fd < 0)
		die(words[0]);
	printf("%.0f\n", pattern.count / drive(fd, &pattern));
	return 0;
}

int main(int count, char **words)
{
	const char *what = count > 1 ? words[1] : "";

	if (!strcmp(what, "serve") && count == 3)
		serve(words[2]);
	if (!strcmp(what, "call") && count == 4)
		return call(words[2], words[3]);
	if (!strcmp(what, "listen") && count == 3)
		listen_at((unsigned)strtoul(words[2], NULL, 10));
	if (!strcmp(what, "send") && count == 4)
		return send_to((unsigned)strtoul(words[2], NULL, 10),
			       (unsigned)strtoul(words[3], NULL, 10));
	if (!strcmp(what, "rate") && count == 8)
		return rate(words + 2);
	fprintf(stderr, "usage: tool listen|send|serve|call|rate ...\n");
	return 2;
}
