/* SPDX-License-Identifier: MIT
 *
 * deep_pieces.c - one piece of a tensor, of a GGUF or a checkpoint: whose it is, what it shows, how that is said.
 */
#include "verify/deep_pieces.h"

#include <stdio.h>

size_t piece_owner(const uint64_t *first, size_t n, uint64_t i)
{
	size_t lo = 0, hi = n;

	while (hi - lo > 1) {		/* the last of those that share a number is the one with pieces */
		size_t mid = lo + (hi - lo) / 2;

		if (first[mid] <= i)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

size_t first_bad_f64(const uint8_t *b, size_t n)
{
	const uint64_t exponent = 0x7FF0000000000000;

	for (size_t i = 0; i < n; i++)
		if ((load_le(b + 8 * i, 8) & exponent) == exponent)
			return i;
	return n;
}

void look_at_ids(const uint8_t *b, size_t n, unsigned width, size_t cols, uint64_t n_expert, uint64_t e0, struct seen *s)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t id = load_le(b + width * i, width);

		s->bad = e0 + i;
		if (id >= n_expert) {	/* a negative one is a large one here */
			s->trouble = NO_EXPERT;
			return;
		}
		for (size_t k = i / cols * cols; k < i; k++)
			if (load_le(b + width * k, width) == id) {
				s->trouble = TWICE;
				return;
			}
	}
}

void piece_place(struct str name, const uint64_t *shape, unsigned n_dims, uint64_t all, uint64_t element, uint64_t from,
		 unsigned bytes, char *buf, size_t cap)
{
	uint64_t cols = n_dims ? shape[n_dims - 1] : 1, row = element / cols;
	char expert[40] = "";

	if (n_dims > 2) {
		uint64_t rows = all / shape[0] / cols;

		snprintf(expert, sizeof expert, ", expert %llu", (unsigned long long)(row / rows));
		row %= rows;
	}
	snprintf(buf, cap, "tensor %.*s%s, row %llu, column %llu, bytes %llu..%llu", (int)name.n, name.p, expert,
		 (unsigned long long)row, (unsigned long long)(element % cols), (unsigned long long)from,
		 (unsigned long long)(from + bytes));
}

void piece_bad_line(struct deep_report *r, enum trouble trouble, const char *where, const char *what, uint64_t n_expert,
		    const char *consequence)
{
	if (trouble == NOT_FINITE)
		log_add(&r->bad, "%s: %s; %s", where, what, consequence);
	else if (trouble == NO_EXPERT)
		log_add(&r->bad, "%s: expert id %s, there are %llu experts; a reader that trusts it leaves its tables", where, what,
			(unsigned long long)n_expert);
	else
		log_add(&r->bad, "%s: expert id %s a second time in one row; it would count twice", where, what);
}
