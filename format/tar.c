/* SPDX-License-Identifier: MIT
 *
 * tar.c - the entries of a tar, strictly.
 *
 *	[header 512][bytes, padded to 512] ... [zeros 1024][zeros]
 *
 * In front of an entry may stand others that say what its header has no room for: GNU's L and K (a long name, a long link)
 * and pax's x (records "LENGTH KEY=VALUE\n"). Readers differ in what they believe when a field is said twice, so whatever
 * contradicts is refused. A size of 8 GiB or more is a pax record or a binary number.
 *
 * Formats: POSIX.1-2017, pax (ustar interchange format, extended header); GNU tar's manual, "Basic Tar Format".
 */
#include "format/tar.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EXTRA = 64 << 10, MAX_TAIL = 1 << 20 };
#define OCTAL_SIZES (UINT64_C(1) << 33)	/* what eleven octal digits hold */

/* What stands in front of an entry. */
struct extra { bool name, link, size, mtime, pax; uint64_t size_value; int64_t mtime_value; };

static enum status malformed(const struct tar *t, uint64_t at, const char *why, struct err *e)
{
	return err_set(e, ERR_FORMAT, "%s: tar entry at byte %" PRIu64 ": %s; pack or download it again", t->f->path, at, why);
}

static enum status unsupported(const struct tar *t, const char *what, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, "%s: entry '%.200s' is %s; only regular files are read from archives", t->f->path,
		       t->name, what);
}

static enum status cut_short(const struct tar *t, struct err *e)
{
	if (t->left)
		return err_set(e, ERR_FORMAT, "%s: ends at byte %" PRIu64 " inside member '%.200s' (bytes %" PRIu64 "..%" PRIu64
			       "); download it again", t->f->path, t->pos, t->name, t->at, t->at + t->size);
	return err_set(e, ERR_FORMAT, "%s: ends at byte %" PRIu64 " behind member '%.200s': the tar has no end mark; download it "
		       "again", t->f->path, t->pos, t->name);
}

/* ---- bytes ---------------------------------------------------------------------------------*/

/* What the stream gives next, looked at and not taken. */
static enum status look(struct tar *t, struct err *e)
{
	enum status st;

	if (t->window_n)
		return OK;
	st = filter_next(t->s, &t->window_n, e);
	t->window = t->s->out;
	if (st != OK && t->left)
		err_wrap(e, "%s: member '%.200s' (bytes %" PRIu64 "..%" PRIu64 " of the tar, read up to %" PRIu64 ")", t->f->path,
			 t->name, t->at, t->at + t->size, t->pos);
	return st;
}

/* Up to n bytes; less only at the end. */
static enum status take(struct tar *t, uint8_t *to, size_t n, size_t *got, struct err *e)
{
	size_t k;

	*got = 0;
	if (!t->s) {
		*got = (size_t)u64_min(n, t->f->id.size - u64_min(t->pos, t->f->id.size));
		t->pos += *got;
		return file_read(t->f, to, *got, t->pos - *got, e);
	}
	for (; *got < n; *got += k) {
		if (look(t, e) != OK)
			return e->status;
		k = (size_t)u64_min(n - *got, t->window_n);
		if (k == 0)
			break;
		memcpy(to + *got, t->window, k);
		t->window += k;
		t->window_n -= k;
		t->pos += k;
	}
	return OK;
}

/* Past what is left of the entry. */
static enum status pass(struct tar *t, struct err *e)
{
	uint64_t k;

	if (!t->s) {
		if (t->left > t->f->id.size - t->pos) {
			t->pos = t->f->id.size;
			return cut_short(t, e);
		}
		t->pos += t->left;
		t->left = 0;
	}
	for (; t->left; t->left -= k) {
		if (look(t, e) != OK)
			return e->status;
		k = u64_min(t->left, t->window_n);
		if (k == 0)
			return cut_short(t, e);
		t->window += k;
		t->window_n -= (size_t)k;
		t->pos += k;
	}
	return OK;
}

