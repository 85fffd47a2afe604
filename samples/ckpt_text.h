/* SPDX-License-Identifier: MIT
 *
 * ckpt_text.h - private to make_checkpoint.c: a vocabulary and a bigram model from a text.
 *
 * text -> pieces (DeepSeek's pre-tokenizer, exact for ASCII; other bytes count as letters)
 *      -> byte-pair merges, most frequent pair first, ties to the lower ids
 *      -> token ids -> ridge regression of log P(next | token) on random embeddings.
 * The regression gives an output matrix with which the residual stream alone, the embedding of
 * the current token, predicts the next: the perplexity of the whole model then lies far below
 * the vocabulary's size, and reacts to damage anywhere. Ids: 0..2 special, 3 + byte, then merges.
 */
#ifndef SAMPLES_CKPT_TEXT_H
#define SAMPLES_CKPT_TEXT_H

#include "samples/ckpt_model.h"

enum { N_SPECIAL = 3, FIRST_MERGE = N_SPECIAL + 256, MAX_TRAINED = 2048, MAX_TOKEN = 128 };

struct token { uint8_t bytes[MAX_TOKEN]; uint32_t n; };	/* raw bytes, not the alphabet */
struct piece { const uint8_t *p; uint32_t n, count, n_seg; uint16_t *seg; };
struct vocabulary {
	struct token *tokens;		/* owned; FIRST_MERGE.. are merges, [0, 3) unused */
	uint32_t n_tokens;		/* trained ones; the rest of the rows are placeholders */
	uint16_t (*merges)[2];		/* owned */
	uint32_t n_merges;
	struct piece *pieces;		/* owned, distinct */
	size_t n_pieces, cap_pieces;
	uint32_t *hash;			/* owned: piece index + 1 */
	size_t hash_size;
	uint16_t *segs;			/* owned: storage of every piece's segments */
};
struct fit { float *embed, *head; };	/* owned; (n_vocab, n_embd) */

/* ---- a text of our own, for when none is given ------------------------------------------ */

/* n bytes of sentences from a small grammar; `from` bytes before them are skipped, so that a
 * held-out part continues the training part. */
static inline uint8_t *own_text(size_t from, size_t n, struct err *e)
{
	static const char *const words[4][16] = {
		{ "the", "a", "one", "every", "his", "her", "that", "this",
		  "no", "some", "the old", "the new", "the second", "their", "the last", "our" },
		{ "river", "farmer", "house", "miller", "letter", "road", "garden", "winter",
		  "boat", "teacher", "village", "horse", "market", "window", "stone", "morning" },
		{ "found", "left", "crossed", "remembered", "built", "sold", "watched", "opened",
		  "feared", "followed", "carried", "painted", "reached", "counted", "kept",
		  "forgot" },
		{ ". ", ", and ", ". ", " because ", ".\n", " while ", "; ", ". But ",
		  ". ", ", for ", ".\n\n", " before ", ". ", " when ", "? ", ". " },
	};
	uint8_t *text = mem_new(n + 1, 1, "the text", e);
	struct rng r;

	rng_start(&r, 20260424);
	for (size_t at = 0; text && at < from + n;) {
		static const uint8_t order[6] = { 0, 1, 2, 0, 1, 3 };
		for (int i = 0; i < 6; i++) {
			/* the product of two uniform numbers prefers the first words */
			const char *w = words[order[i]][rng_below(&r, 1 + rng_below(&r, 16))];
			for (; *w; w++, at++)
				if (at >= from && at < from + n)
					text[at - from] = (uint8_t)*w;
			if (i < 4 && at >= from && at < from + n)
				text[at - from] = ' ';
			at += i < 4;
		}
	}
	return text;
}

/* ---- pieces ----------------------------------------------------------------------------- */

static inline bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static inline bool is_eol(uint8_t c) { return c == '\n' || c == '\r'; }
static inline bool is_space(uint8_t c) { return c == ' ' || (c >= 9 && c <= 13); }
static inline bool is_ascii_letter(uint8_t c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }
static inline bool is_letter(uint8_t c) { return c >= 128 || is_ascii_letter(c); }
static inline bool is_punct(uint8_t c)
{
	return c > 32 && c < 127 && !is_digit(c) && !is_ascii_letter(c);
}

