/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux' boot protocol, 2.12 and later (Documentation/arch/x86/boot.rst). The
 * file is hostile, as in pvh.c: numbers are checked before they are added, and
 * only RAM from 1 MiB on is loaded to. What the header says of the kernel's own
 * business is handed on to it and not looked at.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "format/base/le.h"
#include "kvm-agent/boot/bzimage.h"
#include "kvm-agent/boot/segments.h"
#include "kvm-agent/vm/layout.h"

#define SECTOR 512u
#define PAGE   4096u

/* The header in the file, and in the zero page. */
#define HEADER_AT        0x1f1u
#define HEADER_END_MAX   0x290u
#define VERSION_MIN      0x020cu /* has flags of the 64-bit entry */
#define ENTRY_64         0x200u
#define XFLAG_KERNEL_64  0x0001u
#define FLAG_LOADED_HIGH 0x01u
#define MEMORY_BYTES_MAX (4 * GIB)
#define LOADER_UNKNOWN   0xffu

struct setup_header {
	uint8_t setup_sectors;
	le16 root_flags;
	le32 system_size;
	le16 ram_size, video_mode, root_device;
	le16 boot_flag;              /* 0xaa55 */
	uint8_t jump, header_length; /* from `magic` on */
	uint8_t magic[4];            /* HdrS */
	le16 version;
	le32 real_mode_switch;
	le16 start_segment, kernel_version;
	uint8_t loader, flags;
	le16 move_size;
	le32 code32_start;
	le32 initrd, initrd_size;
	le32 bootsect_kludge;
	le16 heap_end;
	uint8_t loader_version, loader_type;
	le32 cmdline;
	le32 initrd_max;
	le32 align;
	uint8_t relocatable, min_align;
	le16 xflags;
	le32 cmdline_size;
	le32 hardware;
	le64 hardware_data;
	le32 payload_offset, payload_length;
	le64 setup_data;
	le64 wanted;
	le32 memory_bytes;
	le32 handover;
	le32 kernel_info;
};
_Static_assert(sizeof(struct setup_header) == 0x26c - HEADER_AT, "boot.rst");
_Static_assert(offsetof(struct setup_header, magic) == 0x202 - HEADER_AT &&
		       offsetof(struct setup_header, xflags) ==
			       0x236 - HEADER_AT &&
		       offsetof(struct setup_header, wanted) ==
			       0x258 - HEADER_AT,
	       "boot.rst");

struct zero_page {
	uint8_t screen[0x70];
	le64 rsdp;
	uint8_t unused[0xc0 - 0x78];
	le32 initrd_high, initrd_size_high, cmdline_high;
	uint8_t unused2[0x1e8 - 0xcc];
	uint8_t map_count;
	uint8_t unused3[HEADER_AT - 0x1e9];
	uint8_t header[HEADER_END_MAX - HEADER_AT];
	uint8_t unused4[0x2d0 - HEADER_END_MAX];
	struct {
		le64 start, size;
		le32 kind;
	} map[128];
	uint8_t unused5[PAGE - 0x2d0 - 128 * 20];
};
_Static_assert(sizeof(struct zero_page) == PAGE, "boot.rst");
_Static_assert(offsetof(struct zero_page, map) == 0x2d0, "boot.rst");

/* ---- the file ---- */

static bool take_header(const void *data, size_t size, struct setup_header *out)
{
	if (size < HEADER_AT + sizeof(*out))
		return false;
	memcpy(out, (const uint8_t *)data + HEADER_AT, sizeof(*out));
	return le16_get(out->boot_flag) == 0xaa55 &&
	       memcmp(out->magic, "HdrS", sizeof(out->magic)) == 0;
}

bool bzimage_is_one(const void *data, size_t size)
{
	struct setup_header header;

	return take_header(data, size, &header);
}

