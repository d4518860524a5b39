/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PVH way into a kernel. The file is hostile: it may come from a disk that
 * a guest has written. Every number of it is checked with arithmetic that can't
 * wrap before anything is copied, and only RAM from 1 MiB on is written to, so
 * that no segment lands on what we tell the kernel.
 */
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/boot/pvh.h"
#include "kvm-agent/boot/segments.h"
#include "kvm-agent/vm/layout.h"

#define NOTE_NAME      "Xen"
#define NOTE_PHYS32    18u /* the address of the 32-bit entry */

#define INFO_MAGIC     0x336ec578u
#define INFO_VERSION   1u

#define CR0_PE         1u
#define CR0_ET         0x10u
#define FLAGS_RESERVED 2u

/* Where the parts of what is told stand, from LAYOUT_PVH_INFO. */
#define INFO_MODULES_OFF 0x40u
#define INFO_MAP_OFF     0x80u

struct hvm_start_info {
	le32 magic;
	le32 version;
	le32 flags;
	le32 module_count;
	le64 modules;
	le64 cmdline;
	le64 rsdp;
	le64 map;
	le32 map_count;
	le32 reserved;
};
_Static_assert(sizeof(struct hvm_start_info) == 56, "PVH's start info");

struct hvm_module {
	le64 address;
	le64 size;
	le64 cmdline;
	le64 reserved;
};
_Static_assert(sizeof(struct hvm_module) == 32, "PVH's module");

struct hvm_range {
	le64 address;
	le64 size;
	le32 kind;
	le32 reserved;
};
_Static_assert(sizeof(struct hvm_range) == 24, "PVH's memory map");
_Static_assert(LAYOUT_PVH_INFO + INFO_MAP_OFF +
			       MAP_RANGES_MAX * sizeof(struct hvm_range) <=
		       LAYOUT_ZERO_PAGE,
	       "layout.h");

/* ---- the file ---- */

bool pvh_is_elf(const void *data, size_t size)
{
	return size >= SELFMAG && memcmp(data, ELFMAG, SELFMAG) == 0;
}

static int check_head(const Elf64_Ehdr *head, struct err *err)
{
	if (head->e_ident[EI_CLASS] != ELFCLASS64 ||
	    head->e_ident[EI_DATA] != ELFDATA2LSB ||
	    head->e_machine != EM_X86_64)
		return err_set(err, -ENOEXEC,
			       "the kernel is no ELF file of 64 bits for "
			       "x86-64");
	if (head->e_phentsize != sizeof(Elf64_Phdr) || !head->e_phnum)
		return err_set(err, -ENOEXEC,
			       "the kernel's ELF file has no program headers");
	return 0;
}

static int add_segment(struct pvh_image *image, const Elf64_Phdr *head,
		       size_t size, struct err *err)
{
	uint64_t end;

	if (!head->p_memsz)
		return 0;
	if (head->p_filesz > head->p_memsz || head->p_offset > size ||
	    head->p_filesz > size - head->p_offset)
		return err_set(err, -ENOEXEC,
			       "the kernel's ELF file is cut off: a segment "
			       "of 0x%" PRIx64 " bytes at 0x%" PRIx64
			       " is not in it",
			       head->p_filesz, head->p_offset);
	if (head->p_paddr < LAYOUT_KERNEL ||
	    __builtin_add_overflow(head->p_paddr, head->p_memsz, &end))
		return err_set(err, -ENOEXEC,
			       "the kernel has a segment at 0x%" PRIx64
			       ": it must lie from 1 MiB on",
			       head->p_paddr);
	if (image->count == PVH_SEGMENTS_MAX)
		return err_set(err, -ENOEXEC,
			       "the kernel has more than %u segments",
			       PVH_SEGMENTS_MAX);
	image->segments[image->count++] = (struct pvh_segment){
		.address = head->p_paddr,
		.memory_bytes = head->p_memsz,
		.file_offset = head->p_offset,
		.file_bytes = head->p_filesz,
	};
	image->end = max_u64(image->end, end);
	return 0;
}

static uint64_t align_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* The entry from one segment of notes, if it is there. */
static void find_entry(struct pvh_image *image, const uint8_t *notes,
		       uint64_t size, uint64_t align)
{
	Elf64_Nhdr head;

	while (size >= sizeof(head)) {
		uint64_t name_at = sizeof(head), data_at, next;

		memcpy(&head, notes, sizeof(head));
		/* Sums of 32-bit numbers: they can't wrap. */
		data_at = align_up(name_at + head.n_namesz, align);
		next = align_up(data_at + head.n_descsz, align);
		if (data_at > size || head.n_descsz > size - data_at)
			return;
		if (head.n_type == NOTE_PHYS32 &&
		    head.n_namesz == sizeof(NOTE_NAME) &&
		    memcmp(notes + name_at, NOTE_NAME, sizeof(NOTE_NAME)) ==
			    0 &&
		    head.n_descsz >= sizeof(image->entry)) {
			memcpy(&image->entry, notes + data_at,
			       sizeof(image->entry));
			return;
		}
		if (next >= size)
			return;
		notes += next;
		size -= next;
	}
}

static int take_header(struct pvh_image *image, const uint8_t *data,
		       size_t size, const Elf64_Phdr *head, struct err *err)
{
	switch (head->p_type) {
	case PT_LOAD:
		return add_segment(image, head, size, err);
	case PT_NOTE:
		if (head->p_offset <= size &&
		    head->p_filesz <= size - head->p_offset && !image->entry)
			find_entry(image, data + head->p_offset, head->p_filesz,
				   head->p_align == 8 ? 8 : 4);
		return 0;
	default:
		return 0;
	}
}

