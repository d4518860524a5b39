/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.json and end.json. A description that has a key we don't know, or
 * lacks one, is refused as a whole: no machine is started that is not the one
 * that was asked for.
 */
#include "vmsnap/machine_description.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/machine_limits.h"
#include "vmsnap/machine_net.h"

#define VERSION    1
#define MEMORY_MIN (2 * MIB)
#define MEMORY_MAX (16 * TIB)

void vms_machine_release(struct vms_machine *machine)
{
	free(machine->disks);
	machine->disks = NULL;
	machine->disk_count = 0;
}

int vms_machine_check_name(const char *name, struct err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t size = strlen(name);
	char safe[256];

	if (size && size <= VMS_MACHINE_NAME_MAX && *name != '.' &&
	    *name != '-' && strspn(name, letters) == size)
		return 0;
	return err_set(err, -EINVAL,
		       "'%s' is no name for a machine: 1 to %u letters, "
		       "digits, '.', '_' and '-', with a letter, a digit or "
		       "'_' in front",
		       escape_name(safe, sizeof(safe), name),
		       VMS_MACHINE_NAME_MAX);
}

static int check_path(const char *what, const char *path, struct err *err)
{
	if (*path == '/')
		return 0;
	return err_set(err, -EINVAL, "%s '%s': the path must be absolute", what,
		       path);
}

static int check_disk(const struct vms_machine_disk *disk, struct err *err)
{
	size_t length = strlen(disk->path);
	int r = check_path("disk", disk->path, err);

	if (r)
		return r;
	if (disk->read_only && disk->temporary)
		return err_set(err, -EINVAL,
			       "disk '%s': nothing is thrown away of what is "
			       "only read",
			       disk->path);
	if ((disk->format == VMS_DISK_IMAGE) !=
	    (length > 4 && !strcmp(disk->path + length - 4, ".vsi")))
		return err_set(err, -EINVAL,
			       "disk '%s': the name of an image, and of "
			       "nothing else, ends in .vsi",
			       disk->path);
	if (disk->format > VMS_DISK_IMAGE && !disk->temporary)
		return err_set(err, -EOPNOTSUPP,
			       "disk '%s': a %s file can't be written in "
			       "place: run it without, as throw-away, or "
			       "convert it by 'qemu-img convert -O raw'",
			       disk->path, vms_disk_format_name(disk->format));
	return 0;
}

int machine_description_check(const struct vms_machine *machine,
			      struct err *err)
{
	int r = vms_machine_check_name(machine->name, err);

	if (!r && (machine->memory_bytes < MEMORY_MIN ||
		   machine->memory_bytes > MEMORY_MAX ||
		   machine->memory_bytes % MEMORY_MIN))
		r = err_set(err, -EINVAL,
			    "RAM of %" PRIu64 " bytes: it must be a multiple "
			    "of 2 MiB, up to 16 TiB",
			    machine->memory_bytes);
	if (!r && (!machine->cpus || machine->cpus > VMS_MACHINE_CPUS_MAX))
		r = err_set(err, -EINVAL, "%u CPUs: 1 to %u are possible",
			    machine->cpus, VMS_MACHINE_CPUS_MAX);
	if (!r && !*machine->cpu)
		r = err_set(err, -EINVAL, "no model of a CPU");
	if (!r && *machine->kernel)
		r = check_path("kernel", machine->kernel, err);
	if (!r && *machine->initrd)
		r = check_path("initrd", machine->initrd, err);
	if (!r && machine->disk_count > VMS_MACHINE_DISKS_MAX)
		r = err_set(err, -EINVAL, "%zu disks: at most %u are possible",
			    machine->disk_count, VMS_MACHINE_DISKS_MAX);
	for (size_t i = 0; !r && i < machine->disk_count; i++)
		r = check_disk(&machine->disks[i], err);
	if (!r)
		r = machine_net_check(&machine->net, err);
	return r ? r : machine_limits_check(&machine->limits, err);
}

/* ---- out ---- */

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *disks_document(const struct vms_machine *machine)
{
	json_t *disks = json_array();

	for (size_t i = 0; i < machine->disk_count; i++) {
		const struct vms_machine_disk *disk = &machine->disks[i];

		/* NULL, where it is no UTF-8, is found at the end. */
		if (json_array_append_new(
			    disks,
			    json_pack("{s:s, s:b, s:b, s:s}", "path",
				      disk->path, "read_only", disk->read_only,
				      "temporary", disk->temporary, "format",
				      vms_disk_format_name(disk->format))) <
		    0) {
			json_decref(disks);
			return NULL;
		}
	}
	return disks;
}

int machine_description_put(const struct vms_machine *machine, char **out,
			    struct err *err)
{
	json_t *document = json_pack(
		"{s:i, s:s, s:I, s:i, s:s, s:o, s:o, s:o, s:o, s:o}", "version",
		VERSION, "name", machine->name, "memory_bytes",
		(json_int_t)machine->memory_bytes, "cpus", (int)machine->cpus,
		"cpu", machine->cpu, "kernel", text_or_null(machine->kernel),
		"initrd", text_or_null(machine->initrd), "append",
		text_or_null(machine->append), "disks", disks_document(machine),
		"net", machine_net_document(&machine->net));
	char *text = NULL, *line = NULL;

	if (document && machine_limits_any(&machine->limits) &&
	    json_object_set_new(document, "limits",
				machine_limits_document(&machine->limits)) <
		    0) {
		json_decref(document);
		document = NULL;
	}
	if (document)
		text = json_dumps(document, JSON_COMPACT);

	json_decref(document);
	if (!text || asprintf(&line, "%s\n", text) < 0) {
		free(text);
		return err_set(err, -EINVAL,
			       "the description of machine '%s' can't be "
			       "written: a path that is not UTF-8, or no "
			       "memory",
			       machine->name);
	}
	free(text);
	*out = line;
	return 0;
}

