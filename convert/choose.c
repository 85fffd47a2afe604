/* SPDX-License-Identifier: MIT
 *
 * choose.c - one option of every item so that the bytes fit and the losses are least: the
 * multiple-choice knapsack, near its optimum.
 *
 * Each item's options are cut to those on their lower convex hull; the steps along all hulls are taken in
 * the order of loss saved per byte. Were bytes divisible, that would be the optimum; what is left
 * of the budget is filled with single steps and with exchanges between two items.
 */
#include "convert/target.h"

#include <stdlib.h>

struct step { size_t item, from, to; uint64_t bytes; double gain, slope; };

static int smaller_first(const void *a, const void *b)
{
	const struct choice *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? -1 : 1;
	if (x->loss != y->loss)
		return x->loss < y->loss ? -1 : 1;
	return (x->type > y->type) - (x->type < y->type);
}

/* Leaves options that are each larger and of less loss than the one before. */
static void drop_useless(struct choice_item *it)
{
	size_t n = 0;

	qsort(it->options, it->n, sizeof *it->options, smaller_first);
	for (size_t i = 0; i < it->n; i++)
		if (n == 0 || it->options[i].loss < it->options[n - 1].loss)
			it->options[n++] = it->options[i];
	it->n = n;
	it->chosen = 0;
}

static double slope_of(const struct choice *from, const struct choice *to)
{
	return (from->loss - to->loss) / (double)(to->bytes - from->bytes);
}

/* The steps of one item's hull: from each corner to the option that saves most for its bytes. */
static size_t add_steps(const struct choice_item *it, size_t item, struct step *steps)
{
	size_t n = 0;

	for (size_t at = 0, next; at + 1 < it->n; at = next) {
		next = at + 1;
		for (size_t k = at + 2; k < it->n; k++)
			if (slope_of(&it->options[at], &it->options[k]) >= slope_of(&it->options[at], &it->options[next]))
				next = k;
		steps[n++] = (struct step){ item, at, next, it->options[next].bytes - it->options[at].bytes,
					    it->options[at].loss - it->options[next].loss,
					    slope_of(&it->options[at], &it->options[next]) };
	}
	return n;
}

static int steeper_first(const void *a, const void *b)
{
	const struct step *x = a, *y = b;

	if (x->slope != y->slope)
		return x->slope > y->slope ? -1 : 1;
	if (x->item != y->item)
		return x->item < y->item ? -1 : 1;
	return (x->from > y->from) - (x->from < y->from);
}

static void take_steps(struct choice_item *items, const struct step *steps, size_t n, uint64_t *left)
{
	for (size_t i = 0; i < n; i++)
		if (items[steps[i].item].chosen == steps[i].from && steps[i].bytes <= *left) {
			items[steps[i].item].chosen = steps[i].to;
			*left -= steps[i].bytes;
		}
}

/* The single change that saves most and fits, until there is none. */
static void fill(struct choice_item *items, size_t n, uint64_t *left)
{
	for (;;) {
		struct step best = { .gain = 0 };

		for (size_t i = 0; i < n; i++) {
			const struct choice *o = items[i].options, *now = &o[items[i].chosen];

			for (size_t k = items[i].chosen + 1; k < items[i].n && o[k].bytes - now->bytes <= *left; k++)
				if (now->loss - o[k].loss > best.gain)
					best = (struct step){ i, items[i].chosen, k, o[k].bytes - now->bytes,
							      now->loss - o[k].loss, 0 };
		}
		if (!(best.gain > 0))
			return;
		items[best.item].chosen = best.to;
		*left -= best.bytes;
	}
}

/* The smaller option of another item that pays for `need` bytes at the least loss below `most`. */
static bool find_payer(const struct choice_item *items, size_t n, size_t except, uint64_t need, double most,
		       struct step *payer)
{
	bool found = false;

	for (size_t u = 0; u < n; u++) {
		const struct choice *o = items[u].options, *now = &o[items[u].chosen];

		/* options are sorted: the largest that frees enough loses least */
		for (size_t k = items[u].chosen; u != except && k-- > 0;)
			if (now->bytes - o[k].bytes >= need) {
				if (o[k].loss - now->loss < most) {
					most = o[k].loss - now->loss;
					*payer = (struct step){ u, items[u].chosen, k, now->bytes - o[k].bytes, most, 0 };
					found = true;
				}
				break;
			}
	}
	return found;
}

/* Exchanges: one item takes a larger option, another pays for it. Every one lowers the sum. */
static bool exchange(struct choice_item *items, size_t n, uint64_t *left)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		struct step best = { .gain = 0 }, best_payer = { 0 };

		for (size_t k = items[i].chosen + 1; k < items[i].n; k++) {
			const struct choice *o = &items[i].options[k], *now = &items[i].options[items[i].chosen];
			uint64_t bytes = o->bytes - now->bytes, need = bytes > *left ? bytes - *left : 0;
			double saved = now->loss - o->loss;
			struct step payer;

			if (!find_payer(items, n, i, need, saved - best.gain, &payer))
				continue;
			best = (struct step){ i, items[i].chosen, k, bytes, saved - payer.gain, 0 };
			best_payer = payer;
		}
		if (!(best.gain > 0))
			continue;
		items[i].chosen = best.to;
		items[best_payer.item].chosen = best_payer.to;
		*left = *left + best_payer.bytes - best.bytes;
		any = true;
	}
	return any;
}

enum status target_choose(struct choice_item *items, size_t n, uint64_t budget, bool *fits, struct err *e)
{
	enum { ROUNDS = 50 };
	uint64_t used = 0, left;
	struct step *steps;
	size_t n_steps = 0;

	for (size_t i = 0; i < n; i++) {
		drop_useless(&items[i]);
		used += items[i].options[0].bytes;
		n_steps += items[i].n;
	}
	*fits = used <= budget;
	if (!*fits)
		return OK;
	left = budget - used;
	steps = mem_new(n_steps, sizeof *steps, "the choice of types", e);
	if (!steps)
		return e->status;
	n_steps = 0;
	for (size_t i = 0; i < n; i++)
		n_steps += add_steps(&items[i], i, steps + n_steps);
	if (n_steps)
		qsort(steps, n_steps, sizeof *steps, steeper_first);
	take_steps(items, steps, n_steps, &left);
	free(steps);
	fill(items, n, &left);
	for (int round = 0; round < ROUNDS && exchange(items, n, &left); round++)
		fill(items, n, &left);
	return OK;
}
