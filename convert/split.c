/* SPDX-License-Identifier: MIT
 *
 * split.c - an output cut into files: OUT-00001-of-00003.gguf and so on, as llama.cpp reads them.
 *
 * The first file has the model's keys and, as every file, tensors: so its seal's root speaks of weights, and the roots
 * of all, which stand in each, tie the set together. Tensors keep their order; none is divided. The cut is made from
 * headers alone, so the files are the same from any run.
 */
#include "convert/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How one output is cut. */
struct cut {
	uint64_t most, base_first, base_rest;	/* bytes of a file, of headers without tensors */
	size_t *start;			/* owned; of each file its first tensor, and the end */
	size_t n;
};

/* What a tensor adds to a file, at most: its bytes, its entry in the header, its chunks' digests. */
static bool tensor_bytes(const struct plan_tensor *t, uint64_t *bytes)
{
	uint64_t entry = 8 + strlen(t->want.name) + 4 + 8 * t->want.n_dims + 4 + 8, digests;

	return u64_round_up(t->bytes, 32, bytes) && u64_mul(SHA256_BYTES, t->chunks.n_chunks, &digests) &&
	       u64_add(*bytes, entry, bytes) && u64_add(*bytes, digests, bytes);
}

/* Bytes of the header of a file without tensors, in a set as large as may be. */
static enum status header_bytes(const struct plan *p, const struct plan_output *whole, uint32_t number, const struct vocab *v,
				const struct plan_options *o, uint64_t *bytes, struct err *e)
{
	struct plan_output none = { .part = whole->part, .file = number, .n_files = SPLIT_MOST };
	enum status st = layout_file(p, whole, &none, v, o, e);

	*bytes = none.header.len + 64;	/* and what is padded elsewhere */
	gguf_writer_close(&none.header);
	return st;
}

static enum status too_small(const struct plan_output *whole, uint64_t most, uint64_t least, size_t worst, struct err *e)
{
	return err_set(e, ERR_USAGE, "--split-max-size: a file of %llu bytes cannot hold tensor %s (%llu bytes) with its header; "
		       "give at least %llu", (unsigned long long)most, whole->tensors[worst].want.name,
		       (unsigned long long)whole->tensors[worst].bytes, (unsigned long long)least);
}

/* The least size that every tensor fits in. */
static enum status check_size(const struct plan_output *whole, const struct cut *c, struct err *e)
{
	uint64_t least = 0;
	size_t worst = 0;

	for (size_t i = 0; i < whole->n_tensors; i++) {
		uint64_t bytes;

		if (!tensor_bytes(&whole->tensors[i], &bytes) || !u64_add(bytes, i ? c->base_rest : c->base_first, &bytes))
			return err_set(e, ERR_UNSUPPORTED, "tensor %s: its size does not fit 64 bits", whole->tensors[i].want.name);
		if (bytes > least) {
			least = bytes;
			worst = i;
		}
	}
	return c->most < least ? too_small(whole, c->most, least, worst, e) : OK;
}

static enum status cut_output(const struct plan *p, struct plan_output *whole, uint64_t most, const struct vocab *v,
			      const struct plan_options *o, struct cut *c, struct err *e)
{
	uint64_t used, bytes;
	enum status st;

	*c = (struct cut){ .most = most, .n = 1 };
	TRY(header_bytes(p, whole, 0, v, o, &c->base_first, e));
	TRY(header_bytes(p, whole, 1, v, o, &c->base_rest, e));
	TRY(check_size(whole, c, e));
	if (!(c->start = mem_new(whole->n_tensors + 2, sizeof *c->start, "the files of a set", e)))
		return e->status;
	used = c->base_first;
	for (size_t i = 0; i < whole->n_tensors; i++) {
		if (!tensor_bytes(&whole->tensors[i], &bytes))
			bytes = most;	/* check_size has seen that it fits */
		if (i > c->start[c->n - 1] && bytes > most - used) {
			c->start[c->n++] = i;
			used = c->base_rest;
		}
		used += bytes;
	}
	c->start[c->n] = whole->n_tensors;
	if (whole->file_size <= most)	/* it needs no second header, and fits */
		c->start[c->n = 1] = whole->n_tensors;
	if (c->n > SPLIT_MOST)
		st = err_set(e, ERR_USAGE, "--split-max-size: %zu files of at most %llu bytes; at most %d are made, give a larger "
			     "size", c->n, (unsigned long long)most, SPLIT_MOST);
out:
	return st;
}

