/* SPDX-License-Identifier: MIT
 *
 * safetensors.c - one shard's header: read, check, and list its tensors.
 *
 *	byte 0        8                 8 + n                         file size
 *	     | n: u64 | header: JSON, n | data: tensors without holes |
 *	{ "__metadata__": { string: string, ... },
 *	  NAME: { "dtype": TYPE, "shape": [ u64, ... ], "data_offsets": [ begin, end ] }, ... }
 *
 * Invariant: after st_read every tensor lies inside the file, has the bytes that its type and
 * shape ask for, and the tensors in order of their offsets fill the data area exactly: no byte is
 * in two of them and none in no one. Nothing is allocated for a length the file does not have.
 *
 * Spec: the safetensors format (README, JSON schema and reference reader), stricter where they
 * disagree: no duplicate or control-byte names, no serde forms. Read from the bottom.
 */
#include "format/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LENGTH_BYTES = 8,
	MAX_DEPTH = 32,		/* of JSON; a header needs 3 */
	LEAST_ENTRY = 50,	/* bytes of text that any tensor takes */
	LOOK_BYTES = 64,	/* of the file's start, to say what else it may be */
};
#define MAX_DIM ((UINT64_C(1) << 48) - 1)	/* by the format's schema */

/* A reader at work. */
struct scan {
	struct json j;
	struct st_header *h;
	size_t cap;		/* of h->tensors */
	uint64_t data_bytes;	/* of the file behind the header */
	uint32_t shard;
	const char *name;	/* of the tensor at hand */
	bool null_metadata;
	size_t n_odd_keys;	/* unknown keys in tensor entries, and the first of them */
	const char *odd_tensor, *odd_key;
	size_t n_odd_dims;	/* empty tensors beyond the schema's dims, and the first */
	const char *odd_dims;
};

uint64_t st_elements(const struct st_tensor *t)
{
	uint64_t n = 1;

	for (unsigned i = 0; i < t->n_dims; i++)
		n *= t->shape[i];
	return n;
}

void st_close(struct st_header *h)
{
	free(h->tensors);
	free(h->text);
	*h = (struct st_header){ 0 };
}

/* ---- one tensor's entry --------------------------------------------------------------------- */

static void read_dtype(struct scan *s, struct st_tensor *t)
{
	struct str name;
	enum dtype d;

	if (!json_string(&s->j, &name))
		return;
	d = dtype_by_name(name.p, false);
	if (d == DT_NONE || !dtype_info(d)->in_safetensors) {
		d = dtype_by_name(name.p, true);
		if (d != DT_NONE && dtype_info(d)->in_safetensors)
			json_fail(&s->j, ERR_FORMAT, "tensor %.200s: dtype \"%.100s\" has to be "
				  "spelled \"%s\"", s->name, name.p, dtype_info(d)->name);
		else
			json_fail(&s->j, ERR_UNSUPPORTED, "tensor %.200s: dtype \"%.100s\" is not "
				  "one this program knows", s->name, name.p);
		return;
	}
	t->dtype = (uint8_t)d;
}

static void read_shape(struct scan *s, struct st_tensor *t)
{
	uint64_t dim;

	if (!json_array(&s->j))
		return;
	while (json_item(&s->j)) {
		if (t->n_dims == ST_MAX_RANK) {
			json_fail(&s->j, ERR_UNSUPPORTED, "tensor %.200s: more than %d dimensions, "
				  "which is the limit of this program", s->name, ST_MAX_RANK);
			return;
		}
		if (!json_u64(&s->j, &dim))
			return;
		t->shape[t->n_dims++] = dim;
	}
}

