/* SPDX-License-Identifier: Apache-2.0 */
/* A buffer of one longest line; what was taken is moved away when more comes. */
#include <errno.h>
#include <string.h>

#include "format/base/lines.h"

char *lines_room(struct lines *lines, size_t *size)
{
	lines->used -= lines->taken;
	memmove(lines->data, lines->data + lines->taken, lines->used);
	lines->taken = 0;
	*size = sizeof(lines->data) - lines->used;
	return lines->data + lines->used;
}

void lines_add(struct lines *lines, size_t size)
{
	lines->used += size;
}

int lines_next(struct lines *lines, const char **line, size_t *size)
{
	size_t left = lines->used - lines->taken;
	const char *at = lines->data + lines->taken;
	const char *end = memchr(at, '\n', left);

	if (!end)
		return left == sizeof(lines->data) ? -EMSGSIZE : 0;
	*line = at;
	*size = (size_t)(end - at);
	lines->taken += *size + 1;
	return 1;
}
