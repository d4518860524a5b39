/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Table, masks and pending bits. A vector that is raised while it is masked
 * stays pending and is sent when the last mask in its way goes. Whatever a
 * guest puts into an entry, only a message into the LAPICs' window is sent.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/pci/msix.h"
#include "kvm-agent/vm/layout.h"

#define CAPABILITY_ID    0x11
#define CONTROL_ENABLE   0x8000u
#define CONTROL_MASK     0x4000u
#define ENTRY_MASKED     1u
#define LAPIC_WINDOW_LOG 20
#define PENDING_SIZE     (MSIX_VECTORS_MAX / 8)

static uint64_t bit_of(unsigned vector)
{
	return 1ULL << vector % 64;
}

static void send(struct msix *msix, unsigned vector)
{
	const struct msix_entry *entry = &msix->entries[vector];

	if (entry->address >> LAPIC_WINDOW_LOG ==
	    LAYOUT_LAPIC >> LAPIC_WINDOW_LOG)
		interrupts_message(msix->interrupts, entry->address,
				   entry->data);
}

/* With the lock: all that may go now. */
static void send_pending(struct msix *msix)
{
	if (!msix->enabled || msix->masked)
		return;
	for (unsigned i = 0; i < msix->count; i++) {
		if (!(msix->pending[i / 64] & bit_of(i)) ||
		    msix->entries[i].control & ENTRY_MASKED)
			continue;
		msix->pending[i / 64] &= ~bit_of(i);
		send(msix, i);
	}
}

static void clear(struct msix *msix)
{
	memset(msix->entries, 0, sizeof(msix->entries));
	memset(msix->pending, 0, sizeof(msix->pending));
	for (unsigned i = 0; i < msix->count; i++)
		msix->entries[i].control = ENTRY_MASKED;
}

void msix_init(struct msix *msix, struct pci_function *function,
	       struct interrupts *interrupts, unsigned count, unsigned bar,
	       uint32_t table, uint32_t pending)
{
	struct {
		uint8_t head[2];
		le16 control;
		le32 table;
		le32 pending;
	} capability = {
		.control = le16_make((uint16_t)(count - 1)),
		.table = le32_make(table | 2 * bar),
		.pending = le32_make(pending | 2 * bar),
	};
	static const uint8_t writable[sizeof(capability)] = { 0, 0, 0, 0xc0 };

	assert(count >= 1 && count <= MSIX_VECTORS_MAX);
	*msix = (struct msix){ .interrupts = interrupts, .count = count };
	pthread_mutex_init(&msix->lock, NULL);
	clear(msix);
	msix->capability = pci_function_add_capability(function, CAPABILITY_ID,
						       &capability, writable,
						       sizeof(capability));
}

void msix_release(struct msix *msix)
{
	pthread_mutex_destroy(&msix->lock);
}

void msix_config_written(struct msix *msix, const struct pci_function *function)
{
	unsigned control = (unsigned)function->config[msix->capability + 3]
			   << 8;

	pthread_mutex_lock(&msix->lock);
	msix->enabled = control & CONTROL_ENABLE;
	msix->masked = control & CONTROL_MASK ||
		       !(pci_function_command(function) & PCI_COMMAND_MASTER);
	send_pending(msix);
	pthread_mutex_unlock(&msix->lock);
}

void msix_table_read(struct msix *msix, uint64_t offset, void *data,
		     unsigned length)
{
	uint8_t bytes[MSIX_ENTRY_SIZE], *out = data;

	pthread_mutex_lock(&msix->lock);
	for (unsigned i = 0; i < length; i++) {
		uint64_t vector = (offset + i) / MSIX_ENTRY_SIZE;
		const struct msix_entry *entry;
		le32 data_le, control_le;
		le64 address_le;

		out[i] = 0;
		if (vector >= msix->count)
			continue;
		entry = &msix->entries[vector];
		address_le = le64_make(entry->address);
		data_le = le32_make(entry->data);
		control_le = le32_make(entry->control);
		memcpy(bytes, &address_le, 8);
		memcpy(bytes + 8, &data_le, 4);
		memcpy(bytes + 12, &control_le, 4);
		out[i] = bytes[(offset + i) % MSIX_ENTRY_SIZE];
	}
	pthread_mutex_unlock(&msix->lock);
}