static void read_offsets(struct scan *s, struct st_tensor *t)
{
	uint64_t at[2] = { 0, 0 };
	unsigned n = 0;

	if (!json_array(&s->j))
		return;
	while (json_item(&s->j)) {
		if (n == 2) {
			json_fail(&s->j, ERR_FORMAT, "tensor %.200s: data_offsets has more than two "
				  "numbers", s->name);
			return;
		}
		if (!json_u64(&s->j, &at[n++]))
			return;
	}
	if (s->j.err.status != OK)
		return;
	if (n < 2)
		json_fail(&s->j, ERR_FORMAT, "tensor %.200s: data_offsets has %u numbers instead of "
			  "two", s->name, n);
	else if (at[1] < at[0])
		json_fail(&s->j, ERR_FORMAT, "tensor %.200s: data_offsets end (%" PRIu64 ") before "
			  "they begin (%" PRIu64 ")", s->name, at[1], at[0]);
	else if (at[1] > s->data_bytes)
		json_fail(&s->j, ERR_FORMAT, "tensor %.200s: data_offsets end at %" PRIu64 " but the "
			  "file has %" PRIu64 " bytes of data; if it is a download, it is not "
			  "complete: get it again", s->name, at[1], s->data_bytes);
	t->off = at[0];
	t->bytes = at[1] - at[0];
}

/* Do shape and type ask for the bytes that the offsets span? Products are checked without the
 * zeros among the dims, so that [0, 2^63, 2^63] is no way around them. */
static void check_size(struct scan *s, const struct st_tensor *t)
{
	uint64_t n = 1, want;
	bool empty = false, beyond = false;

	for (unsigned i = 0; i < t->n_dims; i++) {
		uint64_t dim = t->shape[i];
		empty = empty || dim == 0;
		beyond = beyond || dim > MAX_DIM;
		if (dim > INT64_MAX || (dim > 0 && !u64_mul(n, dim, &n))) {
			json_fail(&s->j, ERR_FORMAT, "tensor %.200s: its shape does not fit 64 bits "
				  "(dimension %u is %" PRIu64 ")", s->name, i, dim);
			return;
		}
	}
	/* the whole tensor as one row: a plain type has no rows of blocks */
	if (n > UINT64_MAX / 64 || !dtype_bytes((enum dtype)t->dtype, 1, empty ? 0 : n, &want)) {
		json_fail(&s->j, ERR_FORMAT, "tensor %.200s: %" PRIu64 " elements of %s are no whole "
			  "number of bytes or too many", s->name, n,
			  dtype_info((enum dtype)t->dtype)->name);
	} else if (want != t->bytes) {
		json_fail(&s->j, ERR_FORMAT, "tensor %.200s: data_offsets span %" PRIu64 " bytes, "
			  "dtype and shape ask for %" PRIu64, s->name, t->bytes, want);
	} else if (beyond && s->n_odd_dims++ == 0) {
		s->odd_dims = s->name;
	}
}

static bool name_is_fine(struct scan *s, struct str name)
{
	if (name.n == 0) {
		json_fail(&s->j, ERR_FORMAT, "a tensor with an empty name");
		return false;
	}
	if (name.n > ST_MAX_NAME) {
		json_fail(&s->j, ERR_UNSUPPORTED, "tensor %.60s...: a name of %zu bytes, the limit of "
			  "this program is %d", name.p, name.n, ST_MAX_NAME);
		return false;
	}
	for (size_t i = 0; i < name.n; i++)
		if ((unsigned char)name.p[i] < 0x20 || name.p[i] == 0x7F) {
			json_fail(&s->j, ERR_FORMAT, "tensor %.200s: control byte 0x%02x in the name",
				  name.p, (unsigned)(unsigned char)name.p[i]);
			return false;
		}
	return true;
}

static void read_tensor(struct scan *s, struct st_tensor *t)
{
	enum { HAS_DTYPE = 1, HAS_SHAPE = 2, HAS_OFFSETS = 4, HAS_ALL = 7 };
	unsigned has = 0;
	struct str key;

	if (!json_object(&s->j))
		return;
	while (json_key(&s->j, &key)) {
		if (str_is(key, "dtype")) {
			read_dtype(s, t);
			has |= HAS_DTYPE;
		} else if (str_is(key, "shape")) {
			read_shape(s, t);
			has |= HAS_SHAPE;
		} else if (str_is(key, "data_offsets")) {
			read_offsets(s, t);
			has |= HAS_OFFSETS;
		} else {
			if (s->n_odd_keys++ == 0) {
				s->odd_tensor = s->name;
				s->odd_key = key.p;
			}
			json_skip(&s->j);
		}
	}
	if (s->j.err.status == OK && has != HAS_ALL)
		json_fail(&s->j, ERR_FORMAT, "tensor %.200s: %s is missing", s->name,
			  !(has & HAS_DTYPE) ? "dtype" : !(has & HAS_SHAPE) ? "shape" :
			  "data_offsets");
	if (s->j.err.status == OK)
		check_size(s, t);
}

