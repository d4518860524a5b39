/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap backup: names the disks, calls the engine, tells the outcome. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"

/* Of the design, but of a later version. */
static const char *const later_schemes[] = { "nbd://", "nbd+unix://",
					     "libvirt:" };

static int refuse_later(const char *location, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(later_schemes); i++)
		if (!strncmp(location, later_schemes[i],
			     strlen(later_schemes[i])))
			return err_set(err, -EOPNOTSUPP,
				       "source '%s': not in this version; "
				       "copy it to a raw file, or pipe it in "
				       "(nbdcopy) as '-' with --size",
				       location);
	return 0;
}

/* A guest can write such a header into its raw disk, so this refuses nothing. */
static void warn_format(struct cli *cli, const char *location)
{
	static const struct {
		const char *magic, *name;
	} formats[] = {
		{ "QFI\xfb", "qcow2" },
		{ "KDMV", "vmdk" },
		{ "# Disk DescriptorFile", "vmdk" },
		{ "vhdxfile", "vhdx" },
		{ "<<< Oracle VM VirtualBox", "vdi" },
	};
	char head[32];
	autofd int fd =
		open(location, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : pread(fd, head, sizeof(head), 0);

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		size_t size = strlen(formats[i].magic);

		if (n >= (ssize_t)size && !memcmp(head, formats[i].magic, size))
			report_warning(cli,
				       "'%s' looks like %s: this version backs "
				       "the file up as it is and does not look "
				       "inside; for the disk in it: 'qemu-img "
				       "convert -O raw' first",
				       location, formats[i].name);
	}
}

/* "[DISK=]SOURCE"; "./a=b" is a file whose name has a '='. */
static int take_source(struct cli *cli, char *text, unsigned number,
		       struct vms_source *out, char *name, struct err *err)
{
	char *equals = strchr(text, '=');

	if (equals && name_is_valid(text, (size_t)(equals - text))) {
		memcpy(name, text, (size_t)(equals - text));
		name[equals - text] = 0;
		text = equals + 1;
	} else {
		int at = 4 + (number >= 10);

		memcpy(name, "disk", 4);
		if (number >= 10)
			name[4] = (char)('0' + number / 10);
		name[at] = (char)('0' + number % 10);
		name[at + 1] = 0;
	}
	if (!*text)
		return err_set(err, -EINVAL, "disk '%s': no source is named",
			       name);
	out->disk = name;
	out->location = text;
	if (strcmp(text, "-")) {
		warn_format(cli, text);
		return refuse_later(text, err);
	}
	if (!cli_given(cli, OPT_SIZE))
		return err_set(err, -EINVAL,
			       "standard input ('-') needs --size: a disk's "
			       "size is fixed");
	return size_parse("--size", cli_value(cli, OPT_SIZE), &out->size_bytes,
			  err);
}

static int take_sources(struct cli *cli, struct vms_source *sources,
			char (*names)[NAME_MAX_SIZE + 1], size_t count,
			struct err *err)
{
	unsigned inputs = 0;

	for (unsigned i = 0; i < count; i++) {
		int r = take_source(cli, cli->options.arguments[1 + i], i,
				    &sources[i], names[i], err);

		if (r < 0)
			return r;
		inputs += !strcmp(sources[i].location, "-");
		for (unsigned k = 0; k < i; k++)
			if (!strcmp(names[i], names[k]))
				return err_set(err, -EINVAL,
					       "two disks are called '%s'",
					       names[i]);
	}
	if (inputs > 1)
		return err_set(err, -EINVAL,
			       "standard input ('-') can be one disk only");
	if (!inputs && cli_given(cli, OPT_SIZE))
		return err_set(err, -EINVAL,
			       "--size goes with standard input ('-') only");
	return 0;
}

/* The ranges that were stored as zeros; how many. */
static size_t tell_bad(const struct cli *cli, const struct snapshot *snapshot)
{
	size_t count = 0;

	for (size_t i = 0; i < snapshot->volume_count; i++) {
		const struct volume *v = &snapshot->volumes[i];

		for (size_t k = 0; k < v->bad_count; k++)
			report_line(cli,
				    "%s: %llu bytes at %llu could not be read: "
				    "zeros are stored there",
				    v->name,
				    (unsigned long long)v->bad[k].length,
				    (unsigned long long)v->bad[k].offset);
		count += v->bad_count;
	}
	return count;
}

static int tell(const struct cli *cli, const struct snapshot *s,
		struct err *err)
{
	const struct snapshot_totals *t = &s->totals;
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], c[SIZE_TEXT_MAX],
		d[SIZE_TEXT_MAX], id[SHORT_ID_SIZE];
	bool dry = cli_given(cli, OPT_DRY_RUN);

	if (cli_given(cli, OPT_JSON)) {
		json_t *document = json_snapshot(s);

		if (document && dry)
			json_object_set_new(document, "dry_run", json_true());
		return json_say(document, err);
	}
	if (!cli_talks(cli))
		return 0;
	if (dry)
		say("%s: would store ", s->name);
	else
		say("%s%s%s, snapshot %s: ", s->name, s->label[0] ? "@" : "",
		    s->label, short_id(id, &s->id));
	say("%s in %zu disk%s, %s read, %s new in %llu chunk%s, %s stored, "
	    "%.1f s\n",
	    size_text(a, t->logical_bytes), s->volume_count,
	    s->volume_count == 1 ? "" : "s", size_text(b, t->scanned_bytes),
	    size_text(c, t->new_content_bytes),
	    (unsigned long long)t->new_chunks, t->new_chunks == 1 ? "" : "s",
	    size_text(d, t->stored_bytes), (double)t->elapsed_us / 1e6);
	return 0;
}