/* In a segment's bytes of the file, not in its zeros. */
static bool is_entry_good(const struct pvh_image *image)
{
	for (unsigned i = 0; i < image->count; i++) {
		const struct pvh_segment *segment = &image->segments[i];

		if (image->entry >= segment->address &&
		    image->entry - segment->address < segment->file_bytes)
			return true;
	}
	return false;
}

int pvh_parse(const void *data, size_t size, struct pvh_image *out,
	      struct err *err)
{
	struct pvh_image image = { 0 };
	Elf64_Ehdr head;
	Elf64_Phdr program;
	int r;

	if (!pvh_is_elf(data, size) || size < sizeof(head))
		return err_set(err, -ENOEXEC, "the kernel is no ELF file");
	memcpy(&head, data, sizeof(head));
	r = check_head(&head, err);
	if (r < 0)
		return r;
	if (head.e_phoff > size ||
	    (uint64_t)head.e_phnum * sizeof(program) > size - head.e_phoff)
		return err_set(err, -ENOEXEC,
			       "the kernel's ELF file is cut off: its program "
			       "headers are not in it");
	for (unsigned i = 0; i < head.e_phnum; i++) {
		memcpy(&program,
		       (const uint8_t *)data + head.e_phoff +
			       i * sizeof(program),
		       sizeof(program));
		r = take_header(&image, data, size, &program, err);
		if (r < 0)
			return r;
	}
	if (!image.entry)
		return err_set(err, -ENOEXEC,
			       "the kernel's ELF file has no PVH note: for "
			       "Linux, build it with CONFIG_PVH, or give its "
			       "bzImage");
	if (!is_entry_good(&image))
		return err_set(err, -ENOEXEC,
			       "the kernel's entry 0x%x is in none of its "
			       "segments",
			       image.entry);
	*out = image;
	return 0;
}

int pvh_load(const struct memory *memory, const void *data,
	     const struct pvh_image *image, struct err *err)
{
	for (unsigned i = 0; i < image->count; i++) {
		const struct pvh_segment *segment = &image->segments[i];
		uint8_t *to = memory_at(memory, gpa_make(segment->address),
					segment->memory_bytes);

		if (!to)
			return err_set(err, -ENOSPC,
				       "the kernel needs RAM of 0x%" PRIx64
				       " bytes at 0x%" PRIx64
				       ": give the guest more --memory",
				       segment->memory_bytes, segment->address);
		memcpy(to, (const uint8_t *)data + segment->file_offset,
		       segment->file_bytes);
		memset(to + segment->file_bytes, 0,
		       segment->memory_bytes - segment->file_bytes);
	}
	return 0;
}

/* ---- what the kernel is told ---- */

static unsigned put_map(const struct memory *memory, uint8_t *to)
{
	struct map_range ranges[MAP_RANGES_MAX];
	unsigned count = map_make(memory, ranges);

	for (unsigned i = 0; i < count; i++) {
		struct hvm_range range = {
			.address = le64_make(ranges[i].start),
			.size = le64_make(ranges[i].size_bytes),
			.kind = le32_make(ranges[i].kind),
		};

		memcpy(to + i * sizeof(range), &range, sizeof(range));
	}
	return count;
}

int pvh_tell(const struct memory *memory, const struct pvh_info *info,
	     struct err *err)
{
	size_t length = strlen(info->cmdline);
	struct hvm_module module = {
		.address = le64_make(info->initrd),
		.size = le64_make(info->initrd_size),
	};
	struct hvm_start_info start = {
		.magic = le32_make(INFO_MAGIC),
		.version = le32_make(INFO_VERSION),
		.module_count = le32_make(info->initrd_size ? 1 : 0),
		.modules = le64_make(LAYOUT_PVH_INFO + INFO_MODULES_OFF),
		.cmdline = le64_make(LAYOUT_COMMAND_LINE),
		.rsdp = le64_make(info->rsdp),
		.map = le64_make(LAYOUT_PVH_INFO + INFO_MAP_OFF),
	};
	uint8_t *to = memory_at(memory, gpa_make(LAYOUT_PVH_INFO),
				LAYOUT_ZERO_PAGE - LAYOUT_PVH_INFO);

	if (length > PVH_CMDLINE_MAX)
		return err_set(err, -E2BIG,
			       "a command line of %zu bytes: %u at most",
			       length, PVH_CMDLINE_MAX);
	if (!to || memory_write(memory, gpa_make(LAYOUT_COMMAND_LINE),
				info->cmdline, length + 1) < 0)
		return err_set(err, -ENOSPC, "the guest has too little RAM");
	start.map_count = le32_make(put_map(memory, to + INFO_MAP_OFF));
	memcpy(to + INFO_MODULES_OFF, &module, sizeof(module));
	memcpy(to, &start, sizeof(start));
	return 0;
}

void pvh_set_registers(const struct pvh_image *image, struct kvm_regs *regs,
		       struct kvm_sregs *sregs)
{
	segments_set_flat(sregs, 0x08);
	sregs->cr0 = CR0_PE | CR0_ET;
	sregs->cr3 = sregs->cr4 = sregs->efer = 0;
	*regs = (struct kvm_regs){
		.rip = image->entry,
		.rbx = LAYOUT_PVH_INFO,
		.rflags = FLAGS_RESERVED,
	};
}
