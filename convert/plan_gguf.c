/* SPDX-License-Identifier: MIT
 *
 * plan_gguf.c - the plan for a GGUF that becomes another: the same tensors in the same order.
 *
 * What may take another type is told by name and shape alone, because the architecture may be any.
 * For deepseek4 the table of names.c knows; else the weight of a product is a two-dimensional tensor,
 * or a stack of them, called *.weight, and no part of its name says that it steers.
 */
#include "convert/plan.h"

#include <string.h>

static bool contains(struct str s, const char *part)
{
	size_t n = strlen(part);

	for (size_t i = 0; i + n <= s.n; i++)
		if (memcmp(s.p + i, part, n) == 0)
			return true;
	return false;
}

/* Tensors of two and three dimensions that graphs use as they are, or that are small and do harm when
 * coarse: norms a head, positions and token types, convolutions, gates and decays of recurrent layers,
 * relative attention, hyper-connections, code books. */
static bool steers(struct str name)
{
	static const char *const parts[] = {
		"norm", "tid2eid", "hc_attn", "hc_ffn", "output_hc", "altup", "laurel", "per_layer_model_proj",
		"position_embd", "pos_embd", "token_types", "rel_pos", "attn_rel_b", "patch_embd", "patch_merger",
		"ssm_conv1d", "shortconv.conv", "time_mix_first", "time_mix_w0", "time_mix_w1", "time_mix_w2",
		"time_mix_v0", "time_mix_v1", "time_mix_v2", "time_mix_a0", "time_mix_a1", "time_mix_a2",
		"time_mix_g1", "time_mix_g2", "time_mix_decay", "time_mix_lerp", "indexer.k_proj",
		"indexer.q_proj", "sam.neck", "sam.net_", "codebook", "code_embd",
	};

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (contains(name, parts[i]))
			return true;
	return false;
}

static bool is_weight(struct str name)
{
	static const char suffix[] = ".weight";
	size_t n = sizeof suffix - 1;

	return name.n > n && memcmp(name.p + name.n - n, suffix, n) == 0;
}

static bool is_number(enum dtype t)
{
	return t == DT_F32 || t == DT_F16 || t == DT_BF16 || dtype_info(t)->block > 1;
}

static enum role_class class_of(const struct gguf_tensor *t)
{
	if (!is_number(t->dtype) || t->n_dims < 2 || t->n_dims > 3 || !is_weight(t->name))
		return CLASS_SMALL;
	if (contains(t->name, "ffn_gate_inp"))
		return CLASS_ROUTER;
	if (steers(t->name))
		return CLASS_SMALL;
	return t->n_dims == 3 ? CLASS_EXPERTS : CLASS_MATRIX;
}

static void describe(struct plan_tensor *t, const struct gguf_tensor *from, bool deepseek, bool has_ids)
{
	struct want *w = &t->want;

	*t = (struct plan_tensor){ .want = { .role = ROLE_COUNT, .layer = LAYER_NONE, .n_dims = from->n_dims },
				   .class = class_of(from), .parts = 1, .source_kind = SOURCE_PLAIN,
				   .source_type = from->dtype, .source_bytes = from->bytes };
	memcpy(w->name, from->name.p, from->name.n);
	memcpy(w->shape, from->shape, from->n_dims * sizeof *w->shape);
	if (deepseek)
		w->role = role_by_name(from->name, &w->layer);
	if (w->role == ROLE_COUNT)
		return;
	t->class = role_class(w->role);
	if (t->class == CLASS_IDS && (from->dtype != DT_I32 || !has_ids))
		t->class = CLASS_SMALL;		/* cannot be checked as ids: copied as it is */
}

/* One source matrix and one feed for each matrix of tensor `index`. */
static enum status bind(struct plan *p, struct plan_tensor *t, const struct st_tensor *from, uint32_t index, struct err *e)
{
	unsigned d = t->want.n_dims;
	uint64_t n = d > 2 ? t->want.shape[0] : 1, rows = 1, bytes = from->bytes / n;

	for (unsigned k = d > 2 ? 1 : 0; k + 1 < d; k++)
		rows *= t->want.shape[k];	/* the product of all was checked */
	t->first_matrix = p->n_matrices;
	for (uint64_t m = 0; m < n; m++) {
		struct source_matrix *s = plan_add_matrix(p, e);
		struct feed f = { .off = from->off + m * bytes, .bytes = bytes, .tensor = index, .matrix = m };

		if (!s)
			return e->status;
		*s = (struct source_matrix){ .weight = from, .weight_off = m * bytes,
					     .l = { .kind = SOURCE_PLAIN, .type = from->dtype, .rows = rows,
						    .cols = t->want.shape[d - 1] } };
		if (plan_add_feed(p, from, f, e) != OK)
			return e->status;
	}
	return OK;
}

enum status plan_build_gguf(struct plan *p, const struct gguf_source *s, const struct plan_options *o,
			    struct log *notes, struct err *e)
{
	const struct gguf *g = &s->set.gguf;
	struct plan_output *out;
	uint64_t n_expert = 0;
	size_t first = 0;		/* of the file that tensor i is in */
	struct str arch;
	bool deepseek, has_ids;
	enum status st;

	TRY(plan_prepare(p, &s->ckpt, e));
	p->gguf = s;
	out = &p->out[0];
	deepseek = gguf_str(g, "general.architecture", &arch) && str_is(arch, "deepseek4");
	has_ids = gguf_u64(g, "deepseek4.expert_count", &n_expert) && n_expert > 0 && n_expert <= UINT32_MAX;
	p->arch.n_expert = has_ids ? (uint32_t)n_expert : 0;
	out->tensors = mem_new(g->n_tensors, sizeof *out->tensors, "the plan", e);
	if (!out->tensors) {
		st = e->status;
		goto out;
	}
	for (size_t i = 0; i < g->n_tensors; i++) {
		describe(&out->tensors[i], &g->tensors[i], deepseek, has_ids);
		out->n_tensors++;
		if (i > 0 && g->tensors[i].file != g->tensors[i - 1].file)
			first = i;
		TRY(bind(p, &out->tensors[i], &s->ckpt.headers[g->tensors[i].file].tensors[i - first], (uint32_t)i, e));
	}
	TRY(plan_finish(p, NULL, o, notes, e));
out:
	return st;
}
