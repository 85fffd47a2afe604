/* SPDX-License-Identifier: MIT
 *
 * deep_values.c - every number of every tensor: finite, under a finite scale; expert ids that are ids.
 *
 * A tensor is cut as the seal cuts it, in pieces of about 4 MiB that end with a block (a row, in a
 * table of ids) and never cross an expert. A piece keeps its first bad place; lines are written at
 * the end, in file order, so that threads do not show.
 */
#include "verify/deep_pieces.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/quantize.h"

struct values {
	struct deep_report *r;
	const struct gguf *g;
	const struct file *f;		/* (n_files) */
	size_t n_files;
	uint64_t *first;		/* owned: number of each tensor's first piece, and the total */
	struct seal_layout *layouts;	/* owned; no pieces where there is nothing to look at */
	struct seen *seen;		/* owned; one a piece */
	uint64_t n_expert;
	uint64_t done;
};

/* Where the scale and the codes lie in a block of a type that has one scale for equal codes; a scale of
 * zero over codes that differ has lost what they said. */
struct block_parts { uint8_t type, codes, n; };
static const struct block_parts parts[] = {
	{ DT_Q8_0, 2, 32 }, { DT_Q4_0, 2, 16 }, { DT_IQ4_NL, 2, 16 }, { DT_Q4_1, 4, 16 }, { DT_Q5_0, 6, 16 },
	{ DT_Q5_1, 8, 16 },
};

static bool is_integer(enum dtype t) { return t == DT_I8 || t == DT_I16 || t == DT_I32 || t == DT_I64; }

static bool is_ids(const struct values *v, const struct gguf_tensor *t)
{
	uint32_t layer;

	return v->r->model && t->dtype == DT_I32 && t->n_dims == 2 && role_by_name(t->name, &layer) == ROLE_ROUTER_IDS &&
	       4 * t->shape[1] <= VERIFY_BUFFER;
}

/* Bytes that are looked at together: a block, or a row of ids. */
static uint64_t unit_bytes(const struct values *v, const struct gguf_tensor *t)
{
	return is_ids(v, t) ? 4 * t->shape[1] : dtype_info(t->dtype)->bytes;
}

static void look_at_scales(const struct dtype_info *info, const struct block_parts *p, const uint8_t *b, size_t n, uint64_t e0,
			   struct seen *s)
{
	for (size_t i = 0; i < n && !s->is_odd; i += info->block, b += info->bytes) {
		const uint8_t *codes = b + p->codes;

		/* zero or minus zero; codes that are all the same are how a block of zeros looks */
		if (b[0] || (b[1] & 0x7F) || memcmp(codes, codes + 1, p->n - 1u) == 0)
			continue;
		s->is_odd = true;
		s->odd = e0 + i;
	}
}

static void look_at_run(const struct values *v, const struct gguf_tensor *t, const uint8_t *b, uint64_t bytes, uint64_t e0,
			struct seen *s)
{
	const struct dtype_info *info = dtype_info(t->dtype);
	size_t n = (size_t)(bytes / info->bytes * info->block), bad;

	if (is_ids(v, t)) {
		look_at_ids(b, n, 4, (size_t)t->shape[1], v->n_expert, e0, s);
		return;
	}
	bad = t->dtype == DT_F64 ? first_bad_f64(b, n) : codec_first_bad(t->dtype, b, n);
	if (bad < n) {
		s->trouble = NOT_FINITE;
		s->bad = e0 + bad;
	}
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (parts[i].type == t->dtype && !s->is_odd)
			look_at_scales(info, &parts[i], b, n, e0, s);
}

static enum status look(void *arg, uint64_t i, struct verify_worker *w, struct err *e)
{
	struct values *v = arg;
	size_t k = piece_owner(v->first, v->g->n_tensors, i);
	const struct gguf_tensor *t = &v->g->tensors[k];
	const struct dtype_info *info = dtype_info(t->dtype);
	struct seal_chunk piece = seal_chunk(&v->layouts[k], i - v->first[k]);
	uint64_t unit = unit_bytes(v, t), step = VERIFY_BUFFER / unit * unit;

	verify_now(w, t->name);
	for (uint64_t at = 0; at < piece.bytes && v->seen[i].trouble == SOUND; at += step) {
		size_t n = (size_t)u64_min(step, piece.bytes - at);

		if (file_read(&v->f[t->file], w->buf, n, t->off + piece.off + at, e) != OK)
			return e->status;
		look_at_run(v, t, w->buf, n, (piece.off + at) / info->bytes * info->block, &v->seen[i]);
	}
	__atomic_fetch_add(&v->done, piece.bytes, __ATOMIC_RELAXED);
	return OK;
}

/* ---- lines -----------------------------------------------------------------------------------*/

const char *deep_consequence(enum role role)
{
	switch (role) {
	case ROLE_ROUTER: case ROLE_ROUTER_BIAS: return "the choice of experts depends on it";
	case ROLE_GATE_EXPS: case ROLE_UP_EXPS: case ROLE_DOWN_EXPS: return "every token that reaches this expert is lost";
	default: return "it spreads to all that is computed from it";
	}
}

static const char *consequence(const struct values *v, const struct gguf_tensor *t)
{
	uint32_t layer;

	return deep_consequence(v->r->model ? role_by_name(t->name, &layer) : ROLE_COUNT);
}

