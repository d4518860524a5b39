/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stdout is the product and stderr the rest. A reader who closes the pipe
 * early (`| head`) gets no complaint, but the status tells that not all was
 * written.
 */
#include "cli/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "cli/progress.h"

static int output_errno;

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (vprintf(format, args) < 0 && !output_errno)
		output_errno = errno ? errno : EIO;
	va_end(args);
}

static void line(const struct cli *cli, const char *kind, const char *format,
		 va_list args)
{
	const struct options *options = &cli->options;
	struct err words;
	char text[4 * ERR_TEXT_MAX];

	vsnprintf(text, sizeof(text), format, args);
	/* Once more through the escapes: names may stand in it. */
	(void)err_set(&words, -EIO, "%s", text);
	progress_pause();
	fprintf(stderr, "vmsnap: %s%s%s%s\n",
		options->verb    ? options->verb->name
		: options->group ? options->group
				 : "",
		options->verb || options->group ? ": " : "", kind, words.text);
	progress_resume();
}

void report_line(const struct cli *cli, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line(cli, "", format, args);
	va_end(args);
}

void report_warning(const struct cli *cli, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line(cli, "warning: ", format, args);
	va_end(args);
}

void report_warn(void *arg, const char *text)
{
	report_warning(arg, "%s", text);
}

void report_error(const struct cli *cli, const struct err *err)
{
	report_line(cli, "%s", err->text);
}

enum status status_of(int code)
{
	switch (code) {
	case 0:
		return STATUS_DONE;
	case -EINVAL:
		return STATUS_USAGE;
	case -EBADMSG:
		return STATUS_CORRUPT;
	case -ENOENT:
		return STATUS_NOT_FOUND;
	case -EBUSY:
		return STATUS_BUSY;
	case -EOPNOTSUPP:
	case -ENONET:
		return STATUS_UNSUPPORTED;
	case -EKEYREJECTED:
		return STATUS_WRONG_KEY;
	default:
		return STATUS_FAILED;
	}
}

enum status report_finish(const struct cli *cli, enum status status)
{
	errno = 0;
	if ((fflush(stdout) || ferror(stdout)) && !output_errno)
		output_errno = errno ? errno : EIO;
	if (!output_errno)
		return status;
	if (output_errno != EPIPE) {
		struct err err;

		(void)err_sys(&err, -output_errno, "standard output");
		report_error(cli, &err);
	}
	return status == STATUS_DONE ? STATUS_FAILED : status;
}