static int check_header(const struct setup_header *header, struct err *err)
{
	if (le16_get(header->version) < VERSION_MIN)
		return err_set(err, -ENOEXEC,
			       "the kernel has boot protocol %u.%02u: 2.12 is "
			       "the first that can be started here",
			       le16_get(header->version) >> 8,
			       le16_get(header->version) & 0xff);
	if (!(le16_get(header->xflags) & XFLAG_KERNEL_64) ||
	    !(header->flags & FLAG_LOADED_HIGH))
		return err_set(err, -ENOEXEC,
			       "the kernel is no bzImage of 64 bits");
	return 0;
}

int bzimage_parse(const void *data, size_t size, struct bzimage *out,
		  struct err *err)
{
	struct setup_header header;
	struct bzimage image;
	uint32_t align;
	int r;

	if (!take_header(data, size, &header))
		return err_set(err, -ENOEXEC, "the kernel is no bzImage");
	r = check_header(&header, err);
	if (r < 0)
		return r;
	/* None at all means four, for very old times' sake. */
	image.file_offset =
		((header.setup_sectors ? header.setup_sectors : 4u) + 1) *
		SECTOR;
	if (image.file_offset + ENTRY_64 >= size)
		return err_set(err, -ENOEXEC,
			       "the kernel is cut off: %zu bytes", size);
	image.file_bytes = size - image.file_offset;
	image.memory_bytes =
		max_u64(le32_get(header.memory_bytes), image.file_bytes);
	image.wanted = le64_get(header.wanted);
	align = le32_get(header.align);
	if (image.wanted < LAYOUT_KERNEL ||
	    image.memory_bytes > MEMORY_BYTES_MAX ||
	    (header.relocatable && !is_power_of_two(align)))
		return err_set(err, -ENOEXEC,
			       "the kernel wants 0x%" PRIx64
			       " bytes at 0x%" PRIx64
			       ", aligned to 0x%x: that can't be",
			       image.memory_bytes, image.wanted, align);
	image.align = header.relocatable ? align : 0;
	image.initrd_limit = (uint64_t)le32_get(header.initrd_max) + 1;
	image.cmdline_max = le32_get(header.cmdline_size);
	*out = image;
	return 0;
}

static uint64_t choose_start(const struct memory *memory,
			     const struct bzimage *image)
{
	if (!image->align ||
	    memory_at(memory, gpa_make(image->wanted), image->memory_bytes))
		return image->wanted;
	return div_up(LAYOUT_KERNEL, image->align) * image->align;
}

int bzimage_load(const struct memory *memory, const void *data,
		 const struct bzimage *image, uint64_t *start, struct err *err)
{
	uint64_t at = choose_start(memory, image);
	uint8_t *to = memory_at(memory, gpa_make(at), image->memory_bytes);

	/* Above 4 GiB there are no page tables yet. */
	if (!to || at >= MEMORY_LOW_END)
		return err_set(err, -ENOSPC,
			       "the kernel needs RAM of 0x%" PRIx64
			       " bytes at 0x%" PRIx64
			       ": give the guest more --memory",
			       image->memory_bytes, at);
	memcpy(to, (const uint8_t *)data + image->file_offset,
	       image->file_bytes);
	*start = at;
	return 0;
}

/* ---- what the kernel is told ---- */

static void put_map(const struct memory *memory, struct zero_page *page)
{
	struct map_range ranges[MAP_RANGES_MAX];
	unsigned count = map_make(memory, ranges);

	for (unsigned i = 0; i < count; i++) {
		page->map[i].start = le64_make(ranges[i].start);
		page->map[i].size = le64_make(ranges[i].size_bytes);
		page->map[i].kind = le32_make(ranges[i].kind);
	}
	page->map_count = (uint8_t)count;
}

