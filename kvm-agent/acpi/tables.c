/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything but the DSDT is small and fixed: a header, numbers of
 * vm/layout.h, and one entry a CPU. Tables are put together in a buffer of the
 * whole area and go to RAM at once; those that others point to come first.
 */
#include <errno.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/acpi/tables.h"
#include "kvm-agent/vm/layout.h"

struct header {
	uint8_t signature[4];
	le32 length;
	uint8_t revision;
	uint8_t checksum; /* all bytes together are 0 */
	uint8_t oem[6];
	uint8_t oem_table[8];
	le32 oem_revision;
	uint8_t creator[4];
	le32 creator_revision;
};
_Static_assert(sizeof(struct header) == 36, "ACPI 6.4, 5.2.6");

struct rsdp {
	uint8_t signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	uint8_t oem[6];
	uint8_t revision;
	le32 rsdt;
	le32 length;
	le64 xsdt;
	uint8_t checksum_of_all;
	uint8_t reserved[3];
};
_Static_assert(sizeof(struct rsdp) == 36, "ACPI 6.4, 5.2.5.3");

/* A register: in which space, how wide, how it is accessed. */
struct generic_address {
	uint8_t space;
	uint8_t width;
	uint8_t offset;
	uint8_t access;
	le64 address;
};
_Static_assert(sizeof(struct generic_address) == 12, "ACPI 6.4, 5.2.3.2");

#define SPACE_PORTS 1

struct facs {
	uint8_t signature[4];
	le32 length;
	le32 hardware;
	le32 waking;
	le32 lock;
	le32 flags;
	le64 waking_64;
	uint8_t version;
	uint8_t reserved[31];
};
_Static_assert(sizeof(struct facs) == 64, "ACPI 6.4, 5.2.10");

struct fadt {
	struct header header;
	le32 facs;
	le32 dsdt;
	uint8_t reserved;
	uint8_t profile;
	le16 sci;
	le32 smi_port; /* 0: always in ACPI mode */
	uint8_t acpi_on, acpi_off, s4_request, p_state;
	le32 pm1a_event, pm1b_event, pm1a_control, pm1b_control;
	le32 pm2_control, pm_timer, gpe0, gpe1;
	uint8_t pm1_event_length, pm1_control_length, pm2_control_length;
	uint8_t pm_timer_length, gpe0_length, gpe1_length, gpe1_base;
	uint8_t c_state;
	le16 c2_latency, c3_latency; /* above 100, 1000: there is none */
	le16 flush_size, flush_stride;
	uint8_t duty_offset, duty_width;
	uint8_t day_alarm, month_alarm, century; /* of the RTC */
	le16 boot_flags;
	uint8_t reserved2;
	le32 flags;
	struct generic_address reset;
	uint8_t reset_value;
	le16 arm_boot_flags;
	uint8_t minor;
	le64 x_facs, x_dsdt;
	struct generic_address x_pm1a_event, x_pm1b_event;
	struct generic_address x_pm1a_control, x_pm1b_control;
	struct generic_address x_pm2_control, x_pm_timer, x_gpe0, x_gpe1;
	struct generic_address sleep_control, sleep_status;
	uint8_t hypervisor[8];
};
_Static_assert(sizeof(struct fadt) == 276, "ACPI 6.4, 5.2.9");

/* There is something on ISA's ports, and no VGA. */
#define BOOT_LEGACY 0x0001u
#define BOOT_NO_VGA 0x0004u
/* Flags: caches can be flushed, HLT is there, no sleep button, no wake status
 * of the RTC, the timer has 32 bits, there is a reset register. */
#define FLAG_WBINVD      (1u << 0)
#define FLAG_C1          (1u << 2)
#define FLAG_NO_SLEEP    (1u << 5)
#define FLAG_NO_RTC_WAKE (1u << 6)
#define FLAG_TIMER_32    (1u << 8)
#define FLAG_RESET       (1u << 10)

struct madt {
	struct header header;
	le32 lapic;
	le32 flags;
};
_Static_assert(sizeof(struct madt) == 44, "ACPI 6.4, 5.2.12");

#define MADT_HAS_PIC 1u

struct madt_lapic {
	uint8_t type, length;
	uint8_t cpu, apic;
	le32 flags;
};
_Static_assert(sizeof(struct madt_lapic) == 8, "ACPI 6.4, 5.2.12.2");

struct madt_ioapic {
	uint8_t type, length;
	uint8_t id, reserved;
	le32 address;
	le32 gsi_base;
};
_Static_assert(sizeof(struct madt_ioapic) == 12, "ACPI 6.4, 5.2.12.3");

struct madt_override {
	uint8_t type, length;
	uint8_t bus, source;
	le32 gsi;
	le16 flags;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_override) == 10, "ACPI 6.4, 5.2.12.5");

#define WIRE_AS_BUS     0x0u
#define WIRE_HIGH_LEVEL 0xdu

struct madt_nmi {
	uint8_t type, length;
	uint8_t cpu; /* 0xff: each */
	le16 flags;
	uint8_t pin;
};
_Static_assert(sizeof(struct madt_nmi) == 6, "ACPI 6.4, 5.2.12.7");

