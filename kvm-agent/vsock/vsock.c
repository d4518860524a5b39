/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of connections, and the credit of both directions.
 *
 * A guest's word on its own credit can only hurt itself: too little makes its
 * connection wait, and nothing is kept for it here. What it says of ours is
 * held against what it sent: more than there was room for ends the connection.
 *
 * A connection that ends for the guest may live on for the host, until the
 * bytes that the guest sent are out; it is not found by its ports then.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "kvm-agent/vsock/vsock.h"

/* Bits of `due`, in the order in which they go out; data is behind them all. */
#define DUE_REQUEST      1u
#define DUE_RESPONSE     2u
#define DUE_CREDIT       4u
#define DUE_CREDIT_ASKED 8u
#define DUE_SHUTDOWN     16u
#define DUE_RESET        32u

#define BOTH             (VSOCK_TAKES_NONE | VSOCK_SENDS_NONE)
/* The guest is told of new room before it misses it. */
#define TELL_FROM (VSOCK_ROOM / 4)

/* ---- one connection ---- */

static void set_state(struct vsock_connection *connection,
		      enum vsock_state state)
{
	static const unsigned next[] = {
		[VSOCK_FREE] = 1u << VSOCK_ASKING | 1u << VSOCK_OPEN,
		[VSOCK_ASKING] = 1u << VSOCK_OPEN | 1u << VSOCK_ENDING |
				 1u << VSOCK_FREE,
		[VSOCK_OPEN] = 1u << VSOCK_DRAINING | 1u << VSOCK_ENDING |
			       1u << VSOCK_FREE,
		[VSOCK_DRAINING] = 1u << VSOCK_FREE,
		[VSOCK_ENDING] = 1u << VSOCK_FREE,
	};

	assert(next[connection->state] & 1u << state);
	connection->state = state;
}

static uint32_t kept_bytes(const struct vsock_connection *connection)
{
	return connection->received - connection->forwarded;
}

static void set_ticks(struct vsock *vsock, struct vsock_connection *connection,
		      unsigned ticks)
{
	connection->ticks = ticks;
	vsock->hooks->tick(vsock->hooks);
}

static void drop_kept(struct vsock_connection *connection)
{
	free(connection->kept);
	connection->kept = NULL;
	connection->first = 0;
	connection->forwarded = connection->received;
}

static void drop_end(struct vsock *vsock, struct vsock_connection *connection)
{
	if (connection->end)
		vsock->hooks->closed(vsock->hooks, connection->end);
	connection->end = NULL;
	drop_kept(connection);
}

static void set_free(struct vsock *vsock, struct vsock_connection *connection)
{
	drop_end(vsock, connection);
	set_state(connection, VSOCK_FREE);
	*connection = (struct vsock_connection){ .state = VSOCK_FREE };
}

/* It is over for both; the guest is told. */
static void end(struct vsock *vsock, struct vsock_connection *connection)
{
	drop_end(vsock, connection);
	set_state(connection, VSOCK_ENDING);
	connection->due = DUE_RESET;
	connection->ticks = 0;
}

static bool is_of_guest(const struct vsock_connection *connection)
{
	return connection->state == VSOCK_ASKING ||
	       connection->state == VSOCK_OPEN ||
	       connection->state == VSOCK_ENDING;
}

/* The guest is to get such a packet, if it still knows the connection. */
static void set_due(struct vsock_connection *connection, unsigned due)
{
	if (is_of_guest(connection))
		connection->due |= due;
}

static struct vsock_connection *find(struct vsock *vsock, uint32_t guest_port,
				     uint32_t host_port)
{
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		struct vsock_connection *connection = &vsock->connections[i];

		if (is_of_guest(connection) &&
		    connection->guest_port == guest_port &&
		    connection->host_port == host_port)
			return connection;
	}
	return NULL;
}

static struct vsock_connection *find_free(struct vsock *vsock)
{
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		if (vsock->connections[i].state == VSOCK_FREE)
			return &vsock->connections[i];
	}
	return NULL;
}

/* ---- to the host ---- */

/* The host's end does not, from here on; the guest is told. */
static void add_host_flags(struct vsock *vsock,
			   struct vsock_connection *connection, unsigned flags)
{
	if ((connection->host_flags & flags) == flags)
		return;
	connection->host_flags |= flags;
	set_due(connection, DUE_SHUTDOWN);
	/* The guest is to end it then. */
	if (connection->host_flags == BOTH && connection->state == VSOCK_OPEN)
		set_ticks(vsock, connection, VSOCK_ANSWER_TICKS);
}

