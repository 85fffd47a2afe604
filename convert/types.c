/* SPDX-License-Identifier: MIT
 *
 * types.c - which type each tensor of the output takes.
 *
 * Types come from the recipe, but for tensors whose values steer rather than multiply (routers, norms,
 * hyper-connections, tables): those keep their precision whatever the recipe says. What a rule asks
 * for and does not get, and what it gets at a price, is collected and said once, with the first
 * tensor that it befell.
 */
#include "convert/plan.h"

#include <stdio.h>
#include <string.h>

struct group { size_t n; const struct plan_tensor *first; };
struct findings {
	struct group kept;		/* a user's rule may not touch them */
	struct group fallen[DT_COUNT];	/* by the type that their rows do not divide into */
	struct group requantized;	/* blocks of the source to other blocks, with loss */
	struct group fp4;		/* FP4 that is encoded anew */
	uint64_t fp4_before, fp4_after;
	struct group larger;		/* by a user's rule, with the same values */
	struct group wasteful;		/* no smaller and less exact; the worst of them stands for all */
	double times;
};

static void note(struct group *g, const struct plan_tensor *t)
{
	if (g->n++ == 0)
		g->first = t;
}

static const struct source_layout *layout_of(const struct plan *p, const struct plan_tensor *t)
{
	return &p->matrices[t->first_matrix].l;
}

static bool is_block(enum dtype t)
{
	return dtype_info(t)->gguf_id >= 0 && dtype_info(t)->block > 1;
}

/* FP4 of a checkpoint, or what a GGUF holds it as. */
static bool is_fp4(const struct source_layout *l)
{
	return l->kind == SOURCE_FP4 || (l->kind == SOURCE_PLAIN && l->type == DT_MXFP4);
}

/* The smallest type that holds every value of the source. */
static enum dtype lossless_type(const struct plan *p, const struct plan_tensor *t)
{
	const struct source_layout *l = layout_of(p, t);

	if (p->gguf)
		return l->type;
	if (t->class == CLASS_SMALL)
		return DT_F32;
	if (t->class == CLASS_IDS)
		return DT_I32;
	if (l->kind == SOURCE_FP4)
		return transfer_is_exact(l, DT_MXFP4) ? DT_MXFP4 : DT_BF16;
	return l->kind == SOURCE_FP8 ? DT_BF16 : l->type;
}

/* Where rows are too short for a type's blocks: the smallest type of shorter ones that is no less exact. */
static enum dtype shorter_blocks(enum dtype t)
{
	switch (t) {
	case DT_Q4_K: return DT_Q4_1;
	case DT_IQ4_XS: case DT_NVFP4: return DT_IQ4_NL;
	case DT_Q5_K: case DT_Q6_K: return DT_Q8_0;
	default: return DT_NONE;
	}
}

/* The type of a rule, or what its rows divide into; DT_NONE: nothing does. */
static enum status fit_rows(const struct plan_tensor *t, const struct rule *rule, uint64_t row,
			    struct findings *f, enum dtype *type, struct err *e)
{
	*type = rule->type;
	if (row % dtype_info(*type)->block == 0)
		return OK;
	if (rule->user)
		return err_set(e, ERR_USAGE, "rule '%s': rows of tensor %s have %llu elements, no multiple of %s's "
			       "block of %u; give it another type", rule->text, t->want.name,
			       (unsigned long long)row, dtype_info(rule->type)->name,
			       dtype_info(rule->type)->block);
	while (*type != DT_NONE && row % dtype_info(*type)->block != 0)
		*type = shorter_blocks(*type);
	note(&f->fallen[rule->type], t);
	return OK;
}

static enum status check_requantize(const struct source_layout *l, struct plan_tensor *t, enum dtype type,
				    struct findings *f, struct err *e)
{
	if (l->kind != SOURCE_PLAIN || !is_block(l->type))
		return OK;
	if (!codec_can_decode(l->type))
		return err_set(e, ERR_UNSUPPORTED, "tensor %s: %s cannot be read by this version, only copied; leave it "
			       "as it is with --tensor-type REGEX=KEEP", t->want.name, dtype_info(l->type)->name);
	if (!transfer_is_exact(l, type))
		note(&f->requantized, t);
	return OK;
}

static enum status choose_type(const struct plan *p, struct plan_tensor *t, const struct recipe *recipe,
			       struct findings *f, struct err *e)
{
	const struct source_layout *l = layout_of(p, t);
	const struct rule *rule = recipe_match(recipe, t->want.name, is_fp4(l) ? SOURCE_FP4 : t->source_kind);
	enum dtype keep = lossless_type(p, t), type;

	t->type = keep;
	if (!rule || rule->type == DT_NONE || rule->type == keep)
		return OK;
	if (t->class != CLASS_MATRIX && t->class != CLASS_EXPERTS) {
		if (t->class == CLASS_ROUTER && rule->type == DT_F32)
			t->type = DT_F32;
		else if (rule->user)
			note(&f->kept, t);
		return OK;
	}
	if (fit_rows(t, rule, l->cols, f, &type, e) != OK)
		return e->status;
	if (type == DT_NONE || type == keep)
		return OK;
	if (check_requantize(l, t, type, f, e) != OK)
		return e->status;
	t->type = type;
	return OK;
}

static enum status size_tensor(struct plan_tensor *t, struct err *e)
{
	uint64_t rows = 1, row = t->want.shape[t->want.n_dims - 1];

