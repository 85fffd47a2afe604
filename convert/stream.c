/* SPDX-License-Identifier: MIT
 *
 * stream.c - one shard, front to back: every byte is read once, hashed, and converted.
 *
 * The plan's feeds are in the order of the shard's bytes. Between feeds lie the header, dropped
 * tensors and tensors that are read apart (aux.c); they only pass. A unit's source may begin some
 * bytes before the end of the last one's, where a chunk's boundary cuts a block: those few bytes
 * are carried over, never read twice.
 */
#include "convert/stream.h"

#include <string.h>

static const struct plan_tensor *tensor_of(const struct plan *p, const struct feed *f)
{
	return &p->out[f->output].tensors[f->tensor];
}

/* Reads [s->pos, s->pos + n) to `to` and hashes it, while it is in the core's own cache. */
static enum status read_on(struct shard_stream *s, const struct conversion *c, uint8_t *to, uint64_t n,
			   struct err *e)
{
	enum { STEP = 512 << 10 };

	for (uint64_t part; n > 0; n -= part, to += part) {
		part = u64_min(n, STEP);
		if (file_read(&c->p->ckpt->files[s->shard].file, to, (size_t)part, s->pos, e) != OK)
			return e->status;
		sha256_add(&s->hash, to, (size_t)part);
		if (c->p->gguf && c->p->gguf->sealed &&
		    seal_follow_add(&s->follow, c->p->gguf, s->shard, s->pos, to, part, e) != OK)
			return e->status;
		s->pos += part;
	}
	return OK;
}

/* Hashes up to `end`, leaving digests of the aux tensors that pass. */
static enum status pass(struct shard_stream *s, const struct conversion *c, struct worker_buffers *b,
			uint64_t end, struct err *e)
{
	const struct st_header *h = &c->p->ckpt->headers[s->shard];
	const struct plan_shard *ps = &c->p->shards[s->shard];

	while (s->pos < end) {
		const struct st_tensor *t;
		uint64_t stop = end, start = s->pos, n;

		while (s->tensor < h->n_tensors &&
		       h->tensors[s->tensor].off + h->tensors[s->tensor].bytes <= s->pos)
			s->tensor++;
		t = s->tensor < h->n_tensors ? &h->tensors[s->tensor] : NULL;
		if (t && t->off <= s->pos && ps->use[s->tensor] == USE_AUX) {
			n = u64_min(AUX_TILE, t->off + t->bytes - s->pos);
			if (read_on(s, c, b->in, n, e) != OK)
				return e->status;
			if (aux_seen(c->aux, ps->aux[s->tensor], (start - t->off) / AUX_TILE, b->in, (size_t)n,
				     &b->hash, e) != OK)
				return err_wrap(e, "%s: tensor %s, bytes %llu..%llu",
						c->p->ckpt->files[s->shard].file.path, t->name,
						(unsigned long long)start, (unsigned long long)s->pos);
			continue;
		}
		if (t)
			stop = u64_min(stop, t->off > s->pos ? t->off : t->off + t->bytes);
		if (read_on(s, c, b->in, u64_min(stop - s->pos, b->in_bytes), e) != OK)
			return e->status;
	}
	return OK;
}

static enum status finish(struct shard_stream *s, const struct conversion *c, struct err *e)
{
	const struct source_file *f = &c->p->ckpt->files[s->shard];
	struct digest found = { .kind = DIGEST_SHA256 };
	char have[65], want[65];

	s->done = true;
	sha256_end(&s->hash, found.bytes);
	memcpy(c->sha256 + (size_t)SHA256_BYTES * s->shard, found.bytes, SHA256_BYTES);
	if (f->expected.kind == DIGEST_SHA256 && !digest_eq(&f->expected, &found))
		return err_set(e, ERR_MISMATCH, "%s: SHA-256 is %s, expected %s (%s): the shard is damaged or of "
			       "another revision; delete it and download it again", f->file.path,
			       digest_text(&found, have), digest_text(&f->expected, want),
			       anchor_name(f->anchor));
	return file_unchanged(&f->file, e);
}

