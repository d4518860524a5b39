/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap keeper start, status, stop: the processes that hold stores open for
 * the machines of this user. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/keeper.h"
#include "cli/machine.h"
#include "cli/report.h"
#include "cli/text.h"

#define GONE_MS   30000
#define ANSWER_MS 10000 /* one that is asked how it is, or to end by force */

/* To one keeper; what is to be said of it goes to `out` as well. */
typedef int keeper_verb(const struct cli *cli, const char *home,
			const uint8_t store[VMS_STORE_ID_SIZE], const char *hex,
			json_t *out, struct err *err);

/* A failure is told, and the first one's status kept in *first: the others are
 * for it none the worse. One that does not run is none. */
static int each_keeper(const struct cli *cli, keeper_verb *verb, json_t *out,
		       int *first, struct err *err)
{
	struct vms_keeper_list list = { 0 };
	char home[PATH_MAX];
	int r = cli_home(cli, home, err);

	if (!r)
		r = vms_keeper_list(home, &list, err);
	if (r)
		return r;
	for (size_t i = 0; i < list.count; i++) {
		char hex[2 * VMS_STORE_ID_SIZE + 1];
		struct err why = { 0 };
		int code;

		hex_encode(hex, list.stores[i], VMS_STORE_ID_SIZE);
		code = verb(cli, home, list.stores[i], hex, out, &why);
		if (!code || code == -ESRCH)
			continue;
		err_prefix(&why, "keeper of store %.12s", hex);
		report_error(cli, &why);
		if (!*first)
			*first = (int)status_of(code);
	}
	vms_keeper_list_release(&list);
	return 0;
}

/* ---- status ---- */

static json_t *status_document(const char *hex,
			       const struct vms_keeper_status *s)
{
	return json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
		"s:I}",
		"store", hex, "process", json_number(s->process), "watcher",
		json_number(s->watcher), "agents", json_number(s->agents),
		"machines", json_number(s->machines), "served_bytes",
		json_number(s->served_bytes), "served_reads",
		json_number(s->served_reads), "failed_reads",
		json_number(s->failed_reads), "cache_hits",
		json_number(s->cache_hits), "cache_fetches",
		json_number(s->cache_fetches), "cache_bytes",
		json_number(s->cache_bytes), "uptime_ms",
		json_number(s->uptime_ms), "starts", json_number(s->start));
}

static void status_line(const char *hex, const struct vms_keeper_status *s)
{
	const uint64_t asked = s->cache_hits + s->cache_fetches;
	char served[SIZE_TEXT_MAX], cache[SIZE_TEXT_MAX];

	say("%.12s  %8llu  %8llu  %10s  %10s  %4llu%%  %6llu s\n", hex,
	    (unsigned long long)s->process, (unsigned long long)s->machines,
	    size_text(served, s->served_bytes),
	    size_text(cache, s->cache_bytes),
	    (unsigned long long)(asked ? s->cache_hits * 100 / asked : 0),
	    (unsigned long long)s->uptime_ms / 1000);
}

static int status_one(const struct cli *cli, const char *home,
		      const uint8_t store[VMS_STORE_ID_SIZE], const char *hex,
		      json_t *keepers, struct err *err)
{
	struct vms_keeper_status status;
	struct vms_keeper *keeper;
	int r = vms_keeper_open(&keeper, home, store, ANSWER_MS, NULL, err);

	if (r)
		return r;
	r = vms_keeper_status(keeper, &status, err);
	vms_keeper_close(keeper);
	if (r)
		return r;
	json_array_append_new(keepers, status_document(hex, &status));
	if (cli_given(cli, OPT_JSON))
		return 0;
	if (json_array_size(keepers) == 1)
		say("%-12s  %8s  %8s  %10s  %10s  %5s  %8s\n", "STORE",
		    "PROCESS", "MACHINES", "SERVED", "CACHE", "HITS", "UPTIME");
	status_line(hex, &status);
	return 0;
}

