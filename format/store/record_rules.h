/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules that all lists of records share: what stands at most once, what
 * must stand, and what is unknown. Private to snapshot.c, volume.c, pin.c and
 * condemned.c.
 */
#ifndef FORMAT_STORE_RECORD_RULES_H
#define FORMAT_STORE_RECORD_RULES_H

#include <errno.h>

#include "format/store/id.h"
#include "format/store/record.h"

/* -EBADMSG when this type (below 32) was seen before; else marks it. */
static inline int record_once(const struct record *record, uint32_t *seen,
			      const char *what, struct err *err)
{
	uint32_t bit = 1u << record->type;

	if (*seen & bit)
		return err_set(err, -EBADMSG,
			       "%s: record of type %u stands twice", what,
			       record->type);
	*seen |= bit;
	return 0;
}

/* -EBADMSG unless all types of the mask were seen. */
static inline int record_all(uint32_t seen, uint32_t wanted, const char *what,
			     struct err *err)
{
	uint32_t missing = wanted & ~seen;

	if (!missing)
		return 0;
	return err_set(err, -EBADMSG, "%s: no record of type %d", what,
		       __builtin_ctz(missing));
}

static inline int record_unknown(const struct record *record, const char *what,
				 struct err *err)
{
	if (!record->required)
		return 0;
	return err_set(err, -EOPNOTSUPP,
		       "%s: record of type %u must be understood and is not "
		       "known here: use a newer vmsnap",
		       what, record->type);
}

static inline int record_id(const struct record *record, struct id *out,
			    const char *what, struct err *err)
{
	if (record->size != ID_SIZE)
		return err_set(err, -EBADMSG,
			       "%s: record of type %u has %zu bytes instead of "
			       "%d",
			       what, record->type, record->size, ID_SIZE);
	memcpy(out->b, record->payload, ID_SIZE);
	return 0;
}

static inline int record_name(const struct record *record,
			      char out[NAME_MAX_SIZE + 1], const char *what,
			      struct err *err)
{
	if (!name_is_valid((const char *)record->payload, record->size))
		return err_set(err, -EBADMSG,
			       "%s: record of type %u is not a valid name",
			       what, record->type);
	memcpy(out, record->payload, record->size);
	out[record->size] = '\0';
	return 0;
}

/* For a writer: a text that a reader will take; NULL puts nothing. */
static inline int record_put_limited(struct bytes *out, unsigned type,
				     bool required, const char *text,
				     size_t max, struct err *err)
{
	if (!text)
		return 0;
	if (strlen(text) > max)
		return err_set(err, -EINVAL,
			       "a text has %zu bytes, at most %zu fit",
			       strlen(text), max);
	return record_put_text(out, type, required, text, err);
}

#endif
