/* SPDX-License-Identifier: Apache-2.0 */
/* The parts that each program of this folder needs; rig.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/kvm/host/rig.h"

/* Only how likely it is to meet the moment depends on it. */
#define LINGER_US 50000
/* Where continuity.c looks for it. */
#define COUNTER_PORT   0x2e0
#define COUNTER_MEMORY 0xd1000000
#define LIMIT_NS       (300 * 1000000000ull)

void rig_must(bool truth, const char *what, const struct err *err)
{
	if (truth)
		return;
	fprintf(stderr, "FAILED: %s%s%s\n", what, err ? ": " : "",
		err ? err->text : "");
	exit(1);
}

static int boot(struct machine_hooks *hooks, const struct memory *memory,
		struct boot_start *start, struct err *err)
{
	struct rig *rig = container_of(hooks, struct rig, hooks);
	struct boot_source source = { .cmdline = "" };
	static uint8_t kernel[MIB];
	autofd int fd = open(rig->kernel, O_RDONLY | O_CLOEXEC);
	ssize_t size = read(fd, kernel, sizeof(kernel));

	rig_must(size > 0, rig->kernel, NULL);
	source.kernel = kernel;
	source.kernel_size = (size_t)size;
	return boot_load(memory, &source, start, err);
}

static void changed(struct machine_hooks *hooks, enum machine_state state,
		    const char *words)
{
	struct rig *rig = container_of(hooks, struct rig, hooks);

	loop_stop(rig->loop);
	if (state == MACHINE_PAUSED)
		return;
	rig->ended = state;
	snprintf(rig->words, sizeof(rig->words), "%s", words ? words : "");
}

static void told(struct machine_hooks *hooks, enum guest_event event)
{
	(void)hooks;
	(void)event;
}

/* On a vCPU's thread. */
static void on_output(struct serial_line *line, const uint8_t *data,
		      size_t size)
{
	struct rig *rig = container_of(line, struct rig, line);

	pthread_mutex_lock(&rig->lock);
	rig_must(size < sizeof(rig->text) - rig->size, "too much output", NULL);
	memcpy(rig->text + rig->size, data, size);
	rig->size += size;
	pthread_mutex_unlock(&rig->lock);
	if (data[size - 1] == '\n')
		loop_post(rig->loop, &rig->look);
}

static void read_counter(void *device, uint64_t offset, void *data,
			 unsigned length)
{
	struct rig *rig = device;
	uint32_t value;
	bool stops;

	rig_must(!offset && length == sizeof(value), "another read", NULL);
	pthread_mutex_lock(&rig->lock);
	value = ++rig->reads;
	stops = rig->stops_in_read;
	rig->stops_in_read = false;
	pthread_mutex_unlock(&rig->lock);
	memcpy(data, &value, sizeof(value));
	if (!stops)
		return;
	loop_stop(rig->loop);
	usleep(LINGER_US);
}

static void write_counter(void *device, uint64_t offset, const void *data,
			  unsigned length)
{
	(void)device;
	(void)offset;
	(void)data;
	(void)length;
}

static const struct bus_ops counter_ops = { read_counter, write_counter };

static bool is_reached(struct rig *rig)
{
	bool reached;

	pthread_mutex_lock(&rig->lock);
	reached = rig->until && rig->until(rig);
	pthread_mutex_unlock(&rig->lock);
	return reached;
}

static void on_look(struct loop_work *work)
{
	struct rig *rig = container_of(work, struct rig, look);

	if (is_reached(rig))
		loop_stop(rig->loop);
}

static void on_limit(struct loop_watch *watch, uint32_t events)
{
	struct rig *rig = watch->owner;

	(void)events;
	loop_timer_read(watch->fd);
	loop_stop(rig->loop);
}

