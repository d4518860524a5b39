/* SPDX-License-Identifier: Apache-2.0 */
/* A bzImage of any bytes: what is taken lies in RAM, from 1 MiB on, and what is
 * told of it does not depend on what the file says elsewhere. */
#include "kvm-agent/boot/boot.h"
#include "kvm-agent/vm/layout.h"
#include "tests/fuzz/fix.h"

#define RAM (8 * MIB)

static void check_parsed(const struct bzimage *image, size_t size)
{
	must(image->file_offset + image->file_bytes == size);
	must(image->file_offset >= 1024 && image->file_bytes > 0x200);
	must(image->memory_bytes >= image->file_bytes);
	must(image->wanted >= LAYOUT_KERNEL);
	must(!image->align || is_power_of_two(image->align));
}

static void check_loaded(struct memory *memory, const struct boot_start *start)
{
	const uint8_t *page =
		memory_at(memory, gpa_make(LAYOUT_ZERO_PAGE), 4096);
	le64 setup_data;

	must(start->protocol == BOOT_LINUX_64);
	must(start->linux_start >= LAYOUT_KERNEL && start->linux_start < RAM);
	must(page[0x1e8] >= 4 && page[0x1e8] <= MAP_RANGES_MAX);
	must(page[0x210] == 0xff);
	memcpy(&setup_data, page + 0x250, sizeof(setup_data));
	must(le64_get(setup_data) == 0);
	must(*(uint8_t *)memory_at(memory, gpa_make(LAYOUT_COMMAND_LINE), 1) ==
	     'x');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct memory memory;
	struct boot_source source = { .kernel = data,
				      .kernel_size = size,
				      .initrd = data,
				      .initrd_size = size,
				      .cmdline = "x" };
	struct boot_start start;
	struct bzimage image;
	struct err err;

	if (!memory.count)
		must(memory_init(&memory, RAM, &err) == 0);
	if (!bzimage_is_one(data, size))
		return 0;
	if (bzimage_parse(data, size, &image, &err) == 0)
		check_parsed(&image, size);
	if (boot_load(&memory, &source, &start, &err) == 0)
		check_loaded(&memory, &start);
	return 0;
}
