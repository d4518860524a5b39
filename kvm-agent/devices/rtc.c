/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing ticks here: at each access, and when a timer says so, the time is
 * computed, and what happened since the last look is noted in register C. The
 * timer runs only for an event that is enabled and not noted yet: a guest that
 * asks for 8192 interrupts a second gets the next when it has read the last.
 *
 * A time that no calendar has (a month of 77) is carried over into one that
 * has, as mktime(3) does; real chips show nonsense instead.
 */
#include <errno.h>
#include <string.h>

#include "kvm-agent/devices/rtc.h"
#include "kvm-agent/vm/layout.h"

enum {
	SECONDS,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	WEEKDAY,
	DAY,
	MONTH,
	YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
};

#define A_UPDATING   0x80u /* read only: the time is about to change */
#define A_DIVIDER    0x70u /* from 0x60 on it is held: the clock stands */
#define A_HELD       0x60u
#define A_RATE       0x0fu
#define A_POWER_ON   0x26u

#define B_STOP       0x80u /* the guest sets the time */
#define B_PERIODIC   0x40u /* these three: interrupt enables, C's flags */
#define B_ALARM      0x20u
#define B_UPDATE     0x10u
#define B_INTERRUPTS (B_PERIODIC | B_ALARM | B_UPDATE)
#define B_SQUARE     0x08u
#define B_BINARY     0x04u
#define B_24_HOURS   0x02u
#define C_INTERRUPT  0x80u
#define D_VALID      0x80u
#define HOURS_PM     0x80u
#define ALARM_ANY    0xc0u

#define NS_PER_S     1000000000LL
#define S_PER_DAY    86400LL
#define UPDATE_NS    244000LL /* how long ahead A_UPDATING shows it */
#define CRYSTAL_HZ   32768LL
/* Years that the clock takes, so that nanoseconds fit. */
#define YEAR_FIRST  1970
#define YEAR_LAST   2199
#define TIME_MAX_NS (INT64_MAX / 10 * 9)

/* ---- the calendar ---- */

