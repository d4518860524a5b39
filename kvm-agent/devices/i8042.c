/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller answers its own commands (self test, configuration, output
 * port) so that a driver that looks for it comes to an end quickly. There is no
 * keyboard and no mouse: what is sent to them is lost, and no interrupt comes.
 * Reset is asked for by a pulse of line 0, or by output port bit 0 low.
 */
#include <errno.h>
#include <string.h>

#include "kvm-agent/devices/i8042.h"

#define STATUS_FULL     0x01u
#define STATUS_SYSTEM   0x04u /* the self test was passed */
#define STATUS_COMMAND  0x08u /* the last write was a command */
#define STATUS_UNLOCKED 0x10u

#define CONFIG_SYSTEM   0x04u
#define CONFIG_DISABLED 0x30u /* keyboard and mouse */
#define OUTPUT_RESET    0x01u
#define OUTPUT_A20      0x02u

enum command {
	READ_CONFIG = 0x20,
	WRITE_CONFIG = 0x60,
	DISABLE_MOUSE = 0xa7,
	ENABLE_MOUSE = 0xa8,
	TEST_MOUSE = 0xa9,
	SELF_TEST = 0xaa,
	TEST_KEYBOARD = 0xab,
	DISABLE_KEYBOARD = 0xad,
	ENABLE_KEYBOARD = 0xae,
	READ_OUTPUTS = 0xd0,
	WRITE_OUTPUTS = 0xd1,
	WRITE_ANSWER = 0xd2,
	WRITE_MOUSE_ANSWER = 0xd3,
	WRITE_MOUSE = 0xd4,
	PULSE = 0xf0, /* to 0xff: the lines whose bits are 0 */
};

#define TEST_PASSED   0x55u
#define LINE_IS_GOOD  0x00u
#define LINE_IS_STUCK 0x01u

static void answer(struct i8042 *keyboard, uint8_t value)
{
	keyboard->answer = value;
	keyboard->full = true;
}

static void power_on(struct i8042 *keyboard)
{
	keyboard->config = CONFIG_SYSTEM | CONFIG_DISABLED;
	keyboard->outputs = OUTPUT_RESET | OUTPUT_A20;
	keyboard->command = 0;
	keyboard->answer = 0;
	keyboard->full = false;
}

/* ---- ports ---- */

static void data_read(void *device, uint64_t offset, void *data,
		      unsigned length)
{
	struct i8042 *keyboard = device;

	(void)offset;
	memset(data, 0, length);
	pthread_mutex_lock(&keyboard->lock);
	*(uint8_t *)data = keyboard->answer;
	keyboard->full = false;
	pthread_mutex_unlock(&keyboard->lock);
}

static void status_read(void *device, uint64_t offset, void *data,
			unsigned length)
{
	struct i8042 *keyboard = device;
	uint8_t status = STATUS_UNLOCKED;

	(void)offset;
	memset(data, 0, length);
	pthread_mutex_lock(&keyboard->lock);
	if (keyboard->full)
		status |= STATUS_FULL;
	if (keyboard->config & CONFIG_SYSTEM)
		status |= STATUS_SYSTEM;
	if (keyboard->command)
		status |= STATUS_COMMAND;
	pthread_mutex_unlock(&keyboard->lock);
	*(uint8_t *)data = status;
}

static void data_write(void *device, uint64_t offset, const void *data,
		       unsigned length)
{
	struct i8042 *keyboard = device;
	uint8_t value = *(const uint8_t *)data;

	(void)offset;
	(void)length;
	pthread_mutex_lock(&keyboard->lock);
	switch (keyboard->command) {
	case WRITE_CONFIG:
		keyboard->config = value;
		break;
	case WRITE_OUTPUTS:
		if (!(value & OUTPUT_RESET))
			guest_events_tell(keyboard->events, GUEST_RESET);
		keyboard->outputs = value | OUTPUT_RESET;
		break;
	case WRITE_ANSWER:
		answer(keyboard, value);
		break;
	default: /* to a keyboard or a mouse that isn't there */
		break;
	}
	keyboard->command = 0;
	pthread_mutex_unlock(&keyboard->lock);
}

