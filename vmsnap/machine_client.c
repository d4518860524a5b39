/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks a machine: what its files say, and what its agent answers at the
 * control socket. An agent is not trusted: a guest may have taken it over. What
 * it sends is bounded, checked for its type, and waited for with a limit.
 */
#include "vmsnap/machine_home.h"
#include "vmsnap/machine_limits.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "vmsnap/control.h"
#include "vmsnap/machine_description.h"

#define ANSWER_MS 10000

static const char *const action_words[] = {
	[VMS_MACHINE_PAUSE] = "pause",
	[VMS_MACHINE_RESUME] = "resume",
	[VMS_MACHINE_POWER_BUTTON] = "power-button",
	[VMS_MACHINE_RESET] = "reset",
	[VMS_MACHINE_STOP] = "stop",
};

static const char *const state_words[] = { "created", "running", "paused",
					   "saving",  "stopped", "crashed" };

struct client {
	int fd;
	int64_t until_ns;
	struct lines lines;
};

static int no_answer(const char *name, struct err *err)
{
	return err_set(err, -ETIMEDOUT,
		       "the agent of machine '%s' does not answer: 'vmsnap "
		       "stop --force %s' ends it",
		       name, name);
}

int machine_not_running(const char *name, struct err *err)
{
	return err_set(err, -ESRCH,
		       "machine '%s' is not running: 'vmsnap ps' says how it "
		       "ended, 'vmsnap run %s' starts it",
		       name, name);
}

static int take_some(struct client *client, const char *name, struct err *err)
{
	int64_t left = client->until_ns - time_monotonic_ns();
	struct pollfd look = { client->fd, POLLIN, 0 };
	size_t room;
	char *to = lines_room(&client->lines, &room);
	ssize_t n;

	if (left <= 0)
		return no_answer(name, err);
	if (poll(&look, 1, (int)(left / 1000000) + 1) <= 0)
		return 0;
	n = recv(client->fd, to, room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return machine_not_running(name, err);
	lines_add(&client->lines, (size_t)n);
	return 0;
}

/* The next object that is no event; NULL with words. */
static json_t *next_object(struct client *client, const char *name,
			   struct err *err)
{
	for (;;) {
		const char *line;
		size_t size;
		json_t *object;
		int r = lines_next(&client->lines, &line, &size);

		if (!r) {
			if (take_some(client, name, err) < 0)
				return NULL;
			continue;
		}
		object = r == 1 ? json_loadb(line, size, JSON_REJECT_DUPLICATES,
					     NULL)
				: NULL;
		if (!json_is_object(object)) {
			json_decref(object);
			err_set(err, -EBADMSG,
				"the agent of machine '%s' sent what is no "
				"message",
				name);
			return NULL;
		}
		if (!json_object_get(object, "event"))
			return object;
		json_decref(object);
	}
}

int machine_connect(const char *home, const char *name, const char *socket,
		    struct err *err)
{
	char path[PATH_MAX];
	int r = machine_path(home, name, socket, path, err);

	if (r)
		return r;
	r = control_connect_to(path, err);
	if (r == -ENOENT || r == -ECONNREFUSED)
		r = machine_not_running(name, err);
	return r;
}

/* Connected and greeted; the greeting's process. */
static int open_client(struct client *client, const char *home,
		       const char *name, uint64_t *process, struct err *err)
{
	const char *type;
	json_t *greeting;
	int r = 0;

	memset(&client->lines, 0, sizeof(client->lines));
	client->until_ns = time_monotonic_ns() + ANSWER_MS * 1000000LL;
	client->fd = machine_connect(home, name, "control", err);
	if (client->fd < 0)
		return client->fd;
	greeting = next_object(client, name, err);
	if (!greeting) {
		r = err ? err->code : -EIO;
	} else {
		type = json_string_value(json_object_get(greeting, "type"));
		if (!type || strcmp(type, "machine-control") != 0 ||
		    json_integer_value(json_object_get(greeting, "version")) !=
			    1)
			r = err_set(err, -EOPNOTSUPP,
				    "the agent of machine '%s' speaks another "
				    "version: stop it with the vmsnap that "
				    "started it",
				    name);
		*process = (uint64_t)json_integer_value(
			json_object_get(greeting, "process"));
	}
	json_decref(greeting);
	if (r) {
		close(client->fd);
		client->fd = -1;
	}
	return r;
}

/* The code of a refusal, with the agent's words. */
static int refusal(const json_t *reply, const char *name, struct err *err)
{
	const char *word = json_string_value(json_object_get(reply, "error"));
	const char *text = json_string_value(json_object_get(reply, "text"));
	char safe[ERR_TEXT_MAX];

	return err_set(
		err, err_of_word(word), "machine '%s': %s", name,
		escape_name(safe, sizeof(safe), text ? text : "it refused"));
}

/* The reply, when it says ok; NULL with words. */
static json_t *ask(struct client *client, const char *name, const char *what,
		   struct err *err)
{
	char request[64];
	int size =
		snprintf(request, sizeof(request), "{\"do\":\"%s\"}\n", what);
	json_t *reply;

	if (send(client->fd, request, (size_t)size, MSG_NOSIGNAL) != size) {
		machine_not_running(name, err);
		return NULL;
	}
	reply = next_object(client, name, err);
	if (reply && !json_is_true(json_object_get(reply, "ok"))) {
		refusal(reply, name, err);
		json_decref(reply);
		return NULL;
	}
	return reply;
}

/* ---- status ---- */

static uint64_t number_of(const json_t *reply, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(reply, key));

	return value < 0 ? 0 : (uint64_t)value;
}

