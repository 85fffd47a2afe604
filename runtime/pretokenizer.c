/* SPDX-License-Identifier: MIT
 *
 * pretokenizer.c - the three splitting patterns of DeepSeek-V3 and V4, matched by hand.
 *
 * Each pattern splits every piece that the one before left, into matches and the text between
 * them; a piece's end is the end of the text for the next pattern.
 *	1  \p{N}{1,3}
 *	2  [U+4E00-U+9FA5 U+3040-U+309F U+30A0-U+30FF]+
 *	3  a  [ASCII punctuation][A-Za-z]+
 *	   b  [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
 *	   c   ?[\p{P}\p{S}]+[\r\n]*
 *	   d  \s*[\r\n]+
 *	   e  \s+(?!\S)
 *	   f  \s+			first alternative that matches wins
 * How each backtracks is worked out beside its function. No input makes more than a constant
 * number of steps per byte: white space, the one class that d, e and f look far ahead in, is
 * always consumed by whichever of them scanned it, save at most its last character.
 */
#include "format/utf8.h"
#include "runtime/tokenizer.h"

/* One character of a piece: its code point, class, and where the next one starts. */
struct ch { uint32_t c; enum unicode_class class; size_t next; };

static bool get(const char *p, size_t i, size_t n, struct ch *x)
{
	bool bad;

	*x = (struct ch){ .next = i };
	if (i >= n)
		return false;
	x->next = i + utf8_next(p + i, n - i, &x->c, &bad);
	x->class = unicode_class(x->c);
	return true;
}

static bool is_newline(uint32_t c) { return c == '\r' || c == '\n'; }
static bool is_ascii_letter(uint32_t c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }
static bool is_ascii_punct(uint32_t c)
{
	return c > ' ' && c < 0x7F && !is_ascii_letter(c) && !(c >= '0' && c <= '9');
}
static bool is_cjk(uint32_t c)
{
	return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
}

static size_t run_of_class(const char *p, size_t i, size_t n, enum unicode_class class)
{
	struct ch x;

	while (get(p, i, n, &x) && x.class == class)
		i = x.next;
	return i;
}

/* a: needs no backtracking. Every match function returns the match's end, or i for none. */
static size_t match_punct_word(const char *p, size_t i, size_t n)
{
	size_t j = i + 1;

	while (j < n && is_ascii_letter((unsigned char)p[j]))
		j++;
	return is_ascii_punct((unsigned char)p[i]) && j > i + 1 ? j : i;
}

/* b: the optional character may itself be a mark. Whether it takes that mark or not, the match
 * is the run of letters and marks from i; so only other characters need the second case. */
static size_t match_word(const char *p, size_t i, size_t n)
{
	struct ch x;

	(void)get(p, i, n, &x);
	if (x.class == UNICODE_LETTER)
		return run_of_class(p, i, n, UNICODE_LETTER);
	if (x.class == UNICODE_PUNCT || is_newline(x.c))
		return i;
	size_t end = run_of_class(p, x.next, n, UNICODE_LETTER);
	return end > x.next ? end : i;
}

/* c */
static size_t match_punct(const char *p, size_t i, size_t n)
{
	size_t from = i + (p[i] == ' ');
	size_t end = run_of_class(p, from, n, UNICODE_PUNCT);

	if (end == from)
		return i;
	while (end < n && is_newline((unsigned char)p[end]))
		end++;
	return end;
}

/* d, e, f over the run of white space at i. d: \s* takes the run and gives back down to its last
 * newline, so the match ends right after that. e: \s+ gives back one character, unless the piece
 * ends here. f: what is left is a single character before a non-space. */
static size_t match_space(const char *p, size_t i, size_t n)
{
	struct ch x;
	size_t after_newline = i, last = i, j = i;

	while (get(p, j, n, &x) && x.class == UNICODE_SPACE) {
		last = j;
		j = x.next;
		if (is_newline(x.c))
			after_newline = j;
	}
	if (after_newline > i)
		return after_newline;
	return j < n && last > i ? last : j;
}

static size_t match(const char *p, size_t i, size_t n)
{
	size_t end = match_punct_word(p, i, n);

	if (end == i)
		end = match_word(p, i, n);
	if (end == i)
		end = match_punct(p, i, n);
	if (end == i)
		end = match_space(p, i, n);
	return end;
}

/* Pattern 1: up to three numbers, or everything before the next number. */
static size_t number_piece(const char *p, size_t i, size_t n)
{
	struct ch x;

	(void)get(p, i, n, &x);
	if (x.class == UNICODE_NUMBER) {
		for (int k = 0; k < 3 && get(p, i, n, &x) && x.class == UNICODE_NUMBER; k++)
			i = x.next;
		return i;
	}
	while (get(p, i, n, &x) && x.class != UNICODE_NUMBER)
		i = x.next;
	return i;
}

/* Pattern 2. */
static size_t cjk_piece(const char *p, size_t i, size_t n)
{
	struct ch x;

	(void)get(p, i, n, &x);
	bool first = is_cjk(x.c);
	while (get(p, i, n, &x) && is_cjk(x.c) == first)
		i = x.next;
	return i;
}

/* Pattern 3: a match, or everything before the next match. */
static size_t word_piece(const char *p, size_t i, size_t n)
{
	struct ch x;
	size_t end = match(p, i, n);

	while (end == i && get(p, i, n, &x)) {
		i = x.next;
		if (i < n && match(p, i, n) > i)
			return i;
		end = i;
	}
	return end;
}

bool pretokenizer_next(struct pretokenizer *t, struct str *piece)
{
	size_t from = t->pos;

	if (from >= t->n)
		return false;
	if (from == t->end1)
		t->end1 = number_piece(t->text, from, t->n);
	if (from == t->end2)
		t->end2 = cjk_piece(t->text, from, t->end1);
	t->pos = word_piece(t->text, from, t->end2);
	*piece = (struct str){ t->text + from, t->pos - from };
	return true;
}
