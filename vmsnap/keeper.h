/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper of a store: a process that holds it open for the machines of this
 * user, whose agents hold no key. Here is the engine's side of it: start it,
 * ask it for grants, look at it, end it. spec/protocol.md, The keeper. Part of
 * the public header vmsnap/vmsnap.h.
 */
#ifndef VMSNAP_KEEPER_H
#define VMSNAP_KEEPER_H

#include <limits.h>

#include "format/image/image.h"

#define VMS_KEEPER_GRANT_SIZE 208
#define VMS_STORE_ID_SIZE     16

/* A connection to one; as long as there is one, it does not end by itself. */
struct vms_keeper;

#define VMS_KEEPER_PATIENCE_MS 60000 /* for one that is just starting again */

struct vms_progress;

/* -ESRCH: none runs for that store. -ETIMEDOUT: it does not answer; neither is
 * any later question waited for longer than that, or than `progress` (NULL:
 * none; it lives as long as the connection) allows. */
int vms_keeper_open(struct vms_keeper **out, const char *home,
		    const uint8_t store[VMS_STORE_ID_SIZE],
		    uint64_t patience_ms, const struct vms_progress *progress,
		    struct err *err);
void vms_keeper_close(struct vms_keeper *keeper); /* NULL is ignored */

struct vms_keeper_start {
	const char *home;
	const char *program;  /* vmsnap-keeper */
	const char *location; /* of the store */
	uint8_t store[VMS_STORE_ID_SIZE];
	int passphrase; /* to be read to its end, the caller's; -1: none */
	const struct vms_progress *progress; /* NULL: it is not stopped */
};
/* The one that runs, else a new one, which outlives this process. The errors of
 * vms_open(). */
int vms_keeper_start(struct vms_keeper **out,
		     const struct vms_keeper_start *how, struct err *err);

/* The right to read what an image stands on, for the agent of `machine`. */
int vms_keeper_grant(struct vms_keeper *keeper, const char *machine,
		     const struct image_base_info *base,
		     uint8_t grant[VMS_KEEPER_GRANT_SIZE], struct err *err);
/* The folder of the agents' socket, for an agent. */
const char *vms_keeper_agents(const struct vms_keeper *keeper);
const uint8_t *vms_keeper_store(const struct vms_keeper *keeper);

struct vms_keeper_status {
	uint64_t process, watcher; /* the server; what starts it again */
	uint64_t agents, machines; /* connections; of how many machines */
	uint64_t served_bytes, served_reads, failed_reads;
	uint64_t cache_hits, cache_fetches, cache_bytes;
	uint64_t uptime_ms;
	uint64_t start; /* how often the server was started */
};
int vms_keeper_status(struct vms_keeper *keeper, struct vms_keeper_status *out,
		      struct err *err);
/* -EBUSY: machines use it, and not `force`; they wait for the next one then. */
int vms_keeper_stop(struct vms_keeper *keeper, bool force, struct err *err);
/* One that does not answer. -ESRCH. */
int vms_keeper_kill(const char *home, const uint8_t store[VMS_STORE_ID_SIZE],
		    struct err *err);

/* Until all of it is gone. -ETIMEDOUT. */
int vms_keeper_wait(const char *home, const uint8_t store[VMS_STORE_ID_SIZE],
		    uint64_t timeout_ms, struct err *err);

struct vms_keeper_list {
	uint8_t (*stores)[VMS_STORE_ID_SIZE]; /* owned */
	size_t count;
};
/* The stores that have, or had, a keeper in this home. */
int vms_keeper_list(const char *home, struct vms_keeper_list *out,
		    struct err *err);
void vms_keeper_list_release(struct vms_keeper_list *list);

#endif
