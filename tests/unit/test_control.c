/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket of an image that is served: snapshots through it, who is
 * refused, peers that misbehave, and a server that ends. */
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/unit/live_bench.h"
#include "vmsnap/live.h"

static struct vms_control *serve(struct bench *bench)
{
	struct vms_control *control;
	struct err err = { 0 };

	assert_done(vms_control_start(&control, bench->live, &err), &err);
	return control;
}

static int try_other(struct bench *bench, struct vms *vms,
		     struct vms_live **out, struct err *err)
{
	struct vms_live_options options = {
		.io = bench->rig->real,
		.path = bench->path,
		.mode = IMAGE_READ_WRITE,
		.vms = vms,
		.ask_server = true,
	};

	return vms_live_open(out, &options, err);
}

static struct vms_live *open_other(struct bench *bench)
{
	struct vms_live *live;
	struct err err = { 0 };

	assert_done(try_other(bench, bench->rig->vms, &live, &err), &err);
	return live;
}

static void socket_name(const struct bench *bench, char path[600])
{
	snprintf(path, 600, "%s.sock", bench->path);
}

/* ---- a peer by hand ---- */

static int connect_raw(struct bench *bench)
{
	struct err err = { 0 };
	int fd = control_connect_to(bench->path, &err);

	if (fd < 0)
		fail_msg("%s", err.text);
	return fd;
}

/* 0: it has hung up. */
static size_t read_raw(int fd, char *line, size_t capacity)
{
	size_t used = 0;

	while (used + 1 < capacity && recv(fd, line + used, 1, 0) == 1) {
		if (line[used++] == '\n')
			break;
	}
	line[used] = '\0';
	return used;
}

static void say_raw(int fd, const char *text)
{
	/* It may have hung up before all was sent. */
	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void assert_answer(int fd, const char *question, const char *part)
{
	char line[CONTROL_LINE_MAX];

	say_raw(fd, question);
	assert_true(read_raw(fd, line, sizeof(line)) > 0);
	if (!strstr(line, part))
		fail_msg("'%s' has no '%s'", line, part);
}

static int greeted(struct bench *bench)
{
	char line[CONTROL_LINE_MAX];
	int fd = connect_raw(bench);

	assert_true(read_raw(fd, line, sizeof(line)) > 0);
	assert_non_null(strstr(line, "\"image-control\""));
	return fd;
}

/* ---- tests ---- */

static void a_snapshot_of_what_is_served(void **state)
{
	struct snapshot made = { 0 };
	struct vms_absorb how = { .name = "clone" };
	struct vms_control *control;
	struct vms_live *other;
	struct image_info info;
	struct err err = { 0 };
	struct bench bench;
	uint64_t process;

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	control = serve(&bench);
	for (unsigned round = 0; round < 3; round++) {
		scribble(&bench, 10);
		other = open_other(&bench);
		assert_null(vms_live_image(other));
		assert_done(vms_live_info(other, &info, &process, &err), &err);
		assert_int_equal(process, getpid());
		assert_int_equal(info.size_bytes, bench.size);
		assert_true(info.data_bytes > 0);
		assert_done(
			vms_live_absorb(other, &how, NULL, NULL, &made, &err),
			&err);
		assert_image(&bench);
		assert_snapshot(&bench, &made);
		assert_int_equal(count_pins(&bench, &made.volumes[0].root), 1);
		assert_done(vms_live_info(other, &info, &process, &err), &err);
		assert_int_equal(info.data_bytes, 0);
		assert_int_equal(info.first_layer, info.top_layer);
		assert_memory_equal(info.base.root, made.volumes[0].root.b,
				    ID_SIZE);
		snapshot_release(&made);
		/* Twice over one connection. */
		scribble(&bench, 3);
		assert_done(
			vms_live_absorb(other, &how, NULL, NULL, &made, &err),
			&err);
		assert_snapshot(&bench, &made);
		snapshot_release(&made);
		assert_done(vms_live_close(other, &err), &err);
	}
	vms_control_stop(control);
	shut(&bench);
	reopen(&bench);
	assert_image(&bench);
	end(&bench);
}

static void one_at_a_time(void **state)
{
	struct vms_absorb how = { 0 };
	struct vms_control *control;
	struct vms_live *other;
	struct image_info info;
	struct err err = { 0 };
	struct bench bench;
	int fd;

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	control = serve(&bench);
	scribble(&bench, 5);
	fd = greeted(&bench);
	assert_answer(fd, "{\"do\":\"swap\"}\n", "\"invalid\"");
	assert_answer(fd, "{\"do\":\"seal\"}\n", "\"layer\":1");
	/* No note. */
	assert_answer(fd, "{\"do\":\"swap\"}\n", "\"not-found\"");
	other = open_other(&bench);
	assert_int_equal(vms_live_absorb(other, &how, NULL, NULL, NULL, &err),
			 -EBUSY);
	/* Sealed again and again; then it goes, and another absorbs it all. */
	assert_answer(fd, "{\"do\":\"seal\"}\n", "\"layer\":2");
	close(fd);
	while (vms_live_absorb(other, &how, NULL, NULL, NULL, &err) == -EBUSY)
		poll(NULL, 0, 1);
	assert_image(&bench);
	assert_done(image_get_info(vms_live_image(bench.live), &info, &err),
		    &err);
	assert_int_equal(info.first_layer, info.top_layer);
	assert_done(vms_live_close(other, &err), &err);
	vms_control_stop(control);
	end(&bench);
}

/* Nothing that a peer sends or leaves unsent is in the way of another. */
static void bad_manners(void **state)
{
	static const char *const lines[] = {
		"\n", "[]\n", "seal\n", "{\"do\":\"seal\"\n", "\xff\xfe\n",
	};
	char line[CONTROL_LINE_MAX], *endless = malloc(CONTROL_LINE_MAX + 1);
	struct vms_control *control;
	struct bench bench;
	int idle[7], partial, fd;

	assert_non_null(endless);
	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	control = serve(&bench);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		fd = greeted(&bench);
		say_raw(fd, lines[i]);
		assert_int_equal(read_raw(fd, line, sizeof(line)), 0);
		close(fd);
	}
	fd = greeted(&bench);
	memset(endless, 'x', CONTROL_LINE_MAX);
	endless[CONTROL_LINE_MAX] = '\0';
	say_raw(fd, endless);
	assert_int_equal(read_raw(fd, line, sizeof(line)), 0);
	close(fd);
	fd = greeted(&bench);
	assert_answer(fd, "{\"do\":\"format\"}\n", "\"invalid\"");
	/* It never ends this one. */
	say_raw(fd, "{\"do\":");
	partial = fd;
	free(endless);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		idle[i] = greeted(&bench);
	/* No room for a ninth. */
	fd = connect_raw(&bench);
	assert_int_equal(read_raw(fd, line, sizeof(line)), 0);
	close(fd);
	/* Ends while they are there. */
	vms_control_stop(control);
	close(partial);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		close(idle[i]);
	end(&bench);
}