enum status tar_data(struct tar *t, const uint8_t **p, size_t *n, struct err *e)
{
	uint64_t rest = t->at + t->size - t->pos;	/* pos is inside it, or at its end */

	*n = 0;
	if (rest == 0)
		return OK;
	if (look(t, e) != OK)
		return e->status;
	if (t->window_n == 0)
		return cut_short(t, e);
	*n = (size_t)u64_min(rest, t->window_n);
	*p = t->window;
	t->window += *n;
	t->window_n -= *n;
	t->pos += *n;
	t->left -= *n;
	return OK;
}

/* ---- fields --------------------------------------------------------------------------------*/

/* A number of a header: octal, or binary where the first bit is set. False if it is neither, or negative. */
static bool number(const uint8_t *p, size_t n, uint64_t *v)
{
	size_t i = 0;

	*v = 0;
	if (p[0] & 0x80) {
		for (i = 1; i < n; i++) {
			if (*v >> 56)
				return false;
			*v = *v << 8 | p[i];
		}
		return p[0] == 0x80;
	}
	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		*v = *v << 3 | (uint64_t)(p[i] - '0');
	for (; i < n; i++)
		if (p[i] != ' ' && p[i] != 0)
			return false;
	return true;
}

static bool sum_fits(const uint8_t h[TAR_BLOCK])
{
	uint64_t want, sum = 0;
	int64_t other = 0;	/* of old writers, which took bytes for signed */

	for (size_t i = 0; i < TAR_BLOCK; i++) {
		uint8_t b = i >= 148 && i < 156 ? ' ' : h[i];
		sum += b;
		other += (int8_t)b;
	}
	return number(h + 148, 8, &want) && (want == sum || (int64_t)want == other);
}

/* Digits up to `end`, nothing else; at least one. */
static bool decimal(const char *p, const char *end, uint64_t *v)
{
	*v = 0;
	if (p == end)
		return false;
	for (; p < end; p++)
		if (*p < '0' || *p > '9' || !u64_mul(*v, 10, v) || !u64_add(*v, (uint64_t)(*p - '0'), v))
			return false;
	return true;
}

/* "SECONDS[.FRACTION]" in nanoseconds; what cannot be told is unknown. */
static int64_t pax_time(const char *p, const char *end)
{
	const char *dot = memchr(p, '.', (size_t)(end - p));
	uint64_t s, ns = 0;
	unsigned digits = 0;

	if (!decimal(p, dot ? dot : end, &s) || s > INT64_MAX / 1000000000 - 1)
		return MTIME_UNKNOWN;
	for (p = dot ? dot + 1 : end; digits < 9; digits++, p += p < end)
		ns = ns * 10 + (p < end && *p >= '0' && *p <= '9' ? (uint64_t)(*p - '0') : 0);
	return (int64_t)(s * 1000000000 + ns);
}

static bool copy_name(char to[TAR_NAME + 1], const char *p, size_t n)
{
	if (n > TAR_NAME || memchr(p, 0, n))
		return false;
	memcpy(to, p, n);
	to[n] = 0;
	return true;
}

/* One pax record's key and value. NULL, or what is wrong. */
static const char *pax_record(struct tar *t, struct extra *x, bool global, struct str key, const char *v, size_t n)
{
	bool own = str_is(key, "path") || str_is(key, "linkpath") || str_is(key, "size");

	if (key.n >= 10 && memcmp(key.p, "GNU.sparse", 10) == 0)
		return "a sparse file";
	if (global)
		return own ? "a global pax header that names files" : NULL;
	if ((str_is(key, "path") && x->name) || (str_is(key, "linkpath") && x->link) || (str_is(key, "size") && x->size))
		return "a pax header that says one thing twice";
	if (str_is(key, "path")) {
		x->name = true;
		return copy_name(t->name, v, n) ? NULL : "a name with NUL in it, or too long";
	}
	if (str_is(key, "linkpath")) {
		x->link = true;
		return copy_name(t->link, v, n) ? NULL : "a link with NUL in it, or too long";
	}
	if (str_is(key, "size")) {
		x->size = true;
		return decimal(v, v + n, &x->size_value) ? NULL : "a pax size that is no number";
	}
	if (str_is(key, "mtime")) {
		x->mtime = true;
		x->mtime_value = pax_time(v, v + n);
	}
	return NULL;
}

