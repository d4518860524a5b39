/* SPDX-License-Identifier: Apache-2.0 */
/* GRUB's menu and environment of any bytes, the latter from its first line on:
 * what is told of them is whole, and bounded. */
#include "kvm-agent/boot/disk_private.h"
#include "tests/fuzz/fix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	const char *second = memmem(data, size, "# GRUB Env", 10);
	size_t first = second ? (size_t)(second - text) : size;
	struct grub_entry entry, again;

	memset(&entry, 0xff, sizeof(entry));
	if (!grub_default(text, first, second, size - first, &entry))
		return 0;
	must(memchr(entry.kernel, 0, sizeof(entry.kernel)) != NULL);
	must(memchr(entry.initrd, 0, sizeof(entry.initrd)) != NULL);
	must(memchr(entry.arguments, 0, sizeof(entry.arguments)) != NULL);
	must(entry.kernel[0] == '/');
	must(!entry.initrd[0] || entry.initrd[0] == '/');
	must(!strchr(entry.arguments, '$'));
	must(grub_default(text, first, second, size - first, &again));
	must(!strcmp(entry.kernel, again.kernel));
	return 0;
}
