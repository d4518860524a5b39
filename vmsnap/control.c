/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said at the control socket: to lines and from lines, no I/O. All that
 * comes in is from a peer who may be anybody of the same user; what is not
 * understood is refused, and nothing is taken over in part.
 */
#include "vmsnap/control.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "format/base/bytes.h"

#define GREETING_TYPE "image-control"
#define VERSION       1

static const char *const do_words[] = {
	[CONTROL_INFO] = "info",
	[CONTROL_SEAL] = "seal",
	[CONTROL_SWAP] = "swap",
};

/* ---- out ---- */

/* Takes the document over; NULL: there was no memory for it. */
static int put_line(struct bytes *out, json_t *document, struct err *err)
{
	char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
	int r = -ENOMEM;

	json_decref(document);
	if (text && strlen(text) >= CONTROL_LINE_MAX)
		r = -EMSGSIZE;
	else if (text)
		r = 0;
	if (!r)
		r = bytes_append(out, text, strlen(text), err);
	if (!r)
		r = bytes_append(out, "\n", 1, err);
	free(text);
	return r ? err_set(err, r, "out of memory for a message") : 0;
}

static json_t *number(uint64_t n)
{
	return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

static json_t *hex_id(const uint8_t id[16])
{
	char hex[33];

	hex_encode(hex, id, 16);
	return json_string(hex);
}

int control_put_greeting(struct bytes *out,
			 const struct control_greeting *greeting,
			 struct err *err)
{
	return put_line(out,
			json_pack("{s:s, s:i, s:o, s:o, s:o}", "type",
				  GREETING_TYPE, "version", VERSION, "image",
				  hex_id(greeting->image), "store",
				  greeting->has_store ? hex_id(greeting->store)
						      : json_null(),
				  "process", number(greeting->process)),
			err);
}

int control_put_request(struct bytes *out, enum control_do what,
			struct err *err)
{
	return put_line(out, json_pack("{s:s}", "do", do_words[what]), err);
}

static json_t *reply_document(enum control_do what,
			      const struct control_reply *reply)
{
	const struct image_info *info = &reply->info;
	char text[ERR_TEXT_MAX];

	if (reply->code)
		return json_pack("{s:b, s:s, s:s}", "ok", 0, "error",
				 err_word(reply->code), "text",
				 escape_name(text, sizeof(text), reply->text));
	switch (what) {
	case CONTROL_INFO:
		return json_pack("{s:b, s:o, s:o, s:o, s:o, s:o, s:b}", "ok", 1,
				 "size_bytes", number(info->size_bytes),
				 "first_layer", number(info->first_layer),
				 "top_layer", number(info->top_layer),
				 "data_bytes", number(info->data_bytes),
				 "file_bytes", number(info->file_bytes),
				 "damaged", info->damaged);
	case CONTROL_SEAL:
		return json_pack("{s:b, s:o}", "ok", 1, "layer",
				 number(reply->layer));
	case CONTROL_SWAP:
		break;
	}
	return json_pack("{s:b}", "ok", 1);
}

int control_put_reply(struct bytes *out, enum control_do what,
		      const struct control_reply *reply, struct err *err)
{
	return put_line(out, reply_document(what, reply), err);
}

/* ---- in ---- */

static json_t *get_object(const char *line, size_t size, struct err *err)
{
	json_t *document = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(document))
		return document;
	json_decref(document);
	err_set(err, -EBADMSG, "a line that is no message");
	return NULL;
}

static bool get_number(const json_t *from, const char *key, uint64_t *out)
{
	const json_t *value = json_object_get(from, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*out = (uint64_t)json_integer_value(value);
	return true;
}

static bool get_id(const json_t *from, const char *key, uint8_t id[16])
{
	const json_t *value = json_object_get(from, key);
	size_t size = json_string_length(value);

	return json_is_string(value) && size == 32 &&
	       hex_decode(id, 16, json_string_value(value), size) == 0;
}

static const char *get_text(const json_t *from, const char *key)
{
	const char *text = json_string_value(json_object_get(from, key));

	return text ? text : "";
}

static int read_greeting(const json_t *document, struct control_greeting *out,
			 struct err *err)
{
	struct control_greeting greeting = { 0 };
	uint64_t version = 0;

	if (strcmp(get_text(document, "type"), GREETING_TYPE) != 0)
		return err_set(err, -EBADMSG,
			       "not a control socket's greeting");
	if (!get_number(document, "version", &version) || version != VERSION)
		return err_set(err, -EOPNOTSUPP,
			       "the server speaks another version: stop it, "
			       "and start it anew");
	greeting.has_store = get_id(document, "store", greeting.store);
	if (!get_id(document, "image", greeting.image) ||
	    (!greeting.has_store &&
	     !json_is_null(json_object_get(document, "store"))) ||
	    !get_number(document, "process", &greeting.process))
		return err_set(err, -EBADMSG, "a greeting that is not whole");
	*out = greeting;
	return 0;
}

int control_get_greeting(const char *line, size_t size,
			 struct control_greeting *out, struct err *err)
{
	json_t *document = get_object(line, size, err);
	int r = document ? read_greeting(document, out, err) : -EBADMSG;

	json_decref(document);
	return r;
}

int control_get_request(const char *line, size_t size, enum control_do *out,
			struct err *err)
{
	json_t *document = get_object(line, size, err);
	int r = -EINVAL;

	if (!document)
		return -EBADMSG;
	for (size_t i = 0; i < ARRAY_SIZE(do_words) && r; i++) {
		if (strcmp(get_text(document, "do"), do_words[i]) != 0)
			continue;
		*out = (enum control_do)i;
		r = 0;
	}
	json_decref(document);
	return r ? err_set(err, r, "an unknown request") : 0;
}

static bool read_numbers(const json_t *document, enum control_do what,
			 struct control_reply *reply)
{
	struct image_info *info = &reply->info;

	switch (what) {
	case CONTROL_INFO:
		info->damaged =
			json_is_true(json_object_get(document, "damaged"));
		return get_number(document, "size_bytes", &info->size_bytes) &&
		       get_number(document, "first_layer",
				  &info->first_layer) &&
		       get_number(document, "top_layer", &info->top_layer) &&
		       get_number(document, "data_bytes", &info->data_bytes) &&
		       get_number(document, "file_bytes", &info->file_bytes);
	case CONTROL_SEAL:
		return get_number(document, "layer", &reply->layer);
	case CONTROL_SWAP:
		break;
	}
	return true;
}

int control_get_reply(const char *line, size_t size, enum control_do what,
		      struct control_reply *out, struct err *err)
{
	json_t *document = get_object(line, size, err);
	const json_t *ok = json_object_get(document, "ok");
	struct control_reply reply = { 0 };
	int r = 0;

	if (!document)
		return -EBADMSG;
	if (json_is_false(ok)) {
		reply.code = err_of_word(get_text(document, "error"));
		escape_name(reply.text, sizeof(reply.text),
			    get_text(document, "text"));
	} else if (!json_is_true(ok) || !read_numbers(document, what, &reply)) {
		r = err_set(err, -EBADMSG, "a reply that is not whole");
	}
	json_decref(document);
	if (!r)
		*out = reply;
	return r;
}
