/* SPDX-License-Identifier: MIT
 *
 * seal.c - digests that lie inside a GGUF, so that every bit of it is covered and damage is
 * located to a chunk.
 *
 *	chunk leaf   SHA-256(0x00 || bytes)            chunks never cross a matrix (expert)
 *	tensor root  RFC 6962 tree over its chunk leaves
 *	tensor leaf  SHA-256(0x00 || name, type, dims, tensor root)
 *	file root    RFC 6962 tree over the tensor leaves, in file order
 *	header       SHA-256 of [0, data_off), its own value as zeros, the signature as spaces
 *
 * The tree of RFC 6962 section 2.1 splits at the largest power of two below n; pairing
 * neighbours level by level and promoting an odd last node builds the same tree.
 *
 * Invariant: nothing here reads outside the header that gguf_read checked; seal_read proves the
 * offsets and counts that the other functions take.
 */
#include "format/format.h"

#include <inttypes.h>
#include <string.h>

struct seal_layout seal_layout(const uint64_t *shape, unsigned n_dims, uint64_t bytes,
			       uint64_t chunk_bytes)
{
	struct seal_layout l = { .n_matrices = 1, .chunk_bytes = chunk_bytes };

	if (n_dims > 2)
		l.n_matrices = shape[0];
	if (bytes == 0 || l.n_matrices == 0 || chunk_bytes == 0)
		return (struct seal_layout){ .chunk_bytes = chunk_bytes };
	if (bytes % l.n_matrices != 0)
		l.n_matrices = 1;	/* no tensor of ours; still every byte gets a chunk */
	l.matrix_bytes = bytes / l.n_matrices;
	l.per_matrix = u64_div_up(l.matrix_bytes, chunk_bytes);
	l.n_chunks = l.n_matrices * l.per_matrix;	/* at most bytes */
	return l;
}

struct seal_chunk seal_chunk(const struct seal_layout *l, uint64_t i)
{
	struct seal_chunk c = { 0 };
	uint64_t in_matrix;

	if (i >= l->n_chunks)
		return c;
	c.matrix = i / l->per_matrix;
	in_matrix = i % l->per_matrix * l->chunk_bytes;
	c.off = c.matrix * l->matrix_bytes + in_matrix;
	c.bytes = u64_min(l->chunk_bytes, l->matrix_bytes - in_matrix);
	return c;
}

void seal_leaf_start(struct sha256 *h)
{
	sha256_start(h);
	sha256_add(h, &(uint8_t){ 0 }, 1);
}

/* RFC 6962's inner node; out may be left. */
static void node(struct sha256 *h, const uint8_t *left, const uint8_t *right, uint8_t *out)
{
	sha256_start(h);
	sha256_add(h, &(uint8_t){ 1 }, 1);
	sha256_add(h, left, SHA256_BYTES);
	sha256_add(h, right, SHA256_BYTES);
	sha256_end(h, out);
}

void seal_tree(struct sha256 *h, uint8_t *leaves, uint64_t n, uint8_t root[SHA256_BYTES])
{
	if (n == 0) {
		sha256_start(h);
		sha256_end(h, root);
		return;
	}
	for (; n > 1; n = u64_div_up(n, 2)) {
		for (uint64_t i = 0; i < n / 2; i++)
			node(h, leaves + 2 * i * SHA256_BYTES, leaves + (2 * i + 1) * SHA256_BYTES,
			     leaves + i * SHA256_BYTES);
		if (n % 2 != 0)
			memmove(leaves + n / 2 * SHA256_BYTES, leaves + (n - 1) * SHA256_BYTES,
				SHA256_BYTES);
	}
	memcpy(root, leaves, SHA256_BYTES);
}

static void add_le(struct sha256 *h, unsigned n, uint64_t v)
{
	uint8_t b[8];

	store_le(b, n, v);
	sha256_add(h, b, n);
}

