/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines from peers to actions and back, spec/protocol.md. A line is parsed by
 * jansson into an object and each value checked for its type; what is not
 * understood is answered with an error and changes nothing.
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "format/base/lines.h"
#include "kvm-agent/control.h"
#include "kvm-agent/peer.h"

#define VERSION     1
#define ID_TEXT_MAX 64

struct control {
	struct peers *peers;
	char *name;
	const struct control_ops *ops;
	void *machine;
};

struct client {
	struct peer peer;
	struct lines lines;
	bool wants_events;
};

static const struct {
	const char *word;
	enum control_action action;
} actions[] = {
	{ "pause", CONTROL_PAUSE },
	{ "resume", CONTROL_RESUME },
	{ "power-button", CONTROL_POWER_BUTTON },
	{ "reset", CONTROL_RESET },
	{ "stop", CONTROL_STOP },
};

/* Takes the document over. */
static int send_document(struct peer *peer, json_t *document)
{
	char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
	size_t length = text ? strlen(text) : 0;
	int r = -ENOMEM;

	json_decref(document);
	if (text) {
		text[length] = '\n'; /* in place of the NUL */
		r = peer_send(peer, text, length + 1);
	}
	free(text);
	return r;
}

static json_t *number(uint64_t n)
{
	return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

/* Words for people, in what JSON takes for text. */
static json_t *words(const char *text)
{
	char safe[ERR_TEXT_MAX];

	if (!text || !*text)
		return json_null();
	return json_string(escape_name(safe, sizeof(safe), text));
}

static int greet(struct peer *peer)
{
	struct control *control = peers_owner(peer->peers);
	struct control_status status = { 0 };

	control->ops->status(control->machine, &status);
	return send_document(
		peer, json_pack("{s:s, s:i, s:o, s:I, s:s}", "type",
				"machine-control", "version", VERSION, "name",
				words(control->name), "process",
				(json_int_t)getpid(), "state", status.state));
}

static json_t *net_document(const struct control_status *status)
{
	const struct net_counters *net = &status->net;

	if (!status->has_net)
		return json_null();
	return json_pack("{s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "up",
			 status->net_up, "received_frames",
			 number(net->received_frames), "received_bytes",
			 number(net->received_bytes), "received_dropped",
			 number(net->received_dropped), "sent_frames",
			 number(net->sent_frames), "sent_bytes",
			 number(net->sent_bytes), "sent_dropped",
			 number(net->sent_dropped));
}

static json_t *status_document(struct control *control)
{
	struct control_status status = { 0 };

	control->ops->status(control->machine, &status);
	return json_pack(
		"{s:b, s:s, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "ok", 1,
		"state", status.state, "cause", words(status.cause), "cpus",
		(int)status.cpus, "memory_bytes", number(status.memory_bytes),
		"resident_bytes", number(status.resident_bytes),
		"balloon_bytes", number(status.balloon_bytes), "uptime_ms",
		number(status.uptime_ns / 1000000), "cpu_ms",
		number(status.cpu_ns / 1000000), "net", net_document(&status));
}

static json_t *refusal(int code, const char *text)
{
	return json_pack("{s:b, s:s, s:o}", "ok", 0, "error", err_word(code),
			 "text", words(text));
}

static bool find_action(const char *what, enum control_action *action)
{
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (!strcmp(actions[i].word, what)) {
			*action = actions[i].action;
			return true;
		}
	}
	return false;
}

static int set_balloon(struct control *control, const json_t *request,
		       struct err *err)
{
	const json_t *target = json_object_get(request, "target_bytes");

	if (!json_is_integer(target) || json_integer_value(target) < 1)
		return err_set(err, -EINVAL,
			       "a balloon without a 'target_bytes'");
	return control->ops->balloon(control->machine,
				     (uint64_t)json_integer_value(target), err);
}

