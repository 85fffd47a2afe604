/* SPDX-License-Identifier: MIT
 *
 * target.c - a plan's types for a file of a given size.
 *
 * Every matrix that is free is measured in every type it could have; choose.c picks. What a tensor adds to
 * the file is counted to the byte, its digests and its line of the recipe included, but for the
 * padding of the header: a file that comes out over the size is chosen again with that much less.
 */
#include "convert/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/plan.h"

/* What is tried beside the type that loses nothing. */
static const enum dtype tried[] = { DT_Q8_0, DT_Q6_K, DT_Q5_K, DT_Q4_1, DT_Q4_K, DT_Q4_0, DT_IQ4_NL, DT_IQ4_XS,
				    DT_NVFP4, DT_MXFP4 };
enum { N_TRIED = sizeof tried / sizeof *tried, OPTIONS = N_TRIED + 1 };

struct fit {
	struct target *t;
	struct plan *p;
	const struct vocab *v;
	const struct plan_options *o;
	size_t *tensor;			/* owned; n_free numbers in the first output */
	struct choice_item *items;	/* owned; one each */
	struct choice *options;		/* owned; OPTIONS each */
	struct plan_options chosen;	/* o with t->recipe */
	uint64_t others;		/* bytes of the file that no choice changes */
};

/* ---- what an error costs -------------------------------------------------------------------------*/

/* KL divergence for a squared relative error of 1 of one tensor of the role, where an expert tensor's
 * is 1: measured on the trained sample, to a factor of two (docs/quantization.md). */
static double sensitivity(const struct plan_tensor *t)
{
	switch (t->want.role) {
	case ROLE_OUTPUT: return 256;
	case ROLE_EMBED: return 128;
	case ROLE_ATTN_KV: return 16;
	case ROLE_ATTN_OUTPUT_A: case ROLE_ATTN_OUTPUT_B: return 8;
	case ROLE_ATTN_Q_A: case ROLE_ATTN_Q_B: return 2;
	case ROLE_GATE_SHEXP: case ROLE_UP_SHEXP: case ROLE_DOWN_SHEXP: return 0.5;
	case ROLE_COMP_KV: case ROLE_COMP_GATE: return 0.125;
	case ROLE_IDX_Q_B: case ROLE_IDX_PROJ: case ROLE_IDX_COMP_KV: case ROLE_IDX_COMP_GATE: return 0.03125;
	default: break;
	}
	/* other architectures: what is measured here carries over to the two ends at most */
	if (strcmp(t->want.name, "output.weight") == 0)
		return 256;
	return strcmp(t->want.name, "token_embd.weight") == 0 ? 128 : 1;
}

/* ---- which tensors, which types ------------------------------------------------------------------*/

static bool is_free(const struct fit *f, const struct plan_tensor *t)
{
	const struct source_layout *l = &f->p->matrices[t->first_matrix].l;
	bool fp4 = l->kind == SOURCE_FP4 || (l->kind == SOURCE_PLAIN && l->type == DT_MXFP4);
	bool blocks = l->kind == SOURCE_PLAIN && dtype_info(l->type)->block > 1;
	const struct rule *rule = recipe_match(f->o->recipe, t->want.name, fp4 ? SOURCE_FP4 : t->source_kind);

	if ((t->class != CLASS_MATRIX && t->class != CLASS_EXPERTS) || fp4 || (rule && rule->user))
		return false;
	return !blocks || (f->o->allow_requantize && codec_can_decode(l->type));
}

static bool padded_bytes(const struct plan_tensor *t, enum dtype type, uint64_t *bytes)
{
	uint64_t rows = 1;

	for (unsigned d = 0; d + 1 < t->want.n_dims; d++)
		rows *= t->want.shape[d];	/* the plan has checked it */
	return dtype_bytes(type, rows, t->want.shape[t->want.n_dims - 1], bytes) && u64_round_up(*bytes, 32, bytes);
}

