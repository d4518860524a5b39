/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console. What a guest must be told is a bit a port, not a queue of
 * messages: a guest that asks a thousand times gets one answer. A chain whose
 * bytes could not all go out stays in the ring, and how far it went is kept.
 * Without the multiport feature there is the terminal alone.
 */
#include <errno.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/virtio/console.h"

#define QUEUE_SIZE       64u
#define QUEUES           6u
#define CONTROL_INPUT    2u /* of the guest: from us */
#define CONTROL_OUTPUT   3u
#define TURN             (64u * 1024) /* bytes until others have theirs */
#define CHUNK            4096u

#define F_MULTIPORT      (1ULL << 1)

#define EVENT_READY      0u
#define EVENT_ADD        1u
#define EVENT_PORT_READY 3u
#define EVENT_TERMINAL   4u
#define EVENT_OPEN       6u
#define EVENT_NAME       7u

/* Bits of pending, in the order in which they are sent. */
#define PENDING_ADD      1u
#define PENDING_TERMINAL 2u
#define PENDING_NAME     4u
#define PENDING_OPEN     8u
#define PENDING_ALL      15u

struct console_message {
	le32 port;
	le16 event, value;
};
_Static_assert(sizeof(struct console_message) == 8, "virtio 1.x, 5.3.6.2");

struct console_config {
	le16 columns, rows;
	le32 ports, emergency;
};
_Static_assert(sizeof(struct console_config) == 12, "virtio 1.x, 5.3.4");

static struct virtio_console *console_of(struct virtio *virtio)
{
	return container_of(virtio, struct virtio_console, virtio);
}

static unsigned input_queue(unsigned port)
{
	return port ? 2 + 2 * port : 0;
}

static unsigned output_queue(unsigned port)
{
	return input_queue(port) + 1;
}

static bool has_ports(const struct virtio_console *console)
{
	return virtio_has(&console->virtio, F_MULTIPORT);
}

/* ---- what the guest is told ---- */

static size_t make_message(struct virtio_console *console, unsigned id,
			   unsigned bit, uint8_t *out)
{
	const struct console_port *port = &console->ports[id];
	struct console_message message = { .port = le32_make(id),
					   .value = le16_make(1) };
	size_t size = sizeof(message);

	switch (bit) {
	case PENDING_ADD:
		message.event = le16_make(EVENT_ADD);
		break;
	case PENDING_TERMINAL:
		message.event = le16_make(EVENT_TERMINAL);
		break;
	case PENDING_NAME:
		message.event = le16_make(EVENT_NAME);
		memcpy(out + size, CONSOLE_AGENT_NAME,
		       sizeof(CONSOLE_AGENT_NAME) - 1);
		size += sizeof(CONSOLE_AGENT_NAME) - 1;
		break;
	default:
		message.event = le16_make(EVENT_OPEN);
		message.value = le16_make(port->host_open);
		break;
	}
	memcpy(out, &message, sizeof(message));
	return size;
}

/* The next one into a buffer of the guest's; false: it gave none. */
static bool send_message(struct virtio_console *console, unsigned id)
{
	struct console_port *port = &console->ports[id];
	unsigned bit = port->pending & -port->pending;
	uint8_t bytes[sizeof(struct console_message) +
		      sizeof(CONSOLE_AGENT_NAME)];
	struct virtqueue_chain chain;
	size_t size;

	if (!virtio_pop(&console->virtio, CONTROL_INPUT, &chain))
		return false;
	size = make_message(console, id, bit, bytes);
	size = chain_write(&chain, 0, bytes, size);
	virtio_push(&console->virtio, CONTROL_INPUT, chain.head,
		    (uint32_t)size);
	port->pending &= ~bit;
	if (bit == PENDING_OPEN)
		port->told_open = port->host_open;
	return true;
}

static void send_pending(struct virtio_console *console)
{
	bool more = has_ports(console);

	for (unsigned id = 0; more && id < CONSOLE_PORTS; id++) {
		while (more && console->ports[id].pending)
			more = send_message(console, id) ||
			       virtio_listen(&console->virtio, CONTROL_INPUT);
	}
	virtio_signal(&console->virtio, CONTROL_INPUT);
}

/* ---- what it tells ---- */

static void set_guest_open(struct virtio_console *console, unsigned id,
			   bool open)
{
	struct console_port *port = &console->ports[id];

	if (port->guest_open == open)
		return;
	port->guest_open = open;
	if (console->hooks->opened)
		console->hooks->opened(console->hooks, id, open);
}

static void take_message(struct virtio_console *console,
			 const struct console_message *message)
{
	unsigned id = le32_get(message->port);
	unsigned value = le16_get(message->value);

	if (le16_get(message->event) == EVENT_READY) {
		for (unsigned i = 0; value == 1 && i < CONSOLE_PORTS; i++)
			console->ports[i].pending |= PENDING_ADD;
		return;
	}
	if (id >= CONSOLE_PORTS)
		return;
	switch (le16_get(message->event)) {
	case EVENT_PORT_READY:
		console->ports[id].ready = value == 1;
		if (value == 1)
			console->ports[id].pending |=
				PENDING_OPEN |
				(id == CONSOLE_TERMINAL ? PENDING_TERMINAL
							: PENDING_NAME);
		break;
	case EVENT_OPEN:
		set_guest_open(console, id, value);
		break;
	default:
		break;
	}
}

