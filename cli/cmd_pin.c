/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap pin remove: one that nothing stands on any more. */
#include <errno.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/report.h"

int cmd_pin_remove(struct cli *cli, struct err *err)
{
	char id_hex[SMALL_ID_HEX_SIZE];
	autovms struct vms *vms = NULL;
	struct vs_io *io;
	int r = cli_open(cli, STORE_WRITE, false, &vms, err);

	if (r < 0)
		return r;
	io = io_new(err);
	if (!io)
		return err->code ? err->code : -EIO;
	r = vms_pin_remove(vms, io, cli->options.arguments[0],
			   cli_given(cli, OPT_FORCE), id_hex, err);
	io_free(io);
	if (r == 0 && cli_given(cli, OPT_JSON))
		r = json_say(json_pack("{s:s, s:s}", "type", "pin-removed",
				       "id", id_hex),
			     err);
	else if (r == 0 && cli_talks(cli))
		say("pin %s removed\n", id_hex);
	return r;
}
