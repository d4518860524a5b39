/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration space and the way of BARs onto the bus.
 *
 * Each byte of a function's configuration has a mask of the bits that a guest
 * may change; sizing a BAR follows from that alone. After each write that may
 * move something all BARs are put where they should be: first those that go,
 * then those that come. A BAR that would lie over another one, or outside of
 * the windows, is nowhere until it can be somewhere. There are no port BARs,
 * no bridges behind the root, and no INTx: devices send messages.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/pci/pci.h"
#include "kvm-agent/vm/layout.h"

#define FUNCTION_SIZE     4096u /* of ECAM */
#define STATUS            0x06u
#define STATUS_HAS_LIST   0x10u
#define SUBSYSTEM         0x2cu
#define INTERRUPT_LINE    0x3cu
#define FIRST_CAPABILITY  0x40u
#define BAR_IS_64_BITS    0x04u
#define BAR_FLAGS         0x0fu
#define ADDRESS_ENABLE    0x80000000u
#define BAR_SIZE_MAX      (16 * MIB)
#define BAR_CONFIG_LENGTH (8 * PCI_BARS)

static void put16(uint8_t *at, uint16_t value)
{
	le16 v = le16_make(value);

	memcpy(at, &v, sizeof(v));
}

static uint16_t get16(const uint8_t *at)
{
	le16 v;

	memcpy(&v, at, sizeof(v));
	return le16_get(v);
}

static uint64_t get64(const uint8_t *at)
{
	le64 v;

	memcpy(&v, at, sizeof(v));
	return le64_get(v);
}

static void put64(uint8_t *at, uint64_t value)
{
	le64 v = le64_make(value);

	memcpy(at, &v, sizeof(v));
}

static unsigned bar_place(unsigned bar)
{
	return PCI_BAR_0 + 8 * bar;
}

/* ---- BARs on the bus ---- */

static void bar_read(void *device, uint64_t offset, void *data, unsigned length)
{
	struct pci_bar *bar = device;
	struct pci_function *function = bar->function;

	function->ops->bar_read(function, (unsigned)(bar - function->bars),
				offset, data, length);
}

static void bar_write(void *device, uint64_t offset, const void *data,
		      unsigned length)
{
	struct pci_bar *bar = device;
	struct pci_function *function = bar->function;

	function->ops->bar_write(function, (unsigned)(bar - function->bars),
				 offset, data, length);
}

static const struct bus_ops bar_ops = { bar_read, bar_write };

static bool within(uint64_t address, uint64_t size, uint64_t start,
		   uint64_t length)
{
	return address >= start && address - start < length &&
	       size <= length - (address - start);
}

/* Where the guest wants it; 0: nowhere. */
static uint64_t bar_wanted(const struct pci_bus *bus,
			   const struct pci_function *function, unsigned number)
{
	const struct pci_bar *bar = &function->bars[number];
	uint64_t address = get64(function->config + bar_place(number)) &
			   ~(uint64_t)BAR_FLAGS;

	if (!bar->size ||
	    !(get16(function->config + PCI_COMMAND) & PCI_COMMAND_MEMORY))
		return 0;
	if (within(address, bar->size, LAYOUT_WINDOW32, LAYOUT_WINDOW32_SIZE) ||
	    within(address, bar->size, bus->window64, LAYOUT_WINDOW64_SIZE))
		return address;
	return 0;
}

static void bar_unmap(struct pci_bus *bus, struct pci_function *function,
		      unsigned number)
{
	struct pci_bar *bar = &function->bars[number];
	uint64_t address = bar->mapped;

	bus_remove(bus->memory, address);
	bar->mapped = 0;
	if (function->ops->bar_unmapped)
		function->ops->bar_unmapped(function, number, address);
}

static void bar_map(struct pci_bus *bus, struct pci_function *function,
		    unsigned number, uint64_t address)
{
	struct pci_bar *bar = &function->bars[number];

	/* Another one is there: this one is nowhere until that one goes. */
	if (bus_add(bus->memory, address, bar->size, &bar_ops, bar, NULL) < 0)
		return;
	bar->mapped = address;
	if (function->ops->bar_mapped)
		function->ops->bar_mapped(function, number, address);
}

/* With the lock. */
static void settle_bars(struct pci_bus *bus)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < PCI_SLOTS * PCI_BARS; i++) {
			struct pci_function *function =
				bus->functions[i / PCI_BARS];
			uint64_t wanted, mapped;

			if (!function)
				continue;
			wanted = bar_wanted(bus, function, i % PCI_BARS);
			mapped = function->bars[i % PCI_BARS].mapped;
			if (pass == 0 && mapped && mapped != wanted)
				bar_unmap(bus, function, i % PCI_BARS);
			else if (pass == 1 && !mapped && wanted)
				bar_map(bus, function, i % PCI_BARS, wanted);
		}
	}
}

