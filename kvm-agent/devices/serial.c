/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 16550A as drivers know it: FIFO with its trigger level, loopback, modem
 * lines that say "connected" always. No baud rate is kept: bytes take no time,
 * and the time-out interrupt of a FIFO below its trigger comes at once. Flow
 * control is none, as with a real port: who sends faster than the reader of
 * the line is dealt with behind `output`.
 */
#include <errno.h>
#include <string.h>

#include "kvm-agent/devices/serial.h"

enum reg {
	REG_DATA,
	REG_IER,
	REG_IIR_FCR,
	REG_LCR,
	REG_MCR,
	REG_LSR,
	REG_MSR,
	REG_SCR,
};

#define IER_RECEIVED   0x01
#define IER_SENT       0x02
#define IER_LINE       0x04
#define IER_MODEM      0x08
#define IER_MASK       0x0f

#define IIR_NONE       0x01
#define IIR_MODEM      0x00
#define IIR_SENT       0x02
#define IIR_RECEIVED   0x04
#define IIR_LINE       0x06
#define IIR_TIMEOUT    0x0c
#define IIR_FIFO       0xc0

#define FCR_ENABLE     0x01
#define FCR_CLEAR_IN   0x02
#define FCR_KEPT       0xc9

#define LCR_DIVISOR    0x80

#define MCR_DTR        0x01
#define MCR_RTS        0x02
#define MCR_OUT1       0x04
#define MCR_OUT2       0x08
#define MCR_LOOP       0x10
#define MCR_MASK       0x1f

#define LSR_DATA       0x01
#define LSR_OVERRUN    0x02
#define LSR_EMPTY      0x60 /* the holding register, the transmitter */
#define LSR_ERRORS     LSR_OVERRUN

#define MSR_CTS        0x10
#define MSR_DSR        0x20
#define MSR_RI         0x40
#define MSR_DCD        0x80
#define MSR_CHANGES    0x0f

#define DIVISOR_9600   12
#define SERIAL_VERSION 1u

static bool has_fifo(const struct serial *serial)
{
	return serial->fcr & FCR_ENABLE;
}

static unsigned capacity(const struct serial *serial)
{
	return has_fifo(serial) ? SERIAL_FIFO : 1;
}

static unsigned trigger(const struct serial *serial)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return has_fifo(serial) ? levels[serial->fcr >> 6] : 1;
}

/* The most urgent reason for an interrupt. */
static uint8_t identify(const struct serial *serial)
{
	if (serial->ier & IER_LINE && serial->lsr_errors)
		return IIR_LINE;
	if (serial->ier & IER_RECEIVED && serial->input_count)
		return serial->input_count >= trigger(serial) ? IIR_RECEIVED
							      : IIR_TIMEOUT;
	if (serial->ier & IER_SENT && serial->sent)
		return IIR_SENT;
	if (serial->ier & IER_MODEM && serial->msr_changes)
		return IIR_MODEM;
	return IIR_NONE;
}

