/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of file a disk is in: by its first bytes, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "vmsnap/disk_format.h"

static uint8_t data[DISK_FORMAT_BYTES];

static void put(size_t at, const void *bytes, size_t size)
{
	memcpy(data + at, bytes, size);
}

static void expect(enum vms_disk_format format)
{
	enum vms_disk_format found = VMS_DISK_FORMAT_COUNT;

	assert_int_equal(disk_format_probe(data, sizeof(data), &found, NULL),
			 0);
	assert_int_equal(found, format);
}

static void refuse(const char *words)
{
	enum vms_disk_format found;
	struct err err;

	assert_int_equal(disk_format_probe(data, sizeof(data), &found, &err),
			 -EOPNOTSUPP);
	assert_non_null(strstr(err.text, words));
}

static int blank(void **state)
{
	(void)state;
	memset(data, 0, sizeof(data));
	return 0;
}

static void test_raw(void **state)
{
	enum vms_disk_format found;

	(void)state;
	expect(VMS_DISK_RAW);
	/* A boot sector with a partition table. */
	put(510, "\x55\xaa", 2);
	expect(VMS_DISK_RAW);
	put(1, "QFI\xfb", 4);
	expect(VMS_DISK_RAW);
	assert_int_equal(disk_format_probe(data, 0, &found, NULL), 0);
	assert_int_equal(found, VMS_DISK_RAW);
	/* Magics that are cut off. */
	put(0, "QFI\xfb", 4);
	assert_int_equal(disk_format_probe(data, 3, &found, NULL), 0);
	assert_int_equal(found, VMS_DISK_RAW);
}

static void test_qcow2(void **state)
{
	(void)state;
	put(0, "QFI\xfb\0\0\0\3", 8);
	expect(VMS_DISK_QCOW2);
	put(4, "\0\0\0\2", 4);
	expect(VMS_DISK_QCOW2);
	/* In version 2 there are no features there. */
	data[79] = 4;
	expect(VMS_DISK_QCOW2);
	put(4, "\0\0\0\3", 4);
	refuse("part of a chain");
	data[79] = 3;
	expect(VMS_DISK_QCOW2);
	data[15] = 1;
	refuse("part of a chain");
	data[15] = 0;
	put(4, "\0\0\0\1", 4);
	refuse("version 1");
}

static void test_vmdk(void **state)
{
	(void)state;
	put(0, "KDMV", 4);
	refuse("several files");
	data[12] = 1;
	expect(VMS_DISK_VMDK);
	put(0x200 + 300, "parentFileNameHint=\"/etc/shadow\"", 32);
	refuse("part of a chain");
	blank(NULL);
	put(0, "COWD", 4);
	expect(VMS_DISK_VMDK);
	blank(NULL);
	put(0, "# Disk DescriptorFile\n", 22);
	refuse("vmdk");
}

static void test_others(void **state)
{
	(void)state;
	put(0, "vhdxfile", 8);
	expect(VMS_DISK_VHDX);
	blank(NULL);
	put(64, "\x7f\x10\xda\xbe", 4);
	expect(VMS_DISK_VDI);
}

static void test_names(void **state)
{
	enum vms_disk_format format;
	struct err err;

	(void)state;
	for (unsigned i = 0; i < VMS_DISK_FORMAT_COUNT; i++) {
		assert_int_equal(
			vms_disk_format_parse(
				vms_disk_format_name((enum vms_disk_format)i),
				&format, NULL),
			0);
		assert_int_equal(format, i);
	}
	assert_int_equal(vms_disk_format_parse("qcow", &format, &err), -EINVAL);
	assert_non_null(strstr(err.text, "qcow2"));
}

static void test_files(void **state)
{
	char path[] = "/tmp/vmsnap-format-XXXXXX";
	enum vms_disk_format format;
	int fd = mkstemp(path);
	struct err err;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(vms_disk_format_find(path, &format, NULL), 0);
	assert_int_equal(format, VMS_DISK_RAW);
	assert_int_equal(write(fd, "vhdxfile", 8), 8);
	assert_int_equal(vms_disk_format_find(path, &format, NULL), 0);
	assert_int_equal(format, VMS_DISK_VHDX);
	close(fd);
	unlink(path);
	assert_int_equal(vms_disk_format_find(path, &format, &err), -ENOENT);
	/* A name is enough, and is not looked into. */
	assert_int_equal(vms_disk_format_find("/nowhere/a.vsi", &format, NULL),
			 0);
	assert_int_equal(format, VMS_DISK_IMAGE);
	assert_int_not_equal(vms_disk_format_find("/tmp", &format, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_raw, blank),
		cmocka_unit_test_setup(test_qcow2, blank),
		cmocka_unit_test_setup(test_vmdk, blank),
		cmocka_unit_test_setup(test_others, blank),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
