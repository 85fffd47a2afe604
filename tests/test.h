/* SPDX-License-Identifier: MIT
 *
 * test.h - the whole unit-test framework. A test is a function; CHECK counts and goes on, so one
 * run shows all that is wrong. main() calls RUN(f) for each and returns test_done(), which
 * prints "N passed, N failed": N counts test functions.
 */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_n_passed, test_n_failed, test_bad_checks;

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			test_bad_checks++;                                                         \
			fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__,   \
				#cond);                                                            \
		}                                                                                  \
	} while (0)
/* With a printf-style explanation of the case at hand. */
#define CHECKF(cond, ...)                                                                          \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			test_bad_checks++;                                                         \
			fprintf(stderr, "%s:%d: %s: failed: %s: ", __FILE__, __LINE__, __func__,   \
				#cond);                                                            \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
		}                                                                                  \
	} while (0)
#define RUN(f)                                                                                     \
	do {                                                                                       \
		int before = test_bad_checks;                                                      \
		f();                                                                               \
		if (test_bad_checks == before)                                                     \
			test_n_passed++;                                                           \
		else                                                                               \
			test_n_failed++, fprintf(stderr, "FAILED %s\n", #f);                       \
	} while (0)

static inline int test_done(void)
{
	printf("%d passed, %d failed\n", test_n_passed, test_n_failed);
	return test_n_failed != 0;
}

#endif