static void serve_control(struct virtio_console *console)
{
	struct console_message message;
	struct virtqueue_chain chain;

	do {
		while (virtio_pop(&console->virtio, CONTROL_OUTPUT, &chain)) {
			if (chain_read(&chain, 0, &message, sizeof(message)) ==
			    sizeof(message))
				take_message(console, &message);
			virtio_push(&console->virtio, CONTROL_OUTPUT,
				    chain.head, 0);
		}
	} while (virtio_listen(&console->virtio, CONTROL_OUTPUT));
	virtio_signal(&console->virtio, CONTROL_OUTPUT);
	send_pending(console);
}

/* ---- bytes ---- */

static size_t put_out(struct virtio_console *console, unsigned id,
		      const void *data, size_t size)
{
	struct console_hooks *hooks = console->hooks;

	return hooks->output ? hooks->output(hooks, id, data, size) : size;
}

/* True: all of the chain has gone out. Else the hook is full, or it is others'
 * turn. */
static bool output_chain(struct virtio_console *console, unsigned id,
			 const struct virtqueue_chain *chain)
{
	struct console_port *port = &console->ports[id];
	uint8_t bytes[CHUNK];

	for (unsigned done = 0; port->offset < chain->readable_bytes;
	     done += CHUNK) {
		size_t n =
			chain_read(chain, port->offset, bytes, sizeof(bytes));
		size_t taken = done < TURN ? put_out(console, id, bytes, n) : 0;

		port->offset += (uint32_t)taken;
		if (done >= TURN)
			virtio_look(&console->virtio, output_queue(id));
		else if (taken < n)
			port->blocked = true;
		if (taken < n)
			return false;
	}
	port->offset = 0;
	return true;
}

/* All that there is of it, once: a guest that sends on has said it to others. */
static void drop_stale(struct virtio_console *console, unsigned id)
{
	struct console_port *port = &console->ports[id];
	struct virtio *virtio = &console->virtio;
	unsigned queue = output_queue(id);
	struct virtqueue_chain chain;

	if (!port->stale || !virtio_is_live(virtio) ||
	    (id && !has_ports(console)))
		return;
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		if (!virtio_pop(virtio, queue, &chain))
			break;
		virtio_push(virtio, queue, chain.head, 0);
	}
	virtio_signal(virtio, queue);
	port->stale = false;
	port->offset = 0;
}

static void serve_output(struct virtio_console *console, unsigned id)
{
	struct console_port *port = &console->ports[id];
	struct virtio *virtio = &console->virtio;
	unsigned queue = output_queue(id);
	struct virtqueue_chain chain;
	bool more = true;

	drop_stale(console, id);
	do {
		while (more && !port->blocked &&
		       virtio_pop(virtio, queue, &chain)) {
			if (chain.readable_bytes > UINT32_MAX) {
				virtio_break(virtio, "more than 4 GiB at once");
				return;
			}
			more = output_chain(console, id, &chain);
			if (more)
				virtio_push(virtio, queue, chain.head, 0);
			else
				virtio_unpop(virtio, queue);
		}
	} while (more && !port->blocked && virtio_listen(virtio, queue));
	virtio_signal(virtio, queue);
}

static void serve(struct virtio *virtio, unsigned queue)
{
	struct virtio_console *console = console_of(virtio);
	unsigned id = queue < 2 ? 0 : queue / 2 - 1;

	if (queue == CONTROL_INPUT) {
		send_pending(console);
	} else if (queue == CONTROL_OUTPUT) {
		serve_control(console);
	} else if (id && !has_ports(console)) {
		return;
	} else if (queue == output_queue(id)) {
		serve_output(console, id);
	} else if (console->hooks->room) {
		console->hooks->room(console->hooks, id);
	}
}

size_t virtio_console_input(struct virtio_console *console,
			    enum console_port_id id, const void *data,
			    size_t size)
{
	struct virtio *virtio = &console->virtio;
	unsigned queue = input_queue(id);
	struct virtqueue_chain chain;
	size_t done = 0;

	pthread_mutex_lock(&virtio->lock);
	virtio_refill(virtio, queue);
	while (console->ports[id].guest_open && done < size) {
		size_t n;

		if (!virtio_pop(virtio, queue, &chain)) {
			/* Whoever gives room now tells of it. */
			if (virtio_listen(virtio, queue))
				continue;
			break;
		}
		n = chain_write(&chain, 0, (const uint8_t *)data + done,
				size - done);
		virtio_push(virtio, queue, chain.head, (uint32_t)n);
		done += n;
	}
	virtio_signal(virtio, queue);
	pthread_mutex_unlock(&virtio->lock);
	return done;
}