void rig_init(struct rig *rig, const char *kernel, unsigned cpus,
	      uint64_t memory_bytes)
{
	struct err err;

	memset(rig, 0, sizeof(*rig));
	rig->hooks = (struct machine_hooks){ .boot = boot,
					     .told = told,
					     .changed = changed };
	rig->line.output = on_output;
	rig->options = (struct machine_options){
		.board = { .memory_bytes = memory_bytes,
			   .cpus = cpus,
			   .console = &rig->line },
		.hooks = &rig->hooks,
	};
	rig->look.run = on_look;
	rig->kernel = kernel;
	pthread_mutex_init(&rig->lock, NULL);
	rig_must(loop_new(&rig->loop, &err) == 0, "loop", &err);
	rig->limit = (struct loop_watch){ loop_timer_new(&err), EPOLLIN,
					  on_limit, rig };
	rig_must(loop_add(rig->loop, &rig->limit, &err) == 0, "timer", &err);
}

void rig_release(struct rig *rig)
{
	machine_free(rig->machine);
	rig->machine = NULL;
	loop_remove(rig->loop, &rig->limit);
	close(rig->limit.fd);
	loop_free(rig->loop);
	pthread_mutex_destroy(&rig->lock);
}

void rig_make(struct rig *rig, bool is_restored)
{
	struct board *board;
	struct err err;

	rig->options.is_restored = is_restored;
	rig_must(machine_new(&rig->machine, &rig->options, rig->loop, &err) ==
			 0,
		 "machine", &err);
	board = machine_board(rig->machine);
	rig_must(bus_add(&board->ports, COUNTER_PORT, 4, &counter_ops, rig,
			 &err) == 0,
		 "counter", &err);
	rig_must(bus_add(&board->mmio, COUNTER_MEMORY, 4, &counter_ops, rig,
			 &err) == 0,
		 "counter", &err);
}

static void run(struct rig *rig, uint64_t ns)
{
	struct err err;

	loop_timer_set(rig->limit.fd, ns);
	if (!is_reached(rig))
		rig_must(loop_run(rig->loop, &err) == 0, "loop", &err);
	loop_timer_set(rig->limit.fd, 0);
}

static void show(struct rig *rig)
{
	pthread_mutex_lock(&rig->lock);
	fwrite(rig->text, 1, rig->size, stderr);
	pthread_mutex_unlock(&rig->lock);
}

void rig_run_until(struct rig *rig, bool (*until)(struct rig *rig))
{
	rig->until = until;
	run(rig, LIMIT_NS);
	if (!is_reached(rig)) {
		show(rig);
		rig_must(false, rig->ended ? rig->words : "it takes too long",
			 NULL);
	}
	rig->until = NULL;
}

void rig_pause(struct rig *rig)
{
	struct err err;

	rig_must(machine_pause(rig->machine, &err) == 0, "pause", &err);
	loop_timer_set(rig->limit.fd, LIMIT_NS);
	while (machine_state(rig->machine) == MACHINE_RUNNING && !rig->ended)
		rig_must(loop_run(rig->loop, &err) == 0, "loop", &err);
	loop_timer_set(rig->limit.fd, 0);
	rig_must(machine_state(rig->machine) == MACHINE_PAUSED, "pause", NULL);
}

void rig_run_to_end(struct rig *rig)
{
	while (rig->ended == MACHINE_CREATED)
		run(rig, LIMIT_NS);
}

void rig_run_into_read(struct rig *rig)
{
	pthread_mutex_lock(&rig->lock);
	rig->stops_in_read = true;
	pthread_mutex_unlock(&rig->lock);
	run(rig, LIMIT_NS);
}

void rig_run_for(struct rig *rig, uint64_t ns)
{
	run(rig, ns);
	if (rig->ended != MACHINE_CREATED) {
		show(rig);
		rig_must(false, rig->words, NULL);
	}
}

void rig_save(struct rig *rig, struct state_writer *out)
{
	struct err err;

	rig_must(state_begin(out, &err) == 0, "state", &err);
	rig_must(machine_save(rig->machine, out, &err) == 0, "save", &err);
	rig_must(state_finish(out, &err) == 0, "state", &err);
}

void rig_open_state(struct state *state, const struct state_writer *writer)
{
	struct err err;

	rig_must(state_open(state, writer->bytes.data, writer->bytes.size,
			    &err) == 0,
		 "state", &err);
}
