/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest with an agent at virtio-console's port, as small as it can be: it
 * "runs" cat (what it is given comes out again), fail (says so, status 3), die
 * (by signal 15), much (100000 bytes), slow (a few looks), hang (no answer
 * to looks) and overflow (bytes without an end, from then on). What stands in its
 * requests is searched for, not parsed. With "deaf" on its command line it
 * opens no port. The serial port's 'q' ends it.
 */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define COM1        0x3f8
#define COM1_LSR    0x3fd
#define TICK        0x40
#define RINGS       0x800000ull
#define BUFFERS     0x900000ull /* a page each */
#define LINE        0x1000000ull
#define LINE_MAX    0x800000u
#define OUT         0x1800000ull
#define PAGE        4096u
#define COUNT       16u

#define CONTROL_IN  2u
#define CONTROL_OUT 3u
#define DATA_IN     4u
#define DATA_OUT    5u
#define MULTIPORT   2u

#define EVENT_READY 0u
#define EVENT_ADD   1u
#define EVENT_PORT  3u
#define EVENT_OPEN  6u

#define MUCH        100000u

struct agent {
	struct card card;
	uint32_t line_size, out_size;
	uint32_t input, input_size; /* in the line: of "input-data" */
	char program;               /* its first letter */
	unsigned looks;
	bool floods, deaf;
};

static void on_tick(struct frame *frame)
{
	(void)frame;
	lapic_eoi();
}

/* ---- bytes ---- */

static char *line_at(uint32_t at)
{
	return (char *)(LINE + at);
}

static uint64_t buffer(unsigned queue, unsigned index)
{
	return BUFFERS + (queue * COUNT + index) * (uint64_t)PAGE;
}

static void give(struct card *card, unsigned queue, unsigned index)
{
	card_put(card, queue, index, buffer(queue, index), PAGE, true, false);
	card_kick(card, queue, (uint16_t)index);
}

/* All of it, and waits until the device has it. */
static void send(struct card *card, unsigned queue, uint64_t at, uint32_t size)
{
	if (!size)
		return;
	card_put(card, queue, 0, at, size, false, false);
	card_kick(card, queue, 0);
	(void)card_wait(card, queue, NULL);
}

static void put_char(struct agent *agent, char c)
{
	*(char *)(OUT + agent->out_size++) = c;
}

static void put(struct agent *agent, const char *text)
{
	for (; *text; text++)
		put_char(agent, *text);
}

static void flush(struct agent *agent)
{
	send(&agent->card, DATA_OUT, OUT, agent->out_size);
	agent->out_size = 0;
}

/* ---- the line ---- */

/* Behind the first `text` in it; 0: it is not there. */
static uint32_t behind(const struct agent *agent, const char *text)
{
	for (uint32_t i = 0; i < agent->line_size; i++) {
		uint32_t n = 0;

		while (text[n] && i + n < agent->line_size &&
		       *line_at(i + n) == text[n])
			n++;
		if (!text[n])
			return i + n;
	}
	return 0;
}

static void answer_sync(struct agent *agent)
{
	uint32_t at = behind(agent, "\"id\":");

	put_char(agent, (char)0xff);
	put(agent, "{\"return\": ");
	for (; *line_at(at) >= '0' && *line_at(at) <= '9'; at++)
		put_char(agent, *line_at(at));
	put(agent, "}\n");
}

static void answer_start(struct agent *agent)
{
	uint32_t path = behind(agent, "\"path\":\"");
	uint32_t end;

	agent->program = path ? *line_at(path) : 0;
	agent->looks = 0;
	agent->input = behind(agent, "\"input-data\":\"");
	for (end = agent->input; end && *line_at(end) != '"'; end++)
		;
	agent->input_size = end - agent->input;
	/* It must outlive the line that it stands in. */
	for (uint32_t i = 0; i < agent->input_size; i++)
		*line_at(LINE_MAX / 2 + i) = *line_at(agent->input + i);
	agent->floods |= agent->program == 'o';
	put(agent, "{\"return\": {\"pid\": 4711}}\n");
}

static void put_end(struct agent *agent, const char *end)
{
	put(agent, "{\"return\": {\"exited\": true, ");
	put(agent, end);
}

