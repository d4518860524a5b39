/* SPDX-License-Identifier: Apache-2.0 */
/* A config: as it is, and with its checksum made right. */
#include "format/base/base.h"
#include "format/store/keys.h"
#include "tests/fuzz/fix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct masters masters = { .data_key = { 1 } };
	struct config_file file, again;
	struct store_config config;
	struct err err;

	(void)config_decode(data, size, &config, &err);
	if (size < sizeof(file))
		return 0;
	memcpy(&file, data, sizeof(file));
	fix_sum(&file, offsetof(struct config_file, check));
	if (config_decode(&file, sizeof(file), &config, &err) < 0)
		return 0;
	/* What is taken can be written again, as it was. */
	must(config_encode(&config, &masters, &again, &err) == 0);
	must(config_verify(&again, &masters, &err) == 0);
	again.compat = file.compat;
	fix_sum(&again, offsetof(struct config_file, check));
	must(memcmp(&again, &file, offsetof(struct config_file, mac)) == 0);
	must(config_verify(&file, &masters, &err) <= 0);
	return 0;
}
