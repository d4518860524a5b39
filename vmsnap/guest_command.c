/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command in a guest: find the agent's attention, start it, ask how it is
 * until it has ended. The agent tells nothing by itself, so it is asked, at
 * first often and then twice a second. Every wait has a limit: a guest that
 * sends for ever is one that does not answer.
 */
#include "vmsnap/guest_agent.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#define ANSWER_NS    10000000000LL
#define LOOK_FIRST   10000000LL
#define LOOK_LAST    500000000LL
#define DELIMITER    0xff
#define RECEIVE_SIZE (64u * 1024)

struct talk {
	int fd;
	int64_t end_ns;   /* of all of it; INT64_MAX: never */
	int64_t until_ns; /* of the answer at hand */
	int64_t more_ns;  /* that it gets with each byte that comes; or 0 */
	bool heard;       /* anything at all */
	struct bytes in;  /* what came, and was not used */
};

/* ---- waiting ---- */

static int no_answer(struct err *err)
{
	return err_set(err, -ETIMEDOUT,
		       "no guest agent answers: install and start "
		       "qemu-guest-agent in the guest, or give a guest that "
		       "is starting more time by --timeout");
}

static int went_away(const struct talk *talk, struct err *err)
{
	return talk->heard ? err_set(err, -ECONNRESET,
				     "the guest agent's port has closed: the "
				     "machine has ended")
			   : err_set(err, -EBUSY,
				     "another one talks to the guest's agent");
}

/* Until the socket is ready for it, or the limit. */
static int wait_for(struct talk *talk, short events, struct err *err)
{
	for (;;) {
		int64_t left = talk->until_ns - time_monotonic_ns();
		struct pollfd look = { talk->fd, events, 0 };
		int r;

		if (left <= 0)
			return no_answer(err);
		left = left / 1000000 + 1;
		r = poll(&look, 1, left > 60000 ? 60000 : (int)left);
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return err_sys(err, -errno, "the guest's agent");
	}
}

/* No more than there is for all. */
static void limit(struct talk *talk, int64_t ns)
{
	const int64_t now = time_monotonic_ns();

	talk->until_ns = talk->end_ns - ns < now ? talk->end_ns : now + ns;
}

/* Of what was asked for. One that is on its way is waited for: a guest may be
 * slow and its answer long. */
static void start_answer(struct talk *talk)
{
	const bool has_end = talk->end_ns != INT64_MAX;

	talk->more_ns = has_end ? 0 : ANSWER_NS;
	limit(talk, has_end ? INT64_MAX / 2 : ANSWER_NS);
}

/* ---- bytes ---- */

