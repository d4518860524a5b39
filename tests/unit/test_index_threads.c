/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that claim the same ids: each id has one winner. */
#include "tests/unit/index_fixture.h"
#include "format/base/pool.h"

struct race {
	struct fixture *f;
	struct index *index;
	unsigned char won[20000];
};

static int race_run(void *arg, unsigned worker, struct err *err)
{
	struct race *race = arg;
	struct sealer *sealer = sealer_new(err);
	unsigned n, packs = 0;
	int r = 0;

	for (n = 0; n < ARRAY_SIZE(race->won) && r >= 0; n++) {
		struct id id = rig_id(9, n);
		struct entry entry = rig_entry(&id, 0, 0);
		struct id pack = rig_id(worker + 100, packs);
		struct table_pack line = rig_pack(&pack, 1);

		r = index_claim(race->index, sealer, &id, err);
		if (r <= 0)
			continue;
		__atomic_fetch_add(&race->won[n], 1, __ATOMIC_RELAXED);
		if (n % 3)
			continue; /* stays claimed */
		packs++;
		r = index_add_pack(race->index, &pack,
				   le64_get(line.size_bytes), &entry, 1, err);
		if (r == 0 && packs % 200 == 0)
			r = index_flush(race->index, sealer, err);
	}
	sealer_free(sealer);
	return r < 0 ? r : 0;
}

static void test_race(void **state)
{
	struct fixture *f = *state;
	struct race *race = calloc(1, sizeof(*race));
	struct err err = { 0 };
	unsigned n;

	race->f = f;
	race->index = open_index(f);
	if (pool_run(4, race_run, race, &err) < 0)
		fail_msg("%s", err.text);
	for (n = 0; n < ARRAY_SIZE(race->won); n++) {
		assert_int_equal(race->won[n], 1);
		assert_int_equal(find(f, race->index, 9, n), n % 3 == 0);
	}
	index_close(race->index);
	free(race);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_race),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
