/* SPDX-License-Identifier: MIT
 *
 * gguf_read.c - the header of a GGUF, version 2 or 3 (one layout), all little-endian:
 *
 *	"GGUF" | u32 version | u64 n_tensors | u64 n_kv
 *	n_kv times:      key string | u32 type | value
 *	n_tensors times: name string | u32 n_dims | u64 dim... fastest first | u32 type | u64 offset
 *	zeros up to a multiple of general.alignment (u32, 32 if absent), then tensor data
 *	string: u64 length | bytes;  array: u32 type | u64 count | elements
 *
 * Invariant: no byte is used and no memory taken before the file is known to be long enough.
 * The length of the header shows only at its end, so the same walk is done twice: first over a
 * growing buffer, keeping nothing; then over the final one, keeping what points into it.
 * Names are indexed by sorting, not hashing, so that no choice of names makes it slow.
 *
 * Source: docs/gguf.md of ggml; where llama.cpp is laxer this follows the text.
 */
#include "format/format.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES = 24, FIRST_READ = 64 << 10, MAX_ALIGNMENT = 1 << 20 };
/* the least that a key with its value, and a tensor info, can take */
enum { LEAST_KV = 8 + 1 + 4 + 1, LEAST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8 };

/* Bytes of one value; 0 for those that carry their length. */
static const uint8_t type_bytes[GGUF_TYPES] = {
	[GGUF_U8] = 1, [GGUF_I8] = 1, [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4,
	[GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8,
	[GGUF_F64] = 8,
};

struct reader {
	const struct file *f;
	struct log *notes;
	struct err *e;
	uint8_t *buf;		/* owned until the gguf takes it: bytes [0, have) of the file */
	size_t have, cap;
	uint64_t pos;
	uint64_t n_kv, n_tensors;
	uint32_t version;
	uint64_t alignment;
	uint64_t data_off;	/* known after the first walk */
	uint64_t next_off;	/* where the next tensor must begin, from data_off */
	/* what is being read, for messages */
	const char *part, *what;
	uint64_t part_off, name_off, name_n;
};

static enum status fail(struct reader *r, enum status s, const char *fmt, ...) PRINTF(3, 4);

static enum status fail(struct reader *r, enum status s, const char *fmt, ...)
{
	char why[512], name[160] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	if (r->name_n > 0)
		snprintf(name, sizeof name, "%s %.*s, ", r->what, (int)u64_min(r->name_n, 120),
			 (const char *)r->buf + r->name_off);
	return err_set(r->e, s, "%s: %s (%sbytes %" PRIu64 "..%" PRIu64 "): %s", r->f->path,
		       r->part, name, r->part_off, r->pos, why);
}

static void begin_part(struct reader *r, const char *part, const char *what)
{
	r->part = part;
	r->what = what;
	r->part_off = r->pos;
	r->name_off = r->name_n = 0;
}

static uint64_t left(const struct reader *r)
{
	return r->f->id.size - r->pos;
}

/* Bytes [pos, pos + n) are in buf after this. It may move buf. */
static enum status need(struct reader *r, uint64_t n)
{
	uint64_t want;
	size_t cap = r->cap;
	void *p = r->buf;
	enum status st;

	if (n > left(r))
		return fail(r, ERR_FORMAT, "%" PRIu64 " more bytes are announced, the file ends "
			    "after %" PRIu64 "; it is cut short or damaged, fetch it again", n,
			    left(r));
	if (r->pos + n <= r->have)
		return OK;
	if (n > GGUF_MAX_HEADER - r->pos)
		return fail(r, ERR_UNSUPPORTED, "a header of more than %d bytes is not read",
			    GGUF_MAX_HEADER);
	want = u64_min(u64_min(r->f->id.size, GGUF_MAX_HEADER),
		       r->pos + n + r->have / 2 + FIRST_READ);
	st = mem_grow(&p, &cap, (size_t)want, 1, "the header of a GGUF", r->e);
	if (st != OK)
		return st;
	r->buf = p;
	r->cap = cap;
	st = file_read(r->f, r->buf + r->have, (size_t)want - r->have, r->have, r->e);
	if (st == OK)
		r->have = (size_t)want;
	return st;
}

static enum status take_le(struct reader *r, unsigned n, uint64_t *v)
{
	enum status st = need(r, n);

	*v = 0;
	if (st == OK) {
		*v = load_le(r->buf + r->pos, n);
		r->pos += n;
	}
	return st;
}

/* Steps over a string; its bytes are buf[*off, *off + *n). */
static enum status take_str(struct reader *r, uint64_t *off, uint64_t *n)
{
	enum status st = take_le(r, 8, n);

	if (st == OK)
		st = need(r, *n);
	if (st == OK) {
		*off = r->pos;
		r->pos += *n;
	}
	return st;
}

static enum status read_head(struct reader *r)
{
	uint64_t version;
	enum status st;

	begin_part(r, "GGUF header", "");
	if (r->f->id.size < HEAD_BYTES)
		return fail(r, ERR_FORMAT, "%" PRIu64 " bytes are too few for a GGUF; fetch it "
			    "again", r->f->id.size);
	TRY(need(r, HEAD_BYTES));
	if (memcmp(r->buf, "GGUF", 4) != 0)
		return fail(r, ERR_FORMAT, "does not begin with \"GGUF\"; it is another kind of "
			    "file");
	r->pos = 4;
	TRY(take_le(r, 4, &version));
	if (version != 0 && (version & 0xFFFF) == 0)
		return fail(r, ERR_UNSUPPORTED, "byte-swapped: written for a big-endian machine; "
			    "fetch the little-endian file");
	if (version == 0)
		return fail(r, ERR_FORMAT, "version 0 does not exist");
	if (version != 2 && version != 3)
		return fail(r, ERR_UNSUPPORTED, "version %" PRIu64 "; versions 2 and 3 are read",
			    version);
	r->version = (uint32_t)version;
	TRY(take_le(r, 8, &r->n_tensors));
	TRY(take_le(r, 8, &r->n_kv));
	if (r->n_kv > left(r) / LEAST_KV || r->n_tensors > left(r) / LEAST_TENSOR)
		return fail(r, ERR_FORMAT, "%" PRIu64 " keys and %" PRIu64 " tensors cannot be in "
			    "a file of %" PRIu64 " bytes; it is cut short or damaged, fetch it "
			    "again", r->n_kv, r->n_tensors, r->f->id.size);
	if (r->n_kv > GGUF_MAX_KV || r->n_tensors > GGUF_MAX_TENSORS)
		return fail(r, ERR_UNSUPPORTED, "%" PRIu64 " keys and %" PRIu64 " tensors; at most "
			    "%d and %d are read", r->n_kv, r->n_tensors, GGUF_MAX_KV,
			    GGUF_MAX_TENSORS);
out:
	return st;
}

/* ---- keys and values ------------------------------------------------------------------- */

static enum status take_key(struct reader *r)
{
	uint64_t n, off;
	enum status st;

	begin_part(r, "metadata", "key");
	TRY(take_le(r, 8, &n));
	if (n == 0 || n > GGUF_MAX_KEY)
		return fail(r, ERR_FORMAT, "a key of %" PRIu64 " bytes; 1 to %d are allowed", n,
			    GGUF_MAX_KEY);
	TRY(need(r, n));
	off = r->pos;
	r->pos += n;
	for (uint64_t i = 0; i < n; i++)
		if (r->buf[off + i] < 0x20 || r->buf[off + i] > 0x7E)
			return fail(r, ERR_FORMAT, "byte 0x%02x in a key, which is printable ASCII",
				    r->buf[off + i]);
	r->name_off = off;
	r->name_n = n;
out:
	return st;
}

/* Steps over count values of a type that is no array. */
static enum status skip_values(struct reader *r, enum gguf_type type, uint64_t count)
{
	uint64_t bytes, off, n, size = type_bytes[type];
	enum status st;

	if (size == 0) {
		if (count > left(r) / 8)
			return fail(r, ERR_FORMAT, "%" PRIu64 " strings are announced, the file "
				    "ends after %" PRIu64 " bytes", count, left(r));
		for (uint64_t i = 0; i < count; i++)
			TRY(take_str(r, &off, &n));
		return OK;
	}
	if (!u64_mul(count, size, &bytes))
		return fail(r, ERR_FORMAT, "an array of %" PRIu64 " elements", count);
	TRY(need(r, bytes));
	for (uint64_t i = 0; type == GGUF_BOOL && i < bytes; i++)
		if (r->buf[r->pos + i] > 1)
			return fail(r, ERR_FORMAT, "a bool of value %d", r->buf[r->pos + i]);
	r->pos += bytes;
out:
	return st;
}

static enum status take_type(struct reader *r, enum gguf_type *type)
{
	uint64_t v;
	enum status st = take_le(r, 4, &v);

	*type = GGUF_U8;
	if (st == OK && v >= GGUF_TYPES)
		return fail(r, ERR_FORMAT, "value type %" PRIu64 " does not exist", v);
	*type = (enum gguf_type)v;
	return st;
}

/* general.alignment decides where the data begins, so it is looked at on the first walk. */
static enum status take_alignment(struct reader *r, enum gguf_type type, uint64_t off)
{
	uint64_t v;

	if (type != GGUF_U32)
		return fail(r, ERR_FORMAT, "the alignment is not a u32");
	v = load_le(r->buf + off, 4);
	if (v == 0 || (v & (v - 1)) != 0)
		return fail(r, ERR_FORMAT, "alignment %" PRIu64 " is no power of two", v);
	if (v > MAX_ALIGNMENT)
		return fail(r, ERR_UNSUPPORTED, "alignment %" PRIu64 "; at most %d is read", v,
			    MAX_ALIGNMENT);
	r->alignment = v;
	if (v < 8 && r->data_off == 0)
		log_add(r->notes, "%s: general.alignment is %" PRIu64 ", the specification asks "
			"for a multiple of 8", r->f->path, v);
	return OK;
}

/* The next key and its value. kv points into buf, which the next call may move. */
static enum status take_kv(struct reader *r, struct gguf_kv *kv)
{
	static const char alignment[] = "general.alignment";
	uint64_t off, count = 1;
	enum gguf_type type, elem;
	enum status st;

	TRY(take_key(r));
	TRY(take_type(r, &type));
	elem = type;
	if (type == GGUF_ARR) {
		TRY(take_type(r, &elem));
		if (elem == GGUF_ARR)
			return fail(r, ERR_UNSUPPORTED, "arrays of arrays are not read");
		TRY(take_le(r, 8, &count));
	}
	off = r->pos;
	TRY(skip_values(r, elem, count));
	*kv = (struct gguf_kv){
		.key = { (const char *)r->buf + r->name_off, (size_t)r->name_n },
		.type = type, .elem = elem, .count = count,
		.data = r->buf + off, .data_bytes = r->pos - off,
	};
	if (str_is(kv->key, alignment))
		st = take_alignment(r, type, off);
out:
	return st;
}

/* ---- tensors --------------------------------------------------------------------------- */

static enum status take_shape(struct reader *r, struct gguf_tensor *t)
{
	uint64_t n_dims, product = 1;
	enum status st;

	TRY(take_le(r, 4, &n_dims));
	if (n_dims < 1 || n_dims > GGUF_MAX_DIMS)
		return fail(r, ERR_FORMAT, "%" PRIu64 " dimensions; 1 to %d are allowed", n_dims,
			    GGUF_MAX_DIMS);
	t->n_dims = (uint8_t)n_dims;
	for (uint64_t i = 0; i < n_dims; i++) {
		uint64_t *d = &t->shape[n_dims - 1 - i];
		TRY(take_le(r, 8, d));
		if (*d == 0 || *d > INT64_MAX || !u64_mul(product, *d, &product) ||
		    product > INT64_MAX)
			return fail(r, ERR_FORMAT, "dimension %" PRIu64 " is %" PRId64 "; each is "
				    "positive, and so is their product in 63 bits", i, (int64_t)*d);
	}
out:
	return st;
}

static enum status take_dtype(struct reader *r, struct gguf_tensor *t)
{
	uint64_t id, row = t->shape[t->n_dims - 1], n_rows = 1;
	enum dtype type;
	enum status st;

	TRY(take_le(r, 4, &id));
	type = dtype_by_gguf_id((uint32_t)id);
	if (type == DT_NONE)
		return fail(r, ERR_UNSUPPORTED, "number type %" PRIu64 " is unknown or removed; "
			    "use a newer ingot or convert again", id);
	t->dtype = (uint8_t)type;
	for (unsigned i = 0; i + 1 < t->n_dims; i++)
		n_rows *= t->shape[i];		/* the product was checked */
	if (row % dtype_info(type)->block != 0)
		return fail(r, ERR_FORMAT, "rows of %" PRIu64 " are no whole number of %s blocks "
			    "of %d", row, dtype_info(type)->name, dtype_info(type)->block);
	if (!dtype_bytes(type, n_rows, row, &t->bytes))
		return fail(r, ERR_FORMAT, "its size does not fit 64 bits");
out:
	return st;
}

static enum status take_tensor(struct reader *r, struct gguf_tensor *t)
{
	uint64_t off, n;
	enum status st;

	*t = (struct gguf_tensor){ 0 };
	begin_part(r, "tensor info", "tensor");
	TRY(take_le(r, 8, &n));
	if (n == 0 || n > GGUF_MAX_NAME)
		return fail(r, ERR_FORMAT, "a name of %" PRIu64 " bytes; 1 to %d are allowed", n,
			    GGUF_MAX_NAME);
	TRY(need(r, n));
	off = r->pos;
	r->pos += n;
	if (memchr(r->buf + off, 0, (size_t)n))
		return fail(r, ERR_FORMAT, "a NUL byte in a name");
	r->name_off = off;
	r->name_n = n;
	TRY(take_shape(r, t));
	TRY(take_dtype(r, t));
	TRY(take_le(r, 8, &t->off));
	t->name = (struct str){ (const char *)r->buf + off, (size_t)n };
out:
	return st;
}

/* Offsets follow from the sizes; anything else is a gap, an overlap or a lie. */
static enum status place_tensor(struct reader *r, struct gguf_tensor *t)
{
	uint64_t room = r->f->id.size - r->data_off, end;

	if (t->off != r->next_off)
		return fail(r, ERR_FORMAT, "its data is said to begin at %" PRIu64 " of the data, "
			    "it must be %" PRIu64 ": tensors follow each other without gap",
			    t->off, r->next_off);
	if (!u64_add(t->off, t->bytes, &end) || end > room ||
	    !u64_round_up(end, r->alignment, &end) || end > room)
		return fail(r, ERR_FORMAT, "%" PRIu64 " bytes of data from %" PRIu64 " on, with "
			    "padding to a multiple of %" PRIu64 ", lie beyond the end of the file "
			    "at %" PRIu64 "; it is cut short, fetch it again", t->bytes,
			    r->data_off + t->off, r->alignment, r->f->id.size);
	t->off += r->data_off;
	r->next_off = end;
	return OK;
}

/* ---- the two walks --------------------------------------------------------------------- */

/* All keys and tensor infos; into keep's arrays if it is not NULL. */
static enum status walk(struct reader *r, struct gguf *keep)
{
	enum status st;

	r->pos = HEAD_BYTES;
	for (uint64_t i = 0; i < r->n_kv; i++) {
		struct gguf_kv kv;
		TRY(take_kv(r, &kv));
		if (keep)
			keep->kv[i] = kv;
	}
	for (uint64_t i = 0; i < r->n_tensors; i++) {
		struct gguf_tensor t;
		TRY(take_tensor(r, &t));
		if (!keep)
			continue;
		TRY(place_tensor(r, &t));
		keep->tensors[i] = t;
	}
	st = OK;
out:
	return st;
}

/* Finds data_off, reads up to it and gives back what was read ahead. */
static enum status end_header(struct reader *r)
{
	uint64_t data_off;
	uint8_t *p;
	enum status st;

	begin_part(r, "padding before the data", "");
	if (!u64_round_up(r->pos, r->alignment, &data_off))
		return fail(r, ERR_FORMAT, "the header's length does not fit 64 bits");
	if (r->n_tensors == 0)		/* nothing to align: the file may end without padding */
		data_off = u64_min(data_off, r->f->id.size);
	TRY(need(r, data_off - r->pos));
	r->data_off = data_off;
	r->have = r->cap = (size_t)data_off;
	p = realloc(r->buf, r->have);
	if (p)
		r->buf = p;
out:
	return st;
}

/* The struct str that entry i of an array of keys or tensors begins with. */
struct name_column { const char *base; size_t stride; };
_Static_assert(offsetof(struct gguf_kv, key) == 0 && offsetof(struct gguf_tensor, name) == 0,
	       "struct name_column");

static const struct str *name_at(const struct name_column *l, uint32_t i)
{
	return (const void *)(l->base + i * l->stride);
}

static int compare_str(const struct str *a, const struct str *b)
{
	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	return memcmp(a->p, b->p, a->n);
}

static int compare_at(const void *a, const void *b, void *names)
{
	return compare_str(name_at(names, *(const uint32_t *)a),
			   name_at(names, *(const uint32_t *)b));
}

/* Positions 0..n-1 in order of their names; *twice is where, in that order, a name comes again, or 0. */
static enum status sort_names(struct name_column l, size_t n, uint32_t **index, size_t *index_size, size_t *twice,
			      struct err *e)
{
	uint32_t *x = mem_new(n, sizeof *x, "an index of names", e);

	*twice = 0;
	*index = x;
	if (!x)
		return e->status;
	*index_size = n;
	for (size_t i = 0; i < n; i++)
		x[i] = (uint32_t)i;
	qsort_r(x, n, sizeof *x, compare_at, &l);
	for (size_t i = 1; i < n && !*twice; i++)
		if (compare_str(name_at(&l, x[i - 1]), name_at(&l, x[i])) == 0)
			*twice = i;
	return OK;
}

/* No name may come twice. */
static enum status build_index(struct reader *r, struct name_column l, size_t n, const char *what,
			       uint32_t **index, size_t *index_size)
{
	const struct str *s;
	size_t twice;

	if (sort_names(l, n, index, index_size, &twice, r->e) != OK)
		return r->e->status;
	if (!twice)
		return OK;
	s = name_at(&l, (*index)[twice]);
	return err_set(r->e, ERR_FORMAT, "%s: %s %.*s occurs twice; which one holds is not defined", r->f->path, what,
		       (int)u64_min(s->n, 120), s->p);
}

static const struct str *find(struct name_column l, const uint32_t *index, size_t n, const char *key)
{
	struct str want = { key, strlen(key) };
	size_t lo = 0;

	while (lo < n) {
		size_t mid = lo + (n - lo) / 2;
		const struct str *s = name_at(&l, index[mid]);
		int c = compare_str(s, &want);
		if (c == 0)
			return s;
		if (c < 0)
			lo = mid + 1;
		else
			n = mid;
	}
	return NULL;
}

static struct name_column kv_names(const struct gguf *g)
{
	return (struct name_column){ (const char *)g->kv, sizeof *g->kv };
}

static struct name_column tensor_names(const struct gguf *g)
{
	return (struct name_column){ (const char *)g->tensors, sizeof *g->tensors };
}

enum status gguf_read(struct gguf *g, const struct file *f, struct log *notes, struct err *e)
{
	struct reader r = { .f = f, .notes = notes, .e = e, .alignment = 32 };
	enum status st;

	*g = (struct gguf){ 0 };
	TRY(read_head(&r));
	TRY(walk(&r, NULL));
	TRY(end_header(&r));
	/* both counts have just been seen to be true */
	g->kv = mem_new((size_t)r.n_kv, sizeof *g->kv, "the keys of a GGUF", e);
	g->tensors = mem_new((size_t)r.n_tensors, sizeof *g->tensors, "the tensors of a GGUF", e);
	if (!g->kv || !g->tensors) {
		st = e->status;
		goto out;
	}
	TRY(walk(&r, g));
	g->n_kv = (size_t)r.n_kv;
	g->n_tensors = (size_t)r.n_tensors;
	TRY(build_index(&r, kv_names(g), g->n_kv, "key", &g->kv_index, &g->kv_index_size));
	TRY(build_index(&r, tensor_names(g), g->n_tensors, "tensor", &g->tensor_index,
			&g->tensor_index_size));
	g->header = r.buf;
	r.buf = NULL;
	g->data_off = r.data_off;
	g->alignment = r.alignment;
	g->version = r.version;
	g->end = r.data_off + r.next_off;
	g->trailing = f->id.size > g->end;
out:
	free(r.buf);
	if (st != OK)
		gguf_close(g);
	return st;
}

enum status gguf_join(struct gguf *all, const struct gguf *parts, size_t n, const struct file *files, struct err *e)
{
	size_t n_tensors = 0, twice;
	uint64_t header = 0;

	*all = parts[0];
	all->tensors = NULL;
	all->tensor_index = NULL;
	for (size_t i = 0; i < n; i++) {
		n_tensors += parts[i].n_tensors;
		header += parts[i].data_off;
		if (n_tensors > GGUF_MAX_TENSORS || header > GGUF_MAX_HEADER)
			return err_set(e, ERR_UNSUPPORTED, "%s: with it the set has more than %d tensors or more than %d bytes of "
				       "headers", files[i].path, GGUF_MAX_TENSORS, GGUF_MAX_HEADER);
	}
	if (!(all->tensors = mem_new(n_tensors, sizeof *all->tensors, "the tensors of a set", e)))
		return e->status;
	all->n_tensors = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < parts[i].n_tensors; k++) {
			all->tensors[all->n_tensors] = parts[i].tensors[k];
			all->tensors[all->n_tensors++].file = (uint16_t)i;
		}
	if (sort_names(tensor_names(all), n_tensors, &all->tensor_index, &all->tensor_index_size, &twice, e) != OK)
		return e->status;
	if (twice) {
		const struct gguf_tensor *a = &all->tensors[all->tensor_index[twice - 1]];
		const struct gguf_tensor *b = &all->tensors[all->tensor_index[twice]];
		bool swap = a->file > b->file;

		return err_set(e, ERR_FORMAT, "%s: tensor %.*s is in %s too; which one holds is not defined: one of the files is "
			       "of another set", files[(swap ? a : b)->file].path, (int)a->name.n, a->name.p,
			       files[(swap ? b : a)->file].path);
	}
	return OK;
}

void gguf_close(struct gguf *g)
{
	free(g->header);
	free(g->kv);
	free(g->tensors);
	free(g->kv_index);
	free(g->tensor_index);
	*g = (struct gguf){ 0 };
}

/* ---- access ---------------------------------------------------------------------------- */

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
	return (const void *)find(kv_names(g), g->kv_index, g->kv_index_size, key);
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
	return (const void *)find(tensor_names(g), g->tensor_index, g->tensor_index_size, name);
}

