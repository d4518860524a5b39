/* SPDX-License-Identifier: Apache-2.0 */
/* vmsnap completion: scripts for the shells, written from the table. They ask
 * the store nothing: a completion must not want a passphrase. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/report.h"

/* First words of verbs, each once: "key" stands for its group. */
static void say_first_words(const char *between)
{
	const char *last = "";

	for (size_t i = 0; i < verb_count; i++) {
		const char *name = verb_table[i].name;
		size_t size = strcspn(name, " ");

		if (strncmp(last, name, size + 1) &&
		    !(name[size] && !strncmp(last, name, size)))
			say("%s%.*s", *last ? between : "", (int)size, name);
		last = name;
	}
}

static void say_sub_words(const char *group, const char *between)
{
	size_t size = strlen(group);
	bool any = false;

	for (size_t i = 0; i < verb_count; i++) {
		const char *name = verb_table[i].name;

		if (strncmp(name, group, size) || name[size] != ' ')
			continue;
		say("%s%s", any ? between : "", name + size + 1);
		any = true;
	}
}

static void say_options(const struct verb *verb)
{
	for (unsigned i = 0; i < OPT_COUNT; i++)
		if (verb ? verb_takes(verb, (enum option)i)
			 : i < OPT_COMMON_COUNT)
			say(" --%s", option_table[i].name);
}

static void bash_value_cases(void)
{
	for (unsigned i = 0; i < OPT_COUNT; i++) {
		const struct option_info *info = &option_table[i];

		if (!info->value || info->value_optional)
			continue;
		say("\t--%s", info->name);
		if (info->letter)
			say("|-%c", info->letter);
		say(") ");
		switch (info->complete) {
		case COMPLETE_FILE:
			say("COMPREPLY=($(compgen -f -- \"$cur\"))");
			break;
		case COMPLETE_DIRECTORY:
			say("COMPREPLY=($(compgen -d -- \"$cur\"))");
			break;
		case COMPLETE_WORDS:
			say("COMPREPLY=($(compgen -W \"%s\" -- \"$cur\"))",
			    info->words);
			break;
		case COMPLETE_NOTHING:
			say(":");
			break;
		}
		say("; return ;;\n");
	}
}

static void bash_verb_cases(void)
{
	for (size_t i = 0; i < verb_count; i++) {
		const struct verb *verb = &verb_table[i];

		say("\t\"%s\") options=\"", verb->name);
		say_options(verb);
		say(" \"");
		if (verb->complete == COMPLETE_WORDS)
			say(" words=\"%s\"", verb->words);
		if (verb->complete == COMPLETE_FILE)
			say(" files=1");
		say(" ;;\n");
	}
	for (size_t i = 0; i < VERB_GROUPS; i++) {
		say("\t%s) words=\"", verb_groups[i]);
		say_sub_words(verb_groups[i], " ");
		say("\" ;;\n");
	}
	say("\t\"\") words=\"");
	say_first_words(" ");
	say("\" options=\"");
	say_options(NULL);
	say(" \" ;;\n");
}

/* The options that swallow the next word, for the search for the verb. */
static void bash_valued(void)
{
	const char *between = "";

	for (unsigned i = 0; i < OPT_COUNT; i++) {
		const struct option_info *info = &option_table[i];

		if (!info->value || info->value_optional)
			continue;
		say("%s--%s", between, info->name);
		if (info->letter)
			say("|-%c", info->letter);
		between = "|";
	}
}

static void bash(void)
{
	say("# bash completion of vmsnap\n"
	    "_vmsnap()\n{\n"
	    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} verb= options= words= "
	    "files= i\n"
	    "\tlocal prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	    "\tCOMPREPLY=()\n"
	    "\tcase $prev in\n");
	bash_value_cases();
	say("\tesac\n"
	    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	    "\t\tcase ${COMP_WORDS[i]} in\n\t\t");
	bash_valued();
	say(") ((i++)) || : ;;\n"
	    "\t\t-*) ;;\n"
	    "\t\t*) if [ -z \"$verb\" ]; then verb=${COMP_WORDS[i]}\n"
	    "\t\t   elif [ \"$verb\" = key ] || [ \"$verb\" = image ]; then\n"
	    "\t\t\tverb=\"$verb ${COMP_WORDS[i]}\"\n"
	    "\t\t   fi ;;\n"
	    "\t\tesac\n\tdone\n"
	    "\tcase $verb in\n");
	bash_verb_cases();
	say("\tesac\n"
	    "\tif [[ $cur == -* ]]; then\n"
	    "\t\tCOMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
	    "\telif [ -n \"$files\" ]; then\n"
	    "\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
	    "\telse\n"
	    "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	    "\tfi\n}\n"
	    "complete -o filenames -F _vmsnap vmsnap\n");
}

/* Inside single quotes of zsh and fish. */
static void say_quoted(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			say("'\\''");
		else
			say("%c", *text);
	}
}

