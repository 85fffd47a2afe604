/* SPDX-License-Identifier: MIT
 *
 * gguf_write.c - builds the header of a GGUF, version 3, in memory (layout: gguf_read.c). Tensor
 * data is written by others, at the offsets that gguf_put_tensor returned.
 *
 * Invariant: the same calls give the same bytes, on every machine: little-endian by explicit
 * stores, padding zero, nothing read but the arguments. What would not be read back is refused.
 * Errors are sticky in w->err, so that a list of puts needs one check, in gguf_writer_finish.
 * Duplicates are found there by sorting, which costs less than a set kept along the way.
 *
 * Source: docs/gguf.md of ggml.
 */
#include "format/format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES = 24, VERSION = 3, TENSORS_AT = 8, KV_AT = 16, DEFAULT_ALIGNMENT = 32 };
enum { MIN_ALIGNMENT = 8, MAX_ALIGNMENT = 1 << 20 };

/* Bytes of one value; 0 for those that carry their length. */
static unsigned fixed_bytes(enum gguf_type t)
{
	switch (t) {
	case GGUF_U8: case GGUF_I8: case GGUF_BOOL: return 1;
	case GGUF_U16: case GGUF_I16: return 2;
	case GGUF_U32: case GGUF_I32: case GGUF_F32: return 4;
	case GGUF_U64: case GGUF_I64: case GGUF_F64: return 8;
	case GGUF_STR: case GGUF_ARR: case GGUF_TYPES: break;
	}
	return 0;
}

static bool failed(const struct gguf_writer *w)
{
	return w->err.status != OK;
}

/* Room for n bytes at the end of buf, NULL after an error. */
static uint8_t *extend(struct gguf_writer *w, uint64_t n)
{
	void *p = w->buf;

	if (failed(w))
		return NULL;
	if (n > GGUF_MAX_HEADER - w->len) {
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header: more than %d bytes",
			GGUF_MAX_HEADER);
		return NULL;
	}
	if (mem_grow(&p, &w->cap, w->len + (size_t)n, 1, "a GGUF header", &w->err) != OK)
		return NULL;
	w->buf = p;
	w->len += (size_t)n;
	return w->buf + w->len - n;
}

static void put_le(struct gguf_writer *w, unsigned n, uint64_t v)
{
	uint8_t *p = extend(w, n);

	if (p)
		store_le(p, n, v);
}

/* p NULL: fill bytes. */
static void put_bytes(struct gguf_writer *w, const void *p, uint64_t n, int fill)
{
	uint8_t *q = extend(w, n);

	if (q && n > 0) {
		if (p)
			memcpy(q, p, (size_t)n);
		else
			memset(q, fill, (size_t)n);
	}
}

static void put_str(struct gguf_writer *w, struct str s)
{
	put_le(w, 8, s.n);
	put_bytes(w, s.p, s.n, 0);
}

void gguf_writer_open(struct gguf_writer *w, uint64_t alignment)
{
	*w = (struct gguf_writer){ .alignment = alignment };
	put_bytes(w, "GGUF", 4, 0);
	put_le(w, 4, VERSION);
	put_le(w, 8, 0);	/* both counts are filled in at the end */
	put_le(w, 8, 0);
	if (alignment < MIN_ALIGNMENT || alignment > MAX_ALIGNMENT ||
	    (alignment & (alignment - 1)) != 0)
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header: alignment %" PRIu64 " is no power "
			"of two from %d to %d", alignment, MIN_ALIGNMENT, MAX_ALIGNMENT);
}

void gguf_writer_close(struct gguf_writer *w)
{
	free(w->buf);
	*w = (struct gguf_writer){ 0 };
}

/* ---- keys ------------------------------------------------------------------------------ */

static bool valid_key(struct str key)
{
	if (key.n == 0 || key.n > GGUF_MAX_KEY)
		return false;
	for (size_t i = 0; i < key.n; i++)
		if (key.p[i] < 0x20 || key.p[i] > 0x7E)
			return false;
	return true;
}

static void put_key_str(struct gguf_writer *w, struct str key, enum gguf_type type)
{
	int shown = (int)u64_min(key.n, 120);

	if (failed(w))
		return;
	if (w->kv_end != 0)
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header (key %.*s): comes after a tensor",
			shown, key.p);
	else if (w->items_left != 0)
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header (key %.*s): %" PRIu64 " strings "
			"of the array before it are missing", shown, key.p, w->items_left);
	else if (!valid_key(key))
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header (key %.*s): a key has 1 to %d "
			"bytes of printable ASCII", shown, key.p, GGUF_MAX_KEY);
	else if (w->n_kv == GGUF_MAX_KV)
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header (key %.*s): more than %d keys",
			shown, key.p, GGUF_MAX_KV);
	if (failed(w))
		return;
	w->n_kv++;
	put_str(w, key);
	put_le(w, 4, type);
}