static bool is_int(enum gguf_type t)
{
	return t <= GGUF_I32 || t == GGUF_U64 || t == GGUF_I64;
}

/* An integer of type t; *negative tells how to read the bits. */
static uint64_t load_int(enum gguf_type t, const uint8_t *p, bool *negative)
{
	unsigned bits = 8u * type_bytes[t];
	uint64_t v = load_le(p, type_bytes[t]);
	bool is_signed = t == GGUF_I8 || t == GGUF_I16 || t == GGUF_I32 || t == GGUF_I64;

	*negative = is_signed && (v >> (bits - 1)) != 0;
	if (*negative && bits < 64)
		v |= UINT64_MAX << bits;
	return v;
}

static double load_float(enum gguf_type t, const uint8_t *p)
{
	uint64_t bits = load_le(p, type_bytes[t]);
	uint32_t bits32 = (uint32_t)bits;
	double d;
	float f;

	if (t == GGUF_F64) {
		memcpy(&d, &bits, sizeof d);
		return d;
	}
	memcpy(&f, &bits32, sizeof f);
	return (double)f;
}

bool gguf_u64(const struct gguf *g, const char *key, uint64_t *v)
{
	const struct gguf_kv *kv = gguf_find(g, key);
	bool negative;
	uint64_t x;

	if (!kv || !is_int(kv->type))
		return false;
	x = load_int(kv->type, kv->data, &negative);
	if (negative)
		return false;
	*v = x;
	return true;
}