/* ---- the header --------------------------------------------------------------------------- */

/* Room for one more tensor: by halves, but never for more than the rest of the text can hold. */
static struct st_tensor *new_tensor(struct scan *s)
{
	struct st_header *h = s->h;
	size_t most = h->n_tensors + (s->j.len - s->j.pos) / LEAST_ENTRY + 1;
	size_t want = s->cap + s->cap / 2 + 64;

	if (h->n_tensors == s->cap) {
		want = want < most ? want : most;
		struct st_tensor *p = realloc(h->tensors, want * sizeof *p);
		if (!p) {
			json_fail(&s->j, ERR_NOMEM, "no memory for the list of tensors (%zu x %zu "
				  "bytes)", want, sizeof *p);
			return NULL;
		}
		h->tensors = p;
		s->cap = want;
	}
	h->tensors[h->n_tensors] = (struct st_tensor){ .shard = s->shard, .name = s->name };
	return &h->tensors[h->n_tensors++];
}

static void read_metadata(struct scan *s)
{
	struct str key, value;

	if (json_peek(&s->j) == JSON_NULL) {
		s->null_metadata = json_null(&s->j);
		return;
	}
	if (json_object(&s->j))
		while (json_key(&s->j, &key))
			(void)json_string(&s->j, &value);
}

static void read_header(struct scan *s)
{
	struct st_tensor *t;
	struct str key;

	if (!json_object(&s->j))
		return;
	while (json_key(&s->j, &key)) {
		if (str_is(key, "__metadata__")) {
			read_metadata(s);
		} else if (name_is_fine(s, key)) {
			s->name = key.p;
			if ((t = new_tensor(s)))
				read_tensor(s, t);
		}
	}
}

/* ---- order and tiling ---------------------------------------------------------------------- */

/* What is sorted instead of the tensors, which are six times as large. */
struct place { uint64_t off; uint32_t filled, index; };

static bool place_before(const struct place *a, const struct place *b)
{
	if (a->off != b->off)
		return a->off < b->off;
	if (a->filled != b->filled)
		return a->filled < b->filled;
	return a->index < b->index;
}

static void sift(struct place *p, size_t root, size_t n)
{
	struct place moved = p[root];

	for (size_t child; (child = 2 * root + 1) < n; root = child) {
		if (child + 1 < n && place_before(&p[child], &p[child + 1]))
			child++;
		if (!place_before(&moved, &p[child]))
			break;
		p[root] = p[child];
	}
	p[root] = moved;
}

/* Heap sort: in place, and n log n whatever the order that an attacker wrote. */
static void sort_places(struct place *p, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift(p, i, n);
	for (size_t i = n; i-- > 1;) {
		struct place last = p[i];
		p[i] = p[0];
		p[0] = last;
		sift(p, 0, i);
	}
}

/* Puts the tensors in order of their offsets, empty ones before what begins at the same byte. */
static enum status sort_tensors(struct st_header *h, struct err *e)
{
	struct st_tensor *t = h->tensors, moved;
	struct place *p;
	size_t n = h->n_tensors, i = 1;

	while (i < n && (t[i - 1].off < t[i].off ||
			 (t[i - 1].off == t[i].off && t[i - 1].bytes == 0)))
		i++;
	if (i >= n)
		return OK;
	if (!(p = mem_new(n, sizeof *p, "the order of tensors", e)))
		return e->status;
	for (i = 0; i < n; i++)
		p[i] = (struct place){ t[i].off, t[i].bytes > 0, (uint32_t)i };
	sort_places(p, n);
	/* each cycle of the permutation moves its tensors by one */
	for (i = 0; i < n; i++) {
		size_t to = i, from = p[i].index;
		if (from == i)
			continue;
		moved = t[i];
		for (; from != i; to = from, from = p[to].index) {
			t[to] = t[from];
			p[to].index = (uint32_t)to;
		}
		t[to] = moved;
		p[to].index = (uint32_t)to;
	}
	free(p);
	return OK;
}

