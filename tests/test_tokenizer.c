/* SPDX-License-Identifier: MIT
 *
 * test_tokenizer.c - ids against those of the `tokenizers` library (tests/golden/tokenizer.ids,
 * whose header says how they were made), pieces against the patterns worked out by hand, and what
 * hostile text may not do. Runs in the repository's root.
 */
#include "format/utf8.h"
#include "runtime/tokenizer.h"
#include "tests/test.h"

#include <fcntl.h>
#include <time.h>

enum { N_VOCAB = 4010, N_RANDOM = 2000 };

static struct vocab vocab;
static struct tokenizer tok;

static bool open_golden(void)
{
	struct source_file f = { .file = FILE_NONE };
	struct log notes = { 0 };
	struct err e = { 0 };
	const char *path = "tests/golden/tokenizer.json";
	enum status st = file_open(&f.file, AT_FDCWD, path, true, path, &e);

	if (st == OK)
		st = vocab_from_files(&vocab, &f, NULL, NULL, N_VOCAB, 0, 1, &notes, &e);
	if (st == OK)
		st = tokenizer_open(&tok, &vocab, &e);
	CHECKF(st == OK, "%s", e.msg);
	file_close(&f.file);
	log_close(&notes);
	return st == OK;
}

/* Encodes, and compares with the ids in a line of numbers. */
static bool same_ids(const char *text, size_t n, const char *line)
{
	struct err e = { 0 };
	uint32_t *ids;
	size_t n_ids, i = 0;
	char *end;
	bool same = true;

	if (tokenizer_encode(&tok, text, n, true, &ids, &n_ids, &e) != OK)
		return false;
	for (;; i++) {
		unsigned long want = strtoul(line, &end, 10);
		if (end == line)
			break;
		same = same && i < n_ids && ids[i] == want;
		line = end;
	}
	same = same && i == n_ids;
	free(ids);
	return same;
}

static size_t unescape(char *p)
{
	char *from = p, *to = p;

	for (; *from; to++) {
		if (*from == '\\') {
			char hex[3] = { from[2], from[3], 0 };
			*to = (char)strtoul(hex, NULL, 16);
			from += 4;
		} else {
			*to = *from++;
		}
	}
	return (size_t)(to - p);
}

