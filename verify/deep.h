/* SPDX-License-Identifier: MIT
 *
 * deep.h - a GGUF's or a checkpoint's values: bytes can be as they were sealed and still mean nothing, or harm.
 *
 * Every number of every tensor, the table of expert ids, the vocabulary, and for deepseek4 the
 * hyper-parameters against the tensors. Works with a seal or without one, on files of others too.
 */
#ifndef VERIFY_DEEP_H
#define VERIFY_DEEP_H

#include "format/model.h"
#include "verify/verify.h"

struct deep_report {
	struct log bad;			/* owned; a line for each thing that must not be */
	struct log odd;			/* owned; ... that may be, though a sound writer does not leave it */
	uint64_t n_tensors, n_unread;	/* whose values were looked at; whose type cannot be read here */
	uint64_t bytes;			/* read of them: where every code is a value there is nothing to read */
	uint64_t n_tokens;		/* of the vocabulary, 0 where the file has none */
	bool model;			/* deepseek4: its hyper-parameters and shapes were looked at */
	uint64_t template_bytes;	/* of the chat template: opaque here, never rendered */
	char template_sha256[65];	/* empty where there is none */
};
/* OK: nothing bad. ERR_MISMATCH: see the lines. ERR_UNSUPPORTED: nothing bad in what
 * was looked at, but there are tensors whose type cannot be read. The report is to be closed in every
 * case. Memory: 256 KiB a thread, 24 bytes for every 4 MiB of the file, twice the vocabulary. */
enum status verify_deep(struct deep_report *r, const struct gguf_set *s, const struct verify_options *o, struct err *e) MUST_USE;
/* The same of a checkpoint, a directory or a snapshot of the Hub's cache: every stored number by its type, and for
 * DeepSeek-V4 the shapes against config.json, the expert ids, the vocabulary and the ids of special tokens. The
 * digests are not looked at: see verify_source. */
enum status verify_deep_source(struct deep_report *r, const char *path, const struct verify_options *o, struct log *notes,
			       struct err *e) MUST_USE;
void deep_report_close(struct deep_report *r);

/* Private: the steps. Each adds lines; a status other than OK is a failure of the machine. */
enum status deep_values(struct deep_report *r, const struct gguf_set *s, const struct verify_options *o, struct err *e) MUST_USE;
enum status deep_tokens(struct deep_report *r, const struct gguf *g, const char *path, struct err *e) MUST_USE;
enum status deep_model(struct deep_report *r, const struct gguf *g, const char *path, struct err *e) MUST_USE;
bool deep_is_model(const struct gguf *g);	/* deepseek4 */
enum status deep_template(struct deep_report *r, struct str text, struct err *e) MUST_USE;
const char *deep_consequence(enum role r);	/* of a value that is no number; ROLE_COUNT: of a tensor unknown */
/* after: what to do about it. */
enum status deep_verdict(const struct deep_report *r, const char *path, const char *after, struct err *e) MUST_USE;

#endif
