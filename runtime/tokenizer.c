/* SPDX-License-Identifier: MIT
 *
 * tokenizer.c - byte-level BPE over the pieces of the pre-tokenizer.
 *
 * A piece starts as one token a byte. The adjacent pair whose merge comes first in the
 * vocabulary's list (leftmost of equals) becomes one token, until no pair has a merge. The pairs
 * wait in a heap of rank << 32 | position; an entry is stale when the pair at its position has
 * another rank by now, which needs no bookkeeping since a rank names one pair.
 *
 * Merges are looked up by binary search among those of the left token, special tokens by
 * narrowing a sorted list byte by byte: no vocabulary can make either one degrade.
 */
#include "runtime/tokenizer.h"

#include "format/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { NO_RANK = UINT32_MAX, END = UINT32_MAX };

/* The byte-level alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100
 * and on, in order. */
static bool stands_for_itself(uint32_t c)
{
	return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255);
}

static uint32_t char_of_byte(unsigned b)
{
	uint32_t c = 256;

	if (stands_for_itself(b))
		return b;
	for (unsigned i = 0; i < b; i++)
		c += !stands_for_itself(i);
	return c;
}

/* -1 for a character outside the alphabet. */
static int byte_of_char(uint32_t c)
{
	if (c < 256)
		return stands_for_itself(c) ? (int)c : -1;
	c -= 256;
	for (unsigned b = 0; b < 256; b++)
		if (!stands_for_itself(b) && c-- == 0)
			return (int)b;
	return -1;
}

/* ---- opening --------------------------------------------------------------------------------*/

static enum status open_bytes(struct tokenizer *t, const struct token_index *x, struct err *e)
{
	for (unsigned b = 0; b < 256; b++) {
		char text[UTF8_MAX];
		size_t n = utf8_put(text, char_of_byte(b));
		t->byte_id[b] = token_index_find(x, (struct str){ text, n });
		if (t->byte_id[b] == TOKEN_NONE)
			return err_set(e, ERR_UNSUPPORTED,
				       "vocabulary: no token stands for the byte 0x%02X: a "
				       "byte-level vocabulary has one for each byte",
				       b);
	}
	return OK;
}

static int compare_pairs(const void *a, const void *b)
{
	uint32_t x = ((const struct tokenizer_pair *)a)->right;
	uint32_t y = ((const struct tokenizer_pair *)b)->right;

	return (x > y) - (x < y);
}

/* Sorts the pairs of each left token; the same pair twice would have two ranks. */
static enum status sort_pairs(struct tokenizer *t, struct err *e)
{
	for (uint32_t l = 0; l < t->v->n_tokens; l++) {
		uint32_t from = t->pair_from[l], to = t->pair_from[l + 1];
		qsort(t->pairs + from, to - from, sizeof *t->pairs, compare_pairs);
		for (uint32_t i = from + 1; i < to; i++)
			if (t->pairs[i].right == t->pairs[i - 1].right)
				return err_set(e, ERR_FORMAT,
					       "vocabulary: merges %u and %u are the same",
					       t->pairs[i - 1].rank, t->pairs[i].rank);
	}
	return OK;
}

/* Two passes: count the pairs of each left token, then put each pair in its place. */
static enum status open_merges(struct tokenizer *t, const struct token_index *x, struct err *e)
{
	const struct vocab *v = t->v;
	struct merge_ids m;
	uint32_t *left = mem_new(v->n_merges, sizeof *left, "merges", e);
	uint32_t *right = mem_new(v->n_merges, sizeof *right, "merges", e);
	enum status st = ERR_NOMEM;

