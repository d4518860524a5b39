/* SPDX-License-Identifier: Apache-2.0 */
/* A fixed set of worker threads that run one function side by side. */
#ifndef FORMAT_BASE_POOL_H
#define FORMAT_BASE_POOL_H

#include "format/base/err.h"

#define POOL_WORKERS_MAX 64

/* `worker` counts from 0; `err` is this worker's own. */
typedef int pool_fn(void *arg, unsigned worker, struct err *err);

/* How many workers fit this process: its CPUs, at most POOL_WORKERS_MAX;
 * VMSNAP_WORKERS in the environment overrides. */
unsigned pool_default_workers(void);

/*
 * Run `fn` on `workers` threads (worker 0 is the caller's own thread, so one
 * worker makes none) and wait for all. Returns 0, or the result and the words
 * of the first that failed; `fn` must itself see to it that the others stop.
 * Signals are blocked in the threads made here.
 */
int pool_run(unsigned workers, pool_fn *fn, void *arg, struct err *err);

#endif
