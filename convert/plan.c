/* SPDX-License-Identifier: MIT
 *
 * plan.c - from headers alone: every tensor of the model found in the checkpoint, every tensor of
 * the checkpoint given a use.
 *
 * Nothing is read but headers. The search goes through the whole model before it fails, so that
 * one run lists all that is missing, mis-shaped or unknown.
 */
#include "convert/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


static size_t header_index(const struct plan *p, const struct st_tensor *t)
{
	return (size_t)(t - p->ckpt->headers[t->shard].tensors);
}

enum status plan_add_feed(struct plan *p, const struct st_tensor *t, struct feed f, struct err *e)
{
	struct plan_shard *s = &p->shards[t->shard];
	void *q = s->feeds;

	if (mem_grow(&q, &s->cap, s->n_feeds + 1, sizeof *s->feeds, "the plan", e) != OK)
		return e->status;
	s->feeds = q;
	s->feeds[s->n_feeds++] = f;
	s->use[header_index(p, t)] = USE_FEED;
	return OK;
}

static void mark_aux(struct plan *p, const struct st_tensor *t)
{
	size_t i = header_index(p, t);

	if (p->shards[t->shard].use[i] != USE_AUX) {
		p->shards[t->shard].use[i] = USE_AUX;
		p->shards[t->shard].aux[i] = p->n_aux++;
	}
}

struct source_matrix *plan_add_matrix(struct plan *p, struct err *e)
{
	void *q = p->matrices;

	if (mem_grow(&q, &p->matrices_cap, p->n_matrices + 1, sizeof *p->matrices, "the plan", e) != OK)
		return NULL;
	p->matrices = q;
	p->matrices[p->n_matrices] = (struct source_matrix){ 0 };
	return &p->matrices[p->n_matrices++];
}

static enum status bind_matrix(struct plan *p, struct plan_tensor *t, struct feed f, unsigned part,
			       bool *found, struct log *problems, struct err *e)
{
	struct source_matrix *s = plan_add_matrix(p, e);
	uint64_t b0;

	if (!s)
		return e->status;
	source_bind(s, found, p->ckpt, &p->arch, &t->want, f.matrix, part, problems);
	if (!*found)
		return OK;
	source_weight_range(&s->l, 0, s->l.rows * s->l.cols, &b0, &f.bytes);
	f.off = s->weight->off + s->weight_off;
	t->source_bytes += f.bytes;
	if (s->scale) {
		mark_aux(p, s->scale);
		t->source_bytes += u64_div_up(s->l.rows, s->l.block_rows) * s->l.scale_cols *
				   dtype_info(s->l.scale_type)->bytes;
	}
	if (part == 0)
		return plan_add_feed(p, s->weight, f, e);
	mark_aux(p, s->weight);
	return OK;
}

/* Finds every source matrix of one tensor; *whole is false if any is missing. */
static enum status bind_tensor(struct plan *p, struct plan_tensor *t, uint32_t output, uint32_t index,
			       bool *whole, struct log *problems, struct err *e)
{
	uint64_t n_matrices = t->want.n_dims == 3 ? t->want.shape[0] : 1;
	struct feed f = { .output = output, .tensor = index };
	const struct source_matrix *first;
	bool found;

	*whole = true;
	t->first_matrix = p->n_matrices;
	for (; f.matrix < n_matrices; f.matrix++) {
		for (unsigned k = 0; k < t->parts; k++) {
			if (bind_matrix(p, t, f, k, &found, problems, e) != OK)
				return e->status;
			*whole &= found;
		}
		first = &p->matrices[t->first_matrix];
		if (!*whole && first->weight && first->weight->n_dims == 3)
			break;	/* one stacked tensor: it is wrong for every expert alike */
	}
	first = &p->matrices[t->first_matrix];
	t->source_kind = first->l.kind;
	t->source_type = first->l.type;
	return OK;
}

/* All matrices of a stacked tensor must be stored alike: they share one output type. */
static bool alike(const struct plan *p, const struct plan_tensor *t, struct log *problems)
{
	const struct source_matrix *first = &p->matrices[t->first_matrix];
	uint64_t n = (t->want.n_dims == 3 ? t->want.shape[0] : 1) * t->parts;

	for (uint64_t m = 1; m < n; m++)
		if (first[m].l.kind != first->l.kind || first[m].l.type != first->l.type) {
			log_add(problems, "tensor %s: stored as %s, but %s as %s; one stacked tensor needs one type",
				first[m].weight->name, dtype_info(first[m].l.type)->name, first->weight->name,
				dtype_info(first->l.type)->name);
			return false;
		}
	return true;
}

