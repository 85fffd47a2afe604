/* SPDX-License-Identifier: MIT
 *
 * filter.h - private to the readers of archives: what a file is, and the file with at most one compression undone.
 */
#ifndef FORMAT_FILTER_H
#define FORMAT_FILTER_H

#include <archive.h>
#include <zlib.h>

#include "format/base.h"

enum {
	BLOCK = 64 << 10,
	MAX_RATIO = 200,
	FREE_BYTES = 1 << 20,		/* below this a ratio says nothing */
	TAR_BLOCK = 512,
	TAR_END = 2 * TAR_BLOCK,	/* zero bytes that close a tar */
};

enum kind { PLAIN, TAR, ZIP, GZIP, ZSTD, XZ, BZIP2 };
/* By its first n bytes; TAR_BLOCK of them say everything. */
enum kind content_kind(const uint8_t *p, size_t n);
/* Is it too much that f unpacks to n bytes? ERR_UNSUPPORTED. */
enum status filter_ratio(const struct file *f, uint64_t n, struct err *e) MUST_USE;

/* Front to back; kind is PLAIN, GZIP, ZSTD or XZ. */
struct filter {
	const struct file *f;		/* borrowed */
	enum kind kind;			/* PLAIN, GZIP, ZSTD or XZ */
	uint64_t pos;			/* the next byte of the file */
	uint8_t *in, *out;		/* owned, BLOCK bytes each */
	z_stream z;
	bool z_open, z_between;		/* between two gzip members */
	struct archive *a;		/* owned: ZSTD, XZ */
	size_t held;			/* bytes of out that were looked at and not yet taken */
	uint64_t total, nonzero;	/* bytes delivered; where the last that is not 0 ends */
	struct err err;			/* what failed inside a callback */
};
enum status filter_open(struct filter *s, const struct file *f, enum kind kind, struct err *e) MUST_USE;
/* The next bytes into s->out: a full block, less only at the end. Set s->held to have them once more. */
enum status filter_next(struct filter *s, size_t *n, struct err *e) MUST_USE;
void filter_close(struct filter *s);

/* For libarchive over a PLAIN stream, whose ctx is the stream; its failure as ours. */
la_ssize_t filter_on_read(struct archive *a, void *ctx, const void **p);
la_int64_t filter_on_seek(struct archive *a, void *ctx, la_int64_t off, int whence);
enum status filter_failed(struct archive *a, const struct filter *s, struct err *e) MUST_USE;

#endif
