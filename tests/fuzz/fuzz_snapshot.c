/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests: see round_trip.h. */
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

#include "tests/fuzz/round_trip.h"
