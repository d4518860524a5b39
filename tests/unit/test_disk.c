/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel that a disk would boot: real file systems and partition tables,
 * good ones and damaged ones, and a child that may do nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "format/base/socket.h"
#include "kvm-agent/boot/disk_journal.h"
#include "kvm-agent/boot/disk_private.h"

#define UUID "01234567-89ab-cdef-0123-456789abcdef"

struct disk {
	struct disk_reader reader;
	int fd;
	struct journal_source journal;
	uint64_t fail_from;      /* what lies from here on is not readable */
	struct disk_finder *cut; /* after so many reads; or NULL */
	unsigned until_cut;
};

static char folder[] = "/tmp/test_disk.XXXXXX";

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A shell's command in the folder. */
static void run(const char *format, ...)
{
	char command[2048], line[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	snprintf(line, sizeof(line),
		 "cd %s && { %s; } >log 2>&1 || { cat log; false; }", folder,
		 command);
	/* Ours, with nothing from outside in it. NOLINTNEXTLINE */
	if (system(line) != 0)
		fail_msg("%s", command);
}

static int read_disk(struct disk_reader *reader, uint64_t offset, void *buffer,
		     size_t size, struct err *err)
{
	struct disk *disk = container_of(reader, struct disk, reader);

	assert_true(size && size <= reader->size_bytes &&
		    offset <= reader->size_bytes - size);
	if (disk->cut && --disk->until_cut == 0)
		disk_finder_cut(disk->cut);
	if (offset + size > disk->fail_from)
		return err_set(err, -EIO, "the disk can't be read");
	assert_int_equal(pread(disk->fd, buffer, size, (off_t)offset), size);
	return 0;
}

static void open_disk(struct disk *disk, const char *name)
{
	char path[256];
	struct stat stat;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	disk->fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(disk->fd >= 0);
	assert_int_equal(fstat(disk->fd, &stat), 0);
	disk->reader =
		(struct disk_reader){ (uint64_t)stat.st_size, read_disk };
	disk->fail_from = UINT64_MAX;
	disk->cut = NULL;
}

static int look(const char *name, struct disk_boot *boot, struct err *err)
{
	struct disk_finder finder = { 0 };
	struct disk disk;
	int r;

	assert_int_equal(disk_finder_start(&finder, err), 0);
	open_disk(&disk, name);
	r = disk_finder_look(&finder, &disk.reader, boot, err);
	close(disk.fd);
	disk_finder_stop(&finder);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	return r;
}

static void expect(const char *name, const char *kernel, const char *initrd,
		   const char *cmdline)
{
	struct disk_boot boot;
	struct err err = { 0 };

	if (look(name, &boot, &err) < 0)
		fail_msg("%s: %s", name, err.text);
	assert_int_equal(boot.kernel.size, strlen(kernel));
	assert_memory_equal(boot.kernel.data, kernel, strlen(kernel));
	assert_int_equal(boot.initrd.size, strlen(initrd));
	if (boot.initrd.size)
		assert_memory_equal(boot.initrd.data, initrd, strlen(initrd));
	assert_string_equal(boot.cmdline, cmdline);
	disk_boot_release(&boot);
}

static void expect_error(const char *name, int code, const char *words)
{
	struct disk_boot boot;
	struct err err = { 0 };

	assert_int_equal(look(name, &boot, &err), code);
	if (!strstr(err.text, words))
		fail_msg("'%s' instead of '%s'", err.text, words);
}

/* A root with two kernels, as Debian has it. */
static int make_folder(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	run("mkdir -p root/boot root/etc root/sbin; cd root/boot;"
	    "printf old >vmlinuz-6.1.0-9-amd64;"
	    "printf new >vmlinuz-6.1.0-10-amd64;"
	    "printf initrd9 >initrd.img-6.1.0-9-amd64;"
	    "printf initrd10 >initrd.img-6.1.0-10-amd64;"
	    "printf rescue >vmlinuz-7-rescue; ln -s nowhere vmlinuz-8");
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	run("rm -rf %s", folder);
	return 0;
}

static void make_ext4(const char *disk, const char *root, const char *more)
{
	run("mkfs.ext4 -q -F -U " UUID " -d %s %s %s 32M", root, more, disk);
}

static void test_newest(void **state)
{
	(void)state;
	/* 8 is a link to nowhere. */
	make_ext4("newest", "root", "");
	expect("newest", "new", "initrd10",
	       "root=UUID=" UUID " ro console=ttyS0");
}

static void test_without_initrd(void **state)
{
	(void)state;
	run("cp -r root bare; rm bare/boot/initrd*");
	make_ext4("bare.ext4", "bare", "-b 1024");
	expect("bare.ext4", "new", "", "root=/dev/vda ro console=ttyS0");
}

static const char menu[] =
	"if [ \\\"\\${next_entry}\\\" ] ; then\\n"
	"   set default=\\\"\\${next_entry}\\\"\\n"
	"else\\n   set default=\\\"%s\\\"\\nfi\\n"
	"menuentry 'Debian' --class debian \\$menuentry_id_option 'simple' {\\n"
	"\\tload_video\\n"
	"\\tlinux\\t/boot/vmlinuz-6.1.0-9-amd64 root=UUID=x ro  quiet\\n"
	"\\tinitrd\\t/boot/initrd.img-6.1.0-9-amd64\\n}\\n"
	"submenu 'More' {\\n menuentry 'A' {\\n linux /boot/none a\\n }\\n"
	" menuentry 'B' --id b {\\n linux (hd0)/boot/vmlinuz-6.1.0-10-amd64 "
	"console=tty0 \\$x\\n }\\n}\\n";

static void make_menu(const char *chosen)
{
	char text[2048];

	snprintf(text, sizeof(text), menu, chosen);
	run("rm -rf grub; cp -r root grub; mkdir grub/boot/grub; "
	    "printf \"%s\" >grub/boot/grub/grub.cfg",
	    text);
	make_ext4("grub.ext4", "grub", "");
}

static void test_grub(void **state)
{
	static const char *const second[] = { "1>1", "More>b", "1>B" };
	static const char *const first[] = { "0", "simple", "Debian", "7" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(first); i++) {
		make_menu(first[i]);
		expect("grub.ext4", "old", "initrd9",
		       "root=UUID=x ro quiet console=ttyS0");
	}
	for (unsigned i = 0; i < ARRAY_SIZE(second); i++) {
		make_menu(second[i]);
		expect("grub.ext4", "new", "", "console=tty0");
	}
	/* An entry whose kernel is gone: the newest one. */
	make_menu("1");
	expect("grub.ext4", "new", "initrd10",
	       "root=UUID=" UUID " ro console=ttyS0");
}

/* GRUB_DEFAULT=saved: the entry's name is in the environment block. */
static void test_grub_saved(void **state)
{
	(void)state;
	make_menu("\\${saved_entry}");
	run("printf '# GRUB Environment Block\nnext_entry=1>0\n"
	    "saved_entry=More>b\n#####' >grub/boot/grub/grubenv");
	make_ext4("grub.ext4", "grub", "");
	expect("grub.ext4", "new", "", "console=tty0");
	/* One that isn't there, one without a value, none, another file. */
	run("sed -i 's/More>b/gone/' grub/boot/grub/grubenv");
	make_ext4("grub.ext4", "grub", "");
	expect("grub.ext4", "old", "initrd9",
	       "root=UUID=x ro quiet console=ttyS0");
	run("sed -i 's/=gone/=/' grub/boot/grub/grubenv");
	make_ext4("grub.ext4", "grub", "");
	expect("grub.ext4", "old", "initrd9",
	       "root=UUID=x ro quiet console=ttyS0");
	run("echo 'saved_entry=More>b' >grub/boot/grub/grubenv");
	make_ext4("grub.ext4", "grub", "");
	expect("grub.ext4", "old", "initrd9",
	       "root=UUID=x ro quiet console=ttyS0");
}

/* /boot apart, behind the root, in a GPT; the root's id is what counts. */
static void test_partitions(void **state)
{
	(void)state;
	run("rm -rf top boot; cp -r root top; rm -r top/boot; "
	    "cp -r root/boot boot; rm -f disk; truncate -s 80M disk; "
	    "printf 'label: gpt\\n1M,16M\\n20M,32M\\n56M,20M\\n' | sfdisk disk");
	run("mkfs.ext4 -q -F -U " UUID " -d top -E offset=20971520 disk 32M; "
	    "mkfs.ext4 -q -F -d boot -E offset=58720256 disk 20M");
	expect("disk", "new", "initrd10",
	       "root=UUID=" UUID " ro console=ttyS0");
	/* No initrd: the kernel itself has to find its root. */
	run("rm boot/initrd*; mkfs.ext4 -q -F -d boot -E offset=58720256 disk "
	    "20M; printf 'label: dos\\nlabel-id: 0x12345678\\n1M,16M\\n20M,32M"
	    "\\n56M,20M\\n' | sfdisk --force --wipe never disk");
	expect("disk", "new", "", "root=PARTUUID=12345678-02 ro console=ttyS0");
}

static void test_nothing(void **state)
{
	(void)state;
	run("truncate -s 0 empty; truncate -s 512 sector; truncate -s 3M holes;"
	    "mkdir -p none; truncate -s 8T large");
	expect_error("empty", -ENOENT, "no kernel that can be found");
	expect_error("sector", -ENOENT, "no kernel that can be found");
	expect_error("holes", -ENOENT, "no kernel that can be found");
	expect_error("large", -ENOENT, "no kernel that can be found");
	make_ext4("none.ext4", "none", "");
	expect_error("none.ext4", -ENOENT, "no kernel that can be found");
	run("rm -rf apart; cp -r root apart; rm -r apart/etc");
	make_ext4("apart.ext4", "apart", "");
	expect_error("apart.ext4", -ENOENT, "no ext4 file system with a root");
}

/*
 * A disk that was not unmounted: what makes one file system of another is put
 * into the journal alone, block by block, as the kernel would.
 */
static void make_journal(const char *root, const char *options)
{
	make_ext4("stored", root, options);
	run("cp stored newer; printf newest >kernel; printf newestrd >rd;"
	    "printf 'cd boot\nwrite kernel vmlinuz-6.1.0-11-amd64\n"
	    "write rd initrd.img-6.1.0-11-amd64\n' | debugfs -w newer 2>&1");
	run("b=$(dumpe2fs -h stored 2>&1 | sed -n 's/^Block size: *//p');"
	    "changed=$(cmp -l stored newer | awk -v b=$b "
	    "'{ n = int(($1 - 1) / b); if (n != last) print n; last = n }' |"
	    " uniq | tr '\n' ' ');"
	    "rm -f blocks; for n in $changed; do "
	    "dd if=newer bs=$b skip=$n count=1 status=none >>blocks; done;"
	    "list=$(echo $changed | tr ' ' ',');"
	    "printf \"jo -c\njw -b $list blocks\njc\n\" |"
	    " debugfs -w stored 2>&1");
}

static void test_journal(void **state)
{
	static const char *const options[] = { "", "-b 1024",
					       "-O ^metadata_csum",
					       "-O ^64bit,^metadata_csum" };
	static const char first[] = "root=UUID=" UUID " ro console=ttyS0";

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
		make_journal("root", options[i]);
		/* There and nowhere else. */
		run("! debugfs -R 'stat boot/vmlinuz-6.1.0-11-amd64' stored "
		    "2>&1 | grep -q Size");
		expect("stored", "newest", "newestrd", first);
		/* e2fsck comes to the same. */
		run("e2fsck -fy stored; [ $? -le 1 ]");
		expect("stored", "newest", "newestrd", first);
	}
}

