/* SPDX-License-Identifier: Apache-2.0 */
/* PCI's configuration by both doors, BARs that move, MSI-X with its masks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "kvm-agent/pci/msix.h"
#include "kvm-agent/vm/layout.h"

#define WINDOW64 (32 * GIB)
#define BAR_SIZE 16384u
#define TABLE    0x1000u
#define PENDING  0x2000u
#define VECTORS  4u

struct card {
	struct device device;
	struct pci_function function;
	struct msix msix;
	uint32_t value;
	uint64_t maps, unmaps, at;
};

struct rig {
	struct bus memory, ports;
	struct pci_bus pci;
	struct card cards[2];
	struct interrupts interrupts;
	unsigned messages;
	uint64_t address;
	uint32_t data;
};

static struct err err;

static void ok(int r)
{
	if (r < 0)
		fail_msg("%d: %s", r, err.text);
}

static void line(struct interrupts *interrupts, unsigned gsi, bool level)
{
	(void)interrupts;
	(void)gsi;
	(void)level;
}

static void message(struct interrupts *interrupts, uint64_t address,
		    uint32_t data)
{
	struct rig *rig = container_of(interrupts, struct rig, interrupts);

	rig->messages++;
	rig->address = address;
	rig->data = data;
}

static struct card *card_of(struct pci_function *function)
{
	return container_of(function, struct card, function);
}

static void bar_read(struct pci_function *function, unsigned bar,
		     uint64_t offset, void *data, unsigned length)
{
	struct card *card = card_of(function);

	assert_int_equal(bar, 0);
	memset(data, 0, length);
	if (offset / 0x1000 == TABLE / 0x1000)
		msix_table_read(&card->msix, offset - TABLE, data, length);
	else if (offset / 0x1000 == PENDING / 0x1000)
		msix_pending_read(&card->msix, offset - PENDING, data, length);
	else
		memcpy(data, &card->value, min_u64(length, 4));
}

static void bar_write(struct pci_function *function, unsigned bar,
		      uint64_t offset, const void *data, unsigned length)
{
	struct card *card = card_of(function);

	assert_int_equal(bar, 0);
	if (offset / 0x1000 == TABLE / 0x1000)
		msix_table_write(&card->msix, offset - TABLE, data, length);
	else
		memcpy(&card->value, data, min_u64(length, 4));
}

static void config_written(struct pci_function *function, unsigned offset,
			   unsigned length)
{
	(void)offset;
	(void)length;
	msix_config_written(&card_of(function)->msix, function);
}

static void bar_mapped(struct pci_function *function, unsigned bar,
		       uint64_t address)
{
	struct card *card = card_of(function);

	assert_int_equal(bar, 0);
	card->maps++;
	card->at = address;
}

static void bar_unmapped(struct pci_function *function, unsigned bar,
			 uint64_t address)
{
	struct card *card = card_of(function);

	assert_int_equal(bar, 0);
	assert_int_equal(card->at, address);
	card->unmaps++;
	card->at = 0;
}

static const struct pci_function_ops card_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.config_written = config_written,
	.bar_mapped = bar_mapped,
	.bar_unmapped = bar_unmapped,
};

static void card_reset(struct device *device)
{
	struct card *card = container_of(device, struct card, device);

	msix_reset(&card->msix);
	pci_function_reset(&card->function);
}

static void card_save(struct device *device, struct state_writer *out)
{
	struct card *card = container_of(device, struct card, device);

	pci_function_save(&card->function, out);
	msix_save(&card->msix, out);
}

static int card_restore(struct device *device, struct section_reader *in,
			struct err *words)
{
	struct card *card = container_of(device, struct card, device);
	struct pci_function_state function;
	struct msix_state msix;
	int r;

	pci_function_take(in, &function);
	msix_take(&card->msix, in, &msix);
	r = section_done(in, words);
	if (!r)
		r = pci_function_check(&card->function, &function, words);
	if (!r)
		r = msix_check(&card->msix, &msix, words);
	if (r < 0)
		return r;
	msix_apply(&card->msix, &msix);
	pci_function_apply(&card->function, &function);
	return 0;
}

static const struct device_ops card_device = { "card", 1, card_reset, card_save,
					       card_restore };

static struct rig *start(void)
{
	static const struct pci_ids ids = { 0x1af4, 0x1042,   0x1af4,
					    0x40,   0x010000, 1 };
	struct rig *rig = test_calloc(1, sizeof(*rig));

	rig->interrupts = (struct interrupts){ line, message };
	ok(bus_init(&rig->memory, BUS_MEMORY_END, &err));
	ok(bus_init(&rig->ports, BUS_PORTS_END, &err));
	ok(pci_bus_init(&rig->pci, &rig->memory, &rig->ports, WINDOW64, &err));
	for (unsigned i = 0; i < 2; i++) {
		struct card *card = &rig->cards[i];

		card->device = (struct device){ &card_device, i };
		pci_function_init(&card->function, &card_ops, &ids);
		pci_function_add_bar(&card->function, 0, BAR_SIZE);
		msix_init(&card->msix, &card->function, &rig->interrupts,
			  VECTORS, 0, TABLE, PENDING);
		ok(pci_bus_attach(&rig->pci, &card->function, &err));
	}
	return rig;
}

static void finish(struct rig *rig)
{
	pci_bus_release(&rig->pci);
	msix_release(&rig->cards[0].msix);
	msix_release(&rig->cards[1].msix);
	bus_release(&rig->memory);
	bus_release(&rig->ports);
	test_free(rig);
}

static uint64_t ecam(unsigned slot, unsigned offset)
{
	return LAYOUT_ECAM + slot * 8 * 4096 + offset;
}

static uint32_t get(struct rig *rig, uint64_t address, unsigned length)
{
	uint32_t value = 0;

	(void)bus_read(&rig->memory, address, &value, length);
	return value;
}

static void put(struct rig *rig, uint64_t address, uint32_t value,
		unsigned length)
{
	(void)bus_write(&rig->memory, address, &value, length);
}

static uint32_t port_get(struct rig *rig, unsigned port, unsigned length)
{
	uint32_t value = 0;

	(void)bus_read(&rig->ports, port, &value, length);
	return value;
}

static void port_put(struct rig *rig, unsigned port, uint32_t value,
		     unsigned length)
{
	(void)bus_write(&rig->ports, port, &value, length);
}

/* Memory decoding and bus mastering on. */
static void enable(struct rig *rig, unsigned slot)
{
	put(rig, ecam(slot, PCI_COMMAND), 6, 2);
}

