/* SPDX-License-Identifier: MIT
 *
 * progress_rate.c - bytes a second over a sliding window, so that what is left can be told steadily.
 */
#include <string.h>

#include "cli/progress.h"

void rate_mark(struct rate *r, double now, uint64_t done)
{
	double apart;

	if (r->n == 0) {
		r->started = now;
		r->marks[r->n++] = (struct rate_mark){ now, done };
		return;
	}
	if (done == r->marks[r->n - 1].done)
		return;
	apart = (now - r->started) / 512;
	apart = apart < 0.2 ? 0.2 : apart > 5 ? 5 : apart;
	if (r->n >= 2 && r->marks[r->n - 1].at - r->marks[r->n - 2].at < apart)
		r->n--;		/* it was only a step on the way to this one */
	if (r->n == RATE_MARKS)
		memmove(r->marks, r->marks + 1, --r->n * sizeof *r->marks);
	r->marks[r->n++] = (struct rate_mark){ now, done };
}

double rate_per_second(const struct rate *r, double now)
{
	const struct rate_mark *first = r->marks, *last;
	double span, idle, step;

	if (r->n < 2)
		return 0;
	last = &r->marks[r->n - 1];
	span = last->at - first->at;
	step = span / (r->n - 1);
	idle = now - last->at - 2 * step;
	if (idle > 0)		/* a step that takes longer than two of its fellows stands still */
		span += idle;
	return span > 0 ? (double)(last->done - first->done) / span : 0;
}

double rate_left(const struct rate *r, double now, uint64_t total)
{
	double rate = rate_per_second(r, now), left;

	if (!(rate > 0))
		return -1;
	const struct rate_mark *last = &r->marks[r->n - 1];

	left = total > last->done ? (double)(total - last->done) / rate - (now - last->at) : 0;
	return left > 0 ? left : 0;
}
