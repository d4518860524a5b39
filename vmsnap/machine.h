/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines are directories: HOME/machines/NAME/ with machine.json (what it is),
 * control.sock, console.sock, console.log, agent.log (what its agent had to
 * say), agent.pid, lock (held as long as its agent lives), end.json (how it ended). There
 * is no daemon: whoever asks looks at these. spec/machine.md. Part of the
 * public header vmsnap/vmsnap.h.
 */
#ifndef VMSNAP_MACHINE_H
#define VMSNAP_MACHINE_H

#include <limits.h>

#include "format/base/base.h"
#include "format/base/bytes.h"

#define VMS_MACHINE_NAME_MAX   64
#define VMS_MACHINE_APPEND_MAX 2048
#define VMS_MACHINE_DISKS_MAX  16
#define VMS_MACHINE_CPUS_MAX   64
#define VMS_MACHINE_CPU_MAX    PATH_MAX

enum vms_disk_format {
	VMS_DISK_RAW,
	VMS_DISK_IMAGE, /* ours */
	VMS_DISK_QCOW2, /* these are read by QEMU's tools */
	VMS_DISK_VMDK,
	VMS_DISK_VHDX,
	VMS_DISK_VDI,
	VMS_DISK_FORMAT_COUNT,
};
const char *vms_disk_format_name(enum vms_disk_format format);
int vms_disk_format_parse(const char *name, enum vms_disk_format *out,
			  struct err *err);
/*
 * By its name (*.vsi), else by its content: for a disk that nobody runs yet. A
 * guest may have written what is in a raw one, so what was found once is kept.
 * -EOPNOTSUPP: it stands in other files too.
 */
int vms_disk_format_find(const char *path, enum vms_disk_format *out,
			 struct err *err);
/* Before a format of others is read: the file is of it, and stands in no other
 * file, whatever was found before. -EINVAL, -EOPNOTSUPP. */
int vms_disk_format_check(const char *path, enum vms_disk_format format,
			  struct err *err);

struct vms_machine_disk {
	char path[PATH_MAX]; /* absolute */
	bool read_only;
	bool temporary; /* what the guest writes ends with its agent */
	enum vms_disk_format format;
};

enum vms_net_kind {
	VMS_NET_NONE,
	VMS_NET_USER, /* passt: the host's own connections, no right needed */
	VMS_NET_TAP,  /* an interface of the host's, which is there already */
};

#define VMS_NET_INTERFACE_MAX 16 /* with the NUL, as these */
#define VMS_NET_MAC_SIZE      18
#define VMS_NET_FORWARD_MAX   72
#define VMS_NET_FORWARDS_MAX  16u

struct vms_machine_net {
	enum vms_net_kind kind;
	char mac[VMS_NET_MAC_SIZE];            /* lower case */
	char interface[VMS_NET_INTERFACE_MAX]; /* of a tap */
	/* user: ports of the host's that are the guest's,
	 * (tcp|udp)=[ADDRESS/]PORT[:PORT] */
	char forwards[VMS_NET_FORWARDS_MAX][VMS_NET_FORWARD_MAX];
	unsigned forward_count;
	bool host; /* user: the gateway's address is the host's loopback */
};

/* "user[,host][,tcp=...][,udp=...]", "tap=INTERFACE" or "none"; without an
 * address yet. -EINVAL. */
int vms_net_parse(const char *text, struct vms_machine_net *out,
		  struct err *err);
/* `mac`, or a random one for NULL. -EINVAL. */
int vms_net_set_mac(struct vms_machine_net *net, const char *mac,
		    struct err *err);
/* Is a network of the kind "user" likely to start here? -ENONET: why not. */
int vms_net_user_check(struct err *err);

/* What it may use of its host; 0: as everybody. */
struct vms_machine_limits {
	uint64_t memory_bytes; /* of the agent, the guest's RAM in it */
	unsigned cpu_weight, io_weight; /* to 10000; others have 100 */
};

/* machine.json */
struct vms_machine {
	char name[VMS_MACHINE_NAME_MAX + 1];
	uint64_t memory_bytes; /* a multiple of 2 MiB */
	unsigned cpus;
	char cpu[VMS_MACHINE_CPU_MAX]; /* host, x86-64-v2, ... */
	char kernel[PATH_MAX];         /* absolute; empty: none */
	char initrd[PATH_MAX];
	char append[VMS_MACHINE_APPEND_MAX];
	struct vms_machine_disk *disks; /* owned */
	size_t disk_count;
	struct vms_machine_net net;
	struct vms_machine_limits limits;
};
void vms_machine_release(struct vms_machine *machine);

/*
 * Where the machines are: `given`, else VMSNAP_HOME, else /var/lib/vmsnap for
 * root and $XDG_DATA_HOME/vmsnap (~/.local/share/vmsnap). Nothing is made.
 */
int vms_home_find(const char *given, char home[PATH_MAX], struct err *err);

/* 1 to 64 of letters, digits, '.', '_', '-'; no '.' or '-' in front. */
int vms_machine_check_name(const char *name, struct err *err);

/* Its directory with machine.json, durable; mode 0700: its lock, as of
 * vms_machine_hold(). -EEXIST. */
