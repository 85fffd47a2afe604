/* SPDX-License-Identifier: MIT
 *
 * test_progress.c - the words of a progress line at every width, and what a rate over a window tells.
 */
#include "cli/progress_line.c"
#include "cli/progress_rate.c"
#include "tests/test.h"

static const char *line_of(struct progress_facts f, unsigned columns)
{
	static char out[PROGRESS_LINE];

	progress_line(out, sizeof out, &f, columns);
	return out;
}

#define IS(f, columns, text) CHECKF(strcmp(line_of(f, columns), text) == 0, "'%s'", line_of(f, columns))

/* A checkpoint of 865 GB, an eighth done: whole, then shorter, part by part. */
static void widths(void)
{
	const struct progress_facts f = { .verb = "convert", .what = "blk.31.ffn_gate_exps.weight", .done = 106400000000,
					  .total = 865000000000, .rate = 512.3e6, .left = 758.6e9 / 512.3e6 };

	IS(f, 120, "convert   12.3%  106.4 of 865.0 GB   512 MB/s  ETA 24:40  blk.31.ffn_gate_exps.weight");
	IS(f, 79, "convert   12.3%  106.4 of 865.0 GB   512 MB/s  ETA 24:40  blk.31.ff...ps.weight");
	IS(f, 69, "convert   12.3%  106.4 of 865.0 GB   512 MB/s  ETA 24:40");
	IS(f, 49, "convert   12.3%  106.4 GB   512 MB/s  ETA 24:40");
	IS(f, 39, "convert   12.3%   512 MB/s  ETA 24:40");
	IS(f, 34, "convert   12.3%  ETA 24:40");
	IS(f, 19, " 12.3%  ETA 24:40");
	IS(f, 9, " 12.3%");
	IS(f, 5, "");
	IS(f, 0, "");
}

static void times(void)
{
	static const struct { double s; const char *text; } list[] = {
		{ 0, "0:00" }, { 7.9, "0:07" }, { 59.99, "0:59" }, { 3599, "59:59" }, { 3600, "1:00:00" }, { 86399, "23:59:59" },
		{ 86400, "1d 00:00" }, { 98765, "1d 03:26" }, { 999.0 * 86400, "999d 00:00" }, { 1e9, "--:--" }, { -1, "--:--" },
		{ 0.0 / 0.0, "--:--" },
	};
	char t[24];

	for (size_t i = 0; i < sizeof list / sizeof *list; i++)
		CHECKF(strcmp(progress_time(t, sizeof t, list[i].s), list[i].text) == 0, "%s, not %s", t, list[i].text);
}

static void units(void)
{
	struct progress_facts f = { .verb = "v", .total = 6497056, .done = 64970, .left = -1 };

	IS(f, 99, "v    1.0%    65 of 6497 kB  ETA --:--");
	f.total = 4300000000;
	f.rate = 99950;
	IS(f, 99, "v    0.0%     0 of 4300 MB   100 kB/s  ETA --:--");
	f.total = 0;
	IS(f, 99, "v  65 kB   100 kB/s");
	f = (struct progress_facts){ .verb = "v", .total = 10, .done = 20, .left = 0 };	/* a total that was too low */
	IS(f, 99, "v  100.0%  0 of 0 kB  ETA 0:00");
}

/* No width is ever exceeded, whatever a tensor is called; control bytes and broken UTF-8 are escaped. */
static void hostile_names(void)
{
	static const char *const names[] = {
		"", "a", "\033[2J\033]0;owned\007", "\r\n\t\b", "\xe6\xa8\xa1\xe5\x9e\x8b\xe5\xb1\x82\xe6\xac\xa1\xe4\xb8\x93\xe5\xae\xb6",
		"\xff\xfe\x80 broken", "\xf0\x9f\x8c\x8d\xf0\x9f\x8c\x8d\xf0\x9f\x8c\x8d\xf0\x9f\x8c\x8d", "%s%n%99999d", "\xe2\x80\xae turned",
	};
	char longest[5000];

	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = 0;
	for (size_t i = 0; i <= sizeof names / sizeof *names; i++)
		for (unsigned columns = 0; columns < 200; columns++) {
			struct progress_facts f = { .verb = "perplexity", .what = i ? names[i - 1] : longest, .done = columns * 5000000000ull,
						    .total = 865000000000, .rate = 1e6 * columns, .left = 100000.0 * columns };
			const char *s = line_of(f, columns);

			CHECKF(progress_columns(s) <= columns, "%u: '%s'", columns, s);
			for (const char *c = s; *c; c++)
				CHECKF((unsigned char)*c >= 0x20 && *c != 0x7f, "%zu, %u: byte %x", i, columns, (unsigned char)*c);
		}
}

/* A run that goes on: what was there before is no part of the rate, so that the rest is told rightly from the start. */
static void resumed(void)
{
	struct rate r = { 0 };

	rate_mark(&r, 1000, 600000000000);
	CHECK(rate_per_second(&r, 1000) == 0 && rate_left(&r, 1000, 865000000000) < 0);
	for (int i = 1; i <= 100; i++)
		rate_mark(&r, 1000 + 0.1 * i, 600000000000 + 50000000ull * (unsigned)i);
	CHECKF(rate_per_second(&r, 1010) > 499e6 && rate_per_second(&r, 1010) < 501e6, "%g", rate_per_second(&r, 1010));
	CHECKF(rate_left(&r, 1010, 865000000000) > 519 && rate_left(&r, 1010, 865000000000) < 521, "%g", rate_left(&r, 1010, 865000000000));
}

/* A disk whose speed swings by half every second: the end moves by little; a lasting change is followed. */
static void steady(void)
{
	struct rate r = { 0 };
	uint64_t done = 0;
	double low = 1e30, high = 0;
	int i;

	for (i = 0; i < 1900; i++) {
		done += i / 10 % 2 ? 75000000 : 25000000;
		rate_mark(&r, 0.1 * i, done);
		if (i > 300) {
			double end = 0.1 * i + rate_left(&r, 0.1 * i, 100000000000);

			low = end < low ? end : low;
			high = end > high ? end : high;
		}
	}
	CHECKF(low > 190 && high < 215, "the end was foretold between %g and %g s", low, high);
	for (; i < 2900; i++) {
		done += 5000000;
		rate_mark(&r, 0.1 * i, done);
	}
	CHECKF(rate_per_second(&r, 290) < 60e6, "%g", rate_per_second(&r, 290));
}

/* Steps of half a minute (a layer): known after two; between steps the time left goes down; a stall shows. */
static void steps(void)
{
	struct rate r = { 0 };

	for (unsigned i = 0; i <= 10; i++)
		rate_mark(&r, 30.0 * i, 3000000000ull * i);
	CHECK(rate_per_second(&r, 300) == 1e8 && rate_left(&r, 300, 60000000000) == 300);
	CHECK(rate_left(&r, 320, 60000000000) == 280);
	CHECK(rate_per_second(&r, 600) < 0.6e8);
	rate_mark(&r, 330, 33000000000);
	CHECK(rate_left(&r, 330, 33000000000) == 0);
}

int main(void)
{
	RUN(widths);
	RUN(times);
	RUN(units);
	RUN(hostile_names);
	RUN(resumed);
	RUN(steady);
	RUN(steps);
	return test_done();
}
