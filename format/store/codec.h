/* SPDX-License-Identifier: Apache-2.0 */
/* Compression of one chunk. spec/store.md, Chunk and codec. */
#ifndef FORMAT_STORE_CODEC_H
#define FORMAT_STORE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "format/base/err.h"

enum codec_kind {
	CODEC_RAW = 0,
	CODEC_ZSTD = 1,
};
#define CODEC_KIND_COUNT 2

#define CHUNK_SIZE_MAX   (4u << 20)
#define CODEC_LEVEL_MIN  (-7)
#define CODEC_LEVEL_MAX  19

/* zstd contexts, made on first use and kept. Belongs to one thread. */
struct codec;

struct codec *codec_new(int level, struct err *err);
void codec_free(struct codec *codec);

/*
 * Encode `size` (1 to CHUNK_SIZE_MAX) bytes into `out`, which has room for
 * `size` bytes. Returns CODEC_ZSTD and *out_size <= size - size / 32, or
 * CODEC_RAW, and then `out` holds nothing of use (the caller stores the content).
 * Incompressible content is recognised early: a large chunk's sample is
 * tried at the fastest level first.
 */
int codec_encode(struct codec *codec, const void *content, size_t size,
		 void *out, size_t *out_size, struct err *err);

/*
 * Decode into exactly `content_size` bytes. -EBADMSG: not one zstd frame that
 * gives exactly that much. -EOPNOTSUPP: unknown codec number.
 */
int codec_decode(struct codec *codec, unsigned kind, const void *coded,
		 size_t coded_size, void *content, size_t content_size,
		 struct err *err);

#endif
