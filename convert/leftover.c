/* SPDX-License-Identifier: MIT
 *
 * leftover.c - what earlier runs left beside an output under names that this run does not use: partial files of another
 * division, what parts kept.
 */
#include "convert/parts.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct beside {
	const char *base;		/* borrowed; the output's name, without its folder */
	size_t folder;			/* bytes of that, with the slash */
	const struct convert_result *r;	/* borrowed */
};

/* Of the folder's files those that match: how many. */
static size_t sweep(const char *out, const struct convert_result *r, bool (*match)(const struct beside *b, const char *name),
		    bool discard)
{
	const char *slash = strrchr(out, '/');
	struct beside b = { .base = slash ? slash + 1 : out, .folder = slash ? (size_t)(slash - out) + 1 : 0, .r = r };
	char *dir = strndup(out, b.folder);
	DIR *d = dir ? opendir(*dir ? dir : ".") : NULL;
	size_t n = 0;

	for (struct dirent *x; d && (x = readdir(d));) {
		if (!match(&b, x->d_name))
			continue;
		n++;
		if (discard)
			unlinkat(dirfd(d), x->d_name, 0);
	}
	if (d)
		closedir(d);
	free(dir);
	return n;
}

/* "BASE.part-K-of-N" and one of the endings that parts use. */
static bool is_of_part(const struct beside *b, const char *name)
{
	static const char *const endings[] = { ".journal", ".journal.new", ".lock" };
	size_t n = strlen(b->base);
	const char *p = name + n + 6;

	if (strncmp(name, b->base, n) != 0 || strncmp(name + n, ".part-", 6) != 0)
		return false;
	p += strspn(p, "0123456789");
	if (strncmp(p, "-of-", 4) != 0)
		return false;
	p += 4;
	p += strspn(p, "0123456789");
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
		if (strcmp(p, endings[i]) == 0)
			return true;
	return false;
}

void leftover_parts(const char *out)
{
	sweep(out, NULL, is_of_part, true);
}

static bool is_ours(const struct beside *b, const char *name)
{
	for (size_t i = 0; i < b->r->plan.n_outputs; i++)
		if (strcmp(b->r->paths[i] + b->folder, name) == 0)
			return true;
	return false;
}

/* Someone makes a file of that name at this moment, under another command line; the lock of the base is ours. */
static bool in_work(const struct beside *b, const char *name)
{
	char lock[PATH_MAX], owner[200];
	int n;

	if (strcmp(name, b->base) == 0)
		return false;
	n = snprintf(lock, sizeof lock, "%.*s%s.lock", (int)b->folder, b->r->base, name);

	return (size_t)n < sizeof lock && lock_is_held(lock, owner);
}

/* BASE, or a file of a set that is called so. */
static bool is_called(const char *name, const char *base)
{
	size_t stem = split_stem(base);
	struct gguf_set_name set;

	if (strcmp(name, base) == 0)
		return true;
	return gguf_set_name(name, &set) && set.stem == stem && memcmp(name, base, stem) == 0;
}

/* "NAME.partial", where NAME is the output's or its sidecar's, whole or of a set. */
static bool is_stray(const struct beside *b, const char *found)
{
	static const char suffix[] = ".partial", mtp[] = "mtp-";
	char name[NAME_MAX + 1];
	size_t n = strlen(found), tail = sizeof suffix - 1, head = sizeof mtp - 1;

	if (n <= tail || n > NAME_MAX || strcmp(found + n - tail, suffix) != 0)
		return false;
	snprintf(name, sizeof name, "%.*s", (int)(n - tail), found);
	if (!is_called(name, b->base) && !(strncmp(name, mtp, head) == 0 && is_called(name + head, b->base)))
		return false;
	return !is_ours(b, name) && !in_work(b, name);
}

size_t leftover_strays(const struct convert_result *r, bool discard)
{
	return sweep(r->base, r, is_stray, discard);
}
