/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of a backup: what two threads need at the least for the work that
 * no backup of ours can do without, on the data extents of one file in 64 KiB
 * chunks. Stages build on each other:
 *
 *	read	bytes from the page cache into a buffer
 *	gmac	+ the change filter's tag (AES-256-GMAC)
 *	hmac	+ the id (HMAC-SHA-256)
 *	zstd	+ compression
 *	seal	+ AES-256-GCM
 *	write	+ written to a file in MiB-sized pieces
 *
 * No dedup, index, tree or order: nothing but the work itself. Contexts are
 * made once a thread, keys are set once, nothing is allocated in the loop.
 * Prints one JSON object a stage and level.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <zstd.h>

#include "tests/bench/extents.h"

enum stage { READ, GMAC, HMAC, ZSTD, SEAL, WRITE, STAGES };

static const char *const stage_names[STAGES] = { "read", "gmac", "hmac",
						 "zstd", "seal", "write" };

#define THREADS_MAX 64
#define OUT_BYTES   (1 * MIB)
#define TAG_BYTES   16

struct job {
	struct pieces pieces;
	enum stage stage;
	int level;
	size_t chunk;
	int out_fd;
	_Atomic uint64_t out_at;
	_Atomic uint64_t bytes_out;
};

struct worker {
	struct job *job;
	EVP_CIPHER_CTX *gmac;
	EVP_CIPHER_CTX *gcm;
	EVP_MAC_CTX *hmac;
	ZSTD_CCtx *zstd;
	uint8_t *in;
	uint8_t *packed;
	uint8_t *out;
	size_t packed_capacity;
	size_t out_capacity;
	size_t out_used;
	uint64_t bytes_out;
};

static const uint8_t key[32] = "floor: a key that protects none";

static void must(bool ok, const char *what)
{
	if (!ok)
		errx(1, "%s failed", what);
}

static EVP_CIPHER_CTX *gcm_new(void)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();

	must(c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, NULL),
	     "AES-256-GCM");
	return c;
}

static EVP_MAC_CTX *hmac_new(void)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *c = mac ? EVP_MAC_CTX_new(mac) : NULL;
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest,
						 0),
		OSSL_PARAM_construct_end(),
	};

	must(c && EVP_MAC_init(c, key, sizeof(key), params), "HMAC-SHA-256");
	EVP_MAC_free(mac);
	return c;
}

static void worker_open(struct worker *w, struct job *job)
{
	size_t buffer = (size_t)max_u64(job->chunk, PIECE_BYTES);

	*w = (struct worker){
		.job = job,
		.packed_capacity = ZSTD_compressBound(job->chunk),
	};
	w->out_capacity = OUT_BYTES + w->packed_capacity + TAG_BYTES;
	w->gmac = gcm_new();
	w->gcm = gcm_new();
	w->hmac = hmac_new();
	w->zstd = ZSTD_createCCtx();
	w->in = aligned_alloc(4096, buffer);
	w->packed = malloc(w->packed_capacity);
	w->out = malloc(w->out_capacity);
	must(w->zstd && w->in && w->packed && w->out, "allocation");
	/* The buffers' pages are not part of the work. */
	memset(w->in, 1, buffer);
	memset(w->packed, 1, w->packed_capacity);
	memset(w->out, 1, w->out_capacity);
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, job->level);
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_contentSizeFlag, 0);
}

static void worker_close(struct worker *w)
{
	EVP_CIPHER_CTX_free(w->gmac);
	EVP_CIPHER_CTX_free(w->gcm);
	EVP_MAC_CTX_free(w->hmac);
	ZSTD_freeCCtx(w->zstd);
	free(w->in);
	free(w->packed);
	free(w->out);
}

static void flush_out(struct worker *w)
{
	uint64_t at = atomic_fetch_add(&w->job->out_at, w->out_used);
	size_t done = 0;

	while (done < w->out_used) {
		ssize_t n = pwrite(w->job->out_fd, w->out + done,
				   w->out_used - done, (off_t)(at + done));

		if (n <= 0)
			err(1, "write at %llu", (unsigned long long)at);
		done += (size_t)n;
	}
	w->out_used = 0;
}

