/* SPDX-License-Identifier: MIT
 *
 * derive.c - is this file what its source gives? Made again from the source and compared.
 *
 * A seal shows that a file is what its maker sealed, not that the maker told the truth. This goes back: the
 * source's digests against those in the seal, its tokenizer, template and hyper-parameters against the
 * metadata, and its numbers, through the codecs that stand below the converter (quantize/), against the
 * tensors. Nothing of convert/ takes part.
 */
#include "verify/derive.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static void differs(struct derived_report *r, const char *fmt, ...) PRINTF(2, 3);
static void differs(struct derived_report *r, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&r->lock);
	log_add(&r->differences, "%s", line);
	pthread_mutex_unlock(&r->lock);
}

/* ---- the source's files ---------------------------------------------------------------------*/

struct files { struct derive *d; const struct gguf_kv *sha256; };

static enum status check_file(void *arg, uint64_t i, struct verify_worker *w, struct err *e)
{
	struct files *f = arg;
	const struct source_file *s = &f->d->ckpt.files[i];
	const struct digest_watch watch = { &f->d->done, f->d->o.stop };
	struct digest found;

	if (s->is_shard && f->d->sample)
		return OK;
	verify_now(w, (struct str){ s->name, strlen(s->name) });
	if (digest_watched(&s->file, DIGEST_SHA256, &found, NULL, &watch, e) != OK || file_unchanged(&s->file, e) != OK)
		return e->status;
	if (memcmp(found.bytes, f->sha256->data + SHA256_BYTES * i, SHA256_BYTES) != 0)
		differs(f->d->r, "source file %s: its SHA-256 is not the one in the seal", s->name);
	__atomic_fetch_add(&f->d->r->n_files, 1, __ATOMIC_RELAXED);
	return OK;
}

/* Names and digests of the source's files, in the seal's order, which is the checkpoint's. */
static enum status check_files(struct derive *d, struct err *e)
{
	const struct gguf_kv *names = gguf_find(d->g, "ingot.source.name");
	struct files f = { d, gguf_find(d->g, "ingot.source.sha256") };
	uint64_t at = 0, bytes = 0;
	struct str name;

	if (!names || !f.sha256 || names->elem != GGUF_STR || names->count != d->ckpt.n_files ||
	    f.sha256->data_bytes != SHA256_BYTES * d->ckpt.n_files) {
		differs(d->r, "the seal names other source files than %s has", d->ckpt.dir.path);
		return OK;
	}
	for (size_t i = 0; i < d->ckpt.n_files && gguf_next_str(names, &at, &name); i++) {
		bytes += d->ckpt.files[i].file.id.size;
		if (!str_is(name, d->ckpt.files[i].name)) {
			differs(d->r, "the seal names source file %.200s where %s stands", name.p, d->ckpt.files[i].name);
			return OK;
		}
	}
	return verify_parallel(d->ckpt.n_files, check_file, &f, &d->o, &d->done, bytes, e);
}

/* ---- metadata -------------------------------------------------------------------------------*/

/* The header that a writer has in memory, as a reader sees it. */
static enum status read_back(struct gguf_writer *w, struct gguf *g, struct err *e)
{
	uint64_t size;
	char path[64];
	struct file f = FILE_NONE;
	int fd = memfd_create("derived", MFD_CLOEXEC);
	enum status st;

	TRY(gguf_writer_finish(w, &size, e));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (fd < 0 || write(fd, w->buf, w->len) != (ssize_t)w->len) {
		st = err_errno(e, "no memory for derived metadata");
		goto out;
	}
	TRY(file_open(&f, AT_FDCWD, path, true, "derived metadata", e));
	TRY(gguf_read(g, &f, NULL, e));
out:
	file_close(&f);
	if (fd >= 0)
		close(fd);
	return st;
}

static bool same_kv(const struct gguf_kv *a, const struct gguf_kv *b)
{
	return b && a->type == b->type && a->elem == b->elem && a->count == b->count && a->data_bytes == b->data_bytes &&
	       memcmp(a->data, b->data, (size_t)a->data_bytes) == 0;
}

