/* SPDX-License-Identifier: MIT
 *
 * test_json.c - the JSON reader: what it takes, what it refuses, exact values, duplicate keys,
 * time and memory on large objects, and no crash on damaged text.
 *
 * `taken` and `refused` are the texts of the y_ and n_ files of the public JSONTestSuite (Nicolas
 * Seriot, MIT licence; commit 1ef36fa), each distinct text once; the few that are long are built
 * in the tests. Four y_ texts are refused here on purpose: see test_refused_by_choice.
 */
#include "format/base.h"

#include "tests/test.h"

#include <malloc.h>
#include <time.h>

struct text { const char *p; size_t n; };
#define T(lit) { (lit), sizeof(lit) - 1 }
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static const struct text taken[] = {
	T("[[]   ]"), T("[\"\"]"), T("[]"), T("[\"a\"]"), T("[false]"), T("[null, 1, \"1\", {}]"),
	T("[null]"), T("[1\n]"), T(" [1]"), T("[1,null,null,null,2]"), T("[2] "), T("[123e65]"),
	T("[0e+1]"), T("[0e1]"), T("[ 4]"),
	T("[-0.00000000000000000000000000000000000000000000"
	  "0000000000000000000000000000000001]\n"),
	T("[20e1]"), T("[-0]"), T("[-123]"), T("[-1]"), T("[1E22]"), T("[1E-2]"), T("[1E+2]"),
	T("[123e45]"), T("[123.456e78]"), T("[1e-2]"), T("[1e+2]"), T("[123]"), T("[123.456789]"),
	T("{\"asd\":\"sdf\", \"dfg\":\"fgh\"}"), T("{\"asd\":\"sdf\"}"), T("{}"), T("{\"\":0}"),
	T("{ \"min\": -1.0e+28, \"max\": 1.0e+28 }"),
	T("{\"x\":[{\"id\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxx\"}], \"id\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxx\"}"),
	T("{\"a\":[]}"),
	T("{\"title\":\"\\u041f\\u043e\\u043b\\u0442\\u043e\\u0440\\u"
	  "0430 \\u0417\\u0435\\u043c\\u043b\\u0435\\u043a\\u043e\\"
	  "u043f\\u0430\" }"),
	T("{\n\"a\": \"b\"\n}"), T("[\"\\u0060\\u012a\\u12AB\"]"), T("[\"\\uD801\\udc37\"]"),
	T("[\"\\ud83d\\ude39\\ud83d\\udc8d\"]"), T("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"),
	T("[\"\\\\u0000\"]"), T("[\"\\\"\"]"), T("[\"a/*b*/c/*d//e\"]"), T("[\"\\\\a\"]"),
	T("[\"\\\\n\"]"), T("[\"\\u0012\"]"), T("[\"\\uFFFF\"]"), T("[\"asd\"]"), T("[ \"asd\"]"),
	T("[\"\\uDBFF\\uDFFF\"]"), T("[\"new\\u00A0line\"]"), T("[\"\xf4\x8f\xbf\xbf\"]"),
	T("[\"\xef\xbf\xbf\"]"), T("[\"\\u002c\"]"), T("[\"\xcf\x80\"]"),
	T("[\"\xf0\x9b\xbf\xbf\"]"), T("[\"asd \"]"), T("\" \""), T("[\"\\uD834\\uDd1e\"]"),
	T("[\"\\u0821\"]"), T("[\"\\u0123\"]"), T("[\"\xe2\x80\xa8\"]"), T("[\"\xe2\x80\xa9\"]"),
	T("[\"\\u0061\\u30af\\u30EA\\u30b9\"]"), T("[\"new\\u000Aline\"]"), T("[\"\x7f\"]"),
	T("[\"\\uA66D\"]"), T("[\"\\u005C\"]"), T("[\"\xe2\x8d\x82\xe3\x88\xb4\xe2\x8d\x82\"]"),
	T("[\"\\uDBFF\\uDFFE\"]"), T("[\"\\uD83F\\uDFFE\"]"), T("[\"\\u200B\"]"),
	T("[\"\\u2064\"]"), T("[\"\\uFDD0\"]"), T("[\"\\uFFFE\"]"), T("[\"\\u0022\"]"),
	T("[\"\xe2\x82\xac\xf0\x9d\x84\x9e\"]"), T("[\"a\x7f" "a\"]"), T("false"), T("42"),
	T("-0.1"), T("null"), T("\"asd\""), T("true"), T("\"\""), T("[\"a\"]\n"), T("[true]"),
	T(" [] "),
};

