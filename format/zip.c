/* SPDX-License-Identifier: MIT
 *
 * zip.c - a zip by its directory, for reading members where they lie.
 *
 *	[local header, name, extra][bytes][descriptor] ... [directory][zip64 end record, locator][end record, comment]
 *
 * Readers differ in which of two names they believe (unzip: the directory's; libarchive: the member's own), so a file whose
 * two names differ is two archives in one. Whatever is said twice (name, method, sizes, CRC) must be the same both times, and
 * the parts must tile the file: a second archive cannot hide in front, behind or between, and no two members share bytes.
 *
 * Format: PKWARE APPNOTE 4.3.16: 4.3.7 local header, 4.3.9 descriptor, 4.3.12 directory, 4.3.14 zip64, 4.5.3 its extra field;
 * Info-ZIP's extra field 0x5455 (times).
 */
#include "format/zip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	LOCAL = 30, CENTRAL = 46, LOCATOR = 20, END64 = 56, MAX_COMMENT = 65535, MAX_DIRECTORY = 64 << 20,
	FLAG_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13, FLAG_DESCRIPTOR = 1 << 3, HOST_UNIX = 3,
};

struct span { uint64_t from, to; bool descriptor; };
struct walk {
	const struct file *f;
	uint64_t n, dir_off, dir_bytes;
	struct span *spans;		/* owned; n of them */
};

static enum status wrong(const struct walk *w, uint64_t at, const char *why, struct err *e)
{
	return err_set(e, ERR_FORMAT, "%s: zip entry at byte %" PRIu64 ": %s; pack or download it again", w->f->path, at, why);
}

/* ---- the end -------------------------------------------------------------------------------*/

size_t zip_end(const uint8_t *p, size_t n)
{
	size_t i = n >= ZIP_END ? n - ZIP_END + 1 : 0;

	while (i-- > 0)
		if (memcmp(p + i, "PK\5\6", 4) == 0 && i + ZIP_END + load_le(p + i + 20, 2) == n)
			return i;
	return SIZE_MAX;
}

/* zip64's record before the locator, if there is one; *dir_end is then where that begins. */
static enum status read_end64(struct walk *w, uint64_t end, uint64_t *dir_end, struct err *e)
{
	uint8_t p[END64];
	uint64_t at, n, bytes, off;

	if (end < LOCATOR + END64)
		return OK;
	if (file_read(w->f, p, LOCATOR, end - LOCATOR, e) != OK)
		return e->status;
	if (memcmp(p, "PK\6\7", 4) != 0)
		return OK;
	at = load_le(p + 8, 8);
	if (load_le(p + 4, 4) != 0 || load_le(p + 16, 4) > 1 || at != end - LOCATOR - END64)
		return wrong(w, end - LOCATOR, "a zip64 end record that is not where it should be", e);
	if (file_read(w->f, p, END64, at, e) != OK)
		return e->status;
	n = load_le(p + 32, 8), bytes = load_le(p + 40, 8), off = load_le(p + 48, 8);
	if (memcmp(p, "PK\6\6", 4) != 0 || load_le(p + 4, 8) != END64 - 12 || load_le(p + 16, 8) != 0 || load_le(p + 24, 8) != n ||
	    (w->n != UINT16_MAX && w->n != n) || (w->dir_bytes != UINT32_MAX && w->dir_bytes != bytes) ||
	    (w->dir_off != UINT32_MAX && w->dir_off != off))
		return wrong(w, at, "a zip64 end record that contradicts the other", e);
	w->n = n, w->dir_bytes = bytes, w->dir_off = off;
	*dir_end = at;
	return OK;
}

static enum status read_end(struct walk *w, size_t most, struct err *e)
{
	size_t n = (size_t)u64_min(w->f->id.size, ZIP_END + MAX_COMMENT), i;
	uint64_t end = 0, sum;
	uint8_t *p = mem_new(n, 1, "the end of a zip", e);
	enum status st;

	if (!p)
		return e->status;
	TRY(file_read(w->f, p, n, w->f->id.size - n, e));
	i = zip_end(p, n);
	if (i == SIZE_MAX) {
		st = err_set(e, ERR_FORMAT, "%s: no zip end record at its end: it is cut short or something follows it; "
			     "download it again",
			     w->f->path);
		goto out;
	}
	end = w->f->id.size - n + i;
	w->n = load_le(p + i + 10, 2), w->dir_bytes = load_le(p + i + 12, 4), w->dir_off = load_le(p + i + 16, 4);
	if (load_le(p + i + 4, 4) != 0 || load_le(p + i + 8, 2) != w->n) {
		st = err_set(e, ERR_UNSUPPORTED, "%s: one of several volumes of a zip; join them first", w->f->path);
		goto out;
	}
	TRY(read_end64(w, end, &end, e));
	if (w->n > most)
		st = err_set(e, ERR_UNSUPPORTED, "%s: %" PRIu64 " entries; %zu is the limit", w->f->path, w->n, most);
	else if (w->dir_bytes > MAX_DIRECTORY)
		st = err_set(e, ERR_UNSUPPORTED, "%s: a zip directory of %" PRIu64 " bytes; %d is the limit", w->f->path,
			     w->dir_bytes, MAX_DIRECTORY);
	else if (!u64_add(w->dir_off, w->dir_bytes, &sum) || sum != end)
		st = err_set(e, ERR_FORMAT, "%s: the zip directory does not end at byte %" PRIu64 ", where its end record is: "
			     "something was put before or between; download it again", w->f->path, end);
out:
	free(p);
	return st;
}

