/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and pins in the life of a store: put, removed, changed, and looked at.
 * What was acknowledged is so after any loss of power: there and whole, or
 * gone for good. What failed may be there, then whole, or not.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"
#include "tests/rig/store_life.h"
#include "tests/sim/sim.h"

#define LABEL "key %u"
#define PLACE "/pin %u"

/* ---- keys ---- */

/* Seen, but who made it was told that it is not durable. */
static bool one_is_in_doubt(const struct world *w)
{
	for (unsigned n = 0; n < w->key_count; n++) {
		if (w->keys[n].known == MAYBE && w->keys[n].seen)
			return true;
	}
	return false;
}

static struct tried_key *key_add(struct world *w, struct writer *writer)
{
	static const struct slot_parameters cheap = { .log2_n = 10,
						      .r = 1,
						      .p = 1 };
	struct tried_key *key = &w->keys[w->key_count];
	char hex[SLOT_ID_HEX_SIZE], text[16];
	int r;

	if (!w->is_last && life_choose(w, 2))
		sim_fail_names(w->sim, STORE_LIFE_PATH "/keys");
	snprintf(text, sizeof(text), LABEL, w->key_count++);
	r = store_add_key(writer->store, w->encrypted ? text : NULL,
			  strlen(text), &cheap, text, hex, &writer->err);
	life_step(w, r, "adding a key", &writer->err);
	life_note("  %s added: %d\n", text, r);
	if (r < 0)
		return NULL;
	key->known = THERE;
	memcpy(key->hex, hex, sizeof(hex));
	return key;
}

static bool another_is_there(const struct world *w, const struct tried_key *key)
{
	for (unsigned n = 0; n < w->key_count; n++) {
		if (&w->keys[n] != key && w->keys[n].known == THERE)
			return true;
	}
	return false;
}

static void key_remove(struct world *w, struct writer *writer,
		       struct tried_key *key)
{
	int r = store_remove_key(writer->store, key->hex, &writer->err);

	life_note("  key %u removed: %d\n", (unsigned)(key - w->keys), r);
	if (r == 0) {
		key->known = GONE;
	} else if (r == -EBUSY) {
		if (another_is_there(w, key))
			life_violate(w, CHECK_KEYS, "%s", writer->err.text);
	} else if (r == -ENOENT && key->known == MAYBE) {
		return;
	} else {
		key->known = MAYBE;
		life_step(w, r, "removing a key", &writer->err);
	}
}

static struct tried_key *key_by_hex(struct world *w, const char *hex)
{
	for (unsigned n = 0; n < w->key_count; n++) {
		if (strcmp(w->keys[n].hex, hex) == 0)
			return &w->keys[n];
	}
	return NULL;
}

/* The moment at which one counts on the slot in doubt: the power may go. */
static void lean_on_doubt(struct world *w, struct writer *writer)
{
	uint64_t at = sim_count(w->sim).ops + 1 + life_choose(w, 2);

	for (unsigned n = 0; n < w->key_count; n++) {
		if (w->keys[n].known != THERE || !w->keys[n].hex[0])
			continue;
		if (!w->is_last) {
			sim_power_loss_at(w->sim, at);
			w->fault_at =
				w->fault_at ? min_u64(w->fault_at, at) : at;
		}
		key_remove(w, writer, &w->keys[n]);
		return;
	}
}

void life_keys_step(struct world *w, struct writer *writer)
{
	struct tried_key *key;
	uint64_t what;

	if (one_is_in_doubt(w) && life_choose(w, 2)) {
		lean_on_doubt(w, writer);
		return;
	}
	if (life_choose(w, 5))
		return;
	what = life_choose(w, 4);
	if (what >= 2) {
		key = &w->keys[life_choose(w, w->key_count)];
		if (key->hex[0] && key->known != GONE)
			key_remove(w, writer, key);
		return;
	}
	if (w->key_count == KEYS_MAX)
		return;
	if (!key_add(w, writer)) {
		if (sim_names_failed(w->sim))
			lean_on_doubt(w, writer);
		return;
	}
	if (what)
		return;
	/* A change: the new one is there, the old one goes. */
	key = key_by_hex(w, store_open_key(writer->store));
	if (key)
		key_remove(w, writer, key);
}

static int look_at_key(void *arg, const char *id_hex,
		       const struct slot_file *slot, bool is_open,
		       const struct err *wrong)
{
	struct world *w = arg;
	char label[sizeof(slot->label) + 1] = "";
	struct tried_key *key;
	unsigned n = 0;

	(void)is_open;
	if (wrong) {
		life_violate(w, CHECK_KEYS, "%s", wrong->text);
		return 0;
	}
	memcpy(label, slot->label, sizeof(slot->label));
	if (label[0] && sscanf(label, LABEL, &n) != 1)
		n = KEYS_MAX;
	if (n >= w->key_count || w->keys[n].known == GONE) {
		life_violate(w, CHECK_KEYS, "'%s' %s", label,
			     n < w->key_count ? "is there again"
					      : "was made by nobody");
		return 0;
	}
	key = &w->keys[n];
	key->seen = true;
	memcpy(key->hex, id_hex, sizeof(key->hex));
	return 0;
}