static const struct text refused[] = {
	T("[1 true]"), T("[a\xe5]"), T("[\"\": 1]"), T("[\"\"],"), T("[,1]"), T("[1,,2]"),
	T("[\"x\",,]"), T("[\"x\"]]"), T("[\"\",]"), T("[\"x\""), T("[x"), T("[3[4]]"),
	T("[\xff]"), T("[1:2]"), T("[,]"), T("[-]"), T("[   , \"\"]"), T("[\"a\",\n4\n,1,"),
	T("[1,]"), T("[1,,]"), T("[\"\x0b" "a\"\\f]"), T("[*]"), T("[\"\""), T("[1,"),
	T("[1,\n1\n,1"), T("[{}"), T("[fals]"), T("[nul]"), T("[tru]"), T("123\x00"),
	T("[++1234]"), T("[+1]"), T("[+Inf]"), T("[-01]"), T("[-1.0.]"), T("[-2.]"), T("[-NaN]"),
	T("[.-1]"), T("[.2e-3]"), T("[0.1.2]"), T("[0.3e+]"), T("[0.3e]"), T("[0.e1]"),
	T("[0E+]"), T("[0E]"), T("[0e+]"), T("[0e]"), T("[1.0e+]"), T("[1.0e-]"), T("[1.0e]"),
	T("[1 000.0]"), T("[1eE2]"), T("[2.e+3]"), T("[2.e-3]"), T("[2.e3]"), T("[9.e+]"),
	T("[Inf]"), T("[NaN]"), T("[\xef\xbc\x91]"), T("[1+2]"), T("[0x1]"), T("[0x42]"),
	T("[Infinity]"), T("[0e+-1]"), T("[-123.123foo]"), T("[123\xe5]"), T("[1e1\xe5]"),
	T("[0\xe5]\n"), T("[-Infinity]"), T("[-foo]"), T("[- 1]"), T("[-012]"), T("[-.123]"),
	T("[-1x]"), T("[1ea]"), T("[1e\xe5]"), T("[1.]"), T("[.123]"), T("[1.2a-3]"),
	T("[1.8011670033376514H-308]"), T("[012]"), T("[\"x\", truth]"), T("{[: \"x\"}\n"),
	T("{\"x\", null}"), T("{\"x\"::\"b\"}"), T("{\xf0\x9f\x87\xa8\xf0\x9f\x87\xad}"),
	T("{\"a\":\"a\" 123}"), T("{key: 'value'}"), T("{\"\xb9\":\"0\",}"), T("{\"a\" b}"),
	T("{:\"b\"}"), T("{\"a\" \"b\"}"), T("{\"a\":"), T("{\"a\""), T("{1:1}"),
	T("{9999E9999:1}"), T("{null:null,null:null}"), T("{\"id\":0,,,,,}"), T("{'a':0}"),
	T("{\"id\":0,}"), T("{\"a\":\"b\"}/**/"), T("{\"a\":\"b\"}/**//"), T("{\"a\":\"b\"}//"),
	T("{\"a\":\"b\"}/"), T("{\"a\":\"b\",,\"c\":\"d\"}"), T("{a: \"b\"}"), T("{\"a\":\"a"),
	T("{ \"foo\" : \"bar\", \"a\" }"), T("{\"a\":\"b\"}#"), T(" "), T("[\"\\uD800\\\"]"),
	T("[\"\\uD800\\u\"]"), T("[\"\\uD800\\u1\"]"), T("[\"\\uD800\\u1x\"]"), T("[\xc3\xa9]"),
	T("[\"\\\x00\"]"), T("[\"\\x00\"]"), T("[\"\\\\\\\"]"), T("[\"\\\t\"]"),
	T("[\"\\\xf0\x9f\x8c\x80\"]"), T("[\"\\\"]"), T("[\"\\u00A\"]"), T("[\"\\uD834\\uDd\"]"),
	T("[\"\\uD800\\uD800\\x\"]"), T("[\"\\u\xe5\"]"), T("[\"\\a\"]"), T("[\"\\uqqqq\"]"),
	T("[\"\\\xe5\"]"), T("[\\u0020\"asd\"]"), T("[\\n]"), T("\""), T("['single quote']"),
	T("abc"), T("[\"\\"), T("[\"a\x00" "a\"]"), T("[\"new\nline\"]"), T("[\"\t\"]"),
	T("\"\\UA66D\""), T("\"\"x"), T("[\xe2\x81\xa0]"), T("\xef\xbb\xbf"), T("<.>"),
	T("[<null>]"), T("[1]x"), T("[1]]"), T("[\"asd]"), T("a\xc3\xa5"), T("[True]"), T("1]"),
	T("{\"x\": true,"), T("[][]"), T("]"), T("\xef\xbb{}"), T("\xe5"), T("["), T(""),
	T("[\x00]"), T("2@"), T("{}}"), T("{\"\":"), T("{\"a\":/*comment*/\"b\"}"),
	T("{\"a\": true} \"x\""), T("['"), T("[,"), T("[{"), T("[\"a"), T("[\"a\""), T("{"),
	T("{]"), T("{,"), T("{["), T("{\"a"), T("{'a'"), T("[\"\\{[\"\\{[\"\\{[\"\\{"), T("\xe9"),
	T("*"), T("{\"a\":\"b\"}#{}"), T("[\\u000A\"\"]"), T("[1"), T("[ false, nul"),
	T("[ true, fals"), T("[ false, tru"), T("{\"asd\":\"asd\""), T("\xc3\xa5"), T("[\x0c]"),
};