static void put_key(struct gguf_writer *w, const char *key, enum gguf_type type)
{
	put_key_str(w, (struct str){ key, strlen(key) }, type);
}

void gguf_put_u16(struct gguf_writer *w, const char *key, uint16_t v)
{
	put_key(w, key, GGUF_U16);
	put_le(w, 2, v);
}

void gguf_put_i32(struct gguf_writer *w, const char *key, int32_t v)
{
	put_key(w, key, GGUF_I32);
	put_le(w, 4, (uint32_t)v);
}

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
	put_key(w, key, GGUF_U32);
	put_le(w, 4, v);
}

void gguf_put_u64(struct gguf_writer *w, const char *key, uint64_t v)
{
	put_key(w, key, GGUF_U64);
	put_le(w, 8, v);
}

void gguf_put_f32(struct gguf_writer *w, const char *key, float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof bits);
	put_key(w, key, GGUF_F32);
	put_le(w, 4, bits);
}

void gguf_put_bool(struct gguf_writer *w, const char *key, bool v)
{
	put_key(w, key, GGUF_BOOL);
	put_le(w, 1, v);
}

void gguf_put_str(struct gguf_writer *w, const char *key, struct str v)
{
	put_key(w, key, GGUF_STR);
	put_str(w, v);
}

size_t gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_type elem,
		      const void *bytes, uint64_t n)
{
	uint64_t size = fixed_bytes(elem), total = 0;

	put_key(w, key, GGUF_ARR);
	for (uint64_t i = 0; elem == GGUF_BOOL && bytes && i < n; i++)
		if (((const uint8_t *)bytes)[i] > 1)
			size = 0;
	if (!failed(w) && (size == 0 || !u64_mul(n, size, &total)))
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header (key %.120s): no array of %" PRIu64
			" values of type %d can be written", key, n, (int)elem);
	if (failed(w))
		return 0;
	put_le(w, 4, elem);
	put_le(w, 8, n);
	put_bytes(w, bytes, total, 0);
	return failed(w) ? 0 : w->len - (size_t)total;
}

void gguf_put_strings(struct gguf_writer *w, const char *key, uint64_t n)
{
	put_key(w, key, GGUF_ARR);
	put_le(w, 4, GGUF_STR);
	put_le(w, 8, n);
	if (!failed(w))
		w->items_left = n;
}

void gguf_put_item(struct gguf_writer *w, struct str v)
{
	if (failed(w))
		return;
	if (w->items_left == 0) {
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header: a string more than its array was "
			"announced with");
		return;
	}
	w->items_left--;
	put_str(w, v);
}

void gguf_put_kv(struct gguf_writer *w, const struct gguf_kv *kv)
{
	put_key_str(w, kv->key, kv->type);
	if (kv->type == GGUF_ARR) {
		put_le(w, 4, kv->elem);
		put_le(w, 8, kv->count);
	}
	put_bytes(w, kv->data, kv->data_bytes, 0);
}

size_t gguf_put_spaces(struct gguf_writer *w, const char *key, uint64_t n)
{
	put_key(w, key, GGUF_STR);
	put_le(w, 8, n);
	put_bytes(w, NULL, n, ' ');
	return failed(w) ? 0 : w->len - (size_t)n;
}

/* ---- tensors --------------------------------------------------------------------------- */

/* Bytes of a tensor; false, with the reason in *why, for one that a reader would refuse. */
static bool tensor_bytes(const struct gguf_writer *w, size_t name_n, enum dtype t, unsigned n_dims,
			 const uint64_t *shape, uint64_t *bytes, const char **why)
{
	uint64_t product = 1, n_rows = 1;

	*why = "its name has 1 to 63 bytes";
	if (name_n == 0 || name_n > GGUF_MAX_NAME)
		return false;
	*why = "GGUF does not have its number type";
	if (t <= DT_NONE || t >= DT_COUNT || dtype_info(t)->gguf_id < 0)
		return false;
	*why = "it has 1 to 4 dimensions, each positive, their product below 2^63";
	if (n_dims < 1 || n_dims > GGUF_MAX_DIMS)
		return false;
	for (unsigned i = 0; i < n_dims; i++) {
		n_rows = product;
		if (shape[i] == 0 || !u64_mul(product, shape[i], &product) || product > INT64_MAX)
			return false;
	}
	*why = "its rows are no whole number of blocks, or its size does not fit";
	if (!dtype_bytes(t, n_rows, shape[n_dims - 1], bytes))
		return false;
	*why = "more tensors than are read back";
	return w->n_tensors < GGUF_MAX_TENSORS;
}

