/* SPDX-License-Identifier: MIT
 *
 * filter.c - what a file is by its first bytes, and the stream of it with its compression undone: zlib for gzip, because
 * libarchive checks neither gzip's CRC nor what follows it; libarchive for zstd and xz.
 *
 * Limit: 200 bytes from each byte of the file, past 1 MiB. Format: RFC 1952 (gzip).
 */
#include "format/filter.h"

#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a file is -------------------------------------------------------------------------*/

enum kind content_kind(const uint8_t *p, size_t n)
{
	static const struct { enum kind kind; size_t n; const char *magic; } known[] = {
		{ GZIP, 2, "\x1F\x8B" }, { ZIP, 4, "PK\3\4" }, { ZIP, 4, "PK\5\6" },
		{ ZSTD, 4, "\x28\xB5\x2F\xFD" }, { XZ, 6, "\xFD" "7zXZ\0" }, { BZIP2, 3, "BZh" },
	};
	static const uint8_t zeros[TAR_BLOCK];

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (n >= known[i].n && memcmp(p, known[i].magic, known[i].n) == 0)
			return known[i].kind;
	if (n < TAR_BLOCK)
		return PLAIN;
	/* an empty tar is its end mark alone */
	return memcmp(p + 257, "ustar", 5) == 0 || memcmp(p, zeros, TAR_BLOCK) == 0 ? TAR : PLAIN;
}

enum status filter_ratio(const struct file *f, uint64_t n, struct err *e)
{
	if (n > FREE_BYTES && n / MAX_RATIO > f->id.size)
		return err_set(e, ERR_UNSUPPORTED, "%s: unpacks to more than %d times its %llu bytes, past the "
			       "limit; unpack it yourself if you trust it", f->path, MAX_RATIO,
			       (unsigned long long)f->id.size);
	return OK;
}

/* ---- the stream: the file with its compression undone ---------------------------------------*/

/* The next bytes of the file, into in; 0 at its end. */
static enum status read_in(struct filter *s, size_t *n, struct err *e)
{
	enum status st;

	*n = (size_t)u64_min(BLOCK, s->f->id.size - s->pos);
	st = file_read(s->f, s->in, *n, s->pos, e);
	if (st == OK)
		s->pos += *n;
	return st;
}

la_ssize_t filter_on_read(struct archive *a, void *ctx, const void **p)
{
	struct filter *s = ctx;
	size_t n;

	*p = s->in;
	if (read_in(s, &n, &s->err) == OK)
		return (la_ssize_t)n;
	archive_set_error(a, EIO, "cannot read");
	return ARCHIVE_FATAL;
}

la_int64_t filter_on_seek(struct archive *a, void *ctx, la_int64_t off, int whence)
{
	struct filter *s = ctx;
	int64_t size = (int64_t)s->f->id.size, from = 0, to;

	if (whence == SEEK_CUR)
		from = (int64_t)s->pos;
	else if (whence == SEEK_END)
		from = size;
	if (__builtin_add_overflow(from, off, &to) || to < 0 || to > size) {
		archive_set_error(a, EINVAL, "an offset outside the file");
		return ARCHIVE_FATAL;
	}
	s->pos = (uint64_t)to;
	return to;
}

/* Turns a failure of libarchive, or of the callback below it, into ours. */
enum status filter_failed(struct archive *a, const struct filter *s, struct err *e)
{
	const char *why = archive_error_string(a);

	if (s->err.status != OK) {
		*e = s->err;
		return e->status;
	}
	if (archive_errno(a) == ENOMEM)
		return err_set(e, ERR_NOMEM, "%s: no memory to unpack it", s->f->path);
	return err_set(e, ERR_FORMAT, "%s: damaged or cut short: %s; download it again", s->f->path,
		       why ? why : "it does not end where it should");
}

static enum status fill_gzip(struct filter *s, size_t *n, struct err *e)
{
	z_stream *z = &s->z;
	enum status st;
	size_t k;
	int r;