/* Every derived key is in the file with the same value, and the file has no other key of those groups. */
static void compare_keys(struct derive *d, const struct gguf *derived)
{
	char name[256];

	for (size_t i = 0; i < derived->n_kv; i++) {
		const struct gguf_kv *kv = &derived->kv[i];

		snprintf(name, sizeof name, "%.*s", (int)kv->key.n, kv->key.p);
		if (strncmp(name, "general.", 8) != 0 && !same_kv(kv, gguf_find(d->g, name)))
			differs(d->r, "metadata %s: is not what the source gives", name);
	}
	for (size_t i = 0; i < d->g->n_kv; i++) {
		snprintf(name, sizeof name, "%.*s", (int)d->g->kv[i].key.n, d->g->kv[i].key.p);
		if ((strncmp(name, "tokenizer.", 10) == 0 || strncmp(name, "deepseek4.", 10) == 0) &&
		    !gguf_find(derived, name))
			differs(d->r, "metadata %s: the source gives no such key", name);
	}
}

static enum status check_metadata(struct derive *d, struct log *notes, struct err *e)
{
	const struct source_file *tokenizer = checkpoint_file(&d->ckpt, "tokenizer.json");
	struct gguf_writer w;
	struct gguf derived = { 0 };
	struct vocab v = { 0 };
	enum status st;

	gguf_writer_open(&w, 32);
	if (!tokenizer) {
		st = err_set(e, ERR_FORMAT, "%s: tokenizer.json is missing", d->ckpt.dir.path);
		goto out;
	}
	TRY(vocab_from_files(&v, tokenizer, checkpoint_file(&d->ckpt, "tokenizer_config.json"),
			     checkpoint_file(&d->ckpt, "chat_template.jinja"), d->arch.n_vocab, d->arch.bos, d->arch.eos,
			     notes, e));
	arch_to_gguf(&d->arch, d->part == PART_MTP, &w);
	vocab_to_gguf(&v, &w);
	TRY(read_back(&w, &derived, e));
	compare_keys(d, &derived);
	d->r->n_keys = derived.n_kv;
out:
	vocab_close(&v);
	gguf_close(&derived);
	gguf_writer_close(&w);
	return st;
}

/* ---- tensors --------------------------------------------------------------------------------*/

struct buffers { uint8_t *weight, *scale, *out, *file; float *scratch, *importance; };

/* Elements of a run that is made at once: whole rows, so that any block of any type fits. */
static uint64_t rows_at_once(uint64_t cols)
{
	enum { ELEMENTS = 1 << 18 };

	return cols >= ELEMENTS ? 1 : ELEMENTS / cols;
}

static enum status open_buffers(struct buffers *b, const struct source_matrix *m, uint64_t row_bytes, uint64_t rows,
				struct err *e)
{
	uint64_t b0, b1, s0, s1 = 0;

	source_weight_range(&m->l, 0, u64_min(rows, m->l.rows) * m->l.cols, &b0, &b1);
	if (m->scale)	/* a run may begin inside a block of rows */
		source_scale_range(&m->l, 0, u64_min(rows + m->l.block_rows, m->l.rows) * m->l.cols, &s0, &s1);
	b->weight = mem_new((size_t)b1 + 8, 1, "a run of weights", e);
	b->scale = mem_new((size_t)s1 + 1, 4, "their scales", e);
	b->out = mem_new((size_t)(row_bytes * rows), 1, "what is derived", e);
	b->file = mem_new((size_t)(row_bytes * rows), 1, "what is in the file", e);
	b->scratch = mem_new(TRANSFER_SCRATCH, sizeof *b->scratch, "numbers", e);
	b->importance = mem_new((size_t)m->l.cols, sizeof *b->importance, "importance", e);
	return b->weight && b->scale && b->out && b->file && b->scratch && b->importance ? OK : e->status;
}

static void close_buffers(struct buffers *b)
{
	free(b->weight);
	free(b->scale);
	free(b->out);
	free(b->file);
	free(b->scratch);
	free(b->importance);
}