uint64_t gguf_put_tensor(struct gguf_writer *w, const char *name, enum dtype t, unsigned n_dims,
			 const uint64_t *shape)
{
	struct str s = { name, strlen(name) };
	uint64_t bytes, end, off = w->next_off;
	const char *why = "strings of the array before it are missing";

	if (failed(w))
		return 0;
	if (w->items_left != 0 || !tensor_bytes(w, s.n, t, n_dims, shape, &bytes, &why)) {
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header (tensor %.120s): %s", name, why);
		return 0;
	}
	if (!u64_add(off, bytes, &end) || !u64_round_up(end, w->alignment, &end) ||
	    end > INT64_MAX) {
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header (tensor %.120s): the file would "
			"have more than 2^63 bytes", name);
		return 0;
	}
	if (w->kv_end == 0)
		w->kv_end = w->len;
	put_str(w, s);
	put_le(w, 4, n_dims);
	for (unsigned i = n_dims; i-- > 0;)
		put_le(w, 8, shape[i]);
	put_le(w, 4, (uint32_t)dtype_info(t)->gguf_id);
	put_le(w, 8, off);
	if (failed(w))
		return 0;
	w->n_tensors++;
	w->next_off = end;
	return off;
}

/* ---- the end --------------------------------------------------------------------------- */

/* The walks below are over bytes written above, so every field is there; a cursor still keeps
 * a mistake of ours from reading outside. */
static struct str next_str(struct cursor *c)
{
	uint64_t n = cur_le(c, 8);
	const uint8_t *p = cur_bytes(c, n);

	return (struct str){ (const char *)p, p ? (size_t)n : 0 };
}

/* Steps over a value; a u32's value goes to *v. */
static void skip_value(struct cursor *c, uint64_t *v)
{
	enum gguf_type type = (enum gguf_type)cur_le(c, 4);
	uint64_t n = 1;

	*v = 0;
	if (type == GGUF_U32) {
		*v = cur_le(c, 4);
		return;
	}
	if (type == GGUF_ARR) {
		type = (enum gguf_type)cur_le(c, 4);
		n = cur_le(c, 8);
	}
	if (type != GGUF_STR) {
		cur_bytes(c, n * fixed_bytes(type));
		return;
	}
	for (uint64_t i = 0; i < n && !c->bad; i++)
		next_str(c);
}

static int compare_str(const void *a, const void *b)
{
	const struct str *x = a, *y = b;

	if (x->n != y->n)
		return x->n < y->n ? -1 : 1;
	return memcmp(x->p, y->p, x->n);
}

/* Sorts s; says which name comes twice. */
static void refuse_duplicates(struct gguf_writer *w, struct str *s, size_t n, const char *what)
{
	qsort(s, n, sizeof *s, compare_str);
	for (size_t i = 1; i < n && !failed(w); i++)
		if (str_eq(s[i - 1], s[i]))
			err_set(&w->err, ERR_UNSUPPORTED, "GGUF header (%s %.*s): written twice",
				what, (int)u64_min(s[i].n, 120), s[i].p);
}

/* No key and no tensor twice, and general.alignment as the layout has it. */
static void check_names(struct gguf_writer *w)
{
	struct cursor c = { .base = w->buf, .len = w->len, .pos = HEAD_BYTES };
	size_t most = (size_t)(w->n_kv > w->n_tensors ? w->n_kv : w->n_tensors);
	struct str *s = mem_new(most, sizeof *s, "names of a GGUF header", &w->err);
	uint64_t said = DEFAULT_ALIGNMENT, v;

	if (!s)
		return;
	for (size_t i = 0; i < w->n_kv; i++) {
		s[i] = next_str(&c);
		skip_value(&c, &v);
		if (str_is(s[i], "general.alignment"))
			said = v;
	}
	if (said != w->alignment)
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header: general.alignment does not say %"
			PRIu64, w->alignment);
	refuse_duplicates(w, s, (size_t)w->n_kv, "key");
	for (size_t i = 0; i < w->n_tensors; i++) {
		s[i] = next_str(&c);
		cur_bytes(&c, 8 * cur_le(&c, 4) + 4 + 8);
	}
	refuse_duplicates(w, s, (size_t)w->n_tensors, "tensor");
	if (!failed(w) && (c.bad || c.pos != w->len))
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header: its parts do not add up");
	free(s);
}

enum status gguf_writer_finish(struct gguf_writer *w, uint64_t *file_size, struct err *e)
{
	uint64_t data_off = 0;

	*file_size = 0;
	if (!failed(w) && w->items_left != 0)
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header: %" PRIu64 " strings of the last "
			"array are missing", w->items_left);
	if (!failed(w))
		check_names(w);
	if (!failed(w) && (!u64_round_up(w->len, w->alignment, &data_off) ||
			   !u64_add(data_off, w->next_off, file_size)))
		err_set(&w->err, ERR_UNSUPPORTED, "GGUF header: the file would be too large");
	put_bytes(w, NULL, data_off - w->len, 0);
	if (failed(w)) {
		*file_size = 0;
		*e = w->err;
		return e->status;
	}
	store_le(w->buf + TENSORS_AT, 8, w->n_tensors);
	store_le(w->buf + KV_AT, 8, w->n_kv);
	return OK;
}
