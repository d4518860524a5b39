/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line, read once from left to right. Options stand anywhere; "--"
 * ends them. getopt_long() is not used: it takes abbreviations, which would
 * change their meaning with every option added, and says less.
 */
#include "cli/options.h"

#include <errno.h>
#include <string.h>

#include "vmsnap/vmsnap.h"

/* Of the design, but of a later version. */
static const char *const later_verbs[] = {
	"forget", "prune",  "repair",  "copy",     "sync",  "snapshot",
	"clone",  "revert", "migrate", "template", "serve",
};
static const char *const later_options[] = { "boot", "expect", "exec",
					     "net",  "lazy",   "firmware" };

const char *const verb_groups[VERB_GROUPS] = { "key", "image", "pin",
					       "keeper" };

static bool is_among(const char *word, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(word, words[i]))
			return true;
	return false;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;

	return least < c ? least : c;
}

#define WORD_MAX 32

/* Edits from one word to the other; a swap of two neighbours is one. */
static unsigned distance(const char *a, const char *b)
{
	unsigned rows[WORD_MAX + 1][WORD_MAX + 1];
	size_t m = strlen(a), n = strlen(b);

	if (m > WORD_MAX || n > WORD_MAX)
		return WORD_MAX;
	for (size_t i = 0; i <= m; i++)
		rows[i][0] = (unsigned)i;
	for (size_t j = 0; j <= n; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= m; i++) {
		for (size_t j = 1; j <= n; j++) {
			unsigned other = a[i - 1] != b[j - 1];

			rows[i][j] =
				min3(rows[i - 1][j] + 1, rows[i][j - 1] + 1,
				     rows[i - 1][j - 1] + other);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				rows[i][j] =
					min3(rows[i][j], rows[i - 2][j - 2] + 1,
					     WORD_MAX);
		}
	}
	return rows[m][n];
}

const char *nearest_word(const char *text, const char *const *words,
			 size_t count)
{
	const char *best = NULL;
	unsigned best_distance = strlen(text) > 4 ? 3 : 2;

	for (size_t i = 0; i < count; i++) {
		unsigned d = distance(text, words[i]);

		/* An unfinished word counts as one edit. */
		if (strlen(text) > 1 && !strncmp(text, words[i], strlen(text)))
			d = 1;
		if (d < best_distance) {
			best = words[i];
			best_distance = d;
		}
	}
	return best;
}

static int unknown_verb(const char *word, struct err *err)
{
	const char *names[64], *near;
	size_t count = VERB_GROUPS;

	memcpy(names, verb_groups, sizeof(verb_groups));
	if (is_among(word, later_verbs, ARRAY_SIZE(later_verbs)))
		return err_set(err, -EOPNOTSUPP,
			       "verb '%s': not in this version", word);
	for (size_t i = 0; i < verb_count && count < ARRAY_SIZE(names); i++)
		if (!strchr(verb_table[i].name, ' '))
			names[count++] = verb_table[i].name;
	near = nearest_word(word, names, count);
	if (near)
		return err_set(err, -EINVAL,
			       "unknown verb '%s': did you mean '%s'?", word,
			       near);
	return err_set(err, -EINVAL,
		       "unknown verb '%s': 'vmsnap --help' lists them", word);
}

static int unknown_option(const struct options *options, const char *name,
			  struct err *err)
{
	const char *names[OPT_COUNT], *near;
	size_t count = 0;

	if (is_among(name, later_options, ARRAY_SIZE(later_options)))
		return err_set(err, -EOPNOTSUPP,
			       "option '--%s': not in this version", name);
	for (unsigned i = 0; i < OPT_COUNT; i++)
		if (!options->verb || verb_takes(options->verb, (enum option)i))
			names[count++] = option_table[i].name;
	near = nearest_word(name, names, count);
	if (near)
		return err_set(err, -EINVAL,
			       "unknown option '--%s': did you mean '--%s'?",
			       name, near);
	return err_set(err, -EINVAL,
		       "unknown option '--%s': '--help' lists them", name);
}

static bool in_group(const char *name, const char *group)
{
	size_t size = strlen(group);

	return !strncmp(name, group, size) && name[size] == ' ';
}

static int take_verb(struct options *out, const char *word, struct err *err)
{
	const char *subs[16], *near;
	size_t count = 0;

	if (!out->group && !strcmp(word, "help")) {
		out->given[OPT_HELP] = true;
		return 0;
	}
	if (!out->group && is_among(word, verb_groups, VERB_GROUPS)) {
		out->group = word;
		return 0;
	}
	for (size_t i = 0; i < verb_count; i++) {
		const char *name = verb_table[i].name;
		const char *space = strchr(name, ' ');

		if (!out->group && !space && !strcmp(name, word))
			out->verb = &verb_table[i];
		if (out->group && space && in_group(name, out->group) &&
		    count < ARRAY_SIZE(subs)) {
			subs[count++] = space + 1;
			if (!strcmp(space + 1, word))
				out->verb = &verb_table[i];
		}
	}
	if (out->verb)
		return 0;
	if (!out->group)
		return unknown_verb(word, err);
	near = nearest_word(word, subs, count);
	if (near)
		return err_set(err, -EINVAL,
			       "unknown '%s %s': did you mean '%s %s'?",
			       out->group, word, out->group, near);
	return err_set(err, -EINVAL,
		       "unknown '%s %s': 'vmsnap %s --help' "
		       "lists them",
		       out->group, word, out->group);
}

