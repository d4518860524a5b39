/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program: one machine, its serial port on standard input and output, or
 * in the background with what vmsnap hands over. Parses, calls, reports; what a
 * machine is stands in machine.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "kvm-agent/boot_disk.h"
#include "kvm-agent/cpu_option.h"
#include "kvm-agent/disks.h"
#include "kvm-agent/keeper.h"
#include "kvm-agent/kernel_file.h"
#include "kvm-agent/machine.h"
#include "kvm-agent/sandbox/sandbox.h"
#include "kvm-agent/network.h"
#include "kvm-agent/numbers.h"
#include "kvm-agent/service.h"
#include "kvm-agent/shown.h"
#include "kvm-agent/terminal.h"
#include "kvm-agent/vm/layout.h"
#include "vmsnap/version.h"

#define MEMORY_DEFAULT (256 * MIB)
#define LINES_MAX      64u /* in the log, of each device and of panics */

#ifdef __SANITIZE_ADDRESS__
/* It looks into /proc by a process of its own, which the sandbox prevents. The
 * unit tests look for leaks. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}
#endif

enum {
	EXIT_USAGE = 2,
	EXIT_DAMAGED = 3,
	EXIT_NOT_FOUND = 4,
	EXIT_BUSY = 5,
	EXIT_UNSUPPORTED = 6,
};

struct agent {
	struct machine_options options;
	struct machine_hooks hooks;
	const char *name, *kernel, *initrd, *append, *cpu;
	bool prints_cpu; /* and does no more */
	int kernel_fd, initrd_fd;
	struct service_fds fds;
	bool foreground;
	struct loop *loop;
	struct loop_watch signals;
	struct {
		const char *path;
		enum disk_use use;
	} disk_options[BOARD_DISKS_MAX];
	unsigned disk_count;
	const char *keeper; /* its folder; NULL: none is needed */
	int grants_fd;
	struct disks disks;
	struct agent_port agent_port;
	struct network_options net_options;
	struct network network;
	struct vsock_sockets vsock;
	int vsock_fd;
	struct disk_finder finder; /* where the first disk is booted from */
	struct boot_disk *boot_disk;
	struct shown shown;
	struct terminal *terminal; /* NULL: in the background */
	struct service *service;   /* NULL: nobody is to find it */
	struct machine *machine;
	unsigned panic_lines;
	bool has_run;
	int code; /* 0 or -errno of what ended the machine, with its words */
	struct err err;
};

static const char help[] =
	"usage: kvm-agent --kernel FILE | --disk FILE [OPTION]...\n"
	"Runs one virtual machine with its serial port on the terminal; Ctrl-] "
	"ends it.\n"
	"\n"
	"  --kernel FILE   Linux' bzImage, or an ELF file with a PVH note\n"
	"  --initrd FILE   its initial RAM disk\n"
	"  --append TEXT   its command line; without --kernel, put behind the "
	"disk's own\n"
	"  --disk FILE     a disk: an image (*.vsi), a raw file or block device;\n"
	"                  without --kernel, the first is booted from\n"
	"  --disk-ro FILE  one that the guest only reads\n"
	"  --disk-temporary FILE\n"
	"                  one that is only read, also by others; what the "
	"guest\n"
	"                  writes ends with this process; 16 disks at most\n"
	"  --disk-fd N[,N]...\n"
	"                  the same, of connections to an NBD server\n"
	"  --layer-folder DIR --user NUMBER\n"
	"                  where that is kept (default: TMPDIR or /var/tmp)\n"
	"  --memory SIZE   RAM, a multiple of 2M (default: 256M)\n"
	"  --cpus N        1 to 64 (default: 1)\n"
	"  --cpu MODEL     " CPU_OPTION_WORDS "\n"
	"                  that lists what it has (default: host)\n"
	"  --print-cpu     such a list of what --cpu has on this host\n"
	"  --help, --version\n"
	"\n"
	"For vmsnap run, which opens these (spec/machine.md):\n"
	"  --name NAME --control-fd N --console-fd N --log-fd N --end-fd N\n"
	"  --lock-fd N --ready-fd N --agent-fd N --vsock-fd N --foreground\n"
	"  --keeper DIR --grants-fd N: what holds the store of images that stand "
	"on one\n"
	"  --net-tap-fd N | --net-passt-fd N, --net-mac ADDRESS, --net-mtu N\n"
	"\n"
	"Exit status: 0 switched off, 1 failed or crashed, 2 usage, 3 a disk's "
	"image is\ndamaged, 4 no such file, 5 a disk is in use, 6 this host "
	"can't (no KVM, no right\nto it, no such CPU).\n";

