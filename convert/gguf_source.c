/* SPDX-License-Identifier: MIT
 *
 * gguf_source.c - a GGUF opened as a checkpoint of one shard, so that the same stream reads it; and its
 * seal, followed chunk by chunk while the bytes pass.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "convert/stream.h"

/* The directory part of a path, "." if it has none; owned by the caller. */
static char *directory_of(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char *dir = mem_strdup(slash ? path : ".", e);

	if (dir && slash)
		dir[slash == path ? 1 : slash - path] = 0;
	return dir;
}

/* Opens the file below its own directory, where a download's record may lie. */
static enum status open_below(struct checkpoint *c, const char *path, const char *digests_file,
			      struct log *notes, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char *dir = directory_of(path, e);
	enum status st = ERR_NOMEM;

	if (!dir)
		return st;
	TRY(source_dir_open(&c->dir, dir, &(struct source_options){ .digests = digests_file }, e));
	TRY(source_file_open(&c->files[0], &c->dir, slash ? slash + 1 : path, NULL, notes, e));
	c->files[0].is_shard = true;
	c->n_files = c->n_shards = 1;
out:
	free(dir);
	return st;
}

/* A link is followed first, but for those of the Hub's cache, whose targets are the records. */
static enum status open_file(struct checkpoint *c, const char *path, const char *digests_file,
			     struct log *notes, struct err *e)
{
	struct source_dir d = SOURCE_DIR_NONE;
	char *dir = directory_of(path, e), *real = NULL;
	struct stat s;
	enum status st = ERR_NOMEM;

	c->files = mem_new(1, sizeof *c->files, "the list of files", e);
	c->headers = mem_new(1, sizeof *c->headers, "the list of tensors", e);
	if (!dir || !c->files || !c->headers)
		goto out;
	c->files[0].file = FILE_NONE;
	if (lstat(path, &s) != 0) {
		st = err_errno(e, "%s: cannot open", path);
		goto out;
	}
	TRY(source_dir_open(&d, dir, NULL, e));
	if (S_ISLNK(s.st_mode) && !d.is_cache && !(real = realpath(path, NULL))) {
		st = err_errno(e, "%s: cannot follow the link", path);
		goto out;
	}
	TRY(open_below(c, real ? real : path, digests_file, notes, e));
	free(c->files[0].file.path);	/* messages say what was given */
	if (!(c->files[0].file.path = mem_strdup(path, e)))
		st = ERR_NOMEM;
out:
	source_dir_close(&d);
	free(real);
	free(dir);
	return st;
}

/* The GGUF's tensors in the form of a shard's. */
static enum status list_tensors(struct st_header *h, const struct gguf *g, struct err *e)
{
	size_t n = 1;
	char *name;

	for (size_t i = 0; i < g->n_tensors; i++)
		n += g->tensors[i].name.n + 1;
	h->text = mem_new(n, 1, "names of tensors", e);
	h->tensors = mem_new(g->n_tensors, sizeof *h->tensors, "the list of tensors", e);
	if (!h->text || !h->tensors)
		return e->status;
	name = h->text;
	for (size_t i = 0; i < g->n_tensors; i++) {
		const struct gguf_tensor *from = &g->tensors[i];

		memcpy(name, from->name.p, from->name.n);
		h->tensors[i] = (struct st_tensor){ .name = name, .off = from->off, .bytes = from->bytes,
						    .dtype = from->dtype, .n_dims = from->n_dims };
		memcpy(h->tensors[i].shape, from->shape, sizeof from->shape);
		name += from->name.n + 1;
	}
	h->n_tensors = g->n_tensors;
	h->data_off = g->data_off;
	return OK;
}

/* The header against its own digest; the chunks are left to the stream. */
static enum status check_seal(struct gguf_source *s, struct err *e)
{
	const struct gguf *g = &s->gguf;
	const struct file *f = &s->ckpt.files[0].file;
	uint8_t found[SHA256_BYTES];
	struct sha256 h = { 0 };
	enum status st = seal_read(&s->seal, g, e);

	if (st != OK)
		return st == ERR_NO_DIGEST ? st : err_wrap(e, "%s", f->path);
	TRY(sha256_open(&h, e));
	seal_header_sha256(&h, g->header, g->data_off, s->seal.header_sha256_off, s->seal.signature_off, found);
	sha256_close(&h);
	if (memcmp(found, s->seal.header_sha256, SHA256_BYTES) != 0)
		return err_set(e, ERR_MISMATCH, "%s: the header (bytes 0..%" PRIu64 ") is not as it was sealed: it is "
			       "damaged, or another tool has rewritten the file; take the original, or give "
			       "--allow-unverified", f->path, g->data_off);
	if (g->trailing || s->seal.file_size != f->id.size)
		return err_set(e, ERR_MISMATCH, "%s: the seal speaks of %" PRIu64 " bytes, the file has %" PRIu64 "; take "
			       "the original, or give --allow-unverified", f->path, s->seal.file_size, f->id.size);
out:
	return st;
}

