/* SPDX-License-Identifier: MIT
 *
 * test_archive.c - texts in every container that is read, and what of a damaged or hostile one is
 * refused. Fixtures come from libarchive's writer, then bytes are changed by hand; the writer and
 * the reader are different code there. What must hold: the text comes back whole, or an error.
 */
#include "format/base.h"
#include "tests/test.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <unistd.h>

static char dir[] = "/tmp/ingot-archive-XXXXXX";
static char path[300];
static struct err err;

enum { TEXT_BYTES = 150000, ROOM = 4 << 20 };
static char text[TEXT_BYTES + 1];	/* lines that compress about 4:1, longer than two blocks */
static uint8_t made[ROOM];		/* the fixture at hand */
static size_t made_n;

struct entry { const char *name; unsigned type; const char *link, *body; size_t n; };
#define FILE_OF(name, body) { name, AE_IFREG, NULL, body, sizeof(body) - 1 }
#define WIKI { "wikitext-2-raw/wiki.test.raw", AE_IFREG, NULL, text, TEXT_BYTES }
#define FOLDER { "wikitext-2-raw/", AE_IFDIR, NULL, NULL, 0 }

static void make_text(void)
{
	uint32_t x = 1;

	for (size_t i = 0; i < TEXT_BYTES; i++) {
		x = x * 1664525 + 1013904223;
		text[i] = i % 61 == 60 ? '\n' : "etaoin shrdlu cm"[x >> 28];
	}
}

/* ---- fixtures -------------------------------------------------------------------------------*/

enum { F_USTAR = ARCHIVE_FORMAT_TAR_USTAR, F_PAX = ARCHIVE_FORMAT_TAR, F_GNU = ARCHIVE_FORMAT_TAR_GNUTAR,
       F_ZIP = ARCHIVE_FORMAT_ZIP, F_RAW = ARCHIVE_FORMAT_RAW };
enum { C_NONE = ARCHIVE_FILTER_NONE, C_GZIP = ARCHIVE_FILTER_GZIP, C_XZ = ARCHIVE_FILTER_XZ,
       C_ZSTD = ARCHIVE_FILTER_ZSTD, C_BZIP2 = ARCHIVE_FILTER_BZIP2 };

static void make(int format, int filter, const char *options, const struct entry *in, size_t n)
{
	struct archive *a = archive_write_new();

	CHECK(archive_write_set_format(a, format) == ARCHIVE_OK);
	CHECK(archive_write_add_filter(a, filter) == ARCHIVE_OK);
	if (format == F_RAW)
		archive_write_set_bytes_in_last_block(a, 1);
	CHECK(!options || archive_write_set_options(a, options) == ARCHIVE_OK);
	if (options && strstr(options, "encryption"))
		archive_write_set_passphrase(a, "secret");
	CHECK(archive_write_open_memory(a, made, sizeof made, &made_n) == ARCHIVE_OK);
	for (size_t i = 0; i < n; i++) {
		struct archive_entry *e = archive_entry_new();

		archive_entry_set_pathname(e, in[i].name);
		archive_entry_set_filetype(e, in[i].type ? in[i].type : AE_IFREG);
		archive_entry_set_perm(e, 0644);
		archive_entry_set_size(e, (la_int64_t)in[i].n);
		if (in[i].link && in[i].type == AE_IFLNK)
			archive_entry_set_symlink(e, in[i].link);
		else if (in[i].link)
			archive_entry_set_hardlink(e, in[i].link);
		CHECKF(archive_write_header(a, e) == ARCHIVE_OK, "%s", archive_error_string(a));
		if (in[i].n)
			CHECK(archive_write_data(a, in[i].body, in[i].n) == (la_ssize_t)in[i].n);
		archive_entry_free(e);
	}
	CHECK(archive_write_close(a) == ARCHIVE_OK);
	archive_write_free(a);
}
#define MAKE(format, filter, options, ...)                                                         \
	make(format, filter, options, (struct entry[]){ __VA_ARGS__ },                             \
	     sizeof((struct entry[]){ __VA_ARGS__ }) / sizeof(struct entry))

static void put(const void *p, size_t n)
{
	snprintf(path, sizeof path, "%s/input", dir);
	FILE *f = fopen(path, "wb");

	CHECK(f && fwrite(p, 1, n, f) == n);
	if (f)
		fclose(f);
}

