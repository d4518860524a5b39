/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file system as the agent sees it: a small tmpfs, read-only in the end, in
 * which what was handed over stands at its own path. Each of these is cloned
 * from the host's tree before the new one hides it, and gets its restrictions
 * as a mount: no programs, no set-user-ID, no devices but those handed over.
 * The old tree is then let go of.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "kvm-agent/sandbox/idmap.h"
#include "kvm-agent/sandbox/root.h"

/* The mount calls of Linux 5.12; the C library has them later. */
static int open_tree_at(const char *path, unsigned flags)
{
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path,
			      OPEN_TREE_CLONE | O_CLOEXEC | flags);

	return fd < 0 ? -errno : fd;
}

static int set_attributes(int fd, unsigned flags, uint64_t set, int users)
{
	struct mount_attr attributes = { .attr_set = set };

	if (users >= 0) {
		attributes.attr_set |= MOUNT_ATTR_IDMAP;
		attributes.userns_fd = (uint32_t)users;
	}
	return syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | flags,
		       &attributes, sizeof(attributes)) < 0
		       ? -errno
		       : 0;
}

/* ---- what is shown ---- */

/* A place of the host, as a mount that is nowhere yet. */
struct piece {
	const char *path;
	int tree;
	bool is_folder;
};

/* Files in it are the user's own, and those that it makes are those of whose
 * the folder is. */
static int give_to_user(const struct piece *piece, const struct stat *stat,
			uid_t user)
{
	autofd int users = idmap_open(stat->st_uid, stat->st_gid, user);

	return users < 0 ? users : set_attributes(piece->tree, 0, 0, users);
}

/* 1: a folder to write to, which can't be given to the user. */
static int open_piece(struct piece *piece, const struct sandbox_view *view,
		      uid_t user, struct err *err)
{
	struct stat stat;
	uint64_t set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
	unsigned below = 0;
	int r;

	*piece = (struct piece){ view->path, -1, false };
	piece->tree = open_tree_at(view->path, 0);
	/* A user's own namespace may not look beneath what is mounted in it. */
	if (piece->tree == -EINVAL) {
		below = AT_RECURSIVE;
		piece->tree = open_tree_at(view->path, below);
	}
	/* Whoever opens it later says so. */
	if (piece->tree == -ENOENT || piece->tree == -ENOTDIR)
		return 0;
	if (piece->tree < 0)
		return err_sys(err, piece->tree, "open '%s'", view->path);
	if (fstat(piece->tree, &stat) < 0)
		return err_sys(err, -errno, "'%s'", view->path);
	piece->is_folder = S_ISDIR(stat.st_mode);
	if (!S_ISCHR(stat.st_mode) && !S_ISBLK(stat.st_mode))
		set |= MOUNT_ATTR_NODEV;
	if (!view->write)
		set |= MOUNT_ATTR_RDONLY;
	if (user && piece->is_folder && view->write &&
	    give_to_user(piece, &stat, user) < 0)
		return 1;
	r = set_attributes(piece->tree, below, set, -1);
	return r < 0 ? err_sys(err, r, "the mount of '%s'", view->path) : 0;
}

static void close_pieces(struct piece *pieces, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (pieces[i].tree >= 0)
			close(pieces[i].tree);
	}
}

/* ---- where it is shown ---- */

/* Where the tmpfs is put together: over something that nobody needs any more
 * and that every host has. */
static const char *const places[] = { "/proc", "/dev", "/tmp" };

static int mount_tmpfs(struct err *err)
{
	int r = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		r = mount("sandbox", places[i], "tmpfs",
			  MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  "size=64k,nr_inodes=512,mode=755") < 0
			    ? -errno
			    : 0;
		if (r == 0 && chdir(places[i]) < 0)
			r = -errno;
		if (r != -ENOENT)
			break;
	}
	return r < 0 ? err_sys(err, r, "a root of its own") : 0;
}

/* The file or folder to mount on, with all above it. What another piece shows
 * is there already. */
