/* SPDX-License-Identifier: MIT
 *
 * members.c - an archive of a checkpoint as a list of files.
 *
 * Names are compared and never used as paths. An archive with one entry that leads out of it, is a special file, a hard link,
 * or a second of the same name (case aside) is refused as a whole. Symbolic links are those of the Hub's cache: they must lead
 * to a file of the same archive. The checkpoint is the folder with an index, a single shard or config.json in it that is nearest
 * the top; two such folders side by side are refused.
 */
#include "format/members.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/filter.h"
#include "format/utf8.h"
#include "format/zip.h"

enum { CRC_LIMIT = 64 << 20 };

/* ---- kinds ---------------------------------------------------------------------------------*/

static enum status read_kind(const struct file *f, enum kind *kind, struct err *e)
{
	uint8_t head[TAR_BLOCK];
	size_t n = (size_t)u64_min(sizeof head, f->id.size);
	enum status st = file_read(f, head, n, 0, e);

	if (st == OK)
		*kind = n >= 4 && memcmp(head, "GGUF", 4) == 0 ? PLAIN : content_kind(head, n);
	return st;
}

static enum kind path_kind(const char *path)
{
	struct file f = FILE_NONE;
	enum kind kind = PLAIN;
	struct err ignored;

	if (file_open(&f, AT_FDCWD, path, true, path, &ignored) == OK && read_kind(&f, &kind, &ignored) != OK)
		kind = PLAIN;
	file_close(&f);
	return kind;
}

bool path_is_source(const char *path)
{
	struct stat s;

	return stat(path, &s) == 0 && (S_ISDIR(s.st_mode) || (S_ISREG(s.st_mode) && path_kind(path) != PLAIN));
}

bool path_is_packed(const char *path)
{
	enum kind kind = path_kind(path);

	return kind != PLAIN && kind != TAR;
}

/* ---- the list ------------------------------------------------------------------------------*/

bool name_leads_out(const char *name)
{
	const char *p = name;

	if (*p == '/' || (p[0] && p[1] == ':' && (p[2] == '/' || p[2] == '\\')) || strchr(p, '\\'))
		return true;
	for (; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7F ||
		    ((p == name || p[-1] == '/') && p[0] == '.' && p[1] == '.' && (p[2] == '/' || !p[2])))
			return true;
	return false;
}

/* Without "." and empty parts; in place. True if it ended like a folder's. */
static bool tidy(char *name)
{
	char *to = name;
	bool folder = true;

	for (const char *p = name; *p;) {
		size_t n = strcspn(p, "/");

		folder = n == 0 || (n == 1 && *p == '.') || p[n] == '/';
		if (n && !(n == 1 && *p == '.')) {
			if (to != name)
				*to++ = '/';
			memmove(to, p, n);
			to += n;
		}
		p += n + (p[n] == '/');
	}
	*to = 0;
	return folder;
}

enum status members_add(struct members *m, struct str name, struct member **x, struct err *e)
{
	void *p = m->v;
	char *own;
	enum status st = OK;

