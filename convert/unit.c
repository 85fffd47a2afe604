/* SPDX-License-Identifier: MIT
 *
 * unit.c - one chunk of output: source bytes to blocks, their digest, their place in the file.
 */
#include "convert/stream.h"

#include <string.h>

/* The part of a fault's message that says where. */
static enum status report(const struct fault *f, const struct conversion *c, const struct source_matrix *m,
			  enum dtype target, struct err *e)
{
	const struct st_tensor *t = m->weight;
	uint64_t row = f->element / m->l.cols, col = f->element % m->l.cols, b0, b1;
	const char *next = "the checkpoint is damaged or not what it says; download the shard again";

	source_weight_range(&m->l, f->element, f->element + 1, &b0, &b1);
	if (f->kind == FAULT_INEXACT)
		next = "give it another type with --tensor-type";
	else if (f->kind == FAULT_INFINITE)
		next = "it cannot be quantized; leave it as it is with --tensor-type REGEX=KEEP";
	return err_set(e, ERR_FORMAT, "%s: %s at row %llu, column %llu (tensor %s, bytes %llu..%llu) on its way "
		       "to %s; %s", c->p->ckpt->files[t->shard].file.path, fault_text(f->kind),
		       (unsigned long long)row, (unsigned long long)col, t->name,
		       (unsigned long long)(t->off + m->weight_off + b0),
		       (unsigned long long)(t->off + m->weight_off + b1), dtype_info(target)->name, next);
}

/* The scales of elements [e0, e1). */
static enum status read_scales(const struct conversion *c, const struct source_matrix *m,
			       struct source_run *run, struct worker_buffers *b, struct err *e)
{
	uint64_t width, s1;

	if (!m->scale)
		return OK;
	width = dtype_info(m->l.scale_type)->bytes;
	source_scale_range(&m->l, run->e0, run->e1, &run->s0, &s1);
	return aux_read(c->aux, c->p->ckpt, c->p, m->scale, m->scale_off + run->s0 * width,
			m->scale_off + s1 * width, b->aux, &run->scale, &b->hash, e);
}

static enum status make_single(const struct conversion *c, const struct plan_tensor *t,
			       const struct source_matrix *m, const struct unit_range *r, uint8_t *to,
			       struct worker_buffers *b, struct err *e)
{
	struct source_run run = { .l = &m->l, .weight = b->in, .e0 = r->e0, .e1 = r->e1 };
	struct fault f;

	if (read_scales(c, m, &run, b, e) != OK)
		return e->status;
	if (role_class(t->want.role) == CLASS_IDS)
		f = transfer_ids(&run, c->p->arch.n_expert, to);
	else
		f = transfer(&run, t->type, to, b->scratch);
	return f.kind == FAULT_NONE ? OK : report(&f, c, m, t->type, e);
}

/* One part of a tensor whose rows join two sources: part k of each of the rows. */
static enum status make_part(const struct conversion *c, const struct plan_tensor *t,
			     const struct source_matrix *m, const struct unit_range *r, unsigned k,
			     const uint8_t *weight, uint8_t *to, struct worker_buffers *b, struct err *e)
{
	const struct dtype_info *info = dtype_info(t->type);
	uint64_t cols = m->l.cols, row0 = r->e0 / (2 * cols), row1 = r->e1 / (2 * cols);
	uint64_t half = cols / info->block * info->bytes, b0, b1;
	struct source_run all = { .l = &m->l, .e0 = row0 * cols, .e1 = row1 * cols };

	if (read_scales(c, m, &all, b, e) != OK)
		return e->status;
	for (uint64_t row = row0; row < row1; row++) {
		struct source_run one = { .l = &m->l, .e0 = row * cols, .e1 = (row + 1) * cols };
		uint64_t s1;

		source_weight_range(&m->l, all.e0, one.e0, &b0, &b1);
		source_scale_range(&m->l, one.e0, one.e1, &one.s0, &s1);
		one.weight = weight + (b1 - b0);
		if (all.scale)
			one.scale = all.scale + (one.s0 - all.s0) * dtype_info(m->l.scale_type)->bytes;
		struct fault f = transfer(&one, t->type, to + (row - row0) * 2 * half + k * half, b->scratch);
		if (f.kind != FAULT_NONE)
			return report(&f, c, m, t->type, e);
	}
	return OK;
}

static enum status make_joined(const struct conversion *c, const struct plan_tensor *t,
			       const struct source_matrix *m, const struct unit_range *r, uint8_t *to,
			       struct worker_buffers *b, struct err *e)
{
	const struct source_matrix *second = m + 1;
	const uint8_t *weight;
	uint64_t b0, b1;

	if (make_part(c, t, m, r, 0, b->in, to, b, e) != OK)
		return e->status;
	source_weight_range(&second->l, r->e0 / 2, r->e1 / 2, &b0, &b1);
	if (aux_read(c->aux, c->p->ckpt, c->p, second->weight, second->weight_off + b0,
		     second->weight_off + b1, b->aux, &weight, &b->hash, e) != OK)
		return e->status;
	memcpy(b->in, weight, b1 - b0);		/* aux is needed for its scales */
	return make_part(c, t, second, r, 1, b->in, to, b, e);
}

enum status unit_make(struct unit *u, const struct conversion *c, uint32_t shard,
		      struct worker_buffers *b, struct err *e)
{
	const struct feed *f = &c->p->shards[shard].feeds[u->feed];
	struct plan_output *out = &c->p->out[f->output];
	const struct plan_tensor *t = &out->tensors[f->tensor];
	unsigned parts = want_parts(&t->want);
	const struct source_matrix *m = &c->p->matrices[t->first_matrix + f->matrix * parts];
	uint64_t chunk = f->matrix * t->chunks.per_matrix + u->chunk;
	uint64_t off = t->off + seal_chunk(&t->chunks, chunk).off;
	uint8_t *to = b->out + (off - u->range.skip) % OUTPUT_ALIGN, digest[SHA256_BYTES];

	if ((parts > 1 ? make_joined : make_single)(c, t, m, &u->range, to, b, e) != OK)
		return e->status;
	u->bytes = to + u->range.skip;
	seal_leaf_start(&b->hash);
	sha256_add(&b->hash, u->bytes, (size_t)u->range.bytes);
	sha256_end(&b->hash, digest);
	for (size_t i = 0; i < u->n_feeds; i++) {
		out = &c->p->out[f[i].output];
		t = &out->tensors[f[i].tensor];
		memcpy(out->header.buf + out->chunk_sha256_at + SHA256_BYTES * (t->first_chunk + chunk), digest,
		       SHA256_BYTES);
	}
	return OK;
}

enum status unit_write(const struct unit *u, const struct conversion *c, uint32_t shard, struct err *e)
{
	for (size_t i = 0; i < u->n_feeds; i++) {
		const struct feed *f = &c->p->shards[shard].feeds[u->feed + i];
		const struct plan_tensor *t = &c->p->out[f->output].tensors[f->tensor];
		uint64_t chunk = f->matrix * t->chunks.per_matrix + u->chunk;

		if (output_write(&c->outputs[f->output], u->bytes, (size_t)u->range.bytes,
				 t->off + seal_chunk(&t->chunks, chunk).off, e) != OK)
			return e->status;
	}
	return OK;
}