/* The guest has said so, and need not be told, unless that was the last. */
static void sends_for_nobody(struct vsock *vsock,
			     struct vsock_connection *connection)
{
	if (connection->host_flags & VSOCK_TAKES_NONE)
		add_host_flags(vsock, connection, VSOCK_SENDS_NONE);
	else
		connection->host_flags |= VSOCK_SENDS_NONE;
}

static void end_takes_none(struct vsock *vsock,
			   struct vsock_connection *connection)
{
	drop_kept(connection);
	add_host_flags(vsock, connection, VSOCK_TAKES_NONE);
}

/* Of what is not kept: how much it took. */
static size_t write_end(struct vsock *vsock,
			struct vsock_connection *connection, const void *data,
			size_t size)
{
	ssize_t n =
		vsock->hooks->write(vsock->hooks, connection->end, data, size);

	if (n < 0 && n != -EAGAIN)
		end_takes_none(vsock, connection);
	if (n <= 0)
		return 0;
	assert((size_t)n <= size);
	connection->forwarded += (uint32_t)n;
	return (size_t)n;
}

/* What is kept goes, as far as it does. */
static void drain(struct vsock *vsock, struct vsock_connection *connection)
{
	while (connection->kept && kept_bytes(connection)) {
		size_t size = min_u64(kept_bytes(connection),
				      VSOCK_ROOM - connection->first);
		size_t n =
			write_end(vsock, connection,
				  connection->kept + connection->first, size);

		if (!n)
			break;
		connection->first =
			(uint32_t)(connection->first + n) % VSOCK_ROOM;
	}
	if (!kept_bytes(connection))
		drop_kept(connection);
	if (connection->forwarded - connection->forwarded_told >= TELL_FROM)
		set_due(connection, DUE_CREDIT);
}

/* What follows when nothing is kept any more, or the guest has ended. */
static void settle(struct vsock *vsock, struct vsock_connection *connection)
{
	if (kept_bytes(connection))
		return;
	if (connection->state == VSOCK_DRAINING) {
		set_free(vsock, connection);
		return;
	}
	if (connection->state != VSOCK_OPEN)
		return;
	if (connection->guest_flags == BOTH) {
		end(vsock, connection);
		return;
	}
	if (connection->guest_flags & VSOCK_SENDS_NONE && !connection->shut) {
		connection->shut = true;
		vsock->hooks->shut(vsock->hooks, connection->end, true);
	}
}

static bool keep(struct vsock_connection *connection, const uint8_t *data,
		 size_t size)
{
	uint32_t at;

	if (!connection->kept)
		connection->kept = malloc(VSOCK_ROOM);
	if (!connection->kept)
		return false;
	/* `size` of what was received is this. */
	at = (connection->first + kept_bytes(connection) - (uint32_t)size) %
	     VSOCK_ROOM;
	for (size_t done = 0, n; done < size; done += n) {
		n = min_u64(size - done, VSOCK_ROOM - at);
		memcpy(connection->kept + at, data + done, n);
		at = (uint32_t)(at + n) % VSOCK_ROOM;
	}
	return true;
}

/* ---- from the guest ---- */

static void refuse(struct vsock *vsock, const struct vsock_header *header)
{
	struct vsock_refusal *refusal;

	/* Never a reset for a reset. */
	if (le16_get(header->op) == VSOCK_RESET)
		return;
	assert(vsock->refusal_count < VSOCK_REFUSALS_MAX);
	refusal = &vsock->refusals[vsock->refusal_count++];
	*refusal = (struct vsock_refusal){
		.from_cid = le64_get(header->to_cid),
		.to_cid = le64_get(header->from_cid),
		.from_port = le32_get(header->to_port),
		.to_port = le32_get(header->from_port),
		.type = le16_get(header->type),
	};
}

static uint32_t credit(const struct vsock_connection *connection)
{
	uint32_t out = connection->sent - connection->guest_forwarded;

	return out < connection->guest_room ? connection->guest_room - out : 0;
}

/* Packets may overtake one another: what does not fit between what it took
 * last and what it was sent is old, or a lie. */