/* ---- reading --------------------------------------------------------------------------------*/

static enum status read_at(const char *member, uint64_t limit, char **got, size_t *n)
{
	char full[600];

	snprintf(full, sizeof full, "%s%s%s", path, member ? ":" : "", member ? member : "");
	err = (struct err){ 0 };
	return text_read(full, limit, 1 << 30, got, n, &err);
}

static bool reads(const char *member, const char *want, size_t want_n)
{
	char *got;
	size_t n;
	bool ok;

	put(made, made_n);
	ok = read_at(member, ROOM, &got, &n) == OK && n == want_n && memcmp(got, want, n) == 0 && got[n] == 0;
	if (!ok)
		fprintf(stderr, "%zu bytes; %s\n", n, err.msg);
	free(got);
	return ok;
}

/* Refused with that status, with words in the message, and with nothing to free. */
static bool refuses(const char *member, enum status want, const char *words)
{
	char *got;
	size_t n;
	enum status st;
	bool ok;

	put(made, made_n);
	st = read_at(member, ROOM, &got, &n);
	ok = st == want && err.status == want && !got && n == 0 && strstr(err.msg, words);
	if (!ok)
		fprintf(stderr, "status %d, %zu bytes; %s\n", (int)st, n, err.msg);
	free(got);
	return ok;
}

/* ---- the cases ------------------------------------------------------------------------------*/

static void test_plain(void)
{
	char *got;
	size_t n;

	memcpy(made, text, made_n = TEXT_BYTES);
	CHECK(reads(NULL, text, TEXT_BYTES));
	CHECK(refuses("x", ERR_FORMAT, "no archive"));
	made_n = 0;
	CHECK(reads(NULL, "", 0));
	put(text, 1000);
	CHECK(read_at(NULL, 1000, &got, &n) == OK);
	free(got);
	CHECK(read_at(NULL, 999, &got, &n) == ERR_UNSUPPORTED && strstr(err.msg, "999"));
	CHECK(text_read(path, 1000, 999, &got, &n, &err) == ERR_NOMEM);
	CHECK(text_read("/no/such/file:member", 1, 1, &got, &n, &err) == ERR_IO);
	CHECK(text_read("/dev/null", 1, 1, &got, &n, &err) == ERR_FORMAT);
}

static void test_compressed(void)
{
	static const int filters[] = { C_GZIP, C_XZ, C_ZSTD };

	for (size_t i = 0; i < 3; i++) {
		MAKE(F_RAW, filters[i], NULL, WIKI);
		CHECKF(reads(NULL, text, TEXT_BYTES), "filter %d", filters[i]);
		CHECK(refuses("x", ERR_FORMAT, "one compressed file"));
		MAKE(F_RAW, filters[i], NULL, FILE_OF("x", ""));
		CHECKF(reads(NULL, "", 0), "filter %d, empty", filters[i]);
		MAKE(F_USTAR, filters[i], NULL, FOLDER, WIKI);
		CHECKF(reads(NULL, text, TEXT_BYTES), "tar, filter %d", filters[i]);
		CHECK(reads("wikitext-2-raw/wiki.test.raw", text, TEXT_BYTES));
	}
	MAKE(F_RAW, C_BZIP2, NULL, WIKI);
	CHECK(refuses(NULL, ERR_UNSUPPORTED, "bzip2"));
}

/* gzip files one after the other are one text, by RFC 1952 */
static void test_gzip_members(void)
{
	size_t n;

	MAKE(F_RAW, C_GZIP, NULL, FILE_OF("x", "one "));
	n = made_n;
	memcpy(made + n, made, n);
	made_n = 2 * n;
	CHECK(reads(NULL, "one one ", 8));
	made_n = 2 * n - 1;
	CHECK(refuses(NULL, ERR_FORMAT, "ends inside"));
	made_n = n;
	made[n - 8] ^= 1;
	CHECK(refuses(NULL, ERR_FORMAT, "check"));
}

