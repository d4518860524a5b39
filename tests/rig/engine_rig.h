/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plaintext store in a temporary directory, disks beside it, and an engine
 * over both, for tests of vmsnap/. A failure in here fails the test that runs
 * (cmocka's asserts). One thread.
 */
#ifndef TESTS_RIG_ENGINE_RIG_H
#define TESTS_RIG_ENGINE_RIG_H

#include "tests/rig/fault_io.h"
#include "vmsnap/engine.h"

#define RIG_PATH_MAX 512
#define RIG_CHUNK    (64u << 10) /* the store's chunk size */

struct engine_rig {
	char dir[64];
	char store[128];
	struct vs_io *real;
	struct fault_io fault; /* no faults unless a test sets them */
	struct vms *vms;       /* what engine_rig_open() opened last */
};

/* cmocka's setup and teardown of a test; *state is the rig. */
int engine_rig_setup(void **state);
int engine_rig_teardown(void **state);

/* Close what is open and open anew (0 workers: 2). Also in rig->vms. */
struct vms *engine_rig_open(struct engine_rig *rig, enum store_mode mode,
			    unsigned workers);
/* For check and stats: reading, tolerant of damage. */
struct vms *engine_rig_open_tolerant(struct engine_rig *rig, unsigned workers);

/* DIR/name, in one of a few buffers that are used in turn. */
const char *engine_rig_path(const struct engine_rig *rig, const char *name);

/* ---- disks ---- */

/* A new sparse file of that size. */
void engine_rig_disk(const struct engine_rig *rig, const char *name,
		     uint64_t size_bytes);
/* Bytes that follow from (seed, offset), and look random; no 8 aligned bytes
 * are zero. */
void engine_rig_pattern(void *buffer, size_t length, uint64_t offset,
			uint64_t seed);
void engine_rig_write(const struct engine_rig *rig, const char *name,
		      uint64_t offset, uint64_t length, uint64_t seed);
/* Both files whole; sizes too. */
void engine_rig_assert_same(const struct engine_rig *rig, const char *a,
			    const char *b);

/* Back up disks of the rig's directory ("a", NULL, NULL: one); opens for
 * writing if need be. Never fails. The caller releases *out. */
void engine_rig_backup(struct engine_rig *rig, const char *name,
		       const char *disk, const char *disk2,
		       struct snapshot *out);

/* ---- what lies in the store ---- */

/* How many objects are in this folder ("packs", "tables", ..). */
size_t engine_rig_count(const struct engine_rig *rig, const char *folder);
/* The object's name ("packs/ab/ab12.."); the nth in order of names. */
void engine_rig_object(const struct engine_rig *rig, const char *folder,
		       size_t nth, char name[OBJECT_NAME_MAX]);
uint64_t engine_rig_object_size(const struct engine_rig *rig, const char *name);
void engine_rig_flip(const struct engine_rig *rig, const char *name,
		     uint64_t offset);
void engine_rig_truncate(const struct engine_rig *rig, const char *name,
			 uint64_t size_bytes);
void engine_rig_remove(const struct engine_rig *rig, const char *name);
void engine_rig_swap(const struct engine_rig *rig, const char *a,
		     const char *b);

/* Where chunk `number` of a volume lies: its place; the store is open. */
void engine_rig_place(struct engine_rig *rig, const struct volume *volume,
		      uint64_t number, struct place *out);

#endif
