/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper for a machine. One that runs is asked, and no passphrase is needed;
 * else the store is opened here first, so that what is wrong with it is told as
 * by every other verb, and the passphrase goes on in a pipe.
 */
#include "cli/keeper.h"

#include <errno.h>
#include <string.h>

#include "cli/door.h"

static int start(struct cli *cli, const char *home, const char *location,
		 const uint8_t store[VMS_STORE_ID_SIZE],
		 struct vms_keeper **out, struct err *err)
{
	char program[PATH_MAX];
	struct vms_keeper_start how = { .home = home,
					.program = program,
					.location = location,
					.passphrase = -1,
					.progress = &cli->progress };
	int r = door_find("vmsnap-keeper", program, err);

	memcpy(how.store, store, sizeof(how.store));
	if (!r)
		r = door_passphrase(cli, &how.passphrase, err);
	if (!r)
		r = vms_keeper_start(out, &how, err);
	if (how.passphrase >= 0)
		close(how.passphrase);
	return r;
}

int cli_keeper_start(struct cli *cli, const char *home, const char *location,
		     struct vms *vms, struct vms_keeper **out, struct err *err)
{
	return start(cli, home, location, store_config(vms_store(vms))->store.b,
		     out, err);
}

/* Where it is: -s, else what the image says. */
static int find_store(const struct cli *cli, const struct image_base_info *base,
		      const char **out, struct err *err)
{
	*out = base->store;
	if (!cli_given(cli, OPT_STORE) && *base->store)
		return 0;
	return cli_location(cli, out, err);
}

static bool is_of(struct vms *vms, const struct image_base_info *base)
{
	return memcmp(store_config(vms_store(vms))->store.b, base->store_id,
		      sizeof(base->store_id)) == 0;
}

static int open_and_start(struct cli *cli, const char *home,
			  const struct image_base_info *base,
			  struct vms_keeper **out, struct err *err)
{
	autovms struct vms *vms = NULL;
	const char *location;
	int r = find_store(cli, base, &location, err);

	cli->keep_passphrase = true;
	if (!r)
		r = cli_open_at(cli, location, STORE_READ, false, &vms, err);
	if (r == -EINTR)
		return r;
	if (r < 0)
		return err_prefix(err, "the store of the machine's disks "
				       "(-s, if it has moved)");
	if (!is_of(vms, base))
		return err_set(err, -EINVAL,
			       "the machine's disks stand on another store "
			       "than '%s'",
			       location);
	return cli_keeper_start(cli, home, location, vms, out, err);
}

int cli_keeper_for(struct cli *cli, const char *home,
		   const struct vms_machine *machine, struct vms *vms,
		   struct vms_keeper **out, struct err *err)
{
	struct image_base_info base;
	const char *location;
	struct err why = { 0 };
	int r = vms_machine_base(machine, &base, err);

	*out = NULL;
	if (r < 0 || !base.present)
		return r;
	r = vms_keeper_open(out, home, base.store_id, VMS_KEEPER_PATIENCE_MS,
			    &cli->progress, &why);
	if (r && r != -ESRCH)
		*err = why;
	if (r != -ESRCH)
		return r;
	if (!vms || !is_of(vms, &base))
		return open_and_start(cli, home, &base, out, err);
	r = find_store(cli, &base, &location, err);
	return r ? r : cli_keeper_start(cli, home, location, vms, out, err);
}
