/* SPDX-License-Identifier: MIT
 *
 * test_hostile_members.c - forged tars and zips as the SOURCE of `ingot inspect`. What is well-formed holds a config.json and
 * nothing else, so that it is refused as well, but for the checkpoint that is not in it: `has neither`.
 *
 * AR numbers the classes of hostile input that the tests of this repository go through.
 */
#include "tests/forge_archive.h"
#include "tests/hostile.h"

static char dir[] = "/tmp/ingot-members-XXXXXX", path[64];
static const char fine[] = "has neither";

static void given(const char *id, const char *word)
{
	const char *const args[] = { "inspect", path, NULL };
	FILE *f = fopen(path, "wb");

	CHECK(f && fwrite(b.p, 1, b.n, f) == b.n && fclose(f) == 0);
	b.n = 0;
	hostile.n_bad++;
	hostile_run(id, 3, word, args);
}

/* ---- tar -----------------------------------------------------------------------------------*/

static const char zero[] = "00000000000";

static void whole(const char *id, const char *word)
{
	body();
	ends();
	given(id, word);
}

/* The config, then an entry of that name. */
static void second(const char *id, const char *word, const char *name, size_t n, char type, const char *link)
{
	ENTRY("config.json", NULL, '0', ""), body();
	entry(name, n, type == '0' ? NULL : zero, type, link);
	if (type == '0')
		body();
	ends();
	given(id, word);
}
#define SECOND(id, word, name, type, link) second(id, word, name, sizeof(name) - 1, type, link)

static void test_names(void)
{
	SECOND("a second file", fine, "b.txt", '0', "");
	SECOND("a folder", fine, "figures", '5', "");
	SECOND("dots in a name", fine, "..a/b..", '0', "");
	SECOND("AR-01", "leads out", "../b", '0', "");
	SECOND("AR-02", "leads out", "/b", '0', "");
	SECOND("AR-03", "leads out", "a/../../b", '0', "");
	SECOND("AR-03", "leads out", "a/..", '5', "");
	SECOND("AR-05", "out of the archive", "model.safetensors", '2', "/etc/passwd");
	SECOND("AR-05 upwards", "out of the archive", "model.safetensors", '2', "../../etc/passwd");
	SECOND("AR-05 dangling", "no file of the archive", "model.safetensors", '2', "blobs/b");
	SECOND("AR-05 itself", "no file of the archive", "b", '2', "b");
	SECOND("a link inside", fine, "b.json", '2', "config.json");
	SECOND("AR-06", "hard link", "b", '1', "config.json");
	SECOND("AR-07 device", "special file", "b", '3', "");
	SECOND("AR-07 block device", "special file", "b", '4', "");
	SECOND("AR-07 FIFO", "special file", "b", '6', "");
	SECOND("AR-09", "two members", "config.json", '0', "");
	SECOND("AR-09 tidied", "two members", "./config.json", '0', "");
	SECOND("AR-10", "two members", "Config.json", '0', "");
	SECOND("AR-11 back slash", "leads out", "..\\b", '0', "");
	SECOND("AR-11 drive", "leads out", "C:/b", '0', "");
	SECOND("AR-12 escape", "control bytes", "\033[2J", '0', "");
	SECOND("AR-12 newline", "control bytes", "a\nb", '0', "");
	SECOND("AR-12 UTF-8", "invalid UTF-8", "\xC3(", '0', "");
	SECOND("AR-26", "sparse file", "b", 'S', "");
	SECOND("a volume", "several volumes", "b", 'M', "");
	SECOND("two checkpoints", fine, "inner/config.json", '0', "");
	ENTRY("a/config.json", NULL, '0', ""), body(), ENTRY("b/config.json", NULL, '0', ""), whole("two checkpoints", "more than one");
	ENTRY("readme.txt", NULL, '0', ""), whole("no checkpoint", "holds no checkpoint");
	ends(), given("AR-28", "without any file");
}