static void take_credit(struct vsock_connection *connection,
			const struct vsock_header *header)
{
	uint32_t forwarded = le32_get(header->forwarded);

	if (forwarded - connection->guest_forwarded <=
	    connection->sent - connection->guest_forwarded)
		connection->guest_forwarded = forwarded;
	connection->guest_room = le32_get(header->room);
	/* Asked once for each time that there is none: it may answer that
	 * there is none still. */
	if (credit(connection))
		connection->credit_asked = false;
}

static void take_request(struct vsock *vsock, const struct vsock_header *header)
{
	struct vsock_connection *connection = find_free(vsock);
	uint32_t port = le32_get(header->to_port);
	void *end_of_host = NULL;

	if (!connection ||
	    vsock->hooks->connect(vsock->hooks,
				  (unsigned)(connection - vsock->connections),
				  port, &end_of_host) < 0) {
		refuse(vsock, header);
		return;
	}
	set_state(connection, VSOCK_OPEN);
	connection->guest_port = le32_get(header->from_port);
	connection->host_port = port;
	connection->end = end_of_host;
	connection->due = DUE_RESPONSE;
	connection->readable = true;
	take_credit(connection, header);
}

static void take_response(struct vsock *vsock,
			  struct vsock_connection *connection)
{
	if (connection->state != VSOCK_ASKING ||
	    connection->due & DUE_REQUEST) {
		end(vsock, connection);
		return;
	}
	set_state(connection, VSOCK_OPEN);
	connection->ticks = 0;
	connection->readable = true;
	if (vsock->hooks->opened(vsock->hooks, connection->end,
				 connection->host_port) < 0)
		end(vsock, connection);
}

/* It is over for the guest; the host's end still gets what it sent. */
static void take_reset(struct vsock *vsock, struct vsock_connection *connection)
{
	if (connection->state != VSOCK_OPEN || !kept_bytes(connection)) {
		set_free(vsock, connection);
		return;
	}
	set_state(connection, VSOCK_DRAINING);
	connection->due = 0;
	connection->readable = false;
	set_ticks(vsock, connection, VSOCK_DRAIN_TICKS);
}

static void take_data(struct vsock *vsock, struct vsock_connection *connection,
		      const uint8_t *data, uint32_t size)
{
	size_t done = 0;

	if (connection->guest_flags & VSOCK_SENDS_NONE ||
	    size > VSOCK_ROOM - kept_bytes(connection)) {
		end(vsock, connection);
		return;
	}
	if (!size)
		return;
	connection->received += size;
	if (connection->host_flags & VSOCK_TAKES_NONE)
		connection->forwarded = connection->received;
	else if (!connection->kept)
		done = write_end(vsock, connection, data, size);
	/* An end that takes no more has dropped it. */
	if (kept_bytes(connection) &&
	    !keep(connection, data + done, size - done)) {
		end(vsock, connection);
		return;
	}
	if (connection->forwarded - connection->forwarded_told >= TELL_FROM)
		set_due(connection, DUE_CREDIT);
}

static void take_shutdown(struct vsock *vsock,
			  struct vsock_connection *connection, unsigned flags)
{
	const unsigned news = flags & BOTH & ~connection->guest_flags;

	connection->guest_flags |= news;
	if (news & VSOCK_TAKES_NONE) {
		connection->readable = false;
		sends_for_nobody(vsock, connection);
		vsock->hooks->shut(vsock->hooks, connection->end, false);
	}
	settle(vsock, connection);
}

/* Of a connection that is open. */
static void take_open(struct vsock *vsock, struct vsock_connection *connection,
		      const struct vsock_header *header, const void *data)
{
	take_credit(connection, header);
	switch (le16_get(header->op)) {
	case VSOCK_DATA:
		take_data(vsock, connection, data, le32_get(header->length));
		break;
	case VSOCK_SHUTDOWN:
		take_shutdown(vsock, connection, le32_get(header->flags));
		break;
	case VSOCK_CREDIT:
		break;
	case VSOCK_CREDIT_ASKED:
		set_due(connection, DUE_CREDIT);
		break;
	default:
		end(vsock, connection);
		break;
	}
}

bool vsock_can_take(const struct vsock *vsock)
{
	return vsock->refusal_count < VSOCK_REFUSALS_MAX;
}

