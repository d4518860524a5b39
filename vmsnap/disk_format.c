/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The formats of others, as far as it takes to know one from the other.
 *
 * Content is looked at once, before a machine's first start, and what was found
 * is written down: a guest that writes another format's first bytes to its raw
 * disk does not have it read as that at the next start. And a file that says
 * that part of it is another file is refused, since it may name any.
 */
#include "vmsnap/disk_format.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "format/base/le.h"

#define VMDK_HEADER     512u
#define QCOW2_V3        3u
#define QCOW2_DATA_FILE 4u /* of its incompatible features */
#define VDI_MAGIC_AT    64u
#define VDI_MAGIC       0xbeda107fu

static const char *const names[VMS_DISK_FORMAT_COUNT] = {
	[VMS_DISK_RAW] = "raw",     [VMS_DISK_IMAGE] = "image",
	[VMS_DISK_QCOW2] = "qcow2", [VMS_DISK_VMDK] = "vmdk",
	[VMS_DISK_VHDX] = "vhdx",   [VMS_DISK_VDI] = "vdi",
};

const char *vms_disk_format_name(enum vms_disk_format format)
{
	return names[format];
}

int vms_disk_format_parse(const char *name, enum vms_disk_format *out,
			  struct err *err)
{
	char quoted[64];

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(name, names[i])) {
			*out = (enum vms_disk_format)i;
			return 0;
		}
	}
	return err_set(err, -EINVAL,
		       "'%s' is no format of a disk: raw, image, qcow2, vmdk, "
		       "vhdx or vdi",
		       escape_name(quoted, sizeof(quoted), name));
}

/* ---- content ---- */

struct look {
	const uint8_t *data;
	size_t size;
};

static bool has(const struct look *look, size_t at, const char *magic)
{
	size_t length = strlen(magic);

	return look->size >= at + length &&
	       !memcmp(look->data + at, magic, length);
}

static bool contains(const struct look *look, const char *text)
{
	return memmem(look->data, look->size, text, strlen(text)) != NULL;
}

static uint64_t be(const struct look *look, size_t at, size_t length)
{
	uint64_t value = 0;

	for (size_t i = 0; i < length; i++)
		value = value << 8 |
			(at + i < look->size ? look->data[at + i] : 0);
	return value;
}

static uint64_t le(const struct look *look, size_t at, size_t length)
{
	uint64_t value = 0;

	while (length--)
		value = value << 8 |
			(at + length < look->size ? look->data[at + length]
						  : 0);
	return value;
}

static int stands_on_others(const char *format, struct err *err)
{
	return err_set(err, -EOPNOTSUPP,
		       "a %s file that is part of a chain, or of several "
		       "files: make one whole file of it by 'qemu-img convert "
		       "-O qcow2'",
		       format);
}

static int check_qcow2(const struct look *look, struct err *err)
{
	uint64_t version = be(look, 4, 4);

	if (version != 2 && version != QCOW2_V3)
		return err_set(err, -EOPNOTSUPP,
			       "a qcow2 file of version %u: convert it by "
			       "'qemu-img convert -O qcow2'",
			       (unsigned)version);
	if (be(look, 8, 8) ||
	    (version == QCOW2_V3 && be(look, 72, 8) & QCOW2_DATA_FILE))
		return stands_on_others("qcow2", err);
	return 0;
}

/* Its description stands in the file's beginning, as text. */
static int check_vmdk(const struct look *look, struct err *err)
{
	if (has(look, 0, "# Disk DescriptorFile") ||
	    (has(look, 0, "KDMV") && !le(look, 12, 8)) ||
	    contains(look, "parentFileNameHint"))
		return stands_on_others("vmdk", err);
	return 0;
}

int disk_format_probe(const void *data, size_t size, enum vms_disk_format *out,
		      struct err *err)
{
	const struct look look = { data, size };
	int r = 0;

	*out = VMS_DISK_RAW;
	if (has(&look, 0, "QFI\xfb")) {
		*out = VMS_DISK_QCOW2;
		r = check_qcow2(&look, err);
	} else if (has(&look, 0, "KDMV") || has(&look, 0, "COWD") ||
		   has(&look, 0, "# Disk DescriptorFile")) {
		*out = VMS_DISK_VMDK;
		r = check_vmdk(&look, err);
	} else if (has(&look, 0, "vhdxfile")) {
		*out = VMS_DISK_VHDX;
	} else if (le(&look, VDI_MAGIC_AT, 4) == VDI_MAGIC) {
		*out = VMS_DISK_VDI;
	}
	return r;
}

/* ---- files ---- */

static ssize_t read_start(int fd, uint8_t *data)
{
	size_t size = 0;

	while (size < DISK_FORMAT_BYTES) {
		ssize_t n = pread(fd, data + size, DISK_FORMAT_BYTES - size,
				  (off_t)size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		size += (size_t)n;
	}
	return (ssize_t)size;
}

int vms_disk_format_find(const char *path, enum vms_disk_format *out,
			 struct err *err)
{
	autofd int fd = -1;
	autofree uint8_t *data = NULL;
	size_t length = strlen(path);
	char quoted[256];
	ssize_t size;
	int r;

	if (length > 4 && !strcmp(path + length - 4, ".vsi")) {
		*out = VMS_DISK_IMAGE;
		return 0;
	}
	escape_name(quoted, sizeof(quoted), path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(err, -errno, "'%s'", quoted);
	r = alloc_array(&data, DISK_FORMAT_BYTES, 1, err);
	if (r < 0)
		return r;
	size = read_start(fd, data);
	if (size < 0)
		return err_sys(err, (int)size, "read '%s'", quoted);
	r = disk_format_probe(data, (size_t)size, out, err);
	if (r < 0)
		err_prefix(err, "'%s'", quoted);
	return r;
}

int vms_disk_format_check(const char *path, enum vms_disk_format format,
			  struct err *err)
{
	enum vms_disk_format found;
	char quoted[256];
	int r = vms_disk_format_find(path, &found, err);

	if (r == 0 && found != format)
		r = err_set(err, -EINVAL,
			    "'%s' is no %s file; say what it is with "
			    "--disk-format",
			    escape_name(quoted, sizeof(quoted), path),
			    vms_disk_format_name(format));
	return r;
}