int vms_machine_create(const char *home, const struct vms_machine *machine,
		       struct err *err);
/* -ENOENT; -EBADMSG: machine.json is damaged. */
int vms_machine_load(const char *home, const char *name,
		     struct vms_machine *out, struct err *err);
/* All of its directory. -EBUSY: it runs. */
int vms_machine_remove(const char *home, const char *name, struct err *err);
/* Its lock, until the descriptor is closed: nobody starts or removes it
 * meanwhile. -EBUSY: it runs, or another holds it. -ENOENT. */
int vms_machine_hold(const char *home, const char *name, struct err *err);
/* vms_machine_remove() by who holds it. */
int vms_machine_remove_held(const char *home, const char *name,
			    struct err *err);

struct vms_machine_names {
	char (*names)[VMS_MACHINE_NAME_MAX + 1]; /* sorted; owned */
	size_t count;
};
/* A home that isn't there has none. */
int vms_machine_list(const char *home, struct vms_machine_names *out,
		     struct err *err);
void vms_machine_names_release(struct vms_machine_names *names);

/* FILE in its directory. */
int vms_machine_file(const char *home, const char *name, const char *file,
		     char path[PATH_MAX], struct err *err);
/* Is it a file in its directory? */
bool vms_machine_owns(const char *home, const char *name, const char *path);

struct image_base_info;
struct vms_keeper;
/* What its images stand on, one of them; not present: none does. -EOPNOTSUPP:
 * on several stores. */
int vms_machine_base(const struct vms_machine *machine,
		     struct image_base_info *out, struct err *err);

struct vms_machine_start {
	const char *agent;         /* the program */
	struct vms_keeper *keeper; /* of what its images stand on; NULL: none */
	int held; /* its lock, since before it was loaded; the caller's */
	const struct vms_progress *progress; /* NULL: it is not stopped */
};
/*
 * Starts its agent, which outlives this process, and waits until the guest runs.
 * -EBUSY: another has its interface. -ENONET: its network is not to be had.
 * -ECANCELED: it was stopped, and no agent is left. What the agent said is in
 * `err`.
 */
int vms_machine_start(const char *home, const struct vms_machine *machine,
		      const struct vms_machine_start *how, struct err *err);
/* The same, as this process: comes back only with an error. */
int vms_machine_exec(const char *home, const struct vms_machine *machine,
		     const struct vms_machine_start *how, struct err *err);

struct vms_machine_status {
	/* The agent's word; without one "stopped", or "crashed": the agent or
	 * the host went down with it. "damaged": no machine.json to be read.
	 * "silent": there is an agent, and it does not answer. */
	char state[16];
	char cause[ERR_TEXT_MAX]; /* empty: none */
	bool alive;               /* there is an agent */
	uint64_t process;
	unsigned cpus;
	uint64_t memory_bytes, resident_bytes, uptime_ms, cpu_ms;
};
/* -ENOENT. */
int vms_machine_status(const char *home, const char *name,
		       struct vms_machine_status *out, struct err *err);

enum vms_machine_action {
	VMS_MACHINE_PAUSE,
	VMS_MACHINE_RESUME,
	VMS_MACHINE_POWER_BUTTON,
	VMS_MACHINE_RESET,
	VMS_MACHINE_STOP, /* power off */
};
/* -ESRCH: it does not run; else what the agent answered. */
int vms_machine_act(const char *home, const char *name,
		    enum vms_machine_action action, struct err *err);
/* Its agent ends, whatever state it is in. -ESRCH. */
int vms_machine_kill(const char *home, const char *name, struct err *err);
/* Until its agent is gone. -ETIMEDOUT. */
int vms_machine_wait(const char *home, const char *name, uint64_t timeout_ms,
		     struct err *err);
/* A connected socket: the first serial port. -ESRCH. */
int vms_machine_console(const char *home, const char *name, struct err *err);

#define VMS_COMMAND_INPUT_MAX (4u * 1024 * 1024)

/* What the guest's own agent is to run. */
struct vms_command {
	const char *const *words; /* the program and its arguments, then NULL */
	const void *input;        /* its standard input */
	size_t input_size;        /* at most VMS_COMMAND_INPUT_MAX */
	/* For all of it, also the wait for an agent that is starting; 0: as
	 * long as the command takes, and 10 s for each of the agent's answers. */
	uint64_t timeout_ms;
};

struct vms_command_result {
	int status;                 /* its exit status */
	int killer;                 /* the signal that ended it; 0: none */
	struct bytes output, error; /* owned */
	bool output_cut, error_cut; /* it had more than the agent keeps */
};
void vms_command_result_release(struct vms_command_result *result);

/*
 * By the stock qemu-guest-agent; waits for its end. -ESRCH: the machine does
 * not run; -EINVAL: it is paused, or too much input; -ETIMEDOUT: no agent
 * answers, or it still runs; -EBUSY: another one talks to the agent;
 * -EOPNOTSUPP: the agent runs no commands; -EIO: it can't run this one.
 */
int vms_machine_command(const char *home, const char *name,
			const struct vms_command *command,
			struct vms_command_result *result, struct err *err);

#endif
