/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the machine and those who ask about it. The end is written twice: to
 * those who listen, as an event, and into end.json, for those who come later.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "kvm-agent/console.h"
#include "kvm-agent/control.h"
#include "kvm-agent/service.h"

struct service {
	struct serial_line line;
	struct serial_line *mirror;
	struct loop *loop;
	struct control *control;
	struct console *console;
	struct machine *machine;
	void (*quit)(void *arg);
	void *arg;
	const char *name;
	int listener, end, ready, lock, statm;
	int64_t start_ns;
	char trouble[ERR_TEXT_MAX]; /* the last of a device; empty: none */
	const char *state;          /* of the end; NULL: it has not come */
	char cause[ERR_TEXT_MAX];
};

/* ---- the guest's side ---- */

/* On a vCPU's thread, as the next one. */
static void on_output(struct serial_line *line, const uint8_t *data,
		      size_t size)
{
	struct service *service = container_of(line, struct service, line);

	console_put(service->console, data, size);
	if (service->mirror)
		service->mirror->output(service->mirror, data, size);
}

static void on_room(struct serial_line *line)
{
	struct service *service = container_of(line, struct service, line);

	console_input_ready(service->console);
	if (service->mirror)
		service->mirror->room(service->mirror);
}

static size_t on_input(void *arg, const void *data, size_t size)
{
	struct service *service = arg;

	/* The machine is not there yet, or no more: it is held back. */
	if (!service->machine)
		return 0;
	return serial_input(&machine_board(service->machine)->serial, data,
			    size);
}

struct serial_line *service_line(struct service *service)
{
	return &service->line;
}

/* ---- what is asked ---- */

