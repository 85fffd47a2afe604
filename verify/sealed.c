/* SPDX-License-Identifier: MIT
 *
 * sealed.c - every byte of a sealed GGUF against its seal.
 *
 * The header is covered by ingot.seal.header_sha256, the tensors by a digest a chunk, the digests
 * by the root, the padding by the rule that it is zero, and nothing may follow the last tensor. So
 * a flipped bit shows wherever it is, and in the data it names tensor, expert and byte range.
 */
#include <stdlib.h>
#include <string.h>

#include "verify/verify.h"

/* What the threads share. */
struct check {
	struct sealed_report *r;
	const struct file *f;
	uint64_t *first;		/* owned: number of each tensor's first chunk, and the total */
	struct seal_layout *layouts;	/* owned */
	uint8_t *bad;			/* owned: 1 for each chunk that differs */
	uint64_t done;
};

/* The tensor that holds chunk i. */
static size_t tensor_of(const struct check *c, uint64_t i)
{
	size_t lo = 0, hi = c->r->gguf->n_tensors;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->first[mid] <= i)
			lo = mid;
		else
			hi = mid;
	}
	/* empty tensors share their number with the next one: step to the one that has chunks */
	while (c->layouts[lo].n_chunks == 0)
		lo--;
	return lo;
}

static enum status check_chunk(void *arg, uint64_t i, struct verify_worker *w, struct err *e)
{
	struct check *c = arg;
	size_t t = tensor_of(c, i);
	struct seal_chunk chunk = seal_chunk(&c->layouts[t], i - c->first[t]);
	uint64_t off = c->r->gguf->tensors[t].off + chunk.off, left = chunk.bytes;
	uint8_t digest[SHA256_BYTES];

	verify_now(w, c->r->gguf->tensors[t].name);
	seal_leaf_start(&w->hash);
	while (left > 0) {
		size_t n = (size_t)u64_min(left, VERIFY_BUFFER);

		if (file_read(c->f, w->buf, n, off, e) != OK)
			return e->status;
		sha256_add(&w->hash, w->buf, n);
		off += n;
		left -= n;
	}
	sha256_end(&w->hash, digest);
	if (memcmp(digest, c->r->seal.chunk_sha256 + SHA256_BYTES * i, SHA256_BYTES) != 0)
		c->bad[i] = 1;
	__atomic_fetch_add(&c->done, chunk.bytes, __ATOMIC_RELAXED);
	return OK;
}

static enum status lay_out(struct check *c, struct err *e)
{
	const struct gguf *g = c->r->gguf;
	uint64_t n = 0;

	c->first = mem_new(g->n_tensors + 1, sizeof *c->first, "the list of chunks", e);
	c->layouts = mem_new(g->n_tensors, sizeof *c->layouts, "the list of chunks", e);
	c->bad = mem_new((size_t)c->r->seal.n_chunks, 1, "the list of chunks", e);
	if (!c->first || !c->layouts || !c->bad)
		return e->status;
	for (size_t i = 0; i < g->n_tensors; i++) {
		const struct gguf_tensor *t = &g->tensors[i];

		c->layouts[i] = seal_layout(t->shape, t->n_dims, t->bytes, c->r->seal.chunk_bytes);
		c->first[i] = n;
		n += c->layouts[i].n_chunks;
	}
	c->first[g->n_tensors] = n;
	return OK;
}

/* The signature's slot is blanked in every digest, so what may stand in it is checked here: spaces,
 * or an envelope (a JSON object of payload, payloadType and signatures) followed by spaces. */
static enum status check_signature_slot(struct sealed_report *r, struct err *e)
{
	size_t n = r->seal.signature.n;
	bool payload = false, type = false, signatures = false;
	struct json j;
	struct str key;
	enum status st;
	char *copy;

	while (n > 0 && r->seal.signature.p[n - 1] == ' ')
		n--;
	if (n == 0)
		return OK;
	if (!(copy = mem_new(n + 1, 1, "the signature", e)))
		return e->status;
	memcpy(copy, r->seal.signature.p, n);
	json_open(&j, copy, n, 8, "signature");
	if (json_object(&j))
		while (json_key(&j, &key)) {
			payload |= str_is(key, "payload");
			type |= str_is(key, "payloadType");
			signatures |= str_is(key, "signatures");
			json_skip(&j);
		}
	st = json_close(&j, e);
	r->signature_present = st == OK && payload && type && signatures;
	r->signature_differs = !r->signature_present;
	free(copy);
	return st == ERR_NOMEM ? st : OK;
}