/* What is to be answered; NULL: there is no memory. *stop: once that is sent. */
static json_t *answer(struct client *client, const char *what,
		      const json_t *request, bool *stop)
{
	struct control *control = peers_owner(client->peer.peers);
	enum control_action action;
	struct err err = { 0 };
	int r = 0;

	if (!strcmp(what, "status"))
		return status_document(control);
	if (!strcmp(what, "events")) {
		client->wants_events = true;
	} else if (!strcmp(what, "balloon")) {
		r = set_balloon(control, request, &err);
	} else if (!find_action(what, &action)) {
		r = err_set(&err, -EINVAL, "unknown request '%s'", what);
	} else if (action == CONTROL_STOP) {
		*stop = true;
	} else {
		r = control->ops->act(control->machine, action, &err);
	}
	return r < 0 ? refusal(r, err.text) : json_pack("{s:b}", "ok", 1);
}

static bool id_is_good(const json_t *id)
{
	return json_is_integer(id) ||
	       (json_is_string(id) && json_string_length(id) <= ID_TEXT_MAX);
}

static int handle(struct client *client, json_t *request)
{
	struct control *control = peers_owner(client->peer.peers);
	json_t *id = json_object_get(request, "id");
	const char *what = json_string_value(json_object_get(request, "do"));
	json_t *document;
	bool stop = false;
	int r;

	if (id && !id_is_good(id)) {
		id = NULL;
		document = refusal(-EINVAL, "an id is an integer, or a string "
					    "of at most 64 bytes");
	} else if (!what) {
		document = refusal(-EINVAL, "a request without a 'do'");
	} else {
		document = answer(client, what, request, &stop);
	}
	if (document && id)
		json_object_set(document, "id", id);
	r = send_document(&client->peer, document);
	if (stop)
		(void)control->ops->act(control->machine, CONTROL_STOP, NULL);
	return r;
}

static int handle_line(struct client *client, const char *line, size_t size)
{
	json_t *request = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
	int r = -EBADMSG;

	if (json_is_object(request))
		r = handle(client, request);
	json_decref(request);
	return r;
}

static int receive(struct peer *peer, const char *data, size_t size)
{
	struct client *client = container_of(peer, struct client, peer);

	while (size) {
		size_t room, n, length;
		char *to = lines_room(&client->lines, &room);
		const char *line;
		int r;

		n = size < room ? size : room;
		memcpy(to, data, n);
		lines_add(&client->lines, n);
		data += n;
		size -= n;
		while ((r = lines_next(&client->lines, &line, &length)) == 1) {
			r = handle_line(client, line, length);
			if (r < 0)
				return r;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static const struct peers_ops control_peers = {
	.peer_size = sizeof(struct client),
	.greet = greet,
	.receive = receive,
};

int control_new(struct control **out, struct loop *loop, int listener,
		const char *name, const struct control_ops *ops, void *machine,
		struct err *err)
{
	struct control *control = NULL;
	int r = alloc_array(&control, 1, sizeof(*control), err);

	if (!r) {
		control->ops = ops;
		control->machine = machine;
		control->name = strdup(name);
		if (!control->name)
			r = err_set(err, -ENOMEM, "out of memory for a name");
	}
	if (r)
		close(listener);
	else
		r = peers_new(&control->peers, loop, listener,
			      CONTROL_PEERS_MAX, &control_peers, control, err);
	if (r) {
		if (control)
			free(control->name);
		free(control);
		return r;
	}
	*out = control;
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	peers_free(control->peers);
	free(control->name);
	free(control);
}

struct event {
	const char *name, *state, *text;
};

static void send_event(struct peer *peer, void *arg)
{
	const struct client *client = container_of(peer, struct client, peer);
	const struct event *event = arg;

	if (client->wants_events)
		(void)send_document(peer, json_pack("{s:s, s:s, s:o}", "event",
						    event->name, "state",
						    event->state, "text",
						    words(event->text)));
}

void control_event(struct control *control, const char *event,
		   const char *state, const char *text)
{
	struct event told = { event, state, text };

	peers_each(control->peers, send_event, &told);
}
