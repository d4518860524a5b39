/* SPDX-License-Identifier: Apache-2.0 */
/* What every test of the engine includes. */
#ifndef TESTS_UNIT_ENGINE_TEST_H
#define TESTS_UNIT_ENGINE_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/rig/engine_rig.h"

#define RIG_TEST(fn)                                          \
	cmocka_unit_test_setup_teardown(fn, engine_rig_setup, \
					engine_rig_teardown)

static inline void assert_done(int r, const struct err *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, err->text);
	assert_int_equal(r, 0);
}

#endif
