/* SPDX-License-Identifier: Apache-2.0 */
/* Condemned lists: see round_trip.h. */
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

#include "tests/fuzz/round_trip.h"
