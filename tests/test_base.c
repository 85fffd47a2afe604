/* SPDX-License-Identifier: MIT
 *
 * test_base.c - what every message and every allocation passes through: texts that are safe on a terminal whatever
 * bytes they were made of, errors that are never longer than their place, sizes that do not wrap around.
 */
#include "format/base.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void shows(const char *in, size_t n, const char *want)
{
	char out[128];

	CHECKF(strcmp(escape_text(out, sizeof out, in, n), want) == 0, "'%s', not '%s'", out, want);
}
#define SHOWS(in, want) shows(in, sizeof(in) - 1, want)

static void test_escaped(void)
{
	SHOWS("", "");
	SHOWS("a b~", "a b~");
	SHOWS("\033[2J", "\\x1b[2J");
	SHOWS("a\0b\n\x7F", "a\\x00b\\x0a\\x7f");
	SHOWS("\xC3\xA9 \xE4\xBD\xA0 \xF0\x9F\x98\x80", "\xC3\xA9 \xE4\xBD\xA0 \xF0\x9F\x98\x80");
	SHOWS("\xC2\xA0\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF", "\xC2\xA0\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF");
	/* valid UTF-8 that repaints a terminal: C1 controls, embeddings, overrides, isolates; their neighbours do not */
	SHOWS("\xC2\x9B" "2J", "\\xc2\\x9b2J");
	SHOWS("\xE2\x80\xAA\xE2\x80\xAE", "\\xe2\\x80\\xaa\\xe2\\x80\\xae");
	SHOWS("\xE2\x81\xA6\xE2\x81\xA9", "\\xe2\\x81\\xa6\\xe2\\x81\\xa9");
	SHOWS("\xE2\x80\xAF\xE2\x81\xAA", "\xE2\x80\xAF\xE2\x81\xAA");
	/* not UTF-8: a byte alone, overlong forms, surrogates, beyond U+10FFFF, cut short, broken off */
	SHOWS("\x80\xBF", "\\x80\\xbf");
	SHOWS("\xC0\xAF\xC1\xBF", "\\xc0\\xaf\\xc1\\xbf");
	SHOWS("\xE0\x9F\xBF", "\\xe0\\x9f\\xbf");
	SHOWS("\xF0\x8F\xBF\xBF", "\\xf0\\x8f\\xbf\\xbf");
	SHOWS("\xED\xA0\x80", "\\xed\\xa0\\x80");
	SHOWS("\xF4\x90\x80\x80\xF5\xFF", "\\xf4\\x90\\x80\\x80\\xf5\\xff");
	SHOWS("\xE2\x82", "\\xe2\\x82");
	SHOWS("\xE2\x82z", "\\xe2\\x82z");
}

/* A place that is too small takes whole characters and whole escapes, and is closed. */
static void test_cut(void)
{
	static const char in[] = "a\xC3\xA9\033z";	/* shown: 1, 2, 4, 1 bytes */
	static const size_t fits[] = { 0, 0, 1, 1, 3, 3, 3, 3, 7, 8, 8 };
	char out[16];

	for (size_t cap = 1; cap < sizeof fits / sizeof *fits; cap++) {
		memset(out, '#', sizeof out);
		escape_text(out, cap, in, sizeof in - 1);
		CHECKF(strlen(out) == fits[cap] && out[cap] == '#', "%zu bytes of room: %zu used", cap, strlen(out));
	}
}

static void test_errors(void)
{
	static char text[3 * sizeof(struct err)];
	struct err e;

	memset(text, 'x', sizeof text - 1);
	CHECK(err_set(&e, ERR_FORMAT, "%s", text) == ERR_FORMAT && strlen(e.msg) == sizeof e.msg - 1);
	CHECK(err_wrap(&e, "file %d", 7) == ERR_FORMAT && strncmp(e.msg, "file 7: xxx", 11) == 0);
	CHECK(strlen(e.msg) == sizeof e.msg - 1);
	CHECK(err_wrap(&e, "%s", text) == ERR_FORMAT && strlen(e.msg) == sizeof e.msg - 1);
	errno = ENOENT;
	CHECK(err_errno(&e, "%s", text) == ERR_IO && strlen(e.msg) == sizeof e.msg - 1);
	errno = ENOENT;
	CHECK(err_errno(&e, "a.gguf: cannot open") == ERR_IO && e.status == ERR_IO);
	CHECKF(strcmp(e.msg, "a.gguf: cannot open: No such file or directory; look at the path") == 0, "%s", e.msg);
}