/* RFC 8259 leaves these open (i_ files there, and ours), or takes them: this reader refuses. */
static const struct text refused_by_choice[] = {
	/* y_ files: duplicate keys, and NUL in strings */
	T("{\"a\":\"b\",\"a\":\"c\"}"), T("{\"a\":\"b\",\"a\":\"b\"}"),
	T("{\"foo\\u0000bar\": 42}"), T("[\"\\u0000\"]"),
	/* numbers without a finite double */
	T("[0.4e00669999999999999999999999999999999999999999999999999999999999999999999969999999006]"),
	T("[1.5e+9999]"), T("[-1e+9999]"), T("[123123e100000]"), T("[1e999]"),
	/* half surrogate pairs */
	T("[\"\\uD800\"]"), T("[\"\\uDC00\"]"), T("[\"\\uDd1e\\uD834\"]"), T("[\"\\ud800abc\"]"),
	T("[\"\\uD800\\uD800\\n\"]"), T("[\"\\uD834\\u0041\"]"), T("{\"\\uDFAA\":0}"),
	/* malformed UTF-8: overlong, surrogates, cut, past U+10FFFF, lone continuation */
	T("[\"\xc0\xaf\"]"), T("[\"\xc1\xbf\"]"), T("[\"\xe0\x80\xaf\"]"), T("[\"\xe0\x9f\xbf\"]"),
	T("[\"\xf0\x80\x80\xaf\"]"), T("[\"\xf0\x8f\xbf\xbf\"]"), T("[\"\xed\xa0\x80\"]"),
	T("[\"\xed\xbf\xbf\"]"), T("[\"\xf4\x90\x80\x80\"]"), T("[\"\xf5\x80\x80\x80\"]"),
	T("[\"\xe2\x82\"]"), T("[\"\xf0\x9f\x92\"]"), T("[\"\x80\"]"), T("[\"\xff\"]"),
	T("[\"\xfc\x83\xbf\xbf\xbf\xbf\"]"), T("[\"\xe6\x97\xa5\xd1\x88\xfa\"]"),
	/* byte order marks, other encodings, padding */
	T("\xef\xbb\xbf{}"), T("\xff\xfe[\0\"\0"), T("\0[\0\"\0\xe9\0\"\0]"), T("{}\0"), T("{}\0\0\0"),
	T("\0{}"), T("{}\x0c"), T("\x0b{}"), T("{}\xc2\xa0"), T("{} {}"), T("{}x"), T("[1]//"),
	T("#\n[]"), T("{'a':1}"), T("[1,2,]"), T("\"\\v\""), T("\"\\'\""), T("0x"), T("1_0"),
};