struct mcfg {
	struct header header;
	uint8_t reserved[8];
	le64 base;
	le16 segment;
	uint8_t first_bus, last_bus;
	uint8_t reserved2[4];
};
_Static_assert(sizeof(struct mcfg) == 60, "PCI Firmware 3.0, 4.1.2");

/* The area as it will be, and how far it is used. */
struct area {
	uint8_t bytes[LAYOUT_ACPI_SIZE];
	uint32_t used;
};

#define AREA_AT(address) ((address)-LAYOUT_ACPI)

static uint8_t sum_to_zero(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint8_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

/* Where `size` bytes may stand, aligned to 64 for the FACS' sake; 0: nowhere.
 * The address is the guest's. */
static uint32_t place(struct area *area, const void *data, size_t size)
{
	uint32_t at = (area->used + 63) & ~63u;

	if (size > sizeof(area->bytes) - at)
		return 0;
	memcpy(area->bytes + at, data, size);
	area->used = at + (uint32_t)size;
	return LAYOUT_ACPI + at;
}

/* A table whose header is filled in here but for its revision. */
static uint32_t place_table(struct area *area, const char *signature,
			    void *data, size_t size)
{
	struct header *header = data;

	memcpy(header->signature, signature, sizeof(header->signature));
	header->length = le32_make((uint32_t)size);
	memcpy(header->oem, "VMSNAP", sizeof(header->oem));
	memcpy(header->oem_table, "VMSNAP  ", sizeof(header->oem_table));
	header->oem_revision = le32_make(1);
	memcpy(header->creator, "VMSN", sizeof(header->creator));
	header->creator_revision = le32_make(1);
	header->checksum = 0;
	header->checksum = sum_to_zero(data, size);
	return place(area, data, size);
}

static uint32_t place_facs(struct area *area)
{
	struct facs facs = { .signature = "FACS",
			     .length = le32_make(sizeof(facs)),
			     .version = 2 };

	return place(area, &facs, sizeof(facs));
}

static struct generic_address port(unsigned address, unsigned bytes)
{
	return (struct generic_address){
		.space = SPACE_PORTS,
		.width = (uint8_t)(8 * bytes),
		/* 1, 2, 3 for 1, 2, 4 bytes */
		.access = bytes == 4 ? 3 : (uint8_t)bytes,
		.address = le64_make(address),
	};
}

static uint32_t place_fadt(struct area *area, uint32_t facs, uint32_t dsdt)
{
	const unsigned event = LAYOUT_PM + LAYOUT_PM1_EVENT;
	const unsigned control = LAYOUT_PM + LAYOUT_PM1_CONTROL;
	const unsigned timer = LAYOUT_PM + LAYOUT_PM_TIMER;
	const unsigned gpe0 = LAYOUT_PM + LAYOUT_PM_GPE0;
	struct fadt fadt = {
		.header.revision = 6,
		.facs = le32_make(facs),
		.dsdt = le32_make(dsdt),
		.sci = le16_make(LAYOUT_IRQ_SCI),
		.pm1a_event = le32_make(event),
		.pm1a_control = le32_make(control),
		.pm_timer = le32_make(timer),
		.gpe0 = le32_make(gpe0),
		.pm1_event_length = 4,
		.pm1_control_length = 2,
		.pm_timer_length = 4,
		.gpe0_length = 4,
		.c2_latency = le16_make(0xffff),
		.c3_latency = le16_make(0xffff),
		.century = 0x32,
		.boot_flags = le16_make(BOOT_LEGACY | BOOT_NO_VGA),
		.flags = le32_make(FLAG_WBINVD | FLAG_C1 | FLAG_NO_SLEEP |
				   FLAG_NO_RTC_WAKE | FLAG_TIMER_32 |
				   FLAG_RESET),
		.reset = port(LAYOUT_PM + LAYOUT_PM_RESET, 1),
		.reset_value = LAYOUT_PM_RESET_VALUE,
		.minor = 4,
		/* The FACS has one address, this or the one of 32 bits. */
		.x_dsdt = le64_make(dsdt),
		.x_pm1a_event = port(event, 4),
		.x_pm1a_control = port(control, 2),
		.x_pm_timer = port(timer, 4),
		.x_gpe0 = port(gpe0, 4),
		.hypervisor = "VMSNAP",
	};

	/* Event blocks of 32 bits are accessed by halves. */
	fadt.x_pm1a_event.access = 2;
	fadt.x_gpe0.access = 1;
	return place_table(area, "FACP", &fadt, sizeof(fadt));
}

static uint32_t place_madt(struct area *area, unsigned cpus)
{
	struct {
		struct madt madt;
		struct madt_ioapic ioapic;
		struct madt_override pit, sci;
		struct madt_nmi nmi;
		struct madt_lapic lapics[LAYOUT_CPUS_MAX];
	} all = {
		.madt = { .header.revision = 5,
			  .lapic = le32_make(LAYOUT_LAPIC),
			  .flags = le32_make(MADT_HAS_PIC) },
		.ioapic = { .type = 1,
			    .length = sizeof(all.ioapic),
			    .address = le32_make(LAYOUT_IOAPIC) },
		.pit = { .type = 2,
			 .length = sizeof(all.pit),
			 .source = LAYOUT_IRQ_PIT,
			 .gsi = le32_make(LAYOUT_PIT_PIN),
			 .flags = le16_make(WIRE_AS_BUS) },
		.sci = { .type = 2,
			 .length = sizeof(all.sci),
			 .source = LAYOUT_IRQ_SCI,
			 .gsi = le32_make(LAYOUT_IRQ_SCI),
			 .flags = le16_make(WIRE_HIGH_LEVEL) },
		.nmi = { .type = 4,
			 .length = sizeof(all.nmi),
			 .cpu = 0xff,
			 .pin = 1 },
	};

	_Static_assert(sizeof(all) ==
			       44 + 12 + 2 * 10 + 6 + 8 * LAYOUT_CPUS_MAX,
		       "no padding");
	for (unsigned i = 0; i < cpus; i++)
		all.lapics[i] =
			(struct madt_lapic){ .length = sizeof(all.lapics[i]),
					     .cpu = (uint8_t)i,
					     .apic = (uint8_t)i,
					     .flags = le32_make(1) };
	return place_table(area, "APIC", &all,
			   sizeof(all) - (LAYOUT_CPUS_MAX - cpus) *
						 sizeof(all.lapics[0]));
}

static uint32_t place_mcfg(struct area *area)
{
	struct mcfg mcfg = { .header.revision = 1,
			     .base = le64_make(LAYOUT_ECAM),
			     .last_bus = LAYOUT_ECAM_SIZE / MIB - 1 };

	return place_table(area, "MCFG", &mcfg, sizeof(mcfg));
}

static uint32_t place_xsdt(struct area *area, const uint32_t *tables,
			   unsigned count)
{
	struct {
		struct header header;
		le64 tables[3];
	} xsdt = { .header.revision = 1 };

	_Static_assert(sizeof(xsdt) == 60, "no padding");
	for (unsigned i = 0; i < count; i++)
		xsdt.tables[i] = le64_make(tables[i]);
	return place_table(area, "XSDT", &xsdt, sizeof(xsdt));
}

static void put_rsdp(struct area *area, uint32_t xsdt)
{
	struct rsdp rsdp = { .signature = "RSD PTR ",
			     .oem = "VMSNAP",
			     .revision = 2,
			     .length = le32_make(sizeof(rsdp)),
			     .xsdt = le64_make(xsdt) };

	rsdp.checksum = sum_to_zero(&rsdp, 20);
	rsdp.checksum_of_all = sum_to_zero(&rsdp, sizeof(rsdp));
	memcpy(area->bytes + AREA_AT(LAYOUT_RSDP), &rsdp, sizeof(rsdp));
}

/* What dsdt.asl reads as WMIN and WMAX. */
static void put_window(struct area *area, const struct memory *memory)
{
	uint64_t start = layout_window64(memory->size_bytes);
	le64 window[2] = { le64_make(start),
			   le64_make(start + LAYOUT_WINDOW64_LAST) };

	memcpy(area->bytes + AREA_AT(LAYOUT_ACPI_WINDOW), window,
	       sizeof(window));
}

int acpi_write_tables(const struct memory *memory, unsigned cpus,
		      struct err *err)
{
	autofree struct area *area = NULL;
	uint32_t tables[3], facs, dsdt, xsdt;
	int r;

	if (!cpus || cpus > LAYOUT_CPUS_MAX)
		return err_set(err, -EINVAL, "%u CPUs: 1 to %u are possible",
			       cpus, LAYOUT_CPUS_MAX);
	r = alloc_array(&area, 1, sizeof(*area), err);
	if (r < 0)
		return r;
	area->used = AREA_AT(LAYOUT_ACPI_TABLES);
	facs = place_facs(area);
	dsdt = place(area, acpi_dsdt, acpi_dsdt_size);
	tables[0] = place_fadt(area, facs, dsdt);
	tables[1] = place_madt(area, cpus);
	tables[2] = place_mcfg(area);
	xsdt = place_xsdt(area, tables, ARRAY_SIZE(tables));
	if (!facs || !dsdt || !tables[0] || !tables[1] || !tables[2] || !xsdt)
		return err_set(err, -ENOSPC, "no room for the ACPI tables");
	put_rsdp(area, xsdt);
	put_window(area, memory);
	r = memory_write(memory, gpa_make(LAYOUT_RSDP),
			 area->bytes + AREA_AT(LAYOUT_RSDP),
			 LAYOUT_VMGENID - LAYOUT_RSDP);
	if (!r)
		r = memory_write(memory, gpa_make(LAYOUT_ACPI_TABLES),
				 area->bytes + AREA_AT(LAYOUT_ACPI_TABLES),
				 LAYOUT_ACPI + LAYOUT_ACPI_SIZE -
					 LAYOUT_ACPI_TABLES);
	return r < 0 ? err_sys(err, r, "the ACPI tables") : 0;
}
