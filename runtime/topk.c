/* SPDX-License-Identifier: MIT
 *
 * topk.c - the k largest of n scores, in time linear in n: of a million tokens' rows the indexer
 * picks 512 out of 262,144, for every token and layer.
 *
 * Scores become unsigned keys of the same order. Digit by digit from the top, the keys that share
 * the digits found so far are counted by their next one, until the k-th largest key is known: what
 * is above it is chosen, and of its equals the first ones.
 */
#include "runtime/runtime.h"

#include <math.h>
#include <string.h>

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS, KEY_BITS = 64 };

/* Ascending like the scores: NaN as -infinity, -0 as 0. */
static uint64_t key_of(double score)
{
	uint64_t u;
	double x = isnan(score) ? -INFINITY : score + 0.0;

	memcpy(&u, &x, sizeof u);
	return u >> 63 ? ~u : u | (uint64_t)1 << 63;
}

/* The digit that holds the k-th largest key, k counted from 1; *k becomes its rank within that. */
static uint32_t find_digit(const uint64_t *key, size_t n, unsigned shift, size_t *k)
{
	uint32_t count[DIGITS] = { 0 }, digit = DIGITS - 1;

	for (size_t i = 0; i < n; i++)
		count[key[i] >> shift & (DIGITS - 1)]++;
	for (; *k > count[digit]; digit--)
		*k -= count[digit];
	return digit;
}

/* The k-th largest of n keys, 1 <= k <= n, and its rank among its equals. Leaves fewer and fewer keys. */
static uint64_t find_kth(uint64_t *key, size_t n, size_t *k)
{
	unsigned shift = KEY_BITS;

	while (shift) {
		uint32_t digit;
		size_t left = 0;

		shift = shift > DIGIT_BITS ? shift - DIGIT_BITS : 0;
		digit = find_digit(key, n, shift, k);
		for (size_t i = 0; i < n; i++) {
			key[left] = key[i];
			left += (key[i] >> shift & (DIGITS - 1)) == digit;
		}
		n = left;
	}
	return key[0];
}

void ops_top_k(const double *score, size_t n, size_t k, uint64_t *scratch, uint32_t *out)
{
	size_t found = 0, equals = k;
	uint64_t kth;

	if (k >= n) {
		for (size_t i = 0; i < n; i++)
			out[i] = (uint32_t)i;
		return;
	}
	if (k == 0)
		return;
	for (size_t i = 0; i < n; i++)
		scratch[i] = key_of(score[i]);
	kth = find_kth(scratch, n, &equals);
	for (size_t i = 0; i < n && found < k; i++) {
		uint64_t key = key_of(score[i]);

		if (key < kth || (key == kth && equals == 0))
			continue;
		equals -= key == kth;
		out[found++] = (uint32_t)i;
	}
}
