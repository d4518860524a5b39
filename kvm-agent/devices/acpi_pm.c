/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of 16 bits in one block of ports, written by any width, a byte after
 * the other: none of them minds. Status bits are cleared by writing ones. The
 * SCI is a level: high as long as an enabled bit is set.
 */
#include <errno.h>
#include <string.h>

#include "kvm-agent/devices/acpi_pm.h"
#include "kvm-agent/vm/layout.h"

#define PM1_TIMER        0x0001u
#define PM1_GLOBAL       0x0020u
#define PM1_POWER_BUTTON 0x0100u
#define PM1_RTC          0x0400u
/* What may be set here at all, and what may raise the SCI. */
#define PM1_STATUS_BITS     (PM1_TIMER | PM1_POWER_BUTTON)
#define PM1_ENABLE_BITS     (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC)

#define CONTROL_SCI_ENABLED 0x0001u
#define CONTROL_BUS_MASTER  0x0002u
#define CONTROL_SLEEP_TYPE  0x1c00u
#define CONTROL_SLEEP_SHIFT 10
#define CONTROL_SLEEP       0x2000u
#define CONTROL_BITS        (CONTROL_BUS_MASTER | CONTROL_SLEEP_TYPE)

#define NS_PER_S            1000000000ULL
#define HALF_TICKS          (1ULL << 31) /* between changes of the top bit */

/* ---- the PM timer ---- */

static uint64_t elapsed_ns(const struct acpi_pm *pm)
{
	return (uint64_t)(clock_steady_ns(pm->clock) - pm->zero_ns);
}

static uint64_t ticks(const struct acpi_pm *pm)
{
	uint64_t ns = elapsed_ns(pm);

	return ns / NS_PER_S * ACPI_PM_TIMER_HZ +
	       ns % NS_PER_S * ACPI_PM_TIMER_HZ / NS_PER_S;
}

/* Its status bit, and the wire. */
static void update(struct acpi_pm *pm)
{
	uint64_t now = ticks(pm), wait = 0;
	bool level;

	if (now / HALF_TICKS != pm->half) {
		pm->half = now / HALF_TICKS;
		pm->status |= PM1_TIMER;
	}
	level = (pm->status & pm->enable) || (pm->gpe_status & pm->gpe_enable);
	if (level != pm->level)
		interrupts_line(pm->interrupts, LAYOUT_IRQ_SCI, level);
	pm->level = level;
	if (pm->enable & ~pm->status & PM1_TIMER)
		wait = (HALF_TICKS - now % HALF_TICKS) * NS_PER_S /
			       ACPI_PM_TIMER_HZ +
		       1;
	if (wait || pm->timer.wait_ns)
		timer_set(&pm->timer, wait);
}

static void timer_ran_off(struct timer *timer)
{
	struct acpi_pm *pm = container_of(timer, struct acpi_pm, timer);

	pthread_mutex_lock(&pm->lock);
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}

/* ---- ports ---- */

static uint16_t register_read(const struct acpi_pm *pm, uint64_t offset)
{
	switch (offset) {
	case LAYOUT_PM1_EVENT:
		return pm->status;
	case LAYOUT_PM1_EVENT + 2:
		return pm->enable;
	case LAYOUT_PM1_CONTROL:
		return pm->control | CONTROL_SCI_ENABLED;
	case LAYOUT_PM_GPE0:
		return pm->gpe_status;
	case LAYOUT_PM_GPE0 + 2:
		return pm->gpe_enable;
	default:
		return 0;
	}
}

static void control_write(struct acpi_pm *pm, uint16_t value)
{
	pm->control = value & CONTROL_BITS;
	/* The other sleeping states are not offered. */
	if ((value & CONTROL_SLEEP) &&
	    (value & CONTROL_SLEEP_TYPE) >> CONTROL_SLEEP_SHIFT ==
		    LAYOUT_S5_TYPE)
		guest_events_tell(pm->events, GUEST_POWER_OFF);
}

/* Only the bits of `mask` are written. */
static void register_write(struct acpi_pm *pm, uint64_t offset, uint16_t value,
			   uint16_t mask)
{
	uint16_t merged = (uint16_t)((register_read(pm, offset) & ~mask) |
				     (value & mask));

	switch (offset) {
	case LAYOUT_PM1_EVENT:
		pm->status &= (uint16_t) ~(value & mask);
		break;
	case LAYOUT_PM1_EVENT + 2:
		pm->enable = merged & PM1_ENABLE_BITS;
		break;
	case LAYOUT_PM1_CONTROL:
		control_write(pm, merged);
		break;
	case LAYOUT_PM_RESET:
		if ((value & mask) == LAYOUT_PM_RESET_VALUE)
			guest_events_tell(pm->events, GUEST_RESET);
		break;
	case LAYOUT_PM_GPE0:
		pm->gpe_status &= (uint16_t) ~(value & mask);
		break;
	case LAYOUT_PM_GPE0 + 2:
		pm->gpe_enable = merged;
		break;
	default:
		break;
	}
}

