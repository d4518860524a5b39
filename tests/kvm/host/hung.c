/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that answers no request until it is let: a pause and a reset begin,
 * take as long as that does, and hold up nobody; a pause is taken back; a stop
 * waits for nothing. The same with a kernel that can't be read until then.
 * Argument: virtio.elf.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "tests/kvm/host/rig.h"

#define DISK_BYTES (8 * MIB)
#define TURN_NS    2000000ull
#define MEMORY     (64 * MIB)

struct hung {
	struct disk disk;
	struct rig *rig;
	int ready;
	uint8_t *bytes;
	pthread_mutex_t lock; /* of what follows */
	struct disk_request *first, **last;
	unsigned submitted;
	bool answers;
};

static struct hung *of(struct disk *disk)
{
	return container_of(disk, struct hung, disk);
}

static void ring(struct hung *hung)
{
	uint64_t one = 1;

	rig_must(write(hung->ready, &one, sizeof(one)) == sizeof(one), "ring",
		 NULL);
}

static void submit(struct disk *disk, struct disk_request *request)
{
	struct hung *hung = of(disk);

	pthread_mutex_lock(&hung->lock);
	request->next = NULL;
	*hung->last = request;
	hung->last = &request->next;
	hung->submitted++;
	if (hung->answers)
		ring(hung);
	pthread_mutex_unlock(&hung->lock);
	loop_post(hung->rig->loop, &hung->rig->look);
}

static void answer(struct hung *hung, struct disk_request *request)
{
	uint8_t *at = hung->bytes + request->offset;

	request->result = 0;
	switch (request->op) {
	case DISK_READ:
		memcpy(request->buffer, at, request->length);
		break;
	case DISK_WRITE:
		memcpy(at, request->buffer, request->length);
		break;
	case DISK_FLUSH:
		break;
	case DISK_DISCARD:
	case DISK_ZERO:
		memset(at, 0, request->length);
		break;
	}
}

/* Who waits for one lets it answer: so does the end of the machine. */
static unsigned reap(struct disk *disk, unsigned min,
		     struct disk_request **done, unsigned max)
{
	struct hung *hung = of(disk);
	unsigned count = 0;
	uint64_t rung;

	if (read(hung->ready, &rung, sizeof(rung)) < 0)
		rung = 0;
	pthread_mutex_lock(&hung->lock);
	while ((hung->answers || min) && hung->first && count < max) {
		struct disk_request *request = hung->first;

		hung->first = request->next;
		if (!hung->first)
			hung->last = &hung->first;
		answer(hung, request);
		done[count++] = request;
	}
	if (hung->first && hung->answers)
		ring(hung);
	pthread_mutex_unlock(&hung->lock);
	return count;
}

static int ready_fd(struct disk *disk)
{
	return of(disk)->ready;
}

static void free_disk(struct disk *disk)
{
	(void)disk;
}

static const struct disk_ops ops = { submit, reap, ready_fd, free_disk };

static void let_answer(struct hung *hung)
{
	pthread_mutex_lock(&hung->lock);
	hung->answers = true;
	ring(hung);
	pthread_mutex_unlock(&hung->lock);
}

static struct hung disk = {
	.disk = { .ops = &ops, .size_bytes = DISK_BYTES },
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

static bool is_under_way(struct rig *rig)
{
	bool is;

	(void)rig;
	pthread_mutex_lock(&disk.lock);
	is = disk.submitted && disk.first;
	pthread_mutex_unlock(&disk.lock);
	return is;
}

/* ---- a kernel that is read again ---- */

static struct {
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	int (*boot)(struct machine_hooks *hooks, const struct memory *memory,
		    struct boot_start *start, struct err *err);
	unsigned boots;
	bool hangs, fails, cut;
} source = { .lock = PTHREAD_MUTEX_INITIALIZER,
	     .changed = PTHREAD_COND_INITIALIZER };

static int boot(struct machine_hooks *hooks, const struct memory *memory,
		struct boot_start *start, struct err *err)
{
	bool fails;