static int read_log(struct journal_source *source, uint64_t block, void *buffer)
{
	struct disk *disk = container_of(source, struct disk, journal);
	ssize_t n = pread(disk->fd, buffer, source->block_size,
			  (off_t)(block * source->block_size));

	memset((uint8_t *)buffer + n, 0, source->block_size - (size_t)n);
	return n < 0 ? -EIO : 0;
}

static bool place_log(struct journal_source *source, uint64_t block,
		      uint64_t *out)
{
	(void)source;
	*out = 5000 + block;
	return true;
}

/* Written by debugfs: 300 begins with the magic, 301 is revoked later. */
static void test_journal_map(void **state)
{
	static const char *const names[] = { "v3", "64bit", "32bit" };
	const char *top = getenv("TOP");
	struct journal_map map = { 0 };
	char path[4096];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct disk disk = { .journal = { 1024, 1024, 8192, read_log,
						  place_log } };

		snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/journal/%s",
			 top ? top : ".", names[i]);
		disk.fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(disk.fd >= 0);
		assert_int_equal(journal_read(&map, &disk.journal), 0);
		assert_int_equal(journal_find(&map, 300)->place, 5002);
		assert_true(journal_find(&map, 300)->escaped);
		assert_null(journal_find(&map, 301));
		assert_int_equal(journal_find(&map, 302)->place, 5004);
		assert_false(journal_find(&map, 302)->escaped);
		assert_null(journal_find(&map, 303));
		journal_map_release(&map);
		/* A file system that has no such block. */
		disk.journal.system_blocks = 302;
		assert_int_equal(journal_read(&map, &disk.journal), -EBADMSG);
		close(disk.fd);
	}
}