/* Reads elements [e0, e1) of a matrix and describes them. */
static enum status read_run(const struct derive *d, const struct source_matrix *m, uint64_t e0, uint64_t e1,
			    struct buffers *b, struct source_run *run, struct err *e)
{
	uint64_t b0, b1, s0, s1, width;

	*run = (struct source_run){ .l = &m->l, .weight = b->weight, .e0 = e0, .e1 = e1 };
	source_weight_range(&m->l, e0, e1, &b0, &b1);
	if (file_read(&d->ckpt.files[m->weight->shard].file, b->weight, (size_t)(b1 - b0),
		      m->weight->off + m->weight_off + b0, e) != OK)
		return e->status;
	if (!m->scale)
		return OK;
	source_scale_range(&m->l, e0, e1, &s0, &s1);
	width = dtype_info(m->l.scale_type)->bytes;
	run->scale = b->scale;
	run->s0 = s0;
	return file_read(&d->ckpt.files[m->scale->shard].file, b->scale, (size_t)((s1 - s0) * width),
			 m->scale->off + m->scale_off + s0 * width, e);
}

/* One matrix of one tensor: its parts, side by side in each row. */
struct task { const struct want *want; const struct gguf_tensor *t; uint64_t matrix; };

/* Rows [r0, r1) into b->out. false: the source has a value that the type cannot hold (differs). */
static enum status derive_rows(struct derive *d, const struct task *k, const struct source_matrix *m, unsigned parts,
			       uint64_t r0, uint64_t r1, const struct encoding *how, struct buffers *b, struct err *e)
{
	const struct dtype_info *info = dtype_info(k->t->dtype);
	uint64_t cols = m->l.cols, part_bytes = cols / info->block * info->bytes;

	for (unsigned p = 0; p < parts; p++)
		for (uint64_t r = r0, step = parts == 1 ? r1 - r0 : 1; r < r1; r += step) {
			struct source_run run;
			struct fault f;

			if (read_run(d, &m[p], r * cols, (r + step) * cols, b, &run, e) != OK)
				return e->status;
			uint8_t *to = b->out + ((r - r0) * parts + p) * part_bytes;
			if (role_class(k->want->role) == CLASS_IDS)
				f = transfer_ids(&run, d->arch.n_expert, to);
			else
				f = transfer_as(&run, k->t->dtype, how, to, b->scratch);
			if (f.kind != FAULT_NONE)
				return err_set(e, ERR_FORMAT, "%s: %s at row %llu, column %llu (tensor %s); download the file "
					       "again", d->ckpt.files[m[p].weight->shard].file.path, fault_text(f.kind),
					       (unsigned long long)(f.element / cols), (unsigned long long)(f.element % cols),
					       m[p].weight->name);
		}
	return OK;
}

static enum status compare_matrix(struct derive *d, const struct task *k, const struct source_matrix *m, unsigned parts,
				  struct buffers *b, struct err *e)
{
	const struct dtype_info *info = dtype_info(k->t->dtype);
	uint64_t cols = m->l.cols * parts, row_bytes = cols / info->block * info->bytes, step = rows_at_once(cols);
	uint64_t start = k->t->off + k->matrix * m->l.rows * row_bytes;
	struct encoding how = { d->effort, NULL };
	bool found = false;

	if (d->imatrix && imatrix_read(d->imatrix, k->want->name, k->matrix,
				       k->want->n_dims == 3 ? k->want->shape[0] : 1, cols, b->importance, &found, e) != OK)
		return e->status;
	how.importance = found ? b->importance : NULL;
	for (uint64_t r0 = 0; r0 < m->l.rows; r0 += step) {
		uint64_t r1 = u64_min(r0 + step, m->l.rows), at = start + r0 * row_bytes;
		size_t n = (size_t)((r1 - r0) * row_bytes), i = 0;

		if (derive_rows(d, k, m, parts, r0, r1, &how, b, e) != OK || file_read(&d->f[k->t->file], b->file, n, at, e) != OK)
			return e->status;
		while (i < n && b->out[i] == b->file[i])
			i++;
		if (i < n) {
			if (k->want->n_dims == 3)
				differs(d->r, "tensor %s, expert %llu: byte %llu is not what the source gives", k->want->name,
					(unsigned long long)k->matrix, (unsigned long long)(at + i));
			else
				differs(d->r, "tensor %s: byte %llu is not what the source gives", k->want->name,
					(unsigned long long)(at + i));
			return OK;
		}
		__atomic_fetch_add(&d->done, n, __ATOMIC_RELAXED);
		__atomic_fetch_add(&d->r->bytes, n, __ATOMIC_RELAXED);
	}
	return OK;
}