static const struct text taken_by_choice[] = {
	T("[-0.0]"), T("[1e-9999]"), T("[100000000000000000000]"), T("[1.7976931348623157e308]"),
	T(" \t\r\n{}\r\n\t "), T("[0.0e-0]"), T("[\"\\/\"]"), T("[\"\xed\x9f\xbf\xee\x80\x80\"]"),
	T("[\"\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80\"]"), T("{\"a\":{\"a\":{\"a\":0}}}"),
	T("[{\"a\":0},{\"a\":0}]"), T("{\"\":0,\" \":1}"), T("{\"e\\u0301\":0,\"\\u00e9\":1}"),
};

/* The text in memory of exactly its size, so that a sanitizer sees any byte beyond. */
static char *exactly(const char *p, size_t n)
{
	char *copy = malloc(n ? n : 1);

	if (n)
		memcpy(copy, p, n);
	return copy;
}

/* Pulls every value by its type. */
static void walk(struct json *j)
{
	struct str s;
	uint64_t u;
	double d;
	bool b;

	switch (json_peek(j)) {
	case JSON_BAD: break;
	case JSON_NULL: CHECK(json_null(j) || j->err.status != OK); break;
	case JSON_BOOL: (void)json_bool(j, &b); break;
	case JSON_NUMBER:
		if (j->text[j->pos] == '7')
			(void)json_u64(j, &u);
		else
			(void)json_double(j, &d);
		break;
	case JSON_STRING:
		if (json_string(j, &s))
			CHECK(s.p[s.n] == 0 && strlen(s.p) == s.n);
		break;
	case JSON_ARRAY:
		if (json_array(j))
			while (json_item(j))
				walk(j);
		break;
	case JSON_OBJECT:
		if (json_object(j))
			while (json_key(j, &s)) {
				CHECK(s.p[s.n] == 0 && strlen(s.p) == s.n);
				walk(j);
			}
		break;
	}
}

static enum status run(const char *p, size_t n, bool skip, unsigned depth, struct err *e)
{
	char *copy = exactly(p, n);
	struct json j;
	enum status st;

	json_open(&j, copy, n, depth, "x.json");
	if (skip)
		json_skip(&j);
	else
		walk(&j);
	st = json_close(&j, e);
	free(copy);
	return st;
}

static void check_all(const struct text *t, size_t n, bool want)
{
	struct err e;

	for (size_t i = 0; i < n; i++)
		for (int skip = 0; skip < 2; skip++) {
			enum status st = run(t[i].p, t[i].n, skip, 32, &e);
			CHECKF((st == OK) == want, "[%s] skip %d: %s", t[i].p, skip,
			       st ? e.msg : "taken");
			CHECKF(st == OK || strncmp(e.msg, "x.json: ", 8) == 0, "%s", e.msg);
			CHECKF(st == OK || strstr(e.msg, "(byte "), "%s", e.msg);
		}
}

static void test_taken(void)
{
	check_all(taken, COUNT(taken), true);
	check_all(taken_by_choice, COUNT(taken_by_choice), true);
}

static void test_refused(void)
{
	check_all(refused, COUNT(refused), false);
}

static void test_refused_by_choice(void)
{
	check_all(refused_by_choice, COUNT(refused_by_choice), false);
}

static char *repeat(const char *s, size_t times, size_t *len)
{
	size_t n = strlen(s);
	char *p = malloc(n * times + 1);

	for (size_t i = 0; i < times; i++)
		memcpy(p + i * n, s, n);
	*len = n * times;
	return p;
}

static void test_depth(void)
{
	static const char *const open[] = { "[", "[{\"\":", "{\"a\":[" };
	struct err e;
	size_t n;

	for (size_t i = 0; i < COUNT(open); i++) {
		char *p = repeat(open[i], 50000, &n);
		CHECK(run(p, n, false, 32, &e) == ERR_UNSUPPORTED);
		CHECK(strstr(e.msg, "deeper than 32"));
		CHECK(run(p, n, true, 1000, &e) == ERR_UNSUPPORTED);
		free(p);
	}
	CHECK(run("[[[]]]", 6, true, 3, &e) == OK);
	CHECK(run("[[[]]]", 6, true, 2, &e) == ERR_UNSUPPORTED);
	CHECK(run("[[],[],[[]]]", 12, false, 3, &e) == OK);
	CHECK(run("{\"a\":{}}", 8, false, 1, &e) == ERR_UNSUPPORTED);
	CHECK(run("1", 1, false, 0, &e) == OK);
}

