/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a block device in use by a mount? From /proc/self/mountinfo: the device
 * itself, or (for a whole disk) one of its partitions, told by /sys/dev/block.
 * No answer counts as "no": a guard for the person, not a lock.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "vmsnap/engine.h"

/* The device's directory in sysfs, resolved; "" when there is none. */
static void sysfs_path(dev_t device, char out[PATH_MAX])
{
	char link[64];

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(device),
		 minor(device));
	if (!realpath(link, out))
		out[0] = '\0';
}

static bool same_or_part(dev_t disk, dev_t mounted)
{
	char a[PATH_MAX], b[PATH_MAX];
	size_t length;

	if (disk == mounted)
		return true;
	sysfs_path(disk, a);
	sysfs_path(mounted, b);
	length = strlen(a);
	return length && !strncmp(a, b, length) && b[length] == '/';
}

bool device_is_mounted(const char *path, char *where, size_t size)
{
	struct stat st;
	char line[8192];
	bool found = false;
	FILE *f;

	if (stat(path, &st) || !S_ISBLK(st.st_mode))
		return false;
	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		unsigned maj, min;
		char point[4096];

		if (sscanf(line, "%*s %*s %u:%u %*s %4095s", &maj, &min,
			   point) != 3)
			continue;
		if (same_or_part(st.st_rdev, makedev(maj, min))) {
			snprintf(where, size, "%s", point);
			found = true;
		}
	}
	fclose(f);
	return found;
}
