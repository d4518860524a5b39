/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One zstd frame a chunk. The contexts are made on first use and kept.
 *
 * Much of what is in a disk doesn't compress (media, archives, ciphertext),
 * and finding that out at the full level costs as much as compressing. So a
 * large chunk is looked at first: where the bytes of a sample are not spread
 * evenly, entropy coding alone will save enough and nothing more is asked.
 * Where they are, only matches can save, and the fastest level, which does
 * nothing but look for them, says at several GB/s whether there are any.
 *
 * The decoder writes straight into the caller's buffer of exactly the content's
 * size, so that no frame, whatever window it asks for, can make it allocate.
 * It refuses skippable and legacy frames, dictionaries, and anything behind
 * the first frame.
 */
#include "format/store/codec.h"

#include <errno.h>
#include <string.h>

#include <zstd.h>

#include "format/base/base.h"
#include "format/base/le.h"

#define PROBE_MIN        (16 * KIB)
#define PROBE_LEVEL      (-5)
#define SAMPLE_SLICES    8
#define SAMPLE_SLICE     512
#define SAMPLE_SIZE      (SAMPLE_SLICES * SAMPLE_SLICE)
#define FRAME_HEADER_MIN 6 /* magic, descriptor, at least one byte more */

struct codec {
	ZSTD_CCtx *compress;
	ZSTD_CCtx *probe;
	ZSTD_DCtx *decompress;
	int level;
};

struct codec *codec_new(int level, struct err *err)
{
	struct codec *codec;

	if (level < CODEC_LEVEL_MIN || level > CODEC_LEVEL_MAX || level == 0) {
		err_set(err, -EINVAL, "compression level %d is not %d to %d%s",
			level, CODEC_LEVEL_MIN, CODEC_LEVEL_MAX,
			level ? "" : " without 0");
		return NULL;
	}
	if (alloc_array(&codec, 1, sizeof(*codec), err) < 0)
		return NULL;
	codec->level = level;
	return codec;
}

void codec_free(struct codec *codec)
{
	if (!codec)
		return;
	ZSTD_freeCCtx(codec->compress);
	ZSTD_freeCCtx(codec->probe);
	ZSTD_freeDCtx(codec->decompress);
	free(codec);
}

static int need_compress(ZSTD_CCtx **ctx, int level, struct err *err)
{
	ZSTD_CCtx *fresh;

	if (*ctx)
		return 0;
	fresh = ZSTD_createCCtx();
	if (!fresh)
		return err_set(err, -ENOMEM, "out of memory for zstd");
	if (ZSTD_isError(ZSTD_CCtx_setParameter(fresh, ZSTD_c_compressionLevel,
						level)) ||
	    ZSTD_isError(
		    ZSTD_CCtx_setParameter(fresh, ZSTD_c_contentSizeFlag, 1)) ||
	    ZSTD_isError(
		    ZSTD_CCtx_setParameter(fresh, ZSTD_c_checksumFlag, 0)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(fresh, ZSTD_c_dictIDFlag, 0))) {
		ZSTD_freeCCtx(fresh);
		return err_set(err, -EIO, "zstd refuses level %d", level);
	}
	*ctx = fresh;
	return 0;
}

/*
 * Are the sample's bytes spread evenly? For n samples the sum of c * c * 256
 * over the counts c is about n * n + 255 * n when they are, and each bit that
 * an entropy coder saves a byte adds about 1.4 n * n. The bound taken, a
 * twelfth of n * n, stands for 0.06 bits of 8, which is 1/130; it takes a
 * saving of 1/32 for the chunk to be kept compressed.
 */
static bool sample_is_even(const uint8_t *content, size_t size)
{
	const uint64_t n = SAMPLE_SIZE;
	uint16_t counts[2][256] = { 0 };
	uint64_t sum = 0;

	for (size_t s = 0; s < SAMPLE_SLICES; s++) {
		const uint8_t *slice = content + (size - SAMPLE_SLICE) /
							 (SAMPLE_SLICES - 1) *
							 s;

		/* Two tables: a run of one byte doesn't wait for itself. */
		for (size_t i = 0; i < SAMPLE_SLICE; i += 2) {
			counts[0][slice[i]]++;
			counts[1][slice[i + 1]]++;
		}
	}
	for (size_t i = 0; i < 256; i++) {
		uint64_t count = (uint64_t)counts[0][i] + counts[1][i];

		sum += count * count;
	}
	return sum * 256 < n * n + 255 * n + n * n / 12;
}

