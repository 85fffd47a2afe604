/* SPDX-License-Identifier: MIT
 *
 * digest.c - SHA-256, and the SHA-1 that git gives a blob.
 *
 * Invariant: a digest that could not be computed never equals another one. OpenSSL's update and
 * final can report failure although over memory they have no reason to; sha256_add is void so
 * that hashing code stays readable, so the failure is kept and sha256_end then fills its output
 * with fresh random bytes. A constant would not do: two failed runs, one that wrote a digest and
 * one that checks it, would agree. So does the use of a digest that was never started.
 *
 * Sources: FIPS 180-4; git's object format (SHA-1 of "blob SIZE", a NUL, the bytes).
 */
#include "format/base.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { READ_BYTES = 256 << 10 };	/* stays in the L2 cache between read and hash */

/* Behind struct sha256's ctx. */
struct hasher {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
	bool good;	/* started, and nothing failed since */
};

static void hasher_close(struct hasher *h)
{
	EVP_MD_CTX_free(h->ctx);
	EVP_MD_free(h->md);
	*h = (struct hasher){ 0 };
}

static enum status hasher_open(struct hasher *h, const char *name, struct err *e)
{
	*h = (struct hasher){ 0 };
	h->md = EVP_MD_fetch(NULL, name, NULL);
	if (!h->md)
		return err_set(e, ERR_UNSUPPORTED, "%s: this OpenSSL does not offer it; see the "
			       "providers and FIPS settings in openssl.cnf", name);
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx) {
		hasher_close(h);
		return err_set(e, ERR_NOMEM, "no memory for a digest");
	}
	return OK;
}

static void hasher_start(struct hasher *h)
{
	h->good = EVP_DigestInit_ex2(h->ctx, h->md, NULL) == 1;
}

static void hasher_add(struct hasher *h, const void *p, size_t n)
{
	if (n > 0)
		h->good = h->good && EVP_DigestUpdate(h->ctx, p, n) == 1;
}

/* False if the digest is not in out[size]. Ends the computation either way. */
static bool hasher_end(struct hasher *h, uint8_t *out, unsigned size)
{
	uint8_t buf[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	bool good = h->good && EVP_DigestFinal_ex(h->ctx, buf, &n) == 1 && n == size;

	h->good = false;
	if (good)
		memcpy(out, buf, size);
	return good;
}

/* Bytes that nobody has seen before or will see again. */
static void never_equal(uint8_t out[SHA256_BYTES])
{
	struct timespec now = { 0 };

	if (getrandom(out, SHA256_BYTES, 0) == SHA256_BYTES)
		return;
	/* without a random source: a time and a place, which no second run shares */
	memset(out, 0xEE, SHA256_BYTES);
	clock_gettime(CLOCK_MONOTONIC, &now);
	store_le(out, 8, (uint64_t)now.tv_sec);
	store_le(out + 8, 8, (uint64_t)now.tv_nsec);
	clock_gettime(CLOCK_REALTIME, &now);
	store_le(out + 16, 8, (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 30);
}

enum status sha256_open(struct sha256 *h, struct err *e)
{
	struct hasher *x = mem_new(1, sizeof *x, "a digest", e);
	enum status st;

	*h = (struct sha256){ 0 };
	if (!x)
		return e->status;
	st = hasher_open(x, "SHA256", e);
	if (st != OK) {
		free(x);
		return st;
	}
	h->ctx = x;
	return OK;
}

void sha256_start(struct sha256 *h)
{
	if (h->ctx)
		hasher_start(h->ctx);
}

void sha256_add(struct sha256 *h, const void *p, size_t n)
{
	if (h->ctx)
		hasher_add(h->ctx, p, n);
}

void sha256_end(struct sha256 *h, uint8_t out[SHA256_BYTES])
{
	if (!h->ctx || !hasher_end(h->ctx, out, SHA256_BYTES))
		never_equal(out);
}

void sha256_close(struct sha256 *h)
{
	if (h->ctx)
		hasher_close(h->ctx);
	free(h->ctx);
	*h = (struct sha256){ 0 };
}

static size_t digest_size(enum digest_kind k)
{
	return k == DIGEST_SHA256 ? SHA256_BYTES : k == DIGEST_GIT_BLOB ? SHA1_BYTES : 0;
}

/* Value of a hex digit, or -1. */
static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool digest_parse(struct digest *d, struct str hex)
{
	*d = (struct digest){ .kind = DIGEST_NONE };
	if (hex.n != 2 * SHA256_BYTES && hex.n != 2 * SHA1_BYTES)
		return false;
	for (size_t i = 0; i < hex.n / 2; i++) {
		int hi = nibble(hex.p[2 * i]), lo = nibble(hex.p[2 * i + 1]);
		if (hi < 0 || lo < 0) {
			*d = (struct digest){ .kind = DIGEST_NONE };
			return false;
		}
		d->bytes[i] = (uint8_t)(hi << 4 | lo);
	}
	d->kind = hex.n == 2 * SHA256_BYTES ? DIGEST_SHA256 : DIGEST_GIT_BLOB;
	return true;
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
	/* two unknown digests are no agreement */
	return a->kind == b->kind && a->kind != DIGEST_NONE &&
	       memcmp(a->bytes, b->bytes, digest_size(a->kind)) == 0;
}

static char *hex_text(const uint8_t *bytes, size_t n, char *buf)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		buf[2 * i] = hex[bytes[i] >> 4];
		buf[2 * i + 1] = hex[bytes[i] & 15];
	}
	buf[2 * n] = 0;
	return buf;
}

