/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmsnap run: makes a machine of what the options say and starts it; without
 * them, the stopped one of that name again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/door.h"
#include "cli/json.h"
#include "cli/keeper.h"
#include "cli/machine.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"

#define MEMORY_DEFAULT GIB
#define APPEND_DEFAULT "console=ttyS0"

/* Those that describe a machine: with one of them it is a new one. */
static const enum option describing[] = {
	OPT_MEMORY, OPT_CPUS, OPT_CPU,        OPT_KERNEL,      OPT_INITRD,
	OPT_APPEND, OPT_DISK, OPT_IN_PLACE,   OPT_DISK_FORMAT, OPT_NET,
	OPT_MAC,    OPT_FROM, OPT_MEMORY_MAX, OPT_CPU_WEIGHT,  OPT_IO_WEIGHT,
};

static bool describes(const struct cli *cli)
{
	for (size_t i = 0; i < ARRAY_SIZE(describing); i++) {
		if (cli_given(cli, describing[i]))
			return true;
	}
	return false;
}

static int take_text(const struct cli *cli, enum option option, char *out,
		     size_t size, struct err *err)
{
	const char *value = cli_value(cli, option);

	if (value && (size_t)snprintf(out, size, "%s", value) >= size)
		return err_set(err, -EINVAL, "--%s: longer than %zu bytes",
			       option_table[option].name, size - 1);
	return 0;
}

/* Absolute, as the agent may be anywhere; it must be there now. */
static int take_path(const char *option, const char *value, char out[PATH_MAX],
		     struct err *err)
{
	char found[PATH_MAX];

	if (!value)
		return 0;
	if (!realpath(value, found))
		return err_sys(err, -errno, "--%s '%s'", option, value);
	memcpy(out, found, strlen(found) + 1);
	return 0;
}

/* Of one --disk: what stands behind it holds for it, and what stands in front
 * of all of them holds for each. */
struct disk_words {
	bool in_place;
	const char *format; /* NULL: as it looks */
};

static void take_word(const struct option_use *use, struct disk_words *words)
{
	if (use->option == OPT_IN_PLACE)
		words->in_place = true;
	if (use->option == OPT_DISK_FORMAT)
		words->format = use->value;
}

static int take_disk(const struct options *options, unsigned at,
		     struct disk_words words, struct vms_machine_disk *disk,
		     struct err *err)
{
	int r = take_path("disk", options->uses[at].value, disk->path, err);

	while (++at < options->use_count &&
	       options->uses[at].option != OPT_DISK)
		take_word(&options->uses[at], &words);
	disk->temporary = !words.in_place;
	if (r)
		return r;
	if (words.format)
		return vms_disk_format_parse(words.format, &disk->format, err);
	r = vms_disk_format_find(disk->path, &disk->format, err);
	return r < 0 ? err_prefix(err, "--disk") : 0;
}

static int take_disks(const struct cli *cli, struct vms_machine *machine,
		      struct err *err)
{
	const struct options *options = &cli->options;
	struct disk_words all = { 0 };
	bool first = true;
	int r;

	if (!cli_given(cli, OPT_DISK) &&
	    (cli_given(cli, OPT_IN_PLACE) || cli_given(cli, OPT_DISK_FORMAT)))
		return err_set(err, -EINVAL, "--%s: of which --disk?",
			       cli_given(cli, OPT_IN_PLACE) ? "in-place"
							    : "disk-format");
	for (unsigned i = 0; i < options->use_count; i++) {
		if (first)
			take_word(&options->uses[i], &all);
		if (options->uses[i].option != OPT_DISK)
			continue;
		if (machine->disk_count == VMS_MACHINE_DISKS_MAX)
			return err_set(err, -EINVAL, "more than %u disks",
				       VMS_MACHINE_DISKS_MAX);
		r = take_disk(options, i, all,
			      &machine->disks[machine->disk_count], err);
		machine->disk_count++;
		first = false;
		if (r)
			return r;
	}
	return 0;
}

static int take_weight(const struct cli *cli, enum option option,
		       const char *name, unsigned *out, struct err *err)
{
	long long value = 0;
	int r = 0;

	if (cli_given(cli, option))
		r = integer_parse(name, cli_value(cli, option), 1, 10000,
				  &value, err);
	*out = (unsigned)value;
	return r;
}

static int take_limits(const struct cli *cli, struct vms_machine_limits *limits,
		       struct err *err)
{
	int r = 0;

