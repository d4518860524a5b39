#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The writable mount: any byte of a disk can be written, the store stays as it
# is, and nothing is left, however the mount ends.
set -euo pipefail
. "$TOP/tests/cli/lib.sh"
export PATH=$PATH:/usr/sbin:/sbin

[ -x "$BUILD/vmsnap-mount" ] || skip "no vmsnap-mount in this build"
[ -r /dev/fuse ] && [ -w /dev/fuse ] || skip "no /dev/fuse here"
command -v fusermount3 >/dev/null || skip "no fusermount3"
vmsnap init -q
disk a.raw 5000001 1
disk b.raw 3000000 2
truncate -s 12M b.raw
vmsnap backup -q web a.raw b.raw --label l
mkdir mnt layers fs
export TMPDIR=$TMP/layers
expect 0 vmsnap mount mnt --writable || skip "can't mount here"
loop=
cleanup() {
	! mountpoint -q fs || umount fs || umount -l fs
	[ -z "$loop" ] || losetup -d "$loop" || :
	fusermount3 -q -u -z "$TMP/mnt" || :
	! mountpoint -q "$TMP/small" || umount -l "$TMP/small" || :
}
trap cleanup EXIT
server() { pgrep -f "vmsnap-mount .*-- $TMP/store" || :; }
idle() { [ -z "$(server)" ]; }
off() {
	fusermount3 -u mnt
	until_true idle
}
# Nobody can find a layer, and nobody needs to remove one.
bare() { [ -z "$(ls -A layers)" ] || fail "left: $(ls -A layers)"; }
a=mnt/web/l/disk0.raw b=mnt/web/l/disk1.raw

# A byte here and there, at the end, and all who look see it.
exec 3<"$a"
same a.raw "$a"
[ "$(stat -c '%a %s' $a)" = '600 5000001' ] || fail "$(stat "$a")"
cp a.raw a.new
for place in 0 511 70000 4999990; do
	poke a.new $place "written"
	poke "$a" $place "written"
done
same a.new "$a"
cmp a.new /dev/fd/3 || fail "who had it open sees something else"
exec 3<&-
same b.raw "$b"
bare
[ -n "$(server)" ] || fail "no process serves"

# What a disk does not do.
status=0
printf 'far too long' | dd of="$a" bs=12 seek=4999995 oflag=seek_bytes \
	conv=notrunc 2>dd-err || status=$?
[ $status != 0 ] && grep -q 'No space left' dd-err || fail "written past the end"
poke a.new 4999995 "far to"
[ "$(stat -c %s "$a")" = 5000001 ] || fail "it has grown"
same a.new "$a"
! truncate -s 100 "$a" 2>/dev/null || fail "cut"
! truncate -s 6000000 "$a" 2>/dev/null || fail "grown"
truncate -s 5000001 "$a" || fail "the size that it has is refused"
! : 2>/dev/null >"$a" || fail "emptied"
! chmod 644 "$a" 2>/dev/null || fail "chmod"
! rm -f "$a" 2>/dev/null || fail "removed"
! : 2>/dev/null >mnt/new || fail "a file was made"
! mkdir mnt/web/new 2>/dev/null || fail "a directory was made"
same a.new "$a"

# At random: written, punched, made zeros, mapped, synced; held against bytes.
cat >random_io.py <<'P'
import ctypes, mmap, os, random, sys
path, model_path, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
KEEP, PUNCH, ZERO = 1, 2, 16
model = bytearray(open(model_path, "rb").read())
size = len(model)
r = random.Random(seed)
fd = os.open(path, os.O_RDWR)
other = os.open(path, os.O_RDWR)
mapped = mmap.mmap(fd, size)
for n in range(400):
    length = min(r.choice([1, 7, 511, 512, 4096, 5000, 70000, 300000]), size)
    at = r.randrange(size - length + 1)
    if r.randrange(2):
        at -= at % 4096
    what = r.randrange(6)
    if what < 2:
        data = r.randbytes(length)
        assert os.pwrite(r.choice([fd, other]), data, at) == length
        model[at:at + length] = data
    elif what == 2:
        mode = r.choice([PUNCH | KEEP, ZERO, ZERO | KEEP])
        if libc.fallocate(fd, mode, at, length):
            raise OSError(ctypes.get_errno(), "fallocate")
        model[at:at + length] = bytes(length)
    elif what == 3:
        data = r.randbytes(length)
        mapped[at:at + length] = data
        model[at:at + length] = data
        if r.randrange(2):
            mapped.flush()
    elif what == 4:
        assert os.pread(other, length, at) == model[at:at + length], (n, at)
    else:
        os.fsync(fd)
if libc.fallocate(fd, 0, 0, 4096) == 0:
    raise SystemExit("room was promised")
mapped.flush()
mapped.close()
os.close(fd)
os.close(other)
assert open(path, "rb").read() == model
open(model_path + ".new", "wb").write(model)
fd = os.open(path, os.O_RDWR)
libc.fallocate(fd, PUNCH | KEEP, 0, size)
try:
    # A last sector that is not whole is zeros that were written.
    data = os.lseek(fd, 0, os.SEEK_DATA)
    assert size % 512 and data >= size - 65536, data
