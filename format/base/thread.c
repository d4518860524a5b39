/* SPDX-License-Identifier: Apache-2.0 */
#include "format/base/thread.h"

#include <stddef.h>

static thread_started_fn *listener;

void thread_on_start(thread_started_fn *fn)
{
	listener = fn;
}

void thread_begin(enum thread_kind kind)
{
	if (listener)
		listener(kind);
}
