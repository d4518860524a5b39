/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmsnap key: the slots that open a store. A change is "add the new, then
 * remove the old", so that at no moment there is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/report.h"
#include "cli/text.h"

struct key_line {
	struct cli *cli;
	json_t *keys; /* with --json */
	bool any_wrong;
};

static const char *kind_text(const struct slot_file *slot)
{
	return le32_get(slot->kind) == SLOT_CLEAR ? "clear" : "passphrase";
}

static int list_json(struct key_line *arg, const char *id_hex,
		     const struct slot_file *slot, const char *label,
		     bool is_open, const struct err *wrong, struct err *err)
{
	json_t *key =
		wrong ? json_pack("{s:s, s:o}", "id", id_hex, "wrong",
				  json_text(wrong->text))
		      : json_pack(
				"{s:s, s:s, s:o, s:o, s:b}", "id", id_hex,
				"kind", kind_text(slot), "label",
				*label ? json_text(label) : json_null(),
				"created",
				json_time((int64_t)le64_get(slot->created_ns)),
				"open", is_open);

	if (json_array_append_new(arg->keys, key) < 0)
		return err_set(err, -ENOMEM, "out of memory for JSON");
	return 0;
}

static int list_one(void *opaque, const char *id_hex,
		    const struct slot_file *slot, bool is_open,
		    const struct err *wrong)
{
	struct key_line *arg = opaque;
	char label[sizeof(slot->label) + 1] = "", escaped[4 * sizeof(label)];
	char time[TIME_TEXT_MAX];

	if (wrong && !wrong->code)
		wrong = NULL;
	if (wrong)
		arg->any_wrong = true;
	else
		memcpy(label, slot->label, sizeof(slot->label));
	if (arg->keys)
		return list_json(arg, id_hex, slot, label, is_open, wrong,
				 NULL);
	if (wrong) {
		report_line(arg->cli, "key %s: %s", id_hex, wrong->text);
		return 0;
	}
	say("%s %s  %-10s  %s  %s\n", is_open ? "*" : " ", id_hex,
	    kind_text(slot),
	    time_text(time, (int64_t)le64_get(slot->created_ns)),
	    escape_name(escaped, sizeof(escaped), label));
	return 0;
}

int cmd_key_list(struct cli *cli, struct err *err)
{
	struct key_line arg = { .cli = cli };
	autovms struct vms *vms = NULL;
	int r;

	r = cli_open(cli, STORE_READ, false, &vms, err);
	if (r < 0)
		return r;
	if (cli_given(cli, OPT_JSON)) {
		arg.keys = json_array();
		if (!arg.keys)
			return err_set(err, -ENOMEM, "out of memory for JSON");
	}
	r = store_each_key(vms_store(vms), list_one, &arg, err);
	if (r < 0) {
		json_decref(arg.keys);
		return r;
	}
	if (arg.keys)
		r = json_say(json_pack("{s:s, s:o}", "type", "keys", "keys",
				       arg.keys),
			     err);
	return r < 0 ? r : arg.any_wrong ? STATUS_CORRUPT : STATUS_DONE;
}

static int tell_key(struct cli *cli, const char *what, const char *id_hex,
		    struct err *err)
{
	if (cli_given(cli, OPT_JSON))
		return json_say(json_pack("{s:s, s:s, s:s}", "type", "key",
					  "id", id_hex, "done", what),
				err);
	if (cli_talks(cli))
		say("key %s %s\n", id_hex, what);
	return 0;
}

static int key_import(struct cli *cli, struct err *err)
{
	const char *path = cli_value(cli, OPT_FROM), *location;
	struct backend *backend = NULL;
	struct bytes text = { 0 };
	unsigned restored = 0;
	struct vs_io *io;
	int r;

	if (cli_given(cli, OPT_LABEL) ||
	    cli_given(cli, OPT_NEW_PASSPHRASE_FILE))
		return err_set(err, -EINVAL,
			       "--from puts keys back as they were: it goes "
			       "with no other option");
	r = cli_location(cli, &location, err);
	if (r < 0)
		return r;
	io = io_new(err);
	if (!io)
		return err->code;
	r = io_read_file(io, path, 4 * MIB, &text, err);
	if (r == 0)
		r = vms_backend_open(io, location, &backend, err);
	if (r == 0)
		r = store_import_keys(backend, (const char *)text.data,
				      text.size, &restored, err);
	backend_close(backend);
	bytes_release_secret(&text);
	io_free(io);
	if (r < 0)
		return r;
	if (cli_given(cli, OPT_JSON))
		return json_say(json_pack("{s:s, s:i}", "type", "import",
					  "restored_objects", (int)restored),
				err);
	if (cli_talks(cli))
		say("%u of the recovery copy's objects put back%s\n", restored,
		    restored ? "" : ": none was missing");
	return 0;
}

/* A slot for a new passphrase; writes its id. */
static int add_slot(struct cli *cli, struct vms *vms, const char *label,
		    char id_hex[SLOT_ID_HEX_SIZE], struct err *err)
{
	char *passphrase;
	size_t size;
	int r;

	if (store_config(vms_store(vms))->plaintext)
		return err_set(err, -EINVAL,
			       "the store is not encrypted: "
			       "there is no key to add");
	r = passphrase_new(&cli->passphrases, &passphrase, &size, err);
	if (r < 0)
		return r;
	r = store_add_key(vms_store(vms), passphrase, size,
			  &slot_parameters_default, label, id_hex, err);
	passphrase_free(passphrase, size);
	return r;
}

