/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs: each one that a table names must be there, as long as the table
 * says, with a directory that can be read. All workers, a pack at a time; of
 * each entry only a fingerprint is kept, for check_entries() to hold the
 * tables against. Packs that no table names are what a writer left that died;
 * they do no harm, but one that can't be read is damage, since a pack gets
 * its name only once it is whole.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/check.h"

struct pack_job {
	struct table_pack pack; /* of a stray one: the id only */
	bool is_stray;
};

struct pack_jobs {
	struct check *check;
	struct bytes list; /* struct pack_job each */
	uint64_t chunks;   /* in the packs named */
	size_t next;       /* under check->lock */
	bool failed;       /* as well */
	struct err *err;   /* while the list is made */
};

static int jobs_add(struct pack_jobs *jobs, const struct pack_job *job,
		    struct err *err)
{
	return bytes_append(&jobs->list, job, sizeof(*job), err);
}

static int jobs_add_named(void *arg, const struct table_pack *pack)
{
	struct pack_jobs *jobs = arg;
	struct pack_job job = { .pack = *pack };
	int r = id_set_add(&jobs->check->held, &pack->id, jobs->err);

	if (r < 0)
		return r;
	jobs->chunks += le32_get(pack->count);
	jobs->check->result.packs++;
	return jobs_add(jobs, &job, jobs->err);
}

static int jobs_add_stray(void *arg, const char *leaf, struct err *err)
{
	struct pack_jobs *jobs = arg;
	struct pack_job job = { .is_stray = true };

	if (hex_decode(job.pack.id.b, ID_SIZE, leaf, strlen(leaf)) < 0)
		return 0; /* no pack's name: ignored, spec/store.md, Names */
	if (id_set_has(&jobs->check->held, &job.pack.id))
		return 0;
	jobs->check->result.packs++;
	return jobs_add(jobs, &job, err);
}

/* ---- one pack ---- */

static int pack_error(struct check *check, const struct id *pack,
		      const struct err *why, struct err *err)
{
	char name[OBJECT_NAME_MAX];
	uint32_t number = NO_ERROR;
	int r;

	pack_name(name, pack);
	pthread_mutex_lock(&check->lock);
	r = check_error(check, name, why, &number, err);
	if (!r)
		r = blame_add(&check->packs, pack, number, CHUNK_DATA, true,
			      err);
	pthread_mutex_unlock(&check->lock);
	return r;
}

static int stray_note(struct check *check, const struct bytes *directory,
		      struct err *err)
{
	const struct entry *entries = (const struct entry *)directory->data;
	size_t count = directory->size / sizeof(*entries);
	int r = 0;

	pthread_mutex_lock(&check->lock);
	for (size_t n = 0; n < count && r >= 0; n++)
		r = print_set_add(&check->stray, print_of_id(&entries[n].id),
				  err);
	pthread_mutex_unlock(&check->lock);
	return r < 0 ? r : 0;
}

static int placed_note(struct check *check, const struct id *pack,
		       const struct entry *entries, uint32_t count,
		       struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&check->lock);
	for (uint32_t n = 0; n < count && r >= 0; n++)
		r = print_set_add(&check->placed,
				  print_of_entry(pack, &entries[n]), err);
	pthread_mutex_unlock(&check->lock);
	return r < 0 ? r : 0;
}

/* What the table says of the pack, against the pack. */
static int pack_compare(const struct pack_job *job,
			const struct pack_info *info, struct err *why)
{
	if (info->size_bytes != le64_get(job->pack.size_bytes))
		return err_set(
			why, -EBADMSG, "it has %llu bytes, a table says %llu",
			(unsigned long long)info->size_bytes,
			(unsigned long long)le64_get(job->pack.size_bytes));
	if (info->count != le32_get(job->pack.count))
		return err_set(why, -EBADMSG,
			       "it has %u chunks, a table says %u", info->count,
			       le32_get(job->pack.count));
	return 0;
}

