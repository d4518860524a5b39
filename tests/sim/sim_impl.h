/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the simulated disk know of each other. */
#ifndef TESTS_SIM_SIM_IMPL_H
#define TESTS_SIM_SIM_IMPL_H

#include "tests/sim/sim.h"

#define SIM_BLOCK_SIZE    4096U
#define SIM_SECTOR_SIZE   512U
#define SIM_NAME_MAX      255U
#define SIM_HANDLE_FIRST  1000
#define SIM_LABEL_MAX     96U
#define SIM_TORN_ONE_IN   8U
#define SIM_VERSIONS_MAX  32U
#define SIM_SIZES_MAX     64U
#define SIM_FILE_SIZE_MAX (1ULL << 62)

struct sim_page {
	unsigned refs;
	uint8_t data[SIM_BLOCK_SIZE];
};

/* A state of a block that is not durable yet; page NULL is a hole. */
struct sim_version {
	uint64_t seq; /* of the inode */
	bool cut;     /* by a truncation */
	struct sim_page *page;
};

struct sim_block {
	uint64_t number;
	struct sim_page *durable;
	struct sim_page *now;
	struct sim_version *versions; /* oldest first; none: clean */
	unsigned version_count;
};

/* A size that is not durable yet. */
struct sim_size {
	uint64_t seq;
	uint64_t size;
	bool cut;
};

struct sim_name {
	struct sim_name *next;
	struct sim_inode *inode;
	char name[SIM_NAME_MAX + 1];
};

enum sim_view { SIM_NOW, SIM_DURABLE, SIM_VIEWS };

struct sim_inode {
	struct sim *sim;
	struct sim_inode *previous, *next; /* all of the sim */
	unsigned refs; /* names in both views, changes, handles */
	unsigned live; /* names in SIM_NOW and handles */
	uint64_t number;
	int64_t modified_ns;
	bool directory;
	bool named; /* ever */
	char label[SIM_LABEL_MAX];

	struct sim_name *names[SIM_VIEWS]; /* of a directory */

	uint64_t seq;
	uint64_t size;
	uint64_t durable_size;
	struct sim_size *sizes;
	unsigned size_count;
	struct sim_block **blocks; /* by number */
	size_t block_count;
	size_t block_capacity;
	uint64_t allocated; /* bytes of `now` */
};

enum sim_change_kind { SIM_ADD, SIM_REMOVE, SIM_RENAME };

/* A change of names that is not durable yet. */
struct sim_change {
	struct sim_change *next;
	enum sim_change_kind kind;
	bool chosen;
	struct sim_inode *dir[2]; /* [1]: where to, of a rename */
	char name[2][SIM_NAME_MAX + 1];
	struct sim_inode *inode; /* NULL when removing */
};

struct sim_handle {
	struct sim_inode *inode; /* NULL: closed */
	int flags;
	enum { SIM_UNLOCKED, SIM_SHARED, SIM_EXCLUSIVE } lock;
};

struct sim_queue {
	struct io_queue queue; /* first */
	struct sim_queue *next;
	struct io_request **requests; /* queue.in_flight of them */
	size_t capacity;
};

struct sim {
	struct vs_io io;
	uint64_t random;
	bool trace;
	struct sim_counters count;

	bool off;
	bool dying; /* the power goes at the end of this operation */
	uint64_t power_loss_at;
	uint64_t fail_at;
	int fail_error;
	bool fail_forever;
	bool faulted; /* this operation, by fail_at */

	uint64_t capacity;
	unsigned short_one_in;
	bool lying_sync;
	bool lying_sync_dir;
	enum sim_lie lie;
	char lie_where[SIM_LABEL_MAX]; /* empty: none */
	char fail_where[SIM_LABEL_MAX];
	bool names_failed;

	struct sim_inode *root;
	struct sim_inode *inodes;
	uint64_t next_inode;
	struct sim_change *changes; /* oldest first */
	struct sim_handle *handles;
	size_t handle_count;
	struct sim_queue *queues;
};

/* sim.c */
void *sim_alloc(size_t size); /* zeroed, never NULL */
void *sim_grow(void *old, size_t size);
uint64_t sim_pick(struct sim *sim, uint64_t below);
bool sim_one_in(struct sim *sim, uint64_t n);
int64_t sim_time_ns(const struct sim *sim);
bool sim_lies(const struct sim *sim, enum sim_lie lie, const char *path);
/* As sim_fail_names() says; once. */
bool sim_fails_names(struct sim *sim, const char *path);
/*
 * Around each counted operation. 0: go ahead (with sim->dying, durable things
 * stay undone); else don't, and sim->faulted tells a fault from no power.
 */