static void ports_read(void *device, uint64_t offset, void *data,
		       unsigned length)
{
	struct acpi_pm *pm = device;
	uint8_t *bytes = data;
	uint32_t timer;

	pthread_mutex_lock(&pm->lock);
	update(pm);
	timer = (uint32_t)ticks(pm);
	for (unsigned i = 0; i < length; i++) {
		uint64_t at = offset + i, in = at - LAYOUT_PM_TIMER;

		if (at >= LAYOUT_PM_TIMER && in < sizeof(timer))
			bytes[i] = (uint8_t)(timer >> 8 * in);
		else
			bytes[i] = (uint8_t)(register_read(pm, at & ~1ULL) >>
					     8 * (at & 1));
	}
	pthread_mutex_unlock(&pm->lock);
}

static void ports_write(void *device, uint64_t offset, const void *data,
			unsigned length)
{
	struct acpi_pm *pm = device;
	const uint8_t *bytes = data;

	pthread_mutex_lock(&pm->lock);
	update(pm);
	for (unsigned i = 0; i < length; i++) {
		uint64_t at = offset + i;
		unsigned shift = 8 * (at & 1);

		register_write(pm, at & ~1ULL, (uint16_t)(bytes[i] << shift),
			       (uint16_t)(0xff << shift));
	}
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}

const struct bus_ops acpi_pm_ports = { ports_read, ports_write };

/* ---- from outside ---- */

void acpi_pm_power_button(struct acpi_pm *pm)
{
	pthread_mutex_lock(&pm->lock);
	pm->status |= PM1_POWER_BUTTON;
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}

void acpi_pm_raise(struct acpi_pm *pm, unsigned bit)
{
	pthread_mutex_lock(&pm->lock);
	pm->gpe_status |= (uint16_t)(1u << bit);
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}

/* ---- the device ---- */

static void reset(struct device *device)
{
	struct acpi_pm *pm = container_of(device, struct acpi_pm, device);

	pthread_mutex_lock(&pm->lock);
	pm->status = pm->enable = pm->control = 0;
	pm->gpe_status = pm->gpe_enable = 0;
	pm->zero_ns = clock_steady_ns(pm->clock);
	pm->half = 0;
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}

static void save(struct device *device, struct state_writer *out)
{
	struct acpi_pm *pm = container_of(device, struct acpi_pm, device);

	pthread_mutex_lock(&pm->lock);
	update(pm);
	section_put_u16(out, pm->status);
	section_put_u16(out, pm->enable);
	section_put_u16(out, pm->control);
	section_put_u16(out, pm->gpe_status);
	section_put_u16(out, pm->gpe_enable);
	section_put_u64(out, elapsed_ns(pm));
	pthread_mutex_unlock(&pm->lock);
}

static int restore(struct device *device, struct section_reader *in,
		   struct err *err)
{
	struct acpi_pm *pm = container_of(device, struct acpi_pm, device);
	uint16_t status = section_get_u16(in);
	uint16_t enable = section_get_u16(in);
	uint16_t control = section_get_u16(in);
	uint16_t gpe_status = section_get_u16(in);
	uint16_t gpe_enable = section_get_u16(in);
	uint64_t elapsed = section_get_u64(in);
	int r = section_done(in, err);

	if (r < 0)
		return r;
	if (status & ~PM1_STATUS_BITS || enable & ~PM1_ENABLE_BITS ||
	    control & ~CONTROL_BITS || elapsed > INT64_MAX / 2)
		return err_set(err, -EBADMSG,
			       "section 'acpi-pm' of the machine's state: "
			       "bits or a time that can't be");
	pthread_mutex_lock(&pm->lock);
	pm->status = status;
	pm->enable = enable;
	pm->control = control;
	pm->gpe_status = gpe_status;
	pm->gpe_enable = gpe_enable;
	pm->zero_ns = clock_steady_ns(pm->clock) - (int64_t)elapsed;
	pm->half = ticks(pm) / HALF_TICKS;
	/* The wire as it is now, whatever it was in this process before. */
	pm->level = !((status & enable) || (gpe_status & gpe_enable));
	update(pm);
	pthread_mutex_unlock(&pm->lock);
	return 0;
}

static const struct device_ops acpi_pm_ops = {
	.name = "acpi-pm",
	.version = 1,
	.reset = reset,
	.save = save,
	.restore = restore,
};

int acpi_pm_init(struct acpi_pm *pm, struct loop *loop, struct clock *clock,
		 struct interrupts *interrupts, struct guest_events *events,
		 struct err *err)
{
	int r;

	*pm = (struct acpi_pm){ .device = { .ops = &acpi_pm_ops },
				.events = events,
				.interrupts = interrupts,
				.clock = clock,
				.zero_ns = clock_steady_ns(clock) };
	r = timer_init(&pm->timer, loop, timer_ran_off, err);
	if (r < 0)
		return r;
	r = pthread_mutex_init(&pm->lock, NULL);
	if (r) {
		timer_release(&pm->timer);
		return err_sys(err, -r, "lock of ACPI's registers");
	}
	return 0;
}

void acpi_pm_release(struct acpi_pm *pm)
{
	timer_release(&pm->timer);
	pthread_mutex_destroy(&pm->lock);
}
