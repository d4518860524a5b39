/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of GRUB's language as grub-mkconfig writes: the default that is set
 * in plain words, menu entries and submenus, and in an entry the lines that
 * name kernel and initrd. A saved entry is looked up in GRUB's environment; one
 * for the next start alone is not, since nobody would take it back. What needs
 * GRUB itself to tell (a variable) is left out: then the first entry is the
 * default, as for GRUB.
 */
#include <string.h>

#include "kvm-agent/boot/disk_private.h"

#define LINE_MAX_BYTES 4096u
#define WORDS_MAX      128u
#define DEPTH_MAX      8u

struct words {
	char text[LINE_MAX_BYTES];
	unsigned count;
	char *word[WORDS_MAX];
};

/* ---- words ---- */

/* One word from `*at`, without its quotes, to `to`; where `to` ends then. */
static char *copy_word(const char **at, const char *end, char *to)
{
	char quote = 0;

	for (; *at < end; (*at)++) {
		char c = **at;

		if (quote ? c == quote : c == '\'' || c == '"') {
			quote = quote ? 0 : c;
			continue;
		}
		if (!quote && (c == ' ' || c == '\t'))
			break;
		if (c == '\\' && quote != '\'' && *at + 1 < end)
			c = *++*at;
		*to++ = c;
	}
	*to++ = 0;
	return to;
}

/* The words of the next line; false: there is none. One that is too long has
 * no words. */
static bool next_line(struct reader *text, struct words *words)
{
	const char *start = (const char *)text->at, *end;
	char *to = words->text;
	size_t size;

	words->count = 0;
	if (!text->left)
		return false;
	end = memchr(start, '\n', text->left);
	size = end ? (size_t)(end - start) : text->left;
	(void)reader_take(text, end ? size + 1 : size);
	if (size >= LINE_MAX_BYTES / 2)
		return true;
	end = start + size;
	while (words->count < WORDS_MAX) {
		while (start < end && (*start == ' ' || *start == '\t'))
			start++;
		if (start == end || *start == '#')
			break;
		words->word[words->count++] = to;
		to = copy_word(&start, end, to);
	}
	return true;
}

static bool word_is(const struct words *words, unsigned i, const char *text)
{
	return i < words->count && strcmp(words->word[i], text) == 0;
}

/* ---- the default ---- */

struct wanted {
	char text[GRUB_PATH_MAX + 1];
};

/* A variable of the environment block: lines of NAME=VALUE, behind a first line
 * that says what it is. A backslash stands before one that is meant. */
static bool look_up(const char *text, size_t size, const char *name,
		    struct wanted *out)
{
	static const char magic[] = "# GRUB Environment Block\n";
	struct reader reader = { (const uint8_t *)text, size };
	size_t length = strlen(name);

	if (size < strlen(magic) || memcmp(text, magic, strlen(magic)) != 0)
		return false;
	while (reader.left) {
		const char *line = (const char *)reader.at;
		const char *end = memchr(line, '\n', reader.left);
		size_t used = 0, n = end ? (size_t)(end - line) : reader.left;

		(void)reader_take(&reader, end ? n + 1 : n);
		if (n <= length || memcmp(line, name, length) != 0 ||
		    line[length] != '=')
			continue;
		for (size_t i = length + 1; i < n; i++) {
			if (line[i] == '\\' && i + 1 < n)
				i++;
			if (used == GRUB_PATH_MAX || !line[i])
				return false;
			out->text[used++] = line[i];
		}
		out->text[used] = 0;
		return used != 0;
	}
	return false;
}

struct settings {
	const char *menu;
	size_t menu_size;
	const char *environment;
	size_t environment_size;
};

/* The last one that is set, in plain words or to what was saved; else the first
 * entry. */
static void find_default(const struct settings *settings, struct words *words,
			 struct wanted *out)
{
	struct reader reader = { (const uint8_t *)settings->menu,
				 settings->menu_size };

	*out = (struct wanted){ "0" };
	while (next_line(&reader, words)) {
		const char *value;
		size_t length;

		if (!word_is(words, 0, "set") || words->count < 2 ||
		    strncmp(words->word[1], "default=", 8) != 0)
			continue;
		value = words->word[1] + 8;
		length = strlen(value);
		if (!strcmp(value, "${saved_entry}") ||
		    !strcmp(value, "$saved_entry"))
			(void)look_up(settings->environment,
				      settings->environment_size, "saved_entry",
				      out);
		else if (length && length <= GRUB_PATH_MAX &&
			 !strchr(value, '$'))
			memcpy(out->text, value, length + 1);
	}
}

/* Component `level` of a path like 1>2; "0" behind its end. */
static void component(const struct wanted *wanted, unsigned level,
		      char out[GRUB_PATH_MAX + 1])
{
	const char *at = wanted->text;
	size_t length;

	while (level-- && at)
		at = strchr(at, '>') ? strchr(at, '>') + 1 : NULL;
	length = at ? strcspn(at, ">") : 0;
	if (!length) {
		at = "0";
		length = 1;
	}
	memcpy(out, at, length);
	out[length] = 0;
}

