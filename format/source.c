/* SPDX-License-Identifier: MIT
 *
 * source.c - where a tensor of the model lies in a checkpoint.
 *
 * Names come from the table in names.c, kind and block size from the tensors that are really
 * there: an FP8 or FP4 weight needs a scale tensor beside it (in any shard), whose shape decides
 * the block; config.json's weight_block_size only breaks the tie. One-byte integers are FP4 pairs,
 * never FP8. Nothing is guessed in silence: what does not fit becomes a line of problems.
 */
#include "format/names.h"

#include <stdio.h>
#include <string.h>

enum naming naming_of(const struct checkpoint *c)
{
	return checkpoint_find(c, "model.embed_tokens.weight") ? NAMING_TRANSFORMERS : NAMING_DEEPSEEK;
}

bool source_is_mtp(const struct st_tensor *t)
{
	return strncmp(t->name, "mtp.", 4) == 0;
}

bool source_has_draft(const struct checkpoint *c)
{
	for (size_t i = 0; i < c->n_tensors; i++) {
		const struct st_tensor *t = c->by_name[i];

		if (source_is_mtp(t) && (strstr(t->name, ".markov_head.") || strstr(t->name, ".main_proj.")))
			return true;
	}
	return false;
}

bool source_can_hold(const struct checkpoint *c, const struct arch *a)
{
	return 3ull * a->n_expert * a->n_layer / 8 <= c->n_tensors ||
	       checkpoint_find(c, "model.layers.0.mlp.experts.gate_up_proj");
}

unsigned want_parts(const struct want *w)
{
	return w->role == ROLE_MTP_EH_PROJ ? 2 : 1;
}

/* Alternative number alt of a "A|B" list into out, with %e replaced; false if there is none. */
static bool alternative(const char *list, unsigned alt, uint64_t expert, char *out, size_t cap,
			bool *per_expert)
{
	const char *p = list, *end;
	size_t n;

	for (; alt > 0; alt--) {
		p = strchr(p, '|');
		if (!p)
			return false;
		p++;
	}
	end = strchr(p, '|');
	n = end ? (size_t)(end - p) : strlen(p);
	const char *mark = strstr(p, "%e");
	*per_expert = mark && mark < p + n;
	if (*per_expert)
		snprintf(out, cap, "%.*s%llu%.*s", (int)(mark - p), p, (unsigned long long)expert,
			 (int)(p + n - mark - 2), mark + 2);
	else
		snprintf(out, cap, "%.*s", (int)n, p);
	return true;
}

static void prefix_of(const struct want *w, enum naming naming, char *out, size_t cap)
{
	bool own_head = w->role == ROLE_OUTPUT_HC_FN || w->role == ROLE_OUTPUT_HC_BASE ||
			w->role == ROLE_OUTPUT_HC_SCALE;

	if (w->mtp && (w->layer != LAYER_NONE || own_head))
		snprintf(out, cap, "mtp.0.");
	else if (w->layer == LAYER_NONE)
		out[0] = 0;
	else
		snprintf(out, cap, naming == NAMING_DEEPSEEK ? "layers.%u." : "model.layers.%u.", w->layer);
}

struct lookup { char name[256]; bool stacked; const struct st_tensor *t; };

/* Tries each name the weight may have; name is left at the first one for the message. */
static struct lookup find_weight(const struct checkpoint *c, const struct want *w, uint64_t expert,
				 unsigned part)
{
	const struct row *row = &name_table[w->role];
	enum naming naming = naming_of(c);
	const char *list = naming == NAMING_DEEPSEEK ? row->deepseek : row->transformers;
	struct lookup first = { "?", false, NULL }, l;
	char prefix[64], base[160];
	bool per_expert;

	prefix_of(w, naming, prefix, sizeof prefix);
	for (unsigned alt = want_parts(w) > 1 ? part : 0; list; alt++) {
		if (!alternative(list, alt, expert, base, sizeof base, &per_expert))
			break;
		snprintf(l.name, sizeof l.name, "%s%s", prefix, base);
		l.stacked = row->class == CLASS_EXPERTS && !per_expert;
		l.t = checkpoint_find(c, l.name);
		if (l.t)
			return l;
		if (!first.name[1])
			first = l;
		if (want_parts(w) > 1)
			break;
	}
	return first;
}

