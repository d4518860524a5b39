/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the child does: partitions by libblkid, files by libext2fs over an I/O
 * manager that asks the parent. First the entry that GRUB would start; where
 * there is no menu that can be read, the newest kernel.
 *
 * libblkid wants a descriptor: it gets a file of the disk's size, all holes but
 * for the disk's two ends, where partition tables are. So logical partitions of
 * an MBR, whose tables lie in between, are not seen.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <blkid/blkid.h>
#include <ext2fs/ext2fs.h>

#include "kvm-agent/boot/disk_journal.h"
#include "kvm-agent/boot/disk_private.h"

#define SECTOR          512u
#define END_BYTES       (1 * MIB)
#define PLACES_MAX      64u
#define MENU_MAX        (1 * MIB)
#define ENVIRONMENT_MAX (64 * KIB)
#define VERSION_MAX     128u
#define UUID_TEXT       37u
#define ARGUMENTS       "console=ttyS0"

/* Where a file system may be. */
struct place {
	uint64_t start;
	uint64_t size;
	char uuid[UUID_TEXT]; /* the partition's; "": it has none */
};

struct finding {
	struct disk_look *look;
	unsigned count;
	struct place places[PLACES_MAX];
	const struct place *place;  /* what the I/O manager reads */
	struct journal_map journal; /* of that place: what is newer in it */
	unsigned block_size;        /* of these blocks */
	bool has_journal;           /* there was one */
	bool unreplayed;            /* that can't be read */
	bool as_stored;             /* all journals are left alone */
	uint64_t cached_at;         /* in it */
	size_t cached;
	uint8_t cache[DISK_PIECE_MAX];
	struct err *err;
};

/* The I/O manager has no other way to it. One look at a time. */
static struct finding *current;

/* ---- partitions ---- */

static int copy_part(struct disk_look *look, int memfd, uint64_t offset,
		     uint64_t size)
{
	static uint8_t piece[DISK_PIECE_MAX];

	while (size) {
		size_t n = min_u64(size, sizeof(piece));
		int r = disk_look_read(look, offset, piece, n);

		if (r < 0)
			return r;
		if (pwrite(memfd, piece, n, (off_t)offset) != (ssize_t)n)
			return -EIO;
		offset += n;
		size -= n;
	}
	return 0;
}

static int copy_ends(struct disk_look *look, int memfd)
{
	uint64_t size = look->size_bytes, end = min_u64(size, END_BYTES);
	int r = copy_part(look, memfd, 0, end);

	return r == 0 ? copy_part(look, memfd, size - end, end) : r;
}

static void add_place(struct finding *finding, uint64_t start, uint64_t size,
		      const char *uuid)
{
	struct place *place = &finding->places[finding->count];
	uint64_t end = finding->look->size_bytes;

	if (finding->count == PLACES_MAX || start >= end || !size)
		return;
	place->start = start;
	place->size = min_u64(size, end - start);
	snprintf(place->uuid, sizeof(place->uuid), "%s", uuid ? uuid : "");
	finding->count++;
}

static void add_partitions(struct finding *finding, blkid_partlist list)
{
	int count = blkid_partlist_numof_partitions(list);

	for (int i = 0; i < count; i++) {
		blkid_partition part = blkid_partlist_get_partition(list, i);
		blkid_loff_t start =
			part ? blkid_partition_get_start(part) : -1;
		blkid_loff_t size = part ? blkid_partition_get_size(part) : 0;

		if (start < 0 || size <= 0 || start > INT64_MAX / SECTOR ||
		    size > INT64_MAX / SECTOR)
			continue;
		add_place(finding, (uint64_t)start * SECTOR,
			  (uint64_t)size * SECTOR,
			  blkid_partition_get_uuid(part));
	}
}

static int find_places(struct finding *finding, int memfd)
{
	blkid_probe probe;
	blkid_partlist list;
	int r = copy_ends(finding->look, memfd);

	if (r < 0)
		return err_sys(finding->err, r, "read the disk's ends");
	probe = blkid_new_probe();
	if (!probe || blkid_probe_set_device(probe, memfd, 0, 0) < 0) {
		blkid_free_probe(probe);
		return err_set(finding->err, -EIO,
			       "the disk's partitions can't be looked for");
	}
	blkid_probe_enable_superblocks(probe, 0);
	blkid_probe_enable_partitions(probe, 1);
	list = blkid_probe_get_partitions(probe);
	if (list)
		add_partitions(finding, list);
	blkid_free_probe(probe);
	/* A file system without a table, as images often are. */
	if (!finding->count)
		add_place(finding, 0, finding->look->size_bytes, NULL);
	return 0;
}