static uint64_t xorshift(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* The generator of tokenizer_make.py. */
static size_t random_text(uint64_t *s, char *out)
{
	static const uint32_t ranges[][2] = {
		{ 0x20, 0x7E },	      { 0x61, 0x7A },	    { 0x30, 0x39 },
		{ 0x20, 0x20 },	      { 0x09, 0x0D },	    { 0xA0, 0x24F },
		{ 0x300, 0x36F },     { 0x370, 0x5FF },	    { 0x600, 0x6FF },
		{ 0x900, 0xDFF },     { 0x1680, 0x1680 },   { 0x2000, 0x206F },
		{ 0x20A0, 0x23FF },   { 0x2460, 0x27BF },   { 0x3000, 0x30FF },
		{ 0x4E00, 0x4FFF },   { 0x9FA0, 0x9FB0 },   { 0xAC00, 0xAFFF },
		{ 0xFE00, 0xFFFD },   { 0x10000, 0x102FF }, { 0x1F300, 0x1F6D7 },
		{ 0x20000, 0x200FF }, { 0xE0100, 0xE01EF },
	};
	size_t o = 0, n = 1 + xorshift(s) % 11;

	for (size_t i = 0; i < n; i++) {
		const uint32_t *r = ranges[xorshift(s) % (sizeof ranges / sizeof ranges[0])];
		o += utf8_put(out + o, r[0] + (uint32_t)(xorshift(s) % (r[1] - r[0] + 1)));
	}
	return o;
}

static void golden_ids(void)
{
	FILE *f = fopen("tests/golden/tokenizer.ids", "r");
	char line[16384], text[16384] = "", shown[400];
	uint64_t seed = 0x9E3779B97F4A7C15;
	size_t n = 0, n_fixed = 0, n_random = 0;
	bool have_text = false, random = false;

	CHECK(f != NULL);
	while (f && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		if (line[0] == '#')
			continue;
		if (strcmp(line, "random") == 0) {
			random = true;
		} else if (line[0] == '=') {
			memcpy(text, line + 2, strlen(line + 2) + 1);
			n = unescape(text);
			have_text = true;
		} else {
			if (random)
				n = random_text(&seed, text);
			CHECKF(same_ids(text, n, line), "text '%s', ids %.100s",
			       escape_text(shown, sizeof shown, text, n), line);
			CHECK(random || have_text);
			n_fixed += !random;
			n_random += random;
			have_text = false;
		}
	}
	CHECKF(n_fixed == 108 && n_random == N_RANDOM, "%zu and %zu texts", n_fixed, n_random);
	if (f)
		fclose(f);
}

/* Pieces, joined by '|', of a text without one. */
static bool pieces_are(const char *text, const char *want)
{
	struct pretokenizer p = { .text = text, .n = strlen(text) };
	struct str s;
	char got[512];
	size_t o = 0;

	while (pretokenizer_next(&p, &s) && o + s.n + 2 < sizeof got) {
		if (o)
			got[o++] = '|';
		memcpy(got + o, s.p, s.n);
		o += s.n;
	}
	got[o] = 0;
	CHECKF(strcmp(got, want) == 0, "'%s' became '%s', not '%s'", text, got, want);
	return strcmp(got, want) == 0;
}

static void pieces_by_hand(void)
{
	pieces_are("", "");
	pieces_are("1234567", "123|456|7");
	pieces_are("a1b", "a|1|b");
	pieces_are("x 12", "x| |12");
	pieces_are("x  12", "x|  |12");			/* e: the piece ends before the number */
	pieces_are("a  b", "a| | b");			/* e gives one space back, b takes it */
	pieces_are("a \n b", "a| \n| b");		/* d up to the last newline */
	pieces_are("\n \n  b", "\n \n| | b");
	pieces_are(".a", ".a");
	pieces_are(". a", ".| a");
	pieces_are("..a", "..|a"); /* a fails on the second '.', c takes both */
	pieces_are(".\xC3\xA9", ".|\xC3\xA9"); /* a wants ASCII letters; b no punctuation */
	pieces_are(" ..\r\nx", " ..\r\n|x");
	pieces_are("\tx", "\tx");
	pieces_are("\nx", "\n|x");
	pieces_are("  \t", "  \t");
	pieces_are("e\xCC\x81 \xCC\x81", "e\xCC\x81| \xCC\x81");
	pieces_are("ab\xE4\xB8\xAD\xE6\x96\x87" "cd", "ab|\xE4\xB8\xAD\xE6\x96\x87|cd");
	pieces_are(" \xE4\xB8\xAD",
		   " |\xE4\xB8\xAD"); /* stage 2 cuts before stage 3 sees the space */
	pieces_are("\xE2\x80\x8B\xE2\x80\x8B"
		   "a",
		   "\xE2\x80\x8B|\xE2\x80\x8B"
		   "a"); /* Cf: gap, then b */
}

static void classes(void)
{
	/* from the standard's own charts */
	CHECK(unicode_class('a') == UNICODE_LETTER && unicode_class('_') == UNICODE_PUNCT);
	CHECK(unicode_class('$') == UNICODE_PUNCT && unicode_class('5') == UNICODE_NUMBER);
	CHECK(unicode_class(0) == UNICODE_OTHER && unicode_class(0x1C) == UNICODE_OTHER);
	CHECK(unicode_class(0x85) == UNICODE_SPACE && unicode_class(0xA0) == UNICODE_SPACE);
	CHECK(unicode_class(0x200B) == UNICODE_OTHER && unicode_class(0x180E) == UNICODE_OTHER);
	CHECK(unicode_class(0x2028) == UNICODE_SPACE && unicode_class(0x3000) == UNICODE_SPACE);
	CHECK(unicode_class(0x301) == UNICODE_LETTER && unicode_class(0xBD) == UNICODE_NUMBER);
	CHECK(unicode_class(0x3007) == UNICODE_NUMBER && unicode_class(0x4E00) == UNICODE_LETTER);
	CHECK(unicode_class(0x9FFF) == UNICODE_LETTER && unicode_class(0xAC01) == UNICODE_LETTER);
	CHECK(unicode_class(0x20000) == UNICODE_LETTER && unicode_class(0x2A6DF) == UNICODE_LETTER);
	CHECK(unicode_class(0x2A6E0) == UNICODE_OTHER && unicode_class(0x1F600) == UNICODE_PUNCT);
	CHECK(unicode_class(0xE000) == UNICODE_OTHER && unicode_class(0x10FFFF) == UNICODE_OTHER);
	CHECK(unicode_class(0x110000) == UNICODE_OTHER &&
	      unicode_class(UINT32_MAX) == UNICODE_OTHER);
	for (size_t i = 1; i < unicode_n_runs; i++)
		CHECK(unicode_runs[i] >> 3 > unicode_runs[i - 1] >> 3);
}

static size_t count(const char *text, size_t n, bool special, uint32_t *first)
{
	struct err e = { 0 };
	uint32_t *ids;
	size_t n_ids;

	CHECKF(tokenizer_encode(&tok, text, n, special, &ids, &n_ids, &e) == OK, "%s", e.msg);
	*first = n_ids ? ids[0] : TOKEN_NONE;
	free(ids);
	return n_ids;
}

static void specials(void)
{
	static const char user[] = "<\xEF\xBD\x9CUser\xEF\xBD\x9C>", think[] = "<think>";
	uint32_t id;

	CHECK(count(user, sizeof user - 1, true, &id) == 1 && id == 4000);
	CHECK(count(user, sizeof user - 1, false, &id) > 1);
	/* user-defined tokens are part of the text, not of the markup */
	CHECK(count(think, sizeof think - 1, false, &id) == 1 && id == 4004);
	CHECK(vocab.types[4000] == TOKEN_CONTROL && vocab.types[4004] == TOKEN_USER);
	CHECK(vocab.types[4009] == TOKEN_UNUSED && str_is(vocab.tokens[4009], "[PAD4009]"));
	CHECK(count("[PAD4009]", 9, true, &id) > 1);
	CHECK(!tokenizer_add_bos(&tok));
}

/* Whatever the text, its pieces are the text: valid UTF-8 comes back byte for byte. */
static void round_trip(void)
{
	uint64_t seed = 20240229;
	char text[64], back[4096], buf[TOKENIZER_MAX_PIECE];
	struct err e = { 0 };

	for (int k = 0; k < 500; k++) {
		size_t n = random_text(&seed, text), o = 0, len, n_ids;
		uint32_t *ids;
		CHECK(tokenizer_encode(&tok, text, n, true, &ids, &n_ids, &e) == OK);
		for (size_t i = 0; i < n_ids; i++) {
			CHECK(tokenizer_piece(&tok, ids[i], buf, &len, &e) == OK);
			memcpy(back + o, buf, len);
			o += len;
		}
		CHECK(o == n && memcmp(back, text, n) == 0);
		free(ids);
	}
	size_t len;
	CHECK(tokenizer_piece(&tok, N_VOCAB, buf, &len, &e) == ERR_FORMAT && len == 0);
	CHECK(tokenizer_piece(&tok, 0, buf, &len, &e) == OK && len == vocab.tokens[0].n);
}

/* Every pair of bytes: no combination crashes, and ids stay inside the vocabulary. */
static void all_byte_pairs(void)
{
	struct err e = { 0 };

	for (unsigned a = 0; a < 256; a++) {
		char text[512];
		uint32_t *ids;
		size_t n_ids;
		for (unsigned b = 0; b < 256; b++) {
			text[2 * b] = (char)a;
			text[2 * b + 1] = (char)b;
		}
		CHECK(tokenizer_encode(&tok, text, sizeof text, true, &ids, &n_ids, &e) == OK);
		for (size_t i = 0; i < n_ids; i++)
			CHECK(ids[i] < N_VOCAB);
		free(ids);
	}
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One long piece, or none: time must not grow with the square. A square here would be minutes. */
static void long_runs(void)
{
	static const char *const unit[] = {
		" ",	"a",	  "\n",		  "1",	 ".",	"\xE4\xB8\xAD", "\xCC\x81",
		"\xFF", "<think", "\xE2\x80\x8B", "ab ", " \n", "\t ",		"<\xEF\xBD\x9C"
	};
	enum { N = 500000 };
	char *text = malloc(N);

	for (size_t k = 0; text && k < sizeof unit / sizeof unit[0]; k++) {
		size_t len = strlen(unit[k]);
		uint32_t id;
		double from = seconds();
		for (size_t i = 0; i < N; i++)
			text[i] = unit[k][i % len];
		CHECK(count(text, N, true, &id) > 0);
		CHECKF(seconds() - from < 20, "%.1f s for run %zu", seconds() - from, k);
	}
	free(text);
}

static void utf8_steps(void)
{
	static const struct { const char *p; size_t n, want;
	} bad[] = {
		{ "\x80", 1, 1 },
		{ "\xC1\x81", 2, 1 },
		{ "\xC3", 1, 1 },
		{ "\xE0\x9F\x80", 3, 1 },
		{ "\xED\xA0\x80", 3, 1 },
		{ "\xE2\x82", 2, 2 },
		{ "\xE2\x82z", 3, 2 },
		{ "\xF0\x8F\xBF\xBF", 4, 1 },
		{ "\xF4\x90\x80\x80", 4, 1 },
		{ "\xF0\x9F\x98", 3, 3 },
		{ "\xF5\x80\x80\x80", 4, 1 },
		{ "\xFF", 1, 1 },
	};
	uint32_t c;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		bool b = false;
		CHECKF(utf8_next(bad[i].p, bad[i].n, &c, &b) == bad[i].want && b && c == 0xFFFD,
		       "case %zu", i);
	}
	for (uint32_t x = 0; x < 0x110000; x += x < 0x11000 ? 1 : 97) {
		char p[UTF8_MAX];
		bool b = false;
		size_t n = utf8_put(p, x);
		size_t m = utf8_next(p, n, &c, &b);
		CHECK(x >= 0xD800 && x < 0xE000 ? b : m == n && !b && c == x);
	}
}

/* A vocabulary by hand: 256 bytes and merges of a, b whose order decides. */
static void merge_order(void)
{
	struct vocab v = { .bos = TOKEN_NONE, .eos = TOKEN_NONE, .pad = TOKEN_NONE };
	struct str tokens[264],
		merges[] = { STR("b c"), STR("a b"), STR("a bc"), STR("a a"), STR("aa a") };
	uint8_t types[264];
	char bytes[256][UTF8_MAX];
	struct tokenizer t;
	struct err e = { 0 };
	uint32_t *ids, n = 0;
	size_t n_ids;

	memset(types, TOKEN_NORMAL, sizeof types);
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i > 32 && i != 127 && i < 127 ? i : 0;
		if (!c)
			c = (i >= 161 && i <= 172) || i >= 174 ? i : 256 + n++;
		tokens[i] = (struct str){ bytes[i], utf8_put(bytes[i], c) };
	}
	tokens[256] = STR("bc"), tokens[257] = STR("ab"), tokens[258] = STR("abc");
	tokens[259] = STR("aa"), tokens[260] = STR("aaa");
	v.tokens = tokens, v.types = types, v.n_tokens = 261, v.merges = merges, v.n_merges = 5;
	CHECKF(tokenizer_open(&t, &v, &e) == OK, "%s", e.msg);
	CHECK(tokenizer_encode(&t, "abc", 3, true, &ids, &n_ids, &e) == OK);
	CHECK(n_ids == 1 && ids[0] == 258);		/* bc first, then a bc */
	free(ids);
	CHECK(tokenizer_encode(&t, "aaaaa", 5, true, &ids, &n_ids, &e) == OK);
	CHECK(n_ids == 2 && ids[0] == 259 && ids[1] == 260);	/* aa aa a, then aa + aaa */
	free(ids);
	CHECK(tokenizer_encode(&t, "abab", 4, true, &ids, &n_ids, &e) == OK);
	CHECK(n_ids == 2 && ids[0] == 257 && ids[1] == 257);
	free(ids);
	tokenizer_close(&t);
	tokenizer_close(&t);
	merges[4] = STR("b c");
	CHECK(tokenizer_open(&t, &v, &e) == ERR_FORMAT);
	v.n_merges = 4;
	tokens[7] = STR("zz");
	CHECK(tokenizer_open(&t, &v, &e) == ERR_UNSUPPORTED);
}

int main(void)
{
	RUN(classes);
	RUN(utf8_steps);
	RUN(pieces_by_hand);
	RUN(merge_order);
	if (open_golden()) {
		RUN(golden_ids);
		RUN(specials);
		RUN(round_trip);
		RUN(all_byte_pairs);
		RUN(long_runs);
	}
	tokenizer_close(&tok);
	vocab_close(&vocab);
	return test_done() || test_bad_checks != 0;
}
