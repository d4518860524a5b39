/* SPDX-License-Identifier: Apache-2.0 */
/* Machines as files: machine.json, end.json, the directory. spec/machine.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "vmsnap/machine_description.h"
#include "vmsnap/machine_home.h"

#define GOOD                                                                 \
	"{\"version\": 1, \"name\": \"web\", \"memory_bytes\": 1073741824, " \
	"\"cpus\": 2, \"cpu\": \"host\", \"kernel\": \"/boot/vmlinuz\", "    \
	"\"initrd\": null, \"append\": \"console=ttyS0\", \"disks\": "       \
	"[{\"path\": \"/srv/web.raw\", \"read_only\": false, "               \
	"\"temporary\": false, \"format\": \"raw\"}], \"net\": "             \
	"{\"kind\": \"user\", \"mac\": \"52:54:00:12:34:56\", "              \
	"\"interface\": null, \"forwards\": [\"tcp=2222:22\"], "             \
	"\"host\": false}}"

static char home[64];

static int make_home(void **state)
{
	(void)state;
	snprintf(home, sizeof(home), "/tmp/vmsnap-machine-XXXXXX");
	return mkdtemp(home) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int kind,
		      struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static int remove_home(void **state)
{
	(void)state;
	return nftw(home, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void example(struct vms_machine *machine, const char *name)
{
	assert_int_equal(
		machine_description_get(GOOD, strlen(GOOD), machine, NULL), 0);
	snprintf(machine->name, sizeof(machine->name), "%s", name);
}

static void test_description_round_trip(void **state)
{
	struct vms_machine machine, again;
	char *text = NULL;

	(void)state;
	example(&machine, "web");
	assert_int_equal(machine.cpus, 2);
	assert_true(machine.memory_bytes == GIB);
	assert_string_equal(machine.initrd, "");
	assert_int_equal(machine.disk_count, 1);
	assert_string_equal(machine.disks[0].path, "/srv/web.raw");
	assert_int_equal(machine_description_put(&machine, &text, NULL), 0);
	assert_int_equal(
		machine_description_get(text, strlen(text), &again, NULL), 0);
	assert_string_equal(again.append, machine.append);
	assert_string_equal(again.kernel, machine.kernel);
	assert_false(again.disks[0].read_only);
	assert_false(again.disks[0].temporary);
	assert_int_equal(again.disks[0].format, VMS_DISK_RAW);
	assert_int_equal(again.limits.cpu_weight, 0);
	assert_null(strstr(text, "limits"));
	vms_machine_release(&again);
	free(text);

	machine.limits = (struct vms_machine_limits){ 3 * GIB, 50, 10000 };
	assert_int_equal(machine_description_put(&machine, &text, NULL), 0);
	assert_int_equal(
		machine_description_get(text, strlen(text), &again, NULL), 0);
	assert_true(again.limits.memory_bytes == 3 * GIB);
	assert_int_equal(again.limits.cpu_weight, 50);
	assert_int_equal(again.limits.io_weight, 10000);
	assert_memory_equal(&again.net, &machine.net, sizeof(again.net));
	assert_int_equal(again.net.kind, VMS_NET_USER);
	assert_string_equal(again.net.mac, "52:54:00:12:34:56");
	assert_int_equal(again.net.forward_count, 1);
	assert_string_equal(again.net.forwards[0], "tcp=2222:22");
	free(text);
	vms_machine_release(&again);
	machine.disks[0].temporary = true;
	machine.disks[0].format = VMS_DISK_VHDX;
	machine.net = (struct vms_machine_net){ .kind = VMS_NET_NONE };
	assert_int_equal(machine_description_put(&machine, &text, NULL), 0);
	assert_int_equal(
		machine_description_get(text, strlen(text), &again, NULL), 0);
	assert_true(again.disks[0].temporary);
	assert_int_equal(again.disks[0].format, VMS_DISK_VHDX);
	assert_int_equal(again.net.kind, VMS_NET_NONE);
	free(text);
	vms_machine_release(&again);
	vms_machine_release(&machine);
}

/* The page's example is the one above. */
static void test_example_of_the_page(void **state)
{
	const char *top = getenv("TOP");
	char path[4096], line[4096];
	bool found = false;
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/spec/machine.md", top ? top : ".");
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		found = found || !strcmp(line, "    " GOOD);
	}
	fclose(file);
	assert_true(found);
}

