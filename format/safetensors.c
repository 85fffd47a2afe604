/* SPDX-License-Identifier: MIT
 *
 * safetensors.c - one shard's header: 8 bytes of length, JSON, then data that the entries tile.
 *
 * The rules are those of the format's specification, in the order in which they can be checked:
 * the length against the limit and the file before anything is allocated, then the text, then each
 * entry alone, then all entries together: sorted by offset they must cover the data area from its
 * first byte to the end of the file, without hole or overlap. Where the reference reader is laxer
 * than its specification (a name twice, serde's array form), the specification holds.
 */
#include "format/format.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t dim_max = (1ull << 48) - 1;

/* What a file that is no shard looks like, from its first bytes; NULL if it looks like nothing. */
static const char *looks_like(const uint8_t *p, size_t n)
{
	static const struct { const char *bytes; size_t n; const char *what; } known[] = {
		{ "version ", 8, "a git-LFS pointer, not the weights; run `git lfs pull` or download with hf" },
		{ "<!DO", 4, "an HTML page saved under this name; download it again" },
		{ "<!do", 4, "an HTML page saved under this name; download it again" },
		{ "<htm", 4, "an HTML page saved under this name; download it again" },
		{ "{\"", 2, "JSON text saved under this name, perhaps an error message; download it again" },
		{ "\x1f\x8b", 2, "a gzip archive; unpack it" },
		{ "PK\x03\x04", 4, "a zip archive or a PyTorch pickle; get the safetensors file" },
		{ "\x80\x02", 2, "a Python pickle, which is never loaded; get the safetensors file" },
		{ "\x28\xb5\x2f\xfd", 4, "a zstd archive; unpack it" },
		{ "GGUF", 4, "a GGUF; give it as a model, not as a shard" },
	};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (n >= known[i].n && memcmp(p, known[i].bytes, known[i].n) == 0)
			return known[i].what;
	return NULL;
}

/* The header's text into h->text, after its length has been checked. */
static enum status read_text(struct st_header *h, const struct file *f, size_t *n, struct err *e)
{
	uint64_t size = f->id.size, length;
	uint8_t first[8];
	const char *seen;

	if (size < 8)
		return err_set(e, ERR_FORMAT, "%s: %llu bytes are too few for a safetensors file; download it again",
			       f->path, (unsigned long long)size);
	if (file_read(f, first, 8, 0, e) != OK)
		return e->status;
	length = load_le(first, 8);
	seen = looks_like(first, 8);
	if (length > ST_MAX_HEADER && seen)
		return err_set(e, ERR_FORMAT, "%s: is %s", f->path, seen);
	if (length > ST_MAX_HEADER)
		return err_set(e, ERR_FORMAT, "%s: header of %llu bytes claimed (bytes 0..8): the limit is %d; not a "
			       "safetensors file, or damaged", f->path, (unsigned long long)length, ST_MAX_HEADER);
	if (length > size - 8)
		return err_set(e, ERR_FORMAT, "%s: header claims to end at byte %llu, the file ends at %llu: it is cut "
			       "short; download it again", f->path, (unsigned long long)length + 8,
			       (unsigned long long)size);
	*n = (size_t)length;
	h->data_off = 8 + length;
	if (!(h->text = mem_new(*n + 1, 1, "a shard's header", e)))
		return e->status;
	return file_read(f, h->text, *n, 8, e);
}

static void check_name(struct json *j, struct str name)
{
	char shown[80];

	if (name.n == 0)
		json_fail(j, ERR_FORMAT, "a tensor has no name");
	else if (name.n > ST_MAX_NAME)
		json_fail(j, ERR_UNSUPPORTED, "a tensor's name has %zu bytes; the limit is %d", name.n, ST_MAX_NAME);
	for (size_t i = 0; i < name.n; i++)
		if ((unsigned char)name.p[i] < 0x20 || name.p[i] == 0x7F)
			json_fail(j, ERR_FORMAT, "tensor name '%s' has control bytes",
				  escape_text(shown, sizeof shown, name.p, name.n));
}

