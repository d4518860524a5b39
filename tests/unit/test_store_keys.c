/* SPDX-License-Identifier: Apache-2.0 */
/* Key slots of a store: opening, adding, removing, planted ones, recovery. */
#include "tests/unit/store_fixture.h"

static const struct slot_parameters cheap = { .log2_n = 10, .r = 1, .p = 1 };

struct asked {
	const char *passphrase;
	unsigned times;
};

static int answer(void *arg, char **out, size_t *size, struct err *err)
{
	struct asked *asked = arg;

	asked->times++;
	if (!asked->passphrase)
		return err_set(err, -EKEYREJECTED, "nobody to ask");
	*out = strdup(asked->passphrase);
	*size = strlen(asked->passphrase);
	return 0;
}

static int try_open(struct fixture *f, struct asked *asked)
{
	const struct store_options options = {
		.mode = STORE_WRITE,
		.passphrase = answer,
		.passphrase_arg = asked,
		.warn = fixture_warn,
		.warn_arg = f,
		.index_memory = 4u << 20,
	};
	int r = store_open(&f->store, fixture_backend(f), &options, &f->err);

	if (r < 0)
		f->store = NULL;
	return r;
}

static int open_with(struct fixture *f, const char *passphrase)
{
	struct asked asked = { .passphrase = passphrase };

	return try_open(f, &asked);
}

static int setup_encrypted(void **state)
{
	const struct store_create_options options = {
		.passphrase = "first",
		.passphrase_size = 5,
		.scrypt = &cheap,
	};
	struct fixture *f = calloc(1, sizeof(*f));
	struct backend *backend;

	assert_non_null(f);
	f->sim = sim_new(1);
	backend = fixture_backend(f);
	must(f, store_create(backend, &options, &f->err));
	backend_close(backend);
	*state = f;
	return 0;
}

static void test_passphrase(void **state)
{
	struct fixture *f = *state;
	struct asked asked = { 0 };

	assert_int_equal(open_with(f, "wrong"), -EKEYREJECTED);
	assert_int_equal(open_with(f, ""), -EKEYREJECTED);
	assert_int_equal(open_with(f, NULL), -EKEYREJECTED);
	assert_string_equal(f->err.text, "nobody to ask");
	assert_int_equal(fixture_try_open(f, STORE_READ), -EKEYREJECTED);
	f->store = NULL;
	asked.passphrase = "first";
	assert_int_equal(try_open(f, &asked), 0);
	assert_int_equal(asked.times, 1);
	assert_int_equal(strlen(store_open_key(f->store)), 32);
}

static void test_plaintext_asks_nobody(void **state)
{
	struct fixture *f = *state;
	struct asked asked = { .passphrase = "any" };
	char hex[SLOT_ID_HEX_SIZE];

	assert_int_equal(try_open(f, &asked), 0);
	assert_int_equal(asked.times, 0);
	assert_int_equal(
		store_add_key(f->store, "x", 1, &cheap, NULL, hex, &f->err),
		-EINVAL);
	must(f, store_add_key(f->store, NULL, 0, NULL, "spare", hex, &f->err));
}

static void test_add_remove(void **state)
{
	struct fixture *f = *state;
	char first[SLOT_ID_HEX_SIZE], second[SLOT_ID_HEX_SIZE];

	must(f, open_with(f, "first"));
	memcpy(first, store_open_key(f->store), sizeof(first));
	assert_int_equal(store_remove_key(f->store, first, &f->err), -EBUSY);
	assert_int_equal(
		store_add_key(f->store, NULL, 0, &cheap, NULL, second, &f->err),
		-EINVAL);
	must(f, store_add_key(f->store, "second", 6, &cheap, "spare", second,
			      &f->err));
	fixture_close(f);

	must(f, open_with(f, "second"));
	assert_string_equal(store_open_key(f->store), second);
	must(f, store_remove_key(f->store, first, &f->err));
	assert_int_equal(store_remove_key(f->store, first, &f->err), -ENOENT);
	assert_int_equal(store_remove_key(f->store, "../config", &f->err),
			 -EINVAL);
	assert_int_equal(store_remove_key(f->store, second, &f->err), -EBUSY);
	fixture_close(f);
	sim_power_loss(f->sim); /* it must not come back */
	assert_int_equal(open_with(f, "first"), -EKEYREJECTED);
	must(f, open_with(f, "second"));
}

/* ---- an init that was cut off ---- */

static const struct store_create_options first_options = {
	.passphrase = "first",
	.passphrase_size = 5,
	.scrypt = &cheap,
};

