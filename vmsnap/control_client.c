/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks at an image's control socket. The wait for a reply may be long (a
 * seal makes durable what was written), and ends when the caller says so. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "format/base/bytes.h"
#include "vmsnap/control.h"

#define LOOK_MS        100  /* at `stop` */
#define GREETING_TRIES 100u /* looks until a server counts as stuck */

struct control_client {
	int fd;
	struct control_greeting greeting;
	struct lines lines;
};

/* 1: there is something; 0: not within LOOK_MS. */
static int look(struct control_client *client)
{
	struct pollfd poll_fd = { .fd = client->fd, .events = POLLIN };
	int r = poll(&poll_fd, 1, LOOK_MS);

	return r < 0 ? errno == EINTR ? 0 : -errno : r;
}

static int take_some(struct control_client *client)
{
	size_t size;
	char *room = lines_room(&client->lines, &size);
	ssize_t n = recv(client->fd, room, size, 0);

	if (n < 0)
		return errno == EINTR ? 0 : -ECONNRESET;
	if (!n)
		return -ECONNRESET;
	lines_add(&client->lines, (size_t)n);
	return 0;
}

/* tries 0: as long as it takes. */
static int read_line(struct control_client *client, unsigned tries,
		     const struct vms_progress *progress, const char **line,
		     size_t *size, struct err *err)
{
	for (unsigned looks = 0;;) {
		int r = lines_next(&client->lines, line, size);

		if (r == 1)
			return 0;
		if (r < 0)
			return err_set(err, -EBADMSG,
				       "the server sent a line that is too "
				       "long");
		r = progress_check(progress, err);
		if (r)
			return r;
		r = look(client);
		if (r > 0)
			r = take_some(client);
		else if (!r && tries && ++looks == tries)
			return err_set(err, -EBUSY,
				       "the program that serves it does not "
				       "answer");
		if (r < 0)
			return err_set(err, r,
				       "the program that serves the image has "
				       "ended");
	}
}

static int greet(struct control_client *client, const uint8_t image[16],
		 struct err *err)
{
	const char *line;
	size_t size;
	int r = read_line(client, GREETING_TRIES, NULL, &line, &size, err);

	if (!r)
		r = control_get_greeting(line, size, &client->greeting, err);
	if (!r && memcmp(client->greeting.image, image, 16) != 0)
		r = err_set(err, -ESTALE, "its socket is another image's");
	return r;
}

int control_open(struct control_client **out, const char *path,
		 const uint8_t image[16], struct err *err)
{
	struct control_client *client = NULL;
	int r = alloc_array(&client, 1, sizeof(*client), err);

	if (r)
		return r;
	client->fd = control_connect_to(path, err);
	r = client->fd < 0 ? client->fd : greet(client, image, err);
	if (r) {
		control_close(client);
		return r;
	}
	*out = client;
	return 0;
}

void control_close(struct control_client *client)
{
	if (!client)
		return;
	if (client->fd >= 0)
		close(client->fd);
	free(client);
}

const struct control_greeting *control_greeting(
	const struct control_client *client)
{
	return &client->greeting;
}

int control_ask(struct control_client *client, enum control_do what,
		struct vms_progress *progress, struct control_reply *reply,
		struct err *err)
{
	struct bytes request = { 0 };
	const char *line;
	size_t size;
	int r = control_put_request(&request, what, err);

	if (!r && control_send(client->fd, &request))
		r = err_set(err, -ECONNRESET,
			    "the program that serves the image has ended");
	bytes_release(&request);
	if (!r)
		r = read_line(client, 0, progress, &line, &size, err);
	if (!r)
		r = control_get_reply(line, size, what, reply, err);
	if (!r && reply->code)
		r = err_set(err, reply->code, "%s", reply->text);
	return r;
}
