/* SPDX-License-Identifier: Apache-2.0 */
/* The host's clocks, and timers as descriptors in a loop. */
#include "kvm-agent/vm/clock.h"

static int64_t host_wall_ns(struct clock *clock)
{
	(void)clock;
	return time_now_ns();
}

static int64_t host_steady_ns(struct clock *clock)
{
	(void)clock;
	return time_monotonic_ns();
}

struct clock clock_host = { host_wall_ns, host_steady_ns };

static void timer_ready(struct loop_watch *watch, uint32_t events)
{
	struct timer *timer = container_of(watch, struct timer, watch);

	(void)events;
	if (loop_timer_read(watch->fd))
		timer->run(timer);
}

int timer_init(struct timer *timer, struct loop *loop,
	       void (*run)(struct timer *timer), struct err *err)
{
	int r;

	*timer = (struct timer){
		.watch = { .fd = -1, .events = EPOLLIN, .ready = timer_ready },
		.run = run
	};
	if (!loop)
		return 0;
	timer->watch.fd = loop_timer_new(err);
	if (timer->watch.fd < 0)
		return timer->watch.fd;
	r = loop_add(loop, &timer->watch, err);
	if (r < 0) {
		close(fd_steal(&timer->watch.fd));
		return r;
	}
	timer->loop = loop;
	return 0;
}

void timer_release(struct timer *timer)
{
	if (!timer->loop)
		return;
	loop_remove(timer->loop, &timer->watch);
	close(fd_steal(&timer->watch.fd));
	timer->loop = NULL;
}

void timer_set(struct timer *timer, uint64_t wait_ns)
{
	timer->wait_ns = wait_ns;
	if (timer->loop)
		loop_timer_set(timer->watch.fd, wait_ns);
}
