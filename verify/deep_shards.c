/* SPDX-License-Identifier: MIT
 *
 * deep_shards.c - every number of a checkpoint, by the type that it is stored in: codes that are no numbers, scales
 * that are none or lose what they scale, expert ids that are none.
 *
 * Nothing is decoded and no scale is brought to its weight: the tensors are read once, in file order, in
 * pieces of 4 MiB. A piece keeps its first bad and its first odd place; lines are written at the end, so that
 * threads do not show.
 */
#include "verify/deep_pieces.h"
#include "verify/deep_source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/quantize.h"

enum { PIECE_BYTES = 4 << 20, MAX_ID_COLUMNS = 1024 };
struct shards {
	struct deep_source *s;
	uint64_t *first;		/* owned; number of each tensor's first piece, and the total */
	struct seen *seen;		/* owned; one a piece */
	uint64_t done;
};

/* One-byte types: a code with these bits is NaN (E5M2: or infinite). */
struct byte_rule { uint8_t type, mask, bits; };
static const struct byte_rule byte_rules[] = {
	{ DT_F8_E4M3, 0x7F, 0x7F }, { DT_F8_E5M2, 0x7C, 0x7C }, { DT_F8_E8M0, 0xFF, 0xFF }, { DT_F8_E4M3FNUZ, 0xFF, 0x80 },
	{ DT_F8_E5M2FNUZ, 0xFF, 0x80 },
};

static const struct byte_rule *byte_rule(enum dtype t)
{
	for (size_t i = 0; i < sizeof byte_rules / sizeof *byte_rules; i++)
		if (byte_rules[i].type == t)
			return &byte_rules[i];
	return NULL;
}

static bool is_float(enum dtype t) { return t == DT_BF16 || t == DT_F16 || t == DT_F32 || t == DT_F64; }

/* Types of which every code is a value. */
static bool is_total(enum dtype t)
{
	switch (t) {
	case DT_I64: case DT_I32: case DT_I16: case DT_I8: case DT_U64: case DT_U32: case DT_U16: case DT_U8: case DT_BOOL:
	case DT_F4: case DT_F6_E2M3: case DT_F6_E3M2: return true;
	default: return false;
	}
}

/* First of n bytes that the rule forbids, or n. */
static size_t first_byte(const struct byte_rule *r, const uint8_t *b, size_t n)
{
	enum { STEP = 256 };
	size_t i = 0;

	for (; i + STEP <= n; i += STEP) {	/* without a way out, so that it is done many at a time */
		uint8_t hit = 0;

		for (size_t k = 0; k < STEP; k++)
			hit |= (uint8_t)((b[i + k] & r->mask) == r->bits);
		if (hit)
			break;
	}
	while (i < n && (b[i] & r->mask) != r->bits)
		i++;
	return i;
}

static float scale_value(enum dtype t, const uint8_t *b)
{
	float x;

	if (t == DT_F8_E8M0)
		return ldexpf(1, *b - 127);
	codec_decode(t, b, 1, &x);
	return x;
}

/* First scale that is zero or negative, or under which the largest code is no float any more; or n. */
static size_t first_odd_scale(const struct stored *k, const uint8_t *b, size_t n)
{
	bool fp8 = k->scale_of == DT_F8_E4M3;
	const float top = 448;			/* F32 scales are of E4M3 only */
	uint8_t limit = fp8 ? 247 : 253;	/* 448 * 2^(247 - 127), 6 * 2^(253 - 127): 2^128 and more */

	for (size_t i = 0; i < n; i++) {
		if (k->t->dtype == DT_F8_E8M0) {
			if (b[i] >= limit)
				return i;
			continue;
		}
		float x = scale_value(k->t->dtype, b + 4 * i);
		if (!(x > 0) || isinf(x * top))
			return i;
	}
	return n;
}

static void look_at_run(const struct shards *v, const struct stored *k, const uint8_t *b, size_t bytes, uint64_t e0,
			struct seen *s)
{
	enum dtype type = k->t->dtype;
	const struct byte_rule *rule = byte_rule(type);
	size_t n = bytes / dtype_info(type)->bytes, bad, odd;

	if (k->ids) {
		look_at_ids(b, n, dtype_info(type)->bytes, (size_t)k->t->shape[1], v->s->arch.n_expert, e0, s);
		return;
	}
	bad = rule ? first_byte(rule, b, n) : type == DT_F64 ? first_bad_f64(b, n) : codec_first_bad(type, b, n);
	if (bad < n) {
		s->trouble = NOT_FINITE;
		s->bad = e0 + bad;
	}
	if (k->scale_of == DT_NONE || s->is_odd)
		return;
	odd = first_odd_scale(k, b, bad);
	if (odd < bad) {
		s->is_odd = true;
		s->odd = e0 + odd;
	}
}

/* Bytes that are looked at together: an element, or a row of ids. */
static uint64_t unit_bytes(const struct stored *k)
{
	return dtype_info(k->t->dtype)->bytes * (k->ids ? k->t->shape[1] : 1);
}

static uint64_t piece_bytes(const struct stored *k)
{
	return PIECE_BYTES / unit_bytes(k) * unit_bytes(k);
}

static enum status look(void *arg, uint64_t i, struct verify_worker *w, struct err *e)
{
	struct shards *v = arg;
	size_t number = piece_owner(v->first, v->s->n_stored, i);
	const struct stored *k = &v->s->stored[number];
	uint64_t from = (i - v->first[number]) * piece_bytes(k), to = u64_min(from + piece_bytes(k), k->t->bytes);
	uint64_t step = VERIFY_BUFFER / unit_bytes(k) * unit_bytes(k);

