/* SPDX-License-Identifier: MIT
 *
 * unpack.c - the members of an archive that are stored compressed, into a file without a name: one pass, bounded by what each
 * member declares and by the ratio of filter.c. Members of a plain tar are only listed.
 *
 * Formats: RFC 1951 (deflate, in zips); the others are filter.c's.
 */
#include "format/members.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#include "format/tar.h"

enum { HEADERS_LIMIT = 512 << 20, LENGTH_BYTES = 8, LEAST_HEADER = 4096 };

struct unpack {
	struct members *m;
	const struct source_options *o;
	uint64_t end;			/* of what is in the scratch file */
	/* the member at hand */
	struct member *x;
	uint64_t passed, keep;
	uint8_t head[LENGTH_BYTES];
};

/* ---- what, and where to ----------------------------------------------------------------------*/

static bool ends_with(const char *name, const char *suffix)
{
	size_t n = strlen(name), k = strlen(suffix);

	return n >= k && strcmp(name + n - k, suffix) == 0;
}

static bool is_blob(const char *name)
{
	const char *slash = strrchr(name, '/');
	struct digest d;

	return slash && digest_parse(&d, (struct str){ slash + 1, strlen(slash + 1) }) &&
	       (slash - name == 5 || (slash - name > 5 && slash[-6] == '/')) && memcmp(slash - 5, "blobs", 5) == 0;
}

/* The allow-list. */
static bool wanted(const struct unpack *u, const char *name)
{
	static const char *const kinds[] = { ".safetensors", ".metadata", ".json", ".txt", ".jinja" };
	const char *slash = strrchr(name, '/');

	if (u->o->need == NEED_HEADERS) {
		for (size_t i = 0; source_small_files[i]; i++)
			if (strcmp(slash ? slash + 1 : name, source_small_files[i]) == 0)
				return true;
		return ends_with(name, kinds[0]) || ends_with(name, kinds[1]) || is_blob(name);
	}
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (ends_with(name, kinds[i]))
			return true;
	return u->o->need == NEED_ALL || is_blob(name);
}

static enum status stopped(const struct unpack *u, struct err *e)
{
	return stop_asked(u->o->stop) ? err_stopped(e, u->o->stop, "") : OK;
}

static uint64_t free_bytes(const struct unpack *u)
{
	struct statvfs s;

	return fstatvfs(u->m->scratch.fd, &s) == 0 ? (uint64_t)s.f_bavail * s.f_frsize : UINT64_MAX;
}

/* Opens the scratch file and says so. need: bytes that it will take at least. */
static enum status begin(struct unpack *u, uint64_t need, bool exact, struct err *e)
{
	struct members *m = u->m;
	struct scratch s;
	char line[1024];

	if (u->o->need == NEED_HEADERS) {
		m->scratch.fd = memfd_create("headers", MFD_CLOEXEC);
		return m->scratch.fd >= 0 ? OK : err_errno(e, "%s: no memory for headers", m->file.path);
	}
	if (scratch_open(&s, u->o->scratch ? u->o->scratch : m->file.path, 0, e) != OK)
		return err_wrap(e, "%s: is compressed; --scratch DIR names a folder to unpack it in", m->file.path);
	m->scratch.fd = s.fd;
	m->scratch.path = s.dir;
	snprintf(line, sizeof line, "%.400s: is compressed: it is unpacked to a file without a name in %.400s, gone at the end: "
		 "%s%llu bytes, %llu are free", m->file.path, s.dir, exact ? "" : "at least ", (unsigned long long)need,
		 (unsigned long long)free_bytes(u));
	if (u->o->say)
		u->o->say(u->o->arg, line);
	if (free_bytes(u) < need)
		return err_set(e, ERR_IO, "%s; free space, or give --scratch DIR", line);
	return OK;
}

/* Before the first byte of a member. */
static enum status member_begin(struct unpack *u, struct member *x, struct err *e)
{
	bool headers = u->o->need == NEED_HEADERS;

	u->x = x;
	u->passed = 0;
	u->keep = headers ? u64_min(x->size, LENGTH_BYTES) : x->size;
	x->at = u->end;
	x->have = 0;
	x->unpacked = true;
	if (filter_ratio(&u->m->file, x->size, e) != OK)
		return err_wrap(e, "%s: member '%.200s' of %llu bytes", u->m->file.path, x->name, (unsigned long long)x->size);
	if (!headers && free_bytes(u) < x->size)
		return err_set(e, ERR_IO, "%s: member '%.200s' unpacks to %llu bytes, %llu are free in %s; free space, or give "
			       "--scratch DIR", u->m->file.path, x->name, (unsigned long long)x->size,
			       (unsigned long long)free_bytes(u), u->m->scratch.path);
	return OK;
}

