/* SPDX-License-Identifier: Apache-2.0 */
/* A command in a guest: base64, the agent's messages, and conversations with
 * agents that are good, slow, confused or hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <sys/socket.h>

#include "format/base/base64.h"
#include "vmsnap/guest_agent.h"

static struct err err;

/* ---- base64 ---- */

static void expect_base64(const char *plain, const char *text)
{
	struct bytes out = { 0 };

	assert_int_equal(base64_put(&out, plain, strlen(plain), NULL), 0);
	assert_int_equal(out.size, strlen(text));
	assert_memory_equal(out.data, text, out.size);
	out.size = 0;
	assert_int_equal(base64_get(&out, text, strlen(text), NULL), 0);
	assert_int_equal(out.size, strlen(plain));
	assert_memory_equal(out.data, plain, out.size);
	bytes_release(&out);
}

static void test_base64(void **state)
{
	static const char *const broken[] = {
		"Z",    "Zg",   "Zg=",    "Zh==", "Zm9=",   "Zg==Zg==",
		"Z===", "====", "Zm9v\n", "Zm-v", "Zm9vY=", "Zm 9vYg==",
	};
	struct bytes out = { 0 };

	(void)state;
	/* RFC 4648, section 10. */
	expect_base64("f", "Zg==");
	expect_base64("fo", "Zm8=");
	expect_base64("foo", "Zm9v");
	expect_base64("foob", "Zm9vYg==");
	expect_base64("fooba", "Zm9vYmE=");
	expect_base64("foobar", "Zm9vYmFy");
	expect_base64("\xff\xef\xbe\xfb", "/+++"
					  "+w==");
	assert_int_equal(bytes_append(&out, "x", 1, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		assert_int_equal(
			base64_get(&out, broken[i], strlen(broken[i]), NULL),
			-EBADMSG);
		assert_int_equal(out.size, 1);
	}
	bytes_release(&out);
}

/* ---- messages ---- */

static int get_look(const char *line, struct guest_agent_look *out)
{
	return guest_agent_get_look(line, strlen(line), out, &err);
}

static void test_replies(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"return\":",
		"{\"return\":{}}",
		"{\"return\":[]}",
		"{\"return\":{\"exited\":1}}",
		"{\"return\":{\"exited\":true}}",
		"{\"return\":{\"exited\":true,\"exitcode\":-1}}",
		"{\"return\":{\"exited\":true,\"exitcode\":4294967296}}",
		"{\"return\":{\"exited\":true,\"exitcode\":\"0\"}}",
		"{\"return\":{\"exited\":true,\"signal\":0}}",
		"{\"return\":{\"exited\":true,\"signal\":128}}",
		"{\"return\":{\"exited\":true,\"exitcode\":0,\"out-data\":1}}",
		"{\"return\":{\"exited\":true,\"exitcode\":0,\"out-data\":\"Z\"}}",
		"{\"return\":{\"exited\":true,\"signal\":1,\"err-data\":\"Zg=\"}}",
		"{\"return\":{\"exited\":true,\"signal\":1,\"err-truncated\":1}}",
		"{\"return\":{\"exited\":true,\"exited\":true,\"exitcode\":0}}",
	};
	struct guest_agent_look look = { .ended = true };
	uint64_t process = 7;
	uint32_t id = 9;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (get_look(bad[i], &look) != -EPROTO)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(guest_agent_get_command(bad[i], strlen(bad[i]),
							 &process, &err),
				 -EPROTO);
		assert_int_equal(
			guest_agent_get_sync(bad[i], strlen(bad[i]), &id, &err),
			-EPROTO);
	}
	/* Nothing is touched. */
	assert_true(look.ended && process == 7 && id == 9);
	assert_int_equal(get_look("{\"return\":{\"exited\":false}}", &look), 0);
	assert_false(look.ended);
	assert_int_equal(
		get_look("{\"return\":{\"exited\":true,\"signal\":9,"
			 "\"out-data\":\"Zm9v\",\"out-truncated\":true}}",
			 &look),
		0);
	assert_int_equal(look.result.killer, 9);
	assert_int_equal(look.result.output.size, 3);
	assert_true(look.result.output_cut && !look.result.error_cut);
	vms_command_result_release(&look.result);
	assert_int_equal(get_look("{\"error\":{\"class\":\"GenericError\","
				  "\"desc\":\"no \\u001b[2J such\"}}",
				  &look),
			 -EIO);
	assert_string_equal(err.text, "the guest's agent: no \\x1b[2J such");
	assert_int_equal(get_look("{\"error\":{\"class\":\"CommandNotFound\","
				  "\"desc\":\"disabled\"}}",
				  &look),
			 -EOPNOTSUPP);
	assert_int_equal(guest_agent_get_command("{\"return\":{\"pid\":0}}", 20,
						 &process, &err),
			 -EPROTO);
	assert_int_equal(
		guest_agent_get_sync("{\"return\":4294967296}", 21, &id, &err),
		-EPROTO);
}