static void test_strings(void)
{
	char text[] = "[\"a\\u0062\\n\\\"\\\\\\/\\b\\f\\r\\tz\",\"\",\"\\ud834\\uDD1E\",\"\\u20ac\","
		      "\"\\u00e9\\u07ff\\u0800\\uffff\",\"plain\",\"\xe2\x82\xac\"]";
	static const char *const want[] = { "ab\n\"\\/\b\f\r\tz", "", "\xf0\x9d\x84\x9e",
		"\xe2\x82\xac", "\xc3\xa9\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf", "plain", "\xe2\x82\xac" };
	struct str got[COUNT(want)] = { 0 };
	struct json j;
	struct err e;
	size_t n = 0;

	json_open(&j, text, strlen(text), 8, "x.json");
	CHECK(json_array(&j));
	while (json_item(&j) && n < COUNT(want))
		CHECK(json_string(&j, &got[n++]));
	CHECK(json_close(&j, &e) == OK);
	CHECK(n == COUNT(want));
	for (size_t i = 0; i < n; i++)	/* after all are read: nothing was overwritten */
		CHECKF(str_is(got[i], want[i]) && got[i].p[got[i].n] == 0, "string %zu", i);
}

enum ask { U64, I64, DOUBLE };

/* Is the text one number that the call takes? */
static bool ask(enum ask what, const char *text, uint64_t *u, int64_t *i, double *d)
{
	char *copy = exactly(text, strlen(text));
	struct json j;
	struct err e;
	bool ok;

	json_open(&j, copy, strlen(text), 8, "x.json");
	ok = what == U64 ? json_u64(&j, u) : what == I64 ? json_i64(&j, i) : json_double(&j, d);
	ok = json_close(&j, &e) == OK && ok;
	free(copy);
	return ok;
}

static void test_integers(void)
{
	static const struct { const char *text; uint64_t v; } good[] = {
		{ "0", 0 }, { "7", 7 }, { "9007199254740993", (UINT64_C(1) << 53) + 1 },
		{ "18446744073709551615", UINT64_MAX }, { "18446744073709551614", UINT64_MAX - 1 },
		{ " 10 ", 10 },
	};
	static const char *const bad[] = { "18446744073709551616", "18446744073709551620",
		"28446744073709551615", "184467440737095516150", "-1", "-0", "2.0", "2e0", "2E0", "02",
		"00", "+1", "1.5", "0.0", "\"2\"", "null", "true", "[2]", "{}", "", "-", "1x", "1 1",
		"99999999999999999999999999999999999999999999" };
	static const struct { const char *text; int64_t v; } good_signed[] = {
		{ "-1", -1 }, { "9223372036854775807", INT64_MAX }, { "-9223372036854775808", INT64_MIN },
		{ "-9223372036854775807", -INT64_MAX }, { "0", 0 }, { "-9007199254740993", -9007199254740993 },
	};
	static const char *const bad_signed[] = { "-0", "9223372036854775808", "-9223372036854775809",
		"18446744073709551616", "1.0", "-1e1", "--1", "-01", "- 1" };
	uint64_t u;
	int64_t i;

	for (size_t k = 0; k < COUNT(good); k++)
		CHECKF(ask(U64, good[k].text, &u, NULL, NULL) && u == good[k].v, "%s", good[k].text);
	for (size_t k = 0; k < COUNT(bad); k++)
		CHECKF(!ask(U64, bad[k], &u, NULL, NULL), "%s", bad[k]);
	for (size_t k = 0; k < COUNT(good_signed); k++)
		CHECKF(ask(I64, good_signed[k].text, NULL, &i, NULL) && i == good_signed[k].v, "%s",
		       good_signed[k].text);
	for (size_t k = 0; k < COUNT(bad_signed); k++)
		CHECKF(!ask(I64, bad_signed[k], NULL, &i, NULL), "%s", bad_signed[k]);
}

static bool is_double(const char *text, double want)
{
	double d;

	return ask(DOUBLE, text, NULL, NULL, &d) && memcmp(&d, &want, sizeof d) == 0;
}