/* ---- configuration space ---- */

static void command_changed(struct pci_function *function)
{
	__atomic_store_n(&function->command,
			 get16(function->config + PCI_COMMAND),
			 __ATOMIC_RELEASE);
}

uint16_t pci_function_command(const struct pci_function *function)
{
	return (uint16_t)__atomic_load_n(&function->command, __ATOMIC_ACQUIRE);
}

static bool touches(unsigned offset, unsigned length, unsigned place,
		    unsigned size)
{
	return offset < place + size && place < offset + length;
}

void pci_config_read(struct pci_bus *bus, unsigned slot, unsigned offset,
		     void *data, unsigned length)
{
	struct pci_function *function;
	uint8_t *out = data;

	memset(data, 0xff, length);
	if (slot >= PCI_SLOTS)
		return;
	pthread_mutex_lock(&bus->lock);
	function = bus->functions[slot];
	if (function && function->ops && function->ops->config_read)
		function->ops->config_read(function, offset, length);
	for (unsigned i = 0; function && i < length; i++) {
		if (offset + i < PCI_CONFIG_SIZE)
			out[i] = function->config[offset + i];
		else if (offset + i < FUNCTION_SIZE)
			out[i] = 0;
	}
	pthread_mutex_unlock(&bus->lock);
}

static void write_bytes(struct pci_bus *bus, struct pci_function *function,
			unsigned offset, const uint8_t *data, unsigned length)
{
	for (unsigned i = 0; i < length && offset + i < PCI_CONFIG_SIZE; i++) {
		uint8_t *byte = &function->config[offset + i];
		uint8_t mask = function->writable[offset + i];

		*byte = (uint8_t)((*byte & ~mask) | (data[i] & mask));
	}
	if (touches(offset, length, PCI_COMMAND, 2))
		command_changed(function);
	if (touches(offset, length, PCI_COMMAND, 2) ||
	    touches(offset, length, PCI_BAR_0, BAR_CONFIG_LENGTH))
		settle_bars(bus);
	if (function->ops && function->ops->config_written)
		function->ops->config_written(function, offset, length);
}

void pci_config_write(struct pci_bus *bus, unsigned slot, unsigned offset,
		      const void *data, unsigned length)
{
	if (slot >= PCI_SLOTS || offset >= PCI_CONFIG_SIZE)
		return;
	pthread_mutex_lock(&bus->lock);
	if (bus->functions[slot])
		write_bytes(bus, bus->functions[slot], offset, data, length);
	pthread_mutex_unlock(&bus->lock);
}

/* ---- the two doors to it ---- */

/* An access never reaches into the next function. */
static unsigned within_function(unsigned offset, unsigned length)
{
	return (unsigned)min_u64(length, FUNCTION_SIZE - offset);
}

static void ecam_read(void *device, uint64_t offset, void *data,
		      unsigned length)
{
	unsigned function = (unsigned)(offset / FUNCTION_SIZE);
	unsigned at = (unsigned)(offset % FUNCTION_SIZE);

	memset(data, 0xff, length);
	if (function % 8 == 0)
		pci_config_read(device, function / 8, at, data,
				within_function(at, length));
}

static void ecam_write(void *device, uint64_t offset, const void *data,
		       unsigned length)
{
	unsigned function = (unsigned)(offset / FUNCTION_SIZE);
	unsigned at = (unsigned)(offset % FUNCTION_SIZE);

	if (function % 8 == 0)
		pci_config_write(device, function / 8, at, data,
				 within_function(at, length));
}

static const struct bus_ops ecam_ops = { ecam_read, ecam_write };

/* The address register's function: slot and place; false: nobody's. */
static bool port_target(struct pci_bus *bus, unsigned *slot, unsigned *offset)
{
	uint32_t address;

	pthread_mutex_lock(&bus->lock);
	address = bus->address;
	pthread_mutex_unlock(&bus->lock);
	*slot = address >> 11 & 31;
	*offset = address & 0xfc;
	return address & ADDRESS_ENABLE && !(address >> 16 & 0xff) &&
	       !(address >> 8 & 7);
}

static void ports_read(void *device, uint64_t offset, void *data,
		       unsigned length)
{
	struct pci_bus *bus = device;
	unsigned slot, place;

	memset(data, 0xff, length);
	if (offset == 0 && length == 4) {
		pthread_mutex_lock(&bus->lock);
		memcpy(data, &bus->address, sizeof(bus->address));
		pthread_mutex_unlock(&bus->lock);
	} else if (offset >= 4 && port_target(bus, &slot, &place)) {
		pci_config_read(bus, slot, place + (unsigned)(offset - 4), data,
				length);
	}
}

