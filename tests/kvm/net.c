/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On a network: takes its address from the command line ("ip=A.B.C.D") or by
 * DHCP ("dhcp"), answers ARP and ping, sends back what comes to UDP port 7,
 * and with "call=PORT" asks its gateway's port first, until an answer comes. To
 * UDP port 9: 'r' resets the machine, 'q' ends it. It says when its link goes
 * up and down; 'q' at its serial port ends it as well.
 */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/virtio.h"

#define COM1         0x3f8
#define COM1_LSR     0x3fd
#define TICK         0x40
#define RINGS        0x800000ull
#define BUFFERS      0x900000ull
#define BUFFER_SIZE  2048u
#define IN           0xa00000ull
#define OUT          0xa20000ull
#define RX           0u
#define TX           1u
#define HEADER       12u
#define MTU_MAX      9000u

#define F_CSUM       (1u << 0)
#define F_GUEST_CSUM (1u << 1)
#define F_MTU        (1u << 3)
#define F_MAC        (1u << 5)
#define F_MERGE      (1u << 15)
#define F_STATUS     (1u << 16)

/* Offsets in a frame, of IPv4 without options. */
#define ETHER_TYPE  12u
#define IP          14u
#define IP_PROTOCOL (IP + 9)
#define IP_FROM     (IP + 12)
#define IP_TO       (IP + 16)
#define L4          34u
#define UDP_DATA    (L4 + 8)

#define ICMP        1u
#define UDP         17u
#define DHCP_SIZE   300u

static struct card card = { .rings = RINGS };
static uint8_t mac[6], gateway_mac[6];
static uint32_t ip, gateway, server;
static bool has_mac, answered, is_up = true;

static uint8_t *const in = (uint8_t *)IN, *const out = (uint8_t *)OUT + HEADER;

