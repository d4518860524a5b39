/* SPDX-License-Identifier: Apache-2.0 */
/* The first bytes of a disk, of any kind: one format is told, always the same,
 * and none that says that it stands on another file. */
#include "vmsnap/disk_format.h"

#include <errno.h>

#include "tests/fuzz/fix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum vms_disk_format format = VMS_DISK_FORMAT_COUNT, again;
	int r;

	if (size > DISK_FORMAT_BYTES)
		return 0;
	r = disk_format_probe(data, size, &format, NULL);
	must(r == 0 || r == -EOPNOTSUPP);
	must(format < VMS_DISK_FORMAT_COUNT && format != VMS_DISK_IMAGE);
	must(disk_format_probe(data, size, &again, NULL) == r);
	must(format == again);
	if (r == 0 && format == VMS_DISK_QCOW2 && size >= 16)
		must(bytes_are_zero(data + 8, 8));
	if (r == 0 && format == VMS_DISK_VMDK)
		must(!memmem(data, size, "parentFileNameHint", 18));
	return 0;
}
