/* SPDX-License-Identifier: Apache-2.0 */
/* Grants come through a pipe that is full when this process begins. They are
 * no secret of the guest's: they say what it may read. */
#include <errno.h>
#include <unistd.h>

#include "kvm-agent/board.h"
#include "kvm-agent/keeper.h"

/* For a keeper that is just being started again. */
#define PATIENCE_MS 60000

static int read_grants(int fd, uint8_t *to, size_t room, struct err *err)
{
	size_t size = 0;

	for (;;) {
		ssize_t n = read(fd, to + size, room - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "a keeper's grants");
		if (!n)
			break;
		size += (size_t)n;
	}
	if (!size || size % KEEPER_GRANT_SIZE)
		return err_set(err, -EPROTO, "a keeper's grants: %zu bytes",
			       size);
	return (int)(size / KEEPER_GRANT_SIZE);
}

int keeper_connect_agent(struct keeper_client **out, const char *folder,
			 int grants, struct err *err)
{
	uint8_t bytes[BOARD_DISKS_MAX][KEEPER_GRANT_SIZE];
	struct keeper_client_options options = {
		.folder = folder,
		.grants = (const uint8_t(*)[KEEPER_GRANT_SIZE])bytes,
		.patience_ms = PATIENCE_MS,
	};
	int r = read_grants(grants, &bytes[0][0], sizeof(bytes), err);

	close(grants);
	if (r < 0)
		return r;
	options.grant_count = (unsigned)r;
	r = keeper_client_new(out, &options, err);
	/* That is a damaged disk's. */
	return r == -EBADMSG ? -EPROTO : r;
}
