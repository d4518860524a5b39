/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: a code for the program and words for the person.
 *
 * A fallible function returns 0 (or a count, or a descriptor) or -errno.
 * Whoever detects the failure writes the words into struct err with err_set()
 * or err_sys(); everyone else passes the code up untouched. The codes that
 * carry a meaning of ours:
 *
 *	-EBADMSG	corrupt or tampered with
 *	-EOPNOTSUPP	too new, or not supported here
 *	-ENOENT		absent
 *	-EKEYREJECTED	wrong key or passphrase
 *	-EBUSY		locked or in use
 *	-EINVAL		the caller's argument is wrong
 *
 * A struct err belongs to one thread. Every function takes NULL for it and is
 * then silent. Messages start in lower case, quote names, give the offset, and
 * say what to do next where there is something to do.
 */
#ifndef FORMAT_BASE_ERR_H
#define FORMAT_BASE_ERR_H

#define ERR_TEXT_MAX 768

/* Of EMFILE: its usual words don't tell what to do. */
#define ERR_TOO_MANY_FILES                                    \
	"too many open files for one process (raise 'ulimit " \
	"-n', or LimitNOFILE= of the service)"

struct err {
	int code;                /* 0 or -errno */
	char text[ERR_TEXT_MAX]; /* one line, no newline; control characters
				    of quoted names are escaped */
};

/* Write the words; returns `code`, which is a negative errno. */
int err_set(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As err_set(), and appends ": " and the system's words for the code. */
int err_sys(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "words: " in front of what stands there; returns err->code, or -EIO
 * when `err` is NULL and the code is not known. */
int err_prefix(struct err *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The word for a code in the protocols (spec/control.md), "failed" for one that
 * has none; and back, -EIO for a word that is none, or NULL. */
const char *err_word(int code);
int err_of_word(const char *word);

/*
 * The analyzer sees one file at a time: tell it that these return what they
 * were given, else it takes every failure for a success.
 */
#ifdef __clang_analyzer__
#define err_set(err, code, ...) ((void)(err), (code))
#define err_sys(err, code, ...) ((void)(err), (code))
#endif

#endif