/* ---- one entry ------------------------------------------------------------------------------*/

/* The value of an extra field, or NULL; *bad if the fields do not tile their room. */
static const uint8_t *extra(const uint8_t *p, size_t n, unsigned id, size_t *len, bool *bad)
{
	const uint8_t *found = NULL;

	for (size_t at = 0; at < n; at += 4 + (size_t)load_le(p + at + 2, 2)) {
		if (n - at < 4 || load_le(p + at + 2, 2) > n - at - 4) {
			*bad = true;
			return NULL;
		}
		if (load_le(p + at, 2) != id)
			continue;
		*bad |= found != NULL;
		found = p + at + 4;
		*len = (size_t)load_le(p + at + 2, 2);
	}
	return found;
}

/* Sizes (and the offset, where it is asked for) that are too large for 32 bits stand in an extra field, in this order. */
static bool widen(const uint8_t *p, size_t n, uint64_t *size, uint64_t *packed, uint64_t *off)
{
	uint64_t *v[] = { size, packed, off };
	size_t len = 0, at = 0;
	bool bad = false;
	const uint8_t *x = extra(p, n, 0x0001, &len, &bad);

	for (size_t i = 0; i < 3 && !bad; i++)
		if (v[i] && *v[i] == UINT32_MAX) {
			if (!x || len - at < 8)
				return false;
			*v[i] = load_le(x + at, 8);
			at += 8;
		}
	return !bad;
}

/* UTC, if the packer said so; the plain fields are in a time zone that nobody knows. */
static int64_t time_of(const uint8_t *p, size_t n)
{
	size_t len = 0;
	bool bad = false;
	const uint8_t *x = extra(p, n, 0x5455, &len, &bad);

	return x && !bad && len >= 5 && x[0] & 1 ? (int64_t)(int32_t)load_le(x + 1, 4) * 1000000000 : MTIME_UNKNOWN;
}

/* The header in front of the bytes, at `local`, says what the directory says; z->at receives where they begin. */
static enum status check_local(struct walk *w, struct zip_entry *z, const uint8_t *head, uint64_t local, uint64_t at, struct err *e)
{
	uint8_t h[LOCAL], *own = NULL;
	uint64_t size, packed, room;
	size_t name_n, extra_n;
	bool later;
	enum status st;

	if (w->dir_off < LOCAL || local > w->dir_off - LOCAL)
		return wrong(w, at, "a member outside the file", e);
	room = w->dir_off - LOCAL - local;
	TRY(file_read(w->f, h, LOCAL, local, e));
	if (memcmp(h, "PK\3\4", 4) != 0)
		return wrong(w, at, "no member where it says", e);
	name_n = (size_t)load_le(h + 26, 2), extra_n = (size_t)load_le(h + 28, 2);
	if (name_n != z->name.n || name_n + extra_n > room)
		return wrong(w, at, "a member that calls itself otherwise", e);
	if (!(own = mem_new(name_n + extra_n + 1, 1, "a zip's header", e)))
		return e->status;
	TRY(file_read(w->f, own, name_n + extra_n, local + LOCAL, e));
	later = load_le(h + 6, 2) & FLAG_DESCRIPTOR;
	packed = load_le(h + 18, 4), size = load_le(h + 22, 4);
	z->at = local + LOCAL + name_n + extra_n;
	if (memcmp(own, z->name.p, name_n) != 0)
		st = wrong(w, at, "a member that calls itself otherwise", e);
	else if (load_le(h + 8, 2) != load_le(head + 10, 2) ||
		 (load_le(h + 6, 2) ^ load_le(head + 8, 2)) & (FLAG_ENCRYPTED | FLAG_DESCRIPTOR))
		st = wrong(w, at, "a member that says it is packed otherwise", e);
	else if (!widen(own + name_n, extra_n, &size, &packed, NULL))
		st = wrong(w, at, "extra fields that do not fit", e);
	else if ((size != z->size && !(later && size == 0)) || (packed != z->packed && !(later && packed == 0)))
		st = wrong(w, at, "a member that says another size", e);
	else if (!(later && load_le(h + 14, 4) == 0) && load_le(h + 14, 4) != z->crc)
		st = wrong(w, at, "a member that says another CRC", e);
	else if (z->packed > w->dir_off - z->at)
		st = wrong(w, at, "a member that ends outside the file", e);
out:
	free(own);
	return st;
}