static void test_archives(void)
{
	static const int formats[] = { F_USTAR, F_PAX, F_GNU, F_ZIP };

	for (size_t i = 0; i < 4; i++) {
		MAKE(formats[i], C_NONE, NULL, FOLDER, WIKI);
		CHECKF(reads(NULL, text, TEXT_BYTES), "format %x", (unsigned)formats[i]);
		MAKE(formats[i], C_NONE, NULL, FILE_OF("a", "aa"), WIKI, FILE_OF("d/b", "bbb"));
		CHECK(reads("a", "aa", 2));
		CHECK(reads("wikitext-2-raw/wiki.test.raw", text, TEXT_BYTES));
		CHECK(reads("d/b", "bbb", 3));
		CHECK(refuses(NULL, ERR_FORMAT, "holds 3 files; name one as "));
		CHECK(strstr(err.msg, "input:MEMBER; they are: a, wikitext-2-raw/wiki.test.raw, d/b"));
		CHECK(refuses("b", ERR_FORMAT, "no member 'b'; it holds 3: a, "));
		MAKE(formats[i], C_NONE, NULL, FOLDER);
		CHECK(refuses(NULL, ERR_FORMAT, "without any file"));
		CHECK(refuses("a", ERR_FORMAT, "without any file"));
		make(formats[i], C_NONE, NULL, NULL, 0);
		CHECKF(refuses(NULL, ERR_FORMAT, "without any file"), "format %x", (unsigned)formats[i]);
		MAKE(formats[i], C_NONE, NULL, FILE_OF("a", "aa"), FILE_OF("a", "bb"));
		CHECK(refuses("a", ERR_FORMAT, formats[i] == F_ZIP ? "" : "two members"));
		MAKE(formats[i], C_NONE, NULL, FILE_OF("a", "aa"), { "l", AE_IFLNK, "/etc/passwd", NULL, 0 });
		CHECK(refuses("a", ERR_UNSUPPORTED, "link"));
		CHECK(refuses("l", ERR_UNSUPPORTED, "link"));
	}
	MAKE(F_ZIP, C_NONE, "compression=store", WIKI);
	CHECK(reads(NULL, text, TEXT_BYTES));
	MAKE(F_USTAR, C_NONE, NULL, FILE_OF("a", "aa"), { "h", AE_IFREG, "a", NULL, 0 });
	CHECK(refuses("a", ERR_UNSUPPORTED, "link"));
	MAKE(F_USTAR, C_NONE, NULL, { "p", AE_IFIFO, NULL, NULL, 0 });
	CHECK(refuses("p", ERR_UNSUPPORTED, "special file"));
}

/* Names beyond ASCII are compared as bytes, whatever the locale. */
static void test_names(void)
{
	locale_t names = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	static const int formats[] = { F_USTAR, F_GNU, F_PAX, F_ZIP };
	static const char name[] = "\xE4\xBD\xA0 a:b.txt";

	for (size_t i = 0; i < 4; i++) {
		locale_t before = uselocale(names);	/* so that pax and zip call them UTF-8 */

		MAKE(formats[i], C_NONE, NULL, FILE_OF(name, "aa"), FILE_OF("b", "bb"));
		uselocale(before);
		CHECKF(reads(name, "aa", 2), "format %x", (unsigned)formats[i]);
	}
	freelocale(names);
}

static void test_many(void)
{
	static struct entry in[4097];
	static char names[4097][8];

	for (int i = 0; i < 4097; i++) {
		snprintf(names[i], sizeof names[i], "%d", i);
		in[i] = (struct entry){ names[i], AE_IFREG, NULL, "x", 1 };
	}
	make(F_USTAR, C_GZIP, NULL, in, 4096);
	CHECK(reads("4095", "x", 1));
	make(F_USTAR, C_GZIP, NULL, in, 4097);
	CHECK(refuses("0", ERR_UNSUPPORTED, "more than 4096 entries"));
	make(F_ZIP, C_NONE, NULL, in, 4096);
	CHECK(reads("4095", "x", 1));
	CHECK(refuses(NULL, ERR_FORMAT, "17, 18, 19, ..."));
	make(F_ZIP, C_NONE, NULL, in, 4097);
	CHECK(refuses("0", ERR_UNSUPPORTED, "4096 is the limit"));
}

/* A zip that is a hole but for its end record, which declares a directory of that size. */
static void put_directory(uint32_t size)
{
	uint8_t end[22] = { 'P', 'K', 5, 6, 0, 0, 0, 0, 1, 0, 1 };

	store_le(end + 12, 4, size);
	store_le(end + 16, 4, 4);
	put("PK\3\4", 4);
	FILE *f = truncate(path, 4 + (off_t)size) == 0 ? fopen(path, "ab") : NULL;

	CHECK(f && fwrite(end, 1, sizeof end, f) == sizeof end);
	if (f)
		fclose(f);
}