static void write_word(struct msix *msix, uint64_t offset, uint32_t value)
{
	struct msix_entry *entry;

	if (offset / MSIX_ENTRY_SIZE >= msix->count)
		return;
	entry = &msix->entries[offset / MSIX_ENTRY_SIZE];
	switch (offset % MSIX_ENTRY_SIZE) {
	case 0:
		entry->address =
			(entry->address & ~0xffffffffULL) | (value & ~3u);
		break;
	case 4:
		entry->address = (uint32_t)entry->address | (uint64_t)value
								    << 32;
		break;
	case 8:
		entry->data = value;
		break;
	case 12:
		entry->control = value & ENTRY_MASKED;
		break;
	}
}

void msix_table_write(struct msix *msix, uint64_t offset, const void *data,
		      unsigned length)
{
	le32 word;

	/* Others have no meaning by PCI's own words. */
	if ((length != 4 && length != 8) || offset % length)
		return;
	pthread_mutex_lock(&msix->lock);
	for (unsigned i = 0; i < length; i += 4) {
		memcpy(&word, (const uint8_t *)data + i, sizeof(word));
		write_word(msix, offset + i, le32_get(word));
	}
	send_pending(msix);
	pthread_mutex_unlock(&msix->lock);
}

void msix_pending_read(struct msix *msix, uint64_t offset, void *data,
		       unsigned length)
{
	uint8_t *out = data;

	pthread_mutex_lock(&msix->lock);
	for (unsigned i = 0; i < length; i++) {
		uint64_t at = offset + i;

		out[i] = 0;
		if (at < PENDING_SIZE)
			out[i] = msix->pending[at / 8] >> 8 * (at % 8) & 0xff;
	}
	pthread_mutex_unlock(&msix->lock);
}

void msix_raise(struct msix *msix, unsigned vector)
{
	pthread_mutex_lock(&msix->lock);
	if (vector < msix->count && msix->enabled) {
		msix->pending[vector / 64] |= bit_of(vector);
		send_pending(msix);
	}
	pthread_mutex_unlock(&msix->lock);
}

bool msix_is_enabled(struct msix *msix)
{
	bool enabled;

	pthread_mutex_lock(&msix->lock);
	enabled = msix->enabled;
	pthread_mutex_unlock(&msix->lock);
	return enabled;
}

void msix_reset(struct msix *msix)
{
	pthread_mutex_lock(&msix->lock);
	clear(msix);
	pthread_mutex_unlock(&msix->lock);
}

void msix_save(struct msix *msix, struct state_writer *out)
{
	pthread_mutex_lock(&msix->lock);
	section_put_u16(out, (uint16_t)msix->count);
	for (unsigned i = 0; i < msix->count; i++) {
		section_put_u64(out, msix->entries[i].address);
		section_put_u32(out, msix->entries[i].data);
		section_put_u8(out, (uint8_t)msix->entries[i].control);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(msix->pending); i++)
		section_put_u64(out, msix->pending[i]);
	pthread_mutex_unlock(&msix->lock);
}

void msix_take(const struct msix *msix, struct section_reader *in,
	       struct msix_state *state)
{
	*state = (struct msix_state){ 0 };
	/* Another count is another device: what follows can't be read. */
	if (section_get_u16(in) != msix->count)
		in->overrun = true;
	for (unsigned i = 0; i < msix->count; i++) {
		state->entries[i].address = section_get_u64(in);
		state->entries[i].data = section_get_u32(in);
		state->entries[i].control = section_get_u8(in);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(state->pending); i++)
		state->pending[i] = section_get_u64(in);
}

int msix_check(const struct msix *msix, const struct msix_state *state,
	       struct err *err)
{
	for (unsigned i = 0; i < MSIX_VECTORS_MAX; i++) {
		const struct msix_entry *entry = &state->entries[i];

		if (entry->address & 3 || entry->control & ~ENTRY_MASKED ||
		    (i >= msix->count && state->pending[i / 64] & bit_of(i)))
			return err_set(err, -EBADMSG,
				       "the saved MSI-X vector %u can't be", i);
	}
	return 0;
}

void msix_apply(struct msix *msix, const struct msix_state *state)
{
	pthread_mutex_lock(&msix->lock);
	memcpy(msix->entries, state->entries, sizeof(msix->entries));
	memcpy(msix->pending, state->pending, sizeof(msix->pending));
	/* Until the configuration says otherwise. */
	msix->enabled = false;
	pthread_mutex_unlock(&msix->lock);
}
