/* SPDX-License-Identifier: MIT
 *
 * gguf_set.c - a GGUF that was split: STEM-00001-of-00003.gguf and so on, read as one.
 *
 * The names say which files there are, the keys split.* in each whether they are those. A set that ingot made lists the
 * roots of all its seals in every file, so that a file of another conversion is told by any of its neighbours.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/format.h"

/* ---- names ------------------------------------------------------------------------------*/

/* Five digits at p as a number. */
static bool five_digits(const char *p, unsigned *v)
{
	*v = 0;
	for (int i = 0; i < 5; i++) {
		if (!isdigit((unsigned char)p[i]))
			return false;
		*v = 10 * *v + (unsigned)(p[i] - '0');
	}
	return true;
}

bool gguf_set_name(const char *path, struct gguf_set_name *name)
{
	static const char form[] = "-00001-of-00003.gguf";
	size_t n = strlen(path), tail = sizeof form - 1;
	const char *p = path + n - tail;
	unsigned number;

	if (n <= tail || path[n - tail - 1] == '/' || p[0] != '-' || memcmp(p + 6, "-of-", 4) != 0 ||
	    strcmp(p + 15, ".gguf") != 0 || !five_digits(p + 1, &number) || !five_digits(p + 10, &name->n) || number == 0 ||
	    number > name->n)
		return false;
	name->number = number - 1;
	name->stem = n - tail;
	return true;
}

char *gguf_set_path(const char *path, const struct gguf_set_name *name, unsigned number, struct err *e)
{
	size_t room = name->stem + 40;
	char *s = mem_new(room, 1, "a path", e);

	if (s)
		snprintf(s, room, "%.*s-%05u-of-%05u.gguf", (int)name->stem, path, number + 1, name->n);
	return s;
}

/* ---- one file of it ---------------------------------------------------------------------*/

static enum status bad_key(const struct file *f, const char *key, struct err *e)
{
	return err_set(e, ERR_FORMAT, "%s: metadata key %s is missing or no number; it is no file of a split GGUF, whatever its "
		       "name says: fetch the set again", f->path, key);
}

/* That file number i is what its name says. */
static enum status check_numbers(const struct gguf_set *s, size_t i, struct err *e)
{
	const struct gguf *g = &s->parts[i];
	const struct file *f = &s->files[i];
	uint64_t no, count, total;

	if (!gguf_u64(g, SPLIT_KEY_NO, &no))
		return bad_key(f, SPLIT_KEY_NO, e);
	if (!gguf_u64(g, SPLIT_KEY_COUNT, &count))
		return bad_key(f, SPLIT_KEY_COUNT, e);
	if (!gguf_u64(g, SPLIT_KEY_TENSORS, &total))
		return bad_key(f, SPLIT_KEY_TENSORS, e);
	if (count != s->n || no != i)
		return err_set(e, ERR_FORMAT, "%s: says of itself that it is number %llu of %llu (from 0: " SPLIT_KEY_NO "), its "
			       "name says number %zu of %zu; it was renamed or belongs to another set", f->path,
			       (unsigned long long)no, (unsigned long long)count, i, s->n);
	return OK;
}

/* Files of a set that have such keys agree on them. */
static enum status check_alike(const struct gguf_set *s, size_t i, size_t first, struct err *e)
{
	static const char *const keys[] = { "general.architecture", SPLIT_KEY_TENSORS };

	for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
		const struct gguf_kv *a = gguf_find(&s->parts[first], keys[k]), *b = gguf_find(&s->parts[i], keys[k]);

		if (a && b && (a->data_bytes != b->data_bytes || memcmp(a->data, b->data, (size_t)a->data_bytes) != 0))
			return err_set(e, ERR_FORMAT, "%s: %s is not that of %s; they are files of different sets",
				       s->files[i].path, keys[k], s->files[first].path);
	}
	return OK;
}

/* ---- seals of one conversion ------------------------------------------------------------*/

static const uint8_t *digests(const struct gguf *g, const char *key, uint64_t n)
{
	const struct gguf_kv *kv = gguf_find(g, key);

	return kv && kv->type == GGUF_ARR && kv->elem == GGUF_U8 && kv->count == SHA256_BYTES * n ? kv->data : NULL;
}