	if (cli_given(cli, OPT_MEMORY_MAX))
		r = size_parse("--memory-max", cli_value(cli, OPT_MEMORY_MAX),
			       &limits->memory_bytes, err);
	if (!r)
		r = take_weight(cli, OPT_CPU_WEIGHT, "--cpu-weight",
				&limits->cpu_weight, err);
	if (!r)
		r = take_weight(cli, OPT_IO_WEIGHT, "--io-weight",
				&limits->io_weight, err);
	return r;
}

/* That is allowed, as long as the guest does not use it; but a kernel may need
 * much of its own for RAM that never is. */
static void warn_of_much(const struct cli *cli, uint64_t bytes)
{
	uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) *
			(uint64_t)sysconf(_SC_PAGESIZE);
	char asked[SIZE_TEXT_MAX], there[SIZE_TEXT_MAX];

	if (bytes > host)
		report_warning(cli, "--memory: %s, and this host has %s in all",
			       size_text(asked, bytes), size_text(there, host));
}

static int take_numbers(const struct cli *cli, struct vms_machine *machine,
			struct err *err)
{
	long long cpus = 1;
	int r = 0;

	machine->memory_bytes = MEMORY_DEFAULT;
	if (cli_given(cli, OPT_MEMORY))
		r = size_parse("--memory", cli_value(cli, OPT_MEMORY),
			       &machine->memory_bytes, err);
	if (!r)
		warn_of_much(cli, machine->memory_bytes);
	if (!r && cli_given(cli, OPT_CPUS))
		r = integer_parse("--cpus", cli_value(cli, OPT_CPUS), 1,
				  VMS_MACHINE_CPUS_MAX, &cpus, err);
	machine->cpus = (unsigned)cpus;
	return r ? r : take_limits(cli, &machine->limits, err);
}

/* Who does not say which gets what needs no right and no set-up; where there is
 * none of it, that is said, and the machine runs all the same. */
static int take_net(const struct cli *cli, struct vms_machine_net *net,
		    struct err *err)
{
	const char *value = cli_value(cli, OPT_NET);
	struct err why = { 0 };
	int r = 0;

	if (value)
		r = vms_net_parse(value, net, err);
	else if (vms_net_user_check(&why) == 0)
		net->kind = VMS_NET_USER;
	else if (!cli_given(cli, OPT_QUIET))
		report_line(cli, "no network: %s", why.text);
	if (r)
		return err_prefix(err, "--net");
	if (net->kind == VMS_NET_NONE)
		return cli_given(cli, OPT_MAC)
			       ? err_set(err, -EINVAL,
					 "--mac: of a machine without a "
					 "network")
			       : 0;
	return vms_net_set_mac(net, cli_value(cli, OPT_MAC), err);
}

/* A name, or else a file. */
static int take_cpu(const char *value, char out[VMS_MACHINE_CPU_MAX],
		    struct err *err)
{
	static const char *const names[] = { "host", "x86-64-v2", "x86-64-v3" };

	for (size_t i = 0; value && i < ARRAY_SIZE(names); i++) {
		if (!strcmp(value, names[i])) {
			snprintf(out, VMS_MACHINE_CPU_MAX, "%s", value);
			return 0;
		}
	}
	if (value && !strchr(value, '/') && access(value, F_OK) < 0)
		return err_set(err, -EINVAL,
			       "--cpu: no CPU is called '%s': it is host, "
			       "x86-64-v2, x86-64-v3, or a file that lists one",
			       value);
	return take_path("cpu", value, out, err);
}

static int describe(const struct cli *cli, struct vms_machine *machine,
		    struct err *err)
{
	int r = take_numbers(cli, machine, err);

	strcpy(machine->cpu, "host");
	/* What a disk boots has a command line of its own. */
	if (cli_given(cli, OPT_KERNEL))
		strcpy(machine->append, APPEND_DEFAULT);
	if (!r)
		r = take_cpu(cli_value(cli, OPT_CPU), machine->cpu, err);
	if (!r)
		r = take_text(cli, OPT_APPEND, machine->append,
			      sizeof(machine->append), err);
	if (!r)
		r = take_path("kernel", cli_value(cli, OPT_KERNEL),
			      machine->kernel, err);
	if (!r)
		r = take_path("initrd", cli_value(cli, OPT_INITRD),
			      machine->initrd, err);
	if (!r)
		r = take_disks(cli, machine, err);
	if (!r)
		r = take_net(cli, &machine->net, err);
	if (!r && !*machine->kernel && !machine->disk_count)
		r = err_set(err, -EINVAL,
			    "what shall start? Give a --disk or a snapshot "
			    "(--from) to boot from, or a --kernel");
	if (!r && *machine->initrd && !*machine->kernel)
		r = err_set(err, -EINVAL,
			    "--initrd: only with a --kernel; a disk brings its "
			    "own");
	return r;
}