/* One line, in one write: others talk on the same terminal. */
static void say(const char *text)
{
	fprintf(stderr, "kvm-agent: %s\n", text);
}

/* While others wait for us: to a terminal that is full, as where nobody reads
 * it, not at all. */
static void say_now(const char *text)
{
	struct pollfd look = { STDERR_FILENO, POLLOUT, 0 };

	if (poll(&look, 1, 0) != 0)
		say(text);
}

static int status_of(int code)
{
	switch (code) {
	/* Of a disk: a kernel that is none is -ENOEXEC. */
	case -EBADMSG:
		return EXIT_DAMAGED;
	case -ENODEV:
	case -EACCES:
	case -EOPNOTSUPP:
		return EXIT_UNSUPPORTED;
	case -ENOENT:
		return EXIT_NOT_FOUND;
	case -EBUSY:
		return EXIT_BUSY;
	default:
		return EXIT_FAILURE;
	}
}

/* ---- options ---- */

static int add_disk(struct agent *agent, const char *path, enum disk_use use,
		    struct err *err)
{
	if (agent->disk_count == BOARD_DISKS_MAX)
		return err_set(err, -EINVAL, "more than %u disks",
			       BOARD_DISKS_MAX);
	agent->disk_options[agent->disk_count].path = path;
	agent->disk_options[agent->disk_count++].use = use;
	return 0;
}

enum {
	OPTION_CONTROL = 256,
	OPTION_CONSOLE,
	OPTION_LOG,
	OPTION_END,
	OPTION_READY,
	OPTION_LOCK,
	OPTION_AGENT,
	OPTION_VSOCK,
	OPTION_LAYERS,
	OPTION_USER,
	OPTION_NET_TAP,
	OPTION_NET_PASST,
	OPTION_NET_MAC,
	OPTION_KEEPER,
	OPTION_GRANTS,
	OPTION_NET_MTU,
	OPTION_DISK_NBD,
	OPTION_PRINT_CPU,
};

