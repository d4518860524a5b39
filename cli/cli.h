/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs share: the command being run, and how a store is opened. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/options.h"
#include "cli/passphrase.h"
#include "vmsnap/vmsnap.h"

/* The exit status; design: 3-cli.md. */
enum status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_CORRUPT = 3,
	STATUS_NOT_FOUND = 4,
	STATUS_BUSY = 5,
	STATUS_UNSUPPORTED = 6,
	STATUS_WRONG_KEY = 7,
	STATUS_INCOMPLETE = 8,
};

struct cli {
	struct options options;
	struct passphrases passphrases;
	struct vms_progress progress;
	bool stdout_was_closed;
	/* A verb that will need the snapshots' names sets it before it opens
	 * the store. */
	bool names_ahead;
	/* The passphrase that was given to the store, where a verb set
	 * keep_passphrase; wiped at the end. */
	bool keep_passphrase;
	char *kept;
	size_t kept_size;
};

static inline bool cli_given(const struct cli *cli, enum option option)
{
	return cli->options.given[option];
}

static inline const char *cli_value(const struct cli *cli, enum option option)
{
	return cli->options.value[option];
}

/* Neither --quiet nor --json: a person reads standard output. */
static inline bool cli_talks(const struct cli *cli)
{
	return !cli_given(cli, OPT_QUIET) && !cli_given(cli, OPT_JSON);
}

/* Where the store is. -EINVAL: neither option nor environment says. */
int cli_location(const struct cli *cli, const char **out, struct err *err);
/* Open the store; `tolerant` as in struct store_options. */
int cli_open(struct cli *cli, enum store_mode mode, bool tolerant,
	     struct vms **out, struct err *err);
/* As cli_open(), of a store that something else has named. */
int cli_open_at(struct cli *cli, const char *location, enum store_mode mode,
		bool tolerant, struct vms **out, struct err *err);
/* --level and --chunk-size; 0 where not given. */
int cli_level(const struct cli *cli, int *out, struct err *err);
int cli_chunk_log2(const struct cli *cli, unsigned *out, struct err *err);

static inline void autovms_run(struct vms **vms)
{
	vms_close(*vms);
}
#define autovms      __attribute__((cleanup(autovms_run)))
#define autosnapshot __attribute__((cleanup(snapshot_release)))

int cmd_init(struct cli *cli, struct err *err);
int cmd_key_list(struct cli *cli, struct err *err);
int cmd_key_add(struct cli *cli, struct err *err);
int cmd_key_remove(struct cli *cli, struct err *err);
int cmd_key_change(struct cli *cli, struct err *err);
int cmd_key_export(struct cli *cli, struct err *err);
int cmd_backup(struct cli *cli, struct err *err);
int cmd_list(struct cli *cli, struct err *err);
int cmd_show(struct cli *cli, struct err *err);
int cmd_diff(struct cli *cli, struct err *err);
int cmd_restore(struct cli *cli, struct err *err);
int cmd_verify(struct cli *cli, struct err *err);
int cmd_image_create(struct cli *cli, struct err *err);
int cmd_image_info(struct cli *cli, struct err *err);
int cmd_image_map(struct cli *cli, struct err *err);
int cmd_image_snapshot(struct cli *cli, struct err *err);
int cmd_image_absorb(struct cli *cli, struct err *err);
int cmd_image_rebase(struct cli *cli, struct err *err);
int cmd_image_check(struct cli *cli, struct err *err);
int cmd_image_resize(struct cli *cli, struct err *err);
int cmd_image_compact(struct cli *cli, struct err *err);
int cmd_image_export(struct cli *cli, struct err *err);
int cmd_image_rm(struct cli *cli, struct err *err);
int cmd_pin_remove(struct cli *cli, struct err *err);
int cmd_check(struct cli *cli, struct err *err);
int cmd_stats(struct cli *cli, struct err *err);
int cmd_mount(struct cli *cli, struct err *err);
int cmd_nbd(struct cli *cli, struct err *err);
int cmd_run(struct cli *cli, struct err *err);
int cmd_ps(struct cli *cli, struct err *err);
int cmd_console(struct cli *cli, struct err *err);
int cmd_exec(struct cli *cli, struct err *err);
int cmd_pause(struct cli *cli, struct err *err);
int cmd_resume(struct cli *cli, struct err *err);
int cmd_stop(struct cli *cli, struct err *err);
int cmd_rm(struct cli *cli, struct err *err);
int cmd_keeper_start(struct cli *cli, struct err *err);
int cmd_keeper_status(struct cli *cli, struct err *err);
int cmd_keeper_stop(struct cli *cli, struct err *err);
int cmd_completion(struct cli *cli, struct err *err);

#endif
