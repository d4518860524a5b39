/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent's end of its keeper: volumes that were granted, as bases of images.
 * Where the keeper goes away, what is asked for waits until one is back; what a
 * keeper can't read is an error of that request.
 *
 * For the agent's walls: it has one thread, which keeper_client_new() makes
 * (THREAD_KEEPER). That uses memfd_create, ftruncate, fcntl, mmap, munmap,
 * socket(AF_UNIX), connect, sendmsg, recvmsg, ppoll, shutdown, close and futex;
 * threads that read use sendmsg, shutdown and futex; the thread itself begins
 * with unshare(CLONE_FS) and fchdir. Of the host's files it must see the folder
 * of the agents' socket, and nothing in it but that: also later, when another
 * keeper has put another socket there. To read is enough.
 */
#ifndef VMSNAP_KEEPER_CLIENT_H
#define VMSNAP_KEEPER_CLIENT_H

#include "format/image/image.h"
#include "vmsnap/keeper/protocol.h"

struct keeper_client;

struct keeper_client_options {
	const char *folder; /* the keeper's agents/; copied */
	const uint8_t (*grants)[KEEPER_GRANT_SIZE]; /* copied */
	unsigned grant_count; /* 1 to KEEPER_VOLUMES_MAX */
	uint64_t patience_ms; /* until a first keeper answers */
};

/* All grants are open. -EACCES: one was denied; -ETIMEDOUT: nobody answers;
 * -EBADMSG: that is no grant. */
int keeper_client_new(struct keeper_client **out,
		      const struct keeper_client_options *options,
		      struct err *err);
/* What waits, and what comes from here on, fails with -EIO at once. Any
 * thread. */
void keeper_client_stop(struct keeper_client *client);
/* All its bases are closed. NULL is ignored. */
void keeper_client_free(struct keeper_client *client);

/* The base that a head names. -ENOENT: no grant is for that. */
int keeper_client_base(struct image_base **out, struct keeper_client *client,
		       const struct image_base_info *info, struct err *err);

#endif
