/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections over a restore: a client of the host talks to vsock.elf, the
 * machine is saved, and another one restored from that. The client's end is
 * closed, the guest is told that the transport was reset and has no connection
 * any more, and new ones come about: as often as it is restored. Usage:
 * vsock_lives KERNEL LIVES; sockets come to the working directory.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "kvm-agent/vsock/sockets.h"
#include "tests/kvm/host/rig.h"

#define MEMORY  (16 * MIB)
#define NAME    "vsock.sock"
#define CLIENTS 3u
#define LIMIT_S 60

static struct vsock_sockets sockets;
static uint8_t ram[MEMORY];
static unsigned wanted; /* resets */

/* ---- the guest's words, with the rig's lock ---- */

static unsigned count_of(const struct rig *rig, const char *line)
{
	unsigned count = 0;

	for (const char *at = rig->text;
	     (at = memmem(at, rig->size - (size_t)(at - rig->text), line,
			  strlen(line)));
	     at += strlen(line))
		count++;
	return count;
}

static bool is_up(struct rig *rig)
{
	return count_of(rig, "up\n");
}

static bool was_reset(struct rig *rig)
{
	return count_of(rig, "transport reset") >= wanted;
}

/* ---- the host's ends ---- */

static struct sockaddr_un address(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, NAME);
	return address;
}

static void listen_again(void)
{
	struct sockaddr_un where = address();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	unlink(NAME);
	rig_must(fd >= 0 &&
			 bind(fd, (struct sockaddr *)&where, sizeof(where)) ==
				 0 &&
			 listen(fd, 8) == 0,
		 "listen", NULL);
	vsock_sockets_init(&sockets, fd, false);
}

static void get_line(int client, char *line, size_t size)
{
	size_t used = 0;

	do
		rig_must(used + 1 < size &&
				 recv(client, line + used, 1, 0) == 1,
			 "no line came", NULL);
	while (line[used++] != '\n');
	line[used] = 0;
}

static void must_say_back(int client, const char *text)
{
	char back[64];

	rig_must(send(client, text, strlen(text), MSG_NOSIGNAL) ==
			 (ssize_t)strlen(text),
		 "send", NULL);
	get_line(client, back, sizeof(back));
	rig_must(!strcmp(back, text), back, NULL);
}

static int call(void)
{
	const struct timeval limit = { .tv_sec = LIMIT_S };
	struct sockaddr_un where = address();
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char line[64];

	rig_must(client >= 0 &&
			 setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit,
				    sizeof(limit)) == 0 &&
			 connect(client, (struct sockaddr *)&where,
				 sizeof(where)) == 0 &&
			 send(client, "CONNECT 22\n", 11, MSG_NOSIGNAL) == 11,
		 "call", NULL);
	get_line(client, line, sizeof(line));
	rig_must(!strncmp(line, "OK ", 3), line, NULL);
	must_say_back(client, "hello\n");
	return client;
}

static void must_be_over(int client)
{
	char byte;

	rig_must(recv(client, &byte, 1, 0) <= 0 && errno != EAGAIN,
		 "a connection outlived its machine", NULL);
	close(client);
}

/* ---- */

/* The host's ends are of one machine at a time: the old one goes first. */
static void live_again(struct rig *rig)
{
	uint8_t *from = machine_board(rig->machine)->memory.regions[0].host;
	struct state_writer writer;
	struct state state;
	struct err err;

	rig_pause(rig);
	rig_save(rig, &writer);
	rig_open_state(&state, &writer);
	memcpy(ram, from, MEMORY);
	machine_free(rig->machine);
	listen_again();
	rig_make(rig, true);
	memcpy(machine_board(rig->machine)->memory.regions[0].host, ram,
	       MEMORY);
	rig_must(machine_restore(rig->machine, &state, &err) == 0, "restore",
		 &err);
	rig_must(machine_resume(rig->machine, &err) == 0, "resume", &err);
	state_release(&writer);
}

int main(int argc, char **argv)
{
	static struct rig rig;
	int clients[CLIENTS];
	char words[64];
	struct err err;

	rig_must(argc == 3, "usage: vsock_lives KERNEL LIVES", NULL);
	rig_init(&rig, argv[1], 1, MEMORY);
	rig.options.board.vsock = &sockets;
	listen_again();
	rig_make(&rig, false);
	rig_must(machine_resume(rig.machine, &err) == 0, "resume", &err);
	rig_run_until(&rig, is_up);
	for (unsigned i = 0; i < CLIENTS; i++)
		clients[i] = call();
	for (wanted = 1; wanted <= (unsigned)atoi(argv[2]); wanted++) {
		live_again(&rig);
		for (unsigned i = 0; i < CLIENTS; i++)
			must_be_over(clients[i]);
		rig_run_until(&rig, was_reset);
		for (unsigned i = 0; i < CLIENTS; i++)
			clients[i] = call();
	}
	/* Once a life, and each time of all that there were. */
	snprintf(words, sizeof(words),
		 "transport reset, %u connections are gone\n", CLIENTS);
	pthread_mutex_lock(&rig.lock);
	rig_must(count_of(&rig, "transport reset") == wanted - 1 &&
			 count_of(&rig, words) == wanted - 1,
		 "another count of resets", NULL);
	pthread_mutex_unlock(&rig.lock);
	for (unsigned i = 0; i < CLIENTS; i++) {
		must_say_back(clients[i], "still there\n");
		close(clients[i]);
	}
	printf("%u lives\n", wanted - 1);
	rig_release(&rig);
	unlink(NAME);
	return 0;
}
