/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a chunk into the store: id, claim, codec, pack; and of a pack:
 * finisher (data durable, name durable), index. The order is the crash safety:
 * the index hears of a pack only when it is durable, so no table can name one
 * that isn't. A failure anywhere fails the run for good: a claim that was
 * answered to another thread may never come true.
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "format/base/thread.h"
#include "format/store/store_private.h"

/* ---- the run's failure ---- */

int store_fail(struct store *store, int code, const struct err *why)
{
	struct finisher *finisher = &store->finisher;

	pthread_mutex_lock(&finisher->lock);
	if (finisher->failed == 0) {
		finisher->failed = code;
		err_set(&finisher->why, code, "%s", why->text);
	}
	pthread_mutex_unlock(&finisher->lock);
	return code;
}

int store_failed(struct store *store, struct err *err)
{
	struct finisher *finisher = &store->finisher;
	int failed;

	pthread_mutex_lock(&finisher->lock);
	failed = finisher->failed;
	if (failed)
		err_set(err, failed, "%s", finisher->why.text);
	pthread_mutex_unlock(&finisher->lock);
	return failed;
}

/* ---- finisher ---- */

static void job_release(struct finish_job *job)
{
	bytes_release(&job->directory);
	memset(job, 0, sizeof(*job));
}

int store_flush_index(struct store *store, struct sealer *sealer,
		      struct err *err)
{
	char folder[OBJECT_NAME_MAX];
	int r = 0;

	pthread_mutex_lock(&store->flush_lock);
	for (unsigned n = 0; store->adopted && n < 256 && r == 0; n++) {
		if (!store->adopted_folder[n])
			continue;
		snprintf(folder, sizeof(folder), "%s/%02x",
			 object_folder(OBJECT_PACK), n);
		r = backend_settle(store->backend, folder, err);
	}
	if (r == 0)
		store->adopted = false;
	if (r == 0)
		r = index_flush(store->index, sealer, err);
	pthread_mutex_unlock(&store->flush_lock);
	return r;
}

static int finish(struct store *store, struct finish_job *job,
		  struct sealer *sealer, struct err *err)
{
	int r;

	r = backend_put_finish(store->backend, job->put, err);
	job->put = NULL;
	if (r == 0)
		r = index_add_pack(
			store->index, &job->id, job->size_bytes,
			(const struct entry *)job->directory.data,
			(uint32_t)(job->directory.size / sizeof(struct entry)),
			err);
	if (r == 0 && index_wants_flush(store->index))
		r = store_flush_index(store, sealer, err);
	return r;
}

static void finish_or_abort(struct store *store, struct finish_job *job,
			    struct sealer *sealer)
{
	struct err why = { 0 };
	int r;

	if (store_failed(store, NULL)) {
		backend_put_abort(store->backend, job->put);
	} else {
		r = finish(store, job, sealer, &why);
		if (r < 0)
			store_fail(store, r, &why);
	}
	job_release(job);
}

static void *finisher_main(void *arg)
{
	struct store *store = arg;
	struct finisher *finisher = &store->finisher;
	struct finish_job job;

	pthread_mutex_lock(&finisher->lock);
	for (;;) {
		while (!finisher->count && !finisher->stop)
			pthread_cond_wait(&finisher->changed, &finisher->lock);
		if (!finisher->count)
			break;
		job = finisher->jobs[0];
		finisher->count--;
		memmove(&finisher->jobs[0], &finisher->jobs[1],
			finisher->count * sizeof(job));
		finisher->busy = true;
		pthread_cond_broadcast(&finisher->changed);
		pthread_mutex_unlock(&finisher->lock);
		finish_or_abort(store, &job, finisher->sealer);
		pthread_mutex_lock(&finisher->lock);
		finisher->busy = false;
		pthread_cond_broadcast(&finisher->changed);
	}
	pthread_mutex_unlock(&finisher->lock);
	return NULL;
}

int finisher_init(struct finisher *finisher, struct err *err)
{
	finisher->sealer = sealer_new(err);
	if (!finisher->sealer)
		return -ENOMEM;
	pthread_mutex_init(&finisher->lock, NULL);
	pthread_cond_init(&finisher->changed, NULL);
	return 0;
}

/* With the lock held. Signals are the main thread's. */
static int start_thread(struct store *store, struct err *err)
{
	struct finisher *finisher = &store->finisher;
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&finisher->thread, NULL, finisher_main, store);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		return thread_failed(err, -r, "a thread");
	finisher->has_thread = true;
	return 0;
}

