/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests that are taken can be written, and give the same
 * bytes again when those are read. */
#include "format/base/bytes.h"
#include "format/store/snapshot.h"
#include "tests/fuzz/fix.h"

/* Sequence 1; the name's tag is not this decoder's business. */
static const struct id id = { { [31] = 1 } };

static int once(const uint8_t *data, size_t size, struct bytes *out)
{
	struct snapshot snapshot;
	struct err err;
	int r = snapshot_decode(&id, data, size, "x", &snapshot, &err);

	if (r < 0)
		return r;
	must(snapshot_encode(&snapshot, out, &err) == 0);
	snapshot_release(&snapshot);
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