int cmd_keeper_status(struct cli *cli, struct err *err)
{
	json_t *keepers = json_array();
	int first = 0, r = each_keeper(cli, status_one, keepers, &first, err);

	if (!r && cli_given(cli, OPT_JSON))
		r = json_say(json_pack("{s:s, s:O}", "type", "keepers",
				       "keepers", keepers),
			     err);
	json_decref(keepers);
	return r ? r : first;
}

/* ---- stop ---- */

static int ask_to_stop(const struct cli *cli, const char *home,
		       const uint8_t store[VMS_STORE_ID_SIZE], struct err *err)
{
	const bool force = cli_given(cli, OPT_FORCE);
	struct vms_keeper *keeper = NULL;
	int r = vms_keeper_open(&keeper, home, store,
				force ? ANSWER_MS : VMS_KEEPER_PATIENCE_MS,
				NULL, err);

	if (!r)
		r = vms_keeper_stop(keeper, force, err);
	vms_keeper_close(keeper);
	if (!r)
		r = vms_keeper_wait(home, store, force ? ANSWER_MS : GONE_MS,
				    err);
	/* It does not answer, or is held up by its store. */
	if (r != -ETIMEDOUT || !force)
		return r;
	r = vms_keeper_kill(home, store, err);
	if (r && r != -ESRCH)
		return r;
	return vms_keeper_wait(home, store, GONE_MS, err);
}

static int stop_one(const struct cli *cli, const char *home,
		    const uint8_t store[VMS_STORE_ID_SIZE], const char *hex,
		    json_t *stopped, struct err *err)
{
	int r;

	if (cli->options.argument_count &&
	    strncmp(hex, cli->options.arguments[0],
		    strlen(cli->options.arguments[0])) != 0)
		return 0;
	r = ask_to_stop(cli, home, store, err);
	if (r)
		return r;
	json_array_append_new(stopped, json_string(hex));
	if (cli_talks(cli))
		say("keeper of store %.12s stopped\n", hex);
	return 0;
}

/* An empty one would be all of them. */
static int check_id(const struct cli *cli, struct err *err)
{
	const char *id =
		cli->options.argument_count ? cli->options.arguments[0] : NULL;

	if (id && !*id)
		return err_set(err, -EINVAL,
			       "'' is no STOREID: 'vmsnap keeper status' shows "
			       "them");
	return 0;
}

int cmd_keeper_stop(struct cli *cli, struct err *err)
{
	json_t *stopped = json_array();
	int first = 0, r = check_id(cli, err);

	if (!r)
		r = each_keeper(cli, stop_one, stopped, &first, err);
	if (!r && !first && !json_array_size(stopped) &&
	    cli->options.argument_count)
		r = err_set(err, -ENOENT,
			    "no keeper runs for a store '%s': 'vmsnap keeper "
			    "status' shows which",
			    cli->options.arguments[0]);
	if (!r && cli_given(cli, OPT_JSON))
		r = json_say(json_pack("{s:s, s:O}", "type", "keepers-stopped",
				       "stores", stopped),
			     err);
	json_decref(stopped);
	return r ? r : first;
}

/* ---- start ---- */

int cmd_keeper_start(struct cli *cli, struct err *err)
{
	char home[PATH_MAX], hex[2 * VMS_STORE_ID_SIZE + 1];
	struct vms_keeper *keeper = NULL;
	autovms struct vms *vms = NULL;
	const char *location;
	int r = cli_home(cli, home, err);

	if (!r)
		r = cli_location(cli, &location, err);
	cli->keep_passphrase = true;
	if (!r)
		r = cli_open_at(cli, location, STORE_READ, false, &vms, err);
	if (!r)
		r = cli_keeper_start(cli, home, location, vms, &keeper, err);
	if (r)
		return r;
	hex_encode(hex, vms_keeper_store(keeper), VMS_STORE_ID_SIZE);
	vms_keeper_close(keeper);
	if (cli_given(cli, OPT_JSON))
		return json_say(json_pack("{s:s, s:s}", "type",
					  "keeper-started", "store", hex),
				err);
	if (cli_talks(cli))
		say("keeper of store %.12s started\n", hex);
	return 0;
}
