/* SPDX-License-Identifier: MIT
 *
 * stream.h - private to stream.c, unit.c and pipeline.c: a shard being read, a unit being made.
 */
#ifndef CONVERT_STREAM_H
#define CONVERT_STREAM_H

#include "convert/convert.h"

/* What one worker owns. in and aux hold source bytes, out is aligned for direct writes. */
struct worker_buffers {
	uint8_t *in, *out, *aux;
	float *scratch;
	uint64_t in_bytes;
	struct sha256 hash;
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
	bool done;
};
/* One chunk of output: source bytes in worker_buffers.in. */
struct unit {
	size_t feed, n_feeds;		/* that feed, and those that take the same result */
	uint64_t chunk;
	struct unit_range range;
	uint8_t *bytes;			/* after unit_make: the chunk's bytes, in worker_buffers.out */
};
/* What the workers share and do not change. */
struct conversion {
	struct plan *p;
	struct output *outputs;
	struct aux *aux;
	uint8_t *sha256;		/* 32 bytes a file of the checkpoint */
};

/* Reads and hashes up to and including the source of the next unit. At the shard's end, *have is
 * false, s->done is set and the digest has been compared. */
enum status stream_next(struct shard_stream *s, const struct conversion *c, struct worker_buffers *b,
			struct unit *u, bool *have, struct err *e) MUST_USE;
/* Converts and hashes it; the digest goes into every header that has the chunk. */
enum status unit_make(struct unit *u, const struct conversion *c, uint32_t shard,
		      struct worker_buffers *b, struct err *e) MUST_USE;
enum status unit_write(const struct unit *u, const struct conversion *c, uint32_t shard, struct err *e) MUST_USE;

#endif
