/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap ps: every machine there is, and how it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/machine.h"
#include "cli/report.h"
#include "cli/text.h"

struct row {
	const char *name;
	struct vms_machine_status status;
};

static const char *duration_text(char out[32], uint64_t ms)
{
	const uint64_t s = ms / 1000;

	if (s >= 86400)
		snprintf(out, 32, "%llud%02lluh",
			 (unsigned long long)(s / 86400),
			 (unsigned long long)(s % 86400 / 3600));
	else if (s >= 3600)
		snprintf(out, 32, "%lluh%02llum",
			 (unsigned long long)(s / 3600),
			 (unsigned long long)(s % 3600 / 60));
	else if (s >= 60)
		snprintf(out, 32, "%llum%02llus", (unsigned long long)(s / 60),
			 (unsigned long long)(s % 60));
	else
		snprintf(out, 32, "%llu.%llus", (unsigned long long)s,
			 (unsigned long long)(ms % 1000 / 100));
	return out;
}

static void say_row(const struct row *row, int width)
{
	const struct vms_machine_status *status = &row->status;
	char memory[SIZE_TEXT_MAX] = "-", resident[SIZE_TEXT_MAX] = "-";
	char uptime[32] = "-", cpu[32] = "-", cpus[16] = "-";

	if (status->cpus) {
		size_text(memory, status->memory_bytes);
		snprintf(cpus, sizeof(cpus), "%u", status->cpus);
	}
	if (status->alive) {
		size_text(resident, status->resident_bytes);
		duration_text(uptime, status->uptime_ms);
		duration_text(cpu, status->cpu_ms);
	}
	say("%-*s  %-8s  %4s  %10s  %10s  %8s  %8s%s%s\n", width, row->name,
	    status->state, cpus, memory, resident, uptime, cpu,
	    *status->cause ? "  " : "", status->cause);
}

static void say_rows(const struct row *rows, size_t count)
{
	int width = 8;

	for (size_t i = 0; i < count; i++) {
		if ((int)strlen(rows[i].name) > width)
			width = (int)strlen(rows[i].name);
	}
	if (count)
		say("%-*s  %-8s  %4s  %10s  %10s  %8s  %8s\n", width, "MACHINE",
		    "STATE", "CPUS", "RAM", "RESIDENT", "UPTIME", "CPU");
	for (size_t i = 0; i < count; i++)
		say_row(&rows[i], width);
}

static json_t *row_document(const struct row *row)
{
	const struct vms_machine_status *status = &row->status;
	json_t *document = json_pack("{s:s, s:s, s:o, s:i, s:I}", "name",
				     row->name, "state", status->state, "cause",
				     *status->cause ? json_text(status->cause)
						    : json_null(),
				     "cpus", (int)status->cpus, "memory_bytes",
				     json_number(status->memory_bytes));

	if (document && status->alive)
		json_object_update_new(
			document,
			json_pack("{s:I, s:I, s:I, s:I}", "process",
				  json_number(status->process),
				  "resident_bytes",
				  json_number(status->resident_bytes),
				  "uptime_ms", json_number(status->uptime_ms),
				  "cpu_ms", json_number(status->cpu_ms)));
	return document;
}

static int say_json(const struct row *rows, size_t count, struct err *err)
{
	json_t *machines = json_array();

	for (size_t i = 0; i < count; i++) {
		if (json_array_append_new(machines, row_document(&rows[i])) <
		    0) {
			json_decref(machines);
			return err_set(err, -ENOMEM, "out of memory for JSON");
		}
	}
	return json_say(json_pack("{s:s, s:o}", "type", "machines", "machines",
				  machines),
			err);
}

/* A guest whose store has no keeper runs, and stands still where it reads. */
static void note_keeper(const char *home, struct row *row)
{
	struct vms_machine_status *status = &row->status;
	struct vms_machine machine = { 0 };
	struct image_base_info base = { 0 };

	if (!status->alive || *status->cause ||
	    vms_machine_load(home, row->name, &machine, NULL))
		return;
	if (!vms_machine_base(&machine, &base, NULL) && base.present &&
	    !vms_keeper_wait(home, base.store_id, 0, NULL))
		snprintf(status->cause, sizeof(status->cause),
			 "what it reads of a snapshot waits for a keeper: "
			 "'vmsnap keeper start'");
	vms_machine_release(&machine);
}

int cmd_ps(struct cli *cli, struct err *err)
{
	struct vms_machine_names names = { 0 };
	autofree struct row *rows = NULL;
	size_t count = 0;
	char home[PATH_MAX];
	int r = cli_home(cli, home, err);

	if (!r)
		r = vms_machine_list(home, &names, err);
	if (!r)
		r = alloc_array(&rows, names.count + 1, sizeof(*rows), err);
	for (size_t i = 0; !r && i < names.count; i++) {
		rows[count].name = names.names[i];
		/* One that is removed just now is not there. */
		if (!vms_machine_status(home, names.names[i],
					&rows[count].status, NULL))
			note_keeper(home, &rows[count++]);
	}
	if (!r && cli_given(cli, OPT_JSON))
		r = say_json(rows, count, err);
	else if (!r)
		say_rows(rows, count);
	vms_machine_names_release(&names);
	return r;
}