static const char *pax_records(struct tar *t, struct extra *x, bool global, const char *p, size_t n)
{
	const char *end = p + n;

	while (p < end) {
		const char *space = memchr(p, ' ', (size_t)(end - p)), *equals, *why;
		uint64_t length;

		if (!space || space - p > 8 || !decimal(p, space, &length) || length > (uint64_t)(end - p) ||
		    length <= (uint64_t)(space + 1 - p) || p[length - 1] != '\n')
			return "a pax record whose length is wrong";
		equals = memchr(space, '=', length - (size_t)(space - p));
		if (!equals)
			return "a pax record without a value";
		why = pax_record(t, x, global, (struct str){ space + 1, (size_t)(equals - space - 1) }, equals + 1,
				 (size_t)(p + length - 1 - (equals + 1)));
		if (why)
			return why;
		p += length;
	}
	return NULL;
}

/* ---- entries -------------------------------------------------------------------------------*/

/* What stands in front of an entry: type L, K, x or g, size bytes. */
static enum status take_extra(struct tar *t, struct extra *x, char type, uint64_t size, uint64_t at, struct err *e)
{
	char *p;
	const char *why = NULL;
	size_t n = (size_t)u64_min(size, MAX_EXTRA), got;
	enum status st;

	if (size > MAX_EXTRA)
		return malformed(t, at, "a name or pax header of more than 65536 bytes", e);
	if (!(p = mem_new(n + 1, 1, "a tar's header", e)))
		return e->status;
	st = take(t, (uint8_t *)p, n, &got, e);
	if (st == OK && got < n)
		st = cut_short(t, e);
	if (st == OK && (type == 'x' || type == 'g'))
		why = type == 'x' && x->pax ? "two pax headers" : pax_records(t, x, type == 'g', p, n);
	else if (st == OK && (type == 'L' ? x->name : x->link))
		why = "a name that is given twice";
	else if (st == OK && !copy_name(type == 'L' ? t->name : t->link, p, strnlen(p, n)))
		why = "a name that is too long";
	x->pax |= type == 'x';
	x->name |= type == 'L';
	x->link |= type == 'K';
	if (why)
		st = malformed(t, at, why, e);
	if (st == OK) {
		t->left = (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
		t->at = t->pos;
		t->size = 0;
		st = pass(t, e);
	}
	free(p);
	return st;
}

/* Name and link of the header itself, where nothing in front has said them. */
static void own_names(struct tar *t, const struct extra *x, const uint8_t *h)
{
	bool posix = memcmp(h + 257, "ustar\0", 6) == 0;	/* GNU's has other things in place of a prefix */
	size_t prefix = posix ? strnlen((const char *)h + 345, 155) : 0, n = strnlen((const char *)h, 100);

	if (!x->name) {
		memcpy(t->name, h + 345, prefix);
		if (prefix)
			t->name[prefix++] = '/';
		memcpy(t->name + prefix, h, n);
		t->name[prefix + n] = 0;
	}
	if (!x->link) {
		n = strnlen((const char *)h + 157, 100);
		memcpy(t->link, h + 157, n);
		t->link[n] = 0;
	}
}

static enum status judge_type(struct tar *t, char type, struct err *e)
{
	size_t n = strlen(t->name);

