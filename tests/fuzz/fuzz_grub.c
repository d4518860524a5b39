/* SPDX-License-Identifier: Apache-2.0 */
/* GRUB's menu of any bytes: what is told of it is whole, and bounded. */
#include "kvm-agent/boot/disk_private.h"
#include "tests/fuzz/fix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct grub_entry entry, again;

	memset(&entry, 0xff, sizeof(entry));
	if (!grub_default((const char *)data, size, &entry))
		return 0;
	must(memchr(entry.kernel, 0, sizeof(entry.kernel)) != NULL);
	must(memchr(entry.initrd, 0, sizeof(entry.initrd)) != NULL);
	must(memchr(entry.arguments, 0, sizeof(entry.arguments)) != NULL);
	must(entry.kernel[0] == '/');
	must(!entry.initrd[0] || entry.initrd[0] == '/');
	must(!strchr(entry.arguments, '$'));
	must(grub_default((const char *)data, size, &again));
	must(!strcmp(entry.kernel, again.kernel));
	return 0;
}