static enum status bind_output(struct plan *p, struct plan_output *out, uint32_t number,
			       struct log *problems, struct err *e)
{
	struct wants w;
	bool whole;
	enum status st;

	TRY(wants_build(&w, &p->arch, out->part, e));
	out->tensors = mem_new(w.n, sizeof *out->tensors, "the plan", e);
	if (!out->tensors) {
		st = e->status;
		goto out;
	}
	for (size_t i = 0; i < w.n; i++) {
		out->tensors[i] = (struct plan_tensor){ .want = w.w[i], .class = role_class(w.w[i].role),
							.parts = want_parts(&w.w[i]) };
		out->n_tensors++;
		TRY(bind_tensor(p, &out->tensors[i], number, (uint32_t)i, &whole, problems, e));
		if (whole)
			alike(p, &out->tensors[i], problems);
	}
out:
	wants_close(&w);
	return st;
}

/* ---- what the checkpoint has beyond the architecture ------------------------------------------*/

static enum status drop_line(struct plan *p, const char *what, size_t n, uint64_t bytes, const char *why,
			     struct log *notes, struct err *e)
{
	char line[256];

	snprintf(line, sizeof line, "%s: %zu tensors, %llu bytes, %s", what, n, (unsigned long long)bytes, why);
	log_add(notes, "dropped %s", line);
	p->dropped[p->n_dropped] = mem_strdup(line, e);
	if (!p->dropped[p->n_dropped])
		return e->status;
	p->n_dropped++;
	return OK;
}

/* Every mtp.* tensor is marked dropped, with one line that says so. */
static enum status drop_mtp(struct plan *p, const char *what, const char *why, struct log *notes,
			    struct err *e)
{
	uint64_t bytes = 0;
	size_t n = 0;

	for (size_t i = 0; i < p->ckpt->n_tensors; i++) {
		const struct st_tensor *t = p->ckpt->by_name[i];

		if (source_is_mtp(t)) {
			p->shards[t->shard].use[header_index(p, t)] = USE_DROPPED;
			bytes += t->bytes;
			n++;
		}
	}
	return n ? drop_line(p, what, n, bytes, why, notes, e) : OK;
}

/* MTP goes into a sidecar: llama.cpp's loader refuses a trunk file with tensors it does not use. */
static enum status plan_mtp(struct plan *p, const struct plan_options *o, struct log *notes, struct err *e)
{
	const struct checkpoint *c = p->ckpt;

	if (source_has_draft(c))
		return drop_mtp(p, "DSpark draft modules (mtp.*)", "not part of the model's own predictions",
				notes, e);
	if (o->no_mtp)
		return drop_mtp(p, "MTP block (mtp.*)", "by --no-mtp", notes, e);
	if (checkpoint_find(c, "mtp.0.e_proj.weight"))
		p->out[p->n_outputs++].part = PART_MTP;
	return OK;
}

static void list_unknown(const struct plan *p, struct log *problems)
{
	for (size_t i = 0; i < p->ckpt->n_tensors; i++) {
		const struct st_tensor *t = p->ckpt->by_name[i];

		if (p->shards[t->shard].use[header_index(p, t)] == USE_NONE)
			log_add(problems, "unknown tensor: %s (%s, %llu bytes, in %s)", t->name,
				dtype_info(t->dtype)->name, (unsigned long long)t->bytes,
				p->ckpt->files[t->shard].name);
	}
}

/* ---- order of the stream ----------------------------------------------------------------------*/

static int by_offset(const void *a, const void *b)
{
	const struct feed *x = a, *y = b;

	if (x->off != y->off)
		return x->off < y->off ? -1 : 1;
	return x->output < y->output ? -1 : x->output > y->output;
}

static enum status order_feeds(struct plan *p, struct err *e)
{
	for (size_t s = 0; s < p->ckpt->n_shards; s++) {
		struct plan_shard *sh = &p->shards[s];

		if (sh->n_feeds)
			qsort(sh->feeds, sh->n_feeds, sizeof *sh->feeds, by_offset);
		for (size_t i = 1; i < sh->n_feeds; i++) {
			struct feed *f = &sh->feeds[i], *g = f - 1;

			f->again = f->off == g->off;
			if (f->again && p->out[f->output].tensors[f->tensor].type !=
						p->out[g->output].tensors[g->tensor].type)
				return err_set(e, ERR_USAGE, "tensor %s: the recipe gives it different types in the "
					       "model and in the MTP sidecar; they share its source",
					       p->out[f->output].tensors[f->tensor].want.name);
		}
	}
	return OK;
}

