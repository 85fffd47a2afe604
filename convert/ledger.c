/* SPDX-License-Identifier: MIT
 *
 * ledger.c - how far a tensor's values moved, where a report was asked for or FP4 is encoded anew: taken
 * from the unit at hand, its source decoded beside what was written.
 *
 * A chunk's sums are kept by its number and merged in that order, so the figures do not depend on who
 * converted what. A block that a chunk's boundary cuts is counted once, with the chunk that it begins in.
 */
#include <stdlib.h>

#include "convert/plan.h"
#include "convert/stream.h"

bool ledger_can_read(const struct plan *p, const struct plan_tensor *t)
{
	const struct source_layout *l = &p->matrices[t->first_matrix].l;

	return t->class != CLASS_IDS && codec_can_decode(t->type) &&
	       (l->kind != SOURCE_PLAIN || codec_can_decode(l->type));
}

void ledger_add(struct error_sums *s, const struct source_run *run, enum dtype target, const uint8_t *blocks,
		uint64_t at, float *scratch)
{
	enum { HALF = TRANSFER_SCRATCH / 2, PLAIN_BLOCK = 32 };
	const struct dtype_info *info = dtype_info(target);
	float *x = scratch, *y = scratch + HALF;

	for (uint64_t e = run->e0, n; e < run->e1; e += n) {
		uint64_t b0, b1, s0, s1;

		n = u64_min(run->e1 - e, HALF);
		source_weight_range(run->l, run->e0, e, &b0, &b1);
		source_scale_range(run->l, e, e + n, &s0, &s1);
		struct source_run part = {
			.l = run->l, .weight = run->weight + (b1 - b0), .e0 = e, .e1 = e + n, .s0 = s0,
			.scale = run->scale ? run->scale + (s0 - run->s0) * dtype_info(run->l->scale_type)->bytes : NULL,
		};
		if (source_decode(&part, x).kind != FAULT_NONE)
			return;		/* transfer has stopped the run at it */
		codec_decode(target, blocks, (size_t)n, y);
		error_add(s, x, y, (size_t)n, info->block > 1 ? info->block : PLAIN_BLOCK, at + (e - run->e0));
		s->saturated += codec_saturated(target, blocks, (size_t)n, x);
		blocks += n / info->block * info->bytes;
	}
}

void ledger_keep(const struct unit *u, const struct conversion *c, uint32_t shard, const struct error_sums *s)
{
	const struct feed *f = &c->p->shards[shard].feeds[u->feed];

	for (size_t i = 0; i < u->n_feeds; i++) {
		struct plan_output *out = &c->p->out[f[i].output];
		const struct plan_tensor *t = &out->tensors[f[i].tensor];

		if (out->errors)
			out->errors[t->first_chunk + f[i].matrix * t->chunks.per_matrix + u->chunk] = *s;
	}
}

void ledger_note_fp4(const struct plan *p, struct log *notes)
{
	struct error_sums all = { 0 };
	size_t n = 0;

	for (size_t o = 0; o < p->n_outputs; o++)
		for (size_t i = 0; i < p->out[o].n_tensors; i++)
			if (p->out[o].tensors[i].fp4) {
				struct error_sums s = ledger_tensor(&p->out[o], &p->out[o].tensors[i]);

				error_merge(&all, &s);
				n++;
			}
	if (n)
		log_add(notes, "FP4 weights of %zu tensors were encoded anew: relative error %.4f (RMS %.3g), where KEEP "
			"would have none", n, error_relative(&all), error_rms(&all));
}

struct error_sums ledger_tensor(const struct plan_output *out, const struct plan_tensor *t)
{
	struct error_sums s = { 0 };

	for (uint64_t i = 0; out->errors && i < t->chunks.n_chunks; i++)
		error_merge(&s, &out->errors[t->first_chunk + i]);
	return s;
}