static void test_large_directory(void)
{
	char *got;
	size_t n;

	put_directory((64u << 20) + 1);
	CHECKF(read_at("a", ROOM, &got, &n) == ERR_UNSUPPORTED && strstr(err.msg, "zip directory of 67108865 bytes"), "%s", err.msg);
	put_directory(64u << 20);
	CHECKF(read_at("a", ROOM, &got, &n) == ERR_FORMAT, "%s", err.msg);
}

/* Cut anywhere, no container gives a text. */
static void test_truncated(void)
{
	static const int formats[] = { F_USTAR, F_PAX, F_GNU, F_ZIP, F_RAW };
	static const int filters[] = { C_NONE, C_GZIP, C_XZ, C_ZSTD };

	for (size_t i = 0; i < 5; i++)
		for (size_t j = 0; j < 4; j++) {
			if ((formats[i] == F_RAW) == (filters[j] == C_NONE) || (formats[i] == F_ZIP && j))
				continue;
			make(formats[i], filters[j], NULL, (struct entry[]){ FOLDER, WIKI } + (formats[i] == F_RAW),
			     formats[i] == F_RAW ? 1 : 2);
			size_t whole = made_n;
			for (size_t cut = 1; cut < 100; cut += cut < 97 ? 4 : 1) {
				made_n = whole * cut / 100;
				/* a plain tar ends in zero blocks, of which two are enough */
				if (filters[j] == C_NONE && formats[i] != F_ZIP && made_n >= whole - 9216)
					continue;
				CHECKF(refuses(NULL, ERR_FORMAT, ""), "format %x filter %d %zu %%", (unsigned)formats[i],
				       filters[j], cut);
			}
			made_n = whole - 1;
			if (filters[j] != C_NONE || formats[i] == F_ZIP)
				CHECKF(refuses(NULL, ERR_FORMAT, ""), "format %x filter %d", (unsigned)formats[i],
				       filters[j]);
		}
	/* a plain tar that stops right behind its member, with one end block, with both */
	MAKE(F_USTAR, C_NONE, NULL, FILE_OF("a", "aa"));
	made_n = 1024;
	CHECK(refuses(NULL, ERR_FORMAT, "no end mark"));
	made_n = 1536;
	CHECK(refuses(NULL, ERR_FORMAT, "no end mark"));
	made_n = 2048;
	CHECK(reads(NULL, "aa", 2));
}

static void test_trailing(void)
{
	static const int filters[] = { C_NONE, C_GZIP, C_XZ, C_ZSTD };

	for (size_t j = 0; j < 4; j++) {
		MAKE(F_USTAR, filters[j], NULL, WIKI);
		memcpy(made + made_n, "garbage!", 8);
		made_n += 8;
		CHECKF(refuses(NULL, ERR_FORMAT, ""), "tar, filter %d", filters[j]);
		if (!j)
			continue;
		MAKE(F_RAW, filters[j], NULL, WIKI);
		memcpy(made + made_n, "garbage!", 8);
		made_n += 8;
		CHECKF(refuses(NULL, ERR_FORMAT, ""), "filter %d", filters[j]);
	}
	MAKE(F_ZIP, C_NONE, NULL, WIKI);
	memcpy(made + made_n, "garbage!", 8);
	made_n += 8;
	CHECK(refuses(NULL, ERR_FORMAT, "end record"));
	MAKE(F_ZIP, C_NONE, NULL, WIKI);
	memmove(made + 8, made, made_n);	/* something in front, looking like a zip too */
	memcpy(made, "PK\3\4....", 8);
	made_n += 8;
	CHECK(refuses(NULL, ERR_FORMAT, "put before"));
}