static void test_sizes(void)
{
	static const char name[] = "config.json";

	ENTRY("config.json", NULL, '0', ""), whole("a tar", fine);
	ENTRY("config.json", "77777777777", '0', ""), whole("AR-23 8 GiB", "inside member 'config.json'");
	ENTRY("config.json", "\x80\0\0\0\0\0\1\0\0\0\0", '0', ""), whole("AR-23 2^40", "inside member 'config.json'");
	ENTRY("config.json", "\x80\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", '0', ""), whole("AR-23 2^64", "a size that no file has");
	ENTRY("config.json", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", '0', ""), whole("AR-24", "negative");
	ENTRY("config.json", "0000000x440", '0', ""), whole("a size that is no number", "no number");
	pax("20 path=config.json\n"), ENTRY("b", NULL, '0', ""), whole("a pax name", fine);
	pax("12 size=800\n"), ENTRY("config.json", NULL, '0', ""), whole("a pax size", fine);
	pax("30 mtime=1700000000.123456789\n"), ENTRY("config.json", NULL, '0', ""), whole("a pax time", fine);
	pax("25 path=../../etc/passwd\n"), ENTRY("config.json", NULL, '0', ""), whole("AR-25 path", "leads out");
	pax("12 size=100\n"), ENTRY("config.json", NULL, '0', ""), whole("AR-25 size", "contradicts");
	pax("20 size=99999999999\n"), ENTRY("config.json", NULL, '0', ""), whole("AR-25 size", "inside member");
	pax("11 size=-1\n"), ENTRY("config.json", NULL, '0', ""), whole("AR-25 size -1", "no number");
	pax("12 size=800\n" "12 size=800\n"), ENTRY("config.json", NULL, '0', ""), whole("a size twice", "twice");
	pax("24 linkpath=/etc/passwd\n"), ENTRY("config.json", zero, '2', ""), ends(), given("AR-25 linkpath", "out of the archive");
	pax("99999999 path=a\n"), ENTRY("config.json", NULL, '0', ""), whole("AR-25 length", "length is wrong");
	pax("3 a\n"), ENTRY("config.json", NULL, '0', ""), whole("a pax record", "length is wrong");
	pax("5 a \n"), ENTRY("config.json", NULL, '0', ""), whole("a pax record", "without a value");
	pax("26 GNU.sparse.size=999999\n"), ENTRY("config.json", NULL, '0', ""), whole("AR-26", "sparse");
	pax("8 a=b c\n"), pax("8 a=b c\n"), ENTRY("config.json", NULL, '0', ""), whole("two pax headers", "two pax headers");
	before('g', "13 comment=x\n", 13), ENTRY("config.json", NULL, '0', ""), whole("a global comment", fine);
	before('g', "10 path=a\n", 10), ENTRY("config.json", NULL, '0', ""), whole("a global name", "global");
	before('L', name, sizeof name), ENTRY("b", NULL, '0', ""), whole("a long name", fine);
	before('L', name, sizeof name), before('L', name, sizeof name), ENTRY("b", NULL, '0', ""), whole("two long names", "twice");
	before('L', "../config.json", 15), ENTRY("b", NULL, '0', ""), whole("AR-01 long", "leads out");
	before('L', name, sizeof name), ends(), given("a name without its entry", "without its entry");
}

static void test_ends(void)
{
	ENTRY("config.json", NULL, '0', ""), b.p[0] ^= 1, whole("the header's sum", "a damaged one");
	ENTRY("config.json", NULL, '0', ""), body(), given("AR-17 no end", "no end mark");
	ENTRY("config.json", NULL, '0', ""), body(), ends(), b.n -= 512, given("half an end", "no end mark");
	ENTRY("config.json", NULL, '0', ""), body(), ends(), b.n -= 512, ENTRY("b", NULL, '0', ""), whole("AR-27 in the end", "follows the end");
	ENTRY("config.json", NULL, '0', ""), body(), ends(), add("more", 4), given("AR-27 behind", "follows the end");
	ENTRY("config.json", NULL, '0', ""), add(text, 100), given("AR-16 in a member", "inside member 'config.json' (bytes 512..1312)");
	ENTRY("config.json", NULL, '0', ""), add(text, sizeof text), given("AR-16 in the padding", "inside member 'config.json'");
	ENTRY("config.json", NULL, '0', ""), body(), ENTRY("b", NULL, '0', ""), b.n -= 100, given("AR-16 in a header", "ends at byte");
	le(8, 2), add("{}", 2), add(text, sizeof text), given("AR-29", "GGUF");
}

/* ---- zip -----------------------------------------------------------------------------------*/

/* One member, its two sides as they are given. */
static void zip(const char *id, const char *word, struct side own, struct side listed, uint32_t mode)
{
	size_t from;

	local(&own);
	from = b.n;
	central(&listed, mode, 0);
	closing(1, from);
	given(id, word);
}

static void same(const char *id, const char *word, struct side s, uint32_t mode)
{
	zip(id, word, s, s, mode);
}

static void test_zip(void)
{
	static char long_name[4097];
	const struct side a = PLAIN("config.json");
	struct side other = a;

	same("a zip", fine, a, FILE_MODE);
	same("AR-01", "leads out", PLAIN("../a"), FILE_MODE);
	same("AR-02", "leads out", PLAIN("/a"), FILE_MODE);
	same("AR-11", "leads out", PLAIN("..\\a"), FILE_MODE);
	same("AR-12 NUL", "NUL", PLAIN("a\0b"), FILE_MODE);
	same("AR-12 escape", "control bytes", PLAIN("\033[2J"), FILE_MODE);
	same("AR-05", "no file of the archive", a, LINK_MODE);
	same("AR-07", "special file", a, 0010644);
	memset(long_name, 'a', sizeof long_name);
	same("a long name", "a name of 4097 bytes; 4096 is the limit", plain(long_name, sizeof long_name), FILE_MODE);
	zip("AR-18 name", "calls itself otherwise", a, PLAIN("Config.json"), FILE_MODE);
	zip("AR-18 longer name", "calls itself otherwise", a, PLAIN("config.jsons"), FILE_MODE);
	other.crc = 1;
	zip("AR-18 CRC", "another CRC", other, a, FILE_MODE);
	other = a;
	other.size = other.packed = 10;
	zip("AR-18 size", "another size", other, a, FILE_MODE);
	other.size = other.packed = UINT32_MAX;
	zip("AR-21 own", "extra fields", other, a, FILE_MODE);
	zip("AR-21", "extra fields", a, other, FILE_MODE);
	other = a;
	other.size = 801;
	same("two sizes", "two sizes", other, FILE_MODE);
	other = a;
	other.packed = other.size = 100000;
	same("outside", "ends outside", other, FILE_MODE);
	other = a;
	other.flags = 1;
	same("AR-22", "encrypted", other, FILE_MODE);
	other = a;
	other.method = 99;
	same("an unknown method", "method 99", other, FILE_MODE);
	other.method = 8;
	same("AR-19 no deflated data", "member 'config.json' (byte 0 of 800)", other, FILE_MODE);
	same("a link that is packed", "not stored as one", other, LINK_MODE);
	zip("two methods", "packed otherwise", other, a, FILE_MODE);
	other.size = 1 << 20;
	same("AR-13 a bomb", "past the limit", (struct side){ other.name, other.name_n, 1, 800, 2 << 20, 0, 8 }, FILE_MODE);
}

/* Enough beside it that the archive as a whole is not too small for it. */
static void test_bomb(void)
{
	const struct side filler = { "b", 1, 0, 20 * sizeof text, 20 * sizeof text, 0, 0 };
	const struct side bomb = { "config.json", 11, 0, sizeof text, 2 << 20, 0, 8 };
	size_t from, second;

	local(&filler);
	for (int i = 1; i < 20; i++)
		add(text, sizeof text);
	second = b.n;
	local(&bomb), from = b.n, central(&filler, FILE_MODE, 0), central(&bomb, FILE_MODE, (uint32_t)second), closing(2, from);
	given("AR-13 one member", "unpacks to more than 200 times its 800 bytes");
}

static void test_odd_links(void)
{
	const struct side empty = { "b", 1, 0, 0, 0, 0, 0 };
	size_t from;

	local(&empty), b.n -= sizeof text, from = b.n, central(&empty, LINK_MODE, 0), closing(1, from);
	given("an empty link", "not stored as one");
	text[3] = 0;
	same("AR-12 a link", "a link with NUL in it", PLAIN("b"), LINK_MODE);
	fill_text();
}

static void test_crc(void)
{
	struct side a = PLAIN("model.safetensors");

	a.crc = 1;
	same("AR-19", "CRC", a, FILE_MODE);
}

/* One deflated block that is stored: 5 bytes in front of it. */
static void test_deflated(void)
{
	enum { N = sizeof text - 5 };
	struct side a = { "config.json", 11, 0, sizeof text, N, 0, 8 };

	memcpy(text, (const uint8_t[]){ 1, N & 255, N >> 8, ~N & 255, ~(N >> 8) & 255 }, 5);
	a.crc = crc32_of(text + 5, N);
	same("a deflated member", fine, a, FILE_MODE);
	a.crc++;
	same("AR-19 deflated", "has not the CRC", a, FILE_MODE);
	a.crc--, a.size--;
	same("AR-21 more than it says", "more than it declares", a, FILE_MODE);
	a.size += 2;
	same("AR-21 less than it says", "not the size that it declares", a, FILE_MODE);
	text[0] = 0;	/* and another block is to come */
	a.size = N;
	same("AR-16 in a deflated member", "ends inside its deflated data", a, FILE_MODE);
	fill_text();
}

/* Directories that do not fit what they list. */
static void test_directory(void)
{
	const struct side a = PLAIN("config.json"), two = PLAIN("b");
	size_t from;

	local(&a), from = b.n, central(&a, FILE_MODE, 0), central(&two, FILE_MODE, 0), closing(2, from);
	given("AR-15", "calls itself otherwise");
	local(&a), from = b.n, central(&a, FILE_MODE, 0), central(&a, FILE_MODE, 0), closing(2, from);
	given("AR-09 and 15", "share bytes");
	local(&a), local(&two), from = b.n, central(&a, FILE_MODE, 0), closing(1, from), given("a hidden one", "belong to no member");
	add("#!/bin/sh\n", 10), local(&a), from = b.n, central(&a, FILE_MODE, 10), closing(1, from), given("AR-27 in front", "GGUF");
	local(&two), local(&a), from = b.n, central(&a, FILE_MODE, (uint32_t)(30 + 1 + sizeof text)), closing(1, from);
	given("AR-27 in front", "in front of the first");
	local(&a), from = b.n, central(&a, FILE_MODE, 5000), closing(1, from), given("outside the file", "outside the file");
	local(&a), from = b.n, central(&a, FILE_MODE, 1), closing(1, from), given("beside it", "no member where");
	local(&a), given("AR-17", "no zip end record");
	local(&a), from = b.n, closing(0, from), given("AR-17 empty directory", "belong to no member");
	local(&a), from = b.n, central(&a, FILE_MODE, 0), closing(2, from), given("an entry too few", "no directory entry");
	local(&a), from = b.n, central(&a, FILE_MODE, 0), central(&a, FILE_MODE, 0), closing(1, from), given("too many", "more in the directory");
	local(&a), from = b.n, central(&a, FILE_MODE, 0), b.p[from + 30] = 0xFF, closing(1, from), given("cut short", "cut short");
	local(&a), from = b.n, central(&a, FILE_MODE, 0), closing(1, from), add("tail", 4), given("AR-27", "no zip end record");
	local(&a), from = b.n, central(&a, FILE_MODE, 0), closing(1, from + 1), given("it starts later", "no directory entry");
	closing(0, 0), given("AR-28", "without any file");
	local(&a), from = b.n, central(&a, FILE_MODE, 0), closing(1, from), b.p[b.n - 18] = 1, given("a volume", "several volumes");
	same("no name", "an entry without a name", (struct side){ "", 0, a.crc, a.packed, a.size, 0, 0 }, FILE_MODE);
}

/* The end of a zip of more than fits 32 bits, of which the directory begins at from: record, locator, end record. */
struct end64 { uint64_t n, size, off, at, own; uint32_t disk; bool narrow; };

static struct end64 end64_of(size_t from)
{
	return (struct end64){ .n = 1, .size = b.n - from, .off = from, .at = b.n, .own = 44 };
}

static void end64(const char *id, const char *word, struct end64 x)
{
	uint64_t n = x.narrow ? 7 : UINT16_MAX, wide = UINT32_MAX;

	le(4, 0x06064B50), le(8, x.own), le(2, 45), le(2, 45), le(4, 0), le(4, 0), le(8, x.n), le(8, x.n), le(8, x.size), le(8, x.off);
	le(4, 0x07064B50), le(4, x.disk), le(8, x.at), le(4, 1);
	le(4, 0x06054B50), le(4, 0), le(2, n), le(2, n), le(4, wide), le(4, wide), le(2, 0);
	given(id, word);
}

static size_t one_member(void)
{
	const struct side a = PLAIN("config.json");
	size_t from;

	local(&a), from = b.n, central(&a, FILE_MODE, 0);
	return from;
}

static void test_zip64(void)
{
	struct end64 x;

#define WRONG(id, word, change) do { x = end64_of(one_member()); change; end64(id, word, x); } while (0)
	WRONG("a zip64 end", fine, (void)0);
	WRONG("AR-21 a record elsewhere", "not where it should be", x.at--);
	WRONG("AR-21 a record on another volume", "not where it should be", x.disk = 1);
	WRONG("AR-21 a record of another size", "contradicts", x.own++);
	WRONG("AR-21 two numbers of entries", "contradicts", x.narrow = true);
	WRONG("AR-21 more entries", "no directory entry", x.n = 2);
	WRONG("AR-21 2^63 entries", "is the limit", x.n = UINT64_MAX / 2);
	WRONG("AR-21 a directory of 2^40 bytes", "zip directory of", x.size = UINT64_C(1) << 40);
	WRONG("AR-21 a directory that wraps around", "does not end at byte", x.off = UINT64_MAX - 10);
	WRONG("AR-27 between directory and record", "does not end at byte", x.size--);
#undef WRONG
}

static void test_count(void)
{
	hostile_report("archives as sources", 85);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/input", dir);
	fill_text();
	RUN(test_names);
	RUN(test_sizes);
	RUN(test_ends);
	RUN(test_zip);
	RUN(test_bomb);
	RUN(test_odd_links);
	RUN(test_crc);
	RUN(test_deflated);
	RUN(test_directory);
	RUN(test_zip64);
	RUN(test_count);
	unlink(path);
	rmdir(dir);
	return test_done();
}
