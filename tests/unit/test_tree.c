/* SPDX-License-Identifier: Apache-2.0 */
/* Trees: build, read, skip holes, walk, diff, and nodes that lie. */
#include "format/store/tree.h"
#include "tests/unit/store_fixture.h"

/* Ids of chunks that nobody stores: a tree doesn't look at them. */
static struct id leaf(uint64_t n)
{
	struct id id = { { 0xee } };

	memcpy(id.b + 8, &n, sizeof(n));
	return id;
}

static bool is_hole(uint64_t n)
{
	return n % 7 == 3 || (n >= 300 && n < 1000) || n >= 66000;
}

static struct id build(struct fixture *f, uint64_t count, uint64_t changed)
{
	struct tree_totals totals;
	struct tree_builder *tree;
	struct id root;

	must(f, tree_builder_new(&tree, count, &f->err));
	for (uint64_t n = 0; n < count; n++) {
		struct id id = leaf(n == changed ? UINT64_MAX : n);

		if (is_hole(n) && n != changed)
			must(f, tree_builder_append_holes(tree, f->thread, 1,
							  &f->err));
		else
			must(f, tree_builder_append(tree, f->thread, &id, 1,
						    &f->err));
	}
	must(f, tree_builder_finish(tree, f->thread, &root, &totals, &f->err));
	tree_builder_free(tree);
	must(f, store_thread_flush(f->thread, &f->err));
	return root;
}

static void expect_ids(struct fixture *f, const struct id *root, uint64_t count)
{
	struct tree_reader *reader;
	struct id *ids = calloc(count, sizeof(*ids));
	uint64_t found, n = 0;

	assert_non_null(ids);
	must(f, tree_reader_new(&reader, f->thread, root, count, &f->err));
	must(f, tree_reader_ids(reader, 0, count, ids, NULL, NULL, &f->err));
	for (n = 0; n < count; n++) {
		struct id wanted = leaf(n);

		if (is_hole(n))
			assert_true(id_is_null(&ids[n]));
		else
			assert_true(id_equal(&ids[n], &wanted));
	}
	for (n = 0; n < count; n = found + 1) {
		must(f, tree_reader_next_data(reader, n, &found, NULL, NULL,
					      &f->err));
		assert_true(found >= n && found <= count);
		for (; n < found; n++)
			assert_true(is_hole(n));
		if (found < count)
			assert_false(is_hole(found));
	}
	assert_int_equal(
		tree_reader_ids(reader, count, 1, ids, NULL, NULL, &f->err),
		-EINVAL);
	tree_reader_free(reader);
	free(ids);
}

static void test_levels(void **state)
{
	(void)state;
	assert_int_equal(tree_levels(0), 1);
	assert_int_equal(tree_levels(1), 1);
	assert_int_equal(tree_levels(256), 1);
	assert_int_equal(tree_levels(257), 2);
	assert_int_equal(tree_levels(65536), 2);
	assert_int_equal(tree_levels(65537), 3);
	assert_int_equal(tree_levels(1ULL << 32), 4);
}

static void test_round_trip(void **state)
{
	static const uint64_t counts[] = { 1,   255,   256,   257,   511,
					   512, 65535, 65536, 65537, 70000 };
	struct fixture *f = *state;

	fixture_open(f, STORE_WRITE);
	for (size_t n = 0; n < ARRAY_SIZE(counts); n++) {
		struct id root = build(f, counts[n], UINT64_MAX);

		expect_ids(f, &root, counts[n]);
	}
}

/* The largest volume: one chunk in the middle and one at its end. */
static void test_huge(void **state)
{
	const uint64_t count = 1ULL << 32, middle = (1ULL << 31) + 77;
	struct fixture *f = *state;
	struct tree_builder *tree;
	struct tree_totals totals;
	struct tree_reader *reader;
	struct id a = leaf(1), b = leaf(2), root, got;
	uint64_t found;

	fixture_open(f, STORE_WRITE);
	assert_int_equal(tree_builder_new(&tree, count + 1, &f->err), -EINVAL);
	must(f, tree_builder_new(&tree, count, &f->err));
	must(f, tree_builder_append_holes(tree, f->thread, middle, &f->err));
	must(f, tree_builder_append(tree, f->thread, &a, 1, &f->err));
	must(f, tree_builder_append_holes(tree, f->thread, count - middle - 2,
					  &f->err));
	must(f, tree_builder_append(tree, f->thread, &b, 1, &f->err));
	assert_int_equal(tree_builder_append_holes(tree, f->thread, 1, &f->err),
			 -EINVAL);
	must(f, tree_builder_finish(tree, f->thread, &root, &totals, &f->err));
	assert_int_equal(totals.new_nodes, 7); /* 3 and 3 and the root */
	tree_builder_free(tree);
	must(f, store_thread_flush(f->thread, &f->err));

	must(f, tree_reader_new(&reader, f->thread, &root, count, &f->err));
	must(f, tree_reader_next_data(reader, 0, &found, NULL, NULL, &f->err));
	assert_true(found == middle);
	must(f, tree_reader_ids(reader, found, 1, &got, NULL, NULL, &f->err));
	assert_true(id_equal(&got, &a));
	must(f, tree_reader_next_data(reader, found + 1, &found, NULL, NULL,
				      &f->err));
	assert_true(found == count - 1);
	must(f,
	     tree_reader_next_data(reader, count, &found, NULL, NULL, &f->err));
	assert_true(found == count);
	tree_reader_free(reader);
}