/* The digests in the header against the root, and the header against its own digest. */
static enum status check_header(const struct check *c, struct err *e)
{
	struct sealed_report *r = c->r;
	const struct gguf *g = r->gguf;
	uint8_t *leaves = mem_new(g->n_tensors, SHA256_BYTES, "the seal", e), *copy = NULL, root[SHA256_BYTES];
	struct digest d = { .kind = DIGEST_SHA256 };
	struct sha256 h = { 0 };
	enum status st = ERR_NOMEM;

	copy = mem_new((size_t)r->seal.n_chunks, SHA256_BYTES, "the seal", e);
	if (!leaves || !copy)
		goto out;
	TRY(sha256_open(&h, e));
	memcpy(copy, r->seal.chunk_sha256, SHA256_BYTES * r->seal.n_chunks);
	for (size_t i = 0; i < g->n_tensors; i++) {
		const struct gguf_tensor *t = &g->tensors[i];

		seal_tree(&h, copy + SHA256_BYTES * c->first[i], c->layouts[i].n_chunks, root);
		seal_tensor_leaf(&h, t->name, t->dtype, t->n_dims, t->shape, root, leaves + SHA256_BYTES * i);
	}
	seal_tree(&h, leaves, g->n_tensors, root);
	r->root_differs = memcmp(root, r->seal.root, SHA256_BYTES) != 0;
	seal_header_sha256(&h, g->header, g->data_off, r->seal.header_sha256_off, r->seal.signature_off,
			   d.bytes);
	r->header_differs = memcmp(d.bytes, r->seal.header_sha256, SHA256_BYTES) != 0;
	seal_signed_digest(&h, g->header, g->data_off, r->seal.signature_off, d.bytes);
	digest_text(&d, r->header_sha256);
	r->claim = (struct seal_claim){ d, r->file_bytes, g->data_off, { .kind = DIGEST_SHA256 } };
	memcpy(r->claim.root.bytes, r->seal.root, SHA256_BYTES);
	st = check_signature_slot(r, e);
out:
	sha256_close(&h);
	free(leaves);
	free(copy);
	return st;
}

static enum status check_padding(const struct check *c, struct err *e)
{
	const struct gguf *g = c->r->gguf;
	uint8_t buf[4096];

	for (size_t i = 0; i < g->n_tensors; i++) {
		uint64_t at = g->tensors[i].off + g->tensors[i].bytes;
		uint64_t end = i + 1 < g->n_tensors ? g->tensors[i + 1].off : u64_min(g->end, c->f->id.size);

		while (at < end) {
			size_t n = (size_t)u64_min(sizeof buf, end - at);

			if (file_read(c->f, buf, n, at, e) != OK)
				return e->status;
			for (size_t k = 0; k < n; k++)
				if (buf[k] && !c->r->padding_differs) {
					c->r->padding_differs = true;
					c->r->padding_at = at + k;
				}
			at += n;
		}
	}
	return OK;
}

static enum status list_damage(const struct check *c, struct err *e)
{
	struct sealed_report *r = c->r;
	size_t n = 0;

	for (uint64_t i = 0; i < r->seal.n_chunks; i++)
		n += c->bad[i];
	r->damage = mem_new(n, sizeof *r->damage, "the list of damage", e);
	if (!r->damage)
		return e->status;
	for (uint64_t i = 0; i < r->seal.n_chunks; i++) {
		if (!c->bad[i])
			continue;
		size_t t = tensor_of(c, i);
		struct seal_chunk chunk = seal_chunk(&c->layouts[t], i - c->first[t]);
		uint64_t from = r->gguf->tensors[t].off + chunk.off;

		r->damage[r->n_damage++] = (struct damage){
			.tensor = r->gguf->tensors[t].name,
			.expert = c->layouts[t].n_matrices > 1 ? chunk.matrix : UINT64_MAX,
			.from = from,
			.to = from + chunk.bytes,
		};
	}
	return OK;
}

