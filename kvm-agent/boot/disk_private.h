/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of disk.c share: the talk with the child, and its inside. */
#ifndef KVM_AGENT_BOOT_DISK_PRIVATE_H
#define KVM_AGENT_BOOT_DISK_PRIVATE_H

#include "kvm-agent/boot/disk.h"

#define DISK_PIECE_MAX (64 * KIB) /* of one read, and of one note's bytes */

enum disk_note_kind {
	DISK_NOTE_READ = 1, /* of `length` bytes at `offset`, please */
	DISK_NOTE_KERNEL,   /* `length` bytes follow: its next ones */
	DISK_NOTE_INITRD,   /* the same */
	DISK_NOTE_CMDLINE,  /* `length` bytes follow, without a NUL */
	DISK_NOTE_DONE,
	DISK_NOTE_FAILED, /* `offset` is an errno; the words follow */
};

/* From the child. Both ends are one program: no spec. */
struct disk_note {
	uint32_t kind;
	uint32_t length;
	uint64_t offset;
};

/* To the child: a look is to begin; or the answer to a read, whose bytes follow
 * if `code` is 0. */
struct disk_answer {
	int32_t code;
	uint32_t zero;
	uint64_t size_bytes; /* of the disk, when a look begins */
};

/* ---- in the child ---- */

struct disk_look {
	int fd; /* to the parent */
	uint64_t size_bytes;
};

/* Of the disk, within its size; -errno. */
int disk_look_read(struct disk_look *look, uint64_t offset, void *buffer,
		   size_t size);
int disk_look_give(struct disk_look *look, enum disk_note_kind kind,
		   const void *data, size_t size);
/* Finds and gives all; -errno with words. `memfd` is an empty one. */
int disk_look_run(struct disk_look *look, int memfd, struct err *err);

/* ---- GRUB's menu ---- */

#define GRUB_PATH_MAX 255u

struct grub_entry {
	char kernel[GRUB_PATH_MAX + 1];
	char initrd[GRUB_PATH_MAX + 1]; /* "": there is none */
	char arguments[DISK_CMDLINE_MAX + 1];
};

/*
 * The entry that GRUB would start by itself; `environment` is its block of
 * variables (grubenv), of size 0 where there is none. Hostile text. Pure. False:
 * there is none that can be told.
 */
bool grub_default(const char *text, size_t size, const char *environment,
		  size_t environment_size, struct grub_entry *out);

#endif
