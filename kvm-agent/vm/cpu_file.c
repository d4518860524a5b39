/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of features as text, one a line, so that sort and comm find what
 * several hosts have in common. spec/cpu.md. A file is hostile.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "format/base/bytes.h"
#include "kvm-agent/vm/cpuid.h"

#define VERSION          1
#define LINE_BYTES       128u
#define WORDS_MAX        5u
#define MSR_CAPABILITIES 0x10au

static const char *const registers[] = {
	[CPUID_EAX] = "eax",
	[CPUID_EBX] = "ebx",
	[CPUID_ECX] = "ecx",
	[CPUID_EDX] = "edx",
};

/* ---- in ---- */

struct parse {
	struct cpu_baseline baseline;
	unsigned line;
	bool has_version;
	struct err *err;
};

static int wrong(const struct parse *parse, const char *what)
{
	return err_set(parse->err, -EINVAL, "the file of --cpu, line %u: %s",
		       parse->line, what);
}

/* In words, a remark off; more than WORDS_MAX are one too many. */
static unsigned split(char *line, char *words[WORDS_MAX + 1])
{
	unsigned count = 0;
	char *rest = NULL;

	line[strcspn(line, "#")] = 0;
	for (char *word = strtok_r(line, " \t\r", &rest);
	     word && count <= WORDS_MAX; word = strtok_r(NULL, " \t\r", &rest))
		words[count++] = word;
	return count;
}

/* Eight digits. */
static bool take_hex(const char *text, uint32_t *out)
{
	if (strspn(text, "0123456789abcdefABCDEF") != 8 || strlen(text) != 8)
		return false;
	*out = (uint32_t)strtoul(text, NULL, 16);
	return true;
}

static bool take_number(const char *text, unsigned max, unsigned *out)
{
	size_t length = strspn(text, "0123456789");

	if (!length || length > 3 || text[length])
		return false;
	*out = (unsigned)strtoul(text, NULL, 10);
	return *out <= max;
}

static int take_version(struct parse *parse, const char *text)
{
	unsigned version;

	if (!take_number(text, 999, &version))
		return wrong(parse, "a version is a number");
	if (version != VERSION)
		return err_set(parse->err, -EOPNOTSUPP,
			       "the file of --cpu has version %u, and this "
			       "vmsnap reads %d: use a newer one",
			       version, VERSION);
	parse->has_version = true;
	return 0;
}

static int take_vendor(struct parse *parse, const char *text)
{
	char *vendor = parse->baseline.vendor;

	if (strlen(text) >= sizeof(parse->baseline.vendor))
		return wrong(parse, "a vendor of more than 12 letters");
	if (*vendor && strcmp(vendor, text) != 0)
		return wrong(parse, "a second vendor");
	memcpy(vendor, text, strlen(text) + 1);
	return 0;
}

static int take_signature(struct parse *parse, const char *text)
{
	uint32_t signature;

	if (!take_hex(text, &signature) || !signature)
		return wrong(parse, "a signature has eight hexadecimal digits");
	if (parse->baseline.signature && parse->baseline.signature != signature)
		return wrong(parse, "a second signature");
	parse->baseline.signature = signature;
	return 0;
}

/* The word of features that a line names; CPUID_WORDS: there is none. */
static unsigned find_word(uint32_t leaf, uint32_t index, const char *name)
{
	unsigned i = 0;

	while (i < CPUID_WORDS &&
	       (cpuid_words[i].leaf != leaf || cpuid_words[i].index != index ||
		strcmp(registers[cpuid_words[i].word], name) != 0))
		i++;
	return i;
}

static int take_feature(struct parse *parse, char *place, const char *name,
			const char *bit_text)
{
	char *point = strchr(place, '.');
	unsigned index, bit, word;
	uint32_t leaf;

	if (point)
		*point = 0;
	if (!point || !take_hex(place, &leaf) ||
	    !take_number(point + 1, 63, &index))
		return wrong(parse, "a leaf is like 00000007.0");
	word = find_word(leaf, index, name);
	if (word == CPUID_WORDS)
		return wrong(parse,
			     "no word of CPUID that holds features, or none "
			     "that this version knows");
	if (!take_number(bit_text, 31, &bit))
		return wrong(parse, "a bit is 0 to 31");
	parse->baseline.words[word] |= (1u << bit) & ~cpuid_words[word].ours;
	return 0;
}

static int take_capability(struct parse *parse, const char *msr,
			   const char *bit_text)
{
	uint32_t number;
	unsigned bit;

	if (!take_hex(msr, &number) || number != MSR_CAPABILITIES)
		return wrong(parse, "the only MSR is 0000010a");
	if (!take_number(bit_text, 63, &bit))
		return wrong(parse, "a bit is 0 to 63");
	parse->baseline.capabilities |= 1ull << bit;
	return 0;
}

static int take_line(struct parse *parse, char *line)
{
	char *words[WORDS_MAX + 1];
	unsigned count = split(line, words);

	if (!count)
		return 0;
	if (count == 2 && !strcmp(words[0], "version"))
		return take_version(parse, words[1]);
	if (count == 2 && !strcmp(words[0], "vendor"))
		return take_vendor(parse, words[1]);
	if (count == 2 && !strcmp(words[0], "signature"))
		return take_signature(parse, words[1]);
	if (count == 4 && !strcmp(words[0], "cpuid"))
		return take_feature(parse, words[1], words[2], words[3]);
	if (count == 3 && !strcmp(words[0], "msr"))
		return take_capability(parse, words[1], words[2]);
	return wrong(parse, "it is none of version, vendor, signature, cpuid "
			    "and msr with what belongs to it");
}

