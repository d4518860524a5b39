/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A section's fields, listed once for both ways: a function that names each
 * field in order writes them with a writer in `out`, and else reads them. So
 * the two can't come apart.
 */
#ifndef KVM_AGENT_STATE_FIELDS_H
#define KVM_AGENT_STATE_FIELDS_H

#include "kvm-agent/state/section.h"

struct fields {
	struct state_writer *out; /* or NULL, and then: */
	struct section_reader *in;
};

static inline void field_u8(struct fields *fields, uint8_t *value)
{
	if (fields->out)
		section_put_u8(fields->out, *value);
	else
		*value = section_get_u8(fields->in);
}

static inline void field_u16(struct fields *fields, uint16_t *value)
{
	if (fields->out)
		section_put_u16(fields->out, *value);
	else
		*value = section_get_u16(fields->in);
}

static inline void field_u32(struct fields *fields, uint32_t *value)
{
	if (fields->out)
		section_put_u32(fields->out, *value);
	else
		*value = section_get_u32(fields->in);
}

/* Not uint64_t: the kernel's headers have another type of that size. */
static inline void field_u64(struct fields *fields, unsigned long long *value)
{
	if (fields->out)
		section_put_u64(fields->out, *value);
	else
		*value = section_get_u64(fields->in);
}

static inline void field_bytes(struct fields *fields, void *data, size_t size)
{
	if (fields->out)
		section_put_bytes(fields->out, data, size);
	else
		section_get_bytes(fields->in, data, size);
}

#endif
