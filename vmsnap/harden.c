/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "vmsnap/vmsnap.h"

void vms_harden_process(void)
{
#ifndef SANITIZED /* LeakSanitizer needs ptrace on its own process */
	const struct rlimit none = { 0, 0 };

	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &none);
#endif
	/* What they tell comes as an error too, which is told with its place. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}