/* With the bytes of the block that holds the element, and of a set the file that has them. */
static void place(const struct values *v, const struct gguf_tensor *t, uint64_t element, char *buf, size_t cap)
{
	const struct dtype_info *info = dtype_info(t->dtype);
	const char *slash = strrchr(v->f[t->file].path, '/');
	size_t n;

	piece_place(t->name, t->shape, t->n_dims, t->bytes / info->bytes * info->block, element,
		    t->off + element / info->block * info->bytes, info->bytes, buf, cap);
	n = strlen(buf);
	if (v->n_files > 1)
		snprintf(buf + n, cap - n, " of %s", slash ? slash + 1 : v->f[t->file].path);
}

/* The value at element, or of its scale, as text. */
static enum status value_text(const struct values *v, const struct gguf_tensor *t, uint64_t element, char buf[80], struct err *e)
{
	enum { BLOCK = 256 };
	const struct dtype_info *info = dtype_info(t->dtype);
	uint8_t b[1024];
	float x[BLOCK];
	double d;

	if (info->bytes > sizeof b || info->block > BLOCK)
		return err_set(e, ERR_UNSUPPORTED, "a block of %u bytes", info->bytes);
	if (file_read(&v->f[t->file], b, info->bytes, t->off + element / info->block * info->bytes, e) != OK)
		return e->status;
	if (is_integer(t->dtype)) {
		snprintf(buf, 80, "%d", (int)(int32_t)load_le(b, 4));
		return OK;
	}
	if (t->dtype == DT_F64) {
		memcpy(&d, b, 8);
	} else {
		codec_decode(t->dtype, b, info->block, x);
		d = x[element % info->block];
		for (unsigned i = 0; isfinite(d) && i < info->block; i++)	/* zero times an infinite scale is none */
			d = x[i];
	}
	snprintf(buf, 80, "%s%s", isnan(d) ? "NaN" : isinf(d) ? d < 0 ? "-infinite" : "infinite" : "no number",
		 info->block > 1 ? " under the block's scale" : "");
	return OK;
}

static enum status report_bad(const struct values *v, const struct gguf_tensor *t, const struct seen *s, struct err *e)
{
	char where[400], what[80];

	if (s->trouble == SOUND)
		return OK;
	if (value_text(v, t, s->bad, what, e) != OK)
		return e->status;
	place(v, t, s->bad, where, sizeof where);
	piece_bad_line(v->r, (enum trouble)s->trouble, where, what, v->n_expert, consequence(v, t));
	return OK;
}

static enum status report(const struct values *v, struct err *e)
{
	for (size_t k = 0; k < v->g->n_tensors; k++)
		for (uint64_t i = v->first[k]; i < v->first[k + 1]; i++) {
			char where[400];

			if (report_bad(v, &v->g->tensors[k], &v->seen[i], e) != OK)
				return e->status;
			if (!v->seen[i].is_odd)
				continue;
			place(v, &v->g->tensors[k], v->seen[i].odd, where, sizeof where);
			log_add(&v->r->odd, "%s: a scale of zero over codes that differ; what they said is lost", where);
		}
	return OK;
}

static enum status lay_out(struct values *v, struct err *e)
{
	const struct gguf *g = v->g;
	uint64_t n = 0;

	v->first = mem_new(g->n_tensors + 1, sizeof *v->first, "the list of pieces", e);
	v->layouts = mem_new(g->n_tensors, sizeof *v->layouts, "the list of pieces", e);
	if (!v->first || !v->layouts)
		return e->status;
	for (size_t i = 0; i < g->n_tensors; i++) {
		const struct gguf_tensor *t = &g->tensors[i];
		uint64_t unit = unit_bytes(v, t);

		v->first[i] = n;
		if (is_integer(t->dtype) && !is_ids(v, t)) {	/* any value is one */
			v->r->n_tensors++;
			continue;
		}
		if (t->dtype != DT_F64 && !is_ids(v, t) && !codec_can_decode(t->dtype)) {
			v->r->n_unread++;
			log_add(&v->r->odd, "tensor %.*s: values of type %s are not looked at", (int)t->name.n, t->name.p,
				dtype_info(t->dtype)->name);
			continue;
		}
		v->r->n_tensors++;
		v->layouts[i] = seal_layout(t->shape, t->n_dims, t->bytes, SEAL_CHUNK_BYTES / unit * unit);
		v->r->bytes += t->bytes;
		n += v->layouts[i].n_chunks;
	}
	v->first[g->n_tensors] = n;
	v->seen = mem_new((size_t)n, sizeof *v->seen, "the list of pieces", e);
	return v->seen ? OK : e->status;
}

enum status deep_values(struct deep_report *r, const struct gguf_set *s, const struct verify_options *o,
			struct err *e)
{
	const struct gguf *g = &s->gguf;
	struct values v = { .r = r, .g = g, .f = s->files, .n_files = s->n };
	enum status st;

	gguf_u64(g, "deepseek4.expert_count", &v.n_expert);
	v.n_expert = u64_min(v.n_expert, INT32_MAX);
	TRY(lay_out(&v, e));
	TRY(verify_parallel(v.first[g->n_tensors], look, &v, o, &v.done, r->bytes, e));
	st = report(&v, e);
out:
	free(v.first);
	free(v.layouts);
	free(v.seen);
	return st;
}
