/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest's agent answers, by the first byte's kind of question; and
 * base64, where what is understood is said again the same. */
#include "format/base/base64.h"
#include "tests/fuzz/fix.h"
#include "vmsnap/guest_agent.h"

static void base64(const char *text, size_t size)
{
	struct bytes plain = { 0 }, again = { 0 };

	if (base64_get(&plain, text, size, NULL) == 0) {
		must(plain.size <= size / 4 * 3);
		must(base64_put(&again, plain.data, plain.size, NULL) == 0);
		must(again.size == size && !memcmp(again.data, text, size));
	}
	bytes_release(&plain);
	bytes_release(&again);
}

static void look(const char *line, size_t size)
{
	struct guest_agent_look out = { 0 };
	struct err err = { 0 };
	int r = guest_agent_get_look(line, size, &out, &err);

	if (r < 0) {
		must(err.code == r && *err.text);
		must(!out.result.output.data && !out.result.error.data);
		return;
	}
	must(out.ended || !out.result.output.size);
	must(out.result.status >= 0);
	must(out.result.killer >= 0 && out.result.killer < 128);
	must(out.result.output.size <= size && out.result.error.size <= size);
	vms_command_result_release(&out.result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *line = (const char *)data + 1;
	uint64_t process = 0;
	uint32_t id;

	if (!size)
		return 0;
	switch (data[0] % 4) {
	case 0:
		(void)guest_agent_get_sync(line, size - 1, &id, NULL);
		break;
	case 1:
		if (guest_agent_get_command(line, size - 1, &process, NULL) ==
		    0)
			must(process > 0 && process <= INT64_MAX);
		break;
	case 2:
		look(line, size - 1);
		break;
	default:
		base64(line, size - 1);
	}
	return 0;
}
