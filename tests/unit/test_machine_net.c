/* SPDX-License-Identifier: Apache-2.0 */
/* A machine's network in words: what is understood, what is refused, what an
 * address is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "vmsnap/machine_net.h"

static struct err err;

static void parse(const char *text, struct vms_machine_net *out)
{
	if (vms_net_parse(text, out, &err) != 0)
		fail_msg("'%s': %s", text, err.text);
	assert_int_equal(vms_net_set_mac(out, NULL, &err), 0);
	assert_int_equal(machine_net_check(out, &err), 0);
}

static void test_words(void **state)
{
	struct vms_machine_net net;

	(void)state;
	parse("none", &net);
	assert_int_equal(net.kind, VMS_NET_NONE);
	parse("user", &net);
	assert_int_equal(net.kind, VMS_NET_USER);
	assert_int_equal(net.forward_count, 0);
	assert_false(net.host);
	parse("user,tcp=2222:22,udp=53,host,tcp=127.0.0.1/80:8080,tcp=::1/1",
	      &net);
	assert_int_equal(net.forward_count, 4);
	assert_string_equal(net.forwards[0], "tcp=2222:22");
	assert_string_equal(net.forwards[1], "udp=53");
	assert_string_equal(net.forwards[2], "tcp=127.0.0.1/80:8080");
	assert_string_equal(net.forwards[3], "tcp=::1/1");
	assert_true(net.host);
	parse("tap=tap0", &net);
	assert_int_equal(net.kind, VMS_NET_TAP);
	assert_string_equal(net.interface, "tap0");
	parse("tap=fifteen-letters", &net);
}

static void many_ports(char text[1024], unsigned count)
{
	int size = snprintf(text, 1024, "user");

	for (unsigned i = 0; i < count; i++)
		size += snprintf(text + size, 1024 - (size_t)size, ",tcp=7");
}

static void test_words_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"users",
		"user,",
		"user,,host",
		"user,hosts",
		"user,tcp",
		"user,tcp=",
		"user,tcp=0",
		"user,tcp=65536",
		"user,tcp=99999999999999999999",
		"user,tcp=22:",
		"user,tcp=22:0",
		"user,tcp=22:23:24",
		"user,tcp=all",
		"user,tcp=-t",
		"user,tcp=1-2",
		"user,tcp=/22",
		"user,tcp=a.b.c.d.e.f.g/",
		"user,tcp=lo%eth0/22",
		"user,sctp=22",
		"tap",
		"tap=",
		"tap=.",
		"tap=..",
		"tap=a/b",
		"tap=a b",
		"tap=sixteen-letters-",
		"tap=\xc3\xa4",
		"none,host",
		"NONE",
	};
	struct vms_machine_net net = { .kind = VMS_NET_TAP };
	char many[1024];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		if (vms_net_parse(bad[i], &net, &err) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
	}
	/* Longer than a port's words may be. */
	snprintf(many, sizeof(many), "user,tcp=%0*d/22", VMS_NET_FORWARD_MAX,
		 1);
	assert_int_equal(vms_net_parse(many, &net, &err), -EINVAL);
	many_ports(many, VMS_NET_FORWARDS_MAX);
	assert_int_equal(vms_net_parse(many, &net, &err), 0);
	net.kind = VMS_NET_TAP;
	many_ports(many, VMS_NET_FORWARDS_MAX + 1);
	assert_int_equal(vms_net_parse(many, &net, &err), -EINVAL);
	/* As it was. */
	assert_int_equal(net.kind, VMS_NET_TAP);
}

