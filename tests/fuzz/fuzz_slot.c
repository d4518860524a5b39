/* SPDX-License-Identifier: Apache-2.0 */
/* A key slot: as it is, and with checksum, store and name made right. */
#include "format/base/base.h"
#include "format/store/keys.h"
#include "tests/fuzz/fix.h"

/* scrypt at full cost would leave nothing for the fuzzer. */
static int is_quick(const struct slot_file *slot)
{
	return le32_get(slot->kind) == SLOT_CLEAR ||
	       (le32_get(slot->log2_n) == 10 && le32_get(slot->r) == 1 &&
		le32_get(slot->p) == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct store_id store = { { 1 } };
	char id_hex[SLOT_ID_HEX_SIZE];
	struct slot_file slot;
	struct masters masters;
	struct err err;

	(void)slot_check(data, size, &store, "00", &err);
	if (size < sizeof(slot))
		return 0;
	memcpy(&slot, data, sizeof(slot));
	fix_sum(&slot, offsetof(struct slot_file, check));
	hex_encode(id_hex, slot.id, sizeof(slot.id));
	if (slot_check(&slot, sizeof(slot), &slot.store, id_hex, &err) < 0)
		return 0;
	must(memchr(slot.label, 0, sizeof(slot.label)) != NULL);
	must(le32_get(slot.log2_n) <= 20 && le32_get(slot.r) <= 32);
	if (is_quick(&slot))
		(void)slot_open(&slot, "x", 1, &masters, &err);
	return 0;
}
