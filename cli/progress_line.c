/* SPDX-License-Identifier: MIT
 *
 * progress_line.c - the words of a progress line, made to fit a width.
 *
 * Nothing here looks at a terminal or a clock. What does not fit is first shortened (the name, in its
 * middle), then left out, the least wanted first; a line is never longer than it may be.
 */
#include <stdio.h>
#include <string.h>

#include "cli/progress.h"

enum { NAME_LEAST = 12 };	/* columns below which a shortened name says nothing */

static size_t chars_at(const char *s)
{
	size_t n = 1;

	while ((s[n] & 0xC0) == 0x80)
		n++;
	return n;
}

/* A character beyond ASCII may take two columns; counted so, a line is at worst too short. */
static unsigned columns_at(const char *s)
{
	return (unsigned char)*s < 0x80 ? 1 : 2;
}

unsigned progress_columns(const char *s)
{
	unsigned n = 0;

	for (; *s; s += chars_at(s))
		n += columns_at(s);
	return n;
}

/* name in at most `columns`, with dots for its middle: both ends of a tensor's name say something. */
static void shorten(char *out, size_t cap, const char *name, unsigned columns)
{
	unsigned head = (columns - 3) / 2, tail = columns - 3 - head, all = progress_columns(name), n = 0;
	const char *left = name, *right;

	if (all <= columns) {
		snprintf(out, cap, "%s", name);
		return;
	}
	while (n + columns_at(left) <= head) {
		n += columns_at(left);
		left += chars_at(left);
	}
	for (right = left; progress_columns(right) > tail;)
		right += chars_at(right);
	snprintf(out, cap, "%.*s...%s", (int)(left - name), name, right);
}

const char *progress_time(char *out, size_t cap, double s)
{
	enum { DAY = 86400 };

	if (!(s >= 0) || s >= 1000.0 * DAY) {
		snprintf(out, cap, "--:--");
		return out;
	}
	unsigned long t = (unsigned long)s;

	if (t >= DAY)
		snprintf(out, cap, "%lud %02lu:%02lu", t / DAY, t / 3600 % 24, t / 60 % 60);
	else if (t >= 3600)
		snprintf(out, cap, "%lu:%02lu:%02lu", t / 3600, t / 60 % 60, t % 60);
	else
		snprintf(out, cap, "%lu:%02lu", t / 60, t % 60);
	return out;
}

/* Both in the unit that suits the total, so that a line keeps its form while the first one grows. */
static void bytes_text(char *both, char *alone, size_t cap, uint64_t done, uint64_t total)
{
	uint64_t most = total > done ? total : done;
	double unit = most < 10000000 ? 1e3 : most < 10000000000 ? 1e6 : 1e9;
	const char *name = unit > 1e6 ? "GB" : unit > 1e3 ? "MB" : "kB";
	int digits = unit > 1e6, width = snprintf(NULL, 0, "%.*f", digits, (double)most / unit);

	snprintf(alone, cap, "%*.*f %s", width, digits, (double)done / unit, name);
	if (total)
		snprintf(both, cap, "%*.*f of %.*f %s", width, digits, (double)done / unit, digits, (double)total / unit, name);
	else
		snprintf(both, cap, "%s", alone);
}

/* Three digits of bytes a second. */
static void rate_text(char *out, size_t cap, double rate)
{
	double unit = rate < 999.5e3 ? 1e3 : rate < 999.5e6 ? 1e6 : 1e9, v = rate / unit;
	const char *name = unit > 1e6 ? "GB/s" : unit > 1e3 ? "MB/s" : "kB/s";

	if (!(rate > 0))
		out[0] = 0;
	else
		snprintf(out, cap, "%4.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, name);
}

/* The parts that are not empty, with two spaces between. */
static void join(char *out, size_t cap, const char *const part[], size_t n)
{
	size_t at = 0;

	out[0] = 0;
	for (size_t i = 0; i < n && at < cap; i++)
		if (part[i][0])
			at += (size_t)snprintf(out + at, cap - at, "%s%s", at ? "  " : "", part[i]);
}

void progress_line(char *out, size_t cap, const struct progress_facts *f, unsigned columns)
{
	char name[PROGRESS_NAME] = "", percent[16] = "", both[64], alone[64], rate[24], eta[32] = "", t[24];
	size_t n = 0;

	if (f->what)
		escape_text(name, sizeof name, f->what, strlen(f->what));
	bytes_text(both, alone, sizeof both, f->done, f->total);
	rate_text(rate, sizeof rate, f->rate);
	if (f->total) {
		snprintf(percent, sizeof percent, "%5.1f%%", 100.0 * (double)u64_min(f->done, f->total) / (double)f->total);
		snprintf(eta, sizeof eta, "ETA %s", progress_time(t, sizeof t, f->left));
	}
	const char *const forms[][5] = {
		{ f->verb, percent, both, rate, eta }, { f->verb, percent, alone, rate, eta },
		{ f->verb, percent, rate, eta, "" }, { f->verb, percent, eta, "", "" },
		{ percent, eta, "", "", "" }, { percent, "", "", "", "" }, { "", "", "", "", "" },
	};

	do {
		join(out, cap, forms[n], 5);
	} while (progress_columns(out) > columns && ++n < sizeof forms / sizeof *forms);
	size_t used = progress_columns(out), at = strlen(out);

	if (n == 0 && name[0] && (used + 2 + NAME_LEAST <= columns || used + 2 + progress_columns(name) <= columns)) {
		snprintf(out + at, cap - at, "  ");
		shorten(out + at + 2, cap - at - 2, name, columns - (unsigned)used - 2);
	}
}
