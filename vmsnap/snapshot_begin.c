/* SPDX-License-Identifier: Apache-2.0 */
/* What every snapshot begins with, whatever its disks come from. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmsnap/engine.h"
#include "vmsnap/version.h"

int snapshot_names_check(const char *name, const char *label, struct err *err)
{
	if (!name_is_valid(name, strlen(name)))
		return err_set(err, -EINVAL, "'%s' is no name: use %s", name,
			       NAME_RULE);
	if (label && !name_is_valid(label, strlen(label)))
		return err_set(err, -EINVAL, "'%s' is no label: use %s", label,
			       NAME_RULE);
	if (label && !strcmp(label, "latest"))
		return err_set(
			err, -EINVAL,
			"'latest' can't be a label: NAME@latest is the newest snapshot");
	return 0;
}

int snapshot_label_check(struct vms *vms, const char *name, const char *label,
			 struct err *err)
{
	struct vms_snapshot_list list = { 0 };
	int r;

	if (!label)
		return 0;
	r = vms_list(vms, name, &list, err);
	for (size_t i = 0; i < list.count && !r; i++) {
		if (!strcmp(list.snapshots[i].label, label))
			r = err_set(
				err, -EEXIST,
				"'%s@%s' exists already; choose another label",
				name, label);
	}
	vms_snapshot_list_release(&list);
	return r;
}

int snapshot_begin(struct snapshot *snapshot, const char *name,
		   const char *label, const struct id *parent, struct err *err)
{
	char host[SNAPSHOT_TEXT_MAX + 1] = "";

	snprintf(snapshot->name, sizeof(snapshot->name), "%s", name);
	if (label)
		snprintf(snapshot->label, sizeof(snapshot->label), "%s", label);
	if (parent) {
		snapshot->has_parent = true;
		snapshot->parent = *parent;
	}
	gethostname(host, sizeof(host) - 1);
	snapshot->host = strdup(host);
	snapshot->writer = strdup("vmsnap " VMSNAP_VERSION);
	if (!snapshot->host || !snapshot->writer)
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}
