/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON documents: a "type", snake_case keys, units in the name. A NULL
 * json_t stands for "out of memory" everywhere and is found at the end. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <jansson.h>

#include "cli/cli.h"

/* jansson's integers are signed. */
static inline json_int_t json_number(uint64_t n)
{
	return n > INT64_MAX ? INT64_MAX : (json_int_t)n;
}

json_t *json_id(const struct id *id); /* null for the null id */
json_t *json_time(int64_t time_ns);
/* Text from outside: what isn't UTF-8 is escaped. NULL text becomes null. */
json_t *json_text(const char *text);
json_t *json_ranges(const struct range *ranges, size_t count);
json_t *json_snapshot(const struct snapshot *snapshot);

/* One line, to free(); NULL: out of memory. Both take the document over. */
char *json_line(json_t *document, struct err *err);
/* That line on standard output. */
int json_say(json_t *document, struct err *err);

#endif
