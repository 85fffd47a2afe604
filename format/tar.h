/* SPDX-License-Identifier: MIT
 *
 * tar.h - private to the readers of archives: the entries of a tar, one after the other, with the place of each one's bytes.
 */
#ifndef FORMAT_TAR_H
#define FORMAT_TAR_H

#include "format/filter.h"

enum { TAR_NAME = 4096 };

enum tar_type { TAR_FILE, TAR_FOLDER, TAR_SYMLINK };
/* Over an open file, or (s not NULL) over its stream with the compression undone. Zero the rest. */
struct tar {
	const struct file *f;		/* borrowed; for messages in either case */
	struct filter *s;		/* borrowed, or NULL */
	uint64_t pos;			/* the next byte of the tar */
	uint64_t left;			/* of the entry's bytes and their padding, not yet passed */
	const uint8_t *window;		/* borrowed from s */
	size_t window_n;
	/* the entry that tar_next found */
	enum tar_type type;
	char name[TAR_NAME + 1], link[TAR_NAME + 1];
	uint64_t at, size;		/* its bytes are [at, at + size) of the tar */
	int64_t mtime_ns;
};
/* The next entry; *more false behind the last, when the end mark was there and nothing but zeros after it. Refused:
 * hard links, devices, sparse files, volumes, encodings that no packer of today writes. */
enum status tar_next(struct tar *t, bool *more, struct err *e) MUST_USE;
/* The entry's next bytes (only over a stream), valid until the next call; *n 0 behind its last. */
enum status tar_data(struct tar *t, const uint8_t **p, size_t *n, struct err *e) MUST_USE;

#endif
