/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines as directories, spec/machine.md. A new one is made beside its name
 * and renamed when it is whole. The lock is the kernel's and belongs to the
 * open file that the agent inherits: it goes with the agent however that ends,
 * and to look at it takes nothing.
 */
#include "vmsnap/machine_home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "vmsnap/machine_description.h"
#include "vmsnap/machine_limits.h"

#define REMOVE_TRIES 100

/* ---- where ---- */

/* a, then b below it. */
static int put_path(char path[PATH_MAX], struct err *err, const char *a,
		    const char *b)
{
	const char *between = *b && *b != '/' ? "/" : "";

	if (snprintf(path, PATH_MAX, "%s%s%s", a, between, b) < PATH_MAX)
		return 0;
	return err_set(err, -ENAMETOOLONG,
		       "the machines' home: the path is "
		       "too long");
}

int vms_home_find(const char *given, char home[PATH_MAX], struct err *err)
{
	const char *data = getenv("XDG_DATA_HOME"), *user = getenv("HOME");
	char cwd[PATH_MAX];

	if (!given)
		given = getenv("VMSNAP_HOME");
	if (given && *given == '/')
		return put_path(home, err, given, "");
	if (given && *given) {
		if (!getcwd(cwd, sizeof(cwd)))
			return err_sys(err, -errno, "the current directory");
		return put_path(home, err, cwd, given);
	}
	if (!geteuid())
		return put_path(home, err, "/var/lib/vmsnap", "");
	if (data && *data == '/')
		return put_path(home, err, data, "/vmsnap");
	if (user && *user == '/')
		return put_path(home, err, user, "/.local/share/vmsnap");
	return err_set(err, -EINVAL,
		       "where are the machines? Neither VMSNAP_HOME nor HOME "
		       "is set");
}

int machine_path(const char *home, const char *name, const char *file,
		 char path[PATH_MAX], struct err *err)
{
	int r = vms_machine_check_name(name, err);

	if (r)
		return r;
	if (snprintf(path, PATH_MAX, "%s/machines/%s%s%s", home, name,
		     *file ? "/" : "", file) < PATH_MAX)
		return 0;
	return err_set(err, -ENAMETOOLONG,
		       "the machines' home: the path is too long");
}

static int no_such_machine(const char *home, const char *name, struct err *err)
{
	struct vms_machine_names names = { 0 };
	char list[256] = "";
	size_t used = 0;

	if (!vms_machine_list(home, &names, NULL)) {
		for (size_t i = 0; i < names.count && used + 80 < sizeof(list);
		     i++)
			used += (size_t)snprintf(list + used,
						 sizeof(list) - used, "%s'%s'",
						 i ? ", " : "", names.names[i]);
	}
	vms_machine_names_release(&names);
	return err_set(err, -ENOENT, "there is no machine '%s' in '%s'%s%s",
		       name, home, used ? "; there is " : "", list);
}

int machine_open(const char *home, const char *name, struct err *err)
{
	char path[PATH_MAX];
	int r = machine_path(home, name, "", path, err);

	if (r)
		return r;
	r = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r >= 0)
		return r;
	if (errno == ENOENT || errno == ENOTDIR)
		return no_such_machine(home, name, err);
	return err_sys(err, -errno, "'%s'", path);
}

/* ---- files ---- */

ssize_t machine_read_file(int directory, const char *file, size_t max,
			  char **out, struct err *err)
{
	autofd int fd = openat(directory, file,
			       O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	autofree char *data = NULL;
	size_t size = 0;
	int r;

	if (fd < 0)
		return err_sys(err, -errno, "'%s'", file);
	r = alloc_array(&data, max + 1, 1, err);
	if (r)
		return r;
	while (size <= max) {
		ssize_t n = read(fd, data + size, max + 1 - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "'%s'", file);
		if (!n)
			break;
		size += (size_t)n;
	}
	if (size > max)
		return err_set(err, -EFBIG, "'%s' is larger than %zu bytes",
			       file, max);
	*out = ptr_steal(&data);
	return (ssize_t)size;
}

static int write_file(int directory, const char *file, const char *text,
		      struct err *err)
{
	autofd int fd = openat(
		directory, file,
		O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t size = strlen(text);

	if (fd < 0)
		return err_sys(err, -errno, "'%s'", file);
	while (size) {
		ssize_t n = write(fd, text, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "'%s'", file);
		text += n;
		size -= (size_t)n;
	}
	return fsync(fd) < 0 ? err_sys(err, -errno, "'%s'", file) : 0;
}

/* ---- the lock ---- */

int machine_is_locked(int directory, struct err *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	autofd int fd =
		openat(directory, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, -errno, "'lock'");
	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return err_sys(err, -errno, "'lock'");
	return lock.l_type != F_UNLCK;
}

int machine_lock(int directory, const char *name, struct err *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	autofd int fd = openat(directory, "lock",
			       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd < 0)
		return err_sys(err, -errno, "the lock of machine '%s'", name);
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return err_set(err, -EBUSY,
				       "machine '%s' is running, or being "
				       "started or removed: 'vmsnap ps' shows "
				       "it, 'vmsnap stop %s' ends it",
				       name, name);
		return err_sys(err, -errno, "the lock of machine '%s'", name);
	}
	/* Who removed the machine held it till then: it is nobody's now. */
	if (fstat(fd, &st) < 0 || !st.st_nlink)
		return err_set(err, -ENOENT,
			       "machine '%s' has been removed meanwhile", name);
	return fd_steal(&fd);
}

/* ---- create, load, remove ---- */

static int make_directory(const char *path, struct err *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "can't make '%s'", path);
	return 0;
}

