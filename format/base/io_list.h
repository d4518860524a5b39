/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, first in, first out, chained by io_request.next: of the queues'
 * implementations, private to format/base. */
#ifndef FORMAT_BASE_IO_LIST_H
#define FORMAT_BASE_IO_LIST_H

#include "format/base/io.h"

struct io_list {
	struct io_request *first, *last;
};

static inline void io_list_push(struct io_list *list,
				struct io_request *request)
{
	request->next = NULL;
	if (list->first)
		list->last->next = request;
	else
		list->first = request;
	list->last = request;
}

/* NULL: there is none. */
static inline struct io_request *io_list_pop(struct io_list *list)
{
	struct io_request *request = list->first;

	if (request) {
		list->first = request->next;
		request->next = NULL;
	}
	return request;
}

#endif
