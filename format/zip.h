/* SPDX-License-Identifier: MIT
 *
 * zip.h - private to the readers of archives: the directory of a zip, held against what it lists.
 */
#ifndef FORMAT_ZIP_H
#define FORMAT_ZIP_H

#include "format/base.h"

enum { ZIP_END = 22 };	/* bytes of the end record without its comment */
/* Where in the last n bytes of a file the end record is that ends it, or SIZE_MAX. */
size_t zip_end(const uint8_t *p, size_t n);

/* One member; its bytes, as they are stored, are [at, at + packed) of the file. */
struct zip_entry {
	struct str name;		/* borrowed; no NUL in it */
	uint64_t at, packed, size;
	uint32_t crc;
	bool deflated, folder, symlink, special;
	int64_t mtime_ns;		/* MTIME_UNKNOWN: not said, or in an unknown time zone */
};
/* Each entry of the directory, checked against the header in front of its bytes. OK only if directory, members and end
 * record tile the whole file: nothing before, between, behind or twice. At most `most` entries. zip64 is read. */
enum status zip_walk(const struct file *f, size_t most, enum status (*found)(void *arg, const struct zip_entry *z, struct err *e),
		     void *arg, struct err *e) MUST_USE;

#endif