int home_make_directories(const char *path, struct err *err)
{
	char part[PATH_MAX];
	size_t size = strlen(path);

	for (size_t i = 1; i <= size; i++) {
		int r;

		if (i < size && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		r = make_directory(part, err);
		if (r)
			return r;
	}
	return 0;
}

static int sync_directory(const char *path, struct err *err)
{
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_sys(err, -errno, "'%s'", path);
	return 0;
}

/* The lock with it: nobody else has it as long as it has no name. */
static int fill(const char *path, const char *name, const char *text,
		struct err *err)
{
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofd int lock = -1;
	int r;

	if (fd < 0)
		return err_sys(err, -errno, "'%s'", path);
	r = write_file(fd, "machine.json", text, err);
	if (!r)
		r = lock = machine_lock(fd, name, err);
	if (r >= 0 && fsync(fd) < 0)
		r = err_sys(err, -errno, "'%s'", path);
	return r < 0 ? r : fd_steal(&lock);
}

/* Of what got no name. */
static void remove_new(const char *new)
{
	static const char *const files[] = { "/machine.json", "/lock" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (!put_path(path, NULL, new, files[i]))
			unlink(path);
	}
	rmdir(new);
}

/* Made under another name, which nobody lists, and moved to its own. */
static int create(const char *home, const struct vms_machine *machine,
		  const char *text, struct err *err)
{
	char above[PATH_MAX], path[PATH_MAX], new[PATH_MAX];
	autofd int lock = -1;
	int r = put_path(above, err, home, "/machines");

	if (!r)
		r = machine_path(home, machine->name, "", path, err);
	if (!r && snprintf(new, sizeof(new), "%s/.new-XXXXXX", above) >=
			  (int)sizeof(new))
		r = err_set(err, -ENAMETOOLONG, "'%s': too long", above);
	if (!r)
		r = home_make_directories(above, err);
	if (r)
		return r;
	if (!mkdtemp(new))
		return err_sys(err, -errno, "'%s'", new);
	r = lock = fill(new, machine->name, text, err);
	/* An empty directory would be replaced by rename(): none is made. */
	if (r >= 0 &&
	    renameat2(AT_FDCWD, new, AT_FDCWD, path, RENAME_NOREPLACE) < 0) {
		r = -errno;
		if (r == -EEXIST)
			err_set(err, r,
				"machine '%s' exists: 'vmsnap run %s' alone "
				"starts it, 'vmsnap rm %s' removes it",
				machine->name, machine->name, machine->name);
		else
			err_sys(err, r, "'%s'", path);
	}
	if (r >= 0) {
		r = sync_directory(above, err);
		return r ? r : fd_steal(&lock);
	}
	remove_new(new);
	return r;
}

int vms_machine_create(const char *home, const struct vms_machine *machine,
		       struct err *err)
{
	char *text = NULL;
	int r = machine_description_check(machine, err);

	if (!r)
		r = machine_description_put(machine, &text, err);
	if (!r)
		r = create(home, machine, text, err);
	free(text);
	return r;
}

static int load(int directory, const char *name, struct vms_machine *out,
		struct err *err)
{
	autofree char *text = NULL;
	ssize_t size = machine_read_file(directory, "machine.json",
					 MACHINE_JSON_MAX, &text, err);
	int r;

	if (size < 0)
		return (int)size;
	r = machine_description_get(text, (size_t)size, out, err);
	if (r || !strcmp(out->name, name))
		return r;
	vms_machine_release(out);
	return err_set(err, -EBADMSG,
		       "machine.json is damaged: it is not of this name");
}

int vms_machine_load(const char *home, const char *name,
		     struct vms_machine *out, struct err *err)
{
	autofd int directory = machine_open(home, name, err);
	int r;

	if (directory < 0)
		return directory;
	r = load(directory, name, out, err);
	/* None, or what none of ours is: nobody wrote that for a machine. */
	if (r == -ENOENT || r == -EFBIG || r == -ELOOP)
		r = -EBADMSG;
	if (r)
		err_prefix(err, "machine '%s'", name);
	return r;
}

static bool goes_last(const char *file)
{
	return !strcmp(file, "machine.json") || !strcmp(file, "lock");
}

/* Its files; it has no directories. */
static int empty(int directory, const char *name, struct err *err)
{
	int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;
	int r = 0;

	if (!list) {
		r = err_sys(err, -errno, "machine '%s'", name);
		if (copy >= 0)
			close(copy);
		return r;
	}
	/* The description goes after them: a half-removed one is still named.
	 */
	while (!r && (entry = readdir(list))) {
		if (!strcmp(entry->d_name, ".") ||
		    !strcmp(entry->d_name, "..") || goes_last(entry->d_name))
			continue;
		if (unlinkat(directory, entry->d_name, 0) < 0)
			r = err_sys(err, -errno, "can't remove '%s'",
				    entry->d_name);
	}
	closedir(list);
	if (!r && unlinkat(directory, "machine.json", 0) < 0 && errno != ENOENT)
		r = err_sys(err, -errno, "can't remove 'machine.json'");
	return r;
}

/*
 * And the directory, with the lock: without a description in it nobody starts
 * anything there, but who is about to try may make a lock once more.
 */
static int remove_directory(int directory, const char *path, struct err *err)
{
	int r = -ENOTEMPTY;

	for (int tries = 0; r == -ENOTEMPTY && tries < REMOVE_TRIES; tries++) {
		if (unlinkat(directory, "lock", 0) < 0 && errno != ENOENT)
			return err_sys(err, -errno, "can't remove 'lock'");
		r = rmdir(path) < 0 ? -errno : 0;
	}
	return r ? err_sys(err, r, "can't remove '%s'", path) : 0;
}

int vms_machine_hold(const char *home, const char *name, struct err *err)
{
	autofd int directory = machine_open(home, name, err);

	return directory < 0 ? directory : machine_lock(directory, name, err);
}

int vms_machine_remove_held(const char *home, const char *name, struct err *err)
{
	autofd int directory = machine_open(home, name, err);
	char path[PATH_MAX];
	int r;

	if (directory < 0)
		return directory;
	r = empty(directory, name, err);
	if (r)
		return r;
	machine_group_remove(directory, name);
	r = machine_path(home, name, "", path, err);
	return r ? r : remove_directory(directory, path, err);
}

int vms_machine_remove(const char *home, const char *name, struct err *err)
{
	autofd int lock = vms_machine_hold(home, name, err);

	return lock < 0 ? lock : vms_machine_remove_held(home, name, err);
}

/* ---- list ---- */

static int add_name(struct vms_machine_names *names, size_t *capacity,
		    const char *name, struct err *err)
{
	if (names->count == *capacity) {
		size_t more = *capacity ? 2 * *capacity : 16;
		void *moved =
			reallocarray(names->names, more, sizeof(*names->names));

		if (!moved)
			return err_set(err, -ENOMEM, "out of memory");
		names->names = moved;
		*capacity = more;
	}
	memcpy(names->names[names->count++], name, strlen(name) + 1);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

int vms_machine_list(const char *home, struct vms_machine_names *out,
		     struct err *err)
{
	struct vms_machine_names names = { 0 };
	const struct dirent *entry;
	char path[PATH_MAX];
	size_t capacity = 0;
	DIR *list;
	int r = put_path(path, err, home, "/machines");

	if (r)
		return r;
	list = opendir(path);
	if (!list && errno != ENOENT)
		return err_sys(err, -errno, "'%s'", path);
	while (list && !r && (entry = readdir(list))) {
		if (!vms_machine_check_name(entry->d_name, NULL))
			r = add_name(&names, &capacity, entry->d_name, err);
	}
	if (list)
		closedir(list);
	if (r) {
		vms_machine_names_release(&names);
		return r;
	}
	if (names.count)
		qsort(names.names, names.count, sizeof(*names.names),
		      compare_names);
	*out = names;
	return 0;
}

void vms_machine_names_release(struct vms_machine_names *names)
{
	free(names->names);
	*names = (struct vms_machine_names){ 0 };
}
