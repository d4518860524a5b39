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
	bool waits; /* for the answer to the last request */
	json_t *id; /* of that; NULL: it has none */
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

/* As act's; 1 also of a stop, which begins once its reply is sent. */
static int act(struct client *client, const char *what, const json_t *request,
	       struct err *err)
{
	struct control *control = peers_owner(client->peer.peers);
	enum control_action action;

	if (!strcmp(what, "events")) {
		client->wants_events = true;
		return 0;
	}
	if (!strcmp(what, "balloon"))
		return set_balloon(control, request, err);
	if (!find_action(what, &action))
		return err_set(err, -EINVAL, "unknown request '%s'", what);
	return action == CONTROL_STOP
		       ? 0
		       : control->ops->act(control->machine, action, err);
}

static bool id_is_good(const json_t *id)
{
	return json_is_integer(id) ||
	       (json_is_string(id) && json_string_length(id) <= ID_TEXT_MAX);
}

/* Takes the document over. */
static int reply(struct client *client, json_t *id, json_t *document)
{
	if (document && id)
		json_object_set(document, "id", id);
	return send_document(&client->peer, document);
}

static json_t *outcome(int code, const char *text)
{
	return code < 0 ? refusal(code, text) : json_pack("{s:b}", "ok", 1);
}

/* Nothing more is taken from it until control_answer(). */
static int let_wait(struct client *client, json_t *id)
{
	client->waits = true;
	client->id = json_incref(id);
	peer_hold(&client->peer, true);
	return 0;
}

static int handle(struct client *client, json_t *request)
{
	struct control *control = peers_owner(client->peer.peers);
	json_t *id = json_object_get(request, "id");
	const char *what = json_string_value(json_object_get(request, "do"));
	struct err err = { 0 };
	int r;

	if (id && !id_is_good(id))
		return reply(client, NULL,
			     refusal(-EINVAL,
				     "an id is an integer, or a string of at "
				     "most 64 bytes"));
	if (!what)
		return reply(client, id,
			     refusal(-EINVAL, "a request without a 'do'"));
	if (!strcmp(what, "status"))
		return reply(client, id, status_document(control));
	r = act(client, what, request, &err);
	if (r > 0)
		return let_wait(client, id);
	r = reply(client, id, outcome(r, err.text));
	if (!strcmp(what, "stop"))
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

/* Those that are whole, until one has to wait. */
static int handle_lines(struct client *client)
{
	while (!client->waits) {
		const char *line;
		size_t length;
		int r = lines_next(&client->lines, &line, &length);

		if (r == 1)
			r = handle_line(client, line, length);
		else if (r == 0)
			return 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int receive(struct peer *peer, const char *data, size_t size)
{
	struct client *client = container_of(peer, struct client, peer);

	while (size) {
		size_t room, n;
		char *to = lines_room(&client->lines, &room);
		int r;

		/* Of a client that waits no more is taken than came with the
		 * request, and that has room behind it. */
		if (!room)
			return -EMSGSIZE;
		n = size < room ? size : room;
		memcpy(to, data, n);
		lines_add(&client->lines, n);
		data += n;
		size -= n;
		r = handle_lines(client);
		if (r < 0)
			return r;
	}
	return 0;
}

static void gone(struct peer *peer)
{
	json_decref(container_of(peer, struct client, peer)->id);
}

static const struct peers_ops control_peers = {
	.peer_size = sizeof(struct client),
	.greet = greet,
	.receive = receive,
	.gone = gone,
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

struct answer {
	int code;
	const char *text;
};

/* And what it sent meanwhile. */
static void answer_one(struct peer *peer, void *arg)
{
	struct client *client = container_of(peer, struct client, peer);
	const struct answer *answer = arg;
	json_t *id = client->id;
	int r;

	if (!client->waits)
		return;
	client->waits = false;
	client->id = NULL;
	peer_hold(peer, false);
	r = reply(client, id, outcome(answer->code, answer->text));
	json_decref(id);
	if (r == 0 && handle_lines(client) < 0)
		peer_hang_up(peer);
}

void control_answer(struct control *control, int code, const char *text)
{
	struct answer answer = { code, text };

	peers_each(control->peers, answer_one, &answer);
}

static void send_event(struct peer *peer, void *arg)
{
	const struct client *client = container_of(peer, struct client, peer);

	if (client->wants_events)
		(void)send_document(peer, json_incref(arg));
}

/* Takes the document over. */
static void spread(struct control *control, json_t *document)
{
	/* Without memory it is lost to all. */
	if (document)
		peers_each(control->peers, send_event, document);
	json_decref(document);
}

void control_event(struct control *control, const char *event,
		   const char *state, const char *text)
{
	spread(control, json_pack("{s:s, s:s, s:o}", "event", event, "state",
				  state, "text", words(text)));
}

void control_device_event(struct control *control, const char *device,
			  unsigned instance, const char *text)
{
	spread(control, json_pack("{s:s, s:s, s:i, s:o}", "event", "device",
				  "device", device, "instance", (int)instance,
				  "text", words(text)));
}