static enum status check_matrix(void *arg, uint64_t i, struct verify_worker *w, struct err *e)
{
	struct derive *d = arg;
	struct task k;
	struct source_matrix m[2];
	struct buffers b = { 0 };
	struct log problems = { 0 };
	unsigned parts;
	bool found = true;
	enum status st = OK;

	if (d->sample)		/* strides from a place that no one could foresee */
		i = (i * d->n_tasks + d->start) / d->sample % d->n_tasks;
	k = (struct task){ &d->wants.w[d->of_want[i]], d->tensors[d->of_want[i]], i - d->first[d->of_want[i]] };
	verify_now(w, k.t->name);
	parts = want_parts(k.want);
	for (unsigned p = 0; p < parts && found; p++)
		source_bind(&m[p], &found, &d->ckpt, &d->arch, k.want, k.matrix, p, &problems);
	if (!found) {
		differs(d->r, "tensor %s: the source has no such tensor", k.want->name);
	} else {
		const struct dtype_info *info = dtype_info(k.t->dtype);
		uint64_t cols = m->l.cols * parts;

		st = open_buffers(&b, m, cols / info->block * info->bytes, rows_at_once(cols), e);
		if (st == OK)
			st = compare_matrix(d, &k, m, parts, &b, e);
		__atomic_fetch_add(&d->r->n_matrices, 1, __ATOMIC_RELAXED);
	}
	close_buffers(&b);
	log_close(&problems);
	return st;
}

/* The file's tensors are the architecture's, each with its shape: then numbers can be compared. */
static enum status list_tasks(struct derive *d, struct err *e)
{
	uint64_t n = 0;

	d->tensors = mem_new(d->wants.n, sizeof *d->tensors, "the list of tensors", e);
	d->first = mem_new(d->wants.n, sizeof *d->first, "the list of tensors", e);
	if (!d->tensors || !d->first)
		return e->status;
	for (size_t i = 0; i < d->wants.n; i++) {
		const struct want *w = &d->wants.w[i];
		const struct gguf_tensor *t = d->tensors[i] = gguf_find_tensor(d->g, w->name);
		uint64_t cols = w->shape[w->n_dims - 1];

		if (!t || t->n_dims != w->n_dims || memcmp(t->shape, w->shape, w->n_dims * sizeof *w->shape) != 0 ||
		    cols / want_parts(w) % dtype_info(t->dtype)->block != 0)
			return err_set(e, ERR_MISMATCH, "%s: tensor %s is missing or has another shape than the source's "
				       "model", d->f->path, w->name);
		if (role_class(w->role) != CLASS_IDS && !codec_can_encode(t->dtype))
			return err_set(e, ERR_UNSUPPORTED, "%s: tensor %s: %s is not made here, so it cannot be derived",
				       d->f->path, w->name, dtype_info(t->dtype)->name);
		d->first[i] = n;
		n += w->n_dims == 3 ? w->shape[0] : 1;
	}
	if (d->g->n_tensors != d->wants.n)
		differs(d->r, "the file has %zu tensors, the source gives %zu", d->g->n_tensors, d->wants.n);
	if (!(d->of_want = mem_new((size_t)n, sizeof *d->of_want, "the list of tensors", e)))
		return e->status;
	for (size_t i = 0; i < d->wants.n; i++)
		for (uint64_t k = d->first[i]; k < (i + 1 < d->wants.n ? d->first[i + 1] : n); k++)
			d->of_want[k] = (uint32_t)i;
	d->n_tasks = n;
	return OK;
}

/* ---- all of it ------------------------------------------------------------------------------*/

static enum status read_arch(struct derive *d, struct log *notes, struct err *e)
{
	struct arch own;
	enum status st;

