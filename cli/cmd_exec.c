/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmsnap exec: a command in a guest, by the guest's own agent. Its output is
 * passed on as it is, and its exit status is ours; a signal is 128 and its
 * number, as a shell has it.
 */
#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/machine.h"
#include "cli/report.h"
#include "cli/text.h"

#define STATUS_MAX 255
#define PIECE      (64u * 1024)

/* All of standard input, unless that is a terminal. */
static int take_input(struct bytes *input, struct err *err)
{
	if (isatty(STDIN_FILENO))
		return 0;
	for (;;) {
		ssize_t n;
		int r = bytes_reserve(input, PIECE, err);

		if (r < 0)
			return r;
		n = read(STDIN_FILENO, input->data + input->size, PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "standard input");
		if (!n)
			return 0;
		input->size += (size_t)n;
		if (input->size > VMS_COMMAND_INPUT_MAX)
			return err_set(err, -EINVAL,
				       "standard input: more than %u MiB, "
				       "which is all that a command in a guest "
				       "can be given; put it onto a disk",
				       VMS_COMMAND_INPUT_MAX >> 20);
	}
}

static int exit_status(const struct vms_command_result *result)
{
	if (result->killer)
		return 128 + result->killer;
	return result->status > STATUS_MAX ? STATUS_MAX : result->status;
}

static int pass_on(FILE *to, const struct bytes *bytes, struct err *err)
{
	if (bytes->size &&
	    (fwrite(bytes->data, 1, bytes->size, to) != bytes->size ||
	     fflush(to) != 0))
		return err_sys(err, -errno, "the command's output");
	return 0;
}

static void tell_cut(const struct cli *cli, bool cut, const char *what)
{
	if (cut)
		report_warning(cli,
			       "the guest's agent kept only the beginning of "
			       "the command's standard %s (16 MiB)",
			       what);
}

static int tell_text(const struct cli *cli,
		     const struct vms_command_result *result, struct err *err)
{
	int r = pass_on(stdout, &result->output, err);

	if (!r)
		r = pass_on(stderr, &result->error, err);
	tell_cut(cli, result->output_cut, "output");
	tell_cut(cli, result->error_cut, "error");
	return r;
}

static json_t *base64(const struct bytes *bytes)
{
	struct bytes text = { 0 };
	json_t *out = NULL;

	if (base64_put(&text, bytes->data, bytes->size, NULL) == 0)
		out = json_stringn((const char *)text.data, text.size);
	bytes_release(&text);
	return out;
}

static int tell_json(const char *name, const struct vms_command_result *result,
		     struct err *err)
{
	return json_say(json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:b}",
				  "type", "exec", "name", name, "exit_status",
				  result->killer ? json_null()
						 : json_integer(result->status),
				  "signal",
				  result->killer ? json_integer(result->killer)
						 : json_null(),
				  "stdout_base64", base64(&result->output),
				  "stderr_base64", base64(&result->error),
				  "stdout_truncated", result->output_cut,
				  "stderr_truncated", result->error_cut),
			err);
}

static int run(struct cli *cli, const char *home,
	       const struct vms_command *command, struct err *err)
{
	const char *name = cli->options.arguments[0];
	struct vms_command_result result = { 0 };
	int r = vms_machine_command(home, name, command, &result, err);

	if (r < 0)
		return r;
	r = cli_given(cli, OPT_JSON) ? tell_json(name, &result, err)
				     : tell_text(cli, &result, err);
	if (!r)
		r = exit_status(&result);
	vms_command_result_release(&result);
	return r;
}

int cmd_exec(struct cli *cli, struct err *err)
{
	struct vms_command command = {
		.words = (const char *const *)cli->options.arguments + 1,
	};
	struct bytes input = { 0 };
	char home[PATH_MAX];
	long long seconds = 0;
	int r = cli_home(cli, home, err);

	if (!r && cli_given(cli, OPT_TIMEOUT))
		r = integer_parse("--timeout", cli_value(cli, OPT_TIMEOUT), 1,
				  86400, &seconds, err);
	if (!r)
		r = take_input(&input, err);
	command.timeout_ms = (uint64_t)seconds * 1000;
	command.input = input.data;
	command.input_size = input.size;
	if (!r)
		r = run(cli, home, &command, err);
	bytes_release(&input);
	return r;
}