static bool take_state(const json_t *reply, char state[16])
{
	const char *word = json_string_value(json_object_get(reply, "state"));

	for (size_t i = 0; word && i < ARRAY_SIZE(state_words); i++) {
		if (!strcmp(word, state_words[i])) {
			memcpy(state, state_words[i],
			       strlen(state_words[i]) + 1);
			return true;
		}
	}
	return false;
}

static int ask_status(const char *home, const char *name,
		      struct vms_machine_status *out, struct err *err)
{
	struct client client;
	const char *cause;
	json_t *reply;
	int r = open_client(&client, home, name, &out->process, err);

	if (r)
		return r;
	reply = ask(&client, name, "status", err);
	close(client.fd);
	if (!reply)
		return err->code;
	if (take_state(reply, out->state)) {
		cause = json_string_value(json_object_get(reply, "cause"));
		escape_name(out->cause, sizeof(out->cause), cause ? cause : "");
		out->alive = true;
		out->cpus = (unsigned)number_of(reply, "cpus");
		out->memory_bytes = number_of(reply, "memory_bytes");
		out->resident_bytes = number_of(reply, "resident_bytes");
		out->uptime_ms = number_of(reply, "uptime_ms");
		out->cpu_ms = number_of(reply, "cpu_ms");
	} else {
		r = err_set(err, -EBADMSG,
			    "the agent of machine '%s' sent what is no state",
			    name);
	}
	json_decref(reply);
	return r;
}

/* From what the last agent left behind. */
static void look_at_end(int directory, const char *name,
			struct vms_machine_status *out)
{
	autofree char *text = NULL;
	struct err err;
	ssize_t size =
		machine_read_file(directory, "end.json", 8192, &text, &err);

	if (size == -ENOENT) {
		strcpy(out->state, "created");
		return;
	}
	if (size > 0 &&
	    !machine_end_get(text, (size_t)size, out->state, out->cause, NULL))
		return;
	strcpy(out->state, "crashed");
	snprintf(out->cause, sizeof(out->cause), "%s",
		 machine_group_ran_out(directory, name)
			 ? MACHINE_RAN_OUT
			 : "its agent, or the host, went down with it");
}