/* Not for children. */
static int parse_own_fd(int *out, struct err *err)
{
	int r = number_fd(optarg, out, err);

	if (r == 0 && fcntl(*out, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(err, -errno, "a descriptor");
	return r;
}

/* The guest agent's port, and the virtio-console that it is on. */
static int parse_agent_fd(struct agent *agent, struct err *err)
{
	int listener;
	int r = parse_own_fd(&listener, err);

	if (r < 0)
		return r;
	agent_port_init(&agent->agent_port, listener);
	agent->options.board.agent_port = &agent->agent_port;
	return 0;
}

static int parse_option(struct agent *agent, int option, struct err *err)
{
	struct machine_options *options = &agent->options;

	switch (option) {
	case 'N':
		agent->name = optarg;
		return 0;
	case 'f':
		agent->foreground = true;
		return 0;
	case OPTION_CONTROL:
		return number_fd(optarg, &agent->fds.control, err);
	case OPTION_CONSOLE:
		return number_fd(optarg, &agent->fds.console, err);
	case OPTION_LOG:
		return number_fd(optarg, &agent->fds.log, err);
	case OPTION_END:
		return number_fd(optarg, &agent->fds.end, err);
	case OPTION_READY:
		return number_fd(optarg, &agent->fds.ready, err);
	case OPTION_LOCK:
		return number_fd(optarg, &agent->fds.lock, err);
	case OPTION_AGENT:
		return parse_agent_fd(agent, err);
	case OPTION_NET_TAP:
		return number_fd(optarg, &agent->net_options.tap, err);
	case OPTION_NET_PASST:
		return number_fd(optarg, &agent->net_options.passt, err);
	case OPTION_NET_MAC:
		agent->net_options.mac = optarg;
		return 0;
	case OPTION_NET_MTU:
		agent->net_options.mtu = optarg;
		return 0;
	case OPTION_VSOCK:
		return parse_own_fd(&agent->vsock_fd, err);
	case 'k':
		agent->kernel = optarg;
		return 0;
	case 'i':
		agent->initrd = optarg;
		return 0;
	case 'a':
		agent->append = optarg;
		return 0;
	case 'd':
		return add_disk(agent, optarg, DISK_IN_PLACE, err);
	case 'D':
		return add_disk(agent, optarg, DISK_READ_ONLY, err);
	case 't':
		return add_disk(agent, optarg, DISK_TEMPORARY, err);
	case OPTION_KEEPER:
		agent->keeper = optarg;
		return 0;
	case OPTION_GRANTS:
		return number_fd(optarg, &agent->grants_fd, err);
	case OPTION_DISK_NBD:
		return add_disk(agent, optarg, DISK_NBD, err);
	case OPTION_USER:
		return number_user(optarg, &agent->shown.options.user, err);
	case OPTION_LAYERS:
		agent->disks.folder = optarg;
		return 0;
	case 'm':
		return number_size(optarg, &options->board.memory_bytes, err);
	case 'n':
		return number_cpus(optarg, &options->board.cpus, err);
	case 'c':
		agent->cpu = optarg;
		return 0;
	case OPTION_PRINT_CPU:
		agent->prints_cpu = true;
		return 0;
	default:
		return err_set(err, -EINVAL, "see kvm-agent --help");
	}
}

/* 1: help or version was all that was asked for. */
static int parse(struct agent *agent, int argc, char **argv, struct err *err)
{
	static const struct option options[] = {
		{ "kernel", required_argument, NULL, 'k' },
		{ "initrd", required_argument, NULL, 'i' },
		{ "append", required_argument, NULL, 'a' },
		{ "disk", required_argument, NULL, 'd' },
		{ "disk-ro", required_argument, NULL, 'D' },
		{ "disk-temporary", required_argument, NULL, 't' },
		{ "disk-fd", required_argument, NULL, OPTION_DISK_NBD },
		{ "layer-folder", required_argument, NULL, OPTION_LAYERS },
		{ "user", required_argument, NULL, OPTION_USER },
		{ "memory", required_argument, NULL, 'm' },
		{ "cpus", required_argument, NULL, 'n' },
		{ "cpu", required_argument, NULL, 'c' },
		{ "print-cpu", no_argument, NULL, OPTION_PRINT_CPU },
		{ "name", required_argument, NULL, 'N' },
		{ "control-fd", required_argument, NULL, OPTION_CONTROL },
		{ "console-fd", required_argument, NULL, OPTION_CONSOLE },
		{ "log-fd", required_argument, NULL, OPTION_LOG },
		{ "end-fd", required_argument, NULL, OPTION_END },
		{ "ready-fd", required_argument, NULL, OPTION_READY },
		{ "lock-fd", required_argument, NULL, OPTION_LOCK },
		{ "agent-fd", required_argument, NULL, OPTION_AGENT },
		{ "net-tap-fd", required_argument, NULL, OPTION_NET_TAP },
		{ "net-passt-fd", required_argument, NULL, OPTION_NET_PASST },
		{ "net-mac", required_argument, NULL, OPTION_NET_MAC },
		{ "keeper", required_argument, NULL, OPTION_KEEPER },
		{ "grants-fd", required_argument, NULL, OPTION_GRANTS },
		{ "net-mtu", required_argument, NULL, OPTION_NET_MTU },
		{ "vsock-fd", required_argument, NULL, OPTION_VSOCK },
		{ "foreground", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ 0 },
	};
	int option, r;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 'h')
			fputs(help, stdout);
		if (option == 'v')
			puts("kvm-agent " VMSNAP_VERSION);
		if (option == 'h' || option == 'v')
			return 1;
		r = parse_option(agent, option, err);
		if (r < 0)
			return r;
	}
	if (optind == argc && agent->prints_cpu)
		return 0;
	if (optind < argc || (!agent->kernel && !agent->disk_count))
		return err_set(err, -EINVAL,
			       "which kernel? Name it with --kernel FILE, or a "
			       "disk to boot from with --disk FILE; see "
			       "kvm-agent --help");
	if (!agent->keeper != (agent->grants_fd < 0))
		return err_set(err, -EINVAL,
			       "--keeper and --grants-fd go together");
	if (!agent->kernel && agent->initrd)
		return err_set(err, -EINVAL,
			       "--initrd goes with --kernel: a disk has its "
			       "own");
	return 0;
}

/* ---- the kernel ---- */

