/* SPDX-License-Identifier: MIT
 *
 * deep_pieces.h - private to deep_values.c and deep_shards.c: what one piece of a tensor shows, and how a line says it.
 */
#ifndef VERIFY_DEEP_PIECES_H
#define VERIFY_DEEP_PIECES_H

#include "verify/deep.h"

enum trouble { SOUND, NOT_FINITE, NO_EXPERT, TWICE };
/* What a piece showed first; elements count from the tensor's start. */
struct seen {
	uint64_t bad, odd;
	uint8_t trouble;
	bool is_odd;
};

/* The tensor that holds piece i: first[k] is the number of tensor k's first piece, of n; a tensor without pieces
 * shares its number with the next. */
size_t piece_owner(const uint64_t *first, size_t n, uint64_t i);
/* First of n F64 values at b that is NaN or infinite, or n. */
size_t first_bad_f64(const uint8_t *b, size_t n);
/* n expert ids of width bytes, whole rows of cols; the first is element e0. */
void look_at_ids(const uint8_t *b, size_t n, unsigned width, size_t cols, uint64_t n_expert, uint64_t e0, struct seen *s);
/* "tensor NAME, expert E, row R, column C, bytes A..B": of a tensor of `all` elements; [from, from + bytes) of the file
 * hold the element. */
void piece_place(struct str name, const uint64_t *shape, unsigned n_dims, uint64_t all, uint64_t element, uint64_t from,
		 unsigned bytes, char *buf, size_t cap);
/* The line of s->trouble, which is not SOUND; what: the value as text. */
void piece_bad_line(struct deep_report *r, enum trouble trouble, const char *where, const char *what, uint64_t n_expert,
		    const char *consequence);

#endif