void life_look_at_keys(struct world *w, struct writer *reader)
{
	int r;

	for (unsigned n = 0; n < w->key_count; n++)
		w->keys[n].seen = false;
	r = store_each_key(reader->store, look_at_key, w, &reader->err);
	if (r < 0)
		life_violate(w, CHECK_KEYS, "can't list keys: %s",
			     reader->err.text);
	for (unsigned n = 0; n < w->key_count; n++) {
		if (w->keys[n].known == THERE && !w->keys[n].seen)
			life_violate(w, CHECK_KEYS, "key %u is gone", n);
	}
}

/* ---- pins ---- */

struct tried_pin *life_pin(struct world *w, struct writer *writer)
{
	struct tried_pin *pin = &w->pins[w->pin_count];
	char place[32], hex[SMALL_ID_HEX_SIZE];
	struct volume volume = {
		.name = "disk0",
		.chunk_log2 = 14,
		.size_bytes = (uint64_t)writer->attempt->count << 14,
		.root = writer->root,
	};
	const struct pin put = {
		.owner = (char[]){ "image" },
		.path = place,
		.time_ns = 1,
		.volumes = &volume,
		.volume_count = 1,
	};
	int r;

	if (w->pin_count == PINS_MAX)
		return NULL;
	pin->root = writer->root;
	pin->attempt = writer->attempt;
	snprintf(place, sizeof(place), PLACE, w->pin_count++);
	r = store_put_pin(writer->thread, &put, hex, &writer->err);
	life_step(w, r, "putting a pin", &writer->err);
	life_note("  pin %u put: %d\n", w->pin_count - 1, r);
	if (r < 0)
		return NULL;
	pin->known = THERE;
	memcpy(pin->hex, hex, sizeof(hex));
	return pin;
}

void life_unpin_step(struct world *w, struct writer *writer)
{
	struct tried_pin *pin;
	int r;

	if (!w->pin_count)
		return;
	pin = &w->pins[life_choose(w, w->pin_count)];
	if (!pin->hex[0] || pin->known == GONE)
		return;
	r = store_delete_pin(writer->store, pin->hex, &writer->err);
	life_note("  pin %u removed: %d\n", (unsigned)(pin - w->pins), r);
	if (r == 0) {
		pin->known = GONE;
		return;
	}
	if (r != -ENOENT || pin->known == THERE)
		life_step(w, r, "removing a pin", &writer->err);
	pin->known = MAYBE;
}

struct look {
	struct world *w;
	struct writer *reader;
};

static struct tried_pin *pin_of(struct world *w, const struct pin *found)
{
	unsigned n;

	if (!found->path || sscanf(found->path, PLACE, &n) != 1 ||
	    n >= w->pin_count || w->pins[n].known == GONE)
		return NULL;
	if (found->volume_count != 1 ||
	    !id_equal(&found->volumes[0].root, &w->pins[n].root))
		return NULL;
	return &w->pins[n];
}

static int look_at_pin(void *arg, const char *id_hex, struct err *err)
{
	struct look *look = arg;
	struct world *w = look->w;
	struct pin found = { 0 };
	struct tried_pin *pin;

	if (store_load_pin(look->reader->thread, id_hex, &found, err) < 0) {
		life_violate(w, CHECK_PINS, "%s", err->text);
		return 0;
	}
	pin = pin_of(w, &found);
	if (!pin) {
		life_violate(w, CHECK_PINS,
			     "'%s' is there again, or is not as it was put",
			     found.path ? found.path : "a pin without a path");
	} else {
		pin->seen = true;
		memcpy(pin->hex, id_hex, sizeof(pin->hex));
		if (pin->settled &&
		    life_check_chunks(look->reader, pin->attempt, &pin->root) <
			    0)
			life_violate(w, CHECK_PINS,
				     "what '%s' keeps does not read: %s",
				     found.path, look->reader->err.text);
	}
	pin_release(&found);
	return 0;
}

void life_look_at_pins(struct world *w, struct writer *reader)
{
	struct look look = { w, reader };

	for (unsigned n = 0; n < w->pin_count; n++)
		w->pins[n].seen = false;
	if (store_each_pin(reader->store, look_at_pin, &look, &reader->err) < 0)
		life_violate(w, CHECK_PINS, "can't list pins: %s",
			     reader->err.text);
	for (unsigned n = 0; n < w->pin_count; n++) {
		if (w->pins[n].known == THERE && !w->pins[n].seen)
			life_violate(w, CHECK_PINS, "pin %u is gone", n);
	}
}
