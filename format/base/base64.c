/* SPDX-License-Identifier: Apache-2.0 */
/* Strict: of two texts that stand for the same bytes one is refused. */
#include <errno.h>
#include <stdbool.h>

#include "format/base/base64.h"

static const char letters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_put(struct bytes *out, const void *data, size_t size,
	       struct err *err)
{
	const uint8_t *from = data;
	char *to = bytes_extend(out, (size + 2) / 3 * 4, err);

	if (!to)
		return -ENOMEM;
	for (size_t at = 0; at < size; at += 3, to += 4) {
		const size_t left = size - at;
		uint32_t bits = (uint32_t)from[at] << 16;

		if (left > 1)
			bits |= (uint32_t)from[at + 1] << 8;
		if (left > 2)
			bits |= from[at + 2];
		to[0] = letters[bits >> 18];
		to[1] = letters[bits >> 12 & 63];
		to[2] = left > 1 ? letters[bits >> 6 & 63] : '=';
		to[3] = left > 2 ? letters[bits & 63] : '=';
	}
	return 0;
}

static int value_of(char letter)
{
	if (letter >= 'A' && letter <= 'Z')
		return letter - 'A';
	if (letter >= 'a' && letter <= 'z')
		return letter - 'a' + 26;
	if (letter >= '0' && letter <= '9')
		return letter - '0' + 52;
	if (letter == '+')
		return 62;
	return letter == '/' ? 63 : -1;
}

/* Four letters, of which `count` are not padding: one byte fewer than that.
 * False: not such ones. */
static bool get_group(const char *text, unsigned count, uint8_t *to)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < 4; i++) {
		const int value = i < count ? value_of(text[i]) : 0;

		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t)value;
	}
	for (unsigned i = 0; i + 1 < count; i++)
		to[i] = (uint8_t)(bits >> (16 - 8 * i));
	return (bits & ((1u << 8 * (4 - count)) - 1)) == 0;
}

int base64_get(struct bytes *out, const char *text, size_t size,
	       struct err *err)
{
	const size_t start = out->size;
	unsigned padding = 0;
	uint8_t *to;

	while (padding < 2 && padding < size && text[size - 1 - padding] == '=')
		padding++;
	to = bytes_extend(out, size / 4 * 3, err);
	if (!to)
		return -ENOMEM;
	for (size_t at = 0; at < size; at += 4, to += 3) {
		const unsigned count = size - at > 4 ? 4 : 4 - padding;

		if (size % 4 || !get_group(text + at, count, to)) {
			out->size = start;
			return err_set(err, -EBADMSG,
				       "no base64, at letter %zu", at);
		}
	}
	out->size -= padding;
	return 0;
}