static int pack_check(struct check *check, struct store_thread *thread,
		      struct pack_data *data, struct bytes *directory,
		      const struct pack_job *job, struct err *err)
{
	struct store *store = check->vms->store;
	const struct id *id = &job->pack.id;
	struct pack_info info = { 0 };
	struct err why = { 0 };
	int r;

	directory->size = 0;
	r = pack_read_directory(
		store_backend(store), store_thread_sealer(thread),
		&store_config(store)->store, store_masters(store)->data_key, id,
		&info, directory, &why);
	if (r == -ENOENT && job->is_stray)
		return 0; /* deleted meanwhile */
	if (r == -ENOENT)
		err_set(&why, -EBADMSG,
			"the pack is missing, and a table names it");
	else if (!r && !job->is_stray)
		r = pack_compare(job, &info, &why);
	if (check_is_fatal(r))
		return err_set(err, r, "%s", why.text);
	if (r)
		return pack_error(check, id, &why, err);
	if (check->progress && !data)
		progress_add(&check->progress->done_bytes, directory->size);
	if (job->is_stray)
		return stray_note(check, directory, err);
	r = placed_note(check, id, (const struct entry *)directory->data,
			info.count, err);
	if (!r && data)
		r = pack_data_check(data, id,
				    (const struct entry *)directory->data,
				    info.count, err);
	return r;
}

static const struct pack_job *jobs_take(struct pack_jobs *jobs)
{
	const struct pack_job *list = (const struct pack_job *)jobs->list.data;
	const struct pack_job *job = NULL;

	pthread_mutex_lock(&jobs->check->lock);
	if (!jobs->failed && jobs->next < jobs->list.size / sizeof(*list))
		job = &list[jobs->next++];
	pthread_mutex_unlock(&jobs->check->lock);
	return job;
}

static int packs_worker(void *arg, unsigned worker, struct err *err)
{
	struct pack_jobs *jobs = arg;
	struct check *check = jobs->check;
	struct store_thread *thread = store_thread_new(check->vms->store, err);
	const struct pack_job *job;
	struct pack_data *data = NULL;
	struct bytes directory = { 0 };
	int r = thread ? 0 : -ENOMEM;

	(void)worker;
	if (!r && check->how->read_data)
		r = pack_data_new(&data, check, err);
	while (!r && (job = jobs_take(jobs))) {
		r = progress_check(check->progress, err);
		if (!r)
			r = pack_check(check, thread, data, &directory, job,
				       err);
	}
	if (r) {
		pthread_mutex_lock(&check->lock);
		jobs->failed = true;
		pthread_mutex_unlock(&check->lock);
	}
	bytes_release(&directory);
	pack_data_free(data);
	store_thread_free(thread);
	return r;
}

static void total_set(const struct pack_jobs *jobs)
{
	const struct pack_job *list = (const struct pack_job *)jobs->list.data;
	const struct check *check = jobs->check;
	uint64_t bytes = 0;

	if (!check->progress || !check->how->read_data)
		return;
	for (size_t n = 0; n < jobs->list.size / sizeof(*list); n++) {
		if (!list[n].is_stray)
			bytes += le64_get(list[n].pack.size_bytes);
	}
	if (check->how->share < 1)
		bytes = (uint64_t)((double)bytes * check->how->share);
	progress_add(&check->progress->total_bytes, bytes);
}

int check_packs(struct check *check, struct err *err)
{
	struct pack_jobs jobs = { .check = check, .err = err };
	struct store *store = check->vms->store;
	int r = index_packs(store_index(store), jobs_add_named, &jobs);

	if (r == -ENOMEM && err && !err->code)
		err_set(err, r, "out of memory for a list of packs");
	if (!r)
		r = backend_list(store_backend(store), "packs", jobs_add_stray,
				 &jobs, err);
	if (!r)
		r = print_set_reserve(&check->placed, jobs.chunks, err);
	if (!r) {
		total_set(&jobs);
		r = pool_run(check->vms->readers, packs_worker, &jobs, err);
	}
	bytes_release(&jobs.list);
	return r;
}
