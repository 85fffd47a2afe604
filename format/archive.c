/* SPDX-License-Identifier: MIT
 *
 * archive.c - a text as it is distributed: plain, compressed, or one member of an archive.
 *
 * Nothing is ever extracted: bytes go from the one open file to one buffer. What a file is, is
 * told by its first bytes, never by its name. Two layers: a stream undoes at most one compression
 * (filter.c), and libarchive's tar reader walks the stream. Zip is read through its central
 * directory: the reader that goes front to back takes a zip cut in half for whole.
 *
 * Invariant: a text is returned only if its container was read to the end without a warning.
 * Limits: 4096 entries; the caller's on bytes; 200 bytes from each byte of the file, past 1 MiB.
 * Formats: POSIX.1-2017 pax (tar), PKWARE APPNOTE 4.3.16 (zip end record).
 */
#include "format/filter.h"
#include "format/members.h"
#include "format/zip.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	MAX_ENTRIES = 4096,
	ZIP_TAIL = 16 << 10,		/* so far back a text is searched for a zip's end record */
	MAX_LISTED = 20,
};

/* ---- the text as it grows -------------------------------------------------------------------*/

struct text {
	const struct file *f;		/* borrowed */
	uint64_t limit, max_memory;
	void *p;			/* owned */
	size_t n, cap;
};

/* Would a text of n bytes be let in? */
static enum status check_size(const struct text *t, uint64_t n, struct err *e)
{
	if (n > t->limit)
		return err_set(e, ERR_UNSUPPORTED, "%s: a text of more than %llu bytes, the limit", t->f->path,
			       (unsigned long long)t->limit);
	if (n > t->max_memory)
		return err_set(e, ERR_NOMEM, "%s: %llu bytes of text or more do not fit --max-memory (%llu)",
			       t->f->path, (unsigned long long)n, (unsigned long long)t->max_memory);
	return filter_ratio(t->f, n, e);
}

static enum status text_add(struct text *t, const void *p, size_t n, struct err *e)
{
	uint64_t want;
	enum status st;

	if (!u64_add(t->n, n, &want))
		want = UINT64_MAX;
	st = check_size(t, want, e);
	if (st == OK)
		st = mem_grow(&t->p, &t->cap, (size_t)want + 1, 1, "the text", e);
	if (st != OK)
		return st;
	if (n)
		memcpy((char *)t->p + t->n, p, n);
	t->n = (size_t)want;
	((char *)t->p)[t->n] = 0;
	return OK;
}

/* ---- members --------------------------------------------------------------------------------*/

struct pick {
	const char *member;		/* borrowed; NULL for the only one */
	struct text *text;		/* borrowed */
	unsigned n_entries, n_files;
	bool found;
	char list[1400];		/* names for a message, cut where they do not fit */
	size_t list_n;
};

static void list_name(struct pick *k, const char *name)
{
	size_t room = sizeof k->list - k->list_n;
	int n;

	if (k->n_files > MAX_LISTED || room < 8)
		return;
	n = snprintf(k->list + k->list_n, room, "%s%s", k->list_n ? ", " : "", name);
	k->list_n += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

static enum status take(struct archive *a, struct archive_entry *entry, struct filter *s,
			struct pick *k, struct err *e)
{
	struct text *t = k->text;
	const char *name = archive_entry_pathname(entry);
	uint64_t size = (uint64_t)archive_entry_size(entry);
	const void *p;
	size_t n;
	la_int64_t off;
	enum status st;
	int r;

	if (archive_entry_is_encrypted(entry))
		return err_set(e, ERR_UNSUPPORTED, "%s: member '%.200s' is encrypted; unpack it first",
			       s->f->path, name);
	if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0)
		return err_set(e, ERR_FORMAT, "%s: member '%.200s' does not say its size; unpack it first",
			       s->f->path, name);
	st = check_size(t, size, e);
	if (st == OK)
		st = text_add(t, "", 0, e);
	while (st == OK && (r = archive_read_data_block(a, &p, &n, &off)) != ARCHIVE_EOF) {
		if (r != ARCHIVE_OK)
			return filter_failed(a, s, e);
		if (off < 0 || (uint64_t)off != t->n || n > size - t->n)
			return err_set(e, ERR_FORMAT, "%s: member '%.200s' has holes or does not have the "
				       "%llu bytes that it declares", s->f->path, name,
				       (unsigned long long)size);
		st = text_add(t, p, n, e);
	}
	if (st == OK && t->n != size)
		return err_set(e, ERR_FORMAT, "%s: member '%.200s' has %zu bytes and declares %llu; "
			       "download it again", s->f->path, name, t->n, (unsigned long long)size);
	return st;
}

