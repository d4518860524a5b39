/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helpers of base.h that are too long for a header. Nothing here keeps
 * state, so all of it may be called from any thread.
 */
#include "format/base/base.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

int alloc_array(void *out, size_t count, size_t size, struct err *err)
{
	void *array = NULL;
	size_t total;

	/* calloc(0) may be NULL without being a failure. */
	if (!__builtin_mul_overflow(count, size, &total))
		array = calloc(1, total ? total : 1);
	if (!array)
		return err_set(err, -ENOMEM,
			       "out of memory for %zu items of %zu bytes",
			       count, size);
	memcpy(out, &array, sizeof(array));
	return 0;
}

void wipe(void *data, size_t size)
{
	if (size)
		explicit_bzero(data, size);
}

/* Unaligned, and allowed to look at memory of any type. */
typedef uint64_t lane __attribute__((vector_size(16), aligned(1), may_alias));

bool bytes_are_zero(const void *data, size_t size)
{
	const uint8_t *at = data;
	uint8_t rest = 0;

	while (size >= 8 * sizeof(lane)) {
		const lane *v = (const lane *)(const void *)at;
		lane any =
			v[0] | v[1] | v[2] | v[3] | v[4] | v[5] | v[6] | v[7];

		if (any[0] | any[1])
			return false;
		at += 8 * sizeof(lane);
		size -= 8 * sizeof(lane);
	}
	for (size_t i = 0; i < size; i++)
		rest |= at[i];
	return !rest;
}

void hex_encode(char *text, const void *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *at = data;

	for (size_t i = 0; i < size; i++) {
		text[2 * i] = digits[at[i] >> 4];
		text[2 * i + 1] = digits[at[i] & 15];
	}
	text[2 * size] = 0;
}

/* One more than the digit's value; 0 is no digit. A table, because whole
 * folders of names come through here. */
static const uint8_t hex_digits[256] = {
	['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,
	['6'] = 7,  ['7'] = 8,  ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
	['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

static unsigned hex_digit(char c)
{
	return hex_digits[(uint8_t)c];
}

int hex_decode(void *data, size_t size, const char *text, size_t length)
{
	uint8_t *at = data;

	if (length % 2 || length / 2 != size)
		return -EINVAL;
	for (size_t i = 0; i < length; i++)
		if (!hex_digit(text[i]))
			return -EINVAL;
	for (size_t i = 0; i < size; i++)
		at[i] = (uint8_t)((hex_digit(text[2 * i]) - 1) << 4 |
				  (hex_digit(text[2 * i + 1]) - 1));
	return 0;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t time_now_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

int64_t time_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int random_fill(void *data, size_t size, struct err *err)
{
	uint8_t *at = data;

	while (size) {
		ssize_t got = getrandom(at, size, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(err, -errno, "can't get random numbers");
		at += got;
		size -= (size_t)got;
	}
	return 0;
}

/* Could it move the cursor, or reorder or break the line it stands in? */
static bool is_control(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0) ||
	       point == 0x61c || point == 0x200e || point == 0x200f ||
	       (point >= 0x2028 && point <= 0x202e) ||
	       (point >= 0x2066 && point <= 0x2069);
}

/* Bytes of the printable character at `s`, which ends in a NUL; 0: none. */
static size_t printable_size(const unsigned char *s)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t point;
	size_t size;

	if (s[0] < 0x80)
		return is_control(s[0]) ? 0 : 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		size = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		size = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		size = 4;
	else
		return 0;

	point = s[0] & (0xffU >> (size + 1));
	for (size_t i = 1; i < size; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (s[i] & 0x3f);
	}
	if (point < smallest[size] || point > 0x10ffff ||
	    (point >= 0xd800 && point <= 0xdfff) || is_control(point))
		return 0;
	return size;
}

const char *escape_name(char *out, size_t capacity, const char *name)
{
	const unsigned char *at = (const unsigned char *)name;
	size_t used = 0;

	assert(capacity > 0);
	while (*at) {
		size_t size = printable_size(at);

		if (used + (size ? size : 4) >= capacity)
			break;
		if (size) {
			memcpy(out + used, at, size);
			used += size;
			at += size;
		} else {
			out[used++] = '\\';
			out[used++] = 'x';
			hex_encode(out + used, at, 1);
			used += 2;
			at++;
		}
	}
	out[used] = 0;
	return out;
}
