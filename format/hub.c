/* SPDX-License-Identifier: MIT
 *
 * hub.c - opening the files of a downloaded model, and the digests that are on this disk already.
 *
 * Hugging Face's downloader leaves them in two places: a cache snapshot links NAME to
 * ../../blobs/ETAG, and `--local-dir` writes .cache/huggingface/download/NAME.metadata with three
 * lines: commit, etag, time. The etag is the file's SHA-256 (64 hex) or git blob id (40 hex). A
 * record is stale if the file was modified over a second after it was written (the downloader's
 * own rule), and then says nothing about the file.
 *
 * Names from outside never become paths: a file is one plain component below one directory
 * descriptor, and the only links followed are those of the cache into its own blobs. Of an archive (members.c)
 * the same files are looked up in its list.
 */
#include "format/members.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD_LIMIT = 4096, DIGESTS_LIMIT = 16 << 20, DIR_LIMIT = 100000 };

const char *anchor_name(enum anchor a)
{
	static const char *const names[] = { "none", "hub-local-dir", "hub-cache", "digests-file", "seal" };

	return names[a];
}

bool name_is_plain(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= 255 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

const char *const source_small_files[] = {
	"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
	"chat_template.jinja", "model.safetensors.index.json", NULL,
};

bool name_is_shard(const char *name)
{
	static const char suffix[] = ".safetensors";
	size_t n = strlen(name), k = sizeof suffix - 1;

	return name_is_plain(name) && n > k && strcmp(name + n - k, suffix) == 0;
}

/* Cuts the next line off *rest (a terminated text), without its LF or CRLF; NULL at the end. */
static char *next_line(char **rest)
{
	char *line = *rest, *end;

	if (!*line)
		return NULL;
	end = strchr(line, '\n');
	*rest = end ? end + 1 : line + strlen(line);
	if (end) {
		*end = 0;
		if (end > line && end[-1] == '\r')
			end[-1] = 0;
	}
	return line;
}

static int by_line_name(const void *a, const void *b)
{
	return strcmp(((const struct digest_line *)a)->name, ((const struct digest_line *)b)->name);
}

static enum status digest_line_parse(struct digest_list *l, size_t *cap, char *line, const char *path,
				     size_t number, struct err *e)
{
	size_t hex = strspn(line, "0123456789abcdefABCDEF");
	struct digest_line *d;
	void *p = l->lines;

	if (mem_grow(&p, cap, l->n + 1, sizeof *d, "digests", e) != OK)
		return e->status;
	l->lines = p;
	d = &l->lines[l->n];
	if (!digest_parse(&d->digest, (struct str){ line, hex }) || line[hex] != ' ' ||
	    (line[hex + 1] != ' ' && line[hex + 1] != '*') || !name_is_plain(line + hex + 2))
		return err_set(e, ERR_FORMAT, "%s: line %zu is not \"SHA256  NAME\" with a plain file name; "
			       "write the list with sha256sum, in the directory of the files", path, number);
	if (!(d->name = mem_strdup(line + hex + 2, e)))
		return e->status;
	l->n++;
	return OK;
}

enum status digest_list_read(struct digest_list *l, const char *path, struct err *e)
{
	struct file f = FILE_NONE;
	char *text = NULL, *rest, *line;
	size_t n, cap = 0, number = 0;
	enum status st;

	*l = (struct digest_list){ 0 };
	TRY(file_open(&f, AT_FDCWD, path, true, path, e));
	TRY(file_slurp(&f, DIGESTS_LIMIT, &text, &n, e));
	if (strlen(text) != n) {
		st = err_set(e, ERR_FORMAT, "%s: byte %zu is NUL: not a list of digests", path, strlen(text));
		goto out;
	}
	for (rest = text; (line = next_line(&rest));) {
		number++;
		if (line[0] != '#' && line[0] != 0)
			TRY(digest_line_parse(l, &cap, line, path, number, e));
	}
	if (l->n == 0) {
		st = err_set(e, ERR_FORMAT, "%s: holds no digest", path);
		goto out;
	}
	qsort(l->lines, l->n, sizeof *l->lines, by_line_name);
	for (size_t i = 1; i < l->n; i++)
		if (strcmp(l->lines[i - 1].name, l->lines[i].name) == 0) {
			st = err_set(e, ERR_FORMAT, "%s: names %s twice", path, l->lines[i].name);
			goto out;
		}
out:
	free(text);
	file_close(&f);
	if (st != OK)
		digest_list_close(l);
	return st;
}

const struct digest *digest_list_find(const struct digest_list *l, const char *name)
{
	struct digest_line key = { .name = (char *)(uintptr_t)name }, *d;

	d = l->n ? bsearch(&key, l->lines, l->n, sizeof key, by_line_name) : NULL;
	return d ? &d->digest : NULL;
}

void digest_list_close(struct digest_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->lines[i].name);
	free(l->lines);
	*l = (struct digest_list){ 0 };
}

