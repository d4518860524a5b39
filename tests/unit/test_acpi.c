/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables, as a guest walks them in RAM; and as iasl reads them: each
 * is disassembled without a word of complaint, and compiled again it is the
 * same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/acpi/tables.h"
#include "kvm-agent/vm/layout.h"

#define TABLES_MAX 8

struct table {
	char name[5];
	const uint8_t *bytes;
	uint32_t length;
};

static struct memory memory;
static struct table tables[TABLES_MAX];
static unsigned table_count;

static uint32_t get32(const uint8_t *at)
{
	le32 value;

	memcpy(&value, at, sizeof(value));
	return le32_get(value);
}

static uint64_t get64(const uint8_t *at)
{
	return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static const uint8_t *at_address(uint64_t address, uint64_t length)
{
	const uint8_t *bytes = memory_at(&memory, gpa_make(address), length);

	assert_non_null(bytes);
	assert_in_range(address, LAYOUT_ACPI, 0xfffff);
	assert_in_range(address + length, LAYOUT_ACPI, 0x100000);
	return bytes;
}

static unsigned sum(const uint8_t *bytes, size_t size)
{
	unsigned total = 0;

	for (size_t i = 0; i < size; i++)
		total += bytes[i];
	return total & 0xff;
}

static const struct table *take_table(uint64_t address)
{
	struct table *table = &tables[table_count++];

	assert_true(table_count <= TABLES_MAX);
	memcpy(table->name, at_address(address, 4), 4);
	table->length = get32(at_address(address + 4, 4));
	table->bytes = at_address(address, table->length);
	if (strcmp(table->name, "FACS") != 0)
		assert_int_equal(sum(table->bytes, table->length), 0);
	return table;
}

static const struct table *find(const char *name)
{
	for (unsigned i = 0; i < table_count; i++) {
		if (!strcmp(tables[i].name, name))
			return &tables[i];
	}
	fail_msg("no table %s", name);
	return NULL;
}

static void write_and_walk(uint64_t ram_size_bytes, unsigned cpus)
{
	const struct table *xsdt, *fadt;
	const uint8_t *rsdp;

	table_count = 0;
	assert_int_equal(memory_init(&memory, ram_size_bytes, NULL), 0);
	memset(memory_at(&memory, gpa_make(0), MIB), 0xa5, MIB);
	assert_int_equal(acpi_write_tables(&memory, cpus, NULL), 0);
	/* Nothing else is touched. */
	assert_int_equal(
		*(uint8_t *)memory_at(&memory, gpa_make(LAYOUT_ACPI - 1), 1),
		0xa5);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(*at_address(LAYOUT_VMGENID + i, 1), 0xa5);
	rsdp = at_address(LAYOUT_RSDP, 36);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	xsdt = take_table(get64(rsdp + 24));
	assert_string_equal(xsdt->name, "XSDT");
	for (uint32_t at = 36; at < xsdt->length; at += 8)
		(void)take_table(get64(xsdt->bytes + at));
	fadt = find("FACP");
	(void)take_table(get32(fadt->bytes + 36));
	(void)take_table(get32(fadt->bytes + 40));
	assert_int_equal(get32(fadt->bytes + 40), get64(fadt->bytes + 140));
	(void)find("APIC");
	(void)find("MCFG");
	(void)find("DSDT");
	assert_int_equal(table_count, 6);
	/* The wakers' lock wants an address of 64 bytes. */
	assert_int_equal(get32(fadt->bytes + 36) % 64, 0);
	(void)find("FACS");
}

/* How many CPUs are enabled, their APIC ids counting from 0. */
static unsigned count_cpus(void)
{
	const struct table *madt = find("APIC");
	unsigned cpus = 0;

	for (uint32_t at = 44; at < madt->length; at += madt->bytes[at + 1]) {
		assert_true(madt->bytes[at + 1] >= 6);
		if (madt->bytes[at] != 0)
			continue;
		assert_int_equal(madt->bytes[at + 3], cpus);
		assert_int_equal(get32(madt->bytes + at + 4), 1);
		cpus++;
	}
	return cpus;
}

static void test_cpus(void **state)
{
	struct err err;

	(void)state;
	for (unsigned cpus = 1; cpus <= LAYOUT_CPUS_MAX; cpus++) {
		write_and_walk(2 * MIB, cpus);
		assert_int_equal(count_cpus(), cpus);
		memory_release(&memory);
	}
	assert_int_equal(memory_init(&memory, 2 * MIB, NULL), 0);
	assert_int_equal(acpi_write_tables(&memory, 0, &err), -EINVAL);
	assert_int_equal(acpi_write_tables(&memory, LAYOUT_CPUS_MAX + 1, &err),
			 -EINVAL);
	memory_release(&memory);
}

static void test_windows(void **state)
{
	static const struct {
		uint64_t ram, start;
	} sizes[] = {
		{ 2 * MIB, 32 * GIB },
		{ 31 * GIB, 32 * GIB },
		{ 31 * GIB + 2 * MIB, 64 * GIB },
		{ 255 * GIB, 256 * GIB },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		const uint8_t *window;

		write_and_walk(sizes[i].ram, 1);
		window = at_address(LAYOUT_ACPI_WINDOW, 16);
		assert_true(get64(window) == sizes[i].start);
		assert_true(get64(window + 8) == sizes[i].start + 32 * GIB - 1);
		memory_release(&memory);
	}
	/* What the preprocessor can't compute. */
	assert_int_equal(LAYOUT_WINDOW32 + LAYOUT_WINDOW32_SIZE - 1,
			 LAYOUT_WINDOW32_LAST);
	assert_true(LAYOUT_WINDOW64_SIZE - 1 == LAYOUT_WINDOW64_LAST);
	assert_int_equal(LAYOUT_PORT_WINDOW + LAYOUT_PORT_WINDOW_SIZE - 1,
			 LAYOUT_PORT_WINDOW_LAST);
}

/* A register's block: its old address, the new one, and the length. */
static void check_block(const uint8_t *fadt, unsigned old, unsigned length,
			unsigned generic, unsigned address)
{
	assert_int_equal(get32(fadt + old), address);
	assert_int_equal(fadt[generic], 1);
	assert_int_equal(fadt[generic + 1], 8 * fadt[length]);
	assert_int_equal(get64(fadt + generic + 4), address);
}

static void test_registers(void **state)
{
	const uint8_t *fadt;

	(void)state;
	write_and_walk(2 * MIB, 1);
	fadt = find("FACP")->bytes;
	check_block(fadt, 56, 88, 148, LAYOUT_PM + LAYOUT_PM1_EVENT);
	check_block(fadt, 64, 89, 172, LAYOUT_PM + LAYOUT_PM1_CONTROL);
	check_block(fadt, 76, 91, 208, LAYOUT_PM + LAYOUT_PM_TIMER);
	check_block(fadt, 80, 92, 220, LAYOUT_PM + LAYOUT_PM_GPE0);
	assert_int_equal(get64(fadt + 120), LAYOUT_PM + LAYOUT_PM_RESET);
	assert_int_equal(fadt[128], LAYOUT_PM_RESET_VALUE);
	memory_release(&memory);
}

static int run(const char *line)
{
	/* Ours, with nothing from outside in it. NOLINTNEXTLINE */
	return system(line);
}

/* Runs a shell's command in `folder`; its output is shown if it fails. */
static void shell(const char *folder, const char *command)
{
	char line[1024];

	snprintf(line, sizeof(line), "cd %s && { %s; } >log 2>&1", folder,
		 command);
	if (run(line) == 0)
		return;
	snprintf(line, sizeof(line), "cat %s/log; rm -r %s", folder, folder);
	(void)run(line);
	fail_msg("%s", command);
}

static void write_file(const char *folder, const struct table *table)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.dat", folder, table->name);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(table->bytes, 1, table->length, file),
			 table->length);
	assert_int_equal(fclose(file), 0);
}

/* But for the header's fields of who compiled it, and its checksum. */
static void compare_again(const char *folder, const struct table *table)
{
	static uint8_t again[LAYOUT_ACPI_SIZE];
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.aml", folder, table->name);
	file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fread(again, 1, sizeof(again), file), table->length);
	fclose(file);
	assert_memory_equal(again, table->bytes, 9);
	assert_memory_equal(again + 36, table->bytes + 36, table->length - 36);
}

static void test_iasl(void **state)
{
	char folder[] = "/tmp/test_acpi.XXXXXX", command[512];

	(void)state;
	write_and_walk(6 * GIB, 5);
	assert_non_null(mkdtemp(folder));
	for (unsigned i = 0; i < table_count; i++) {
		const char *name = tables[i].name;

		write_file(folder, &tables[i]);
		snprintf(command, sizeof(command),
			 "iasl -d %.4s.dat && "
			 "! grep -iE 'error|warning|invalid' log %.4s.dsl && "
			 "iasl -we %.4s.dsl",
			 name, name, name);
		shell(folder, command);
		compare_again(folder, &tables[i]);
	}
	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(run(command), 0);
	memory_release(&memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cpus),
		cmocka_unit_test(test_windows),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_iasl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