/* ---- the I/O manager ---- */

/* Bytes of the place; kept are the last that were read, since libext2fs asks
 * block by block. */
static int read_stored(struct finding *finding, uint64_t offset, uint8_t *to,
		       size_t size)
{
	const struct place *place = finding->place;

	if (offset > place->size || size > place->size - offset)
		return -EIO;
	while (size) {
		uint64_t in = offset - finding->cached_at;
		size_t n;

		if (offset < finding->cached_at || in >= finding->cached) {
			int r;

			n = min_u64(sizeof(finding->cache),
				    place->size - offset);
			finding->cached = 0;
			r = disk_look_read(finding->look, place->start + offset,
					   finding->cache, n);
			if (r < 0)
				return r;
			finding->cached_at = offset;
			finding->cached = n;
			in = 0;
		}
		n = min_u64(size, finding->cached - in);
		memcpy(to, finding->cache + in, n);
		to += n;
		offset += n;
		size -= n;
	}
	return 0;
}

/* As it would be with the journal replayed. */
static int read_place(struct finding *finding, uint64_t offset, uint8_t *to,
		      size_t size)
{
	const unsigned block_size = finding->block_size;
	int r = 0;

	if (!finding->journal.used)
		return read_stored(finding, offset, to, size);
	while (r == 0 && size) {
		uint64_t in = offset % block_size, at = offset;
		size_t n = min_u64(size, block_size - in);
		const struct journal_entry *entry =
			journal_find(&finding->journal, offset / block_size);

		if (entry)
			at = entry->place * block_size + in;
		r = read_stored(finding, at, to, n);
		for (uint64_t i = in; entry && entry->escaped && i < 4; i++) {
			if (i - in < n)
				to[i - in] = (uint8_t)(JOURNAL_MAGIC >>
						       (24 - 8 * i));
		}
		to += n;
		offset += n;
		size -= n;
	}
	return r;
}

static errcode_t manager_read64(io_channel channel, unsigned long long block,
				int count, void *data)
{
	uint64_t size =
		count < 0 ? -(uint64_t)count
			  : (uint64_t)count * (uint64_t)channel->block_size;
	uint64_t offset;

	if (__builtin_mul_overflow(block, (uint64_t)channel->block_size,
				   &offset))
		return EXT2_ET_SHORT_READ;
	return read_place(current, offset, data, size) < 0 ? EXT2_ET_SHORT_READ
							   : 0;
}

static errcode_t manager_read(io_channel channel, unsigned long block,
			      int count, void *data)
{
	return manager_read64(channel, block, count, data);
}

static errcode_t manager_write64(io_channel channel, unsigned long long block,
				 int count, const void *data)
{
	(void)channel;
	(void)block;
	(void)count;
	(void)data;
	return EXT2_ET_RO_FILSYS;
}

static errcode_t manager_write(io_channel channel, unsigned long block,
			       int count, const void *data)
{
	return manager_write64(channel, block, count, data);
}

static errcode_t manager_block_size(io_channel channel, int size)
{
	channel->block_size = size;
	return 0;
}

static errcode_t manager_flush(io_channel channel)
{
	(void)channel;
	return 0;
}

static errcode_t manager_close(io_channel channel)
{
	if (--channel->refcount > 0)
		return 0;
	free(channel->name);
	free(channel);
	return 0;
}

static errcode_t manager_open(const char *name, int flags, io_channel *out);

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "disk of a guest",
	.open = manager_open,
	.close = manager_close,
	.set_blksize = manager_block_size,
	.read_blk = manager_read,
	.write_blk = manager_write,
	.flush = manager_flush,
	.read_blk64 = manager_read64,
	.write_blk64 = manager_write64,
};

static errcode_t manager_open(const char *name, int flags, io_channel *out)
{
	io_channel channel = calloc(1, sizeof(*channel));

	(void)flags;
	if (!channel)
		return EXT2_ET_NO_MEMORY;
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->manager = &manager;
	channel->name = strdup(name);
	channel->block_size = 1024;
	channel->refcount = 1;
	*out = channel;
	return 0;
}

/* ---- files ---- */

/* The file of the journal, while nothing of it counts yet. */
struct journal_file {
	struct journal_source source;
	struct finding *finding;
	ext2_filsys fs;
	ext2_ino_t number;
	struct ext2_inode inode;
};