/* Length of the run of bytes for which is() holds, from i on. */
static inline size_t run_of(const uint8_t *t, size_t n, size_t i, bool (*is)(uint8_t))
{
	size_t k = i;

	while (k < n && is(t[k]))
		k++;
	return k - i;
}

/* White space at the start of t: through its last line end, else all but the character before a
 * word. A digit ends the text here: numbers are cut out before the other rules apply. */
static inline size_t space_piece(const uint8_t *t, size_t n)
{
	size_t run = run_of(t, n, 0, is_space), k = run;

	while (k > 0 && !is_eol(t[k - 1]))
		k--;
	if (k)
		return k;
	return run == n || is_digit(t[run]) || run == 1 ? run : run - 1;
}

/* Length of the first piece of t (n > 0). */
static inline size_t piece_length(const uint8_t *t, size_t n)
{
	size_t k;

	if (is_digit(t[0])) {
		k = run_of(t, n, 0, is_digit);
		return k < 3 ? k : 3;
	}
	if (is_punct(t[0]) && (k = run_of(t, n, 1, is_ascii_letter)) > 0)
		return 1 + k;
	if (is_letter(t[0]))
		return run_of(t, n, 0, is_letter);
	if (!is_punct(t[0]) && !is_eol(t[0]) && (k = run_of(t, n, 1, is_letter)) > 0)
		return 1 + k;
	k = t[0] == ' ';
	if (run_of(t, n, k, is_punct) > 0) {
		k += run_of(t, n, k, is_punct);
		return k + run_of(t, n, k, is_eol);
	}
	return is_space(t[0]) ? space_piece(t, n) : 1;
}

/* The index of the piece p[0, n), which is added if it is new; UINT32_MAX without memory. */
static inline uint32_t piece_intern(struct vocabulary *v, const uint8_t *p, size_t n, struct err *e)
{
	uint64_t h = 0xCBF29CE484222325u;
	void *grown = v->pieces;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001B3u;
	for (size_t i = mix64(h) & (v->hash_size - 1);; i = (i + 1) & (v->hash_size - 1)) {
		struct piece *q = v->hash[i] ? &v->pieces[v->hash[i] - 1] : NULL;
		if (q && q->n == n && memcmp(q->p, p, n) == 0)
			return v->hash[i] - 1;
		if (q)
			continue;
		if (mem_grow(&grown, &v->cap_pieces, v->n_pieces + 1, sizeof *v->pieces, "pieces",
			     e) != OK)
			return UINT32_MAX;
		v->pieces = grown;
		v->pieces[v->n_pieces] = (struct piece){ .p = p, .n = (uint32_t)n };
		v->hash[i] = (uint32_t)++v->n_pieces;
		return v->hash[i] - 1;
	}
}

/* ---- merges ----------------------------------------------------------------------------- */

static inline void count_pairs(const struct piece *w, uint32_t *counts, size_t width, bool add)
{
	for (uint32_t i = 0; i + 1 < w->n_seg; i++) {
		uint32_t *c = &counts[w->seg[i] * width + w->seg[i + 1]];
		*c = add ? *c + w->count : *c - w->count;
	}
}

/* Replaces a, b by id wherever they follow one another. */
static inline void merge_piece(struct piece *w, uint16_t a, uint16_t b, uint16_t id)
{
	uint32_t o = 0;

	for (uint32_t i = 0; i < w->n_seg; o++) {
		bool hit = i + 1 < w->n_seg && w->seg[i] == a && w->seg[i + 1] == b;
		w->seg[o] = hit ? id : w->seg[i];
		i += hit ? 2 : 1;
	}
	w->n_seg = o;
}

static inline bool has_pair(const struct piece *w, uint16_t a, uint16_t b)
{
	for (uint32_t i = 0; i + 1 < w->n_seg; i++)
		if (w->seg[i] == a && w->seg[i + 1] == b)
			return true;
	return false;
}

