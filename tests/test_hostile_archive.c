/* SPDX-License-Identifier: MIT
 *
 * test_hostile_archive.c - forged tars and zips, byte by byte, as the text of `ingot perplexity`: names that
 * lead out, sizes that lie, entries that are no files, a zip that is two archives in one. What libarchive can
 * write itself (cuts, bombs, compression within compression) is in test_archive.c.
 *
 * AR numbers the classes of hostile input that the tests of this repository go through.
 */
#include "tests/forge_archive.h"
#include "tests/hostile.h"

static char dir[] = "/tmp/ingot-hostile-XXXXXX", path[64];

/* Writes what was gathered and runs it; code 0: it is taken. */
static void given(const char *id, int code, const char *word)
{
	const char *const args[] = { "perplexity", "samples/v4-tiny", "-f", path, "-c", "64", "--chunks", "1", NULL };
	FILE *f = fopen(path, "wb");

	CHECK(f && fwrite(b.p, 1, b.n, f) == b.n && fclose(f) == 0);
	b.n = 0;
	if (code)
		hostile.n_bad++;
	else
		hostile.n_good++;
	hostile_run(id, code, word, args);
}

/* ---- tar -----------------------------------------------------------------------------------*/

static void whole_tar(const char *id, int code, const char *word)
{
	body();
	ends();
	given(id, code, word);
}

