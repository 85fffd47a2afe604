/* SPDX-License-Identifier: MIT
 *
 * err.c - error text, notes, and the few helpers that every allocation passes through.
 */
#include "format/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum status err_set(struct err *e, enum status s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	e->status = s;
	return s;
}

/* What a person does about it; "" where that depends. */
static const char *remedy(int code)
{
	switch (code) {
	case ENOENT: case ENOTDIR: return "; look at the path";
	case EACCES: case EPERM: return "; look at the permissions of the file and its directory";
	case ENOSPC: case EDQUOT: return "; free space or choose another place";
	case EROFS: return "; choose another place";
	case EFBIG: return "; neither this file system nor `ulimit -f` may be smaller than the file";
	case EMFILE: case ENFILE: return "; raise the limit of open files (ulimit -n)";
	case EIO: return "; the disk or the network behind it fails: look at the kernel's log, and copy the file from elsewhere";
	case ESTALE: return "; the file server lost it: run again";
	case ENOMEM: case EAGAIN: return "; free memory, or use fewer threads";
	case ELOOP: return "; remove the link that leads in a circle";
	case ENAMETOOLONG: return "; give a shorter name";
	case EISDIR: return "; name a file in it";
	default: return "";
	}
}

enum status err_errno(struct err *e, const char *fmt, ...)
{
	int code = errno;
	size_t n;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof e->msg - n, ": %s%s", strerror(code), remedy(code));
	e->status = ERR_IO;
	return ERR_IO;
}

enum status err_wrap(struct err *e, const char *fmt, ...)
{
	char inner[sizeof e->msg];
	size_t n;
	va_list ap;

	memcpy(inner, e->msg, sizeof inner);
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof e->msg - n, ": %s", inner);
	return e->status;
}

enum status err_add(struct err *e, const char *fmt, ...)
{
	size_t n = strlen(e->msg);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->msg + n, sizeof e->msg - n, fmt, ap);
	va_end(ap);
	return e->status;
}

void err_finish(struct err *e)
{
	static const char *const next[] = {
		[ERR_MISMATCH] = "; compare it with where it came from, and copy or download it again",
		[ERR_FORMAT] = "; it is damaged or not what was meant: download or make it again",
		[ERR_UNSUPPORTED] = "; this version does not take it: choose another file or option",
		[ERR_IO] = "; see to that and run again",
		[ERR_NOMEM] = "; free memory, or give --max-memory or the context less",
		[ERR_NO_DIGEST] = "; give the digest, seal or key that it should have",
		[ERR_BUSY] = "; wait for it and run again",
		[ERR_STOPPED] = "; run it again from the start",
	};

	if (e->status > OK && e->status < sizeof next / sizeof *next && next[e->status] && !strstr(e->msg, "; "))
		err_add(e, "%s", next[e->status]);
}

enum status err_stopped(struct err *e, const volatile int *stop, const char *then)
{
	int n = __atomic_load_n(stop, __ATOMIC_RELAXED);

	return n > 0 ? err_set(e, ERR_STOPPED, "stopped by signal %d%s", n, then)
		     : err_set(e, ERR_STOPPED, "stopped by the caller%s", then);
}

int status_exit_code(enum status s)
{
	switch (s) {
	case OK: return 0;
	case ERR_MISMATCH: return 1;
	case ERR_USAGE: return 2;
	case ERR_FORMAT:
	case ERR_UNSUPPORTED: return 3;
	case ERR_IO:
	case ERR_NOMEM: return 4;
	case ERR_NO_DIGEST: return 5;
	case ERR_BUSY: return 6;
	case ERR_STOPPED: return 128;
	}
	return 4;
}

