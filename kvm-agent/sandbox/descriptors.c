/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shell or a service may have left descriptors open that are not for us: a
 * guest that took us over would have them.
 */
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "kvm-agent/sandbox/sandbox.h"

/* Of numbers with commas in between the lowest from `from` on; INT_MAX. */
static int next_in(const char *text, int from)
{
	int found = INT_MAX;
	char *end;

	do {
		long fd = strtol(text, &end, 10);

		if (fd >= from && fd < found)
			found = (int)fd;
		text = end + 1;
	} while (*end == ',');
	return found;
}

/* Of the options' descriptors. */
static int next_kept(int argc, char *const *argv, int from)
{
	static const char end[] = "-fd";
	int found = INT_MAX;

	for (int i = 1; i + 1 < argc; i++) {
		size_t size = strlen(argv[i]);
		int fd;

		if (size < strlen(end) ||
		    strcmp(argv[i] + size - strlen(end), end) != 0)
			continue;
		fd = next_in(argv[i + 1], from);
		if (fd < found)
			found = fd;
	}
	return found;
}

void sandbox_close_others(int argc, char *const *argv)
{
	int from = STDERR_FILENO + 1;

	for (;;) {
		int kept = next_kept(argc, argv, from);

		if (kept > from)
			(void)close_range((unsigned)from, (unsigned)kept - 1,
					  0);
		if (kept == INT_MAX)
			return;
		from = kept + 1;
	}
}

static bool is_kept(const char *entry)
{
	static const char *const kept[] = {
		"PATH=",   "LANG=",      "LC_",         "TZ=",
		"TMPDIR=", "VMSNAP_IO=", "VMSNAP_HOME="
	};
	const char *end = strchr(entry, '=');

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		if (strncmp(entry, kept[i], strlen(kept[i])) == 0)
			return true;
	}
	/* How a sanitizer is told to behave. */
	return end && end - entry > 11 &&
	       strncmp(end - 11, "SAN_OPTIONS=", 12) == 0;
}

void sandbox_forget_environment(void)
{
	char **to = environ;

	for (char **at = environ; *at; at++) {
		if (is_kept(*at))
			*to++ = *at;
		else
			explicit_bzero(*at, strlen(*at));
	}
	*to = NULL;
}