/* A log that breaks off, or whose commit is not right: what was before. */
static void test_journal_damaged(void **state)
{
	struct disk_finder finder = { 0 };
	struct err err = { 0 };
	uint32_t seed = 99;

	(void)state;
	assert_int_equal(disk_finder_start(&finder, &err), 0);
	make_journal("root", "-b 1024");
	run("cp stored good; debugfs -R 'bmap <8> 0' good >at 2>/dev/null");
	for (unsigned round = 0; round < 40; round++) {
		struct disk_boot boot;
		struct disk disk;
		char text[32] = "";
		int fd, r;

		run("cp good stored");
		open_disk(&disk, "at");
		assert_true(read(disk.fd, text, sizeof(text) - 1) > 0);
		close(disk.fd);
		open_disk(&disk, "stored");
		fd = disk.fd;
		for (unsigned i = 0; i <= round % 8; i++) {
			uint8_t byte;
			uint64_t at;

			seed = seed * 1664525 + 1013904223;
			at = strtoull(text, NULL, 10) * 1024 +
			     (seed >> 8) % (round & 1 ? 3 * KIB : 64 * KIB);
			seed = seed * 1664525 + 1013904223;
			byte = (uint8_t)(seed >> 24);
			assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		}
		r = disk_finder_look(&finder, &disk.reader, &boot, &err);
		if (r < 0)
			fail_msg("round %u: %s", round, err.text);
		disk_boot_release(&boot);
		close(disk.fd);
	}
	disk_finder_stop(&finder);
}