/* Days since 1970-01-01 of a day of the Gregorian calendar; month from 1. */
static int64_t days_from(int64_t year, int64_t month, int64_t day)
{
	int64_t era, of_era;

	/* Years from March on: the leap day is the last. */
	year -= month <= 2;
	era = year / 400;
	of_era = year % 400;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 +
	       (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1 -
	       719468;
}

struct date {
	int64_t year;
	unsigned month, day; /* from 1 */
};

static struct date date_from(int64_t days)
{
	int64_t shifted = days + 719468;
	int64_t era = shifted / 146097, of_era = shifted % 146097;
	int64_t year =
		(of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) /
		365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153;

	return (struct date){
		.year = year + era * 400 + (month >= 10),
		.month = (unsigned)(month < 10 ? month + 3 : month - 9),
		.day = (unsigned)(of_year - (153 * month + 2) / 5 + 1),
	};
}

/* ---- registers of the time ---- */

static uint8_t encode(const struct rtc *rtc, int64_t value)
{
	if (rtc->cmos[REG_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static int64_t decode(const struct rtc *rtc, uint8_t value)
{
	if (rtc->cmos[REG_B] & B_BINARY)
		return value;
	return (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const struct rtc *rtc, int64_t hour)
{
	uint8_t value;

	if (rtc->cmos[REG_B] & B_24_HOURS)
		return encode(rtc, hour);
	value = encode(rtc, hour % 12 ? hour % 12 : 12);
	return hour >= 12 ? value | HOURS_PM : value;
}

static int64_t decode_hour(const struct rtc *rtc, uint8_t value)
{
	if (rtc->cmos[REG_B] & B_24_HOURS)
		return decode(rtc, value);
	return decode(rtc, value & 0x7f) % 12 + (value & HOURS_PM ? 12 : 0);
}

static void encode_time(struct rtc *rtc, int64_t time_ns)
{
	int64_t seconds = time_ns / NS_PER_S, days = seconds / S_PER_DAY;
	int64_t of_day = seconds % S_PER_DAY;
	struct date date = date_from(days);

	rtc->cmos[SECONDS] = encode(rtc, of_day % 60);
	rtc->cmos[MINUTES] = encode(rtc, of_day / 60 % 60);
	rtc->cmos[HOURS] = encode_hour(rtc, of_day / 3600);
	/* Sunday is 1; the epoch was a Thursday. */
	rtc->cmos[WEEKDAY] = encode(rtc, (days + 4) % 7 + 1);
	rtc->cmos[DAY] = encode(rtc, date.day);
	rtc->cmos[MONTH] = encode(rtc, date.month);
	rtc->cmos[YEAR] = encode(rtc, date.year % 100);
	rtc->cmos[RTC_CENTURY] = encode(rtc, date.year / 100);
}

static int64_t decode_time(const struct rtc *rtc)
{
	int64_t year = decode(rtc, rtc->cmos[RTC_CENTURY]) * 100 +
		       decode(rtc, rtc->cmos[YEAR]);
	int64_t month = decode(rtc, rtc->cmos[MONTH]) - 1, days;

	if (month < 0)
		month = 0;
	year += month / 12;
	if (year < YEAR_FIRST)
		year = YEAR_FIRST;
	if (year > YEAR_LAST)
		year = YEAR_LAST;
	days = days_from(year, month % 12 + 1, decode(rtc, rtc->cmos[DAY]));
	if (days < 0)
		days = 0;
	return (days * S_PER_DAY + decode_hour(rtc, rtc->cmos[HOURS]) * 3600 +
		decode(rtc, rtc->cmos[MINUTES]) * 60 +
		decode(rtc, rtc->cmos[SECONDS])) *
	       NS_PER_S;
}

static bool is_time(uint8_t index)
{
	return index == SECONDS || index == MINUTES || index == HOURS ||
	       (index >= WEEKDAY && index <= YEAR) || index == RTC_CENTURY;
}

static bool is_held(const struct rtc *rtc)
{
	return (rtc->cmos[REG_A] & A_DIVIDER) >= A_HELD;
}

static bool is_stopped(const struct rtc *rtc)
{
	return rtc->cmos[REG_B] & B_STOP || is_held(rtc);
}

/* The guest's time; never before the epoch, nor where it would not fit. */
static int64_t time_now(const struct rtc *rtc)
{
	int64_t wall = clock_wall_ns(rtc->clock);
	int64_t now;

	if (__builtin_add_overflow(wall, rtc->offset_ns, &now) ||
	    now > TIME_MAX_NS)
		return TIME_MAX_NS;
	return now < 0 ? 0 : now;
}

/* ---- events ---- */

/* The first second past `from` (of the guest's time) at which the alarm's
 * registers match, or -1. */
static int64_t next_alarm(const struct rtc *rtc, int64_t from)
{
	uint8_t h = rtc->cmos[HOURS_ALARM], m = rtc->cmos[MINUTES_ALARM];
	uint8_t s = rtc->cmos[SECONDS_ALARM];
	int64_t start = from + 1, day = start / S_PER_DAY * S_PER_DAY;
	int64_t at = start - day;

	/* In steps of what doesn't match: at most 2 * (24 + 60 + 60) + 2. */
	while (at < 2 * S_PER_DAY) {
		if (h < ALARM_ANY && encode_hour(rtc, at / 3600 % 24) != h)
			at += 3600 - at % 3600;
		else if (m < ALARM_ANY && encode(rtc, at / 60 % 60) != m)
			at += 60 - at % 60;
		else if (s < ALARM_ANY && encode(rtc, at % 60) != s)
			at++;
		else
			return day + at;
	}
	return -1;
}

/* Between two periodic events; 0: there are none. */
static int64_t period_ns(const struct rtc *rtc)
{
	unsigned rate = rtc->cmos[REG_A] & A_RATE;

	if (!rate || is_held(rtc))
		return 0;
	if (rate < 3) /* 1 and 2 are as 8 and 9 */
		rate += 7;
	/* 2^(rate-1) cycles; from 122070.3 ns, a little short of it. */
	return (NS_PER_S << (rate - 1)) / CRYSTAL_HZ;
}

/* What happened since the last look. */
static void note_events(struct rtc *rtc, int64_t now)
{
	int64_t period = period_ns(rtc), alarm;
	int64_t was = rtc->seen_ns / NS_PER_S;
	uint8_t flags = 0;

	if (period && now / period != rtc->seen_ns / period)
		flags |= B_PERIODIC;
	if (!is_stopped(rtc) && now / NS_PER_S != was) {
		flags |= B_UPDATE;
		alarm = next_alarm(rtc, was);
		if (alarm >= 0 && alarm <= now / NS_PER_S)
			flags |= B_ALARM;
	}
	rtc->cmos[REG_C] |= flags;
	rtc->seen_ns = now;
}

/* How long until the next event that would change the wire; 0: never. */
static int64_t next_event(const struct rtc *rtc, int64_t now)
{
	uint8_t awaited = rtc->cmos[REG_B] & (uint8_t)~rtc->cmos[REG_C];
	int64_t period = period_ns(rtc), wait = INT64_MAX, alarm;

	if (awaited & B_PERIODIC && period)
		wait = period - now % period;
	if (!is_stopped(rtc) && awaited & B_UPDATE &&
	    wait > NS_PER_S - now % NS_PER_S)
		wait = NS_PER_S - now % NS_PER_S;
	if (!is_stopped(rtc) && awaited & B_ALARM) {
		alarm = next_alarm(rtc, now / NS_PER_S);
		if (alarm >= 0 && wait > alarm * NS_PER_S - now)
			wait = alarm * NS_PER_S - now;
	}
	return wait == INT64_MAX ? 0 : wait;
}

/* An alarm that is far away is looked at again each minute, since the host's
 * clock may have been set meanwhile. */
#define LOOK_AGAIN_NS (60 * NS_PER_S)

/* Events, wire and timer, as of now. */
static void update(struct rtc *rtc)
{
	int64_t now = time_now(rtc), wait;
	bool level;

	note_events(rtc, now);
	level = rtc->cmos[REG_B] & rtc->cmos[REG_C] & B_INTERRUPTS;
	if (level)
		rtc->cmos[REG_C] |= C_INTERRUPT;
	else
		rtc->cmos[REG_C] &= (uint8_t)~C_INTERRUPT;
	if (level != rtc->level)
		interrupts_line(rtc->interrupts, LAYOUT_IRQ_RTC, level);
	rtc->level = level;
	/* While the wire is high nothing can change it. */
	wait = level ? 0 : next_event(rtc, now);
	if (wait > LOOK_AGAIN_NS)
		wait = LOOK_AGAIN_NS;
	if (wait || rtc->timer.wait_ns)
		timer_set(&rtc->timer, (uint64_t)wait);
}

static void timer_ran_off(struct timer *timer)
{
	struct rtc *rtc = container_of(timer, struct rtc, timer);

	pthread_mutex_lock(&rtc->lock);
	timer->wait_ns = 0;
	update(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

/* ---- ports ---- */

static uint8_t data_read(struct rtc *rtc)
{
	uint8_t value;

	update(rtc);
	if (is_time(rtc->index) && !is_stopped(rtc))
		encode_time(rtc, rtc->seen_ns);
	value = rtc->cmos[rtc->index];
	if (rtc->index == REG_A && !is_stopped(rtc) &&
	    rtc->seen_ns % NS_PER_S >= NS_PER_S - UPDATE_NS)
		value |= A_UPDATING;
	if (rtc->index == REG_C) {
		rtc->cmos[REG_C] = 0;
		update(rtc);
	}
	return value;
}

/* The clock shows `time_ns` now. */
static void set_time(struct rtc *rtc, int64_t time_ns)
{
	rtc->offset_ns = time_ns - clock_wall_ns(rtc->clock);
	rtc->seen_ns = time_now(rtc);
}

/* A or B is written: the clock may stop, or go on. */
static void control_write(struct rtc *rtc, uint8_t value)
{
	bool was_stopped = is_stopped(rtc);

	if (!was_stopped)
		encode_time(rtc, rtc->seen_ns);
	if (rtc->index == REG_A)
		rtc->cmos[REG_A] = value & (A_DIVIDER | A_RATE);
	else
		rtc->cmos[REG_B] = value;
	if (rtc->cmos[REG_B] & B_STOP)
		rtc->cmos[REG_B] &= (uint8_t)~B_UPDATE;
	/* The first second is over half a second after the start. */
	if (was_stopped && !is_stopped(rtc))
		set_time(rtc, decode_time(rtc) + NS_PER_S / 2);
}

static void data_write(struct rtc *rtc, uint8_t value)
{
	bool of_time = is_time(rtc->index) && !is_stopped(rtc);

	update(rtc);
	if (rtc->index == REG_A || rtc->index == REG_B) {
		control_write(rtc, value);
	} else if (rtc->index != REG_C && rtc->index != REG_D) {
		if (of_time)
			encode_time(rtc, rtc->seen_ns);
		rtc->cmos[rtc->index] = value;
		if (of_time)
			set_time(rtc,
				 decode_time(rtc) + rtc->seen_ns % NS_PER_S);
	}
	update(rtc);
}

static void ports_read(void *device, uint64_t offset, void *data,
		       unsigned length)
{
	struct rtc *rtc = device;
	uint8_t *bytes = data;

	/* The index can't be read back. */
	memset(data, 0xff, length);
	if (offset + length <= 1)
		return;
	pthread_mutex_lock(&rtc->lock);
	bytes[length - 1] = data_read(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

static void ports_write(void *device, uint64_t offset, const void *data,
			unsigned length)
{
	struct rtc *rtc = device;
	const uint8_t *bytes = data;

	pthread_mutex_lock(&rtc->lock);
	if (offset == 0)
		rtc->index = bytes[0] & 0x7f;
	if (offset + length > 1)
		data_write(rtc, bytes[length - 1]);
	pthread_mutex_unlock(&rtc->lock);
}

const struct bus_ops rtc_ports = { ports_read, ports_write };

/* ---- the device ---- */

/* The battery keeps time and memory. */
static void reset(struct device *device)
{
	struct rtc *rtc = container_of(device, struct rtc, device);

	pthread_mutex_lock(&rtc->lock);
	rtc->cmos[REG_B] &= (uint8_t) ~(B_INTERRUPTS | B_SQUARE);
	rtc->cmos[REG_C] = 0;
	rtc->index = 0;
	update(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

static void save(struct device *device, struct state_writer *out)
{
	struct rtc *rtc = container_of(device, struct rtc, device);

	pthread_mutex_lock(&rtc->lock);
	update(rtc);
	section_put_u8(out, rtc->index);
	if (!is_stopped(rtc))
		encode_time(rtc, 0);
	section_put_bytes(out, rtc->cmos, sizeof(rtc->cmos));
	section_put_u64(out, (uint64_t)rtc->offset_ns);
	section_put_u64(out, (uint64_t)rtc->seen_ns);
	pthread_mutex_unlock(&rtc->lock);
}

static int restore(struct device *device, struct section_reader *in,
		   struct err *err)
{
	struct rtc *rtc = container_of(device, struct rtc, device);
	uint8_t index = section_get_u8(in), cmos[RTC_CMOS_SIZE];
	int64_t offset, seen;
	int r;

	section_get_bytes(in, cmos, sizeof(cmos));
	offset = (int64_t)section_get_u64(in);
	seen = (int64_t)section_get_u64(in);
	r = section_done(in, err);
	if (r < 0)
		return r;
	/* Any offset will do: time_now() keeps within bounds. */
	if (index >= RTC_CMOS_SIZE || cmos[REG_A] & A_UPDATING ||
	    cmos[REG_C] & (uint8_t) ~(B_INTERRUPTS | C_INTERRUPT) ||
	    cmos[REG_D] != D_VALID || seen < 0 || seen > TIME_MAX_NS)
		return err_set(err, -EBADMSG,
			       "section 'rtc' of the machine's state: a "
			       "register or a time that can't be");
	pthread_mutex_lock(&rtc->lock);
	rtc->index = index;
	memcpy(rtc->cmos, cmos, sizeof(cmos));
	rtc->offset_ns = offset;
	rtc->seen_ns = seen;
	/* The wire as it is now, whatever it was in this process before. */
	rtc->level = !(cmos[REG_B] & cmos[REG_C] & B_INTERRUPTS);
	update(rtc);
	pthread_mutex_unlock(&rtc->lock);
	return 0;
}

static const struct device_ops rtc_ops = {
	.name = "rtc",
	.version = 1,
	.reset = reset,
	.save = save,
	.restore = restore,
};

int rtc_init(struct rtc *rtc, struct loop *loop, struct clock *clock,
	     struct interrupts *interrupts, struct err *err)
{
	int r;

	*rtc = (struct rtc){ .device = { .ops = &rtc_ops },
			     .interrupts = interrupts,
			     .clock = clock };
	rtc->cmos[REG_A] = A_POWER_ON;
	rtc->cmos[REG_B] = B_24_HOURS;
	rtc->cmos[REG_D] = D_VALID;
	rtc->seen_ns = time_now(rtc);
	r = timer_init(&rtc->timer, loop, timer_ran_off, err);
	if (r < 0)
		return r;
	r = pthread_mutex_init(&rtc->lock, NULL);
	if (r) {
		timer_release(&rtc->timer);
		return err_sys(err, -r, "lock of the RTC");
	}
	return 0;
}

void rtc_release(struct rtc *rtc)
{
	timer_release(&rtc->timer);
	pthread_mutex_destroy(&rtc->lock);
}