static void the_name(void **state)
{
	char path[600], longer[256];
	struct vms_control *control;
	struct vms_live *other;
	struct err err = { 0 };
	struct bench bench;
	struct stat st;
	int fd;

	begin_disk(&bench, state);
	/* Longer than an address; also by a relative path. */
	snprintf(longer, sizeof(longer), "%s/%0100d", bench.rig->dir, 1);
	assert_int_equal(mkdir(longer, 0700), 0);
	free(bench.path);
	snprintf(path, sizeof(path), "%s/disk.vsi", longer);
	bench.path = strdup(path);
	create(&bench, 0);
	reopen(&bench);
	control = serve(&bench);
	socket_name(&bench, path);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	fd = greeted(&bench);
	assert_answer(fd, "{\"do\":\"info\"}\n", "\"ok\":true");
	close(fd);
	vms_control_stop(control);
	assert_int_equal(stat(path, &st), -1);
	/* In use, and nobody serves it. */
	assert_int_equal(try_other(&bench, bench.rig->vms, &other, &err),
			 -EBUSY);
	assert_non_null(strstr(err.text, "in use"));
	/* A dead server's is replaced, a file is not. */
	fd = control_bind(bench.path, &err);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(try_other(&bench, bench.rig->vms, &other, &err),
			 -EBUSY);
	vms_control_stop(serve(&bench));
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(vms_control_start(&control, bench.live, &err),
			 -EEXIST);
	assert_int_equal(stat(path, &st), 0);
	end(&bench);
}

