/* SPDX-License-Identifier: MIT
 *
 * confine.c - which paths a command line names, and nothing else from there on (format/sandbox.h).
 *
 * Called by cli_parse, before a byte of any file is read but those that tell an archive. What an option or argument names may be
 * read; what
 * belongs to it as well: below a directory, a Hub cache's blobs, the records of a download and the MTP
 * file beside a GGUF. Outputs may be written, and with them their directory, because the names
 * there (.partial, .lock, .journal) come and go.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "format/format.h"
#include "format/sandbox.h"

/* Public parts of the system that the C library, OpenSSL and libarchive look into. */
static const char *const system_paths[] = { "/usr", "/lib", "/lib64", "/nix/store", "/etc/ssl", "/etc/ld.so.cache", "/proc/self",
					    "/proc/meminfo", "/sys/devices/system", "/dev/urandom", "/dev/zero", "/dev/null" };

static void allow_under(struct sandbox *s, const char *dir, size_t n, const char *name, unsigned access)
{
	char path[PATH_MAX];

	if (n < sizeof path && (size_t)snprintf(path, sizeof path, "%.*s%s", (int)n, dir, name) < sizeof path)
		sandbox_allow(s, path, access);
}

/* Bytes of path up to and with its last slash. */
static size_t directory_bytes(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash + 1 - path) : 0;
}

/* Of .../snapshots/COMMIT, a directory of the Hub's cache, the links lead to .../blobs. */
static void allow_blobs(struct sandbox *s, const char *directory)
{
	static const char snapshots[] = "/snapshots/";
	char real[PATH_MAX];
	size_t n, tail = sizeof snapshots - 1;

	if (!realpath(directory, real))
		return;
	n = strlen(real);
	while (n && real[n - 1] != '/')
		n--;
	if (n > tail && memcmp(real + n - tail, snapshots, tail) == 0)
		allow_under(s, real, n - tail + 1, "blobs", SANDBOX_READ);
}

/* The other files of a split GGUF, and the MTP file that stands beside them all. */
static void allow_set(struct sandbox *s, const char *path)
{
	size_t n = directory_bytes(path);
	struct gguf_set_name name;
	char mtp[NAME_MAX + 8];
	struct err ignored;

	if (!gguf_set_name(path, &name) || name.n > GGUF_SET_MOST)
		return;
	for (unsigned i = 0; i < name.n; i++) {
		char *other = gguf_set_path(path, &name, i, &ignored);

		if (other)
			sandbox_allow(s, other, SANDBOX_READ);
		free(other);
	}
	if ((size_t)snprintf(mtp, sizeof mtp, "mtp-%.*s.gguf", (int)(name.stem - n), path + n) < sizeof mtp)
		allow_under(s, path, n, mtp, SANDBOX_READ);
}

static void allow_input(struct sandbox *s, const char *given)
{
	char path[PATH_MAX], mtp[NAME_MAX + 8], *colon;
	struct stat info;
	size_t n;

	n = strlen(given);
	if (n >= sizeof path)
		return;
	memcpy(path, given, n + 1);
	while (stat(path, &info) != 0) {	/* ARCHIVE:MEMBER */
		if (!(colon = strrchr(path, ':')))
			return;
		*colon = 0;
	}
	sandbox_allow(s, path, SANDBOX_READ);
	if (S_ISDIR(info.st_mode)) {
		allow_blobs(s, path);
		return;
	}
	n = directory_bytes(path);
	allow_under(s, path, n, n ? "" : ".", SANDBOX_LIST);
	allow_under(s, path, n, ".cache/huggingface", SANDBOX_READ);
	if ((size_t)snprintf(mtp, sizeof mtp, "mtp-%s", path + n) < sizeof mtp)
		allow_under(s, path, n, mtp, SANDBOX_READ);
	allow_set(s, path);
}

/* A SOURCE or MODEL: an archive with something compressed in it is unpacked in its own folder, unless an output or --scratch
 * says otherwise. */
