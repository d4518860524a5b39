/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-vsock from within. Port 22 says everything back, on several connections
 * at once, with no more credit than it is given. At its serial port: 'c'
 * connects to the host's port 80, sends 256 KiB and says what the answer was;
 * 'n' connects to where nobody listens; 'q' ends. Told that the transport was
 * reset, it has no connections any more, and says so. */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define COM1          0x3f8
#define COM1_LSR      0x3fd
#define TICK          0x40
#define RINGS         0x800000ull
#define BUFFERS       0x900000ull /* a page each */
#define COUNT         48u
#define OUTPUT        0xa00000ull /* a header */
#define PATTERN       0xb00000ull
#define EVENT         0xc00000ull
#define PIECE         4096u
#define TALK          (256u << 10)
#define ROOM          (32u << 10)

#define TO_GUEST      0u
#define FROM_GUEST    1u
#define EVENTS        2u

#define OP_REQUEST    1u
#define OP_RESPONSE   2u
#define OP_RESET      3u
#define OP_SHUTDOWN   4u
#define OP_DATA       5u
#define OP_CREDIT     6u
#define OP_CREDIT_ASK 7u
#define SENDS_NONE    2u
#define BOTH          3u

struct header {
	uint64_t from_cid, to_cid;
	uint32_t from_port, to_port, length;
	uint16_t type, op;
	uint32_t flags, room, forwarded;
} __attribute__((packed));

#define CONNECTIONS 8u

struct connection {
	bool used, talks, host_done, closing;
	uint32_t port, host_port;
	uint32_t room, taken, sent; /* the host's, and to it */
	uint32_t got;               /* from it, and no longer kept */
	uint32_t left;              /* to talk */
};

static struct card card = { .rings = RINGS };
static struct connection connections[CONNECTIONS];
/* What was not said back yet: buffers, in their order. */
static struct {
	struct connection *connection;
	unsigned buffer;
	uint32_t length;
} pending[COUNT];
static unsigned pending_count;
static uint32_t next_port = 5000;
static uint64_t cid;

static void on_tick(struct frame *frame)
{
	(void)frame;
	lapic_eoi();
}

/* ---- packets ---- */

static void send(struct connection *connection, uint16_t op, uint32_t flags,
		 uint64_t data, uint32_t length)
{
	volatile struct header *header = (volatile struct header *)OUTPUT;

	header->from_cid = cid;
	header->to_cid = 2;
	header->from_port = connection->port;
	header->to_port = connection->host_port;
	header->length = length;
	header->type = 1;
	header->op = op;
	header->flags = flags;
	header->room = ROOM;
	header->forwarded = connection->got;
	card_put(&card, FROM_GUEST, 0, OUTPUT, sizeof(*header), false, length);
	if (length)
		card_put(&card, FROM_GUEST, 1, data, length, false, false);
	card_kick(&card, FROM_GUEST, 0);
	(void)card_wait(&card, FROM_GUEST, NULL);
}

static void give_buffer(unsigned buffer)
{
	card_put(&card, TO_GUEST, buffer, BUFFERS + PIECE * buffer, PIECE, true,
		 false);
	card_kick(&card, TO_GUEST, (uint16_t)buffer);
}

static struct connection *find(uint32_t port, uint32_t host_port)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		if (connections[i].used && connections[i].port == port &&
		    connections[i].host_port == host_port)
			return &connections[i];
	}
	return NULL;
}

static struct connection *make(uint32_t port, uint32_t host_port)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		if (connections[i].used)
			continue;
		connections[i] = (struct connection){ .used = true,
						      .port = port,
						      .host_port = host_port };
		return &connections[i];
	}
	guest_fail("too many connections");
}

static uint32_t credit(const struct connection *connection)
{
	return connection->room - (connection->sent - connection->taken);
}

/* ---- what goes out ---- */

static bool has_pending(const struct connection *connection)
{
	for (unsigned i = 0; i < pending_count; i++) {
		if (pending[i].connection == connection)
			return true;
	}
	return false;
}

static void drop_pending(unsigned i)
{
	give_buffer(pending[i].buffer);
	for (pending_count--; i < pending_count; i++)
		pending[i] = pending[i + 1];
}

/* The oldest of a connection that has credit for it; the others wait. */
static bool say_back(void)
{
	for (unsigned i = 0; i < pending_count; i++) {
		struct connection *connection = pending[i].connection;
		bool first = true;

		for (unsigned j = 0; j < i; j++)
			first = first && pending[j].connection != connection;
		if (!first || credit(connection) < pending[i].length)
			continue;
		connection->got += pending[i].length;
		connection->sent += pending[i].length;
		send(connection, OP_DATA, 0,
		     BUFFERS + PIECE * pending[i].buffer +
			     sizeof(struct header),
		     pending[i].length);
		drop_pending(i);
		return true;
	}
	return false;
}

