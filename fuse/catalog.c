/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of what is mounted. The store is listed at most once a second, and
 * only manifests that are new are loaded. A snapshot's directory is called
 * by its label, else by its time (UTC); where that is taken already, eight
 * digits of its id follow. Once given, a name stays for as long as the mount.
 */
#include "fuse/catalog.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define REFRESH_EVERY_NS 1000000000
/* Each has files and threads of its own, also when nobody has it open. */
#define WRITTEN_MAX       128u
#define WRITTEN_MAP_BYTES (8u << 20)

/* Of a disk's tree, to tell how much of it is data: a fraction of a second. */
#define COUNTED_RUNS_MAX 65536u

/* A snapshot we know of. */
struct known {
	struct id id;
	struct node *node; /* NULL: it can't be read, and that was told */
};

struct catalog {
	struct vms *vms;
	struct vms_cache *cache;
	catalog_warn_fn *warn;

	/* One that refreshes; held during I/O, taken before `lock`. */
	pthread_mutex_t refresh_lock;
	struct store_thread *thread;
	struct known *known; /* in order of ids */
	size_t known_count;
	int64_t refreshed_ns; /* monotonic */
	bool told_failure;

	/* One that makes a layer; held during I/O, no other under it. */
	pthread_mutex_t written_lock;
	struct vs_io *written_io; /* NULL: none was made yet */
	unsigned written_count;

	pthread_mutex_t lock; /* all below, and the nodes; never during I/O */
	struct node **nodes;  /* [number - 1] */
	size_t node_count;
	uint64_t disk_bytes;
};

/* ---- nodes: under `lock` ---- */

static int grow(void *array, size_t count, size_t size, struct err *err)
{
	void **at = array;
	void *grown;

	/* Room for a power of two; full when count is one. */
	if (count && (count < 8 || !is_power_of_two(count)))
		return 0;
	grown = reallocarray(*at, count ? count * 2 : 8, size);
	if (!grown)
		return err_set(err, -ENOMEM, "out of memory");
	*at = grown;
	return 0;
}