	t->pair_from = mem_new((size_t)v->n_tokens + 1, sizeof *t->pair_from, "merges", e);
	t->pairs = mem_new(v->n_merges, sizeof *t->pairs, "merges", e);
	t->merged = mem_new(v->n_merges, sizeof *t->merged, "merges", e);
	if (!left || !right || !t->pair_from || !t->pairs || !t->merged)
		goto out;
	for (uint32_t i = 0; i < v->n_merges; i++) {
		if (!merge_find(x, v->merges[i], &m)) {
			st = err_set(e, ERR_FORMAT,
				     "vocabulary: merge %u: not two tokens that make a third", i);
			goto out;
		}
		left[i] = m.left;
		right[i] = m.right;
		t->merged[i] = m.merged;
		t->pair_from[m.left]++;
	}
	/* pair_from[l] becomes the end of l's pairs; filling from the back makes it the start */
	for (uint32_t l = 1; l <= v->n_tokens; l++)
		t->pair_from[l] += t->pair_from[l - 1];
	for (uint32_t i = v->n_merges; i-- > 0;)
		t->pairs[--t->pair_from[left[i]]] = (struct tokenizer_pair){ right[i], i };
	st = sort_pairs(t, e);
out:
	free(left);
	free(right);
	return st;
}

static enum status open_specials(struct tokenizer *t, const struct token_index *x, struct err *e)
{
	const struct vocab *v = t->v;
	uint32_t n = 0;

	t->specials = mem_new(v->n_tokens, sizeof *t->specials, "special tokens", e);
	if (!t->specials)
		return ERR_NOMEM;
	for (uint32_t i = 0; i < x->n; i++) {
		uint32_t id = x->ids[i];
		if (v->types[id] != TOKEN_CONTROL && v->types[id] != TOKEN_USER)
			continue;
		t->specials[n++] = id;
		t->special_from[(unsigned char)v->tokens[id].p[0] + 1]++;
	}
	for (unsigned b = 0; b < 256; b++)
		t->special_from[b + 1] += t->special_from[b];
	return OK;
}

enum status tokenizer_open(struct tokenizer *t, const struct vocab *v, struct err *e)
{
	struct token_index x = { 0 };
	enum status st;

	*t = (struct tokenizer){ .v = v };
	TRY(token_index_build(&x, v->tokens, v->n_tokens, "vocabulary", e));
	TRY(open_bytes(t, &x, e));
	TRY(open_merges(t, &x, e));
	TRY(open_specials(t, &x, e));
out:
	token_index_close(&x);
	if (st != OK)
		tokenizer_close(t);
	return st;
}

void tokenizer_close(struct tokenizer *t)
{
	free(t->pair_from);
	free(t->pairs);
	free(t->merged);
	free(t->specials);
	*t = (struct tokenizer){ 0 };
}

bool tokenizer_add_bos(const struct tokenizer *t)
{
	return t->v->add_bos && t->v->bos != TOKEN_NONE;
}

/* ---- one call's working memory --------------------------------------------------------------*/

struct symbol { uint32_t id, prev, next; };
struct encoder {
	const struct tokenizer *t;
	struct symbol *s;		/* owned: a chain through the current piece */
	uint64_t *heap;			/* owned: least first */
	uint32_t *ids;			/* owned: the result */
	size_t s_cap, n_heap, heap_cap, n_ids, ids_cap;
	struct err *e;
};

static enum status emit(struct encoder *c, uint32_t id)
{
	void *p = c->ids;

	if (c->n_ids == c->ids_cap) {
		enum status st =
			mem_grow(&p, &c->ids_cap, c->n_ids + 1, sizeof *c->ids, "token ids", c->e);
		if (st != OK)
			return st;
		c->ids = p;
	}
	c->ids[c->n_ids++] = id;
	return OK;
}

static enum status heap_push(struct encoder *c, uint64_t x)
{
	void *p = c->heap;
	size_t i = c->n_heap;

	if (i == c->heap_cap) {
		enum status st =
			mem_grow(&p, &c->heap_cap, i + 1, sizeof *c->heap, "merging", c->e);
		if (st != OK)
			return st;
		c->heap = p;
	}
	c->n_heap++;
	for (; i > 0 && c->heap[(i - 1) / 2] > x; i = (i - 1) / 2)
		c->heap[i] = c->heap[(i - 1) / 2];
	c->heap[i] = x;
	return OK;
}