void seal_tensor_leaf(struct sha256 *h, struct str name, enum dtype t, unsigned n_dims,
		      const uint64_t *shape, const uint8_t tensor_root[SHA256_BYTES],
		      uint8_t leaf[SHA256_BYTES])
{
	seal_leaf_start(h);
	add_le(h, 8, name.n);
	sha256_add(h, name.p, name.n);
	add_le(h, 4, (uint32_t)dtype_info(t)->gguf_id);
	add_le(h, 4, n_dims);
	for (unsigned i = n_dims; i-- > 0;)
		add_le(h, 8, shape[i]);
	sha256_add(h, tensor_root, SHA256_BYTES);
	sha256_end(h, leaf);
}

/* n bytes of value fill where the header has something else. */
struct blank { uint64_t off, n; uint8_t fill; };

static void add_blank(struct sha256 *h, uint64_t n, uint8_t fill)
{
	uint8_t b[256];

	memset(b, fill, sizeof b);
	for (uint64_t part; n > 0; n -= part) {
		part = u64_min(n, sizeof b);
		sha256_add(h, b, (size_t)part);
	}
}

/* blanks in order of their offsets, inside the n bytes */
static void digest_blanked(struct sha256 *h, const uint8_t *header, uint64_t n,
			   const struct blank *b, unsigned n_blanks, uint8_t out[SHA256_BYTES])
{
	uint64_t pos = 0;

	sha256_start(h);
	for (unsigned i = 0; i < n_blanks; i++) {
		if (b[i].off < pos || b[i].off > n || b[i].n > n - b[i].off)
			continue;	/* seal_read lets no such offset through */
		sha256_add(h, header + pos, (size_t)(b[i].off - pos));
		add_blank(h, b[i].n, b[i].fill);
		pos = b[i].off + b[i].n;
	}
	sha256_add(h, header + pos, (size_t)(n - pos));
	sha256_end(h, out);
}

bool seal_is_signed(const struct seal *s)
{
	for (size_t i = 0; i < s->signature.n; i++)
		if (s->signature.p[i] != ' ')
			return true;
	return false;
}

void seal_header_sha256(struct sha256 *h, const uint8_t *header, uint64_t n, uint64_t self_off,
			uint64_t signature_off, uint8_t out[SHA256_BYTES])
{
	struct blank self = { self_off, SHA256_BYTES, 0 };
	struct blank signature = { signature_off, SEAL_SIGNATURE_BYTES, ' ' };
	bool self_first = self_off < signature_off;
	struct blank b[2] = { self_first ? self : signature, self_first ? signature : self };

	digest_blanked(h, header, n, b, 2, out);
}

void seal_signed_digest(struct sha256 *h, const uint8_t *header, uint64_t n,
			uint64_t signature_off, uint8_t out[SHA256_BYTES])
{
	struct blank b = { signature_off, SEAL_SIGNATURE_BYTES, ' ' };

	digest_blanked(h, header, n, &b, 1, out);
}

/* The key of exactly that type; elem and count matter for arrays, count UINT64_MAX is any. */
static enum status seal_key(const struct gguf *g, const char *key, enum gguf_type type,
			    uint64_t count, const struct gguf_kv **kv, struct err *e)
{
	bool array = type == GGUF_ARR;

	*kv = gguf_find(g, key);
	if (!*kv)
		return err_set(e, ERR_FORMAT, "seal: key %s is missing; convert again, or look "
			       "for a whole copy", key);
	if ((*kv)->type != type || (array && (*kv)->elem != GGUF_U8))
		return err_set(e, ERR_FORMAT, "seal: key %s is not of the type that a seal has; "
			       "convert again, or look for a whole copy", key);
	if (array && count != UINT64_MAX && (*kv)->count != count)
		return err_set(e, ERR_FORMAT, "seal: key %s has %" PRIu64 " bytes, not %" PRIu64
			       "; convert again, or look for a whole copy", key, (*kv)->count,
			       count);
	return OK;
}

