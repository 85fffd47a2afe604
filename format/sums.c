/* SPDX-License-Identifier: MIT
 *
 * sums.c - FILE.SHA256SUMS, for people without this program: `sha256sum -c --strict` reads it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/base.h"

enum status text_write(const char *path, const char *text, bool force, struct err *e)
{
	struct output out;
	size_t n = strlen(text);
	enum status st;

	TRY(output_open(&out, path, n, force, LEFTOVER_REPLACE, e));
	TRY(output_write(&out, text, n, 0, e));
	TRY(output_commit(&out, e));
out:
	output_abandon(&out);
	return st;
}

enum status sums_write(const char *path, const struct digest *d, bool force, struct err *e)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t n = strlen(path) + 80;
	char hex[65], *to, *text = mem_new(2 * n, 1, "a list of digests", e);
	enum status st = text ? OK : e->status;

	if (!text)
		return st;
	to = text + n;
	snprintf(to, n, "%s.SHA256SUMS", path);
	if (strpbrk(name, "\\\n\r"))	/* sha256sum has an escaped form for these; no one should need it */
		st = err_set(e, ERR_USAGE, "%s: a name with a backslash or a line's end does not go into a list of digests",
			     path);
	else
		snprintf(text, n, "%s  %s\n", digest_text(d, hex), name);
	if (st == OK)
		st = text_write(to, text, force, e);
	free(text);
	return st;
}
