/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills a store with snapshots: `snapshots_bench STORE COUNT`. The store is
 * there already and holds at least one snapshot; the new ones are copies of it
 * under other names, written as a writer would but without a sync each, which
 * is not what is measured. Its passphrase, if it has one, is in
 * VMSNAP_PASSPHRASE. Without COUNT: how long it takes to read the names of its
 * snapshots and do nothing with them, the floor of a listing. Prints JSON.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmsnap/vmsnap.h"

#define SNAPSHOTS_PER_NAME 50u
#define NAMES_AT_ONCE      (256u << 10)

static int die(const struct err *err)
{
	fprintf(stderr, "snapshots_bench: %s\n", err->text);
	return 1;
}

static int write_plain(const char *store, const char *name, const void *data,
		       size_t size)
{
	char path[4096];
	int fd, bad;

	snprintf(path, sizeof(path), "%s/%s", store, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	bad = write(fd, data, size) != (ssize_t)size;
	return close(fd) || bad ? -1 : 0;
}

static int put_copy(struct store *store, const char *path,
		    struct sealer *sealer, struct hasher *hasher,
		    struct snapshot *like, unsigned n, struct err *err)
{
	const struct masters *masters = store_masters(store);
	char hex[ID_HEX_SIZE], name[OBJECT_NAME_MAX];
	struct bytes plain = { 0 }, object = { 0 };
	int r;

	snprintf(like->name, sizeof(like->name), "machine-%05u",
		 n / SNAPSHOTS_PER_NAME);
	like->sequence = n % SNAPSHOTS_PER_NAME + 1;
	r = random_fill(like->id.b, 16, err);
	if (!r)
		r = hasher_name_tag(hasher, like->name, like->id.b + 16, err);
	be64_put(like->id.b + 24, like->sequence);
	hex_encode(hex, like->id.b, ID_SIZE);
	snprintf(name, sizeof(name), "snapshots/%s", hex);
	if (!r)
		r = snapshot_encode(like, &plain, err);
	if (!r)
		r = sealed_object_make(sealer, OBJECT_SNAPSHOT,
				       &store_config(store)->store,
				       masters->data_key, name, plain.data,
				       plain.size, &object, err);
	if (!r && write_plain(path, name, object.data, object.size))
		r = err_sys(err, -errno, "'%s'", name);
	bytes_release(&plain);
	bytes_release(&object);
	return r;
}

static int give_passphrase(void *arg, char **out, size_t *size, struct err *err)
{
	const char *text = getenv("VMSNAP_PASSPHRASE");

	(void)arg;
	*out = text ? strdup(text) : NULL;
	if (!*out)
		return err_set(err, -EKEYREJECTED, "no VMSNAP_PASSPHRASE");
	*size = strlen(*out);
	return 0;
}

static int list_bare(const char *store)
{
	int64_t started = time_monotonic_ns();
	char path[4096], *names = malloc(NAMES_AT_ONCE);
	ssize_t got = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/snapshots", store);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && names) {
		do
			got = getdents64(fd, names, NAMES_AT_ONCE);
		while (got > 0);
	}
	if (got < 0)
		perror(path);
	else
		printf("{\"list_seconds\": %.4f}\n",
		       (double)(time_monotonic_ns() - started) / 1e9);
	if (fd >= 0)
		close(fd);
	free(names);
	return got < 0;
}

int main(int argc, char **argv)
{
	struct vms_options options = {
		.store = { .mode = STORE_READ, .passphrase = give_passphrase },
	};
	struct vms_snapshot_list list = { 0 };
	struct err err = { 0 };
	struct sealer *sealer;
	struct hasher *hasher;
	struct vms *vms;
	unsigned count;
	int64_t started;
	int r = 0;

	if (argc == 2)
		return list_bare(argv[1]);
	if (argc != 3) {
		fprintf(stderr, "usage: snapshots_bench STORE [COUNT]\n");
		return 2;
	}
	count = (unsigned)strtoul(argv[2], NULL, 10);
	options.location = argv[1];
	if (vms_open(&vms, &options, &err) || vms_list(vms, NULL, &list, &err))
		return die(&err);
	if (!list.count) {
		fprintf(stderr, "snapshots_bench: back up something first\n");
		return 1;
	}
	sealer = sealer_new(&err);
	hasher = hasher_new(store_masters(vms_store(vms))->id_key, &err);
	if (!sealer || !hasher)
		return die(&err);
	started = time_monotonic_ns();
	for (unsigned i = 0; i < count && !r; i++)
		r = put_copy(vms_store(vms), argv[1], sealer, hasher,
			     &list.snapshots[0], i, &err);
	printf("{\"snapshots\": %u, \"write_seconds\": %.3f}\n", count,
	       (double)(time_monotonic_ns() - started) / 1e9);
	sealer_free(sealer);
	hasher_free(hasher);
	vms_snapshot_list_release(&list);
	vms_close(vms);
	return r ? die(&err) : 0;
}