static void test_holes_only(void **state)
{
	static const uint64_t counts[] = { 0, 1, 257, 1ULL << 32 };
	struct fixture *f = *state;

	fixture_open(f, STORE_WRITE);
	for (size_t n = 0; n < ARRAY_SIZE(counts); n++) {
		struct tree_totals totals;
		struct tree_builder *tree;
		struct tree_reader *reader;
		struct id root = leaf(9);
		uint64_t found;

		must(f, tree_builder_new(&tree, counts[n], &f->err));
		if (counts[n]) {
			assert_int_equal(tree_builder_finish(tree, f->thread,
							     &root, &totals,
							     &f->err),
					 -EINVAL);
			must(f, tree_builder_append_holes(tree, f->thread,
							  counts[n], &f->err));
		}
		must(f, tree_builder_finish(tree, f->thread, &root, &totals,
					    &f->err));
		tree_builder_free(tree);
		assert_true(id_is_null(&root));
		assert_int_equal(totals.new_nodes, 0);
		must(f, tree_reader_new(&reader, f->thread, &root, counts[n],
					&f->err));
		must(f, tree_reader_next_data(reader, 0, &found, NULL, NULL,
					      &f->err));
		assert_true(found == counts[n]);
		tree_reader_free(reader);
	}
}

struct seen {
	uint64_t chunks, nodes, last, damaged_first, damaged_count;
	bool any, skip;
};

static int on_visit(void *arg, unsigned level, const struct id *id,
		    uint64_t first, uint64_t count, struct err *err)
{
	struct seen *seen = arg;
	struct id wanted = leaf(first);

	(void)err;
	if (level) {
		seen->nodes++;
		return !(seen->skip && level == 1);
	}
	assert_true(id_equal(id, &wanted));
	assert_int_equal(count, 1);
	assert_true(!seen->any || first > seen->last);
	seen->any = true;
	seen->last = first;
	seen->chunks++;
	return 0;
}

static int on_damage(void *arg, const struct id *id, uint64_t first,
		     uint64_t count, const struct err *why)
{
	struct seen *seen = arg;

	(void)id;
	assert_string_not_equal(why->text, "");
	seen->damaged_first = first;
	seen->damaged_count = count;
	return 0;
}

static void test_walk(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { 0 }, skipped = { .skip = true };
	struct tree_visit visit = { on_visit, on_damage, &seen };
	uint64_t chunks = 0;
	struct id root;

	fixture_open(f, STORE_WRITE);
	root = build(f, 2000, UINT64_MAX);
	for (uint64_t n = 0; n < 2000; n++)
		chunks += !is_hole(n);
	must(f, tree_walk(f->thread, &root, 2000, &visit, &f->err));
	assert_int_equal(seen.chunks, chunks);
	assert_int_equal(seen.nodes, 1 + 7 /* of 8; one is a hole */);
	visit.arg = &skipped;
	must(f, tree_walk(f->thread, &root, 2000, &visit, &f->err));
	assert_int_equal(skipped.chunks, 0);
	assert_int_equal(skipped.nodes, seen.nodes);
}

struct diffs {
	uint64_t runs, first, count;
};

static int on_diff(void *arg, uint64_t first, uint64_t count,
		   const struct id *a, const struct id *b, struct err *err)
{
	struct diffs *diffs = arg;

	(void)err;
	for (uint64_t n = 0; n < count; n++)
		assert_false(id_equal(&a[n], &b[n]));
	diffs->runs++;
	diffs->first = first;
	diffs->count += count;
	return 0;
}