/* What is in a journal alone, and that can't be read. */
static void test_journal_unreadable(void **state)
{
	(void)state;
	run("rm -rf empty_root; mkdir -p empty_root/boot empty_root/etc "
	    "empty_root/sbin");
	make_journal("empty_root", "-b 1024");
	expect("stored", "newest", "newestrd",
	       "root=UUID=" UUID " ro console=ttyS0");
	run("printf x | dd of=stored bs=1 conv=notrunc status=none "
	    "seek=$(($(debugfs -R 'bmap <8> 0' stored 2>&1 | tail -1) * 1024))");
	expect_error("stored", -ENOENT, "journal that can't be read");
}

/* Random bytes over the metadata: an error or a kernel, and nothing else. */
static void test_damaged(void **state)
{
	struct disk_finder finder = { 0 };
	struct err err = { 0 };
	uint32_t seed = 12345;
	struct disk disk;

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		struct disk_boot boot;
		int r;

		if (round % 10 == 0)
			make_ext4("damaged", "root", "");
		open_disk(&disk, "damaged");
		for (unsigned i = 0; i < 1u << round % 10; i++) {
			uint64_t at;
			uint8_t byte;

			seed = seed * 1664525 + 1013904223;
			at = (seed >> 8) % (400 * KIB);
			seed = seed * 1664525 + 1013904223;
			byte = (uint8_t)(seed >> 24);
			assert_int_equal(pwrite(disk.fd, &byte, 1, (off_t)at),
					 1);
		}
		if (!finder.pid)
			assert_int_equal(disk_finder_start(&finder, &err), 0);
		r = disk_finder_look(&finder, &disk.reader, &boot, &err);
		if (r == 0)
			disk_boot_release(&boot);
		else if (r != -ENOENT && r != -EIO && r != -EPROTO)
			fail_msg("round %u: %d, %s", round, r, err.text);
		close(disk.fd);
	}
	disk_finder_stop(&finder);
}