static enum status strangers(const struct file *a, const struct file *b, const char *why, struct err *e)
{
	return err_set(e, ERR_MISMATCH, "%s: was not made together with %s (%s); take all files of the set from one place, or "
		       "convert again", a->path, b->path, why);
}

/* What file `who` says of the root of each file that is here. */
static enum status check_roots(const struct gguf_set *s, size_t who, const uint8_t *roots, struct err *e)
{
	for (size_t i = 0; i < s->n; i++) {
		const uint8_t *own = digests(&s->parts[i], SEAL_KEY_ROOT, 1);

		if (s->files[i].fd >= 0 && (!own || memcmp(own, roots + SHA256_BYTES * i, SHA256_BYTES) != 0))
			return strangers(&s->files[i], &s->files[who], "the seal's root is another", e);
	}
	return OK;
}

/* The first file's header, as file i knows it. */
static enum status check_first(const struct gguf_set *s, size_t i, struct err *e)
{
	const uint8_t *known = digests(&s->parts[i], SPLIT_KEY_FIRST, 1), *own = digests(&s->parts[0], SEAL_KEY_HEADER, 1);

	if (known && s->files[0].fd >= 0 && (!own || memcmp(own, known, SHA256_BYTES) != 0))
		return strangers(&s->files[i], &s->files[0], "the first file's metadata is another", e);
	return OK;
}

enum status gguf_set_check_seals(const struct gguf_set *s, struct err *e)
{
	enum status st = OK;

	for (size_t i = 0; s->n > 1 && i < s->n && st == OK; i++) {
		const uint8_t *roots = digests(&s->parts[i], SPLIT_KEY_ROOTS, s->n);
		struct seal own;
		struct err ignored;

		/* what another tool carried over when it wrote a file anew says nothing of these files */
		if (s->files[i].fd < 0 || !roots || seal_read(&own, &s->parts[i], &ignored) != OK ||
		    own.file_size != s->files[i].id.size)
			continue;
		st = check_roots(s, i, roots, e);
		if (st == OK)
			st = check_first(s, i, e);
	}
	return st;
}

/* ---- the whole --------------------------------------------------------------------------*/

static enum status make_room(struct gguf_set *s, size_t n, struct err *e)
{
	*s = (struct gguf_set){ .n = 0 };
	s->files = mem_new(n, sizeof *s->files, "the files of a set", e);
	s->parts = mem_new(n, sizeof *s->parts, "the headers of a set", e);
	if (!s->files || !s->parts) {
		gguf_set_close(s);
		return e->status;
	}
	for (; s->n < n; s->n++)
		s->files[s->n] = FILE_NONE;
	return OK;
}

/* Opens file i by its name; one that is not there keeps its path. */
static enum status open_file(struct gguf_set *s, size_t i, const char *path, struct log *notes, struct err *e)
{
	struct file *f = &s->files[i];

	if (f->fd >= 0)		/* the one that was named */
		return OK;
	if (access(path, F_OK) != 0 && errno == ENOENT) {
		s->n_missing++;
		f->path = mem_strdup(path, e);
		return f->path ? OK : e->status;
	}
	if (file_open(f, AT_FDCWD, path, true, path, e) != OK)
		return e->status;
	return gguf_read(&s->parts[i], f, notes, e);
}

/* From the one that was named to the set that it belongs to. */
static enum status open_set(struct gguf_set *s, const char *path, const struct gguf_set_name *name, struct log *notes,
			    struct err *e)
{
	struct gguf_set one = *s;
	size_t first = SIZE_MAX;
	enum status st = make_room(s, name->n, e);

	if (st != OK) {
		gguf_set_close(&one);
		return st;
	}
	s->files[name->number] = one.files[0];
	s->parts[name->number] = one.parts[0];
	free(one.files);
	free(one.parts);
	for (size_t i = 0; i < s->n; i++) {
		char *own = gguf_set_path(path, name, (unsigned)i, e);

		st = own ? open_file(s, i, own, notes, e) : e->status;
		free(own);
		TRY(st);
		if (s->files[i].fd < 0)
			continue;
		TRY(check_numbers(s, i, e));
		first = first == SIZE_MAX ? i : first;
		TRY(check_alike(s, i, first, e));
	}
out:
	return st;
}