int cmd_key_add(struct cli *cli, struct err *err)
{
	char id_hex[SLOT_ID_HEX_SIZE];
	autovms struct vms *vms = NULL;
	int r;

	if (cli_given(cli, OPT_FROM))
		return key_import(cli, err);
	r = cli_open(cli, STORE_WRITE, false, &vms, err);
	if (r < 0)
		return r;
	r = add_slot(cli, vms, cli_value(cli, OPT_LABEL), id_hex, err);
	return r < 0 ? r : tell_key(cli, "added", id_hex, err);
}

struct label_find {
	const char *id_hex;
	char label[SLOT_LABEL_MAX + 2];
};

static int label_one(void *opaque, const char *id_hex,
		     const struct slot_file *slot, bool is_open,
		     const struct err *wrong)
{
	struct label_find *find = opaque;

	(void)is_open;
	if ((!wrong || !wrong->code) && !strcmp(id_hex, find->id_hex))
		memcpy(find->label, slot->label, sizeof(slot->label));
	return 0;
}

int cmd_key_change(struct cli *cli, struct err *err)
{
	char id_hex[SLOT_ID_HEX_SIZE], old_hex[SLOT_ID_HEX_SIZE];
	struct label_find find = { .id_hex = old_hex };
	autovms struct vms *vms = NULL;
	int r;

	r = cli_open(cli, STORE_WRITE, false, &vms, err);
	if (r < 0)
		return r;
	memcpy(old_hex, store_open_key(vms_store(vms)), sizeof(old_hex));
	r = store_each_key(vms_store(vms), label_one, &find, err);
	if (r < 0)
		return r;
	r = add_slot(cli, vms, find.label[0] ? find.label : NULL, id_hex, err);
	if (r < 0)
		return r;
	r = store_remove_key(vms_store(vms), old_hex, err);
	if (r < 0) {
		err_prefix(err,
			   "key %.8s added, but the old one is still there",
			   id_hex);
		return r;
	}
	return tell_key(cli, "took the old one's place", id_hex, err);
}

struct key_find {
	const char *prefix;
	char id_hex[SLOT_ID_HEX_SIZE];
	unsigned found;
};

static int find_one(void *opaque, const char *id_hex,
		    const struct slot_file *slot, bool is_open,
		    const struct err *wrong)
{
	struct key_find *find = opaque;

	(void)slot;
	(void)is_open;
	(void)wrong;
	if (!strncmp(id_hex, find->prefix, strlen(find->prefix))) {
		find->found++;
		memcpy(find->id_hex, id_hex, sizeof(find->id_hex));
	}
	return 0;
}

int cmd_key_remove(struct cli *cli, struct err *err)
{
	struct key_find find = { .prefix = cli->options.arguments[0] };
	autovms struct vms *vms = NULL;
	int r;

	if (strlen(find.prefix) < 4)
		return err_set(err, -EINVAL,
			       "key '%s': at least 4 digits of its id, please "
			       "('vmsnap key list')",
			       find.prefix);
	r = cli_open(cli, STORE_WRITE, false, &vms, err);
	if (r < 0)
		return r;
	r = store_each_key(vms_store(vms), find_one, &find, err);
	if (r < 0)
		return r;
	if (!find.found)
		return err_set(err, -ENOENT, "key '%s': there is none such",
			       find.prefix);
	if (find.found > 1)
		return err_set(err, -EINVAL,
			       "key '%s': %u begin so, give more digits",
			       find.prefix, find.found);
	r = store_remove_key(vms_store(vms), find.id_hex, err);
	return r < 0 ? r : tell_key(cli, "removed", find.id_hex, err);
}

static int write_copy(const char *path, const struct bytes *text,
		      struct err *err)
{
	autofd int fd =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t at = 0;
	int r;

	if (fd < 0 && errno == EEXIST)
		return err_set(err, -EEXIST,
			       "'%s' exists; a copy is never written over: "
			       "give another name",
			       path);
	if (fd < 0)
		return err_sys(err, -errno, "'%s'", path);
	while (at < text->size) {
		ssize_t n = write(fd, text->data + at, text->size - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			goto undo;
		at += (size_t)n;
	}
	if (fsync(fd) < 0)
		goto undo;
	return 0;
undo:
	r = -errno;
	unlink(path);
	return err_sys(err, r, "'%s'", path);
}

int cmd_key_export(struct cli *cli, struct err *err)
{
	const char *path =
		cli->options.argument_count ? cli->options.arguments[0] : "-";
	struct backend *backend = NULL;
	struct bytes text = { 0 };
	const char *location;
	struct vs_io *io;
	int r;

	r = cli_location(cli, &location, err);
	if (r < 0)
		return r;
	io = io_new(err);
	if (!io)
		return err->code;
	r = vms_backend_open(io, location, &backend, err);
	if (r == 0)
		r = store_export_keys(backend, &text, err);
	if (r == 0 && strcmp(path, "-"))
		r = write_copy(path, &text, err);
	else if (r == 0)
		say("%.*s", (int)text.size, (const char *)text.data);
	if (r == 0 && strcmp(path, "-") && cli_talks(cli))
		say("recovery copy written to %s: print it, and keep it away "
		    "from the store\n",
		    path);
	backend_close(backend);
	bytes_release_secret(&text);
	io_free(io);
	return r;
}
