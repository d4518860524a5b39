/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a keeper is found. Its agents' folder is never removed: they hold it
 * by a descriptor, and look there for the next keeper.
 */
#include "vmsnap/keeper/home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "vmsnap/keeper/socket.h"

static int make_agents(int directory, struct err *err)
{
	if (mkdirat(directory, KEEPER_AGENTS, 0700) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "can't make '%s'", KEEPER_AGENTS);
	/* An agent may run under another user; the folder above is closed. */
	if (fchmodat(directory, KEEPER_AGENTS, 0711, 0) < 0)
		return err_sys(err, -errno, "'%s'", KEEPER_AGENTS);
	return 0;
}

int keeper_home_path(const char *home, const uint8_t store[VMS_STORE_ID_SIZE],
		     const char *file, char path[PATH_MAX], struct err *err)
{
	char hex[STORE_HEX_SIZE];

	hex_encode(hex, store, VMS_STORE_ID_SIZE);
	if (snprintf(path, PATH_MAX, "%s/keepers/%s%s%s", home, hex,
		     *file ? "/" : "", file) < PATH_MAX)
		return 0;
	return err_set(err, -ENAMETOOLONG,
		       "the machines' home: the path is too long");
}

int keeper_home_open(const char *home, const uint8_t store[VMS_STORE_ID_SIZE],
		     bool make, struct err *err)
{
	char path[PATH_MAX];
	autofd int fd = -1;
	int r = keeper_home_path(home, store, "", path, err);

	if (r)
		return r;
	if (make)
		r = home_make_directories(path, err);
	if (r)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, -errno, "'%s'", path);
	r = make ? make_agents(fd, err) : 0;
	return r ? r : fd_steal(&fd);
}

int keeper_home_lock(int directory, struct err *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	autofd int fd = openat(directory, "lock",
			       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, -errno, "the lock of a keeper");
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return err_set(err, -EBUSY, "a keeper runs");
		return err_sys(err, -errno, "the lock of a keeper");
	}
	return fd_steal(&fd);
}

/* ---- whose it is ---- */

int keeper_process_write(int directory, const char *file, struct err *err)
{
	autofd int fd = openat(
		directory, file,
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	uint64_t start;
	int r = fd < 0 ? err_sys(err, -errno, "'%s'", file)
		       : machine_process_start(getpid(), &start, err);

	if (r)
		return r;
	return dprintf(fd, "%d %llu\n", (int)getpid(),
		       (unsigned long long)start) < 0
		       ? err_sys(err, -errno, "'%s'", file)
		       : 0;
}

int keeper_process_kill(int directory, const char *file, struct err *err)
{
	autofree char *text = NULL;
	ssize_t size = machine_read_file(directory, file, 64, &text, err);
	unsigned long long wanted;
	autofd int handle = -1;
	uint64_t start = 0;
	int process;

	if (size < 0)
		return (int)size;
	text[size] = 0;
	if (sscanf(text, "%d %llu", &process, &wanted) != 2 || process <= 1)
		return err_set(err, -EBADMSG, "%s is damaged", file);
	/* Held from before the look to the signal. */
	handle = (int)syscall(SYS_pidfd_open, process, 0);
	if (handle < 0 || machine_process_start(process, &start, NULL) ||
	    start != wanted)
		return err_set(err, -ESRCH, "the process of %s has ended",
			       file);
	if (syscall(SYS_pidfd_send_signal, handle, SIGKILL, NULL, 0) < 0)
		return err_sys(err, -errno, "the process of %s", file);
	return 0;
}

/* ---- all of them ---- */

void vms_keeper_list_release(struct vms_keeper_list *list)
{
	free(list->stores);
	*list = (struct vms_keeper_list){ 0 };
}

static int add_store(struct vms_keeper_list *list,
		     const uint8_t id[VMS_STORE_ID_SIZE], struct err *err)
{
	void *moved = reallocarray(list->stores, list->count + 1,
				   sizeof(*list->stores));

	if (!moved)
		return err_set(err, -ENOMEM, "out of memory");
	list->stores = moved;
	memcpy(list->stores[list->count++], id, VMS_STORE_ID_SIZE);
	return 0;
}

static int compare_stores(const void *a, const void *b)
{
	return memcmp(a, b, VMS_STORE_ID_SIZE);
}

int vms_keeper_list(const char *home, struct vms_keeper_list *out,
		    struct err *err)
{
	struct vms_keeper_list list = { 0 };
	const struct dirent *entry;
	char path[PATH_MAX];
	DIR *folder;
	int r = 0;

	if (snprintf(path, sizeof(path), "%s/keepers", home) >=
	    (int)sizeof(path))
		return err_set(err, -ENAMETOOLONG,
			       "the machines' home: the path is too long");
	folder = opendir(path);
	if (!folder && errno != ENOENT)
		return err_sys(err, -errno, "'%s'", path);
	while (folder && !r && (entry = readdir(folder))) {
		uint8_t id[VMS_STORE_ID_SIZE];

		if (!hex_decode(id, sizeof(id), entry->d_name,
				strlen(entry->d_name)))
			r = add_store(&list, id, err);
	}
	if (folder)
		closedir(folder);
	if (r) {
		vms_keeper_list_release(&list);
		return r;
	}
	if (list.count)
		qsort(list.stores, list.count, sizeof(*list.stores),
		      compare_stores);
	*out = list;
	return 0;
}