static int check_names(const struct vms_backup *backup, struct err *err)
{
	if (!name_is_valid(backup->name, strlen(backup->name)))
		return err_set(err, -EINVAL,
			       "name '%s': letters, digits, '.', '_' and '-' "
			       "only, at most 128",
			       backup->name);
	if (backup->label &&
	    !name_is_valid(backup->label, strlen(backup->label)))
		return err_set(err, -EINVAL,
			       "label '%s': letters, digits, '.', '_' and '-' "
			       "only, at most 128",
			       backup->label);
	return 0;
}

/* ---- images that stand on other stores ---- */

struct others {
	struct vms *stores[SNAPSHOT_VOLUMES_MAX];
	size_t count;
};

static bool is_store(struct vms *vms, const uint8_t id[STORE_ID_SIZE])
{
	return !memcmp(store_config(vms_store(vms))->store.b, id,
		       STORE_ID_SIZE);
}

static int open_other(struct cli *cli, struct others *others,
		      const struct image_base_info *base, const char *image,
		      struct vms **out, struct err *err)
{
	int r;

	for (size_t i = 0; i < others->count; i++)
		if (is_store(others->stores[i], base->store_id)) {
			*out = others->stores[i];
			return 0;
		}
	r = cli_open_at(cli, base->store, STORE_READ, false, out, err);
	if (r < 0) {
		err_prefix(err, "the store that image '%s' stands on", image);
		return r;
	}
	others->stores[others->count++] = *out;
	return 0;
}

/* What can't be read as an image here is told when it is opened. */
static int find_bases(struct cli *cli, struct vms *vms, struct vs_io *io,
		      struct vms_source *sources, size_t count,
		      struct others *others, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		const char *location = sources[i].location;
		size_t size = strlen(location);
		struct image_base_info base;

		if (size > 4 && !strcmp(location + size - 4, ".vsi") &&
		    !image_read_base_info(io, location, &base, NULL) &&
		    base.present && !is_store(vms, base.store_id))
			r = open_other(cli, others, &base, location,
				       &sources[i].base_store, err);
	}
	return r;
}

static int run(struct cli *cli, struct vms *vms, struct vms_backup *backup,
	       struct vms_source *sources, struct snapshot *out,
	       struct err *err)
{
	struct others others = { 0 };
	struct vs_io *io = io_new(err);
	int r;

	if (!io)
		return err->code ? err->code : -EIO;
	cli->names_ahead = false;
	r = find_bases(cli, vms, io, sources, backup->source_count, &others,
		       err);
	if (r == 0)
		r = progress_begin(cli, err);
	if (r == 0) {
		r = vms_backup(vms, backup, out, err);
		progress_end(cli);
	}
	for (size_t i = 0; i < others.count; i++)
		vms_close(others.stores[i]);
	io_free(io);
	return r;
}

int cmd_backup(struct cli *cli, struct err *err)
{
	struct vms_source sources[SNAPSHOT_VOLUMES_MAX] = { 0 };
	char names[SNAPSHOT_VOLUMES_MAX][NAME_MAX_SIZE + 1];
	struct vms_backup backup = {
		.name = cli->options.arguments[0],
		.label = cli_value(cli, OPT_LABEL),
		.sources = sources,
		.source_count = cli->options.argument_count - 1,
		.rehash = cli_given(cli, OPT_REHASH),
		.skip_bad_blocks = cli_given(cli, OPT_SKIP_BAD_BLOCKS),
		.progress = &cli->progress,
		.warn = report_warn,
		.warn_arg = cli,
	};
	autosnapshot struct snapshot snapshot = { 0 };
	autovms struct vms *vms = NULL;
	int r;

	r = check_names(&backup, err);
	if (r < 0)
		return r;
	r = cli_chunk_log2(cli, &backup.chunk_log2, err);
	if (r < 0)
		return r;
	r = take_sources(cli, sources, names, backup.source_count, err);
	if (r < 0)
		return r;
	cli->names_ahead = true;
	r = cli_open(cli, cli_given(cli, OPT_DRY_RUN) ? STORE_DRY : STORE_WRITE,
		     false, &vms, err);
	if (r < 0)
		return r;
	r = run(cli, vms, &backup, sources, &snapshot, err);
	if (r < 0)
		return r;
	r = tell(cli, &snapshot, err);
	if (r < 0)
		return r;
	return tell_bad(cli, &snapshot) ? STATUS_INCOMPLETE : STATUS_DONE;
}