void log_add(struct log *l, const char *fmt, ...)
{
	char line[4096];
	int n;
	va_list ap;
	struct err ignored;
	void *p;

	if (!l)
		return;
	p = l->text;
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	size_t len = (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
	if (l->len + len + 2 > LOG_MAX ||
	    mem_grow(&p, &l->cap, l->len + len + 2, 1, "notes", &ignored) != OK) {
		l->n_dropped++;
		return;
	}
	l->text = p;
	memcpy(l->text + l->len, line, len);
	l->len += len;
	l->text[l->len++] = '\n';
	l->text[l->len] = 0;
	l->n_lines++;
}

void log_close(struct log *l)
{
	free(l->text);
	*l = (struct log){ 0 };
}

/* Length of the valid, printable UTF-8 character at p (of n bytes), 0 if it is to be escaped. */
static size_t printable(const unsigned char *p, size_t n)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
	uint32_t c = len == 1 ? p[0] : p[0] & (0x7Fu >> len);

	if (len == 1)
		return c >= 0x20 && c != 0x7F;
	if (p[0] < 0xC2 || p[0] > 0xF4 || n < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3F);
	}
	/* C1 controls and direction overrides can repaint a terminal as well as ESC can */
	if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000) || c < 0xA0 ||
	    (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069))
		return 0;
	return len;
}

char *escape_text(char *dst, size_t cap, const char *src, size_t n)
{
	size_t o = 0;

	for (size_t i = 0; i < n;) {
		size_t len = printable((const unsigned char *)src + i, n - i);
		if (o + (len ? len : 4) + 1 > cap)
			break;
		if (len) {
			memcpy(dst + o, src + i, len);
			o += len;
			i += len;
		} else {
			static const char hex[] = "0123456789abcdef";
			unsigned char c = (unsigned char)src[i++];
			dst[o++] = '\\';
			dst[o++] = 'x';
			dst[o++] = hex[c >> 4];
			dst[o++] = hex[c & 15];
		}
	}
	dst[o] = 0;
	return dst;
}

bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_is(struct str a, const char *z)
{
	return str_eq(a, (struct str){ z, strlen(z) });
}

void *mem_new(size_t n, size_t size, const char *what, struct err *e)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (!p)
		err_set(e, ERR_NOMEM, "no memory for %s (%zu x %zu bytes)", what, n, size);
	return p;
}

enum status mem_grow(void **p, size_t *cap, size_t want, size_t size, const char *what,
		     struct err *e)
{
	uint64_t bytes;
	size_t next = *cap + *cap / 2;
	void *q;

	if (want <= *cap)
		return OK;
	if (next < want)
		next = want;
	if (next < 16)
		next = 16;
	if (!u64_mul(next, size, &bytes) || bytes > SIZE_MAX || !(q = realloc(*p, (size_t)bytes)))
		return err_set(e, ERR_NOMEM, "no memory for %s (%zu x %zu bytes)", what, next, size);
	*p = q;
	*cap = next;
	return OK;
}

char *mem_strdup(const char *s, struct err *e)
{
	size_t n = strlen(s) + 1;
	char *p = mem_new(n, 1, "a name", e);

	return p ? memcpy(p, s, n) : NULL;
}

char *path_with(const char *path, const char *suffix, struct err *e)
{
	size_t n = strlen(path) + strlen(suffix) + 1;
	char *p = mem_new(n, 1, "a path", e);

	if (p)
		snprintf(p, n, "%s%s", path, suffix);
	return p;
}

char *path_join(const char *dir, const char *name, struct err *e)
{
	size_t d = strlen(dir), n = strlen(name) + 1;
	bool slash = d > 0 && dir[d - 1] != '/';
	char *p = mem_new(d + slash + n, 1, "a path", e);

	if (!p)
		return NULL;
	memcpy(p, dir, d);
	if (slash)
		p[d] = '/';
	memcpy(p + d + slash, name, n);
	return p;
}

double clock_seconds(void)
{
	struct timespec t;

	return clock_gettime(CLOCK_MONOTONIC, &t) == 0 ? (double)t.tv_sec + (double)t.tv_nsec * 1e-9 : 0;
}