static enum status entry_check(struct archive_entry *entry, struct filter *s, struct pick *k,
			       struct err *e)
{
	const char *name = archive_entry_pathname(entry);
	unsigned type = archive_entry_filetype(entry);

	if (++k->n_entries > MAX_ENTRIES)
		return err_set(e, ERR_UNSUPPORTED, "%s: more than %d entries, the limit", s->f->path,
			       MAX_ENTRIES);
	if (!name || !*name)
		return err_set(e, ERR_FORMAT, "%s: entry %u has no name that can be read; unpack it first",
			       s->f->path, k->n_entries);
	if (name_leads_out(name))
		return err_set(e, ERR_FORMAT, "%s: entry '%.200s' has a name that leads out of the archive, or control "
			       "bytes in it; do not unpack it, take it from elsewhere", s->f->path, name);
	if (archive_entry_hardlink(entry) || archive_entry_symlink(entry) ||
	    (type != AE_IFREG && type != AE_IFDIR))
		return err_set(e, ERR_UNSUPPORTED, "%s: entry '%.200s' is a link or a special file; only "
			       "regular files are read from archives", s->f->path, name);
	return OK;
}

/* Every header to the end; the data of the one member that is wanted. */
static enum status walk(struct archive *a, struct filter *s, struct pick *k, struct err *e)
{
	struct archive_entry *entry;
	enum status st;
	int r;

	while ((r = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
		const char *name;

		st = entry_check(entry, s, k, e);
		if (st != OK)
			return st;
		if (archive_entry_filetype(entry) == AE_IFDIR)
			continue;
		name = archive_entry_pathname(entry);
		k->n_files++;
		list_name(k, name);
		if (k->member ? strcmp(name, k->member) != 0 : k->n_files > 1)
			continue;
		if (k->found)
			return err_set(e, ERR_FORMAT, "%s: two members are called '%.200s'", s->f->path, name);
		k->found = true;
		st = take(a, entry, s, k, e);
		if (st != OK)
			return st;
	}
	return r == ARCHIVE_EOF ? OK : filter_failed(a, s, e);
}

/* After the walk: was it what was asked for? */
static enum status settle(const struct filter *s, const struct pick *k, struct err *e)
{
	const char *path = s->f->path, *more = k->n_files > MAX_LISTED ? ", ..." : "";

	if (k->n_files == 0)
		return err_set(e, ERR_FORMAT, "%s: an archive without any file", path);
	if (k->member && !k->found)
		return err_set(e, ERR_FORMAT, "%s: no member '%.200s'; it holds %u: %s%s", path, k->member,
			       k->n_files, k->list, more);
	if (!k->member && k->n_files > 1)
		return err_set(e, ERR_FORMAT, "%s: holds %u files; name one as %.200s:MEMBER; they are: "
			       "%s%s", path, k->n_files, path, k->list, more);
	return OK;
}

/* ---- zip ------------------------------------------------------------------------------------*/

static enum status count_entry(void *arg, const struct zip_entry *z, struct err *e)
{
	(void)z;
	(void)e;
	++*(unsigned *)arg;
	return OK;
}

/* libarchive unpacks, but only what our own walk finds in order: its directory and members say the same and tile the file. */
static enum status read_zip(const struct file *f, struct pick *k, struct err *e)
{
	struct filter s = { 0 };
	struct archive *a = NULL;
	unsigned entries = 0;
	enum status st;