static void run_command(struct i8042 *keyboard, uint8_t command)
{
	keyboard->command = 0;
	switch (command) {
	case READ_CONFIG:
		answer(keyboard, keyboard->config);
		break;
	case DISABLE_MOUSE:
		keyboard->config |= 0x20;
		break;
	case ENABLE_MOUSE:
		keyboard->config &= 0xdf;
		break;
	case TEST_MOUSE:
		answer(keyboard, LINE_IS_STUCK);
		break;
	case SELF_TEST:
		keyboard->config |= CONFIG_SYSTEM;
		answer(keyboard, TEST_PASSED);
		break;
	case TEST_KEYBOARD:
		answer(keyboard, LINE_IS_GOOD);
		break;
	case DISABLE_KEYBOARD:
		keyboard->config |= 0x10;
		break;
	case ENABLE_KEYBOARD:
		keyboard->config &= 0xef;
		break;
	case READ_OUTPUTS:
		answer(keyboard, keyboard->outputs);
		break;
	case WRITE_CONFIG:
	case WRITE_OUTPUTS:
	case WRITE_ANSWER:
	case WRITE_MOUSE_ANSWER:
	case WRITE_MOUSE:
		keyboard->command = command;
		break;
	default:
		if (command >= PULSE && !(command & OUTPUT_RESET))
			guest_events_tell(keyboard->events, GUEST_RESET);
		break;
	}
}

static void command_write(void *device, uint64_t offset, const void *data,
			  unsigned length)
{
	struct i8042 *keyboard = device;

	(void)offset;
	(void)length;
	pthread_mutex_lock(&keyboard->lock);
	run_command(keyboard, *(const uint8_t *)data);
	pthread_mutex_unlock(&keyboard->lock);
}

const struct bus_ops i8042_data_port = { data_read, data_write };
const struct bus_ops i8042_command_port = { status_read, command_write };

/* ---- the device ---- */

static void reset(struct device *device)
{
	struct i8042 *keyboard = container_of(device, struct i8042, device);

	pthread_mutex_lock(&keyboard->lock);
	power_on(keyboard);
	pthread_mutex_unlock(&keyboard->lock);
}

static void save(struct device *device, struct state_writer *out)
{
	struct i8042 *keyboard = container_of(device, struct i8042, device);

	pthread_mutex_lock(&keyboard->lock);
	section_put_u8(out, keyboard->config);
	section_put_u8(out, keyboard->outputs);
	section_put_u8(out, keyboard->command);
	section_put_u8(out, keyboard->answer);
	section_put_u8(out, keyboard->full);
	pthread_mutex_unlock(&keyboard->lock);
}

static int restore(struct device *device, struct section_reader *in,
		   struct err *err)
{
	struct i8042 *keyboard = container_of(device, struct i8042, device);
	uint8_t config = section_get_u8(in);
	uint8_t outputs = section_get_u8(in);
	uint8_t command = section_get_u8(in);
	uint8_t value = section_get_u8(in);
	uint8_t full = section_get_u8(in);
	int r = section_done(in, err);

	if (r < 0)
		return r;
	if (full > 1 || !(outputs & OUTPUT_RESET))
		return err_set(err, -EBADMSG,
			       "section 'i8042' of the machine's state: full "
			       "is %u, and the output port 0x%02x",
			       full, outputs);
	pthread_mutex_lock(&keyboard->lock);
	keyboard->config = config;
	keyboard->outputs = outputs;
	keyboard->command = command;
	keyboard->answer = value;
	keyboard->full = full;
	pthread_mutex_unlock(&keyboard->lock);
	return 0;
}

static const struct device_ops i8042_ops = {
	.name = "i8042",
	.version = 1,
	.reset = reset,
	.save = save,
	.restore = restore,
};

int i8042_init(struct i8042 *keyboard, struct guest_events *events,
	       struct err *err)
{
	int r;

	*keyboard = (struct i8042){ .device = { .ops = &i8042_ops },
				    .events = events };
	r = pthread_mutex_init(&keyboard->lock, NULL);
	if (r)
		return err_sys(err, -r, "lock of the i8042");
	power_on(keyboard);
	return 0;
}

void i8042_release(struct i8042 *keyboard)
{
	pthread_mutex_destroy(&keyboard->lock);
}
