/* SPDX-License-Identifier: Apache-2.0 */
/* Pins: see round_trip.h. */
#include "format/base/bytes.h"
#include "format/store/pin.h"
#include "tests/fuzz/fix.h"

static int once(const uint8_t *data, size_t size, struct bytes *out)
{
	struct pin pin;
	struct err err;
	int r = pin_decode(data, size, "x", &pin, &err);

	if (r < 0)
		return r;
	must(pin_encode(&pin, out, &err) == 0);
	pin_release(&pin);
	return 0;
}

#include "tests/fuzz/round_trip.h"