/* A server of another image, and one without a store. */
static void not_what_was_meant(void **state)
{
	char path[600], kept[600];
	struct vms_absorb how = { 0 };
	struct vms_control *control;
	struct vms_live *other;
	struct err err = { 0 };
	struct bench bench, blank;

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	begin(&blank, state);
	free(blank.path);
	blank.path = strdup(engine_rig_path(blank.rig, "blank.vsi"));
	create(&blank, 1u << 20);
	{
		struct vms_live_options options = {
			.io = blank.rig->real,
			.path = blank.path,
			.mode = IMAGE_READ_WRITE,
		};

		assert_done(vms_live_open(&blank.live, &options, &err), &err);
	}
	control = serve(&blank);
	assert_done(try_other(&blank, blank.rig->vms, &other, &err), &err);
	assert_int_equal(vms_live_absorb(other, &how, NULL, NULL, NULL, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "without a store"));
	assert_done(vms_live_close(other, &err), &err);
	socket_name(&blank, path);
	socket_name(&bench, kept);
	assert_int_equal(rename(path, kept), 0);
	assert_int_equal(try_other(&bench, bench.rig->vms, &other, &err),
			 -ESTALE);
	assert_int_equal(rename(kept, path), 0);
	vms_control_stop(control);
	assert_done(vms_live_close(blank.live, &err), &err);
	blank.live = NULL;
	end(&blank);
	end(&bench);
}

struct ending {
	struct vms_control *control;
};

static void end_server(void *arg, uint64_t layer)
{
	struct ending *ending = arg;

	assert_true(layer > 0);
	vms_control_stop(ending->control);
	ending->control = NULL;
}

/* In the middle of an absorb: what was sealed stays, and the next one takes
 * it; of both pins the right one is left. */
static void the_server_ends(void **state)
{
	struct snapshot made = { 0 };
	struct vms_absorb how = { .name = "clone" };
	struct ending ending = { 0 };
	struct vms_live *other;
	struct err err = { 0 };
	struct bench bench;

	begin_disk(&bench, state);
	create(&bench, 0);
	reopen(&bench);
	ending.control = serve(&bench);
	scribble(&bench, 10);
	other = open_other(&bench);
	assert_int_equal(
		vms_live_absorb(other, &how, end_server, &ending, &made, &err),
		-ECONNRESET);
	assert_non_null(strstr(err.text, "keeps its layers"));
	assert_done(vms_live_close(other, &err), &err);
	assert_int_equal(count_pins(&bench, NULL), 2);
	assert_image(&bench);
	shut(&bench);
	reopen(&bench);
	ending.control = serve(&bench);
	other = open_other(&bench);
	assert_done(vms_live_absorb(other, &how, NULL, NULL, &made, &err),
		    &err);
	assert_snapshot(&bench, &made);
	assert_int_equal(count_pins(&bench, &made.volumes[0].root), 1);
	snapshot_release(&made);
	assert_done(vms_live_close(other, &err), &err);
	vms_control_stop(ending.control);
	end(&bench);
}

/* Who hangs accepts nobody, and has no room for more by and by: that is told,
 * and nobody hangs with him. */
static void nobody_accepts(void **state)
{
	const struct engine_rig *rig = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval limit = { 1, 1 };
	socklen_t size = sizeof(limit);
	struct err err = { 0 };
	char path[80];
	int fds[64], listener, fd;
	unsigned count = 0;

	assert_true(snprintf(path, sizeof(path), "%s/silent", rig->dir) <
		    (int)sizeof(path));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s.sock", path);
	listener = control_bind(path, &err);
	assert_true(listener >= 0);
	for (;;) {
		assert_true(count < ARRAY_SIZE(fds));
		fds[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_true(fds[count] >= 0);
		if (connect(fds[count++], (struct sockaddr *)&address,
			    sizeof(address)) < 0)
			break;
	}
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(control_connect_to(path, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "nobody accepts"));
	/* With room again; and what is said then has no such limit. */
	close(accept(listener, NULL, NULL));
	fd = control_connect_to(path, &err);
	assert_true(fd >= 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &size),
			 0);
	assert_true(!limit.tv_sec && !limit.tv_usec);
	close(fd);
	while (count)
		close(fds[--count]);
	close(listener);
	control_unbind(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(a_snapshot_of_what_is_served),
		RIG_TEST(one_at_a_time),
		RIG_TEST(bad_manners),
		RIG_TEST(the_name),
		RIG_TEST(not_what_was_meant),
		RIG_TEST(the_server_ends),
		RIG_TEST(nobody_accepts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