static void ports_write(void *device, uint64_t offset, const void *data,
			unsigned length)
{
	struct pci_bus *bus = device;
	unsigned slot, place;

	if (offset == 0 && length == 4) {
		pthread_mutex_lock(&bus->lock);
		memcpy(&bus->address, data, sizeof(bus->address));
		bus->address &= ADDRESS_ENABLE | 0x00fffffc;
		pthread_mutex_unlock(&bus->lock);
	} else if (offset >= 4 && port_target(bus, &slot, &place)) {
		pci_config_write(bus, slot, place + (unsigned)(offset - 4),
				 data, length);
	}
}

static const struct bus_ops ports_ops = { ports_read, ports_write };

/* ---- putting together ---- */

void pci_function_init(struct pci_function *function,
		       const struct pci_function_ops *ops,
		       const struct pci_ids *ids)
{
	uint8_t *config = function->config;

	*function = (struct pci_function){
		.ops = ops,
		.capabilities_end = FIRST_CAPABILITY,
	};
	put16(config, ids->vendor);
	put16(config + 2, ids->device);
	config[8] = ids->revision;
	config[9] = (uint8_t)ids->class;
	config[10] = (uint8_t)(ids->class >> 8);
	config[11] = (uint8_t)(ids->class >> 16);
	put16(config + SUBSYSTEM, ids->subsystem_vendor);
	put16(config + SUBSYSTEM + 2, ids->subsystem);
	put16(function->writable + PCI_COMMAND,
	      PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	/* Firmware's notebook. */
	function->writable[INTERRUPT_LINE] = 0xff;
}

void pci_function_add_bar(struct pci_function *function, unsigned bar,
			  uint64_t size)
{
	assert(bar < PCI_BARS && is_power_of_two(size));
	assert(size >= PCI_BAR_SIZE_MIN && size <= BAR_SIZE_MAX);
	function->bars[bar] =
		(struct pci_bar){ .function = function, .size = size };
	function->config[bar_place(bar)] = BAR_IS_64_BITS;
	put64(function->writable + bar_place(bar), ~(size - 1));
}

unsigned pci_function_add_capability(struct pci_function *function, uint8_t id,
				     const void *bytes, const void *writable,
				     unsigned length)
{
	unsigned at = function->capabilities_end;

	assert(length >= 2 && at + length <= PCI_CONFIG_SIZE);
	memcpy(function->config + at, bytes, length);
	if (writable)
		memcpy(function->writable + at, writable, length);
	function->config[at] = id;
	function->config[at + 1] = 0;
	if (function->last_capability)
		function->config[function->last_capability + 1] = (uint8_t)at;
	else
		function->config[PCI_CAPABILITIES] = (uint8_t)at;
	function->config[STATUS] |= STATUS_HAS_LIST;
	function->last_capability = at;
	function->capabilities_end = (at + length + 3) & ~3u;
	return at;
}

static int give_addresses(struct pci_bus *bus, struct pci_function *function,
			  struct err *err)
{
	uint64_t next = bus->next_bar;

	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &function->bars[i];

		if (!bar->size)
			continue;
		next = div_up(next, bar->size) * bar->size;
		if (!within(next, bar->size, LAYOUT_WINDOW32,
			    LAYOUT_WINDOW32_SIZE))
			return err_set(err, -ENOSPC,
				       "no room for the registers of one more "
				       "PCI device");
		bar->initial = next;
		put64(function->config + bar_place(i), next | BAR_IS_64_BITS);
		next += bar->size;
	}
	bus->next_bar = next;
	return 0;
}

int pci_bus_attach(struct pci_bus *bus, struct pci_function *function,
		   struct err *err)
{
	int r = -ENOSPC;

	pthread_mutex_lock(&bus->lock);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		if (bus->functions[slot])
			continue;
		r = give_addresses(bus, function, err);
		if (r < 0)
			break;
		function->bus = bus;
		function->slot = slot;
		memcpy(function->initial, function->config, PCI_CONFIG_SIZE);
		bus->functions[slot] = function;
		break;
	}
	pthread_mutex_unlock(&bus->lock);
	if (r == -ENOSPC)
		return err_set(err, r, "more than %u PCI devices", PCI_SLOTS);
	return r;
}

/* With the lock. */
static void take_out(struct pci_bus *bus, struct pci_function *function)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		if (function->bars[i].mapped)
			bar_unmap(bus, function, i);
	}
	bus->functions[function->slot] = NULL;
	function->bus = NULL;
}

void pci_bus_detach(struct pci_function *function)
{
	struct pci_bus *bus = function->bus;

	if (!bus)
		return;
	pthread_mutex_lock(&bus->lock);
	take_out(bus, function);
	pthread_mutex_unlock(&bus->lock);
}