	verify_now(w, (struct str){ k->t->name, strlen(k->t->name) });
	for (uint64_t at = from; at < to && v->seen[i].trouble == SOUND; at += step) {
		size_t n = (size_t)u64_min(step, to - at);

		if (file_read(&v->s->ckpt.files[k->t->shard].file, w->buf, n, k->t->off + at, e) != OK)
			return e->status;
		look_at_run(v, k, w->buf, n, at / dtype_info(k->t->dtype)->bytes, &v->seen[i]);
	}
	__atomic_fetch_add(&v->done, to - from, __ATOMIC_RELAXED);
	return OK;
}

/* ---- lines -----------------------------------------------------------------------------------*/

/* With the name of the shard. */
static void place(const struct shards *v, const struct st_tensor *t, uint64_t element, char *buf, size_t cap)
{
	unsigned width = dtype_info(t->dtype)->bytes;
	size_t n;

	piece_place((struct str){ t->name, strlen(t->name) }, t->shape, t->n_dims, st_elements(t), element,
		    t->off + element * width, width, buf, cap);
	n = strlen(buf);
	snprintf(buf + n, cap - n, " of %s", v->s->ckpt.files[t->shard].name);
}

/* What is not finite, as text. */
static const char *what_it_is(enum dtype t, const uint8_t *b)
{
	uint64_t bits;
	float x;

	switch (t) {
	case DT_F64:
		bits = load_le(b, 8);
		return bits << 12 ? "NaN" : bits >> 63 ? "-infinite" : "infinite";
	case DT_F8_E5M2: return *b & 3 ? "NaN" : *b >> 7 ? "-infinite" : "infinite";
	case DT_BF16: case DT_F16: case DT_F32:
		codec_decode(t, b, 1, &x);
		return isnan(x) ? "NaN" : x < 0 ? "-infinite" : "infinite";
	default: return "NaN";
	}
}

static void bad_line(const struct shards *v, const struct stored *k, const struct seen *s, const uint8_t *b)
{
	unsigned width = dtype_info(k->t->dtype)->bytes;
	long long id = width == 4 ? (int32_t)load_le(b, 4) : width == 8 ? (int64_t)load_le(b, 8) : 0;
	char where[ST_MAX_NAME + 400], what[40];

	if (s->trouble == NOT_FINITE)
		snprintf(what, sizeof what, "%s%s", what_it_is(k->t->dtype, b), k->scale_of ? " as a scale" : "");
	else
		snprintf(what, sizeof what, "%lld", id);
	place(v, k->t, s->bad, where, sizeof where);
	piece_bad_line(v->s->r, (enum trouble)s->trouble, where, what, v->s->arch.n_expert, deep_consequence((enum role)k->role));
}

static void odd_line(const struct shards *v, const struct stored *k, const struct seen *s, const uint8_t *b)
{
	float x = scale_value(k->t->dtype, b);
	char where[ST_MAX_NAME + 400];

	place(v, k->t, s->odd, where, sizeof where);
	log_add(&v->s->r->odd, "%s: a scale of %g; %s", where, (double)x, x == 0 ? "what its codes said is lost" :
		x < 0 ? "scales are positive" : "the largest code under it is infinite");
}

static enum status report_piece(const struct shards *v, const struct stored *k, const struct seen *s, struct err *e)
{
	const struct file *f = &v->s->ckpt.files[k->t->shard].file;
	unsigned width = dtype_info(k->t->dtype)->bytes;
	uint8_t b[16] = { 0 };

	if (s->is_odd) {
		if (file_read(f, b, width, k->t->off + s->odd * width, e) != OK)
			return e->status;
		odd_line(v, k, s, b);
	}
	if (s->trouble != SOUND) {
		if (file_read(f, b, width, k->t->off + s->bad * width, e) != OK)
			return e->status;
		bad_line(v, k, s, b);
	}
	return OK;
}

static enum status report(const struct shards *v, struct err *e)
{
	for (size_t k = 0; k < v->s->n_stored; k++)
		for (uint64_t i = v->first[k]; i < v->first[k + 1]; i++)
			if (report_piece(v, &v->s->stored[k], &v->seen[i], e) != OK)
				return e->status;
	return OK;
}

static enum status lay_out(struct shards *v, struct err *e)
{
	struct deep_report *r = v->s->r;
	uint64_t n = 0;

	v->first = mem_new(v->s->n_stored + 1, sizeof *v->first, "the list of pieces", e);
	if (!v->first)
		return e->status;
	for (size_t i = 0; i < v->s->n_stored; i++) {
		struct stored *k = &v->s->stored[i];
		enum dtype type = k->t->dtype;

		v->first[i] = n;
		if ((k->ids && k->t->shape[1] > MAX_ID_COLUMNS) ||
		    (!k->ids && !is_total(type) && !is_float(type) && !byte_rule(type))) {
			r->n_unread++;
			log_add(&r->odd, "tensor %s: values of type %s are not looked at", k->t->name, dtype_info(type)->name);
			continue;
		}
		r->n_tensors++;
		if (!k->ids && is_total(type))	/* nothing to read */
			continue;
		r->bytes += k->t->bytes;
		n += u64_div_up(k->t->bytes, piece_bytes(k));
	}
	v->first[v->s->n_stored] = n;
	v->seen = mem_new((size_t)n, sizeof *v->seen, "the list of pieces", e);
	return v->seen ? OK : e->status;
}

enum status deep_shards(struct deep_source *s, const struct verify_options *o, struct err *e)
{
	struct shards v = { .s = s };
	enum status st;

	TRY(lay_out(&v, e));
	TRY(verify_parallel(v.first[s->n_stored], look, &v, o, &v.done, s->r->bytes, e));
	st = report(&v, e);
out:
	free(v.first);
	free(v.seen);
	return st;
}
