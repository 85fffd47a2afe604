/* SPDX-License-Identifier: MIT
 *
 * zip.c - a zip says each name twice. Readers differ in which one they believe (unzip: the directory's;
 * libarchive: the member's own), so a file whose two names differ is two archives in one, and is refused.
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

/* name as the directory has it; at is where it stands, for messages. */
static enum status check_local(const struct file *f, uint64_t local, const uint8_t *name, size_t n, uint64_t at,
			       struct err *e)
{
	uint8_t head[LOCAL];
	uint8_t *own;
	enum status st;

	if (f->id.size < LOCAL || local > f->id.size - LOCAL)
		return differ(f, at, "a member outside the file", e);
	if (file_read(f, head, LOCAL, local, e) != OK)
		return e->status;
	if (memcmp(head, "PK\3\4", 4) != 0)
		return differ(f, at, "no member where it says", e);
	if (load_le(head + 26, 2) != n || n > f->id.size - LOCAL - local)
		return differ(f, at, "a member that calls itself otherwise", e);
	own = mem_new(n + 1, 1, "a name", e);
	if (!own)
		return e->status;
	st = file_read(f, own, n, local + LOCAL, e);
	if (st == OK && memcmp(own, name, n) != 0)
		st = differ(f, at, "a member that calls itself otherwise", e);
	free(own);
	return st;
}

enum status zip_names_agree(const struct file *f, uint64_t off, uint64_t n, struct err *e)
{
	struct cursor c;
	uint8_t *p;
	enum status st = OK;

	if (n > DIRECTORY_LIMIT)
		return err_set(e, ERR_UNSUPPORTED, "%s: a zip directory of %llu bytes; %d is the limit", f->path,
			       (unsigned long long)n, DIRECTORY_LIMIT);
	p = mem_new((size_t)n + 1, 1, "a zip's directory", e);
	if (!p)
		return e->status;
	TRY(file_read(f, p, (size_t)n, off, e));
	c = (struct cursor){ .base = p, .len = (size_t)n };
	while (c.pos < c.len) {
		uint64_t at = off + c.pos, name_n, more;
		const uint8_t *head = cur_bytes(&c, CENTRAL), *name;

		if (!head || memcmp(head, "PK\1\2", 4) != 0)
			break;	/* its end, or zip64's records: counted against the end record by the caller */
		name_n = load_le(head + 28, 2);
		more = load_le(head + 30, 2) + load_le(head + 32, 2);
		name = cur_bytes(&c, name_n);
		if (!name || !cur_bytes(&c, more)) {
			st = differ(f, at, "an entry that is cut short", e);
			goto out;
		}
		if (memchr(name, 0, (size_t)name_n)) {
			st = differ(f, at, "a name with NUL in it", e);
			goto out;
		}
		if (load_le(head + 42, 4) != UINT32_MAX)	/* else zip64 says where */
			TRY(check_local(f, load_le(head + 42, 4), name, (size_t)name_n, at, e));
	}
out:
	free(p);
	return st;
}
