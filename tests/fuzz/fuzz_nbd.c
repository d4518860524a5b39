/* SPDX-License-Identifier: Apache-2.0 */
/* An NBD server that says anything: it is refused, or what is read of it are
 * its bytes; and no read hangs once it is gone. */
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm-agent/temporary/temporary.h"
#include "tests/fuzz/fix.h"

#define READ_BYTES 4096u
#define INPUT_MAX  65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t buffer[READ_BYTES];
	struct image_base *base;
	int ends[2];

	if (size > INPUT_MAX)
		return 0;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	must(send(ends[1], data, size, 0) == (ssize_t)size);
	/* It says no more, and takes what it is sent. */
	must(shutdown(ends[1], SHUT_WR) == 0);
	if (base_nbd_open(&base, ends, 1, NULL) == 0) {
		must(base->size_bytes && base->size_bytes < IMAGE_SIZE_MAX);
		for (unsigned i = 0; i < 3; i++) {
			int r = base->read(base, buffer, READ_BYTES, 0);

			must(r <= 0);
			must(r < 0 || memmem(data, size, buffer, READ_BYTES));
		}
		base->close(base);
	}
	close(ends[1]);
	return 0;
}