static void test_doubles(void)
{
	char text[2200];

	CHECK(is_double("0", 0.0) && is_double("-0", -0.0) && is_double("-0.0e5", -0.0));
	CHECK(is_double("0.1", 0x1.999999999999ap-4));
	CHECK(is_double("1e-06", 0x1.0c6f7a0b5ed8dp-20));
	CHECK(is_double("-123.456E+2", -0x1.81ccccccccccdp+13));
	CHECK(is_double("1e23", 0x1.52d02c7e14af6p+76));
	CHECK(is_double("0.000001e29", 0x1.52d02c7e14af6p+76));
	CHECK(is_double("2.2250738585072011e-308", 0x0.fffffffffffffp-1022));
	CHECK(is_double("5e-324", 0x1p-1074));
	CHECK(is_double("2.4703282292062327e-324", 0.0));
	CHECK(is_double("2.4703282292062329e-324", 0x1p-1074));
	CHECK(is_double("1.7976931348623158e308", 0x1.fffffffffffffp+1023));
	CHECK(is_double("1e-99999999999999999999999999", 0.0));
	CHECK(is_double("0e99999999999999999999999999", 0.0));
	CHECK(is_double("9007199254740993", 9007199254740992.0));
	/* a tie that only the 1001st decimal decides */
	snprintf(text, sizeof text, "9007199254740993.%01000d", 0);
	CHECK(is_double(text, 9007199254740992.0));
	strncat(text, "1", sizeof text - strlen(text) - 1);
	CHECK(is_double(text, 9007199254740994.0));
	/* digits and exponent that cancel */
	snprintf(text, sizeof text, "1%02000de-2000", 0);
	CHECK(is_double(text, 1.0));
	snprintf(text, sizeof text, "0.%02000d1e2001", 0);
	CHECK(is_double(text, 1.0));
	/* 10^300 is finite, 10^400 is not, to a call that skips as well */
	struct err e;
	for (int skip = 0; skip < 2; skip++) {
		CHECK(run(text, (size_t)snprintf(text, sizeof text, "1%0300d", 0), skip, 8, &e) == OK);
		CHECK(run(text, (size_t)snprintf(text, sizeof text, "1%0400d", 0), skip, 8, &e) != OK);
	}
	CHECK(!is_double("1.7976931348623159e308", 0));
	CHECK(!is_double("1e309", 0) && !is_double("-1e999999999999", 0));
	CHECK(!is_double("NaN", 0) && !is_double("Infinity", 0) && !is_double("1,5", 0));
	CHECK(!is_double(".5", 0) && !is_double("5.", 0) && !is_double("0x1p3", 0));
}

static void test_duplicates(void)
{
	static const char *const bad[] = { "{\"t\":0,\"t\":0}", "{\"t\":0,\"\\u0074\":0}",
		"{\"\\u0074\":0,\"t\":0}", "{\"a\":{\"b\":0,\"c\":[{}],\"b\":0}}",
		"{\"a\":{\"a\":{\"x\":1}},\"b\":0,\"a\":0}", "{\"\":0,\"\":0}",
		"{\"\\ud83d\\ude39\":0,\"\xf0\x9f\x98\xb9\":0}", "[{\"k\":[],\"k\":{}}]" };
	struct err e;

	for (size_t i = 0; i < COUNT(bad); i++)
		for (int skip = 0; skip < 2; skip++) {
			CHECKF(run(bad[i], strlen(bad[i]), skip, 8, &e) == ERR_FORMAT, "%s", bad[i]);
			CHECKF(strstr(e.msg, "twice in one object"), "%s", e.msg);
		}
	CHECK(run("{\"ab\":0,\"ab\":0}", 15, true, 8, &e) == ERR_FORMAT);
	CHECKF(strstr(e.msg, "byte 8") && strstr(e.msg, "\"ab\""), "%s", e.msg);
}

/* An object of n keys, each with a small object inside; the last key repeats key `again` if that
 * is below n. Returns the text, *len without terminator. */
static char *many_keys(size_t n, size_t again, const char *value, size_t *len)
{
	size_t cap = n * (24 + strlen(value)) + 64;
	char *p = malloc(cap), *w = p;

	*w++ = '{';
	for (size_t i = 0; i < n; i++)
		w += snprintf(w, (size_t)(p + cap - w), "\"k%zx\":%s,", i * 7919, value);
	w += snprintf(w, (size_t)(p + cap - w), "\"%s%zx\":0}", again < n ? "k" : "last", again * 7919);
	*len = (size_t)(w - p);
	return p;
}

