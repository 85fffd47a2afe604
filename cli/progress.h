/* SPDX-License-Identifier: MIT
 *
 * progress.h - how far a long command is: what its line says. When and where it is shown: cli.h.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "format/base.h"

enum { PROGRESS_NAME = 512, PROGRESS_LINE = PROGRESS_NAME + 256 };	/* bytes */

struct progress_facts {
	const char *verb, *what;	/* what: the tensor or file at work, not escaped; may be NULL */
	uint64_t done, total;		/* bytes; total 0: not known */
	double rate, left;		/* bytes a second, 0: not known yet; seconds to the end, below 0: not known */
};
/* One line without a newline, of at most `columns` (cap >= PROGRESS_LINE bytes). Control bytes are escaped. */
void progress_line(char *out, size_t cap, const struct progress_facts *f, unsigned columns);
/* Columns that valid text takes at most. */
unsigned progress_columns(const char *s);
/* "0:07", "3:25:13", "2d 03:25"; "--:--" for what is below 0 or beyond three digits of days. Returns out. */
const char *progress_time(char *out, size_t cap, double seconds);

/* ---- progress_rate.c: how fast, lately --------------------------------------------------------*/

/* A sliding window: an eighth of the time so far, between 13 s and 5 min, or the last 64 steps where those are long.
 * What was done before the first mark (by a run that was stopped) is no part of a rate. Zeroed = empty. */
enum { RATE_MARKS = 64 };
struct rate {
	struct rate_mark { double at; uint64_t done; } marks[RATE_MARKS];
	unsigned n;
	double started;
};
/* now: seconds of a clock that goes forward; done never falls. */
void rate_mark(struct rate *r, double now, uint64_t done);
double rate_per_second(const struct rate *r, double now);	/* 0: not known yet */
/* Seconds until total, -1: not known. */
double rate_left(const struct rate *r, double now, uint64_t total);

#endif
