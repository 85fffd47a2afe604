/* SPDX-License-Identifier: MIT
 *
 * text.h - the text that a model is run over: read, hashed, and made token ids, or given as ids.
 */
#ifndef RUNTIME_TEXT_H
#define RUNTIME_TEXT_H

#include "runtime/runtime.h"

/* The caller sets one of the paths. */
struct text_ids {
	const char *path, *ids_path;	/* of a text, or of white-space separated ids */
	uint32_t *ids;			/* owned */
	uint64_t n_ids, bytes;
	uint32_t bos;			/* comes in front of the text and of each chunk, or TOKEN_NONE */
	uint8_t sha256[SHA256_BYTES];	/* of the text or the ids as they are in the file */
};
/* By the model's own vocabulary, which has to be that of o->reference, if there is one. o's text (ids, n_ids, bos, path)
 * borrows from t. */
enum status text_ids_read(struct text_ids *t, struct perplexity_options *o, const struct model *m, uint64_t max_memory,
			  struct log *notes, struct err *e) MUST_USE;
const char *text_ids_path(const struct text_ids *t);
void text_ids_close(struct text_ids *t);

#endif