/* The id of the token that a and b make together; the same bytes may come of two merges. */
static inline uint16_t merged_token(struct vocabulary *v, uint16_t a, uint16_t b)
{
	struct token t = v->tokens[a];

	memcpy(t.bytes + t.n, v->tokens[b].bytes, v->tokens[b].n);
	t.n += v->tokens[b].n;
	for (uint32_t i = FIRST_MERGE; i < v->n_tokens; i++)
		if (v->tokens[i].n == t.n && memcmp(v->tokens[i].bytes, t.bytes, t.n) == 0)
			return (uint16_t)i;
	v->tokens[v->n_tokens] = t;
	return (uint16_t)v->n_tokens++;
}

/* Merges the most frequent pair, until there are `want` tokens or no pair occurs twice. */
static inline void train_merges(struct vocabulary *v, uint32_t want, uint32_t *counts)
{
	while (v->n_tokens < want && v->n_merges < want) {
		uint32_t best = 1;
		uint16_t a = 0, b = 0, id;
		for (uint32_t x = N_SPECIAL; x < v->n_tokens; x++)
			for (uint32_t y = N_SPECIAL; y < v->n_tokens; y++) {
				uint32_t c = counts[(size_t)x * want + y];
				if (c > best && v->tokens[x].n + v->tokens[y].n <= MAX_TOKEN / 2) {
					best = c;
					a = (uint16_t)x;
					b = (uint16_t)y;
				}
			}
		if (best == 1)
			return;
		id = merged_token(v, a, b);
		v->merges[v->n_merges][0] = a;
		v->merges[v->n_merges++][1] = b;
		for (size_t i = 0; i < v->n_pieces; i++) {
			struct piece *w = &v->pieces[i];
			if (!has_pair(w, a, b))
				continue;
			count_pairs(w, counts, want, false);
			merge_piece(w, a, b, id);
			count_pairs(w, counts, want, true);
		}
	}
}

/* Gives every piece its bytes as first segments. */
static inline enum status seed_segments(struct vocabulary *v, struct err *e)
{
	size_t total = 0, at = 0;

	for (size_t i = 0; i < v->n_pieces; i++)
		total += v->pieces[i].n;
	v->segs = mem_new(total, sizeof *v->segs, "segments", e);
	if (!v->segs)
		return ERR_NOMEM;
	for (size_t i = 0; i < v->n_pieces; i++) {
		struct piece *w = &v->pieces[i];
		w->seg = v->segs + at;
		w->n_seg = w->n;
		for (uint32_t k = 0; k < w->n; k++)
			w->seg[k] = (uint16_t)(N_SPECIAL + w->p[k]);
		at += w->n;
	}
	return OK;
}

static inline void vocabulary_close(struct vocabulary *v)
{
	free(v->tokens);
	free(v->merges);
	free(v->pieces);
	free(v->hash);
	free(v->segs);
	*v = (struct vocabulary){ 0 };
}

/* Pieces of a text, as indices: order[0, *n), owned by the caller. */
static inline enum status cut_text(struct vocabulary *v, const uint8_t *text, size_t len,
				   uint32_t **order, size_t *n, struct err *e)
{
	uint32_t *o = mem_new(len, sizeof *o, "pieces of the text", e);

	*order = o;
	*n = 0;
	v->hash_size = 1;
	while (v->hash_size < 2 * (len + 1))
		v->hash_size *= 2;
	v->hash = mem_new(v->hash_size, sizeof *v->hash, "an index of pieces", e);
	if (!o || !v->hash)
		return ERR_NOMEM;
	for (size_t i = 0, k; i < len; i += k) {
		k = piece_length(text + i, len - i);
		if ((o[*n] = piece_intern(v, text + i, k, e)) == UINT32_MAX)
			return ERR_NOMEM;
		v->pieces[o[(*n)++]].count++;
	}
	return seed_segments(v, e);
}