static void test_two_doors(void **state)
{
	struct rig *rig = start();

	(void)state;
	assert_int_equal(get(rig, ecam(0, 0), 4), 0x00081b36);
	assert_int_equal(get(rig, ecam(1, 0), 4), 0x10421af4);
	assert_int_equal(get(rig, ecam(1, 0x0a), 2), 0x0100);
	assert_int_equal(get(rig, ecam(3, 0), 4), 0xffffffff);
	/* No second function, no extended configuration; not past the end. */
	assert_int_equal(get(rig, ecam(1, 0) + 4096, 4), 0xffffffff);
	assert_int_equal(get(rig, ecam(1, 0x100), 4), 0);
	assert_int_equal(get(rig, ecam(1, 0xffe), 4), 0xffff0000);
	assert_int_equal(port_get(rig, 0xcfc, 4), 0xffffffff);
	port_put(rig, 0xcf8, 0x80000800, 4);
	assert_int_equal(port_get(rig, 0xcf8, 4), 0x80000800);
	assert_int_equal(port_get(rig, 0xcfc, 4), 0x10421af4);
	assert_int_equal(port_get(rig, 0xcfe, 2), 0x1042);
	/* Other sizes don't reach the address. */
	port_put(rig, 0xcf9, 6, 1);
	port_put(rig, 0xcf8, 0, 2);
	assert_int_equal(port_get(rig, 0xcf8, 4), 0x80000800);
	/* What may not be written is not. */
	port_put(rig, 0xcfc, 0, 4);
	assert_int_equal(get(rig, ecam(1, 0), 4), 0x10421af4);
	put(rig, ecam(1, PCI_COMMAND), 0xffff, 2);
	assert_int_equal(get(rig, ecam(1, PCI_COMMAND), 2), 6);
	port_put(rig, 0xcf8, 0x80010800, 4); /* bus 1 */
	assert_int_equal(port_get(rig, 0xcfc, 4), 0xffffffff);
	finish(rig);
}