static void add(struct bytes *line, const char *text)
{
	assert_int_equal(bytes_append(line, text, strlen(text), NULL), 0);
}

/* What would cost many times its length is not parsed. */
static void test_costly_replies(void **state)
{
	struct bytes line = { 0 };
	struct guest_agent_look look;

	(void)state;
	add(&line, "{\"return\":{\"exited\":false,\"x\":[");
	for (int i = 0; i < 300; i++)
		add(&line, "1,");
	add(&line, "1]}}");
	assert_int_equal(guest_agent_get_look((const char *)line.data,
					      line.size, &look, &err),
			 -EPROTO);
	line.size = 0;
	add(&line, "{\"return\":{\"exited\":false,\"x\":");
	for (int i = 0; i < 20; i++)
		add(&line, "[");
	for (int i = 0; i < 20; i++)
		add(&line, "]");
	add(&line, "}}");
	assert_int_equal(guest_agent_get_look((const char *)line.data,
					      line.size, &look, &err),
			 -EPROTO);
	/* In a text they are letters. */
	line.size = 0;
	add(&line, "{\"return\":{\"exited\":false,\"x\":\"\\\"");
	for (int i = 0; i < 300; i++)
		add(&line, "[,");
	add(&line, "\"}}");
	assert_int_equal(guest_agent_get_look((const char *)line.data,
					      line.size, &look, &err),
			 0);
	bytes_release(&line);
}

static void test_requests(void **state)
{
	const char *const words[] = { "/bin/echo", "a b", "\"", NULL };
	const char *const broken[] = { "echo", "\xff", NULL };
	struct vms_command command = { .words = words,
				       .input = "foo",
				       .input_size = 3 };
	struct bytes out = { 0 };

	(void)state;
	assert_int_equal(guest_agent_put_sync(&out, 4000000000u, &err), 0);
	assert_memory_equal(out.data,
			    "\xff{\"execute\":\"guest-sync-delimited\","
			    "\"arguments\":{\"id\":4000000000}}\n",
			    out.size);
	out.size = 0;
	assert_int_equal(guest_agent_put_command(&out, &command, &err), 0);
	out.data[out.size - 1] = 0;
	assert_string_equal(
		out.data,
		"{\"execute\":\"guest-exec\",\"arguments\":{\"capture-output\":"
		"true,\"arg\":[\"a b\",\"\\\"\"],\"path\":\"/bin/echo\","
		"\"input-data\":\"Zm9v\"}}");
	command.words = broken;
	assert_int_equal(guest_agent_put_command(&out, &command, &err),
			 -EINVAL);
	out.size = 0;
	assert_int_equal(guest_agent_put_look(&out, 17, &err), 0);
	assert_memory_equal(out.data,
			    "{\"execute\":\"guest-exec-status\",\"arguments\":"
			    "{\"pid\":17}}\n",
			    out.size);
	bytes_release(&out);
}

/* ---- conversations ---- */