char *digest_text(const struct digest *d, char buf[65])
{
	return hex_text(d->bytes, digest_size(d->kind), buf);
}

char *sha256_text(const uint8_t sha256[SHA256_BYTES], char buf[65])
{
	return hex_text(sha256, SHA256_BYTES, buf);
}

/* Every byte of f into a and, unless it is NULL, b. */
static enum status hash_bytes(const struct file *f, struct hasher *a, struct hasher *b,
			      const struct digest_watch *w, struct err *e)
{
	size_t cap = (size_t)u64_min(READ_BYTES, f->id.size);
	uint8_t *buf = mem_new(cap, 1, "reading a file to hash", e);
	enum status st = buf ? OK : e->status;

	for (uint64_t off = 0; st == OK && off < f->id.size;) {
		size_t n = (size_t)u64_min(cap, f->id.size - off);
		st = file_read(f, buf, n, off, e);
		if (st != OK)
			break;
		hasher_add(a, buf, n);
		if (b)
			hasher_add(b, buf, n);
		off += n;
		if (w->done)
			__atomic_fetch_add(w->done, n, __ATOMIC_RELAXED);
		if (stop_asked(w->stop))
			st = err_set(e, ERR_STOPPED, "%s: stopped", f->path);
	}
	free(buf);
	return st;
}

enum status digest_file(const struct file *f, enum digest_kind kind, struct digest *d,
			uint8_t sha256[SHA256_BYTES], struct err *e)
{
	return digest_watched(f, kind, d, sha256, &(struct digest_watch){ 0 }, e);
}

enum status digest_watched(const struct file *f, enum digest_kind kind, struct digest *d, uint8_t sha256[SHA256_BYTES],
			   const struct digest_watch *w, struct err *e)
{
	struct hasher sha2 = { 0 }, sha1 = { 0 };
	bool git = kind == DIGEST_GIT_BLOB, two = !git || sha256;
	uint8_t whole[SHA256_BYTES];
	char head[32];
	enum status st;

	*d = (struct digest){ .kind = DIGEST_NONE };
	if (digest_size(kind) == 0)
		return err_set(e, ERR_NO_DIGEST, "%s: no kind of digest to compute", f->path);
	if (two) {
		TRY(hasher_open(&sha2, "SHA256", e));
		hasher_start(&sha2);
	}
	if (git) {
		int n = snprintf(head, sizeof head, "blob %" PRIu64, f->id.size);
		TRY(hasher_open(&sha1, "SHA1", e));
		hasher_start(&sha1);
		hasher_add(&sha1, head, (size_t)n + 1);
	}
	TRY(hash_bytes(f, git ? &sha1 : &sha2, git && two ? &sha2 : NULL, w, e));
	if ((two && !hasher_end(&sha2, whole, SHA256_BYTES)) ||
	    (git && !hasher_end(&sha1, d->bytes, SHA1_BYTES))) {
		st = err_set(e, ERR_IO, "%s: OpenSSL failed to compute the digest", f->path);
		goto out;
	}
	if (!git)
		memcpy(d->bytes, whole, SHA256_BYTES);
	if (sha256)
		memcpy(sha256, whole, SHA256_BYTES);
	d->kind = kind;
out:
	hasher_close(&sha2);
	hasher_close(&sha1);
	return st;
}