static struct node *node_add(struct catalog *catalog, struct node *parent,
			     enum node_kind kind, const char *name,
			     int64_t time_ns, struct err *err)
{
	struct node *node = NULL;

	if (grow(&catalog->nodes, catalog->node_count, sizeof(node), err) ||
	    (parent &&
	     grow(&parent->children, parent->child_count, sizeof(node), err)) ||
	    alloc_array(&node, 1, sizeof(*node), err))
		return NULL;
	node->name = strdup(name);
	if (!node->name) {
		free(node);
		err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	node->kind = kind;
	node->parent = parent;
	node->time_ns = time_ns;
	catalog->nodes[catalog->node_count++] = node;
	node->number = catalog->node_count;
	if (parent)
		parent->children[parent->child_count++] = node;
	return node;
}

static struct node *child_find(const struct node *parent, const char *name)
{
	for (size_t n = 0; n < parent->child_count; n++)
		if (!strcmp(parent->children[n]->name, name))
			return parent->children[n];
	return NULL;
}

/* Gone with all beneath; no child of its parent any more. The array keeps its
 * room, so that grow() stays right: its last slot is what is given up. */
static void node_remove(struct catalog *catalog, struct node *node)
{
	struct node *parent = node->parent;
	size_t n = 0;

	for (size_t c = 0; c < node->child_count; c++) {
		struct node *child = node->children[c];

		child->is_gone = true;
		if (child->kind == NODE_DISK)
			catalog->disk_bytes -= child->volume.size_bytes;
	}
	node->child_count = 0;
	node->is_gone = true;
	while (parent->children[n] != node)
		n++;
	parent->child_count--;
	memmove(&parent->children[n], &parent->children[n + 1],
		(parent->child_count - n) * sizeof(node));
	if (parent->kind == NODE_NAME && !parent->child_count)
		node_remove(catalog, parent);
}

/* ---- a snapshot becomes a directory ---- */

#define DIRECTORY_NAME_MAX (NAME_MAX_SIZE + 16)

static void snapshot_name(const struct node *parent, const struct snapshot *s,
			  char name[DIRECTORY_NAME_MAX])
{
	time_t seconds = (time_t)(s->time_ns / 1000000000);
	char text[NAME_MAX_SIZE + 1], hex[ID_HEX_SIZE];
	struct tm tm;

	if (s->label[0])
		snprintf(text, sizeof(text), "%s", s->label);
	else if (!gmtime_r(&seconds, &tm) ||
		 !strftime(text, sizeof(text), "%Y-%m-%dT%H-%M-%SZ", &tm))
		snprintf(text, sizeof(text), "%lld", (long long)s->time_ns);
	snprintf(name, DIRECTORY_NAME_MAX, "%s", text);
	hex_encode(hex, s->id.b, ID_SIZE);
	if (child_find(parent, name))
		snprintf(name, DIRECTORY_NAME_MAX, "%s.%.8s", text, hex);
	if (child_find(parent, name))
		snprintf(name, DIRECTORY_NAME_MAX, "%s", hex);
}

static int add_disks(struct catalog *catalog, struct node *directory,
		     const struct snapshot *s, struct err *err)
{
	for (size_t n = 0; n < s->volume_count; n++) {
		const struct volume *volume = &s->volumes[n];
		char name[NAME_MAX_SIZE + 8];
		struct node *disk;

		snprintf(name, sizeof(name), "%s.raw", volume->name);
		disk = node_add(catalog, directory, NODE_DISK, name, s->time_ns,
				err);
		if (!disk)
			return -ENOMEM;
		memcpy(disk->volume.name, volume->name, sizeof(volume->name));
		disk->volume.size_bytes = volume->size_bytes;
		disk->volume.chunk_log2 = volume->chunk_log2;
		disk->volume.root = volume->root;
		catalog->disk_bytes += volume->size_bytes;
	}
	return 0;
}

static int add_snapshot(struct catalog *catalog, const struct snapshot *s,
			struct node **out, struct err *err)
{
	struct node *root = catalog->nodes[0];
	struct node *parent = child_find(root, s->name);
	char name[DIRECTORY_NAME_MAX];
	int r = -ENOMEM;

	if (!parent)
		parent = node_add(catalog, root, NODE_NAME, s->name, s->time_ns,
				  err);
	if (!parent)
		return r;
	snapshot_name(parent, s, name);
	*out = node_add(catalog, parent, NODE_SNAPSHOT, name, s->time_ns, err);
	if (*out)
		r = add_disks(catalog, *out, s, err);
	if (r < 0) {
		if (*out)
			node_remove(catalog, *out);
		else if (!parent->child_count)
			node_remove(catalog, parent);
		return r;
	}
	if (s->time_ns > parent->time_ns)
		parent->time_ns = s->time_ns;
	if (s->time_ns > root->time_ns)
		root->time_ns = s->time_ns;
	return 0;
}

/* ---- following the store: under `refresh_lock` ---- */

static int id_order(const void *a, const void *b)
{
	return id_compare(a, b);
}

/* 1: it is there now; 0: it can't be shown (and need not be tried again). */
static int load(struct catalog *catalog, struct known *known, struct err *err)
{
	struct snapshot snapshot = { 0 };
	int r = store_load_snapshot(catalog->thread, &known->id, &snapshot,
				    err);

	if (r == -EBADMSG || r == -EOPNOTSUPP) {
		catalog->warn(err->text);
		return 0;
	}
	if (r < 0)
		return r;
	pthread_mutex_lock(&catalog->lock);
	r = add_snapshot(catalog, &snapshot, &known->node, err);
	pthread_mutex_unlock(&catalog->lock);
	snapshot_release(&snapshot);
	return r < 0 ? r : 1;
}

static void drop(struct catalog *catalog, const struct known *known)
{
	if (!known->node)
		return;
	pthread_mutex_lock(&catalog->lock);
	node_remove(catalog, known->node);
	pthread_mutex_unlock(&catalog->lock);
}

/* Both in order: what is in one only has come, or gone. */
static int merge(struct catalog *catalog, const struct snapshot_list *list,
		 struct known *now, size_t *now_count, struct err *err)
{
	size_t old = 0;
	int result = 0;

	for (size_t n = 0; n < list->count; n++) {
		struct known *one = &now[*now_count];
		int order = -1, r;

		while (old < catalog->known_count &&
		       (order = id_compare(&catalog->known[old].id,
					   &list->ids[n])) < 0)
			drop(catalog, &catalog->known[old++]);
		if (old < catalog->known_count && order == 0) {
			*one = catalog->known[old++];
			++*now_count;
			continue;
		}
		one->id = list->ids[n];
		one->node = NULL;
		r = load(catalog, one, err);
		if (r >= 0)
			++*now_count;
		else if (r != -ENOENT) /* forgotten since it was listed */
			result = r;
	}
	while (old < catalog->known_count)
		drop(catalog, &catalog->known[old++]);
	return result;
}

static bool has_new(const struct catalog *catalog,
		    const struct snapshot_list *list)
{
	for (size_t n = 0; n < list->count; n++)
		if (!catalog->known_count ||
		    !bsearch(&list->ids[n], catalog->known,
			     catalog->known_count, sizeof(*catalog->known),
			     id_order))
			return true;
	return false;
}

static int follow(struct catalog *catalog, struct err *err)
{
	struct snapshot_list list = { 0 };
	struct known *now = NULL;
	size_t now_count = 0;
	int r = store_list_snapshots(vms_store(catalog->vms), &list, err);

	if (r == 0 && list.count)
		qsort(list.ids, list.count, sizeof(*list.ids), id_order);
	/* Their chunks first: who sees a disk can read it. */
	if (r == 0 && has_new(catalog, &list))
		r = vms_refresh(catalog->vms, err);
	if (r == 0)
		r = alloc_array(&now, list.count + 1, sizeof(*now), err);
	if (r == 0) {
		r = merge(catalog, &list, now, &now_count, err);
		free(catalog->known);
		catalog->known = now;
		catalog->known_count = now_count;
	}
	snapshot_list_release(&list);
	return r;
}

void catalog_refresh(struct catalog *catalog)
{
	struct err err = { 0 };
	int r;

	/* Whoever comes meanwhile takes what is there. */
	if (pthread_mutex_trylock(&catalog->refresh_lock))
		return;
	if (time_monotonic_ns() - catalog->refreshed_ns >= REFRESH_EVERY_NS) {
		r = follow(catalog, &err);
		if (r < 0 && !catalog->told_failure)
			catalog->warn(err.text);
		catalog->told_failure = r < 0;
		catalog->refreshed_ns = time_monotonic_ns();
	}
	pthread_mutex_unlock(&catalog->refresh_lock);
}

/* ---- life ---- */

int catalog_new(struct catalog **out, struct vms *vms, struct vms_cache *cache,
		catalog_warn_fn *warn, struct err *err)
{
	struct catalog *catalog = NULL;
	int r = alloc_array(&catalog, 1, sizeof(*catalog), err);

	if (r < 0)
		return r;
	catalog->vms = vms;
	catalog->cache = cache;
	catalog->warn = warn;
	pthread_mutex_init(&catalog->refresh_lock, NULL);
	pthread_mutex_init(&catalog->written_lock, NULL);
	pthread_mutex_init(&catalog->lock, NULL);
	catalog->thread = store_thread_new(vms_store(vms), err);
	if (!catalog->thread || !node_add(catalog, NULL, NODE_ROOT, "", 0, err))
		r = -ENOMEM;
	if (r == 0)
		r = follow(catalog, err);
	if (r < 0) {
		catalog_free(catalog);
		return r;
	}
	catalog->refreshed_ns = time_monotonic_ns();
	*out = catalog;
	return 0;
}

void catalog_free(struct catalog *catalog)
{
	if (!catalog)
		return;
	for (size_t n = 0; n < catalog->node_count; n++) {
		struct node *node = catalog->nodes[n];

		vms_reader_close(node->reader);
		written_free(node_written(node));
		free(node->children);
		free(node->name);
		free(node);
	}
	free(catalog->nodes);
	free(catalog->known);
	if (catalog->written_io)
		io_free(catalog->written_io);
	store_thread_free(catalog->thread);
	pthread_mutex_destroy(&catalog->refresh_lock);
	pthread_mutex_destroy(&catalog->written_lock);
	pthread_mutex_destroy(&catalog->lock);
	free(catalog);
}

/* ---- questions ---- */

struct node *catalog_node(struct catalog *catalog, uint64_t number)
{
	struct node *node = NULL;

	pthread_mutex_lock(&catalog->lock);
	if (number >= 1 && number <= catalog->node_count)
		node = catalog->nodes[number - 1];
	pthread_mutex_unlock(&catalog->lock);
	return node;
}

struct node *catalog_lookup(struct catalog *catalog, uint64_t parent,
			    const char *name)
{
	struct node *node = catalog_node(catalog, parent);

	if (!node)
		return NULL;
	pthread_mutex_lock(&catalog->lock);
	node = child_find(node, name);
	pthread_mutex_unlock(&catalog->lock);
	return node;
}

bool catalog_is_gone(struct catalog *catalog, const struct node *node)
{
	bool is_gone;

	pthread_mutex_lock(&catalog->lock);
	is_gone = node->is_gone;
	pthread_mutex_unlock(&catalog->lock);
	return is_gone;
}

int64_t catalog_time(struct catalog *catalog, const struct node *node)
{
	int64_t time_ns;

	if (node_written(node))
		return written_time(node_written(node));
	pthread_mutex_lock(&catalog->lock);
	time_ns = node->time_ns;
	pthread_mutex_unlock(&catalog->lock);
	return time_ns;
}

int catalog_children(struct catalog *catalog, struct node *node,
		     struct node ***out, size_t *count, struct err *err)
{
	struct node **copy = NULL;
	int r;

	pthread_mutex_lock(&catalog->lock);
	r = alloc_array(&copy, node->child_count + 1, sizeof(struct node *),
			err);
	if (r == 0) {
		if (node->child_count)
			memcpy(copy, node->children,
			       node->child_count * sizeof(struct node *));
		*out = copy;
		*count = node->child_count;
	}
	pthread_mutex_unlock(&catalog->lock);
	return r;
}

int catalog_open_disk(struct catalog *catalog, struct node *node,
		      struct err *err)
{
	int r = 0;

	pthread_mutex_lock(&catalog->lock);
	if (!node->reader) /* does no I/O */
		r = vms_reader_open(&node->reader, catalog->vms, catalog->cache,
				    &node->volume, err);
	if (r == 0)
		node->opens++;
	pthread_mutex_unlock(&catalog->lock);
	return r;
}

void catalog_close_disk(struct catalog *catalog, struct node *node)
{
	struct vms_reader *reader = NULL;

	pthread_mutex_lock(&catalog->lock);
	if (--node->opens == 0) {
		reader = node->reader;
		node->reader = NULL;
	}
	pthread_mutex_unlock(&catalog->lock);
	vms_reader_close(reader); /* waits for what it reads ahead */
}

void catalog_count_data(struct catalog *catalog, struct node *node)
{
	if (node->kind != NODE_DISK || atomic_load(&node->data_bytes) ||
	    catalog_open_disk(catalog, node, NULL) < 0)
		return;
	atomic_store(&node->data_bytes,
		     vms_reader_data_bytes(node->reader, COUNTED_RUNS_MAX) + 1);
	catalog_close_disk(catalog, node);
}

uint64_t node_data_bytes(const struct node *node)
{
	uint64_t size = node->volume.size_bytes;
	uint64_t counted = atomic_load(&node->data_bytes);
	struct written *written = node_written(node);

	if (!counted)
		return size;
	/* Each write as if it were to a hole. */
	if (written)
		counted += written_bytes(written);
	return min_u64(counted - 1, size);
}

static void tell_damage(void *arg, uint64_t offset, uint64_t length,
			const char *what)
{
	struct catalog *catalog = arg;

	(void)offset;
	(void)length;
	catalog->warn(what);
}

/* By written_lock. */
static int written_make(struct catalog *catalog, const struct node *node,
			struct written **out, struct err *err)
{
	struct vms_live_temporary how = {
		.vms = catalog->vms,
		.volume = &node->volume,
		.cache = catalog->cache,
		.map_memory_bytes = WRITTEN_MAP_BYTES,
		.damage = tell_damage,
		.arg = catalog,
	};

	if (catalog->written_count == WRITTEN_MAX)
		return err_set(err, -EMFILE,
			       "%u disks of this mount have been written to: "
			       "mount again for more",
			       WRITTEN_MAX);
	/* A thread for each request: it may wait. */
	if (!catalog->written_io)
		catalog->written_io = io_new_plain(err);
	if (!catalog->written_io)
		return -EIO;
	how.io = catalog->written_io;
	return written_new(out, &how, err);
}

int catalog_written(struct catalog *catalog, struct node *node,
		    struct written **out, struct err *err)
{
	struct written *written = node_written(node);
	int r = 0;

	if (!written) {
		pthread_mutex_lock(&catalog->written_lock);
		written = node_written(node);
		if (!written) {
			r = written_make(catalog, node, &written, err);
			if (r == 0) {
				catalog->written_count++;
				atomic_store_explicit(&node->written, written,
						      memory_order_release);
			}
		}
		pthread_mutex_unlock(&catalog->written_lock);
	}
	if (r == 0)
		*out = written;
	return r;
}

void catalog_totals(struct catalog *catalog, struct catalog_totals *out)
{
	pthread_mutex_lock(&catalog->lock);
	out->disk_bytes = catalog->disk_bytes;
	out->nodes = catalog->node_count;
	pthread_mutex_unlock(&catalog->lock);
}
