/* SPDX-License-Identifier: Apache-2.0 */
/* Linux' bzImage: what is loaded where, what it is told, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/boot/boot.h"
#include "kvm-agent/vm/layout.h"
#include "tests/rig/bzimage_rig.h"

static uint8_t bytes[BZIMAGE_RIG_SIZE];

static uint64_t get(const struct memory *memory, uint64_t at, unsigned size)
{
	le64 value = { 0 };

	assert_int_equal(memory_read(memory, gpa_make(at), &value, size), 0);
	return le64_get(value);
}

static void test_parse(void **state)
{
	struct bzimage image;

	(void)state;
	bzimage_rig_make(bytes);
	assert_true(bzimage_is_one(bytes, sizeof(bytes)));
	assert_int_equal(bzimage_parse(bytes, sizeof(bytes), &image, NULL), 0);
	assert_int_equal(image.file_offset, 3 * 512);
	assert_int_equal(image.file_bytes, 1000);
	assert_int_equal(image.memory_bytes, BZIMAGE_RIG_MEMORY);
	assert_int_equal(image.wanted, BZIMAGE_RIG_WANTED);
	assert_int_equal(image.align, 0x200000);
	assert_int_equal(image.initrd_limit, 0x80000000);
	assert_int_equal(image.cmdline_max, 2047);
	/* One that can't be moved. */
	bytes[0x234] = 0;
	assert_int_equal(bzimage_parse(bytes, sizeof(bytes), &image, NULL), 0);
	assert_int_equal(image.align, 0);
}

static void test_refused(void **state)
{
	static const struct {
		uint16_t at;
		uint8_t value;
	} lies[] = {
		{ 0x1fe, 0 },    { 0x202, 'h' }, { 0x207, 1 }, { 0x206, 0x0b },
		{ 0x236, 0 },    { 0x211, 0 },   { 0x1f1, 9 }, { 0x1f1, 255 },
		{ 0x232, 0x30 }, { 0x232, 0 },   { 0x25b, 0 },
	};
	struct bzimage image;
	struct err err;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		bzimage_rig_make(bytes);
		bytes[lies[i].at] = lies[i].value;
		assert_int_equal(
			bzimage_parse(bytes, sizeof(bytes), &image, &err),
			-ENOEXEC);
	}
	bzimage_rig_make(bytes);
	for (size_t size = 0; size <= 3 * 512 + 512; size++)
		assert_int_equal(bzimage_parse(bytes, size, &image, &err),
				 -ENOEXEC);
	assert_int_equal(bzimage_parse(bytes, 3 * 512 + 513, &image, &err), 0);
}

static size_t initrd_size = 9;

static int load(struct memory *memory, uint64_t ram, const char *cmdline,
		struct boot_start *start)
{
	static const char initrd[] = "an initrd";
	struct boot_source source = { .kernel = bytes,
				      .kernel_size = sizeof(bytes),
				      .initrd = initrd,
				      .initrd_size = initrd_size,
				      .cmdline = cmdline,
				      .rsdp = LAYOUT_RSDP };

	assert_int_equal(memory_init(memory, ram, NULL), 0);
	return boot_load(memory, &source, start, NULL);
}

