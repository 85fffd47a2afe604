/* SPDX-License-Identifier: MIT
 *
 * layout.c - where every byte of an output goes, and its header complete but for the digests.
 *
 * The seal's keys come last in the metadata and have fixed sizes, so the header's length, and with
 * it every offset, is known now; the digests are stored into the header's buffer as they become
 * known. Alignment is GGUF's default of 32: larger ones load everywhere, but llama-quantize and
 * llama-gguf-split write unreadable files from such input. Nothing in the header depends on the
 * output's path, the time or the machine.
 */
#include "convert/plan.h"

#include <string.h>

enum { ALIGNMENT = 32 };

static void put_seal(struct plan_output *out, struct gguf_writer *w, size_t *file_size_at)
{
	gguf_put_u32(w, SEAL_KEY_VERSION, SEAL_VERSION);
	gguf_put_u64(w, SEAL_KEY_FILE_SIZE, 0);
	*file_size_at = w->len - 8;
	gguf_put_u32(w, SEAL_KEY_CHUNK_BYTES, SEAL_CHUNK_BYTES);
	out->chunk_sha256_at = gguf_put_array(w, SEAL_KEY_CHUNKS, GGUF_U8, NULL, SHA256_BYTES * out->n_chunks);
	out->root_at = gguf_put_array(w, SEAL_KEY_ROOT, GGUF_U8, NULL, SHA256_BYTES);
	out->header_sha256_at = gguf_put_array(w, SEAL_KEY_HEADER, GGUF_U8, NULL, SHA256_BYTES);
	out->signature_at = gguf_put_spaces(w, SEAL_KEY_SIGNATURE, SEAL_SIGNATURE_BYTES);
}

/* llama.cpp's keys, in its types, and ours. */
static void put_split(const struct plan_output *whole, struct plan_output *out, struct gguf_writer *w)
{
	if (out->n_files <= 1)
		return;
	gguf_put_u16(w, SPLIT_KEY_NO, (uint16_t)out->file);
	gguf_put_u16(w, SPLIT_KEY_COUNT, (uint16_t)out->n_files);
	gguf_put_i32(w, SPLIT_KEY_TENSORS, (int32_t)whole->n_tensors);
	out->roots_at = gguf_put_array(w, SPLIT_KEY_ROOTS, GGUF_U8, NULL, SHA256_BYTES * (uint64_t)out->n_files);
	if (out->file > 0)
		out->first_header_at = gguf_put_array(w, SPLIT_KEY_FIRST, GGUF_U8, NULL, SHA256_BYTES);
}

enum status layout_file(const struct plan *p, const struct plan_output *whole, struct plan_output *out, const struct vocab *v,
			const struct plan_options *o, struct err *e)
{
	struct gguf_writer *w = &out->header;
	size_t file_size_at;

	out->n_chunks = 0;
	for (size_t i = 0; i < out->n_tensors; i++) {
		struct plan_tensor *t = &out->tensors[i];

		t->chunks = seal_layout(t->want.shape, t->want.n_dims, t->bytes, SEAL_CHUNK_BYTES);
		t->first_chunk = out->n_chunks;
		out->n_chunks += t->chunks.n_chunks;
	}
	gguf_writer_open(w, ALIGNMENT);
	if (metadata_put(p, whole, out, v, o, w, e) != OK)
		return e->status;
	put_split(whole, out, w);
	put_seal(out, w, &file_size_at);
	for (size_t i = 0; i < out->n_tensors; i++) {
		struct plan_tensor *t = &out->tensors[i];
		t->off = gguf_put_tensor(w, t->want.name, t->type, t->want.n_dims, t->want.shape);
	}
	if (gguf_writer_finish(w, &out->file_size, e) != OK)
		return e->status;
	for (size_t i = 0; i < out->n_tensors; i++)
		out->tensors[i].off += w->len;
	store_le(w->buf + file_size_at, 8, out->file_size);
	return OK;
}

/* Bytes of the smallest piece that can be made alone: a block of target and source (one is a multiple
 * of the other), or a whole row where an id table is
 * checked or two sources stand side by side. In elements through *elements. */
static uint64_t grain(const struct plan_tensor *t, uint64_t *elements)
{
	uint64_t row = t->want.shape[t->want.n_dims - 1];
	const struct dtype_info *info = dtype_info(t->type);

	*elements = info->block;
	if (dtype_info(t->source_type)->block > info->block)
		*elements = dtype_info(t->source_type)->block;
	if (t->class == CLASS_IDS || t->parts > 1)
		*elements = row;
	return *elements / info->block * info->bytes;
}

struct unit_range plan_unit(const struct plan_tensor *t, uint64_t chunk_in_matrix)
{
	struct seal_chunk c = seal_chunk(&t->chunks, chunk_in_matrix);
	uint64_t elements, bytes = grain(t, &elements), first = c.off / bytes;

	return (struct unit_range){
		.e0 = first * elements,
		.e1 = u64_div_up(c.off + c.bytes, bytes) * elements,
		.own = u64_div_up(c.off, bytes) * elements,
		.skip = c.off - first * bytes,
		.bytes = c.bytes,
	};
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t plan_piece(const struct plan_tensor *t)
{
	enum { PIECE = 128 << 10 };
	uint64_t elements;

	grain(t, &elements);
	return elements < PIECE ? PIECE / elements * elements : elements;
}

/* Adds what one tensor needs; n elements of a unit, at most, are in each part. */
static void add_sizes(struct unit_sizes *s, const struct plan *p, const struct plan_tensor *t, bool held)
{
	const struct source_matrix *m = &p->matrices[t->first_matrix];
	unsigned parts = t->parts;
	uint64_t elements, bytes = grain(t, &elements), b0, b1, s0, s1;
	uint64_t n = u64_min(SEAL_CHUNK_BYTES, t->chunks.matrix_bytes) / bytes + 2;

	n = u64_min(n * elements / parts, m->l.rows * m->l.cols);
	s->out = larger(s->out, SEAL_CHUNK_BYTES + 2 * bytes);
	source_weight_range(&m->l, 0, held && parts == 1 ? n : plan_piece(t), &b0, &b1);
	s->in = larger(s->in, b1);
	source_weight_range(&m->l, 0, 2 * elements, &b0, &b1);
	s->carry = larger(s->carry, b1);
	for (unsigned k = 0; k < parts; k++) {
		uint64_t rows = u64_min(u64_div_up(n, m[k].l.cols) + 1, m[k].l.rows);

		source_weight_range(&m[k].l, 0, plan_piece(t), &b0, &b1);
		s->aux = larger(s->aux, k ? b1 : 0);
		if (!m[k].scale)
			continue;
		source_scale_range(&m[k].l, 0, rows * m[k].l.cols, &s0, &s1);
		s->aux = larger(s->aux, (s1 + m[k].l.scale_cols) * dtype_info(m[k].l.scale_type)->bytes);
	}
}

struct unit_sizes plan_unit_sizes(const struct plan *p, bool held)
{
	struct unit_sizes s = { .in = 1 << 20 };	/* what is only hashed passes in such pieces */

	if (p->importance)
		s.importance = p->max_cols * sizeof(float);

	for (size_t o = 0; o < p->n_outputs; o++)
		for (size_t i = 0; i < p->out[o].n_tensors; i++)
			add_sizes(&s, p, &p->out[o].tensors[i], held);
	return s;
}