static void test_sizing(void **state)
{
	struct rig *rig = start();
	uint32_t first = get(rig, ecam(1, PCI_BAR_0), 4);

	(void)state;
	assert_int_equal(first, LAYOUT_WINDOW32 | 4);
	assert_int_equal(get(rig, ecam(2, PCI_BAR_0), 4),
			 (LAYOUT_WINDOW32 + BAR_SIZE) | 4);
	enable(rig, 1);
	put(rig, ecam(1, PCI_BAR_0), 0xffffffff, 4);
	put(rig, ecam(1, PCI_BAR_0 + 4), 0xffffffff, 4);
	assert_int_equal(get(rig, ecam(1, PCI_BAR_0), 4),
			 (uint32_t) ~(BAR_SIZE - 1) | 4);
	assert_int_equal(get(rig, ecam(1, PCI_BAR_0 + 4), 4), 0xffffffff);
	/* The next one isn't there. */
	put(rig, ecam(1, PCI_BAR_0 + 8), 0xffffffff, 4);
	assert_int_equal(get(rig, ecam(1, PCI_BAR_0 + 8), 4), 0);
	finish(rig);
}

static void test_bars_move(void **state)
{
	struct rig *rig = start();
	struct card *card = &rig->cards[0];
	uint64_t high = WINDOW64 + 4 * BAR_SIZE;

	(void)state;
	/* Nowhere until it is decoded. */
	assert_int_equal(get(rig, LAYOUT_WINDOW32, 4), 0xffffffff);
	enable(rig, 1);
	assert_int_equal(card->at, LAYOUT_WINDOW32);
	put(rig, LAYOUT_WINDOW32 + 8, 77, 4);
	assert_int_equal(card->value, 77);
	put(rig, ecam(1, PCI_BAR_0), (uint32_t)high, 4);
	put(rig, ecam(1, PCI_BAR_0 + 4), (uint32_t)(high >> 32), 4);
	assert_int_equal(card->at, high);
	assert_int_equal(get(rig, LAYOUT_WINDOW32, 4), 0xffffffff);
	assert_int_equal(get(rig, high, 4), 77);
	/* Over RAM, over ECAM, past all: nowhere. */
	put(rig, ecam(1, PCI_BAR_0 + 4), 0, 4);
	put(rig, ecam(1, PCI_BAR_0), 0x100000, 4);
	assert_int_equal(card->at, 0);
	put(rig, ecam(1, PCI_BAR_0), LAYOUT_ECAM, 4);
	assert_int_equal(card->at, 0);
	put(rig, ecam(1, PCI_BAR_0), 0xffffffff, 4);
	assert_int_equal(card->at, 0);
	put(rig, ecam(1, PCI_BAR_0), LAYOUT_WINDOW32, 4);
	assert_int_equal(card->at, LAYOUT_WINDOW32);
	put(rig, ecam(1, PCI_COMMAND), 4, 2);
	assert_int_equal(card->at, 0);
	assert_int_equal(card->maps, card->unmaps);
	finish(rig);
}

static void test_bars_overlap(void **state)
{
	struct rig *rig = start();

	(void)state;
	enable(rig, 1);
	enable(rig, 2);
	put(rig, ecam(2, PCI_BAR_0), LAYOUT_WINDOW32, 4);
	assert_int_equal(rig->cards[1].at, 0);
	assert_int_equal(rig->cards[0].at, LAYOUT_WINDOW32);
	/* The first goes, and the other one comes. */
	put(rig, ecam(1, PCI_BAR_0), LAYOUT_WINDOW32 + MIB, 4);
	assert_int_equal(rig->cards[0].at, LAYOUT_WINDOW32 + MIB);
	assert_int_equal(rig->cards[1].at, LAYOUT_WINDOW32);
	finish(rig);
}

static void set_vector(struct rig *rig, unsigned vector, uint64_t address,
		       uint32_t data, uint32_t control)
{
	uint64_t at = LAYOUT_WINDOW32 + TABLE + 16 * vector;

	put(rig, at, (uint32_t)address, 4);
	put(rig, at + 4, (uint32_t)(address >> 32), 4);
	put(rig, at + 8, data, 4);
	put(rig, at + 12, control, 4);
}

static void set_control(struct rig *rig, uint32_t control)
{
	put(rig, ecam(1, rig->cards[0].msix.capability + 2), control, 2);
}

