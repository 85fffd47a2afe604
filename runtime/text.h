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
/* v: the model's vocabulary, NULL where it has none. */
enum status text_ids_read(struct text_ids *t, const struct model *m, const struct vocab *v, uint64_t max_memory,
			  struct err *e) MUST_USE;
const char *text_ids_path(const struct text_ids *t);
char *text_ids_sha256(const struct text_ids *t, char hex[65]);
void text_ids_close(struct text_ids *t);

#endif