static const struct st_tensor *find_scale(const struct checkpoint *c, const char *weight)
{
	static const char *const after_weight[] = { ".scale", ".weight_scale_inv", ".weight_scale" };
	static const char *const after_stack[] = { "_scale_inv", "_scale", ".scale" };
	static const char suffix[] = ".weight";
	size_t n = strlen(weight), k = sizeof suffix - 1;
	bool dotted = n > k && strcmp(weight + n - k, suffix) == 0;
	char name[300];

	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof name, "%.*s%s", (int)(dotted ? n - k : n), weight,
			 dotted ? after_weight[i] : after_stack[i]);
		const struct st_tensor *t = checkpoint_find(c, name);
		if (t)
			return t;
	}
	return NULL;
}

static void shape_text(char *out, size_t cap, const uint64_t *shape, unsigned n)
{
	size_t o = 0;

	out[0] = 0;
	for (unsigned i = 0; i < n && o < cap; i++)
		o += (size_t)snprintf(out + o, cap - o, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
}

static bool shape_is(const struct st_tensor *t, const uint64_t *shape, unsigned n)
{
	return t->n_dims == n && memcmp(t->shape, shape, n * sizeof *shape) == 0;
}

static void bad_shape(struct log *problems, const struct st_tensor *t, const uint64_t *want, unsigned n,
		      const char *gguf)
{
	char have[200], expected[200];

	shape_text(have, sizeof have, t->shape, t->n_dims);
	shape_text(expected, sizeof expected, want, n);
	log_add(problems, "mis-shaped tensor %s: %s [%s], expected [%s] (for %s)", t->name,
		dtype_info(t->dtype)->name, have, expected, gguf);
}

static bool plain_type_fits(enum dtype t, enum role_class class)
{
	if (class == CLASS_IDS)
		return t == DT_I64 || t == DT_I32;
	return t == DT_BF16 || t == DT_F16 || t == DT_F32;
}

/* What the weight's type says it is; false if no such tensor can have that type. */
static bool kind_of(const struct st_tensor *t, enum role_class class, enum source_kind *kind)
{
	bool product = class == CLASS_MATRIX || class == CLASS_EXPERTS;

	if (product && t->dtype == DT_F8_E4M3)
		*kind = SOURCE_FP8;
	else if (product && (t->dtype == DT_I8 || t->dtype == DT_U8 || t->dtype == DT_F4))
		*kind = SOURCE_FP4;
	else if (plain_type_fits(t->dtype, class))
		*kind = SOURCE_PLAIN;
	else
		return false;
	return true;
}

/* Does the block br x bc make rows x cols into a grid of sr x sc scales? */
static bool fitting_block(uint64_t rows, uint64_t cols, uint64_t sr, uint64_t sc, uint64_t br,
			      uint64_t bc)
{
	return br && bc && u64_div_up(rows, br) == sr && u64_div_up(cols, bc) == sc;
}

static bool find_block(struct source_layout *l, const struct arch *a, uint64_t stack_rows, uint64_t sr,
		       uint64_t sc)
{
	const uint64_t tries[3][2] = { { a->fp8_block_rows, a->fp8_block_cols }, { 128, 128 }, { 32, 32 } };

	if (l->kind == SOURCE_FP4) {
		l->block_rows = 1;
		l->block_cols = sc ? l->cols / sc : 0;
		return sr == stack_rows && sc && l->cols % sc == 0 && l->block_cols % 2 == 0;
	}
	for (int i = 0; i < 3; i++)
		if (fitting_block(stack_rows, l->cols, sr, sc, tries[i][0], tries[i][1])) {
			l->block_rows = tries[i][0];
			l->block_cols = tries[i][1];
			return true;
		}
	return false;
}

/* stack_rows: rows of one expert in the tensor, which may hold gate and up; row0: where ours begin. */
static bool bind_scale(struct source_matrix *m, const struct lookup *l, const struct checkpoint *c,
		       const struct arch *a, uint64_t stack_rows, uint64_t row0, uint64_t matrix,
		       struct log *problems)
{
	const struct st_tensor *s = find_scale(c, l->name);
	unsigned d = l->stacked ? 1 : 0;
	char have[200];

	if (!s) {
		log_add(problems, "missing tensor: the scale of %s (%s needs one, beside it or in any shard)",
			l->name, dtype_info(l->t->dtype)->name);
		return false;
	}
	shape_text(have, sizeof have, s->shape, s->n_dims);
	if (s->dtype != DT_F8_E8M0 && !(s->dtype == DT_F32 && m->l.kind == SOURCE_FP8)) {
		log_add(problems, "tensor %s: scale of type %s; F8_E8M0%s is known", s->name,
			dtype_info(s->dtype)->name, m->l.kind == SOURCE_FP8 ? " or F32" : "");
		return false;
	}
	if (s->n_dims != d + 2 || (d && s->shape[0] != l->t->shape[0]) ||
	    !find_block(&m->l, a, stack_rows, s->shape[d], s->shape[d + 1]) || row0 % m->l.block_rows) {
		log_add(problems, "mis-shaped tensor %s: scale [%s] fits no known block (config %ux%u, 128x128, "
			"32x32; FP4: one a row and equal runs of columns) of %s", s->name, have,
			a->fp8_block_rows, a->fp8_block_cols, l->name);
		return false;
	}
	m->scale = s;
	m->l.scale_type = s->dtype;
	m->l.scale_cols = s->shape[d + 1];
	m->scale_off = ((d ? matrix * s->shape[1] : 0) + row0 / m->l.block_rows) * m->l.scale_cols *
		       dtype_info(s->dtype)->bytes;
	return true;
}

void source_bind(struct source_matrix *m, bool *found, const struct checkpoint *c, const struct arch *a,
		 const struct want *w, uint64_t matrix, unsigned part, struct log *problems)
{
	enum role_class class = role_class(w->role);
	struct lookup l = find_weight(c, w, matrix, part);
	uint64_t rows = w->shape[w->n_dims > 1 ? w->n_dims - 2 : 0], stack_rows = rows, row0 = 0, b1;
	uint64_t cols = w->n_dims > 1 ? w->shape[w->n_dims - 1] / want_parts(w) : 1;
	uint64_t shape[3], packed;
	unsigned d = 0;

	*found = false;
	*m = (struct source_matrix){ .weight = l.t, .l = { .rows = rows, .cols = cols } };
	if (!l.t) {
		log_add(problems, "missing tensor: %s (for %s)", l.name, w->name);
		return;
	}
	if (!kind_of(l.t, class, &m->l.kind)) {
		log_add(problems, "tensor %s: type %s is not known for it (for %s)", l.name,
			dtype_info(l.t->dtype)->name, w->name);
		return;
	}
	m->l.type = l.t->dtype;
	if (l.stacked) {
		bool up = w->role == ROLE_UP_EXPS;
		shape[d++] = a->n_expert;
		if (up || w->role == ROLE_GATE_EXPS)
			stack_rows = 2 * rows;
		row0 = up ? rows : 0;
	}
	packed = m->l.kind == SOURCE_FP4 && l.t->dtype != DT_F4 ? 2 : 1;
	shape[d++] = stack_rows;
	if (w->n_dims > 1)
		shape[d++] = cols / packed;
	if (!shape_is(l.t, shape, d) || cols % packed) {
		bad_shape(problems, l.t, shape, d, w->name);
		return;
	}
	if (m->l.kind != SOURCE_PLAIN &&
	    !bind_scale(m, &l, c, a, stack_rows, row0, l.stacked ? matrix : 0, problems))
		return;
	source_weight_range(&m->l, 0, ((l.stacked ? matrix * stack_rows : 0) + row0) * cols, &m->weight_off, &b1);
	m->weight_off = b1;
	*found = true;
}

void source_weight_range(const struct source_layout *l, uint64_t e0, uint64_t e1, uint64_t *b0, uint64_t *b1)
{
	const struct dtype_info *info = dtype_info(l->type);

	if (l->kind == SOURCE_FP4) {
		*b0 = e0 / 2;
		*b1 = u64_div_up(e1, 2);
	} else {
		*b0 = e0 / info->block * info->bytes;
		*b1 = u64_div_up(e1, info->block) * info->bytes;
	}
}

void source_scale_range(const struct source_layout *l, uint64_t e0, uint64_t e1, uint64_t *s0, uint64_t *s1)
{
	uint64_t first_row, last_row, last = e1 - 1;

	*s0 = *s1 = 0;
	if (l->kind == SOURCE_PLAIN || e0 >= e1)
		return;
	first_row = e0 / l->cols / l->block_rows;
	last_row = last / l->cols / l->block_rows;
	*s0 = first_row * l->scale_cols;
	*s1 = (last_row + 1) * l->scale_cols;
	/* one row of scales a row of elements: a run inside a row needs only its part */
	if (l->block_rows == 1) {
		*s0 += e0 % l->cols / l->block_cols;
		*s1 = last_row * l->scale_cols + last % l->cols / l->block_cols + 1;
	}
}