/* What the first disk would boot, with our words behind its own. */
static int boot_from_disk(struct agent *agent, const struct memory *memory,
			  struct boot_start *start, struct err *err)
{
	char cmdline[2 * DISK_CMDLINE_MAX];
	struct boot_source source = { .cmdline = cmdline, .rsdp = LAYOUT_RSDP };
	struct disk_boot found;
	int r = boot_disk_look(agent->boot_disk, &agent->finder, &found, err);

	if (r < 0)
		return r;
	source.kernel = found.kernel.data;
	source.kernel_size = found.kernel.size;
	source.initrd = found.initrd.data;
	source.initrd_size = found.initrd.size;
	r = snprintf(cmdline, sizeof(cmdline), "%s%s%s", found.cmdline,
		     *agent->append ? " " : "", agent->append);
	if (r >= (int)sizeof(cmdline))
		r = err_set(err, -E2BIG, "a command line of %d bytes", r);
	else
		r = boot_load(memory, &source, start, err);
	disk_boot_release(&found);
	return r;
}

static int boot(struct machine_hooks *hooks, const struct memory *memory,
		struct boot_start *start, struct err *err)
{
	struct agent *agent = container_of(hooks, struct agent, hooks);
	struct boot_source source = { .cmdline = agent->append,
				      .rsdp = LAYOUT_RSDP };
	autofree void *kernel = NULL, *initrd = NULL;
	int r;

	if (!agent->kernel)
		return boot_from_disk(agent, memory, start, err);
	r = kernel_file_read(agent->kernel_fd, agent->kernel, &kernel,
			     &source.kernel_size, err);
	if (r == 0 && agent->initrd)
		r = kernel_file_read(agent->initrd_fd, agent->initrd, &initrd,
				     &source.initrd_size, err);
	if (r < 0)
		return r;
	source.kernel = kernel;
	source.initrd = initrd;
	return boot_load(memory, &source, start, err);
}

static void cut_boot(struct machine_hooks *hooks)
{
	disk_finder_cut(&container_of(hooks, struct agent, hooks)->finder);
}

/* ---- what happens ---- */

static void changed(struct machine_hooks *hooks, enum machine_state state,
		    const char *words)
{
	struct agent *agent = container_of(hooks, struct agent, hooks);

	if (agent->service)
		service_changed(agent->service, state, words);
	switch (state) {
	case MACHINE_STOPPED:
		loop_stop(agent->loop);
		break;
	case MACHINE_CRASHED:
		agent->code = err_set(&agent->err, -EIO,
				      "the machine has crashed: %s", words);
		loop_stop(agent->loop);
		break;
	case MACHINE_CREATED:
	case MACHINE_RUNNING:
	case MACHINE_PAUSED:
	case MACHINE_SAVING:
		break;
	}
}

static void told(struct machine_hooks *hooks, enum guest_event event)
{
	struct agent *agent = container_of(hooks, struct agent, hooks);

	if (agent->service)
		service_told(agent->service, event);
	/* It may say so for ever. */
	if (event == GUEST_PANICKED && agent->panic_lines < LINES_MAX) {
		agent->panic_lines++;
		say_now("the guest's kernel has panicked");
	}
}

/* As a line of the log, as long as that is short. */
static void befell(struct machine_hooks *hooks, const struct news_item *item)
{
	struct agent *agent = container_of(hooks, struct agent, hooks);
	char line[ERR_TEXT_MAX];

	if (agent->service)
		service_befell(agent->service, item);
	if (item->number > LINES_MAX)
		return;
	snprintf(line, sizeof(line), "%s %u: %s%s", item->device,
		 item->instance, item->text,
		 item->number == LINES_MAX
			 ? "; no more of this device stands here"
			 : "");
	say_now(line);
}

static void on_link(void *arg, bool up, const char *words)
{
	struct agent *agent = arg;

	say_now(words);
	if (agent->service)
		service_link(agent->service, up, words);
}

/* A client has switched it off. */
static void end(void *arg)
{
	struct agent *agent = arg;

	loop_stop(agent->loop);
}

static void quit(struct agent *agent, const char *words)
{
	machine_stop(agent->machine);
	if (agent->service)
		service_changed(agent->service, MACHINE_STOPPED, words);
	loop_stop(agent->loop);
}

static void on_quit_key(void *arg)
{
	quit(arg, "turned off at its terminal");
}

static void on_signal(struct loop_watch *watch, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) == sizeof(info))
		quit(watch->owner, "turned off by a signal");
}

