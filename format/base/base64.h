/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 of RFC 4648, section 4, with padding. */
#ifndef FORMAT_BASE_BASE64_H
#define FORMAT_BASE_BASE64_H

#include "format/base/bytes.h"

/* The text without a NUL, to the end of `out`. */
int base64_put(struct bytes *out, const void *data, size_t size,
	       struct err *err);
/* The bytes, to the end of `out`. -EBADMSG: it is none: another character, a
 * length that is no multiple of 4, bits behind the last byte. */
int base64_get(struct bytes *out, const char *text, size_t size,
	       struct err *err);

#endif
