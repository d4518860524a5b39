/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages. Before jansson sees a line its brackets and commas are counted:
 * a reply of some keys has few of them, and what a guest may send otherwise
 * would cost many times its own length.
 */
#include "vmsnap/guest_agent.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base64.h"

#define DELIMITER  0xff
#define TOKENS_MAX 256u
#define DEPTH_MAX  8u

/* ---- to the agent ---- */

/* Takes the document over; it is NULL where memory was short. */
static int put(struct bytes *out, json_t *document, struct err *err)
{
	char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
	int r = -ENOMEM;

	if (text)
		r = bytes_append(out, text, strlen(text), err);
	else
		err_set(err, r, "out of memory for a request");
	if (!r)
		r = bytes_append(out, "\n", 1, err);
	free(text);
	json_decref(document);
	return r;
}

int guest_agent_put_sync(struct bytes *out, uint32_t id, struct err *err)
{
	const uint8_t delimiter = DELIMITER;
	int r = bytes_append(out, &delimiter, 1, err);

	if (r < 0)
		return r;
	return put(out,
		   json_pack("{s:s, s:{s:I}}", "execute",
			     "guest-sync-delimited", "arguments", "id",
			     (json_int_t)id),
		   err);
}

static int put_words(json_t *list, const char *const *words, struct err *err)
{
	for (; *words; words++) {
		if (json_array_append_new(list, json_string(*words)) < 0) {
			char quoted[256];

			return err_set(
				err, -EINVAL,
				"'%s': the guest's agent takes words in "
				"UTF-8 only",
				escape_name(quoted, sizeof(quoted), *words));
		}
	}
	return 0;
}

static int put_input(json_t *arguments, const struct vms_command *command,
		     struct err *err)
{
	struct bytes text = { 0 };
	int r = 0;

	if (!command->input_size)
		return 0;
	r = base64_put(&text, command->input, command->input_size, err);
	if (!r && json_object_set_new(
			  arguments, "input-data",
			  json_stringn((const char *)text.data, text.size)) < 0)
		r = err_set(err, -ENOMEM, "out of memory for the input");
	bytes_release(&text);
	return r;
}

int guest_agent_put_command(struct bytes *out,
			    const struct vms_command *command, struct err *err)
{
	json_t *list = json_array();
	json_t *arguments =
		json_pack("{s:b, s:o}", "capture-output", 1, "arg", list);
	json_t *path = json_array();
	const char *const program[] = { command->words[0], NULL };
	int r = put_words(path, program, err);

	if (!r)
		r = put_words(list, command->words + 1, err);
	if (!r &&
	    json_object_set(arguments, "path", json_array_get(path, 0)) < 0)
		r = err_set(err, -ENOMEM, "out of memory for a request");
	if (!r)
		r = put_input(arguments, command, err);
	if (!r)
		r = put(out,
			json_pack("{s:s, s:O}", "execute", "guest-exec",
				  "arguments", arguments),
			err);
	json_decref(path);
	json_decref(arguments);
	return r;
}

int guest_agent_put_look(struct bytes *out, uint64_t process, struct err *err)
{
	return put(out,
		   json_pack("{s:s, s:{s:I}}", "execute", "guest-exec-status",
			     "arguments", "pid", (json_int_t)process),
		   err);
}

/* ---- from it ---- */

static bool is_simple(const char *line, size_t size)
{
	unsigned tokens = 0, depth = 0;
	bool in_text = false;

	for (size_t i = 0; i < size; i++) {
		switch (line[i]) {
		case '"':
			in_text = !in_text;
			break;
		case '\\':
			i += in_text;
			break;
		case '{':
		case '[':
			depth += !in_text;
			tokens += !in_text;
			break;
		case '}':
		case ']':
			depth -= !in_text && depth;
			break;
		case ',':
		case ':':
			tokens += !in_text;
			break;
		default:
			break;
		}
		if (tokens > TOKENS_MAX || depth > DEPTH_MAX)
			return false;
	}
	return true;
}

static int no_reply(struct err *err, const char *what)
{
	return err_set(err, -EPROTO, "the guest's agent sent what is no %s",
		       what);
}