static void test_msix(void **state)
{
	struct rig *rig = start();
	struct msix *msix = &rig->cards[0].msix;

	(void)state;
	enable(rig, 1);
	assert_int_equal(get(rig, ecam(1, PCI_CAPABILITIES), 1), 0x40);
	assert_int_equal(get(rig, ecam(1, 0x40), 4), 0x00030011);
	set_vector(rig, 1, 0xfee01000, 0x41, 0);
	msix_raise(msix, 1);
	assert_int_equal(rig->messages, 0); /* off */
	set_control(rig, 0x8000);
	assert_int_equal(rig->messages, 0);
	msix_raise(msix, 1);
	assert_int_equal(rig->messages, 1);
	assert_int_equal(rig->address, 0xfee01000);
	assert_int_equal(rig->data, 0x41);
	/* The function's mask. */
	set_control(rig, 0xc000);
	msix_raise(msix, 1);
	msix_raise(msix, 1);
	assert_int_equal(rig->messages, 1);
	assert_int_equal(get(rig, LAYOUT_WINDOW32 + PENDING, 4), 2);
	set_control(rig, 0x8000);
	assert_int_equal(rig->messages, 2);
	assert_int_equal(get(rig, LAYOUT_WINDOW32 + PENDING, 4), 0);
	/* The vector's. */
	set_vector(rig, 1, 0xfee01000, 0x42, 1);
	msix_raise(msix, 1);
	assert_int_equal(rig->messages, 2);
	set_vector(rig, 1, 0xfee01000, 0x43, 0);
	assert_int_equal(rig->messages, 3);
	assert_int_equal(rig->data, 0x43);
	/* No master: kept until it is one. */
	put(rig, ecam(1, PCI_COMMAND), 2, 2);
	msix_raise(msix, 1);
	assert_int_equal(rig->messages, 3);
	enable(rig, 1);
	assert_int_equal(rig->messages, 4);
	finish(rig);
}

static void test_msix_nonsense(void **state)
{
	struct rig *rig = start();
	struct msix *msix = &rig->cards[0].msix;
	uint64_t table = LAYOUT_WINDOW32 + TABLE;

	(void)state;
	enable(rig, 1);
	set_control(rig, 0x8000);
	/* A message to anywhere else is not sent. */
	set_vector(rig, 0, 0x1000, 1, 0);
	msix_raise(msix, 0);
	set_vector(rig, 0, 0x1fee00000, 1, 0);
	msix_raise(msix, 0);
	msix_raise(msix, VECTORS);
	msix_raise(msix, MSIX_NONE);
	assert_int_equal(rig->messages, 0);
	/* Past the last entry there is nothing. */
	set_vector(rig, VECTORS, 0xfee00000, 1, 0);
	assert_int_equal(get(rig, table + 16 * VECTORS, 4), 0);
	assert_int_equal(msix->entries[VECTORS].address, 0);
	set_vector(rig, MSIX_VECTORS_MAX, 0xfee00000, 1, 0);
	assert_int_equal(msix->pending[0], 0);
	/* Odd sizes and places are no writes, and reads are bounded. */
	put(rig, table + 8, 0x11, 1);
	put(rig, table + 6, 0x11, 4);
	assert_int_equal(get(rig, table + 8, 4), 1);
	assert_int_equal(get(rig, table + 12, 4), 0);
	put(rig, table + 12, 0xffffffff, 4);
	assert_int_equal(get(rig, table + 12, 4), 1);
	put(rig, table, 0xfee0000f, 4);
	assert_int_equal(get(rig, table, 4), 0xfee0000c);
	assert_int_equal(get(rig, LAYOUT_WINDOW32 + PENDING + 0xffc, 4), 0);
	finish(rig);
}

static void save(struct rig *rig, struct state_writer *out)
{
	ok(state_begin(out, &err));
	device_save(&rig->pci.device, out);
	device_save(&rig->cards[0].device, out);
	device_save(&rig->cards[1].device, out);
	ok(state_finish(out, &err));
}

static int restore(struct rig *rig, const struct state_writer *saved)
{
	struct state state;
	int r;

	ok(state_open(&state, saved->bytes.data, saved->bytes.size, &err));
	r = device_restore(&rig->pci.device, &state, &err);
	for (unsigned i = 0; !r && i < 2; i++)
		r = device_restore(&rig->cards[i].device, &state, &err);
	return r;
}