/* 1: not worth the full level. */
static int seems_incompressible(struct codec *codec, const void *content,
				size_t size, void *out, size_t capacity,
				struct err *err)
{
	size_t got;
	int r;

	if (codec->level < 1 || size < PROBE_MIN ||
	    !sample_is_even(content, size))
		return 0;
	r = need_compress(&codec->probe, PROBE_LEVEL, err);
	if (r < 0)
		return r;
	got = ZSTD_compress2(codec->probe, out, capacity, content, size);
	return ZSTD_isError(got) ? 1 : 0;
}

int codec_encode(struct codec *codec, const void *content, size_t size,
		 void *out, size_t *out_size, struct err *err)
{
	size_t capacity = size - div_up(size, 32), got;
	int r;

	if (size == 0 || size > CHUNK_SIZE_MAX)
		return err_set(err, -EINVAL, "a chunk can't have %zu bytes",
			       size);
	/* A twice smaller saving is enough for the probe to let it pass. */
	r = seems_incompressible(codec, content, size, out, size - size / 64,
				 err);
	if (r != 0)
		return r < 0 ? r : CODEC_RAW;

	r = need_compress(&codec->compress, codec->level, err);
	if (r < 0)
		return r;
	got = ZSTD_compress2(codec->compress, out, capacity, content, size);
	/* It is told that there is too little room, or it has no memory: in
	 * both cases the content as it is will do. */
	if (ZSTD_isError(got))
		return CODEC_RAW;
	*out_size = got;
	return CODEC_ZSTD;
}

/* What is wrong with a frame before it is decoded, or NULL. */
static const char *frame_wrong(const uint8_t *coded, size_t coded_size,
			       size_t content_size)
{
	unsigned long long claimed;
	le32 magic;

	if (coded_size < FRAME_HEADER_MIN)
		return "is too short for a zstd frame";
	memcpy(magic.b, coded, sizeof(magic.b));
	if (le32_get(magic) != ZSTD_MAGICNUMBER)
		return "is not a zstd frame";
	claimed = ZSTD_getFrameContentSize(coded, coded_size);
	if (claimed == ZSTD_CONTENTSIZE_ERROR)
		return "has a damaged zstd frame header";
	if (claimed == ZSTD_CONTENTSIZE_UNKNOWN)
		return "does not say its content's size";
	if (claimed != content_size)
		return "says another size of its content";
	if (ZSTD_getDictID_fromFrame(coded, coded_size) != 0)
		return "wants a dictionary";
	/* Also an error code, which no size is equal to. */
	if (ZSTD_findFrameCompressedSize(coded, coded_size) != coded_size)
		return "is not exactly one zstd frame";
	return NULL;
}

static int decode_zstd(struct codec *codec, const void *coded,
		       size_t coded_size, void *content, size_t content_size,
		       struct err *err)
{
	const char *wrong = frame_wrong(coded, coded_size, content_size);
	size_t got;

	if (wrong)
		return err_set(err, -EBADMSG, "the chunk's coded content %s",
			       wrong);
	if (!codec->decompress) {
		codec->decompress = ZSTD_createDCtx();
		if (!codec->decompress)
			return err_set(err, -ENOMEM, "out of memory for zstd");
	}
	got = ZSTD_decompressDCtx(codec->decompress, content, content_size,
				  coded, coded_size);
	if (ZSTD_isError(got))
		return err_set(err, -EBADMSG,
			       "the chunk's zstd frame is damaged: %s",
			       ZSTD_getErrorName(got));
	if (got != content_size)
		return err_set(err, -EBADMSG,
			       "the chunk decodes to %zu bytes instead of %zu",
			       got, content_size);
	return 0;
}

int codec_decode(struct codec *codec, unsigned kind, const void *coded,
		 size_t coded_size, void *content, size_t content_size,
		 struct err *err)
{
	if (content_size == 0 || content_size > CHUNK_SIZE_MAX)
		return err_set(err, -EBADMSG, "a chunk can't have %zu bytes",
			       content_size);
	switch (kind) {
	case CODEC_RAW:
		if (coded_size != content_size)
			return err_set(err, -EBADMSG,
				       "the chunk has %zu bytes instead of %zu",
				       coded_size, content_size);
		memcpy(content, coded, content_size);
		return 0;
	case CODEC_ZSTD:
		return decode_zstd(codec, coded, coded_size, content,
				   content_size, err);
	default:
		return err_set(err, -EOPNOTSUPP,
			       "the chunk's codec %u is not known here: use a "
			       "newer vmsnap",
			       kind);
	}
}