	switch (type) {
	case '0': case 0: case '7':
		t->type = n && t->name[n - 1] == '/' ? TAR_FOLDER : TAR_FILE;
		return OK;
	case '5':
		t->type = TAR_FOLDER;
		return OK;
	case '2':
		t->type = TAR_SYMLINK;
		return t->size == 0 ? OK : unsupported(t, "a link with bytes of its own", e);
	case '1':
		return unsupported(t, "a hard link (tar --hard-dereference packs files instead)", e);
	case 'S':
		return unsupported(t, "a sparse file (pack without --sparse)", e);
	case 'M': case 'V':
		return unsupported(t, "of a tar in several volumes (join them)", e);
	default:
		return unsupported(t, "a device or another special file", e);
	}
}

/* The header of an entry proper is in h, at byte `at`. */
static enum status enter(struct tar *t, const struct extra *x, const uint8_t *h, uint64_t at, struct err *e)
{
	uint64_t size, mtime, padded;
	enum status st;

	if (!number(h + 124, 12, &size))
		return malformed(t, at, "a size that is negative or no number", e);
	if (x->size && x->size_value < OCTAL_SIZES && x->size_value != size)
		return malformed(t, at, "a pax size that contradicts the header's", e);
	if (x->size)
		size = x->size_value;
	own_names(t, x, h);
	t->mtime_ns = number(h + 136, 12, &mtime) && mtime < INT64_MAX / 1000000000 ? (int64_t)(mtime * 1000000000) : MTIME_UNKNOWN;
	if (x->mtime)
		t->mtime_ns = x->mtime_value;
	t->at = t->pos;
	t->size = size;
	st = judge_type(t, (char)h[156], e);
	if (st != OK)
		return st;
	if (!u64_round_up(size, TAR_BLOCK, &padded) || !u64_add(t->at, padded, &padded) || padded > INT64_MAX)
		return malformed(t, at, "a size that no file has", e);
	t->left = padded - t->at;
	if (!t->s && t->left > t->f->id.size - t->pos) {
		t->pos = t->f->id.size;
		return cut_short(t, e);
	}
	return OK;
}

/* Behind the first block of zeros: a second, and then zeros to the end. */
static enum status finish(struct tar *t, struct err *e)
{
	static const uint8_t zeros[TAR_BLOCK];
	uint8_t h[TAR_BLOCK];
	uint64_t from = t->pos;
	size_t got;

	do {
		if (take(t, h, TAR_BLOCK, &got, e) != OK)
			return e->status;
		if (t->pos - got == from && got < TAR_BLOCK)
			return cut_short(t, e);
		if (memcmp(h, zeros, got) != 0 || t->pos - from > MAX_TAIL)
			return err_set(e, ERR_FORMAT, "%s: something follows the end of the tar at byte %" PRIu64 "; pack or "
				       "download it again", t->f->path, from);
	} while (got);
	return OK;
}

enum status tar_next(struct tar *t, bool *more, struct err *e)
{
	static const uint8_t zeros[TAR_BLOCK];
	struct extra x = { 0 };
	uint8_t h[TAR_BLOCK];
	uint64_t at, size;
	size_t got;
	enum status st;

	*more = true;
	st = pass(t, e);
	while (st == OK) {
		at = t->pos;
		TRY(take(t, h, sizeof h, &got, e));
		if (got < sizeof h)
			return cut_short(t, e);
		if (memcmp(h, zeros, sizeof h) == 0) {
			if (x.name || x.link || x.pax)
				return malformed(t, at, "a name without its entry", e);
			*more = false;
			return finish(t, e);
		}
		if (memcmp(h + 257, "ustar", 5) != 0 || !sum_fits(h))
			return malformed(t, at, "no header, or a damaged one", e);
		if (h[156] != 'L' && h[156] != 'K' && h[156] != 'x' && h[156] != 'g')
			return enter(t, &x, h, at, e);
		if (!number(h + 124, 12, &size))
			return malformed(t, at, "a size that is negative or no number", e);
		st = take_extra(t, &x, (char)h[156], size, at, e);
	}
out:
	return st;
}