/* By number, by title, by id. */
static bool is_wanted(const struct wanted *wanted, unsigned level,
		      unsigned index, const struct words *words)
{
	char want[GRUB_PATH_MAX + 1], *end;
	unsigned long number;

	component(wanted, level, want);
	number = strtoul(want, &end, 10);
	if (*end == 0)
		return number == index;
	for (unsigned i = 1; i < words->count; i++) {
		if ((i == 1 || word_is(words, i - 1, "$menuentry_id_option") ||
		     word_is(words, i - 1, "--id")) &&
		    strcmp(words->word[i], want) == 0)
			return true;
	}
	return false;
}

/* ---- an entry ---- */

/* A path, without the device that GRUB may have in front of it. */
static bool take_path(const char *word, char out[GRUB_PATH_MAX + 1])
{
	const char *end = *word == '(' ? strchr(word, ')') : NULL;
	size_t length;

	if (end)
		word = end + 1;
	length = strlen(word);
	if (*word != '/' || length > GRUB_PATH_MAX)
		return false;
	memcpy(out, word, length + 1);
	return true;
}

/* All but what only GRUB knows the value of. */
static bool take_arguments(const struct words *words,
			   char out[DISK_CMDLINE_MAX + 1])
{
	size_t used = 0;

	for (unsigned i = 2; i < words->count; i++) {
		size_t length = strlen(words->word[i]);

		if (!length || strchr(words->word[i], '$'))
			continue;
		if (length + 1 > DISK_CMDLINE_MAX - used)
			return false;
		if (used)
			out[used++] = ' ';
		memcpy(out + used, words->word[i], length);
		used += length;
	}
	out[used] = 0;
	return true;
}

static bool is_linux(const struct words *words)
{
	return word_is(words, 0, "linux") || word_is(words, 0, "linux16") ||
	       word_is(words, 0, "linuxefi");
}

static bool is_initrd(const struct words *words)
{
	return word_is(words, 0, "initrd") || word_is(words, 0, "initrd16") ||
	       word_is(words, 0, "initrdefi");
}

/* False: the entry is none that can be started so. */
static bool take_line(const struct words *words, struct grub_entry *entry)
{
	if (words->count < 2)
		return true;
	if (is_linux(words))
		return take_path(words->word[1], entry->kernel) &&
		       take_arguments(words, entry->arguments);
	/* Of several the last: what comes before is microcode. */
	if (is_initrd(words))
		return take_path(words->word[words->count - 1], entry->initrd);
	return true;
}

/* ---- the menu ---- */

enum block {
	OTHER, /* a function; an entry or a submenu that is not wanted */
	MENU,  /* a wanted submenu */
	ENTRY, /* the wanted entry */
};

struct walk {
	const struct wanted *wanted;
	struct grub_entry *entry;
	unsigned depth; /* open blocks */
	enum block blocks[DEPTH_MAX];
	unsigned level; /* open submenus that are wanted */
	unsigned index[DEPTH_MAX + 1];
};

static bool opens_block(const struct words *words)
{
	return words->count && word_is(words, words->count - 1, "{");
}

static bool open_block(struct walk *walk, const struct words *words)
{
	bool menu = word_is(words, 0, "submenu");
	bool entry = word_is(words, 0, "menuentry");
	enum block block = OTHER;

	if (walk->depth == DEPTH_MAX)
		return false;
	if ((menu || entry) &&
	    (!walk->depth || walk->blocks[walk->depth - 1] == MENU) &&
	    is_wanted(walk->wanted, walk->level, walk->index[walk->level]++,
		      words))
		block = menu ? MENU : ENTRY;
	walk->blocks[walk->depth++] = block;
	if (block == MENU)
		walk->index[++walk->level] = 0;
	return true;
}

/* 1: the wanted entry is complete. 0: on. -1: this can't be told. */
static int step(struct walk *walk, const struct words *words)
{
	enum block top = walk->depth ? walk->blocks[walk->depth - 1] : OTHER;

	if (opens_block(words))
		return open_block(walk, words) ? 0 : -1;
	if (word_is(words, 0, "}")) {
		if (!walk->depth)
			return -1;
		walk->depth--;
		if (top == MENU)
			walk->level--;
		return top == ENTRY;
	}
	if (top == ENTRY && !take_line(words, walk->entry))
		return -1;
	return 0;
}

static bool find_entry(const char *text, size_t size, struct words *words,
		       const struct wanted *wanted, struct grub_entry *out)
{
	struct reader reader = { (const uint8_t *)text, size };
	struct walk walk = { .wanted = wanted, .entry = out };

	*out = (struct grub_entry){ .kernel = "" };
	while (next_line(&reader, words)) {
		int r = step(&walk, words);

		if (r < 0)
			return false;
		if (r > 0)
			return out->kernel[0] != 0;
	}
	return false;
}

bool grub_default(const char *text, size_t size, const char *environment,
		  size_t environment_size, struct grub_entry *out)
{
	static const struct wanted first = { "0" };
	const struct settings settings = { text, size, environment,
					   environment_size };
	autofree struct words *words = NULL;
	struct grub_entry entry;
	struct wanted wanted;
	bool found;

	if (alloc_array(&words, 1, sizeof(*words), NULL) < 0)
		return false;
	find_default(&settings, words, &wanted);
	found = find_entry(text, size, words, &wanted, &entry) ||
		find_entry(text, size, words, &first, &entry);
	if (found)
		*out = entry;
	return found;
}