	TRY(zip_walk(f, MAX_ENTRIES, count_entry, &entries, e));
	if (entries == 0) {
		st = err_set(e, ERR_FORMAT, "%s: an archive without any file", f->path);
		goto out;
	}
	TRY(filter_open(&s, f, PLAIN, e));
	a = archive_read_new();
	if (!a || archive_read_support_format_zip_seekable(a) != ARCHIVE_OK ||
	    archive_read_set_callback_data(a, &s) != ARCHIVE_OK ||
	    archive_read_set_read_callback(a, filter_on_read) != ARCHIVE_OK ||
	    archive_read_set_seek_callback(a, filter_on_seek) != ARCHIVE_OK) {
		st = err_set(e, ERR_NOMEM, "%s: no memory to read a zip", f->path);
		goto out;
	}
	if (archive_read_open1(a) != ARCHIVE_OK) {
		st = filter_failed(a, &s, e);
		goto out;
	}
	TRY(walk(a, &s, k, e));
	if (k->n_entries != entries) {
		st = err_set(e, ERR_FORMAT, "%s: %u zip entries for one reader, %u for another; download it again", f->path,
			     k->n_entries, entries);
		goto out;
	}
	TRY(settle(&s, k, e));
out:
	archive_read_free(a);
	filter_close(&s);
	return st;
}

/* ---- tar and bare compressed files ----------------------------------------------------------*/

static la_ssize_t on_stream(struct archive *a, void *ctx, const void **p)
{
	struct filter *s = ctx;
	size_t n;

	*p = s->out;
	if (filter_next(s, &n, &s->err) == OK)
		return (la_ssize_t)n;
	archive_set_error(a, EIO, "cannot unpack");
	return ARCHIVE_FATAL;
}

/* libarchive takes a tar that stops between two members for whole, and does not look behind the
 * end mark: the stream is read to its end, and from the mark on all must be zero. */
static enum status tar_tail(struct archive *a, struct filter *s, struct err *e)
{
	la_int64_t at = archive_filter_bytes(a, 0);
	size_t n;
	enum status st;

	do {
		st = filter_next(s, &n, e);
		if (st != OK)
			return st;
	} while (n);
	if (at < TAR_END || s->nonzero > (uint64_t)at - TAR_END || s->total < (uint64_t)at)
		return err_set(e, ERR_FORMAT, "%s: the tar has no end mark, or something follows it; download it "
			       "again", s->f->path);
	return OK;
}

static enum status read_tar(struct filter *s, struct pick *k, struct err *e)
{
	struct archive *a = archive_read_new();
	enum status st;

	if (!a || archive_read_support_format_tar(a) != ARCHIVE_OK) {
		st = err_set(e, ERR_NOMEM, "%s: no memory to read a tar", s->f->path);
		goto out;
	}
	if (archive_read_open(a, s, NULL, on_stream, NULL) != ARCHIVE_OK) {
		st = filter_failed(a, s, e);
		goto out;
	}
	TRY(walk(a, s, k, e));
	TRY(tar_tail(a, s, e));
	TRY(settle(s, k, e));
out:
	archive_read_free(a);
	return st;
}

static enum status read_stream(const struct file *f, enum kind kind, struct pick *k, struct err *e)
{
	struct filter s = { 0 };
	enum kind inner;
	size_t n;
	enum status st;