/* What the tensor adds to the file in that type; DT_NONE: as it is. */
static uint64_t cost(const struct plan_tensor *t, enum dtype type)
{
	uint64_t bytes = 0;
	struct seal_layout chunks;

	if (!padded_bytes(t, type == DT_NONE ? t->type : type, &bytes))
		return UINT64_MAX;
	chunks = seal_layout(t->want.shape, t->want.n_dims, bytes, SEAL_CHUNK_BYTES);
	return bytes + chunks.n_chunks * SHA256_BYTES + strlen(type == DT_NONE ? "KEEP" : dtype_info(type)->name);
}

/* The types that rows divide into and that are smaller than the tensor as it is. */
static size_t types_for(const struct fit *f, const struct plan_tensor *t, enum dtype *types)
{
	uint64_t row = f->p->matrices[t->first_matrix].l.cols, keep, bytes;
	size_t n = 0;

	if (!padded_bytes(t, t->type, &keep))
		return 0;
	for (size_t k = 0; k < N_TRIED; k++)
		if (row % dtype_info(tried[k])->block == 0 && padded_bytes(t, tried[k], &bytes) && bytes < keep)
			types[n++] = tried[k];
	return n;
}

static enum status list_free(struct fit *f, struct err *e)
{
	const struct plan_output *out = &f->p->out[0];

	f->tensor = mem_new(out->n_tensors, sizeof *f->tensor, "the choice of types", e);
	f->items = mem_new(out->n_tensors, sizeof *f->items, "the choice of types", e);
	f->options = mem_new(out->n_tensors, OPTIONS * sizeof *f->options, "the choice of types", e);
	if (!f->tensor || !f->items || !f->options)
		return e->status;
	for (size_t i = 0; i < out->n_tensors; i++)
		if (is_free(f, &out->tensors[i]))
			f->tensor[f->t->n_free++] = i;
	return OK;
}

/* Measures all types of all free tensors and makes them options. */
static enum status measure(struct fit *f, const struct measure_options *m, struct err *e)
{
	size_t n = f->t->n_free;
	struct measure_job *jobs = mem_new(n, sizeof *jobs, "the choice of types", e);
	struct measured *out = mem_new(n, N_TRIED * sizeof *out, "the choice of types", e);
	enum dtype *types = mem_new(n, N_TRIED * sizeof *types, "the choice of types", e);	/* (n, N_TRIED) */
	enum status st = jobs && out && types ? OK : e->status;

	for (size_t i = 0; i < n && st == OK; i++) {
		const struct plan_tensor *t = &f->p->out[0].tensors[f->tensor[i]];

		jobs[i] = (struct measure_job){ t, types + i * N_TRIED, types_for(f, t, types + i * N_TRIED),
						out + i * N_TRIED };
	}
	if (st == OK)
		st = measure_run(f->p, jobs, n, m, e);
	for (size_t i = 0; i < n && st == OK; i++) {
		struct choice_item *it = &f->items[i];

		it->options = f->options + i * OPTIONS;
		it->options[it->n++] = (struct choice){ DT_NONE, cost(jobs[i].tensor, DT_NONE), 0 };
		for (size_t k = 0; k < jobs[i].n_types; k++) {
			double r = measured_relative(&jobs[i].out[k]);

			it->options[it->n++] = (struct choice){ jobs[i].types[k], cost(jobs[i].tensor, jobs[i].types[k]),
								sensitivity(jobs[i].tensor) * r * r };
		}
	}
	free(jobs);
	free(out);
	free(types);
	return st;
}

/* ---- the recipe ----------------------------------------------------------------------------------*/

/* "^NAME$=TYPE"; what is special in an expression, or in a file of them, is any character. */
static enum status add_line(struct recipe *r, const char *name, enum dtype type, struct err *e)
{
	char line[3 * GGUF_MAX_NAME + 40];
	size_t n = 0;

	line[n++] = '^';
	for (; *name; name++) {
		bool plain = (*name >= '0' && *name <= '9') || (*name >= 'a' && *name <= 'z') ||
			     (*name >= 'A' && *name <= 'Z') || *name == '_' || *name == '-';

		if (*name == '.')
			line[n++] = '\\';
		line[n++] = plain ? *name : '.';
	}
	snprintf(line + n, sizeof line - n, "$=%s", type == DT_NONE ? "KEEP" : dtype_info(type)->name);
	return recipe_add(r, line, false, "--target-size", e);
}

