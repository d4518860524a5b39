/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's clocks and timers. A device asks the clock that it was given, so
 * that a test has one of its own; it is woken by a timer on the loop's thread
 * and then looks at the clock: a wake-up that is early or late does no harm.
 */
#ifndef KVM_AGENT_VM_CLOCK_H
#define KVM_AGENT_VM_CLOCK_H

#include "format/base/loop.h"

/* Any thread, also with a device's lock held. */
struct clock {
	/* Since the epoch, UTC. Jumps when the host's is set. */
	int64_t (*wall_ns)(struct clock *clock);
	/* Never goes back; what it counts from is nobody's business. */
	int64_t (*steady_ns)(struct clock *clock);
};

static inline int64_t clock_wall_ns(struct clock *clock)
{
	return clock->wall_ns(clock);
}

static inline int64_t clock_steady_ns(struct clock *clock)
{
	return clock->steady_ns(clock);
}

/* The host's own clocks. */
extern struct clock clock_host;

struct timer {
	struct loop_watch watch;
	struct loop *loop;
	void (*run)(struct timer *timer); /* by the loop's thread */
	uint64_t wait_ns;                 /* as last set */
};

/* Before the loop runs. Without a loop it never runs by itself: a test reads
 * wait_ns and calls run. */
int timer_init(struct timer *timer, struct loop *loop,
	       void (*run)(struct timer *timer), struct err *err);
/* Not while the loop runs. */
void timer_release(struct timer *timer);
/* Once, in `wait_ns` from now; 0: not at all. Any thread; who sets one timer
 * from several holds a lock. */
void timer_set(struct timer *timer, uint64_t wait_ns);

#endif