static void zsh_options(const struct verb *verb)
{
	for (unsigned i = 0; i < OPT_COUNT; i++) {
		const struct option_info *info = &option_table[i];

		if (!verb_takes(verb, (enum option)i))
			continue;
		say(" \\\n\t\t\t'--%s%s[", info->name,
		    info->value_optional ? "=-"
		    : info->value        ? "="
					 : "");
		say_quoted(info->help);
		say("]");
		if (info->value) {
			say("%s:%s:", info->value_optional ? ":" : "",
			    info->value);
			if (info->complete == COMPLETE_FILE)
				say("_files");
			else if (info->complete == COMPLETE_DIRECTORY)
				say("_files -/");
			else if (info->complete == COMPLETE_WORDS)
				say("(%s)", info->words);
		}
		say("'");
	}
}

static void zsh(void)
{
	say("#compdef vmsnap\n"
	    "_vmsnap() {\n"
	    "\tlocal verb= word\n"
	    "\tfor word in ${words[2,CURRENT-1]}; do\n"
	    "\t\t[[ $word == -* ]] && continue\n"
	    "\t\tif [[ -z $verb ]]; then verb=$word\n"
	    "\t\telif [[ $verb == key || $verb == image ]]; then "
	    "verb=\"$verb $word\"\n"
	    "\t\tfi\n\tdone\n"
	    "\tcase $verb in\n");
	for (size_t i = 0; i < verb_count; i++) {
		const struct verb *verb = &verb_table[i];

		say("\t(\"%s\")\n\t\t_arguments", verb->name);
		zsh_options(verb);
		if (verb->complete == COMPLETE_WORDS)
			say(" \\\n\t\t\t'*:argument:(%s)'", verb->words);
		else
			say(" \\\n\t\t\t'*:argument:_files'");
		say(" ;;\n");
	}
	for (size_t i = 0; i < VERB_GROUPS; i++) {
		say("\t%s) compadd ", verb_groups[i]);
		say_sub_words(verb_groups[i], " ");
		say(" ;;\n");
	}
	say("\t*) compadd ");
	say_first_words(" ");
	say(" ;;\n\tesac\n}\n"
	    "if [ \"$funcstack[1]\" = _vmsnap ]; then _vmsnap \"$@\"; else "
	    "compdef _vmsnap vmsnap; fi\n");
}

static void fish_option(const struct option_info *info, const char *condition)
{
	say("complete -c vmsnap -l %s", info->name);
	if (info->letter)
		say(" -s %c", info->letter);
	if (*condition)
		say(" -n '%s'", condition);
	if (info->value && !info->value_optional)
		say(info->complete == COMPLETE_FILE ||
				    info->complete == COMPLETE_DIRECTORY
			    ? " -rF"
			    : " -x");
	if (info->complete == COMPLETE_WORDS)
		say(" -a '%s'", info->words);
	say(" -d '");
	say_quoted(info->help);
	say("'\n");
}

static void fish_verb_options(const struct verb *verb)
{
	static const char seen[] = "__fish_seen_subcommand_from";
	const char *space = strchr(verb->name, ' ');
	char condition[160];

	if (space)
		snprintf(condition, sizeof(condition), "%s %.*s; and %s %s",
			 seen, (int)(space - verb->name), verb->name, seen,
			 space + 1);
	else
		snprintf(condition, sizeof(condition), "%s %s", seen,
			 verb->name);
	for (unsigned i = OPT_COMMON_COUNT; i < OPT_COUNT; i++)
		if (verb_takes(verb, (enum option)i))
			fish_option(&option_table[i], condition);
	if (verb->complete == COMPLETE_FILE)
		say("complete -c vmsnap -n '%s' -F\n", condition);
	if (verb->complete == COMPLETE_WORDS)
		say("complete -c vmsnap -n '%s' -a '%s'\n", condition,
		    verb->words);
}

static void fish(void)
{
	say("# fish completion of vmsnap\n"
	    "complete -c vmsnap -f\n"
	    "complete -c vmsnap -n __fish_use_subcommand -a '");
	say_first_words(" ");
	say("'\n");
	for (size_t i = 0; i < VERB_GROUPS; i++) {
		say("complete -c vmsnap -n '__fish_seen_subcommand_from %s' "
		    "-a '",
		    verb_groups[i]);
		say_sub_words(verb_groups[i], " ");
		say("'\n");
	}
	for (unsigned i = 0; i < OPT_COMMON_COUNT; i++)
		fish_option(&option_table[i], "");
	for (size_t i = 0; i < verb_count; i++)
		fish_verb_options(&verb_table[i]);
}

int cmd_completion(struct cli *cli, struct err *err)
{
	const char *shell = cli->options.arguments[0];

	if (!strcmp(shell, "bash"))
		bash();
	else if (!strcmp(shell, "zsh"))
		zsh();
	else if (!strcmp(shell, "fish"))
		fish();
	else
		return err_set(err, -EINVAL, "shell '%s': bash, zsh or fish",
			       shell);
	return 0;
}