	pthread_mutex_lock(&source.lock);
	source.boots++;
	while (source.hangs && !source.cut)
		pthread_cond_wait(&source.changed, &source.lock);
	fails = source.fails || source.cut;
	pthread_mutex_unlock(&source.lock);
	return fails ? err_set(err, -EIO, "its kernel is gone")
		     : source.boot(hooks, memory, start, err);
}

static void cut_boot(struct machine_hooks *hooks)
{
	(void)hooks;
	pthread_mutex_lock(&source.lock);
	source.cut = true;
	pthread_cond_signal(&source.changed);
	pthread_mutex_unlock(&source.lock);
}

static void set_kernel(bool hangs, bool fails)
{
	pthread_mutex_lock(&source.lock);
	source.hangs = hangs;
	source.fails = fails;
	pthread_cond_signal(&source.changed);
	pthread_mutex_unlock(&source.lock);
}

static unsigned boots(void)
{
	unsigned count;

	pthread_mutex_lock(&source.lock);
	count = source.boots;
	pthread_mutex_unlock(&source.lock);
	return count;
}

/* A machine with a request under way. */
static void start(struct rig *rig, const char *path)
{
	struct err err;

	disk.rig = rig;
	disk.first = NULL;
	disk.last = &disk.first;
	disk.submitted = 0;
	disk.answers = false;
	disk.ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	disk.bytes = calloc(1, DISK_BYTES);
	rig_must(disk.ready >= 0 && disk.bytes, "disk", NULL);
	rig_init(rig, path, 1, MEMORY);
	source.boot = rig->hooks.boot;
	source.boots = 0;
	source.hangs = source.fails = source.cut = false;
	rig->hooks.boot = boot;
	rig->hooks.cut_boot = cut_boot;
	rig->options.board.disks[0] = &disk.disk;
	rig->options.board.disk_count = 1;
	rig_make(rig, false);
	rig_must(machine_resume(rig->machine, &err) == 0, "run", &err);
	rig_run_until(rig, is_under_way);
}

static void finish(struct rig *rig)
{
	rig_release(rig);
	close(disk.ready);
	free(disk.bytes);
}

/* As far as it comes: it waits for the disk. */
static void run_until_it_waits(struct rig *rig)
{
	const char *waits;

	while (!(waits = machine_waits_for(rig->machine)) ||
	       !strstr(waits, "requests"))
		rig_run_for(rig, TURN_NS);
	for (int i = 0; i < 20; i++)
		rig_run_for(rig, TURN_NS);
	rig_must(machine_state(rig->machine) == MACHINE_RUNNING, "it waits",
		 NULL);
	rig_must(is_under_way(rig), "a request is under way", NULL);
}

/* Of what the guest has asked for the disk gets no more. */
static bool is_cut(struct rig *rig)
{
	const struct board *board = machine_board(rig->machine);
	unsigned count = 0;

	for (unsigned i = 0; i < board->virtio_count; i++)
		count += virtio_is_ending(board->virtios[i]);
	return count && count == board->virtio_count;
}

static void pause_and_take_back(const char *kernel)
{
	struct rig rig;
	struct err err;

	start(&rig, kernel);
	rig_must(machine_pause(rig.machine, &err) == 0, "pause", &err);
	run_until_it_waits(&rig);
	/* Twice is once. */
	rig_must(machine_pause(rig.machine, &err) == 0, "pause", &err);
	rig_must(machine_resume(rig.machine, &err) == 0, "take back", &err);
	rig_must(!machine_waits_for(rig.machine), "it waits", NULL);
	rig_must(machine_resume(rig.machine, &err) == -EBUSY, "it runs", NULL);
	rig_must(machine_pause(rig.machine, &err) == 0, "pause", &err);
	run_until_it_waits(&rig);
	rig_must(!is_cut(&rig), "a pause loses nothing", NULL);
	let_answer(&disk);
	while (machine_state(rig.machine) == MACHINE_RUNNING)
		rig_run_for(&rig, TURN_NS);
	rig_must(machine_state(rig.machine) == MACHINE_PAUSED, "paused", NULL);
	rig_must(!is_under_way(&rig), "nothing is under way", NULL);
	rig_must(machine_resume(rig.machine, &err) == 0, "resume", &err);
	/* The guest checks what it wrote. */
	rig_run_to_end(&rig);
	rig_must(rig.ended == MACHINE_STOPPED &&
			 strstr(rig.text, "it keeps what is written"),
		 rig.text, NULL);
	finish(&rig);
	puts("a pause waits, and is taken back");
}

static void stop_at_once(const char *kernel)
{
	struct rig rig;
	struct err err;

	start(&rig, kernel);
	rig_must(machine_pause(rig.machine, &err) == 0, "pause", &err);
	run_until_it_waits(&rig);
	machine_stop(rig.machine);
	rig_must(machine_state(rig.machine) == MACHINE_STOPPED, "stop", NULL);
	/* What comes from its threads from here on changes nothing. */
	for (int i = 0; i < 20; i++)
		rig_run_for(&rig, TURN_NS);
	rig_must(machine_state(rig.machine) == MACHINE_STOPPED, "stop", NULL);
	finish(&rig);
	puts("a stop waits for nothing");
}

static void reset_waits(const char *kernel)
{
	struct rig rig;
	struct err err;

	start(&rig, kernel);
	rig_must(machine_reset(rig.machine, &err) == 0, "reset", &err);
	run_until_it_waits(&rig);
	rig_must(is_cut(&rig), "a reset begins nothing more", NULL);
	/* Through the reset into a pause. */
	rig_must(machine_pause(rig.machine, &err) == 0, "pause", &err);
	let_answer(&disk);
	while (machine_state(rig.machine) == MACHINE_RUNNING)
		rig_run_for(&rig, TURN_NS);
	rig_must(machine_state(rig.machine) == MACHINE_PAUSED, "paused", NULL);
	rig_must(machine_resume(rig.machine, &err) == 0, "resume", &err);
	rig_must(!is_cut(&rig), "it goes on", NULL);
	rig_run_to_end(&rig);
	rig_must(rig.ended == MACHINE_STOPPED &&
			 strstr(rig.text, "it keeps what is written"),
		 rig.text, NULL);
	finish(&rig);
	start(&rig, kernel);
	rig_must(machine_reset(rig.machine, &err) == 0, "reset", &err);
	run_until_it_waits(&rig);
	machine_stop(rig.machine);
	rig_must(machine_state(rig.machine) == MACHINE_STOPPED, "stop", NULL);
	finish(&rig);
	puts("a reset waits, and a stop does not");
}

/* On the way to its kernel, which hangs; the disk doesn't. */
static void reset_to_kernel(struct rig *rig, const char *path)
{
	struct err err;

	start(rig, path);
	let_answer(&disk);
	set_kernel(true, false);
	rig_must(machine_reset(rig->machine, &err) == 0, "reset", &err);
	while (boots() < 2 || !machine_waits_for(rig->machine) ||
	       !strstr(machine_waits_for(rig->machine), "kernel"))
		rig_run_for(rig, TURN_NS);
	for (int i = 0; i < 20; i++)
		rig_run_for(rig, TURN_NS);
	rig_must(machine_state(rig->machine) == MACHINE_RUNNING, "it waits",
		 NULL);
}

static void expect_end(struct rig *rig, enum machine_state state,
		       const char *words)
{
	rig_run_to_end(rig);
	rig_must(rig->ended == state, rig->text, NULL);
	rig_must(strstr(rig->text, words) || strstr(rig->words, words),
		 rig->words, NULL);
	finish(rig);
}

/* Others are answered while the kernel is read, and a stop does not wait. */
static void reset_reads_kernel(const char *path)
{
	struct rig rig;
	struct err err;

	reset_to_kernel(&rig, path);
	/* What is asked for meanwhile comes behind it, or is the same. */
	rig_must(machine_reset(rig.machine, &err) == 0, "reset", &err);
	rig_must(machine_pause(rig.machine, &err) == 0, "pause", &err);
	rig_must(machine_resume(rig.machine, &err) == 0, "take back", &err);
	rig_must(machine_resume(rig.machine, &err) == -EBUSY, "it runs", NULL);
	rig_must(machine_pause(rig.machine, &err) == 0, "pause", &err);
	for (int i = 0; i < 20; i++)
		rig_run_for(&rig, TURN_NS);
	rig_must(machine_state(rig.machine) == MACHINE_RUNNING, "it waits",
		 NULL);
	set_kernel(false, false);
	while (machine_state(rig.machine) == MACHINE_RUNNING)
		rig_run_for(&rig, TURN_NS);
	rig_must(machine_state(rig.machine) == MACHINE_PAUSED, "paused", NULL);
	rig_must(machine_resume(rig.machine, &err) == 0, "resume", &err);
	expect_end(&rig, MACHINE_STOPPED, "it keeps what is written");
	rig_must(boots() == 2, "it was reset twice", NULL);

	reset_to_kernel(&rig, path);
	machine_stop(rig.machine);
	rig_must(machine_state(rig.machine) == MACHINE_STOPPED, "stop", NULL);
	for (int i = 0; i < 20; i++)
		rig_run_for(&rig, TURN_NS);
	rig_must(machine_state(rig.machine) == MACHINE_STOPPED, "stop", NULL);
	finish(&rig);

	reset_to_kernel(&rig, path);
	set_kernel(false, true);
	expect_end(&rig, MACHINE_CRASHED, "its kernel is gone");
	/* And its end comes in the middle of that. */
	reset_to_kernel(&rig, path);
	finish(&rig);
	puts("a reset reads its kernel, and holds up nobody");
}

int main(int argc, char **argv)
{
	rig_must(argc == 2, "one argument: virtio.elf", NULL);
	pause_and_take_back(argv[1]);
	stop_at_once(argv[1]);
	reset_waits(argv[1]);
	reset_reads_kernel(argv[1]);
	return 0;
}
