/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs and tables whose seals and checksums are right, whatever stands in
 * them: for targets that must get past authentication. Aborts on failure.
 */
#ifndef TESTS_RIG_FORGE_H
#define TESTS_RIG_FORGE_H

#include "format/store/header.h"
#include "format/store/pack.h"

struct forge {
	struct sealer *sealer; /* made once */
	enum object_kind kind;
	char name[OBJECT_NAME_MAX];
	struct object_header header;
	struct object_key key;
	struct bytes object;
};

/* Start an object called `id`: its header. */
void forge_begin(struct forge *forge, enum object_kind kind,
		 const struct id *id);
void forge_zeros(struct forge *forge, size_t size);
/* Seal at the end; with header and name as additional data, or with none. */
void forge_seal(struct forge *forge, const void *plain, size_t size,
		bool with_name);
/* In pieces, as sections of a table are. */
void forge_section(struct forge *forge, const void *plain, size_t size);
/* The trailer: what was sealed last, of `length` bytes with the tag. */
void forge_trailer(struct forge *forge, uint32_t count, uint64_t length);

#endif