int sim_begin(struct sim *sim);
/* Returns the result; words into err when it is a failure. */
int sim_end(struct sim *sim, struct err *err, const char *what,
	    const char *path, int result);
ssize_t sim_end_data(struct sim *sim, const char *what,
		     const struct sim_inode *inode, uint64_t offset,
		     uint64_t length, ssize_t result);

/* sim_inode.c: the content of one file */
struct sim_inode *sim_inode_new(struct sim *sim, bool directory);
void sim_inode_get(struct sim_inode *inode, bool live);
void sim_inode_put(struct sim_inode *inode, bool live);
struct sim_block *sim_block_find(const struct sim_inode *inode,
				 uint64_t number);
size_t sim_read(struct sim_inode *inode, uint8_t *to, size_t length,
		uint64_t offset);
/* Bytes written, fewer when the disk is full; -ENOSPC when none. */
ssize_t sim_write(struct sim_inode *inode, const uint8_t *from, size_t length,
		  uint64_t offset);
void sim_truncate(struct sim_inode *inode, uint64_t size);
void sim_punch(struct sim_inode *inode, uint64_t offset, uint64_t length);
int sim_seek_data(const struct sim_inode *inode, uint64_t offset,
		  uint64_t *start, uint64_t *end);

/* sim_loss.c: what becomes durable, and what is lost */
void sim_page_put(struct sim_page *page);
struct sim_page *sim_page_get(struct sim_page *page);
struct sim_page *sim_page_copy(const struct sim_page *page);
void sim_block_set_now(struct sim_inode *inode, struct sim_block *block,
		       struct sim_page *page);
void sim_block_forget(struct sim_block *block);
void sim_inode_sync(struct sim_inode *inode);
/* All but the last block. */
void sim_inode_sync_but_tail(struct sim_inode *inode);
/* A sync that failed. */
void sim_inode_gate(struct sim_inode *inode);
/* `keep` of 8 blocks survive. */
void sim_inode_lose(struct sim_inode *inode, unsigned keep);

/* sim_names.c */
int sim_lookup(struct sim *sim, const char *path, struct sim_inode **inode);
/* The directory of the last part of the path, which is copied to `name`;
 * -EEXIST for the root. */
int sim_lookup_parent(struct sim *sim, const char *path, struct sim_inode **dir,
		      char name[SIM_NAME_MAX + 1]);
struct sim_inode *sim_name_find(const struct sim_inode *dir, const char *name);
void sim_name_add(struct sim_inode *dir, const char *name,
		  struct sim_inode *inode);
void sim_name_remove(struct sim_inode *dir, const char *name);
int sim_name_rename(struct sim *sim, const char *from, const char *to);
void sim_names_release(struct sim_inode *dir);
void sim_names_sync(struct sim_inode *dir);
void sim_names_lose(struct sim *sim, unsigned keep);
void sim_names_free(struct sim *sim);
int sim_names_list(struct sim_inode *dir, io_list_fn *fn, void *arg);

/* sim_io.c */
extern const struct vs_io_ops sim_ops;
struct sim_handle *sim_handle_get(struct sim *sim, int file);
void sim_handles_drop(struct sim *sim);

/* sim_data.c: the ops of the same names */
ssize_t sim_io_read(struct vs_io *io, int file, void *buffer, size_t length,
		    uint64_t offset);
ssize_t sim_io_write(struct vs_io *io, int file, const void *buffer,
		     size_t length, uint64_t offset);
int sim_io_sync(struct vs_io *io, int file);
int sim_io_truncate(struct vs_io *io, int file, uint64_t size);
int sim_io_punch(struct vs_io *io, int file, uint64_t offset, uint64_t length);
int sim_io_seek_data(struct vs_io *io, int file, uint64_t offset,
		     uint64_t *start, uint64_t *end);
int sim_io_reserve(struct vs_io *io, int file, uint64_t offset,
		   uint64_t length);
void sim_io_hint(struct vs_io *io, int file, uint64_t offset, uint64_t length);
/* The power goes: a write in flight may happen. */
void sim_io_write_last(struct sim *sim, const struct io_request *request);

/* sim_queue.c */
struct io_queue *sim_queue_new(struct vs_io *io, unsigned depth,
			       struct err *err);
void sim_queue_submit(struct io_queue *queue, struct io_request *request);
unsigned sim_queue_reap(struct io_queue *queue, unsigned min,
			struct io_request **done, unsigned max);
int sim_queue_fd(struct io_queue *queue);
void sim_queue_free(struct io_queue *queue);
/* The power goes. */
void sim_queues_lose(struct sim *sim);

#endif
