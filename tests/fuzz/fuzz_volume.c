/* SPDX-License-Identifier: Apache-2.0 */
/* Records of a volume: see round_trip.h. */
#include "format/base/bytes.h"
#include "format/store/snapshot.h"
#include "tests/fuzz/fix.h"

static int once(const uint8_t *data, size_t size, struct bytes *out)
{
	struct volume volume;
	struct err err;
	int r = volume_decode(data, size, "x", &volume, &err);

	if (r < 0)
		return r;
	must(volume_encode(&volume, out, &err) == 0);
	volume_release(&volume);
	return 0;
}

#include "tests/fuzz/round_trip.h"