static bool journal_place(struct journal_source *source, uint64_t block,
			  uint64_t *out)
{
	struct journal_file *file =
		container_of(source, struct journal_file, source);
	blk64_t found = 0;

	if (ext2fs_bmap2(file->fs, file->number, &file->inode, NULL, 0, block,
			 NULL, &found) ||
	    !found || found >= source->system_blocks)
		return false;
	*out = found;
	return true;
}

static int journal_block(struct journal_source *source, uint64_t block,
			 void *buffer)
{
	struct journal_file *file =
		container_of(source, struct journal_file, source);
	uint64_t at;

	if (!journal_place(source, block, &at))
		return -EBADMSG;
	return read_stored(file->finding, at * source->block_size, buffer,
			   source->block_size);
}

/* One that can't be read leaves the file system as it stands. */
static void read_journal(struct finding *finding, ext2_filsys fs)
{
	struct journal_file file = {
		.source = { .block_size = fs->blocksize,
			    .system_blocks = ext2fs_blocks_count(fs->super),
			    .read = journal_block,
			    .place = journal_place },
		.finding = finding,
		.fs = fs,
		.number = fs->super->s_journal_inum,
	};

	if (fs->super->s_journal_dev ||
	    ext2fs_read_inode(fs, file.number, &file.inode) ||
	    !LINUX_S_ISREG(file.inode.i_mode)) {
		finding->unreplayed = true;
		return;
	}
	file.source.blocks = EXT2_I_SIZE(&file.inode) / fs->blocksize;
	finding->block_size = fs->blocksize;
	if (journal_read(&finding->journal, &file.source) < 0)
		finding->unreplayed = true;
}

static ext2_filsys open_stored(void)
{
	ext2_filsys fs = NULL;

	return ext2fs_open2("disk", NULL, EXT2_FLAG_64BITS, 0, 0, &manager, &fs)
		       ? NULL
		       : fs;
}

static ext2_filsys open_place(struct finding *finding,
			      const struct place *place)
{
	ext2_filsys fs;

	journal_map_release(&finding->journal);
	finding->place = place;
	finding->cached = 0;
	fs = open_stored();
	if (!fs || finding->as_stored ||
	    !ext2fs_has_feature_journal_needs_recovery(fs->super))
		return fs;
	finding->has_journal = true;
	read_journal(finding, fs);
	if (!finding->journal.used)
		return fs;
	/* Its first block may be a newer one, too. */
	ext2fs_free(fs);
	return open_stored();
}

/* By its path, through symbolic links; false: there is no such thing. */
static bool find_file(ext2_filsys fs, const char *path, ext2_ino_t *out)
{
	return ext2fs_namei_follow(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path,
				   out) == 0;
}

static ext2_file_t open_regular(ext2_filsys fs, const char *path, uint64_t max,
				uint64_t *size)
{
	struct ext2_inode inode;
	ext2_file_t file;
	ext2_ino_t number;

	if (!find_file(fs, path, &number) ||
	    ext2fs_read_inode(fs, number, &inode) ||
	    !LINUX_S_ISREG(inode.i_mode) ||
	    ext2fs_file_open(fs, number, 0, &file))
		return NULL;
	*size = EXT2_I_SIZE(&inode);
	if (*size && *size <= max)
		return file;
	ext2fs_file_close(file);
	return NULL;
}

/* 1: given. 0: there is no such file. */
static int give_file(struct finding *finding, ext2_filsys fs, const char *path,
		     enum disk_note_kind kind, uint64_t max)
{
	static uint8_t piece[DISK_PIECE_MAX];
	uint64_t size = 0, given = 0;
	ext2_file_t file = open_regular(fs, path, max, &size);
	char quoted[GRUB_PATH_MAX * 4 + 1];
	int r = 1;

	if (!file)
		return 0;
	while (r == 1 && given < size) {
		unsigned got = 0;

		if (ext2fs_file_read(
			    file, piece,
			    (unsigned)min_u64(sizeof(piece), size - given),
			    &got) ||
		    !got)
			r = err_set(finding->err, -EIO,
				    "'%s' on the disk can't be read: its file "
				    "system is damaged",
				    escape_name(quoted, sizeof(quoted), path));
		else if (disk_look_give(finding->look, kind, piece, got) < 0)
			r = -EPIPE;
		given += got;
	}
	ext2fs_file_close(file);
	return r;
}

