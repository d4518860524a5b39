/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of verbs and options. Parsing, --help and completion come from
 * it, and a test holds the man page against it.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmsnap/vmsnap.h"

struct cli;

enum option {
	/* Every verb takes these. */
	OPT_STORE,
	OPT_PASSPHRASE_FILE,
	OPT_JSON,
	OPT_QUIET,
	OPT_VERBOSE,
	OPT_PROGRESS,
	OPT_HELP,
	OPT_VERSION,
	OPT_COMMON_COUNT,

	OPT_PLAINTEXT = OPT_COMMON_COUNT,
	OPT_CHUNK_SIZE,
	OPT_LEVEL,
	OPT_LABEL,
	OPT_SIZE,
	OPT_DRY_RUN,
	OPT_REHASH,
	OPT_SKIP_BAD_BLOCKS,
	OPT_PINS,
	OPT_MAP,
	OPT_DISK,
	OPT_FORCE,
	OPT_DELTA,
	OPT_SKIP_DAMAGED,
	OPT_FORMAT,
	OPT_ALL_LATEST,
	OPT_READ_DATA,
	OPT_HISTOGRAM,
	OPT_FROM,
	OPT_NEW_PASSPHRASE_FILE,
	OPT_ALLOW_OTHER,
	OPT_FOREGROUND,
	OPT_SOCKET,
	OPT_PORT,
	OPT_REPAIR,
	OPT_IMAGE,
	OPT_WRITABLE,
	OPT_HOME,
	OPT_ALL,
	OPT_TIMEOUT,
	OPT_MEMORY,
	OPT_CPUS,
	OPT_MEMORY_MAX,
	OPT_CPU_WEIGHT,
	OPT_IO_WEIGHT,
	OPT_CPU,
	OPT_KERNEL,
	OPT_INITRD,
	OPT_APPEND,
	OPT_IN_PLACE,
	OPT_DISK_FORMAT,
	OPT_NET,
	OPT_MAC,
	OPT_COUNT
};
#define OPT_BIT(option) (1ULL << (option))
#define OPT_COMMON      (OPT_BIT(OPT_COMMON_COUNT) - 1)

/* What a shell may offer for a value or an argument. */
enum complete {
	COMPLETE_NOTHING,
	COMPLETE_FILE,
	COMPLETE_DIRECTORY,
	COMPLETE_WORDS,
};

struct option_info {
	const char *name;    /* without the dashes */
	char letter;         /* 0 for none */
	const char *value;   /* what stands for its value in help; NULL: none */
	bool value_optional; /* --name or --name=VALUE */
	enum complete complete;
	const char *words; /* of COMPLETE_WORDS, space between */
	const char *help;
};

struct verb {
	const char *name; /* "backup", "key add" */
	const char *arguments;
	unsigned arguments_min, arguments_max;
	uint64_t options; /* OPT_BIT()s beside OPT_COMMON */
	enum complete complete;
	const char *words;
	const char *help;
	/* 0; or an exit status when all is said already; or -errno with
	 * words. */
	int (*run)(struct cli *cli, struct err *err);
};

extern const struct option_info option_table[OPT_COUNT];
extern const struct verb verb_table[];
extern const size_t verb_count;
/* Of verbs of two words: the first. */
#define VERB_GROUPS 4
extern const char *const verb_groups[VERB_GROUPS];

/* What was asked for. Points into argv; owns `arguments` and
 * `uses`. */
struct options {
	const struct verb *verb; /* NULL: none was given (--help, --version) */
	const char *group;       /* "key", "image": the first of two words */
	bool given[OPT_COUNT];
	const char *value[OPT_COUNT]; /* the last one's */
	/* Each option as it came, for those that may be given more than once. */
	struct option_use {
		enum option option;
		const char *value;
	} * uses;
	unsigned use_count;
	char **arguments;
	unsigned argument_count;
};

/* -EINVAL with words; -EOPNOTSUPP: a verb or option of a later version. What
 * was understood until then stays in *out. */
int options_parse(struct options *out, int argc, char **argv, struct err *err);
void options_release(struct options *options);

static inline bool verb_takes(const struct verb *verb, enum option option)
{
	return ((verb->options | OPT_COMMON) & OPT_BIT(option)) != 0;
}

/* To standard output. */
void help_print(const struct options *options);

/* The word of `words` that is near `text`, or NULL. */
const char *nearest_word(const char *text, const char *const *words,
			 size_t count);

#endif
