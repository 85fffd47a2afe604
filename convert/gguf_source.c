/* SPDX-License-Identifier: MIT
 *
 * gguf_source.c - a GGUF opened as a checkpoint, each of its files a shard, so that the same stream reads it; and its
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

/* Opens file i below its own directory, where a download's record may lie. The first one's directory stays open. */
static enum status open_below(struct checkpoint *c, size_t i, const char *path, const char *digests_file,
			      struct log *notes, struct err *e)
{
	struct source_dir d = SOURCE_DIR_NONE;
	const char *slash = strrchr(path, '/');
	char *dir = directory_of(path, e);
	enum status st = ERR_NOMEM;

	if (!dir)
		return st;
	TRY(source_dir_open(&d, dir, &(struct source_options){ .digests = digests_file }, e));
	TRY(source_file_open(&c->files[i], &d, slash ? slash + 1 : path, NULL, notes, e));
	c->files[i].is_shard = true;
	if (i == 0) {
		c->dir = d;
		d = SOURCE_DIR_NONE;
	}
out:
	source_dir_close(&d);
	free(dir);
	return st;
}

/* A link is followed first, but for those of the Hub's cache, whose targets are the records. */
static enum status open_file(struct checkpoint *c, size_t i, const char *path, const char *digests_file,
			     struct log *notes, struct err *e)
{
	struct source_dir d = SOURCE_DIR_NONE;
	char *dir = directory_of(path, e), *real = NULL;
	struct stat s;
	enum status st = ERR_NOMEM;

	if (!dir)
		goto out;
	if (lstat(path, &s) != 0) {
		st = err_errno(e, "%s: cannot open", path);
		goto out;
	}
	TRY(source_dir_open(&d, dir, NULL, e));
	if (S_ISLNK(s.st_mode) && !d.is_cache && !(real = realpath(path, NULL))) {
		st = err_errno(e, "%s: cannot follow the link", path);
		goto out;
	}
	TRY(open_below(c, i, real ? real : path, digests_file, notes, e));
	free(c->files[i].file.path);	/* messages say what was given */
	if (!(c->files[i].file.path = mem_strdup(path, e)))
		st = ERR_NOMEM;
out:
	source_dir_close(&d);
	free(real);
	free(dir);
	return st;
}

/* Every file of the set once more, with what is known of its digest: the bytes that are converted come from here, so it
 * must be the file whose header was read. */
static enum status open_files(struct gguf_source *s, const char *digests_file, struct log *notes, struct err *e)
{
	struct checkpoint *c = &s->ckpt;
	const struct gguf_set *set = &s->set;
	enum status st = OK;

	c->files = mem_new(set->n, sizeof *c->files, "the list of files", e);
	c->headers = mem_new(set->n, sizeof *c->headers, "the list of tensors", e);
	s->seals = mem_new(set->n, sizeof *s->seals, "the list of seals", e);
	if (!c->files || !c->headers || !s->seals)
		return e->status;
	for (size_t i = 0; i < set->n && st == OK; i++) {
		c->files[i].file = FILE_NONE;
		c->n_files = c->n_shards = i + 1;
		st = open_file(c, i, set->files[i].path, digests_file, notes, e);
		if (st == OK && !file_id_same(&set->files[i].id, &c->files[i].file.id))
			st = err_set(e, ERR_IO, "%s: was replaced while it was opened; try again", set->files[i].path);
	}
	return st;
}

/* The GGUF's tensors in the form of a shard's. */
static enum status list_tensors(struct st_header *h, const struct gguf *g, uint32_t shard, struct err *e)
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
						    .shard = shard, .dtype = from->dtype, .n_dims = from->n_dims };
		memcpy(h->tensors[i].shape, from->shape, sizeof from->shape);
		name += from->name.n + 1;
	}
	h->n_tensors = g->n_tensors;
	h->data_off = g->data_off;
	return OK;
}

/* The header of file i against its own digest; the chunks are left to the stream. */
static enum status check_seal(struct gguf_source *s, size_t i, struct err *e)
{
	const struct gguf *g = &s->set.parts[i];
	const struct file *f = &s->ckpt.files[i].file;
	struct seal *seal = &s->seals[i];
	uint8_t found[SHA256_BYTES];
	struct sha256 h = { 0 };
	enum status st = seal_read(seal, g, e);

	if (st != OK)
		return st == ERR_NO_DIGEST ? st : err_wrap(e, "%s", f->path);
	TRY(sha256_open(&h, e));
	seal_header_sha256(&h, g->header, g->data_off, seal->header_sha256_off, seal->signature_off, found);
	sha256_close(&h);
	if (memcmp(found, seal->header_sha256, SHA256_BYTES) != 0)
		return err_set(e, ERR_MISMATCH, "%s: the header (bytes 0..%" PRIu64 ") is not as it was sealed: it is "
			       "damaged, or another tool has rewritten the file; take the original, or give "
			       "--allow-unverified", f->path, g->data_off);
	if (g->trailing || seal->file_size != f->id.size)
		return err_set(e, ERR_MISMATCH, "%s: the seal speaks of %" PRIu64 " bytes, the file has %" PRIu64 "; take "
			       "the original, or give --allow-unverified", f->path, seal->file_size, f->id.size);
out:
	return st;
}

