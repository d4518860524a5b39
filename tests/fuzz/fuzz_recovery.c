/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recovery copy: the text as it is; and an input of objects (config, then
 * slots), whose checksums are made right, as text with right checks.
 */
#include "format/base/base.h"
#include "format/base/bytes.h"
#include "format/store/keys.h"
#include "tests/fuzz/fix.h"

static void decode(const void *text, size_t size)
{
	struct slot_file *slots = NULL;
	struct config_file config;
	struct bytes again = { 0 };
	size_t count = 0;
	struct err err;

	if (recovery_decode(text, size, &config, &slots, &count, &err) < 0) {
		must(slots == NULL);
		return;
	}
	must(count >= 1);
	must(recovery_encode(&config, slots, count, &again, &err) == 0);
	free(slots);
	slots = NULL;
	must(recovery_decode((char *)again.data, again.size, &config, &slots,
			     &count, &err) == 0);
	free(slots);
	bytes_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slot_file slots[3];
	struct config_file config;
	struct bytes text = { 0 };
	size_t count;

	decode(data, size);
	if (size < sizeof(config) + sizeof(slots[0]))
		return 0;
	memcpy(&config, data, sizeof(config));
	fix_sum(&config, offsetof(struct config_file, check));
	count = (size - sizeof(config)) / sizeof(slots[0]);
	count = count > ARRAY_SIZE(slots) ? ARRAY_SIZE(slots) : count;
	memcpy(slots, data + sizeof(config), count * sizeof(slots[0]));
	for (size_t i = 0; i < count; i++) {
		slots[i].store = config.store;
		fix_sum(&slots[i], offsetof(struct slot_file, check));
	}
	must(recovery_encode(&config, slots, count, &text, NULL) == 0);
	decode(text.data, text.size);
	bytes_release(&text);
	return 0;
}
