/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket of an image that is served: what the lines say, and both
 * ends. spec/control.md. Private.
 */
#ifndef VMSNAP_CONTROL_H
#define VMSNAP_CONTROL_H

#include "format/base/lines.h"
#include "vmsnap/engine.h"

#define CONTROL_LINE_MAX LINES_MAX

/* ---- control.c: messages, no I/O ---- */

struct control_greeting {
	uint8_t image[16];
	bool has_store;
	uint8_t store[16];
	uint64_t process;
};

enum control_do {
	CONTROL_INFO,
	CONTROL_SEAL,
	CONTROL_SWAP,
};

struct control_reply {
	int code; /* 0, or -errno with words */
	char text[ERR_TEXT_MAX];
	uint64_t layer;         /* of a seal */
	struct image_info info; /* of an info; without id and base */
};

/* Lines, with their LF, to the end of `out`. -ENOMEM. */
int control_put_greeting(struct bytes *out,
			 const struct control_greeting *greeting,
			 struct err *err);
int control_put_request(struct bytes *out, enum control_do what,
			struct err *err);
int control_put_reply(struct bytes *out, enum control_do what,
		      const struct control_reply *reply, struct err *err);

/* Of a line without its LF. -EBADMSG: it is none. -EINVAL: an unknown request.
 * -EOPNOTSUPP: another version. A reply that says no is read as well. */
int control_get_greeting(const char *line, size_t size,
			 struct control_greeting *out, struct err *err);
int control_get_request(const char *line, size_t size, enum control_do *out,
			struct err *err);
int control_get_reply(const char *line, size_t size, enum control_do what,
		      struct control_reply *out, struct err *err);

/* ---- control_socket.c ---- */

/* The socket of the image at `path`: bound and listening, or connected; a
 * descriptor. bind removes one that is there: the caller has the lock. */
int control_bind(const char *path, struct err *err);
/* -ETIMEDOUT: nobody accepts, for 10 s. */
int control_connect_to(const char *path, struct err *err);
void control_unbind(const char *path);
/* All of it, without SIGPIPE. */
int control_send(int fd, const struct bytes *bytes);

/* ---- control_client.c ---- */

struct control_client;
/* -ENOENT, -ECONNREFUSED: nobody serves it. -ESTALE: another image. */
int control_open(struct control_client **out, const char *path,
		 const uint8_t image[16], struct err *err);
void control_close(struct control_client *client); /* NULL is ignored */
const struct control_greeting *control_greeting(
	const struct control_client *client);
/* One request and its reply: the reply's code. -ECONNRESET: the server is gone,
 * and whether it was done is not known. -ECANCELED: `progress` said stop. */
int control_ask(struct control_client *client, enum control_do what,
		struct vms_progress *progress, struct control_reply *reply,
		struct err *err);

#endif
