/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of pins that nobody of ours has written. */
#include "tests/unit/live_bench.h"

#define ID "00112233445566778899aabbccddeeff"

static enum vms_pin_state judge(struct engine_rig *rig, const char *owner,
				const char *host, const char *path)
{
	struct vms_pin_verdict verdict = { 0 };
	struct pin pin = {
		.owner = (char *)(uintptr_t)owner,
		.host = (char *)(uintptr_t)host,
		.path = (char *)(uintptr_t)path,
	};

	vms_pin_judge(rig->real, ID, &pin, &verdict);
	assert_true(*verdict.why);
	return verdict.state;
}

static void odd_pins(void **state)
{
	struct engine_rig *rig = *state;
	char host[256] = "", long_path[9000];

	gethostname(host, sizeof(host) - 1);
	memset(long_path, 'a', sizeof(long_path));
	long_path[0] = '/';
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(judge(rig, "template", host, "/x"), VMS_PIN_UNKNOWN);
	assert_int_equal(judge(rig, "image", NULL, "/x"), VMS_PIN_UNKNOWN);
	assert_int_equal(judge(rig, "image", host, NULL), VMS_PIN_UNKNOWN);
	assert_int_equal(judge(rig, "image", "", "/x"), VMS_PIN_UNKNOWN);
	assert_int_equal(judge(rig, "image", host, ""), VMS_PIN_UNKNOWN);
	assert_int_equal(judge(rig, "image", host, "x.vsi"), VMS_PIN_UNKNOWN);
	assert_int_equal(judge(rig, "image", host, "/tmp/\\xff.vsi"),
			 VMS_PIN_UNKNOWN);
	assert_int_equal(judge(rig, "image", host, long_path), VMS_PIN_UNKNOWN);
	long_path[4000] = '\0';
	assert_int_equal(judge(rig, "image", host, long_path), VMS_PIN_UNKNOWN);
	assert_int_equal(judge(rig, "image", host, "/dev/zero"),
			 VMS_PIN_UNKNOWN);
	assert_int_equal(judge(rig, "image", host, rig->dir), VMS_PIN_UNKNOWN);
	assert_int_equal(judge(rig, "image", host, "/no/such/x.vsi"),
			 VMS_PIN_UNKNOWN);
	assert_int_equal(judge(rig, "image", host, "/there-is-none.vsi"),
			 VMS_PIN_GONE);
	assert_int_equal(
		judge(rig, "image", host, engine_rig_path(rig, "none.vsi")),
		VMS_PIN_GONE);
}

/* Its pin is used, another on the same path is not. */
static void of_an_image(void **state)
{
	struct vms_pin_verdict verdict;
	struct image_base_info info;
	char hex[SMALL_ID_HEX_SIZE], host[256] = "";
	struct pin pin = { .owner = (char *)(uintptr_t) "image", .host = host };
	struct bench bench;
	struct err err = { 0 };

	begin_disk(&bench, state);
	gethostname(host, sizeof(host) - 1);
	create(&bench, 0);
	pin.path = bench.path;
	assert_done(image_read_base_info(bench.io, bench.path, &info, &err),
		    &err);
	hex_encode(hex, info.pin, SMALL_ID_SIZE);
	vms_pin_judge(bench.io, hex, &pin, &verdict);
	assert_int_equal(verdict.state, VMS_PIN_USED);
	/* While it is open, too. */
	reopen(&bench);
	vms_pin_judge(bench.io, hex, &pin, &verdict);
	assert_int_equal(verdict.state, VMS_PIN_USED);
	assert_int_equal(
		vms_pin_remove(bench.rig->vms, bench.io, hex, true, hex, &err),
		-EBUSY);
	assert_int_equal(count_pins(&bench, NULL), 1);
	assert_int_equal(judge(bench.rig, "image", host, bench.path),
			 VMS_PIN_GONE);
	end(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(odd_pins),
		RIG_TEST(of_an_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
