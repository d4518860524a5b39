/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of an error. They may quote names from a store or a guest, so the
 * whole text is made safe for a terminal here, in one place, and stays one
 * line. A text that is too long loses its middle-to-end, never the reason that
 * err_sys() appends.
 */
#include "format/base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "format/base/base.h"

#ifdef __clang_analyzer__
#undef err_set
#undef err_sys
#endif

/* The escaped text is never shorter than the raw one, so whatever vsnprintf()
 * cuts off here, even in the middle of a character, would not fit anyway. */
#define RAW_MAX (ERR_TEXT_MAX + 8)

static void put_words(char *text, size_t capacity, const char *format,
		      va_list args)
{
	char raw[RAW_MAX];

	if (vsnprintf(raw, sizeof(raw), format, args) < 0)
		snprintf(raw, sizeof(raw), "%s", format);
	escape_name(text, capacity, raw);
}

int err_set(struct err *err, int code, const char *format, ...)
{
	char text[ERR_TEXT_MAX];
	va_list args;

	assert(code < 0);
	if (!err)
		return code;
	va_start(args, format);
	put_words(text, sizeof(text), format, args);
	va_end(args);
	memcpy(err->text, text, strlen(text) + 1);
	err->code = code;
	return code;
}

static const char *reason_of(int code, char *spare, size_t size)
{
	return code == -EMFILE ? ERR_TOO_MANY_FILES
			       : strerror_r(-code, spare, size);
}

int err_sys(struct err *err, int code, const char *format, ...)
{
	char text[ERR_TEXT_MAX], spare[128];
	const char *reason;
	size_t size, reason_size;
	va_list args;

	assert(code < 0);
	if (!err)
		return code;
	reason = reason_of(code, spare, sizeof(spare));
	reason_size = strnlen(reason, sizeof(spare));
	va_start(args, format);
	put_words(text, sizeof(text) - reason_size - 2, format, args);
	va_end(args);
	size = strlen(text);
	memcpy(err->text, text, size);
	memcpy(err->text + size, ": ", 2);
	memcpy(err->text + size + 2, reason, reason_size);
	err->text[size + 2 + reason_size] = 0;
	err->code = code;
	return code;
}

int err_prefix(struct err *err, const char *format, ...)
{
	char text[ERR_TEXT_MAX], old[ERR_TEXT_MAX];
	size_t size;
	va_list args;

	if (!err)
		return -EIO;
	va_start(args, format);
	put_words(text, sizeof(text) - 2, format, args);
	va_end(args);
	memcpy(old, err->text, sizeof(old));
	old[sizeof(old) - 1] = 0;
	size = strlen(text);
	memcpy(text + size, ": ", 3);
	memcpy(err->text, text, size + 3);
	/* It was escaped before; this only cuts between characters. */
	escape_name(err->text + size + 2, sizeof(err->text) - size - 2, old);
	return err->code;
}

static const struct {
	const char *word;
	int code;
} words[] = {
	{ "busy", -EBUSY },      { "not-found", -ENOENT },
	{ "corrupt", -EBADMSG }, { "no-space", -ENOSPC },
	{ "invalid", -EINVAL },  { "unsupported", -EOPNOTSUPP },
	{ "read-only", -EROFS }, { "denied", -EACCES },
	{ "too-many", -EMLINK }, { "failed", -EIO },
};

const char *err_word(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (words[i].code == code)
			return words[i].word;
	}
	return "failed";
}

int err_of_word(const char *word)
{
	for (size_t i = 0; word && i < ARRAY_SIZE(words); i++) {
		if (!strcmp(words[i].word, word))
			return words[i].code;
	}
	return -EIO;
}