	TRY(arch_from_checkpoint(&d->arch, &d->ckpt, notes, e));
	TRY(arch_from_gguf(&own, d->g, d->f->path, e));
	d->part = gguf_find_tensor(d->g, "blk.0.attn_norm.weight") ? PART_TRUNK : PART_MTP;
out:
	return st;
}

/* How values were encoded, by the file's own word: what it says is then put to the test. */
static enum status read_encoding(struct derive *d, const char *imatrix, struct err *e)
{
	const struct gguf_kv *want = gguf_find(d->g, "ingot.imatrix.sha256");
	struct str effort;
	struct file f = FILE_NONE;
	struct digest found;
	enum status st = OK;

	d->effort = gguf_str(d->g, "ingot.effort", &effort) && str_is(effort, "best") ? EFFORT_BEST : EFFORT_FAST;
	if (!want)
		return OK;
	if (!imatrix)
		return err_set(e, ERR_NO_DIGEST, "%s: was encoded with an importance matrix; give it with --imatrix FILE",
			       d->f->path);
	TRY(file_open(&f, AT_FDCWD, imatrix, true, imatrix, e));
	TRY(digest_file(&f, DIGEST_SHA256, &found, NULL, e));
	if (want->data_bytes != SHA256_BYTES || memcmp(want->data, found.bytes, SHA256_BYTES) != 0)
		differs(d->r, "importance matrix %s: its SHA-256 is not the one in the seal", imatrix);
	TRY(imatrix_open(&d->imatrix, imatrix, e));
out:
	file_close(&f);
	return st;
}

static enum status verdict(const struct derived_report *r, const char *path, const char *source, struct err *e)
{
	if (r->differences.n_lines + r->differences.n_dropped == 0)
		return OK;
	return err_set(e, ERR_MISMATCH, "%s: is not what %s gives: %zu differences; it was made from something else, by another "
		       "version, or changed and sealed anew", path, source, r->differences.n_lines + r->differences.n_dropped);
}

enum status verify_derived(struct derived_report *r, const struct gguf *g, const struct file *f,
			   const struct derive_options *o, struct log *notes, struct err *e)
{
	uint64_t bytes = 0, n;
	struct derive d = { .r = r, .g = g, .f = f, .o = o->run, .sample = o->sample, .ckpt = CHECKPOINT_NONE };
	struct log problems = { 0 };
	enum status st;

	*r = (struct derived_report){ .lock = PTHREAD_MUTEX_INITIALIZER };
	TRY(checkpoint_open(&d.ckpt, o->source, o->run.source, &problems, e));
	TRY(read_arch(&d, notes, e));
	TRY(wants_build(&d.wants, &d.arch, d.part, e));
	TRY(check_metadata(&d, notes, e));
	TRY(read_encoding(&d, o->imatrix, e));
	TRY(list_tasks(&d, e));
	TRY(check_files(&d, e));
	n = d.n_tasks ? d.n_tasks : 1;
	if (d.sample >= n)
		d.sample = 0;	/* all of them, then; the shards' digests stay out */
	d.done = 0;
	if (d.sample && getrandom(&d.start, sizeof d.start, 0) != sizeof d.start)
		d.start = 0;
	d.start %= n;
	r->n_all = d.n_tasks;
	for (size_t i = 0; i < g->n_tensors; i++)
		bytes += g->tensors[i].bytes;
	TRY(verify_parallel(d.sample ? d.sample : d.n_tasks, check_matrix, &d, &d.o, &d.done,
			    d.sample ? bytes / n * d.sample : bytes, e));
	st = verdict(r, f->path, o->source, e);
out:
	if (st != OK && problems.text && st != ERR_MISMATCH)
		log_add(notes, "%s", problems.text);
	log_close(&problems);
	free(d.tensors);
	free(d.first);
	free(d.of_want);
	imatrix_close(d.imatrix);
	wants_close(&d.wants);
	checkpoint_close(&d.ckpt);
	return st;
}

void derived_report_close(struct derived_report *r)
{
	log_close(&r->differences);
	*r = (struct derived_report){ 0 };
}