void vsock_take(struct vsock *vsock, const struct vsock_header *header,
		const void *data, uint64_t size)
{
	struct vsock_connection *connection;
	const unsigned op = le16_get(header->op);

	if (le16_get(header->type) != VSOCK_STREAM ||
	    le64_get(header->to_cid) != VSOCK_HOST_CID ||
	    le64_get(header->from_cid) != vsock->guest_cid) {
		refuse(vsock, header);
		return;
	}
	connection = find(vsock, le32_get(header->from_port),
			  le32_get(header->to_port));
	if (!connection) {
		if (op == VSOCK_REQUEST)
			take_request(vsock, header);
		else
			refuse(vsock, header);
	} else if (op == VSOCK_RESET) {
		take_reset(vsock, connection);
	} else if (connection->state == VSOCK_ENDING) {
		/* It will hear of it. */
	} else if (le32_get(header->length) > size ||
		   le32_get(header->length) > VSOCK_DATA_MAX) {
		end(vsock, connection);
	} else if (op == VSOCK_RESPONSE) {
		take_credit(connection, header);
		take_response(vsock, connection);
	} else if (connection->state == VSOCK_ASKING) {
		end(vsock, connection);
	} else {
		take_open(vsock, connection, header, data);
	}
}

/* ---- to the guest ---- */

static void make_header(const struct vsock *vsock,
			struct vsock_connection *connection, unsigned op,
			struct vsock_header *header)
{
	*header = (struct vsock_header){
		.from_cid = le64_make(VSOCK_HOST_CID),
		.to_cid = le64_make(vsock->guest_cid),
		.from_port = le32_make(connection->host_port),
		.to_port = le32_make(connection->guest_port),
		.type = le16_make(VSOCK_STREAM),
		.op = le16_make((uint16_t)op),
		.room = le32_make(VSOCK_ROOM),
		.forwarded = le32_make(connection->forwarded),
	};
	if (op == VSOCK_SHUTDOWN)
		header->flags = le32_make(connection->host_flags);
	/* Each packet tells of the room. */
	connection->forwarded_told = connection->forwarded;
	connection->due &= ~DUE_CREDIT;
}

static void give_due(struct vsock *vsock, struct vsock_connection *connection,
		     struct vsock_header *header)
{
	static const struct {
		unsigned due, op;
	} order[] = {
		{ DUE_REQUEST, VSOCK_REQUEST },
		{ DUE_RESPONSE, VSOCK_RESPONSE },
		{ DUE_CREDIT, VSOCK_CREDIT },
		{ DUE_CREDIT_ASKED, VSOCK_CREDIT_ASKED },
		{ DUE_SHUTDOWN, VSOCK_SHUTDOWN },
		{ DUE_RESET, VSOCK_RESET },
	};
	unsigned i = 0;

	while (!(connection->due & order[i].due))
		i++;
	connection->due &= ~order[i].due;
	make_header(vsock, connection, order[i].op, header);
	if (order[i].due == DUE_RESET)
		set_free(vsock, connection);
}

static bool may_send(const struct vsock_connection *connection)
{
	return connection->state == VSOCK_OPEN && connection->readable &&
	       !(connection->host_flags & VSOCK_SENDS_NONE);
}

/* False: there is nothing of it now; but something may be due. */
static bool give_data(struct vsock *vsock, struct vsock_connection *connection,
		      struct vsock_header *header, void *data, size_t room)
{
	size_t size =
		min_u64(min_u64(room, VSOCK_DATA_MAX), credit(connection));
	ssize_t n;

	if (!credit(connection)) {
		if (!connection->credit_asked)
			set_due(connection, DUE_CREDIT_ASKED);
		connection->credit_asked = true;
		return false;
	}
	if (!size)
		return false;
	n = vsock->hooks->read(vsock->hooks, connection->end, data, size);
	if (n > 0) {
		assert((size_t)n <= size);
		connection->sent += (uint32_t)n;
		make_header(vsock, connection, VSOCK_DATA, header);
		header->length = le32_make((uint32_t)n);
		return true;
	}
	connection->readable = false;
	if (n == 0)
		add_host_flags(vsock, connection, VSOCK_SENDS_NONE);
	else if (n != -EAGAIN)
		end(vsock, connection);
	return false;
}