/* One child, several looks; what the host can't read is told as that. */
static void test_again(void **state)
{
	struct disk_finder finder = { 0 };
	struct disk_boot boot;
	struct disk disk;
	struct err err;

	(void)state;
	make_ext4("again", "root", "");
	open_disk(&disk, "again");
	assert_int_equal(disk_finder_start(&finder, &err), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(
			disk_finder_look(&finder, &disk.reader, &boot, &err),
			0);
		disk_boot_release(&boot);
	}
	disk.fail_from = 1;
	assert_int_equal(disk_finder_look(&finder, &disk.reader, &boot, &err),
			 -EIO);
	assert_string_equal(err.text, "the disk can't be read");
	assert_int_equal(disk_finder_look(&finder, &disk.reader, &boot, &err),
			 -EPROTO);
	/* One that was killed. */
	disk.fail_from = UINT64_MAX;
	assert_int_equal(disk_finder_start(&finder, &err), 0);
	kill(finder.pid, SIGKILL);
	assert_int_equal(disk_finder_look(&finder, &disk.reader, &boot, &err),
			 -EPROTO);
	disk_finder_stop(&finder);
	close(disk.fd);
}

/* One that is cut off ends at the next step, and those that follow at once. */
static void test_cut_off(void **state)
{
	struct disk_finder finder = { 0 };
	struct disk_boot boot;
	struct disk disk;
	struct err err;

	(void)state;
	make_ext4("cut", "root", "");
	open_disk(&disk, "cut");
	disk.cut = &finder;
	for (unsigned at = 1; at < 6; at++) {
		finder.cut = false;
		disk.until_cut = at;
		assert_int_equal(disk_finder_start(&finder, &err), 0);
		assert_int_equal(
			disk_finder_look(&finder, &disk.reader, &boot, &err),
			-ECANCELED);
		assert_int_equal(disk.until_cut, 0);
		assert_int_equal(finder.pid, 0);
		assert_int_equal(disk_finder_start(&finder, &err), 0);
		assert_int_equal(
			disk_finder_look(&finder, &disk.reader, &boot, &err),
			-ECANCELED);
		assert_int_equal(disk.until_cut, 0);
	}
	disk_finder_stop(&finder);
	close(disk.fd);
}

/* Of the child's line in /proc, the number behind `name`. */
static long status_of(int pid, const char *name)
{
	char path[64], line[256];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, strlen(name)))
			value = strtol(line + strlen(name), NULL, 10);
	}
	fclose(file);
	return value;
}

