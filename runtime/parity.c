/* SPDX-License-Identifier: MIT
 *
 * parity.c - how far a model's answers are from those of its reference.
 *
 * Both have predicted the same tokens; here are the statistics of it, as llama-perplexity reports
 * them (its --kl-divergence), but from float32 logits themselves and with sums in double and in
 * index order. Differences are formed per position before they are summed, so that the errors of
 * the two perplexities, which rise and fall together, cancel; and equal logits give exactly 0.
 */
#include "runtime/runtime.h"

#include <math.h>
#include <stdlib.h>

double parity_kld(const float *reference, const float *model, size_t n)
{
	size_t a, b;
	double log_a = ops_log_sum(reference, n, &a), log_b = ops_log_sum(model, n, &b), sum = 0;

	for (size_t i = 0; i < n; i++) {
		double p = (double)reference[i] - (double)reference[a] - log_a;
		double q = (double)model[i] - (double)model[b] - log_b;

		sum += exp(p) * (p - q);
	}
	return sum;
}

static void add(struct parity_sum *s, double x)
{
	s->sum += x;
	s->sum2 += x * x;
}

static struct estimate mean_of(const struct parity_sum *s, uint64_t count)
{
	double n = (double)count, mean = s->sum / n, variance = s->sum2 / n - mean * mean;

	return (struct estimate){ mean, count > 1 && variance > 0 ? sqrt(variance / (n - 1)) : 0 };
}

enum status parity_open(struct parity *p, uint64_t n_scored, uint32_t n_layer, struct err *e)
{
	*p = (struct parity){ .room = n_scored };
	p->kld = mem_new((size_t)n_scored, sizeof *p->kld, "KL divergences", e);
	if (p->kld && n_layer) {
		p->n_layers = (size_t)n_layer + 1;
		p->layers = mem_new(p->n_layers, sizeof *p->layers, "errors of layers", e);
	}
	return p->kld && (!n_layer || p->layers) ? OK : ERR_NOMEM;
}

void parity_close(struct parity *p)
{
	free(p->kld);
	free(p->layers);
	*p = (struct parity){ 0 };
}

void parity_add(struct parity *p, const struct parity_row *r)
{
	double change = exp(r->log_prob) - exp(r->ref_log_prob);

	if (p->n == p->room)
		return;
	p->kld[p->n++] = r->kld;
	p->n_same += r->same_best;
	add(&p->sum_kld, r->kld);
	add(&p->sum_nll, -r->ref_log_prob);
	add(&p->sum_ratio, r->ref_log_prob - r->log_prob);
	add(&p->sum_change, change);
	add(&p->sum_change2, change * change);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void parity_finish(struct parity *p)
{
	struct estimate nll, square;
	double n = (double)p->n, same = (double)p->n_same / n;

	if (p->n == 0)
		return;
	qsort(p->kld, (size_t)p->n, sizeof *p->kld, by_value);
	p->mean_kld = mean_of(&p->sum_kld, p->n);
	nll = mean_of(&p->sum_nll, p->n);
	p->ref_ppl = (struct estimate){ exp(nll.mean), nll.error * exp(nll.mean) };
	p->ln_ratio = mean_of(&p->sum_ratio, p->n);
	p->ratio = (struct estimate){ exp(p->ln_ratio.mean), p->ln_ratio.error * exp(p->ln_ratio.mean) };
	p->same_best = (struct estimate){ same, p->n > 1 ? sqrt(same * (1 - same) / (n - 1)) : 0 };
	p->change = mean_of(&p->sum_change, p->n);
	square = mean_of(&p->sum_change2, p->n);
	p->rms_change.mean = sqrt(square.mean);
	p->rms_change.error = square.mean > 0 ? square.error / (2 * p->rms_change.mean) : 0;
}

double parity_percentile(const struct parity *p, double percent)
{
	double at = percent / 100 * (double)(p->n - 1);
	size_t low = (size_t)at, high = low + 1 < p->n ? low + 1 : low;

	return p->kld[low] + (at - (double)low) * (p->kld[high] - p->kld[low]);
}

/* ---- hidden states ---- */

void layer_error_of(struct layer_error *l, const float *reference, const float *model, size_t n)
{
	*l = (struct layer_error){ 0 };
	for (size_t i = 0; i < n; i++) {
		double a = (double)reference[i], b = (double)model[i], d = fabs(b - a);

		l->diff2 += d * d;
		l->ref2 += a * a;
		l->model2 += b * b;
		l->dot += a * b;
		if (!(d <= l->max))	/* a NaN stays visible */
			l->max = d;
	}
}

void layer_error_add(struct layer_error *l, const struct layer_error *more)
{
	l->diff2 += more->diff2;
	l->ref2 += more->ref2;
	l->model2 += more->model2;
	l->dot += more->dot;
	if (!(more->max <= l->max))
		l->max = more->max;
}

double layer_error_rms(const struct layer_error *l)
{
	return l->diff2 == 0 ? 0 : sqrt(l->diff2 / l->ref2);
}

/* sqrt(x * x) is x, so equal states give exactly 1. */
double layer_error_cosine(const struct layer_error *l)
{
	return l->diff2 == 0 ? 1 : l->dot / sqrt(l->ref2 * l->model2);
}

/* ---- may the two be compared ---- */

enum status parity_check(const struct model *m, const struct model *reference, struct err *e)
{
	const struct arch *a = &m->arch, *b = &reference->arch;
	const struct { const char *what; uint32_t model, reference; } same[] = {
		{ "tokens in the vocabulary", a->n_vocab, b->n_vocab },
		{ "layers", a->n_layer, b->n_layer },
		{ "as embedding width", a->n_embd, b->n_embd },
		{ "residual streams", a->n_hc, b->n_hc },
	};

	for (size_t i = 0; i < sizeof same / sizeof *same; i++)
		if (same[i].model != same[i].reference)
			return err_set(e, ERR_MISMATCH, "%s: %u %s, the reference %s has %u; the two are not the "
				       "same model", m->path, same[i].model, same[i].what, reference->path,
				       same[i].reference);
	return OK;
}

enum status parity_check_vocab(const struct vocab *v, const char *path, const struct vocab *reference,
			       const char *ref_path, struct err *e)
{
	uint32_t i = 0, n = v->n_tokens < reference->n_tokens ? v->n_tokens : reference->n_tokens;

	while (i < n && str_eq(v->tokens[i], reference->tokens[i]))
		i++;
	if (i < n || v->n_tokens != reference->n_tokens)
		return err_set(e, ERR_MISMATCH, "%s: token %u is not that of the reference %s; the same text "
			       "would not be the same ids", path, i, ref_path);
	if (v->add_bos != reference->add_bos || (v->add_bos && v->bos != reference->bos))
		return err_set(e, ERR_MISMATCH, "%s: its vocabulary and that of the reference %s do not add the "
			       "same bos", path, ref_path);
	return OK;
}