static void refuse(const char *from, const char *to, int code)
{
	struct vms_machine machine;
	char text[2048];
	const char *at = strstr(GOOD, from);

	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - GOOD), GOOD, to,
		 at + strlen(from));
	assert_int_equal(
		machine_description_get(text, strlen(text), &machine, NULL),
		code);
	assert_null(machine.disks);
}

static void test_descriptions_refused(void **state)
{
	struct vms_machine machine;

	(void)state;
	refuse("\"version\": 1", "\"version\": 2", -EOPNOTSUPP);
	refuse("\"version\": 1", "\"version\": \"1\"", -EBADMSG);
	refuse("\"cpus\": 2, ", "", -EBADMSG);
	refuse("\"cpus\": 2, ", "\"cpus\": 2, \"x\": 1, ", -EBADMSG);
	refuse("\"cpus\": 2, ", "\"cpus\": 2, \"cpus\": 2, ", -EBADMSG);
	refuse("\"cpus\": 2, ", "\"cpuz\": 2, ", -EBADMSG);
	refuse("\"cpus\": 2", "\"cpus\": 0", -EBADMSG);
	refuse("\"cpus\": 2", "\"cpus\": 65", -EBADMSG);
	refuse("\"cpus\": 2", "\"cpus\": 2, \"limits\": null", -EBADMSG);
	refuse("\"cpus\": 2",
	       "\"cpus\": 2, \"limits\": {\"memory_bytes\": -1, "
	       "\"cpu_weight\": 0, \"io_weight\": 0}",
	       -EBADMSG);
	refuse("\"cpus\": 2",
	       "\"cpus\": 2, \"limits\": {\"memory_bytes\": 1, "
	       "\"cpu_weight\": 10001, \"io_weight\": 0}",
	       -EBADMSG);
	refuse("\"cpus\": 2",
	       "\"cpus\": 2, \"limits\": {\"memory_bytes\": 1, "
	       "\"cpu_weight\": 0}",
	       -EBADMSG);
	refuse("1073741824", "1073741823", -EBADMSG);
	refuse("1073741824", "-2097152", -EBADMSG);
	refuse("1073741824", "0", -EBADMSG);
	refuse("1073741824", "1e9", -EBADMSG);
	refuse("\"web\"", "\"../web\"", -EBADMSG);
	refuse("\"web\"", "\"we\\u0000b\"", -EBADMSG);
	refuse("\"web\"", "null", -EBADMSG);
	refuse("\"host\"", "\"\"", -EBADMSG);
	refuse("\"/boot/vmlinuz\"", "\"vmlinuz\"", -EBADMSG);
	refuse("\"/srv/web.raw\"", "\"\"", -EBADMSG);
	refuse("\"/srv/web.raw\"", "\"web.raw\"", -EBADMSG);
	refuse("\"read_only\": false", "\"read_only\": 0", -EBADMSG);
	refuse("\"read_only\": false", "\"read_only\": false, \"a\": 1",
	       -EBADMSG);
	refuse("\"temporary\": false", "\"temporary\": \"yes\"", -EBADMSG);
	refuse("\"temporary\": false, ", "", -EBADMSG);
	refuse("\"raw\"", "\"cow\"", -EBADMSG);
	refuse("\"raw\"", "null", -EBADMSG);
	/* Only thrown away, only of that name, nothing of what is read. */
	refuse("\"raw\"", "\"qcow2\"", -EBADMSG);
	refuse("\"raw\"", "\"image\"", -EBADMSG);
	refuse("/srv/web.raw", "/srv/web.vsi", -EBADMSG);
	refuse("false, \"temporary\": false", "true, \"temporary\": true",
	       -EBADMSG);
	refuse("[{", "{\"a\": [{", -EBADMSG);
	refuse("\"user\"", "\"bridge\"", -EBADMSG);
	refuse("\"user\"", "\"none\"", -EBADMSG);
	refuse("\"user\"", "\"tap\"", -EBADMSG);
	refuse("\"kind\": \"user\", ", "", -EBADMSG);
	refuse("52:54", "53:54", -EBADMSG);
	refuse("52:54:00:12:34:56", "00:00:00:00:00:00", -EBADMSG);
	refuse("34:56", "34-56", -EBADMSG);
	refuse("34:56", "34:5A", -EBADMSG);
	refuse("34:56", "34:5", -EBADMSG);
	refuse("34:56", "34:56:78", -EBADMSG);
	refuse("\"interface\": null", "\"interface\": \"tap0\"", -EBADMSG);
	refuse("tcp=2222:22", "tcp=2222:", -EBADMSG);
	refuse("tcp=2222:22", "none", -EBADMSG);
	refuse("\"tcp=2222:22\"", "22", -EBADMSG);
	refuse("\"host\": false", "\"host\": 0", -EBADMSG);
	refuse("\"host\": false", "\"host\": false, \"a\": 1", -EBADMSG);
	for (size_t size = 0; size < strlen(GOOD); size++)
		assert_int_equal(
			machine_description_get(GOOD, size, &machine, NULL),
			-EBADMSG);
}

