/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken can be written, and gives the same bytes again when those are
 * read. Included last: the target has defined
 *   static int once(const uint8_t *data, size_t size, struct bytes *out),
 * which decodes, encodes what it got, and returns what the decoder did. */
#ifndef TESTS_FUZZ_ROUND_TRIP_H
#define TESTS_FUZZ_ROUND_TRIP_H

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

#endif
