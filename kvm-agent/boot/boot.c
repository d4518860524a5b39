/* SPDX-License-Identifier: Apache-2.0 */
/* Which kind of kernel it is shows in its first bytes. */
#include <errno.h>
#include <string.h>

#include "kvm-agent/boot/boot.h"
#include "kvm-agent/vm/layout.h"

static int load_pvh(const struct memory *memory,
		    const struct boot_source *source, struct pvh_image *out,
		    struct err *err)
{
	struct pvh_info info = { .cmdline = source->cmdline,
				 .initrd_size = source->initrd_size,
				 .rsdp = source->rsdp };
	int r = pvh_parse(source->kernel, source->kernel_size, out, err);

	if (r < 0)
		return r;
	r = pvh_load(memory, source->kernel, out, err);
	if (r == 0 && source->initrd_size)
		r = map_put_initrd(memory, source->initrd, source->initrd_size,
				   out->end, MEMORY_LOW_END, &info.initrd, err);
	return r == 0 ? pvh_tell(memory, &info, err) : r;
}

static int load_linux(const struct memory *memory,
		      const struct boot_source *source, uint64_t *start,
		      struct err *err)
{
	struct bzimage_info info = { .cmdline = source->cmdline,
				     .initrd_size = source->initrd_size,
				     .rsdp = source->rsdp };
	struct bzimage image;
	int r;

	r = bzimage_parse(source->kernel, source->kernel_size, &image, err);
	if (r == 0)
		r = bzimage_load(memory, source->kernel, &image, start, err);
	if (r == 0 && source->initrd_size)
		r = map_put_initrd(memory, source->initrd, source->initrd_size,
				   *start + image.memory_bytes,
				   image.initrd_limit, &info.initrd, err);
	return r == 0 ? bzimage_tell(memory, source->kernel, &image, &info, err)
		      : r;
}

int boot_load(const struct memory *memory, const struct boot_source *source,
	      struct boot_start *out, struct err *err)
{
	struct boot_start start = { 0 };
	int r;

	if (pvh_is_elf(source->kernel, source->kernel_size)) {
		start.protocol = BOOT_PVH;
		r = load_pvh(memory, source, &start.pvh, err);
	} else if (bzimage_is_one(source->kernel, source->kernel_size)) {
		start.protocol = BOOT_LINUX_64;
		r = load_linux(memory, source, &start.linux_start, err);
	} else {
		r = err_set(err, -ENOEXEC,
			    "the kernel is of no kind that can be started "
			    "here: give Linux' bzImage, or an ELF file with a "
			    "PVH note");
	}
	if (r == 0)
		*out = start;
	return r;
}

void boot_set_registers(const struct boot_start *start, struct kvm_regs *regs,
			struct kvm_sregs *sregs)
{
	switch (start->protocol) {
	case BOOT_PVH:
		pvh_set_registers(&start->pvh, regs, sregs);
		break;
	case BOOT_LINUX_64:
		bzimage_set_registers(start->linux_start, regs, sregs);
		break;
	}
}
