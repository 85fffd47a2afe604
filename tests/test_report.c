/* SPDX-License-Identifier: MIT
 *
 * test_report.c - what a page is made of: escaped text, numbers, bins, the list of the worst, a file that is replaced only if
 * it is a page. Whole pages are in tests/cli/html.sh.
 */
#include <math.h>
#include <unistd.h>

#include "report/plot.h"
#include "runtime/spread.h"
#include "tests/test.h"

static bool text_is(struct html *h, const char *want)
{
	bool same = h->text ? strcmp(h->text, want) == 0 : !*want;

	if (!same)
		fprintf(stderr, "'%s', expected '%s'\n", h->text ? h->text : "", want);
	html_close(h);
	return same;
}

static void escapes(void)
{
	static const struct { struct str in; const char *out; } t[] = {
		{ { "plain \xC3\xA4 \xE6\xBC\xA2 \xF0\x9F\x99\x82", 17 }, "plain \xC3\xA4 \xE6\xBC\xA2 \xF0\x9F\x99\x82" },
		{ { "<a href=\"x\" b='y'>&amp;", 23 }, "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;" },
		{ { "a\0b\x1b[1m\x7f\r\n", 10 }, "a\\x00b\\x1B[1m\\x7F\\x0D\\x0A" },
		{ { "\xE2\x80\xAE \xE2\x80\x8B\xEF\xBB\xBF", 10 }, "\\u{202E} \\u{200B}\\u{FEFF}" },	/* override, no width, mark */
		{ { "\xC2\x9B\xC2\x85", 4 }, "\\u{9B}\\u{85}" },
		{ { "\xFF\xC3(\xE2\x82\xED\xA0\x80\xC0\xBC", 10 }, "\\xFF\\xC3(\\xE2\\x82\\xED\\xA0\\x80\\xC0\\xBC" },
		{ { "\xF3\xA0\x80\xA1\xEF\xBF\xBF", 7 }, "\\u{E0021}\\u{FFFF}" },	/* a tag, no character */
		{ { "", 0 }, "" },
	};

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct html h = { 0 };

		html_text(&h, t[i].in);
		CHECKF(text_is(&h, t[i].out), "text %zu", i);
	}
}

static void numbers(void)
{
	static const struct { double v; int digits; const char *out; } t[] = {
		{ 0, 4, "0" }, { -0.0, 4, "0" }, { 1, 6, "1.00000" }, { 31.10409537, 6, "31.1041" }, { 0.000711702, 4, "0.0007117" },
		{ 5.2346e-6, 3, "5.23×10⁻⁶" }, { -0.0151648, 3, "−0.0152" }, { 999.96, 4, "1000" }, { 0.00099999, 2, "0.0010" },
		{ 9.9999e-5, 2, "0.00010" }, { 9.9e-5, 2, "9.9×10⁻⁵" },
		{ 123456, 3, "123456" }, { -1e300, 2, "−1.0×10³⁰⁰" }, { 4.9e-324, 2, "4.9×10⁻³²⁴" }, { 1.7976931348623157e308, 99,
		"1.7976931348623157×10³⁰⁸" }, { 1.0 / 3, 0, "0.3" },
	};
	char buf[48];
	struct html h = { 0 };

	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		CHECKF(strcmp(html_number_text(buf, t[i].v, t[i].digits), t[i].out) == 0, "%g is '%s', not '%s'", t[i].v, buf, t[i].out);
	CHECK(strcmp(html_number_text(buf, (double)NAN, 3), "NaN") == 0);
	CHECK(strcmp(html_number_text(buf, (double)-INFINITY, 3), "−∞") == 0);
	CHECK(strcmp(plot_power(buf, -12), "10⁻¹²") == 0 && strcmp(plot_power(buf, 0), "1") == 0);
	html_count(&h, 1234567);
	html_count(&h, 999);
	html_put(&h, " ");
	html_value(&h, "k", 0.1, 2);
	CHECK(text_is(&h, "1,234,567999 <data id=\"k\" value=\"0.10000000000000001\">0.10</data>"));
}

/* A page that grows too large says so once, and is not written. */
static void limit(void)
{
	struct html h = { 0 };
	struct output o = OUTPUT_NONE;
	struct err e = { 0 };
	size_t before;

	for (int i = 0; i < 70 && h.err.status == OK; i++)
		html_put(&h, "%*s", 1 << 20, "");
	CHECK(h.err.status == ERR_UNSUPPORTED && h.n == HTML_MAX);
	before = h.n;
	html_textz(&h, "more");
	CHECK(h.n == before);
	o.path = (char *)(uintptr_t)"page.html";
	CHECK(html_write(&h, &o, &e) == ERR_UNSUPPORTED && strstr(e.msg, "page.html: a page of more than"));
	html_close(&h);
}

