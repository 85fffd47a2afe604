/* SPDX-License-Identifier: MIT
 *
 * signed.c - a model file or directory against the list of a Model Signing bundle.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "verify/verify.h"

struct listed {
	struct source_report *r;
	const char *path;
	int dir_fd;			/* -1: path is the file itself */
	uint64_t done, total;
	volatile int *stop;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct file_result *)a)->name, ((const struct file_result *)b)->name);
}

static enum status add(struct source_report *r, size_t *cap, const char *name, struct file_result x,
		       struct err *e)
{
	void *p = r->files;

	if (mem_grow(&p, cap, r->n + 1, sizeof x, "the list of files", e) != OK)
		return e->status;
	r->files = p;
	if (!(x.name = mem_strdup(name, e)))
		return e->status;
	r->files[r->n++] = x;
	return OK;
}

static bool is_listed(const struct source_report *r, size_t n, const char *name)
{
	struct file_result key = { .name = (char *)name };	/* only compared */

	return n && bsearch(&key, r->files, n, sizeof key, by_name);
}

/* What the signers' own tool leaves out as well. */
static bool passed_over(const char *name, const char *bundle_path)
{
	const char *slash = strrchr(bundle_path, '/');

	return strcmp(name, slash ? slash + 1 : bundle_path) == 0 || strcmp(name, ".gitattributes") == 0 ||
	       strcmp(name, ".gitignore") == 0;
}

static enum status add_strangers(struct listed *l, size_t *cap, const char *bundle_path, struct err *e)
{
	struct source_dir dir = SOURCE_DIR_NONE;
	struct names names = { 0 };
	size_t n = l->r->n;
	enum status st;

	TRY(source_dir_open(&dir, l->path, NULL, e));
	TRY(source_dir_list(&dir, false, &names, e));
	for (size_t i = 0; i < names.n; i++)
		if (!is_listed(l->r, n, names.v[i]) && !passed_over(names.v[i], bundle_path))
			TRY(add(l->r, cap, names.v[i], (struct file_result){ .verdict = FILE_EXTRA }, e));
out:
	names_close(&names);
	source_dir_close(&dir);
	return st;
}

static void says(struct file_result *x, enum file_verdict v, const char *why)
{
	x->verdict = v;
	escape_text(x->why, sizeof x->why, why, strlen(why));
}

static enum status check(void *arg, uint64_t i, struct verify_worker *w, struct err *e)
{
	struct listed *l = arg;
	struct file_result *x = &l->r->files[i];
	struct file f = FILE_NONE;
	struct stat s;
	struct err why;
	enum status st = OK;

	if (x->verdict == FILE_EXTRA)
		return OK;
	verify_now(w, (struct str){ x->name, strlen(x->name) });
	if (l->dir_fd >= 0 && !name_is_plain(x->name)) {
		says(x, FILE_FAILED, "lies in a sub-directory, which is not read");
		return OK;
	}
	if (l->dir_fd >= 0 && fstatat(l->dir_fd, x->name, &s, AT_SYMLINK_NOFOLLOW) != 0) {
		says(x, FILE_MISSING, "");
		return OK;
	}
	st = l->dir_fd >= 0 ? file_open(&f, l->dir_fd, x->name, false, x->name, &why)
			    : file_open(&f, AT_FDCWD, l->path, true, l->path, &why);
	if (st != OK && l->dir_fd < 0)
		return *e = why, st;
	if (st != OK) {
		says(x, FILE_FAILED, why.msg);
		return OK;
	}
	x->bytes = f.id.size;
	if ((st = digest_watched(&f, DIGEST_SHA256, &x->found, NULL, &(struct digest_watch){ &l->done, l->stop }, e)) == OK &&
	    (st = file_unchanged(&f, e)) == OK)
		x->verdict = digest_eq(&x->found, &x->expected) ? FILE_OK : FILE_FAILED;
	file_close(&f);
	return st;
}

static enum status list_files(struct listed *l, const struct bundle *b, const char *bundle_path, struct err *e)
{
	size_t cap = 0;
	enum status st = OK;

	for (size_t i = 0; i < b->n; i++)
		TRY(add(l->r, &cap, b->files[i].name, (struct file_result){ .expected = b->files[i].digest }, e));
	if (l->dir_fd >= 0) {
		qsort(l->r->files, l->r->n, sizeof *l->r->files, by_name);
		TRY(add_strangers(l, &cap, bundle_path, e));
		qsort(l->r->files, l->r->n, sizeof *l->r->files, by_name);
	} else if (b->n != 1 || strcmp(b->files[0].name, ".") != 0) {
		st = err_set(e, ERR_MISMATCH, "%s: signs a directory of %zu files, not one file; give the directory",
			     bundle_path, b->n);
	}
out:
	return st;
}

static enum status verdict(struct source_report *r, const char *path, struct err *e)
{
	for (size_t i = 0; i < r->n; i++)
		r->n_of[r->files[i].verdict]++;
	if (r->n_of[FILE_FAILED] || r->n_of[FILE_MISSING] || r->n_of[FILE_EXTRA])
		return err_set(e, ERR_MISMATCH, "%s: is not what was signed: %zu files failed, %zu are missing, %zu are not in "
			       "the list; take the files that were signed", path, r->n_of[FILE_FAILED],
			       r->n_of[FILE_MISSING], r->n_of[FILE_EXTRA]);
	return OK;
}

enum status verify_bundle(struct source_report *r, const char *path, const struct bundle *b,
			  const char *bundle_path, const struct verify_options *o, struct err *e)
{
	struct listed l = { .r = r, .path = path, .dir_fd = -1, .stop = o->stop };
	struct stat s;
	enum status st;

	*r = (struct source_report){ 0 };
	if (stat(path, &s) != 0)
		return err_errno(e, "%s: cannot open", path);
	if (S_ISDIR(s.st_mode) && (l.dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_errno(e, "%s: cannot open", path);
	l.total = S_ISDIR(s.st_mode) ? 0 : (uint64_t)s.st_size;
	TRY(list_files(&l, b, bundle_path, e));
	TRY(verify_parallel(r->n, check, &l, o, &l.done, l.total, e));
	st = verdict(r, path, e);
out:
	if (l.dir_fd >= 0)
		file_close(&(struct file){ .fd = l.dir_fd });
	return st;
}
