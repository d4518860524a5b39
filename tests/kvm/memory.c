/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All RAM holds what is written to it, each word another value: no two
 * addresses are one, also behind the hole for devices. "sparse" on the command
 * line: some words only.
 */
#include "tests/kvm/guest/guest.h"

#define SPARSE ((32u << 20) + 8)

struct area {
	uint64_t start, end, step;
};

static struct area area;

static uint64_t value_of(uint64_t address)
{
	address *= 0x9e3779b97f4a7c15;
	return address ^ address >> 29;
}

static uint64_t fill(uint64_t unused)
{
	(void)unused;
	for (uint64_t at = area.start; at + 8 <= area.end; at += area.step)
		*(volatile uint64_t *)at = value_of(at);
	return 0;
}

/* The first address that is wrong, or 0. */
static uint64_t look(uint64_t unused)
{
	(void)unused;
	for (uint64_t at = area.start; at + 8 <= area.end; at += area.step) {
		if (*(volatile uint64_t *)at != value_of(at))
			return at;
	}
	return 0;
}

/* The part of a range that is free. */
static bool take(const struct start_range *range, uint64_t step)
{
	uint64_t start = (uint64_t)guest_end;

	area = (struct area){ range->start, range->start + range->size, step };
	if (range->kind != 1 || area.end <= start)
		return false;
	if (area.start < start)
		area.start = start;
	map_memory(area.start, area.end);
	return true;
}

void guest_main(const struct start_info *info)
{
	const struct start_range *ranges = (const void *)info->map;
	uint64_t step = cmdline_has(info, "sparse") ? SPARSE : 8, wrong;
	uint64_t total = 0;

	for (uint32_t i = 0; i < info->map_count; i++) {
		if (take(&ranges[i], step))
			run_user(fill, 0);
	}
	/* Filled all before the first look. */
	for (uint32_t i = 0; i < info->map_count; i++) {
		if (!take(&ranges[i], step))
			continue;
		wrong = run_user(look, 0);
		if (wrong)
			guest_fail("0x%lx at 0x%lx", *(uint64_t *)wrong, wrong);
		total += area.end - area.start;
	}
	say("0x%lx bytes behind 0x%lx", total, (uint64_t)guest_end);
	guest_end_well();
}
