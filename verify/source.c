/* SPDX-License-Identifier: MIT
 *
 * source.c - every file of a download against the digest that this disk has for it.
 *
 * The list of files is the union of what the directory holds, what the Hub recorded, what the index
 * names and what --digests lists, so that a file that vanished shows as well as one that changed.
 * The index is read for its names only: a damaged one is reported as a file, not as an error.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "verify/verify.h"

const char *file_verdict_text(enum file_verdict v)
{
	static const char *const text[] = { "OK", "FAILED", "NO DIGEST", "MISSING", "EXTRA" };

	return text[v];
}

struct inventory {
	struct source_report *r;
	struct source_dir dir;
	struct source_file *open;	/* owned; one a result, fd -1 where it is not open */
	size_t cap;
	struct log *notes;
	uint64_t done, total;
	volatile int *stop;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct file_result *)a)->name, ((const struct file_result *)b)->name);
}

static enum status add(struct inventory *v, const char *name, struct err *e)
{
	void *p = v->r->files;

	if (mem_grow(&p, &v->cap, v->r->n + 1, sizeof *v->r->files, "the list of files", e) != OK)
		return e->status;
	v->r->files = p;
	v->r->files[v->r->n] = (struct file_result){ 0 };
	if (!(v->r->files[v->r->n].name = mem_strdup(name, e)))
		return e->status;
	v->r->n++;
	return OK;
}

static enum status add_all(struct inventory *v, bool recorded, struct err *e)
{
	struct names l;
	enum status st = source_dir_list(&v->dir, recorded, &l, e);

	for (size_t i = 0; i < l.n && st == OK; i++)
		if (name_is_plain(l.v[i]))
			st = add(v, l.v[i], e);
	names_close(&l);
	return st;
}

/* A machine that fails; other trouble with a file is its own verdict's business. */
static bool is_failure(enum status st)
{
	return st == ERR_IO || st == ERR_NOMEM;
}

/* Names in the index's weight_map. */
static enum status add_from_index(struct inventory *v, struct err *e)
{
	struct source_file f;
	struct str key, shard, last = { 0 };
	struct json j;
	bool missing;
	char *text;
	size_t n;
	enum status st = source_file_open(&f, &v->dir, "model.safetensors.index.json", &missing, NULL, e);

	if (st != OK)
		return is_failure(st) && !missing ? st : OK;
	st = file_slurp(&f.file, 512 << 20, &text, &n, e);
	if (st == OK) {
		struct err wrong;

		json_open(&j, text, n, 16, f.file.path);
		if (json_object(&j))
			while (st == OK && json_key(&j, &key)) {
				if (!str_is(key, "weight_map") || !json_object(&j)) {
					json_skip(&j);
					continue;
				}
				while (st == OK && json_key(&j, &key) && json_string(&j, &shard)) {
					if (!str_eq(shard, last) && name_is_plain(shard.p))
						st = add(v, shard.p, e);
					last = shard;
				}
			}
		switch (json_close(&j, &wrong)) {
		case OK:
			break;
		case ERR_NOMEM:
			*e = wrong;
			st = ERR_NOMEM;
			break;
		default:
			log_add(v->notes, "%s", wrong.msg);
		}
		free(text);
	}
	source_file_close(&f);
	return is_failure(st) ? st : OK;
}

static void drop_repeats(struct source_report *r)
{
	size_t n = 0;

	if (r->n)
		qsort(r->files, r->n, sizeof *r->files, by_name);
	for (size_t i = 0; i < r->n; i++)
		if (n > 0 && strcmp(r->files[n - 1].name, r->files[i].name) == 0)
			free(r->files[i].name);
		else
			r->files[n++] = r->files[i];
	r->n = n;
}

/* A file that a conversion would read. */
static bool is_model_file(const char *name)
{
	for (size_t i = 0; source_small_files[i]; i++)
		if (strcmp(name, source_small_files[i]) == 0)
			return true;
	return name_is_shard(name);
}

static void judge_digest(struct file_result *x, const struct source_file *f)
{
	if (f->stale) {
		x->expected = f->stale_digest;
		x->verdict = digest_eq(&x->found, &x->expected) ? FILE_NO_DIGEST : FILE_FAILED;
		escape_text(x->why, sizeof x->why, "the download's record is older than the file", 44);
	} else if (f->expected.kind == DIGEST_NONE) {
		x->verdict = is_model_file(x->name) ? FILE_NO_DIGEST : FILE_EXTRA;
	} else {
		x->verdict = digest_eq(&x->found, &x->expected) ? FILE_OK : FILE_FAILED;
	}
}

