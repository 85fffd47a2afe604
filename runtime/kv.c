/* SPDX-License-Identifier: MIT
 *
 * kv.c - what the layers keep of a sequence: the window's last rows, one row for each block of
 * positions, and the products of the blocks that are still open.
 *
 * All in float32, as a batch has them, so that dividing a text does not change a bit. Rows are in
 * order of position, so a reader finds contiguous runs; what slides is moved, not wrapped. Arrays
 * are sized for the whole context at once and come zeroed from the system, which gives a page only
 * when a row is written there.
 */
#include "runtime/layer.h"

#include <stdlib.h>
#include <string.h>

struct array { float **at; uint64_t rows, width; };
enum { MAX_ARRAYS = 11 };

/* A layer's arrays; k may be any storage where only sizes are asked for. */
static size_t list_arrays(struct kv_layer *k, const struct arch *a, uint32_t ratio, uint32_t n_ctx,
			  struct array *out)
{
	bool overlap = ratio_overlaps(ratio);
	uint64_t blocks = ratio ? n_ctx / ratio : 0, pending = overlap ? 2 * (uint64_t)ratio - 1 : ratio - 1;
	size_t n = 0;

	out[n++] = (struct array){ &k->raw, u64_min(a->window, n_ctx) - 1, a->head_dim };
	for (int indexer = 0; indexer < 2 && blocks; indexer++) {
		uint64_t d = indexer ? a->idx_dim : a->head_dim, wide = overlap ? 2 * d : d;

		if (indexer && !rows_are_picked(a, n_ctx, ratio))
			continue;
		out[n++] = (struct array){ &k->rows[indexer], blocks, d };
		out[n++] = (struct array){ &k->up[indexer], pending, wide };
		out[n++] = (struct array){ &k->gate[indexer], pending, wide };
		out[n++] = (struct array){ &k->up_low[indexer], pending, wide };
		out[n++] = (struct array){ &k->gate_low[indexer], pending, wide };
	}
	return n;
}

static bool add_bytes(const struct array *a, uint64_t *sum)
{
	uint64_t n;

	return u64_mul(a->rows, a->width, &n) && u64_mul(n, sizeof(float), &n) && u64_add(*sum, n, sum);
}

uint64_t kv_bytes(const struct arch *a, uint32_t n_ctx)
{
	struct kv_layer none;
	struct array list[MAX_ARRAYS];
	uint64_t sum = 0;

	for (uint32_t l = 0; l < a->n_layer; l++) {
		size_t n = list_arrays(&none, a, a->ratio[l], n_ctx, list);

		for (size_t i = 0; i < n; i++)
			if (!add_bytes(&list[i], &sum))
				return UINT64_MAX;
	}
	return sum;
}

static enum status open_layer(struct kv *kv, uint32_t layer, struct err *e)
{
	struct array list[MAX_ARRAYS];
	size_t n = list_arrays(&kv->layers[layer], kv->arch, kv->arch->ratio[layer], kv->n_ctx, list);

	for (size_t i = 0; i < n; i++) {
		uint64_t each = list[i].width * sizeof(float);

		if (list[i].rows > SIZE_MAX || each > SIZE_MAX)
			return err_set(e, ERR_NOMEM, "no memory for the rows of a context of %u", kv->n_ctx);
		*list[i].at = mem_new((size_t)list[i].rows, (size_t)each, "the rows of a context", e);
		if (!*list[i].at)
			return e->status;
		kv->bytes += list[i].rows * each;
	}
	return OK;
}

enum status kv_open(struct kv *kv, const struct arch *a, uint32_t n_ctx, struct err *e)
{
	enum status st = OK;

	*kv = (struct kv){ .arch = a, .n_ctx = n_ctx };
	kv->layers = mem_new(a->n_layer, sizeof *kv->layers, "the rows of a context", e);
	if (!kv->layers)
		return e->status;
	for (uint32_t l = 0; l < a->n_layer && st == OK; l++)
		st = open_layer(kv, l, e);
	if (st != OK)
		kv_close(kv);
	return st;
}

void kv_close(struct kv *kv)
{
	for (uint32_t l = 0; kv->layers && l < kv->arch->n_layer; l++) {
		struct kv_layer *k = &kv->layers[l];

		free(k->raw);
		for (int i = 0; i < 2; i++) {
			free(k->rows[i]);
			free(k->up[i]);
			free(k->gate[i]);
			free(k->up_low[i]);
			free(k->gate_low[i]);
		}
	}
	free(kv->layers);
	*kv = (struct kv){ 0 };
}

void kv_slide(float *kept, size_t n_kept, const float *fresh, size_t n_fresh, size_t drop, size_t width)
{
	size_t stay = drop < n_kept ? n_kept - drop : 0, skip = drop < n_kept ? 0 : drop - n_kept;

	if (stay && drop)
		memmove(kept, kept + drop * width, stay * width * sizeof(float));
	if (n_fresh > skip)
		memcpy(kept + stay * width, fresh + skip * width, (n_fresh - skip) * width * sizeof(float));
}