static bool talk(struct connection *connection)
{
	uint32_t size = PIECE;

	if (!connection->talks || !connection->left)
		return false;
	if (size > credit(connection))
		size = credit(connection);
	if (size > connection->left)
		size = connection->left;
	if (!size)
		return false;
	connection->sent += size;
	send(connection, OP_DATA, 0, PATTERN + (TALK - connection->left) % 251,
	     size);
	connection->left -= size;
	if (!connection->left)
		send(connection, OP_SHUTDOWN, SENDS_NONE, 0, 0);
	return true;
}

static bool work(void)
{
	bool worked = say_back();

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct connection *connection = &connections[i];

		if (!connection->used)
			continue;
		worked = talk(connection) || worked;
		if (connection->host_done && !connection->closing &&
		    !connection->left && !has_pending(connection)) {
			connection->closing = true;
			send(connection, OP_SHUTDOWN, BOTH, 0, 0);
		}
	}
	return worked;
}

/* ---- what comes in ---- */

static void take_data(struct connection *connection, unsigned buffer,
		      uint32_t length)
{
	volatile char *text = (volatile char *)(BUFFERS + PIECE * buffer +
						sizeof(struct header));

	if (!connection->talks) {
		pending[pending_count].connection = connection;
		pending[pending_count].buffer = buffer;
		pending[pending_count++].length = length;
		return;
	}
	connection->got += length;
	if (length < 64) {
		text[length] = 0;
		say("the host says %s", (const char *)(uintptr_t)text);
	}
	give_buffer(buffer);
}

static void forget(struct connection *connection)
{
	for (unsigned i = pending_count; i-- > 0;) {
		if (pending[i].connection == connection)
			drop_pending(i);
	}
	connection->used = false;
}

static void take_open(struct connection *connection, uint16_t op,
		      uint32_t flags)
{
	switch (op) {
	case OP_RESPONSE:
		say("connected");
		connection->left = TALK;
		break;
	case OP_RESET:
		say("%s %u", connection->closing ? "over" : "reset",
		    connection->port);
		forget(connection);
		break;
	case OP_SHUTDOWN:
		connection->host_done = flags & SENDS_NONE;
		break;
	case OP_CREDIT_ASK:
		send(connection, OP_CREDIT, 0, 0, 0);
		break;
	}
}

static void take(unsigned buffer)
{
	struct header header = *(struct header *)(BUFFERS + PIECE * buffer);
	struct connection *connection = find(header.to_port, header.from_port);

	CHECK(header.from_cid == 2 && header.to_cid == cid && header.type == 1);
	if (!connection && header.op != OP_RESET) {
		connection = make(header.to_port, header.from_port);
		if (header.op == OP_REQUEST && header.to_port == 22) {
			send(connection, OP_RESPONSE, 0, 0, 0);
		} else {
			send(connection, OP_RESET, 0, 0, 0);
			connection->used = false;
		}
	}
	if (!connection || !connection->used) {
		give_buffer(buffer);
		return;
	}
	connection->room = header.room;
	connection->taken = header.forwarded;
	if (header.op == OP_DATA) {
		take_data(connection, buffer, header.length);
	} else {
		take_open(connection, header.op, header.flags);
		give_buffer(buffer);
	}
}

static void give_event_buffer(void)
{
	*(volatile uint32_t *)EVENT = 0xff;
	card_put(&card, EVENTS, 0, EVENT, 4, true, false);
	card_kick(&card, EVENTS, 0);
}

static bool take_event(void)
{
	uint32_t written = 0;
	unsigned count = 0;

	if (card_take(&card, EVENTS, &written) < 0)
		return false;
	CHECK(written == 4 && !*(volatile uint32_t *)EVENT);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		count += connections[i].used;
		if (connections[i].used)
			forget(&connections[i]);
	}
	cid = mmio_read32(card.own);
	say("transport reset, %u connections are gone", count);
	give_event_buffer();
	return true;
}

static void connect(uint32_t host_port)
{
	struct connection *connection = make(next_port++, host_port);

	connection->talks = true;
	send(connection, OP_REQUEST, 0, 0, 0);
}

static void answer(char c)
{
	if (c == 'c')
		connect(80);
	if (c == 'n')
		connect(81);
	if (c == 'q')
		guest_end_well();
}

void guest_main(const struct start_info *info)
{
	(void)info;
	card_init();
	trap_set(TICK, on_tick);
	for (uint64_t i = 0; i < 2 * PIECE; i++)
		*(volatile uint8_t *)(PATTERN + i) = (uint8_t)(i % 251);
	CHECK(card_find(&card, 19, 0, 0));
	cid = mmio_read32(card.own);
	CHECK(cid == 3 && !mmio_read32(card.own + 4));
	for (unsigned i = 0; i < COUNT; i++)
		give_buffer(i);
	give_event_buffer();
	ioapic_route(2, TICK);
	pit_start(50);
	say("up");
	for (;;) {
		int buffer = card_take(&card, TO_GUEST, NULL);

		if (buffer >= 0)
			take((unsigned)buffer);
		while (in8(COM1_LSR) & 1)
			answer((char)in8(COM1));
		if (!take_event() && !work() && buffer < 0)
			irq_wait();
	}
}
