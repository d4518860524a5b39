/* SPDX-License-Identifier: Apache-2.0 */
/* --help, written from the table. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/report.h"

static void print_option(enum option option)
{
	const struct option_info *info = &option_table[option];
	char left[64], letter[8] = "    ";

	if (info->letter)
		snprintf(letter, sizeof(letter), "-%c, ", info->letter);
	snprintf(left, sizeof(left), "%s--%s%s%s%s", letter, info->name,
		 !info->value           ? ""
		 : info->value_optional ? "[="
					: " ",
		 info->value ? info->value : "",
		 info->value_optional ? "]" : "");
	say("  %-30s %s\n", left, info->help);
}

/* Options stand before a "--", behind which all words are another's. */
static void print_usage(const struct verb *verb)
{
	const char *rest = strstr(verb->arguments, " -- ");
	const size_t length = rest ? (size_t)(rest - verb->arguments)
				   : strlen(verb->arguments);
	size_t column = strlen(verb->name) + length + 15;

	say("usage: vmsnap %s%s%.*s", verb->name, length ? " " : "",
	    (int)length, verb->arguments);
	for (unsigned i = OPT_COMMON_COUNT; i < OPT_COUNT; i++) {
		const struct option_info *info = &option_table[i];
		char text[64];

		if (!verb_takes(verb, (enum option)i))
			continue;
		snprintf(text, sizeof(text), "[--%s%s%s%s]", info->name,
			 !info->value           ? ""
			 : info->value_optional ? "[="
						: " ",
			 info->value ? info->value : "",
			 info->value_optional ? "]" : "");
		if (column + strlen(text) + 1 > 79) {
			say("\n             ");
			column = 13;
		}
		say(" %s", text);
		column += strlen(text) + 1;
	}
	say("%s\n", rest ? rest : "");
}

static void print_verb(const struct verb *verb)
{
	print_usage(verb);
	say("\n%s.\n", verb->help);
	if (verb->options)
		say("\nOptions:\n");
	for (unsigned i = OPT_COMMON_COUNT; i < OPT_COUNT; i++)
		if (verb_takes(verb, (enum option)i))
			print_option((enum option)i);
	say("\nOptions of every verb:\n");
	for (unsigned i = 0; i < OPT_COMMON_COUNT; i++)
		print_option((enum option)i);
}

void help_print(const struct options *options)
{
	if (options->verb) {
		print_verb(options->verb);
		return;
	}
	say("usage: vmsnap VERB [options] [arguments]\n\n"
	    "Snapshots of whole disks in a deduplicated, encrypted store.\n\n"
	    "Verbs:\n");
	for (size_t i = 0; i < verb_count; i++) {
		const struct verb *verb = &verb_table[i];
		char left[64];

		if (options->group &&
		    strncmp(verb->name, options->group, strlen(options->group)))
			continue;
		snprintf(left, sizeof(left), "%s %s", verb->name,
			 verb->arguments);
		say("  %-30s %s\n", left, verb->help);
	}
	say("\nOptions of every verb:\n");
	for (unsigned i = 0; i < OPT_COMMON_COUNT; i++)
		print_option((enum option)i);
	say("\nThe passphrase comes from --passphrase-file, VMSNAP_PASSPHRASE,\n"
	    "VMSNAP_PASSPHRASE_COMMAND or a prompt.\n"
	    "A snapshot: NAME, NAME@latest, NAME@LABEL, NAME@-1, or 8 digits "
	    "of its id.\n"
	    "Exit status: 0 done, 1 failed, 2 usage, 3 corruption, 4 not "
	    "found, 5 busy,\n"
	    "6 unsupported, 7 wrong passphrase, 8 incomplete.\n"
	    "'vmsnap VERB --help' says more, 'man vmsnap' says all.\n");
}
