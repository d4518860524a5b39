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

int boot_load(const struct memory *memory, const struct boot_source *source,
	      struct boot_start *out, struct err *err)
{
	struct boot_start start = { 0 };
	int r;

	if (pvh_is_elf(source->kernel, source->kernel_size)) {
		start.protocol = BOOT_PVH;
		r = load_pvh(memory, source, &start.pvh, err);
	} else {
		r = err_set(err, -ENOEXEC,
			    "the kernel is of no kind that can be started "
			    "here: give an ELF file with a PVH note");
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
	}
}
