/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap init: a new store, encrypted unless asked otherwise by name. */
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/report.h"

static int tell(struct cli *cli, const struct store_create_options *options,
		const char *location, struct err *err)
{
	char escaped[512];

	if (cli_given(cli, OPT_JSON))
		return json_say(json_pack("{s:s, s:o, s:b}", "type", "store",
					  "location", json_text(location),
					  "plaintext", options->plaintext),
				err);
	if (!cli_talks(cli))
		return 0;
	say("store made at %s (%s)\n",
	    escape_name(escaped, sizeof(escaped), location),
	    options->plaintext ? "not encrypted" : "encrypted");
	if (!options->plaintext)
		say("Without its passphrase nothing in it can be read again. "
		    "'vmsnap key export' writes\na recovery copy of the keys, "
		    "for the day the store's own are damaged.\n");
	return 0;
}

int cmd_init(struct cli *cli, struct err *err)
{
	struct store_create_options options = {
		.plaintext = cli_given(cli, OPT_PLAINTEXT),
	};
	const char *location;
	char *passphrase = NULL;
	int r;

	r = cli_location(cli, &location, err);
	if (r < 0)
		return r;
	r = cli_level(cli, &options.level, err);
	if (r < 0)
		return r;
	r = cli_chunk_log2(cli, &options.chunk_log2, err);
	if (r < 0)
		return r;
	if (options.plaintext) {
		if (passphrases_given(&cli->passphrases))
			report_warning(cli, "a passphrase was given, but with "
					    "--plaintext nothing is encrypted");
	} else {
		r = passphrase_current(&cli->passphrases, true, &passphrase,
				       &options.passphrase_size, err);
		if (r < 0)
			return r;
	}
	options.passphrase = passphrase;
	r = vms_init(location, &options, err);
	passphrase_free(passphrase, options.passphrase_size);
	return r < 0 ? r : tell(cli, &options, location, err);
}
