/* SPDX-License-Identifier: MIT
 *
 * tool_experts.c - SOURCE OUT: a copy of a checkpoint whose FP4 experts are BF16, each value moved to
 * somewhere in the interval that rounds to its code. Stands in for a model whose experts were never
 * four bits: what four bits cost cannot be measured on values that are on a grid of four bits.
 *
 * Writes OUT/model.safetensors, and config.json and the tokenizer's files as they are. The same
 * bytes for the same source.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "quantize/floats.h"
#include "quantize/quantize.h"

struct out_tensor { const struct st_tensor *t; struct source_matrix m; bool spread, dropped; uint64_t off, bytes; };
struct tool { struct checkpoint c; struct arch a; struct wants w[2]; struct out_tensor *v; size_t n; };

/* Where the values that round to each magnitude of E2M1 begin; the last ends at 6. */
static const float cell[9] = { 0, 0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5, 6 };
static const float magnitude[8] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6 };

static uint64_t next_random(uint64_t *s)
{
	uint64_t x = *s += 0x9E3779B97F4A7C15u;

	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return x ^ x >> 31;
}

/* x = code times scale, to BF16 somewhere in the code's interval. */
static uint16_t spread(float x, float scale, uint64_t *random)
{
	float u = (float)(next_random(random) >> 40) * 0x1p-24f, v = x < 0 ? -x : x;
	int k = 0;

	while (k < 7 && magnitude[k] * scale < v)
		k++;
	if (k == 0)
		return f32_to_bf16((2 * u - 1) * cell[1] * scale);
	v = (cell[k] + u * (cell[k + 1] - cell[k])) * scale;
	return f32_to_bf16(x < 0 ? -v : v);
}

static enum status slurp_range(const struct tool *t, const struct st_tensor *s, uint64_t off, uint64_t n, uint8_t **p,
			       struct err *e)
{
	*p = mem_new((size_t)n, 1, "a tensor", e);
	return *p ? file_read(&t->c.files[s->shard].file, *p, (size_t)n, s->off + off, e) : e->status;
}

static enum status spread_matrix(const struct tool *t, const struct out_tensor *o, uint64_t seed, uint8_t **out,
				 struct err *e)
{
	const struct source_layout *l = &o->m.l;
	uint64_t n = l->rows * l->cols, b0, b1, random = seed;
	struct source_run r = { .l = l, .e1 = n };
	uint8_t *weight = NULL, *scale = NULL;
	float *x = mem_new((size_t)n, sizeof *x, "values", e);
	enum status st = x ? OK : e->status;

	*out = NULL;
	TRY(st);
	source_weight_range(l, 0, n, &b0, &b1);
	TRY(slurp_range(t, o->m.weight, o->m.weight_off, b1, &weight, e));
	TRY(slurp_range(t, o->m.scale, o->m.scale_off, l->rows * l->scale_cols, &scale, e));
	r.weight = weight;
	r.scale = scale;
	if (source_decode(&r, x).kind != FAULT_NONE)
		st = err_set(e, ERR_FORMAT, "a NaN (tensor %s)", o->t->name);
	*out = mem_new((size_t)n, 2, "values", e);
	TRY(*out ? st : e->status);
	for (uint64_t i = 0; i < n; i++)
		store_le(*out + 2 * i, 2, spread(x[i], e8m0_to_f32(scale[i / l->block_cols]), &random));
out:
	free(weight);
	free(scale);
	free(x);
	return st;
}

static size_t index_of(const struct tool *t, const struct st_tensor *s)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].t == s)
			return i;
	return 0;
}

static void mark(struct tool *t, const struct want *w)
{
	struct source_matrix m;
	bool found;

	for (uint64_t k = 0; role_class(w->role) == CLASS_EXPERTS && k < w->shape[0]; k++) {
		source_bind(&m, &found, &t->c, &t->a, w, k, 0, NULL);
		if (!found || m.l.kind != SOURCE_FP4 || m.weight_off)
			continue;
		struct out_tensor *o = &t->v[index_of(t, m.weight)];
		o->m = m;
		o->spread = true;
		t->v[index_of(t, m.scale)].dropped = true;
	}
}

static enum status open_source(struct tool *t, const char *path, struct err *e)
{
	const struct source_file *f;
	struct log notes = { 0 };
	char *text = NULL;
	size_t n;
	enum status st;

