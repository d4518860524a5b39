/* SPDX-License-Identifier: Apache-2.0 */
/* Says what it was told: command line, memory map, initrd, CPUs. */
#include "tests/kvm/guest/guest.h"

static void say_map(const struct start_info *info)
{
	const struct start_range *range = (const void *)info->map;

	for (uint32_t i = 0; i < info->map_count; i++)
		say("map 0x%lx 0x%lx %u", range[i].start, range[i].size,
		    range[i].kind);
}

static void say_modules(const struct start_info *info)
{
	const struct start_module *module = (const void *)info->modules;
	const uint8_t *bytes;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < info->module_count; i++) {
		bytes = (const void *)module[i].address;
		for (uint64_t at = 0; at < module[i].size; at++)
			sum = sum * 31 + bytes[at];
		say("module of %lu bytes, sum 0x%lx", module[i].size, sum);
	}
}

static uint64_t in_ring_3(uint64_t argument)
{
	uint64_t selector = 0;

	__asm__ volatile("mov %%cs, %0" : "=r"(selector));
	return argument * 10 + (selector & 3);
}

/* A string of INS is one exit, for all of its bytes. */
static void say_string(void)
{
	static uint8_t bytes[64];
	unsigned long left = sizeof(bytes);
	void *to = bytes;
	unsigned sum = 0;

	__asm__ volatile("rep insb"
			 : "+D"(to), "+c"(left)
			 : "d"(0x2e0)
			 : "memory");
	for (unsigned i = 0; i < sizeof(bytes); i++)
		sum += bytes[i];
	say("string 0x%x", sum);
}

void guest_main(const struct start_info *info)
{
	say("hello, magic 0x%x version %u", info->magic, info->version);
	say("command line: %s", cmdline(info));
	say_map(info);
	say_modules(info);
	say("rsdp 0x%lx", info->rsdp);
	say("cpu %u of %u", cpuid(1, 0).ebx >> 24, cpuid(0xb, 1).ebx);
	say("ring 3 says %lu", run_user(in_ring_3, 4));
	/* Nobody is there: all ones. */
	say("port 0x%x, memory 0x%x", in32(0x2e0), mmio_read32(0xd1000000));
	say_string();
	guest_end_well();
}
