/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person may give as a snapshot, against a store that has a few: it is
 * found and is what was meant, or told in words.
 */
#include <errno.h>
#include <string.h>

#include "tests/fuzz/fix.h"
#include "tests/sim/sim.h"
#include "vmsnap/vmsnap.h"

static const struct {
	const char *name, *label;
} made[] = {
	{ "web", "one" }, { "web", NULL },       { "web", "deadbeef" },
	{ "web", "1" },   { "db.main-1", NULL }, { "deadbeef00", "two" },
};

static void back_up(struct vms *vms, const char *name, const char *label)
{
	struct vms_source from = { .disk = "root", .location = "/disk" };
	struct vms_backup backup = { .name = name,
				     .label = label,
				     .sources = &from,
				     .source_count = 1 };
	struct snapshot snapshot = { 0 };

	must(vms_backup(vms, &backup, &snapshot, NULL) == 0);
	snapshot_release(&snapshot);
}

static struct vms *make_store(void)
{
	struct store_create_options create = { .plaintext = true };
	struct vms_options options = { .store.mode = STORE_WRITE };
	struct vs_io *io = sim_io(sim_new(1));
	struct backend *backend = NULL;
	struct vms *vms = NULL;
	int file = io->ops->open(io, "/disk", IO_READ_WRITE | IO_CREATE, NULL);

	must(file >= 0);
	must(io_write_full(io, file, "a disk", 6, 0) == 0);
	must(io->ops->close(io, file) == 0);
	must(backend_open_dir(&backend, io, "/store", NULL) == 0);
	must(store_create(backend, &create, NULL) == 0);
	must(vms_open_backend(&vms, io, backend, &options, NULL) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(made); i++)
		back_up(vms, made[i].name, made[i].label);
	return vms;
}

/* Is it what the words ask for? */
static void look(const struct snapshot *found, const char *spec)
{
	const char *at = strchr(spec, '@');
	size_t length = at ? (size_t)(at - spec) : strlen(spec);
	char hex[ID_HEX_SIZE];

	hex_encode(hex, found->id.b, ID_SIZE);
	if (strlen(found->name) != length ||
	    memcmp(found->name, spec, length) != 0) {
		must(!at && length >= 8 && strncmp(hex, spec, length) == 0);
		return;
	}
	if (at && at[1] && at[1] != '-' && strcmp(at + 1, "latest") != 0)
		must(strcmp(found->label, at + 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vms *vms;
	struct snapshot found = { 0 };
	struct err err = { 0 };
	char *spec = calloc(1, size + 1);
	int r;

	if (!vms)
		vms = make_store();
	must(spec != NULL);
	memcpy(spec, data, size);
	r = vms_find_snapshot(vms, spec, &found, &err);
	if (r == 0) {
		look(&found, spec);
	} else {
		must(r == -ENOENT || r == -EINVAL);
		must(err.code == r && err.text[0]);
		must(found.volume_count == 0);
	}
	snapshot_release(&found);
	free(spec);
	return 0;
}