/* The entry at the cursor into z, with the place of its local header. */
static enum status read_entry(struct walk *w, struct cursor *c, struct zip_entry *z, struct span *s, struct err *e)
{
	uint64_t at = w->dir_off + c->pos, local;
	const uint8_t *head = cur_bytes(c, CENTRAL), *name, *more;
	size_t name_n, more_n;
	uint32_t mode;

	if (!head || memcmp(head, "PK\1\2", 4) != 0)
		return wrong(w, at, "no directory entry", e);
	name_n = (size_t)load_le(head + 28, 2), more_n = (size_t)load_le(head + 30, 2);
	name = cur_bytes(c, name_n), more = cur_bytes(c, more_n);
	if (!cur_bytes(c, load_le(head + 32, 2)) || !name || !more)
		return wrong(w, at, "an entry that is cut short", e);
	if (memchr(name, 0, name_n))
		return wrong(w, at, "a name with NUL in it", e);
	*z = (struct zip_entry){ .name = { (const char *)name, name_n }, .crc = (uint32_t)load_le(head + 16, 4),
				 .packed = load_le(head + 20, 4), .size = load_le(head + 24, 4), .mtime_ns = time_of(more, more_n)
				 };
	local = load_le(head + 42, 4);
	mode = head[5] == HOST_UNIX ? (uint32_t)load_le(head + 40, 2) & S_IFMT : 0;
	z->folder = name_n && name[name_n - 1] == '/';
	z->symlink = S_ISLNK(mode);
	z->special = mode && !S_ISLNK(mode) && !S_ISREG(mode) && !S_ISDIR(mode);
	z->deflated = load_le(head + 10, 2) == 8;
	if (load_le(head + 8, 2) & FLAG_ENCRYPTED)
		return err_set(e, ERR_UNSUPPORTED, "%s: member '%.*s' is encrypted; unpack it first", w->f->path,
			       (int)u64_min(name_n, 200), z->name.p);
	if (!z->deflated && load_le(head + 10, 2) != 0)
		return err_set(e, ERR_UNSUPPORTED, "%s: member '%.*s' is packed by method %u; stored and deflated ones are read; "
			       "unpack it first", w->f->path, (int)u64_min(name_n, 200), z->name.p,
			       (unsigned)load_le(head + 10, 2));
	if (load_le(head + 34, 2) != 0)
		return wrong(w, at, "a member of another volume", e);
	if (!widen(more, more_n, &z->size, &z->packed, &local))
		return wrong(w, at, "extra fields that do not fit", e);
	if (!z->deflated && z->size != z->packed)
		return wrong(w, at, "a stored member of two sizes", e);
	if (check_local(w, z, head, local, at, e) != OK)
		return e->status;
	*s = (struct span){ local, z->at + z->packed, load_le(head + 8, 2) & FLAG_DESCRIPTOR };
	return OK;
}

/* ---- all of them ------------------------------------------------------------------------------*/

static int by_place(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

static enum status check_tiling(struct walk *w, struct err *e)
{
	uint64_t at = 0;

	if (w->n)
		qsort(w->spans, w->n, sizeof *w->spans, by_place);
	for (uint64_t i = 0; i < w->n; i++) {
		const struct span *s = &w->spans[i];
		uint64_t next = i + 1 < w->n ? s[1].from : w->dir_off, gap;

		if (i == 0 && s->from != 0)
			return wrong(w, s->from, "something stands in front of the first member", e);
		if (next < s->to)
			return wrong(w, next, "two members share bytes", e);
		gap = next - s->to;
		if (s->descriptor ? gap != 12 && gap != 16 && gap != 20 && gap != 24 : gap != 0)
			return wrong(w, s->to, "bytes that belong to no member follow", e);
		at = next;
	}
	return at == w->dir_off ? OK : wrong(w, at, "bytes that belong to no member", e);
}

enum status zip_walk(const struct file *f, size_t most, enum status (*found)(void *arg, const struct zip_entry *z, struct err *e),
		     void *arg, struct err *e)
{
	struct walk w = { .f = f };
	struct zip_entry z;
	struct cursor c;
	uint8_t *p = NULL;
	enum status st;

	TRY(read_end(&w, most, e));
	p = mem_new((size_t)w.dir_bytes + 1, 1, "a zip's directory", e);
	w.spans = p ? mem_new((size_t)w.n, sizeof *w.spans, "a zip's directory", e) : NULL;
	if (!w.spans) {
		st = e->status;
		goto out;
	}
	TRY(file_read(f, p, (size_t)w.dir_bytes, w.dir_off, e));
	c = (struct cursor){ .base = p, .len = (size_t)w.dir_bytes };
	for (uint64_t i = 0; i < w.n; i++) {
		TRY(read_entry(&w, &c, &z, &w.spans[i], e));
		TRY(found(arg, &z, e));
	}
	if (c.pos != c.len) {
		st = wrong(&w, w.dir_off + c.pos, "more in the directory than its end record says", e);
		goto out;
	}
	st = check_tiling(&w, e);
out:
	free(w.spans);
	free(p);
	return st;
}