/* Do the tensors, in order, fill the data area? Turns their offsets into offsets in the file. */
static enum status check_tiling(struct st_header *h, uint64_t data_bytes, const char *path,
				struct err *e)
{
	const struct st_tensor *before = NULL;
	uint64_t at = 0;

	for (size_t i = 0; i < h->n_tensors; i++) {
		struct st_tensor *t = &h->tensors[i];
		if (t->off < at)
			return err_set(e, ERR_FORMAT, "%.700s: overlapping tensors (tensor %.300s, "
				       "data bytes %" PRIu64 "..%" PRIu64 "): tensor %.300s reaches "
				       "to %" PRIu64, path, t->name, t->off, t->off + t->bytes,
				       before ? before->name : "", at);
		if (t->off > at)
			return err_set(e, ERR_FORMAT, "%.700s: a hole before a tensor (tensor %.300s, "
				       "data bytes %" PRIu64 "..%" PRIu64 "): the bytes belong to no "
				       "tensor", path, t->name, at, t->off);
		at += t->bytes;
		t->off += h->data_off;
		before = t;
	}
	if (at != data_bytes)
		return err_set(e, ERR_FORMAT, "%.700s: bytes after the last tensor (data bytes %" PRIu64
			       "..%" PRIu64 "): they belong to no tensor", path, at, data_bytes);
	return OK;
}

/* ---- the file ------------------------------------------------------------------------------ */

struct look { const char *magic; size_t n; const char *is, *next; };
#define LOOK(magic, is, next) { magic, sizeof(magic) - 1, is, next }
static const struct look looks[] = {
	LOOK("version https://git-lfs", "a git-LFS pointer, not the weights",
	     "run `git lfs pull`, or download the file itself"),
	LOOK("<!", "a web page", "the download got an error page: get the file again"),
	LOOK("<html", "a web page", "the download got an error page: get the file again"),
	LOOK("<HTML", "a web page", "the download got an error page: get the file again"),
	LOOK("<?xml", "an XML page", "the download got an error page: get the file again"),
	LOOK("{\"", "a JSON text", "the download got an error message: get the file again"),
	LOOK("{ ", "a JSON text", "the download got an error message: get the file again"),
	LOOK("{\n", "a JSON text", "the download got an error message: get the file again"),
	LOOK("\x1f\x8b\x08", "a gzip archive", "decompress it"),
	LOOK("PK\x03\x04", "a zip archive, perhaps a PyTorch checkpoint", "convert it to safetensors"),
	LOOK("\x28\xb5\x2f\xfd", "a Zstandard archive", "decompress it"),
	LOOK("\xfd" "7zXZ", "an xz archive", "decompress it"),
	LOOK("\x80\x02", "a Python pickle", "convert it to safetensors; a pickle runs code when "
	     "loaded"),
	LOOK("\x80\x04", "a Python pickle", "convert it to safetensors; a pickle runs code when "
	     "loaded"),
	LOOK("GGUF", "a GGUF file", "give it where a model is asked for, not as a shard"),
	LOOK("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "a hole, zeros from its first byte on", "the download did not get "
	     "that far: get the file again"),
};

/* What a file that is no shard looks like, or NULL. */
static const struct look *look_at(const uint8_t *head, size_t n)
{
	size_t at = n >= 3 && memcmp(head, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;

	while (at < n && (head[at] == ' ' || head[at] == '\n' || head[at] == '\r'))
		at++;
	for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++)
		if (n - at >= looks[i].n && memcmp(head + at, looks[i].magic, looks[i].n) == 0)
			return &looks[i];
	return NULL;
}