static enum status make_recipe(struct fit *f, struct err *e)
{
	struct recipe *r = &f->t->recipe;
	enum status st = OK;

	recipe_close(r);
	for (size_t i = 0; i < f->o->recipe->n; i++)
		if (f->o->recipe->rules[i].user)
			TRY(recipe_add(r, f->o->recipe->rules[i].text, true, "--tensor-type", e));
	for (size_t i = 0; i < f->t->n_free; i++)
		TRY(add_line(r, f->p->out[0].tensors[f->tensor[i]].want.name,
			     f->items[i].options[f->items[i].chosen].type, e));
	if (f->p->n_outputs > 1) {
		TRY(recipe_add(r, "@fp4:.*=KEEP", false, "--target-size", e));
		TRY(recipe_add(r, ".*=Q8_0|KEEP", false, "--target-size", e));
	} else {
		TRY(recipe_add(r, ".*=KEEP", false, "--target-size", e));
	}
out:
	return st;
}

/* Lays the plan out with what is chosen. */
static enum status apply(struct fit *f, struct err *e)
{
	enum status st;

	TRY(make_recipe(f, e));
	f->chosen = *f->o;
	f->chosen.recipe = &f->t->recipe;
	TRY(plan_retype(f->p, f->v, &f->chosen, NULL, e));
	f->t->loss = 0;
	for (size_t i = 0; i < f->t->n_free; i++)
		f->t->loss += f->items[i].options[f->items[i].chosen].loss;
out:
	return st;
}

static uint64_t chosen_bytes(const struct fit *f)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < f->t->n_free; i++)
		bytes += f->items[i].options[f->items[i].chosen].bytes;
	return bytes;
}

/* The smallest file: says what everything else takes. */
static enum status apply_least(struct fit *f, uint64_t size, struct err *e)
{
	bool fits;
	enum status st;

	TRY(target_choose(f->items, f->t->n_free, 0, &fits, e));
	TRY(apply(f, e));
	f->t->least = f->p->out[0].file_size;
	f->others = f->t->least - chosen_bytes(f);
	if (f->t->least > size)
		st = err_set(e, ERR_USAGE, "--target-size %llu: the smallest file has %llu bytes, with every tensor that is "
			     "free in its smallest type; FP4 weights are in theirs, MXFP4 of 4.25 bits, from the start, "
			     "and this version writes nothing smaller", (unsigned long long)size,
			     (unsigned long long)f->t->least);
out:
	return st;
}

/* The header is padded, so a file may come out some bytes over what was counted. */
static enum status apply_best(struct fit *f, uint64_t size, struct err *e)
{
	uint64_t budget = size - f->others;
	bool fits = true;
	enum status st = OK;

	for (;;) {
		TRY(target_choose(f->items, f->t->n_free, budget, &fits, e));
		TRY(apply(f, e));
		if (f->p->out[0].file_size <= size || !fits)
			break;
		budget -= u64_min(budget, f->p->out[0].file_size - size);
	}
out:
	return st;
}

enum status target_fit(struct target *t, struct plan *p, uint64_t size, const struct vocab *v,
		       const struct plan_options *o, const struct measure_options *m, struct log *notes,
		       struct err *e)
{
	struct fit f = { .t = t, .p = p, .v = v, .o = o };
	enum status st;

	*t = (struct target){ 0 };
	TRY(list_free(&f, e));
	TRY(measure(&f, m, e));
	TRY(apply_least(&f, size, e));
	TRY(apply_best(&f, size, e));
	if (p->importance)
		TRY(plan_importance(p, notes, e));
out:
	free(f.tensor);
	free(f.items);
	free(f.options);
	return st;
}

void target_close(struct target *t)
{
	recipe_close(&t->recipe);
	*t = (struct target){ 0 };
}