static void put_much(struct agent *agent)
{
	put_end(agent, "\"exitcode\": 0, \"out-data\": \"");
	for (uint32_t i = 0; i < MUCH / 3; i++)
		put(agent, "bXV6");
	put(agent, "bQ==\"}}\n");
}

static void answer_look(struct agent *agent)
{
	agent->looks++;
	switch (agent->program) {
	case 'c':
		put_end(agent, "\"exitcode\": 0, \"out-data\": \"");
		for (uint32_t i = 0; i < agent->input_size; i++)
			put_char(agent, *line_at(LINE_MAX / 2 + i));
		put(agent, "\"}}\n");
		break;
	case 'f':
		put_end(agent, "\"exitcode\": 3, \"out-data\": \"b3V0Cg==\", "
			       "\"err-data\": \"ZXJyCg==\"}}\n");
		break;
	case 'd':
		put_end(agent, "\"signal\": 15}}\n");
		break;
	case 'm':
		put_much(agent);
		break;
	case 's':
		if (agent->looks < 4)
			put(agent, "{\"return\": {\"exited\": false}}\n");
		else
			put_end(agent, "\"exitcode\": 0}}\n");
		break;
	default:
		break;
	}
}

static void answer(struct agent *agent)
{
	if (behind(agent, "guest-sync-delimited"))
		answer_sync(agent);
	else if (behind(agent, "guest-exec-status"))
		answer_look(agent);
	else if (behind(agent, "guest-exec"))
		answer_start(agent);
	flush(agent);
}

static void take_bytes(struct agent *agent, const char *bytes, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		CHECK(agent->line_size < LINE_MAX / 2);
		*line_at(agent->line_size++) = bytes[i];
		if (bytes[i] != '\n')
			continue;
		answer(agent);
		agent->line_size = 0;
	}
}

/* ---- the console ---- */

static void tell(struct agent *agent, uint32_t port, uint16_t event)
{
	volatile uint32_t *message =
		(volatile uint32_t *)buffer(CONTROL_OUT, 0);

	message[0] = port;
	message[1] = event | 1u << 16;
	send(&agent->card, CONTROL_OUT, buffer(CONTROL_OUT, 0), 8);
}

static void hear(struct agent *agent, unsigned index)
{
	const volatile uint32_t *message =
		(const volatile uint32_t *)buffer(CONTROL_IN, index);
	const uint32_t port = message[0];
	const uint16_t event = (uint16_t)message[1];

	if (event == EVENT_ADD) {
		tell(agent, port, EVENT_PORT);
		if (port == 1 && !agent->deaf)
			tell(agent, port, EVENT_OPEN);
	}
	if (event == EVENT_OPEN && port == 1)
		say("client %s", message[1] >> 16 ? "came" : "left");
}

static void work(struct agent *agent)
{
	struct card *card = &agent->card;
	uint32_t size;
	int head;

	while ((head = card_take(card, CONTROL_IN, NULL)) >= 0) {
		hear(agent, (unsigned)head);
		give(card, CONTROL_IN, (unsigned)head);
	}
	while ((head = card_take(card, DATA_IN, &size)) >= 0) {
		take_bytes(agent, (const char *)buffer(DATA_IN, (unsigned)head),
			   size);
		give(card, DATA_IN, (unsigned)head);
	}
	if (agent->floods)
		send(card, DATA_OUT, BUFFERS, PAGE);
}

void guest_main(const struct start_info *info)
{
	static struct agent agent;

	agent.deaf = cmdline_has(info, "deaf");
	agent.card.rings = RINGS;
	card_init();
	trap_set(TICK, on_tick);
	ioapic_route(2, TICK);
	pit_start(100);
	CHECK(card_find(&agent.card, 3, 0, MULTIPORT));
	CHECK(agent.card.features == MULTIPORT);
	for (unsigned i = 0; i < COUNT; i++) {
		give(&agent.card, CONTROL_IN, i);
		give(&agent.card, DATA_IN, i);
	}
	tell(&agent, 0, EVENT_READY);
	say("up");
	for (;;) {
		work(&agent);
		if (in8(COM1_LSR) & 1 && in8(COM1) == 'q')
			guest_end_well();
		if (!agent.floods)
			irq_wait();
	}
}
