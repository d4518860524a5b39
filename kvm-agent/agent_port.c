/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the console's hooks and a peer. The hooks are called with the
 * device's lock held, some on a vCPU's thread: what they find out is noted by
 * posting work to the I/O thread, and only that calls the device. A guest that
 * floods is held back by a client that doesn't read, at its port alone; where
 * there is no client its bytes go nowhere.
 */
#include <errno.h>
#include <string.h>

#include "kvm-agent/agent_port.h"

static struct agent_port *port_of(struct console_hooks *hooks)
{
	return container_of(hooks, struct agent_port, hooks);
}

/* ---- the guest's side, with the device's lock ---- */

/* On the I/O thread. */
static size_t on_output(struct console_hooks *hooks, enum console_port_id id,
			const void *data, size_t size)
{
	struct agent_port *port = port_of(hooks);
	const char *bytes = data;
	size_t done = 0;

	if (id != CONSOLE_AGENT)
		return size;
	/* What was sent at once makes room for more; what was not wakes us by
	 * on_sent(). */
	while (done < size && port->client) {
		size_t unread = peer_unread(port->client);
		size_t n = unread < PEER_UNREAD_PAUSE
				   ? PEER_UNREAD_PAUSE - unread
				   : 0;

		n = (size_t)min_u64(n, size - done);
		if (!n)
			return done;
		if (peer_send(port->client, bytes + done, n) < 0)
			break;
		done += n;
	}
	return size;
}

static void on_room(struct console_hooks *hooks, enum console_port_id id)
{
	struct agent_port *port = port_of(hooks);

	if (id == CONSOLE_AGENT)
		loop_post(port->loop, &port->work);
}

/* Any thread. */
static void on_opened(struct console_hooks *hooks, enum console_port_id id,
		      bool open)
{
	(void)open;
	on_room(hooks, id);
}

/* ---- the client's ---- */

static void offer_held(struct agent_port *port)
{
	size_t n;

	if (!port->held_size)
		return;
	n = virtio_console_input(port->console, CONSOLE_AGENT, port->held,
				 port->held_size);
	port->held_size -= n;
	memmove(port->held, port->held + n, port->held_size);
	if (!port->held_size && port->client)
		peer_hold(port->client, false);
}

static void tell_open(struct agent_port *port, bool open)
{
	if (open == port->told_open)
		return;
	port->told_open = open;
	virtio_console_set_open(port->console, CONSOLE_AGENT, open);
	/* The rest of what the last one did not read goes nowhere. */
	if (!open)
		virtio_console_drop_output(port->console, CONSOLE_AGENT);
}

static void run_work(struct loop_work *work)
{
	struct agent_port *port = container_of(work, struct agent_port, work);

	tell_open(port, port->client != NULL);
	offer_held(port);
}

static int on_greet(struct peer *peer)
{
	struct agent_port *port = peers_owner(peer->peers);

	/* It may be here before the last one's end was seen to. */
	tell_open(port, false);
	port->client = peer;
	loop_post(port->loop, &port->work);
	return 0;
}

static int on_receive(struct peer *peer, const char *data, size_t size)
{
	struct agent_port *port = peers_owner(peer->peers);
	size_t n =
		virtio_console_input(port->console, CONSOLE_AGENT, data, size);

	if (n == size)
		return 0;
	/* Nothing is held while it is listened to. */
	if (size - n > sizeof(port->held) - port->held_size)
		return -ENOBUFS;
	memcpy(port->held + port->held_size, data + n, size - n);
	port->held_size += size - n;
	peer_hold(peer, true);
	return 0;
}

static void on_sent(struct peer *peer)
{
	struct agent_port *port = peers_owner(peer->peers);

	if (peer_unread(peer) < PEER_UNREAD_PAUSE)
		virtio_console_output_ready(port->console, CONSOLE_AGENT);
}

/* Also with the device's lock held, where sending to it was its end. */
static void on_gone(struct peer *peer)
{
	struct agent_port *port = peers_owner(peer->peers);

	port->client = NULL;
	port->held_size = 0;
	loop_post(port->loop, &port->work);
}

static const struct peers_ops client_ops = {
	.peer_size = sizeof(struct peer),
	.greet = on_greet,
	.receive = on_receive,
	.sent = on_sent,
	.gone = on_gone,
};

/* ---- life ---- */

void agent_port_init(struct agent_port *port, int listener)
{
	*port = (struct agent_port){
		.hooks = { on_output, on_room, on_opened },
		.listener = listener,
		.work = { .run = run_work },
	};
}

int agent_port_start(struct agent_port *port, struct loop *loop,
		     struct virtio_console *console, struct err *err)
{
	port->loop = loop;
	port->console = console;
	return peers_new(&port->peers, loop, fd_steal(&port->listener), 1,
			 &client_ops, port, err);
}

void agent_port_stop(struct agent_port *port)
{
	if (port->peers) {
		peers_free(port->peers);
		loop_cancel(port->loop, &port->work);
	} else if (port->hooks.output && port->listener >= 0) {
		close(port->listener);
	}
	*port = (struct agent_port){ .listener = -1 };
}