static void test_load(void **state)
{
	const uint64_t zero = LAYOUT_ZERO_PAGE;
	struct boot_start start;
	struct memory memory;
	uint64_t initrd;

	(void)state;
	bzimage_rig_make(bytes);
	assert_int_equal(load(&memory, 64 * MIB, "one two", &start), 0);
	assert_int_equal(start.protocol, BOOT_LINUX_64);
	assert_int_equal(start.linux_start, BZIMAGE_RIG_WANTED);
	assert_memory_equal(
		memory_at(&memory, gpa_make(BZIMAGE_RIG_WANTED), 1000),
		bytes + 3 * 512, 1000);
	/* The zero page: header, loader, what lies where. */
	assert_int_equal(get(&memory, zero + 0x202, 4), 0x53726448);
	assert_int_equal(get(&memory, zero + 0x210, 1), 0xff);
	assert_int_equal(get(&memory, zero + 0x228, 4), LAYOUT_COMMAND_LINE);
	assert_int_equal(get(&memory, zero + 0x250, 8), 0);
	assert_int_equal(get(&memory, zero + 0x260, 4), BZIMAGE_RIG_MEMORY);
	/* Nothing of the file from behind its header. */
	assert_int_equal(get(&memory, zero + 0x26c, 8), 0);
	assert_int_equal(get(&memory, zero + 0x70, 8), LAYOUT_RSDP);
	assert_int_equal(get(&memory, zero + 0x1e8, 1), 5);
	assert_int_equal(get(&memory, zero + 0x2d0 + 2 * 20, 8), LAYOUT_KERNEL);
	assert_int_equal(get(&memory, zero + 0x2d8 + 2 * 20, 8), 63 * MIB);
	assert_int_equal(get(&memory, zero + 0x2e0 + 2 * 20, 4), MAP_RAM);
	initrd = get(&memory, zero + 0x218, 4);
	assert_int_equal(initrd, 64 * MIB - 4096);
	assert_int_equal(get(&memory, zero + 0x21c, 4), 9);
	assert_memory_equal(memory_at(&memory, gpa_make(initrd), 9),
			    "an initrd", 9);
	assert_string_equal(
		memory_at(&memory, gpa_make(LAYOUT_COMMAND_LINE), 8),
		"one two");
	memory_release(&memory);
}

/* The identity map and the registers: an address goes to itself. */
static void test_long_mode(void **state)
{
	struct kvm_sregs sregs = { 0 };
	struct kvm_regs regs = { 0 };
	struct boot_start start;
	struct memory memory;

	(void)state;
	bzimage_rig_make(bytes);
	assert_int_equal(load(&memory, 64 * MIB, "", &start), 0);
	boot_set_registers(&start, &regs, &sregs);
	assert_int_equal(regs.rip, BZIMAGE_RIG_WANTED + 0x200);
	assert_int_equal(regs.rsi, LAYOUT_ZERO_PAGE);
	assert_int_equal(sregs.cs.l, 1);
	for (uint64_t at = 0; at < 4 * GIB; at += 2 * MIB) {
		uint64_t entry = get(&memory, sregs.cr3, 8);

		entry = get(&memory, (entry & ~0xfffull) + (at >> 30) * 8, 8);
		assert_int_equal(entry & 0x83, 3);
		entry = get(&memory, (entry & ~0xfffull) + (at >> 21 & 511) * 8,
			    8);
		assert_true(entry == (at | 0x83));
	}
	assert_true(get(&memory, sregs.gdt.base + sregs.cs.selector, 8) ==
		    0x00af9b000000ffff);
	memory_release(&memory);
}

static void test_little_ram(void **state)
{
	char *line = calloc(1, 2049);
	struct boot_start start;
	struct memory memory;

	(void)state;
	assert_non_null(line);
	bzimage_rig_make(bytes);
	/* Moved down, or not at all. */
	assert_int_equal(load(&memory, 8 * MIB, "", &start), 0);
	assert_int_equal(start.linux_start, 0x200000);
	memory_release(&memory);
	bytes[0x234] = 0;
	assert_int_equal(load(&memory, 8 * MIB, "", &start), -ENOSPC);
	memory_release(&memory);
	bytes[0x234] = 1;
	assert_int_equal(load(&memory, 6 * MIB, "", &start), -ENOSPC);
	memory_release(&memory);
	/* Past 4 GiB there is RAM, but no way to it. */
	bytes[0x25c] = 1;
	initrd_size = 0;
	assert_int_equal(load(&memory, 4 * GIB, "", &start), -ENOSPC);
	memory_release(&memory);
	initrd_size = 9;
	bzimage_rig_make(bytes);
	memset(line, 'x', 2048);
	assert_int_equal(load(&memory, 64 * MIB, line, &start), -E2BIG);
	memory_release(&memory);
	line[2047] = 0;
	assert_int_equal(load(&memory, 64 * MIB, line, &start), 0);
	memory_release(&memory);
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_long_mode),
		cmocka_unit_test(test_little_ram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