void finisher_release(struct store *store)
{
	struct finisher *finisher = &store->finisher;

	if (!finisher->sealer)
		return;
	pthread_mutex_lock(&finisher->lock);
	finisher->stop = true;
	pthread_cond_broadcast(&finisher->changed);
	pthread_mutex_unlock(&finisher->lock);
	if (finisher->has_thread)
		pthread_join(finisher->thread, NULL);
	assert(finisher->count == 0);
	pthread_cond_destroy(&finisher->changed);
	pthread_mutex_destroy(&finisher->lock);
	sealer_free(finisher->sealer);
}

int finisher_wait(struct store *store, struct err *err)
{
	struct finisher *finisher = &store->finisher;

	pthread_mutex_lock(&finisher->lock);
	while (finisher->count || finisher->busy)
		pthread_cond_wait(&finisher->changed, &finisher->lock);
	pthread_mutex_unlock(&finisher->lock);
	return store_failed(store, err);
}

/* Takes the job over, also on failure. */
static int finisher_give(struct store *store, struct finish_job *job,
			 struct err *err)
{
	struct finisher *finisher = &store->finisher;
	int r = 0;

	if (store->backend->single_thread) {
		finish_or_abort(store, job, finisher->sealer);
		return store_failed(store, err);
	}
	pthread_mutex_lock(&finisher->lock);
	if (!finisher->has_thread)
		r = start_thread(store, err);
	while (r == 0 && !finisher->failed && finisher->count == FINISHER_QUEUE)
		pthread_cond_wait(&finisher->changed, &finisher->lock);
	if (r == 0 && finisher->failed)
		r = err_set(err, finisher->failed, "%s", finisher->why.text);
	if (r == 0) {
		finisher->jobs[finisher->count++] = *job;
		pthread_cond_broadcast(&finisher->changed);
	}
	pthread_mutex_unlock(&finisher->lock);
	if (r < 0) {
		backend_put_abort(store->backend, job->put);
		job_release(job);
	}
	return r;
}

/* ---- packs ---- */

static void drop_pack(struct store_thread *thread)
{
	if (thread->pack_is_open)
		pack_writer_release(&thread->pack);
	thread->pack_is_open = false;
}

static int hand_over(struct store_thread *thread, struct err *err)
{
	struct finish_job job = { 0 };
	int r;

	job.id = thread->pack.id;
	r = pack_writer_seal(&thread->pack, thread->sealer, &job.put,
			     &job.size_bytes, err);
	if (r < 0) {
		drop_pack(thread);
		return r;
	}
	job.directory = thread->pack.directory;
	memset(&thread->pack.directory, 0, sizeof(thread->pack.directory));
	drop_pack(thread);
	return finisher_give(thread->store, &job, err);
}

int store_thread_flush(struct store_thread *thread, struct err *err)
{
	struct err why = { 0 };
	int r = store_failed(thread->store, err);

	if (r < 0 || !thread->pack_is_open)
		return r;
	r = hand_over(thread, &why);
	if (r < 0) {
		err_set(err, r, "%s", why.text);
		store_fail(thread->store, r, &why);
	}
	return r;
}

/* What the pack holds was claimed, and a later run would count on it. */
static void break_off(struct store_thread *thread)
{
	struct err why = { 0 };

	if (!thread->pack_is_open)
		return;
	err_set(&why, -ECANCELED,
		"an earlier run was broken off: open the store again");
	store_fail(thread->store, why.code, &why);
	drop_pack(thread);
}

void store_thread_free(struct store_thread *thread)
{
	if (!thread)
		return;
	break_off(thread);
	hasher_free(thread->hasher);
	sealer_free(thread->sealer);
	codec_free(thread->codec);
	free(thread->coded);
	free(thread->located);
	free(thread->buffer);
	wipe(thread->keys, sizeof(thread->keys));
	free(thread);
}

/* Does a chunk of this size still belong into the open pack? */
static bool fits(const struct store_thread *thread, size_t coded_size)
{
	const struct pack_writer *pack = &thread->pack;
	uint32_t count = pack_writer_count(pack);

	return count < PACK_COUNT_MAX &&
	       pack->offset + coded_size + SEAL_TAG_SIZE +
			       PACK_TAIL_SIZE(count + 1) <=
		       max_u64(thread->store->config.pack_size_bytes,
			       coded_size + MIB);
}