/* Token ids of all pieces in order; *ids is owned by the caller. */
static inline enum status join_ids(const struct vocabulary *v, const uint32_t *order, size_t n,
				   uint16_t **ids, size_t *n_ids, struct err *e)
{
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += v->pieces[order[i]].n_seg;
	*n_ids = total;
	*ids = mem_new(total, sizeof **ids, "token ids", e);
	if (!*ids)
		return ERR_NOMEM;
	total = 0;
	for (size_t i = 0; i < n; i++) {
		const struct piece *w = &v->pieces[order[i]];
		memcpy(*ids + total, w->seg, w->n_seg * sizeof **ids);
		total += w->n_seg;
	}
	return OK;
}

/* Trains on the text; *ids are its tokens. want: tokens at most. */
static inline enum status vocabulary_train(struct vocabulary *v, const uint8_t *text, size_t len,
					   uint32_t want, uint16_t **ids, size_t *n_ids,
					   struct err *e)
{
	enum status st;
	uint32_t *order = NULL, *counts = NULL;
	size_t n;

	*v = (struct vocabulary){ .n_tokens = FIRST_MERGE };
	v->tokens = mem_new(want, sizeof *v->tokens, "tokens", e);
	v->merges = mem_new(want, sizeof *v->merges, "merges", e);
	counts = mem_new((size_t)want * want, sizeof *counts, "pair counts", e);
	if (!v->tokens || !v->merges || !counts) {
		st = ERR_NOMEM;
		goto out;
	}
	for (uint32_t i = 0; i < 256; i++)
		v->tokens[N_SPECIAL + i] = (struct token){ .bytes = { (uint8_t)i }, .n = 1 };
	TRY(cut_text(v, text, len, &order, &n, e));
	for (size_t i = 0; i < v->n_pieces; i++)
		count_pairs(&v->pieces[i], counts, want, true);
	train_merges(v, want, counts);
	st = join_ids(v, order, n, ids, n_ids, e);
out:
	free(order);
	free(counts);
	return st;
}

/* Token ids of another text by the merges of v, in order of rank. */
static inline enum status vocabulary_encode(const struct vocabulary *v, const uint8_t *text,
					    size_t len, uint16_t **ids, size_t *n_ids,
					    struct err *e)
{
	struct vocabulary own = { 0 };
	uint32_t *order = NULL;
	size_t n;
	enum status st;

	TRY(cut_text(&own, text, len, &order, &n, e));
	own.tokens = mem_new(v->n_tokens + 1, sizeof *own.tokens, "tokens", e);
	if (!own.tokens) {
		st = ERR_NOMEM;
		goto out;
	}
	memcpy(own.tokens, v->tokens, v->n_tokens * sizeof *own.tokens);
	own.n_tokens = v->n_tokens;
	for (uint32_t m = 0; m < v->n_merges; m++) {
		uint16_t a = v->merges[m][0], b = v->merges[m][1], id = merged_token(&own, a, b);
		for (size_t i = 0; i < own.n_pieces; i++)
			merge_piece(&own.pieces[i], a, b, id);
	}
	st = join_ids(&own, order, n, ids, n_ids, e);
out:
	free(order);
	vocabulary_close(&own);
	return st;
}

/* ---- the bigram fit --------------------------------------------------------------------- */

/* Centred log P(next | row) of every row, from counts with 0.02 added to each. */
static inline void bigram_rows(const uint16_t *ids, size_t n, uint32_t v, double *logp,
			       double *freq)
{
	for (size_t i = 0; i < (size_t)v * v; i++)
		logp[i] = 0.02;
	for (uint32_t i = 0; i < v; i++)
		freq[i] = 0.1;
	for (size_t i = 0; i < n; i++) {
		freq[ids[i]] += 1;
		if (i + 1 < n)
			logp[(size_t)ids[i] * v + ids[i + 1]] += 1;
	}
	for (uint32_t i = 0; i < v; i++) {
		double mean = 0, *row = logp + (size_t)i * v;
		for (uint32_t k = 0; k < v; k++)
			mean += row[k] = log_of(row[k]);
		for (uint32_t k = 0; k < v; k++)
			row[k] -= mean / v;
	}
}