static void read_dtype(struct json *j, struct st_tensor *t)
{
	struct str s;
	char shown[40];
	enum dtype d;

	if (!json_string(j, &s))
		return;
	d = dtype_by_name(s.p, false);
	if (d == DT_NONE || !dtype_info(d)->in_safetensors)
		json_fail(j, ERR_UNSUPPORTED, "tensor %s: dtype '%s' is not known", t->name,
			  escape_text(shown, sizeof shown, s.p, s.n));
	t->dtype = (uint8_t)d;
}

static void read_shape(struct json *j, struct st_tensor *t)
{
	uint64_t v;

	if (!json_array(j))
		return;
	while (json_item(j) && json_u64(j, &v)) {
		if (v > dim_max)
			json_fail(j, ERR_FORMAT, "tensor %s: a dimension of %llu is over the limit of 2^48 - 1", t->name,
				  (unsigned long long)v);
		else if (t->n_dims == ST_MAX_RANK)
			json_fail(j, ERR_UNSUPPORTED, "tensor %s: more than %d dimensions", t->name, ST_MAX_RANK);
		else
			t->shape[t->n_dims++] = v;
	}
}

/* Into off and bytes, still relative to the data area, bytes holding the end. */
static void read_offsets(struct json *j, struct st_tensor *t)
{
	uint64_t v[2] = { 0 };
	unsigned n = 0;

	if (!json_array(j))
		return;
	while (json_item(j))
		if (n == 2)
			json_fail(j, ERR_FORMAT, "tensor %s: data_offsets has more than two numbers", t->name);
		else if (!json_u64(j, &v[n++]))
			return;
	if (j->err.status == OK && (n != 2 || v[0] > v[1]))
		json_fail(j, ERR_FORMAT, "tensor %s: data_offsets must be two numbers, begin and end", t->name);
	t->off = v[0];
	t->bytes = v[1];
}

static void read_entry(struct json *j, struct st_tensor *t, struct log *notes)
{
	bool dtype = false, shape = false, offsets = false;
	struct str key;
	char shown[80];

	if (!json_object(j))
		return;
	while (json_key(j, &key)) {
		if (str_is(key, "dtype"))
			dtype = true, read_dtype(j, t);
		else if (str_is(key, "shape"))
			shape = true, read_shape(j, t);
		else if (str_is(key, "data_offsets"))
			offsets = true, read_offsets(j, t);
		else {
			log_add(notes, "%s: tensor %s: key '%s' is not known and ignored", j->path, t->name,
				escape_text(shown, sizeof shown, key.p, key.n));
			json_skip(j);
		}
	}
	if (j->err.status == OK && !(dtype && shape && offsets))
		json_fail(j, ERR_FORMAT, "tensor %s: %s is missing", t->name,
			  !dtype ? "dtype" : !shape ? "shape" : "data_offsets");
}

static void read_metadata(struct json *j, struct log *notes)
{
	struct str key, value;

	if (json_peek(j) == JSON_NULL) {
		log_add(notes, "%s: __metadata__ is null", j->path);
		json_null(j);
	} else if (json_object(j)) {
		while (json_key(j, &key) && json_string(j, &value))
			;
	}
}

static enum status read_entries(struct st_header *h, struct json *j, uint32_t shard, struct log *notes,
				struct err *e)
{
	size_t cap = 0;
	struct str key;

	if (json_object(j))
		while (json_key(j, &key)) {
			void *p = h->tensors;

			if (str_is(key, "__metadata__")) {
				read_metadata(j, notes);
				continue;
			}
			check_name(j, key);
			if (mem_grow(&p, &cap, h->n_tensors + 1, sizeof *h->tensors, "tensors", e) != OK)
				return e->status;
			h->tensors = p;
			h->tensors[h->n_tensors] = (struct st_tensor){ .name = key.p, .shard = shard };
			read_entry(j, &h->tensors[h->n_tensors++], notes);
		}
	return OK;
}

