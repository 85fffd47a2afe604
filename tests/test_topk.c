/* SPDX-License-Identifier: MIT
 *
 * test_topk.c - the selection against a plain sort: every k, ties everywhere, values of all kinds.
 */
#include <math.h>

#include "runtime/runtime.h"
#include "tests/test.h"

enum { MOST = 5000 };
static double score[MOST];
static uint32_t order[MOST], out[MOST];
static uint64_t scratch[MOST];
static bool chosen[MOST];

static uint32_t next(uint32_t *x)
{
	*x = *x * 1664525u + 1013904223u;
	return *x >> 8;
}

static double rank_value(uint32_t i) { return isnan(score[i]) ? -INFINITY : score[i]; }

static int best_first(const void *pa, const void *pb)
{
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;
	double x = rank_value(a), y = rank_value(b);

	return x > y ? -1 : x < y ? 1 : a < b ? -1 : 1;
}

static void check(size_t n, size_t k, int kind)
{
	size_t found = 0;

	memset(chosen, 0, sizeof chosen);
	for (size_t i = 0; i < k; i++)
		chosen[order[i]] = true;
	ops_top_k(score, n, k, scratch, out);
	for (uint32_t i = 0; i < n; i++)
		if (chosen[i]) {
			CHECKF(out[found] == i, "kind %d, %zu of %zu: [%zu] is %u, not %u", kind, k, n, found,
			       out[found], i);
			found++;
		}
}

static double value(int kind, uint32_t r, size_t i)
{
	static const double odd[] = { 0.0, -0.0, INFINITY, -INFINITY, NAN, 5e-324, -5e-324, 1, -1, 1 + 1e-16 };

	switch (kind) {
	case 0: return (double)r / 1e6 - 8;		/* all different, or nearly */
	case 1: return (double)(r % 5) - 2;		/* ties */
	case 2: return odd[r % 10];
	case 3: return 1;				/* all equal */
	case 4: return 1 + (double)(r % 900) * 0x1p-52;	/* apart in the last digit only */
	case 5: return (double)i;
	case 6: return -(double)i;
	default: return ldexp((double)(r % 7) - 3, (int)(r / 7 % 2000) - 1000);
	}
}

static void agrees_with_a_sort(void)
{
	static const size_t sizes[] = { 1, 2, 3, 17, 256, 1023, MOST };
	uint32_t seed = 1;

	for (int kind = 0; kind < 8; kind++)
		for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
			size_t n = sizes[s];

			for (uint32_t i = 0; i < n; i++) {
				score[i] = value(kind, next(&seed), i);
				order[i] = i;
			}
			qsort(order, n, sizeof *order, best_first);
			for (size_t k = 0; k <= n; k += n < 20 ? 1 : 1 + next(&seed) % (n / 8))
				check(n, k, kind);
			check(n, n, kind);
		}
}

int main(void)
{
	RUN(agrees_with_a_sort);
	return test_done();
}
