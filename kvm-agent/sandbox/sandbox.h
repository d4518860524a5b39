/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walls around a machine, spec/threats.md. They go up in this order, while
 * the process has one thread, and nothing takes them down again:
 *
 *   0. sandbox_close_others(), sandbox_forget_environment(): descriptors and
 *      words that nobody meant to hand over;
 *   1. the agent opens what it needs of the host by name;
 *   2. sandbox_enter(): namespaces, rights, limits;
 *   3. sandbox_filter(): only these system calls. From here on what a guest may
 *      have written is read: images, disks, kernels;
 *   4. sandbox_thread() by each thread: those of its kind only. The control
 *      thread's own comes last, before the guest's first instruction.
 */
#ifndef KVM_AGENT_SANDBOX_H
#define KVM_AGENT_SANDBOX_H

#include <sys/types.h>

#include "format/base/base.h"

/* What kind of thread makes system calls. */
enum sandbox_kind {
	SANDBOX_OPENING, /* the process before the guest runs: all that follow */
	SANDBOX_CONTROL,
	SANDBOX_VCPU,
	SANDBOX_IO,
	SANDBOX_FILES,  /* an image's helpers; I/O without a ring; the log */
	SANDBOX_KEEPER, /* the keeper's client */
	SANDBOX_KINDS,
};

/* First of all in main(): what stays open is standard input, output and error,
 * and what an option --...-fd names. */
void sandbox_close_others(int argc, char *const *argv);
/* What the caller's environment may hold is none of a guest's that takes the
 * agent over: all but a few names is wiped. Before a second thread. */
void sandbox_forget_environment(void);

#define SANDBOX_VIEWS_MAX 64u

/* A file, folder or device of the host that stays there, at the same path. */
struct sandbox_view {
	const char *path; /* absolute */
	bool write;
};

struct sandbox_options {
	struct sandbox_view views[SANDBOX_VIEWS_MAX];
	unsigned view_count;
	uid_t user; /* that the machine is to run as, from root; 0: as it is */
	void (*say)(const char *words); /* what this host doesn't let us */
};

/*
 * Namespaces with nothing but the views; rights that are never needed, limits,
 * no core, no tracer. Root keeps the right to open files of others, until
 * sandbox_thread(), and each thread becomes `user` there. Where namespaces can't be had it goes on without, and says
 * so once.
 */
int sandbox_enter(const struct sandbox_options *options, struct err *err);

struct sandbox_filter {
	pid_t child; /* the only other process that it may end; 0: none */
	int end;     /* end.json, for the words of a violation; -1: none */
};
/*
 * The calling thread and all that it starts may make the calls of
 * SANDBOX_OPENING. Any other ends the process by SIGSYS, with words on standard
 * error and in end.json. -EOPNOTSUPP: this kernel has no filters.
 */
int sandbox_filter(const struct sandbox_filter *filter, struct err *err);
/* The calling thread from here on makes the calls of its kind only. Does
 * nothing in a process without sandbox_filter(), which is a test's. */
void sandbox_thread(enum sandbox_kind kind);

#endif