static uint64_t heap_pop(struct encoder *c)
{
	uint64_t least = c->heap[0], x = c->heap[--c->n_heap];
	size_t i = 0, k;

	while ((k = 2 * i + 1) < c->n_heap) {
		if (k + 1 < c->n_heap && c->heap[k + 1] < c->heap[k])
			k++;
		if (c->heap[k] >= x)
			break;
		c->heap[i] = c->heap[k];
		i = k;
	}
	c->heap[i] = x;
	return least;
}

/* ---- merging --------------------------------------------------------------------------------*/

static uint32_t pair_rank(const struct tokenizer *t, uint32_t left, uint32_t right)
{
	uint32_t lo = t->pair_from[left], hi = t->pair_from[left + 1];

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (t->pairs[mid].right == right)
			return t->pairs[mid].rank;
		if (t->pairs[mid].right < right)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NO_RANK;
}

static uint32_t rank_at(const struct encoder *c, uint32_t i)
{
	const struct symbol *s = &c->s[i];

	return s->id == TOKEN_NONE || s->next == END ? NO_RANK
						     : pair_rank(c->t, s->id, c->s[s->next].id);
}

static enum status push_pair(struct encoder *c, uint32_t i)
{
	uint32_t rank = rank_at(c, i);

	return rank == NO_RANK ? OK : heap_push(c, (uint64_t)rank << 32 | i);
}

static enum status merge_piece(struct encoder *c)
{
	enum status st = OK;

	while (c->n_heap > 0 && st == OK) {
		uint64_t top = heap_pop(c);
		uint32_t i = (uint32_t)top, rank = (uint32_t)(top >> 32);
		struct symbol *s = &c->s[i];
		if (rank_at(c, i) != rank)
			continue;
		struct symbol *gone = &c->s[s->next];
		s->id = c->t->merged[rank];
		gone->id = TOKEN_NONE;
		s->next = gone->next;
		if (s->next != END)
			c->s[s->next].prev = i;
		if (s->prev != END)
			st = push_pair(c, s->prev);
		if (st == OK)
			st = push_pair(c, i);
	}
	return st;
}

static enum status encode_piece(struct encoder *c, struct str piece)
{
	void *p = c->s;
	enum status st;

	if (piece.n == 1)
		return emit(c, c->t->byte_id[(unsigned char)piece.p[0]]);
	if (piece.n >= END)
		return err_set(c->e, ERR_UNSUPPORTED,
			       "text: a word of %zu bytes, at most %u are read", piece.n, END - 1);
	TRY(mem_grow(&p, &c->s_cap, piece.n, sizeof *c->s, "a word of the text", c->e));
	c->s = p;
	c->n_heap = 0;
	uint32_t n = (uint32_t)piece.n;
	for (uint32_t i = 0; i < n; i++)
		c->s[i] = (struct symbol){ c->t->byte_id[(unsigned char)piece.p[i]],
					   i ? i - 1 : END, i + 1 < n ? i + 1 : END };
	for (uint32_t i = 0; i < n; i++)
		TRY(push_pair(c, i));
	TRY(merge_piece(c));
	for (uint32_t i = 0; i != END; i = c->s[i].next)
		TRY(emit(c, c->s[i].id));
out:
	return st;
}

/* ---- the whole text -------------------------------------------------------------------------*/

static enum status encode_plain(struct encoder *c, const char *text, size_t n)
{
	struct pretokenizer p = { .text = text, .n = n };
	struct str piece;
	enum status st = OK;

	while (st == OK && pretokenizer_next(&p, &piece))
		st = encode_piece(c, piece);
	return st;
}

/* First of specials[lo, hi), which agree in their first d bytes, that has byte b or more there.
 * Texts that end before d sort first. */