static int create_again(struct fixture *f)
{
	struct backend *backend = fixture_backend(f);
	int r = store_create(backend, &first_options, &f->err);

	backend_close(backend);
	return r;
}

static void drop(struct fixture *f, const char *path)
{
	must(f, sim_io(f->sim)->ops->unlink(sim_io(f->sim), path, &f->err));
}

static void test_init_again(void **state)
{
	struct fixture *f = *state;
	struct asked asked = { .passphrase = "first" };

	assert_int_equal(create_again(f), -EEXIST);
	/* Twice what is left when the power goes before the config. */
	for (unsigned n = 0; n < 2; n++) {
		drop(f, FIXTURE_PATH "/config");
		assert_int_equal(try_open(f, &asked), -ENOENT);
		assert_non_null(strstr(f->err.text, "run vmsnap init again"));
		must(f, create_again(f));
		must(f, open_with(f, "first"));
		assert_int_equal(f->warnings, 0); /* no slot is left over */
		fixture_close(f);
	}
}

/* No init leaves two slots of one store: this one has lost its config. */
static void test_init_over_a_store(void **state)
{
	struct fixture *f = *state;
	char hex[SLOT_ID_HEX_SIZE];

	must(f, open_with(f, "first"));
	must(f,
	     store_add_key(f->store, "second", 6, &cheap, NULL, hex, &f->err));
	fixture_close(f);
	drop(f, FIXTURE_PATH "/config");
	assert_int_equal(create_again(f), -EEXIST);
	assert_non_null(strstr(f->err.text, "key add --from"));
}

static void test_init_over_litter(void **state)
{
	static const char *const leaves[] = {
		"notes", "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
	};
	struct fixture *f = *state;
	char path[128];

	drop(f, FIXTURE_PATH "/config");
	for (size_t n = 0; n < ARRAY_SIZE(leaves); n++) {
		struct backend *backend = fixture_backend(f);

		snprintf(path, sizeof(path), "keys/%s", leaves[n]);
		must(f, backend_put_whole(backend, path, "mine", 4, &f->err));
		backend_close(backend);
		assert_int_equal(create_again(f), -EEXIST);
		assert_non_null(strstr(f->err.text, leaves[n]));
		snprintf(path, sizeof(path), FIXTURE_PATH "/keys/%s",
			 leaves[n]);
		drop(f, path);
	}
	must(f, create_again(f));
}

struct counted {
	unsigned good, bad, open;
};

static int count_key(void *arg, const char *id_hex,
		     const struct slot_file *slot, bool is_open,
		     const struct err *wrong)
{
	struct counted *counted = arg;

	assert_int_equal(strlen(id_hex), 32);
	assert_non_null(slot);
	counted->good += !wrong;
	counted->bad += wrong != NULL;
	counted->open += is_open;
	return 0;
}

static void flip_slot(struct fixture *f, const char *hex)
{
	char path[160];

	snprintf(path, sizeof(path), FIXTURE_PATH "/keys/%s", hex);
	assert_int_equal(sim_flip(f->sim, path, 200, 1), 0);
}

static void test_damaged_slot(void **state)
{
	struct fixture *f = *state;
	struct counted counted = { 0 };
	char first[SLOT_ID_HEX_SIZE], second[SLOT_ID_HEX_SIZE];

	must(f, open_with(f, "first"));
	memcpy(first, store_open_key(f->store), sizeof(first));
	must(f, store_add_key(f->store, "second", 6, &cheap, NULL, second,
			      &f->err));
	fixture_close(f);
	flip_slot(f, first);
	must(f, open_with(f, "second"));
	assert_int_equal(f->warnings, 1);
	assert_non_null(strstr(f->warning, first));
	must(f, store_each_key(f->store, count_key, &counted, &f->err));
	assert_int_equal(counted.good, 1);
	assert_int_equal(counted.bad, 1);
	assert_int_equal(counted.open, 1);
	/* The damaged one is no other key that could open it. */
	assert_int_equal(store_remove_key(f->store, second, &f->err), -EBUSY);
	must(f, store_remove_key(f->store, first, &f->err));
	fixture_close(f);
	flip_slot(f, second);
	assert_int_equal(open_with(f, "second"), -EBADMSG);
}

