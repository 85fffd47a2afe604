/* SPDX-License-Identifier: MIT
 *
 * sandbox.c - Landlock rules and the start; sandbox_calls.c has the filter of system calls.
 *
 * The structures and constants are the kernel's (Documentation/userspace-api/landlock.rst), written out:
 * a program built with old headers still uses what a new kernel has. The kernel says its ABI at run time,
 * and only the rights which that ABI knows are asked for.
 */
#include "format/sandbox_calls.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446 };	/* the same on every architecture */
enum { RULE_PATH_BENEATH = 1, CREATE_VERSION = 1 };

#define RIGHT(n) (UINT64_C(1) << (n))
enum { WRITE_FILE = 1, READ_FILE = 2, READ_DIR = 3, REMOVE_FILE = 5, MAKE_REG = 8, TRUNCATE = 14 };
/* rights that ABI n added end before bit rights_end[n]; later ones are taken for 5 */
static const unsigned rights_end[] = { 0, 13, 14, 15, 15, 16 };

struct ruleset { uint64_t files, net, scoped; };
struct beneath { uint64_t rights; int32_t fd; } __attribute__((packed));

bool sandbox_built(void)
{
#ifdef SANITIZED
	return false;
#else
	return true;
#endif
}

void sandbox_start(struct sandbox *s)
{
	struct ruleset r = { 0 };
	long abi = syscall(CREATE_RULESET, NULL, (size_t)0, CREATE_VERSION);
	size_t n = abi < 4 ? 8 : abi < 6 ? 16 : 24;

	*s = (struct sandbox){ .fd = -1, .abi = abi > 0 ? (int)abi : 0 };
	if (abi < 1)
		return;
	r.files = s->handled = RIGHT(rights_end[abi < 5 ? abi : 5]) - 1;
	r.net = 3;	/* TCP bind and connect */
	r.scoped = 3;	/* abstract sockets and signals */
	s->fd = (int)syscall(CREATE_RULESET, &r, n, 0);
}

void sandbox_allow(struct sandbox *s, const char *path, unsigned access)
{
	struct beneath b = { 0 };
	struct stat info;

	if (s->fd < 0 || (b.fd = open(path, O_PATH | O_CLOEXEC)) < 0)
		return;
	if (access & SANDBOX_READ)
		b.rights |= RIGHT(READ_FILE) | RIGHT(READ_DIR);
	if (access & SANDBOX_LIST)
		b.rights |= RIGHT(READ_DIR);
	if (access & SANDBOX_WRITE)
		b.rights |= RIGHT(WRITE_FILE) | RIGHT(TRUNCATE) | RIGHT(MAKE_REG) | RIGHT(REMOVE_FILE);
	if (fstat(b.fd, &info) == 0 && !S_ISDIR(info.st_mode))
		b.rights &= RIGHT(READ_FILE) | RIGHT(WRITE_FILE) | RIGHT(TRUNCATE);
	b.rights &= s->handled;
	if (b.rights)
		(void)syscall(ADD_RULE, s->fd, RULE_PATH_BENEATH, &b, 0);	/* without it the open fails later, and says so */
	close(b.fd);
}

unsigned sandbox_enter(struct sandbox *s)
{
	const struct rlimit none = { 0, 0 };
	unsigned got = 0;

	(void)setrlimit(RLIMIT_CORE, &none);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) {
		if (s->fd >= 0 && syscall(RESTRICT_SELF, s->fd, 0) == 0)
			got |= SANDBOX_PATHS;
		if (sandbox_filter_calls())
			got |= SANDBOX_CALLS;
	}
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	return got;
}