enum mood {
	GOOD,
	SLOW,      /* it takes a few looks */
	CONFUSED,  /* garbage and old answers come first */
	DEAF,      /* nothing at all */
	FLOODS,    /* no line ends */
	HANGS_UP,  /* at once */
	LEAVES,    /* after the start */
	REFUSES,   /* to start it */
	FORGETS,   /* what it started */
	WRONG,     /* a state that is none */
	ENDLESS,   /* it never ends */
	TALKATIVE, /* says more than it is asked */
	HUGE,      /* 16 MiB of output */
};

struct agent {
	enum mood mood;
	int fd;
	unsigned looks;
	pthread_t thread;
	char input[64];
};

static void put(const struct agent *agent, const void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = send(agent->fd, (const char *)data + done,
				 size - done, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

static void say(const struct agent *agent, const char *text)
{
	put(agent, text, strlen(text));
}

static void answer_sync(const struct agent *agent, json_int_t id)
{
	char line[64];

	if (agent->mood == CONFUSED) {
		say(agent, "data\":\"old\"}}\n");
		say(agent, "\xff{\"return\": 1}\n\xff\xff{\"return\n");
		say(agent, "{\"return\": 2}\n\xff{\"error\":{}}\n");
	}
	snprintf(line, sizeof(line), "\xff{\"return\": %lld}\n", (long long)id);
	say(agent, line);
}

static void answer_start(struct agent *agent, const json_t *arguments)
{
	const char *input =
		json_string_value(json_object_get(arguments, "input-data"));

	snprintf(agent->input, sizeof(agent->input), "%s", input ? input : "");
	if (agent->mood == REFUSES)
		say(agent,
		    "{\"error\": {\"class\": \"GenericError\", \"desc\": "
		    "\"no such file\"}}\n");
	else
		say(agent, "{\"return\": {\"pid\": 4711}}\n");
	if (agent->mood == TALKATIVE)
		say(agent, "{\"return\": {\"pid\": 4712}}\n");
	if (agent->mood == LEAVES)
		shutdown(agent->fd, SHUT_RDWR);
}

static void answer_huge(const struct agent *agent)
{
	const size_t size = 16 * MIB;
	struct bytes text = { 0 };
	char *data = malloc(size);

	memset(data, 'x', size);
	assert_int_equal(base64_put(&text, data, size, NULL), 0);
	say(agent, "{\"return\": {\"exited\": true, \"exitcode\": 3, "
		   "\"out-truncated\": true, \"out-data\": \"");
	put(agent, text.data, text.size);
	say(agent, "\", \"err-data\": \"");
	put(agent, text.data, text.size);
	say(agent, "\"}}\n");
	bytes_release(&text);
	free(data);
}

static void answer_look(struct agent *agent)
{
	agent->looks++;
	switch (agent->mood) {
	case ENDLESS:
		say(agent, "{\"return\": {\"exited\": false}}\n");
		return;
	case SLOW:
		if (agent->looks < 4) {
			say(agent, "{\"return\": {\"exited\": false}}\n");
			return;
		}
		break;
	case WRONG:
		say(agent, "{\"return\": {\"exited\": \"yes\"}}\n");
		return;
	case FORGETS:
		say(agent, "{\"error\": {\"class\": \"GenericError\", "
			   "\"desc\": \"Invalid parameter 'pid'\"}}\n");
		return;
	case HUGE:
		answer_huge(agent);
		return;
	case GOOD:
	case CONFUSED:
	case DEAF:
	case FLOODS:
	case HANGS_UP:
	case LEAVES:
	case REFUSES:
	case TALKATIVE:
		break;
	}
	say(agent, "{\"return\": {\"exited\": true, \"exitcode\": 3, "
		   "\"out-data\": \"b3V0\", \"err-data\": \"ZXJy\"}}\n");
}

static void answer(struct agent *agent, const char *line)
{
	json_t *request =
		json_loads(line[0] == '\xff' ? line + 1 : line, 0, NULL);
	json_t *arguments = json_object_get(request, "arguments");
	const char *what =
		json_string_value(json_object_get(request, "execute"));

	if (what && !strcmp(what, "guest-sync-delimited"))
		answer_sync(agent, json_integer_value(
					   json_object_get(arguments, "id")));
	else if (what && !strcmp(what, "guest-exec"))
		answer_start(agent, arguments);
	else if (what && !strcmp(what, "guest-exec-status"))
		answer_look(agent);
	json_decref(request);
}

static void flood(const struct agent *agent)
{
	static const char much[4096] = "\xff{";

	while (send(agent->fd, much, sizeof(much), MSG_NOSIGNAL) > 0)
		;
}

static void *agent_thread(void *arg)
{
	struct agent *agent = arg;
	static char line[1024 * 1024];
	size_t size = 0;
	ssize_t n;

	if (agent->mood == HANGS_UP) {
		shutdown(agent->fd, SHUT_RDWR);
		return NULL;
	}
	while (size < sizeof(line) - 1 &&
	       (n = recv(agent->fd, line + size, 1, 0)) > 0) {
		if (line[size++] != '\n')
			continue;
		line[size] = 0;
		size = 0;
		if (agent->mood == FLOODS)
			flood(agent);
		else if (agent->mood != DEAF)
			answer(agent, line);
	}
	return NULL;
}

static const char *const program[] = { "ls", "-l", NULL };

static int converse(struct agent *agent, enum mood mood, uint64_t timeout_ms,
		    struct vms_command_result *result)
{
	struct vms_command command = { .words = program,
				       .input = "in",
				       .input_size = 2,
				       .timeout_ms = timeout_ms };
	int ends[2], r;

	*agent = (struct agent){ .mood = mood };
	*result = (struct vms_command_result){ 0 };
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	agent->fd = ends[1];
	assert_int_equal(
		pthread_create(&agent->thread, NULL, agent_thread, agent), 0);
	r = guest_agent_run(ends[0], &command, result, &err);
	close(ends[0]);
	pthread_join(agent->thread, NULL);
	close(ends[1]);
	return r;
}

static void expect_good(enum mood mood)
{
	struct vms_command_result result;
	struct agent agent;

	if (converse(&agent, mood, 60000, &result) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(result.status, 3);
	assert_int_equal(result.killer, 0);
	assert_int_equal(result.output.size, 3);
	assert_memory_equal(result.output.data, "out", 3);
	assert_memory_equal(result.error.data, "err", 3);
	assert_string_equal(agent.input, "aW4=");
	vms_command_result_release(&result);
}

static void test_good_agents(void **state)
{
	(void)state;
	expect_good(GOOD);
	expect_good(SLOW);
	expect_good(CONFUSED);
}

static void expect_failure(enum mood mood, uint64_t timeout_ms, int code,
			   const char *words)
{
	struct vms_command_result result;
	struct agent agent;

	assert_int_equal(converse(&agent, mood, timeout_ms, &result), code);
	if (!strstr(err.text, words))
		fail_msg("'%s' without '%s'", err.text, words);
	assert_null(result.output.data);
}

static void test_other_agents(void **state)
{
	(void)state;
	expect_failure(DEAF, 50, -ETIMEDOUT, "install and start");
	expect_failure(FLOODS, 300, -ETIMEDOUT, "install and start");
	expect_failure(HANGS_UP, 60000, -EBUSY, "another one");
	expect_failure(LEAVES, 60000, -ECONNRESET, "has ended");
	expect_failure(REFUSES, 60000, -EIO, "no such file");
	expect_failure(FORGETS, 60000, -EIO, "no longer knows the command");
	expect_failure(WRONG, 60000, -EPROTO, "state of a process");
	expect_failure(ENDLESS, 300, -ETIMEDOUT, "process 4711");
	expect_failure(TALKATIVE, 60000, -EPROTO, "");
}

static void test_huge_output(void **state)
{
	struct vms_command_result result;
	struct agent agent;

	(void)state;
	assert_int_equal(converse(&agent, HUGE, 0, &result), 0);
	assert_int_equal(result.output.size, 16 * MIB);
	assert_int_equal(result.error.size, 16 * MIB);
	assert_true(result.output_cut && !result.error_cut);
	vms_command_result_release(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_costly_replies),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_good_agents),
		cmocka_unit_test(test_other_agents),
		cmocka_unit_test(test_huge_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