/* ---- a function's state ---- */

void pci_function_apply(struct pci_function *function,
			const struct pci_function_state *state)
{
	struct pci_bus *bus = function->bus;

	pthread_mutex_lock(&bus->lock);
	memcpy(function->config, state->config, PCI_CONFIG_SIZE);
	command_changed(function);
	settle_bars(bus);
	if (function->ops && function->ops->config_written)
		function->ops->config_written(function, 0, PCI_CONFIG_SIZE);
	pthread_mutex_unlock(&bus->lock);
}

void pci_function_reset(struct pci_function *function)
{
	struct pci_function_state state;

	memcpy(state.config, function->initial, sizeof(state.config));
	pci_function_apply(function, &state);
}

void pci_function_save(struct pci_function *function, struct state_writer *out)
{
	pthread_mutex_lock(&function->bus->lock);
	section_put_bytes(out, function->config, PCI_CONFIG_SIZE);
	pthread_mutex_unlock(&function->bus->lock);
}

void pci_function_take(struct section_reader *in,
		       struct pci_function_state *state)
{
	section_get_bytes(in, state->config, sizeof(state->config));
}

int pci_function_check(const struct pci_function *function,
		       const struct pci_function_state *state, struct err *err)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
		unsigned fixed = ~(unsigned)function->writable[i] & 0xff;

		if ((state->config[i] ^ function->initial[i]) & fixed)
			return err_set(err, -EBADMSG,
				       "the saved PCI device is not the one in "
				       "slot %u: they differ at 0x%x of its "
				       "configuration",
				       function->slot, i);
	}
	return 0;
}

/* ---- the bus as a device ---- */

static struct pci_bus *bus_of(struct device *device)
{
	return container_of(device, struct pci_bus, device);
}

static void pci_reset(struct device *device)
{
	struct pci_bus *bus = bus_of(device);

	pthread_mutex_lock(&bus->lock);
	bus->address = 0;
	pthread_mutex_unlock(&bus->lock);
	pci_function_reset(&bus->bridge);
}

static void pci_save(struct device *device, struct state_writer *out)
{
	struct pci_bus *bus = bus_of(device);

	section_put_u32(out, bus->address);
	pci_function_save(&bus->bridge, out);
}

static int pci_restore(struct device *device, struct section_reader *in,
		       struct err *err)
{
	struct pci_bus *bus = bus_of(device);
	uint32_t address = section_get_u32(in);
	struct pci_function_state bridge;
	int r;

	pci_function_take(in, &bridge);
	r = section_done(in, err);
	if (!r)
		r = pci_function_check(&bus->bridge, &bridge, err);
	if (r < 0)
		return r;
	if (address & ~(ADDRESS_ENABLE | 0x00fffffcu))
		return err_set(err, -EBADMSG,
			       "the saved address of PCI's ports, 0x%x, can't "
			       "be",
			       address);
	bus->address = address;
	pci_function_apply(&bus->bridge, &bridge);
	return 0;
}

static const struct device_ops pci_device_ops = { "pci", 1, pci_reset, pci_save,
						  pci_restore };

int pci_bus_init(struct pci_bus *bus, struct bus *memory, struct bus *ports,
		 uint64_t window64, struct err *err)
{
	static const struct pci_ids bridge = {
		0x1b36, 0x0008, 0, 0, 0x060000, 0
	};
	int r;

	*bus = (struct pci_bus){
		.device = { &pci_device_ops, 0 },
		.memory = memory,
		.ports = ports,
		.window64 = window64,
		.next_bar = LAYOUT_WINDOW32,
	};
	r = bus_add(memory, LAYOUT_ECAM, LAYOUT_ECAM_SIZE, &ecam_ops, bus, err);
	if (r < 0)
		return r;
	r = bus_add(ports, LAYOUT_PCI_CONFIG, LAYOUT_PCI_CONFIG_SIZE,
		    &ports_ops, bus, err);
	if (r < 0) {
		bus_remove(memory, LAYOUT_ECAM);
		return r;
	}
	pthread_mutex_init(&bus->lock, NULL);
	pci_function_init(&bus->bridge, NULL, &bridge);
	return pci_bus_attach(bus, &bus->bridge, err);
}

void pci_bus_release(struct pci_bus *bus)
{
	if (!bus->memory)
		return;
	for (unsigned i = 0; i < PCI_SLOTS; i++) {
		if (bus->functions[i])
			take_out(bus, bus->functions[i]);
	}
	bus_remove(bus->memory, LAYOUT_ECAM);
	bus_remove(bus->ports, LAYOUT_PCI_CONFIG);
	pthread_mutex_destroy(&bus->lock);
	*bus = (struct pci_bus){ 0 };
}
