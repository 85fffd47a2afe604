/* SPDX-License-Identifier: MIT
 *
 * unit.c - one chunk of output: source bytes to blocks, their digest, their place in the file.
 */
#include "convert/plan.h"
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

/* What a unit is made of. */
struct place {
	struct plan_output *out;
	const struct plan_tensor *t;
	const struct source_matrix *first, *m;	/* of the tensor's matrices, of those of the unit */
};

static struct place place_of(const struct unit *u, const struct conversion *c, uint32_t shard)
{
	const struct feed *f = &c->p->shards[shard].feeds[u->feed];
	struct plan_output *out = &c->p->out[f->output];
	const struct plan_tensor *t = &out->tensors[f->tensor];

	const struct source_matrix *first = &c->p->matrices[t->first_matrix];

	return (struct place){ out, t, first, first + f->matrix * t->parts };
}

/* The scales of a run's elements. */
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

/* Elements [e0, e1) of a run, whose own weights are at hand. */
static struct source_run part_of(const struct source_run *run, const uint8_t *weight, uint64_t e0,
				 uint64_t e1)
{
	struct source_run part = { .l = run->l, .weight = weight, .e0 = e0, .e1 = e1 };
	uint64_t s1;

	source_scale_range(run->l, e0, e1, &part.s0, &s1);
	if (run->scale)
		part.scale = run->scale + (part.s0 - run->s0) * dtype_info(run->l->scale_type)->bytes;
	return part;
}

enum status unit_open(struct unit *u, const struct conversion *c, uint32_t shard,
		      struct worker_buffers *b, struct err *e)
{
	struct place p = place_of(u, c, shard);
	uint64_t matrix = c->p->shards[shard].feeds[u->feed].matrix;
	uint64_t off = p.t->off + seal_chunk(&p.t->chunks, matrix * p.t->chunks.per_matrix + u->chunk).off;

	u->to = b->out + (off - u->range.skip) % OUTPUT_ALIGN;
	u->bytes = u->to + u->range.skip;
	u->run = (struct source_run){ .l = &p.m->l, .e0 = u->range.e0, .e1 = u->range.e1 };
	u->how = (struct encoding){ .effort = c->p->effort };
	b->errors = (struct error_sums){ 0 };
	if (p.t->weighted) {
		bool found;

		if (importance_read(c->p->importance, p.t, matrix, b->importance, &found, e) != OK)
			return e->status;
		u->how.importance = found ? b->importance : NULL;
	}
	return p.t->parts > 1 ? OK : read_scales(c, p.m, &u->run, b, e);
}

/* Those elements of a piece that are this unit's own. */
static void measure(const struct unit *u, const struct place *p, const struct source_run *piece, const uint8_t *to,
		    struct worker_buffers *b)
{
	const struct dtype_info *info = dtype_info(p->t->type);
	uint64_t e0 = piece->e0 > u->range.own ? piece->e0 : u->range.own, b0, b1;
	uint64_t before = (uint64_t)(p->m - p->first) * p->m->l.rows * p->m->l.cols;
	struct source_run own;

	source_weight_range(&p->m->l, piece->e0, e0, &b0, &b1);
	own = part_of(&u->run, piece->weight + (b1 - b0), e0, piece->e1);
	ledger_add(&b->errors, &own, p->t->type, to + (e0 - piece->e0) / info->block * info->bytes, before + e0,
		   b->scratch);
}

static enum status single_piece(const struct unit *u, const struct conversion *c, const struct place *p,
				uint64_t e0, uint64_t e1, const uint8_t *weight, uint8_t *to,
				struct worker_buffers *b, struct err *e)
{
	struct source_run part = part_of(&u->run, weight, e0, e1);
	struct fault f = p->t->class == CLASS_IDS
		? transfer_ids(&part, c->p->arch.n_expert, to)
		: transfer_as(&part, p->t->type, &u->how, to, b->scratch);

	if (f.kind != FAULT_NONE)
		return report(&f, c, p->m, p->t->type, e);
	if (p->t->measured && e1 > u->range.own)
		measure(u, p, &part, to, b);
	return OK;
}

/* Rows [row0, row1) of part k of a tensor whose rows join two sources. */
static enum status joined_rows(const struct unit *u, const struct conversion *c, const struct place *p,
			       unsigned k, uint64_t row0, uint64_t row1, uint8_t *to, struct worker_buffers *b,
			       struct err *e)
{
	const struct source_matrix *m = p->m + k;
	const struct dtype_info *info = dtype_info(p->t->type);
	uint64_t cols = m->l.cols, half = cols / info->block * info->bytes, width, b1;
	struct source_run all = { .l = &m->l, .e0 = row0 * cols, .e1 = row1 * cols };
	struct encoding how = { u->how.effort, u->how.importance ? u->how.importance + k * cols : NULL };