enum status plan_prepare(struct plan *p, const struct checkpoint *c, struct err *e)
{
	*p = (struct plan){ .ckpt = c, .n_outputs = 1 };
	p->out = mem_new(PLAN_OUTPUTS, sizeof *p->out, "the plan", e);
	p->shards = mem_new(c->n_shards, sizeof *p->shards, "the plan", e);
	p->dropped = mem_new(4, sizeof *p->dropped, "the plan", e);
	if (!p->out || !p->shards || !p->dropped)
		return e->status;
	for (size_t i = 0; i < c->n_shards; i++) {
		p->shards[i].use = mem_new(c->headers[i].n_tensors, 1, "the plan", e);
		p->shards[i].aux = mem_new(c->headers[i].n_tensors, sizeof(uint32_t), "the plan", e);
		if (!p->shards[i].use || !p->shards[i].aux)
			return e->status;
		p->source_bytes += c->files[i].file.id.size;
	}
	return OK;
}

enum status plan_room_for_errors(struct plan_output *out, struct err *e)
{
	bool any = false;

	for (size_t i = 0; i < out->n_tensors; i++)
		any |= out->tensors[i].measured;
	if (any)
		out->errors = mem_new((size_t)out->n_chunks, sizeof *out->errors, "the report", e);
	return any && !out->errors ? e->status : OK;
}

enum status plan_finish(struct plan *p, const struct vocab *v, const struct plan_options *o,
			struct log *notes, struct err *e)
{
	enum status st = OK;

	p->effort = o->effort;
	p->importance = o->importance;
	for (size_t i = 0; i < p->n_outputs; i++)
		TRY(plan_choose_types(p, &p->out[i], o, notes, e));
	if (p->importance)
		TRY(plan_importance(p, notes, e));
	for (size_t i = 0; i < p->n_outputs; i++)
		TRY(layout_file(p, &p->out[i], &p->out[i], v, o, e));
	for (size_t i = 0; i < p->n_outputs; i++)
		TRY(plan_room_for_errors(&p->out[i], e));
out:
	return st;
}

enum status plan_build(struct plan *p, const struct checkpoint *c, const struct arch *a,
		       const struct vocab *v, const struct plan_options *o, struct log *problems,
		       struct log *notes, struct err *e)
{
	size_t before;
	enum status st;

	TRY(plan_prepare(p, c, e));
	p->arch = *a;
	if (!source_can_hold(c, a))
		TRY(err_set(e, ERR_FORMAT, "%s: config.json speaks of %u layers of %u experts, which the %zu "
			    "tensors here cannot hold", c->dir.path, a->n_layer, a->n_expert, c->n_tensors));
	TRY(plan_mtp(p, o, notes, e));
	before = problems->n_lines + problems->n_dropped;	/* notes and problems may be one log */
	for (size_t i = 0; i < p->n_outputs; i++)
		TRY(bind_output(p, &p->out[i], (uint32_t)i, problems, e));
	list_unknown(p, problems);
	if (problems->n_lines + problems->n_dropped > before) {
		st = err_set(e, ERR_FORMAT, "%s: %zu tensors are missing, mis-shaped or unknown (all listed "
			     "above); finish the download, or check that this is a DeepSeek-V4 checkpoint",
			     c->dir.path, problems->n_lines + problems->n_dropped - before);
		goto out;
	}
	TRY(plan_finish(p, v, o, notes, e));
	TRY(order_feeds(p, e));
out:
	return st;
}

enum status plan_retype(struct plan *p, const struct vocab *v, const struct plan_options *o, struct log *notes,
			struct err *e)
{
	enum status st;

	for (size_t i = 0; i < p->n_outputs; i++) {
		gguf_writer_close(&p->out[i].header);
		free(p->out[i].errors);
		p->out[i].errors = NULL;
	}
	TRY(plan_finish(p, v, o, notes, e));
	if (!p->gguf)
		TRY(order_feeds(p, e));
out:
	return st;
}

void plan_output_close(struct plan_output *out)
{
	free(out->tensors);
	free(out->errors);
	gguf_writer_close(&out->header);
}

const char *plan_source_type(const struct plan_tensor *t)
{
	return t->source_kind == SOURCE_FP4 ? "FP4" : t->source_kind == SOURCE_FP8 ? "FP8"
						    : dtype_info(t->source_type)->name;
}

void plan_close(struct plan *p)
{
	for (size_t i = 0; p->out && i < p->n_outputs; i++)
		plan_output_close(&p->out[i]);
	free(p->out);
	for (size_t i = 0; p->shards && i < p->ckpt->n_shards; i++) {
		free(p->shards[i].feeds);
		free(p->shards[i].use);
		free(p->shards[i].aux);
	}
	for (size_t i = 0; i < p->n_dropped; i++)
		free(p->dropped[i]);
	free(p->dropped);
	free(p->shards);
	free(p->matrices);
	*p = (struct plan){ 0 };
}