/* Solves A X = B in place, A (n, n) symmetric and positive definite, B (n, m): Cholesky. */
static inline void solve_spd(double *a, double *b, uint32_t n, uint32_t m)
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; j <= i; j++) {
			double s = a[(size_t)i * n + j];
			for (uint32_t k = 0; k < j; k++)
				s -= a[(size_t)i * n + k] * a[(size_t)j * n + k];
			a[(size_t)i * n + j] = i == j ? sqrt(s) : s / a[(size_t)j * n + j];
		}
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < i; k++)
			for (uint32_t c = 0; c < m; c++)
				b[(size_t)i * m + c] -= a[(size_t)i * n + k] * b[(size_t)k * m + c];
		for (uint32_t c = 0; c < m; c++)
			b[(size_t)i * m + c] /= a[(size_t)i * n + i];
	}
	for (uint32_t i = n; i-- > 0;) {
		for (uint32_t k = i + 1; k < n; k++)
			for (uint32_t c = 0; c < m; c++)
				b[(size_t)i * m + c] -= a[(size_t)k * n + i] * b[(size_t)k * m + c];
		for (uint32_t c = 0; c < m; c++)
			b[(size_t)i * m + c] /= a[(size_t)i * n + i];
	}
}

/* A = E' W E + r I and B = E' W logp, with E's rows at unit mean square. */
static inline void normal_equations(const float *embed, const double *freq, const double *logp,
				    uint32_t v, uint32_t d, double ridge, double *a, double *b)
{
	double total = 0;

	for (uint32_t t = 0; t < v; t++) {
		const float *row = embed + (size_t)t * d;
		double ms = 0, scale;
		for (uint32_t i = 0; i < d; i++)
			ms += (double)row[i] * row[i];
		scale = 1 / sqrt(ms / d);
		total += freq[t];
		for (uint32_t i = 0; i < d; i++) {
			double x = row[i] * scale, w = x * freq[t];
			for (uint32_t j = 0; j < d; j++)
				a[(size_t)i * d + j] += w * (row[j] * scale);
			for (uint32_t k = 0; k < v; k++)
				b[(size_t)i * v + k] += w * logp[(size_t)t * v + k];
		}
	}
	for (uint32_t i = 0; i < d; i++)
		a[(size_t)i * d + i] += ridge * ridge * total;
}

static inline void fit_close(struct fit *f)
{
	free(f->embed);
	free(f->head);
	*f = (struct fit){ 0 };
}

/* Embedding and output matrix for the token ids of a text. The ridge stands for the noise that
 * the layers put on the residual stream. */
static inline enum status fit_bigrams(struct fit *f, const struct spec *s, const uint16_t *ids,
				      size_t n, struct err *e)
{
	uint32_t v = s->n_vocab, d = s->n_embd;
	size_t n_embed = (size_t)v * d;
	struct rng r;
	double *logp = mem_new((size_t)v * v, sizeof *logp, "bigrams", e);
	double *freq = mem_new(v, sizeof *freq, "frequencies", e);
	double *a = mem_new((size_t)d * d, sizeof *a, "the bigram fit", e);
	double *b = mem_new(n_embed, sizeof *b, "the bigram fit", e);
	enum status st = logp && freq && a && b ? OK : ERR_NOMEM;

	f->embed = mem_new(n_embed, sizeof *f->embed, "the embedding", e);
	f->head = mem_new(n_embed, sizeof *f->head, "the output matrix", e);
	if (!f->embed || !f->head)
		st = ERR_NOMEM;
	if (st == OK) {
		rng_start(&r, seed_of(s->seed, "embed.weight"));
		for (size_t i = 0; i < n_embed; i++)
			f->embed[i] = bf16_value(bf16_of(rng_normal(&r)));
		bigram_rows(ids, n, v, logp, freq);
		normal_equations(f->embed, freq, logp, v, d, s->ridge, a, b);
		solve_spd(a, b, d, v);
		for (uint32_t t = 0; t < v; t++)
			for (uint32_t i = 0; i < d; i++)
				f->head[(size_t)t * d + i] = (float)b[(size_t)i * v + t];
	}
	free(logp);
	free(freq);
	free(a);
	free(b);
	return st;
}

#endif
