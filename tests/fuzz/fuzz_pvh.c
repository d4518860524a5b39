/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel file of any bytes: what is taken lies in RAM, from 1 MiB on. */
#include "kvm-agent/boot/boot.h"
#include "tests/fuzz/fix.h"

#define RAM (4 * MIB)

static void check(const struct pvh_image *image, size_t size)
{
	bool entered = false;

	must(image->count && image->count <= PVH_SEGMENTS_MAX);
	for (unsigned i = 0; i < image->count; i++) {
		const struct pvh_segment *segment = &image->segments[i];

		must(segment->address >= MIB);
		must(segment->memory_bytes <= UINT64_MAX - segment->address);
		must(segment->address + segment->memory_bytes <= image->end);
		must(segment->file_bytes <= segment->memory_bytes);
		must(segment->file_offset <= size);
		must(segment->file_bytes <= size - segment->file_offset);
		entered |=
			image->entry >= segment->address &&
			image->entry - segment->address < segment->file_bytes;
	}
	must(entered);
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
	struct pvh_image image;
	struct err err;

	if (!memory.count)
		must(memory_init(&memory, RAM, &err) == 0);
	if (pvh_parse(data, size, &image, &err) == 0)
		check(&image, size);
	(void)boot_load(&memory, &source, &start, &err);
	return 0;
}
