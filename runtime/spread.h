/* SPDX-License-Identifier: MIT
 *
 * spread.h - what a report shows of the positions of a run beside its means: how changes are distributed, how the
 * divergence depends on the place in a chunk, and the positions that are worst. Memory does not grow with the text.
 */
#ifndef RUNTIME_SPREAD_H
#define RUNTIME_SPREAD_H

#include "runtime/runtime.h"

/* Changes by size, in steps of a quarter of a power of ten from 1e-6 to 1, falls to the left, rises to the right of the
 * bin in the middle, which has what is smaller. */
enum { SPREAD_DECADES = 6, SPREAD_PER_DECADE = 4, SPREAD_MIDDLE = SPREAD_DECADES * SPREAD_PER_DECADE,
       SPREAD_BINS = 2 * SPREAD_MIDDLE + 1, SPREAD_PLACES = 32, SPREAD_WORST = 24 };
/* Zeroed is empty but for n_ctx, first and scored, which are the plan's. */
struct spread {
	uint32_t n_ctx;
	uint64_t first, scored, n;
	uint64_t change[SPREAD_BINS];		/* of the correct token's probability, model less reference */
	uint64_t n_place[SPREAD_PLACES];	/* by place in the chunk, equal shares of those that are scored */
	struct parity_sum kld_place[SPREAD_PLACES];
	struct perplexity_row worst[SPREAD_WORST];	/* by divergence, the largest first; of equals the earliest */
	size_t n_worst;
};
/* A row of the next token; those of an MTP block are left out. Rows come in index order. */
void spread_add(struct spread *s, const struct perplexity_row *r);
/* The bin of a change, and the size of the change at its lower end (nearer to 0). */
size_t spread_bin(double change);
double spread_edge(size_t steps);	/* steps from the middle, 0..SPREAD_MIDDLE */
/* Places (in tokens from the chunk's start) whose scores are in share i: [*from, *to). */
void spread_place(const struct spread *s, size_t i, uint64_t *from, uint64_t *to);

#endif