/* What the agent says instead of a reply. */
static int refusal(const json_t *error, struct err *err)
{
	const char *kind = json_string_value(json_object_get(error, "class"));
	const char *text = json_string_value(json_object_get(error, "desc"));
	char safe[ERR_TEXT_MAX / 2];

	escape_name(safe, sizeof(safe), text ? text : "it refused");
	if (kind && !strcmp(kind, "CommandNotFound"))
		return err_set(err, -EOPNOTSUPP,
			       "the guest's agent runs no commands: %s", safe);
	return err_set(err, -EIO, "the guest's agent: %s", safe);
}

/* The reply's value in *out, the document that holds it in *document. */
static int parse(const char *line, size_t size, const char *what,
		 json_t **document, json_t **out, struct err *err)
{
	const json_t *error;
	json_t *root = NULL;
	int r = 0;

	if (is_simple(line, size))
		root = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
	error = json_object_get(root, "error");
	*out = json_object_get(root, "return");
	if (json_is_object(error))
		r = refusal(error, err);
	else if (!*out)
		r = no_reply(err, what);
	if (r < 0)
		json_decref(root);
	else
		*document = root;
	return r;
}

int guest_agent_get_sync(const char *line, size_t size, uint32_t *id,
			 struct err *err)
{
	json_t *document, *value;
	json_int_t number;
	int r = parse(line, size, "answer to a sync", &document, &value, err);

	if (r < 0)
		return r;
	number = json_is_integer(value) ? json_integer_value(value) : -1;
	if (number < 0 || number > UINT32_MAX)
		r = no_reply(err, "answer to a sync");
	else
		*id = (uint32_t)number;
	json_decref(document);
	return r;
}

int guest_agent_get_command(const char *line, size_t size, uint64_t *process,
			    struct err *err)
{
	json_t *document, *value;
	json_int_t number;
	int r = parse(line, size, "process", &document, &value, err);

	if (r < 0)
		return r;
	number = json_integer_value(json_object_get(value, "pid"));
	if (number <= 0)
		r = no_reply(err, "process");
	else
		*process = (uint64_t)number;
	json_decref(document);
	return r;
}

static int get_stream(const json_t *value, const char *data_key,
		      const char *cut_key, struct bytes *out, bool *cut,
		      struct err *err)
{
	const json_t *data = json_object_get(value, data_key);
	const json_t *is_cut = json_object_get(value, cut_key);
	int r = 0;

	if ((data && !json_is_string(data)) ||
	    (is_cut && !json_is_boolean(is_cut)))
		return no_reply(err, "output");
	if (data)
		r = base64_get(out, json_string_value(data),
			       json_string_length(data), err);
	if (r == -EBADMSG)
		return err_set(err, -EPROTO,
			       "the guest's agent sent a broken '%s'",
			       data_key);
	if (r < 0)
		return r;
	*cut = json_is_true(is_cut);
	return 0;
}

/* An exit status or a signal, one of them. */
static int get_end(const json_t *value, struct vms_command_result *out,
		   struct err *err)
{
	const json_t *status = json_object_get(value, "exitcode");
	const json_t *killer = json_object_get(value, "signal");
	const json_int_t number = json_integer_value(killer ? killer : status);

	if (killer) {
		if (!json_is_integer(killer) || number < 1 || number > 127)
			return no_reply(err, "signal");
		out->killer = (int)number;
		return 0;
	}
	if (!json_is_integer(status) || number < 0 || number > INT32_MAX)
		return no_reply(err, "exit status");
	out->status = (int)number;
	return 0;
}

int guest_agent_get_look(const char *line, size_t size,
			 struct guest_agent_look *out, struct err *err)
{
	struct guest_agent_look look = { 0 };
	struct vms_command_result *result = &look.result;
	json_t *document, *value;
	int r = parse(line, size, "state of a process", &document, &value, err);

	if (r < 0)
		return r;
	if (!json_is_boolean(json_object_get(value, "exited")))
		r = no_reply(err, "state of a process");
	look.ended = json_is_true(json_object_get(value, "exited"));
	if (!r && look.ended)
		r = get_end(value, result, err);
	if (!r && look.ended)
		r = get_stream(value, "out-data", "out-truncated",
			       &result->output, &result->output_cut, err);
	if (!r && look.ended)
		r = get_stream(value, "err-data", "err-truncated",
			       &result->error, &result->error_cut, err);
	if (r < 0)
		vms_command_result_release(result);
	else
		*out = look;
	json_decref(document);
	return r;
}
