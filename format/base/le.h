/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little-endian integers as they lie on disk: byte arrays in a struct, so that
 * there is no padding, no alignment, and comparing one without leNN_get() does
 * not compile.
 */
#ifndef FORMAT_BASE_LE_H
#define FORMAT_BASE_LE_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "vmsnap runs on little-endian hosts"
#endif

typedef struct {
	uint8_t b[2];
} le16;
typedef struct {
	uint8_t b[4];
} le32;
typedef struct {
	uint8_t b[8];
} le64;

static inline uint16_t le16_get(le16 v)
{
	uint16_t n;

	memcpy(&n, v.b, sizeof(n));
	return n;
}

static inline uint32_t le32_get(le32 v)
{
	uint32_t n;

	memcpy(&n, v.b, sizeof(n));
	return n;
}

static inline uint64_t le64_get(le64 v)
{
	uint64_t n;

	memcpy(&n, v.b, sizeof(n));
	return n;
}

static inline le16 le16_make(uint16_t n)
{
	le16 v;

	memcpy(v.b, &n, sizeof(n));
	return v;
}

static inline le32 le32_make(uint32_t n)
{
	le32 v;

	memcpy(v.b, &n, sizeof(n));
	return v;
}

static inline le64 le64_make(uint64_t n)
{
	le64 v;

	memcpy(v.b, &n, sizeof(n));
	return v;
}

/* Big-endian, for names that must sort as text. */
static inline uint64_t be64_get(const uint8_t *b)
{
	uint64_t n;

	memcpy(&n, b, sizeof(n));
	return __builtin_bswap64(n);
}

static inline void be64_put(uint8_t *b, uint64_t n)
{
	n = __builtin_bswap64(n);
	memcpy(b, &n, sizeof(n));
}

#endif