/* The file's own header, with what a loader fills in. */
static void put_header(struct zero_page *page, const uint8_t *data, size_t size,
		       const struct bzimage_info *info)
{
	struct setup_header header;
	size_t end;

	memcpy(&header, data + HEADER_AT, sizeof(header));
	end = 0x202u + header.header_length;
	if (end > HEADER_END_MAX)
		end = HEADER_END_MAX;
	if (end > size)
		end = size;
	memcpy(page->header, data + HEADER_AT, end - HEADER_AT);
	memcpy(&header, page->header, sizeof(header));
	header.loader = LOADER_UNKNOWN;
	header.initrd = le32_make((uint32_t)info->initrd);
	header.initrd_size = le32_make((uint32_t)info->initrd_size);
	header.cmdline = le32_make(LAYOUT_COMMAND_LINE);
	header.setup_data = le64_make(0);
	memcpy(page->header, &header, sizeof(header));
	page->initrd_high = le32_make((uint32_t)(info->initrd >> 32));
	page->initrd_size_high = le32_make((uint32_t)(info->initrd_size >> 32));
}

/* An identity map of 4 GiB in pages of 2 MiB. */
static void put_page_tables(le64 *tables)
{
	const uint64_t present_writable = 3, large = 0x80;
	uint64_t at = LAYOUT_PAGE_TABLES;

	tables[0] = le64_make((at + PAGE) | present_writable);
	for (unsigned i = 0; i < 4; i++)
		tables[512 + i] =
			le64_make((at + (2 + i) * PAGE) | present_writable);
	for (uint64_t i = 0; i < 2048; i++)
		tables[1024 + i] =
			le64_make(i * 2 * MIB | large | present_writable);
}

static void put_descriptors(le64 *table)
{
	table[0] = table[1] = le64_make(0);
	table[2] = le64_make(0x00af9b000000ffff); /* 0x10: code of 64 bits */
	table[3] = le64_make(0x00cf93000000ffff); /* 0x18: data */
}

int bzimage_tell(const struct memory *memory, const void *data,
		 const struct bzimage *image, const struct bzimage_info *info,
		 struct err *err)
{
	size_t length = strlen(info->cmdline);
	size_t max = min_u64(image->cmdline_max,
			     LAYOUT_BOOT_END - LAYOUT_COMMAND_LINE - 1);
	struct zero_page *page =
		memory_at(memory, gpa_make(LAYOUT_ZERO_PAGE), sizeof(*page));
	le64 *tables =
		memory_at(memory, gpa_make(LAYOUT_PAGE_TABLES), 6ull * PAGE);
	le64 *descriptors = memory_at(memory, gpa_make(LAYOUT_GDT), 32);

	if (length > max)
		return err_set(err, -E2BIG,
			       "a command line of %zu bytes: %zu at most",
			       length, max);
	if (!page || !tables || !descriptors ||
	    memory_write(memory, gpa_make(LAYOUT_COMMAND_LINE), info->cmdline,
			 length + 1) < 0)
		return err_set(err, -ENOSPC, "the guest has too little RAM");
	memset(page, 0, sizeof(*page));
	put_header(page, data, image->file_offset + image->file_bytes, info);
	put_map(memory, page);
	page->rsdp = le64_make(info->rsdp);
	memset(tables, 0, 6ull * PAGE);
	put_page_tables(tables);
	put_descriptors(descriptors);
	return 0;
}

void bzimage_set_registers(uint64_t start, struct kvm_regs *regs,
			   struct kvm_sregs *sregs)
{
	segments_set_flat(sregs, 0x10);
	sregs->cs.db = 0;
	sregs->cs.l = 1;
	sregs->gdt.base = LAYOUT_GDT;
	sregs->gdt.limit = 4 * 8 - 1;
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
	sregs->cr0 = 0x80000011; /* PG, ET, PE */
	sregs->cr3 = LAYOUT_PAGE_TABLES;
	sregs->cr4 = 0x20;   /* PAE */
	sregs->efer = 0x500; /* LME, LMA */
	*regs = (struct kvm_regs){
		.rip = start + ENTRY_64,
		.rsi = LAYOUT_ZERO_PAGE,
		.rsp = LAYOUT_BOOT_STACK,
		.rflags = 2,
	};
}