static int take_word(struct options *out, char *word, struct err *err)
{
	if (!out->verb)
		return take_verb(out, word, err);
	out->arguments[out->argument_count++] = word;
	return 0;
}

/* `value` stands after '=', else NULL; *next is the word after the option. */
static int take_option(struct options *out, enum option option,
		       const char *value, const char *next, bool *used_next,
		       struct err *err)
{
	const struct option_info *info = &option_table[option];

	if (value && !info->value)
		return err_set(err, -EINVAL, "option '--%s' takes no value",
			       info->name);
	if (!value && info->value && !info->value_optional) {
		if (!next)
			return err_set(err, -EINVAL,
				       "option '--%s' needs a value: %s",
				       info->name, info->value);
		value = next;
		*used_next = true;
	}
	out->given[option] = true;
	out->value[option] = value;
	out->uses[out->use_count++] = (struct option_use){ option, value };
	return 0;
}

static int take_long(struct options *out, const char *text, const char *next,
		     bool *used_next, struct err *err)
{
	const char *equals = strchr(text, '=');
	size_t size = equals ? (size_t)(equals - text) : strlen(text);
	char name[64];

	for (unsigned i = 0; i < OPT_COUNT; i++)
		if (strlen(option_table[i].name) == size &&
		    !strncmp(option_table[i].name, text, size))
			return take_option(out, (enum option)i,
					   equals ? equals + 1 : NULL, next,
					   used_next, err);
	if (size >= sizeof(name))
		size = sizeof(name) - 1;
	memcpy(name, text, size);
	name[size] = 0;
	return unknown_option(out, name, err);
}

/* "-q", "-qv", "-sSTORE", "-s STORE" */
static int take_letters(struct options *out, const char *text, const char *next,
			bool *used_next, struct err *err)
{
	for (; *text; text++) {
		unsigned i = 0;
		int r;

		while (i < OPT_COUNT && option_table[i].letter != *text)
			i++;
		if (i == OPT_COUNT)
			return err_set(err, -EINVAL,
				       "unknown option '-%c': '--help' lists "
				       "them",
				       *text);
		if (option_table[i].value && text[1])
			return take_option(out, (enum option)i, text + 1, next,
					   used_next, err);
		r = take_option(out, (enum option)i, NULL, next, used_next,
				err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_options(const struct options *out, struct err *err)
{
	const struct verb *verb = out->verb;

	for (unsigned i = 0; i < OPT_COUNT; i++)
		if (out->given[i] && !verb_takes(verb, (enum option)i))
			return err_set(err, -EINVAL,
				       "'%s' has no option '--%s': 'vmsnap %s "
				       "--help' lists them",
				       verb->name, option_table[i].name,
				       verb->name);
	if (out->argument_count > verb->arguments_max) {
		const char *extra = out->arguments[verb->arguments_max];

		for (unsigned i = 0; i < OPT_COUNT; i++)
			if (out->given[i] && option_table[i].value_optional &&
			    !out->value[i])
				return err_set(err, -EINVAL,
					       "too many arguments, from '%s' "
					       "on; if it belongs to '--%s': "
					       "--%s=%s",
					       extra, option_table[i].name,
					       option_table[i].name, extra);
		if (!*verb->arguments)
			return err_set(err, -EINVAL,
				       "'%s' takes no argument, but here is "
				       "'%s' (the store is named with -s)",
				       verb->name, extra);
		return err_set(err, -EINVAL,
			       "too many arguments, from '%s' on: vmsnap %s %s",
			       extra, verb->name, verb->arguments);
	}
	if (out->argument_count < verb->arguments_min)
		return err_set(err, -EINVAL, "too few arguments: vmsnap %s %s",
			       verb->name, verb->arguments);
	return 0;
}

/* There are no more options than letters. */
static size_t letters_in(int argc, char **argv)
{
	size_t count = 0;

	for (int i = 1; i < argc; i++)
		count += strlen(argv[i]);
	return count;
}

int options_parse(struct options *out, int argc, char **argv, struct err *err)
{
	bool no_more = false;
	int r;

	r = alloc_array(&out->arguments, (size_t)argc + 1,
			sizeof(*out->arguments), err);
	if (!r)
		r = alloc_array(&out->uses, letters_in(argc, argv) + 1,
				sizeof(*out->uses), err);
	if (r < 0)
		return r;
	for (int i = 1; i < argc; i++) {
		char *word = argv[i];
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;
		bool used_next = false;

		if (no_more || word[0] != '-' || !word[1]) {
			r = take_word(out, word, err);
		} else if (!strcmp(word, "--")) {
			no_more = true;
		} else if (word[1] == '-') {
			r = take_long(out, word + 2, next, &used_next, err);
		} else {
			r = take_letters(out, word + 1, next, &used_next, err);
		}
		if (r < 0)
			return r;
		i += used_next;
	}
	if (out->given[OPT_HELP] || out->given[OPT_VERSION])
		return 0;
	if (!out->verb)
		return err_set(
			err, -EINVAL, "%s: 'vmsnap%s%s --help' lists them",
			out->group ? "which of its verbs?" : "no verb given",
			out->group ? " " : "", out->group ? out->group : "");
	return check_options(out, err);
}

void options_release(struct options *options)
{
	free(options->arguments);
	options->arguments = NULL;
	free(options->uses);
	options->uses = NULL;
}
