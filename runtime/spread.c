/* SPDX-License-Identifier: MIT
 *
 * spread.c - counts and sums in fixed bins, and a short list of the worst.
 */
#include "runtime/spread.h"

#include <math.h>
#include <string.h>

double spread_edge(size_t steps)
{
	return pow(10, (double)steps / SPREAD_PER_DECADE - SPREAD_DECADES);
}

size_t spread_bin(double change)
{
	double size = fabs(change), steps;
	size_t n;

	if (!(size >= spread_edge(0)))
		return SPREAD_MIDDLE;
	steps = floor((log10(size) + SPREAD_DECADES) * SPREAD_PER_DECADE);
	n = steps < 0 ? 0 : steps >= SPREAD_MIDDLE ? SPREAD_MIDDLE - 1 : (size_t)steps;
	return change < 0 ? SPREAD_MIDDLE - 1 - n : SPREAD_MIDDLE + 1 + n;
}

/* Share of a place that is `at` scored ones after the first. */
static size_t share_of(const struct spread *s, uint64_t at)
{
	return (size_t)(at * SPREAD_PLACES / s->scored);	/* scored is below 2^32 */
}

void spread_place(const struct spread *s, size_t i, uint64_t *from, uint64_t *to)
{
	*from = s->first + u64_div_up(i * s->scored, SPREAD_PLACES);
	*to = s->first + u64_div_up((i + 1) * s->scored, SPREAD_PLACES);
}

static void keep_worst(struct spread *s, const struct perplexity_row *r)
{
	size_t at = s->n_worst;

	while (at > 0 && r->kld > s->worst[at - 1].kld)
		at--;
	if (at == SPREAD_WORST)
		return;
	if (s->n_worst < SPREAD_WORST)
		s->n_worst++;
	memmove(s->worst + at + 1, s->worst + at, (s->n_worst - 1 - at) * sizeof *s->worst);
	s->worst[at] = *r;
}

void spread_add(struct spread *s, const struct perplexity_row *r)
{
	size_t share;

	if (r->ahead != 1)
		return;
	share = share_of(s, (r->index - 1) % s->n_ctx - s->first);
	s->n++;
	s->change[spread_bin(exp(r->log_prob) - exp(r->ref_log_prob))]++;
	s->n_place[share]++;
	s->kld_place[share].sum += r->kld;
	s->kld_place[share].sum2 += r->kld * r->kld;
	keep_worst(s, r);
}
