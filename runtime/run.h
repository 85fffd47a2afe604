/* SPDX-License-Identifier: MIT
 *
 * run.h - what generating text adds to the forward pass: the chat encoding, the choice of the next
 * token, and bytes of tokens that become whole characters again.
 *
 * Invariant: model, prompt, options and seed decide the text, on every processor and for any
 * number of threads.
 */
#ifndef RUNTIME_RUN_H
#define RUNTIME_RUN_H

#include "runtime/runtime.h"
#include "runtime/tokenizer.h"

/* ---- chat.c: a prompt as DeepSeek-V4 was trained to see it --------------------------------*/

enum chat_think { CHAT_NONE, CHAT_LOW, CHAT_HIGH, CHAT_MAX };
/* What precedes the system text: the releases differ. */
enum chat_release { CHAT_PREVIEW, CHAT_0731 };
/* Ids of the tokens that make turns. Owns nothing. */
struct chat {
	const struct tokenizer *t;	/* borrowed */
	uint32_t bos, user, assistant, think, end_think;
};
struct chat_turn {
	struct str system, user;	/* any bytes; system.n may be 0 */
	enum chat_think think;
	enum chat_release release;
};
/* ERR_UNSUPPORTED for a vocabulary that lacks one of the tokens, or where one that makes turns is
 * not a control token, so that a text could forge it. model names the vocabulary in messages. */
enum status chat_open(struct chat *c, const struct tokenizer *t, const char *model, struct err *e) MUST_USE;
/* bos, prefix and system text, user turn, and the opening of the assistant's. In the texts control
 * tokens count as plain text; user-defined ones (<think>) are tokens, as everywhere. *ids is
 * the caller's to free; NULL on failure. */
enum status chat_encode(const struct chat *c, const struct chat_turn *turn, uint32_t **ids, size_t *n_ids,
			struct err *e) MUST_USE;
/* The text that asks for an effort, "" where none does. */
struct str chat_prefix(enum chat_release release, enum chat_think think);
/* Which release a model is, by what its files say of it; *why (static) says by what. */
enum status chat_release_of(const struct model *m, enum chat_release *r, const char **why, struct err *e) MUST_USE;

/* ---- sampler.c: the next token ------------------------------------------------------------*/

/* Draws depend on the seed and on how many came before: draw i is a mix of seed + i (splitmix64). */
struct sampler {
	double temp, top_p;
	uint64_t state;
	size_t n_vocab;
	uint32_t *order;		/* owned (n_vocab): ids, a heap */
	double *p;			/* owned (n_vocab): by id, not normalised */
};
/* temp 0: the most likely token. top_p: draw from the fewest most likely tokens that together
 * have this share (0..1). Zeroed is closed. */
enum status sampler_open(struct sampler *s, size_t n_vocab, double temp, double top_p, uint64_t seed,
			 struct err *e) MUST_USE;
uint64_t sampler_bytes(size_t n_vocab);
/* Logits (n_vocab); among equals the lowest id comes first. One that is not finite is an error. */
enum status sampler_pick(struct sampler *s, const float *logits, uint32_t *id, struct err *e) MUST_USE;
void sampler_close(struct sampler *s);

/* ---- textout.c: tokens to characters ------------------------------------------------------*/

/* The start of a character whose rest is yet to come. Zeroed = none. */
struct textout { char held[4]; size_t n; };
enum { TEXTOUT_MAX = TOKENIZER_MAX_PIECE + 4 };
/* Takes a token's bytes (n <= TOKENIZER_MAX_PIECE) and gives (to out, which has room for TEXTOUT_MAX)
 * all bytes so far but the start of a character that may yet be completed. Bytes that are no UTF-8
 * pass unchanged. Returns how many. */
size_t textout_put(struct textout *t, const char *bytes, size_t n, char *out);
size_t textout_end(struct textout *t, char *out);	/* what was held back */
/* For a terminal: control characters but newline and tab, and bytes that are no UTF-8, as \xNN.
 * out has room for 4 n bytes. */
size_t textout_escape(const char *text, size_t n, char *out);
/* For JSON: a string (owned by the caller) with U+FFFD for what is no UTF-8 and for NUL. */
char *textout_json(const char *text, size_t n, struct err *e) MUST_USE;

#endif