static void on_tick(struct frame *frame)
{
	(void)frame;
	lapic_eoi();
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

static void copy(uint8_t *to, const uint8_t *from, unsigned size)
{
	__builtin_memcpy(to, from, size);
}

static bool same(const uint8_t *a, const uint8_t *b, unsigned size)
{
	while (size && *a == *b) {
		a++;
		b++;
		size--;
	}
	return !size;
}

static uint32_t sum(const uint8_t *at, unsigned size, uint32_t sum)
{
	for (; size > 1; size -= 2, at += 2)
		sum += get16(at);
	if (size)
		sum += (uint32_t)*at << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* ---- frames ---- */

/* `checksum`: where the device is to put one; 0: nowhere. */
static void transmit(unsigned size, unsigned checksum)
{
	uint8_t *header = out - HEADER;

	for (unsigned i = 0; i < HEADER; i++)
		header[i] = 0;
	if (checksum) {
		header[0] = 1;
		header[6] = L4;
		header[8] = (uint8_t)(checksum - L4);
	}
	card_put(&card, TX, 0, (uint64_t)header, HEADER, false, true);
	card_put(&card, TX, 1, (uint64_t)out, size, false, false);
	card_kick(&card, TX, 0);
	(void)card_wait(&card, TX, (uint32_t *)0);
}

static void offer(unsigned index)
{
	card_put(&card, RX, index, BUFFERS + BUFFER_SIZE * index, BUFFER_SIZE,
		 true, false);
	card_offer(&card, RX, (uint16_t)index);
}

static void tell(void)
{
	mmio_write16(card.notify, RX);
}

/* One of several buffers becomes one; its size, 0: there is none. */
static unsigned receive(void)
{
	unsigned size = 0, left = 1;
	uint32_t written;

	for (unsigned first = 1; left; left--, first = 0) {
		int index = card_take(&card, RX, &written);
		const uint8_t *at;

		if (index < 0) {
			/* All of a frame is there, or nothing of it. */
			CHECK(first);
			return 0;
		}
		at = (const uint8_t *)(BUFFERS + BUFFER_SIZE * (unsigned)index);
		if (first) {
			left = at[10] | (unsigned)at[11] << 8;
			CHECK(left && written > HEADER);
			at += HEADER;
			written -= HEADER;
		}
		CHECK(size + written <= MTU_MAX + 100);
		copy(in + size, at, written);
		size += written;
		offer((unsigned)index);
	}
	tell();
	return size;
}

static void ether(const uint8_t *to, unsigned type)
{
	copy(out, to, 6);
	copy(out + 6, mac, 6);
	put16(out + ETHER_TYPE, type);
}

static void ipv4(unsigned protocol, uint32_t from, uint32_t to, unsigned size)
{
	uint8_t *at = out + IP;

	for (unsigned i = 0; i < 20; i++)
		at[i] = 0;
	at[0] = 0x45;
	put16(at + 2, 20 + size);
	at[8] = 64;
	at[9] = (uint8_t)protocol;
	put32(at + 12, from);
	put32(at + 16, to);
	put16(at + 10, 0xffff ^ sum(at, 20, 0));
}

/* What is sent stands in its place already. */
static void udp(const uint8_t *to_mac, uint32_t from, uint32_t to,
		unsigned from_port, unsigned to_port, unsigned size)
{
	uint8_t *at = out + L4;
	uint32_t pseudo;

	ether(to_mac, 0x800);
	size += 8;
	ipv4(UDP, from, to, size);
	put16(at, from_port);
	put16(at + 2, to_port);
	put16(at + 4, size);
	pseudo = sum(out + IP_FROM, 8, UDP + size);
	put16(at + 6, pseudo);
	if (card.features & F_CSUM) {
		transmit(L4 + size, L4 + 6);
		return;
	}
	pseudo = 0xffff ^ sum(at, size, 0);
	put16(at + 6, pseudo ? pseudo : 0xffff);
	transmit(L4 + size, 0);
}

static void arp(unsigned operation, const uint8_t *to_mac, uint32_t to)
{
	static const uint8_t head[] = { 0, 1, 8, 0, 6, 4, 0 };
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
	uint8_t *at = out + IP;

	ether(operation == 1 ? all : to_mac, 0x806);
	copy(at, head, sizeof(head));
	at[7] = (uint8_t)operation;
	copy(at + 8, mac, 6);
	put32(at + 14, ip);
	copy(at + 18, to_mac, 6);
	put32(at + 24, to);
	transmit(60, 0);
}

/* ---- DHCP ---- */

static void dhcp(unsigned kind)
{
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
	uint8_t *at = out + UDP_DATA, *option = at + 240;

	for (unsigned i = 0; i < DHCP_SIZE; i++)
		at[i] = 0;
	at[0] = at[1] = 1;
	at[2] = 6;
	put32(at + 4, 0x766d736e);
	copy(at + 28, mac, 6);
	put32(at + 236, 0x63825363);
	*option++ = 53;
	*option++ = 1;
	*option++ = (uint8_t)kind;
	if (kind == 3) {
		*option++ = 50;
		*option++ = 4;
		put32(option, ip);
		option += 4;
		*option++ = 54;
		*option++ = 4;
		put32(option, server);
		option += 4;
	}
	*option = 255;
	udp(all, 0, 0xffffffff, 68, 67, DHCP_SIZE);
}

static void take_dhcp(const uint8_t *at, unsigned size)
{
	const uint8_t *option = at + 240, *end = at + size;
	unsigned kind = 0;

	if (size < 240 || get32(at + 4) != 0x766d736e)
		return;
	while (option + 2 <= end && *option != 255) {
		const uint8_t *value = option + 2;

		if (value + option[1] > end)
			break;
		if (option[0] == 53)
			kind = *value;
		else if (option[0] == 3)
			gateway = get32(value);
		else if (option[0] == 54)
			server = get32(value);
		option = value + option[1];
	}
	ip = get32(at + 16);
	if (kind == 2) {
		dhcp(3);
	} else if (kind == 5) {
		say("address %u.%u.%u.%u", ip >> 24, ip >> 16 & 255,
		    ip >> 8 & 255, ip & 255);
		arp(1, gateway_mac, gateway);
	}
}

/* ---- what comes ---- */

static void take_arp(void)
{
	const uint8_t *at = in + IP;

	if (get16(at + 6) == 1 && get32(at + 24) == ip) {
		arp(2, at + 8, get32(at + 14));
	} else if (get16(at + 6) == 2 && get32(at + 14) == gateway) {
		copy(gateway_mac, at + 8, 6);
		has_mac = true;
	}
}

static void take_ping(unsigned size)
{
	uint8_t *at = out + L4;

	if (in[L4] != 8)
		return;
	copy(at, in + L4, size - L4);
	at[0] = 0;
	put16(at + 2, 0);
	put16(at + 2, 0xffff ^ sum(at, size - L4, 0));
	ether(in + 6, 0x800);
	ipv4(ICMP, ip, get32(in + IP_FROM), size - L4);
	transmit(size, 0);
}

static void take_order(uint8_t order)
{
	if (order == 'r') {
		say("reset");
		out8(LAYOUT_I8042_COMMAND, 0xfe);
		for (;;)
			;
	}
	if (order == 'q')
		guest_end_well();
}

static void take_udp(void)
{
	const uint8_t *at = in + L4;
	unsigned size = get16(at + 4) - 8u;

	switch (get16(at + 2)) {
	case 7:
		copy(out + UDP_DATA, in + UDP_DATA, size);
		udp(in + 6, ip, get32(in + IP_FROM), 7, get16(at), size);
		break;
	case 9:
		take_order(in[UDP_DATA]);
		break;
	case 68:
		take_dhcp(in + UDP_DATA, size);
		break;
	case 1234:
		if (!answered)
			say("the gateway answers");
		answered = true;
		break;
	}
}

static void take(unsigned size)
{
	unsigned length;

	if (get16(in + ETHER_TYPE) == 0x806 && size >= IP + 28) {
		take_arp();
		return;
	}
	if (get16(in + ETHER_TYPE) != 0x800 || in[IP] != 0x45 || size < L4 + 8)
		return;
	/* Short frames are padded. */
	length = IP + get16(in + IP + 2);
	if (length > size || length < L4 + 8)
		return;
	if (in[IP_PROTOCOL] == UDP && get16(in + L4 + 4) >= 8 &&
	    get16(in + L4 + 4) <= length - L4)
		take_udp();
	else if (in[IP_PROTOCOL] == ICMP && get32(in + IP_TO) == ip)
		take_ping(length);
}

/* ---- from the command line ---- */

/* The numbers behind "NAME", with one '.' between. */
static bool numbers(const struct start_info *info, const char *name,
		    uint32_t *found, unsigned count)
{
	const uint8_t *at = (const uint8_t *)cmdline(info);
	const uint8_t *word = (const uint8_t *)name;
	unsigned size = 0;

	while (word[size])
		size++;
	while (*at && !same(at, word, size))
		at++;
	if (!*at)
		return false;
	at += size;
	for (unsigned i = 0; i < count; i++) {
		found[i] = 0;
		while (*at >= '0' && *at <= '9')
			found[i] = 10 * found[i] + *at++ - '0';
		at += i + 1 < count;
	}
	return true;
}

static bool address(const struct start_info *info, const char *name,
		    uint32_t *found)
{
	uint32_t parts[4];

	if (!numbers(info, name, parts, 4))
		return false;
	*found = parts[0] << 24 | parts[1] << 16 | parts[2] << 8 | parts[3];
	return true;
}

static void find(void)
{
	CHECK(card_find(&card, 1, 0,
			F_CSUM | F_GUEST_CSUM | F_MTU | F_MAC | F_MERGE |
				F_STATUS));
	CHECK(card.features & F_MAC && card.features & F_MERGE &&
	      card.features & F_STATUS);
	for (unsigned i = 0; i < 6; i++)
		mac[i] = mmio_read8(card.own + i);
	say("mac %x:%x:%x:%x:%x:%x", mac[0], mac[1], mac[2], mac[3], mac[4],
	    mac[5]);
	if (card.features & F_MTU)
		say("mtu %u", mmio_read16(card.own + 10));
	say(card.features & F_CSUM ? "with offloads" : "without offloads");
	for (unsigned i = 0; i < CARD_QUEUE_SIZE; i++)
		offer(i);
	tell();
}

static void look_at_link(void)
{
	bool up = mmio_read16(card.own + 6) & 1;

	if (up != is_up)
		say(up ? "link up" : "link down");
	is_up = up;
}

/* Until there is an answer: each may get lost. */
static void ask(bool by_dhcp, uint32_t port)
{
	if (by_dhcp && !ip)
		dhcp(1);
	else if (gateway && !has_mac)
		arp(1, gateway_mac, gateway);
	else if (port && has_mac && !answered) {
		copy(out + UDP_DATA, (const uint8_t *)"hello", 5);
		udp(gateway_mac, ip, gateway, 1234, port, 5);
	}
}

void guest_main(const struct start_info *info)
{
	bool by_dhcp = cmdline_has(info, "dhcp");
	uint32_t port = 0;
	unsigned ticks = 0, size;

	card_init();
	trap_set(TICK, on_tick);
	(void)address(info, "ip=", &ip);
	(void)address(info, "gateway=", &gateway);
	(void)numbers(info, "call=", &port, 1);
	find();
	ioapic_route(2, TICK);
	pit_start(50);
	say("up");
	for (;;) {
		if (ticks++ % 16 == 0)
			ask(by_dhcp, port);
		look_at_link();
		while ((size = receive()))
			take(size);
		if (in8(COM1_LSR) & 1 && in8(COM1) == 'q')
			guest_end_well();
		irq_wait();
	}
}
