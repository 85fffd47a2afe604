/* SPDX-License-Identifier: MIT
 *
 * deep.h - a GGUF's values: bytes can be as they were sealed and still mean nothing, or harm.
 *
 * Every number of every tensor, the table of expert ids, the vocabulary, and for deepseek4 the
 * hyper-parameters against the tensors. Works with a seal or without one, on files of others too.
 */
#ifndef VERIFY_DEEP_H
#define VERIFY_DEEP_H

#include "verify/verify.h"

struct deep_report {
	struct log bad;			/* owned; a line for each thing that must not be */
	struct log odd;			/* owned; ... that may be, though a sound writer does not leave it */
	uint64_t n_tensors, n_unread;	/* whose values were looked at; whose type cannot be read here */
	uint64_t bytes;			/* of them */
	uint64_t n_tokens;		/* of the vocabulary, 0 where the file has none */
	bool model;			/* deepseek4: its hyper-parameters and shapes were looked at */
	uint64_t template_bytes;	/* of the chat template: opaque here, never rendered */
	char template_sha256[65];	/* empty where there is none */
};
/* g: of the open file f. OK: nothing bad. ERR_MISMATCH: see the lines. ERR_UNSUPPORTED: nothing bad in what
 * was looked at, but there are tensors whose type cannot be read. The report is to be closed in every
 * case. Memory: 256 KiB a thread, 24 bytes for every 4 MiB of the file, twice the vocabulary. */
enum status verify_deep(struct deep_report *r, const struct gguf *g, const struct file *f,
			const struct verify_options *o, struct err *e) MUST_USE;
void deep_report_close(struct deep_report *r);

/* Private: the steps. Each adds lines; a status other than OK is a failure of the machine. */
enum status deep_values(struct deep_report *r, const struct gguf *g, const struct file *f,
			const struct verify_options *o, struct err *e) MUST_USE;
enum status deep_tokens(struct deep_report *r, const struct gguf *g, const char *path, struct err *e) MUST_USE;
enum status deep_model(struct deep_report *r, const struct gguf *g, const char *path, struct err *e) MUST_USE;
bool deep_is_model(const struct gguf *g);	/* deepseek4 */

#endif
