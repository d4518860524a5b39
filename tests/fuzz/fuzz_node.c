/* SPDX-License-Identifier: Apache-2.0 */
/* Tree nodes. Input: level, children that may be there (less 1), a node. */
#include "format/base/base.h"
#include "format/store/tree.h"
#include "tests/fuzz/fix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct id ids[NODE_FANOUT];
	unsigned level, max, used = 0;
	struct err err;

	if (size < 2)
		return 0;
	level = data[0];
	max = data[1] + 1u;
	if (node_decode(data + 2, size - 2, level, max, ids, &err) < 0)
		return 0;
	for (unsigned n = 0; n < NODE_FANOUT; n++) {
		if (!id_is_null(&ids[n]))
			used = n + 1;
	}
	/* It says exactly what it has to, and nothing past the volume. */
	must(used >= 1 && used <= max);
	must(size - 2 == sizeof(struct node_header) + used * ID_SIZE);
	must(memcmp(ids, data + 2 + sizeof(struct node_header),
		    used * ID_SIZE) == 0);
	return 0;
}
