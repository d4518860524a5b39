/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's state, its check made right: each section's fields are taken in
 * the sizes that its own bytes say, and written again they give the same state.
 */
#include <errno.h>

#include "format/base/base.h"
#include "kvm-agent/state/section.h"
#include "tests/fuzz/fix.h"

/* The name and instance of section `at`, from its head in the bytes. */
static const uint8_t *next_head(const uint8_t *at, const struct state *state,
				char name[16], uint32_t *instance,
				uint32_t *version)
{
	le32 number;

	must(at >= state->data && at + 32 <= state->data + state->size - 8);
	memcpy(name, at, 16);
	memcpy(&number, at + 16, sizeof(number));
	*instance = le32_get(number);
	memcpy(&number, at + 20, sizeof(number));
	*version = le32_get(number);
	memcpy(&number, at + 24, sizeof(number));
	return at + 32 + le32_get(number);
}

static void copy_fields(struct section_reader *in, struct state_writer *out)
{
	uint8_t block[24];

	while (in->bytes.left) {
		size_t left = in->bytes.left;
		unsigned what = *in->bytes.at % 5;

		if (what == 3 && left >= 8)
			section_put_u64(out, section_get_u64(in));
		else if (what == 2 && left >= 4)
			section_put_u32(out, section_get_u32(in));
		else if (what == 1 && left >= 2)
			section_put_u16(out, section_get_u16(in));
		else if (what == 4 && left >= sizeof(block)) {
			section_get_bytes(in, block, sizeof(block));
			section_put_bytes(out, block, sizeof(block));
		} else
			section_put_u8(out, section_get_u8(in));
	}
	must(section_done(in, NULL) == 0);
	/* What isn't there is zero, and is told. */
	must(section_get_u64(in) == 0);
	must(section_done(in, NULL) == -EBADMSG);
}

static void copy(const struct state *state)
{
	const uint8_t *at = state->data + 16;
	struct section_reader in, none;
	struct state_writer out;
	bool twice = false;

	must(state_begin(&out, NULL) == 0);
	for (unsigned i = 0; i < state->count; i++) {
		uint32_t instance, version;
		const uint8_t *head = at;
		char name[16];

		at = next_head(at, state, name, &instance, &version);
		must(state_count(state, name) >= 1);
		/* Of two with one name the first is found. */
		if (state_find(state, name, instance, version, &in, NULL) < 0 ||
		    in.bytes.at != head + 32) {
			twice = true;
			continue;
		}
		must(state_find(state, name, instance, version - 1, &none,
				NULL) == -EOPNOTSUPP);
		section_begin(&out, name, instance, version);
		copy_fields(&in, &out);
		section_end(&out);
	}
	must(at == state->data + state->size - 8);
	must(state_finish(&out, NULL) == 0);
	if (!twice) {
		must(out.bytes.size == state->size);
		must(memcmp(out.bytes.data, state->data, state->size) == 0);
	}
	state_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state state;
	struct err err;
	uint8_t *own;

	(void)state_open(&state, data, size, &err);
	if (size < 24)
		return 0;
	own = malloc(size);
	must(own != NULL);
	memcpy(own, data, size);
	fix_sum(own, size - 8);
	if (state_open(&state, own, size, &err) == 0)
		copy(&state);
	free(own);
	return 0;
}