static void tag_chunk(struct worker *w, const uint8_t *data, size_t size,
		      uint64_t number)
{
	uint8_t nonce[12] = { 0 }, tag[TAG_BYTES];
	int n;

	memcpy(nonce, &number, sizeof(number));
	must(EVP_EncryptInit_ex(w->gmac, NULL, NULL, NULL, nonce) &&
		     EVP_EncryptUpdate(w->gmac, NULL, &n, data, (int)size) &&
		     EVP_EncryptFinal_ex(w->gmac, tag, &n) &&
		     EVP_CIPHER_CTX_ctrl(w->gmac, EVP_CTRL_AEAD_GET_TAG,
					 TAG_BYTES, tag),
	     "GMAC");
}

static void id_chunk(struct worker *w, const uint8_t *data, size_t size)
{
	uint8_t id[32];
	size_t n;

	must(EVP_MAC_init(w->hmac, NULL, 0, NULL) &&
		     EVP_MAC_update(w->hmac, data, size) &&
		     EVP_MAC_final(w->hmac, id, &n, sizeof(id)),
	     "HMAC");
}

/* Sealed into the out buffer, the tag after it. */
static void seal_chunk(struct worker *w, const uint8_t *data, size_t size,
		       uint64_t number)
{
	uint8_t nonce[12] = { 0 };
	uint8_t *to = w->out + w->out_used;
	int n;

	memcpy(nonce, &number, sizeof(number));
	must(EVP_EncryptInit_ex(w->gcm, NULL, NULL, NULL, nonce) &&
		     EVP_EncryptUpdate(w->gcm, to, &n, data, (int)size) &&
		     EVP_EncryptFinal_ex(w->gcm, to + n, &n) &&
		     EVP_CIPHER_CTX_ctrl(w->gcm, EVP_CTRL_AEAD_GET_TAG,
					 TAG_BYTES, to + size),
	     "AES-256-GCM");
	w->out_used += size + TAG_BYTES;
}

static void do_chunk(struct worker *w, const uint8_t *data, size_t size,
		     uint64_t number)
{
	enum stage stage = w->job->stage;
	size_t packed;

	if (stage >= GMAC)
		tag_chunk(w, data, size, number);
	if (stage >= HMAC)
		id_chunk(w, data, size);
	if (stage < ZSTD)
		return;

	packed = ZSTD_compress2(w->zstd, w->packed, w->packed_capacity, data,
				size);
	must(!ZSTD_isError(packed), "zstd");
	if (packed < size)
		data = w->packed;
	else
		packed = size;
	w->bytes_out += packed + (stage >= SEAL ? TAG_BYTES : 0);
	if (stage >= SEAL)
		seal_chunk(w, data, packed, number);
	if (w->out_used >= OUT_BYTES) {
		if (stage >= WRITE)
			flush_out(w);
		w->out_used = 0;
	}
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	struct job *job = w->job;
	struct piece piece;

	while (pieces_next(&job->pieces, w->in, &piece)) {
		for (size_t at = 0; at < piece.length; at += job->chunk) {
			size_t size =
				(size_t)min_u64(job->chunk, piece.length - at);

			do_chunk(w, w->in + at, size,
				 (piece.offset + at) / job->chunk);
		}
	}
	if (job->stage >= WRITE)
		flush_out(w);
	atomic_fetch_add(&job->bytes_out, w->bytes_out);
	return NULL;
}

