/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sealed object: the bytes as they are; and their header with its checksum made
 * right over their rest, sealed as it must be, so that all ahead of the
 * plaintext is passed.
 */
#include "format/base/base.h"
#include "format/base/bytes.h"
#include "format/store/header.h"
#include "tests/fuzz/fix.h"

#define NAME "pins/00112233445566778899aabbccddeeff"

static const uint8_t data_key[KEY_SIZE] = { 1 };

static void sealed(struct sealer *sealer, struct object_header *header,
		   const uint8_t *data, size_t size)
{
	uint8_t aad[sizeof(*header) + sizeof(NAME) - 1];
	struct bytes object = { 0 }, plain = { 0 };
	struct object_key key;
	struct err err;
	int r;

	fix_sum(header, offsetof(struct object_header, check));
	memcpy(aad, header, sizeof(*header));
	memcpy(aad + sizeof(*header), NAME, sizeof(NAME) - 1);
	must(object_key_derive(&key, data_key, header->salt, "pin", NULL) == 0);
	must(bytes_append(&object, header, sizeof(*header), NULL) == 0);
	must(bytes_extend(&object, size + SEAL_TAG_SIZE, NULL) != NULL);
	must(sealer_seal(sealer, &key, sizeof(*header), aad, sizeof(aad), data,
			 size, object.data + sizeof(*header), NULL) == 0);
	r = sealed_object_open(sealer, OBJECT_PIN, &header->store, data_key,
			       NAME, object.data, object.size, &plain, &err);
	if (r == 0)
		must(plain.size == size && memcmp(plain.data, data, size) == 0);
	else
		must(plain.size == 0);
	bytes_release(&object);
	bytes_release(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sealer *sealer;
	struct object_header header;
	struct bytes plain = { 0 };
	struct err err;

	if (!sealer)
		sealer = sealer_new(NULL);
	must(sealer != NULL);
	if (size >= sizeof(header))
		memcpy(&header, data, sizeof(header));
	else
		memset(&header, 0, sizeof(header));
	must(sealed_object_open(sealer, OBJECT_PIN, &header.store, data_key,
				NAME, data, size, &plain, &err) < 0);
	must(plain.size == 0);
	bytes_release(&plain);
	if (size >= sizeof(header))
		sealed(sealer, &header, data + sizeof(header),
		       size - sizeof(header));
	return 0;
}