static bool is_hex(const char *s, size_t n)
{
	return strspn(s, "0123456789abcdef") >= n;
}

/* real is .../models--ORG--NAME/snapshots/COMMIT, and consumed: fills is_cache, repo, commit. In an archive the folder
 * above `snapshots` may have been left out. */
static void recognise_cache(struct source_dir *d, char *real)
{
	char *commit = strrchr(real, '/'), *snapshots, *models, *sep;

	if (!commit)
		return;
	*commit++ = 0;
	snapshots = strrchr(real, '/');
	snapshots = snapshots ? snapshots + 1 : real;
	if (strcmp(snapshots, "snapshots") != 0)
		return;
	if (snapshots > real)
		snapshots[-1] = 0;
	else
		snapshots[0] = 0;
	models = strrchr(real, '/');
	models = models ? models + 1 : real;
	if (strncmp(models, "models--", 8) != 0 && !d->members)
		return;
	d->is_cache = true;
	if (strlen(commit) == 40 && is_hex(commit, 40))
		memcpy(d->commit, commit, 41);
	if (strncmp(models, "models--", 8) != 0)
		return;
	models += 8;
	sep = strstr(models, "--");
	if (sep)
		snprintf(d->repo, sizeof d->repo, "%.*s/%s", (int)(sep - models), models, sep + 2);
	else
		snprintf(d->repo, sizeof d->repo, "%s", models);
}

/* path is an archive: its list, and the folder in it for a path. */
static enum status open_members(struct source_dir *d, const char *path, const struct source_options *o, struct err *e)
{
	size_t n;
	char *real;

	if (!(d->members = mem_new(1, sizeof *d->members, "an archive", e)))
		return e->status;
	if (members_open(d->members, path, o, e) != OK) {
		free(d->members);
		d->members = NULL;
		return e->status;
	}
	n = strlen(d->members->root);
	if (n == 0)
		return OK;
	if (!(real = mem_strdup(d->members->root, e)))
		return e->status;
	real[n - 1] = 0;
	free(d->path);
	n += strlen(path) + 1;
	d->path = mem_new(n, 1, "a path", e);
	if (d->path) {
		snprintf(d->path, n, "%s:%s", path, real);
		recognise_cache(d, real);
	}
	free(real);
	return d->path ? OK : e->status;
}

static enum status open_directory(struct source_dir *d, const char *path, struct err *e)
{
	char real[PATH_MAX];

	d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0)
		return err_errno(e, "%s: cannot open", path);
	if (realpath(path, real))
		recognise_cache(d, real);
	return OK;
}

enum status source_dir_open(struct source_dir *d, const char *path, const struct source_options *o, struct err *e)
{
	struct stat s;
	enum status st = ERR_NOMEM;

	*d = SOURCE_DIR_NONE;
	if (!(d->path = mem_strdup(path, e)))
		goto out;
	if (stat(path, &s) == 0 && !S_ISDIR(s.st_mode))
		TRY(open_members(d, path, o, e));
	else
		TRY(open_directory(d, path, e));
	if (o && o->digests)
		TRY(digest_list_read(&d->digests, o->digests, e));
out:
	if (st != OK)
		source_dir_close(d);
	return st;
}

void source_dir_close(struct source_dir *d)
{
	if (d->fd >= 0)
		close(d->fd);
	if (d->members)
		members_close(d->members);
	free(d->members);
	free(d->path);
	digest_list_close(&d->digests);
	*d = SOURCE_DIR_NONE;
}

static const char records[] = ".cache/huggingface/download";

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum status add_name(struct names *l, size_t *cap, const char *name, size_t n, struct err *e)
{
	void *p = l->v;

	if (l->n >= DIR_LIMIT)
		return err_set(e, ERR_UNSUPPORTED, "more than %d files in the directory", DIR_LIMIT);
	if (mem_grow(&p, cap, l->n + 1, sizeof *l->v, "file names", e) != OK)
		return e->status;
	l->v = p;
	if (!(l->v[l->n] = mem_new(n + 1, 1, "a name", e)))
		return e->status;
	memcpy(l->v[l->n++], name, n);
	return OK;
}