static void bins(void)
{
	static const double sizes[] = { 1e-6, 1.5e-6, 1e-5, 3e-4, 0.01, 0.5, 0.999, 1 };
	struct spread s = { .n_ctx = 512, .first = 256, .scored = 255 };
	uint64_t from, to, next = 256;

	CHECK(spread_bin(0) == SPREAD_MIDDLE && spread_bin(9.9e-7) == SPREAD_MIDDLE && spread_bin(-9.9e-7) == SPREAD_MIDDLE);
	CHECK(spread_bin((double)NAN) == SPREAD_MIDDLE && spread_bin(1) == SPREAD_BINS - 1 && spread_bin(-1) == 0);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t up = spread_bin(sizes[i]), down = spread_bin(-sizes[i]);

		CHECK(up + down == 2 * SPREAD_MIDDLE && up > SPREAD_MIDDLE && up < SPREAD_BINS);
		CHECKF(sizes[i] >= spread_edge(up - SPREAD_MIDDLE - 1) * (1 - 1e-12) && sizes[i] <= spread_edge(up - SPREAD_MIDDLE) * (1 + 1e-12),
		       "%g is in bin %zu", sizes[i], up);
	}
	for (size_t i = 0; i < SPREAD_PLACES; i++) {	/* places tile what is scored */
		spread_place(&s, i, &from, &to);
		CHECK(from == next && to >= from);
		next = to;
	}
	CHECK(next == 511);
}

/* The list against a sort; places against a count by hand. */
static void worst(void)
{
	struct spread s = { .n_ctx = 8, .first = 4, .scored = 3 };
	enum { N = 300 };
	double kld[N], left;
	size_t n = 0;

	for (uint64_t chunk = 0; chunk < N / 3; chunk++)
		for (uint64_t k = 0; k < 3; k++, n++) {
			struct perplexity_row r = { .index = chunk * 8 + 5 + k, .ahead = 1, .log_prob = -1, .ref_log_prob = -2 };

			r.kld = kld[n] = (double)(n * 7919 % 101) / 8;	/* with equals */
			spread_add(&s, &r);
			r.ahead = 2;
			r.kld = 1000;
			spread_add(&s, &r);	/* an MTP block's is not taken */
		}
	CHECK(s.n == N && s.n_worst == SPREAD_WORST && s.change[spread_bin(exp(-1) - exp(-2))] == N);
	for (size_t i = 0; i < s.n_worst; i++) {
		size_t larger = 0, at = (size_t)(s.worst[i].index / 8 * 3 + s.worst[i].index % 8 - 5);

		for (size_t j = 0; j < N; j++)
			larger += kld[j] > kld[at] || (kld[j] == kld[at] && j < at);
		CHECKF(larger == i && s.worst[i].kld == kld[at], "the %zu. worst has %zu before it", i, larger);
	}
	left = 0;
	n = 0;
	for (size_t i = 0; i < SPREAD_PLACES; i++) {
		left += s.kld_place[i].sum;
		n += s.n_place[i] != 0;
		CHECK(s.n_place[i] == 0 || s.n_place[i] == N / 3);
	}
	for (size_t i = 0; i < N; i++)
		left -= kld[i];
	CHECK(n == 3 && fabs(left) < 1e-9);
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void replaces(void)
{
	static const struct { const char *text; bool taken; } t[] = {
		{ "<!DOCTYPE html>\nold", true }, { "<!doctype HTML>\nold", true }, { "", true }, { "<!DOCTYPE htm", false }, { "GGUF....................", false },
	};
	char dir[] = "/tmp/report-XXXXXX", path[64];
	struct html h = { 0 };

	CHECK(mkdtemp(dir) != NULL);
	snprintf(path, sizeof path, "%s/a.html", dir);
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct output o;
		struct err e = { 0 };

		put(path, t[i].text);
		CHECKF((html_reserve(&o, path, &e) == OK) == t[i].taken, "'%s': %s", t[i].text, e.msg);
		if (t[i].taken) {
			html_begin(&h, "test");
			CHECK(html_write(&h, &o, &e) == OK);
			html_close(&h);
		}
		output_abandon(&o);
		unlink(path);
	}
	CHECK(symlink("/etc/passwd", path) == 0);
	for (int i = 0; i < 2; i++) {
		struct output o;
		struct err e = { 0 };

		CHECK(html_reserve(&o, path, &e) != OK);
		output_abandon(&o);
	}
	unlink(path);
	CHECK(rmdir(dir) == 0);	/* nothing is left beside it */
}

int main(void)
{
	RUN(escapes);
	RUN(numbers);
	RUN(limit);
	RUN(bins);
	RUN(worst);
	RUN(replaces);
	return test_done();
}