static int give_cmdline(struct finding *finding, const char *text)
{
	int r = disk_look_give(finding->look, DISK_NOTE_CMDLINE, text,
			       strlen(text));

	return r < 0 ? r : 1;
}

/* ---- as GRUB would ---- */

/* A file of at most `max` bytes, to free(). */
static char *read_text(ext2_filsys fs, const char *path, uint64_t max,
		       size_t *size)
{
	uint64_t length = 0;
	ext2_file_t file = open_regular(fs, path, max, &length);
	unsigned got = 0;
	char *text;

	if (!file)
		return NULL;
	text = malloc(length);
	if (text && ext2fs_file_read(file, text, (unsigned)length, &got)) {
		free(text);
		text = NULL;
	}
	ext2fs_file_close(file);
	*size = text ? got : 0;
	return text;
}

/* What grub-mkconfig has written, and the variables that GRUB keeps beside it. */
struct menu {
	char *text, *environment;
	size_t size, environment_size;
};

static void read_menu(ext2_filsys fs, struct menu *menu)
{
	static const char *const folders[] = {
		"/boot/grub",
		"/grub",
		"/boot/grub2",
		"/grub2",
	};
	char path[32];

	*menu = (struct menu){ 0 };
	for (unsigned i = 0; !menu->text && i < ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof(path), "%s/grub.cfg", folders[i]);
		menu->text = read_text(fs, path, MENU_MAX, &menu->size);
		if (!menu->text)
			continue;
		snprintf(path, sizeof(path), "%s/grubenv", folders[i]);
		menu->environment = read_text(fs, path, ENVIRONMENT_MAX,
					      &menu->environment_size);
	}
}

static int give_entry(struct finding *finding, ext2_filsys fs,
		      const struct grub_entry *entry)
{
	char line[DISK_CMDLINE_MAX + 1];
	int r;

	r = give_file(finding, fs, entry->kernel, DISK_NOTE_KERNEL,
		      DISK_KERNEL_MAX);
	if (r <= 0)
		return r;
	if (entry->initrd[0])
		r = give_file(finding, fs, entry->initrd, DISK_NOTE_INITRD,
			      DISK_INITRD_MAX);
	if (r == 0)
		return err_set(finding->err, -ENOENT,
			       "GRUB's default entry names an initrd that is "
			       "not there");
	if (r < 0)
		return r;
	/* There is no screen. */
	if (strstr(entry->arguments, "console=") ||
	    snprintf(line, sizeof(line), "%s " ARGUMENTS, entry->arguments) >=
		    (int)sizeof(line))
		return give_cmdline(finding, entry->arguments);
	return give_cmdline(finding, line);
}

static int try_grub(struct finding *finding, ext2_filsys fs)
{
	struct grub_entry entry;
	struct menu menu;
	bool found;

	read_menu(fs, &menu);
	found = menu.text &&
		grub_default(menu.text, menu.size, menu.environment,
			     menu.environment_size, &entry);
	free(menu.text);
	free(menu.environment);
	return found ? give_entry(finding, fs, &entry) : 0;
}

/* ---- the newest kernel ---- */

static int note_kernel(struct ext2_dir_entry *entry, int offset, int block_size,
		       char *block, void *newest)
{
	static const char prefix[] = "vmlinuz-";
	unsigned length = (unsigned)ext2fs_dirent_name_len(entry);
	int type = ext2fs_dirent_file_type(entry);
	char version[VERSION_MAX];

	(void)offset;
	(void)block_size;
	(void)block;
	if ((type != EXT2_FT_UNKNOWN && type != EXT2_FT_REG_FILE) ||
	    length <= strlen(prefix) ||
	    memcmp(entry->name, prefix, strlen(prefix)) != 0)
		return 0;
	length -= (unsigned)strlen(prefix);
	if (length >= sizeof(version))
		return 0;
	memcpy(version, entry->name + strlen(prefix), length);
	version[length] = 0;
	if (strlen(version) == length && !strchr(version, '/') &&
	    !strstr(version, "rescue") && strverscmp(version, newest) > 0)
		memcpy(newest, version, length + 1);
	return 0;
}

