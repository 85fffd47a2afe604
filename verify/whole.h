/* SPDX-License-Identifier: MIT
 *
 * whole.h - everything that is asked of one path, in the order in which it is looked at: digests or seal, signature,
 * derivation, values.
 */
#ifndef VERIFY_WHOLE_H
#define VERIFY_WHOLE_H

#include "verify/deep.h"
#include "verify/derive.h"

/* What is to be shown; NULL, 0 and false: not asked for. */
struct verify_wish {
	const char *digests;		/* of a source: expected ones, in sha256sum form */
	const char *key, *oms;		/* a public key; a bundle that it signed */
	const char *source, *imatrix;	/* what a GGUF is to be made of again */
	uint64_t sample;		/* so many matrices of it; 0: all */
	bool strict, header, deep;
	/* A step begins: "verify", "derive" or "values"; bytes 0: how many is not known yet. May be NULL. */
	void (*step)(void *arg, const char *name, uint64_t bytes);
};
enum verify_kind { VERIFY_NOTHING, VERIFY_SOURCE, VERIFY_SEALED, VERIFY_BUNDLE };
struct verify_report {
	enum verify_kind kind;		/* VERIFY_NOTHING: it did not come to a first look */
	bool directory;			/* the path is one */
	struct key key;			/* owned; open where one was asked for */
	struct gguf_set set;		/* the GGUF, in one file or several; not whole if any is missing */
	struct sealed_report *sealed;	/* owned; one a file of the set, zeroed for one that is missing */
	enum status *sealed_as;		/* owned; what each of those looks said; ERR_STOPPED: it did not come to one */
	bool any_sealed;
	struct source_report files;	/* of a source or bundle */
	struct derived_report derived;
	struct deep_report values;
	bool has_signature, has_derived, has_values;	/* it came to that */
	/* what each look said; first: at the files, the seal or the bundle */
	enum status first, signature, derivation, deep;
};
/* The worst of what was found, and its error: a mismatch of bytes is worse than bad values, these than an absent seal.
 * The report is to be closed in every case. */
enum status verify_path(struct verify_report *r, const char *path, const struct verify_wish *w, const struct verify_options *o,
			struct log *notes, struct err *e) MUST_USE;
void verify_report_close(struct verify_report *r);

#endif
