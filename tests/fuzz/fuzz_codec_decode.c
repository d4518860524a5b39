/* SPDX-License-Identifier: Apache-2.0 */
/* A coded chunk; ahead of it the content's size (3 bytes) and the codec. */
#include "format/base/base.h"
#include "format/store/codec.h"
#include "tests/fuzz/fix.h"

#define CONTENT_MAX (256 * KIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct codec *codec;
	uint8_t *content;
	size_t content_size;
	struct err err;

	if (!codec)
		codec = codec_new(3, NULL);
	must(codec != NULL);
	if (size < 4)
		return 0;
	content_size = data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16;
	if (content_size > CONTENT_MAX)
		content_size = CONTENT_MAX;
	/* Of exactly this size, so that a sanitizer sees a write past it. */
	content = malloc(content_size ? content_size : 1);
	must(content != NULL);
	(void)codec_decode(codec, data[3] & 3, data + 4, size - 4, content,
			   content_size, &err);
	free(content);
	return 0;
}