/* Source bytes of elements [e0, e1) of a unit's first part, from the start of the feed. */
static void part_range(const struct plan *p, const struct feed *f, uint64_t e0, uint64_t e1, uint64_t *b0,
		       uint64_t *b1)
{
	const struct plan_tensor *t = tensor_of(p, f);
	unsigned parts = t->parts;

	source_weight_range(&p->matrices[t->first_matrix + f->matrix * parts].l, e0 / parts, e1 / parts, b0, b1);
}

/* Elements [e0, e1): the first bytes may be known from the unit before, the last may be needed again
 * by the next, which begins at element `next`. */
static enum status read_piece(struct shard_stream *s, const struct conversion *c, const struct feed *f,
			      uint64_t e0, uint64_t e1, uint64_t next, uint8_t *in, struct err *e)
{
	uint64_t b0, b1, next0, known;

	part_range(c->p, f, e0, e1, &b0, &b1);
	known = s->pos - (f->off + b0);
	memcpy(in, s->carry + (s->carry_bytes - known), known);
	if (read_on(s, c, in + known, b1 - b0 - known, e) != OK)
		return e->status;
	s->carry_bytes = 0;
	if (next < e1) {
		part_range(c->p, f, next, e1, &next0, &b1);
		s->carry_bytes = b1 - next0;
		memcpy(s->carry, in + (next0 - b0), s->carry_bytes);
	}
	return OK;
}

static bool is_claimed(const struct unit *u, const struct conversion *c, const struct feed *f)
{
	bool all = true;

	for (size_t i = 0; i < u->n_feeds; i++) {
		const struct plan_tensor *t = tensor_of(c->p, &f[i]);
		const uint8_t *chunks = c->claims->n_outputs ? c->claims->chunks[f[i].output] : NULL;

		all &= chunks && chunks[t->first_chunk + f[i].matrix * t->chunks.per_matrix + u->chunk];
	}
	return all;
}

/* In pieces that stay in a core's own cache from the read to the converted blocks. */
static enum status make_unit(struct shard_stream *s, const struct conversion *c, struct worker_buffers *b,
			     struct unit *u, struct err *e)
{
	const struct feed *f = &c->p->shards[s->shard].feeds[u->feed];
	const struct plan_tensor *t = tensor_of(c->p, f);
	uint64_t step = plan_piece(t), next = UINT64_MAX;

	u->claimed = is_claimed(u, c, f);
	if (!u->claimed && unit_open(u, c, s->shard, b, e) != OK)
		return e->status;
	if (u->chunk + 1 < t->chunks.per_matrix)
		next = plan_unit(t, u->chunk + 1).e0;
	u->held = c->apart && t->parts == 1 && !u->claimed;
	if (u->held)
		return read_piece(s, c, f, u->range.e0, u->range.e1, next, b->in, e);
	for (uint64_t e0 = u->range.e0; e0 < u->range.e1; e0 += step) {
		uint64_t e1 = u64_min(e0 + step, u->range.e1);

		if (read_piece(s, c, f, e0, e1, next, b->in, e) != OK ||
		    (!u->claimed && unit_piece(u, c, s->shard, e0, e1, b->in, b, e) != OK))
			return e->status;
	}
	return OK;
}

enum status stream_next(struct shard_stream *s, const struct conversion *c, struct worker_buffers *b,
			struct unit *u, bool *have, struct err *e)
{
	const struct plan_shard *ps = &c->p->shards[s->shard];
	const struct feed *f;

	*have = s->feed < ps->n_feeds;
	if (!*have) {
		if (pass(s, c, b, c->p->ckpt->files[s->shard].file.id.size, e) != OK)
			return e->status;
		return finish(s, c, e);
	}
	f = &ps->feeds[s->feed];
	if (s->chunk == 0 && pass(s, c, b, f->off, e) != OK)
		return e->status;
	*u = (struct unit){ .feed = s->feed, .n_feeds = 1, .chunk = s->chunk,
			    .range = plan_unit(tensor_of(c->p, f), s->chunk) };
	while (u->feed + u->n_feeds < ps->n_feeds && f[u->n_feeds].again)
		u->n_feeds++;
	if (make_unit(s, c, b, u, e) != OK)
		return e->status;
	if (++s->chunk == tensor_of(c->p, f)->chunks.per_matrix) {
		s->chunk = 0;
		s->feed += u->n_feeds;
	}
	return OK;
}