static int start_with(const struct cli *cli, const char *home,
		      const struct vms_machine *machine, int held,
		      struct vms_keeper *keeper, struct err *err)
{
	char agent[PATH_MAX];
	const struct vms_machine_start how = { .agent = agent,
					       .keeper = keeper,
					       .held = held,
					       .progress = &cli->progress };
	int r = door_find("kvm-agent", agent, err);

	if (r)
		return r;
	if (cli_given(cli, OPT_FOREGROUND)) {
		fflush(stdout);
		return vms_machine_exec(home, machine, &how, err);
	}
	return vms_machine_start(home, machine, &how, err);
}

static int start(struct cli *cli, const char *home,
		 const struct vms_machine *machine, int held, struct vms *vms,
		 struct err *err)
{
	struct vms_keeper *keeper;
	int r = cli_keeper_for(cli, home, machine, vms, &keeper, err);

	/* The connection keeps it there until the agent has one of its own. */
	if (!r)
		r = start_with(cli, home, machine, held, keeper, err);
	vms_keeper_close(keeper);
	if (r)
		return r;
	if (cli_given(cli, OPT_JSON))
		return json_say(json_pack("{s:s, s:s}", "type", "started",
					  "name", machine->name),
				err);
	if (cli_talks(cli))
		say("machine '%s' runs; 'vmsnap console %s' is its terminal\n",
		    machine->name, machine->name);
	return 0;
}

/* It is held from its making to its start, and what never ran is not left
 * behind. */
static int start_new(struct cli *cli, const char *home,
		     const struct vms_machine *machine,
		     struct run_snapshot *from, struct err *err)
{
	autofd int held = vms_machine_create(home, machine, err);
	struct err why = { 0 };
	int r;

	if (held < 0)
		return held;
	r = run_snapshot_make(cli, from, machine, &why);
	if (!r)
		r = start(cli, home, machine, held, from->vms, &why);
	if (r) {
		run_snapshot_undo(from, machine);
		/* Its descriptors may be those that were too many. */
		run_snapshot_release(from);
		(void)vms_machine_remove_held(home, machine->name, NULL);
		err_set(err, r, "%s", why.text);
	}
	return r;
}

static int run_new(struct cli *cli, const char *home, const char *name,
		   struct err *err)
{
	struct vms_machine machine = { 0 };
	struct run_snapshot from = { 0 };
	int r = vms_machine_check_name(name, err);

	if (!r)
		r = alloc_array(&machine.disks, VMS_MACHINE_DISKS_MAX,
				sizeof(*machine.disks), err);
	if (!r) {
		snprintf(machine.name, sizeof(machine.name), "%s", name);
		r = run_snapshot_find(cli, home, &from, &machine, err);
	}
	if (!r)
		r = describe(cli, &machine, err);
	if (!r) {
		progress_catch(cli);
		r = start_new(cli, home, &machine, &from, err);
		progress_release();
	}
	run_snapshot_release(&from);
	vms_machine_release(&machine);
	return r;
}

static int run_again(struct cli *cli, const char *home, const char *name,
		     struct err *err)
{
	/* Held first: what is read is what is started. */
	autofd int held = vms_machine_hold(home, name, err);
	struct vms_machine machine = { 0 };
	int r = held;

	if (r == -ENOENT)
		r = err_prefix(err,
			       "no --disk, no --from and no --kernel, and no "
			       "machine to start again");
	if (r >= 0)
		r = vms_machine_load(home, name, &machine, err);
	if (r >= 0) {
		progress_catch(cli);
		r = start(cli, home, &machine, held, NULL, err);
		progress_release();
	}
	vms_machine_release(&machine);
	return r;
}

int cmd_run(struct cli *cli, struct err *err)
{
	const char *name = cli->options.arguments[0];
	char home[PATH_MAX];
	int r = cli_home(cli, home, err);

	if (r)
		return r;
	return describes(cli) ? run_new(cli, home, name, err)
			      : run_again(cli, home, name, err);
}