static enum status judge(struct gguf_source *s, bool unverified, struct log *notes, struct err *e)
{
	struct source_file *f = &s->ckpt.files[0];
	struct err ignored;
	enum status st = check_seal(s, &ignored);

	s->sealed = st == OK;
	if (st == ERR_NOMEM || (st != OK && st != ERR_NO_DIGEST && !unverified)) {
		*e = ignored;
		return st;
	}
	if (st != OK && st != ERR_NO_DIGEST)
		log_add(notes, "%s; taken as unsealed by --allow-unverified", ignored.msg);
	if (s->sealed && f->anchor == ANCHOR_NONE)
		f->anchor = ANCHOR_SEAL;
	if (f->stale)
		log_add(notes, "%s: the download's record is older than the file, so it does not count", f->file.path);
	if (f->anchor == ANCHOR_NONE)
		log_add(notes, "%s: neither a seal nor a digest vouches for it; the output records its SHA-256",
			f->file.path);
	return OK;
}

enum status gguf_source_open(struct gguf_source *s, const char *path, const char *digests_file,
			     bool unverified, struct log *notes, struct err *e)
{
	uint64_t parts;
	enum status st;

	*s = GGUF_SOURCE_NONE;
	TRY(open_file(&s->ckpt, path, digests_file, notes, e));
	TRY(gguf_read(&s->gguf, &s->ckpt.files[0].file, notes, e));
	if (gguf_u64(&s->gguf, "split.count", &parts) && parts > 1)
		return err_set(e, ERR_UNSUPPORTED, "%s: is one of %" PRIu64 " parts of a split GGUF; join them first (`"
			       "llama-gguf-split --merge`)", path, parts);
	TRY(list_tensors(&s->ckpt.headers[0], &s->gguf, e));
	TRY(judge(s, unverified, notes, e));
out:
	return st;
}

void gguf_source_close(struct gguf_source *s)
{
	gguf_close(&s->gguf);
	checkpoint_close(&s->ckpt);
	*s = GGUF_SOURCE_NONE;
}

/* ---- the seal while the bytes pass -----------------------------------------------------------*/

static enum status all_zero(const struct gguf_source *s, uint64_t pos, const uint8_t *p, uint64_t n,
			    struct err *e)
{
	for (uint64_t i = 0; i < n; i++)
		if (p[i])
			return err_set(e, ERR_MISMATCH, "%s: byte %" PRIu64 " lies between tensors and is not zero, as it "
				       "was sealed; copy the file again", s->ckpt.files[0].file.path, pos + i);
	return OK;
}

static enum status end_chunk(struct seal_follow *f, const struct gguf_source *s, const struct seal_layout *l,
			     const struct seal_chunk *c, struct err *e)
{
	const struct st_tensor *t = &s->ckpt.headers[0].tensors[f->tensor];
	uint8_t found[SHA256_BYTES];
	char expert[40] = "";

	sha256_end(&f->hash, found);
	if (l->n_matrices > 1)
		snprintf(expert, sizeof expert, ", expert %" PRIu64, c->matrix);
	if (memcmp(found, s->seal.chunk_sha256 + SHA256_BYTES * f->n, SHA256_BYTES) != 0)
		return err_set(e, ERR_MISMATCH, "%s: damaged (tensor %s%s, bytes %" PRIu64 "..%" PRIu64 "): not as it was "
			       "sealed; copy or convert it again", s->ckpt.files[0].file.path, t->name, expert,
			       t->off + c->off, t->off + c->off + c->bytes);
	f->n++;
	if (++f->chunk == l->n_chunks) {
		f->chunk = 0;
		f->tensor++;
	}
	return OK;
}

enum status seal_follow_add(struct seal_follow *f, const struct gguf_source *s, uint64_t pos,
			    const uint8_t *p, uint64_t n, struct err *e)
{
	const struct gguf *g = &s->gguf;

	for (uint64_t part; n > 0; n -= part, pos += part, p += part) {
		const struct gguf_tensor *t = f->tensor < g->n_tensors ? &g->tensors[f->tensor] : NULL;
		struct seal_layout l;
		struct seal_chunk c;
		uint64_t from;

		part = n;
		if (pos < g->data_off) {
			part = u64_min(n, g->data_off - pos);
			continue;
		}
		if (!t || pos < t->off) {
			part = t ? u64_min(n, t->off - pos) : n;
			if (all_zero(s, pos, p, part, e) != OK)
				return e->status;
			continue;
		}
		l = seal_layout(t->shape, t->n_dims, t->bytes, s->seal.chunk_bytes);
		c = seal_chunk(&l, f->chunk);
		from = t->off + c.off;
		if (pos == from)
			seal_leaf_start(&f->hash);
		part = u64_min(n, from + c.bytes - pos);
		sha256_add(&f->hash, p, (size_t)part);
		if (pos + part == from + c.bytes && end_chunk(f, s, &l, &c, e) != OK)
			return e->status;
	}
	return OK;
}
