/* SPDX-License-Identifier: Apache-2.0 */
/* A passphrase that a parent process hands down in a pipe: it stands neither
 * in argv nor in the environment, and is gone once read. */
#include <errno.h>
#include <string.h>

#include "vmsnap/vmsnap.h"

#define PASSPHRASE_BYTES_MAX 65536u

int vms_passphrase_from_fd(void *arg, char **out, size_t *size, struct err *err)
{
	int *fd = arg;
	size_t at = 0;
	ssize_t n = 0;
	int code = 0;
	char *text;

	if (*fd < 0)
		return err_set(err, -EKEYREJECTED,
			       "the store is encrypted, and no passphrase was "
			       "handed down");
	text = malloc(PASSPHRASE_BYTES_MAX);
	if (!text)
		return err_set(err, -ENOMEM, "out of memory");
	while (at < PASSPHRASE_BYTES_MAX) {
		n = read(*fd, text + at, PASSPHRASE_BYTES_MAX - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	if (n < 0)
		code = err_sys(err, -errno, "passphrase from descriptor %d",
			       *fd);
	else if (!at)
		code = err_set(err, -EKEYREJECTED,
			       "the passphrase handed down is empty");
	close(*fd);
	*fd = -1;
	if (code) {
		wipe(text, at);
		free(text);
		return code;
	}
	*out = text;
	*size = at;
	return 0;
}
