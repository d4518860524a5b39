/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /vmsnap/NAME-INODE in the host's tree of control groups; the inode is that of
 * the machine's directory, since several homes may have a machine of one name.
 * A limit that this host can't keep is an error and not forgotten: who asks for
 * it relies on it.
 */
#include "vmsnap/machine_limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define WEIGHT_MAX      10000
#define REMOVE_TRIES    100
#define REMOVE_PAUSE_US 10000
#define OWN_NAME_MAX    128

bool machine_limits_any(const struct vms_machine_limits *limits)
{
	return limits->memory_bytes || limits->cpu_weight || limits->io_weight;
}

int machine_limits_check(const struct vms_machine_limits *limits,
			 struct err *err)
{
	if (limits->cpu_weight > WEIGHT_MAX || limits->io_weight > WEIGHT_MAX)
		return err_set(err, -EINVAL, "a weight is 1 to %u (100)",
			       WEIGHT_MAX);
	if (limits->memory_bytes > INT64_MAX)
		return err_set(err, -EINVAL, "a limit of memory is too large");
	return 0;
}

json_t *machine_limits_document(const struct vms_machine_limits *limits)
{
	return json_pack("{s:I, s:i, s:i}", "memory_bytes",
			 (json_int_t)limits->memory_bytes, "cpu_weight",
			 (int)limits->cpu_weight, "io_weight",
			 (int)limits->io_weight);
}

static int get_number(const json_t *value, const char *key, json_int_t max,
		      uint64_t *out)
{
	const json_t *number = json_object_get(value, key);

	if (!json_is_integer(number) || json_integer_value(number) < 0 ||
	    json_integer_value(number) > max)
		return -EBADMSG;
	*out = (uint64_t)json_integer_value(number);
	return 0;
}

int machine_limits_get(const json_t *value, struct vms_machine_limits *out)
{
	uint64_t cpu, io;

	*out = (struct vms_machine_limits){ 0 };
	if (!value)
		return 0;
	if (json_object_size(value) != 3 ||
	    get_number(value, "memory_bytes", INT64_MAX, &out->memory_bytes) ||
	    get_number(value, "cpu_weight", WEIGHT_MAX, &cpu) ||
	    get_number(value, "io_weight", WEIGHT_MAX, &io))
		return -EBADMSG;
	out->cpu_weight = (unsigned)cpu;
	out->io_weight = (unsigned)io;
	return 0;
}

/* ---- the group ---- */

/* Where the tree is mounted: "... MOUNTPOINT ... - cgroup2 ...". */
static int open_tree_of_groups(struct err *err)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	autofree char *line = NULL;
	size_t room = 0;
	int fd = -1;

	while (mounts && fd < 0 && getline(&line, &room, mounts) > 0) {
		char point[PATH_MAX];

		if (strstr(line, " - cgroup2 ") &&
		    sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1)
			fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (mounts)
		fclose(mounts);
	if (fd < 0)
		return err_set(err, -EOPNOTSUPP,
			       "limits are not available here: this host has "
			       "no cgroup v2");
	return fd;
}

static bool has_word(const char *text, const char *word)
{
	size_t size = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += size) {
		if ((at == text || at[-1] == ' ') &&
		    strchr(" \n", at[size]) != NULL)
			return true;
	}
	return false;
}