/* No agent, or one that says nothing: from the files alone. */
static int look(const char *home, const char *name, int directory,
		struct vms_machine_status *out, struct err *err)
{
	struct vms_machine machine = { 0 };
	struct err why;
	int r = vms_machine_load(home, name, &machine, &why);

	out->cpus = machine.cpus;
	out->memory_bytes = machine.memory_bytes;
	vms_machine_release(&machine);
	/* Its directory has gone. */
	if (r == -ENOENT)
		return err_set(err, r, "%s", why.text);
	if (r) {
		strcpy(out->state, "damaged");
		memcpy(out->cause, why.text, sizeof(out->cause));
		return 0;
	}
	look_at_end(directory, name, out);
	return 0;
}

int vms_machine_status(const char *home, const char *name,
		       struct vms_machine_status *out, struct err *err)
{
	autofd int directory = machine_open(home, name, err);
	struct err why;
	int r;

	memset(out, 0, sizeof(*out));
	if (directory < 0)
		return directory;
	/* One that ends while it is asked is looked at once more. */
	for (int tries = 0;; tries++) {
		r = machine_is_locked(directory, err);
		if (r < 0)
			return r;
		if (!r)
			return look(home, name, directory, out, err);
		r = ask_status(home, name, out, &why);
		if (r != -ESRCH || tries == 20)
			break;
		usleep(10000);
	}
	if (!r)
		return 0;
	/* One that is ending answers no more, and has said how it ended. */
	if (r == -ESRCH && look(home, name, directory, out, err) == 0)
		return 0;
	strcpy(out->state, "silent");
	memcpy(out->cause, why.text, sizeof(out->cause));
	out->alive = true;
	return 0;
}

/* ---- the rest ---- */

/* It took too long; the agent may answer others, and say what it waits for. */
static int still_pausing(const char *home, const char *name, struct err *err)
{
	struct vms_machine_status status = { 0 };
	struct err why;

	if (ask_status(home, name, &status, &why) < 0)
		return err_set(err, why.code, "%s", why.text);
	if (!strcmp(status.state, "paused"))
		return 0;
	return err_set(err, -ETIMEDOUT,
		       "machine '%s' is not paused yet%s%s; 'vmsnap resume %s' "
		       "takes it back",
		       name, *status.cause ? ": " : "", status.cause, name);
}

int vms_machine_act(const char *home, const char *name,
		    enum vms_machine_action action, struct err *err)
{
	autofd int directory = machine_open(home, name, err);
	struct client client;
	struct err why;
	uint64_t process;
	json_t *reply;
	int r;

	if (directory < 0)
		return directory;
	r = open_client(&client, home, name, &process, err);
	if (r)
		return r;
	reply = ask(&client, name, action_words[action], &why);
	close(client.fd);
	json_decref(reply);
	if (reply)
		return 0;
	if (why.code == -ETIMEDOUT && action == VMS_MACHINE_PAUSE)
		return still_pausing(home, name, err);
	return err_set(err, why.code, "%s", why.text);
}

int vms_machine_wait(const char *home, const char *name, uint64_t timeout_ms,
		     struct err *err)
{
	int64_t until = time_monotonic_ns() + (int64_t)timeout_ms * 1000000;
	autofd int directory = machine_open(home, name, err);

	if (directory < 0)
		return directory;
	for (;;) {
		int r = machine_is_locked(directory, err);

		if (r == 0)
			machine_group_remove(directory, name);
		if (r <= 0)
			return r;
		if (time_monotonic_ns() >= until)
			return err_set(err, -ETIMEDOUT,
				       "machine '%s' still runs", name);
		usleep(20000);
	}
}

int vms_machine_console(const char *home, const char *name, struct err *err)
{
	autofd int directory = machine_open(home, name, err);

	return directory < 0 ? directory
			     : machine_connect(home, name, "console", err);
}