	source_weight_range(&m->l, 0, cols, &b1, &width);
	if (read_scales(c, m, &all, b, e) != OK)
		return e->status;
	for (uint64_t row = row0; row < row1; row++) {
		struct source_run one = part_of(&all, b->in + (row - row0) * width, row * cols, (row + 1) * cols);
		struct fault f = transfer_as(&one, p->t->type, &how, to + (2 * (row - row0) + k) * half, b->scratch);

		if (f.kind != FAULT_NONE)
			return report(&f, c, m, p->t->type, e);
		if (p->t->measured && 2 * row * cols >= u->range.own)
			ledger_add(&b->errors, &one, p->t->type, to + (2 * (row - row0) + k) * half,
				   (2 * row + k) * cols, b->scratch);
	}
	return OK;
}

static enum status joined_piece(const struct unit *u, const struct conversion *c, const struct place *p,
				uint64_t e0, uint64_t e1, uint8_t *to, struct worker_buffers *b, struct err *e)
{
	const struct source_matrix *second = p->m + 1;
	uint64_t row = p->t->want.shape[1], b0, b1;
	const uint8_t *weight;

	if (joined_rows(u, c, p, 0, e0 / row, e1 / row, to, b, e) != OK)
		return e->status;
	source_weight_range(&second->l, e0 / 2, e1 / 2, &b0, &b1);
	if (aux_read(c->aux, c->p->ckpt, c->p, second->weight, second->weight_off + b0,
		     second->weight_off + b1, b->aux, &weight, &b->hash, e) != OK)
		return e->status;
	memcpy(b->in, weight, b1 - b0);		/* aux is needed for its scales */
	return joined_rows(u, c, p, 1, e0 / row, e1 / row, to, b, e);
}

enum status unit_piece(const struct unit *u, const struct conversion *c, uint32_t shard, uint64_t e0,
		       uint64_t e1, const uint8_t *weight, struct worker_buffers *b, struct err *e)
{
	struct place p = place_of(u, c, shard);
	const struct dtype_info *info = dtype_info(p.t->type);
	uint8_t *to = u->to + (e0 - u->range.e0) / info->block * info->bytes;

	if (p.t->parts > 1)
		return joined_piece(u, c, &p, e0, e1, to, b, e);
	return single_piece(u, c, &p, e0, e1, weight, to, b, e);
}

enum status unit_convert(const struct unit *u, const struct conversion *c, uint32_t shard,
			 struct worker_buffers *b, struct err *e)
{
	struct place p = place_of(u, c, shard);
	uint64_t step = plan_piece(p.t);

	if (!u->held)
		return OK;
	for (uint64_t e0 = u->range.e0; e0 < u->range.e1; e0 += step) {
		uint64_t e1 = u64_min(e0 + step, u->range.e1), first, b0, b1;

		source_weight_range(&p.m->l, u->range.e0, e1, &first, &b1);
		source_weight_range(&p.m->l, e0, e1, &b0, &b1);
		if (unit_piece(u, c, shard, e0, e1, b->in + (b0 - first), b, e) != OK)
			return e->status;
	}
	return OK;
}

void unit_hash(const struct unit *u, const struct conversion *c, uint32_t shard, struct worker_buffers *b)
{
	const struct feed *f = &c->p->shards[shard].feeds[u->feed];
	uint8_t digest[SHA256_BYTES];

	seal_leaf_start(&b->hash);
	sha256_add(&b->hash, u->bytes, (size_t)u->range.bytes);
	sha256_end(&b->hash, digest);
	for (size_t i = 0; i < u->n_feeds; i++) {
		struct plan_output *out = &c->p->out[f[i].output];
		const struct plan_tensor *t = &out->tensors[f[i].tensor];
		uint64_t chunk = t->first_chunk + f[i].matrix * t->chunks.per_matrix + u->chunk;

		memcpy(out->header.buf + out->chunk_sha256_at + SHA256_BYTES * chunk, digest, SHA256_BYTES);
	}
}

enum status unit_write(const struct unit *u, const struct conversion *c, uint32_t shard, struct err *e)
{
	for (size_t i = 0; i < u->n_feeds; i++) {
		const struct feed *f = &c->p->shards[shard].feeds[u->feed + i];
		const struct plan_tensor *t = &c->p->out[f->output].tensors[f->tensor];
		uint64_t chunk = f->matrix * t->chunks.per_matrix + u->chunk;

		if (claims_sealed(c->claims, f->output))
			continue;	/* made again for its digest alone; the seals are compared at the end */
		if (output_write(&c->outputs[f->output], u->bytes, (size_t)u->range.bytes,
				 t->off + seal_chunk(&t->chunks, chunk).off, e) != OK ||
		    journal_chunk(c->journal, c->p, c->outputs, f->output, t->first_chunk + chunk, u->range.bytes, e) != OK)
			return e->status;
	}
	return OK;
}
