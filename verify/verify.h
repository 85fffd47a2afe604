/* SPDX-License-Identifier: MIT
 *
 * verify.h - is this file, or this source, what it says it is?
 *
 * Stands on format alone (derive.h and deep.h on quantize too): a verifier that shared the writer's code would share
 * its bugs. Reads
 * through one descriptor a file, and says what it did not look at.
 */
#ifndef VERIFY_VERIFY_H
#define VERIFY_VERIFY_H

#include "format/sign.h"

struct verify_options {
	unsigned threads;
	bool header_only;		/* of a sealed file: leave its chunks and padding alone */
	const struct source_options *source;	/* for checkpoints; may be NULL */
	volatile int *stop;
	/* what: the tensor or file at work, or NULL; lives until it returns */
	void (*progress)(void *arg, uint64_t done, uint64_t total, const char *what);
	void *arg;
};

/* ---- sealed.c: a GGUF with a seal ------------------------------------------------------------*/

/* One damaged place. expert is UINT64_MAX where the tensor is not stacked. */
struct damage { struct str tensor; uint64_t expert, from, to; };
struct sealed_report {
	const struct gguf *gguf;	/* the header, or NULL; the strs below point into it */
	struct gguf own;		/* owned: it, where nobody had read it yet */
	struct seal seal;
	bool sealed;			/* the seal could be read */
	bool rewritten;			/* the seal is another file's: its chunks were not compared */
	bool size_differs, header_differs, root_differs, padding_differs, has_trailing;
	bool signature_present, signature_differs;	/* an envelope; neither one nor spaces */
	uint64_t padding_at;		/* first padding byte that is not zero */
	struct damage *damage;		/* owned, in file order */
	size_t n_damage;
	uint64_t file_bytes, bytes_read;
	char header_sha256[65];		/* the digest that a signature would sign */
	struct seal_claim claim;	/* and all that it would say */
};
/* OK: every byte is as it was sealed. ERR_MISMATCH: it is not, see the report. ERR_NO_DIGEST: no
 * seal. Others: could not be read, or is no GGUF. The report is to be closed in every case. Memory: the header
 * and 256 KiB a thread. */
enum status verify_sealed(struct sealed_report *r, const struct file *f, const struct verify_options *o,
			  struct log *notes, struct err *e) MUST_USE;
/* The same where the header g of f has been read; it is borrowed until the report is closed. r is zeroed. */
enum status verify_headed(struct sealed_report *r, const struct gguf *g, const struct file *f, const struct verify_options *o,
			  struct err *e) MUST_USE;
void sealed_report_close(struct sealed_report *r);

/* Whether key signed this file's header, once verify_sealed has said OK: see claim_check. */
enum status verify_signature(const struct sealed_report *r, const struct key *k, const char *path,
			     struct err *e) MUST_USE;

/* ---- sign.c: a signature into the slot ---------------------------------------------------------*/

struct sign_options { const struct key *key; bool force; /* over a signature of another key */ struct verify_options run; };
/* Checks the header (and, unless run.header_only, every byte), writes the slot in place, flushes it and
 * reads it back. claim receives what was signed. */
enum status sign_sealed(const char *path, const struct sign_options *o, struct seal_claim *claim,
			struct log *notes, struct err *e) MUST_USE;

/* ---- source.c: a checkpoint directory ---------------------------------------------------------*/

enum file_verdict { FILE_OK, FILE_FAILED, FILE_NO_DIGEST, FILE_MISSING, FILE_EXTRA };
const char *file_verdict_text(enum file_verdict v);	/* "OK", "FAILED", "NO DIGEST", ... */
struct file_result {
	char *name;			/* owned */
	enum file_verdict verdict;
	enum anchor anchor;
	struct digest expected, found;
	uint64_t bytes;
	char why[256];			/* beyond the verdict, or empty */
};
struct source_report {
	struct file_result *files;	/* owned, by name */
	size_t n, n_of[FILE_EXTRA + 1];
	char commit[41], repo[256];
};
/* Hashes every file that anything on this disk (records, index, digests file) speaks of. OK,
 * ERR_MISMATCH (failed or missing; under strict also extra files) or ERR_NO_DIGEST. */
enum status verify_source(struct source_report *r, const char *path, const char *digests_file, bool strict,
			  const struct verify_options *o, struct log *notes, struct err *e) MUST_USE;
void source_report_close(struct source_report *r);

/* ---- signed.c: a file or directory against a Model Signing bundle -----------------------------*/

/* Every file that the bundle lists has its digest, and nothing else is there but what version control
 * leaves and the bundle itself (at bundle_path). Files below sub-directories fail: they are not read. */
enum status verify_bundle(struct source_report *r, const char *path, const struct bundle *b,
			  const char *bundle_path, const struct verify_options *o, struct err *e) MUST_USE;

/* ---- parallel.c ---------------------------------------------------------------------------------*/

/* Runs task(arg, i) for i in [0, n) on the threads of o, each with a hash and 256 KiB of its own;
 * stops at the first error or signal. Calls o->progress from the calling thread. */
enum { VERIFY_BUFFER = 256 << 10 };
struct verify_worker { struct sha256 hash; uint8_t *buf; struct crew *crew; };
/* Says what the task of w is at, for those who watch; what is cut to VERIFY_NAME. */
void verify_now(const struct verify_worker *w, struct str what);
enum status verify_parallel(uint64_t n, enum status (*task)(void *arg, uint64_t i, struct verify_worker *w,
							    struct err *e),
			    void *arg, const struct verify_options *o, const uint64_t *bytes_done, uint64_t bytes,
			    struct err *e) MUST_USE;

#endif