static enum status check_file(void *arg, uint64_t i, struct verify_worker *w, struct err *e)
{
	struct inventory *v = arg;
	struct file_result *x = &v->r->files[i];
	struct source_file *f = &v->open[i];
	enum digest_kind kind = f->stale ? f->stale_digest.kind : f->expected.kind;

	if (f->file.fd < 0)
		return OK;
	verify_now(w, (struct str){ x->name, strlen(x->name) });
	if (kind != DIGEST_NONE) {
		struct digest_watch watch = { &v->done, v->stop };

		if (digest_watched(&f->file, kind, &x->found, NULL, &watch, e) != OK ||
		    file_unchanged(&f->file, e) != OK)
			return e->status;
	}
	judge_digest(x, f);
	if (kind == DIGEST_NONE)
		__atomic_fetch_add(&v->done, x->bytes, __ATOMIC_RELAXED);
	return OK;
}

/* Opens every file of the list; one that cannot be opened has its verdict already. */
static enum status open_all(struct inventory *v, struct err *e)
{
	struct source_report *r = v->r;
	bool missing;

	v->open = mem_new(r->n, sizeof *v->open, "the list of files", e);
	if (!v->open)
		return e->status;
	for (size_t i = 0; i < r->n; i++)
		v->open[i].file = FILE_NONE;
	for (size_t i = 0; i < r->n; i++) {
		struct file_result *x = &r->files[i];
		struct err why;
		enum status st = source_file_open(&v->open[i], &v->dir, x->name, &missing, v->notes, &why);

		if (st == OK) {
			v->total += x->bytes = v->open[i].file.id.size;
			x->expected = v->open[i].expected;
			x->anchor = v->open[i].anchor;
		} else if (st == ERR_NOMEM || (st == ERR_IO && !missing)) {
			*e = why;
			return st;
		} else {
			x->verdict = missing ? FILE_MISSING : FILE_FAILED;
			if (!missing)
				escape_text(x->why, sizeof x->why, why.msg, strlen(why.msg));
		}
	}
	return OK;
}

static enum status verdict(struct source_report *r, const char *path, bool strict, struct err *e)
{
	for (size_t i = 0; i < r->n; i++)
		r->n_of[r->files[i].verdict]++;
	if (r->n_of[FILE_FAILED] || r->n_of[FILE_MISSING])
		return err_set(e, ERR_MISMATCH, "%s: %zu files failed, %zu are missing; download those again", path,
			       r->n_of[FILE_FAILED], r->n_of[FILE_MISSING]);
	if (strict && r->n_of[FILE_EXTRA])
		return err_set(e, ERR_MISMATCH, "%s: %zu files that nothing on this disk vouches for; remove them, or "
			       "give --digests FILE that has them", path,
			       r->n_of[FILE_EXTRA]);
	if (r->n_of[FILE_NO_DIGEST])
		return err_set(e, ERR_NO_DIGEST, "%s: no digest is known for %zu files, which were not verified; "
			       "download with hf (it records them) or give --digests FILE", path,
			       r->n_of[FILE_NO_DIGEST]);
	if (r->n_of[FILE_OK] == 0)
		return err_set(e, ERR_NO_DIGEST, "%s: holds no file that could be verified; give the directory that "
			       "was downloaded", path);
	return OK;
}

enum status verify_source(struct source_report *r, const char *path, const char *digests_file, bool strict,
			  const struct verify_options *o, struct log *notes, struct err *e)
{
	struct inventory v = { .r = r, .dir = SOURCE_DIR_NONE, .notes = notes, .stop = o->stop };
	struct source_options from = { 0 };
	enum status st;

	*r = (struct source_report){ 0 };
	if (o->source)
		from = *o->source;
	from.digests = digests_file;
	from.need = NEED_ALL;
	TRY(source_dir_open(&v.dir, path, &from, e));
	TRY(add_all(&v, false, e));
	TRY(add_all(&v, true, e));
	TRY(add_from_index(&v, e));
	for (size_t i = 0; i < v.dir.digests.n; i++)
		TRY(add(&v, v.dir.digests.lines[i].name, e));
	drop_repeats(r);
	TRY(open_all(&v, e));
	TRY(verify_parallel(r->n, check_file, &v, o, &v.done, v.total, e));
	memcpy(r->commit, v.dir.commit, sizeof r->commit);
	memcpy(r->repo, v.dir.repo, sizeof r->repo);
	st = verdict(r, path, strict, e);
out:
	for (size_t i = 0; v.open && i < r->n; i++)
		source_file_close(&v.open[i]);
	free(v.open);
	source_dir_close(&v.dir);
	return st;
}

void source_report_close(struct source_report *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->files[i].name);
	free(r->files);
	*r = (struct source_report){ 0 };
}