/* File number k of a cut: its tensors and its header. */
static enum status make_file(const struct plan *p, const struct plan_output *whole, const struct cut *c, size_t k,
			     struct plan_output *out, const struct vocab *v, const struct plan_options *o, struct err *e)
{
	size_t from = c->start[k], n = c->start[k + 1] - from;

	*out = (struct plan_output){ .part = whole->part, .file = (uint32_t)k, .n_files = (uint32_t)c->n };
	if (!(out->tensors = mem_new(n, sizeof *out->tensors, "the plan", e)))
		return e->status;
	memcpy(out->tensors, whole->tensors + from, n * sizeof *out->tensors);
	out->n_tensors = n;
	if (layout_file(p, whole, out, v, o, e) != OK)
		return e->status;
	return plan_room_for_errors(out, e);
}

/* Feeds of output k go to the files that have its tensors now. */
static void move_feeds(struct plan *p, const struct cut *cuts, const size_t *first)
{
	for (size_t s = 0; s < p->ckpt->n_shards; s++)
		for (size_t i = 0; i < p->shards[s].n_feeds; i++) {
			struct feed *f = &p->shards[s].feeds[i];
			const struct cut *c = &cuts[f->output];
			size_t k = 0;

			while (c->start[k + 1] <= f->tensor)
				k++;
			f->output = (uint32_t)(first[f->output] + k);
			f->tensor -= (uint32_t)c->start[k];
		}
}

enum status plan_split(struct plan *p, uint64_t most, const struct vocab *v, const struct plan_options *o, struct err *e)
{
	struct cut cuts[PLAN_OUTPUTS] = { { 0 } };
	size_t first[PLAN_OUTPUTS], n = 0, done = 0;
	struct plan_output *out = NULL;
	enum status st = OK;

	for (size_t i = 0; i < p->n_outputs; i++) {
		TRY(cut_output(p, &p->out[i], most, v, o, &cuts[i], e));
		first[i] = n;
		n += cuts[i].n;
	}
	if (!(out = mem_new(n, sizeof *out, "the plan", e))) {
		st = e->status;
		goto out;
	}
	for (size_t i = 0; i < p->n_outputs; i++)
		for (size_t k = 0; k < cuts[i].n; k++, done++)
			TRY(make_file(p, &p->out[i], &cuts[i], k, &out[done], v, o, e));
	move_feeds(p, cuts, first);
	for (size_t i = 0; i < p->n_outputs; i++)
		plan_output_close(&p->out[i]);
	free(p->out);
	p->out = out;
	p->n_outputs = n;
	out = NULL;
out:
	for (size_t i = 0; out && i < n; i++)
		plan_output_close(&out[i]);
	free(out);
	for (size_t i = 0; i < PLAN_OUTPUTS; i++)
		free(cuts[i].start);
	return st;
}

size_t split_stem(const char *out)
{
	size_t n = strlen(out);

	return n > 5 && strcmp(out + n - 5, ".gguf") == 0 ? n - 5 : n;
}

char *split_path(const char *out, const struct plan_output *file, struct err *e)
{
	struct gguf_set_name name = { .stem = split_stem(out), .n = file->n_files };

	if (file->n_files <= 1)
		return mem_strdup(out, e);
	return gguf_set_path(out, &name, file->file, e);
}
