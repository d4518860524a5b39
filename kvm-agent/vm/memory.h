/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's RAM. A guest-physical address is a struct and never a pointer:
 * memory_at() is the one place where it becomes one.
 *
 * RAM lies at 0, up to MEMORY_LOW_END, and what is more at MEMORY_HIGH_START;
 * between them are the devices. The layout is made once, before a vCPU runs;
 * from then on any thread reads it. The guest writes to its RAM at any time:
 * what was read once must be checked and used from a copy, never read again.
 */
#ifndef KVM_AGENT_VM_MEMORY_H
#define KVM_AGENT_VM_MEMORY_H

#include "format/base/base.h"

#define MEMORY_LOW_END    0xc0000000ULL
#define MEMORY_HIGH_START 0x100000000ULL
#define MEMORY_ALIGN      (2 * MIB)
#define MEMORY_SIZE_MIN   (2 * MIB)
#define MEMORY_SIZE_MAX   (16 * TIB)

struct gpa {
	uint64_t value;
};

static inline struct gpa gpa_make(uint64_t value)
{
	return (struct gpa){ value };
}

struct memory_region {
	uint64_t start; /* guest-physical */
	uint64_t size_bytes;
	uint8_t *host;
};

struct memory {
	struct memory_region regions[2];
	unsigned count;
	uint64_t size_bytes;
};

/* Anonymous, in pages of 2 MiB where the host has them, not in core files.
 * `size_bytes` is a multiple of MEMORY_ALIGN. -EINVAL, -ENOMEM. */
int memory_init(struct memory *memory, uint64_t size_bytes, struct err *err);
void memory_release(struct memory *memory);
/* All of it is zero again, and given back to the host. */
int memory_clear(struct memory *memory, struct err *err);

/*
 * Where `length` bytes of RAM at `at` are in this process, or NULL when one of
 * them is not RAM, or they are not in one region. A length of 0 is NULL too.
 */
void *memory_at(const struct memory *memory, struct gpa at, uint64_t length);

/*
 * Bytes that memory_at() gave mean nothing to the guest any more: the whole
 * pages among them go back to the host, and read as zeros until they are
 * written to again. -errno: they are as they were, which does no harm.
 */
int memory_discard(const struct memory *memory, void *at, uint64_t length);

/* Copies. -EFAULT, and nothing is copied, where memory_at() has no pointer. */
int memory_read(const struct memory *memory, struct gpa at, void *buffer,
		uint64_t length);
int memory_write(const struct memory *memory, struct gpa at, const void *buffer,
		 uint64_t length);

#endif