	z->next_out = s->out;
	z->avail_out = BLOCK;
	while (z->avail_out > 0) {
		if (z->avail_in == 0) {
			st = read_in(s, &k, e);
			if (st != OK)
				return st;
			z->next_in = s->in;
			z->avail_in = (uInt)k;
		}
		if (z->avail_in == 0 && s->z_between)
			break;
		if (z->avail_in == 0)
			return err_set(e, ERR_FORMAT, "%s: ends inside its gzip data; download it again", s->f->path);
		if (s->z_between && *z->next_in != 0x1F)
			return err_set(e, ERR_FORMAT, "%s (bytes %llu..%llu): what follows the gzip data is no gzip "
				       "data; download it again", s->f->path,
				       (unsigned long long)(s->pos - z->avail_in), (unsigned long long)s->f->id.size);
		if (s->z_between)
			inflateReset(z);
		r = inflate(z, Z_NO_FLUSH);
		s->z_between = r == Z_STREAM_END;
		if (r != Z_OK && r != Z_STREAM_END)
			return err_set(e, r == Z_MEM_ERROR ? ERR_NOMEM : ERR_FORMAT, "%s (before byte %llu): gzip data: "
				       "%s; download it again", s->f->path,
				       (unsigned long long)(s->pos - z->avail_in), z->msg ? z->msg : "damaged");
	}
	*n = BLOCK - z->avail_out;
	return OK;
}

static enum status fill_archive(struct filter *s, size_t *n, struct err *e)
{
	for (*n = 0; *n < BLOCK;) {
		la_ssize_t k = archive_read_data(s->a, s->out + *n, BLOCK - *n);
		if (k < 0)
			return filter_failed(s->a, s, e);
		if (k == 0)
			break;
		*n += (size_t)k;
	}
	return OK;
}

enum status filter_next(struct filter *s, size_t *n, struct err *e)
{
	enum status st = OK;
	size_t end;

	*n = s->held;
	s->held = 0;
	if (*n)
		return OK;
	if (s->kind == GZIP)
		st = fill_gzip(s, n, e);
	else if (s->a)
		st = fill_archive(s, n, e);
	else if (s->kind == PLAIN) {
		st = read_in(s, n, e);
		memcpy(s->out, s->in, st == OK ? *n : 0);
	}
	if (st != OK)
		return st;
	for (end = *n; end > 0 && s->out[end - 1] == 0;)
		end--;
	if (end)
		s->nonzero = s->total + end;
	s->total += *n;
	return filter_ratio(s->f, s->total, e);
}

/* libarchive for one compression and nothing else. A filter that is not built in would start a
 * program: then it is refused. */
static enum status open_filter(struct filter *s, struct err *e)
{
	struct archive_entry *entry;
	int r;

	s->a = archive_read_new();
	if (!s->a)
		return err_set(e, ERR_NOMEM, "%s: no memory to unpack it", s->f->path);
	r = s->kind == XZ ? archive_read_support_filter_xz(s->a) : archive_read_support_filter_zstd(s->a);
	if (r != ARCHIVE_OK)
		return err_set(e, ERR_UNSUPPORTED, "%s: this libarchive cannot undo its compression; unpack it "
			       "first", s->f->path);
	if (archive_read_support_format_raw(s->a) != ARCHIVE_OK ||
	    archive_read_support_format_empty(s->a) != ARCHIVE_OK ||
	    archive_read_open(s->a, s, NULL, filter_on_read, NULL) != ARCHIVE_OK)
		return filter_failed(s->a, s, e);
	if (archive_filter_count(s->a) != 2)
		return err_set(e, ERR_UNSUPPORTED, "%s: is compressed twice; unpack it first", s->f->path);
	r = archive_read_next_header(s->a, &entry);
	if (r == ARCHIVE_EOF) {		/* nothing in it: as a file without bytes */
		archive_read_free(s->a);
		s->a = NULL;
		return OK;
	}
	return r == ARCHIVE_OK ? OK : filter_failed(s->a, s, e);
}

enum status filter_open(struct filter *s, const struct file *f, enum kind kind, struct err *e)
{
	*s = (struct filter){ .f = f, .kind = kind };
	s->in = mem_new(BLOCK, 1, "a block of the file", e);
	s->out = s->in ? mem_new(BLOCK, 1, "a block of the text", e) : NULL;
	if (!s->out)
		return e->status;
	if (kind == GZIP) {
		/* 16: gzip alone, with its CRC and length checked */
		if (inflateInit2(&s->z, 16 + MAX_WBITS) != Z_OK)
			return err_set(e, ERR_NOMEM, "%s: no memory to unpack it", f->path);
		s->z_open = true;
	}
	return kind == ZSTD || kind == XZ ? open_filter(s, e) : OK;
}

void filter_close(struct filter *s)
{
	if (s->z_open)
		inflateEnd(&s->z);
	archive_read_free(s->a);
	free(s->in);
	free(s->out);
	*s = (struct filter){ 0 };
}