/* A file without a readable seal: never sealed, or the seal itself is what was hit? */
static enum status judge_unsealed(const struct gguf *g, const struct file *f, struct err *e)
{
	for (size_t i = 0; i < g->n_kv; i++)
		if (g->kv[i].key.n > 6 && memcmp(g->kv[i].key.p, "ingot.", 6) == 0)
			return err_set(e, ERR_MISMATCH, "%s: has keys of a seal, but not all of them: the header (bytes "
				       "0..%llu) is damaged, or another tool has rewritten it", f->path,
				       (unsigned long long)g->data_off);
	return err_set(e, ERR_NO_DIGEST, "%s: has no seal: it was not made by ingot, or another tool has rewritten "
		       "it; there is nothing to verify it against", f->path);
}

static enum status verdict(const struct sealed_report *r, const struct file *f, struct err *e)
{
	if (r->rewritten || (r->size_differs && !r->has_trailing && r->n_damage == 0))
		return err_set(e, ERR_MISMATCH, "%s: not sealed by its last writer: the seal speaks of %llu bytes, the "
			       "file has %llu%s; convert again, or take the original", f->path,
			       (unsigned long long)r->seal.file_size, (unsigned long long)r->file_bytes,
			       r->rewritten ? " with other tensors" : ", though its tensors match");
	if (r->has_trailing)
		return err_set(e, ERR_MISMATCH, "%s: bytes %llu..%llu follow the last tensor, where nothing may; cut them off or "
			       "copy it again", f->path,
			       (unsigned long long)r->gguf->end, (unsigned long long)r->file_bytes);
	if (r->signature_differs)
		return err_set(e, ERR_MISMATCH, "%s: the signature's slot (bytes %llu..%llu) holds neither spaces nor "
			       "an envelope; sign it again with --force", f->path, (unsigned long long)r->seal.signature_off,
			       (unsigned long long)(r->seal.signature_off + r->seal.signature.n));
	if (r->header_differs || r->root_differs)
		return err_set(e, ERR_MISMATCH, "%s: the header (bytes 0..%llu) is not as it was sealed%s", f->path,
			       (unsigned long long)r->gguf->data_off,
			       r->n_damage ? "" : "; the tensors match its digests");
	if (r->n_damage)
		return err_set(e, ERR_MISMATCH, "%s: damaged in %zu places; copy or convert it again", f->path,
			       r->n_damage);
	if (r->padding_differs)
		return err_set(e, ERR_MISMATCH, "%s: byte %llu lies between tensors and is not zero; copy it again", f->path,
			       (unsigned long long)r->padding_at);
	return OK;
}

enum status verify_headed(struct sealed_report *r, const struct gguf *g, const struct file *f, const struct verify_options *o,
			  struct err *e)
{
	struct check c = { .r = r, .f = f };
	enum status st;

	r->gguf = g;
	r->file_bytes = f->id.size;
	st = seal_read(&r->seal, g, e);
	if (st != OK) {
		if (st == ERR_NO_DIGEST)
			st = judge_unsealed(g, f, e);
		else
			st = err_wrap(e, "%s", f->path);
		goto out;
	}
	r->sealed = true;
	r->has_trailing = r->gguf->trailing;
	r->size_differs = r->seal.file_size != f->id.size;
	TRY(lay_out(&c, e));
	TRY(check_header(&c, e));
	/* size, tensors and header all strangers to the seal: a tool copied it into a file of its own,
	 * and comparing chunks would call every one of them damaged */
	r->rewritten = r->size_differs && !r->has_trailing && r->root_differs && r->header_differs;
	if (!r->rewritten && !o->header_only) {
		TRY(verify_parallel(r->seal.n_chunks, check_chunk, &c, o, &c.done, f->id.size, e));
		TRY(check_padding(&c, e));
		TRY(list_damage(&c, e));
	}
	TRY(file_unchanged(f, e));
	r->bytes_read = c.done + r->gguf->data_off;
	st = verdict(r, f, e);
out:
	free(c.first);
	free(c.layouts);
	free(c.bad);
	return st;
}

enum status verify_sealed(struct sealed_report *r, const struct file *f, const struct verify_options *o,
			  struct log *notes, struct err *e)
{
	enum status st;

	*r = (struct sealed_report){ .file_bytes = f->id.size };
	TRY(gguf_read(&r->own, f, notes, e));
	st = verify_headed(r, &r->own, f, o, e);
out:
	return st;
}

enum status verify_signature(const struct sealed_report *r, const struct key *k, const char *path,
			     struct err *e)
{
	return claim_check(&r->claim, r->seal.signature, k, path, e);
}

void sealed_report_close(struct sealed_report *r)
{
	gguf_close(&r->own);
	free(r->damage);
	*r = (struct sealed_report){ 0 };
}