static uint32_t narrow(const struct tokenizer *t, uint32_t lo, uint32_t hi, size_t d, unsigned b)
{
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		struct str s = t->v->tokens[t->specials[mid]];
		if (s.n <= d || (unsigned char)s.p[d] < b)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Length of the longest special token that the text at p starts with, 0 for none. */
static size_t match_special(const struct tokenizer *t, const char *p, size_t n, bool control,
			    uint32_t *id)
{
	unsigned first = (unsigned char)p[0];
	uint32_t lo = t->special_from[first], hi = t->special_from[first + 1];
	size_t best = 0;

	for (size_t d = 1; lo < hi; d++) {
		uint32_t at = t->specials[lo];
		if (t->v->tokens[at].n == d && (control || t->v->types[at] == TOKEN_USER)) {
			best = d;
			*id = at;
		}
		if (d == n)
			break;
		lo = narrow(t, lo, hi, d, (unsigned char)p[d]);
		hi = narrow(t, lo, hi, d, (unsigned char)p[d] + 1u);
	}
	return best;
}

static enum status encode_text(struct encoder *c, const char *text, size_t n, bool control)
{
	size_t from = 0, i = 0, len;
	uint32_t id = TOKEN_NONE;
	enum status st;

	while (i < n) {
		len = match_special(c->t, text + i, n - i, control, &id);
		if (len == 0) {
			i++;
			continue;
		}
		TRY(encode_plain(c, text + from, i - from));
		TRY(emit(c, id));
		i += len;
		from = i;
	}
	TRY(encode_plain(c, text + from, n - from));
out:
	return st;
}

/* *out: a copy of text with U+FFFD for each invalid part, or NULL if there is none. */
static enum status repair(const char *text, size_t n, char **out, size_t *n_out, struct err *e)
{
	uint64_t size;
	size_t o = 0;

	*out = NULL;
	if (utf8_valid(text, n))
		return OK;
	if (!u64_mul(n, 3, &size) || size > SIZE_MAX)
		return err_set(e, ERR_NOMEM, "text: %zu bytes are too many", n);
	*out = mem_new((size_t)size, 1, "a text that is not UTF-8", e);
	if (!*out)
		return e->status;
	for (size_t i = 0; i < n;) {
		uint32_t c;
		bool bad = false;
		size_t len = utf8_next(text + i, n - i, &c, &bad);
		if (bad)
			o += utf8_put(*out + o, c);
		else
			memcpy(*out + o, text + i, len), o += len;
		i += len;
	}
	*n_out = o;
	return OK;
}

enum status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
			     bool parse_special, uint32_t **ids, size_t *n_ids, struct err *e)
{
	struct encoder c = { .t = t, .e = e };
	char *repaired = NULL;
	enum status st;

	*ids = NULL;
	*n_ids = 0;
	TRY(repair(text, n, &repaired, &n, e));
	TRY(encode_text(&c, repaired ? repaired : text, n, parse_special));
	if (!c.ids)
		c.ids = mem_new(1, sizeof *c.ids, "token ids", e);
	if (!c.ids)
		st = ERR_NOMEM;
out:
	free(repaired);
	free(c.s);
	free(c.heap);
	if (st != OK) {
		free(c.ids);
		return st;
	}
	*ids = c.ids;
	*n_ids = c.n_ids;
	return OK;
}

enum status tokenizer_piece(const struct tokenizer *t, uint32_t id, char *buf, size_t *n,
			    struct err *e)
{
	size_t o = 0;

	*n = 0;
	if (id >= t->v->n_tokens)
		return err_set(e, ERR_FORMAT, "token id %u: the vocabulary has %u tokens", id,
			       t->v->n_tokens);
	struct str s = t->v->tokens[id];
	if (s.n > TOKENIZER_MAX_PIECE)
		return err_set(e, ERR_UNSUPPORTED, "token %u: %zu bytes of text", id, s.n);
	for (size_t i = 0; i < s.n;) {
		uint32_t c;
		bool bad = false;
		size_t len = utf8_next(s.p + i, s.n - i, &c, &bad);
		int b = t->v->types[id] == TOKEN_NORMAL && !bad ? byte_of_char(c) : -1;
		if (b >= 0)
			buf[o++] = (char)b;
		else	/* literal text, or a character no byte maps to */
			memcpy(buf + o, s.p + i, len), o += len;
		i += len;
	}
	*n = o;
	return OK;
}
