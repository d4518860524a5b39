/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parse, call, report. Before anything else the process is made safe to hold
 * secrets: no core file, nobody's ptrace, no passphrase in the environment.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"
#include "vmsnap/version.h"

/* A store's file must never become descriptor 1. */
static int fill_standard(struct cli *cli)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		if (open("/dev/null", O_RDWR) != fd)
			return -errno;
		if (fd == STDOUT_FILENO)
			cli->stdout_was_closed = true;
	}
	return 0;
}

int cli_location(const struct cli *cli, const char **out, struct err *err)
{
	const char *location = cli_given(cli, OPT_STORE)
				       ? cli_value(cli, OPT_STORE)
				       : getenv("VMSNAP_STORE");

	if (!location || !*location)
		return err_set(err, -EINVAL,
			       "which store? Name it with -s STORE or in "
			       "VMSNAP_STORE");
	*out = location;
	return 0;
}

static int give_passphrase(void *arg, char **out, size_t *size, struct err *err)
{
	struct cli *cli = arg;
	int r = passphrase_current(&cli->passphrases, false, out, size, err);

	if (r < 0 || !cli->keep_passphrase)
		return r;
	passphrase_free(cli->kept, cli->kept_size);
	cli->kept = malloc(*size);
	if (!cli->kept) {
		passphrase_free(*out, *size);
		*out = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	memcpy(cli->kept, *out, *size);
	cli->kept_size = *size;
	return 0;
}

static void tell_opened(const struct cli *cli, struct vms *vms)
{
	const struct store_config *config = store_config(vms_store(vms));
	char id[2 * STORE_ID_SIZE + 1], size[SIZE_TEXT_MAX];

	hex_encode(id, config->store.b, STORE_ID_SIZE);
	report_line(cli, "store %s, %s, chunks of %s, zstd level %d, key %.8s",
		    id, config->plaintext ? "plaintext" : "encrypted",
		    size_text(size, 1ULL << config->chunk_log2), config->level,
		    store_open_key(vms_store(vms)));
}

int cli_open(struct cli *cli, enum store_mode mode, bool tolerant,
	     struct vms **out, struct err *err)
{
	const char *location;
	int r = cli_location(cli, &location, err);

	return r < 0 ? r : cli_open_at(cli, location, mode, tolerant, out, err);
}

int cli_open_at(struct cli *cli, const char *location, enum store_mode mode,
		bool tolerant, struct vms **out, struct err *err)
{
	struct vms_options options = {
		.location = location,
		.store = {
			.mode = mode,
			.passphrase = give_passphrase,
			.passphrase_arg = cli,
			.tolerant = tolerant,
			.names_ahead = cli->names_ahead,
			.warn = report_warn,
			.warn_arg = cli,
		},
	};
	int r;

	if (verb_takes(cli->options.verb, OPT_LEVEL)) {
		r = cli_level(cli, &options.store.level, err);
		if (r < 0)
			return r;
	}
	r = vms_open(out, &options, err);
	if (r < 0)
		return r;
	if (passphrases_given(&cli->passphrases) &&
	    store_config(vms_store(*out))->plaintext)
		report_warning(cli, "a passphrase was given, but this store is "
				    "not encrypted: anyone can read it");
	if (cli_given(cli, OPT_VERBOSE))
		tell_opened(cli, *out);
	return 0;
}

int cli_level(const struct cli *cli, int *out, struct err *err)
{
	long long level;
	int r;

	*out = 0;
	if (!cli_given(cli, OPT_LEVEL))
		return 0;
	r = integer_parse("--level", cli_value(cli, OPT_LEVEL), -7, 19, &level,
			  err);
	if (r < 0)
		return r;
	if (level == 0)
		return err_set(err, -EINVAL,
			       "--level '0': there is none; 1 is the fastest "
			       "of the usual ones");
	*out = (int)level;
	return 0;
}

int cli_chunk_log2(const struct cli *cli, unsigned *out, struct err *err)
{
	uint64_t size;
	int r;

	*out = 0;
	if (!cli_given(cli, OPT_CHUNK_SIZE))
		return 0;
	r = size_parse("--chunk-size", cli_value(cli, OPT_CHUNK_SIZE), &size,
		       err);
	if (r < 0)
		return r;
	if (!is_power_of_two(size) || size < 1ULL << CHUNK_LOG2_MIN ||
	    size > 1ULL << CHUNK_LOG2_MAX)
		return err_set(err, -EINVAL,
			       "--chunk-size '%s': a power of two from 16K to "
			       "4M",
			       cli_value(cli, OPT_CHUNK_SIZE));
	*out = (unsigned)__builtin_ctzll(size);
	return 0;
}

/* 0, an exit status that is told already, or -errno with words. */
static int run(struct cli *cli, int argc, char **argv, struct err *err)
{
	int r = passphrases_take(&cli->passphrases, err);

	if (r < 0)
		return r;
	r = options_parse(&cli->options, argc, argv, err);
	if (r < 0)
		return r;
	cli->passphrases.file = cli_value(cli, OPT_PASSPHRASE_FILE);
	cli->passphrases.new_file = cli_value(cli, OPT_NEW_PASSPHRASE_FILE);
	if (cli_given(cli, OPT_HELP)) {
		help_print(&cli->options);
		return 0;
	}
	if (cli_given(cli, OPT_VERSION)) {
		say("vmsnap %s (store format %d)\n", VMSNAP_VERSION,
		    STORE_VERSION);
		return 0;
	}
	return cli->options.verb->run(cli, err);
}

static enum status tell(const struct cli *cli, int r, const struct err *err)
{
	if (r >= 0)
		return (enum status)r;
	if (r == -EPIPE)
		return STATUS_FAILED;
	if (progress_signal() && (r == -ECANCELED || r == -EINTR)) {
		/* What is left behind stands in brackets. */
		const char *more = strstr(err->text, " (");

		report_line(cli, "stopped by SIG%s%s",
			    sigabbrev_np(progress_signal()), more ? more : "");
		return STATUS_FAILED;
	}
	report_error(cli, err);
	if (progress_signal())
		report_line(cli, "stopped by SIG%s",
			    sigabbrev_np(progress_signal()));
	return status_of(r);
}

int main(int argc, char **argv)
{
	static struct cli cli;
	struct err err = { .code = 0 };
	enum status status;
	int r;

	vms_harden_process();
	if (fill_standard(&cli) < 0)
		return STATUS_FAILED;
	r = run(&cli, argc, argv, &err);
	status = report_finish(&cli, tell(&cli, r, &err));
	passphrases_release(&cli.passphrases);
	passphrase_free(cli.kept, cli.kept_size);
	options_release(&cli.options);
	/* A shell must see that it was the signal, to stop its loop too. */
	if (progress_signal() && r < 0) {
		signal(progress_signal(), SIG_DFL);
		raise(progress_signal());
	}
	return (int)status;
}