	TRY(filter_open(&s, f, kind == TAR ? PLAIN : kind, e));
	TRY(filter_next(&s, &n, e));
	s.held = n;
	inner = content_kind(s.out, n);
	if (inner == TAR) {
		st = read_tar(&s, k, e);
	} else if (inner != PLAIN) {
		st = err_set(e, ERR_UNSUPPORTED, "%s: is compressed twice; unpack it first", f->path);
	} else if (k->member) {
		st = err_set(e, ERR_FORMAT, "%s: is one compressed file and has no member '%.200s'; leave "
			     "out the member", f->path, k->member);
	} else {
		do {
			TRY(filter_next(&s, &n, e));
			TRY(text_add(k->text, s.out, n, e));
		} while (n);
	}
out:
	filter_close(&s);
	return st;
}

/* ---- the way in -----------------------------------------------------------------------------*/

/* FILE:MEMBER, where there is a FILE and nothing has the whole name: ends path at the colon and
 * returns the member. */
static char *split_member(char *path)
{
	struct stat s;

	if (stat(path, &s) == 0)
		return NULL;
	for (char *c = strchr(path, ':'); c; c = strchr(c + 1, ':')) {
		*c = 0;
		if (c[1] && stat(path, &s) == 0 && S_ISREG(s.st_mode))
			return c + 1;
		*c = ':';
	}
	return NULL;
}

/* A text; not one that others would unpack. */
static enum status read_plain(const struct file *f, uint64_t limit, char **text, size_t *n, struct err *e)
{
	size_t tail;

	if (file_slurp(f, limit, text, n, e) != OK)
		return e->status;
	tail = (size_t)u64_min(*n, ZIP_TAIL);
	if (zip_end((const uint8_t *)*text + *n - tail, tail) == SIZE_MAX)
		return OK;
	free(*text);
	*text = NULL;
	return err_set(e, ERR_FORMAT, "%s: is no text: it ends as a zip does, with something put before it; download it again",
		       f->path);
}

enum status text_from(const struct file *f, const char *member, uint64_t limit, uint64_t max_memory,
		      char **text, size_t *n, struct err *e)
{
	struct text t = { .f = f, .limit = limit, .max_memory = max_memory };
	struct pick k = { .member = member, .text = &t };
	uint8_t head[TAR_BLOCK];
	size_t head_n = (size_t)u64_min(sizeof head, f->id.size);
	/* libarchive converts names to the locale: for this thread and for now it is UTF-8 */
	locale_t names = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0), before = uselocale(names);
	enum kind kind;
	enum status st;

	*text = NULL;
	*n = 0;
	TRY(file_read(f, head, head_n, 0, e));
	kind = content_kind(head, head_n);
	if (kind == BZIP2) {
		st = err_set(e, ERR_UNSUPPORTED, "%s: bzip2 is not read; unpack it first", f->path);
	} else if (kind == ZIP) {
		st = read_zip(f, &k, e);
	} else if (kind != PLAIN) {
		st = read_stream(f, kind, &k, e);
	} else if (member) {
		st = err_set(e, ERR_FORMAT, "%s: is no archive and has no member '%.200s'", f->path, member);
	} else {
		TRY(check_size(&t, f->id.size, e));
		st = read_plain(f, limit, text, n, e);
	}
	if (st == OK && kind != PLAIN) {
		*text = t.p;
		*n = t.n;
		t.p = NULL;
	}
out:
	uselocale(before);
	if (names)
		freelocale(names);
	free(t.p);
	return st;
}

enum status text_read(const char *path, uint64_t limit, uint64_t max_memory, char **text, size_t *n,
		      struct err *e)
{
	struct file f = FILE_NONE;
	char *name = mem_strdup(path, e), *member;
	enum status st;

	*text = NULL;
	*n = 0;
	if (!name)
		return e->status;
	member = split_member(name);
	TRY(file_open(&f, AT_FDCWD, name, true, name, e));
	TRY(text_from(&f, member, limit, max_memory, text, n, e));
	st = file_unchanged(&f, e);
	if (st != OK) {
		free(*text);
		*text = NULL;
		*n = 0;
	}
out:
	file_close(&f);
	free(name);
	return st;
}