	for (unsigned d = 0; d + 1 < t->want.n_dims; d++)
		if (!u64_mul(rows, t->want.shape[d], &rows))
			return err_set(e, ERR_FORMAT, "tensor %s: too large", t->want.name);
	if (!dtype_bytes(t->type, rows, row, &t->bytes))
		return err_set(e, ERR_UNSUPPORTED, "tensor %s: rows of %llu elements do not divide into blocks of "
			       "%s", t->want.name, (unsigned long long)row, dtype_info(t->type)->name);
	return OK;
}

/* What the choice costs, now that sizes are known. */
static void weigh(struct findings *f, const struct plan *p, struct plan_tensor *t,
		  const struct recipe *recipe)
{
	const struct source_layout *l = layout_of(p, t);
	const struct rule *rule;
	double times = (double)t->bytes / (double)t->source_bytes;

	if (transfer_is_exact(l, t->type)) {
		if (times <= 1 || t->type == lossless_type(p, t))
			return;
		rule = recipe_match(recipe, t->want.name, is_fp4(l) ? SOURCE_FP4 : t->source_kind);
		if (rule && rule->user)
			note(&f->larger, t);
		return;
	}
	if (is_fp4(l)) {
		t->fp4 = t->measured = true;
		note(&f->fp4, t);
		f->fp4_before += t->source_bytes;
		f->fp4_after += t->bytes;
	}
	if (times < 1)
		return;
	if (f->wasteful.n++ == 0 || times > f->times) {
		f->wasteful.first = t;
		f->times = times;
	}
}

static void say_fallen(const struct findings *f, struct log *notes)
{
	for (int type = 0; type < DT_COUNT; type++) {
		const struct group *g = &f->fallen[type];

		if (g->n)
			log_add(notes, "%zu tensors have rows that do not divide into %s's blocks of %u: %s (rows of %llu) "
				"becomes %s", g->n, dtype_info((enum dtype)type)->name,
				dtype_info((enum dtype)type)->block, g->first->want.name,
				(unsigned long long)g->first->want.shape[g->first->want.n_dims - 1],
				dtype_info(g->first->type)->name);
	}
}

static void say(const struct findings *f, struct log *notes)
{
	if (f->kept.n)
		log_add(notes, "%zu tensors that a rule names keep their type, because they steer the model "
			"(routers, norms, hyper-connections, tables): %s is the first", f->kept.n,
			f->kept.first->want.name);
	say_fallen(f, notes);
	if (f->larger.n)
		log_add(notes, "%zu tensors become larger than their source, with the same values: %s as %s is the first",
			f->larger.n, f->larger.first->want.name, dtype_info(f->larger.first->type)->name);
	if (f->wasteful.n)
		log_add(notes, "%zu tensors become no smaller than their source and less exact: %s as %s takes %.2f "
			"times its bytes", f->wasteful.n, f->wasteful.first->want.name,
			dtype_info(f->wasteful.first->type)->name, f->times);
	if (f->fp4.n)
		log_add(notes, "%zu tensors of FP4 weights are encoded anew and lose their exact values: %llu bytes "
			"become %llu; %s as %s is the first; KEEP holds them as MXFP4 without loss", f->fp4.n,
			(unsigned long long)f->fp4_before, (unsigned long long)f->fp4_after,
			f->fp4.first->want.name, dtype_info(f->fp4.first->type)->name);
}

enum status plan_choose_types(struct plan *p, struct plan_output *out, const struct plan_options *o,
			      struct log *notes, struct err *e)
{
	struct findings f = { 0 };

	for (size_t i = 0; i < out->n_tensors; i++) {
		struct plan_tensor *t = &out->tensors[i];

		if (choose_type(p, t, o->recipe, &f, e) != OK || size_tensor(t, e) != OK)
			return e->status;
		t->fp4 = false;
		t->measured = o->measure && ledger_can_read(p, t);
		t->encoded = is_block(t->type) && !transfer_is_exact(layout_of(p, t), t->type);
		weigh(&f, p, t, o->recipe);
	}
	if (f.requantized.n && !o->allow_requantize)
		return err_set(e, ERR_USAGE, "tensor %s: is already quantized, as %s (and so are %zu others), and %s would "
			       "add its error to that; start from the original, or give --allow-requantize",
			       f.requantized.first->want.name, dtype_info(f.requantized.first->source_type)->name,
			       f.requantized.n - 1, dtype_info(f.requantized.first->type)->name);
	say(&f, notes);
	return OK;
}

enum status plan_size(const struct plan *p, size_t number, const struct recipe *r, uint64_t *bytes,
		      struct err *e)
{
	const struct plan_output *out = &p->out[number];
	struct findings ignored = { 0 };
	enum status st = OK;

	*bytes = out->header.len;
	for (size_t i = 0; i < out->n_tensors && st == OK; i++) {
		struct plan_tensor t = out->tensors[i];
		uint64_t padded;

		st = choose_type(p, &t, r, &ignored, e);
		if (st == OK)
			st = size_tensor(&t, e);
		if (st == OK && (!u64_round_up(t.bytes, out->header.alignment, &padded) ||
				 !u64_add(*bytes, padded, bytes)))
			st = err_set(e, ERR_FORMAT, "tensor %s: too large", t.want.name);
	}
	return st;
}
