/* SPDX-License-Identifier: Apache-2.0 */
/* Condemned lists that are taken can be written, and give the same
 * bytes again when those are read. */
#include "format/base/bytes.h"
#include "format/store/pin.h"
#include "tests/fuzz/fix.h"

static int once(const uint8_t *data, size_t size, struct bytes *out)
{
	struct condemned condemned;
	struct err err;
	int r = condemned_decode(data, size, "x", &condemned, &err);

	if (r < 0)
		return r;
	must(condemned_encode(&condemned, out, &err) == 0);
	condemned_release(&condemned);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes first = { 0 }, second = { 0 };

	if (once(data, size, &first) == 0) {
		must(once(first.data, first.size, &second) == 0);
		must(first.size == second.size);
		must(memcmp(first.data, second.data, first.size) == 0);
	}
	bytes_release(&first);
	bytes_release(&second);
	return 0;
}