static void test_diff(void **state)
{
	struct fixture *f = *state;
	struct diffs diffs = { 0 };
	struct id a, b, null = { { 0 } };
	uint64_t chunks = 0;

	fixture_open(f, STORE_WRITE);
	a = build(f, 2000, UINT64_MAX);
	b = build(f, 2000, 1500);
	must(f, tree_diff(f->thread, &a, &a, 2000, on_diff, &diffs, &f->err));
	assert_int_equal(diffs.runs, 0);
	must(f, tree_diff(f->thread, &a, &b, 2000, on_diff, &diffs, &f->err));
	assert_int_equal(diffs.runs, 1);
	assert_int_equal(diffs.first, 1500);
	assert_int_equal(diffs.count, 1);

	memset(&diffs, 0, sizeof(diffs));
	for (uint64_t n = 0; n < 2000; n++)
		chunks += !is_hole(n);
	must(f,
	     tree_diff(f->thread, &a, &null, 2000, on_diff, &diffs, &f->err));
	assert_int_equal(diffs.count, chunks);
}

/* A node that is missing hurts its own range and no other. */
static void test_missing_node(void **state)
{
	struct fixture *f = *state;
	struct seen seen = { 0 };
	const struct tree_visit visit = { on_visit, on_damage, &seen };
	struct {
		struct node_header header;
		struct id ids[2];
	} node = {
		.header = { .level = 2, .count = le32_make(2) },
	};
	uint64_t first = 0, count = 0, found;
	struct tree_reader *reader;
	struct put_result result;
	struct id root, ids[256];

	fixture_open(f, STORE_WRITE);
	node.ids[0] = build(f, 256, UINT64_MAX);
	node.ids[1] = leaf(1234); /* nobody stored that */
	must(f, store_put(f->thread, CHUNK_NODE, &node, sizeof(node), &root,
			  &result, &f->err));
	must(f, store_thread_flush(f->thread, &f->err));
	must(f, tree_reader_new(&reader, f->thread, &root, 500, &f->err));
	assert_int_equal(
		tree_reader_ids(reader, 255, 2, ids, &first, &count, &f->err),
		-EBADMSG);
	assert_int_equal(first, 256);
	assert_int_equal(count, 244);
	must(f, tree_reader_ids(reader, 0, 256, ids, &first, &count, &f->err));
	first = 0;
	assert_int_equal(tree_reader_next_data(reader, 300, &found, &first,
					       &count, &f->err),
			 -EBADMSG);
	assert_int_equal(first, 256);
	tree_reader_free(reader);

	must(f, tree_walk(f->thread, &root, 500, &visit, &f->err));
	assert_true(seen.chunks > 200);
	assert_int_equal(seen.damaged_first, 256);
	assert_int_equal(seen.damaged_count, 244);
}

static void test_node_decode(void **state)
{
	struct {
		struct node_header header;
		struct id ids[3];
	} node = {
		.header = { .level = 1, .count = le32_make(3) },
		.ids = { { { 1 } }, { { 0 } }, { { 3 } } },
	}, bad;
	struct id ids[NODE_FANOUT];
	struct err err;

	(void)state;
	assert_int_equal(node_decode(&node, sizeof(node), 1, 3, ids, &err), 0);
	assert_int_equal(ids[2].b[0], 3);
	assert_true(id_is_null(&ids[1]) && id_is_null(&ids[3]) &&
		    id_is_null(&ids[255]));
#define expect_bad(size, level, max)                                     \
	assert_int_equal(node_decode(&bad, size, level, max, ids, &err), \
			 -EBADMSG)
	bad = node;
	expect_bad(sizeof(node), 1, 2); /* past the end */
	expect_bad(sizeof(node), 2, 3);
	expect_bad(sizeof(node) - 1, 1, 3);
	expect_bad(7, 1, 3);
	bad.header.reserved[1] = 1;
	expect_bad(sizeof(node), 1, 3);
	bad = node;
	bad.header.count = le32_make(0);
	expect_bad(sizeof(bad.header), 1, 3);
	bad.header.count = le32_make(257);
	expect_bad(sizeof(node), 1, 256);
	bad = node;
	memset(&bad.ids[2], 0, ID_SIZE); /* a hole that should be cut */
	expect_bad(sizeof(node), 1, 3);
}

#define store_test(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		store_test(test_round_trip),
		store_test(test_huge),
		store_test(test_holes_only),
		store_test(test_walk),
		store_test(test_diff),
		store_test(test_missing_node),
		cmocka_unit_test(test_node_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
