/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI's root bus with two functions, by its ports, ECAM and both BARs: sizing,
 * moving onto one another, MSI-X of any content. What comes out of it is a
 * message to a LAPIC or nothing; each BAR is at most once on the bus; and it
 * can always be saved and restored the same.
 */
#include "format/base/bytes.h"
#include "kvm-agent/pci/msix.h"
#include "kvm-agent/vm/layout.h"
#include "tests/fuzz/fix.h"

#define BAR_SIZE 0x4000u
#define WINDOW64 (32 * GIB)

struct card {
	struct pci_function function;
	struct msix msix;
	unsigned mapped;
};

static struct card cards[2];
static struct bus memory, ports;
static struct pci_bus pci;

static void no_line(struct interrupts *interrupts, unsigned gsi, bool level)
{
	(void)interrupts;
	(void)gsi;
	(void)level;
	must(false);
}

static void message(struct interrupts *interrupts, uint64_t address,
		    uint32_t data)
{
	(void)interrupts;
	(void)data;
	must(address >= LAYOUT_LAPIC && address < LAYOUT_LAPIC + MIB);
}

static struct interrupts interrupts = { no_line, message };

static struct card *card_of(struct pci_function *function)
{
	return container_of(function, struct card, function);
}

static void bar_read(struct pci_function *function, unsigned bar,
		     uint64_t offset, void *data, unsigned length)
{
	struct msix *msix = &card_of(function)->msix;

	must(bar == 0 && offset < BAR_SIZE && length <= BAR_SIZE - offset);
	if (offset < 0x2000)
		msix_table_read(msix, offset, data, length);
	else
		msix_pending_read(msix, offset - 0x2000, data, length);
}

static void bar_write(struct pci_function *function, unsigned bar,
		      uint64_t offset, const void *data, unsigned length)
{
	struct msix *msix = &card_of(function)->msix;

	must(bar == 0 && offset < BAR_SIZE && length <= BAR_SIZE - offset);
	msix_table_write(msix, offset, data, length);
	msix_raise(msix, (unsigned)offset % 12);
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
	must(bar == 0 && !card_of(function)->mapped++);
	must(address % BAR_SIZE == 0);
}

static void bar_unmapped(struct pci_function *function, unsigned bar,
			 uint64_t address)
{
	(void)address;
	must(bar == 0 && !--card_of(function)->mapped);
}

static const struct pci_function_ops ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.config_written = config_written,
	.bar_mapped = bar_mapped,
	.bar_unmapped = bar_unmapped,
};

static uint64_t take(struct reader *in, unsigned size)
{
	uint64_t value = 0;
	const void *at = reader_take(in, size);

	if (at)
		memcpy(&value, at, size);
	else
		in->left = 0;
	return value;
}

static void save(struct state_writer *out)
{
	must(state_begin(out, NULL) == 0);
	device_save(&pci.device, out);
	section_begin(out, "cards", 0, 1);
	for (unsigned i = 0; i < 2; i++) {
		pci_function_save(&cards[i].function, out);
		msix_save(&cards[i].msix, out);
	}
	section_end(out);
	must(state_finish(out, NULL) == 0);
}

/* False: refused. */
static bool restore(const struct state *state)
{
	struct pci_function_state functions[2];
	struct msix_state msixs[2];
	struct section_reader in;
	bool good = true;

	if (state_find(state, "cards", 0, 1, &in, NULL) < 0)
		return false;
	for (unsigned i = 0; i < 2; i++) {
		pci_function_take(&in, &functions[i]);
		msix_take(&cards[i].msix, &in, &msixs[i]);
		good = good &&
		       !pci_function_check(&cards[i].function, &functions[i],
					   NULL) &&
		       !msix_check(&cards[i].msix, &msixs[i], NULL);
	}
	if (!good || section_done(&in, NULL) < 0 ||
	    device_restore(&pci.device, state, NULL) < 0)
		return false;
	for (unsigned i = 0; i < 2; i++) {
		msix_apply(&cards[i].msix, &msixs[i]);
		pci_function_apply(&cards[i].function, &functions[i]);
	}
	return true;
}

/* With some bytes changed, or none: then it is the same again. */
static void save_restore(struct reader *in, bool change)
{
	struct state_writer first, second;
	struct state state;

	save(&first);
	for (unsigned i = 0; change && i < 4; i++) {
		uint64_t at = take(in, 2) % (first.bytes.size - 8);

		first.bytes.data[at] ^= (uint8_t)take(in, 1);
	}
	fix_sum(first.bytes.data, first.bytes.size - 8);
	must((state_open(&state, first.bytes.data, first.bytes.size, NULL) ==
		      0 &&
	      restore(&state)) ||
	     change);
	save(&second);
	must(change ||
	     !memcmp(first.bytes.data, second.bytes.data, first.bytes.size));
	state_release(&first);
	state_release(&second);
}

static void step(struct reader *in)
{
	static const uint64_t bases[] = { LAYOUT_ECAM,
					  LAYOUT_ECAM + 0x8000,
					  LAYOUT_ECAM + 0x10000,
					  LAYOUT_WINDOW32,
					  LAYOUT_WINDOW32 + BAR_SIZE,
					  WINDOW64 };
	uint8_t what = (uint8_t)take(in, 1), how = (uint8_t)take(in, 1);
	uint64_t at = take(in, 2), value;
	unsigned length = 1 + how % 8;
	struct bus *bus = what % 9 < 6 ? &memory : &ports;

	if (what % 9 == 8) {
		save_restore(in, how & 1);
		return;
	}
	at = what % 9 < 6 ? bases[what % 9] + at % (2 * BAR_SIZE)
			  : LAYOUT_PCI_CONFIG + at % 8;
	value = take(in, length);
	if (how & 0x80)
		(void)bus_read(bus, at, &value, length);
	else
		(void)bus_write(bus, at, &value, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct pci_ids ids = { 0x1af4, 0x1042, 0, 0, 0, 1 };
	struct reader in = { data, size };

	must(bus_init(&memory, BUS_MEMORY_END, NULL) == 0);
	must(bus_init(&ports, BUS_PORTS_END, NULL) == 0);
	must(pci_bus_init(&pci, &memory, &ports, WINDOW64, NULL) == 0);
	for (unsigned i = 0; i < 2; i++) {
		cards[i].mapped = 0;
		pci_function_init(&cards[i].function, &ops, &ids);
		pci_function_add_bar(&cards[i].function, 0, BAR_SIZE);
		msix_init(&cards[i].msix, &cards[i].function, &interrupts,
			  i ? MSIX_VECTORS_MAX : 3, 0, 0, 0x2000);
		must(pci_bus_attach(&pci, &cards[i].function, NULL) == 0);
	}
	while (in.left)
		step(&in);
	pci_bus_release(&pci);
	for (unsigned i = 0; i < 2; i++) {
		must(!cards[i].mapped);
		msix_release(&cards[i].msix);
	}
	bus_release(&memory);
	bus_release(&ports);
	return 0;
}
