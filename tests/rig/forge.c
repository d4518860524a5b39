/* SPDX-License-Identifier: Apache-2.0 */
/* See the header. */
#include "tests/rig/forge.h"

#include "format/base/base.h"
#include "format/store/table_private.h"
#include "tests/rig/table_rig.h"

static void must(bool truth)
{
	if (!truth)
		abort();
}

void forge_begin(struct forge *forge, enum object_kind kind,
		 const struct id *id)
{
	if (!forge->sealer)
		forge->sealer = sealer_new(NULL);
	must(forge->sealer != NULL);
	forge->kind = kind;
	if (kind == OBJECT_PACK)
		pack_name(forge->name, id);
	else
		table_name(forge->name, id);
	must(object_key_derive(&forge->key, rig_key, id->b, object_word(kind),
			       NULL) == 0);
	object_header_make(&forge->header, kind, &rig_store, id->b);
	forge->object.size = 0;
	must(bytes_append(&forge->object, &forge->header, sizeof(forge->header),
			  NULL) == 0);
}

void forge_zeros(struct forge *forge, size_t size)
{
	must(bytes_extend(&forge->object, size, NULL) != NULL);
}

void forge_seal(struct forge *forge, const void *plain, size_t size,
		bool with_name)
{
	size_t at = forge->object.size;
	uint8_t aad[TABLE_AAD_MAX];
	size_t aad_size = table_footer_aad(&forge->header, forge->name, aad);

	forge_zeros(forge, size + SEAL_TAG_SIZE);
	must(sealer_seal(forge->sealer, &forge->key, at, aad,
			 with_name ? aad_size : 0, plain, size,
			 forge->object.data + at, NULL) == 0);
}

void forge_section(struct forge *forge, const void *plain, size_t size)
{
	const uint8_t *from = plain;

	while (size) {
		size_t piece = min_u64(size, TABLE_PIECE_SIZE);

		forge_seal(forge, from, piece, false);
		from += piece;
		size -= piece;
	}
}

void forge_trailer(struct forge *forge, uint32_t count, uint64_t length)
{
	struct object_trailer trailer;

	must(length <= forge->object.size);
	object_trailer_make(&trailer, forge->kind, count,
			    forge->object.size - length, length);
	must(bytes_append(&forge->object, &trailer, sizeof(trailer), NULL) ==
	     0);
}