static enum status check_size(const struct st_tensor *t, uint64_t begin, uint64_t end, const struct file *f,
			      struct err *e)
{
	uint64_t n = 1, bytes;
	bool fits = true;

	for (unsigned d = 0; d < t->n_dims; d++)
		fits &= u64_mul(n, t->shape[d], &n);
	if (!fits || !dtype_bytes(t->dtype, 1, n, &bytes))
		return err_set(e, ERR_FORMAT, "%s: tensor %s: its shape makes no whole number of bytes that fits "
			       "64 bits", f->path, t->name);
	if (bytes != end - begin)
		return err_set(e, ERR_FORMAT, "%s: tensor %s: shape and dtype say %llu bytes, data_offsets (bytes "
			       "%llu..%llu of the data) say %llu", f->path, t->name, (unsigned long long)bytes,
			       (unsigned long long)begin, (unsigned long long)end,
			       (unsigned long long)(end - begin));
	return OK;
}

static int by_offset(const void *a, const void *b)
{
	const struct st_tensor *x = a, *y = b;

	if (x->off != y->off)
		return x->off < y->off ? -1 : 1;
	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Sorts, and checks that the entries cover [data_off, size) exactly. */
static enum status check_tiling(struct st_header *h, const struct file *f, struct err *e)
{
	uint64_t at = 0, data = f->id.size - h->data_off;

	if (h->n_tensors)
		qsort(h->tensors, h->n_tensors, sizeof *h->tensors, by_offset);
	for (size_t i = 0; i < h->n_tensors; i++) {
		struct st_tensor *t = &h->tensors[i];
		uint64_t begin = t->off, end = t->bytes;

		if (begin != at)
			return err_set(e, ERR_FORMAT, "%s: tensor %s begins at byte %llu of the data, the one before ends "
				       "at %llu: %s", f->path, t->name, (unsigned long long)begin,
				       (unsigned long long)at, begin > at ? "a hole" : "an overlap");
		if (end > data)
			return err_set(e, ERR_FORMAT, "%s: tensor %s (bytes %llu..%llu of the data) lies past the end of "
				       "the file, which has %llu: it is cut short; download it again", f->path, t->name,
				       (unsigned long long)begin, (unsigned long long)end,
				       (unsigned long long)data);
		if (check_size(t, begin, end, f, e) != OK)
			return e->status;
		at = end;
		t->off = h->data_off + begin;
		t->bytes = end - begin;
	}
	if (at != data)
		return err_set(e, ERR_FORMAT, "%s: the tensors end at byte %llu of the data, the file has %llu: "
			       "trailing bytes are not allowed", f->path, (unsigned long long)at,
			       (unsigned long long)data);
	return OK;
}

enum status st_read(struct st_header *h, const struct file *f, uint32_t shard, struct log *notes,
		    struct err *e)
{
	struct json j;
	struct err first;
	size_t n = 0;
	enum status st;

	*h = (struct st_header){ 0 };
	TRY(read_text(h, f, &n, e));
	json_open(&j, h->text, n, 32, f->path);
	st = read_entries(h, &j, shard, notes, e);
	if (st != OK) {
		(void)!json_close(&j, &first);
		goto out;
	}
	TRY(json_close(&j, e));
	TRY(check_tiling(h, f, e));
out:
	if (st != OK)
		st_close(h);
	return st;
}

void st_close(struct st_header *h)
{
	free(h->text);
	free(h->tensors);
	*h = (struct st_header){ 0 };
}

uint64_t st_elements(const struct st_tensor *t)
{
	uint64_t n = 1;

	for (unsigned d = 0; d < t->n_dims; d++)
		n *= t->shape[d];
	return n;
}