/* The members right in the checkpoint's folder, or in that of the records. */
static enum status list_members(const struct members *m, bool recorded, struct names *l, struct err *e)
{
	static const char suffix[] = ".metadata";
	size_t cap = 0, tail = sizeof suffix - 1, root = strlen(m->root), sub = recorded ? sizeof records : 0;
	enum status st = OK;

	*l = (struct names){ 0 };
	for (size_t i = 0; i < m->n && st == OK; i++) {
		const char *name = m->v[i].name;
		size_t n = strlen(name);

		if (n <= root + sub || memcmp(name, m->root, root) != 0 || strchr(name + root + sub, '/'))
			continue;
		name += root;
		n -= root;
		if (recorded && (strncmp(name, records, sub - 1) != 0 || name[sub - 1] != '/' || n <= sub + tail ||
				 strcmp(name + n - tail, suffix) != 0))
			continue;
		st = add_name(l, &cap, name + sub, n - sub - (recorded ? tail : 0), e);
	}
	if (st != OK) {
		names_close(l);
		return err_wrap(e, "%s", m->file.path);
	}
	if (l->n)
		qsort(l->v, l->n, sizeof *l->v, by_text);
	return OK;
}

enum status source_dir_list(const struct source_dir *d, bool recorded, struct names *l, struct err *e)
{
	static const char suffix[] = ".metadata";
	size_t cap = 0, tail = sizeof suffix - 1;
	struct dirent *entry;
	enum status st = OK;
	DIR *dir;
	int fd;

	if (d->members)
		return list_members(d->members, recorded, l, e);
	*l = (struct names){ 0 };
	fd = openat(d->fd, recorded ? records : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return recorded && errno == ENOENT ? OK : err_errno(e, "%s: cannot list", d->path);
	}
	while (st == OK && (errno = 0, entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		if (entry->d_type == DT_DIR || strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		if (!recorded)
			st = add_name(l, &cap, entry->d_name, n, e);
		else if (n > tail && strcmp(entry->d_name + n - tail, suffix) == 0)
			st = add_name(l, &cap, entry->d_name, n - tail, e);
	}
	if (st == OK && errno != 0)
		st = err_errno(e, "cannot list");
	closedir(dir);
	if (st != OK) {
		names_close(l);
		return err_wrap(e, "%s", d->path);
	}
	if (l->n)
		qsort(l->v, l->n, sizeof *l->v, by_text);
	return OK;
}

void names_close(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct names){ 0 };
}

/* Digits with at most one point, which strtod would want as the locale writes it. */
static bool parse_seconds(const char *text, double *seconds)
{
	double unit = 0;

	*seconds = 0;
	for (const char *p = text; *p; p++) {
		if (*p == '.' && unit == 0) {
			unit = 1;
		} else if (*p >= '0' && *p <= '9') {
			*seconds = unit == 0 ? *seconds * 10 + (*p - '0') : *seconds + (unit /= 10) * (*p - '0');
		} else {
			return false;
		}
	}
	return *text != 0;
}

/* The record's three lines; false (with a note) if it is not one. */
static bool parse_record(char *text, char commit[41], struct digest *etag, double *time)
{
	char *rest = text, *c = next_line(&rest), *t = next_line(&rest), *when = next_line(&rest);

	if (!c || !t || !when || strlen(c) != 40 || !is_hex(c, 40) ||
	    !digest_parse(etag, (struct str){ t, strlen(t) }) || !parse_seconds(when, time))
		return false;
	memcpy(commit, c, 41);
	return true;
}

static enum status open_record(struct file *r, const struct source_dir *d, const char *name, bool *found, struct err *e)
{
	const struct member *x;

	*found = true;
	if (d->members) {
		x = members_find(d->members, name);
		*found = x != NULL;
		return x ? member_open(r, d->members, x, e) : OK;
	}
	*found = faccessat(d->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	return *found ? file_open(r, d->fd, name, false, name, e) : OK;
}

/* What --local-dir recorded of f, whose time is mtime_ns; no record is no error. */
static enum status local_dir_record(struct source_file *f, struct source_dir *d, int64_t mtime_ns, struct log *notes,
				    struct err *e)
{
	char name[sizeof records + 300], commit[41];
	struct file r = FILE_NONE;
	struct digest etag;
	char *text = NULL;
	double time;
	bool found;
	size_t n;
	enum status st;

