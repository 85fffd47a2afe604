/* SPDX-License-Identifier: MIT
 *
 * zip.h - private to archive.c: what libarchive does not compare in a zip.
 */
#ifndef FORMAT_ZIP_H
#define FORMAT_ZIP_H

#include "format/base.h"

/* Every member has one name: the directory, at [off, off + n) of f, and the header in front of the
 * member's data say the same, without a NUL. Members lie end to end from byte 0 of the file to the
 * directory, but for records of sizes behind those that announce one. ERR_FORMAT where it is not so. */
enum status zip_check_members(const struct file *f, uint64_t off, uint64_t n, struct err *e) MUST_USE;

#endif
