/* SPDX-License-Identifier: MIT
 *
 * journal.h - what of an output is on the disk for good: so that a run that was killed goes on where it
 * was. Private to convert/.
 *
 * OUT.journal names chunks only after their data was flushed, with the digests they have. A torn end is
 * ignored. Claims are checked before they count: the plan must be the same to the byte of its header,
 * shards whose file was replaced take their chunks with them, and every chunk that is left is read
 * back and hashed.
 */
#ifndef CONVERT_JOURNAL_H
#define CONVERT_JOURNAL_H

#include "convert/convert.h"

/* What is done already. */
struct claims {
	size_t n_outputs;		/* of the two lists below; 0: there are none, and nothing is done */
	uint8_t **chunks;		/* owned; 1 for each chunk that is in its place; digests are in the header */
	bool *sealed;			/* owned; has its final name, and is the one of this plan */
	uint8_t *shards;		/* owned; 1 for each that was read to its end and matched its digest */
	uint64_t n_chunks, bytes;
	size_t n_shards;
};
void claims_close(struct claims *c);
static inline bool claims_sealed(const struct claims *c, size_t output)
{
	return output < c->n_outputs && c->sealed[output];
}

struct journal;
enum { JOURNAL_EVERY = 1 << 30, JOURNAL_SECONDS = 10 };
/* Before anything is written: the journal's name beside path, the plan's hash. */
enum status journal_new(struct journal **j, const char *path, const struct plan *p, struct aux *aux,
			uint64_t every, struct err *e) MUST_USE;
/* Whether an earlier run left a journal. */
bool journal_exists(const struct journal *j);
const char *journal_path(const struct journal *j);		/* borrowed */
const uint8_t *journal_plan(const struct journal *j);	/* borrowed: SHA-256 of the plan */
/* The file at path has the planned size and that digest of its header. */
bool journal_is_sealed(const char *path, const struct plan_output *out, const uint8_t *digest);
/* Which outputs an earlier run of the same plan gave their names before it was stopped. */
enum status journal_find_sealed(const struct journal *j, const struct plan *p, char *const *paths, struct claims *c,
				struct err *e) MUST_USE;
/* Reads what an earlier run left and keeps what still holds: fills claims, chunk digests in the plan's
 * headers, sha256 of shards, digests of aux. Outputs are open (but for those that are sealed), those with
 * .kept set have that run's bytes. A journal of another plan is ERR_USAGE. */
enum status journal_resume(struct journal *j, struct plan *p, const struct output *outputs, uint8_t *sha256,
			   const struct pipeline_options *run, struct claims *c, struct log *notes, struct err *e) MUST_USE;
/* The same from the journals of several runs (those of the n paths that exist), whose sources need not be where ours
 * is: what they converted, they also hashed, and where two of them read the same scales, the digests must agree
 * (else ERR_MISMATCH). *damaged: some chunks were not what the journals say. */
enum status journal_merge(struct journal *j, struct plan *p, char *const *paths, size_t n, const struct output *outputs,
			  uint8_t *sha256, const struct pipeline_options *run, struct claims *c, bool *damaged,
			  struct log *notes, struct err *e) MUST_USE;
/* Starts the file, with the claims that there are; replaces what is there. */
enum status journal_start(struct journal *j, const struct plan *p, const struct claims *c, const uint8_t *sha256,
			  struct err *e) MUST_USE;
/* A chunk has been written, a shard was read to its end. Any thread. From time to time the outputs and
 * then the journal are flushed. */
enum status journal_chunk(struct journal *j, const struct plan *p, const struct output *outputs, uint32_t output,
			  uint64_t chunk, uint64_t bytes, struct err *e) MUST_USE;
enum status journal_shard(struct journal *j, uint32_t shard, const uint8_t sha256[SHA256_BYTES], struct err *e) MUST_USE;
/* Now; only one thread is left. */
enum status journal_flush(struct journal *j, const struct plan *p, const struct output *outputs, struct err *e) MUST_USE;
/* Header number output is final and about to take its name. */
enum status journal_sealed(struct journal *j, uint32_t output, const struct plan_output *out, struct err *e) MUST_USE;
bool journal_started(const struct journal *j);	/* NULL: no */
bool journal_has_claims(const struct journal *j);
/* keep: for another run; else the file is removed. One that was never started leaves what was there. */
void journal_close(struct journal *j, bool keep);

#endif