static void test_walls(void **state)
{
	struct disk_finder finder = { 0 };
	struct disk_boot boot;
	struct disk disk;
	struct err err;

	(void)state;
	make_ext4("walls", "root", "");
	open_disk(&disk, "walls");
	assert_int_equal(disk_finder_start(&finder, &err), 0);
	assert_int_equal(disk_finder_look(&finder, &disk.reader, &boot, &err),
			 0);
	assert_int_equal(status_of(finder.pid, "Seccomp:"), 2);
	assert_int_equal(status_of(finder.pid, "NoNewPrivs:"), 1);
	/* Its socket and its outline of the disk; only root may look. */
	if (geteuid() == 0)
		run("[ \"$(ls /proc/%d/fd | xargs)\" = '3 4' ]", finder.pid);
	run("grep -q 'Max open files  *5 ' /proc/%d/limits", finder.pid);
	disk_boot_release(&boot);
	disk_finder_stop(&finder);
	close(disk.fd);
}

/* A child that says this, and a lot of nothing behind it. */
static void start_liar(struct disk_finder *finder, const struct disk_note *note,
		       const char *bytes)
{
	static const char nothing[100000];
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	finder->pid = fork();
	assert_true(finder->pid >= 0);
	if (finder->pid == 0) {
		char heard[64];

		close(fds[0]);
		(void)socket_send_all(fds[1], note, sizeof(*note));
		(void)socket_send_all(fds[1], bytes, strlen(bytes));
		(void)socket_send_all(fds[1], nothing, sizeof(nothing));
		/* One that ends with something unread takes its own words
		 * back: it stays until it is ended. */
		while (read(fds[1], heard, sizeof(heard)) > 0)
			;
		_exit(0);
	}
	close(fds[1]);
	finder->fd = fds[0];
}

static void test_liars(void **state)
{
	static const char past[] = "reads past", much[] = "gives too much";
	static const char odd[] = "an odd way", what[] = "can't be understood";
	const struct {
		struct disk_note note;
		const char *words;
	} lies[] = {
		{ { DISK_NOTE_READ, 0, 0 }, past },
		{ { DISK_NOTE_READ, 1, 32 * MIB }, past },
		{ { DISK_NOTE_READ, 2, 32 * MIB - 1 }, past },
		{ { DISK_NOTE_READ, 1, UINT64_MAX }, past },
		{ { DISK_NOTE_READ, DISK_PIECE_MAX + 1, 0 }, past },
		{ { DISK_NOTE_READ, UINT32_MAX, 0 }, past },
		{ { DISK_NOTE_KERNEL, DISK_PIECE_MAX + 1, 0 }, much },
		{ { DISK_NOTE_INITRD, UINT32_MAX, 0 }, much },
		{ { DISK_NOTE_CMDLINE, DISK_CMDLINE_MAX + 1, 0 }, much },
		{ { DISK_NOTE_CMDLINE, 4, 0 }, "no text" },
		{ { DISK_NOTE_DONE, 0, 0 }, "no kernel" },
		{ { DISK_NOTE_FAILED, 4, 0 }, odd },
		{ { DISK_NOTE_FAILED, 4, 4096 }, odd },
		{ { DISK_NOTE_FAILED, ERR_TEXT_MAX, 5 }, odd },
		{ { 0, 0, 0 }, what },
		{ { DISK_NOTE_FAILED + 1, 0, 0 }, what },
	};
	struct disk disk;

	(void)state;
	make_ext4("lies", "root", "");
	open_disk(&disk, "lies");
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct disk_finder finder = { 0 };
		struct disk_boot boot;
		struct err err;

		start_liar(&finder, &lies[i].note, "a\nb ");
		assert_int_equal(
			disk_finder_look(&finder, &disk.reader, &boot, &err),
			-EPROTO);
		assert_int_equal(finder.pid, 0);
		if (!strstr(err.text, lies[i].words))
			fail_msg("lie %u: '%s'", i, err.text);
	}
	close(disk.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_newest),
		cmocka_unit_test(test_without_initrd),
		cmocka_unit_test(test_grub),
		cmocka_unit_test(test_grub_saved),
		cmocka_unit_test(test_partitions),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_journal_map),
		cmocka_unit_test(test_journal_damaged),
		cmocka_unit_test(test_journal_unreadable),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_walls),
		cmocka_unit_test(test_liars),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