/* With the first bytes at hand: of a shard its header is enough, of anything else all is kept. */
static void decide_keep(struct unpack *u)
{
	const struct member *x = u->x;
	bool named = ends_with(x->name, ".safetensors");
	uint64_t n = load_le(u->head, LENGTH_BYTES);

	u->keep = x->size;
	if (n <= ST_MAX_HEADER && n + LENGTH_BYTES <= x->size && (named || is_blob(x->name)))
		u->keep = u64_min(x->size, n + LENGTH_BYTES > LEAST_HEADER ? n + LENGTH_BYTES : LEAST_HEADER);
	else if (named)
		u->keep = u64_min(x->size, LEAST_HEADER);
}

static enum status keep_some(struct unpack *u, const uint8_t *p, uint64_t n, struct err *e)
{
	const struct scratch s = { u->m->scratch.fd, u->m->scratch.path };

	if (u->o->need == NEED_HEADERS && u->end + n > HEADERS_LIMIT)
		return err_set(e, ERR_UNSUPPORTED, "%s: headers and small files of more than %d bytes; unpack it first",
			       u->m->file.path,
			       HEADERS_LIMIT);
	if (n && scratch_write(&s, p, (size_t)n, u->end, e) != OK)
		return err_wrap(e, "%s: member '%.200s' (byte %llu of %llu; --scratch DIR names another folder)", u->m->file.path,
				u->x->name, (unsigned long long)u->passed, (unsigned long long)u->x->size);
	u->end += n;
	u->x->have += n;
	return OK;
}

/* The member's next n bytes. */
static enum status member_add(struct unpack *u, const uint8_t *p, size_t n, struct err *e)
{
	enum status st = stopped(u, e);

	while (n && st == OK) {
		uint64_t k = n;

		if (u->passed < LENGTH_BYTES) {
			k = u64_min(n, LENGTH_BYTES - u->passed);
			memcpy(u->head + u->passed, p, k);
		}
		if (u->x->have < u->keep)
			st = keep_some(u, p, u64_min(k, u->keep - u->x->have), e);
		u->passed += k;
		if (u->passed == LENGTH_BYTES && u->o->need == NEED_HEADERS)
			decide_keep(u);
		p += k;
		n -= (size_t)k;
	}
	return st;
}

/* ---- tar -----------------------------------------------------------------------------------*/

static enum status unpack_entry(struct unpack *u, struct tar *t, struct member *x, struct err *e)
{
	const uint8_t *p;
	size_t n;
	enum status st = member_begin(u, x, e);

	while (st == OK && (st = tar_data(t, &p, &n, e)) == OK && n) {
		st = member_add(u, p, n, e);
		if (u->o->progress)
			u->o->progress(u->o->arg, t->s->pos, t->f->id.size, x->name);
	}
	return st;
}

static enum status add_entry(struct unpack *u, struct tar *t, struct err *e)
{
	struct str name = { t->name, strlen(t->name) };
	struct member *x;
	enum status st;

	if (t->type == TAR_FOLDER && name.n && name.n < TAR_NAME)
		t->name[name.n++] = '/', t->name[name.n] = 0;
	st = members_add(u->m, name, &x, e);
	if (st != OK || !x)
		return st;
	x->at = t->at;
	x->size = t->size;
	x->mtime_ns = t->mtime_ns;
	if (t->type == TAR_SYMLINK)
		return (x->link = mem_strdup(t->link, e)) ? OK : e->status;
	if (!t->s)
		x->have = x->size;
	else if (wanted(u, x->name))
		st = unpack_entry(u, t, x, e);
	return st;
}

static enum status check_inner(const struct file *f, struct filter *s, struct err *e)
{
	size_t n;

	if (filter_next(s, &n, e) != OK)
		return e->status;
	s->held = n;
	switch (content_kind(s->out, n)) {
	case TAR:
		return OK;
	case PLAIN:
		return err_set(e, ERR_UNSUPPORTED, "%s: is one compressed file, not the archive of a checkpoint; unpack it first",
			       f->path);
	default:
		return err_set(e, ERR_UNSUPPORTED, "%s: is compressed twice; unpack it first", f->path);
	}
}

enum status unpack_tar(struct members *m, int kind, const struct source_options *o, struct err *e)
{
	struct unpack u = { .m = m, .o = o };
	struct tar *t = mem_new(1, sizeof *t, "a tar's reader", e);
	struct filter s = { 0 };
	bool more = true;
	size_t n;
	enum status st = OK;

