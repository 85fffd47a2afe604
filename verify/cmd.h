/* SPDX-License-Identifier: MIT
 *
 * cmd.h - what the files of `ingot verify` share: cmd.c, and cmd_sealed.c, a GGUF's files against their seals.
 */
#ifndef VERIFY_CMD_H
#define VERIFY_CMD_H

#include <cjson/cJSON.h>

#include "cli/cli.h"
#include "verify/verify.h"

/* A verify_options.progress whose arg is a struct progress. */
void verify_show(void *arg, uint64_t done, uint64_t total);

/* A GGUF, in one file or in several, each against its seal. */
struct sealed_files {
	struct gguf_set set;
	struct sealed_report *reports;	/* owned; one a file, zeroed for one that is missing */
	enum status *verdicts;		/* owned; of each report */
	bool any_sealed;
};
/* Prints what is wrong, and of a set a line a file. OK: all are whole and were made together. ERR_MISMATCH: something is
 * damaged, missing or of another set. ERR_NO_DIGEST: a seal is absent. x is to be closed whatever is returned; its
 * set.gguf is filled where no file is missing. */
enum status sealed_files_verify(struct sealed_files *x, struct cli *c, const char *path, struct verify_options *o,
				struct log *notes, struct err *e) MUST_USE;
cJSON *sealed_files_json(const struct sealed_files *x, const char *path, enum status st);
void sealed_files_close(struct sealed_files *x);

#endif
