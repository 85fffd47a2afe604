/* SPDX-License-Identifier: MIT
 *
 * vocab.h - what vocab_json.c, vocab_gguf.c and the tokenizer share: lookup by text, and the rules
 * that hold for a vocabulary wherever it came from. The public face is section vocab.c of model.h.
 */
#ifndef FORMAT_VOCAB_H
#define FORMAT_VOCAB_H

#include "format/model.h"

enum {
	VOCAB_MAX_TOKENS = 1 << 22,
	VOCAB_MAX_MERGES = 1 << 22,
	VOCAB_MAX_TEXT = 1024,		/* bytes of one token's text */
};
#define VOCAB_PRE "joyai-llm"

/* Token texts in sorted order: found in O(log n) whatever the texts are, where a hash table
 * could be made to degrade by the file. Zeroed is closed. */
struct token_index {
	uint32_t *ids;			/* owned, n */
	uint32_t n;
	const struct str *tokens;	/* borrowed; index = id */
};
/* Two ids with one text are ERR_FORMAT; path goes into that message. */
enum status token_index_build(struct token_index *x, const struct str *tokens, uint32_t n,
			      const char *path, struct err *e) MUST_USE;
uint32_t token_index_find(const struct token_index *x, struct str text); /* TOKEN_NONE if absent */
void token_index_close(struct token_index *x);

/* The ids of a merge's parts and of what they make. False: not "left right", or one of the three
 * is no token. */
struct merge_ids { uint32_t left, right, merged; };
bool merge_find(const struct token_index *x, struct str merge, struct merge_ids *ids) MUST_USE;

/* Texts (length, UTF-8, no NUL, no two alike), merges (of known tokens), special ids. */
enum status vocab_check(const struct vocab *v, const char *path, struct err *e) MUST_USE;
/* Text for a message: escaped and cut to what buf holds. Returns buf. */
char *vocab_show(char buf[160], struct str s);

#endif