static int say(struct talk *talk, const struct bytes *bytes, struct err *err)
{
	size_t done = 0;

	while (done < bytes->size) {
		ssize_t n;
		int r = wait_for(talk, POLLOUT, err);

		if (r < 0)
			return r;
		n = send(talk->fd, bytes->data + done, bytes->size - done,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return went_away(talk, err);
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Some more, behind what is there already. */
static int hear(struct talk *talk, struct err *err)
{
	ssize_t n;
	int r = bytes_reserve(&talk->in, RECEIVE_SIZE, err);

	if (!r)
		r = wait_for(talk, POLLIN, err);
	if (r < 0)
		return r;
	n = recv(talk->fd, talk->in.data + talk->in.size, RECEIVE_SIZE,
		 MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return went_away(talk, err);
	talk->heard = true;
	if (talk->more_ns)
		limit(talk, talk->more_ns);
	talk->in.size += (size_t)n;
	return 0;
}

static void drop(struct talk *talk, size_t size)
{
	talk->in.size -= size;
	memmove(talk->in.data, talk->in.data + size, talk->in.size);
}

/* The next line is whole; its size without the LF. */
static int hear_line(struct talk *talk, size_t max, size_t *size,
		     struct err *err)
{
	size_t seen = 0;

	for (;;) {
		const uint8_t *end =
			talk->in.size > seen
				? memchr(talk->in.data + seen, '\n',
					 talk->in.size - seen)
				: NULL;
		int r;

		if (end) {
			*size = (size_t)(end - talk->in.data);
			return 0;
		}
		seen = talk->in.size;
		if (seen > max)
			return err_set(err, -EPROTO,
				       "the guest's agent sent a line of more "
				       "than %zu bytes",
				       max);
		r = hear(talk, err);
		if (r < 0)
			return r;
	}
}

/* ---- the conversation ---- */

/* What came before the next delimiter is for somebody else. */
static int skip_to_delimiter(struct talk *talk, struct err *err)
{
	for (;;) {
		const uint8_t *found =
			talk->in.size ? memchr(talk->in.data, DELIMITER,
					       talk->in.size)
				      : NULL;
		int r;

		if (found) {
			drop(talk, (size_t)(found - talk->in.data) + 1);
			return 0;
		}
		talk->in.size = 0;
		r = hear(talk, err);
		if (r < 0)
			return r;
	}
}

/* Until the answer to our own sync has come. */
static int hear_sync(struct talk *talk, uint32_t id, struct err *err)
{
	for (;;) {
		uint32_t got = ~id;
		size_t size;
		int r = skip_to_delimiter(talk, err);

		if (!r)
			r = hear_line(talk, GUEST_AGENT_LINE_MAX, &size, err);
		if (r == -EPROTO)
			continue;
		if (r < 0)
			return r;
		r = guest_agent_get_sync((const char *)talk->in.data, size,
					 &got, NULL);
		/* One that is none may have the delimiter in it. */
		if (!r || r == -EOPNOTSUPP || r == -EIO)
			drop(talk, size + 1);
		if (!r && got == id)
			return 0;
	}
}

static int sync_agent(struct talk *talk, struct err *err)
{
	struct bytes request = { 0 };
	uint32_t id;
	int r = 0;

	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		r = err_sys(err, -errno, "random numbers");
	if (!r)
		r = guest_agent_put_sync(&request, id, err);
	if (!r)
		r = say(talk, &request, err);
	if (!r)
		r = hear_sync(talk, id, err);
	bytes_release(&request);
	return r;
}

static int start(struct talk *talk, const struct vms_command *command,
		 uint64_t *process, struct err *err)
{
	struct bytes request = { 0 };
	size_t size;
	int r = guest_agent_put_command(&request, command, err);

	start_answer(talk);
	if (!r)
		r = say(talk, &request, err);
	bytes_release(&request);
	if (!r)
		r = hear_line(talk, GUEST_AGENT_LINE_MAX, &size, err);
	if (!r)
		r = guest_agent_get_command((const char *)talk->in.data, size,
					    process, err);
	if (!r)
		drop(talk, size + 1);
	return r;
}

static int look(struct talk *talk, uint64_t process,
		struct guest_agent_look *out, struct err *err)
{
	struct bytes request = { 0 };
	size_t size;
	int r = guest_agent_put_look(&request, process, err);

	start_answer(talk);
	if (!r)
		r = say(talk, &request, err);
	bytes_release(&request);
	if (!r)
		r = hear_line(talk, GUEST_AGENT_OUTPUT_MAX, &size, err);
	if (!r)
		r = guest_agent_get_look((const char *)talk->in.data, size, out,
					 err);
	if (!r)
		drop(talk, size + 1);
	return r;
}

/* Nothing is to come meanwhile, but the end. */
static int pause_between(struct talk *talk, int64_t ns, struct err *err)
{
	int r;

	talk->more_ns = 0;
	limit(talk, ns);
	r = hear(talk, err);
	if (r == -ETIMEDOUT)
		return 0;
	return r < 0 ? r
		     : err_set(err, -EPROTO,
			       "the guest's agent talks without being asked");
}

static int await_end(struct talk *talk, uint64_t process,
		     struct vms_command_result *result, struct err *err)
{
	struct guest_agent_look found = { 0 };
	int64_t pause_ns = LOOK_FIRST;

	for (;;) {
		int r = look(talk, process, &found, err);

		if (!r && found.ended) {
			*result = found.result;
			return 0;
		}
		if (!r)
			r = pause_between(talk, pause_ns, err);
		/* The limit was the command's, not the agent's. */
		if ((!r || r == -ETIMEDOUT) &&
		    time_monotonic_ns() >= talk->end_ns)
			return err_set(err, -ETIMEDOUT,
				       "the command still runs after the time "
				       "it was given, in the guest as process "
				       "%llu",
				       (unsigned long long)process);
		if (r == -EIO)
			return err_prefix(
				err, "the guest's agent no longer knows the "
				     "command, as after a restart of the "
				     "guest: how it ended can't be told");
		if (r < 0)
			return r;
		pause_ns = 2 * pause_ns < LOOK_LAST ? 2 * pause_ns : LOOK_LAST;
	}
}

int guest_agent_run(int fd, const struct vms_command *command,
		    struct vms_command_result *result, struct err *err)
{
	struct talk talk = { .fd = fd, .end_ns = INT64_MAX };
	uint64_t process;
	int r;

	if (command->timeout_ms)
		talk.end_ns = time_monotonic_ns() +
			      (int64_t)command->timeout_ms * 1000000;
	/* The guest may be starting: for as long as was asked for. */
	limit(&talk, command->timeout_ms ? INT64_MAX / 2 : ANSWER_NS);
	r = sync_agent(&talk, err);
	if (!r)
		r = start(&talk, command, &process, err);
	if (!r)
		r = await_end(&talk, process, result, err);
	bytes_release(&talk.in);
	return r;
}