static bool starts_json(uint8_t c)
{
	return c == '{' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The header's length, checked against the file before anything is made for it. */
static enum status read_length(const struct file *f, uint64_t *n, struct err *e)
{
	uint8_t head[LOOK_BYTES];
	uint64_t size = f->id.size, length = 0;
	size_t got = (size_t)u64_min(size, sizeof head);
	const struct look *look;
	enum status st = file_read(f, head, got, 0, e);

	if (st != OK)
		return st;
	if (got > LENGTH_BYTES)
		length = load_le(head, LENGTH_BYTES);
	if (length >= 1 && length <= ST_MAX_HEADER && length <= size - LENGTH_BYTES &&
	    starts_json(head[LENGTH_BYTES])) {
		*n = length;
		return OK;
	}
	look = look_at(head, got);
	if (look)
		return err_set(e, ERR_FORMAT, "%.700s: not a safetensors file: it looks like %s; %s", f->path,
			       look->is, look->next);
	if (got <= LENGTH_BYTES)
		return err_set(e, ERR_FORMAT, "%.700s: not a safetensors file: %" PRIu64 " bytes are "
			       "no header; if it is a download, get it again", f->path, size);
	if (length == 0)
		return err_set(e, ERR_FORMAT, "%.700s: not a safetensors file: a header of 0 bytes",
			       f->path);
	if (length > ST_MAX_HEADER)
		return err_set(e, ERR_FORMAT, "%.700s: not a safetensors file: a header of %" PRIu64
			       " bytes, the format allows %d%s", f->path, length, ST_MAX_HEADER,
			       __builtin_bswap64(length) <= u64_min(ST_MAX_HEADER, size) ?
			       "; the length seems to be big-endian" : "");
	if (length > size - LENGTH_BYTES)
		return err_set(e, ERR_FORMAT, "%.700s: cut short: a header of %" PRIu64 " bytes in a "
			       "file of %" PRIu64 "; get the file again", f->path, length, size);
	return err_set(e, ERR_FORMAT, "%.700s: header: it begins with byte 0x%02x instead of '{'",
		       f->path, (unsigned)head[LENGTH_BYTES]);
}

static void add_notes(const struct scan *s, const char *path, struct log *notes)
{
	if (s->null_metadata)
		log_add(notes, "%s: __metadata__ is null; taken as absent", path);
	if (s->n_odd_keys)
		log_add(notes, "%s: keys that the format does not have in tensor entries: %zu, the "
			"first \"%.200s\" (tensor %s); ignored", path, s->n_odd_keys, s->odd_key,
			s->odd_tensor);
	if (s->n_odd_dims)
		log_add(notes, "%s: empty tensors with a dimension beyond 2^48-1: %zu, the first "
			"%s", path, s->n_odd_dims, s->odd_dims);
}

/* The header's text is in h->text. */
static enum status parse(struct scan *s, size_t n, const char *path, struct err *e)
{
	char label[768];
	struct st_header *h = s->h;
	enum status st;

	snprintf(label, sizeof label, "%.700s: header", path);
	json_open(&s->j, h->text, n, MAX_DEPTH, label);
	read_header(s);
	TRY(json_close(&s->j, e));
	if (h->n_tensors > UINT32_MAX) {
		st = err_set(e, ERR_UNSUPPORTED, "%.700s: more than 2^32 tensors", path);
		goto out;
	}
	TRY(sort_tensors(h, e));
	TRY(check_tiling(h, s->data_bytes, path, e));
out:
	return st;
}

enum status st_read(struct st_header *h, const struct file *f, uint32_t shard, struct log *notes,
		    struct err *e)
{
	struct scan s = { .h = h, .shard = shard };
	uint64_t n = 0;
	enum status st;

	*h = (struct st_header){ 0 };
	TRY(read_length(f, &n, e));
	h->data_off = LENGTH_BYTES + n;
	s.data_bytes = f->id.size - h->data_off;
	if (!(h->text = mem_new((size_t)n, 1, "a safetensors header", e))) {
		st = e->status;
		goto out;
	}
	TRY(file_read(f, h->text, (size_t)n, LENGTH_BYTES, e));
	TRY(parse(&s, (size_t)n, f->path, e));
	if (notes)
		add_notes(&s, f->path, notes);
out:
	if (st != OK)
		st_close(h);
	return st;
}
