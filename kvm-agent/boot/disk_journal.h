/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the journal of an ext4 would change, told without changing anything: a
 * disk that was not unmounted has its newest files there alone. Hostile bytes.
 */
#ifndef KVM_AGENT_BOOT_DISK_JOURNAL_H
#define KVM_AGENT_BOOT_DISK_JOURNAL_H

#include "format/base/base.h"

#define JOURNAL_MAGIC      0xc03b3998u
#define JOURNAL_BLOCKS_MAX (1u << 20)

/* The journal's file. */
struct journal_source {
	unsigned block_size;    /* 1 KiB to 64 KiB, a power of two */
	uint64_t blocks;        /* that it has */
	uint64_t system_blocks; /* that the file system has */
	/* One block of it; -errno. */
	int (*read)(struct journal_source *source, uint64_t block,
		    void *buffer);
	/* Where that block stands in the file system; false: nowhere. */
	bool (*place)(struct journal_source *source, uint64_t block,
		      uint64_t *out);
};

struct journal_entry {
	uint64_t block; /* of the file system, plus 1; 0: empty */
	uint64_t place; /* of its newer content; 0: it has none after all */
	bool escaped;   /* its first four bytes are JOURNAL_MAGIC */
};

/* Zeroed is empty. */
struct journal_map {
	struct journal_entry *entries;
	size_t capacity, used; /* a power of two, at most half full */
};

/*
 * All transactions that were committed. 0: *out is to be released, and may be
 * empty. -EOPNOTSUPP: a journal that this can't read; -EBADMSG, -EIO, -ENOMEM.
 */
int journal_read(struct journal_map *out, struct journal_source *source);
/* NULL: the block is as it stands. */
const struct journal_entry *journal_find(const struct journal_map *map,
					 uint64_t block);
void journal_map_release(struct journal_map *map);

#endif