static void allow_source(struct sandbox *s, const char *path, bool unpacks)
{
	size_t n = directory_bytes(path);

	allow_input(s, path);
	if (unpacks && path_is_packed(path))
		allow_under(s, path, n, n ? "" : ".", SANDBOX_READ | SANDBOX_WRITE);
}

/* A device or a link such as /dev/stdout is written where it is; files under /dev/shm are files. */
static void allow_output(struct sandbox *s, const char *path)
{
	bool special = strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0;
	struct stat info;
	size_t n = directory_bytes(path);

	sandbox_allow(s, path, SANDBOX_READ | SANDBOX_WRITE);
	if (special && lstat(path, &info) == 0 && !S_ISREG(info.st_mode))
		return;
	allow_under(s, path, n, n ? "" : ".", SANDBOX_READ | SANDBOX_WRITE);
}

static bool is_path(const struct opt *o)
{
	return o->kind == OPT_STR || o->kind == OPT_SOURCE || o->kind == OPT_OUT;
}

static void allow_options(struct sandbox *s, const struct opt *o, bool unpacks)
{
	for (; o && o->name; o++) {
		const char *value = is_path(o) ? *(const char *const *)o->value : NULL;

		if (value && o->kind == OPT_OUT)
			allow_output(s, value);
		else if (value && o->kind == OPT_SOURCE)
			allow_source(s, value, unpacks);
		else if (value)
			allow_input(s, value);
	}
}

/* Whether archives are unpacked in their own folders: not by inspect, nor where there is an output. */
static bool unpacks_there(const struct cli *c, const struct command *cmd, const struct opt *own)
{
	bool out = c->scratch || cmd->run == cmd_inspect;

	for (; own && own->name; own++)
		out |= own->kind == OPT_OUT && strcmp(own->name, "output") == 0 && *(const char *const *)own->value;
	return !out;
}

/* What is missing, for a person; NULL if nothing is. */
static const char *missing(unsigned got)
{
	switch (got) {
	case SANDBOX_PATHS | SANDBOX_CALLS:
		return NULL;
	case SANDBOX_PATHS:
		return "only its paths are limited, not its system calls (seccomp)";
	case SANDBOX_CALLS:
		return "only its system calls are limited, not its paths (Landlock)";
	default:
		return "neither its paths (Landlock) nor its system calls (seccomp) are limited";
	}
}

int cli_confine(const struct cli *c, const struct command *cmd, const struct opt *own, const struct opt *common,
		char **args, int n_args)
{
	const char *wish = getenv("INGOT_SANDBOX"), *what = NULL;
	struct sandbox s;
	bool unpacks;

	if (!sandbox_built())
		what = "this build has a sanitizer, which a sandbox would stop";
	else if (wish && strcmp(wish, "off") == 0)
		what = "INGOT_SANDBOX=off is set";
	if (what && !c->require_sandbox)
		return -1;	/* somebody's choice: nothing to warn of */
	if (!what) {
		sandbox_start(&s);
		for (size_t i = 0; i < sizeof system_paths / sizeof *system_paths; i++)
			sandbox_allow(&s, system_paths[i], SANDBOX_READ);
		sandbox_allow(&s, "/dev/null", SANDBOX_READ | SANDBOX_WRITE);
		unpacks = unpacks_there(c, cmd, own);
		allow_options(&s, own, unpacks);
		allow_options(&s, common, unpacks);
		for (int i = 0; i < n_args; i++)
			cmd->edits ? allow_output(&s, args[i]) : allow_source(&s, args[i], unpacks);
		what = missing(sandbox_enter(&s));
	}
	if (what && c->require_sandbox) {
		fprintf(stderr, "ingot: %s: no sandbox: %s; leave out --require-sandbox, or use a Linux kernel of 5.13 or later\n",
			cmd->name, what);
		return 4;
	}
	if (what && !c->quiet)
		fprintf(stderr, "ingot: %s: goes on without a full sandbox: %s\n", cmd->name, what);
	else if (c->verbose)
		fprintf(stderr, "ingot: sandbox: only the paths that were named, no network, no other program\n");
	return -1;
}
