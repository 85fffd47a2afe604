/* SPDX-License-Identifier: MIT
 *
 * tokenizer.h - text to token ids and back, as DeepSeek-V3 and V4 do it (llama.cpp's "joyai-llm").
 *
 * Text is cut at special tokens, the rest is cut by the pre-tokenizer (three regular expressions,
 * matched by hand in pretokenizer.c), and each piece is merged byte pair by byte pair. Nothing
 * here trusts a text: any bytes are taken, in time O(n log n) and without recursion.
 *
 * Invalid UTF-8: each maximal invalid sequence counts as one U+FFFD, as Python's
 * bytes.decode("utf-8", "replace") has it, so that ids are those of the `tokenizers` library for
 * that string.
 */
#ifndef RUNTIME_TOKENIZER_H
#define RUNTIME_TOKENIZER_H

#include "format/model.h"
#include "format/vocab.h"

/* ---- unicode.c, unicode_tables.c: what the pre-tokenizer has to know of a character ---------*/

enum unicode_class {
	UNICODE_OTHER,
	UNICODE_SPACE,		/* White_Space, \s */
	UNICODE_NUMBER,		/* \p{N} */
	UNICODE_LETTER,		/* \p{L} and \p{M}: the patterns never tell them apart */
	UNICODE_PUNCT,		/* \p{P} and \p{S} */
};
/* Unicode 15.0; unassigned and out-of-range code points are UNICODE_OTHER. */
enum unicode_class unicode_class(uint32_t c);
/* Generated: first << 3 | class, ascending; each run lasts until the next one. */
extern const uint32_t unicode_runs[];
extern const size_t unicode_n_runs;

/* ---- pretokenizer.c: text to pieces -------------------------------------------------------*/

/* Borrows its text. Pieces tile it. Zeroed but for text and n is the start. */
struct pretokenizer { const char *text; size_t n, pos, end1, end2; };
/* The next piece, of the text from pos; false at the end. Linear over all calls. */
bool pretokenizer_next(struct pretokenizer *p, struct str *piece);

/* ---- tokenizer.c: pieces to ids -----------------------------------------------------------*/

enum { TOKENIZER_MAX_PIECE = VOCAB_MAX_TEXT };

struct tokenizer_pair { uint32_t right, rank; };
/* Zeroed is closed. After tokenizer_open it never changes: any number of threads may use it. */
struct tokenizer {
	const struct vocab *v;		/* borrowed */
	uint32_t byte_id[256];
	uint32_t *pair_from;		/* owned, n_tokens + 1: pairs of a left token, in pairs[] */
	struct tokenizer_pair *pairs;	/* owned, n_merges: by left, then by right */
	uint32_t *merged;		/* owned, n_merges: by rank, the token a merge makes */
	uint32_t *specials;		/* owned: ids of CONTROL and USER tokens, sorted by text */
	uint32_t special_from[257];	/* specials[] by first byte */
};
/* v must live as long as t. A vocabulary that lacks one of the 256 bytes is ERR_UNSUPPORTED. */
enum status tokenizer_open(struct tokenizer *t, const struct vocab *v, struct err *e) MUST_USE;
/* ids (owned by the caller, to be freed) of any n bytes of text. User-defined tokens in the text
 * are always taken as tokens, control tokens only with parse_special. Adds no bos or eos. On
 * failure *ids is NULL. */
enum status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
			     bool parse_special, uint32_t **ids, size_t *n_ids,
			     struct err *e) MUST_USE;
/* The bytes that a token stands for: *n of them to buf, which has room for TOKENIZER_MAX_PIECE.
 * They may be part of a character only. An id outside the vocabulary is ERR_FORMAT. */
enum status tokenizer_piece(const struct tokenizer *t, uint32_t id, char *buf, size_t *n,
			    struct err *e) MUST_USE;
/* Does this vocabulary want its bos before each text? (DeepSeek-V4's does not.) */
bool tokenizer_add_bos(const struct tokenizer *t);
void tokenizer_close(struct tokenizer *t);

#endif
