/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes are powers of 1024 both ways: what is printed can be typed in. */
#include "cli/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char units[] = "KMGTPE", small_units[] = "kmgtpe";

/* What may follow the number: nothing, K, KB, KiB, or B. */
static int unit_shift(const char *text, unsigned *shift)
{
	const char *unit;

	*shift = 0;
	if (!*text || !strcmp(text, "B"))
		return 0;
	unit = strchr(small_units, *text);
	if (unit)
		*shift = 10 * (unsigned)(unit - small_units + 1);
	unit = strchr(units, *text);
	if (unit)
		*shift = 10 * (unsigned)(unit - units + 1);
	if (!*shift)
		return -EINVAL;
	text++;
	return !*text || !strcmp(text, "B") || !strcmp(text, "iB") ? 0
								   : -EINVAL;
}

int size_parse(const char *what, const char *text, uint64_t *out,
	       struct err *err)
{
	const char *at = text;
	uint64_t n = 0;
	unsigned shift;

	if (*at < '0' || *at > '9')
		return err_set(err, -EINVAL,
			       "%s '%s': not a size (512, 64K, 1G)", what,
			       text);
	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*at - '0'), &n))
			return err_set(err, -EINVAL, "%s '%s': too large", what,
				       text);
	if (unit_shift(at, &shift) < 0)
		return err_set(err, -EINVAL,
			       "%s '%s': not a size (512, 64K, 1G)", what,
			       text);
	if (n > UINT64_MAX >> shift)
		return err_set(err, -EINVAL, "%s '%s': too large", what, text);
	*out = n << shift;
	return 0;
}

const char *size_text(char out[SIZE_TEXT_MAX], uint64_t bytes)
{
	double n = (double)bytes;
	unsigned unit = 0;

	if (bytes < KIB) {
		snprintf(out, SIZE_TEXT_MAX, "%u B", (unsigned)bytes);
		return out;
	}
	/* 1023.95 would be shown as 1024.0. */
	n /= 1024;
	while (n >= 1023.95 && units[unit + 1]) {
		n /= 1024;
		unit++;
	}
	snprintf(out, SIZE_TEXT_MAX, "%.1f %ciB", n, units[unit]);
	return out;
}

int integer_parse(const char *what, const char *text, long long least,
		  long long most, long long *out, struct err *err)
{
	long long n;
	char *end;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || end == text || *end || n < least || n > most)
		return err_set(err, -EINVAL,
			       "%s '%s': a number from %lld to %lld", what,
			       text, least, most);
	*out = n;
	return 0;
}

/* Seconds and the nanoseconds after them, also before 1970. */
static time_t split(int64_t time_ns, long *rest_ns)
{
	int64_t seconds = time_ns / 1000000000, rest = time_ns % 1000000000;

	if (rest < 0) {
		rest += 1000000000;
		seconds--;
	}
	*rest_ns = (long)rest;
	return (time_t)seconds;
}

const char *time_text(char out[TIME_TEXT_MAX], int64_t time_ns)
{
	long rest_ns;
	time_t seconds = split(time_ns, &rest_ns);
	struct tm tm;

	if (!localtime_r(&seconds, &tm) ||
	    !strftime(out, TIME_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(out, TIME_TEXT_MAX, "?");
	return out;
}

const char *time_iso_text(char out[TIME_TEXT_MAX], int64_t time_ns)
{
	long rest_ns;
	time_t seconds = split(time_ns, &rest_ns);
	char head[24];
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) ||
	    !strftime(head, sizeof(head), "%Y-%m-%dT%H:%M:%S", &tm))
		snprintf(out, TIME_TEXT_MAX, "?");
	else
		snprintf(out, TIME_TEXT_MAX, "%s.%09ldZ", head, rest_ns);
	return out;
}

const char *short_id(char out[SHORT_ID_SIZE], const struct id *id)
{
	hex_encode(out, id->b, SHORT_ID_SIZE / 2);
	return out;
}