void virtio_console_output_ready(struct virtio_console *console,
				 enum console_port_id port)
{
	pthread_mutex_lock(&console->virtio.lock);
	console->ports[port].blocked = false;
	pthread_mutex_unlock(&console->virtio.lock);
	virtio_look(&console->virtio, output_queue(port));
}

void virtio_console_drop_output(struct virtio_console *console,
				enum console_port_id id)
{
	struct virtio *virtio = &console->virtio;

	pthread_mutex_lock(&virtio->lock);
	console->ports[id].blocked = false;
	/* In a machine that is paused when it goes on. */
	console->ports[id].stale = true;
	virtio_refill(virtio, output_queue(id));
	drop_stale(console, id);
	pthread_mutex_unlock(&virtio->lock);
	virtio_look(virtio, output_queue(id));
}

void virtio_console_set_open(struct virtio_console *console,
			     enum console_port_id id, bool open)
{
	struct console_port *port = &console->ports[id];

	pthread_mutex_lock(&console->virtio.lock);
	port->host_open = open;
	if (port->ready && port->told_open != open)
		port->pending |= PENDING_OPEN;
	pthread_mutex_unlock(&console->virtio.lock);
	virtio_look(&console->virtio, CONTROL_INPUT);
}

/* ---- the device ---- */

static void config_read(struct virtio *virtio, void *config)
{
	struct console_config fields = { .ports = le32_make(CONSOLE_PORTS) };

	(void)virtio;
	memcpy(config, &fields, sizeof(fields));
}

static void started(struct virtio *virtio)
{
	struct virtio_console *console = console_of(virtio);

	/* It can't say that it opens it. */
	if (!has_ports(console))
		set_guest_open(console, CONSOLE_TERMINAL, true);
}

static void reset(struct virtio *virtio)
{
	struct virtio_console *console = console_of(virtio);

	for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
		struct console_port *port = &console->ports[i];

		set_guest_open(console, i, false);
		*port = (struct console_port){ .host_open = port->host_open };
	}
}

struct console_state {
	struct {
		uint8_t pending, ready, guest_open, told_open;
		uint32_t offset;
	} ports[CONSOLE_PORTS];
};

static void save(struct virtio *virtio, struct state_writer *out)
{
	const struct virtio_console *console = console_of(virtio);

	for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
		section_put_u8(out, (uint8_t)console->ports[i].pending);
		section_put_u8(out, console->ports[i].ready);
		section_put_u8(out, console->ports[i].guest_open);
		section_put_u8(out, console->ports[i].told_open);
		section_put_u32(out, console->ports[i].offset);
	}
}

static void take(struct virtio *virtio, struct section_reader *in, void *state)
{
	struct console_state *ports = state;

	(void)virtio;
	for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
		ports->ports[i].pending = section_get_u8(in);
		ports->ports[i].ready = section_get_u8(in);
		ports->ports[i].guest_open = section_get_u8(in);
		ports->ports[i].told_open = section_get_u8(in);
		ports->ports[i].offset = section_get_u32(in);
	}
}

static int check(struct virtio *virtio, const void *state, struct err *err)
{
	const struct console_state *ports = state;

	(void)virtio;
	for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
		if (ports->ports[i].pending & ~PENDING_ALL ||
		    ports->ports[i].ready > 1 ||
		    ports->ports[i].guest_open > 1 ||
		    ports->ports[i].told_open > 1)
			return err_set(err, -EBADMSG,
				       "port %u of the saved console can't be",
				       i);
	}
	return 0;
}

static void apply(struct virtio *virtio, const void *state)
{
	struct virtio_console *console = console_of(virtio);
	const struct console_state *ports = state;

	for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
		struct console_port *port = &console->ports[i];

		port->pending = ports->ports[i].pending;
		port->ready = ports->ports[i].ready;
		port->told_open = ports->ports[i].told_open;
		port->offset = ports->ports[i].offset;
		set_guest_open(console, i, ports->ports[i].guest_open);
		/* The host's end is this machine's. */
		if (port->ready && port->told_open != port->host_open)
			port->pending |= PENDING_OPEN;
	}
}

static const struct virtio_class console_class = {
	.device = { "virtio-console", 1, virtio_reset, virtio_save,
		    virtio_restore },
	.id = 3,
	.pci_class = 0x078000,
	.config_length = sizeof(struct console_config),
	.config_read = config_read,
	.started = started,
	.serve = serve,
	.reset = reset,
	.state_size = sizeof(struct console_state),
	.save = save,
	.take = take,
	.check = check,
	.apply = apply,
};

int virtio_console_init(struct virtio_console *console, unsigned instance,
			const struct virtio_host *host,
			struct console_hooks *hooks, struct err *err)
{
	*console = (struct virtio_console){ .hooks = hooks };
	return virtio_init(&console->virtio, &console_class, instance, host,
			   F_MULTIPORT, QUEUES, QUEUE_SIZE, err);
}

void virtio_console_release(struct virtio_console *console)
{
	virtio_release(&console->virtio);
}