	TRY(checkpoint_open(&t->c, path, NULL, &notes, e));
	f = checkpoint_file(&t->c, "config.json");
	TRY(f ? file_slurp(&f->file, CONFIG_LIMIT, &text, &n, e) : err_set(e, ERR_FORMAT, "%s: no config.json", path));
	TRY(arch_from_config(&t->a, text, n, path, &notes, e));
	t->v = mem_new(t->c.n_tensors, sizeof *t->v, "tensors", e);
	TRY(t->v ? OK : e->status);
	for (; t->n < t->c.n_tensors; t->n++)
		t->v[t->n].t = t->c.by_name[t->n];
	for (int part = 0; part < 2; part++) {
		TRY(wants_build(&t->w[part], &t->a, part ? PART_MTP : PART_TRUNK, e));
		for (size_t i = 0; i < t->w[part].n; i++)
			mark(t, &t->w[part].w[i]);
	}
out:
	free(text);
	log_close(&notes);
	return st;
}

static void write_header(struct tool *t, FILE *f)
{
	uint64_t off = 0;
	long end;
	uint8_t size[8] = { 0 };
	const char *comma = "{";

	fwrite(size, 1, 8, f);
	for (size_t i = 0; i < t->n; i++) {
		struct out_tensor *o = &t->v[i];

		if (o->dropped)
			continue;
		o->off = off;
		o->bytes = o->spread ? 2 * o->m.l.rows * o->m.l.cols : o->t->bytes;
		fprintf(f, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", comma, o->t->name,
			o->spread ? "BF16" : dtype_info(o->t->dtype)->name);
		for (unsigned d = 0; d < o->t->n_dims; d++)
			fprintf(f, "%s%llu", d ? "," : "",
				(unsigned long long)(o->spread ? d ? o->m.l.cols : o->m.l.rows : o->t->shape[d]));
		fprintf(f, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)off,
			(unsigned long long)(off + o->bytes));
		off += o->bytes;
		comma = ",";
	}
	fputc('}', f);
	while ((end = ftell(f)) % 8)
		fputc(' ', f);
	store_le(size, 8, (uint64_t)end - 8);
	fseek(f, 0, SEEK_SET);
	fwrite(size, 1, 8, f);
	fseek(f, end, SEEK_SET);
}

static enum status write_file(const char *dir, const char *name, const void *p, size_t n, struct err *e)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "wb");
	if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0)
		return err_errno(e, "%s: cannot write", path);
	return OK;
}

static enum status write_all(struct tool *t, const char *dir, struct err *e)
{
	char path[4096];
	FILE *f;
	enum status st = OK;

	snprintf(path, sizeof path, "%s/model.safetensors", dir);
	f = fopen(path, "wb");
	if (!f)
		return err_errno(e, "%s: cannot write", path);
	write_header(t, f);
	for (size_t i = 0; i < t->n && st == OK; i++) {
		const struct out_tensor *o = &t->v[i];
		uint8_t *p = NULL;

		if (o->dropped)
			continue;
		st = o->spread ? spread_matrix(t, o, i + 1, &p, e) : slurp_range(t, o->t, 0, o->bytes, &p, e);
		if (st == OK && fwrite(p, 1, (size_t)o->bytes, f) != o->bytes)
			st = err_errno(e, "%s: cannot write", path);
		free(p);
	}
	if (fclose(f) != 0 && st == OK)
		st = err_errno(e, "%s: cannot write", path);
	return st;
}

static enum status copy_small(const struct tool *t, const char *dir, struct err *e)
{
	enum status st = OK;

	for (size_t i = t->c.n_shards; i < t->c.n_files && st == OK; i++) {
		const struct source_file *s = &t->c.files[i];
		char *text = NULL;
		size_t n;

		if (strcmp(s->name, "model.safetensors.index.json") == 0)
			continue;
		st = file_slurp(&s->file, 256 << 20, &text, &n, e);
		if (st == OK)
			st = write_file(dir, s->name, text, n, e);
		free(text);
	}
	return st;
}

int main(int argc, char **argv)
{
	struct tool t = { .c = CHECKPOINT_NONE };
	struct err e = { 0 };
	enum status st;

	if (argc != 3) {
		fprintf(stderr, "usage: tool_experts SOURCE OUT\n");
		return 2;
	}
	(void)mkdir(argv[2], 0777);
	TRY(open_source(&t, argv[1], &e));
	TRY(write_all(&t, argv[2], &e));
	TRY(copy_small(&t, argv[2], &e));
out:
	for (int i = 0; i < 2; i++)
		wants_close(&t.w[i]);
	free(t.v);
	checkpoint_close(&t.c);
	if (st != OK)
		fprintf(stderr, "tool_experts: %s\n", e.msg);
	return status_exit_code(st);
}
