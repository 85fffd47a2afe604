/* SPDX-License-Identifier: MIT
 *
 * aux.c - tensors read apart from the stream, and the proof that it was the same bytes.
 *
 * A weight is converted from the buffer that was hashed. Its scales may stand anywhere, even in
 * another shard, and are too many to keep (a layer of V4-Pro has 770 MB of them), so they are read
 * again where they are needed. Whichever of the two readings comes first leaves a SHA-256 of each
 * 64 KiB tile; the second must find the same.
 */
#include "convert/convert.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct aux_tensor { uint8_t *digests, *known; };	/* owned; per tile, made at first sight */
struct aux {
	pthread_mutex_t lock;
	struct aux_tensor *t;
	uint64_t *n_tiles;
	uint32_t n;
};

enum status aux_open(struct aux **out, const struct plan *p, struct err *e)
{
	struct aux *a = *out = mem_new(1, sizeof *a, "digests of scales", e);

	if (!a)
		return e->status;
	pthread_mutex_init(&a->lock, NULL);
	a->n = p->n_aux;
	a->t = mem_new(a->n, sizeof *a->t, "digests of scales", e);
	a->n_tiles = mem_new(a->n, sizeof *a->n_tiles, "digests of scales", e);
	if (!a->t || !a->n_tiles)
		return e->status;
	for (size_t s = 0; s < p->ckpt->n_shards; s++)
		for (size_t i = 0; i < p->ckpt->headers[s].n_tensors; i++)
			if (p->shards[s].use[i] == USE_AUX)
				a->n_tiles[p->shards[s].aux[i]] =
					u64_div_up(p->ckpt->headers[s].tensors[i].bytes, AUX_TILE);
	return OK;
}

enum status aux_seen(struct aux *a, uint32_t t, uint64_t tile, const void *p, size_t n,
		     struct sha256 *h, struct err *e)
{
	struct aux_tensor *x = &a->t[t];
	uint8_t digest[SHA256_BYTES];
	bool same = true;

	sha256_start(h);
	sha256_add(h, p, n);
	sha256_end(h, digest);
	pthread_mutex_lock(&a->lock);
	if (!x->digests) {
		x->digests = malloc((size_t)a->n_tiles[t] * (SHA256_BYTES + 1));
		x->known = x->digests ? x->digests + a->n_tiles[t] * SHA256_BYTES : NULL;
		if (x->known)
			memset(x->known, 0, (size_t)a->n_tiles[t]);
	}
	if (x->digests && x->known[tile])
		same = memcmp(x->digests + tile * SHA256_BYTES, digest, SHA256_BYTES) == 0;
	else if (x->digests)
		memcpy(x->digests + tile * SHA256_BYTES, digest, SHA256_BYTES), x->known[tile] = 1;
	pthread_mutex_unlock(&a->lock);
	if (!x->digests)
		return err_set(e, ERR_NOMEM, "no memory for digests of scales");
	return same ? OK : err_set(e, ERR_IO, "changed between two readings; let the writer finish and run "
				   "again");
}

enum status aux_read(struct aux *a, const struct checkpoint *c, const struct plan *p,
		     const struct st_tensor *t, uint64_t b0, uint64_t b1, uint8_t *buf,
		     const uint8_t **at, struct sha256 *h, struct err *e)
{
	uint32_t number = p->shards[t->shard].aux[t - c->headers[t->shard].tensors];
	uint64_t first = b0 / AUX_TILE * AUX_TILE, off = first;

	for (; off < b1; off += AUX_TILE) {
		size_t n = (size_t)u64_min(AUX_TILE, t->bytes - off);
		uint8_t *to = buf + (off - first);

		if (file_read(&c->files[t->shard].file, to, n, t->off + off, e) != OK)
			return e->status;
		if (aux_seen(a, number, off / AUX_TILE, to, n, h, e) != OK)
			return err_wrap(e, "%s: tensor %s, bytes %llu..%llu", c->files[t->shard].file.path,
					t->name, (unsigned long long)(t->off + off),
					(unsigned long long)(t->off + off + n));
	}
	*at = buf + (b0 - first);
	return OK;
}

void aux_close(struct aux *a)
{
	if (!a)
		return;
	for (uint32_t i = 0; a->t && i < a->n; i++)
		free(a->t[i].digests);
	pthread_mutex_destroy(&a->lock);
	free(a->t);
	free(a->n_tiles);
	free(a);
}