/* The exit codes are a promise to scripts: each status keeps its own, and what is none of them is no success. */
static void test_exit_codes(void)
{
	static const struct { enum status st; int code; } known[] = {
		{ OK, 0 }, { ERR_MISMATCH, 1 }, { ERR_USAGE, 2 }, { ERR_FORMAT, 3 }, { ERR_UNSUPPORTED, 3 }, { ERR_IO, 4 },
		{ ERR_NOMEM, 4 }, { ERR_NO_DIGEST, 5 }, { ERR_BUSY, 6 }, { ERR_STOPPED, 128 },
	};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		CHECKF(status_exit_code(known[i].st) == known[i].code, "status %d: %d", (int)known[i].st,
		       status_exit_code(known[i].st));
}

/* Notes are bounded: a long one is cut, those past the limit are counted. */
static void test_notes(void)
{
	static char text[5000];
	struct log l = { 0 };

	log_add(NULL, "nobody listens");
	memset(text, 'x', sizeof text - 1);
	log_add(&l, "%s", text);
	CHECKF(l.len == 4096 && l.text[4094] == 'x' && l.text[4095] == '\n' && l.text[4096] == 0, "%zu bytes", l.len);
	for (size_t i = 0; i < LOG_MAX / 1000; i++)
		log_add(&l, "%.999s", text);
	CHECKF(l.n_dropped > 0 && l.n_lines + l.n_dropped == LOG_MAX / 1000 + 1 && l.len < LOG_MAX, "%zu bytes", l.len);
	CHECK(l.text[l.len] == 0 && l.text[l.len - 1] == '\n');
	log_close(&l);
	CHECK(!l.text && l.n_lines == 0);
}

/* Counts that no memory holds are an error that says how many, and what was there stays. */
static void test_memory(void)
{
	struct err e;
	void *p = NULL, *before;
	size_t cap = 0;

	CHECK(mem_grow(&p, &cap, 1, 8, "things", &e) == OK && p && cap == 16);
	before = p;
	CHECK(mem_grow(&p, &cap, 16, 8, "things", &e) == OK && p == before);
	CHECK(mem_grow(&p, &cap, 17, 8, "things", &e) == OK && cap == 24);
	before = p;
	CHECK(mem_grow(&p, &cap, SIZE_MAX / 8, 16, "things", &e) == ERR_NOMEM && p == before && cap == 24);
	CHECKF(strncmp(e.msg, "no memory for things (", 22) == 0, "%s", e.msg);
	free(p);
#ifndef SANITIZED	/* whose allocator ends the program instead */
	CHECK(!mem_new(SIZE_MAX, 2, "things", &e) && e.status == ERR_NOMEM);
	CHECK(!mem_new(SIZE_MAX / 4, 1, "things", &e) && e.status == ERR_NOMEM);
#endif
	free(mem_new(0, 0, "nothing", &e));
}

static void joins(const char *dir, const char *name, const char *want)
{
	struct err e;
	char *p = path_join(dir, name, &e);

	CHECKF(p && strcmp(p, want) == 0, "'%s', not '%s'", p ? p : e.msg, want);
	free(p);
}

static void test_paths(void)
{
	joins("a", "b", "a/b");
	joins("a/", "b", "a/b");
	joins("/", "b", "/b");
	joins("", "b", "b");
}

/* Whatever of a file is no longer as when it was opened: its length, its time; or the name is another file's, which is not. */
static void test_unchanged(void)
{
	char path[] = "/tmp/ingot-base-XXXXXX", other[sizeof path + 2];
	const struct timespec times[2] = { { 1, 0 }, { 1, 1 } };
	int fd = mkstemp(path);
	struct file f, again;
	struct err e;

	CHECK(fd >= 0 && write(fd, "text", 4) == 4);
	CHECK(file_open(&f, AT_FDCWD, path, false, path, &e) == OK && file_unchanged(&f, &e) == OK);
	CHECK(file_open(&again, AT_FDCWD, path, false, path, &e) == OK && file_id_same(&f.id, &again.id));
	CHECK(futimens(fd, times) == 0);
	CHECK(file_unchanged(&f, &e) == ERR_IO && strstr(e.msg, "changed while it was being read"));
	file_close(&f);
	file_close(&again);
	CHECK(file_open(&f, AT_FDCWD, path, false, path, &e) == OK);
	CHECK(write(fd, "s", 1) == 1 && futimens(fd, times) == 0);
	CHECK(file_unchanged(&f, &e) == ERR_IO);
	snprintf(other, sizeof other, "%s.2", path);
	CHECK(rename(path, other) == 0);
	close(fd);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, "texts", 5) == 5 && futimens(fd, times) == 0);
	CHECK(file_open(&again, AT_FDCWD, path, false, path, &e) == OK && !file_id_same(&f.id, &again.id));
	file_close(&f);
	file_close(&again);
	close(fd);
	unlink(path);
	unlink(other);
}

int main(void)
{
	RUN(test_escaped);
	RUN(test_cut);
	RUN(test_errors);
	RUN(test_exit_codes);
	RUN(test_notes);
	RUN(test_memory);
	RUN(test_paths);
	RUN(test_unchanged);
	return test_done();
}
