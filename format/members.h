/* SPDX-License-Identifier: MIT
 *
 * members.h - private to format/: an archive of a checkpoint as a list of files, each a range of bytes of the archive or of
 * what was unpacked from it.
 */
#ifndef FORMAT_MEMBERS_H
#define FORMAT_MEMBERS_H

#include "format/format.h"

enum { MAX_MEMBERS = 16384, MAX_MEMBER_NAME = 4096 };

struct member {
	char *name;		/* owned; below the archive's root, without "./" and the like */
	char *link;		/* owned; of a symbolic link its target, else NULL */
	const struct member *to;	/* of a link: the file that it leads to */
	uint64_t at, have, size;	/* the bytes [at, at + have) of where it lies; size it has in all */
	uint64_t packed;	/* of a deflated member of a zip: bytes at `at` of the archive, until it is unpacked */
	uint32_t crc;		/* of a zip */
	int64_t mtime_ns;	/* or MTIME_UNKNOWN */
	bool deflated, unpacked;	/* unpacked: it lies in the scratch file */
};
struct members {
	struct file file;	/* the archive */
	struct file scratch;	/* where packed members lie; FILE_NONE without */
	struct member *v;	/* owned; by name, once they are all there */
	size_t n, cap;
	char *root;		/* owned; the checkpoint's folder, "" or ending in a slash */
	bool is_zip;
};
/* Reads the list and unpacks what is compressed, as o wants it. ERR_FORMAT or ERR_UNSUPPORTED for an archive that is
 * malformed, or made to harm. Closed if it fails. */
enum status members_open(struct members *m, const char *path, const struct source_options *o, struct err *e) MUST_USE;
/* The file of that name below the checkpoint's folder, a link followed; NULL if there is none. */
const struct member *members_find(const struct members *m, const char *name);
/* Whether a link's target is ../../blobs/ETAG, as in the Hub's cache (hub.c). */
bool blob_link(const char *target, struct digest *etag);
/* Whether it is such a link, and the digest that its target is called by. */
bool members_blob(const struct members *m, const char *name, struct digest *etag);
/* Opens x as ARCHIVE:NAME; a small member of a zip has its CRC checked. */
enum status member_open(struct file *f, const struct members *m, const struct member *x, struct err *e) MUST_USE;
void members_close(struct members *m);

/* Adds a file (or a link) under the name that the archive has for it; *x receives it, NULL for a folder's. */
enum status members_add(struct members *m, struct str name, struct member **x, struct err *e) MUST_USE;
/* A name that leads out of wherever it is put, or that a terminal would act on: of an archive that was made to harm. */
bool name_leads_out(const char *name);

/* ---- unpack.c ------------------------------------------------------------------------------*/

/* All entries of a tar, plain or (kind not TAR) compressed; what o wants of the latter goes to m->scratch. */
enum status unpack_tar(struct members *m, int kind, const struct source_options *o, struct err *e) MUST_USE;
/* The deflated members of a zip that o wants. */
enum status unpack_zip(struct members *m, const struct source_options *o, struct err *e) MUST_USE;

#endif
