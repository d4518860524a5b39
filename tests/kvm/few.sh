#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Too few descriptors, or no more threads: the message says what ran out and
# what to do, nothing is left half-made, and with enough of them it works.
. "$TOP/tests/kvm/lib.sh"
. "$TOP/tests/cli/lib.sh"

sanitized && skip "a sanitizer wants to be loaded first"
export VMSNAP_HOME=$TMP/home
trap 'vmsnap rm -q --force --all 2>/dev/null; vmsnap keeper stop -q --force 2>/dev/null || :' EXIT

vmsnap init -q
disk a.raw 3145728 1
disk b.raw 3145728 2
vmsnap backup -q a a.raw
vmsnap image create -q a.vsi --from a
pins=$(vmsnap list --pins)
run=(run web --from a --kernel "$BUILD/tests/kvm/idle.elf" --memory 4M --net none -q)
# Of a machine that did not start nothing is left, nor of the keeper.
nothing_left() {
	[ -z "$(ls -A home/machines 2>/dev/null)" ] || fail "left behind: $(ls home/machines): $(cat err)"
	[ "$(vmsnap list --pins)" = "$pins" ] || fail "pins are left: $(vmsnap list --pins) $(cat err)"
	vmsnap keeper stop -q --force || :
}

# Each place where they run out: in vmsnap, in its child, in the agent.
for ((files = 6; files < 36; files++)); do
	status=0
	(ulimit -n $files; exec "$VMSNAP" "${run[@]}") >out 2>err || status=$?
	[ $status = 1 ] || fail "status $status with $files files: $(cat err)"
	[ "$(grep -vc warning: err)" = 1 ] || fail "with $files files: $(cat err)"
	errs "^vmsnap: run: .*too many open files for one process \(raise 'ulimit -n'"
	nothing_left
done
expect 0 vmsnap "${run[@]}"
expect 0 vmsnap rm -q --force web
vmsnap keeper stop -q --force

# No thread at all, with the first one, and so on.
cat >few.c <<'EOF'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *),
		      void *);
static int most;
static void __attribute__((constructor)) read_most(void)
{
	/* The agent keeps nothing of its environment. */
	most = atoi(getenv("THREADS"));
}
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
		   void *(*run)(void *), void *arg)
{
	static int count;
	create_fn *next = (create_fn *)dlsym(RTLD_NEXT, "pthread_create");
	if (__atomic_fetch_add(&count, 1, __ATOMIC_RELAXED) >= most)
		return EAGAIN;
	return next(thread, attributes, run, arg);
}
EOF
"${CC:-cc}" -shared -fPIC -o few.so few.c -ldl || skip "no C compiler"
# with THREADS COMMAND...: it is done, or told as what it is.
with() {
	local threads=$1 status=0
	shift
	env LD_PRELOAD="$TMP/few.so" THREADS="$threads" VMSNAP_WORKERS=3 \
		"$VMSNAP" "$@" >out 2>err </dev/null || status=$?
	[ $status = 0 ] && return
	[ $status = 1 ] || fail "status $status with $threads threads: $(cat err)"
	errs "has as many threads as it may \(raise 'ulimit -u'"
	return 1
}
failures=0
for threads in 0 1 2 3 4 5; do
	with $threads backup "b$threads" b.raw --rehash || {
		failures=$((failures + 1))
		expect 4 vmsnap show "b$threads"
	}
	rm -f out.raw*
	if with $threads restore a out.raw; then
		same a.raw out.raw
	else
		failures=$((failures + 1))
		[ ! -e out.raw ] || fail "half a disk"
		expect 0 vmsnap restore a out.raw --delta
		same a.raw out.raw
	fi
	rm -f out.raw*
	if with $threads image export a.vsi out.raw; then
		same a.raw out.raw
	else
		failures=$((failures + 1))
		[ ! -e out.raw ] || fail "half a disk"
	fi
	with $threads image snapshot a.vsi "s$threads" || {
		failures=$((failures + 1))
		expect 4 vmsnap show "s$threads"
	}
	pins=$(vmsnap list --pins)
	if with $threads "${run[@]}"; then
		expect 0 vmsnap rm -q --force web
	else
		failures=$((failures + 1))
		nothing_left
	fi
	vmsnap keeper stop -q --force || :
	with $threads verify a || failures=$((failures + 1))
done
[ $failures -gt 0 ] || fail "none was missed"
expect 0 vmsnap check --read-data
expect 0 vmsnap image check a.vsi