static void give_refusal(struct vsock *vsock, struct vsock_header *header)
{
	const struct vsock_refusal *refusal = &vsock->refusals[0];

	*header = (struct vsock_header){
		.from_cid = le64_make(refusal->from_cid),
		.to_cid = le64_make(refusal->to_cid),
		.from_port = le32_make(refusal->from_port),
		.to_port = le32_make(refusal->to_port),
		.type = le16_make(refusal->type),
		.op = le16_make(VSOCK_RESET),
	};
	vsock->refusal_count--;
	memmove(vsock->refusals, vsock->refusals + 1,
		vsock->refusal_count * sizeof(*refusal));
}

int vsock_give(struct vsock *vsock, struct vsock_header *header, void *data,
	       size_t room)
{
	if (vsock->refusal_count) {
		give_refusal(vsock, header);
		return 1;
	}
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		struct vsock_connection *connection =
			&vsock->connections[vsock->cursor];

		vsock->cursor = (vsock->cursor + 1) % VSOCK_CONNECTIONS_MAX;
		if (!connection->due && may_send(connection) &&
		    give_data(vsock, connection, header, data, room))
			return 1;
		if (connection->due) {
			give_due(vsock, connection, header);
			return 1;
		}
	}
	return 0;
}

bool vsock_has_some(const struct vsock *vsock)
{
	if (vsock->refusal_count)
		return true;
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		const struct vsock_connection *connection =
			&vsock->connections[i];

		if (connection->due ||
		    (may_send(connection) &&
		     (credit(connection) || !connection->credit_asked)))
			return true;
	}
	return false;
}

/* ---- the host's side ---- */

int vsock_open(struct vsock *vsock, uint32_t guest_port, void *end_of_host)
{
	struct vsock_connection *connection = find_free(vsock);

	if (!connection)
		return -ENOSPC;
	do {
		vsock->next_port = VSOCK_PORT_FIRST | ((vsock->next_port + 1) &
						       (VSOCK_PORT_FIRST - 1));
	} while (find(vsock, guest_port, vsock->next_port));
	set_state(connection, VSOCK_ASKING);
	connection->guest_port = guest_port;
	connection->host_port = vsock->next_port;
	connection->end = end_of_host;
	connection->due = DUE_REQUEST;
	set_ticks(vsock, connection, VSOCK_ANSWER_TICKS);
	return (int)(connection - vsock->connections);
}

/* Its end was closed, or it took too long. */
static void give_up(struct vsock *vsock, struct vsock_connection *connection)
{
	/* Of what was never asked the guest need not hear. */
	if (connection->due & DUE_REQUEST)
		set_free(vsock, connection);
	else
		end(vsock, connection);
}

void vsock_ready(struct vsock *vsock, unsigned id, bool readable, bool writable,
		 bool hung_up)
{
	struct vsock_connection *connection = &vsock->connections[id];

	assert(id < VSOCK_CONNECTIONS_MAX);
	switch (connection->state) {
	case VSOCK_FREE:
	case VSOCK_ENDING:
		return;
	case VSOCK_ASKING:
		if (hung_up)
			give_up(vsock, connection);
		return;
	case VSOCK_OPEN:
	case VSOCK_DRAINING:
		break;
	}
	if (readable || hung_up)
		connection->readable =
			connection->state == VSOCK_OPEN &&
			!(connection->guest_flags & VSOCK_TAKES_NONE);
	/* What it sent before is read still. */
	if (hung_up)
		end_takes_none(vsock, connection);
	else if (writable)
		drain(vsock, connection);
	settle(vsock, connection);
}

bool vsock_tick(struct vsock *vsock)
{
	bool more = false;

	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		struct vsock_connection *connection = &vsock->connections[i];

		if (connection->ticks && --connection->ticks == 0) {
			if (connection->state == VSOCK_DRAINING)
				set_free(vsock, connection);
			else
				give_up(vsock, connection);
		}
		more = more || connection->ticks;
	}
	return more;
}

/* ---- life ---- */

void vsock_init(struct vsock *vsock, struct vsock_hooks *hooks)
{
	*vsock = (struct vsock){ .hooks = hooks, .guest_cid = VSOCK_GUEST_CID };
}

void vsock_reset(struct vsock *vsock)
{
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		if (vsock->connections[i].state != VSOCK_FREE)
			set_free(vsock, &vsock->connections[i]);
	}
	vsock->refusal_count = 0;
}