/* Printing characters and tabs only: what is said of it is safe to show. */
static bool is_text(const char *line, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if ((line[i] < ' ' || line[i] > '~') && line[i] != '\t' &&
		    line[i] != '\r')
			return false;
	}
	return true;
}

static int take_lines(struct parse *parse, const char *text, size_t size)
{
	char line[LINE_BYTES];
	int r = 0;

	while (r == 0 && size) {
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;

		parse->line++;
		if (length >= sizeof(line))
			return wrong(parse, "longer than 127 bytes");
		if (!is_text(text, length))
			return wrong(parse, "it is no text");
		memcpy(line, text, length);
		line[length] = 0;
		r = take_line(parse, line);
		length += end ? 1 : 0;
		text += length;
		size -= length;
	}
	return r;
}

int cpu_baseline_parse(const char *text, size_t size, struct cpu_baseline *out,
		       struct err *err)
{
	struct parse parse = { .err = err };
	int r;

	if (size > CPU_FILE_MAX)
		return err_set(err, -EINVAL,
			       "the file of --cpu is longer than %u bytes",
			       CPU_FILE_MAX);
	r = take_lines(&parse, text, size);
	if (r == 0 && !parse.has_version)
		r = err_set(err, -EINVAL,
			    "the file of --cpu has no 'version 1': is it a "
			    "list by kvm-agent --print-cpu?");
	if (r == 0 && !*parse.baseline.vendor)
		r = err_set(err, -EINVAL, "the file of --cpu has no vendor");
	if (r == 0)
		*out = parse.baseline;
	return r;
}

/* ---- of a host ---- */

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *cpuid,
					   uint32_t leaf, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == leaf &&
		    cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	}
	return NULL;
}

static uint32_t word_of(const struct kvm_cpuid_entry2 *entry,
			enum cpuid_register word)
{
	switch (word) {
	case CPUID_EAX:
		return entry->eax;
	case CPUID_EBX:
		return entry->ebx;
	case CPUID_ECX:
		return entry->ecx;
	case CPUID_EDX:
		return entry->edx;
	}
	return 0;
}

static void take_names(const struct kvm_cpuid2 *cpuid, struct cpu_baseline *out)
{
	const struct kvm_cpuid_entry2 *basic = find(cpuid, 0, 0);
	const struct kvm_cpuid_entry2 *first = find(cpuid, 1, 0);

	if (basic) {
		memcpy(out->vendor, &basic->ebx, 4);
		memcpy(out->vendor + 4, &basic->edx, 4);
		memcpy(out->vendor + 8, &basic->ecx, 4);
	}
	for (unsigned i = 0; i < sizeof(out->vendor) - 1; i++) {
		/* As one word. */
		if (out->vendor[i] &&
		    (out->vendor[i] <= ' ' || out->vendor[i] > '~' ||
		     out->vendor[i] == '#'))
			out->vendor[i] = '_';
	}
	if (first)
		out->signature = first->eax;
}

void cpu_baseline_of(const struct kvm_cpuid2 *cpuid, uint64_t capabilities,
		     struct cpu_baseline *out)
{
	*out = (struct cpu_baseline){ .capabilities = capabilities };
	take_names(cpuid, out);
	for (unsigned i = 0; i < CPUID_WORDS; i++) {
		const struct cpuid_word *word = &cpuid_words[i];
		const struct kvm_cpuid_entry2 *entry =
			find(cpuid, word->leaf, word->index);

		if (entry)
			out->words[i] =
				word_of(entry, word->word) & ~word->ours;
	}
}

/* ---- out ---- */

static int put_line(struct bytes *out, struct err *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int put_line(struct bytes *out, struct err *err, const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	return bytes_append(out, line, (size_t)length, err);
}

static int put_word(struct bytes *out, const struct cpuid_word *word,
		    uint32_t value, struct err *err)
{
	int r = 0;

	for (unsigned bit = 0; r == 0 && bit < 32; bit++) {
		const char *name = cpuid_feature_name(word->leaf, word->index,
						      word->word, bit);

		if (value >> bit & 1)
			r = put_line(out, err, "cpuid %08x.%u %s %u%s%s\n",
				     word->leaf, word->index,
				     registers[word->word], bit,
				     name ? " # " : "", name ? name : "");
	}
	return r;
}

static int put_capabilities(struct bytes *out, uint64_t value, struct err *err)
{
	int r = 0;

	for (unsigned bit = 0; r == 0 && bit < 64; bit++) {
		const char *name = cpu_capability_name(bit);

		if (value >> bit & 1)
			r = put_line(out, err, "msr %08x %u%s%s\n",
				     MSR_CAPABILITIES, bit, name ? " # " : "",
				     name ? name : "");
	}
	return r;
}

int cpu_baseline_print(const struct cpu_baseline *baseline, char **out,
		       struct err *err)
{
	struct bytes text = { 0 };
	int r = put_line(&text, err, "version %d\nvendor %s\nsignature %08x\n",
			 VERSION, baseline->vendor, baseline->signature);

	for (unsigned i = 0; r == 0 && i < CPUID_WORDS; i++)
		r = put_word(&text, &cpuid_words[i], baseline->words[i], err);
	if (r == 0)
		r = put_capabilities(&text, baseline->capabilities, err);
	if (r == 0)
		r = bytes_append(&text, "", 1, err);
	if (r == 0)
		*out = (char *)text.data;
	else
		bytes_release(&text);
	return r;
}