	if (!t)
		return e->status;
	t->f = &m->file;
	if (kind != TAR) {
		TRY(filter_open(&s, &m->file, (enum kind)kind, e));
		t->s = &s;
		TRY(check_inner(&m->file, &s, e));
		TRY(begin(&u, m->file.id.size, false, e));
	}
	for (n = 0; n <= MAX_MEMBERS; n++) {
		TRY(stopped(&u, e));
		TRY(tar_next(t, &more, e));
		if (!more)
			break;
		TRY(add_entry(&u, t, e));
	}
	if (more)
		st = err_set(e, ERR_UNSUPPORTED, "%s: more than %d entries, the limit", m->file.path, MAX_MEMBERS);
out:
	filter_close(&s);
	free(t);
	return st;
}

/* ---- zip -----------------------------------------------------------------------------------*/

static enum status damaged(const struct unpack *u, const char *why, struct err *e)
{
	return err_set(e, ERR_FORMAT, "%s: member '%.200s' (byte %llu of %llu): %s; download it again", u->m->file.path, u->x->name,
		       (unsigned long long)u->passed, (unsigned long long)u->x->size, why);
}

/* Inflates to the end, or until enough is kept. */
static enum status inflate_all(struct unpack *u, z_stream *z, uint8_t *in, uint8_t *out, uint64_t at, uint64_t end, struct err *e)
{
	uLong crc = crc32(0, NULL, 0);
	size_t n;
	bool full = false;	/* then inflate may still hold some */
	int r = Z_OK;

	while (r == Z_OK) {
		if (z->avail_in == 0) {
			n = (size_t)u64_min(BLOCK, end - at);
			if (file_read(&u->m->file, in, n, at, e) != OK)
				return e->status;
			at += n;
			z->next_in = in;
			z->avail_in = (uInt)n;
			if (u->o->progress)
				u->o->progress(u->o->arg, at, u->m->file.id.size, u->x->name);
		}
		if (z->avail_in == 0 && !full)
			return damaged(u, "ends inside its deflated data", e);
		z->next_out = out;
		z->avail_out = BLOCK;
		r = inflate(z, Z_NO_FLUSH);
		n = BLOCK - z->avail_out;
		full = z->avail_out == 0;
		if (n > u->x->size - u->passed)
			return damaged(u, "unpacks to more than it declares", e);
		crc = crc32(crc, out, (uInt)n);
		if (r != Z_OK && r != Z_STREAM_END)
			return damaged(u, z->msg ? z->msg : "deflated data that is damaged", e);
		if (member_add(u, out, n, e) != OK)
			return e->status;
		if (u->o->need == NEED_HEADERS && u->passed >= u->keep && u->passed >= LENGTH_BYTES && u->keep < u->x->size)
			return OK;
	}
	if (u->passed != u->x->size || z->avail_in || at != end)
		return damaged(u, "has not the size that it declares", e);
	return crc == u->x->crc ? OK : damaged(u, "has not the CRC that the zip says", e);
}

static enum status inflate_member(struct unpack *u, struct member *x, uint8_t *buf, struct err *e)
{
	z_stream z = { 0 };
	uint64_t from = x->at;
	enum status st;

	if (x->size > FREE_BYTES && x->size / MAX_RATIO > x->packed)
		return err_set(e, ERR_UNSUPPORTED, "%s: member '%.200s' unpacks to more than %d times its %llu bytes, past the "
			       "limit; unpack it yourself if you trust it", u->m->file.path, x->name, MAX_RATIO,
			       (unsigned long long)x->packed);
	st = member_begin(u, x, e);
	if (st != OK)
		return st;
	if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
		return err_set(e, ERR_NOMEM, "%s: no memory to unpack it", u->m->file.path);
	st = inflate_all(u, &z, buf, buf + BLOCK, from, from + x->packed, e);
	inflateEnd(&z);
	return st;
}

enum status unpack_zip(struct members *m, const struct source_options *o, struct err *e)
{
	struct unpack u = { .m = m, .o = o };
	uint64_t need = 0;
	uint8_t *buf = NULL;
	size_t n = 0;
	enum status st = OK;

	for (size_t i = 0; i < m->n; i++) {
		struct member *x = &m->v[i];

		if (!x->deflated)
			continue;
		if (!wanted(&u, x->name)) {
			x->have = 0;
			continue;
		}
		n++;
		if (!u64_add(need, x->size, &need))
			need = UINT64_MAX;
	}
	if (n == 0)
		return OK;
	if (!(buf = mem_new(2, BLOCK, "a block of an archive", e)))
		return e->status;
	TRY(filter_ratio(&m->file, need, e));
	TRY(begin(&u, need, true, e));
	for (size_t i = 0; i < m->n; i++)
		if (m->v[i].deflated && wanted(&u, m->v[i].name))
			TRY(inflate_member(&u, &m->v[i], buf, e));
out:
	free(buf);
	return st;
}