static void run_stage(struct job *job, unsigned threads, bool sync_out)
{
	struct worker workers[THREADS_MAX];
	pthread_t ids[THREADS_MAX];
	double wall, cpu;

	atomic_store(&job->pieces.taken, 0);
	atomic_store(&job->out_at, 0);
	atomic_store(&job->bytes_out, 0);
	if (job->stage >= WRITE && ftruncate(job->out_fd, 0) < 0)
		err(1, "truncate");
	for (unsigned i = 0; i < threads; i++)
		worker_open(&workers[i], job);

	wall = wall_seconds();
	cpu = cpu_seconds();
	for (unsigned i = 1; i < threads; i++)
		must(!pthread_create(&ids[i], NULL, worker_run, &workers[i]),
		     "thread");
	worker_run(&workers[0]);
	for (unsigned i = 1; i < threads; i++)
		pthread_join(ids[i], NULL);
	if (job->stage >= WRITE && sync_out && fsync(job->out_fd) < 0)
		err(1, "fsync");
	wall = wall_seconds() - wall;
	cpu = cpu_seconds() - cpu;

	for (unsigned i = 0; i < threads; i++)
		worker_close(&workers[i]);
	printf("{\"stage\":\"%s\",", stage_names[job->stage]);
	if (job->stage >= ZSTD)
		printf("\"level\":%d,", job->level);
	printf("\"chunk_bytes\":%zu,\"threads\":%u,\"synced\":%s,"
	       "\"seconds\":%.4f,\"cpu_seconds\":%.4f,\"bytes_in\":%llu,"
	       "\"bytes_out\":%llu}\n",
	       job->chunk, threads,
	       job->stage >= WRITE && sync_out ? "true" : "false", wall, cpu,
	       (unsigned long long)job->pieces.bytes,
	       (unsigned long long)job->bytes_out);
	fflush(stdout);
}

static const char usage[] =
	"usage: floor [--stages read,gmac,hmac,zstd,seal,write]\n"
	"\t[--levels 1,3] [--chunk BYTES] [--threads N] [--sync]\n"
	"\t[--out FILE] FILE\n"
	"write needs --out, which is truncated and left behind.\n";

/* Each stage, and from zstd on each level of the comma-separated lists. */
static void run_lists(struct job *job, unsigned threads, bool sync_out,
		      const char *stages, const char *levels)
{
	for (enum stage s = READ; s < STAGES; s++) {
		const char *found = strstr(stages, stage_names[s]);
		const char *l = levels;

		if (!found)
			continue;
		if (s == WRITE && job->out_fd < 0)
			errx(2, "write needs --out\n%s", usage);
		job->stage = s;
		do {
			char *end;

			job->level = (int)strtol(l, &end, 10);
			if (end == l || (*end && *end != ','))
				errx(2, "--levels %s?\n%s", levels, usage);
			l = *end ? end + 1 : NULL;
			run_stage(job, threads, sync_out);
		} while (l && s >= ZSTD);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "stages", 1, NULL, 's' }, { "levels", 1, NULL, 'l' },
		{ "chunk", 1, NULL, 'c' },  { "threads", 1, NULL, 't' },
		{ "out", 1, NULL, 'o' },    { "sync", 0, NULL, 'y' },
		{ NULL, 0, NULL, 0 },
	};
	struct job job = { .chunk = 64 * KIB, .out_fd = -1 };
	const char *stages = "read,gmac,hmac,zstd,seal", *levels = "1";
	unsigned threads = 2;
	bool sync_out = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			stages = optarg;
		else if (c == 'l')
			levels = optarg;
		else if (c == 'c')
			job.chunk = strtoul(optarg, NULL, 10);
		else if (c == 't')
			threads = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'y')
			sync_out = true;
		else if (c == 'o')
			job.out_fd = open(optarg, O_RDWR | O_CREAT | O_CLOEXEC,
					  0600);
		else
			errx(2, "%s", usage);
		if (c == 'o' && job.out_fd < 0)
			err(1, "%s", optarg);
	}
	if (optind + 1 != argc || threads < 1 || threads > THREADS_MAX ||
	    !is_power_of_two(job.chunk) || job.chunk < 4 * KIB ||
	    job.chunk > CHUNK_BYTES_MAX)
		errx(2, "%s", usage);

	pieces_open(&job.pieces, argv[optind], job.chunk);
	run_lists(&job, threads, sync_out, stages, levels);
	pieces_close(&job.pieces);
	if (job.out_fd >= 0)
		close(job.out_fd);
	return 0;
}