static int write_text(int group, const char *file, const char *text)
{
	autofd int fd = openat(group, file, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* For the groups in it. */
static int enable(int group, const char *controller, struct err *err)
{
	char text[512] = "", word[32];
	autofd int fd =
		openat(group, "cgroup.controllers", O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0 ||
	    !has_word(text, controller))
		return err_set(err, -EOPNOTSUPP,
			       "limits are not available here: this host's "
			       "cgroup v2 has no controller '%s' (it may be "
			       "in use by v1)",
			       controller);
	snprintf(word, sizeof(word), "+%s", controller);
	r = write_text(group, "cgroup.subtree_control", word);
	return r < 0 ? err_sys(err, r, "cgroup: controller '%s'", controller)
		     : 0;
}

static int enable_all(int group, const struct vms_machine_limits *limits,
		      struct err *err)
{
	int r = 0;

	if (limits->memory_bytes)
		r = enable(group, "memory", err);
	if (r == 0 && limits->cpu_weight)
		r = enable(group, "cpu", err);
	if (r == 0 && limits->io_weight)
		r = enable(group, "io", err);
	return r;
}

static int open_group(int above, const char *name, struct err *err)
{
	int fd;

	if (mkdirat(above, name, 0755) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "cgroup '%s'", name);
	fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, -errno, "cgroup '%s'", name) : fd;
}

static int set_limit(int group, const char *file, uint64_t value,
		     struct err *err)
{
	char text[32];
	int r;

	if (!value)
		return 0;
	snprintf(text, sizeof(text), "%" PRIu64, value);
	r = write_text(group, file, text);
	return r < 0 ? err_sys(err, r, "cgroup: '%s'", file) : 0;
}

static int fill_group(int all, const char *own,
		      const struct vms_machine_limits *limits, struct err *err)
{
	autofd int group = open_group(all, own, err);
	int r = group < 0 ? group : 0;

	if (r == 0)
		r = set_limit(group, "memory.max", limits->memory_bytes, err);
	if (r == 0)
		r = set_limit(group, "cpu.weight", limits->cpu_weight, err);
	if (r == 0)
		r = set_limit(group, "io.weight", limits->io_weight, err);
	if (r < 0)
		return r;
	r = openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	return r < 0 ? err_sys(err, -errno, "cgroup.procs") : r;
}

static int own_name(int directory, const char *name, char out[OWN_NAME_MAX])
{
	struct stat stat;

	if (fstat(directory, &stat) < 0)
		return -errno;
	snprintf(out, OWN_NAME_MAX, "%s-%ju", name, (uintmax_t)stat.st_ino);
	return 0;
}

/* The kernel may still be taking a process down that has let go of the
 * machine. */
static void remove_group(int tree, const char *path)
{
	for (int tries = 0; tries < REMOVE_TRIES; tries++) {
		if (unlinkat(tree, path, AT_REMOVEDIR) == 0 || errno != EBUSY)
			break;
		usleep(REMOVE_PAUSE_US);
	}
}

int machine_group_open(int directory, const char *name,
		       const struct vms_machine_limits *limits, struct err *err)
{
	autofd int tree = -1, all = -1;
	char own[OWN_NAME_MAX];
	int r;

	if (geteuid())
		return err_set(err, -EOPNOTSUPP,
			       "limits are not available here: only root has "
			       "control groups in this version");
	r = tree = open_tree_of_groups(err);
	if (r >= 0)
		r = enable_all(tree, limits, err);
	if (r >= 0)
		r = all = open_group(tree, "vmsnap", err);
	if (r >= 0)
		r = enable_all(all, limits, err);
	if (r >= 0 && (r = own_name(directory, name, own)) < 0)
		r = err_sys(err, r, "machine '%s'", name);
	if (r < 0)
		return r;
	/* It counts from its beginning what befell in it. */
	remove_group(all, own);
	return fill_group(all, own, limits, err);
}

bool machine_group_ran_out(int directory, const char *name)
{
	autofd int tree = open_tree_of_groups(NULL);
	char own[OWN_NAME_MAX], path[OWN_NAME_MAX + 32], text[1024] = "";
	unsigned long count = 0;
	autofd int events = -1;
	const char *at;

	if (tree < 0 || own_name(directory, name, own) < 0)
		return false;
	snprintf(path, sizeof(path), "vmsnap/%s/memory.events", own);
	events = openat(tree, path, O_RDONLY | O_CLOEXEC);
	if (events < 0 || read(events, text, sizeof(text) - 1) < 0)
		return false;
	at = strstr(text, "oom_kill ");
	return at && sscanf(at, "oom_kill %lu", &count) == 1 && count;
}

void machine_group_remove(int directory, const char *name)
{
	autofd int tree = open_tree_of_groups(NULL);
	char own[OWN_NAME_MAX], path[OWN_NAME_MAX + 32];

	if (geteuid() || tree < 0 || own_name(directory, name, own) < 0)
		return;
	snprintf(path, sizeof(path), "vmsnap/%s", own);
	remove_group(tree, path);
	(void)unlinkat(tree, "vmsnap", AT_REMOVEDIR);
}