static enum status judge_file(struct gguf_source *s, size_t i, bool unverified, struct log *notes, struct err *e)
{
	struct source_file *f = &s->ckpt.files[i];
	struct err ignored;
	enum status st = check_seal(s, i, &ignored);

	s->sealed &= st == OK;
	if (st == ERR_NOMEM || (st != OK && st != ERR_NO_DIGEST && !unverified)) {
		*e = ignored;
		return st;
	}
	if (st != OK && st != ERR_NO_DIGEST)
		log_add(notes, "%s; taken as unsealed by --allow-unverified", ignored.msg);
	if (st == OK && f->anchor == ANCHOR_NONE)
		f->anchor = ANCHOR_SEAL;
	if (f->stale)
		log_add(notes, "%s: the download's record is older than the file, so it does not count", f->file.path);
	if (f->anchor == ANCHOR_NONE)
		log_add(notes, "%s: neither a seal nor a digest vouches for it; the output records its SHA-256",
			f->file.path);
	return OK;
}

/* A set counts as sealed if all of it is. */
static enum status judge(struct gguf_source *s, bool unverified, struct log *notes, struct err *e)
{
	enum status st = OK;

	s->sealed = true;
	for (size_t i = 0; i < s->set.n && st == OK; i++)
		st = judge_file(s, i, unverified, notes, e);
	for (size_t i = 0; i < s->set.n && !s->sealed; i++)
		if (s->ckpt.files[i].anchor == ANCHOR_SEAL)
			s->ckpt.files[i].anchor = ANCHOR_NONE;
	return st;
}

enum status gguf_source_open(struct gguf_source *s, const char *path, const char *digests_file,
			     bool unverified, struct log *notes, struct err *e)
{
	enum status st;

	*s = GGUF_SOURCE_NONE;
	TRY(gguf_set_open(&s->set, path, notes, e));
	TRY(open_files(s, digests_file, notes, e));
	for (size_t i = 0; i < s->set.n; i++)
		TRY(list_tensors(&s->ckpt.headers[i], &s->set.parts[i], (uint32_t)i, e));
	TRY(judge(s, unverified, notes, e));
out:
	return st;
}

void gguf_source_close(struct gguf_source *s)
{
	free(s->seals);
	checkpoint_close(&s->ckpt);
	gguf_set_close(&s->set);
	*s = GGUF_SOURCE_NONE;
}

/* ---- the seal while the bytes pass -----------------------------------------------------------*/

static enum status all_zero(const struct gguf_source *s, uint32_t file, uint64_t pos, const uint8_t *p, uint64_t n,
			    struct err *e)
{
	for (uint64_t i = 0; i < n; i++)
		if (p[i])
			return err_set(e, ERR_MISMATCH, "%s: byte %" PRIu64 " lies between tensors and is not zero, as it "
				       "was sealed; copy the file again", s->ckpt.files[file].file.path, pos + i);
	return OK;
}

static enum status end_chunk(struct seal_follow *f, const struct gguf_source *s, uint32_t file, const struct seal_layout *l,
			     const struct seal_chunk *c, struct err *e)
{
	const struct st_tensor *t = &s->ckpt.headers[file].tensors[f->tensor];
	uint8_t found[SHA256_BYTES];
	char expert[40] = "";

	sha256_end(&f->hash, found);
	if (l->n_matrices > 1)
		snprintf(expert, sizeof expert, ", expert %" PRIu64, c->matrix);
	if (memcmp(found, s->seals[file].chunk_sha256 + SHA256_BYTES * f->n, SHA256_BYTES) != 0)
		return err_set(e, ERR_MISMATCH, "%s: damaged (tensor %s%s, bytes %" PRIu64 "..%" PRIu64 "): not as it was "
			       "sealed; copy or convert it again", s->ckpt.files[file].file.path, t->name, expert,
			       t->off + c->off, t->off + c->off + c->bytes);
	f->n++;
	if (++f->chunk == l->n_chunks) {
		f->chunk = 0;
		f->tensor++;
	}
	return OK;
}

enum status seal_follow_add(struct seal_follow *f, const struct gguf_source *s, uint32_t file, uint64_t pos,
			    const uint8_t *p, uint64_t n, struct err *e)
{
	const struct gguf *g = &s->set.parts[file];

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
			if (all_zero(s, file, pos, p, part, e) != OK)
				return e->status;
			continue;
		}
		l = seal_layout(t->shape, t->n_dims, t->bytes, s->seals[file].chunk_bytes);
		c = seal_chunk(&l, f->chunk);
		from = t->off + c.off;
		if (pos == from)
			seal_leaf_start(&f->hash);
		part = u64_min(n, from + c.bytes - pos);
		sha256_add(&f->hash, p, (size_t)part);
		if (pos + part == from + c.bytes && end_chunk(f, s, file, &l, &c, e) != OK)
			return e->status;
	}
	return OK;
}