static int make_point(const char *path, bool is_folder, struct err *err)
{
	char part[PATH_MAX];
	size_t size = strlen(path);
	int fd;

	if (size >= sizeof(part))
		return err_set(err, -ENAMETOOLONG, "'%s': too long", path);
	for (size_t i = 1; i <= size; i++) {
		if (path[i] && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (!path[i] && !is_folder)
			break;
		if (mkdir(part, 0755) < 0 && errno != EEXIST && errno != EROFS)
			return err_sys(err, -errno, "the place of '%s'", path);
	}
	if (is_folder)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		  0600);
	if (fd >= 0)
		close(fd);
	else if (errno != EEXIST && errno != EROFS && errno != EACCES)
		return err_sys(err, -errno, "the place of '%s'", path);
	return 0;
}

/* The current directory is the new root. */
static int place(const struct piece *piece, struct err *err)
{
	const char *path = piece->path + strspn(piece->path, "/");
	int r;

	if (!*path)
		return err_set(err, -EINVAL,
			       "a disk image in '/' would show all of it to "
			       "the guest's process: put it in a folder of its "
			       "own");
	r = make_point(path, piece->is_folder, err);
	if (r == 0 && syscall(SYS_move_mount, piece->tree, "", AT_FDCWD, path,
			      MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = err_sys(err, -errno, "show '%s'", piece->path);
	return r;
}

/* The current directory becomes the root, and the old one goes. */
static int change_root(struct err *err)
{
	if (syscall(SYS_pivot_root, ".", ".") == 0) {
		/* Both are at the same place; this is the upper one, the old. */
		if (umount2(".", MNT_DETACH) < 0)
			return err_sys(err, -errno, "let go of the old root");
	} else if (errno == EINVAL) {
		/* The kernel's first root, an initramfs, is never exchanged. */
		if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
			return err_sys(err, -errno, "take the new root");
	} else {
		return err_sys(err, -errno, "take the new root");
	}
	return chdir("/") < 0 ? err_sys(err, -errno, "the new root") : 0;
}

static int seal_root(struct err *err)
{
	struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };

	if (syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attributes,
		    sizeof(attributes)) < 0)
		return err_sys(err, -errno, "make the root read-only");
	return 0;
}

static int build(const struct piece *pieces, unsigned count, struct err *err)
{
	int r = mount_tmpfs(err);

	for (unsigned i = 0; r == 0 && i < count; i++) {
		if (pieces[i].tree >= 0)
			r = place(&pieces[i], err);
	}
	if (r == 0)
		r = change_root(err);
	return r == 0 ? seal_root(err) : r;
}

/* What lies in a folder has a longer path, and is put over it. */
static int compare_pieces(const void *a, const void *b)
{
	const size_t left = strlen(((const struct piece *)a)->path);
	const size_t right = strlen(((const struct piece *)b)->path);

	return (left > right) - (left < right);
}

static int open_pieces(struct piece *pieces, const struct sandbox_view *views,
		       unsigned count, uid_t user, struct err *err)
{
	unsigned opened = 0;
	int r = 0;

	while (r == 0 && opened < count) {
		r = open_piece(&pieces[opened], &views[opened], user, err);
		opened++;
	}
	if (r)
		close_pieces(pieces, opened);
	return r;
}

int root_change(const struct sandbox_view *views, unsigned count, uid_t *user,
		struct err *err)
{
	struct piece pieces[SANDBOX_VIEWS_MAX];
	int r;

	assert(count <= SANDBOX_VIEWS_MAX);
	r = open_pieces(pieces, views, count, *user, err);
	if (r > 0) {
		*user = 0;
		r = open_pieces(pieces, views, count, 0, err);
	}
	if (r < 0)
		return r;
	qsort(pieces, count, sizeof(pieces[0]), compare_pieces);
	r = build(pieces, count, err);
	close_pieces(pieces, count);
	return r;
}
