/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm-agent/numbers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "kvm-agent/vm/layout.h"
#include "kvm-agent/vm/memory.h"

int number_size(const char *text, uint64_t *out, struct err *err)
{
	static const char units[] = "KMGT";
	char *end = NULL;
	const char *unit;
	uint64_t value;
	unsigned shift = 0;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end && (unit = strchr(units, *end)) != NULL) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	if (errno || end == text || *end || text[0] < '0' || text[0] > '9' ||
	    value > MEMORY_SIZE_MAX >> shift)
		return err_set(err, -EINVAL,
			       "--memory: a size like 512M or 4G, 16T at most");
	*out = value << shift;
	return 0;
}

int number_cpus(const char *text, unsigned *out, struct err *err)
{
	char *end = NULL;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || text[0] < '0' || text[0] > '9' || !value ||
	    value > LAYOUT_CPUS_MAX)
		return err_set(err, -EINVAL, "--cpus: a number from 1 to %u",
			       LAYOUT_CPUS_MAX);
	*out = (unsigned)value;
	return 0;
}

int number_user(const char *text, uid_t *out, struct err *err)
{
	char *end = NULL;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || text[0] < '0' || text[0] > '9' ||
	    value >= UINT32_MAX)
		return err_set(err, -EINVAL, "--user: the number of a user");
	*out = (uid_t)value;
	return 0;
}

int number_fd(const char *text, int *out, struct err *err)
{
	char *end = NULL;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || text[0] < '0' || text[0] > '9' ||
	    value > INT32_MAX || fcntl((int)value, F_GETFD) < 0)
		return err_set(err, -EINVAL,
			       "a descriptor that isn't open; see kvm-agent "
			       "--help");
	*out = (int)value;
	return 0;
}
