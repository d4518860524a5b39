/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock of a PC (MC146818) with its CMOS memory. It shows the host's wall
 * clock plus what the guest has set it off by; only that difference is saved,
 * so that a restored machine has the right time.
 */
#ifndef KVM_AGENT_DEVICES_RTC_H
#define KVM_AGENT_DEVICES_RTC_H

#include <pthread.h>

#include "kvm-agent/vm/bus.h"
#include "kvm-agent/vm/clock.h"
#include "kvm-agent/vm/device.h"
#include "kvm-agent/vm/interrupts.h"

#define RTC_CMOS_SIZE 128
#define RTC_CENTURY   0x32 /* where a guest reads the century: FADT says so */

struct rtc {
	struct device device;
	struct interrupts *interrupts;
	struct clock *clock;
	struct timer timer;
	pthread_mutex_t lock; /* what follows; held while the wire is set */
	uint8_t index;
	/* Registers and memory. Those of the time count only while the clock
	 * is stopped; else they are made when they are read. */
	uint8_t cmos[RTC_CMOS_SIZE];
	int64_t offset_ns; /* the guest's time less the host's, UTC */
	int64_t seen_ns;   /* guest's time up to which events are noted */
	bool level;        /* of the wire */
};

/* LAYOUT_RTC, LAYOUT_RTC_SIZE. */
extern const struct bus_ops rtc_ports;

/* With `loop` before it runs, or NULL in a test. */
int rtc_init(struct rtc *rtc, struct loop *loop, struct clock *clock,
	     struct interrupts *interrupts, struct err *err);
void rtc_release(struct rtc *rtc);

#endif