/* Before any thread: all of them inherit the mask. */
static int watch_signals(struct agent *agent, struct err *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	agent->signals =
		(struct loop_watch){ signalfd(-1, &set,
					      SFD_CLOEXEC | SFD_NONBLOCK),
				     EPOLLIN, on_signal, agent };
	if (agent->signals.fd < 0)
		return err_sys(err, -errno, "signals");
	return loop_add(agent->loop, &agent->signals, err);
}

static int open_disks(struct agent *agent, struct err *err)
{
	struct board_options *board = &agent->options.board;
	int r = 0;

	if (agent->keeper)
		r = keeper_connect_agent(&agent->disks.keeper, agent->keeper,
					 fd_steal(&agent->grants_fd), err);
	/* -EACCES is KVM's, for the exit status. */
	if (r < 0)
		return r == -EACCES ? -EPERM : r;
	for (unsigned i = 0; i < agent->disk_count; i++) {
		r = disks_open(&agent->disks, agent->disk_options[i].path,
			       agent->disk_options[i].use, err);

		if (r < 0)
			return r == -EACCES ? -EPERM : r;
		board->disks[board->disk_count++] = agent->disks.disks[i];
	}
	if (agent->kernel)
		return 0;
	return boot_disk_open(&agent->boot_disk, &agent->disks,
			      agent->disk_options[0].path, err);
}

static int open_all(struct agent *agent, struct err *err)
{
	int r = loop_new(&agent->loop, err);

	if (r == 0)
		r = watch_signals(agent, err);
	if (r < 0)
		return r;
	if (agent->kernel) {
		agent->kernel_fd = kernel_file_open(agent->kernel, err);
		if (agent->kernel_fd < 0)
			return agent->kernel_fd;
	}
	if (agent->initrd) {
		agent->initrd_fd = kernel_file_open(agent->initrd, err);
		if (agent->initrd_fd < 0)
			return agent->initrd_fd;
	}
	r = network_open(&agent->network, &agent->net_options, agent->loop,
			 on_link, agent, err);
	if (r == 0)
		network_connect(&agent->network, &agent->options.board);
	return r;
}

/* The terminal, or what vmsnap handed over, or both. */
static int open_line(struct agent *agent, struct err *err)
{
	struct service_fds fds = agent->fds;
	struct serial_line *line = NULL;
	int r = 0;

	if (agent->foreground || !agent->name)
		r = terminal_new(&agent->terminal, STDIN_FILENO, STDOUT_FILENO,
				 agent->loop, on_quit_key, agent, err);
	if (r < 0)
		return r;
	if (agent->terminal)
		line = terminal_line(agent->terminal);
	if (agent->name) {
		r = service_new(&agent->service, agent->name, &fds, agent->loop,
				line, end, agent, err);
		if (r < 0)
			return r;
		line = service_line(agent->service);
	}
	agent->options.board.console = line;
	return 0;
}

static int show_files(struct agent *agent, struct err *err)
{
	bool has_temporary = false;
	int r = shown_begin(&agent->shown, err);

	for (unsigned i = 0; r == 0 && i < agent->disk_count; i++) {
		const enum disk_use use = agent->disk_options[i].use;

		has_temporary |= use == DISK_TEMPORARY || use == DISK_NBD;
		if (use != DISK_NBD)
			r = shown_add_disk(&agent->shown,
					   &agent->disk_options[i].path, use,
					   err);
	}
	if (r == 0 && agent->keeper)
		r = shown_add(&agent->shown, agent->keeper, false, err);
	if (r == 0 && agent->disks.folder)
		r = shown_add_machine(&agent->shown, agent->disks.folder, err);
	else if (r == 0 && has_temporary)
		r = shown_add(&agent->shown, disks_temporary_folder(), true,
			      err);
	return r;
}

/* Before the first byte that a guest may have written is looked at. */
static int wall_in(struct agent *agent, struct err *err)
{
	struct sandbox_filter filter = { .end = agent->fds.end };
	int r = show_files(agent, err);

	agent->shown.options.say = say;
	if (r == 0)
		r = sandbox_enter(&agent->shown.options, err);
	/* It forks: before there are rings, which it would share. */
	if (r == 0 && !agent->kernel)
		r = disk_finder_start(&agent->finder, err);
	filter.child = agent->finder.pid;
	return r == 0 ? sandbox_filter(&filter, err) : r;
}

/* The directory as it is within the walls: a descriptor of it that was opened
 * outside would lead out of them. */
