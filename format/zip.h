/* SPDX-License-Identifier: MIT
 *
 * zip.h - private to archive.c: what libarchive does not compare in a zip.
 */
#ifndef FORMAT_ZIP_H
#define FORMAT_ZIP_H

#include "format/base.h"

/* Every member has one name: the directory, at [off, off + n) of f, and the header in front of the
 * member's data say the same, without a NUL. ERR_FORMAT where they differ. */
enum status zip_names_agree(const struct file *f, uint64_t off, uint64_t n, struct err *e) MUST_USE;

#endif
