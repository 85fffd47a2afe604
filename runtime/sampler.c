/* SPDX-License-Identifier: MIT
 *
 * sampler.c - the next token out of the logits.
 *
 * p(i) = exp((z(i) - max) / temp), never normalised; the total is taken in order of ids. For top-p
 * the ids come off a heap, most likely first and lower ids first among equals, until they have
 * their share; the draw runs over them in the same order. Every step is IEEE arithmetic in a fixed
 * order, the exponential included, so a seed gives the same tokens on every processor: a library's
 * exp may round differently from one to the next.
 */
#include "runtime/run.h"

#include <math.h>
#include <stdlib.h>

/* splitmix64: a counter, mixed until each bit of it has touched each bit of the result. */
static uint64_t draw(struct sampler *s)
{
	uint64_t x = s->state += 0x9E3779B97F4A7C15;

	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
	x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
	return x ^ (x >> 31);
}

/* exp(x) for x <= 0, to about 1e-15: x = k ln 2 + r, |r| <= ln 2 / 2, a Taylor polynomial, 2^k. */
static double exp_fixed(double x)
{
	const double ln2_hi = 0x1.62e42fefa0000p-1, ln2_lo = 0x1.cf79abc9e3b39p-40;
	double k = floor(x * 0x1.71547652b82fep+0 + 0.5), r = x - k * ln2_hi - k * ln2_lo, y = 1;

	if (!(x > -700))
		return 0;
	for (int i = 14; i > 0; i--)
		y = 1 + y * r / i;
	return ldexp(y, (int)k);
}

enum status sampler_open(struct sampler *s, size_t n_vocab, double temp, double top_p, uint64_t seed,
			 struct err *e)
{
	*s = (struct sampler){ .temp = temp, .top_p = top_p, .state = seed, .n_vocab = n_vocab };
	if (!(temp >= 0) || !isfinite(temp))
		return err_set(e, ERR_USAGE, "a temperature of %g cannot be; 0 is greedy, 1 is the model's own", temp);
	if (!(top_p >= 0 && top_p <= 1))
		return err_set(e, ERR_USAGE, "top-p is a share from 0 to 1, not %g", top_p);
	s->order = mem_new(n_vocab, sizeof *s->order, "the sampler", e);
	s->p = mem_new(n_vocab, sizeof *s->p, "the sampler", e);
	if (!s->order || !s->p) {
		sampler_close(s);
		return e->status;
	}
	return OK;
}

uint64_t sampler_bytes(size_t n_vocab)
{
	return (uint64_t)n_vocab * (sizeof(uint32_t) + sizeof(double));
}

void sampler_close(struct sampler *s)
{
	free(s->order);
	free(s->p);
	*s = (struct sampler){ 0 };
}

static enum status find_top(const float *z, size_t n, uint32_t *top, struct err *e)
{
	*top = 0;
	for (size_t i = 0; i < n; i++) {
		if (!isfinite(z[i]))
			return err_set(e, ERR_UNSUPPORTED, "the logit of token %zu is not finite: the forward pass "
				       "left the range of float32, or the model is damaged; verify it", i);
		if (z[i] > z[*top])
			*top = (uint32_t)i;
	}
	return OK;
}

/* Which of two ids comes off the heap first. By logit, not by p: where p is 0 the order holds. */
static bool before(const float *z, uint32_t a, uint32_t b)
{
	return z[a] > z[b] || (!(z[a] < z[b]) && a < b);
}

static void sift(uint32_t *heap, size_t n, size_t i, const float *z)
{
	uint32_t id = heap[i];
	size_t k;

	for (; (k = 2 * i + 1) < n; i = k) {
		if (k + 1 < n && before(z, heap[k + 1], heap[k]))
			k++;
		if (!before(z, heap[k], id))
			break;
		heap[i] = heap[k];
	}
	heap[i] = id;
}

/* Moves the most likely ids, in order, to the back of order[]; n_kept of them reach the share. */
static size_t keep_share(struct sampler *s, const float *z, double share, double *kept)
{
	size_t n = s->n_vocab, n_kept = 0;

	for (size_t i = 0; i < n; i++)
		s->order[i] = (uint32_t)i;
	for (size_t i = n / 2; i-- > 0;)
		sift(s->order, n, i, z);
	*kept = 0;
	while (n > 0 && (n_kept == 0 || *kept < share)) {
		uint32_t id = s->order[0];

		s->order[0] = s->order[--n];
		if (n)
			sift(s->order, n, 0, z);
		s->order[n] = id;
		*kept += s->p[id];
		n_kept++;
	}
	return n_kept;
}

enum status sampler_pick(struct sampler *s, const float *z, uint32_t *id, struct err *e)
{
	size_t n = s->n_vocab, n_kept = n;
	double total = 0, kept, sum = 0, target;
	uint32_t top;

	if (find_top(z, n, &top, e) != OK)
		return e->status;
	*id = top;
	if (s->temp <= 0)
		return OK;
	for (size_t i = 0; i < n; i++) {
		s->p[i] = exp_fixed(((double)z[i] - (double)z[top]) / s->temp);
		total += s->p[i];
	}
	kept = total;
	if (s->top_p < 1)
		n_kept = keep_share(s, z, s->top_p * total, &kept);
	target = (double)(draw(s) >> 11) * 0x1p-53 * kept;
	for (size_t i = 0; i < n_kept; i++) {
		uint32_t next = s->top_p < 1 ? s->order[n - 1 - i] : (uint32_t)i;

		if (s->p[next] > 0)
			*id = next;	/* the last of them, should rounding leave a rest */
		sum += s->p[next];
		if (sum > target)
			break;
	}
	return OK;
}
