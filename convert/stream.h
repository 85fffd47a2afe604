/* SPDX-License-Identifier: MIT
 *
 * stream.h - private to stream.c, unit.c and pipeline.c: a shard being read, a unit being made.
 */
#ifndef CONVERT_STREAM_H
#define CONVERT_STREAM_H

#include "convert/journal.h"

/* A sealed GGUF on its way past: each chunk against the seal. One thread at a time. */
struct seal_follow {
	size_t tensor;			/* where the next byte of data belongs */
	uint64_t chunk, n;		/* chunks of that tensor, and of all, that have passed */
	struct sha256 hash;
};
/* n bytes of file number `file` at pos, which follow those of the call before. ERR_MISMATCH names what differs. */
enum status seal_follow_add(struct seal_follow *f, const struct gguf_source *s, uint32_t file, uint64_t pos,
			    const uint8_t *p, uint64_t n, struct err *e) MUST_USE;

/* What one worker owns. in holds the piece that was read last (or a unit's whole source), aux what was read apart from the
 * stream, out a unit's result, aligned for direct writes. */
struct worker_buffers {
	uint8_t *in, *out, *aux;
	float *scratch, *importance;
	uint64_t in_bytes;
	struct sha256 hash;
	struct error_sums errors;	/* of the unit under way */
};
/* A shard on its way past: everything before pos has been hashed. One thread at a time. */
struct shard_stream {
	uint32_t shard;
	uint64_t pos;
	size_t tensor;			/* the first of the header's tensors that ends after pos */
	size_t feed;			/* the next feed to make units of */
	uint64_t chunk;			/* ... and its next chunk */
	uint8_t *carry;			/* owned: bytes before pos that the next unit needs again */
	uint64_t carry_bytes;
	struct sha256 hash;
	struct seal_follow follow;	/* of a sealed GGUF */
	bool done;
};
/* One chunk of output. */
struct unit {
	size_t feed, n_feeds;		/* that feed, and those that take the same result */
	uint64_t chunk;
	struct unit_range range;
	struct source_run run;		/* its elements and their scales */
	struct encoding how;
	uint8_t *to, *bytes;		/* in worker_buffers.out: of element e0, of the chunk */
	bool held;			/* its source is in worker_buffers.in, not yet converted */
	bool claimed;			/* an earlier run has made it: its source only passes */
};
/* What the workers share and do not change. */
struct conversion {
	struct plan *p;
	struct output *outputs;
	struct aux *aux;
	struct journal *journal;
	const struct claims *claims;	/* zeroed: none */
	uint8_t *sha256;		/* 32 bytes a file of the checkpoint */
	bool apart;			/* a shard is read by one worker and converted by others */
};

/* Makes the shard's next unit: reads, hashes and converts its source piece by piece, or, apart, only
 * reads and hashes it: then unit_convert is to follow, while others go on with the shard. At the
 * shard's end, *have is false, s->done is set and the digest has been compared. */
enum status stream_next(struct shard_stream *s, const struct conversion *c, struct worker_buffers *b,
			struct unit *u, bool *have, struct err *e) MUST_USE;
/* Prepares a unit: its place, its scales. */
enum status unit_open(struct unit *u, const struct conversion *c, uint32_t shard,
		      struct worker_buffers *b, struct err *e) MUST_USE;
/* Converts its elements [e0, e1), whose source bytes are at weight (in b->in). */
enum status unit_piece(const struct unit *u, const struct conversion *c, uint32_t shard, uint64_t e0,
		       uint64_t e1, const uint8_t *weight, struct worker_buffers *b, struct err *e) MUST_USE;
/* Converts all of a unit that is held; nothing else. */
enum status unit_convert(const struct unit *u, const struct conversion *c, uint32_t shard,
			 struct worker_buffers *b, struct err *e) MUST_USE;
/* ledger.c: what unit_piece converted, from element `at` of its tensor on; scratch as transfer's. */
void ledger_add(struct error_sums *s, const struct source_run *run, enum dtype target, const uint8_t *blocks,
		uint64_t at, float *scratch);
/* Keeps the sums of a finished unit, for every tensor that takes it. */
void ledger_keep(const struct unit *u, const struct conversion *c, uint32_t shard, const struct error_sums *s);
/* The digest of a finished unit, into every header that has the chunk. */
void unit_hash(const struct unit *u, const struct conversion *c, uint32_t shard, struct worker_buffers *b);
/* Into its places, and into the journal. */
enum status unit_write(const struct unit *u, const struct conversion *c, uint32_t shard, struct err *e) MUST_USE;

#endif