static enum status join(struct gguf_set *s, struct err *e)
{
	uint64_t total;

	if (s->n == 1) {
		s->gguf = s->parts[0];
		return OK;
	}
	if (gguf_join(&s->gguf, s->parts, s->n, s->files, e) != OK)
		return e->status;
	if (gguf_u64(&s->gguf, SPLIT_KEY_TENSORS, &total) && total != s->gguf.n_tensors)
		return err_set(e, ERR_FORMAT, "%s: " SPLIT_KEY_TENSORS " is %llu, the %zu files of the set have %zu tensors; one "
			       "is not that that was written with the others: fetch the set again", s->files[0].path,
			       (unsigned long long)total, s->n, s->gguf.n_tensors);
	return OK;
}

enum status gguf_set_find(struct gguf_set *s, const char *path, struct log *notes, struct err *e)
{
	struct gguf_set_name name = { 0 };
	uint64_t count = 1;
	enum status st;

	TRY(make_room(s, 1, e));
	TRY(file_open(&s->files[0], AT_FDCWD, path, true, path, e));
	TRY(gguf_read(&s->parts[0], &s->files[0], notes, e));
	gguf_u64(&s->parts[0], SPLIT_KEY_COUNT, &count);
	if (count > 1) {
		if (count > GGUF_SET_MOST)
			TRY(err_set(e, ERR_UNSUPPORTED, "%s: " SPLIT_KEY_COUNT " is %llu; at most %d files are read as one", path,
				    (unsigned long long)count, GGUF_SET_MOST));
		if (!gguf_set_name(path, &name) || name.n != count)
			TRY(err_set(e, ERR_FORMAT, "%s: is one of %llu files of a split GGUF, but its name does not end like "
				    "-00001-of-%05llu.gguf, by which the others are found; give all files the names that they had",
				    path, (unsigned long long)count, (unsigned long long)count));
		TRY(open_set(s, path, &name, notes, e));
	}
	if (s->n_missing == 0)
		st = join(s, e);
out:
	if (st != OK)
		gguf_set_close(s);
	return st;
}

/* Names the first few that are not there. */
static enum status incomplete(const struct gguf_set *s, const char *path, struct err *e)
{
	enum { SHOWN = 3 };
	char list[900] = "";
	size_t n = 0;

	for (size_t i = 0; i < s->n && n < SHOWN; i++) {
		const char *slash = s->files[i].path ? strrchr(s->files[i].path, '/') : NULL;
		size_t at = strlen(list);

		if (s->files[i].fd < 0)
			snprintf(list + at, sizeof list - at, "%s%.270s", n++ ? ", " : "",
				 slash ? slash + 1 : s->files[i].path);
	}
	return err_set(e, ERR_FORMAT, "%s: %zu of the set's %zu files are missing: %s%s; fetch them, or convert again", path,
		       s->n_missing, s->n, list, s->n_missing > SHOWN ? ", ..." : "");
}

enum status gguf_set_open(struct gguf_set *s, const char *path, struct log *notes, struct err *e)
{
	enum status st;

	if (gguf_set_find(s, path, notes, e) != OK)
		return e->status;
	st = s->n_missing ? incomplete(s, path, e) : gguf_set_check_seals(s, e);
	if (st != OK)
		gguf_set_close(s);
	return st;
}

enum status gguf_set_unchanged(const struct gguf_set *s, struct err *e)
{
	enum status st = OK;

	for (size_t i = 0; i < s->n && st == OK; i++)
		st = file_unchanged(&s->files[i], e);
	return st;
}

uint64_t gguf_set_bytes(const struct gguf_set *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->files[i].id.size;	/* sizes of files: their sum fits */
	return n;
}

void gguf_set_close(struct gguf_set *s)
{
	if (s->n > 1) {		/* of one, the whole is the part */
		free(s->gguf.tensors);
		free(s->gguf.tensor_index);
	}
	for (size_t i = 0; i < s->n; i++) {
		file_close(&s->files[i]);
		gguf_close(&s->parts[i]);
	}
	free(s->files);
	free(s->parts);
	*s = (struct gguf_set){ 0 };
}