/* ---- in ---- */

static int damaged(struct err *err, const char *what)
{
	return err_set(err, -EBADMSG, "machine.json is damaged: %s", what);
}

static int get_text(const json_t *value, char *out, size_t size, bool needed)
{
	if (json_is_null(value) && !needed) {
		*out = 0;
		return 0;
	}
	if (!json_is_string(value) || json_string_length(value) >= size ||
	    strlen(json_string_value(value)) != json_string_length(value))
		return -EBADMSG;
	memcpy(out, json_string_value(value), json_string_length(value) + 1);
	return 0;
}

static int get_flag(const json_t *value, bool *out)
{
	*out = json_is_true(value);
	return json_is_boolean(value) ? 0 : -EBADMSG;
}

static int get_disk(json_t *value, struct vms_machine_disk *disk)
{
	char format[16];

	if (json_object_size(value) != 4 ||
	    get_flag(json_object_get(value, "read_only"), &disk->read_only) ||
	    get_flag(json_object_get(value, "temporary"), &disk->temporary) ||
	    get_text(json_object_get(value, "format"), format, sizeof(format),
		     true) ||
	    vms_disk_format_parse(format, &disk->format, NULL))
		return -EBADMSG;
	return get_text(json_object_get(value, "path"), disk->path,
			sizeof(disk->path), true);
}

static int get_disks(json_t *array, struct vms_machine *out, struct err *err)
{
	size_t count = json_array_size(array);
	int r;

	if (!json_is_array(array) || count > VMS_MACHINE_DISKS_MAX)
		return damaged(err, "its disks");
	if (!count)
		return 0;
	r = alloc_array(&out->disks, count, sizeof(*out->disks), err);
	if (r)
		return r;
	out->disk_count = count;
	for (size_t i = 0; i < count; i++) {
		if (get_disk(json_array_get(array, i), &out->disks[i]) < 0)
			return damaged(err, "a disk");
	}
	return 0;
}

static int get_numbers(json_t *document, struct vms_machine *out)
{
	json_t *memory = json_object_get(document, "memory_bytes");
	json_t *cpus = json_object_get(document, "cpus");

	if (!json_is_integer(memory) || json_integer_value(memory) < 0 ||
	    !json_is_integer(cpus) || json_integer_value(cpus) < 1 ||
	    json_integer_value(cpus) > VMS_MACHINE_CPUS_MAX)
		return -EBADMSG;
	out->memory_bytes = (uint64_t)json_integer_value(memory);
	out->cpus = (unsigned)json_integer_value(cpus);
	return 0;
}

static int get_fields(json_t *document, struct vms_machine *out,
		      struct err *err)
{
	const struct {
		const char *key;
		char *to;
		size_t size;
		bool needed;
	} texts[] = {
		{ "name", out->name, sizeof(out->name), true },
		{ "cpu", out->cpu, sizeof(out->cpu), true },
		{ "kernel", out->kernel, sizeof(out->kernel), false },
		{ "initrd", out->initrd, sizeof(out->initrd), false },
		{ "append", out->append, sizeof(out->append), false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (get_text(json_object_get(document, texts[i].key),
			     texts[i].to, texts[i].size, texts[i].needed) < 0)
			return damaged(err, texts[i].key);
	}
	if (get_numbers(document, out) < 0)
		return damaged(err, "memory_bytes or cpus");
	if (machine_net_get(json_object_get(document, "net"), &out->net) < 0)
		return damaged(err, "its network");
	if (machine_limits_get(json_object_get(document, "limits"),
			       &out->limits) < 0)
		return damaged(err, "its limits");
	return get_disks(json_object_get(document, "disks"), out, err);
}

static int get_version(const json_t *document, struct err *err)
{
	const json_t *version = json_object_get(document, "version");

	if (!json_is_integer(version))
		return damaged(err, "its version");
	if (json_integer_value(version) != VERSION)
		return err_set(err, -EOPNOTSUPP,
			       "machine.json has version %" JSON_INTEGER_FORMAT
			       ", and this vmsnap reads %d: use a newer one",
			       json_integer_value(version), VERSION);
	if (json_object_size(document) !=
	    10u + (json_object_get(document, "limits") != NULL))
		return damaged(err, "keys that are not known, or none");
	return 0;
}

int machine_description_get(const char *text, size_t size,
			    struct vms_machine *out, struct err *err)
{
	json_t *document =
		size <= MACHINE_JSON_MAX
			? json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL)
			: NULL;
	struct err why;
	int r;

	memset(out, 0, sizeof(*out));
	if (!json_is_object(document)) {
		json_decref(document);
		return damaged(err, "it is no JSON object");
	}
	r = get_version(document, err);
	if (!r)
		r = get_fields(document, out, err);
	json_decref(document);
	if (!r && machine_description_check(out, &why))
		r = damaged(err, why.text);
	if (r)
		vms_machine_release(out);
	return r;
}

int machine_end_get(const char *data, size_t size, char state[16],
		    char text[ERR_TEXT_MAX], struct err *err)
{
	json_t *document = json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);
	const char *word =
		json_string_value(json_object_get(document, "state"));
	const char *why = json_string_value(json_object_get(document, "text"));
	int r = 0;

	if (!word ||
	    (strcmp(word, "stopped") != 0 && strcmp(word, "crashed") != 0)) {
		r = err_set(err, -EBADMSG, "end.json is damaged");
	} else {
		snprintf(state, 16, "%s", word);
		escape_name(text, ERR_TEXT_MAX, why ? why : "");
	}
	json_decref(document);
	return r;
}
