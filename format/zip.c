/* SPDX-License-Identifier: MIT
 *
 * zip.c - a zip says each name twice. Readers differ in which one they believe (unzip: the directory's;
 * libarchive: the member's own), so a file whose two names differ is two archives in one, and is refused; so is one
 * with bytes that belong to no member.
 *
 * Format: PKWARE APPNOTE 4.3.16, sections 4.3.7 (local header) and 4.3.12 (directory).
 */
#include "format/zip.h"

#include <stdlib.h>
#include <string.h>

enum { LOCAL = 30, CENTRAL = 46, DIRECTORY_LIMIT = 64 << 20 };

static enum status differ(const struct file *f, uint64_t at, const char *why, struct err *e)
{
	return err_set(e, ERR_FORMAT, "%s: zip directory at byte %llu: %s; download it again", f->path,
		       (unsigned long long)at, why);
}

/* A member's bytes, its own header and its data; trailed: a record of its sizes follows. */
struct member { uint64_t from, to; bool trailed; };

/* name as the directory has it; at is where it stands, for messages. m has from, and packed as to. */
static enum status check_local(const struct file *f, struct member *m, const uint8_t *name, size_t n, uint64_t at,
			       struct err *e)
{
	uint8_t head[LOCAL];
	uint8_t *own;
	enum status st;

	if (f->id.size < LOCAL || m->from > f->id.size - LOCAL)
		return differ(f, at, "a member outside the file", e);
	if (file_read(f, head, LOCAL, m->from, e) != OK)
		return e->status;
	if (memcmp(head, "PK\3\4", 4) != 0)
		return differ(f, at, "no member where it says", e);
	if (load_le(head + 26, 2) != n || n > f->id.size - LOCAL - m->from)
		return differ(f, at, "a member that calls itself otherwise", e);
	own = mem_new(n + 1, 1, "a name", e);
	if (!own)
		return e->status;
	st = file_read(f, own, n, m->from + LOCAL, e);
	if (st == OK && memcmp(own, name, n) != 0)
		st = differ(f, at, "a member that calls itself otherwise", e);
	free(own);
	m->trailed = load_le(head + 6, 2) & 8;
	if (st == OK && (!u64_add(m->to, m->from + LOCAL + n + load_le(head + 28, 2), &m->to) || m->to > f->id.size))
		st = differ(f, at, "a member outside the file", e);
	return st;
}

/* What does not fit into an entry's 32 bits is in its zip64 field, in this order. */
static struct member place(const uint8_t *head, const uint8_t *extra, size_t n)
{
	struct member m = { .from = load_le(head + 42, 4), .to = load_le(head + 20, 4) };
	bool wide[] = { load_le(head + 24, 4) == UINT32_MAX, m.to == UINT32_MAX, m.from == UINT32_MAX };
	uint64_t unpacked = 0, *const into[] = { &unpacked, &m.to, &m.from };

	while (n >= 4 && load_le(extra + 2, 2) <= n - 4) {
		size_t field = (size_t)load_le(extra + 2, 2), at = 4;

		for (size_t i = 0; load_le(extra, 2) == 1 && i < 3; i++)
			if (wide[i] && at + 8 <= 4 + field) {
				*into[i] = load_le(extra + at, 8);
				at += 8;
			}
		extra += 4 + field;
		n -= 4 + field;
	}
	return m;
}

static int by_place(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

/* From byte 0 to the directory at end, members lie end to end: what is in none could be another file's. */
static enum status check_tiling(const struct file *f, struct member *m, size_t n, uint64_t end, struct err *e)
{
	uint64_t at = 0;

	qsort(m, n, sizeof *m, by_place);
	for (size_t i = 0; i <= n; i++) {
		uint64_t next = i < n ? m[i].from : end, gap = next - at;
		bool sizes = i > 0 && m[i - 1].trailed && (gap == 12 || gap == 16 || gap == 20 || gap == 24);

		if (next < at)
			return err_set(e, ERR_FORMAT, "%s: the zip's members overlap at byte %llu; download it again", f->path,
				       (unsigned long long)next);
		if (gap && !sizes)
			return err_set(e, ERR_FORMAT, "%s: bytes %llu..%llu of the zip are in no member: something is hidden "
				       "there; download it again", f->path, (unsigned long long)at, (unsigned long long)next);
		if (i < n)
			at = m[i].to;
	}
	return OK;
}

size_t zip_end(const uint8_t *p, size_t n)
{
	size_t i = n >= ZIP_END ? n - ZIP_END + 1 : 0;

	while (i-- > 0)
		if (memcmp(p + i, "PK\5\6", 4) == 0 && i + ZIP_END + load_le(p + i + 20, 2) == n)
			return i;
	return SIZE_MAX;
}

enum status zip_check_members(const struct file *f, uint64_t off, uint64_t n, struct err *e)
{
	struct cursor c;
	struct member *m = NULL;
	size_t n_members = 0;
	uint8_t *p;
	enum status st = OK;

	if (n > DIRECTORY_LIMIT)
		return err_set(e, ERR_UNSUPPORTED, "%s: a zip directory of %llu bytes; %d is the limit", f->path,
			       (unsigned long long)n, DIRECTORY_LIMIT);
	p = mem_new((size_t)n + 1, 1, "a zip's directory", e);
	if (!p)
		return e->status;
	TRY(file_read(f, p, (size_t)n, off, e));
	if (!(m = mem_new((size_t)n / CENTRAL, sizeof *m, "a zip's members", e))) {
		st = e->status;
		goto out;
	}
	c = (struct cursor){ .base = p, .len = (size_t)n };
	while (c.pos < c.len) {
		uint64_t at = off + c.pos, name_n;
		const uint8_t *head = cur_bytes(&c, CENTRAL), *name, *extra;

		if (!head || memcmp(head, "PK\1\2", 4) != 0)
			break;	/* its end, or zip64's records: counted against the end record by the caller */
		name_n = load_le(head + 28, 2);
		name = cur_bytes(&c, name_n);
		extra = cur_bytes(&c, load_le(head + 30, 2));
		if (!name || !extra || !cur_bytes(&c, load_le(head + 32, 2))) {
			st = differ(f, at, "an entry that is cut short", e);
			goto out;
		}
		if (memchr(name, 0, (size_t)name_n)) {
			st = differ(f, at, "a name with NUL in it", e);
			goto out;
		}
		m[n_members] = place(head, extra, (size_t)load_le(head + 30, 2));
		TRY(check_local(f, &m[n_members++], name, (size_t)name_n, at, e));
	}
	if (n_members > 0)
		st = check_tiling(f, m, n_members, off, e);
out:
	free(m);
	free(p);
	return st;
}