static void test_addresses(void **state)
{
	static const char *const bad[] = {
		"",
		"52:54:00:12:34",
		"52:54:00:12:34:5",
		"52:54:00:12:34:567",
		"52-54-00-12-34-56",
		"g2:54:00:12:34:56",
		"01:00:5e:00:00:01",
		"ff:ff:ff:ff:ff:ff",
		"00:00:00:00:00:00",
		"5:254:00:12:34:56",
	};
	struct vms_machine_net net = { .kind = VMS_NET_USER }, other;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		if (vms_net_set_mac(&net, bad[i], &err) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
	}
	assert_int_equal(vms_net_set_mac(&net, "52:54:00:AB:cD:EF", &err), 0);
	assert_string_equal(net.mac, "52:54:00:ab:cd:ef");
	/* Of two that are made, none is like the other. */
	other = net;
	assert_int_equal(vms_net_set_mac(&net, NULL, &err), 0);
	assert_int_equal(vms_net_set_mac(&other, NULL, &err), 0);
	assert_string_not_equal(net.mac, other.mac);
	assert_int_equal(strncmp(net.mac, "52:54:00:", 9), 0);
	assert_int_equal(machine_net_check(&net, &err), 0);
}

static void test_no_such_interface(void **state)
{
	struct vms_machine_net net = { .kind = VMS_NET_TAP,
				       .mac = "52:54:00:12:34:56",
				       .interface = "vms-no-such-if" };
	struct machine_net opened;

	(void)state;
	assert_int_equal(machine_net_open(&opened, &net, &err), -ENONET);
	assert_non_null(strstr(err.text, "ip tuntap add dev vms-no-such-if"));
	machine_net_release(&opened);
	/* One that is there, and no tap: never taken, whoever asks. */
	strcpy(net.interface, "lo");
	assert_true(machine_net_open(&opened, &net, &err) < 0);
	machine_net_release(&opened);
}

static void put_script(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", text);
	assert_int_equal(fchmod(fileno(file), 0700), 0);
	assert_int_equal(fclose(file), 0);
}

/* Programs of that name, for passt's. */
static void test_passt(void **state)
{
	struct vms_machine_net net;
	struct machine_net opened;
	char folder[] = "/tmp/vmsnap-net-XXXXXX", path[64], said[80];
	char *before = strdup(getenv("PATH")), line[256];
	FILE *file;
	int r;

	(void)state;
	assert_non_null(mkdtemp(folder));
	parse("user,tcp=127.0.0.1/2222:22,udp=53", &net);
	assert_int_equal(setenv("PATH", folder, 1), 0);
	assert_int_equal(vms_net_user_check(&err), -ENONET);
	assert_non_null(strstr(err.text, "apt install passt"));
	assert_int_equal(machine_net_open(&opened, &net, &err), -ENONET);
	assert_non_null(strstr(err.text, "apt install passt"));
	machine_net_release(&opened);
	snprintf(path, sizeof(path), "%s/passt", folder);
	snprintf(said, sizeof(said), "%s.said", path);
	/* With ports it is ready, or has failed, when it is opened. */
	put_script(path, "echo \"$@\" >$0.said");
	assert_int_equal(machine_net_open(&opened, &net, &err), 0);
	assert_true(opened.fd >= 0);
	assert_int_equal(opened.passt, 0);
	machine_net_release(&opened);
	file = fopen(said, "re");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	fclose(file);
	assert_string_equal(line, "--quiet --fd 3 --no-map-gw "
				  "-t 127.0.0.1/2222:22 -u 53\n");
	put_script(path, "echo first >&2; echo the reason >&2; exit 1");
	assert_int_equal(machine_net_open(&opened, &net, &err), -ENONET);
	assert_non_null(strstr(err.text, ": the reason"));
	machine_net_release(&opened);
	/* Without, it is waited for; and one that never gets ready is not. */
	parse("user,host", &net);
	r = machine_net_open(&opened, &net, &err);
	if (!r)
		r = machine_net_await(&opened, &err);
	assert_int_equal(r, -ENONET);
	assert_non_null(strstr(err.text, ": the reason"));
	machine_net_release(&opened);
	put_script(path, "kill -STOP $$");
	/* Where there is no way out, it is waited for. */
	if (vms_net_user_check(NULL) == 0) {
		assert_int_equal(machine_net_open(&opened, &net, &err), 0);
		assert_true(opened.passt > 0);
		machine_net_release(&opened);
	}
	setenv("PATH", before, 1);
	free(before);
	unlink(said);
	unlink(path);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_words_refused),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_no_such_interface),
		cmocka_unit_test(test_passt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