static void test_tar(void)
{
	static const char zero[] = "00000000000";

	ENTRY("a", NULL, '0', ""), whole_tar("AR-08 setuid", 0, NULL);
	ENTRY("", NULL, '0', ""), whole_tar("no name", 3, "has no name that can be read");
	ENTRY("../a", NULL, '0', ""), whole_tar("AR-01", 3, "leads out");
	ENTRY("/a", NULL, '0', ""), whole_tar("AR-02", 3, "leads out");
	ENTRY("a/../../b", NULL, '0', ""), whole_tar("AR-03", 3, "leads out");
	ENTRY("a/..", NULL, '0', ""), whole_tar("AR-03", 3, "leads out");
	ENTRY("..a/b..", NULL, '0', ""), whole_tar("dots in a name", 0, NULL);
	ENTRY("..\\a", NULL, '0', ""), whole_tar("AR-11", 3, "leads out");
	ENTRY("C:/a", NULL, '0', ""), whole_tar("AR-11", 3, "leads out");
	ENTRY("\033[2J", NULL, '0', ""), whole_tar("AR-12 escape", 3, "control bytes");
	ENTRY("a\nb", NULL, '0', ""), whole_tar("AR-12 newline", 3, "control bytes");
	ENTRY("a", zero, '2', "/etc/passwd"), ends(), given("AR-05", 3, "a link");
	ENTRY("a", zero, '2', "b"), ENTRY("a", NULL, '0', ""), whole_tar("AR-04", 3, "a link");
	ENTRY("a", NULL, '0', ""), body(), ENTRY("b", zero, '1', "a"), ends(), given("AR-06", 3, "a link");
	ENTRY("a", NULL, '0', ""), body(), ENTRY("b", zero, '1', "/etc/passwd"), ends(), given("AR-06", 3, "a link");
	ENTRY("a", zero, '3', ""), ends(), given("AR-07 device", 3, "special file");
	ENTRY("a", zero, '6', ""), ends(), given("AR-07 FIFO", 3, "special file");
	ENTRY("a", NULL, '0', ""), body(), ENTRY("a", NULL, '0', ""), whole_tar("AR-09", 3, "holds 2 files");
	ENTRY("a", NULL, '0', ""), body(), ENTRY("A", NULL, '0', ""), whole_tar("AR-10", 3, "holds 2 files");
	ENTRY("a", "77777777777", '0', ""), whole_tar("AR-23 8 GiB", 3, NULL);
	ENTRY("a", "\x80\0\0\0\0\0\1\0\0\0\0", '0', ""), whole_tar("AR-23 2^40", 3, NULL);
	ENTRY("a", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", '0', ""), whole_tar("AR-24", 3, "negative");
	pax("25 path=../../etc/passwd\n"), ENTRY("a", NULL, '0', ""), whole_tar("AR-25 path", 3, "leads out");
	pax("20 size=99999999999\n"), ENTRY("a", NULL, '0', ""), whole_tar("AR-25 size", 3, NULL);
	pax("11 size=-1\n"), ENTRY("a", NULL, '0', ""), whole_tar("AR-25 size -1", 3, NULL);
	pax("24 linkpath=/etc/passwd\n"), ENTRY("a", zero, '2', ""), ends(), given("AR-25 linkpath", 3, "a link");
	pax("99999999 path=a\n"), ENTRY("a", NULL, '0', ""), whole_tar("AR-25 length", 3, NULL);
	pax("26 GNU.sparse.size=999999\n"), ENTRY("a", NULL, '0', ""), whole_tar("AR-26", 3, NULL);
	ends(), given("AR-28", 3, "without any file");
	ENTRY("a", NULL, '0', ""), b.p[0] ^= 1, whole_tar("the header's sum", 3, "damaged");
	ENTRY("a", NULL, '0', ""), body(), given("no end", 3, "no end mark");
}

/* ---- zip -----------------------------------------------------------------------------------*/

/* One member, its two sides as they are given. */
static void zip(const char *id, int code, const char *word, struct side own, struct side listed, uint32_t mode)
{
	size_t from;

	local(&own);
	from = b.n;
	central(&listed, mode, 0);
	closing(1, from);
	given(id, code, word);
}
static void same(const char *id, int code, const char *word, struct side s, uint32_t mode)
{
	zip(id, code, word, s, s, mode);
}

static void test_zip(void)
{
	const struct side a = PLAIN("a");
	struct side other = a;

	same("a zip", 0, NULL, a, FILE_MODE);
	same("AR-08 setuid", 0, NULL, a, FILE_MODE | 04000);
	same("AR-01", 3, "leads out", PLAIN("../a"), FILE_MODE);
	same("AR-02", 3, "leads out", PLAIN("/a"), FILE_MODE);
	same("AR-03", 3, "leads out", PLAIN("a/../../b"), FILE_MODE);
	same("AR-11", 3, "leads out", PLAIN("..\\a"), FILE_MODE);
	same("AR-12 NUL", 3, "NUL", PLAIN("a\0b"), FILE_MODE);
	same("AR-12 escape", 3, "control bytes", PLAIN("\033[2J"), FILE_MODE);
	same("AR-05", 3, "a link", a, LINK_MODE);
	zip("AR-18 name", 3, "calls itself otherwise", a, PLAIN("b"), FILE_MODE);
	zip("AR-18 longer name", 3, "calls itself otherwise", a, PLAIN("ab"), FILE_MODE);
	other.crc = 1;
	zip("AR-18 CRC", 3, "CRC", other, a, FILE_MODE);
	same("AR-19", 3, "CRC", other, FILE_MODE);
	other = a;
	other.size = other.packed = 10;
	zip("AR-18 size", 3, "size", other, a, FILE_MODE);
	zip("AR-18 size", 3, "says another size", a, other, FILE_MODE);
	other.size = other.packed = UINT32_MAX;
	zip("AR-21", 3, NULL, a, other, FILE_MODE);
	other = a;
	other.flags = 1;
	same("AR-22", 3, "encrypted", other, FILE_MODE);
	other = a;
	other.method = 99;
	same("an unknown method", 3, NULL, other, FILE_MODE);
}

/* Directories that do not fit what they list. */
static void test_directory(void)
{
	const struct side a = PLAIN("a"), two = PLAIN("b");
	size_t from;

	local(&a), from = b.n, central(&a, FILE_MODE, 0), central(&two, FILE_MODE, 0), closing(2, from);
	given("AR-15", 3, "calls itself otherwise");
	local(&a), from = b.n, central(&a, FILE_MODE, 0), central(&a, FILE_MODE, 0), closing(2, from);
	given("AR-09 and 15", 3, NULL);
	local(&a), from = b.n, central(&a, FILE_MODE, 5000), closing(1, from), given("outside the file", 3, "outside the file");
	local(&a), from = b.n, central(&a, FILE_MODE, 1), closing(1, from), given("beside it", 3, "no member where");
	local(&a), given("AR-17", 3, "no zip end record");
	local(&a), from = b.n, closing(1, from), given("AR-17 empty directory", 3, NULL);
	local(&a), from = b.n, central(&a, FILE_MODE, 0), closing(2, from), given("an entry too few", 3, "no directory entry");
	local(&a), from = b.n, central(&a, FILE_MODE, 0), b.p[from + 30] = 0xFF, closing(1, from);
	given("an entry cut short", 3, "cut short");
	local(&a), from = b.n, central(&a, FILE_MODE, 0), closing(1, from), add("tail", 4), given("AR-27", 3, "no zip end record");
	local(&a), from = b.n, central(&a, FILE_MODE, 0), closing(1, from + 1), given("a directory that starts later", 3, "no directory entry");
}

/* Bytes that are no part of the archive, before it and within: a script, or another file, that others would see. */
static void test_polyglots(void)
{
	const struct side a = PLAIN("a"), upper = PLAIN("A");
	static const char script[] = "#!/bin/sh\nexit 0\n\0";
	size_t from, second;

	local(&a), second = b.n, local(&upper), from = b.n, central(&a, FILE_MODE, 0);
	central(&upper, FILE_MODE, (uint32_t)second), closing(2, from), given("AR-10", 3, "holds 2 files");
	add(script, sizeof script), local(&a), from = b.n, central(&a, FILE_MODE, sizeof script), closing(1, from);
	given("AR-27 before it", 3, "is no text");
	add(script, sizeof script), local(&a), from = b.n, central(&a, FILE_MODE, 0), closing(1, from - sizeof script);
	given("AR-27 before it, places of its own", 3, "is no text");
	local(&upper), second = b.n, local(&a), from = b.n, central(&a, FILE_MODE, (uint32_t)second), closing(1, from);
	given("AR-27 a member that no entry names", 3, "in front of the first member");
	local(&a), add(script, sizeof script), from = b.n, central(&a, FILE_MODE, 0), closing(1, from);
	given("AR-27 before the directory", 3, "belong to no member");
}

/* What streaming writers put: sizes behind the data, and in 64 bits. */
static void test_streamed(void)
{
	struct side a = PLAIN("a"), wide;
	size_t from;

	a.flags = 8;
	local(&a), le(4, 0x08074B50), le(4, a.crc), le(4, a.size), le(4, a.size), from = b.n;
	central(&a, FILE_MODE, 0), closing(1, from), given("sizes behind the data", 0, NULL);
	local(&a), le(8, 0), le(8, 0), le(1, 0), from = b.n, central(&a, FILE_MODE, 0), closing(1, from);
	given("AR-27 more than sizes behind the data", 3, "belong to no member");
	wide = a = PLAIN("a");
	wide.packed = UINT32_MAX;
	local(&a), from = b.n, central(&wide, FILE_MODE, 0), b.p[from + 30] = 12;
	le(2, 1), le(2, 8), le(8, a.packed), closing(1, from), given("a size in 64 bits", 0, NULL);
	local(&a), from = b.n, central(&wide, FILE_MODE, 0), b.p[from + 30] = 12;
	le(2, 1), le(2, 8), le(8, UINT64_MAX - 8), closing(1, from), given("AR-21 64 bits", 3, "two sizes");
	wide.size = UINT32_MAX;
	for (uint64_t n = a.packed - 1; n; n = n == a.packed - 1 ? UINT64_MAX - 8 : 0) {
		local(&a), from = b.n, central(&wide, FILE_MODE, 0), b.p[from + 30] = 20;
		le(2, 1), le(2, 16), le(8, n), le(8, n), closing(1, from), given("AR-21 both sizes", 3, "says another size");
	}
}

static void test_count(void)
{
	hostile_report("archives", 60);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/input", dir);
	fill_text();
	RUN(test_tar);
	RUN(test_zip);
	RUN(test_directory);
	RUN(test_polyglots);
	RUN(test_streamed);
	RUN(test_count);
	unlink(path);
	rmdir(dir);
	return test_done();
}