	snprintf(name, sizeof name, "%s/%s.metadata", records, f->name);
	TRY(open_record(&r, d, name, &found, e));
	if (!found)
		goto out;
	TRY(file_slurp(&r, RECORD_LIMIT, &text, &n, e));
	if (strlen(text) != n || !parse_record(text, commit, &etag, &time)) {
		log_add(notes, "%s/%s: not a download record (commit, etag, time); it does not count",
			d->path, name);
		goto out;
	}
	if (!d->commit[0])
		memcpy(d->commit, commit, sizeof commit);
	/* unknown in some archives; the digest is compared in any case */
	f->stale = mtime_ns != MTIME_UNKNOWN && (double)mtime_ns * 1e-9 - 1.0 > time;
	if (f->stale) {
		f->stale_digest = etag;
	} else {
		f->expected = etag;
		f->anchor = ANCHOR_HUB_LOCAL_DIR;
	}
out:
	free(text);
	file_close(&r);
	return st;
}

bool blob_link(const char *target, struct digest *etag)
{
	static const char blobs[] = "../../blobs/";
	size_t n = sizeof blobs - 1;

	return strncmp(target, blobs, n) == 0 && digest_parse(etag, (struct str){ target + n, strlen(target + n) });
}

/* The target of a cache link if it is a blob's, else an empty string. */
static void blob_target(const struct source_dir *d, const char *name, char target[128],
			struct digest *etag)
{
	ssize_t n = readlinkat(d->fd, name, target, 127);

	target[n > 0 ? n : 0] = 0;
	if (n < 0 || !blob_link(target, etag))
		target[0] = 0;
}

/* Opens the file itself. blob: it is a link of the cache, called by *etag. */
static enum status open_member(struct source_file *f, const struct source_dir *d, int64_t *mtime_ns, bool *blob,
			       struct digest *etag, bool *missing, struct err *e)
{
	const struct member *x = members_find(d->members, f->name);

	*missing = !x;
	if (!x)
		return err_set(e, ERR_IO, "%s: no member '%s'", d->path, f->name);
	*blob = d->is_cache && members_blob(d->members, f->name, etag);
	*mtime_ns = x->mtime_ns;
	return member_open(&f->file, d->members, x, e);
}

static enum status open_plain(struct source_file *f, const struct source_dir *d, int64_t *mtime_ns, bool *blob,
			      struct digest *etag, bool *missing, struct err *e)
{
	char target[128] = "", *path = path_join(d->path, f->name, e);
	enum status st;

	if (!path)
		return e->status;
	if (d->is_cache)
		blob_target(d, f->name, target, etag);
	errno = 0;
	st = file_open(&f->file, d->fd, target[0] ? target : f->name, false, path, e);
	*missing = st == ERR_IO && errno == ENOENT;
	*blob = target[0] != 0;
	*mtime_ns = f->file.id.mtime_ns;
	free(path);
	return st;
}

enum status source_file_open(struct source_file *f, struct source_dir *d, const char *name,
			     bool *missing, struct log *notes, struct err *e)
{
	const struct digest *listed = digest_list_find(&d->digests, name);
	bool absent = false, blob = false;
	int64_t mtime_ns = MTIME_UNKNOWN;
	struct digest etag;
	enum status st = ERR_NOMEM;

	*f = (struct source_file){ .file = FILE_NONE };
	if (missing)
		*missing = false;
	if (!(f->name = mem_strdup(name, e)))
		goto out;
	st = d->members ? open_member(f, d, &mtime_ns, &blob, &etag, &absent, e)
			: open_plain(f, d, &mtime_ns, &blob, &etag, &absent, e);
	if (missing)
		*missing = absent;
	TRY(st);
	if (blob) {
		f->expected = etag;
		f->anchor = ANCHOR_HUB_CACHE;
	} else {
		TRY(local_dir_record(f, d, mtime_ns, notes, e));
	}
	if (listed) {
		f->expected = *listed;
		f->anchor = ANCHOR_DIGESTS_FILE;
		f->stale = false;
	}
out:
	if (st != OK)
		source_file_close(f);
	return st;
}

void source_file_close(struct source_file *f)
{
	file_close(&f->file);
	free(f->name);
	*f = (struct source_file){ .file = FILE_NONE };
}
