/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pack's directory: the bytes as a whole pack; and as the plaintext of a
 * directory behind a body, in a pack that is else as it must be.
 * Input: le32 count, le32 length of the body, directory.
 */
#include "format/base/base.h"
#include "format/store/pack.h"
#include "tests/fuzz/fix.h"
#include "tests/rig/forge.h"
#include "tests/rig/mem_backend.h"
#include "tests/rig/table_rig.h"

static const struct id id = { "a pack for the fuzzer to chew on" };

static void read_it(struct backend *backend, struct forge *forge,
		    const void *data, size_t size)
{
	struct bytes directory = { 0 };
	struct pack_info info;
	struct err err;
	uint32_t n;
	int r;

	mem_backend_set(backend, forge->name, data, size);
	r = pack_read_directory(backend, forge->sealer, &rig_store, rig_key,
				&id, &info, &directory, &err);
	must(r <= 0);
	if (r < 0)
		must(directory.size == 0 && err.text[0]);
	else
		must(directory.size == info.count * sizeof(struct entry) &&
		     info.directory_offset < info.size_bytes);
	for (n = 0; r == 0 && n < info.count; n++)
		must(entry_wrong((const struct entry *)directory.data + n,
				 info.directory_offset) == NULL);
	bytes_release(&directory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct backend *backend;
	static struct forge forge;
	uint32_t count, body;

	if (!backend)
		backend = mem_backend_new();
	forge_begin(&forge, OBJECT_PACK, &id);
	read_it(backend, &forge, data, size);
	if (size < 8)
		return 0;
	memcpy(&count, data, 4);
	memcpy(&body, data + 4, 4);
	forge_zeros(&forge, body % (1u << 20));
	forge_seal(&forge, data + 8, size - 8, true);
	forge_trailer(&forge, count, size - 8 + SEAL_TAG_SIZE);
	read_it(backend, &forge, forge.object.data, forge.object.size);
	return 0;
}
