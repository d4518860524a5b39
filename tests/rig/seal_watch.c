/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's own EVP_* go before libcrypto's and hand on to them. A context
 * is known by its address: a new one at an old address is given a key before it
 * encrypts. What was sealed is kept as fingerprints of 8 bytes.
 */
#include "tests/rig/seal_watch.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <xxhash.h>

#define CONTEXTS   1024u
#define SLOTS_MIN  4096u
#define KEY_SIZE   32
#define NONCE_SIZE 12

struct pair {
	uint8_t key[KEY_SIZE];
	uint8_t nonce[NONCE_SIZE];
};

struct context {
	const EVP_CIPHER_CTX *ctx;
	struct pair pair;
	uint64_t additional; /* fingerprint */
};

struct seal {
	uint64_t pair; /* fingerprint; 0: free */
	uint64_t what;
};

static struct {
	bool on;
	struct context contexts[CONTEXTS];
	struct seal *seals;
	size_t capacity;
	uint64_t count, repeats;
} watch;

static void *next_symbol(const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	if (!symbol)
		abort();
	return symbol;
}

void seal_watch_start(void)
{
	watch.on = true;
	watch.count = watch.repeats = 0;
	memset(watch.contexts, 0, sizeof(watch.contexts));
	if (watch.seals)
		memset(watch.seals, 0, watch.capacity * sizeof(*watch.seals));
}

void seal_watch_stop(void)
{
	watch.on = false;
}

uint64_t seal_watch_seals(void)
{
	return watch.count;
}

uint64_t seal_watch_repeats(void)
{
	return watch.repeats;
}

static struct context *context_of(const EVP_CIPHER_CTX *ctx)
{
	size_t at = (size_t)((uintptr_t)ctx >> 4);

	for (size_t n = 0; n < CONTEXTS; n++) {
		struct context *context = &watch.contexts[(at + n) % CONTEXTS];

		if (!context->ctx)
			context->ctx = ctx;
		if (context->ctx == ctx)
			return context;
	}
	abort();
}

static struct seal *seal_slot(uint64_t pair)
{
	size_t at = (size_t)pair & (watch.capacity - 1);

	while (watch.seals[at].pair && watch.seals[at].pair != pair)
		at = (at + 1) & (watch.capacity - 1);
	return &watch.seals[at];
}

static void seals_grow(void)
{
	struct seal *old = watch.seals;
	size_t count = watch.capacity;

	watch.capacity = count ? 2 * count : SLOTS_MIN;
	watch.seals = calloc(watch.capacity, sizeof(*watch.seals));
	if (!watch.seals)
		abort();
	for (size_t n = 0; n < count; n++) {
		if (old[n].pair)
			*seal_slot(old[n].pair) = old[n];
	}
	free(old);
}

static void note(const struct pair *pair, uint64_t what)
{
	uint64_t print = XXH3_64bits(pair, sizeof(*pair)) | 1;
	struct seal *seal;

	if (2 * (watch.count + 1) > watch.capacity)
		seals_grow();
	seal = seal_slot(print);
	if (seal->pair && seal->what != what)
		watch.repeats++;
	else if (!seal->pair)
		watch.count++;
	seal->pair = print;
	seal->what = what;
}

/* ---- libcrypto's ---- */

int EVP_CipherInit_ex2(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher,
		       const unsigned char *key, const unsigned char *iv,
		       int enc, const OSSL_PARAM params[])
{
	static int (*real)(EVP_CIPHER_CTX *, const EVP_CIPHER *,
			   const unsigned char *, const unsigned char *, int,
			   const OSSL_PARAM *);
	struct context *context;

	if (!real)
		*(void **)&real = next_symbol("EVP_CipherInit_ex2");
	if (watch.on && enc == 1) {
		context = context_of(ctx);
		if (key)
			memcpy(context->pair.key, key, KEY_SIZE);
		if (iv)
			memcpy(context->pair.nonce, iv, NONCE_SIZE);
		context->additional = 0;
	}
	return real(ctx, cipher, key, iv, enc, params);
}

int EVP_CipherUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_size,
		     const unsigned char *in, int size)
{
	static int (*real)(EVP_CIPHER_CTX *, unsigned char *, int *,
			   const unsigned char *, int);

	if (!real)
		*(void **)&real = next_symbol("EVP_CipherUpdate");
	if (watch.on && !out && EVP_CIPHER_CTX_is_encrypting(ctx))
		context_of(ctx)->additional = XXH3_64bits(in, (size_t)size);
	return real(ctx, out, out_size, in, size);
}

int EVP_EncryptUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_size,
		      const unsigned char *in, int size)
{
	static int (*real)(EVP_CIPHER_CTX *, unsigned char *, int *,
			   const unsigned char *, int);
	const struct context *context;

	if (!real)
		*(void **)&real = next_symbol("EVP_EncryptUpdate");
	if (watch.on && out) {
		context = context_of(ctx);
		note(&context->pair, XXH3_64bits_withSeed(in, (size_t)size,
							  context->additional));
	}
	return real(ctx, out, out_size, in, size);
}
