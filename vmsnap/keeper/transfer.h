/* SPDX-License-Identifier: Apache-2.0 */
/* The memory through which a keeper hands bytes to an agent: both ends of it.
 * spec/protocol.md, Transfer area. Private. */
#ifndef VMSNAP_KEEPER_TRANSFER_H
#define VMSNAP_KEEPER_TRANSFER_H

#include "format/base/base.h"

/* The agent's: made, sealed, zero; a descriptor. */
int transfer_make(size_t size, struct err *err);
/* The keeper's: it is such a one, whoever made it. -EPROTO. */
int transfer_check(int fd, uint64_t size, struct err *err);
/* All of it. -EIO. */
int transfer_write(int fd, uint64_t offset, const void *data, size_t size);

#endif