bool gguf_f32(const struct gguf *g, const char *key, float *v)
{
	const struct gguf_kv *kv = gguf_find(g, key);
	double x;

	if (!kv || (kv->type != GGUF_F32 && kv->type != GGUF_F64))
		return false;
	x = load_float(kv->type, kv->data);
	if (!(fabs(x) <= (double)FLT_MAX))	/* NaN is no number either */
		return false;
	*v = (float)x;
	return true;
}

bool gguf_bool(const struct gguf *g, const char *key, bool *v)
{
	const struct gguf_kv *kv = gguf_find(g, key);

	if (!kv || kv->type != GGUF_BOOL)
		return false;
	*v = kv->data[0] != 0;
	return true;
}

bool gguf_str(const struct gguf *g, const char *key, struct str *v)
{
	const struct gguf_kv *kv = gguf_find(g, key);

	if (!kv || kv->type != GGUF_STR)
		return false;
	*v = (struct str){ (const char *)kv->data + 8, (size_t)(kv->data_bytes - 8) };
	return true;
}

bool gguf_next_str(const struct gguf_kv *kv, uint64_t *at, struct str *v)
{
	uint64_t n;

	if (kv->type != GGUF_ARR || kv->elem != GGUF_STR || *at >= kv->data_bytes)
		return false;
	/* gguf_read walked the same bytes; *at is the caller's, though */
	if (kv->data_bytes - *at < 8)
		return false;
	n = load_le(kv->data + *at, 8);
	if (n > kv->data_bytes - *at - 8)
		return false;
	*v = (struct str){ (const char *)kv->data + *at + 8, (size_t)n };
	*at += 8 + n;
	return true;
}

bool gguf_array_int(const struct gguf_kv *kv, uint64_t i, int64_t *v)
{
	bool negative;
	uint64_t x;

	if (kv->type != GGUF_ARR || !is_int(kv->elem) || i >= kv->count)
		return false;
	x = load_int(kv->elem, kv->data + i * type_bytes[kv->elem], &negative);
	if (!negative && x > INT64_MAX)
		return false;
	*v = (int64_t)x;
	return true;
}

bool gguf_array_float(const struct gguf_kv *kv, uint64_t i, double *v)
{
	if (kv->type != GGUF_ARR || (kv->elem != GGUF_F32 && kv->elem != GGUF_F64) ||
	    i >= kv->count)
		return false;
	*v = load_float(kv->elem, kv->data + i * type_bytes[kv->elem]);
	return true;
}