static void test_duplicates_at_any_size(void)
{
	struct err e;
	size_t len;

	for (size_t n = 1; n < 400; n += n < 40 ? 1 : 37)
		for (size_t again = 0; again <= n; again++) {
			char *p = many_keys(n, again, "{\"k0\":0,\"k1eef\":[{\"k0\":0}]}", &len);
			enum status want = again < n ? ERR_FORMAT : OK;
			CHECKF(run(p, len, true, 8, &e) == want, "%zu keys, again %zu", n, again);
			free(p);
		}
	for (size_t again = 0; again <= 20000; again += 2000) {
		char *p = many_keys(20000, again, "0", &len);
		CHECK(run(p, len, true, 8, &e) == (again < 20000 ? ERR_FORMAT : OK));
		free(p);
	}
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 0 under a sanitizer, whose allocator counts elsewhere. */
static size_t heap_bytes(void)
{
#ifdef SANITIZED
	return 0;
#else
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
#endif
}

static void test_million_keys(void)
{
	size_t len, before;
	char *p = many_keys(1000000, SIZE_MAX, "0", &len);
	double start = seconds();
	struct json j;
	struct err e;
	struct str key;
	size_t n = 0, most = 0;

	before = heap_bytes();
	json_open(&j, p, len, 8, "x.json");
	CHECK(json_object(&j));
	while (json_key(&j, &key)) {
		json_skip(&j);
		if (++n % 50000 == 0 && heap_bytes() - before > most)
			most = heap_bytes() - before;
	}
	CHECK(json_close(&j, &e) == OK);
	CHECK(n == 1000001);
	CHECKF(most <= len, "%zu bytes for %zu of text", most, len);
#ifndef SANITIZED
	CHECKF(seconds() - start < 1.0, "%.2f s", seconds() - start);
#else
	(void)start;
#endif
	free(p);
}

/* Reads an object of n keys and returns the most memory that took on the way. */
static size_t most_memory(char *p, size_t len, size_t n_keys)
{
	size_t before = heap_bytes(), most = 0, n = 0;
	struct json j;
	struct err e;
	struct str key;

	json_open(&j, p, len, 8, "x.json");
	CHECK(json_object(&j));
	while (json_key(&j, &key)) {
		json_skip(&j);
		n++;
		if ((n % 1000 == 0 || n + 100 > n_keys) && heap_bytes() - before > most)
			most = heap_bytes() - before;
	}
	CHECKF(json_close(&j, &e) == OK, "%s", e.msg);
	CHECK(n == n_keys);
	return most;
}

/* Memory stays within the text also where keys are as short as they can be, and where a set has
 * just been full when the text ends. */
static void test_memory_of_short_keys(void)
{
	enum { SIDE = 90, ALL = SIDE * SIDE * SIDE };
	static const int counts[] = { 100, 3700, 115000, 229400, 458760, ALL };
	char *p = malloc((size_t)ALL * 8 + 64);

	for (size_t k = 0; k < COUNT(counts); k++) {
		char *w = p;
		*w++ = '{';
		for (int i = 0; i < counts[k]; i++) {
			int c[3] = { i % SIDE, i / SIDE % SIDE, i / SIDE / SIDE };
			*w++ = '"';
			for (int d = 0; d < 3; d++)	/* printable, without '"' and '\\' */
				*w++ = (char)(c[d] == 0 ? '!' : c[d] < 56 ? '#' + c[d] : '%' + c[d]);
			w += snprintf(w, 8, "\":0,");
		}
		w[-1] = '}';
		size_t len = (size_t)(w - p), most = most_memory(p, len, (size_t)counts[k]);
		CHECKF(most <= len + 1024, "%zu bytes for %zu of text", most, len);
	}
	free(p);
}

/* What a closed object's keys took is used again for the next one. */
static void test_memory_of_closed_objects(void)
{
	size_t len;
	char *p = many_keys(20000, SIZE_MAX, "{\"a\":0,\"b\":[{\"a\":1},{\"a\":2}]}", &len);
	size_t most = most_memory(p, len, 20001);

	CHECKF(most < 300000, "%zu bytes", most);	/* 32768 slots of 4 bytes and a little */
	free(p);
}

static const char sample[] =
	"{\"__metadata__\":{\"format\":\"pt\",\"e\":\"\\u00e9\\ud83d\\ude39\"},\r\n"
	" \"layers.0.w\" : {\"dtype\":\"BF16\",\"shape\":[7,128],\"data_offsets\":[0,7168]},\n"
	"\t\"x\":[true,false,null,-0.25e-3,[],{},\"\xe2\x82\xac\xf0\x9d\x84\x9e\\\\\",[[7]],8.5]} ";

static void test_every_cut(void)
{
	struct err e;
	size_t n = sizeof sample - 1;

	CHECKF(run(sample, n, false, 8, &e) == OK, "%s", e.msg);
	for (size_t i = 0; i + 1 < n; i++)
		for (int skip = 0; skip < 2; skip++)
			CHECKF(run(sample, i, skip, 8, &e) == ERR_FORMAT, "first %zu bytes", i);
}

static void test_every_byte_changed(void)
{
	char damaged[sizeof sample];
	struct err e;
	size_t n = sizeof sample - 1;

	memcpy(damaged, sample, n);
	for (size_t i = 0; i < n; i++) {
		for (int v = 0; v < 256; v++) {
			damaged[i] = (char)v;
			enum status by_walk = run(damaged, n, false, 8, &e);
			enum status by_skip = run(damaged, n, true, 8, &e);
			/* 7e5 is a number, but walk asks for a whole one there */
			CHECKF(by_walk == by_skip || (by_walk != OK && memchr("7.eE", v, 4)),
			       "byte %zu = %d", i, v);
		}
		damaged[i] = sample[i];
	}
}

/* Calls that do not fit the text or each other are errors that stay. */
static void test_misuse(void)
{
	struct json j;
	struct str s;
	struct err e;
	uint64_t v;
	bool b;

	char one[] = "{\"a\":1}";
	json_open(&j, one, strlen(one), 8, "x.json");
	CHECK(!json_array(&j));
	CHECK(!json_object(&j) && !json_u64(&j, &v) && json_peek(&j) == JSON_BAD);
	CHECK(json_close(&j, &e) == ERR_FORMAT && strstr(e.msg, "an array is expected"));
	CHECK(json_close(&j, &e) == ERR_FORMAT);

	char two[] = "{\"a\":1,\"b\":2}";
	json_open(&j, two, strlen(two), 8, "x.json");
	CHECK(json_object(&j) && json_key(&j, &s));
	CHECK(!json_key(&j, &s));		/* its value was not read */
	CHECK(json_close(&j, &e) == ERR_FORMAT);

	char three[] = "[1,2]";
	json_open(&j, three, strlen(three), 8, "x.json");
	CHECK(json_array(&j) && !json_u64(&j, &v));	/* json_item comes first */
	CHECK(json_close(&j, &e) == ERR_FORMAT);

	char four[] = "[1,2]";
	json_open(&j, four, strlen(four), 8, "x.json");
	CHECK(json_array(&j) && json_item(&j) && json_u64(&j, &v));
	CHECK(json_close(&j, &e) == ERR_FORMAT);	/* left in the middle */

	char five[] = "7";
	json_open(&j, five, 1, 8, "x.json");
	CHECK(!json_item(&j));				/* in nothing */
	CHECK(json_close(&j, &e) == ERR_FORMAT);

	char six[] = "[true, 5]";
	json_open(&j, six, strlen(six), 8, "x.json");
	CHECK(json_array(&j) && json_item(&j) && json_bool(&j, &b) && b);
	json_fail(&j, ERR_UNSUPPORTED, "only %d", 5);
	json_fail(&j, ERR_IO, "the first one stays");
	CHECK(!json_item(&j));
	CHECK(json_close(&j, &e) == ERR_UNSUPPORTED);
	CHECKF(strcmp(e.msg, "x.json (byte 5): only 5") == 0, "%s", e.msg);
}

int main(void)
{
	RUN(test_taken);
	RUN(test_refused);
	RUN(test_refused_by_choice);
	RUN(test_depth);
	RUN(test_strings);
	RUN(test_integers);
	RUN(test_doubles);
	RUN(test_duplicates);
	RUN(test_duplicates_at_any_size);
	RUN(test_million_keys);
	RUN(test_memory_of_short_keys);
	RUN(test_memory_of_closed_objects);
	RUN(test_every_cut);
	RUN(test_every_byte_changed);
	RUN(test_misuse);
	return test_done();
}