static int add_to_pack(struct store_thread *thread, const struct id *id,
		       enum chunk_kind kind, enum codec_kind codec,
		       const void *coded, size_t coded_size,
		       uint32_t content_size, struct entry *entry,
		       struct err *err)
{
	struct store *store = thread->store;
	int r = 0;

	if (thread->pack_is_open && !fits(thread, coded_size))
		r = hand_over(thread, err);
	if (r == 0 && !thread->pack_is_open) {
		r = pack_writer_open(&thread->pack, store->backend,
				     &store->config.store,
				     store->masters.data_key, err);
		thread->pack_is_open = r == 0;
	}
	if (r == 0)
		r = pack_writer_add(&thread->pack, thread->sealer, id, kind,
				    codec, content_size, coded, coded_size,
				    entry, err);
	return r;
}

/* ---- put ---- */

static int put_new(struct store_thread *thread, enum chunk_kind kind,
		   const void *content, size_t size, const struct id *id,
		   struct put_result *result, struct err *err)
{
	struct store *store = thread->store;
	const void *coded = content;
	size_t coded_size = size;
	struct entry entry;
	int codec, r = 0;

	if (!thread->coded)
		r = alloc_array(&thread->coded, CHUNK_SIZE_MAX + SEAL_TAG_SIZE,
				1, err);
	if (r < 0)
		return r;
	codec = codec_encode(thread->codec, content, size, thread->coded,
			     &coded_size, err);
	if (codec < 0)
		return codec;
	if (codec == CODEC_RAW)
		coded_size = size;
	else
		coded = thread->coded;

	if (store->mode == STORE_DRY)
		__atomic_add_fetch(&store->dry_bytes,
				   coded_size + SEAL_TAG_SIZE +
					   2 * sizeof(struct entry),
				   __ATOMIC_RELAXED);
	else
		r = add_to_pack(thread, id, kind, (enum codec_kind)codec, coded,
				coded_size, (uint32_t)size, &entry, err);
	if (r < 0)
		return r;
	result->is_new = true;
	result->stored_bytes = (uint32_t)(coded_size + SEAL_TAG_SIZE);
	return 0;
}

static int put_known(struct store_thread *thread, enum chunk_kind kind,
		     const void *content, size_t size, const struct id *id,
		     struct put_result *result, struct err *err)
{
	struct index *index = thread->store->index;
	struct put_result made = { 0 };
	int r = 0;

	if (thread->store->mode == STORE_DRY)
		r = index_limit_claims(index, DRY_CLAIMS_MAX, err);
	if (r == 0)
		r = index_claim(index, thread->sealer, id, err);
	if (r > 0)
		r = put_new(thread, kind, content, size, id, &made, err);
	if (r == 0)
		*result = made;
	return r;
}

static int check_put(struct store_thread *thread, size_t size, struct err *err)
{
	int r = store_check_writable(thread->store, err);

	if (r == 0)
		r = store_failed(thread->store, err);
	if (r == 0 && (size < 1 || size > CHUNK_SIZE_MAX))
		r = err_set(err, -EINVAL, "a chunk of %zu bytes: not 1 to %u",
			    size, CHUNK_SIZE_MAX);
	return r;
}

int store_put_known(struct store_thread *thread, enum chunk_kind kind,
		    const void *content, size_t size, const struct id *id,
		    struct put_result *result, struct err *err)
{
	struct err why = { 0 };
	int r = check_put(thread, size, err);

	if (r < 0)
		return r;
	r = put_known(thread, kind, content, size, id, result, &why);
	if (r < 0) {
		err_set(err, r, "%s", why.text);
		store_fail(thread->store, r, &why);
	}
	return r;
}

int store_put(struct store_thread *thread, enum chunk_kind kind,
	      const void *content, size_t size, struct id *id,
	      struct put_result *result, struct err *err)
{
	struct id made;
	int r = check_put(thread, size, err);

	if (r == 0)
		r = hasher_id(thread->hasher, kind, content, size, &made, err);
	if (r == 0)
		r = store_put_known(thread, kind, content, size, &made, result,
				    err);
	if (r == 0)
		*id = made;
	return r;
}

uint64_t store_stored_bytes(const struct store *store)
{
	uint64_t put =
		__atomic_load_n(&store->backend->put_bytes, __ATOMIC_RELAXED);

	return put - store->put_bytes_before +
	       __atomic_load_n(&store->dry_bytes, __ATOMIC_RELAXED);
}
