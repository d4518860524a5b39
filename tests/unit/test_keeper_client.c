/* SPDX-License-Identifier: Apache-2.0 */
/* An agent's end of a keeper: what it reads, and what it does while no keeper
 * is there. */
#include "tests/unit/keeper_bench.h"

#include "vmsnap/keeper/client.h"

static struct image_base_info info_of(struct bench *bench)
{
	const struct volume *volume = &bench->snapshot.volumes[0];
	struct image_base_info info = {
		.present = true,
		.chunk_log2 = volume->chunk_log2,
		.size_bytes = volume->size_bytes,
	};

	memcpy(info.root, volume->root.b, ID_SIZE);
	memcpy(info.store_id, store_config(vms_store(bench->rig->vms))->store.b,
	       sizeof(info.store_id));
	return info;
}

static int new_client(struct bench *bench, struct keeper_client **out,
		      uint8_t (*grants)[KEEPER_GRANT_SIZE], struct err *err)
{
	const struct keeper_client_options options = {
		.folder = bench->rig->dir,
		.grants = (const uint8_t(*)[KEEPER_GRANT_SIZE])grants,
		.grant_count = 1,
		.patience_ms = PATIENCE,
	};

	return keeper_client_new(out, &options, err);
}

static void open_client(struct bench *bench, struct keeper_client **client,
			struct image_base **base)
{
	uint8_t grants[1][KEEPER_GRANT_SIZE];
	struct image_base_info info = info_of(bench);
	struct err err = { 0 };

	get_grant(bench, "web", grants[0]);
	ok(new_client(bench, client, grants, &err), &err);
	ok(keeper_client_base(base, *client, &info, &err), &err);
}

struct sight {
	struct bench *bench;
	struct image_base *base;
	pthread_t thread;
	uint64_t seed;
	atomic_uint rounds, failed;
	atomic_bool stop;
};

static void *read_on(void *arg)
{
	struct sight *reader = arg;
	uint8_t *buffer = malloc(200000);
	uint64_t random = reader->seed;

	while (!atomic_load(&reader->stop)) {
		uint64_t offset, length;

		random = random * 6364136223846793005u + 1442695040888963407u;
		offset = (random >> 20) % DISK_BYTES;
		length = min_u64((random >> 10) % 200000 + 1,
				 DISK_BYTES - offset);
		if (reader->base->read(reader->base, buffer, length, offset) ||
		    memcmp(buffer, reader->bench->want + offset, length) != 0)
			atomic_fetch_add(&reader->failed, 1);
		atomic_fetch_add(&reader->rounds, 1);
	}
	free(buffer);
	return NULL;
}

static void readers_start(struct bench *bench, struct image_base *base,
			  struct sight *readers, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		readers[i] = (struct sight){ .bench = bench,
					     .base = base,
					     .seed = i + 1 };
		assert_int_equal(pthread_create(&readers[i].thread, NULL,
						read_on, &readers[i]),
				 0);
	}
}

static void readers_stop(struct sight *readers, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		atomic_store(&readers[i].stop, true);
	for (unsigned i = 0; i < count; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(atomic_load(&readers[i].failed), 0);
	}
}

static void await_rounds(struct sight *readers, unsigned count, unsigned more)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned from = atomic_load(&readers[i].rounds);

		while (atomic_load(&readers[i].rounds) < from + more)
			usleep(100);
	}
}

/* More threads than slots, while the server goes away and comes back. */
static void test_client_only_waits(void **state)
{
	struct sight readers[20];
	struct keeper_client *client;
	struct image_base *base;
	struct bench bench;

	bench_open(&bench, state);
	open_client(&bench, &client, &base);
	readers_start(&bench, base, readers, ARRAY_SIZE(readers));
	for (unsigned i = 0; i < 6; i++) {
		await_rounds(readers, ARRAY_SIZE(readers), 3);
		bench_stop(&bench);
		/* With the sockets still there, and without. */
		if (i % 2) {
			bench_unlisten(&bench);
			bench_listen(&bench);
		}
		bench_start(&bench);
	}
	await_rounds(readers, ARRAY_SIZE(readers), 3);
	readers_stop(readers, ARRAY_SIZE(readers));
	base->close(base);
	keeper_client_free(client);
	bench_stop(&bench);
	bench_close(&bench);
}

/* Where no keeper comes back, a stop ends what waits. */
static void test_client_is_stopped(void **state)
{
	struct keeper_client *client;
	struct image_base *base;
	struct bench bench;
	struct sight readers[20];
	uint8_t byte;
	bool zero;
	uint64_t run;

	bench_open(&bench, state);
	open_client(&bench, &client, &base);
	assert_int_equal(base->extent(base, 0, DISK_BYTES, &zero, &run), 0);
	assert_false(zero);
	assert_int_equal(base->extent(base, DATA_BYTES, DISK_BYTES - DATA_BYTES,
				      &zero, &run),
			 0);
	assert_true(zero && run == DISK_BYTES - DATA_BYTES);
	assert_int_equal(base->read(base, &byte, 1, DISK_BYTES), -EINVAL);
	bench_stop(&bench);
	bench_unlisten(&bench);
	readers_start(&bench, base, readers, ARRAY_SIZE(readers));
	keeper_client_stop(client);
	for (unsigned i = 0; i < ARRAY_SIZE(readers); i++) {
		while (!atomic_load(&readers[i].failed))
			usleep(100);
		atomic_store(&readers[i].stop, true);
		pthread_join(readers[i].thread, NULL);
	}
	assert_int_equal(base->read(base, &byte, 1, 0), -EIO);
	base->close(base);
	keeper_client_free(client);
	bench_listen(&bench);
	bench_close(&bench);
}

static void test_client_is_denied(void **state)
{
	uint8_t grants[1][KEEPER_GRANT_SIZE];
	struct keeper_client *client;
	struct err err = { 0 };
	struct bench bench;

	bench_open(&bench, state);
	get_grant(&bench, "web", grants[0]);
	grants[0][176] ^= 1;
	assert_int_equal(new_client(&bench, &client, grants, &err), -EACCES);
	grants[0][24] ^= 1; /* the store's id */
	assert_int_equal(new_client(&bench, &client, grants, &err), -ESTALE);
	grants[0][0] ^= 1;
	assert_int_equal(new_client(&bench, &client, grants, &err), -EBADMSG);
	bench_stop(&bench);
	bench_close(&bench);
}

/* Damage is an error of what lies there, and nothing else's. */
static void test_client_reads_damage(void **state)
{
	struct keeper_client *client;
	struct image_base *base;
	struct bench bench;
	struct place place;
	uint8_t byte;
	char name[OBJECT_NAME_MAX];

	bench_open(&bench, state);
	engine_rig_place(bench.rig, &bench.snapshot.volumes[0], 7, &place);
	pack_name(name, &place.pack);
	engine_rig_flip(bench.rig, name, le32_get(place.entry.offset) + 5);
	open_client(&bench, &client, &base);
	assert_int_equal(base->read(base, &byte, 1, 7 * RIG_CHUNK), -EIO);
	assert_int_equal(base->read(base, &byte, 1, 6 * RIG_CHUNK), 0);
	assert_int_equal(base->read(base, &byte, 1, 8 * RIG_CHUNK), 0);
	assert_int_equal(status_of(&bench).failed_reads, 1);
	assert_true(status_of(&bench).served_reads >= 2);
	base->close(base);
	keeper_client_free(client);
	bench_stop(&bench);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_client_only_waits),
		RIG_TEST(test_client_is_stopped),
		RIG_TEST(test_client_is_denied),
		RIG_TEST(test_client_reads_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