static uint64_t resident_bytes(const struct service *service)
{
	unsigned long long pages;
	char text[128];
	ssize_t n = pread(service->statm, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = 0;
	if (sscanf(text, "%*u %llu", &pages) != 1)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t cpu_ns(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return ((uint64_t)use.ru_utime.tv_sec + (uint64_t)use.ru_stime.tv_sec) *
		       1000000000 +
	       ((uint64_t)use.ru_utime.tv_usec +
		(uint64_t)use.ru_stime.tv_usec) *
		       1000;
}

static void on_status(void *arg, struct control_status *out)
{
	struct service *service = arg;
	struct board *board = machine_board(service->machine);

	const char *waits = machine_waits_for(service->machine);

	*out = (struct control_status){
		.state = machine_state_name(machine_state(service->machine)),
		.cpus = board->options->cpus,
		.memory_bytes = board->options->memory_bytes,
		.resident_bytes = resident_bytes(service),
		.balloon_bytes = balloon_bytes(&board->balloon),
		.uptime_ns =
			(uint64_t)(time_monotonic_ns() - service->start_ns),
		.cpu_ns = cpu_ns(),
	};
	out->has_net = board->options->net.backend;
	if (out->has_net)
		net_count(&board->net, &out->net, &out->net_up);
	if (waits)
		snprintf(out->cause, sizeof(out->cause),
			 "a pause or a reset is under way: %s", waits);
	else
		memcpy(out->cause, service->trouble, sizeof(out->cause));
}

/* A state that does not allow it is the asker's mistake. */
static int as_invalid(int r, struct err *err)
{
	return r == -EBUSY ? err_set(err, -EINVAL, "%s", err->text) : r;
}

static int on_act(void *arg, enum control_action action, struct err *err)
{
	struct service *service = arg;
	struct err why = { 0 };
	int r = 0;

	switch (action) {
	case CONTROL_PAUSE:
		/* service_changed() answers. */
		r = machine_pause(service->machine, &why);
		if (!r)
			return 1;
		break;
	case CONTROL_RESUME:
		r = machine_resume(service->machine, &why);
		if (!r)
			service_changed(service, MACHINE_RUNNING,
					"a client asked for it");
		break;
	case CONTROL_POWER_BUTTON:
		r = machine_press_power_button(service->machine, &why);
		break;
	case CONTROL_RESET:
		r = machine_reset(service->machine, &why);
		break;
	case CONTROL_STOP:
		machine_stop(service->machine);
		service_changed(service, MACHINE_STOPPED,
				"turned off by a client");
		service->quit(service->arg);
		break;
	}
	r = as_invalid(r, &why);
	return r ? err_set(err, r, "%s", why.text) : 0;
}

static int on_balloon(void *arg, uint64_t target_bytes, struct err *err)
{
	struct service *service = arg;
	struct err why = { 0 };
	int r = machine_set_balloon(service->machine, target_bytes, &why);

	r = as_invalid(r, &why);
	return r ? err_set(err, r, "%s", why.text) : 0;
}

static const struct control_ops control_ops = { on_status, on_act, on_balloon };

/* ---- life ---- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int keep_from_children(const struct service_fds *fds)
{
	const int all[] = { fds->control, fds->console, fds->log,
			    fds->end,     fds->ready,   fds->lock };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (all[i] >= 0 && fcntl(all[i], F_SETFD, FD_CLOEXEC) < 0)
			return -errno;
	}
	return 0;
}

static int start(struct service *service, const struct service_fds *fds,
		 struct err *err)
{
	struct console_options console = {
		.listener = fds->console,
		.log = fds->log,
		.input = on_input,
		.arg = service,
	};
	int r = keep_from_children(fds);

	service->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if (!r)
		return console_new(&service->console, service->loop, &console,
				   err);
	close_fd(&console.listener);
	close_fd(&console.log);
	return err_sys(err, r, "a descriptor that was handed over");
}

int service_new(struct service **out, const char *name,
		const struct service_fds *fds, struct loop *loop,
		struct serial_line *mirror, void (*quit)(void *arg), void *arg,
		struct err *err)
{
	struct service *service = calloc(1, sizeof(*service));
	int r;

	if (!service)
		return err_set(err, -ENOMEM, "out of memory");
	service->line = (struct serial_line){ on_output, on_room };
	service->mirror = mirror;
	service->loop = loop;
	service->quit = quit;
	service->arg = arg;
	service->statm = -1;
	service->end = fds->end;
	service->ready = fds->ready;
	service->lock = fds->lock;
	service->start_ns = time_monotonic_ns();
	service->listener = fds->control;
	service->name = name;
	r = start(service, fds, err);
	if (r) {
		service_free(service);
		return r;
	}
	*out = service;
	return 0;
}

int service_connect(struct service *service, struct machine *machine,
		    struct err *err)
{
	int listener = fd_steal(&service->listener);

	service->machine = machine;
	console_input_ready(service->console);
	if (listener < 0)
		return 0;
	return control_new(&service->control, service->loop, listener,
			   service->name, &control_ops, service, err);
}

void service_disconnect(struct service *service)
{
	control_free(service->control);
	service->control = NULL;
	service->machine = NULL;
}

void service_ready(struct service *service)
{
	ssize_t n;

	if (service->ready < 0)
		return;
	/* Who started us may be gone: then nobody waits. */
	do
		n = write(service->ready, "\n", 1);
	while (n < 0 && errno == EINTR);
	close_fd(&service->ready);
}

/* One write, so that who looks meanwhile finds nothing or all of it. */
static void write_end(int end, const char *state, const char *cause)
{
	char safe[ERR_TEXT_MAX];
	json_t *document;
	char *text;

	if (end < 0)
		return;
	document = json_pack("{s:s, s:s}", "state", state, "text",
			     escape_name(safe, sizeof(safe), cause));
	text = document ? json_dumps(document, JSON_COMPACT) : NULL;
	/* On a full disk it reads as what it then is: unknown. */
	if (text)
		(void)!pwrite(end, text, strlen(text), 0);
	free(text);
	json_decref(document);
}

void service_no_start(const struct service_fds *fds, const char *words)
{
	char text[ERR_TEXT_MAX];

	snprintf(text, sizeof(text), "it did not start: %.*s",
		 (int)sizeof(text) - 32, words);
	write_end(fds->end, machine_state_name(MACHINE_STOPPED), text);
}

/* To who asked for a pause. */
static void answer_pause(struct service *service, enum machine_state state)
{
	char words[64];

	if (!service->control)
		return;
	snprintf(words, sizeof(words), "the machine is %s now",
		 machine_state_name(state));
	control_answer(service->control, state == MACHINE_PAUSED ? 0 : -EINVAL,
		       words);
}

void service_changed(struct service *service, enum machine_state state,
		     const char *words)
{
	const bool ended = state == MACHINE_STOPPED || state == MACHINE_CRASHED;

	if (ended && !service->state) {
		/* Its disks are closed after this, and may take their time. */
		service->state = machine_state_name(state);
		snprintf(service->cause, sizeof(service->cause), "%s",
			 words ? words : "the guest powered off");
		words = service->cause;
		write_end(service->end, service->state, service->cause);
	}
	if (service->control)
		control_event(service->control, "state",
			      machine_state_name(state), words);
	answer_pause(service, state);
}

void service_befell(struct service *service, const struct news_item *item)
{
	snprintf(service->trouble, sizeof(service->trouble), "%s %u: %s",
		 item->device, item->instance, item->text);
	if (service->control)
		control_device_event(service->control, item->device,
				     item->instance, item->text);
}

void service_told(struct service *service, enum guest_event event)
{
	const char *state;

	if (!service->control)
		return;
	state = machine_state_name(machine_state(service->machine));
	switch (event) {
	case GUEST_RESET:
		control_event(service->control, "reset", state, NULL);
		break;
	case GUEST_PANICKED:
		control_event(service->control, "panic", state,
			      "the guest's kernel has panicked");
		break;
	case GUEST_CRASH_LOADED:
		control_event(service->control, "panic", state,
			      "the guest's crash kernel takes over");
		break;
	case GUEST_POWER_OFF:
		break;
	}
}

void service_link(struct service *service, bool up, const char *words)
{
	if (service->control)
		control_event(service->control, "net", up ? "up" : "down",
			      words);
}

void service_free(struct service *service)
{
	if (!service)
		return;
	service_disconnect(service);
	console_free(service->console);
	close_fd(&service->listener);
	close_fd(&service->end);
	close_fd(&service->ready);
	close_fd(&service->statm);
	/* Last: who sees it free sees how it ended. */
	close_fd(&service->lock);
	free(service);
}