static int open_vsock(struct agent *agent, struct err *err)
{
	const char *folder = agent->disks.folder;

	if (agent->vsock_fd < 0)
		return 0;
	if (folder && chdir(folder) < 0)
		return err_sys(err, -errno, "the machine's directory");
	vsock_sockets_init(&agent->vsock, fd_steal(&agent->vsock_fd), folder);
	agent->options.board.vsock = &agent->vsock;
	return 0;
}

static int run(struct agent *agent, struct err *err)
{
	int r = open_all(agent, err);

	if (r == 0)
		r = open_line(agent, err);
	if (r == 0)
		r = wall_in(agent, err);
	if (r == 0)
		r = open_vsock(agent, err);
	if (r == 0)
		r = open_disks(agent, err);
	if (r == 0)
		r = machine_new(&agent->machine, &agent->options, agent->loop,
				err);
	if (r < 0)
		return r;
	if (agent->terminal)
		terminal_connect(agent->terminal,
				 &machine_board(agent->machine)->serial);
	if (agent->service)
		r = service_connect(agent->service, agent->machine, err);
	if (r < 0)
		return r;
	sandbox_thread(SANDBOX_CONTROL);
	r = machine_resume(agent->machine, err);
	if (r < 0)
		return r;
	agent->has_run = true;
	if (agent->service)
		service_ready(agent->service);
	return loop_run(agent->loop, err);
}

static void close_all(struct agent *agent)
{
	struct err err;
	uint64_t lost;
	int r;

	if (agent->terminal)
		terminal_disconnect(agent->terminal);
	if (agent->service)
		service_disconnect(agent->service);
	/* What waits for a keeper that is away waits no longer. */
	if (agent->disks.keeper)
		keeper_client_stop(agent->disks.keeper);
	machine_free(agent->machine);
	agent_port_stop(&agent->agent_port);
	vsock_sockets_stop(&agent->vsock);
	disk_finder_stop(&agent->finder);
	boot_disk_close(agent->boot_disk);
	network_close(&agent->network);
	r = disks_close(&agent->disks, &err);
	/* What could not be kept is no good end. */
	if (r < 0 && !agent->code) {
		agent->code = r;
		agent->err = err;
	}
	service_free(agent->service);
	if (agent->terminal) {
		lost = terminal_lost(agent->terminal);
		terminal_free(agent->terminal);
		if (lost)
			fprintf(stderr,
				"kvm-agent: %" PRIu64
				" bytes of the console's output were lost: "
				"nobody took them in time\n",
				lost);
	}
	autofd_run(&agent->vsock_fd);
	autofd_run(&agent->signals.fd);
	autofd_run(&agent->kernel_fd);
	autofd_run(&agent->initrd_fd);
	autofd_run(&agent->grants_fd);
	loop_free(agent->loop);
	shown_release(&agent->shown);
}

int main(int argc, char **argv)
{
	struct agent agent = {
		.options = { .board = { .memory_bytes = MEMORY_DEFAULT,
					.cpus = 1 } },
		.hooks = { boot, cut_boot, told, changed, befell },
		.append = "",
		.cpu = "host",
		.kernel_fd = -1,
		.initrd_fd = -1,
		.grants_fd = -1,
		.fds = { -1, -1, -1, -1, -1, -1 },
		.net_options = { -1, -1, NULL, NULL },
		.signals = { .fd = -1 },
		.vsock_fd = -1,
	};
	int r;

	sandbox_close_others(argc, argv);
	sandbox_forget_environment();
	r = parse(&agent, argc, argv, &agent.err);

	if (r < 0) {
		say(agent.err.text);
		return EXIT_USAGE;
	}
	if (r > 0)
		return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	agent.options.hooks = &agent.hooks;
	r = cpu_option_take(agent.cpu, &agent.options, &agent.err);
	if (r == -EINVAL) {
		say(agent.err.text);
		return EXIT_USAGE;
	}
	if (r == 0)
		r = agent.prints_cpu
			    ? cpu_option_print(&agent.options, &agent.err)
			    : run(&agent, &agent.err);
	if (r < 0)
		agent.code = r;
	if (r < 0 && !agent.has_run)
		service_no_start(&agent.fds, agent.err.text);
	/* The terminal as it was, before anything is said on it. */
	close_all(&agent);
	if (agent.code == 0)
		return EXIT_SUCCESS;
	say(agent.err.text);
	return status_of(agent.code);
}
