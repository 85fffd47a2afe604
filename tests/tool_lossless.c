/* SPDX-License-Identifier: MIT
 *
 * tool_lossless.c - tool_lossless SOURCE OUT.gguf [SIDECAR.gguf]: is every value of every tensor
 * the same, bit for bit, in the source and in the GGUF?
 *
 * Tensors are found through the project's table of names, but both sides are decoded here, from
 * the formulas of the formats in double precision, not by the project's codecs.
 */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/model.h"

static unsigned long long n_values, n_differ, n_tensors;

static double small_float(unsigned bits, unsigned n_exp, unsigned n_man, int bias)
{
	unsigned man = bits & ((1u << n_man) - 1), exp = bits >> n_man & ((1u << n_exp) - 1);
	double v = exp ? ldexp(1 + man / ldexp(1, (int)n_man), (int)exp - bias)
		       : ldexp(man, 1 - bias - (int)n_man);

	return bits >> (n_exp + n_man) & 1 ? -v : v;
}

static double plain(enum dtype t, const uint8_t *p, uint64_t i)
{
	uint64_t b = 0;
	unsigned n = dtype_info(t)->bytes;
	float f;

	memcpy(&b, p + i * n, n);
	switch (t) {
	case DT_BF16: return small_float((unsigned)b, 8, 7, 127);
	case DT_F16: return small_float((unsigned)b, 5, 10, 15);
	case DT_I32: return (int32_t)b;
	case DT_I64: return (double)(int64_t)b;
	default: memcpy(&f, &b, 4); return (double)f;
	}
}

static double from_source(const struct source_matrix *m, const uint8_t *w, const uint8_t *s, uint64_t r,
			  uint64_t c)
{
	uint64_t i = r * m->l.cols + c, k = 0;
	double scale;

	if (m->l.kind == SOURCE_PLAIN)
		return plain(m->l.type, w, i);
	k = r / m->l.block_rows * m->l.scale_cols + c / m->l.block_cols;
	scale = m->l.scale_type == DT_F32 ? plain(DT_F32, s, k) : ldexp(1, s[k] - 127);
	if (m->l.kind == SOURCE_FP8)
		return small_float(w[i], 4, 3, 7) * scale;
	return small_float(i % 2 ? w[i / 2] >> 4 : w[i / 2] & 15u, 2, 1, 1) * scale;
}

static double from_gguf(enum dtype t, const uint8_t *p, uint64_t i)
{
	if (t == DT_MXFP4) {
		const uint8_t *b = p + i / 32 * 17;
		unsigned q = b[1 + i % 16];

		return small_float(i % 32 < 16 ? q & 15 : q >> 4, 2, 1, 1) * ldexp(1, b[0] - 127);
	}
	return plain(t, p, i);
}

static uint8_t *read_bytes(const struct file *f, uint64_t off, uint64_t n)
{
	uint8_t *p = malloc(n ? n : 1);
	struct err e;

	if (!p || file_read(f, p, n, off, &e) != OK) {
		fprintf(stderr, "%s\n", p ? e.msg : "no memory");
		exit(2);
	}
	return p;
}

static void compare_matrix(const struct checkpoint *c, const struct source_matrix *m, enum dtype t,
			   const uint8_t *row0, uint64_t row_elements, uint64_t first, const char *name)
{
	uint64_t n_scales = m->scale ? (m->l.rows + m->l.block_rows - 1) / m->l.block_rows * m->l.scale_cols : 0;
	uint64_t b0, b1;

	source_weight_range(&m->l, 0, m->l.rows * m->l.cols, &b0, &b1);
	uint8_t *w = read_bytes(&c->files[m->weight->shard].file, m->weight->off + m->weight_off, b1);
	uint8_t *s = m->scale ? read_bytes(&c->files[m->scale->shard].file, m->scale->off + m->scale_off,
					   n_scales * dtype_info(m->l.scale_type)->bytes)
			      : NULL;
	for (uint64_t r = 0; r < m->l.rows; r++)
		for (uint64_t k = 0; k < m->l.cols; k++) {
			double a = from_source(m, w, s, r, k), b = from_gguf(t, row0, r * row_elements + first + k);

			n_values++;
			if (memcmp(&a, &b, sizeof a) != 0 && n_differ++ < 5)
				fprintf(stderr, "%s: row %llu, column %llu: %a became %a\n", name,
					(unsigned long long)r, (unsigned long long)k, a, b);
		}
	free(w);
	free(s);
}

static void compare_file(const struct checkpoint *c, const struct arch *a, const char *path,
			 enum model_part part)
{
	struct file f;
	struct gguf g;
	struct wants w;
	struct log problems = { 0 };
	struct err e;

	if (file_open(&f, AT_FDCWD, path, true, path, &e) != OK || gguf_read(&g, &f, &problems, &e) != OK ||
	    wants_build(&w, a, part, &e) != OK) {
		fprintf(stderr, "%s\n", e.msg);
		exit(2);
	}
	if (g.n_tensors != w.n)
		n_differ++, fprintf(stderr, "%s: %zu tensors, expected %zu\n", path, g.n_tensors, w.n);
	for (size_t i = 0; i < w.n; i++, n_tensors++) {
		const struct gguf_tensor *t = gguf_find_tensor(&g, w.w[i].name);
		uint64_t n = w.w[i].n_dims == 3 ? w.w[i].shape[0] : 1, parts = want_parts(&w.w[i]);

		if (!t) {
			n_differ++, fprintf(stderr, "%s: no tensor %s\n", path, w.w[i].name);
			continue;
		}
		for (uint64_t m = 0; m < n; m++) {
			uint8_t *p = read_bytes(&f, t->off + t->bytes / n * m, t->bytes / n);

			for (unsigned k = 0; k < parts; k++) {
				struct source_matrix s;
				bool found;

				source_bind(&s, &found, c, a, &w.w[i], m, k, &problems);
				if (found)
					compare_matrix(c, &s, t->dtype, p, s.l.cols * parts, s.l.cols * k, w.w[i].name);
				else
					n_differ++;
			}
			free(p);
		}
	}
	wants_close(&w);
	gguf_close(&g);
	file_close(&f);
	log_close(&problems);
}

int main(int argc, char **argv)
{
	struct checkpoint c;
	struct arch a;
	struct log notes = { 0 };
	struct err e;
	char *text;
	size_t n;

	if (argc < 3)
		return 2;
	if (checkpoint_open(&c, argv[1], NULL, &notes, &e) != OK ||
	    file_slurp(&checkpoint_file(&c, "config.json")->file, 1 << 20, &text, &n, &e) != OK ||
	    arch_from_config(&a, text, n, "config.json", &notes, &e) != OK) {
		fprintf(stderr, "%s\n", e.msg);
		return 2;
	}
	compare_file(&c, &a, argv[2], PART_TRUNK);
	if (argc > 3)
		compare_file(&c, &a, argv[3], PART_MTP);
	printf("%llu values in %llu tensors, %llu differ\n", n_values, n_tensors, n_differ);
	free(text);
	log_close(&notes);
	checkpoint_close(&c);
	return n_differ != 0;
}