static void test_save_restore(void **state)
{
	struct rig *rig = start(), *other = start();
	struct state_writer first, second;

	(void)state;
	enable(rig, 1);
	port_put(rig, 0xcf8, 0x80001004, 4);
	put(rig, ecam(1, PCI_BAR_0), LAYOUT_WINDOW32 + MIB, 4);
	put(rig, ecam(1, PCI_BAR_0), LAYOUT_WINDOW32, 4);
	put(rig, ecam(2, PCI_BAR_0), LAYOUT_WINDOW32 + MIB, 4);
	set_vector(rig, 2, 0xfee02000, 0x55, 1);
	set_control(rig, 0x8000);
	msix_raise(&rig->cards[0].msix, 2);
	save(rig, &first);
	ok(restore(other, &first));
	save(other, &second);
	assert_int_equal(first.bytes.size, second.bytes.size);
	assert_memory_equal(first.bytes.data, second.bytes.data,
			    first.bytes.size);
	/* It goes on: the pending message comes with its mask's end. */
	assert_int_equal(other->cards[0].at, LAYOUT_WINDOW32);
	put(other, LAYOUT_WINDOW32 + TABLE + 2 * 16 + 12, 0, 4);
	assert_int_equal(other->messages, 1);
	assert_int_equal(other->data, 0x55);
	state_release(&second);
	/* After a reset it is as a new one. */
	rig->pci.device.ops->reset(&rig->pci.device);
	rig->cards[0].device.ops->reset(&rig->cards[0].device);
	rig->cards[1].device.ops->reset(&rig->cards[1].device);
	assert_int_equal(rig->cards[0].at, 0);
	state_release(&first);
	save(rig, &first);
	finish(other);
	other = start();
	save(other, &second);
	assert_memory_equal(first.bytes.data, second.bytes.data,
			    first.bytes.size);
	state_release(&first);
	state_release(&second);
	finish(rig);
	finish(other);
}

/* What isn't ours is refused, and nothing has changed. */
static void test_restore_refuses(void **state)
{
	struct rig *rig = start(), *other = start();
	struct state_writer saved, before, after;

	(void)state;
	enable(rig, 1);
	rig->cards[0].function.config[0x2e]++;
	save(rig, &saved);
	save(other, &before);
	assert_int_equal(restore(other, &saved), -EBADMSG);
	save(other, &after);
	assert_memory_equal(before.bytes.data, after.bytes.data,
			    before.bytes.size);
	state_release(&saved);
	state_release(&after);
	rig->cards[0].function.config[0x2e]--;
	rig->cards[0].msix.pending[0] = 1ULL << VECTORS;
	save(rig, &saved);
	assert_int_equal(restore(other, &saved), -EBADMSG);
	state_release(&saved);
	rig->cards[0].msix.pending[0] = 0;
	rig->cards[0].msix.count = VECTORS - 1;
	save(rig, &saved);
	assert_int_equal(restore(other, &saved), -EBADMSG);
	state_release(&saved);
	rig->cards[0].msix.count = VECTORS;
	rig->pci.address = 3;
	save(rig, &saved);
	assert_int_equal(restore(other, &saved), -EBADMSG);
	state_release(&saved);
	save(other, &after);
	assert_memory_equal(before.bytes.data, after.bytes.data,
			    before.bytes.size);
	state_release(&before);
	state_release(&after);
	finish(rig);
	finish(other);
}

static void test_slots_are_bounded(void **state)
{
	static const struct pci_ids ids = { 0x1af4, 0x1042, 0, 0, 0, 1 };
	static struct pci_function more[PCI_SLOTS];
	struct rig *rig = start();

	(void)state;
	for (unsigned i = 3; i < PCI_SLOTS; i++) {
		pci_function_init(&more[i], &card_ops, &ids);
		ok(pci_bus_attach(&rig->pci, &more[i], &err));
	}
	pci_function_init(&more[0], &card_ops, &ids);
	assert_int_equal(pci_bus_attach(&rig->pci, &more[0], &err), -ENOSPC);
	finish(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_doors),
		cmocka_unit_test(test_sizing),
		cmocka_unit_test(test_bars_move),
		cmocka_unit_test(test_bars_overlap),
		cmocka_unit_test(test_msix),
		cmocka_unit_test(test_msix_nonsense),
		cmocka_unit_test(test_save_restore),
		cmocka_unit_test(test_restore_refuses),
		cmocka_unit_test(test_slots_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