	*x = NULL;
	if (name.n > MAX_MEMBER_NAME)
		return err_set(e, ERR_UNSUPPORTED, "%s: a name of %zu bytes; %d is the limit", m->file.path, name.n,
			       MAX_MEMBER_NAME);
	if (!(own = mem_new(name.n + 1, 1, "a name", e)))
		return e->status;
	memcpy(own, name.p, name.n);
	if (!name.n)
		st = err_set(e, ERR_FORMAT, "%s: an entry without a name; pack or download it again", m->file.path);
	else if (name_leads_out(own) || !utf8_valid(own, name.n))
		st = err_set(e, ERR_FORMAT, "%s: entry '%.200s' has a name that leads out of the archive, or control bytes or "
			     "invalid UTF-8 in it; do not unpack it, take it from elsewhere", m->file.path, own);
	else if (m->n >= MAX_MEMBERS)
		st = err_set(e, ERR_UNSUPPORTED, "%s: more than %d files, the limit", m->file.path, MAX_MEMBERS);
	else if (!tidy(own))
		st = mem_grow(&p, &m->cap, m->n + 1, sizeof *m->v, "the list of members", e);
	else
		own[0] = 0;	/* a folder */
	m->v = p;
	if (st != OK || !own[0]) {
		free(own);
		return st;
	}
	*x = &m->v[m->n++];
	**x = (struct member){ .name = own, .mtime_ns = MTIME_UNKNOWN };
	return OK;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

static int by_folded_name(const void *a, const void *b)
{
	return strcasecmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

static enum status sort(struct members *m, struct err *e)
{
	if (m->n == 0)
		return err_set(e, ERR_FORMAT, "%s: an archive without any file", m->file.path);
	qsort(m->v, m->n, sizeof *m->v, by_folded_name);
	for (size_t i = 1; i < m->n; i++)
		if (by_folded_name(&m->v[i - 1], &m->v[i]) == 0)
			return err_set(e, ERR_FORMAT, "%s: two members are called '%.200s' (but for case, '%.200s'); pack it again",
				       m->file.path, m->v[i].name, m->v[i - 1].name);
	qsort(m->v, m->n, sizeof *m->v, by_name);
	return OK;
}

/* A name in two pieces: root is empty, or ends with a slash. */
struct below { const char *root, *name; };

static int by_both(const void *key, const void *member)
{
	const struct below *k = key;
	const char *name = ((const struct member *)member)->name;
	size_t n = strlen(k->root);
	int order = strncmp(k->root, name, n);

	return order ? order : strcmp(k->name, name + n);
}

static const struct member *find(const struct members *m, const char *root, const char *name)
{
	const struct below key = { root, name };

	return bsearch(&key, m->v, m->n, sizeof *m->v, by_both);
}

/* ---- links ---------------------------------------------------------------------------------*/

/* name's folder and link as one name without ".."; false if that leads out of the archive. */
static bool resolve(const char *name, const char *link, char out[2 * MAX_MEMBER_NAME + 2])
{
	const char *slash = strrchr(name, '/');
	size_t n = slash ? (size_t)(slash - name) : 0, k;

	memcpy(out, name, n);
	for (; *link; link += k + (link[k] == '/')) {
		k = strcspn(link, "/");
		if (k == 0 || (k == 1 && link[0] == '.'))
			continue;
		if (k == 2 && link[0] == '.' && link[1] == '.') {
			if (n == 0)
				return false;
			while (n && out[n - 1] != '/')
				n--;
			n -= n > 0;
			continue;
		}
		if (n)
			out[n++] = '/';
		memcpy(out + n, link, k);
		n += k;
	}
	out[n] = 0;
	return true;
}

static enum status follow(struct members *m, struct member *x, char *buf, struct err *e)
{
	if (x->link[0] == '/' || strlen(x->link) > MAX_MEMBER_NAME || !resolve(x->name, x->link, buf))
		return err_set(e, ERR_FORMAT, "%s: entry '%.200s' is a link to '%.200s', out of the archive; do not unpack it, "
			       "take it from elsewhere", m->file.path, x->name, x->link);
	x->to = find(m, "", buf);
	if (!x->to || x->to->link)
		return err_set(e, ERR_FORMAT, "%s: entry '%.200s' is a link to '%.200s', which is no file of the archive; pack "
			       "the blobs with it, or files in place of links (tar -h)", m->file.path, x->name, x->link);
	return OK;
}

static enum status follow_links(struct members *m, struct err *e)
{
	char *buf = mem_new(2 * MAX_MEMBER_NAME + 2, 1, "a name", e);
	enum status st = OK;

	if (!buf)
		return e->status;
	for (size_t i = 0; i < m->n && st == OK; i++)
		if (m->v[i].link)
			st = follow(m, &m->v[i], buf, e);
	free(buf);
	return st;
}

/* ---- which folder --------------------------------------------------------------------------*/

static size_t depth_of(const char *name)
{
	size_t n = 0;

	for (; *name; name++)
		n += *name == '/';
	return n;
}

static size_t folder_bytes(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash ? (size_t)(slash + 1 - name) : 0;
}

/* Is it the kind of file that a checkpoint's folder has? */
static bool marks_folder(const char *name)
{
	static const char *const marks[] = { "model.safetensors.index.json", "model.safetensors", "config.json" };

	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (strcmp(name + folder_bytes(name), marks[i]) == 0)
			return true;
	return false;
}

static enum status find_root(struct members *m, struct err *e)
{
	const char *best = NULL, *other = NULL;
	size_t n;

	for (size_t i = 0; i < m->n; i++) {
		const char *name = m->v[i].name;

		if (!marks_folder(name) || (best && depth_of(name) > depth_of(best)))
			continue;
		if (!best || depth_of(name) < depth_of(best))
			other = NULL;
		else if (folder_bytes(name) != folder_bytes(best) || memcmp(name, best, folder_bytes(best)) != 0)
			other = best;
		best = name;
	}
	if (!best)
		return err_set(e, ERR_FORMAT, "%s: holds no checkpoint: there is no config.json, no index and no "
			       "model.safetensors among "
			       "its %zu files", m->file.path, m->n);
	if (other)
		return err_set(e, ERR_UNSUPPORTED, "%s: holds more than one checkpoint, in '%.*s' and '%.*s'; pack one",
			       m->file.path,
			       (int)folder_bytes(other), other, (int)folder_bytes(best), best);
	n = folder_bytes(best);
	if (!(m->root = mem_new(n + 1, 1, "a name", e)))
		return e->status;
	memcpy(m->root, best, n);
	return OK;
}

/* ---- opening -------------------------------------------------------------------------------*/

/* A link in a zip has its target as its bytes. */
static enum status read_link(struct members *m, struct member *x, struct err *e)
{
	if (x->deflated || x->size == 0 || x->size > MAX_MEMBER_NAME)
		return err_set(e, ERR_UNSUPPORTED, "%s: entry '%.200s' is a link that is not stored as one; pack it again",
			       m->file.path, x->name);
	if (!(x->link = mem_new((size_t)x->size + 1, 1, "a link", e)))
		return e->status;
	if (file_read(&m->file, x->link, (size_t)x->size, x->at, e) != OK)
		return e->status;
	return strlen(x->link) == x->size ? OK : err_set(e, ERR_FORMAT, "%s: entry '%.200s' is a link with NUL in it", m->file.path,
							 x->name);
}

static enum status add_from_zip(void *arg, const struct zip_entry *z, struct err *e)
{
	struct members *m = arg;
	struct member *x;
	enum status st = members_add(m, z->name, &x, e);

	if (st != OK || !x)
		return st;
	if (z->special)
		return err_set(e, ERR_UNSUPPORTED, "%s: entry '%.200s' is a link or a special file; only regular files are read "
			       "from archives", m->file.path, x->name);
	x->at = z->at;
	x->packed = x->have = z->packed;
	x->size = z->size;
	x->crc = z->crc;
	x->deflated = z->deflated;
	x->mtime_ns = z->mtime_ns;
	return z->symlink ? read_link(m, x, e) : OK;
}

enum status members_open(struct members *m, const char *path, const struct source_options *o, struct err *e)
{
	static const struct source_options none;
	enum kind kind = PLAIN;
	enum status st;

	*m = (struct members){ .file = FILE_NONE, .scratch = FILE_NONE };
	o = o ? o : &none;
	TRY(file_open(&m->file, AT_FDCWD, path, true, path, e));
	TRY(read_kind(&m->file, &kind, e));
	m->is_zip = kind == ZIP;
	if (kind == PLAIN || kind == BZIP2)
		st = err_set(e, ERR_UNSUPPORTED, kind == PLAIN ? "%s: not a directory, and no archive: a source is the "
			     "directory of a "
			     "checkpoint, or a .tar, .tar.gz, .tar.zst, .tar.xz or .zip of it"
			     : "%s: bzip2 is not read; unpack it first", path);
	else if (kind == ZIP)
		st = zip_walk(&m->file, MAX_MEMBERS, add_from_zip, m, e);
	else
		st = unpack_tar(m, (int)kind, o, e);
	TRY(st);
	TRY(sort(m, e));
	TRY(follow_links(m, e));
	TRY(find_root(m, e));
	if (kind == ZIP)
		TRY(unpack_zip(m, o, e));
	st = file_unchanged(&m->file, e);
out:
	if (st != OK)
		members_close(m);
	return st;
}

/* ---- using the list ------------------------------------------------------------------------*/

const struct member *members_find(const struct members *m, const char *name)
{
	const struct member *x = find(m, m->root, name);

	return x && x->link ? x->to : x;
}

bool members_blob(const struct members *m, const char *name, struct digest *etag)
{
	const struct member *x = find(m, m->root, name);

	return x && x->link && blob_link(x->link, etag);
}

/* The small ones in a zip are read once before they count; of shards the SHA-256 tells more. */
static enum status check_crc(const struct file *f, const struct member *x, struct err *e)
{
	uint8_t *buf = mem_new(BLOCK, 1, "a block of an archive", e);
	uint64_t at, n;
	uLong crc = crc32(0, NULL, 0);
	enum status st;

	if (!buf)
		return e->status;
	for (at = 0; at < x->size; at += n) {
		n = u64_min(BLOCK, x->size - at);
		TRY(file_read(f, buf, (size_t)n, at, e));
		crc = crc32(crc, buf, (uInt)n);
	}
	st = crc == x->crc ? OK : err_set(e, ERR_FORMAT, "%s (bytes 0..%llu): has not the CRC that the zip says; download it "
					  "again", f->path, (unsigned long long)x->size);
out:
	free(buf);
	return st;
}

enum status member_open(struct file *f, const struct members *m, const struct member *x, struct err *e)
{
	const struct file *in = x->unpacked ? &m->scratch : &m->file;
	size_t n = strlen(m->file.path) + strlen(x->name) + 2;
	char *path = mem_new(n, 1, "a path", e);
	enum status st;

	*f = FILE_NONE;
	if (!path)
		return e->status;
	snprintf(path, n, "%s:%s", m->file.path, x->name);
	st = file_range(f, in, &m->file, x->at, x->have, x->size, path, e);
	free(path);
	if (st == OK && m->is_zip && !x->unpacked && x->size <= CRC_LIMIT)
		st = check_crc(f, x, e);
	if (st != OK)
		file_close(f);
	return st;
}

void members_close(struct members *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->v[i].name);
		free(m->v[i].link);
	}
	free(m->v);
	free(m->root);
	file_close(&m->file);
	file_close(&m->scratch);
	*m = (struct members){ .file = FILE_NONE, .scratch = FILE_NONE };
}