static void test_damaged(void)
{
	MAKE(F_ZIP, C_NONE, "compression=store", FILE_OF("a", "some text that is stored"));
	for (size_t i = 0; i < made_n; i++)
		if (memcmp(made + i, "some", 4) == 0) {
			made[i] ^= 1;
			break;
		}
	CHECK(refuses(NULL, ERR_FORMAT, "CRC"));
	MAKE(F_USTAR, C_NONE, NULL, FILE_OF("a", "aa"));
	made[124] = '7';			/* its size: the header's sum no longer fits */
	CHECK(refuses(NULL, ERR_FORMAT, ""));
	MAKE(F_RAW, C_XZ, NULL, WIKI);
	made[made_n / 2] ^= 1;
	CHECK(refuses(NULL, ERR_FORMAT, ""));
	MAKE(F_ZIP, C_NONE, NULL, FILE_OF("a", "aa"));
	made[made_n - 14] = made[made_n - 12] = 2;	/* entries, in the end record */
	CHECK(refuses("a", ERR_FORMAT, "no directory entry"));
	MAKE(F_ZIP, C_NONE, "zip:encryption=zipcrypt", FILE_OF("a", "aa"));
	CHECK(refuses("a", ERR_UNSUPPORTED, "encrypted"));
	MAKE(F_ZIP, C_NONE, "zip:encryption=aes256", FILE_OF("a", "aa"));
	CHECK(refuses("a", ERR_UNSUPPORTED, "encrypted"));
}

/* The fixture becomes one member, compressed, without a tar around it. */
static void wrap(int filter)
{
	static uint8_t inner[ROOM];
	size_t n = made_n;

	memcpy(inner, made, n);
	make(F_RAW, filter, NULL, &(struct entry){ "x", AE_IFREG, NULL, (char *)inner, n }, 1);
}

static void test_twice(void)
{
	static const int filters[] = { C_GZIP, C_XZ, C_ZSTD };

	for (size_t i = 0; i < 3; i++)
		for (size_t j = 0; j < 3; j++) {
			MAKE(F_RAW, filters[i], NULL, FILE_OF("x", "text"));
			wrap(filters[j]);
			CHECKF(refuses(NULL, ERR_UNSUPPORTED, "twice"), "%zu in %zu", i, j);
		}
	MAKE(F_ZIP, C_NONE, NULL, FILE_OF("x", "text"));
	wrap(C_GZIP);
	CHECK(refuses(NULL, ERR_UNSUPPORTED, "twice"));
}

/* 64 MiB of zeros behind one letter, in each container. */
static void test_bomb(void)
{
	static const struct { int format, filter; } cases[] = {
		{ F_RAW, C_GZIP }, { F_RAW, C_ZSTD }, { F_USTAR, C_GZIP }, { F_ZIP, C_NONE },
	};
	const size_t size = (size_t)64 << 20;
	size_t n;
	char *zeros = calloc(size, 1), *got;

	CHECK(zeros);
	if (!zeros)
		return;
	zeros[0] = 'a';
	for (size_t i = 0; i < 4; i++) {
		make(cases[i].format, cases[i].filter, NULL, &(struct entry){ "x", AE_IFREG, NULL, zeros, size }, 1);
		put(made, made_n);
		CHECK(read_at(NULL, 1 << 30, &got, &n) == ERR_UNSUPPORTED);
		CHECKF(strstr(err.msg, "200 times"), "%s", err.msg);
		CHECK(!got);
		CHECK(read_at(NULL, 1000, &got, &n) == ERR_UNSUPPORTED && !got);
	}
	free(zeros);
}

/* Any byte of a small archive changed: never the text with other bytes, never a crash. */
static void test_flips(void)
{
	static const int formats[] = { F_ZIP, F_RAW };
	char *got;
	size_t n;

	for (size_t k = 0; k < 2; k++) {
		MAKE(formats[k], k ? C_GZIP : C_NONE, NULL, FILE_OF("a", "text text text"));
		for (size_t i = 0; i < made_n; i++) {
			made[i] ^= 0x55;
			put(made, made_n);
			if (read_at(NULL, ROOM, &got, &n) == OK && got[0] == 't')
				CHECKF(n == 14 && memcmp(got, "text text text", n) == 0, "byte %zu", i);
			free(got);
			made[i] ^= 0x55;
		}
	}
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	make_text();
	RUN(test_plain);
	RUN(test_compressed);
	RUN(test_gzip_members);
	RUN(test_archives);
	RUN(test_names);
	RUN(test_many);
	RUN(test_large_directory);
	RUN(test_truncated);
	RUN(test_trailing);
	RUN(test_damaged);
	RUN(test_twice);
	RUN(test_bomb);
	RUN(test_flips);
	unlink(path);
	rmdir(dir);
	return test_done();
}