/* OUT2 connects the port's interrupt with the board, in a PC. */
static bool wants_interrupt(const struct serial *serial)
{
	return identify(serial) != IIR_NONE &&
	       (serial->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
}

static void update(struct serial *serial)
{
	bool level = wants_interrupt(serial);

	if (level == serial->interrupt)
		return;
	serial->interrupt = level;
	interrupts_line(serial->interrupts, serial->gsi, level);
}

static uint8_t modem_lines(const struct serial *serial)
{
	uint8_t mcr = serial->mcr, lines = 0;

	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	if (mcr & MCR_RTS)
		lines |= MSR_CTS;
	if (mcr & MCR_DTR)
		lines |= MSR_DSR;
	if (mcr & MCR_OUT1)
		lines |= MSR_RI;
	if (mcr & MCR_OUT2)
		lines |= MSR_DCD;
	return lines;
}

/* ---- bytes ---- */

static void receive(struct serial *serial, uint8_t byte)
{
	if (serial->input_count == capacity(serial)) {
		serial->lsr_errors |= LSR_OVERRUN;
		return;
	}
	serial->input[serial->input_count++] = byte;
}

static void tell_room(struct serial *serial)
{
	if (!serial->wants || serial->input_count)
		return;
	serial->wants = false;
	if (serial->line->room)
		serial->line->room(serial->line);
}

static uint8_t take(struct serial *serial)
{
	if (!serial->input_count)
		return serial->received;
	serial->received = serial->input[0];
	serial->input_count--;
	memmove(serial->input, serial->input + 1, serial->input_count);
	tell_room(serial);
	return serial->received;
}

static void transmit(struct serial *serial, uint8_t byte)
{
	serial->sent = true;
	if (serial->mcr & MCR_LOOP)
		receive(serial, byte);
	else
		serial->line->output(serial->line, &byte, 1);
}

size_t serial_input(struct serial *serial, const uint8_t *data, size_t size)
{
	size_t taken = 0;

	pthread_mutex_lock(&serial->lock);
	if (!(serial->mcr & MCR_LOOP)) {
		while (taken < size && serial->input_count < capacity(serial))
			receive(serial, data[taken++]);
	}
	serial->wants = taken < size;
	update(serial);
	pthread_mutex_unlock(&serial->lock);
	return taken;
}

/* ---- registers ---- */

static void set_mcr(struct serial *serial, uint8_t value)
{
	uint8_t before = modem_lines(serial), changed;

	serial->mcr = value & MCR_MASK;
	changed = before ^ modem_lines(serial);
	/* RI tells its end only. */
	if (!(before & MSR_RI))
		changed &= (uint8_t)~MSR_RI;
	serial->msr_changes |= changed >> 4;
	if (!(value & MCR_LOOP))
		tell_room(serial);
}

static void set_fcr(struct serial *serial, uint8_t value)
{
	if ((value ^ serial->fcr) & FCR_ENABLE || value & FCR_CLEAR_IN)
		serial->input_count = 0;
	serial->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
	tell_room(serial);
}

static void write_register(struct serial *serial, enum reg reg, uint8_t value)
{
	bool divisor = serial->lcr & LCR_DIVISOR;

	switch (reg) {
	case REG_DATA:
		if (divisor)
			serial->divisor =
				(uint16_t)((serial->divisor & 0xff00) | value);
		else
			transmit(serial, value);
		break;
	case REG_IER:
		if (divisor) {
			serial->divisor = (uint16_t)((serial->divisor & 0xff) |
						     value << 8);
			break;
		}
		/* Switched on while the transmitter is empty: it says so. */
		if (value & ~serial->ier & IER_SENT)
			serial->sent = true;
		serial->ier = value & IER_MASK;
		break;
	case REG_IIR_FCR:
		set_fcr(serial, value);
		break;
	case REG_LCR:
		serial->lcr = value;
		break;
	case REG_MCR:
		set_mcr(serial, value);
		break;
	case REG_SCR:
		serial->scr = value;
		break;
	case REG_LSR:
	case REG_MSR:
		break;
	}
}

static uint8_t read_iir(struct serial *serial)
{
	uint8_t iir = identify(serial);

	if (iir == IIR_SENT)
		serial->sent = false;
	return has_fifo(serial) ? iir | IIR_FIFO : iir;
}

static uint8_t read_register(struct serial *serial, enum reg reg)
{
	bool divisor = serial->lcr & LCR_DIVISOR;
	uint8_t value;

	switch (reg) {
	case REG_DATA:
		return divisor ? (uint8_t)serial->divisor : take(serial);
	case REG_IER:
		return divisor ? (uint8_t)(serial->divisor >> 8) : serial->ier;
	case REG_IIR_FCR:
		return read_iir(serial);
	case REG_LCR:
		return serial->lcr;
	case REG_MCR:
		return serial->mcr;
	case REG_LSR:
		value = LSR_EMPTY | serial->lsr_errors;
		if (serial->input_count)
			value |= LSR_DATA;
		serial->lsr_errors = 0;
		return value;
	case REG_MSR:
		value = modem_lines(serial) | serial->msr_changes;
		serial->msr_changes = 0;
		return value;
	case REG_SCR:
		return serial->scr;
	}
	return 0xff;
}

/* A wider access is one of each register in turn, as on the ISA bus. */
static void serial_read(void *device, uint64_t offset, void *data,
			unsigned length)
{
	struct serial *serial = device;
	uint8_t *bytes = data;

	pthread_mutex_lock(&serial->lock);
	for (unsigned i = 0; i < length; i++)
		bytes[i] = read_register(serial, (enum reg)((offset + i) & 7));
	update(serial);
	pthread_mutex_unlock(&serial->lock);
}

static void serial_write(void *device, uint64_t offset, const void *data,
			 unsigned length)
{
	struct serial *serial = device;
	const uint8_t *bytes = data;

	pthread_mutex_lock(&serial->lock);
	for (unsigned i = 0; i < length; i++)
		write_register(serial, (enum reg)((offset + i) & 7), bytes[i]);
	update(serial);
	pthread_mutex_unlock(&serial->lock);
}

const struct bus_ops serial_ops = { serial_read, serial_write };

/* ---- as a device ---- */

static void set_power_on(struct serial *serial)
{
	memset(serial->input, 0, sizeof(serial->input));
	serial->input_count = 0;
	serial->received = 0;
	serial->ier = serial->fcr = serial->lcr = serial->mcr = serial->scr = 0;
	serial->lsr_errors = serial->msr_changes = 0;
	serial->divisor = DIVISOR_9600;
	serial->sent = false;
}

static void serial_reset(struct device *device)
{
	struct serial *serial = container_of(device, struct serial, device);

	pthread_mutex_lock(&serial->lock);
	set_power_on(serial);
	tell_room(serial);
	update(serial);
	pthread_mutex_unlock(&serial->lock);
}

static void serial_save(struct device *device, struct state_writer *out)
{
	struct serial *serial = container_of(device, struct serial, device);

	pthread_mutex_lock(&serial->lock);
	section_put_u8(out, serial->ier);
	section_put_u8(out, serial->fcr);
	section_put_u8(out, serial->lcr);
	section_put_u8(out, serial->mcr);
	section_put_u8(out, serial->scr);
	section_put_u8(out, serial->lsr_errors);
	section_put_u8(out, serial->msr_changes);
	section_put_u8(out, serial->sent);
	section_put_u16(out, serial->divisor);
	section_put_u8(out, serial->received);
	section_put_u8(out, (uint8_t)serial->input_count);
	section_put_bytes(out, serial->input, serial->input_count);
	pthread_mutex_unlock(&serial->lock);
}

struct fields {
	uint8_t ier, fcr, lcr, mcr, scr, lsr_errors, msr_changes, sent;
	uint16_t divisor;
	uint8_t received, count;
	uint8_t input[SERIAL_FIFO];
};

static int get_fields(struct section_reader *in, struct fields *out,
		      struct err *err)
{
	int r;

	out->ier = section_get_u8(in);
	out->fcr = section_get_u8(in);
	out->lcr = section_get_u8(in);
	out->mcr = section_get_u8(in);
	out->scr = section_get_u8(in);
	out->lsr_errors = section_get_u8(in);
	out->msr_changes = section_get_u8(in);
	out->sent = section_get_u8(in);
	out->divisor = section_get_u16(in);
	out->received = section_get_u8(in);
	out->count = section_get_u8(in);
	if (out->count > SERIAL_FIFO)
		return err_set(err, -EBADMSG,
			       "a serial port with %u bytes of input",
			       out->count);
	section_get_bytes(in, out->input, out->count);
	r = section_done(in, err);
	if (r < 0)
		return r;
	if (out->ier & ~IER_MASK || out->fcr & ~FCR_KEPT ||
	    (out->fcr && !(out->fcr & FCR_ENABLE)) || out->mcr & ~MCR_MASK ||
	    out->lsr_errors & ~LSR_ERRORS || out->msr_changes & ~MSR_CHANGES ||
	    out->sent > 1 || (!out->fcr && out->count > 1))
		return err_set(err, -EBADMSG,
			       "a serial port with impossible registers");
	return 0;
}

static int serial_restore(struct device *device, struct section_reader *in,
			  struct err *err)
{
	struct serial *serial = container_of(device, struct serial, device);
	struct fields fields = { 0 };
	int r = get_fields(in, &fields, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&serial->lock);
	serial->ier = fields.ier;
	serial->fcr = fields.fcr;
	serial->lcr = fields.lcr;
	serial->mcr = fields.mcr;
	serial->scr = fields.scr;
	serial->lsr_errors = fields.lsr_errors;
	serial->msr_changes = fields.msr_changes;
	serial->sent = fields.sent;
	serial->divisor = fields.divisor;
	serial->received = fields.received;
	serial->input_count = fields.count;
	memcpy(serial->input, fields.input, sizeof(serial->input));
	/* The interrupt controllers know its level: their state has it. */
	serial->interrupt = wants_interrupt(serial);
	pthread_mutex_unlock(&serial->lock);
	return 0;
}

static const struct device_ops device_ops = {
	.name = "serial",
	.version = SERIAL_VERSION,
	.reset = serial_reset,
	.save = serial_save,
	.restore = serial_restore,
};

void serial_init(struct serial *serial, struct interrupts *interrupts,
		 unsigned gsi, struct serial_line *line)
{
	*serial = (struct serial){
		.device = { .ops = &device_ops },
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.interrupts = interrupts,
		.gsi = gsi,
		.line = line,
	};
	set_power_on(serial);
}

void serial_release(struct serial *serial)
{
	pthread_mutex_destroy(&serial->lock);
}