static void test_names(void **state)
{
	static const char *const bad[] = { "",   ".",   "..",  "a/b",     "-a",
					   ".a", "a b", "a\n", "\xc3\xa4" };
	char name[80];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(vms_machine_check_name(bad[i], NULL), -EINVAL);
	assert_int_equal(vms_machine_check_name("web-1.test_A", NULL), 0);
	memset(name, 'a', sizeof(name));
	name[64] = 0;
	assert_int_equal(vms_machine_check_name(name, NULL), 0);
	name[64] = 'a';
	name[65] = 0;
	assert_int_equal(vms_machine_check_name(name, NULL), -EINVAL);
}

static void put_file(const char *name, const char *file, const char *text)
{
	char path[PATH_MAX];
	int fd;

	assert_int_equal(machine_path(home, name, file, path, NULL), 0);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void expect_state(const char *name, const char *state)
{
	struct vms_machine_status status;

	assert_int_equal(vms_machine_status(home, name, &status, NULL), 0);
	assert_string_equal(status.state, state);
	assert_false(status.alive);
}

static void create(const struct vms_machine *machine)
{
	int held = vms_machine_create(home, machine, NULL);

	assert_true(held >= 0);
	close(held);
}

/* With a lock of its own. */
static int start(const struct vms_machine *machine, const char *agent,
		 struct err *err)
{
	int held = vms_machine_hold(home, machine->name, err);
	const struct vms_machine_start how = { .agent = agent, .held = held };
	int r = held;

	if (held >= 0) {
		r = vms_machine_start(home, machine, &how, err);
		close(held);
	}
	return r;
}

static void test_life_of_a_directory(void **state)
{
	struct vms_machine_names names;
	struct vms_machine machine, loaded;
	struct stat st;
	char path[PATH_MAX];
	struct err err;

	(void)state;
	assert_int_equal(vms_machine_list(home, &names, NULL), 0);
	assert_int_equal(names.count, 0);
	example(&machine, "web");
	create(&machine);
	assert_int_equal(vms_machine_create(home, &machine, &err), -EEXIST);
	assert_non_null(strstr(err.text, "vmsnap run web"));
	assert_int_equal(machine_path(home, "web", "", path, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	expect_state("web", "created");
	put_file("web", "end.json", "");
	expect_state("web", "crashed");
	put_file("web", "end.json",
		 "{\"state\": \"stopped\", \"text\": \"x\"}");
	expect_state("web", "stopped");
	put_file("web", "end.json", "{\"state\": \"flying\"}");
	expect_state("web", "crashed");
	assert_int_equal(vms_machine_load(home, "web", &loaded, NULL), 0);
	assert_int_equal(loaded.cpus, 2);
	vms_machine_release(&loaded);
	put_file("web", "machine.json", "{");
	expect_state("web", "damaged");
	assert_int_equal(vms_machine_load(home, "web", &loaded, NULL),
			 -EBADMSG);
	put_file("web", "machine.json", GOOD);
	snprintf(machine.name, sizeof(machine.name), "db");
	create(&machine);
	assert_int_equal(vms_machine_list(home, &names, NULL), 0);
	assert_int_equal(names.count, 2);
	assert_string_equal(names.names[0], "db");
	vms_machine_names_release(&names);
	assert_int_equal(vms_machine_remove(home, "web", NULL), 0);
	assert_int_equal(vms_machine_remove(home, "web", &err), -ENOENT);
	assert_non_null(strstr(err.text, "'db'"));
	assert_int_equal(vms_machine_remove(home, "db", NULL), 0);
	vms_machine_release(&machine);
}

/* Of another process: locks of one open file don't meet themselves. */
static void test_lock(void **state)
{
	struct vms_machine machine;
	int directory, lock;
	struct err err;

	(void)state;
	example(&machine, "locked");
	create(&machine);
	directory = machine_open(home, "locked", NULL);
	assert_int_equal(machine_is_locked(directory, NULL), 0);
	lock = machine_lock(directory, "locked", NULL);
	assert_true(lock >= 0);
	assert_int_equal(machine_is_locked(directory, NULL), 1);
	assert_int_equal(machine_lock(directory, "locked", &err), -EBUSY);
	assert_int_equal(vms_machine_remove(home, "locked", NULL), -EBUSY);
	assert_int_equal(vms_machine_wait(home, "locked", 1, NULL), -ETIMEDOUT);
	/* There is nobody behind the lock who could be asked. */
	assert_int_equal(
		vms_machine_act(home, "locked", VMS_MACHINE_PAUSE, NULL),
		-ESRCH);
	/* And the process in the file is not the one that has it: init. */
	put_file("locked", "agent.pid", "1\n");
	assert_int_equal(vms_machine_kill(home, "locked", &err), -EBADMSG);
	put_file("locked", "agent.pid", "2\n");
	assert_int_equal(vms_machine_kill(home, "locked", &err), -EIO);
	close(lock);
	assert_int_equal(vms_machine_wait(home, "locked", 1000, NULL), 0);
	assert_int_equal(vms_machine_kill(home, "locked", NULL), -ESRCH);
	close(directory);
	assert_int_equal(vms_machine_remove(home, "locked", NULL), 0);
	vms_machine_release(&machine);
}

/* Who removes a machine holds it: nobody starts it meanwhile, or removes it. */
static void test_removal_is_held(void **state)
{
	struct vms_machine machine, loaded;
	char path[PATH_MAX];
	struct stat st;
	struct err err;
	int held;

	(void)state;
	assert_int_equal(vms_machine_hold(home, "held", NULL), -ENOENT);
	example(&machine, "held");
	machine.net = (struct vms_machine_net){ .kind = VMS_NET_NONE };
	create(&machine);
	held = vms_machine_hold(home, "held", NULL);
	assert_true(held >= 0);
	assert_int_equal(start(&machine, "/bin/false", &err), -EBUSY);
	assert_non_null(strstr(err.text, "started or removed"));
	assert_int_equal(vms_machine_hold(home, "held", NULL), -EBUSY);
	assert_int_equal(vms_machine_remove(home, "held", NULL), -EBUSY);
	assert_int_equal(vms_machine_remove_held(home, "held", NULL), 0);
	close(held);
	assert_int_equal(machine_path(home, "held", "", path, NULL), 0);
	assert_int_equal(stat(path, &st), -1);

	/* Of one that lost its description in between nothing is started. */
	create(&machine);
	assert_int_equal(machine_path(home, "held", "machine.json", path, NULL),
			 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(vms_machine_load(home, "held", &loaded, NULL),
			 -EBADMSG);
	assert_int_equal(vms_machine_remove(home, "held", NULL), 0);
	vms_machine_release(&machine);
}

/* One that is asked to stop does not wait for its agent, and leaves none. */
static void test_stopped_start(void **state)
{
	struct vms_progress progress = { .stop = true };
	struct vms_machine_start how = { .progress = &progress };
	struct vms_machine machine;
	char agent[128];
	struct err err;
	int fd;

	(void)state;
	example(&machine, "slow");
	machine.net = (struct vms_machine_net){ .kind = VMS_NET_NONE };
	snprintf(agent, sizeof(agent), "%s/slow", home);
	fd = open(agent, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_true(dprintf(fd, "#!/bin/sh\nexec sleep 1000\n") > 0);
	close(fd);
	how.agent = agent;
	how.held = vms_machine_create(home, &machine, &err);
	assert_true(how.held >= 0);
	/* It is held since before it had its name. */
	assert_int_equal(vms_machine_remove(home, "slow", &err), -EBUSY);
	assert_int_equal(vms_machine_start(home, &machine, &how, &err),
			 -ECANCELED);
	close(how.held);
	assert_int_equal(wait(NULL), -1);
	assert_int_equal(vms_machine_remove(home, "slow", &err), 0);
	vms_machine_release(&machine);
}

/* An agent that can't run: the words are its own, and no lock is left. */
static void test_failed_start(void **state)
{
	struct vms_machine machine;
	char agent[128];
	struct err err;
	int fd;

	(void)state;
	example(&machine, "broken");
	/* passt is not for unit tests: its port may be another's. */
	machine.net = (struct vms_machine_net){ .kind = VMS_NET_NONE };
	create(&machine);
	assert_int_equal(start(&machine, "/nonexistent", &err), -EIO);
	assert_non_null(strstr(err.text, "can't be started"));
	snprintf(agent, sizeof(agent), "%s/agent", home);
	fd = open(agent, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_true(dprintf(fd, "#!/bin/sh\necho 'first' >&2\n"
				"echo 'kvm-agent: no KVM\x1b[2J here' >&2\n"
				"exit 6\n") > 0);
	close(fd);
	assert_int_equal(start(&machine, agent, &err), -EOPNOTSUPP);
	assert_string_equal(err.text, "no KVM\\x1b[2J here");
	expect_state("broken", "crashed");
	/* One that is ready, and holds its lock for as long as it lives. */
	fd = open(agent, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(dprintf(fd,
			    "#!/bin/bash\n"
			    "until [ \"$1\" = --ready-fd ]; do shift; done\n"
			    "eval \"echo >&$2; exec $2>&-\"\n"
			    "exec sleep 1000\n") > 0);
	close(fd);
	assert_int_equal(start(&machine, agent, &err), 0);
	assert_int_equal(start(&machine, agent, &err), -EBUSY);
	assert_int_equal(vms_machine_kill(home, "broken", &err), 0);
	assert_int_equal(vms_machine_wait(home, "broken", 20000, &err), 0);
	while (wait(NULL) > 0)
		;
	assert_int_equal(vms_machine_remove(home, "broken", NULL), 0);
	vms_machine_release(&machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_description_round_trip),
		cmocka_unit_test(test_example_of_the_page),
		cmocka_unit_test(test_descriptions_refused),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_life_of_a_directory),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_removal_is_held),
		cmocka_unit_test(test_stopped_start),
		cmocka_unit_test(test_failed_start),
	};

	return cmocka_run_group_tests(tests, make_home, remove_home);
}