static bool has_seal_key(const struct gguf *g)
{
	static const char prefix[] = "ingot.seal.";

	for (size_t i = 0; i < g->n_kv; i++)
		if (g->kv[i].key.n >= sizeof prefix - 1 &&
		    memcmp(g->kv[i].key.p, prefix, sizeof prefix - 1) == 0)
			return true;
	return false;
}

/* The list of chunk digests must fit the tensors there are. */
static enum status check_chunks(const struct seal *s, const struct gguf *g,
				const struct gguf_kv *chunks, struct err *e)
{
	uint64_t n = 0;

	for (size_t i = 0; i < g->n_tensors; i++) {
		const struct gguf_tensor *t = &g->tensors[i];
		/* cannot wrap: every tensor lies in the file and no two overlap */
		n += seal_layout(t->shape, t->n_dims, t->bytes, s->chunk_bytes).n_chunks;
	}
	if (chunks->count % SHA256_BYTES != 0 || chunks->count / SHA256_BYTES != n)
		return err_set(e, ERR_FORMAT, "seal: %s has %" PRIu64 " bytes for %" PRIu64
			       " chunks: not sealed by its last writer; convert again",
			       SEAL_KEY_CHUNKS, chunks->count, n);
	return OK;
}

enum status seal_read(struct seal *s, const struct gguf *g, struct err *e)
{
	const struct gguf_kv *kv, *chunks;
	uint64_t version;
	enum status st;

	*s = (struct seal){ 0 };
	if (!has_seal_key(g))
		return err_set(e, ERR_NO_DIGEST, "seal: there is none; only a file that ingot "
			       "wrote last has one");
	TRY(seal_key(g, SEAL_KEY_VERSION, GGUF_U32, 1, &kv, e));
	version = load_le(kv->data, 4);
	if (version != SEAL_VERSION) {
		st = err_set(e, ERR_UNSUPPORTED, "seal: version %" PRIu64 ", this program knows "
			     "%d; use a newer ingot", version, SEAL_VERSION);
		goto out;
	}
	TRY(seal_key(g, SEAL_KEY_FILE_SIZE, GGUF_U64, 1, &kv, e));
	s->file_size = load_le(kv->data, 8);
	TRY(seal_key(g, SEAL_KEY_CHUNK_BYTES, GGUF_U32, 1, &kv, e));
	s->chunk_bytes = load_le(kv->data, 4);
	if (s->chunk_bytes != SEAL_CHUNK_BYTES) {
		st = err_set(e, ERR_FORMAT, "seal: %s is %" PRIu64 ", version 1 has %d",
			     SEAL_KEY_CHUNK_BYTES, s->chunk_bytes, SEAL_CHUNK_BYTES);
		goto out;
	}
	TRY(seal_key(g, SEAL_KEY_CHUNKS, GGUF_ARR, UINT64_MAX, &chunks, e));
	TRY(check_chunks(s, g, chunks, e));
	s->n_chunks = chunks->count / SHA256_BYTES;
	s->chunk_sha256 = chunks->data;
	TRY(seal_key(g, SEAL_KEY_ROOT, GGUF_ARR, SHA256_BYTES, &kv, e));
	s->root = kv->data;
	TRY(seal_key(g, SEAL_KEY_HEADER, GGUF_ARR, SHA256_BYTES, &kv, e));
	s->header_sha256 = kv->data;
	s->header_sha256_off = (uint64_t)(kv->data - g->header);
	TRY(seal_key(g, SEAL_KEY_SIGNATURE, GGUF_STR, 1, &kv, e));
	if (kv->data_bytes != 8 + SEAL_SIGNATURE_BYTES) {
		st = err_set(e, ERR_FORMAT, "seal: %s has %" PRIu64 " bytes, not %d; convert again",
			     SEAL_KEY_SIGNATURE, kv->data_bytes - 8, SEAL_SIGNATURE_BYTES);
		goto out;
	}
	s->signature = (struct str){ (const char *)kv->data + 8, SEAL_SIGNATURE_BYTES };
	s->signature_off = (uint64_t)(kv->data - g->header) + 8;
out:
	if (st != OK)
		*s = (struct seal){ 0 };
	return st;
}
