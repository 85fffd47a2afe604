/* SPDX-License-Identifier: MIT
 *
 * hostile.h - a malformed input given to the program itself: it ends with the code that the contract
 * has for it, says why in words that are safe on a terminal, and takes neither time nor memory for it.
 * A test calls hostile_run for each input and closes with hostile_report.
 */
#ifndef TESTS_HOSTILE_H
#define TESTS_HOSTILE_H

#include "tests/test.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define HOSTILE_COSTS 0		/* a sanitizer's costs are not ours */
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HOSTILE_COSTS 0
#endif
#endif
#ifndef HOSTILE_COSTS
#define HOSTILE_COSTS 1
#endif

enum { HOSTILE_SECONDS = 1, HOSTILE_MIB = 64, HOSTILE_ARGS = 16, HOSTILE_TEXT = 64 << 10 };

static struct {
	size_t n_bad, n_good;		/* inputs: refused, taken */
	double slowest;			/* seconds of processor time */
	long base_kib, most_kib;	/* resident at most: with nothing to read; with the worst input */
	char program[4096];
	char said[HOSTILE_TEXT + 1];	/* both outputs of the last run */
} hostile;

struct hostile_end { int code; double seconds; long kib; };

/* The program that was built with this test: BUILD/tests/test_x has it as BUILD/ingot. */
static inline void hostile_find(void)
{
	ssize_t n = readlink("/proc/self/exe", hostile.program, sizeof hostile.program - 16);

	for (int up = 0; up < 2; up++)
		while (n > 0 && hostile.program[--n] != '/')
			;
	memcpy(hostile.program + (n > 0 ? n : 0), "/ingot", 7);
}

/* Runs it; code 128 + n where it ended by signal n. */
static inline struct hostile_end hostile_spawn(const char *const *args)
{
	const char *argv[HOSTILE_ARGS + 2] = { hostile.program };
	int out = memfd_create("said", MFD_CLOEXEC), status = 0;
	struct rusage u = { 0 };
	ssize_t n;
	pid_t pid;

	for (int i = 0; i < HOSTILE_ARGS && args[i]; i++)
		argv[i + 1] = args[i];
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(out, 1);
		dup2(out, 2);
		alarm(60);
		execv(hostile.program, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &u) != pid)
		abort();
	n = pread(out, hostile.said, HOSTILE_TEXT, 0);
	hostile.said[n > 0 ? n : 0] = 0;
	close(out);
	return (struct hostile_end){
		.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
		.seconds = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
			   1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec),
		.kib = u.ru_maxrss,
	};
}

/* Nothing of an input reaches a terminal raw. */
static inline int hostile_is_printable(const char *p)
{
	for (; *p; p++)
		if (((unsigned char)*p < 0x20 && *p != '\n' && *p != '\t' && *p != '\r') || *p == 0x7F)
			return 0;
	return 1;
}

/* args (closed by NULL) have to end with code and, in some line, word (may be NULL). */
static inline void hostile_run(const char *id, int code, const char *word, const char *const *args)
{
	static const char *const nothing[] = { "--version", NULL };
	struct hostile_end r;

	if (!hostile.program[0]) {
		hostile_find();
		hostile.base_kib = hostile_spawn(nothing).kib;
	}
	r = hostile_spawn(args);
	CHECKF(r.code == code, "%s: exit code %d, expected %d: %s", id, r.code, code, hostile.said);
	CHECKF(!word || strstr(hostile.said, word), "%s: nothing says '%s': %s", id, word, hostile.said);
	CHECKF(code == 0 || strstr(hostile.said, "ingot: "), "%s: %s", id, hostile.said);
	CHECKF(hostile_is_printable(hostile.said), "%s: control bytes in the output", id);
	CHECKF(!strstr(hostile.said, "Sanitizer") && !strstr(hostile.said, "runtime error"), "%s: %s", id, hostile.said);
	if (HOSTILE_COSTS) {
		CHECKF(r.seconds <= HOSTILE_SECONDS, "%s: %.2f s", id, r.seconds);
		CHECKF(r.kib <= hostile.base_kib + HOSTILE_MIB * 1024, "%s: %ld KiB, %ld with nothing to read", id,
		       r.kib, hostile.base_kib);
	}
	hostile.slowest = r.seconds > hostile.slowest ? r.seconds : hostile.slowest;
	hostile.most_kib = r.kib > hostile.most_kib ? r.kib : hostile.most_kib;
}

/* For the log; and that no case was lost on the way. */
static inline void hostile_report(const char *what, size_t least)
{
	CHECKF(hostile.n_bad >= least, "%zu of at least %zu", hostile.n_bad, least);
	printf("%s: %zu malformed inputs and %zu odd ones; slowest %.2f s, most memory %.1f MiB above nothing to read\n",
	       what, hostile.n_bad, hostile.n_good, hostile.slowest, (double)(hostile.most_kib - hostile.base_kib) / 1024);
}

#endif
