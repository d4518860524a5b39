/* SPDX-License-Identifier: Apache-2.0 */
/* Where `nbd` serves: a Unix socket or a TCP port, and its URI. */
#ifndef CLI_NBD_ADDRESS_H
#define CLI_NBD_ADDRESS_H

#include <limits.h>

#include "cli/cli.h"

#define NBD_URI_MAX 512

struct nbd_address {
	char socket[PATH_MAX]; /* absolute; "" for a port */
	char host[128];
	const char *port;      /* NULL for a socket */
	char uri[NBD_URI_MAX]; /* as NBD clients take it */
};

/* From --socket or --port. -EINVAL: neither, both, or neither makes sense. */
int nbd_address_parse(struct nbd_address *out, const struct cli *cli,
		      struct err *err);
/*
 * The socket's place is free then: one that nobody serves any more is removed.
 * -EBUSY: somebody serves there. -EEXIST: something else is there. -EACCES,
 * -ENOENT: of its folder. Of a port nothing is asked.
 */
int nbd_address_clear(const struct nbd_address *address, struct err *err);

#endif
