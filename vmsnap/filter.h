/* SPDX-License-Identifier: Apache-2.0 */
/* The change filter: what the last backup of the same disk knew of each chunk,
 * and the tags of this one. spec/store.md, Change filter. Private. */
#ifndef VMSNAP_FILTER_H
#define VMSNAP_FILTER_H

#include "vmsnap/engine.h"

#define TAGS_PER_CHUNK ((1u << TAGS_CHUNK_LOG2) / FILTER_TAG_SIZE)

/* Ids and tags of the parent's chunks, by number. One thread. */
struct filter;

/* `parent` must outlive it. */
int filter_new(struct filter **out, struct store_thread *thread,
	       const struct volume *parent, struct err *err);
void filter_free(struct filter *filter);

/*
 * Of the chunks [first, first + count): ids[] and tags[]. Past the parent's
 * end they are null. Where the parent can't be read: -EBADMSG, and what is
 * asked for counts as changed.
 */
int filter_load(struct filter *filter, uint64_t first, unsigned count,
		struct id *ids, struct filter_tag *tags, struct err *err);

/* Takes the tags in order and stores them as a volume. */
struct tag_writer;
int tag_writer_new(struct tag_writer **out, uint64_t chunk_count,
		   struct err *err);
void tag_writer_free(struct tag_writer *writer);
int tag_writer_append(struct tag_writer *writer, struct store_thread *thread,
		      const struct filter_tag *tags, uint64_t count,
		      struct err *err);
/* Holes' tags are zero; O(1) for any count. */
int tag_writer_append_holes(struct tag_writer *writer,
			    struct store_thread *thread, uint64_t count,
			    struct err *err);
int tag_writer_finish(struct tag_writer *writer, struct store_thread *thread,
		      struct id *root, struct err *err);

#endif
