/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap list: snapshots, or pins. What can't be read is told, and makes the
 * exit status 3; the rest is listed all the same. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/report.h"
#include "cli/text.h"

/* NAME or NAME@LABEL, as it can be typed in again. */
static void name_of(char *out, size_t capacity, const struct snapshot *s)
{
	snprintf(out, capacity, "%s%s%s", s->name, s->label[0] ? "@" : "",
		 s->label);
}

static void list_text(const struct vms_snapshot_list *list)
{
	char name[2 * NAME_MAX_SIZE + 4], id[SHORT_ID_SIZE];
	char time[TIME_TEXT_MAX], size[SIZE_TEXT_MAX], new[SIZE_TEXT_MAX],
		stored[SIZE_TEXT_MAX];
	int width = 8;

	for (size_t i = 0; i < list->count; i++) {
		name_of(name, sizeof(name), &list->snapshots[i]);
		if ((int)strlen(name) > width)
			width = (int)strlen(name);
	}
	if (list->count)
		say("%-*s  %-12s  %-19s  %10s  %10s  %10s  %s\n", width,
		    "SNAPSHOT", "ID", "TIME", "SIZE", "NEW", "STORED", "DISKS");
	for (size_t i = 0; i < list->count; i++) {
		const struct snapshot *s = &list->snapshots[i];

		name_of(name, sizeof(name), s);
		say("%-*s  %-12s  %-19s  %10s  %10s  %10s  %zu\n", width, name,
		    short_id(id, &s->id), time_text(time, s->time_ns),
		    size_text(size, s->totals.logical_bytes),
		    size_text(new, s->totals.new_content_bytes),
		    size_text(stored, s->totals.stored_bytes), s->volume_count);
	}
}

static int list_json(const struct vms_snapshot_list *list, struct err *err)
{
	json_t *snapshots = json_array(), *damaged = json_array();
	int r = 0;

	for (size_t i = 0; !r && i < list->count; i++)
		r = json_array_append_new(snapshots,
					  json_snapshot(&list->snapshots[i]));
	for (size_t i = 0; !r && i < list->damaged_count; i++)
		r = json_array_append_new(
			damaged,
			json_pack("{s:o, s:o}", "object",
				  json_text(list->damaged[i].object), "what",
				  json_text(list->damaged[i].why.text)));
	if (r < 0) {
		json_decref(snapshots);
		json_decref(damaged);
		return err_set(err, -ENOMEM, "out of memory for JSON");
	}
	return json_say(json_pack("{s:s, s:o, s:o}", "type", "list",
				  "snapshots", snapshots, "damaged", damaged),
			err);
}

static int tell_list(struct cli *cli, const struct vms_snapshot_list *list,
		     const char *name, struct err *err)
{
	int r = 0, status = STATUS_DONE;

	if (name && !list->count && !list->damaged_count)
		return err_set(err, -ENOENT,
			       "no snapshot is named '%s' ('vmsnap list' shows "
			       "all)",
			       name);
	if (cli_given(cli, OPT_JSON))
		r = list_json(list, err);
	else if (list->count || list->damaged_count)
		list_text(list);
	else if (cli_talks(cli))
		say("no snapshot yet\n");
	for (size_t i = 0; i < list->damaged_count; i++) {
		const struct vms_damage *d = &list->damaged[i];

		report_line(cli, "%s: %s", d->object, d->why.text);
		if (d->why.code == -EBADMSG || status == STATUS_DONE)
			status = (int)status_of(d->why.code);
	}
	return r < 0 ? r : status;
}

struct pin_list {
	struct cli *cli;
	struct store_thread *thread;
	struct vs_io *io; /* of this host's files */
	json_t *pins;
	bool any_wrong;
};

static const char *state_text(const struct vms_pin_verdict *verdict)
{
	switch (verdict->state) {
	case VMS_PIN_USED:
		return "used";
	case VMS_PIN_GONE:
		return "gone";
	case VMS_PIN_UNKNOWN:
		break;
	}
	return "unknown";
}

static int pin_json(struct pin_list *list, const char *id_hex,
		    const struct pin *pin,
		    const struct vms_pin_verdict *verdict, struct err *err)
{
	json_t *one = json_pack(
		"{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "id", id_hex,
		"state", state_text(verdict), "why", json_text(verdict->why),
		"owner", json_text(pin->owner), "host", json_text(pin->host),
		"path", json_text(pin->path), "time", json_time(pin->time_ns),
		"snapshot",
		pin->has_snapshot ? json_id(&pin->snapshot) : json_null());

	if (json_array_append_new(list->pins, one) < 0)
		return err_set(err, -ENOMEM, "out of memory for JSON");
	return 0;
}

static int pin_one(void *arg, const char *id_hex, struct err *err)
{
	struct pin_list *list = arg;
	struct vms_pin_verdict verdict;
	struct pin pin = { 0 };
	struct err wrong;
	char time[TIME_TEXT_MAX], owner[256], host[512], path[1024];
	int r;

	r = store_load_pin(list->thread, id_hex, &pin, &wrong);
	if (r == -ENOENT)
		return 0; /* removed meanwhile */
	if (r < 0) {
		list->any_wrong = true;
		report_line(list->cli, "pin %s: %s", id_hex, wrong.text);
		return 0;
	}
	vms_pin_judge(list->io, id_hex, &pin, &verdict);
	if (list->pins)
		r = pin_json(list, id_hex, &pin, &verdict, err);
	else
		say("%s  %s  %-7s  %s  %s  %s\n", id_hex,
		    time_text(time, pin.time_ns), state_text(&verdict),
		    escape_name(owner, sizeof(owner),
				pin.owner ? pin.owner : "-"),
		    escape_name(host, sizeof(host), pin.host ? pin.host : "-"),
		    escape_name(path, sizeof(path), pin.path ? pin.path : "-"));
	pin_release(&pin);
	return r;
}

static int list_pins(struct cli *cli, struct vms *vms, struct err *err)
{
	struct pin_list list = { .cli = cli };
	int r;

	list.thread = store_thread_new(vms_store(vms), err);
	list.io = list.thread ? io_new(err) : NULL;
	if (!list.io) {
		store_thread_free(list.thread);
		return err->code ? err->code : -ENOMEM;
	}
	if (cli_given(cli, OPT_JSON))
		list.pins = json_array();
	r = store_each_pin(vms_store(vms), pin_one, &list, err);
	io_free(list.io);
	store_thread_free(list.thread);
	if (r < 0) {
		json_decref(list.pins);
		return r;
	}
	if (cli_given(cli, OPT_JSON))
		r = json_say(json_pack("{s:s, s:o}", "type", "pins", "pins",
				       list.pins),
			     err);
	return r < 0 ? r : list.any_wrong ? STATUS_CORRUPT : STATUS_DONE;
}

int cmd_list(struct cli *cli, struct err *err)
{
	const char *name =
		cli->options.argument_count ? cli->options.arguments[0] : NULL;
	struct vms_snapshot_list list = { 0 };
	autovms struct vms *vms = NULL;
	int r;

	if (cli_given(cli, OPT_PINS) && name)
		return err_set(err, -EINVAL,
			       "--pins lists all pins: it takes no name");
	r = cli_open(cli, STORE_READ, false, &vms, err);
	if (r < 0)
		return r;
	if (cli_given(cli, OPT_PINS))
		return list_pins(cli, vms, err);
	r = vms_list(vms, name, &list, err);
	if (r < 0)
		return r;
	r = tell_list(cli, &list, name, err);
	vms_snapshot_list_release(&list);
	return r;
}