except OSError:
    pass
os.pwrite(fd, model, 0)
P
for seed in 1 2; do
	cp a.new model
	python3 random_io.py "$a" model $seed
	mv model.new a.new
	same a.new "$a"
done
cp b.raw model
python3 random_io.py "$b" model 3
bare

# What is written to a hole takes space to whoever looks.
vmsnap backup -q holes b.raw --label l
c=mnt/holes/l/disk0.raw
until_true test -e "$c"
cp b.raw c.raw
before=$(stat -c %b "$c")
[ "$before" -gt 0 ] || fail "no blocks"
dd if=/dev/urandom of=c.raw bs=1M count=1 seek=8 conv=notrunc status=none
dd if=c.raw of="$c" bs=1M count=1 skip=8 seek=8 conv=notrunc status=none
[ "$(stat -c %b "$c")" = $((before + 2048)) ] || fail "$before: $(stat "$c")"
same c.raw "$c"

# It ends, and was never there.
expect 0 vmsnap verify web
off
bare
expect 0 vmsnap mount mnt --writable
same a.raw "$a"
same b.raw "$b"

# Killed: nothing is left; the reader gets an error.
poke "$a" 0 "written"
pid=$(server)
kill -9 "$pid"
until_true idle
! head -c 10 "$a" >/dev/null 2>&1 || fail "who reads?"
fusermount3 -u -z mnt
bare

# No room for the layer: who writes is told, who reads is served, and with room
# again it goes on.
mkdir small
if mount -t tmpfs -o size=8M tmpfs small 2>/dev/null; then
	TMPDIR=$TMP/small expect 0 vmsnap mount mnt --writable
	poke "$b" 100 "before"
	head -c 9000000 /dev/urandom >big
	status=0
	dd if=big of="$b" bs=64k conv=notrunc,fsync 2>dd-err || status=$?
	[ $status != 0 ] && grep -q 'No space left' dd-err || fail "$(cat dd-err)"
	same a.raw "$a"
	mount -o remount,size=64M small
	dd if=big of="$b" bs=64k conv=notrunc,fsync status=none
	head -c 9000000 "$b" | cmp - big || fail "after there is room"
	off
	[ -z "$(ls -A small)" ] || fail "left: $(ls -A small)"
	umount small
fi
# No layer at all: no disk is hurt.
TMPDIR=$TMP/nowhere expect 0 vmsnap mount mnt --writable
! poke "$a" 0 "written" 2>/dev/null || fail "written to nowhere"
same a.raw "$a"
off

# Many disks: each has its own layer, up to a bound.
for n in $(seq 43); do truncate -s 100k "d$n"; done
for n in 1 2 3; do vmsnap backup -q "many$n" $(seq -f d%g 43) --label l; done
expect 0 vmsnap mount mnt --writable
disks() { echo mnt/many?/l/disk*.raw; }
count=0
for disk in $(disks); do
	[ $count = 128 ] || poke "$disk" 5 "$disk"
	[ $count = 128 ] || count=$((count + 1))
done
[ "$(disks | wc -w)" = 129 ] || fail "disks: $(disks)"
! poke "$disk" 5 "$disk" 2>/dev/null || fail "there is no bound"
same d1 "$disk"
for disk in $(disks | cut -d' ' -f1-128); do
	[ "$(head -c 200 "$disk" | tr -d '\0')" = "$disk" ] ||
		fail "$disk is another's"
done
poke mnt/many1/l/disk3.raw 50 "again"
off
bare

# A file system: written to, taken off, there again; the snapshot unchanged.
command -v mkfs.ext4 >/dev/null && command -v losetup >/dev/null ||
	skip "no mkfs.ext4 or losetup: the rest is good"
mkdir src
echo 'a file' >src/fstab
truncate -s 16M part
mkfs.ext4 -q -F -d src part
vmsnap backup -q fs part --label l
expect 0 vmsnap mount mnt --writable
disk=mnt/fs/l/disk0.raw
loop=$(losetup -f --show "$disk" 2>/dev/null) || { loop=; skip "no loop device here: the rest is good"; }
mount "$loop" fs 2>/dev/null || skip "can't mount an ext4 here: the rest is good"
echo 'another' >fs/fstab
head -c 3000000 /dev/urandom >fs/big
cp fs/big big
sync -f fs
fstrim fs 2>/dev/null || :
umount fs
losetup -d "$loop"
loop=
e2fsck -fn "$disk" >fsck 2>&1 || fail "$(cat fsck)"
loop=$(losetup -f --show "$disk")
mount "$loop" fs
[ "$(cat fs/fstab)" = another ] || fail "what was written is lost"
same big fs/big
umount fs
losetup -d "$loop"
loop=
off
expect 0 vmsnap restore fs part.out
same part part.out
bare