/* The file system that holds a root, and how a kernel is told which. */
static bool find_root(struct finding *finding, bool has_initrd, char out[128])
{
	for (unsigned i = 0; i < finding->count; i++) {
		const struct place *place = &finding->places[i];
		ext2_filsys fs = open_place(finding, place);
		char hex[33];
		ext2_ino_t number;
		bool found;

		if (!fs)
			continue;
		found = find_file(fs, "/etc", &number) &&
			find_file(fs, "/sbin", &number);
		hex_encode(hex, fs->super->s_uuid, 16);
		ext2fs_free(fs);
		if (!found)
			continue;
		/* Without an initrd only the kernel itself looks. */
		if (has_initrd)
			snprintf(out, 128, "UUID=%.8s-%.4s-%.4s-%.4s-%.12s",
				 hex, hex + 8, hex + 12, hex + 16, hex + 20);
		else if (place->uuid[0])
			snprintf(out, 128, "PARTUUID=%s", place->uuid);
		else
			snprintf(out, 128, "/dev/vda");
		return true;
	}
	return false;
}

static int give_initrd(struct finding *finding, ext2_filsys fs,
		       const char *folder, const char *version)
{
	static const char *const forms[] = {
		"%s/initrd.img-%s",
		"%s/initramfs-%s.img",
		"%s/initrd-%s",
	};
	char path[GRUB_PATH_MAX + 1];
	int r = 0;

	for (unsigned i = 0; r == 0 && i < ARRAY_SIZE(forms); i++) {
		snprintf(path, sizeof(path), forms[i], folder, version);
		r = give_file(finding, fs, path, DISK_NOTE_INITRD,
			      DISK_INITRD_MAX);
	}
	return r;
}

/* 1: given, but for the command line. */
static int try_folder(struct finding *finding, ext2_filsys fs,
		      const char *folder, bool *has_initrd)
{
	char version[VERSION_MAX] = "", path[GRUB_PATH_MAX + 1];
	ext2_ino_t number;
	int r;

	if (!find_file(fs, *folder ? folder : "/", &number))
		return 0;
	(void)ext2fs_dir_iterate(fs, number, 0, NULL, note_kernel, version);
	if (!version[0])
		return 0;
	snprintf(path, sizeof(path), "%s/vmlinuz-%s", folder, version);
	r = give_file(finding, fs, path, DISK_NOTE_KERNEL, DISK_KERNEL_MAX);
	if (r <= 0)
		return r;
	r = give_initrd(finding, fs, folder, version);
	*has_initrd = r > 0;
	return r < 0 ? r : 1;
}

static int give_root(struct finding *finding, bool has_initrd)
{
	char root[128], line[256];

	if (!find_root(finding, has_initrd, root))
		return err_set(finding->err, -ENOENT,
			       "the disk has a kernel, but no ext4 file system "
			       "with a root: name kernel and root with "
			       "--kernel and --append");
	snprintf(line, sizeof(line), "root=%s ro " ARGUMENTS, root);
	return give_cmdline(finding, line);
}

static int try_newest(struct finding *finding, ext2_filsys fs, bool *has_initrd)
{
	int r = try_folder(finding, fs, "/boot", has_initrd);

	return r ? r : try_folder(finding, fs, "", has_initrd);
}

/* ---- all of it ---- */

/* 1: found. 0: there is none. */
static int look_everywhere(struct finding *finding)
{
	bool has_initrd = false;
	int r = 0;

	for (unsigned pass = 0; r == 0 && pass < 2; pass++) {
		for (unsigned i = 0; r == 0 && i < finding->count; i++) {
			ext2_filsys fs =
				open_place(finding, &finding->places[i]);

			if (!fs)
				continue;
			r = pass ? try_newest(finding, fs, &has_initrd)
				 : try_grub(finding, fs);
			ext2fs_free(fs);
			if (pass && r > 0)
				r = give_root(finding, has_initrd);
		}
	}
	return r;
}

static int found_nothing(const struct finding *finding)
{
	return err_set(finding->err, -ENOENT,
		       "the disk has no kernel that can be found: no ext4 file "
		       "system with one in /boot%s: name one with --kernel",
		       finding->has_journal
			       ? ", and one that was not unmounted has a "
				 "journal that can't be read (mount it once, "
				 "or run e2fsck)"
			       : "");
}

int disk_look_run(struct disk_look *look, int memfd, struct err *err)
{
	static struct finding finding;
	int r;

	finding = (struct finding){ .look = look, .err = err };
	current = &finding;
	r = find_places(&finding, memfd);
	if (r == 0)
		r = look_everywhere(&finding);
	/* Its journal was damaged: what was before it may do. */
	if (r == 0 && finding.has_journal) {
		finding.as_stored = true;
		r = look_everywhere(&finding);
	}
	journal_map_release(&finding.journal);
	if (r == 0)
		return found_nothing(&finding);
	return r < 0 ? r : 0;
}