/* Masters of an attacker's choice, in clear, for this very store. */
static void test_planted_slot(void **state)
{
	struct fixture *f = *state;
	struct masters masters;
	struct slot_file slot;
	struct backend *backend = fixture_backend(f);
	char name[96], hex[SLOT_ID_HEX_SIZE];
	struct store_config config;
	struct bytes data = { 0 };

	must(f, backend_get_whole(backend, "config", 128, &data, &f->err));
	must(f, config_decode(data.data, data.size, &config, &f->err));
	must(f, masters_make(&masters, &f->err));
	must(f, slot_make(&slot, &config.store, &masters, NULL, 0, NULL, NULL,
			  &f->err));
	hex_encode(hex, slot.id, SLOT_ID_SIZE);
	snprintf(name, sizeof(name), "keys/%s", hex);
	must(f, backend_put_whole(backend, name, &slot, sizeof(slot), &f->err));
	bytes_release(&data);

	/* And one with the passphrase that everybody knows. */
	must(f, slot_make(&slot, &config.store, &masters, "known", 5, &cheap,
			  NULL, &f->err));
	hex_encode(hex, slot.id, SLOT_ID_SIZE);
	snprintf(name, sizeof(name), "keys/%s", hex);
	must(f, backend_put_whole(backend, name, &slot, sizeof(slot), &f->err));
	backend_close(backend);

	assert_int_equal(open_with(f, "known"), -EBADMSG); /* the MAC */
	must(f, open_with(f, "first"));
	assert_int_equal(f->warnings, 1);
	assert_non_null(strstr(f->warning, "planted"));
}

static void test_changed_config(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(sim_flip(f->sim, FIXTURE_PATH "/config", 100, 0), 0);
	assert_int_equal(open_with(f, "first"), -EBADMSG);
	assert_non_null(strstr(f->err.text, "MAC"));
	assert_int_equal(sim_flip(f->sim, FIXTURE_PATH "/config", 100, 0), 0);
	assert_int_equal(sim_flip(f->sim, FIXTURE_PATH "/config", 50, 0), 0);
	assert_int_equal(open_with(f, "first"), -EBADMSG);
}

static void test_recovery(void **state)
{
	struct fixture *f = *state;
	struct backend *backend = fixture_backend(f);
	struct fixture_leaves keys = fixture_list(f, "keys");
	struct bytes text = { 0 };
	unsigned restored = 99;
	char name[96];

	must(f, store_export_keys(backend, &text, &f->err));
	must(f, store_import_keys(backend, (const char *)text.data, text.size,
				  &restored, &f->err));
	assert_int_equal(restored, 0);

	snprintf(name, sizeof(name), "keys/%s", keys.leaf[0]);
	must(f, backend_delete(backend, name, &f->err));
	must(f, backend_delete(backend, "config", &f->err));
	assert_int_equal(open_with(f, "first"), -ENOENT);
	must(f, store_import_keys(backend, (const char *)text.data, text.size,
				  &restored, &f->err));
	assert_int_equal(restored, 2);
	must(f, open_with(f, "first"));
	fixture_close(f);

	flip_slot(f, keys.leaf[0]); /* damaged counts as missing */
	backend_close(backend);
	backend = fixture_backend(f);
	must(f, store_import_keys(backend, (const char *)text.data, text.size,
				  &restored, &f->err));
	assert_int_equal(restored, 1);
	must(f, open_with(f, "first"));
	backend_close(backend);
	bytes_release(&text);
}

/* A copy of one store does nothing to another one. */
static void test_recovery_of_another(void **state)
{
	struct fixture *f = *state;
	void *other_state;
	struct fixture *other;
	struct backend *backend;
	struct bytes text = { 0 };
	unsigned restored = 99;

	setup_encrypted(&other_state);
	other = other_state;
	backend = fixture_backend(other);
	must(other, store_export_keys(backend, &text, &other->err));
	backend_close(backend);
	fixture_teardown(&other_state);

	backend = fixture_backend(f);
	assert_int_equal(store_import_keys(backend, (const char *)text.data,
					   text.size, &restored, &f->err),
			 -EEXIST);
	assert_int_equal(restored, 99);
	backend_close(backend);
	assert_int_equal(fixture_list(f, "keys").count, 1);
	bytes_release(&text);
}

#define plain_test(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define store_test(name) \
	cmocka_unit_test_setup_teardown(name, setup_encrypted, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(test_passphrase),
		plain_test(test_plaintext_asks_nobody),
		store_test(test_add_remove),
		store_test(test_init_again),
		store_test(test_init_over_a_store),
		store_test(test_init_over_litter),
		store_test(test_damaged_slot),
		store_test(test_planted_slot),
		store_test(test_changed_config),
		store_test(test_recovery),
		store_test(test_recovery_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
