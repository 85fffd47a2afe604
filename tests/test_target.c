/* SPDX-License-Identifier: MIT
 *
 * test_target.c - the choice of types within a budget: beside all choices there are for small cases, and its
 * properties for large ones.
 */
#include "convert/target.h"
#include "tests/test.h"

static uint32_t state;

static uint32_t next(uint32_t n)
{
	state = state * 1664525u + 1013904223u;
	return (state >> 8) % n;
}

enum { N = 7, OPTIONS = 5, LARGE = 600 };

/* Like types of a tensor: loss falls by about 4 for each bit, sizes differ between items by 100 times. */
static void make(struct choice_item *items, struct choice *options, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t size = 100 + next(10000);
		double loss = 0.01 * (1 + next(1000));

		items[i] = (struct choice_item){ options + i * OPTIONS, OPTIONS, 0 };
		for (unsigned k = 0; k < OPTIONS; k++) {
			unsigned bits = 4 + 2 * k + next(3);

			items[i].options[k] = (struct choice){ (enum dtype)(DT_Q4_0 + k), size * bits / 8,
							       k == 4 ? 0 : loss / (double)(1u << 2 * (bits - 4)) };
		}
	}
}

static uint64_t bytes_of(const struct choice_item *items, size_t n)
{
	uint64_t b = 0;

	for (size_t i = 0; i < n; i++)
		b += items[i].options[items[i].chosen].bytes;
	return b;
}

static double loss_of(const struct choice_item *items, size_t n)
{
	double l = 0;

	for (size_t i = 0; i < n; i++)
		l += items[i].options[items[i].chosen].loss;
	return l;
}

static double brute_force(const struct choice *options, uint64_t budget)
{
	double best = -1;
	unsigned total = 1;

	for (unsigned i = 0; i < N; i++)
		total *= OPTIONS;
	for (unsigned code = 0; code < total; code++) {
		uint64_t bytes = 0;
		double loss = 0;

		for (unsigned i = 0, c = code; i < N; i++, c /= OPTIONS) {
			bytes += options[i * OPTIONS + c % OPTIONS].bytes;
			loss += options[i * OPTIONS + c % OPTIONS].loss;
		}
		if (bytes <= budget && (best < 0 || loss < best))
			best = loss;
	}
	return best;
}

/* Few items are the hard case: one step is much of the budget. Most are the optimum all the same. */
static void near_the_optimum(void)
{
	static struct choice options[N * OPTIONS], all[N * OPTIONS];
	struct choice_item items[N];
	struct err e;
	unsigned n_exact = 0, n_cases = 0;
	double worst = 1, sum = 0, sum_best = 0;

	for (state = 1; n_cases < 60; n_cases++) {
		uint64_t least = 0, most = 0, budget;
		double best, found;
		bool fits;

		make(items, options, N);
		memcpy(all, options, sizeof all);
		for (unsigned i = 0; i < N; i++) {
			uint64_t lo = UINT64_MAX, hi = 0;

			for (unsigned k = 0; k < OPTIONS; k++) {
				lo = u64_min(lo, items[i].options[k].bytes);
				hi = items[i].options[k].bytes > hi ? items[i].options[k].bytes : hi;
			}
			least += lo;
			most += hi;
		}
		budget = least + next((uint32_t)(most - least));
		CHECK(target_choose(items, N, budget, &fits, &e) == OK && fits);
		CHECK(bytes_of(items, N) <= budget);
		best = brute_force(all, budget);
		found = loss_of(items, N);
		CHECK(found >= best * (1 - 1e-12));
		n_exact += found <= best * (1 + 1e-12);
		worst = best > 0 && found / best > worst ? found / best : worst;
		sum += found;
		sum_best += best;
	}
	CHECKF(n_exact >= 40, "%u of %u are the optimum", n_exact, n_cases);
	CHECKF(sum <= 1.06 * sum_best, "%g times the optimum in all", sum / sum_best);
	CHECKF(worst < 2, "%g times the optimum at worst", worst);
}

/* A loss that no choice within the budget can be below: the largest over lambda of the least sum of loss and
 * lambda times bytes, less lambda times budget. */
static double bound(const struct choice *options, size_t n, uint64_t budget)
{
	double best = 0;

	for (double lambda = 1e-9; lambda < 100; lambda *= 1.02) {
		double sum = -lambda * (double)budget;

		for (size_t i = 0; i < n; i++) {
			double least = 1e300, v;

			for (size_t k = 0; k < OPTIONS; k++) {
				v = options[i * OPTIONS + k].loss + lambda * (double)options[i * OPTIONS + k].bytes;
				least = v < least ? v : least;
			}
			sum += least;
		}
		best = sum > best ? sum : best;
	}
	return best;
}

static void many_items(size_t n, double most)
{
	static struct choice options[LARGE * OPTIONS], copy[LARGE * OPTIONS];
	static struct choice_item items[LARGE], again[LARGE];
	struct err e;
	double before = -1, least;
	bool fits;

	for (uint64_t share = 4; share <= 9; share++) {
		uint64_t budget = n * share * 850;

		state = 99;
		make(items, options, n);
		memcpy(copy, options, sizeof copy);
		for (size_t i = 0; i < n; i++)
			again[i] = (struct choice_item){ copy + i * OPTIONS, OPTIONS, 0 };
		least = bound(options, n, budget);
		CHECK(target_choose(items, n, budget, &fits, &e) == OK && fits);
		CHECK(bytes_of(items, n) <= budget);
		CHECKF(loss_of(items, n) <= most * least || least == 0, "%zu items: %g times the bound", n,
		       loss_of(items, n) / least);
		CHECK(before < 0 || loss_of(items, n) < before || loss_of(items, n) == 0);
		before = loss_of(items, n);
		CHECK(target_choose(again, n, budget, &fits, &e) == OK && fits);
		for (size_t i = 0; i < n; i++)
			CHECK(again[i].chosen == items[i].chosen);
	}
}

static void as_many_as_a_sample_has(void)
{
	many_items(80, 1.05);
}

static void as_many_as_a_model_has(void)
{
	many_items(LARGE, 1.005);
}

static void ends(void)
{
	static struct choice options[N * OPTIONS];
	struct choice_item items[N];
	struct err e;
	uint64_t least;
	bool fits;

	state = 5;
	make(items, options, N);
	CHECK(target_choose(items, N, 0, &fits, &e) == OK && !fits);
	least = bytes_of(items, N);
	CHECK(target_choose(items, N, least - 1, &fits, &e) == OK && !fits);
	CHECK(target_choose(items, N, least, &fits, &e) == OK && fits && bytes_of(items, N) == least);
	CHECK(target_choose(items, N, 1 << 30, &fits, &e) == OK && fits && loss_of(items, N) == 0);
	CHECK(target_choose(items, 0, 0, &fits, &e) == OK && fits);
}

int main(void)
{
	RUN(near_the_optimum);
	RUN(as_many_as_a_sample_has);
	RUN(as_many_as_a_model_has);
	RUN(ends);
	return test_done();
}
